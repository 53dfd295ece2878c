/**
 * Whoever can write a log can put back an older one, cut it, or write another one in its place. A user who was shown a version
 * yesterday must be told today that it is gone or is not what it was, by its name, and nothing may be built upon it unasked.
 */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  chainOf,
  decodeFrameHeader,
  encodeFrameHeader,
  FLAG_DICTIONARY,
  FLAG_ZSTD,
  FRAME_HEADER,
  frameSeed,
  SEGMENT_HEADER
} from '../../../server/src/log/layout.ts';
import { deviceKey } from '../../../server/src/crypto/device-key.ts';
import { signCheckpoint } from '../../../server/src/log/checkpoint.ts';
import { encodeHead, readHead } from '../../../server/src/log/head.ts';
import { inclusionProof } from '../../../server/src/log/prove.ts';
import { TileTree } from '../../../server/src/core/merkle.ts';
import { unpackRecords } from '../../../server/src/log/records-codec.ts';
import { RewriteGuard } from '../../../server/src/log/rewrite-guard.ts';
import type { Damage } from '../../../server/src/log/types.ts';
import { crc32 } from 'node:zlib';
import { all, Scratch, version } from './scratch.ts';

async function append(scratch: Scratch, ...texts: string[]): Promise<string> {
  const log = await scratch.writer();
  for (const text of texts) await log.append([version(log, 'a', text)]);
  await log.close();
  return log.device;
}

const kinds = (damages: readonly Damage[]): string[] => [...new Set(damages.map(damage => damage.kind))].sort();

/** The three who look: fsck, a receiver's guard, and the writer at its next opening. */
async function seenBy(scratch: Scratch): Promise<{ fsck: string[]; receiver: string[]; writer: string[] }> {
  const guard = new RewriteGuard(scratch.dir, scratch.keys);
  const receiver = kinds(guard.check());
  guard.close();
  const fsck = kinds(await scratch.fsck(true, scratch.dir, scratch.keys));
  const log = await scratch.writer();
  const writer = kinds(log.damages);
  await log.close();
  return { fsck, receiver, writer };
}

/** Another installation's log in the place of this one's: the same device key, the same workspace, another history. */
async function otherHistory(scratch: Scratch, at: string, ...texts: string[]): Promise<void> {
  const present = join(scratch.base, 'present');
  renameSync(scratch.dir, present);
  cpSync(at, scratch.dir, { recursive: true });
  renameSync(join(scratch.keys, 'seen'), join(scratch.base, 'seen'));
  await append(scratch, ...texts);
  rmSync(join(scratch.keys, 'seen'), { recursive: true });
  renameSync(join(scratch.base, 'seen'), join(scratch.keys, 'seen'));
}

/** Changes letters in a record, stores all records as they are, and makes every checksum and chain value right again. */
function forge(scratch: Scratch, device: string, from: string, to: string, firstSeq?: number): void {
  const path = scratch.segment();
  const bytes = readFileSync(path);
  const { workspace } = JSON.parse(readFileSync(join(scratch.dir, 'format.json'), 'utf8')) as { workspace: string };
  const seed = frameSeed(workspace, device);
  let chain: Buffer = Buffer.alloc(32);
  const parts: Buffer[] = [bytes.subarray(0, SEGMENT_HEADER)];
  for (let at = SEGMENT_HEADER; at < bytes.length;) {
    const header = decodeFrameHeader(bytes, seed, at);
    if (header === undefined || header === 'newer') throw new Error('no frame');
    const chunks = at + FRAME_HEADER + header.recordsStored;
    const records = Buffer.from(unpackRecords(Buffer.from(bytes.subarray(at + FRAME_HEADER, chunks)), header) ?? []);
    const found = records.indexOf(from);
    if (found >= 0) records.write(to, found);
    const moved = found >= 0 && firstSeq !== undefined ? { firstSeq } : {};
    const flags = header.flags & ~(FLAG_ZSTD | FLAG_DICTIONARY);
    const fields = { ...header, ...moved, flags, recordsStored: records.length, recordsCrc: crc32(records) };
    chain = chainOf(chain, fields, records);
    at = chunks + header.chunksLength;
    parts.push(encodeFrameHeader({ ...fields, chain }, seed), records, bytes.subarray(chunks, at));
  }
  const forged = Buffer.concat(parts);
  writeFileSync(path, forged);
  const head = readHead(join(path, '..'));
  if (head === undefined || head === 'damaged') throw new Error('no head');
  const { length } = forged;
  writeFileSync(join(path, '..', 'head.json'), encodeHead({ ...head, length, chain: chain.toString('hex') }));
}

describe('a log that is not the one that was seen', () => {
  test('put back to an older state is a rollback; recording goes on as a new device and gives no number twice', async () => {
    using scratch = new Scratch();
    const first = await append(scratch, 'one');
    const backup = join(scratch.base, 'backup');
    cpSync(scratch.dir, backup, { recursive: true });
    await append(scratch, 'two', 'three');
    rmSync(scratch.dir, { recursive: true });
    cpSync(backup, scratch.dir, { recursive: true });

    expect(await seenBy(scratch)).toEqual({ fsck: ['rollback'], receiver: ['rollback'], writer: ['rollback'] });
    const second = await append(scratch, 'four');
    expect(second).not.toBe(first);
    const log = await scratch.reader();
    expect((await all(log)).map(change => [change.device, change.seq])).toEqual([
      [first, 1],
      [second, 1]
    ]);
    await log.close();
    // The same one from then on.
    expect(await append(scratch, 'five')).toBe(second);
    expect((await scratch.fsck(true, scratch.dir, scratch.keys))[0]).toMatchObject({
      kind: 'rollback',
      where: `log/${first}`,
      versions: [`${first}.2`, `${first}.3`]
    });
  });

  test('a backup that was put back on purpose is accepted; what was given up stays known, and its numbers stay taken', async () => {
    using scratch = new Scratch();
    const first = await append(scratch, 'one');
    const backup = join(scratch.base, 'backup');
    cpSync(scratch.dir, backup, { recursive: true });
    await append(scratch, 'two');
    rmSync(scratch.dir, { recursive: true });
    cpSync(backup, scratch.dir, { recursive: true });
    const guard = new RewriteGuard(scratch.dir, scratch.keys);
    guard.accept();
    guard.close();
    expect(await seenBy(scratch)).toEqual({ fsck: [], receiver: [], writer: [] });
    expect(await append(scratch, 'three')).not.toBe(first);
    expect(await seenBy(scratch)).toEqual({ fsck: [], receiver: [], writer: [] });
  });

  test('cut off, while its own checkpoint says more, is truncated', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    await log.append([version(log, 'a', 'one')]);
    const { length } = readFileSync(scratch.segment());
    await log.append([version(log, 'a', 'two')]);
    await log.close();
    truncateSync(scratch.segment(), length);
    expect(await seenBy(scratch)).toMatchObject({
      fsck: ['truncated'],
      receiver: ['truncated'],
      writer: ['truncated']
    });
    // Its tiles still hold what was signed: the stream goes on behind it, with the lost number left out.
    const again = await scratch.writer();
    const [change] = await again.append([version(again, 'a', 'three')]);
    expect([change!.device, change!.seq]).toEqual([log.device, 3]);
    await again.close();
    const guard = new RewriteGuard(scratch.dir, scratch.keys);
    expect(guard.check()).toEqual([]);
    guard.close();
  });

  test('with another history by the same key is a fork', async () => {
    using scratch = new Scratch();
    await append(scratch, 'one');
    const common = join(scratch.base, 'common');
    cpSync(scratch.dir, common, { recursive: true });
    await append(scratch, 'two');
    await otherHistory(scratch, common, 'other', 'more');
    expect(await seenBy(scratch)).toEqual({ fsck: ['fork'], receiver: ['fork'], writer: ['fork'] });
  });

  test('with a record that was changed is edited, though every checksum and the chain are right; the version is named', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    await log.append([version(log, 'salary.csv', 'one')]);
    await log.append([version(log, 'b', 'two')]);
    await log.close();
    forge(scratch, log.device, 'salary', 'celery');
    expect(await scratch.fsck(true)).toMatchObject([
      { kind: 'edited', where: `log/${log.device}`, versions: [`${log.device}.1`] }
    ]);
    const guard = new RewriteGuard(scratch.dir, scratch.keys);
    expect(kinds(guard.check())).toEqual(['edited']);
    guard.close();
    // Without tiles and checkpoint the log is a sound one; only who has seen it knows.
    rmSync(join(scratch.segment(), '..', 'tile'), { recursive: true });
    rmSync(join(scratch.segment(), '..', 'checkpoint'));
    const head = readHead(join(scratch.segment(), '..'));
    if (head === undefined || head === 'damaged') throw new Error('no head');
    const { segment, length, seq, chain, closed } = head;
    writeFileSync(join(scratch.segment(), '..', 'head.json'), encodeHead({ segment, length, seq, chain, closed }));
    expect(await scratch.fsck(true)).toEqual([]);
    expect(await seenBy(scratch)).toEqual({ fsck: ['edited'], receiver: ['edited'], writer: ['edited'] });
  });

  test('a whole stream that is gone is missed by the other devices, with no memory outside of the log', async () => {
    using scratch = new Scratch();
    const first = await append(scratch, 'one');
    const other = join(scratch.base, 'other-keys');
    const log = await scratch.writer({ keyDir: other });
    await log.append([version(log, 'b', 'two')]);
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
    renameSync(join(scratch.dir, 'log', first), join(scratch.base, 'gone'));
    expect(await scratch.fsck()).toMatchObject([{ kind: 'missing', where: `log/${first}`, versions: [`${first}.1`] }]);
    // Whoever goes on does not forget it.
    const again = await scratch.writer({ keyDir: other });
    await again.append([version(again, 'b', 'three')]);
    await again.close();
    expect(kinds(await scratch.fsck())).toEqual(['missing']);
    renameSync(join(scratch.base, 'gone'), join(scratch.dir, 'log', first));
    expect(await scratch.fsck()).toEqual([]);
    rmSync(join(scratch.dir, 'log', log.device, 'seen'));
    expect(kinds(await scratch.fsck())).toEqual(['missing']);
  });

  test('put back, or cut off, while a receiver watches is noticed at its next look', async () => {
    using scratch = new Scratch();
    const device = await append(scratch, 'one');
    const backup = join(scratch.base, 'backup');
    cpSync(scratch.dir, backup, { recursive: true });
    await append(scratch, 'two');
    const guard = new RewriteGuard(scratch.dir, scratch.keys);
    expect(guard.check()).toEqual([]);
    const present = join(scratch.base, 'present');
    renameSync(scratch.dir, present);
    cpSync(backup, scratch.dir, { recursive: true });
    expect(kinds(guard.check())).toEqual(['rollback']);
    rmSync(scratch.dir, { recursive: true });
    renameSync(present, scratch.dir);
    expect(guard.check()).toEqual([]);
    // In place, as a backup that writes into files does.
    const segment = scratch.segment();
    truncateSync(segment, readFileSync(segment).length - 200);
    expect(guard.check()).toMatchObject([{ kind: 'truncated', versions: [`${device}.2`] }]);
    guard.close();
  });

  test('a whole stream that is gone is missed by whoever has received it, though nothing in the log says so', async () => {
    using scratch = new Scratch();
    const first = await append(scratch, 'one');
    const other = join(scratch.base, 'other-keys');
    const log = await scratch.writer({ keyDir: other });
    await log.append([version(log, 'b', 'two')]);
    await log.close();
    const received = join(scratch.base, 'receiver');
    const guard = new RewriteGuard(scratch.dir, received);
    expect(guard.check()).toEqual([]);
    guard.close();
    rmSync(join(scratch.dir, 'log', first), { recursive: true });
    const stream = join(scratch.dir, 'log', log.device);
    rmSync(join(stream, 'seen'));
    const head = readHead(stream);
    if (head === undefined || head === 'damaged') throw new Error('no head');
    const { others, ...rest } = head;
    expect(others).toBe(1);
    writeFileSync(join(stream, 'head.json'), encodeHead(rest));
    expect(await scratch.fsck()).toEqual([]);
    expect(await scratch.fsck(true, scratch.dir, received)).toMatchObject([
      { kind: 'missing', where: `log/${first}`, versions: [`${first}.1`] }
    ]);
  });

  test('a copy that lags behind, and one that has grown elsewhere, are no damage; the one behind gets a stream of its own', async () => {
    using scratch = new Scratch();
    const first = await append(scratch, 'one');
    const copy = join(scratch.base, 'copy');
    cpSync(scratch.dir, copy, { recursive: true });
    await append(scratch, 'two');
    const guard = new RewriteGuard(copy, scratch.keys);
    expect(guard.check()).toEqual([]);
    guard.close();
    expect(await scratch.fsck(true, copy, scratch.keys)).toEqual([]);
    const log = await scratch.writer({ dir: copy });
    expect(log.device).not.toBe(first);
    expect(log.damages).toEqual([]);
    await log.append([version(log, 'a', 'three')]);
    await log.close();
    expect(await append(scratch, 'four')).toBe(first);
    expect(await scratch.fsck(true, copy, scratch.keys)).toEqual([]);
    expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);
  });

  test('a log as this product wrote it before it had trees is gone on with, and gets one', async () => {
    using scratch = new Scratch();
    const device = await append(scratch, 'one', 'two');
    const stream = join(scratch.dir, 'log', device);
    rmSync(join(stream, 'tile'), { recursive: true });
    rmSync(join(stream, 'checkpoint'));
    const head = readHead(stream);
    if (head === undefined || head === 'damaged') throw new Error('no head');
    const { segment, length, seq, chain, closed } = head;
    writeFileSync(join(stream, 'head.json'), encodeHead({ segment, length, seq, chain, closed }));
    scratch.forget();
    expect(await scratch.fsck()).toEqual([]);
    const log = await scratch.writer();
    await log.close();
    expect(readFileSync(join(stream, 'checkpoint'), 'utf8').split('\n')[1]).toBe('2');
    expect(await scratch.fsck()).toEqual([]);
    rmSync(join(stream, 'checkpoint'));
    expect(await scratch.fsck()).toMatchObject([{ kind: 'missing', where: `log/${device}/checkpoint` }]);
  });
});

test('a foreign log that claims numbers no log can have is told so, and holds nobody up', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  await log.append([version(log, 'first', 'one')]);
  await log.append([version(log, 'second', 'two')]);
  await log.close();
  const stream = join(scratch.segment(), '..');
  const key = deviceKey(scratch.keys, scratch.keys);
  const checkpoint = signCheckpoint(log.workspaceId, log.device, 2 ** 50, Buffer.alloc(32, 7), key);
  writeFileSync(join(stream, 'checkpoint'), checkpoint.note);
  expect(kinds(await scratch.fsck())).toEqual(['truncated']);
  let guard = new RewriteGuard(scratch.dir, join(scratch.base, 'receiver'));
  expect(kinds(guard.check())).toEqual(['truncated']);
  guard.close();
  forge(scratch, log.device, 'second', 'record', 2 ** 50);
  expect(kinds(await scratch.fsck())).toEqual(['sequence', 'truncated']);
  guard = new RewriteGuard(scratch.dir, join(scratch.base, 'receiver'));
  expect(() => guard.check()).toThrow(expect.objectContaining({ code: 'LOG_DAMAGED' }));
  guard.close();
});

test('tiles and checkpoint are those that verifiers of transparency logs expect, partial tiles included', async () => {
  using scratch = new Scratch();
  let device = '';
  for (const count of [200, 100, 212]) {
    const log = await scratch.writer();
    device = log.device;
    await log.append(Array.from({ length: count }, (_, i) => version(log, `file-${i}`, 'x')));
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
  }
  const stream = join(scratch.dir, 'log', device);
  const tiles = scratch.files(`log/${device}/tile`).map(file => file.slice(`log/${device}/tile/`.length));
  expect(tiles.sort()).toEqual(['0/000000.tiles', '1/000000.tiles']);
  const [origin, size] = readFileSync(join(stream, 'checkpoint'), 'utf8').split('\n');
  expect(origin).toMatch(new RegExp(`^syft-sync/[0-9a-f]{32}/${device}$`));
  expect(size).toBe('512');
  expect(readFileSync(join(stream, 'tile/0/000000.tiles')).length).toBe(512 * 32);
  // The root of a full tile is a hash of the level above.
  const full = new TileTree();
  full.append(readFileSync(join(stream, 'tile/0/000000.tiles')).subarray(8192));
  expect(readFileSync(join(stream, 'tile/1/000000.tiles')).subarray(32)).toEqual(full.root());
  // Leaves are the records as they stand in the log: the first tile begins with the hash of the first.
  const { leaf } = inclusionProof(scratch.dir, `${device}.1`);
  expect(readFileSync(join(stream, 'tile/0/000000.tiles')).subarray(0, 32).toString('hex')).toBe(
    createHash('sha256').update(Buffer.of(0)).update(leaf).digest('hex')
  );
  expect(JSON.parse(leaf.toString())).toMatchObject({ seq: 1, path: 'file-0' });
});
