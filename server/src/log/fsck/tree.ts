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

/** Hashes of one level, as one file has them. */
interface Tiles {
  readonly path: string;
  readonly level: number;
  /** Place of the first hash in its level. */
  readonly first: number;
  /** How many there should be; of a file that grows it is for the checkpoint to say. */
  readonly width: number | undefined;
  readonly bytes: Buffer;
}

/** Hashes in a full file of a level. */
const IN_FILE = 65_536;

/** All files below a directory, relative to it. What has the name of a file counts as one, whatever it is. */
function filesBelow(dir: string, at = ''): string[] {
  return listing(join(dir, at)).flatMap(name => {
    const path = at === '' ? name : `${at}/${name}`;
    return !name.endsWith('.tiles') && lstatSync(join(dir, path)).isDirectory() ? filesBelow(dir, path) : [path];
  });
}

function* tilesOf(log: CheckedLog, device: string): Generator<Damage, Tiles[]> {
  const tiles: Tiles[] = [];
  const where = `log/${device}/tile`;
  for (const file of filesBelow(join(log.dir, where))) {
    if (file.endsWith('.tmp')) continue;
    const path = `${where}/${file}`;
    const [, inLevel = '', number = ''] = /^(0|[1-9]\d?)\/(\d{6}|[1-9]\d{6,9})\.tiles$/.exec(file) ?? [];
    if (inLevel !== '') {
      const isFile = lstatSync(join(log.dir, path)).isFile();
      const bytes = isFile ? fileBytes(join(log.dir, path), IN_FILE * 32) : undefined;
      // What cannot be read as such a file, or is larger than one, counts as having a width that nothing has.
      const width = bytes === undefined ? 1 : undefined;
      const first = Number(number) * IN_FILE;
      tiles.push({ path, level: Number(inLevel), first, width, bytes: bytes ?? Buffer.alloc(0) });
      continue;
    }
    const [, level = '', index = '', width = '256'] =
      /^(0|[1-9]\d?)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d?\d?))?$/.exec(file) ?? [];
    if (level === '' || Number(width) > (file.includes('.p/') ? 255 : 256)) {
      yield { kind: 'unknown-file', where: path, versions: [], message: `${path} does not belong to a log.` };
      continue;
    }
    tiles.push({
      path,
      level: Number(level),
      first: Number(index.replaceAll(/[x/]/g, '')) * 256,
      width: Number(width),
      bytes: fileBytes(join(log.dir, path)) ?? Buffer.alloc(0)
    });
  }
  return tiles;
}

/** Hashes that a tree of `size` leaves has in a level. */
const widthAt = (size: number, level: number): number => Math.floor(size / 256 ** level);

const fileName = (level: number, hash: number): string =>
  `tile/${level}/${String(Math.floor(hash / IN_FILE)).padStart(6, '0')}.tiles`;

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
  const files = new Map<number, Buffer>();
  const single = new Map<number, Buffer>();
  for (const { level, first, width, bytes } of tiles) {
    if (level !== 0) continue;
    if (width === undefined) files.set(first / IN_FILE, bytes);
    else if (bytes.length > (single.get(first / 256)?.length ?? 0)) single.set(first / 256, bytes);
  }
  const hashIn = (bytes: Buffer | undefined, i: number): Buffer | undefined =>
    bytes !== undefined && bytes.length >= i * 32 + 32 ? bytes.subarray(i * 32, i * 32 + 32) : undefined;
  const inTile = (i: number): Buffer | undefined =>
    hashIn(files.get(Math.floor(i / IN_FILE)), i % IN_FILE) ?? hashIn(single.get(Math.floor(i / 256)), i % 256);
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
    if (log.sealed && log.opener === undefined) {
      yield* checkTilesAlone(tiles, stream, Math.min(checkpoint.size, reach), inTile, checkpoint);
      return;
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
  yield* checkTiles(tiles, { device, size: reach, leaf: trusted, ...endOf(stream), agrees: stream.agrees });
  yield* missingTiles(tiles, device, Math.min(checkpoint?.size ?? 0, reach));
}

/** Up to where the tiles of a stream are vouched for, and whether nothing may stand behind that. */
function endOf({ checkpoint, head, size }: CheckedStream): Pick<Expected, 'signed' | 'ended'> {
  return {
    signed: Math.max(checkpoint?.size ?? 0, head?.tree ?? 0),
    ended: head?.closed === true && head.seq === size && head.tree === checkpoint?.size
  };
}

/** Where no record can be opened: do the tiles that are there lead to what was signed. */
function* checkTilesAlone(
  tiles: readonly Tiles[],
  stream: CheckedStream,
  size: number,
  leaf: (index: number) => Buffer | undefined,
  checkpoint: SignedTree
): Generator<Damage> {
  const { device } = stream;
  const where = `log/${device}/tile`;
  let known = 0;
  while (known < size && leaf(known) !== undefined) known += 1;
  if (known < checkpoint.size) {
    yield {
      kind: 'missing',
      where,
      versions: [],
      message: 'Tiles of the tree are missing; with the keys they can be made anew.'
    };
    return;
  }
  const hashes = (i: number): Buffer => leaf(i) ?? LOST;
  if (rootsAt(hashes, [checkpoint.size]).get(checkpoint.size)?.equals(checkpoint.root) !== true) {
    yield {
      kind: 'checksum',
      where,
      versions: [],
      message: 'The tiles of the tree do not lead to what was signed; with the keys it can be said which are damaged.'
    };
    return;
  }
  yield* checkTiles(tiles, { device, size: known, leaf: hashes, ...endOf(stream), agrees: true });
  yield* missingTiles(tiles, device, checkpoint.size);
}

interface Expected {
  readonly device: string;
  /** Leaves, and what each should be. */
  readonly size: number;
  readonly leaf: (index: number) => Buffer;
  /** Leaves that a checkpoint covers or covered. */
  readonly signed: number;
  /** Closed with the checkpoint that is there: files of tiles end where it does. */
  readonly ended: boolean;
  /** The checkpoint is that of the leaves. */
  readonly agrees: boolean;
}

/** What a checkpoint of `signed` leaves needs and no file has, a file of tiles at a time. One that is too short is named as damaged. */
function* missingTiles(tiles: readonly Tiles[], device: string, signed: number): Generator<Damage> {
  for (let level = 0; widthAt(signed, level) > 0; level += 1) {
    const here = tiles
      .filter(tile => tile.level === level)
      .map(({ first, bytes }) => ({ first, end: first + bytes.length / 32 }))
      .sort((a, b) => a.first - b.first);
    const needed = widthAt(signed, level);
    const short = new Set(tiles.filter(tile => tile.level === level).map(({ path }) => path));
    let from = 0;
    for (const { first, end } of [...here, { first: needed, end: needed }]) {
      for (let at = from; at < Math.min(first, needed);) {
        const where = `log/${device}/${fileName(level, at)}`;
        if (!short.has(where)) {
          const message = 'Tiles of the tree are missing; they can be made anew from the records.';
          yield { kind: 'missing', where, versions: [], message };
        }
        at = (Math.floor(at / IN_FILE) + 1) * IN_FILE;
      }
      from = Math.max(from, end);
    }
  }
}

function* checkTiles(tiles: readonly Tiles[], expected: Expected): Generator<Damage> {
  const { size, leaf, signed, ended, agrees } = expected;
  if (tiles.length === 0) return;
  // Level by level: the hashes of one are the roots of 256 each of the one below.
  let hashes = Buffer.alloc(size * 32);
  for (let i = 0; i < size; i += 1) leaf(i).copy(hashes, i * 32);
  const highest = tiles.reduce((most, tile) => Math.max(most, tile.level), 0);
  for (let level = 0; level <= highest; level += 1) {
    const here = tiles.filter(tile => tile.level === level);
    const covered = new Set(here.filter(({ width }) => width !== undefined).map(({ first }) => first / 256));
    for (const { path, first, width, bytes } of here) {
      let same: boolean;
      if (width === undefined) {
        // Behind what was signed anything may stand: it is written before the checkpoint, and over what a crash has left.
        const due = Math.max(0, Math.min(IN_FILE, widthAt(signed, level) - first));
        const there = Math.floor(bytes.length / 32);
        const compared = hashes.subarray(first * 32, (first + Math.min(due, there)) * 32);
        const rest = (from: number, to: number): boolean => {
          for (let at = from; at < to; at += 1) if (!covered.has(Math.floor((first + at) / 256))) return false;
          return true;
        };
        same =
          bytes.subarray(0, compared.length).equals(compared) &&
          (!ended || bytes.length <= due * 32) &&
          (due <= there || rest(there, Math.min(due, hashes.length / 32 - first)));
      } else {
        const compared = hashes.subarray(first * 32, (first + width) * 32);
        // A tile may reach beyond what can be read; whether it may is for the checkpoint to say.
        same =
          bytes.length === width * 32 &&
          (compared.length === bytes.length || !agrees) &&
          bytes.subarray(0, compared.length).equals(compared);
      }
      if (same) continue;
      const message = 'A tile of the tree is damaged; it can be made anew from the records.';
      yield { kind: 'checksum', where: path, versions: [], message };
    }
    const below = hashes;
    hashes = Buffer.alloc(Math.floor(below.length / (256 * 32)) * 32);
    for (let i = 0; i < hashes.length / 32; i += 1) {
      const from = i * 256;
      const root = rootsAt(j => below.subarray((from + j) * 32, (from + j + 1) * 32), [256]).get(256);
      root?.copy(hashes, i * 32);
    }
  }
}
