/** The tree of a stream: are its tiles and its checkpoint those of its records (docs/format.md, "The tree"). */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Damage } from '../types.ts';
import { fileBytes, listing, sha256 } from './bytes.ts';
import type { CheckedLog, CheckedStream } from './checked-log.ts';
import { checkpointIn } from './notes.ts';

export interface SignedTree {
  readonly size: number;
  readonly root: Buffer;
}

const NONE = sha256();
/** Leaf of a record that was lost before it was in any tile. */
const LOST = sha256(Buffer.of(0));
const node = (left: Buffer, right: Buffer): Buffer => sha256(Buffer.of(1), left, right);

/** Leaf hashes by sequence number; those of records that could not be read are missing. 33 bytes each, not an object. */
export class LeafList {
  #hashes = Buffer.alloc(32 * 1024);
  /** 1 where a hash stands. */
  #present = Buffer.alloc(1024);
  #length = 0;
  #known = 0;

  /** How many were added. */
  get known(): number {
    return this.#known;
  }

  get length(): number {
    return this.#length;
  }

  /** Only ever made shorter from outside. */
  set length(length: number) {
    if (length < this.#length) this.#present.fill(0, length, this.#length);
    this.#length = length;
  }

  /** The records of a frame, which begins with number `first`. */
  add(first: number, raw: Buffer, count: number): void {
    this.#reserve(first - 1 + count);
    let start = 0;
    for (let i = 0; i < count; i += 1) {
      const end = raw.indexOf('\n', start);
      const at = first - 1 + i;
      if (this.#present[at] === 0) {
        sha256(Buffer.of(0), raw.subarray(start, end)).copy(this.#hashes, at * 32);
        this.#present[at] = 1;
        this.#known += 1;
      }
      start = end + 1;
    }
    this.#length = Math.max(this.#length, first - 1 + count);
  }

  #reserve(count: number): void {
    if (count <= this.#present.length) return;
    const room = Math.max(count, 2 * this.#present.length);
    this.#hashes = Buffer.concat([this.#hashes], room * 32);
    this.#present = Buffer.concat([this.#present], room);
  }

  at(index: number): Buffer | undefined {
    return index < this.#length && this.#present[index] === 1
      ? this.#hashes.subarray(index * 32, index * 32 + 32)
      : undefined;
  }

  /** True when the first `count` are all there. */
  whole(count: number): boolean {
    if (count > this.#length) return false;
    const missing = this.#present.indexOf(0);
    return missing < 0 || missing >= count;
  }
}

/** Roots of the tree over the first n leaves, for several n. */
export function rootsAt(leaf: (index: number) => Buffer, sizes: readonly number[]): Map<number, Buffer> {
  const roots = new Map<number, Buffer>([[0, NONE]]);
  const stack: { leaves: number; hash: Buffer }[] = [];
  const wanted = new Set(sizes);
  const last = Math.max(0, ...sizes);
  for (let n = 0; n < last; n += 1) {
    let top = { leaves: 1, hash: leaf(n) };
    for (let below = stack.at(-1); below?.leaves === top.leaves; below = stack.at(-1)) {
      stack.pop();
      top = { leaves: top.leaves * 2, hash: node(below.hash, top.hash) };
    }
    stack.push(top);
    if (!wanted.has(n + 1)) continue;
    const [right, ...rest] = [...stack].reverse();
    roots.set(
      n + 1,
      rest.reduce((hash, left) => node(left.hash, hash), right?.hash ?? NONE)
    );
  }
  return roots;
}

interface Tile {
  readonly path: string;
  readonly level: number;
  readonly index: number;
  readonly width: number;
  readonly bytes: Buffer;
}

/** All files below a directory, relative to it. */
function filesBelow(dir: string, at = ''): string[] {
  return listing(join(dir, at)).flatMap(name => {
    const path = at === '' ? name : `${at}/${name}`;
    return lstatSync(join(dir, path)).isDirectory() ? filesBelow(dir, path) : [path];
  });
}

function* tilesOf(log: CheckedLog, device: string): Generator<Damage, Tile[]> {
  const tiles: Tile[] = [];
  const where = `log/${device}/tile`;
  for (const file of filesBelow(join(log.dir, where))) {
    if (file.endsWith('.tmp')) continue;
    const [, level = '', index = '', width = '256'] =
      /^(0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d?\d?))?$/.exec(file) ?? [];
    if (level === '' || Number(width) > (file.includes('.p/') ? 255 : 256)) {
      const path = `${where}/${file}`;
      yield { kind: 'unknown-file', where: path, versions: [], message: `${path} does not belong to a log.` };
      continue;
    }
    tiles.push({
      path: `${where}/${file}`,
      level: Number(level),
      index: Number(index.replaceAll(/[x/]/g, '')),
      width: Number(width),
      bytes: fileBytes(join(log.dir, where, file)) ?? Buffer.alloc(0)
    });
  }
  return tiles;
}

function tileName(level: number, index: number, width: number): string {
  const name = String(index).padStart(Math.max(3, Math.ceil(String(index).length / 3) * 3), '0');
  const parts = name.replaceAll(/(\d{3})(?=\d)/g, 'x$1/');
  return `tile/${level}/${parts}${width < 256 ? `.p/${width}` : ''}`;
}

/** Where the n hashes of a tile that a tree of `size` leaves needs stand, lowest level first. */
function* neededTiles(size: number): Generator<{ level: number; index: number; width: number }> {
  for (let level = 0, hashes = size; hashes > 0; level += 1, hashes = Math.floor(hashes / 256)) {
    for (let index = 0; index * 256 < hashes; index += 1) {
      yield { level, index, width: Math.min(256, hashes - index * 256) };
    }
  }
}

/** Checks the checkpoint and the tiles of a stream against its records. */
export function* checkTree(log: CheckedLog, stream: CheckedStream): Generator<Damage> {
  const { device, leaves, size } = stream;
  const where = `log/${device}/checkpoint`;
  const tiles = yield* tilesOf(log, device);
  const note = fileBytes(join(log.dir, where));
  if (note === undefined) {
    if (stream.head?.tree !== undefined) {
      yield { kind: 'missing', where, versions: [], message: 'The checkpoint is missing.' };
    }
  } else if (stream.publicKey !== undefined) {
    stream.checkpoint = checkpointIn(note, log.workspace, device, stream.publicKey);
    if (stream.checkpoint === undefined) {
      yield {
        kind: 'signature',
        where,
        versions: [],
        message: 'The checkpoint is not signed by the device of the stream.'
      };
    } else if (stream.checkpoint.size < (stream.head?.tree ?? 0)) {
      stream.told.add('rollback');
      yield { kind: 'rollback', where, versions: [], message: 'The checkpoint is an older one than stood there.' };
    }
  }

  // Leaf hashes that tiles hold, where the records themselves can no longer be read.
  const lowest = new Map<number, Buffer>();
  for (const { level, index, bytes } of tiles) {
    if (level === 0 && bytes.length > (lowest.get(index)?.length ?? 0)) lowest.set(index, bytes);
  }
  const inTile = (i: number): Buffer | undefined => {
    const at = (i % 256) * 32;
    const bytes = lowest.get(Math.floor(i / 256));
    return bytes !== undefined && bytes.length >= at + 32 ? bytes.subarray(at, at + 32) : undefined;
  };
  // A checkpoint may claim any size; behind what records and tiles cover there is nothing to compare.
  let reach = size;
  while (inTile(reach) !== undefined) reach += 1;
  const fromRecords = (i: number): Buffer => leaves.at(i) ?? inTile(i) ?? LOST;
  /** As it was when it was signed, should a record that is read now have been unreadable then. */
  const lostThen = (i: number): Buffer => (inTile(i)?.equals(LOST) === true ? LOST : fromRecords(i));
  let trusted = fromRecords;
  const { checkpoint } = stream;
  if (checkpoint !== undefined) {
    const agrees = (leaf: (i: number) => Buffer): boolean =>
      checkpoint.size <= reach &&
      rootsAt(leaf, [checkpoint.size]).get(checkpoint.size)?.equals(checkpoint.root) === true;
    if (checkpoint.size > size && !stream.told.has('truncated')) {
      stream.told.add('truncated');
      yield {
        kind: 'truncated',
        where: `log/${device}`,
        versions: Array.from({ length: Math.min(1000, checkpoint.size - size) }, (_, i) => `${device}.${size + 1 + i}`),
        message: `The stream ends at ${device}.${size}, but ${device}.${checkpoint.size} was signed.`
      };
    }
    stream.agrees = agrees(fromRecords);
    if (!stream.agrees && agrees(lostThen)) {
      trusted = lostThen;
      stream.agrees = true;
    }
    // What cannot be read and is in no tile is told already; the rest cannot be judged then.
    let judged = checkpoint.size <= reach;
    for (let i = 0; i < checkpoint.size && judged; i += 1) judged = (leaves.at(i) ?? inTile(i)) !== undefined;
    if (!stream.agrees && judged) {
      const signed = agrees(i => inTile(i) ?? fromRecords(i));
      const versions: string[] = [];
      for (let i = 0; signed && i < checkpoint.size && versions.length < 1000; i += 1) {
        const [record, tile] = [leaves.at(i), inTile(i)];
        if (record !== undefined && tile?.equals(record) === false) versions.push(`${device}.${i + 1}`);
      }
      stream.told.add('edited');
      yield {
        kind: 'edited',
        where: `log/${device}`,
        versions,
        message:
          versions.length > 0
            ? `The records of ${versions[0]}${versions.length > 1 ? ` and ${versions.length - 1} others` : ''} are not those that were signed.`
            : 'The records are not those that were signed.'
      };
    }
  }

  // Against records that are known to be other than the signed ones, tiles cannot be judged.
  if (stream.told.has('edited')) return;
  yield* checkTiles(tiles, device, reach, trusted, checkpoint?.size ?? 0, stream.agrees);
}

function* checkTiles(
  tiles: readonly Tile[],
  device: string,
  size: number,
  leaf: (index: number) => Buffer,
  signed: number,
  agrees: boolean
): Generator<Damage> {
  const held = new Map<string, number>();
  for (const { level, index, width } of tiles) {
    const key = `${level}/${index}`;
    held.set(key, Math.max(width, held.get(key) ?? 0));
  }
  for (const { level, index, width } of neededTiles(Math.min(signed, size))) {
    if ((held.get(`${level}/${index}`) ?? 0) >= width) continue;
    yield {
      kind: 'missing',
      where: `log/${device}/${tileName(level, index, width)}`,
      versions: [],
      message: 'A tile of the tree is missing; it can be made anew from the records.'
    };
  }
  if (tiles.length === 0) return;
  // Level by level: the hashes of one are the roots of 256 each of the one below.
  let level = Buffer.alloc(size * 32);
  for (let i = 0; i < size; i += 1) leaf(i).copy(level, i * 32);
  const highest = tiles.reduce((most, tile) => Math.max(most, tile.level), 0);
  for (let l = 0; l <= highest; l += 1) {
    for (const tile of tiles.filter(tile => tile.level === l)) {
      const from = tile.index * 256 * 32;
      const expected = level.subarray(from, from + tile.width * 32);
      // A tile may reach beyond what can be read; whether it may is for the checkpoint to say.
      const same =
        tile.bytes.length === tile.width * 32 &&
        (expected.length === tile.bytes.length || !agrees) &&
        tile.bytes.subarray(0, expected.length).equals(expected);
      if (!same) {
        yield {
          kind: 'checksum',
          where: tile.path,
          versions: [],
          message: 'A tile of the tree is damaged; it can be made anew from the records.'
        };
      }
    }
    const below = level;
    level = Buffer.alloc(Math.floor(below.length / (256 * 32)) * 32);
    for (let i = 0; i < level.length / 32; i += 1) {
      const from = i * 256;
      const root = rootsAt(j => below.subarray((from + j) * 32, (from + j + 1) * 32), [256]).get(256);
      root?.copy(level, i * 32);
    }
  }
}
