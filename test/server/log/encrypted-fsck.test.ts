/** fsck of an encrypted log: with the keys it is told what was put in place of what, and without them as much as can be seen. */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addEpoch, readKeyFile, writeKeyFile } from '../../../server/src/crypto/key-file.ts';
import type { ContentRef } from '../../../server/src/core/change.ts';
import { parsePolicy } from '../../../server/src/core/retention-policy.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { pruneLog } from '../../../server/src/log/prune.ts';
import { repairLog } from '../../../server/src/log/repair.ts';
import type { Damage } from '../../../server/src/log/types.ts';
import { CHEAP, EncryptedScratch, mendChecksums, partsOfFrame, partsOfSegment, PASSPHRASE } from './encrypted-log.ts';
import { quickDirectory, sha256, version } from './scratch.ts';

/** @param keyed With the keys, or as somebody who does not have them. */
async function check(scratch: EncryptedScratch, keyed = true, said: string[] = []): Promise<Damage[]> {
  const found: Damage[] = [];
  const options = {
    readData: true,
    onUnopened: (message: string) => said.push(message),
    ...(keyed && { masters: scratch.logKeys })
  };
  for await (const damage of fsckLog(scratch.dir, options)) found.push(damage);
  return found;
}
const brief = (damages: readonly Damage[]): string[] => [...new Set(damages.map(({ kind }) => kind))].sort();

async function small(scratch: EncryptedScratch): Promise<void> {
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one'), version(log, 'b', 'two '.repeat(30))]);
  await log.append([version(log, 'a', 'three', { kind: 'modified' })]);
  await log.close();
}

test('a log of several sessions, epochs, with deltas, lists and dropped contents is sound, with keys and without', async () => {
  using scratch = await EncryptedScratch.make();
  let log = await scratch.writer();
  let former: ContentRef | undefined;
  const noise = randomBytes(60_000);
  for (let i = 0; i < 6; i += 1) {
    const text = Buffer.concat([Buffer.from(`cell ${i}`), noise]);
    const [change] = await log.append([
      { ...version(log, 'n.ipynb', text, i === 0 ? {} : { kind: 'modified' }), ...(former && { former }) }
    ]);
    former = change!.content;
  }
  const pieces = Array.from({ length: 40 }, (_, i) => version(log, '', `piece ${i}`));
  const { ref, chunks } = log.contentRef(pieces.map(piece => piece.draft.hash ?? ''));
  const whole = version(log, 'list', Array.from({ length: 40 }, (_, i) => `piece ${i}`).join(''));
  await log.append([
    { draft: { ...whole.draft, content: ref }, chunks: [...pieces.flatMap(piece => piece.chunks), ...chunks] }
  ]);
  await log.close();
  const file = readKeyFile(scratch.dir, scratch.logKeys.workspace);
  const rotated = await addEpoch(file, scratch.logKeys, { passphrase: PASSPHRASE, recipients: [], cost: CHEAP });
  writeKeyFile(scratch.dir, rotated.file);
  scratch.logKeys = rotated.keys;
  log = await scratch.writer();
  await log.append([version(log, 'after', 'the rotation'), version(log, 'n.ipynb', 'short', { kind: 'modified' })]);
  await pruneLog(log, parsePolicy({ hourly: '1d' }, 'test'), { now: Date.now() * 1000 + 1e6, dryRun: false });
  await log.close();
  const said: string[] = [];
  expect(await check(scratch, true, said)).toEqual([]);
  expect(said).toEqual([]);
  expect(await check(scratch, false, said)).toEqual([]);
  expect(said).toEqual([expect.stringContaining('without its keys')]);
  // With the keys from before the rotation, what came after it cannot be opened, and that is said.
  const old = {
    workspace: rotated.keys.workspace,
    epochs: [1],
    master: (n: number) => (n === 1 ? rotated.keys.master(1) : undefined)
  };
  const found: Damage[] = [];
  for await (const damage of fsckLog(scratch.dir, { readData: true, masters: old })) found.push(damage);
  expect(brief(found)).toContain('sealed');
});

test('no byte can change unnoticed, the key file included, and who has no keys notices it too', async () => {
  using scratch = await EncryptedScratch.make(quickDirectory());
  await small(scratch);
  const unnoticed: string[] = [];
  for (const file of scratch.files().filter(name => !/^(index|cache|locks)\//.test(name))) {
    const path = join(scratch.dir, file);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ (at % 2 === 0 ? 0x01 : 0x80);
      writeFileSync(path, changed);
      for (const keyed of at % 4 === 0 ? [true, false] : [true]) {
        const found = await check(scratch, keyed).catch((error: unknown) => [error]);
        if (found.length === 0) unnoticed.push(`${file}:${at} ${keyed ? 'with' : 'without'} keys`);
      }
    }
    writeFileSync(path, bytes);
  }
  expect(unnoticed).toEqual([]);
  expect(await check(scratch)).toEqual([]);
}, 60_000);

test('what was altered, moved or put in with right checksums is named by whoever has the keys', async () => {
  using scratch = await EncryptedScratch.make();
  await small(scratch);
  const segment = scratch.segment();
  const sound = readFileSync(segment);
  const [device = ''] = readdirSync(join(scratch.dir, 'log'));
  const { workspace } = scratch.logKeys;
  const put = async (change: (bytes: Buffer) => void, keyed = true): Promise<Damage[]> => {
    const bytes = Buffer.from(sound);
    change(bytes);
    writeFileSync(segment, mendChecksums(bytes, workspace, device));
    return check(scratch, keyed);
  };
  expect(await put(() => undefined)).toEqual([]);
  const parts = partsOfSegment(segment);
  expect(parts.map(part => part.purpose)).toEqual(expect.arrayContaining(['records', 'block-table', 'block']));
  for (const { offset, length, purpose } of parts) {
    for (const at of [offset, offset + 8, offset + length - 1]) {
      const alter = (bytes: Buffer): void => void (bytes[at] = bytes[at]! ^ 1);
      // A content is opened only where somebody asks for it: then it is the version that is damaged.
      expect(brief(await put(alter))).toContain(purpose === 'block' ? 'content' : 'sealed');
      expect(await put(alter, false)).toEqual([]);
    }
  }
  // A record is not the one that was sealed when its frame says another time or number of bytes.
  const frame = partsOfFrame(sound, 128);
  expect(brief(await put(bytes => bytes.writeBigInt64LE(7n, 128 + 24)))).toContain('sealed');
  expect(brief(await put(bytes => bytes.fill(7, 128 + 76, 128 + 92)))).toContain('sealed');
  // The block of the second frame in the place of the first: of the same length, with its own table.
  const second = partsOfFrame(sound, frame.end).parts.filter(part => part.purpose !== 'records');
  const first = frame.parts.filter(part => part.purpose !== 'records');
  expect(first.length).toBeGreaterThan(0);
  expect(
    brief(await put(bytes => void sound.copy(bytes, first[0]!.offset, second[0]!.offset, second[0]!.offset + 40)))
  ).toContain('sealed');
  // What leads from a block to its frame.
  const block = first[0]!.offset - 24;
  expect(brief(await put(bytes => bytes.writeUInt32LE(97, block + 8)))).toContain('checksum');
  expect(brief(await put(bytes => bytes.writeUInt32LE(97, block + 8), false))).toContain('checksum');
  // In the clear, where everything has to be sealed: seen without keys.
  for (const keyed of [true, false]) {
    expect(brief(await put(bytes => bytes.writeUInt16LE(bytes.readUInt16LE(132) & ~2, 132), keyed))).toContain(
      'sealed'
    );
    expect(brief(await put(bytes => bytes.writeUInt32LE(1, block + 16), keyed))).toContain('sealed');
    const plain = await put(bytes => {
      bytes.writeUInt32LE(0, 120);
    }, keyed);
    expect(brief(plain)).toContain('sealed');
    // More records than its bytes could hold cost nothing, and are said.
    const began = performance.now();
    expect(await put(bytes => bytes.writeUInt32LE(0xffff_fff0, 128 + 16), keyed)).not.toEqual([]);
    expect(performance.now() - began).toBeLessThan(5000);
  }
});

test('segments of another stream, and of another log with the same passphrase, are refused', async () => {
  using scratch = await EncryptedScratch.make();
  using other = await EncryptedScratch.make();
  await small(scratch);
  await small(other);
  const sound = readFileSync(scratch.segment());
  writeFileSync(scratch.segment(), readFileSync(other.segment()));
  expect(await check(scratch)).not.toEqual([]);
  expect(await check(scratch, false)).not.toEqual([]);
  writeFileSync(scratch.segment(), sound);
  const key = join(scratch.dir, 'keys/master.json');
  const own = readFileSync(key);
  cpSync(join(other.dir, 'keys/master.json'), key);
  for (const keyed of [true, false]) {
    expect((await check(scratch, keyed)).map(({ where }) => where)).toEqual(['keys/master.json']);
  }
  rmSync(key);
  expect((await check(scratch, false)).map(({ kind, where }) => `${kind} ${where}`)).toEqual([
    'missing keys/master.json'
  ]);
  writeFileSync(key, own);
  expect(await check(scratch)).toEqual([]);
});

test('tiles that are lost or altered are named without keys, and repaired with them, and nothing else is touched', async () => {
  using scratch = await EncryptedScratch.make();
  const log = await scratch.writer();
  for (let i = 0; i < 300; i += 100) {
    await log.append(Array.from({ length: 100 }, (_, k) => version(log, `f${i + k}`, `content ${i + k}`)));
  }
  await log.close();
  const segment = sha256(readFileSync(scratch.segment()));
  const tile = scratch.files().find(name => name.endsWith('tile/0/000000.tiles')) ?? '';
  const bytes = readFileSync(join(scratch.dir, tile));
  renameSync(join(scratch.dir, tile), join(scratch.base, 'tile'));
  expect((await check(scratch, false)).map(({ kind }) => kind)).toEqual(['missing']);
  writeFileSync(
    join(scratch.dir, tile),
    bytes.map((byte, i) => (i === 40 ? byte ^ 1 : byte))
  );
  expect((await check(scratch, false)).map(({ kind }) => kind)).toEqual(['checksum']);
  expect((await check(scratch)).map(({ where }) => where)).toEqual([tile]);
  const done = await repairLog(scratch.dir, { configDir: scratch.keys, keys: scratch.logKeys });
  expect(done.map(({ did, where }) => `${did} ${where}`)).toContain(`written ${tile}`);
  expect(readFileSync(join(scratch.dir, tile))).toEqual(bytes);
  expect(await check(scratch)).toEqual([]);
  expect(sha256(readFileSync(scratch.segment()))).toBe(segment);
});
