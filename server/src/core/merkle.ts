/**
 * The Merkle tree of RFC 6962 (section 2) over the records of a stream, kept in tiles of 256 hashes (C2SP tlog-tiles, height 8).
 * Pure: where tiles lie is the caller's business. Sizes are exact up to 2^53; no bit operators, which would cut them to 32 bits.
 */
import { hash } from 'node:crypto';

/** Bytes of a hash. */
export const HASH_SIZE = 32;
/** Hashes in a full tile. */
export const TILE_WIDTH = 256;
const TILE_SIZE = HASH_SIZE * TILE_WIDTH;

/** Root of the tree without leaves: SHA-256 of nothing. */
export const EMPTY_ROOT: Buffer = hash('sha256', Buffer.alloc(0), 'buffer');
/** Stands where a record was lost: the hash of an empty leaf, which no record can have. */
export const LOST_LEAF: Buffer = hash('sha256', Buffer.of(0), 'buffer');

const LINE_FEED = 0x0a;
const pair = Buffer.alloc(1 + 2 * HASH_SIZE);
pair[0] = 1;

/** Hash of a leaf: SHA-256(0x00 ‖ bytes). */
export function leafHash(bytes: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([Buffer.of(0), bytes]), 'buffer');
}

/** Hash of an inner node: SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1);
  pair.set(right, 1 + HASH_SIZE);
  return hash('sha256', pair, 'buffer');
}

/**
 * Leaf hashes of records as a frame holds them, one behind the other; `undefined` when they are not `count` lines.
 *
 * @param records Lines, each ended by a line feed. Written to meanwhile, and in the end as they were.
 */
export function leafHashesOf(records: Buffer, count: number): Buffer | undefined {
  const out = Buffer.allocUnsafe(count * HASH_SIZE);
  let start = 0;
  for (let i = 0; i < count; i += 1) {
    const end = records.indexOf(LINE_FEED, start);
    if (end < 0) return undefined;
    let leaf: Buffer;
    if (start === 0) {
      leaf = Buffer.concat([Buffer.of(0), records.subarray(0, end)]);
    } else {
      // The line feed in front stands where the hash wants a zero.
      records[start - 1] = 0;
      leaf = records.subarray(start - 1, end);
    }
    // As text of bytes a hash comes back in a third of the time that a buffer of its own takes.
    out.write(hash('sha256', leaf, 'binary'), i * HASH_SIZE, HASH_SIZE, 'latin1');
    if (start > 0) records[start - 1] = LINE_FEED;
    start = end + 1;
  }
  return start === records.length ? out : undefined;
}

/** Root of a whole subtree whose hashes, a power of two of them, lie in `hashes` from `start` on. */
function fold(hashes: Buffer, start: number, count: number): Buffer {
  const work = Buffer.from(hashes.subarray(start * HASH_SIZE, (start + count) * HASH_SIZE));
  for (let width = count; width > 1; width /= 2) {
    for (let i = 0; i < width / 2; i += 1) {
      work.copy(pair, 1, 2 * i * HASH_SIZE, (2 * i + 2) * HASH_SIZE);
      work.write(hash('sha256', pair, 'binary'), i * HASH_SIZE, HASH_SIZE, 'latin1');
    }
  }
  return work.subarray(0, HASH_SIZE);
}

/** Largest power of two below `n` (n > 1). */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

const odd = (n: number): boolean => n % 2 === 1;
const half = (n: number): number => Math.floor(n / 2);

/** Hashes at a tile level in a tree of `size` leaves. */
export function levelWidth(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

/** One tile of a tree: where it stands and how many hashes it holds. */
export interface TilePlace {
  readonly level: number;
  readonly index: number;
  /** 1…256; less than 256: a partial tile. */
  readonly width: number;
}

/** The partial tiles of a tree of `size` leaves, lowest level first. */
export function partialTiles(size: number): TilePlace[] {
  const places: TilePlace[] = [];
  for (let level = 0; levelWidth(size, level) > 0; level += 1) {
    const hashes = levelWidth(size, level);
    if (hashes % TILE_WIDTH > 0) {
      places.push({ level, index: Math.floor(hashes / TILE_WIDTH), width: hashes % TILE_WIDTH });
    }
  }
  return places;
}

export interface TileTreeOptions {
  /** A full tile that was handed to `onFull` before; `undefined` when it is not to be had. Default: all are kept in memory. */
  readonly load?: (level: number, index: number) => Buffer | undefined;
  /** Called with each tile that has become full; the bytes are the callee's. */
  readonly onFull?: (level: number, index: number, tile: Buffer) => void;
}

/** A tile that a root or a proof needs could not be loaded. */
export class TileMissing extends Error {}

/** A tree that grows. Holds the tiles at its right edge, 8 KiB a level; full ones are with the caller, or kept in memory. */
export class TileTree {
  #size = 0;
  readonly #edge: Buffer[] = [];
  readonly #kept = new Map<string, Buffer>();
  readonly #load: (level: number, index: number) => Buffer | undefined;
  readonly #onFull: (level: number, index: number, tile: Buffer) => void;

  constructor(options: TileTreeOptions = {}) {
    this.#load = options.load ?? ((level, index) => this.#kept.get(`${level}/${index}`));
    this.#onFull = options.onFull ?? ((level, index, tile) => void this.#kept.set(`${level}/${index}`, tile));
  }

  /**
   * A tree as it was at `size` leaves, from its partial tiles.
   *
   * @param read The first `width` hashes of a tile.
   * @returns `undefined` when one of them is not to be had.
   */
  static resume(
    size: number,
    read: (place: TilePlace) => Buffer | undefined,
    options: TileTreeOptions
  ): TileTree | undefined {
    const tree = new TileTree(options);
    for (const place of partialTiles(size)) {
      const bytes = read(place);
      if (bytes?.length !== place.width * HASH_SIZE) return undefined;
      bytes.copy(tree.#edgeAt(place.level));
    }
    tree.#size = size;
    return tree;
  }

  /** Number of leaves. */
  get size(): number {
    return this.#size;
  }

  #edgeAt(level: number): Buffer {
    while (this.#edge.length <= level) this.#edge.push(Buffer.alloc(TILE_SIZE));
    return this.#edge[level] as Buffer;
  }

  /** Adds leaves, given as their hashes one behind the other. */
  append(leaves: Uint8Array): void {
    for (let done = 0; done < leaves.length;) {
      const at = (this.#size % TILE_WIDTH) * HASH_SIZE;
      const n = Math.min(TILE_SIZE - at, leaves.length - done);
      this.#edgeAt(0).set(leaves.subarray(done, done + n), at);
      done += n;
      this.#size += n / HASH_SIZE;
      if (at + n === TILE_SIZE) this.#full();
    }
  }

  #full(): void {
    for (let level = 0; ; level += 1) {
      const hashes = levelWidth(this.#size, level);
      if (hashes % TILE_WIDTH !== 0) return;
      const tile = Buffer.from(this.#edgeAt(level));
      const above = levelWidth(this.#size, level + 1) - 1;
      fold(tile, 0, TILE_WIDTH).copy(this.#edgeAt(level + 1), (above % TILE_WIDTH) * HASH_SIZE);
      this.#onFull(level, above, tile);
    }
  }

  /** The first `width` hashes of a tile. Throws TileMissing. */
  tile(place: TilePlace): Buffer {
    const edge = Math.floor(levelWidth(this.#size, place.level) / TILE_WIDTH);
    const bytes = place.index === edge ? this.#edgeAt(place.level) : this.#load(place.level, place.index);
    if (bytes?.length !== TILE_SIZE) throw new TileMissing(`tile ${place.level}/${place.index}`);
    return bytes.subarray(0, place.width * HASH_SIZE);
  }

  /** Hash of the leaf at `index`. Throws TileMissing. */
  leaf(index: number): Buffer {
    return Buffer.from(this.#node(index, 1));
  }

  /** Hash of a whole subtree of `leaves` (a power of two) that begins at leaf `start`. */
  #node(start: number, leaves: number): Buffer {
    let level = 0;
    let count = leaves;
    for (; count >= TILE_WIDTH; level += 1) count /= TILE_WIDTH;
    const first = Math.floor(start / TILE_WIDTH ** level);
    const index = Math.floor(first / TILE_WIDTH);
    return fold(this.tile({ level, index, width: TILE_WIDTH }), first % TILE_WIDTH, count);
  }

  /** Hash over the leaves [start, end), as RFC 6962 splits them; `start` must be where such a split falls. */
  #range(start: number, end: number): Buffer {
    const n = end - start;
    if (n === 1) return this.#node(start, 1);
    const k = split(n);
    if (k * 2 === n) return this.#node(start, n);
    return nodeHash(this.#node(start, k), this.#range(start + k, end));
  }

  #check(size: number): void {
    if (!(size >= 0 && size <= this.#size)) throw new RangeError(`a tree of ${this.#size} leaves has no size ${size}`);
  }

  /** Root of the tree as it is, or was at `size` leaves. Throws RangeError, TileMissing. */
  root(size = this.#size): Buffer {
    this.#check(size);
    return size === 0 ? EMPTY_ROOT : this.#range(0, size);
  }

  /** Audit path of a leaf in the tree of `size` leaves, lowest hash first (RFC 6962, 2.1.1). Throws RangeError, TileMissing. */
  inclusion(index: number, size = this.#size): Buffer[] {
    this.#check(size);
    if (!(index >= 0 && index < size)) throw new RangeError(`there is no leaf ${index} among ${size}`);
    const path: Buffer[] = [];
    let [start, end] = [0, size];
    while (end - start > 1) {
      const middle = start + split(end - start);
      if (index < middle) {
        path.push(this.#range(middle, end));
        end = middle;
      } else {
        path.push(this.#range(start, middle));
        start = middle;
      }
    }
    return path.reverse();
  }

  /** Proof that the tree of `first` leaves is a beginning of that of `second` (RFC 6962, 2.1.2). Throws RangeError, TileMissing. */
  consistency(first: number, second = this.#size): Buffer[] {
    this.#check(second);
    if (!(first >= 0 && first <= second)) throw new RangeError(`${first} leaves are no beginning of ${second}`);
    if (first === 0) return [];
    const proof: Buffer[] = [];
    let [start, end] = [0, second];
    while (first !== end) {
      const middle = start + split(end - start);
      if (first <= middle) {
        proof.push(this.#range(middle, end));
        end = middle;
      } else {
        proof.push(this.#range(start, middle));
        start = middle;
      }
    }
    // What is left is the older tree itself, which whoever asks knows, or its last part, which he does not.
    if (start > 0) proof.push(this.#range(start, end));
    return proof.reverse();
  }
}

const sound = (hashes: readonly Uint8Array[]): boolean => hashes.every(hash => hash.length === HASH_SIZE);

/** Root that a leaf hash and its audit path lead to (RFC 9162, 2.1.3.2); `undefined` when the path does not fit the tree. */
export function rootFromInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[]
): Buffer | undefined {
  if (!sound([leaf, ...path]) || !(index >= 0 && index < size)) return undefined;
  let [fn, sn] = [index, size - 1];
  let root: Buffer = Buffer.from(leaf);
  for (const hash of path) {
    if (sn === 0) return undefined;
    if (odd(fn) || fn === sn) {
      root = nodeHash(hash, root);
      while (!odd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      root = nodeHash(root, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 ? root : undefined;
}

/** True when the proof shows that the leaf is in the tree with this root. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
  root: Uint8Array
): boolean {
  return rootFromInclusion(leaf, index, size, path)?.equals(root) === true;
}

/** True when the proof shows that the first tree is a beginning of the second (RFC 9162, 2.1.4.2). */
export function verifyConsistency(
  first: { readonly size: number; readonly root: Uint8Array },
  second: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[]
): boolean {
  if (!sound(proof) || !(first.size >= 0 && first.size <= second.size)) return false;
  if (first.size === second.size) return proof.length === 0 && Buffer.from(first.root).equals(second.root);
  if (first.size === 0) return proof.length === 0;
  const whole = split(first.size + 1) === first.size;
  const [begin, ...rest] = whole ? [first.root, ...proof] : proof;
  if (begin?.length !== HASH_SIZE || proof.length === 0) return false;
  let [fn, sn] = [first.size - 1, second.size - 1];
  while (odd(fn)) [fn, sn] = [half(fn), half(sn)];
  let older: Buffer = Buffer.from(begin);
  let newer: Buffer = Buffer.from(begin);
  for (const hash of rest) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      older = nodeHash(hash, older);
      newer = nodeHash(hash, newer);
      while (!odd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      newer = nodeHash(newer, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && older.equals(first.root) && newer.equals(second.root);
}
