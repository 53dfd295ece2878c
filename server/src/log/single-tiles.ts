/**
 * Tiles as logs had them before several of them shared a file: one a file, at the paths of C2SP tlog-tiles,
 * `tile/<level>/<index>[.p/<width>]` below the directory of a stream. They are read, and removed once their level's files hold them.
 */
import { readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../core/errors.ts';
import { HASH_SIZE, levelWidth, TILE_WIDTH, type TilePlace } from '../core/merkle.ts';

const TILE_SIZE = TILE_WIDTH * HASH_SIZE;

/** Path of a tile below the stream's directory; three digits a part, all but the last behind an `x`. */
export function singleTilePath({ level, index, width }: TilePlace): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const parts = padded.match(/\d{3}/g) ?? [];
  const name = parts.map((part, i) => (i === parts.length - 1 ? part : `x${part}`)).join('/');
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** Inverse of {@link singleTilePath}; `undefined` when it is no path of a tile. */
export function parseSingleTilePath(path: string): TilePlace | undefined {
  const [, level, above = '', last = '', width] =
    /^tile\/(\d)\/((?:x\d{3}\/){0,4})(\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path) ?? [];
  if (level === undefined) return undefined;
  const place = {
    level: Number(level),
    index: Number(above.replace(/\D/g, '') + last),
    width: width === undefined ? TILE_WIDTH : Number(width)
  };
  return place.width >= 1 && place.width <= TILE_WIDTH && singleTilePath(place) === path ? place : undefined;
}

/** Whether a tile belongs to the tree of `size` leaves as it is kept: a full one of it, or the partial one at its edge. */
export function isTileOf(size: number, { level, index, width }: TilePlace): boolean {
  const hashes = levelWidth(size, level);
  if (width === TILE_WIDTH) return (index + 1) * TILE_WIDTH <= hashes;
  return index === Math.floor(hashes / TILE_WIDTH) && width === hashes % TILE_WIDTH;
}

function bytesOf(path: string): Buffer | undefined {
  try {
    // In a foreign log anything may stand there.
    return statSync(path).size > TILE_SIZE ? undefined : readFileSync(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

function names(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return [];
  }
}

/** The first `width` hashes of a tile: from its own file, or from a wider one of the same place. */
export function singleTile(streamDir: string, place: TilePlace): Buffer | undefined {
  const length = place.width * HASH_SIZE;
  const exact = bytesOf(join(streamDir, singleTilePath(place)));
  if (exact?.length === length) return exact;
  if (place.width === TILE_WIDTH) return undefined;
  const widest = widestSingleTile(streamDir, place.level, place.index);
  return widest !== undefined && widest.length >= length ? widest.subarray(0, length) : undefined;
}

/** As many hashes of a tile as any file of it has; `undefined` when there is none. */
export function widestSingleTile(streamDir: string, level: number, index: number): Buffer | undefined {
  const full = bytesOf(join(streamDir, singleTilePath({ level, index, width: TILE_WIDTH })));
  if (full?.length === TILE_SIZE) return full;
  const partials = dirname(join(streamDir, singleTilePath({ level, index, width: 1 })));
  const widths = names(partials).map(Number);
  for (const width of widths.filter(width => width > 0 && width < TILE_WIDTH).sort((a, b) => b - a)) {
    const bytes = bytesOf(join(partials, String(width)));
    if (bytes?.length === width * HASH_SIZE) return bytes;
  }
  return undefined;
}

/** True when the hashes of a level from `from` to `to` are all there. Stops at the first tile that is not. */
export function haveSingleTiles(streamDir: string, level: number, from: number, to: number): boolean {
  for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < to; index += 1) {
    const width = Math.min(TILE_WIDTH, to - index * TILE_WIDTH);
    const path = join(streamDir, singleTilePath({ level, index, width }));
    const whole = statSync(path, { throwIfNoEntry: false })?.size === width * HASH_SIZE;
    if (!whole && singleTile(streamDir, { level, index, width }) === undefined) return false;
  }
  return true;
}

/** Removes the tiles that a tree of `size` leaves has; its files hold them. What is no tile stays. */
export function dropSingleTiles(streamDir: string, size: number): void {
  for (let level = 0; levelWidth(size, level) > 0; level += 1) {
    drop(join(streamDir, `tile/${level}`), 0, Math.ceil(levelWidth(size, level) / TILE_WIDTH));
  }
}

/** @param before What the directories above say of the index, in thousands; `tiles`: how many tiles the level has. */
function drop(dir: string, before: number, tiles: number): void {
  for (const name of names(dir)) {
    const [, group, digits, partial] = /^(?:x(\d{3})|(\d{3})(\.p)?)$/.exec(name) ?? [];
    const index = before * 1000 + Number(group ?? digits);
    const path = join(dir, name);
    if (group !== undefined) {
      drop(path, index, tiles);
      removeEmpty(path);
    } else if (digits !== undefined && index < tiles) {
      if (partial === undefined) rmSync(path, { force: true });
      else {
        for (const width of names(path).filter(width => /^\d{1,3}$/.test(width))) rmSync(join(path, width));
        removeEmpty(path);
      }
    }
  }
}

function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}
