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

/** In the codec of a block: it is sealed, its table too. */
const SEALED = 0x100;

/**
 * What a file is: one of the contents, or a file with a chunk of one under its id, as a copy of a segment is (`copy`); or a copy of a
 * sealed segment, of which nothing can be said (`sealed`).
 */
async function judge(
  path: string,
  hashes: ReadonlySet<string>,
  ids: ReadonlySet<string>
): Promise<'copy' | 'sealed' | 'other'> {
  const hash = createHash('sha256');
  let before = Buffer.alloc(0);
  let sealed = false;
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(piece as Buffer);
    // An id may lie across two pieces.
    const window = Buffer.concat([before, piece as Buffer]);
    for (let at = window.indexOf('SYBK', 0, 'latin1'); at >= 0; at = window.indexOf('SYBK', at + 1, 'latin1')) {
      const count = at + 8 <= window.length ? window.readUInt32LE(at + 4) : 0;
      if (at + 20 <= window.length && (window.readUInt32LE(at + 16) & SEALED) !== 0) sealed = true;
      for (let i = 0; i < count && at + 24 + 36 * i + 32 <= window.length; i += 1) {
        if (ids.has(window.toString('hex', at + 24 + 36 * i, at + 24 + 36 * i + 32))) return 'copy';
      }
    }
    before = window.subarray(Math.max(0, window.length - (1 << 20)));
  }
  return hashes.has(hash.digest('hex')) ? 'copy' : sealed ? 'sealed' : 'other';
}

/** What became of copies, relative to the log. */
export interface LooseCopies {
  readonly removed: readonly string[];
  /** Copies of sealed segments, which may have the contents. They stay. */
  readonly unread: readonly string[];
}

/**
 * Removes copies of contents that lie about in a log directory.
 *
 * @param hashes SHA-256 of the contents.
 * @param gone Ids of their chunks.
 */
export async function removeCopies(
  logDir: string,
  { hashes, gone }: { readonly hashes: Iterable<string>; readonly gone: ReadonlySet<string> }
): Promise<LooseCopies> {
  const wanted = new Set(hashes);
  const removed: string[] = [];
  const unread: string[] = [];
  try {
    for (const place of COPY_PLACES) {
      for (const file of filesBelow(logDir, place)) {
        const what = await judge(join(logDir, file), wanted, gone);
        if (what === 'sealed') unread.push(file);
        if (what !== 'copy') continue;
        rmSync(join(logDir, file));
        syncDirectory(dirname(join(logDir, file)));
        removed.push(file);
      }
    }
  } catch (error) {
    throw writeError(error, 'copies of the content could not be removed');
  }
  return { removed, unread };
}
