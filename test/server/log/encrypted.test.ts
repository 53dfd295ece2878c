/**
 * An encrypted log: who has the directory and no key learns nothing and can change nothing unnoticed; who has the key loses nothing
 * of what a plain log would give him.
 */
import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { changeToJson, versionId, type Change, type ContentRef } from '../../../server/src/core/change.ts';
import { parsePolicy } from '../../../server/src/core/retention-policy.ts';
import { addEpoch, readKeyFile, writeKeyFile } from '../../../server/src/crypto/key-file.ts';
import { createEncryptedLog, unlockLog } from '../../../server/src/log/encryption.ts';
import { eraseContent } from '../../../server/src/log/erase.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { pruneLog } from '../../../server/src/log/prune.ts';
import { readyBlock } from '../../../server/src/log/ready-blocks.ts';
import type { Damage, LogReader, OpenWriter } from '../../../server/src/log/types.ts';
import {
  CHEAP,
  EncryptedScratch,
  mendChecksums,
  nonceOf,
  partsOfFrame,
  partsOfSegment,
  PASSPHRASE,
  type FoundPart
} from './encrypted-log.ts';
import { COMPILED, program } from '../program.ts';
import { all, quickDirectory, Scratch, sha256, version } from './scratch.ts';

const code = (name: string): unknown => expect.objectContaining({ code: name });
const noise = (seed: string, length: number): Buffer =>
  createHash('shake256', { outputLength: length }).update(seed).digest();

/** Words that stand nowhere but in what is recorded. */
const NAME = 'Patientenakte-Zwickmühle';
const WORDS = 'the merger closes on the thirtieth of Brumaire';

/** Whoever gets hold of the directory searches it for what he would like to know. */
function expectUnseen(scratch: EncryptedScratch, ...secrets: (string | Buffer)[]): void {
  const files = [...scratch.filesOf(scratch.dir), ...scratch.filesOf(scratch.base)];
  const all = scratch.filesOf(scratch.base).map(file => readFileSync(join(scratch.base, file)));
  for (const secret of secrets) {
    const bytes = Buffer.from(secret);
    const forms = [bytes, Buffer.from(bytes.toString('base64').slice(0, -4)), Buffer.from(bytes.toString('hex'))];
    for (const form of forms) expect(all.filter(file => file.includes(form))).toEqual([]);
    expect(files.filter(file => file.includes(String(secret)))).toEqual([]);
  }
}

async function contents(log: LogReader): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const change of await all(log)) {
    if (change.content !== undefined) found.set(versionId(change), sha256(await log.contentBytes(change)));
  }
  return found;
}

/** Contents small and large, a list of chunks, blocks made ready by threads, a delta, a move, an odd name, two sessions. */
async function writeMuch(scratch: EncryptedScratch): Promise<Map<string, string>> {
  const wanted = new Map<string, string>();
  const note = (changes: readonly Change[]): void => {
    for (const change of changes) if (change.content !== undefined) wanted.set(versionId(change), change.hash ?? '');
  };
  const log = await scratch.writer();
  note(await log.append([version(log, `${NAME}.txt`, WORDS), version(log, `${NAME}/again`, WORDS)]));
  const pieces = Array.from({ length: 34 }, (_, i) => Buffer.from(`piece ${i} ${WORDS}`));
  const parts = pieces.map(piece => version(log, '', piece));
  const { ref, chunks } = log.contentRef(parts.map(part => part.draft.hash ?? ''));
  const whole = version(log, `${NAME}.list`, Buffer.concat(pieces));
  await log.putChunks(parts.slice(0, 10).flatMap(part => part.chunks));
  note(
    await log.append([
      { draft: { ...whole.draft, content: ref }, chunks: [...parts.flatMap(part => part.chunks), ...chunks] }
    ])
  );
  const ready = noise('ready', 70_000);
  const { draft } = version(log, `${NAME}.ready`, ready);
  note(
    await log.append([{ draft, chunks: [] }], [readyBlock(Buffer.from(sha256(ready), 'hex'), [ready.length], ready)])
  );
  let former: ContentRef | undefined;
  for (let i = 0; i < 4; i += 1) {
    const text = Buffer.concat([Buffer.from(`${WORDS} ${i}`), noise('notebook', 60_000)]);
    const [change] = await log.append([{ ...version(log, `${NAME}.ipynb`, text), ...(former && { former }) }]);
    former = change!.content;
    note([change!]);
  }
  await log.close();
  const again = await scratch.writer();
  await again.append([
    { draft: { kind: 'moved', path: `${NAME}.md`, from: `${NAME}.txt`, type: 'file', flags: [] }, chunks: [] },
    { draft: { kind: 'deleted', path: `${NAME}\udcff`, type: 'file', flags: [] }, chunks: [] }
  ]);
  note(await again.append([version(again, `${NAME}.txt`, noise('second', 300_000))]));
  await again.close();
  return wanted;
}

test('neither a name nor a content is to be found in the directory, and all of it is read back', async () => {
  using scratch = await EncryptedScratch.make();
  const wanted = await writeMuch(scratch);
  expectUnseen(
    scratch,
    NAME,
    WORDS,
    noise('ready', 70_000).subarray(500, 540),
    noise('notebook', 60_000).subarray(9, 49)
  );
  // A guess is not confirmed either: no hash of a content, and none of a record without its salt.
  expectUnseen(scratch, ...[...wanted.values()].map(hash => Buffer.from(hash, 'hex')));
  const keys = await scratch.unlock();
  const damages: Damage[] = [];
  const log = await openLogReader({ dir: scratch.dir, keys, onDamage: damage => damages.push(damage) });
  expect(await contents(log)).toEqual(wanted);
  expect((await all(log)).map(({ path }) => path)).toContain(`${NAME}\udcff`);
  expect(damages).toEqual([]);
  await log.close();
});

test('a new version is stored as what differs, as in a plain log', async () => {
  using scratch = await EncryptedScratch.make();
  const log = await scratch.writer();
  const text = (i: number): Buffer => Buffer.concat([Buffer.from(`${i}`), noise('same', 100_000)]);
  const [first] = await log.append([version(log, 'a', text(1))]);
  const before = await log.storedBytes();
  const [second] = await log.append([{ ...version(log, 'a', text(2)), former: first!.content! }]);
  expect((await log.storedBytes()) - before).toBeLessThan(2000);
  await log.close();
  const reader = await scratch.reader();
  expect(await reader.contentBytes(second!)).toEqual(text(2));
  await reader.close();
});

test('a content that is there already is not stored again, after a rotation either', async () => {
  using scratch = await EncryptedScratch.make();
  const log = await scratch.writer();
  await log.append([version(log, 'a', noise('big', 200_000))]);
  await log.close();
  await rotate(scratch);
  const again = await scratch.writer();
  const before = await again.storedBytes();
  const [copy] = await again.append([version(again, 'b', noise('big', 200_000))]);
  expect((await again.storedBytes()) - before).toBeLessThan(2000);
  expect(await again.contentBytes(copy!)).toEqual(noise('big', 200_000));
  await again.close();
});

async function rotate(scratch: EncryptedScratch): Promise<void> {
  const file = readKeyFile(scratch.dir, scratch.logKeys.workspace);
  const rotated = await addEpoch(file, scratch.logKeys, { passphrase: PASSPHRASE, recipients: [], cost: CHEAP });
  writeKeyFile(scratch.dir, rotated.file);
  scratch.logKeys = rotated.keys;
}

test('after a rotation the old is read and the new is written with another key; an old key file is refused', async () => {
  using scratch = await EncryptedScratch.make();
  const wanted = await writeMuch(scratch);
  const oldFile = readFileSync(join(scratch.dir, 'keys/master.json'));
  const oldKeys = scratch.logKeys;
  await rotate(scratch);
  const log = await scratch.writer();
  expect(await contents(log)).toEqual(wanted);
  const [change] = await log.append([version(log, 'new', 'under the new key')]);
  await log.close();
  expect(scratch.segments().map(path => readFileSync(path).readUInt32LE(120))).toEqual([1, 2]);
  const reader = await openLogReader({ dir: scratch.dir, keys: await scratch.unlock() });
  expect(await contents(reader)).toEqual(new Map([...wanted, [versionId(change!), change!.hash]]));
  expect((await reader.contentBytes(change!)).toString()).toBe('under the new key');
  await reader.close();
  // Somebody puts the file from before the rotation back: what he could read then he may read, and nobody writes for him.
  writeFileSync(join(scratch.dir, 'keys/master.json'), oldFile);
  await expect(openLogWriter({ dir: scratch.dir, keyDir: scratch.keys, keys: await scratch.unlock() })).rejects.toThrow(
    /older than the log.*newest copy/
  );
  const damages: Damage[] = [];
  const past = await openLogReader({ dir: scratch.dir, keys: oldKeys, onDamage: damage => damages.push(damage) });
  expect(await contents(past)).toEqual(wanted);
  await past.close();
  expect(damages.map(({ kind }) => kind)).toContain('encryption');
  expect(damages.find(({ where }) => where.endsWith(':0'))?.message).toMatch(/key 2.*has 1/);
});

test('without the keys the log says what it needs, and what is wrong with those it is given', async () => {
  using scratch = await EncryptedScratch.make();
  await (await scratch.writer()).close();
  const { dir } = scratch;
  await expect(openLogReader({ dir })).rejects.toEqual(code('LOG_ENCRYPTED'));
  await expect(openLogReader({ dir })).rejects.toThrow(/--passphrase-file/);
  await expect(openLogWriter({ dir, keyDir: scratch.keys })).rejects.toEqual(code('LOG_ENCRYPTED'));
  await expect(unlockLog(dir, undefined)).rejects.toEqual(code('LOG_ENCRYPTED'));
  await expect(unlockLog(dir, { passphrase: 'wrong' })).rejects.toEqual(code('PASSPHRASE_WRONG'));
  using other = await EncryptedScratch.make();
  await expect(openLogReader({ dir, keys: other.logKeys })).rejects.toEqual(code('KEY_MISMATCH'));
  // The key file of another log, and one that only says that it is of this one.
  const path = join(dir, 'keys/master.json');
  renameSync(path, `${path}.kept`);
  await expect(unlockLog(dir, { passphrase: PASSPHRASE })).rejects.toEqual(code('KEY_MISSING'));
  copyFileSync(join(other.dir, 'keys/master.json'), path);
  await expect(unlockLog(dir, { passphrase: PASSPHRASE })).rejects.toEqual(code('KEY_MISMATCH'));
  rmSync(path);
  renameSync(`${path}.kept`, path);
  await (await openLogReader({ dir, keys: (await unlockLog(dir, { passphrase: PASSPHRASE }))! })).close();
  // Keys for a log that has none.
  using plain = new Scratch();
  await (await plain.writer()).close();
  expect(await unlockLog(plain.dir, undefined)).toBeUndefined();
  await expect(openLogReader({ dir: plain.dir, keys: other.logKeys })).rejects.toEqual(code('KEY_MISMATCH'));
  await expect(createEncryptedLog(plain.dir, { passphrase: 'x', recipients: [], cost: CHEAP })).rejects.toThrow(
    /from its beginning or never/
  );
});

test('a log that is made to look plain is not written to in the clear', async () => {
  using scratch = await EncryptedScratch.make();
  await writeMuch(scratch);
  const path = join(scratch.dir, 'format.json');
  const { keyId, ...body } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  expect(keyId).toHaveLength(32);
  writeFileSync(path, JSON.stringify({ ...body, requires: [] }));
  await expect(openLogWriter({ dir: scratch.dir, keyDir: scratch.keys })).rejects.toEqual(code('LOG_DAMAGED'));
  rmSync(join(scratch.dir, 'keys/master.json'));
  await expect(openLogWriter({ dir: scratch.dir, keyDir: scratch.keys })).rejects.toEqual(code('LOG_ENCRYPTED'));
  await expect(openLogReader({ dir: scratch.dir })).rejects.toEqual(code('LOG_ENCRYPTED'));
});

/** What a reader makes of an altered log: versions with the contents it gives out, and the damage it names. */
async function judged(
  scratch: EncryptedScratch
): Promise<{ given: Map<string, string>; records: string[]; damages: Damage[] }> {
  const damages: Damage[] = [];
  const log = await scratch.reader(damage => damages.push(damage));
  const given = new Map<string, string>();
  const records: string[] = [];
  for (const change of await all(log)) {
    records.push(versionId(change));
    if (change.content === undefined) continue;
    await log.contentBytes(change).then(
      bytes => given.set(versionId(change), sha256(bytes)),
      (error: unknown) => expect(error).toEqual(code('LOG_DAMAGED'))
    );
  }
  await log.close();
  return { given, records, damages };
}

test('any byte of any sealed part that is altered, every checksum made right, is refused and named', async () => {
  using scratch = await EncryptedScratch.make(quickDirectory());
  const log = await scratch.writer();
  const wanted = new Map<string, string>();
  for (const path of ['a', 'b', 'c']) {
    const [change] = await log.append([version(log, path, `${path} ${WORDS}`.repeat(9))]);
    wanted.set(versionId(change!), change!.hash!);
  }
  await log.close();
  const path = scratch.segment();
  const sound = readFileSync(path);
  const parts = partsOfSegment(path);
  expect(new Set(parts.map(({ purpose }) => purpose)).size).toBe(3);
  for (const { purpose, offset, length } of parts) {
    for (const at of [0, 7, 8, length >> 1, length - 16, length - 1]) {
      const bytes = Buffer.from(sound);
      bytes[offset + at] = (bytes[offset + at] as number) ^ 1;
      mendChecksums(bytes, log.workspaceId, log.device);
      writeFileSync(path, bytes);
      const { given, records, damages } = await judged(scratch);
      expect(given.size).toBe(wanted.size - 1);
      for (const [id, hash] of given) expect(hash).toBe(wanted.get(id));
      expect(records.length).toBe(purpose === 'records' ? 2 : 3);
      expect(damages.length).toBeGreaterThan(0);
      if (purpose === 'records') expect(damages[0]).toEqual(expect.objectContaining({ kind: 'encryption' }));
      // The version that is gone is named.
      const named = new Set(damages.flatMap(({ versions }) => versions));
      expect([...wanted.keys()].filter(id => !given.has(id)).every(id => named.has(id))).toBe(true);
    }
  }
});

test('numbers, times, flags and sessions in the clear cannot be altered either', async () => {
  using scratch = await EncryptedScratch.make(quickDirectory());
  const log = await scratch.writer();
  await log.append([version(log, 'a', WORDS.repeat(9))]);
  await log.close();
  const path = scratch.segment();
  const sound = readFileSync(path);
  const block = 128 + 96 + sound.readUInt32LE(128 + 32);
  const alter = async (change: (bytes: Buffer) => void): Promise<void> => {
    const bytes = Buffer.from(sound);
    change(bytes);
    mendChecksums(bytes, log.workspaceId, log.device);
    writeFileSync(path, bytes);
    const { given, damages } = await judged(scratch);
    expect(given.size).toBe(0);
    expect(damages.length).toBeGreaterThan(0);
  };
  // Key epoch; flags, count, raw length, time, chain and session of the frame; codec of the block and where its frame begins.
  await alter(bytes => bytes.writeUInt32LE(2, 120));
  for (const [at, mask] of [
    [4, 32],
    [20, 1],
    [24, 4],
    [44, 1],
    [76, 1]
  ] as const) {
    await alter(bytes => (bytes[128 + at] = (bytes[128 + at] as number) ^ mask));
  }
  for (const [at, mask] of [
    [8, 1],
    [16, 1],
    [16, 2]
  ] as const) {
    await alter(bytes => (bytes[block + at] = (bytes[block + at] as number) ^ mask));
  }
});

test('a frame or a block in the clear, put there without a key, is not taken', async () => {
  using scratch = await EncryptedScratch.make();
  using plain = new Scratch();
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'of the owner')]);
  await log.close();
  const forger = await plain.writer();
  await forger.append([version(forger, 'b', 'of the forger')]);
  await forger.close();
  const path = scratch.segment();
  const sound = readFileSync(path);
  const frame = readFileSync(plain.segment()).subarray(128);
  const bytes = Buffer.concat([sound, frame]);
  // As the next frame of the stream: behind the record that is there.
  bytes.writeBigUInt64LE(2n, sound.length + 8);
  const seed = crc32(Buffer.concat([Buffer.from(log.workspaceId, 'hex'), Buffer.from(log.device, 'latin1')]));
  bytes.writeUInt32LE(crc32(bytes.subarray(sound.length, sound.length + 92), seed), sound.length + 92);
  writeFileSync(path, bytes);
  expect((await judged(scratch)).records).toEqual([`${log.device}.1`]);
  // Said to be encrypted, it does not open.
  bytes.writeUInt16LE(bytes.readUInt16LE(sound.length + 4) | 2, sound.length + 4);
  bytes.writeUInt32LE(crc32(bytes.subarray(sound.length, sound.length + 92), seed), sound.length + 92);
  writeFileSync(path, bytes);
  const found = await judged(scratch);
  expect(found.records).toEqual([`${log.device}.1`]);
  expect(found.damages.map(({ kind }) => kind)).toContain('encryption');
});

test('segments that change places, in a stream or between devices, are refused and named', async () => {
  using scratch = await EncryptedScratch.make();
  const one = await scratch.writer({ keyDir: join(scratch.base, 'one') });
  await one.append([version(one, 'a', 'of device one')]);
  await one.exclusively(inside => inside.seal());
  await one.append([version(one, 'b', 'of device one, later')]);
  await one.close();
  const two = await scratch.writer({ keyDir: join(scratch.base, 'two') });
  await two.append([version(two, 'c', 'of device two')]);
  await two.close();
  const [first, second] = scratch.segments().filter(path => path.includes(one.device)) as [string, string];
  const [foreign] = scratch.segments().filter(path => path.includes(two.device)) as [string];
  expect((await judged(scratch)).given.size).toBe(3);
  const swap = async (a: string, b: string, asIfOf?: readonly [string, string]): Promise<void> => {
    const [was, is] = [readFileSync(a), readFileSync(b)];
    const [toA, toB] = [Buffer.from(is), Buffer.from(was)];
    if (asIfOf !== undefined) {
      // The forger makes the headers say what their places ask for.
      was.copy(toA, 32, 32, 48);
      is.copy(toB, 32, 32, 48);
      mendChecksums(toA, one.workspaceId, asIfOf[0]);
      mendChecksums(toB, one.workspaceId, asIfOf[1]);
    }
    writeFileSync(a, toA);
    writeFileSync(b, toB);
    const { given, damages } = await judged(scratch);
    expect(given.size).toBe(1);
    expect(damages.length).toBeGreaterThan(0);
    writeFileSync(a, was);
    writeFileSync(b, is);
  };
  const sealed = [...partsOfSegment(first), ...partsOfSegment(second), ...partsOfSegment(foreign)];
  expect(sealed.length).toBe(9);
  await swap(first, foreign, [one.device, two.device]);
  // Within one stream: of the three contents only that of the other device is left.
  await swap(first, second, [one.device, one.device]);
});

test('no nonce is used twice with a key: two openings, a rotation, a prune, and writes that fail and are tried again', async () => {
  using scratch = await EncryptedScratch.make();
  await writeMuch(scratch);
  const log = await scratch.writer();
  await pruneLog(log, parsePolicy({ keepAll: '0h' }, 'test'), { now: Date.now() * 1000 });
  await log.append([version(log, 'after', 'the prune')]);
  await log.close();
  await rotate(scratch);
  const rotated = await scratch.writer();
  await rotated.append([version(rotated, 'after', 'the rotation')]);
  await rotated.close();
  const parts = scratch.segments().flatMap(partsOfSegment);
  expect(parts.length).toBeGreaterThan(25);
  expect(new Set(parts.map(nonceOf)).size).toBe(parts.length);
});

const CHILD = program('fault-child');

test('what a write that failed has left, and what took its place, are under different nonces', async () => {
  using scratch = new Scratch(quickDirectory());
  let retried = 0;
  for (let k = 33; k <= 63; k += 6) {
    const dir = join(scratch.base, `fail-${k}`);
    const transcript = join(scratch.base, `transcript-${k}`);
    const child = spawnSync(process.execPath, [CHILD, dir, scratch.keys, 'fail', String(k), 'encrypted'], {
      encoding: 'utf8',
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILED, SYFT_FAULT_TRANSCRIPT: transcript }
    });
    expect([child.stderr, child.signal]).toEqual(['', null]);
    if (child.stdout.includes('refused')) retried += 1;
    // Everything that was handed to the disk, whether or not it is still there.
    const bytes = readFileSync(transcript);
    const parts: FoundPart[] = [];
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
      const written = bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at));
      if (written.toString('latin1', 0, 4) === 'SYFR') parts.push(...partsOfFrame(written, 0).parts);
    }
    expect(parts.length).toBeGreaterThan(12);
    expect(new Set(parts.map(nonceOf)).size).toBe(parts.length);
    const keys = await unlockLog(dir, { passphrase: 'fault' });
    const log = await openLogReader({ dir, keys });
    for (const line of child.stdout.split('\n').filter(line => line.startsWith('acknowledged '))) {
      const [, seq, path, hash] = line.split(' ');
      const change = (await all(log)).find(each => String(each.seq) === seq)!;
      expect([change.path, sha256(await log.contentBytes(change))]).toEqual([path, hash]);
    }
    await log.close();
    rmSync(dir, { recursive: true });
    rmSync(transcript);
  }
  expect(retried).toBeGreaterThan(3);
}, 60_000);

test('a log whose creation was cut off before it began is begun again', async () => {
  using scratch = await EncryptedScratch.make();
  rmSync(join(scratch.dir, 'format.json'));
  scratch.logKeys = await createEncryptedLog(scratch.dir, { passphrase: 'another', recipients: [], cost: CHEAP });
  await (await scratch.writer()).close();
  expect((await scratch.unlock('another')).keyId).toBe(scratch.logKeys.keyId);
});

async function threeVersions(scratch: EncryptedScratch): Promise<{ log: OpenWriter; changes: Change[] }> {
  const log = await scratch.writer();
  const changes: Change[] = [];
  for (const text of ['one', 'two', 'three']) {
    const former = changes.at(-1)?.content;
    const bytes = Buffer.concat([Buffer.from(text), noise('rest', 50_000)]);
    changes.push(...(await log.append([{ ...version(log, 'a', bytes), ...(former && { former }) }])));
  }
  // Two chunks in one block, of which one will go.
  changes.push(...(await log.append([version(log, 'b', `stays ${WORDS}`), version(log, 'c', `goes ${WORDS}`)])));
  return { log, changes };
}

test('contents are pruned and erased, what stays is read, and what went is gone', async () => {
  using scratch = await EncryptedScratch.make();
  const { log, changes } = await threeVersions(scratch);
  const [one, two, three, stays, goes] = changes as [Change, Change, Change, Change, Change];
  const pruned = await pruneLog(log, parsePolicy({ keepAll: '0h' }, 'test'), { now: Date.now() * 1000 });
  expect(pruned.lost.map(lost => lost.versionId)).toEqual([versionId(one), versionId(two)]);
  await log.append([version(log, 'c', 'another')]);
  // Two blocks in one frame: the second stays, and moves up.
  const large = [noise('x', 200_000), noise('y', 200_000)] as const;
  const [x, y] = await log.append([version(log, 'x', large[0]), version(log, 'y', large[1])]);
  await log.append([version(log, 'x', 'small')]);
  await eraseContent(log, { hash: x!.hash! });
  expect(await log.contentBytes(y!)).toEqual(large[1]);
  const dry = await eraseContent(log, { hash: goes.hash!, dryRun: true });
  // What repair moved aside: nobody can tell what is in it, so it is said to be there.
  const aside = `quarantine/log/${basename(scratch.segment())}`;
  mkdirSync(join(scratch.dir, dirname(aside)), { recursive: true });
  copyFileSync(scratch.segment(), join(scratch.dir, aside));
  const erased = await eraseContent(log, { hash: goes.hash! });
  expect(erased.freedBytes).toBe(dry.freedBytes);
  expect([erased.copies, erased.unreadCopies]).toEqual([[], [aside]]);
  await log.append([version(log, 'd', 'goes on')]);
  await log.close();
  const damages: Damage[] = [];
  const reader = await scratch.reader(damage => damages.push(damage));
  await expect(reader.contentBytes(one)).rejects.toEqual(code('VERSION_PRUNED'));
  await expect(reader.contentBytes(goes)).rejects.toEqual(code('VERSION_ERASED'));
  expect(sha256(await reader.contentBytes(three))).toBe(three.hash);
  expect(sha256(await reader.contentBytes(stays))).toBe(stays.hash);
  expect(await reader.contentBytes(y!)).toEqual(large[1]);
  expect((await all(reader)).map(({ path }) => path)).toEqual(['a', 'a', 'a', 'b', 'c', 'c', 'x', 'y', 'x', 'd']);
  await reader.close();
  expect(damages).toEqual([]);
  expectUnseen(scratch, WORDS, noise('rest', 50_000).subarray(0, 40));
});

test('a version is proven with the keys, and the proof holds without them', async () => {
  using scratch = await EncryptedScratch.make();
  const log = await scratch.writer();
  const changes = await log.append([version(log, NAME, WORDS), version(log, 'other', 'words')]);
  await log.close();
  const proof = inclusionProof(scratch.dir, versionId(changes[0]!), scratch.logKeys);
  const { change } = verifyInclusionProof(proof)!;
  expect(change.path).toBe(NAME);
  expect(proof.leaf.toString()).toMatch(/"salt":"[A-Za-z0-9+/]{22}=="\}$/);
  expect(() => inclusionProof(scratch.dir, versionId(changes[0]!))).toThrow(code('LOG_ENCRYPTED'));
  // The hash of a leaf stands in a tile: without the salt nobody can make it from a guess.
  const tile = scratch.files().find(file => file.includes('/tile/0/'))!;
  const guess = proof.leaf.toString().replace(/,"salt":"[^"]*"/, '');
  const leaf = createHash('sha256').update(Buffer.of(0)).update(guess).digest();
  expect(readFileSync(join(scratch.dir, tile)).includes(leaf)).toBe(false);
  expect(dirname(tile)).toContain(log.device);
});

test('an encrypted log that was frozen is read as it was written, and gone on with', async () => {
  using scratch = new Scratch();
  const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
  spawnSync('tar', ['-xf', join(fixtures, 'log-v1-encrypted.tar'), '-C', scratch.base]);
  const dir = join(scratch.base, 'log-v1-encrypted');
  const keys = (await unlockLog(dir, { passphrase: 'golden' }))!;
  const log = await openLogWriter({ dir, keyDir: scratch.keys, keys });
  const listed = [];
  for (const change of await all(log)) {
    const content = change.content === undefined ? undefined : await log.contentBytes(change);
    listed.push({ ...changeToJson(change), ...(content !== undefined && { contentHash: sha256(content) }) });
  }
  expect(listed).toEqual(JSON.parse(readFileSync(join(fixtures, 'log-v1-encrypted.json'), 'utf8')));
  await log.append([version(log, 'new', 'written by this version')]);
  expect(log.damages).toEqual([]);
  await log.close();
});
