/** Copies of contents that lie about in a log directory, outside of the segments. */
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { syncDirectory, writeError } from '../storage/durable.ts';

/** Directories of a log in which copies of contents may lie: what repair moved aside, lost conflicts, restores that were cut off. */
const COPY_PLACES = ['quarantine', 'conflicts', 'cache/staging'];

function* filesBelow(dir: string, at: string): Generator<string> {
  let names: string[];
  try {
    names = readdirSync(join(dir, at));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const name of names) {
    const path = `${at}/${name}`;
    const stats = lstatSync(join(dir, path), { throwIfNoEntry: false });
    if (stats?.isDirectory() === true) yield* filesBelow(dir, path);
    else if (stats?.isFile() === true) yield path;
  }
}

/** True when a file is one of the contents, or holds a chunk of one under its id, as a copy of a segment does. */
async function isCopy(path: string, hashes: ReadonlySet<string>, ids: ReadonlySet<string>): Promise<boolean> {
  const hash = createHash('sha256');
  let before = Buffer.alloc(0);
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(piece as Buffer);
    // An id may lie across two pieces.
    const window = Buffer.concat([before, piece as Buffer]);
    for (let at = window.indexOf('SYBK', 0, 'latin1'); at >= 0; at = window.indexOf('SYBK', at + 1, 'latin1')) {
      const count = at + 8 <= window.length ? window.readUInt32LE(at + 4) : 0;
      for (let i = 0; i < count && at + 24 + 36 * i + 32 <= window.length; i += 1) {
        if (ids.has(window.toString('hex', at + 24 + 36 * i, at + 24 + 36 * i + 32))) return true;
      }
    }
    before = window.subarray(Math.max(0, window.length - (1 << 20)));
  }
  return hashes.has(hash.digest('hex'));
}

/**
 * Removes copies of contents that lie about in a log directory.
 *
 * @param hashes SHA-256 of the contents.
 * @param gone Ids of their chunks.
 * @returns What was removed, relative to the log.
 */
export async function removeCopies(
  logDir: string,
  { hashes, gone }: { readonly hashes: Iterable<string>; readonly gone: ReadonlySet<string> }
): Promise<string[]> {
  const wanted = new Set(hashes);
  const removed: string[] = [];
  try {
    for (const place of COPY_PLACES) {
      for (const file of filesBelow(logDir, place)) {
        if (!(await isCopy(join(logDir, file), wanted, gone))) continue;
        rmSync(join(logDir, file));
        syncDirectory(dirname(join(logDir, file)));
        removed.push(file);
      }
    }
  } catch (error) {
    throw writeError(error, 'copies of the content could not be removed');
  }
  return removed;
}
