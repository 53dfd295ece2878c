/** The tree of a stream that grows on disk: hashes are appended to the file of their level, and durable before a checkpoint says so. */
import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf } from '../core/errors.ts';
import { HASH_SIZE, levelWidth, TILE_WIDTH, TileTree, type TileTreeOptions } from '../core/merkle.ts';
import { makePrivateDirectory, syncDirectory, writeFully } from '../storage/durable.ts';
import { dropSingleTiles, haveSingleTiles } from './single-tiles.ts';
import { FILE_HASHES, hashesInFiles, readTile, tileFile } from './tile-files.ts';

const sync = promisify(fsync);

/** The tiles of one stream on disk, and those that are full and not written yet. */
export class DiskTiles {
  readonly #dir: string;
  /** By `<level>/<index>`. */
  readonly #pending = new Map<string, Buffer>();
  /** Of each level, how many hashes are durable. What stands behind them is not trusted: it may be torn. */
  #written: number[] = [];
  /** Names in them may not be durable yet. */
  readonly #directories = new Set<string>();
  #singlesGone = false;
  /** For a tree whose full tiles lie here. */
  readonly options: TileTreeOptions;

  /** @param streamDir `log/<device>`. */
  constructor(streamDir: string) {
    this.#dir = streamDir;
    this.options = {
      load: (level, index) =>
        this.#pending.get(`${level}/${index}`) ?? readTile(streamDir, { level, index, width: TILE_WIDTH }),
      onFull: (level, index, bytes) => void this.#pending.set(`${level}/${index}`, bytes)
    };
  }

  /** The tree of `size` leaves, as a checkpoint has vouched for it; `undefined` when hashes are missing. */
  resume(size: number): TileTree | undefined {
    const written: number[] = [];
    for (let level = 0; levelWidth(size, level) > 0; level += 1) {
      const needed = levelWidth(size, level);
      const held = hashesInFiles(this.#dir, level, needed);
      if (held < needed && !haveSingleTiles(this.#dir, level, held, needed)) return undefined;
      written.push(held);
    }
    const tree = TileTree.resume(size, place => readTile(this.#dir, place), this.options);
    if (tree !== undefined) this.#written = written;
    return tree;
  }

  /** Full tiles, 8 KiB each, that wait to be written. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * Writes the hashes of a tree that are not on disk yet. When this returns they are durable. After an error those that were not
   * durable are written again, by another descriptor.
   *
   * @param tree One with the options above.
   * @param size As it was, or is, at this size.
   */
  async flush(tree: TileTree, size = tree.size): Promise<void> {
    for (let level = 0; levelWidth(size, level) > 0; level += 1) {
      const end = levelWidth(size, level);
      for (let from = this.#written[level] ?? 0; from < end;) {
        const to = Math.min(end, (Math.floor(from / FILE_HASHES) + 1) * FILE_HASHES);
        await this.#bring(tree, level, from, to);
        this.#written[level] = from = to;
      }
    }
    for (const dir of this.#directories) {
      syncDirectory(dir);
      this.#directories.delete(dir);
    }
    for (const place of this.#pending.keys()) {
      const [level = 0, index = 0] = place.split('/').map(Number);
      if ((index + 1) * TILE_WIDTH <= (this.#written[level] ?? 0)) this.#pending.delete(place);
    }
  }

  /** Takes away what stands behind the hashes of a tree of `size` leaves: a session that ended without a checkpoint has left it. */
  cut(size: number): void {
    for (let level = 0; levelWidth(size, level) > 0; level += 1) {
      const end = levelWidth(size, level);
      const number = Math.floor((end - 1) / FILE_HASHES);
      cutFile(join(this.#dir, tileFile(level, number)), (end - number * FILE_HASHES) * HASH_SIZE);
    }
  }

  /** Removes tiles that have a file of their own, as older logs have them, once those of `size` leaves are durable in the others. */
  dropSingles(size: number): void {
    if (this.#singlesGone) return;
    dropSingleTiles(this.#dir, size);
    this.#singlesGone = true;
  }

  /**
   * Hashes of a level from `from` to `to`, all of one file. Where somebody has taken away what stood before them there, they are left
   * out: fsck names that, and the next opening makes the file anew.
   */
  async #bring(tree: TileTree, level: number, from: number, to: number): Promise<void> {
    const number = Math.floor(from / FILE_HASHES);
    const first = number * FILE_HASHES;
    const path = join(this.#dir, tileFile(level, number));
    // Whoever made the file, or its directory, may have died before the name was durable.
    if (from === first) this.#directories.add(dirname(path));
    if (from === 0) this.#directories.add(join(this.#dir, 'tile')).add(this.#dir);
    const fd = openThere(path);
    if (fd !== undefined) {
      try {
        const bytes = hashes(tree, level, from, to);
        const offset = (from - first) * HASH_SIZE;
        if (fstatSync(fd).size < offset) return;
        // A tree that is grown anew mostly finds what it writes. It may not be durable yet: whoever wrote it may have died before.
        if (!standsAt(fd, bytes, offset)) writeFully(fd, bytes, offset);
        await sync(fd);
      } finally {
        closeSync(fd);
      }
      return;
    }
    if (from > first) return;
    // A new file is there as a whole or not at all: what single tiles of an older log hold is vouched for by a checkpoint already.
    await create(path, hashes(tree, level, from, to));
  }
}

function hashes(tree: TileTree, level: number, from: number, to: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; at < to;) {
    const index = Math.floor(at / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, to - index * TILE_WIDTH);
    parts.push(tree.tile({ level, index, width }).subarray((at % TILE_WIDTH) * HASH_SIZE));
    at = index * TILE_WIDTH + width;
  }
  return Buffer.concat(parts);
}

function openThere(path: string): number | undefined {
  try {
    // A file that is grown in place must not be another one under this name.
    return openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function standsAt(fd: number, bytes: Buffer, offset: number): boolean {
  const there = Buffer.alloc(bytes.length);
  return readSync(fd, there, 0, there.length, offset) === bytes.length && there.equals(bytes);
}

async function create(path: string, bytes: Buffer): Promise<void> {
  makePrivateDirectory(dirname(path));
  const temporary = `${path}.tmp`;
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    try {
      writeFully(fd, bytes, 0);
      await sync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function cutFile(path: string, length: number): void {
  const fd = openThere(path);
  if (fd === undefined) return;
  try {
    if (fstatSync(fd).size <= length) return;
    ftruncateSync(fd, length);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
