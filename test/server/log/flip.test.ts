/**
 * One byte of a log changes, as on a disk that rots: whoever reads must get what was recorded, or be told with a name and a
 * code. Wrong content, or a version that silently is not there, is what a user could not forgive.
 *
 * Each byte is flipped once; with SYFT_FLIPS=all each of its bits, and a writer is opened on each of these logs.
 */
import { expect, test } from '@jest/globals';
import { closeSync, cpSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import type { LogReader } from '../../../server/src/log/types.ts';
import { all, quickDirectory, Scratch, version } from './scratch.ts';

const ALL = process.env['SYFT_FLIPS'] === 'all';
const MASKS: readonly number[] = ALL ? [1, 2, 4, 8, 16, 32, 64, 128] : [1];
/** A writer syncs what it writes, which takes its time: opened on every so manyth of the flipped logs. */
const WRITER_EACH = ALL ? 3 : 40;

type Contents = Map<string, { change: Change; content: string | undefined }>;

/** Two lives of a recorder: contents large and small, shared chunks, a list of chunks, moves, deletions, odd names. */
async function smallLog(scratch: Scratch): Promise<void> {
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one'), version(log, 'b', 'two '.repeat(300)), version(log, 'same', 'one')]);
  const pieces = Array.from({ length: 6 }, (_, i) => Buffer.from(`piece ${i}`));
  const parts = pieces.map(piece => version(log, '', piece));
  const ids = parts.map(part => part.draft.hash ?? '');
  const { ref, chunks } = log.contentRef(ids);
  const whole = version(log, 'list', Buffer.concat(pieces));
  await log.append([
    { draft: { ...whole.draft, content: ref }, chunks: [...parts.flatMap(part => part.chunks), ...chunks] },
    version(log, 'a', 'three', { kind: 'modified' })
  ]);
  await log.close();
  const again = await scratch.writer();
  await again.append([
    { draft: { kind: 'moved', path: 'c', from: 'b', type: 'file', flags: [] }, chunks: [] },
    { draft: { kind: 'deleted', path: 'a', type: 'file', flags: [] }, chunks: [] }
  ]);
  await again.append([version(again, 'n\udcff', Buffer.from(Array.from({ length: 200 }, (_, i) => (i * i) % 251)))]);
  await again.append([version(again, 'last', 'words')]);
  await again.close();
}

/** The bytes of a file, changed in place one at a time. */
class Bytes implements Disposable {
  readonly original: Buffer;
  readonly #fd: number;

  constructor(path: string) {
    this.original = readFileSync(path);
    this.#fd = openSync(path, 'r+');
  }

  flip(at: number, mask: number): void {
    writeSync(this.#fd, Buffer.of((this.original[at] ?? 0) ^ mask), 0, 1, at);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** All that a log says, read through; a content that is refused is a SyftError in its place. */
async function read(log: LogReader): Promise<{ found: Contents; refused: number }> {
  const found: Contents = new Map();
  let refused = 0;
  for (const change of await all(log)) {
    let content: string | undefined;
    if (change.content !== undefined) {
      try {
        content = (await log.contentBytes(change)).toString('base64');
      } catch (error) {
        if (!(error instanceof SyftError) || error.code !== 'LOG_DAMAGED') throw error;
        refused += 1;
        continue;
      }
    }
    found.set(versionId(change), { change, content });
  }
  return { found, refused };
}

/** What a reader of the log at `dir` is given, held against what was recorded. Returns how it was told of damage. */
async function judge(
  dir: string,
  recorded: Contents
): Promise<{ told: boolean; same: boolean; missing: readonly string[] }> {
  const damages: string[] = [];
  let log: LogReader;
  try {
    log = await openLogReader({ dir, onDamage: damage => damages.push(damage.kind) });
  } catch (error) {
    if (!(error instanceof SyftError)) throw error;
    return { told: true, same: false, missing: [] };
  }
  try {
    const { found, refused } = await read(log);
    for (const [id, entry] of found) {
      // Tens of thousands of times: Jest is asked where there is something to tell.
      if (!isDeepStrictEqual(entry, recorded.get(id))) expect([id, entry]).toStrictEqual([id, recorded.get(id)]);
    }
    return {
      told: damages.length > 0 || refused > 0,
      same: found.size === recorded.size,
      missing: [...recorded.keys()].filter(id => !found.has(id))
    };
  } catch (error) {
    if (!(error instanceof SyftError)) throw error;
    return { told: true, same: false, missing: [] };
  } finally {
    await log.close();
  }
}

/** Someone goes on recording: what could be read before can be read after, and what is new is there. */
async function writerGoesOn(
  scratch: Scratch,
  dir: string,
  recorded: Contents,
  missing: readonly string[]
): Promise<void> {
  const copy = join(scratch.base, 'written');
  cpSync(dir, copy, { recursive: true });
  try {
    const log = await scratch.writer({ dir: copy }).catch((error: unknown) => {
      if (error instanceof SyftError) return undefined;
      throw error;
    });
    if (log === undefined) return;
    const [change] = await log.append([version(log, 'new', 'recorded after the damage')]);
    await log.close();
    const reader = await openLogReader({ dir: copy });
    const { found } = await read(reader);
    expect((await reader.contentBytes(change!)).toString()).toBe('recorded after the damage');
    await reader.close();
    expect(recorded.has(versionId(change!))).toBe(false);
    for (const [id, entry] of recorded) if (!missing.includes(id)) expect(found.get(id)).toEqual(entry);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

test(
  'each byte of a closed log flipped: fsck names it, and a reader is given what was recorded or is told',
  async () => {
    using scratch = new Scratch(quickDirectory());
    await smallLog(scratch);
    const original = await scratch.reader();
    const recorded = (await read(original)).found;
    await original.close();
    expect(recorded.size).toBe(9);
    expect((await judge(scratch.dir, recorded)).same).toBe(true);
    let flips = 0;
    let told = 0;
    let harmless = 0;
    const files = scratch.files().filter(file => !/^(index|cache|locks)\//.test(file));
    for (const file of files) {
      using bytes = new Bytes(join(scratch.dir, file));
      for (let at = 0; at < bytes.original.length; at += 1) {
        for (const mask of MASKS) {
          bytes.flip(at, ALL ? mask : 1 << (at % 8));
          flips += 1;
          try {
            const named = await scratch.fsck().then(
              damages => damages.length,
              (error: unknown) => (error instanceof SyftError ? 1 : Promise.reject(error as Error))
            );
            expect(named).toBeGreaterThan(0);
            const result = await judge(scratch.dir, recorded);
            // Not all there and nobody told: the loss that goes unnoticed.
            if (!result.same) expect(result.told).toBe(true);
            if (result.told) told += 1;
            else harmless += 1;
            if (flips % WRITER_EACH === 0 && !(result.told && result.missing.length === 0 && !result.same)) {
              await writerGoesOn(scratch, scratch.dir, recorded, result.missing);
            }
          } catch (error) {
            throw new Error(`${file}, byte ${at}, mask ${mask}: ${String(error)}`, { cause: error });
          }
        }
        bytes.flip(at, 0);
      }
    }
    expect(flips).toBeGreaterThan(3000);
    // Both ways are travelled: contents and records, and what only fsck needs.
    expect(told).toBeGreaterThan(flips / 2);
    expect(harmless).toBeGreaterThan(0);
    if (ALL) console.log(`closed log: ${flips} flips, all named by fsck; readers: ${told} told, ${harmless} given all`);
  },
  ALL ? 1_800_000 : 120_000
);

test(
  'each byte of a log that is being written flipped: named as far as head.json vouches, and before the last frame',
  async () => {
    using scratch = new Scratch(quickDirectory());
    const log = await scratch.writer();
    await log.append([version(log, 'a', 'one'), version(log, 'b', 'two '.repeat(30))]);
    await log.append([version(log, 'a', 'three')]);
    await log.close();
    const again = await scratch.writer();
    await again.append([version(again, 'c', 'four')]);
    const lastFrame = statSync(scratch.segment()).size;
    await again.append([version(again, 'd', 'five '.repeat(20))]);
    const dir = join(scratch.base, 'living');
    cpSync(scratch.dir, dir, { recursive: true });
    await again.close();
    rmSync(join(dir, 'locks'), { recursive: true });
    const segment = scratch.segment().replace(scratch.dir, dir);

    const original = await openLogReader({ dir });
    const recorded = (await read(original)).found;
    await original.close();
    expect(recorded.size).toBe(5);
    const last = [...recorded.keys()].slice(-1);
    using bytes = new Bytes(segment);
    const { length } = bytes.original;
    let unnamed = 0;
    for (let at = 0; at < length; at += 1) {
      bytes.flip(at, 1 << (at % 8));
      const named = (await scratch.fsck(true, dir)).length > 0;
      const result = await judge(dir, recorded);
      if (at < lastFrame) expect([at, named]).toEqual([at, true]);
      if (!named) unnamed += 1;
      if (!result.same && !result.told) {
        // A frame that nothing follows and no head vouches for looks as a write does that never came back (docs/durability.md).
        expect([at, named, result.missing]).toEqual([at, false, last]);
      }
      bytes.flip(at, 0);
    }
    expect(unnamed).toBeLessThanOrEqual(length - lastFrame);
  },
  ALL ? 1_800_000 : 120_000
);
