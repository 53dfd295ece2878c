/**
 * The tree of a stream on disk: the hashes of a level one behind the other, 65,536 to a file, `tile/<level>/<number>.tiles` below the
 * directory of the stream (docs/format.md, "The tree"). A tile of C2SP tlog-tiles is a range of such a file.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { HASH_SIZE, levelWidth, TILE_WIDTH, type TilePlace } from '../core/merkle.ts';
import { singleTile, widestSingleTile } from './single-tiles.ts';

/** Hashes in a full file of tiles: 256 tiles, 2 MiB. */
export const FILE_HASHES = 256 * TILE_WIDTH;
/** Its bytes. */
export const FULL_TILE_FILE = FILE_HASHES * HASH_SIZE;

/** Path, below the stream's directory, of the file with the hashes of a level from `number * FILE_HASHES` on. */
export function tileFile(level: number, number: number): string {
  return `tile/${level}/${String(number).padStart(6, '0')}.tiles`;
}

/** Whether a path below the stream's directory is of such a file, and the tree of `size` leaves has hashes in it. */
export function isTileFileOf(size: number, path: string): boolean {
  const [, level = '', number = ''] = /^tile\/(\d)\/(\d{6,13})\.tiles$/.exec(path) ?? [];
  return (
    tileFile(Number(level), Number(number)) === path && Number(number) * FILE_HASHES < levelWidth(size, Number(level))
  );
}

/** How many of the first `wanted` hashes of a level its files hold. Stops at the first that is missing or short, whatever is claimed. */
export function hashesInFiles(streamDir: string, level: number, wanted: number): number {
  let held = 0;
  while (held < wanted) {
    const path = join(streamDir, tileFile(level, held / FILE_HASHES));
    const hashes = Math.floor((statSync(path, { throwIfNoEntry: false })?.size ?? 0) / HASH_SIZE);
    // In a foreign log anything may stand there.
    if (hashes > FILE_HASHES) return held;
    held += hashes;
    if (hashes < FILE_HASHES) break;
  }
  return Math.min(held, wanted);
}

/** As many of the `width` first hashes of a tile as the file of its level holds. */
function fromFile(streamDir: string, { level, index, width }: TilePlace): Buffer {
  const first = index * TILE_WIDTH;
  const path = join(streamDir, tileFile(level, Math.floor(first / FILE_HASHES)));
  const out = Buffer.alloc(width * HASH_SIZE);
  let got = 0;
  try {
    const fd = openSync(path, 'r');
    try {
      const offset = (first % FILE_HASHES) * HASH_SIZE;
      for (let n = -1; n !== 0 && got < out.length; got += n) {
        n = readSync(fd, out, got, out.length - got, offset + got);
      }
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
  return out.subarray(0, got - (got % HASH_SIZE));
}

/** The first `width` hashes of a tile; `undefined` when they are not to be had. */
export function readTile(streamDir: string, place: TilePlace): Buffer | undefined {
  const bytes = fromFile(streamDir, place);
  return bytes.length === place.width * HASH_SIZE ? bytes : singleTile(streamDir, place);
}

/** As many hashes of a tile as there are; `undefined` when there is none. */
export function widestTile(streamDir: string, level: number, index: number): Buffer | undefined {
  const bytes = fromFile(streamDir, { level, index, width: TILE_WIDTH });
  if (bytes.length === TILE_WIDTH * HASH_SIZE) return bytes;
  const single = widestSingleTile(streamDir, level, index);
  return bytes.length >= (single?.length ?? 1) ? bytes : single;
}
