/**
 * What stands on disk at a path, never looking through a link: a path below a symlink or a file is absent, and whatever
 * stands in its way is named.
 */
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { decodePath, encodePath, isEscaped, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import type { Node } from '../core/reconcile.ts';

/** What was seen at a path, and what tells whether it is still that. */
export interface Look {
  readonly node: Node | undefined;
  readonly stats: BigIntStats | undefined;
  /** True when the file could change without its times showing it, so that it must be read again before it is replaced. */
  readonly doubtful: boolean;
}

/** Absolute path for `node:fs`: a string, or bytes when the name is not UTF-8. */
export function absolute(root: string, path: PathName): string | Buffer {
  return isEscaped(path) ? Buffer.concat([Buffer.from(root + sep), encodePath(path)]) : join(root, path);
}

/** `lstat`, or `undefined` when nothing is there. */
export async function lstatOrMissing(path: string | Buffer): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ENAMETOOLONG') {
      return undefined;
    }
    throw error;
  }
}

/** The same file in the same state, as far as stat tells. */
export function sameStats(a: BigIntStats | undefined, b: BigIntStats | undefined): boolean {
  if (a === undefined || b === undefined) {
    return a === b;
  }
  return (
    a.ino === b.ino &&
    a.dev === b.dev &&
    a.mode === b.mode &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

/** Times are as coarse as the kernel's tick, up to 10 ms; network file systems are worse. */
const TICK_NS = 50_000_000n;
const READ = 1024 * 1024;

async function hashFile(path: string | Buffer): Promise<{ hash: string; stats: BigIntStats } | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash('sha256');
    const before = await handle.stat({ bigint: true });
    const buffer = Buffer.allocUnsafe(Math.min(READ, Math.max(4096, Number(before.size) + 1)));
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) {
        break;
      }
      hash.update(buffer.subarray(0, bytesRead));
    }
    const after = await handle.stat({ bigint: true });
    return sameStats(before, after) ? { hash: hash.digest('hex'), stats: after } : undefined;
  } finally {
    await handle.close();
  }
}

/** Hashes are remembered for files whose stat values have not changed. */
export class DiskView {
  readonly #root: string;
  readonly #hashes = new Map<PathName, { stats: BigIntStats; hash: string }>();
  /** Directories found to be real ones all the way down, in this pass. */
  #dirs = new Map<PathName, 'directory' | 'missing' | PathName>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Forgets what holds for one pass only. */
  newPass(): void {
    this.#dirs = new Map([['', 'directory']]);
    if (this.#hashes.size > 200_000) {
      this.#hashes.clear();
    }
  }

  /** Remembers the hash of a file just written. */
  remember(path: PathName, stats: BigIntStats, hash: string): void {
    this.#hashes.set(path, { stats, hash });
  }

  /** What the directory `dir` is: a directory, missing, or the path above it (or itself) that is something else. */
  async standing(dir: PathName): Promise<'directory' | 'missing' | PathName> {
    const known = this.#dirs.get(dir);
    if (known !== undefined) {
      return known;
    }
    let found = await this.standing(parentOf(dir));
    if (found === 'directory') {
      const stats = await lstatOrMissing(absolute(this.#root, dir));
      found = stats === undefined ? 'missing' : stats.isDirectory() ? 'directory' : dir;
    }
    this.#dirs.set(dir, found);
    return found;
  }

  /** Looks. */
  async look(path: PathName): Promise<Look> {
    const nothing: Look = { node: undefined, stats: undefined, doubtful: false };
    if (path !== '' && (await this.standing(parentOf(path))) !== 'directory') {
      return nothing;
    }
    const at = absolute(this.#root, path);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const stats = await lstatOrMissing(at);
      if (stats === undefined) {
        return nothing;
      }
      const doubtful = BigInt(Date.now()) * 1_000_000n - maxTime(stats) < TICK_NS;
      if (stats.isDirectory()) {
        return { node: { type: 'directory' }, stats, doubtful: false };
      }
      try {
        if (stats.isSymbolicLink()) {
          const target = await readlink(at, { encoding: 'buffer' });
          return {
            node: { type: 'symlink', hash: createHash('sha256').update(target).digest('hex') },
            stats,
            doubtful: false
          };
        }
        if (!stats.isFile()) {
          return { node: { type: 'other' }, stats, doubtful: false };
        }
        const mode = Number(stats.mode & 0o777n);
        const cached = this.#hashes.get(path);
        if (cached !== undefined && sameStats(cached.stats, stats) && !doubtful) {
          return { node: { type: 'file', hash: cached.hash, mode }, stats, doubtful };
        }
        const read = await hashFile(at);
        if (read !== undefined) {
          this.#hashes.set(path, read);
          return {
            node: { type: 'file', hash: read.hash, mode: Number(read.stats.mode & 0o777n) },
            stats: read.stats,
            doubtful
          };
        }
      } catch (error) {
        const code = errnoOf(error);
        if (code !== 'ENOENT' && code !== 'ELOOP' && code !== 'ENXIO') {
          // Present, and not to be read: not ours to touch.
          return { node: { type: 'other' }, stats, doubtful: false };
        }
      }
    }
    // It does not rest; whoever writes it has the word.
    return { node: { type: 'other' }, stats: undefined, doubtful: true };
  }

  /** True when the path still is what `look` saw. */
  async holds(path: PathName, look: Look): Promise<boolean> {
    const stats = await lstatOrMissing(absolute(this.#root, path));
    if (!sameStats(stats, look.stats)) {
      return false;
    }
    if (look.doubtful && stats?.isFile() === true) {
      const read = await hashFile(absolute(this.#root, path)).catch(() => undefined);
      return read !== undefined && read.hash === look.node?.hash && sameStats(read.stats, look.stats);
    }
    return true;
  }

  /** Every path below a directory, directories included. Links are not followed. */
  async below(dir: PathName): Promise<PathName[]> {
    const found: PathName[] = [];
    const stack = [dir];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      for (const entry of await readdir(absolute(this.#root, next), { withFileTypes: true, encoding: 'buffer' })) {
        const path = joinPath(next, decodePath(entry.name));
        found.push(path);
        if (entry.isDirectory()) {
          stack.push(path);
        }
      }
    }
    return found;
  }
}

function maxTime(stats: BigIntStats): bigint {
  return stats.mtimeNs > stats.ctimeNs ? stats.mtimeNs : stats.ctimeNs;
}
