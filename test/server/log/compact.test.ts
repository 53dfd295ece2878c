/**
 * Compaction: the log takes less room, and whoever asks for any version, proof or label gets what he got before; beside readers and
 * copies, after prunes, in encrypted logs, and wherever it is cut off (faults.test.ts).
 */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { parsePolicy } from '../../../server/src/core/retention-policy.ts';
import { compactLog, type Compacted } from '../../../server/src/log/compact.ts';
import { eraseContent } from '../../../server/src/log/erase.ts';
import { Inventory } from '../../../server/src/log/inventory.ts';
import { FRAME_HEADER } from '../../../server/src/log/layout.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { pruneLog } from '../../../server/src/log/prune.ts';
import type { LogReader, LogWriter, OpenWriter } from '../../../server/src/log/types.ts';
import { EncryptedScratch, nonceOf, partsOfSegment } from './encrypted-log.ts';
import { all, codeOf, quickDirectory, save, Scratch, sha256, version } from './scratch.ts';

const noise = (name: string, length: number): string =>
  createHash('shake256', { outputLength: length >> 1 })
    .update(name)
    .digest('hex');

/** A notebook with a plot that is drawn anew now and then, and code that is edited. */
function notebook(i: number): Buffer {
  const cells = Array.from({ length: 12 }, (_, cell) => [
    `  "source": "model_${cell} = fit(data, seed=${cell * 7})  # ${i % 12 === cell ? `tried ${i}` : 'as before'}",`,
    `  "image/png": "${noise(`plot ${cell} ${cell === 3 ? Math.floor(i / 5) : 0}`, 6000)}",`
  ]);
  return Buffer.from(`{"cells": [\n${cells.flat().join('\n')}\n]}`);
}

/** Versions from `from` on of two files, each recorded on the one before. */
async function live(log: LogWriter, from: number, count: number, latest = new Map<string, Change>()): Promise<void> {
  for (let i = from; i < from + count; i += 1) {
    for (const [path, bytes] of [
      ['analysis.ipynb', notebook(i)],
      ['notes.md', Buffer.from(`${noise('text', 2000)}\n${i}\n${noise(`more ${i % 3}`, 500)}`)]
    ] as const) {
      latest.set(path, await save(log, path, bytes, latest.get(path)));
    }
  }
}

/** Ends the segment that is being written, as one does that is full. */
const endSegment = (log: OpenWriter): Promise<void> =>
  log.exclusively(async inside => {
    await inside.seal();
    await inside.begin();
  });

/** Every version with the hash of the content that is read of it. */
async function held(log: LogReader): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const change of await all(log)) {
    if (change.content !== undefined) found.set(versionId(change), sha256(await log.contentBytes(change)));
  }
  return found;
}

const recordedHashes = async (log: LogReader): Promise<Map<string, string>> =>
  new Map((await all(log)).flatMap(change => (change.hash === undefined ? [] : [[versionId(change), change.hash]])));

const sizeOf = (scratch: Scratch): number => scratch.segments().reduce((sum, path) => sum + statSync(path).size, 0);

/** The frames of a segment: what stands in them but for their contents. */
function recordsOf(path: string): string[] {
  const bytes = readFileSync(path);
  const found: string[] = [];
  for (let at = 128; at < bytes.length;) {
    const end = at + FRAME_HEADER + bytes.readUInt32LE(at + 32);
    found.push(bytes.toString('hex', at + 44, at + 76) + bytes.toString('hex', at + FRAME_HEADER, end));
    at = end + bytes.readUInt32LE(at + 36);
  }
  return found;
}

test('a compacted log is smaller, and holds every version, record and proof that it held', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 40);
  await log.close();
  const before = sizeOf(scratch);
  const again = await scratch.writer();
  const proof = encodeProof(inclusionProof(scratch.dir, `${again.device}.7`));
  const records = recordsOf(scratch.segment());
  const expected = await recordedHashes(again);

  const said = await compactLog(again, { all: true, dryRun: true });
  expect(sizeOf(scratch)).toBe(before);
  const done = await compactLog(again, { all: true });
  expect([said.segments, said.freedBytes]).toEqual([done.segments, done.freedBytes]);
  expect(done.storedBytes).toBe(sizeOf(scratch));
  expect(done).toMatchObject({ segments: 1, damaged: [] });
  expect(sizeOf(scratch)).toBeLessThan(before * 0.85);
  expect(recordsOf(scratch.segment()).slice(0, records.length)).toEqual(records);
  expect(await held(again)).toEqual(expected);
  expect(verifyInclusionProof(decodeProof(proof))).toBeDefined();
  expect(verifyInclusionProof(inclusionProof(scratch.dir, `${again.device}.7`))).toBeDefined();
  await again.close();
  expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);
});

test('what is compacted is not touched again, and no segment ends for it twice', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 5);
  await compactLog(log, { all: true });
  const segments = scratch.segments().map(path => [path, statSync(path).ino]);
  expect(segments.length).toBe(2);
  const nothing: Compacted = { segments: 0, freedBytes: 0, storedBytes: sizeOf(scratch), damaged: [] };
  expect(await compactLog(log, { all: true })).toEqual(nothing);
  expect(scratch.segments().map(path => [path, statSync(path).ino])).toEqual(segments);
  await log.close();
});

test('a small log is not cut into segments for it unless that is asked for', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 5);
  expect((await compactLog(log)).segments).toBe(0);
  expect(scratch.segments().length).toBe(1);
  await log.close();
});

test('a recorder goes on upon what is compacted, in the same session and in the next, and compacts that too', async () => {
  using scratch = new Scratch(quickDirectory());
  const latest = new Map<string, Change>();
  let log = await scratch.writer();
  for (let round = 0; round < 4; round += 1) {
    await live(log, round * 6, 6, latest);
    if (round % 2 === 0) await compactLog(log, { all: true });
    else {
      await log.close();
      log = await scratch.writer();
    }
    expect(await held(log)).toEqual(await recordedHashes(log));
  }
  await compactLog(log, { all: true });
  expect(await held(log)).toEqual(await recordedHashes(log));
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('while it compacts, recording goes on', async () => {
  using scratch = new Scratch(quickDirectory());
  const latest = new Map<string, Change>();
  const log = await scratch.writer();
  await live(log, 0, 20, latest);
  let during = 0;
  const compacting = compactLog(log, { all: true }).finally(() => (during = -1));
  let recorded = 0;
  while (during === 0) {
    await live(log, 20 + recorded, 1, latest);
    recorded += 1;
  }
  expect((await compacting).segments).toBe(1);
  expect(recorded).toBeGreaterThan(0);
  expect(await held(log)).toEqual(await recordedHashes(log));
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('whoever reads beside it reads on, of another process and of the same', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 10);
  const expected = await recordedHashes(log);
  const beside = await scratch.reader();
  const read = new Map<string, string>();
  const rest = beside.changes()[Symbol.asyncIterator]();
  const own = log.changes()[Symbol.asyncIterator]();
  const ownRead: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const { value } = (await rest.next()) as { value: Change };
    read.set(versionId(value), sha256(await beside.contentBytes(value)));
    ownRead.push(versionId(((await own.next()) as { value: Change }).value));
  }
  const marks = log.marks()!;
  await compactLog(log, { all: true });
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
    read.set(versionId(next.value), sha256(await beside.contentBytes(next.value)));
  }
  for (let next = await own.next(); next.done !== true; next = await own.next()) ownRead.push(versionId(next.value));
  expect(read).toEqual(expected);
  expect(ownRead).toEqual([...expected.keys()]);
  // Who kept where he was goes on there.
  expect(await Array.fromAsync(log.changesAfter(marks)!)).toEqual([]);
  const [fresh] = await log.append([version(log, 'later', 'later')]);
  expect((await beside.refresh()).map(versionId)).toEqual([versionId(fresh!)]);
  await beside.close();
  await log.close();
});

test('segments are compacted in any order, each on those before it, and nothing goes round', async () => {
  using scratch = new Scratch(quickDirectory());
  const latest = new Map<string, Change>();
  const log = await scratch.writer();
  for (let round = 0; round < 3; round += 1) {
    await live(log, round * 8, 8, latest);
    await endSegment(log);
  }
  const expected = await recordedHashes(log);
  const plain = scratch.segments().map(path => readFileSync(path));
  expect((await compactLog(log)).segments).toBe(3);
  expect(await held(log)).toEqual(expected);
  await log.close();
  const packed = scratch.segments().map(path => readFileSync(path));
  // A crash leaves some as they were; so may a copy that was made meanwhile.
  for (let which = 0; which < 8; which += 1) {
    for (let i = 0; i < 3; i += 1) {
      writeFileSync(scratch.segment(i), ((which >> i) & 1) === 1 ? packed[i]! : plain[i]!);
    }
    await using reader = await scratch.reader();
    expect(await held(reader)).toEqual(expected);
    expect(await scratch.fsck()).toEqual([]);
  }
});

test('a later segment of few changes becomes no larger: it stays a delta on the earlier one', async () => {
  using scratch = new Scratch(quickDirectory());
  const latest = new Map<string, Change>();
  const log = await scratch.writer();
  await live(log, 0, 8, latest);
  await endSegment(log);
  await live(log, 8, 3, latest);
  await endSegment(log);
  const sizes = scratch.segments().map(path => statSync(path).size);
  await compactLog(log);
  const after = scratch.segments().map(path => statSync(path).size);
  expect(after[1]).toBeLessThanOrEqual(sizes[1]!);
  expect(await held(log)).toEqual(await recordedHashes(log));
  await log.close();
});

describe('dropping', () => {
  const KEEP_LAST = parsePolicy({ keepAll: '0h' }, 'test');

  test('a prune after it frees what it says, drops what the policy says, and keeps the rest', async () => {
    using scratch = new Scratch(quickDirectory());
    const log = await scratch.writer();
    await live(log, 0, 12);
    await compactLog(log, { all: true });
    const before = sizeOf(scratch);
    const now = (Date.now() + 60_000) * 1000;
    const said = await pruneLog(log, KEEP_LAST, { now, dryRun: true });
    const done = await pruneLog(log, KEEP_LAST, { now });
    expect(done.freedBytes).toBe(said.freedBytes);
    expect(done.freedBytes).toBeGreaterThan(0);
    expect(sizeOf(scratch)).toBeLessThan(before);
    for (const change of await all(log)) {
      const lost = done.lost.some(each => each.versionId === versionId(change));
      expect(await codeOf(log.contentBytes(change))).toBe(lost ? 'VERSION_PRUNED' : undefined);
    }
    await compactLog(log, { all: true });
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
  });

  test('a secret is erased from it: no block has it any more, and what was packed with it is there', async () => {
    using scratch = new Scratch(quickDirectory());
    const log = await scratch.writer();
    const secret = 'password: hunter2';
    await live(log, 0, 4);
    const [leaked] = await log.append([version(log, 'notes.env', secret)]);
    await live(log, 4, 4);
    await compactLog(log, { all: true });
    const expected = await recordedHashes(log);
    expected.delete(versionId(leaked!));
    await eraseContent(log, { hash: sha256(secret) });
    expect(await codeOf(log.contentBytes(leaked!))).toBe('VERSION_ERASED');
    for (const change of await all(log)) {
      const hash = expected.get(versionId(change));
      if (hash !== undefined) expect(sha256(await log.contentBytes(change))).toBe(hash);
    }
    const inventory = await Inventory.read(scratch.dir);
    expect(inventory.found(sha256(secret))).toBeUndefined();
    inventory.close();
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
  });

  test('of what was pruned before, nothing comes back', async () => {
    using scratch = new Scratch(quickDirectory());
    const log = await scratch.writer();
    await live(log, 0, 6);
    const { lost } = await pruneLog(log, KEEP_LAST, { now: (Date.now() + 60_000) * 1000 });
    await compactLog(log, { all: true });
    const gone = new Set(lost.map(each => each.versionId));
    for (const change of await all(log)) {
      expect(await codeOf(log.contentBytes(change))).toBe(gone.has(versionId(change)) ? 'VERSION_PRUNED' : undefined);
    }
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
  });
});

test('a segment with damage is left as it is and named, and others are compacted', async () => {
  using scratch = new Scratch(quickDirectory());
  const latest = new Map<string, Change>();
  let log = await scratch.writer();
  for (let round = 0; round < 3; round += 1) {
    await live(log, round * 4, 4, latest);
    await endSegment(log);
  }
  await log.close();
  const bytes = readFileSync(scratch.segment(1));
  // In the middle of a block.
  bytes.writeUInt8(bytes.readUInt8(3000) ^ 1, 3000);
  writeFileSync(scratch.segment(1), bytes);
  log = await scratch.writer();
  const done = await compactLog(log);
  expect(done.damaged).toContain(scratch.segment(1).slice(scratch.dir.length + 1));
  expect(readFileSync(scratch.segment(1)).equals(bytes)).toBe(true);
  expect(done.segments).toBeGreaterThan(0);
  const damaged = (await scratch.fsck()).flatMap(({ versions }) => versions);
  for (const change of await all(log)) {
    const code = await codeOf(log.contentBytes(change));
    expect([versionId(change), code]).toEqual([
      versionId(change),
      damaged.includes(versionId(change)) ? 'LOG_DAMAGED' : undefined
    ]);
  }
  await log.close();
});

test('stopped, it leaves the log as it was, and no file beside it', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 4);
  await endSegment(log);
  const signal = AbortSignal.abort();
  expect(await codeOf(compactLog(log, { signal }))).toBe('CANCELLED');
  expect(readdirSync(join(scratch.dir, 'log', log.device)).filter(name => name.endsWith('.tmp'))).toEqual([]);
  expect((await compactLog(log)).segments).toBe(1);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('what a crash has left beside a segment goes when the log is next opened', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 2);
  await log.close();
  writeFileSync(`${scratch.segment()}.tmp`, 'half a segment');
  expect(await scratch.fsck()).toEqual([]);
  await (await scratch.writer()).close();
  expect(scratch.files().filter(name => name.endsWith('.seg.tmp'))).toEqual([]);
});

test('an encrypted log: smaller, whole with keys and without, and no nonce twice', async () => {
  using scratch = await EncryptedScratch.make(quickDirectory());
  const latest = new Map<string, Change>();
  const log = await scratch.writer();
  await live(log, 0, 10, latest);
  // What ends a segment that is full is a frame with records.
  await endSegment(log);
  await live(log, 10, 10, latest);
  const before = new Set(scratch.segments().flatMap(partsOfSegment).map(nonceOf));
  const expected = await recordedHashes(log);
  const size = sizeOf(scratch);
  await compactLog(log, { all: true });
  expect(sizeOf(scratch)).toBeLessThan(size * 0.9);
  expect(await held(log)).toEqual(expected);
  await live(log, 20, 2, latest);
  await log.close();
  const parts = scratch.segments().flatMap(partsOfSegment);
  expect(new Set(parts.map(nonceOf)).size).toBe(parts.length);
  // Blocks are sealed anew, none under a number that was used.
  for (const part of parts) if (part.purpose !== 'records') expect(before.has(nonceOf(part))).toBe(false);
  for (const keys of [scratch.logKeys, undefined]) {
    const { fsckLog } = await import('../../../server/src/log/fsck.ts');
    const damages = await Array.fromAsync(fsckLog(scratch.dir, { readData: true, ...(keys && { keys }) }));
    expect(damages).toEqual([]);
  }
  await using reader = await scratch.reader();
  expect((await held(reader)).size).toBe(expected.size + 4);
});

test('a flipped byte anywhere in what is compacted is named by fsck', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await live(log, 0, 3);
  await compactLog(log, { all: true });
  await log.close();
  const path = scratch.segment();
  const sound = readFileSync(path);
  for (let at = 128; at < sound.length; at += Math.ceil(sound.length / 60)) {
    const bytes = Buffer.from(sound);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 0x40, at);
    writeFileSync(path, bytes);
    expect([at, (await scratch.fsck()).length > 0]).toEqual([at, true]);
  }
});

test('a small file among thousands is read by unpacking a few of them, and not all', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  for (let i = 0; i < 3; i += 1) {
    await log.append(Array.from({ length: 800 }, (_, k) => version(log, `d/${k}-${i}`, `${sha256(`${k} ${i}`)}`)));
  }
  await compactLog(log, { all: true });
  const inventory = await Inventory.read(scratch.dir);
  const some = (await all(log)).filter(({ seq }) => seq % 100 === 0);
  for (const change of some) {
    const unpacked = [...inventory.found(change.hash!)!.needs.values()].reduce((sum, raw) => sum + raw, 0);
    // Of 154 kB.
    expect(unpacked).toBeLessThan(70_000);
  }
  inventory.close();
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});
