/**
 * Versions stored as what differs from the one before: who asks for any of them, years later, must get its bytes, and whoever is
 * handed a log by a stranger must not lose the process over it.
 */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { encodeRecord } from '../../../server/src/core/record.ts';
import { packDelta, splitDelta, unpackDelta } from '../../../server/src/log/delta.ts';
import { DICTIONARY } from '../../../server/src/log/fsck/dictionary.ts';
import {
  chainOf,
  CODEC_DELTA,
  encodeBlockHead,
  encodeFrameHeader,
  FLAG_CLOSE,
  FLAG_DELTA,
  FLAG_DICTIONARY,
  FLAG_SEAL,
  FLAG_ZSTD,
  FRAME_HEADER,
  frameLength,
  frameSeed
} from '../../../server/src/log/layout.ts';
import { packRecords, RECORD_DICTIONARY, unpackRecords } from '../../../server/src/log/records-codec.ts';
import { storedBytes, Stream, streamStart, type Block, type Frame } from '../../../server/src/log/stream.ts';
import { all, save, Scratch, sha256 } from './scratch.ts';

/** Lines that do not compress on each other. */
function lines(count: number, seed: string): string[] {
  return Array.from({ length: count }, (_, i) => sha256(`${seed} ${i}`).slice(0, 40));
}

const text = (of: readonly string[]): Buffer => Buffer.from(of.join('\n'));

interface FoundBlock {
  readonly frame: Frame;
  readonly block: Block;
  readonly bases: readonly string[];
}

/** All blocks of the only stream. */
function blocksOf(scratch: Scratch, log: { workspaceId: string; device: string }): FoundBlock[] {
  const stream = new Stream(`${scratch.dir}/log/${log.device}`, log.device, {
    workspace: log.workspaceId,
    config: () => undefined,
    nextNumber: () => 0,
    onDamage: damage => expect(damage).toBeUndefined(),
    keys: undefined
  });
  try {
    stream.discover();
    const found: FoundBlock[] = [];
    for (const frame of stream.walk(streamStart())) {
      for (const block of stream.blocks(frame)) {
        const stored = storedBytes(stream.open(frame.segment), block)!;
        const bases = block.header?.codec === CODEC_DELTA ? splitDelta(stored)!.bases : [];
        found.push({ frame, block, bases });
      }
    }
    return found;
  } finally {
    stream.close();
  }
}

describe('a delta', () => {
  test('unpacks to what was packed, whatever it stands on', async () => {
    const bytes = fc.uint8Array({ maxLength: 3000 });
    await fc.assert(
      fc.asyncProperty(
        bytes,
        fc.array(bytes, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        async (more, parts, magic) => {
          // A base may begin with what zstd takes for a dictionary of its own kind.
          const bases = parts.map(part =>
            magic ? Buffer.concat([Buffer.from('37a430ec', 'hex'), part]) : Buffer.from(part)
          );
          const raw = Buffer.concat([...bases, more]);
          const stored = await packDelta(
            raw,
            bases.map(base => ({ id: sha256(base), bytes: base })),
            9
          );
          const delta = splitDelta(stored)!;
          expect(delta.bases).toEqual(bases.map(base => sha256(base)));
          expect(unpackDelta(delta.packed, bases, raw.length)?.equals(raw)).toBe(true);
          expect(unpackDelta(delta.packed, bases, raw.length + 1)).toBeUndefined();
          if (raw.length > 0) expect(unpackDelta(delta.packed, bases, raw.length - 1)).toBeUndefined();
        }
      ),
      { numRuns: 60 }
    );
  });

  test('is what a save costs: a hundred saves of a table take little more than the table', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const table = lines(5000, 'table');
    let before = await save(log, 'table.csv', text(table));
    const contents = [text(table)];
    const once = await log.storedBytes();
    for (let i = 0; i < 100; i += 1) {
      table[(i * 37) % table.length] = `changed ${i}`;
      contents.push(text(table));
      before = await save(log, 'table.csv', text(table), before);
    }
    expect((await log.storedBytes()) - once).toBeLessThan(once);
    await log.close();
    const reader = await scratch.reader();
    const changes = await all(reader);
    // Newest first, as a history is looked at, with nothing remembered of those before.
    for (const change of changes.toReversed()) {
      expect((await reader.contentBytes(change)).equals(contents[change.seq - 1]!)).toBe(true);
    }
    await reader.close();
    expect(await scratch.fsck()).toEqual([]);
  });

  test('needs a bounded number of blocks, however many saves there were', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const parts = lines(300, 'script');
    let before = await save(log, 'script.py', text(parts));
    for (let i = 0; i < 150; i += 1) {
      parts[i % parts.length] = `line ${i}`;
      before = await save(log, 'script.py', text(parts), before);
    }
    await log.close();
    const needed = new Map<string, Set<FoundBlock>>();
    let most = 0;
    let deltas = 0;
    for (const found of blocksOf(scratch, log)) {
      const needs = new Set([found]);
      for (const base of found.bases) for (const need of needed.get(base)!) needs.add(need);
      for (const { id } of found.block.table!) needed.set(id, needs);
      most = Math.max(most, needs.size);
      if (found.bases.length > 0) deltas += 1;
      expect(found.bases.length > 0).toBe((found.frame.header.flags & FLAG_DELTA) !== 0);
    }
    expect(deltas).toBeGreaterThan(140);
    expect(most).toBeGreaterThan(10);
    expect(most).toBeLessThanOrEqual(49);
  });

  test('reads back after any edits, over sessions, of several files at once', async () => {
    const edit = fc.record({
      file: fc.nat(2),
      at: fc.nat(400),
      cut: fc.nat(30),
      add: fc.string({ maxLength: 200 }),
      reopen: fc.nat(9)
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 25 }), async edits => {
        using scratch = new Scratch();
        let log = await scratch.writer();
        const names = ['a.ipynb', 'b.txt', 'c.csv'];
        const now = names.map(name => text([...lines(200, name), 'x'.repeat(5000), sha256(name).repeat(100)]));
        const latest: (Change | undefined)[] = names.map(() => undefined);
        const contents: Buffer[] = [];
        for (const { file, at, cut, add, reopen } of edits) {
          const was = now[file]!;
          now[file] = Buffer.concat([was.subarray(0, at * 20), Buffer.from(add), was.subarray(at * 20 + cut)]);
          latest[file] = await save(log, names[file]!, now[file], latest[file]);
          contents.push(now[file]);
          if (reopen === 0) {
            await log.close();
            log = await scratch.writer();
          }
        }
        await log.close();
        const reader = await scratch.reader(damage => expect(damage).toBeUndefined());
        const read: Buffer[] = [];
        for (const change of await all(reader)) read.push(await reader.contentBytes(change));
        await reader.close();
        expect(read.map(sha256)).toEqual(contents.map(sha256));
        expect(await scratch.fsck()).toEqual([]);
      }),
      { numRuns: 8 }
    );
  });
});

describe('a damaged base', () => {
  test('is named by every version that needs it, by fsck and by readers, and by no other', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const parts = lines(300, 'script');
    const versions = [await save(log, 'script.py', text(parts))];
    const other = await save(log, 'other.py', text(lines(300, 'other')));
    for (let i = 0; i < 5; i += 1) {
      parts[i * 7] = `line ${i}`;
      versions.push(await save(log, 'script.py', text(parts), versions.at(-1)));
    }
    const rewritten = await save(log, 'script.py', text(lines(300, 'new')), versions.at(-1));
    await log.close();
    const [first] = blocksOf(scratch, log);
    const fd = openSync(first!.frame.segment.path, 'r+');
    writeSync(fd, Buffer.of(0xff, 0xff), 0, 2, first!.block.offset + first!.block.length - 20);
    closeSync(fd);

    const damages = await scratch.fsck(false);
    const named = new Set(damages.flatMap(damage => damage.versions));
    expect([...named].sort()).toEqual(versions.map(versionId).sort());
    const reader = await scratch.reader();
    for (const change of versions) {
      await expect(reader.contentBytes(change)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
    }
    for (const change of [other, rewritten]) expect(sha256(await reader.contentBytes(change))).toBe(change.hash);
    await reader.close();

    // A save after that is stored so that it can be read.
    const again = await scratch.writer();
    parts[200] = 'after the damage';
    const after = await save(again, 'script.py', text(parts), versions.at(-1));
    expect((await again.contentBytes(after)).equals(text(parts))).toBe(true);
    await again.close();
  });
});

describe('a delta that was made up', () => {
  interface Forged {
    readonly raw: Buffer;
    readonly bases: readonly { readonly id: string; readonly bytes: Buffer }[];
    /** What the block says its chunk is. */
    readonly claims?: { readonly id: string; readonly length: number };
  }

  /** Puts a frame with these blocks, and a version for each chunk in them, behind the end of the log. */
  async function forge(scratch: Scratch, forged: readonly Forged[], flags = FLAG_DELTA): Promise<Change[]> {
    const log = await scratch.writer();
    await save(log, 'sound', Buffer.from('sound'));
    const { workspaceId: workspace, device } = log;
    await log.close();
    const last = blocksOf(scratch, log).at(-1)!.frame;
    const path = last.segment.path;
    const close = FRAME_HEADER;
    const bytes = readFileSync(path);
    const end = bytes.length - close;
    expect(last.offset + frameLength(last.header)).toBe(end);
    const at = Date.now() * 1000 + 1000;
    const parts: Buffer[] = [];
    const changes: Change[] = [];
    for (const [i, { raw, bases, claims }] of forged.entries()) {
      const stored = await packDelta(raw, bases, 3);
      const entry = claims ?? { id: sha256(raw), length: raw.length };
      parts.push(encodeBlockHead([entry], entry.length, stored, CODEC_DELTA), stored);
      changes.push({
        device,
        seq: last.header.firstSeq + last.header.count + i,
        kind: 'created',
        path: `forged-${i}`,
        at: at + i,
        hlc: at + i,
        type: 'file',
        size: entry.length,
        hash: entry.id,
        flags: [],
        content: { chunks: [entry.id] }
      });
    }
    const raw = Buffer.from(changes.map(change => `${encodeRecord(change)}\n`).join(''));
    const chunks = Buffer.concat(parts);
    const { stored, flags: recordFlags } = await packRecords(raw);
    const fields = {
      flags: flags | recordFlags,
      firstSeq: changes[0]!.seq,
      count: changes.length,
      committedAt: at,
      recordsStored: stored.length,
      recordsRaw: raw.length,
      chunksLength: chunks.length,
      recordsCrc: (await import('node:zlib')).crc32(stored)
    };
    const header = encodeFrameHeader(
      { ...fields, chain: chainOf(last.header.chain, fields, raw) },
      frameSeed(workspace, device)
    );
    writeFileSync(path, Buffer.concat([bytes.subarray(0, end), header, stored, chunks]));
    return changes;
  }

  const hash = (name: string): string => createHash('sha256').update(name).digest('hex');

  async function refused(scratch: Scratch, changes: readonly Change[]): Promise<void> {
    const reader = await scratch.reader();
    expect(await all(reader)).toHaveLength(changes.length + 1);
    const before = process.memoryUsage().rss;
    for (const change of changes) {
      await expect(reader.contentBytes(change)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
    }
    await reader.close();
    const named = new Set((await scratch.fsck()).flatMap(damage => damage.versions));
    for (const change of changes) expect(named).toContain(versionId(change));
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 2 ** 20);
  }

  test('on chunks that go round in a circle is refused', async () => {
    using scratch = new Scratch();
    const bytes = Buffer.from('base');
    await refused(
      scratch,
      await forge(scratch, [
        { raw: bytes, bases: [{ id: hash('b'), bytes }], claims: { id: hash('a'), length: 4 } },
        { raw: bytes, bases: [{ id: hash('a'), bytes }], claims: { id: hash('b'), length: 4 } },
        { raw: bytes, bases: [{ id: hash('c'), bytes }], claims: { id: hash('c'), length: 4 } }
      ])
    );
  });

  test('on a chunk that is nowhere is refused', async () => {
    using scratch = new Scratch();
    const bytes = Buffer.from('base');
    await refused(
      scratch,
      await forge(scratch, [{ raw: Buffer.from('new base'), bases: [{ id: hash('gone'), bytes }] }])
    );
  });

  test('that is longer, or shorter, than it says is refused', async () => {
    using scratch = new Scratch();
    const sound = Buffer.from('sound');
    const bases = [{ id: sha256(sound), bytes: sound }];
    await refused(
      scratch,
      await forge(scratch, [
        { raw: Buffer.alloc(50 * 2 ** 20), bases, claims: { id: hash('bomb'), length: 10 } },
        { raw: Buffer.from('short'), bases, claims: { id: hash('short'), length: 200 * 2 ** 20 } }
      ])
    );
  });

  test('on others a thousand deep is refused, and the process goes on', async () => {
    using scratch = new Scratch();
    const sound = Buffer.from('sound');
    const forged: Forged[] = [{ raw: Buffer.from('0'), bases: [{ id: sha256(sound), bytes: sound }] }];
    for (let i = 1; i < 1000; i += 1) {
      const { raw } = forged[i - 1]!;
      forged.push({ raw: Buffer.from(String(i)), bases: [{ id: sha256(raw), bytes: raw }] });
    }
    // Newest first in the file: nothing below has been read when the last is asked for.
    const changes = await forge(scratch, forged.toReversed());
    const reader = await scratch.reader();
    await all(reader);
    await expect(reader.contentBytes(changes[0]!)).rejects.toMatchObject({ code: 'LOG_DAMAGED' });
    expect((await reader.contentBytes(changes.at(-1)!)).toString()).toBe('0');
    await reader.close();
    const named = new Set((await scratch.fsck()).flatMap(damage => damage.versions));
    expect(named).toContain(versionId(changes[0]!));
  });

  test('in a frame that does not say it has any is damage for fsck', async () => {
    using scratch = new Scratch();
    const sound = Buffer.from('sound');
    await forge(scratch, [{ raw: Buffer.from('sound and more'), bases: [{ id: sha256(sound), bytes: sound }] }], 0);
    expect((await scratch.fsck()).map(({ kind }) => kind)).toContain('checksum');
  });

  test('a frame of a later format is refused, not misread', async () => {
    using scratch = new Scratch();
    const sound = Buffer.from('sound');
    await forge(scratch, [{ raw: Buffer.from('x'), bases: [{ id: sha256(sound), bytes: sound }] }], FLAG_DELTA | 64);
    await expect(scratch.reader()).rejects.toMatchObject({ code: 'LOG_NEWER_FORMAT' });
    await expect(scratch.fsck()).rejects.toMatchObject({ code: 'LOG_NEWER_FORMAT' });
  });
});

describe('records', () => {
  test('unpack to what they were, at any length', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string(), { maxLength: 50 }), fc.nat(3), async (some, times) => {
        const raw = Buffer.from(some.join('\n').repeat(10 ** times));
        const { stored, flags } = await packRecords(raw);
        expect(flags & FLAG_DICTIONARY && !(flags & FLAG_ZSTD)).toBeFalsy();
        expect(unpackRecords(stored, { flags, recordsRaw: raw.length })?.equals(raw)).toBe(true);
        expect(unpackRecords(stored, { flags, recordsRaw: raw.length + 1 })).toBeUndefined();
      }),
      { numRuns: 60 }
    );
  });

  test('are packed with the dictionary that docs/format.md gives, and that fsck has for itself', () => {
    const page = readFileSync(fileURLToPath(new URL('../../../docs/format.md', import.meta.url)), 'utf8');
    const lines = /### The dictionary of records[^`]*```\n([^`]*)\n```/.exec(page.replace('`\\n` is', ''))?.[1];
    const given = lines?.split('\n').join('').replaceAll('\\n', '\n');
    expect(given).toBe(RECORD_DICTIONARY.toString());
    expect(DICTIONARY.equals(RECORD_DICTIONARY)).toBe(true);
  });

  test('are bound by the chain whatever way they are stored', () => {
    const raw = Buffer.from('{}\n');
    const fields = {
      flags: 0,
      firstSeq: 1,
      count: 1,
      committedAt: 1,
      recordsStored: 3,
      recordsRaw: 3,
      chunksLength: 0,
      recordsCrc: 0
    };
    const chain = (flags: number): string => chainOf(Buffer.alloc(32), { ...fields, flags }, raw).toString('hex');
    for (const flags of [FLAG_ZSTD, FLAG_DELTA, FLAG_DICTIONARY, FLAG_ZSTD | FLAG_DICTIONARY | FLAG_DELTA]) {
      expect(chain(flags)).toBe(chain(0));
    }
    expect(new Set([chain(0), chain(FLAG_SEAL), chain(FLAG_CLOSE)]).size).toBe(3);
  });
});
