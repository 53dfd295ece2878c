/** Tiles on disk, at the paths of C2SP tlog-tiles: `tile/<level>/<index>[.p/<width>]` below the directory of a stream. */
import {
  closeSync,
  fsync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import {
  HASH_SIZE,
  levelWidth,
  partialTiles,
  TILE_WIDTH,
  TileTree,
  type TilePlace,
  type TileTreeOptions
} from '../core/merkle.ts';
import { errnoOf } from '../core/errors.ts';
import { syncDirectory, writeFully } from '../storage/durable.ts';

const sync = promisify(fsync);

/** Path of a tile below the stream's directory; three digits a part, all but the last behind an `x`. */
export function tilePath({ level, index, width }: TilePlace): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const parts = padded.match(/\d{3}/g) ?? [];
  const name = parts.map((part, i) => (i === parts.length - 1 ? part : `x${part}`)).join('/');
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

function bytesOf(path: string): Buffer | undefined {
  try {
    // In a foreign log anything may stand there.
    return statSync(path).size > TILE_WIDTH * HASH_SIZE ? undefined : readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** The first `width` hashes of a tile: from its own file, or from a wider one of the same place. */
export function readTile(streamDir: string, place: TilePlace): Buffer | undefined {
  const length = place.width * HASH_SIZE;
  const exact = bytesOf(join(streamDir, tilePath(place)));
  if (exact?.length === length) return exact;
  if (place.width === TILE_WIDTH) return undefined;
  const widest = widestTile(streamDir, place.level, place.index);
  return widest !== undefined && widest.length >= length ? widest.subarray(0, length) : undefined;
}

/** As many hashes of a tile as any file of it has; `undefined` when there is none. */
export function widestTile(streamDir: string, level: number, index: number): Buffer | undefined {
  const full = bytesOf(join(streamDir, tilePath({ level, index, width: TILE_WIDTH })));
  if (full?.length === TILE_WIDTH * HASH_SIZE) return full;
  const partials = dirname(join(streamDir, tilePath({ level, index, width: 1 })));
  let widths: number[] = [];
  try {
    widths = readdirSync(partials).map(Number);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
  for (const width of widths.filter(width => width > 0 && width < TILE_WIDTH).sort((a, b) => b - a)) {
    const bytes = bytesOf(join(partials, String(width)));
    if (bytes?.length === width * HASH_SIZE) return bytes;
  }
  return undefined;
}

/** Tiles that are open at a time while they are being written. */
const TOGETHER = 64;
/** Syncs on their way at a time: a log that is being written syncs on the same threads. */
const SYNCS = 2;

type WrittenTile = { readonly place: TilePlace; readonly bytes: Buffer };

/**
 * Writes tiles so that they are durable, names included, when this returns. Tiles that are there already are left alone, but for
 * those that do not hold what they should: a tile of a place and width can only be one, so what stands there is damaged.
 *
 * Many are written before the first of them is synced: the file system then commits them together.
 */
export async function writeTiles(streamDir: string, tiles: readonly WrittenTile[]): Promise<void> {
  const directories = new Set<string>();
  for (let from = 0; from < tiles.length; from += TOGETHER) {
    await writeSome(streamDir, tiles.slice(from, from + TOGETHER), directories);
  }
  for (const dir of directories) syncDirectory(dir);
}

async function writeSome(streamDir: string, tiles: readonly WrittenTile[], directories: Set<string>): Promise<void> {
  const open: { readonly path: string; readonly fd: number }[] = [];
  const left = new Set<string>();
  try {
    for (const { place, bytes } of tiles) {
      const path = join(streamDir, tilePath(place));
      if (bytesOf(path)?.equals(bytes) === true) continue;
      const dir = dirname(path);
      if (!directories.has(dir)) makeBelow(streamDir, dir, directories);
      const fd = openSync(`${path}.tmp`, 'w', 0o600);
      open.push({ path, fd });
      left.add(path);
      writeFully(fd, bytes, 0);
    }
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let tile = open[next++]; tile !== undefined; tile = open[next++]) await sync(tile.fd);
    };
    const lanes = await Promise.allSettled(Array.from({ length: SYNCS }, lane));
    const failed = lanes.find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    for (const { path } of open) {
      renameSync(`${path}.tmp`, path);
      left.delete(path);
    }
  } finally {
    for (const { fd } of open) closeSync(fd);
    for (const path of left) rmSync(`${path}.tmp`, { force: true });
  }
}

/** Makes a directory, and notes it and those above it up to the stream's, to be synced. */
function makeBelow(streamDir: string, dir: string, directories: Set<string>): void {
  const first = mkdirSync(dir, { recursive: true, mode: 0o700 });
  directories.add(dir);
  if (first === undefined) return;
  for (let made = dir; ; made = dirname(made)) {
    directories.add(dirname(made));
    if (made === first || dirname(made) === streamDir) return;
  }
}

/** The tiles of one stream on disk, and those that are full and not written yet. */
export class DiskTiles {
  readonly #dir: string;
  readonly #pending = new Map<string, { readonly place: TilePlace; readonly bytes: Buffer }>();
  /** For a tree whose full tiles lie here. */
  readonly options: TileTreeOptions;

  /** @param streamDir `log/<device>`. */
  constructor(streamDir: string) {
    this.#dir = streamDir;
    this.options = {
      load: (level, index) =>
        this.#pending.get(`${level}/${index}`)?.bytes ?? readTile(streamDir, { level, index, width: TILE_WIDTH }),
      onFull: (level, index, bytes) =>
        void this.#pending.set(`${level}/${index}`, { place: { level, index, width: TILE_WIDTH }, bytes })
    };
  }

  /** The tree of `size` leaves from its tiles; `undefined` when one at its right edge is missing. */
  resume(size: number): TileTree | undefined {
    return TileTree.resume(size, place => readTile(this.#dir, place), this.options);
  }

  /** Full tiles that wait to be written. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Writes the full tiles. When this returns they are durable. */
  async flush(): Promise<void> {
    const tiles = [...this.#pending.entries()];
    await writeTiles(
      this.#dir,
      tiles.map(([, tile]) => tile)
    );
    for (const [key] of tiles) this.#pending.delete(key);
  }

  /** Writes the partial tiles that a checkpoint of the whole tree needs beside the full ones. */
  async writePartials(tree: TileTree): Promise<void> {
    const tiles = partialTiles(tree.size).map(place => ({ place, bytes: tree.tile(place) }));
    await writeTiles(this.#dir, tiles);
  }

  /** Removes the partial tiles beside tiles that have become full since the tree had `before` leaves: those hold all of them. */
  dropPartials(before: number, size: number): void {
    for (let level = 0; levelWidth(size, level) >= TILE_WIDTH; level += 1) {
      const from = Math.floor(levelWidth(before, level) / TILE_WIDTH);
      const to = Math.floor(levelWidth(size, level) / TILE_WIDTH);
      if (from >= to) continue;
      const partial = dirname(join(this.#dir, tilePath({ level, index: from, width: 1 })));
      rmSync(partial, { recursive: true, force: true });
    }
  }
}
