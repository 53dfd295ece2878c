/**
 * A {@link Tree} of packed rows below an open-addressed table, for whoever holds the tree of a large workspace all the time:
 * a fraction of the memory of a Map of changes (`bench/memory.mjs`). The price is that a change is made anew whenever it is
 * asked for, so questions about all paths have methods of their own that do not make them.
 */
import type { Change, EntryType } from './change.ts';
import {
  DeviceNumbers,
  isPackedVersion,
  packChange,
  packedMark,
  packedPath,
  packedType,
  unpackChange,
  type VersionMark
} from './packed-change.ts';
import { decodePath, encodePath, type PathName } from './path-name.ts';
import type { Tree } from './tree.ts';

/** Rows live in blocks of this size, so that growing copies nothing; a longer row has a block of its own. */
const BLOCK = 1 << 20;
const START = 1 << 10;
/** Blocks whose rows are mostly replaced ones are rewritten when so many bytes, and half of all, are waste. */
const MIN_WASTE = 1 << 20;

interface Block {
  readonly bytes: Buffer;
  used: number;
}

/** What {@link PackedTree.image} says of the bytes that follow. */
export interface PackedTreeHead {
  readonly size: number;
  readonly taken: number;
  readonly live: number;
  readonly written: number;
  /** Slots of the table. */
  readonly capacity: number;
  readonly devices: readonly string[];
  /** Bytes used of each block. */
  readonly blocks: readonly number[];
}

export class PackedTree implements Tree {
  readonly #devices = new DeviceNumbers();
  #blocks: Block[] = [];
  /** Per slot: block + 1 (0: never used, ABSENT: removed) and offset of the row in it. */
  #block = new Uint32Array(START);
  #offset = new Uint32Array(START);
  /** Per slot: hash of the path, which tells most slots apart without a look at the row. */
  #hash = new Uint32Array(START);
  #size = 0;
  /** How many of the paths are directories. */
  #directories = 0;
  /** Slots in use or removed. */
  #taken = 0;
  #live = 0;
  #written = 0;
  #generation = 0;

  get size(): number {
    return this.#size;
  }

  /** Another number after each change. */
  get generation(): number {
    return this.#generation;
  }

  has(path: PathName): boolean {
    const hash = hashOfAscii(path);
    return (hash === undefined ? this.#find(encodePath(path)) : this.#findAscii(path, hash)) >= 0;
  }

  get(path: PathName): Change | undefined {
    const slot = this.#find(encodePath(path));
    return slot < 0 ? undefined : this.#unpack(slot, path);
  }

  /** Which version is at a path. */
  mark(path: PathName): VersionMark | undefined {
    const slot = this.#find(encodePath(path));
    if (slot < 0) return undefined;
    const { bytes } = this.#blocks[(this.#block[slot] as number) - 1] as Block;
    return packedMark(bytes, this.#offset[slot] as number, this.#devices);
  }

  /** Devices of the changes it holds, and perhaps of some it held. */
  get devices(): readonly string[] {
    return this.#devices.names;
  }

  set(path: PathName, change: Change): this {
    const name = encodePath(path);
    const row = packChange(change, this.#devices, name);
    const hash = hashOf(name);
    let slot = this.#find(name, hash);
    if (slot >= 0) {
      const block = this.#blocks[(this.#block[slot] as number) - 1] as Block;
      this.#live -= rowLength(block.bytes, this.#offset[slot] as number);
      if (packedType(block.bytes, this.#offset[slot] as number) === 'directory') this.#directories -= 1;
    } else {
      if ((this.#taken + 1) * 10 > this.#block.length * 7) this.#rehash();
      slot = this.#freeSlot(hash);
      if (this.#block[slot] === 0) this.#taken += 1;
      this.#hash[slot] = hash;
      this.#size += 1;
    }
    this.#store(slot, row);
    if (change.type === 'directory') this.#directories += 1;
    this.#generation += 1;
    if (this.#written - this.#live > Math.max(MIN_WASTE, this.#live)) this.#rewrite();
    return this;
  }

  delete(path: PathName): boolean {
    const slot = this.#find(encodePath(path));
    if (slot < 0) return false;
    const block = this.#blocks[(this.#block[slot] as number) - 1] as Block;
    this.#live -= rowLength(block.bytes, this.#offset[slot] as number);
    if (packedType(block.bytes, this.#offset[slot] as number) === 'directory') this.#directories -= 1;
    this.#block[slot] = ABSENT;
    this.#size -= 1;
    this.#generation += 1;
    return true;
  }

  clear(): void {
    this.#blocks = [];
    this.#block = new Uint32Array(START);
    this.#offset = new Uint32Array(START);
    this.#hash = new Uint32Array(START);
    this.#size = this.#directories = this.#taken = this.#live = this.#written = 0;
    this.#generation += 1;
  }

  /** The tree in the form in which it lies in memory, for {@link restored}. Views: to be used before the tree changes. */
  image(): { readonly head: PackedTreeHead; readonly parts: readonly Uint8Array[] } {
    const head = {
      size: this.#size,
      taken: this.#taken,
      live: this.#live,
      written: this.#written,
      capacity: this.#block.length,
      devices: [...this.#devices.names],
      blocks: this.#blocks.map(({ used }) => used)
    };
    const tables = [this.#block, this.#offset, this.#hash].map(table => new Uint8Array(table.buffer));
    return { head, parts: [...tables, ...this.#blocks.map(({ bytes, used }) => bytes.subarray(0, used))] };
  }

  /**
   * A tree from its image.
   *
   * @param take Answers the next so many bytes behind the head.
   * @throws RangeError when they cannot be a tree.
   */
  static restored(head: PackedTreeHead, take: (bytes: number) => Buffer): PackedTree {
    const tree = new PackedTree();
    const { capacity } = head;
    if (capacity < START || (capacity & (capacity - 1)) !== 0) {
      throw new RangeError('The table has an impossible size.');
    }
    for (const device of head.devices) tree.#devices.number(device);
    const table = (): Uint32Array<ArrayBuffer> => {
      const words = new Uint32Array(capacity);
      new Uint8Array(words.buffer).set(take(capacity * 4));
      return words;
    };
    tree.#block = table();
    tree.#offset = table();
    tree.#hash = table();
    tree.#blocks = head.blocks.map(used => {
      const bytes = Buffer.allocUnsafeSlow(Math.max(BLOCK, used));
      bytes.set(take(used));
      return { bytes, used };
    });
    let size = 0;
    let directories = 0;
    for (let slot = 0; slot < capacity; slot += 1) {
      const number = tree.#block[slot] as number;
      if (number === 0 || number === ABSENT) continue;
      const block = tree.#blocks[number - 1];
      const at = tree.#offset[slot] as number;
      if (block === undefined || at < 4 || at + block.bytes.readUInt32LE(at - 4) > block.used) {
        throw new RangeError('A row lies outside of its block.');
      }
      if (packedType(block.bytes, at) === 'directory') directories += 1;
      size += 1;
    }
    if (size !== head.size || head.taken < size || head.taken >= capacity) throw new RangeError('The count is wrong.');
    tree.#size = size;
    tree.#directories = directories;
    tree.#taken = head.taken;
    tree.#live = head.live;
    tree.#written = head.written;
    return tree;
  }

  /** In no order. The tree must not change meanwhile. */
  *keys(): Generator<PathName> {
    for (const { bytes, at } of this.#rows()) yield decodePath(packedPath(bytes, at));
  }

  /** As {@link keys}. */
  *values(): Generator<Change> {
    for (const { bytes, at } of this.#rows()) yield unpackChange(bytes, at, this.#devices);
  }

  /** As {@link keys}: paths with what they are, without the rest of the change. */
  *types(): Generator<[PathName, EntryType]> {
    for (const { bytes, at } of this.#rows()) yield [decodePath(packedPath(bytes, at)), packedType(bytes, at)];
  }

  /** Files and links, without directories. */
  countFiles(): number {
    return this.#size - this.#directories;
  }

  /** The change with this version id, if it is the latest of its path. */
  findVersion(device: string, seq: number): Change | undefined {
    const number = this.#devices.find(device);
    if (number === undefined) return undefined;
    for (const { bytes, at } of this.#rows()) {
      if (isPackedVersion(bytes, at, number, seq)) return unpackChange(bytes, at, this.#devices);
    }
    return undefined;
  }

  /** As {@link keys}. */
  *[Symbol.iterator](): Generator<[PathName, Change]> {
    for (const change of this.values()) yield [change.path, change];
  }

  *#rows(): Generator<{ bytes: Buffer; at: number }> {
    for (let slot = 0; slot < this.#block.length; slot += 1) {
      const number = this.#block[slot] as number;
      if (number === 0 || number === ABSENT) continue;
      yield { bytes: (this.#blocks[number - 1] as Block).bytes, at: this.#offset[slot] as number };
    }
  }

  #unpack(slot: number, path: PathName): Change {
    const block = this.#blocks[(this.#block[slot] as number) - 1] as Block;
    return unpackChange(block.bytes, this.#offset[slot] as number, this.#devices, path);
  }

  /** The slot of a path, or -1. */
  #find(name: Buffer, hash = hashOf(name)): number {
    const mask = this.#block.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#block[slot] as number;
      if (number === 0) return -1;
      if (number === ABSENT || this.#hash[slot] !== hash) continue;
      const { bytes } = this.#blocks[number - 1] as Block;
      if (packedPath(bytes, this.#offset[slot] as number).equals(name)) return slot;
    }
  }

  /** {@link #find} of a path of ASCII, without making its bytes. */
  #findAscii(path: PathName, hash: number): number {
    const mask = this.#block.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#block[slot] as number;
      if (number === 0) return -1;
      if (number === ABSENT || this.#hash[slot] !== hash) continue;
      const { bytes } = this.#blocks[number - 1] as Block;
      if (isAscii(bytes, this.#offset[slot] as number, path)) return slot;
    }
  }

  #freeSlot(hash: number): number {
    const mask = this.#block.length - 1;
    let slot = hash & mask;
    while (this.#block[slot] !== 0 && this.#block[slot] !== ABSENT) slot = (slot + 1) & mask;
    return slot;
  }

  /** Puts a row, with its length in front, into the last block that has room. */
  #store(slot: number, row: Buffer): void {
    const length = 4 + row.length;
    let block = this.#blocks.at(-1);
    if (block === undefined || block.used + length > block.bytes.length) {
      block = { bytes: Buffer.allocUnsafeSlow(Math.max(BLOCK, length)), used: 0 };
      this.#blocks.push(block);
    }
    block.bytes.writeUInt32LE(row.length, block.used);
    row.copy(block.bytes, block.used + 4);
    this.#block[slot] = this.#blocks.length;
    this.#offset[slot] = block.used + 4;
    block.used += length;
    this.#live += length;
    this.#written += length;
  }

  /** Makes the table fit what it holds. */
  #rehash(): void {
    const [blocks, offsets, hashes] = [this.#block, this.#offset, this.#hash];
    let capacity = START;
    while (this.#size * 2 >= capacity) capacity *= 2;
    this.#block = new Uint32Array(capacity);
    this.#offset = new Uint32Array(capacity);
    this.#hash = new Uint32Array(capacity);
    this.#taken = this.#size;
    for (let old = 0; old < blocks.length; old += 1) {
      const number = blocks[old] as number;
      if (number === 0 || number === ABSENT) continue;
      const slot = this.#freeSlot(hashes[old] as number);
      this.#block[slot] = number;
      this.#offset[slot] = offsets[old] as number;
      this.#hash[slot] = hashes[old] as number;
    }
  }

  /** Leaves replaced and removed rows behind. */
  #rewrite(): void {
    const old = this.#blocks;
    this.#blocks = [];
    this.#live = this.#written = 0;
    for (let slot = 0; slot < this.#block.length; slot += 1) {
      const number = this.#block[slot] as number;
      if (number === 0 || number === ABSENT) continue;
      const { bytes } = old[number - 1] as Block;
      const at = this.#offset[slot] as number;
      this.#store(slot, bytes.subarray(at, at + rowLength(bytes, at) - 4));
    }
  }
}

const ABSENT = 0xffffffff;

/** Bytes a row takes, its length in front included. */
function rowLength(bytes: Buffer, at: number): number {
  return 4 + bytes.readUInt32LE(at - 4);
}

/** FNV-1a with a final mix, for the low bits alone choose the slot. */
function hashOf(name: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ (name[i] as number), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 0;
}

/** {@link hashOf} of the bytes of a path; `undefined` when it is not ASCII. */
function hashOfAscii(path: PathName): number | undefined {
  let hash = 0x811c9dc5;
  for (let i = 0; i < path.length; i += 1) {
    const code = path.charCodeAt(i);
    if (code > 0x7f) return undefined;
    hash = Math.imul(hash ^ code, 0x01000193);
  }
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 0;
}

/** Whether the row that begins at `at` has this path of ASCII. */
function isAscii(bytes: Buffer, at: number, path: PathName): boolean {
  if (bytes.readUInt32LE(at) !== path.length) return false;
  for (let i = 0; i < path.length; i += 1) if (bytes[at + 4 + i] !== path.charCodeAt(i)) return false;
  return true;
}
