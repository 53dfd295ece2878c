/**
 * Where each chunk lies. Open addressing over typed arrays: about 40 bytes a chunk instead of the 200 of a Map with string
 * keys. Keys are the first 16 bytes of the id; whoever reads a chunk checks its whole id.
 */

export interface ChunkPlace {
  /** Number of the segment in the reader's list. */
  readonly segment: number;
  /** Offset of the block in the segment file. */
  readonly block: number;
  /** Position in the block's table; {@link SOME_ENTRY} where it is to be looked for there. */
  readonly entry: number;
}

export const SOME_ENTRY = -1;

const START = 1 << 12;
const SMALLEST = 1 << 4;

/** What each hex digit is worth, by its character code. */
const DIGIT = new Uint8Array(128);
for (let i = 0; i < 16; i += 1) {
  DIGIT[i.toString(16).charCodeAt(0)] = i;
  DIGIT[i.toString(16).toUpperCase().charCodeAt(0)] = i;
}

// Words are signed: larger numbers would each take an object when they are handed on.

/** The eight hex digits of `id` from `at` on as a number. */
function hexWord(id: string, at: number): number {
  let word = 0;
  for (let i = at; i < at + 8; i += 1) word = (word << 4) | (DIGIT[id.charCodeAt(i) & 127] as number);
  return word;
}

/** The four bytes from `at` on as a number, big endian. */
function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}

export class ChunkIndex {
  #capacity: number;
  #size = 0;
  #keys: Int32Array;
  /** Segment number plus one; 0: free. */
  #segments: Uint32Array;
  #blocks: Float64Array;
  #entries: Uint32Array;

  /** @param expected Chunks that it will hold, about; it grows when they are more. */
  constructor(expected = Math.floor(START / 2)) {
    this.#capacity = SMALLEST;
    while (this.#capacity * 7 < expected * 10) this.#capacity *= 2;
    this.#keys = new Int32Array(this.#capacity * 4);
    this.#segments = new Uint32Array(this.#capacity);
    this.#blocks = new Float64Array(this.#capacity);
    this.#entries = new Uint32Array(this.#capacity);
  }

  get size(): number {
    return this.#size;
  }

  #slotOf(id: string): number {
    return this.#slot(hexWord(id, 0), hexWord(id, 8), hexWord(id, 16), hexWord(id, 24));
  }

  #slot(a: number, b: number, c: number, d: number): number {
    const mask = this.#capacity - 1;
    let slot = a & mask;
    for (;;) {
      if (this.#segments[slot] === 0) return slot;
      const k = slot * 4;
      if (this.#keys[k] === a && this.#keys[k + 1] === b && this.#keys[k + 2] === c && this.#keys[k + 3] === d) {
        return slot;
      }
      slot = (slot + 1) & mask;
    }
  }

  has(id: string): boolean {
    return this.#segments[this.#slotOf(id)] !== 0;
  }

  get(id: string): ChunkPlace | undefined {
    const slot = this.#slotOf(id);
    const segment = this.#segments[slot] ?? 0;
    if (segment === 0) return undefined;
    return { segment: segment - 1, block: this.#blocks[slot] ?? 0, entry: this.#entries[slot] ?? 0 };
  }

  /** {@link has} of the id that stands in binary at `at`. */
  hasAt(bytes: Uint8Array, at: number): boolean {
    const slot = this.#slot(word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12));
    return this.#segments[slot] !== 0;
  }

  /** The first place of an id is kept. */
  add(id: string, { segment, block, entry }: ChunkPlace): void {
    this.#add(hexWord(id, 0), hexWord(id, 8), hexWord(id, 16), hexWord(id, 24), segment, block, entry);
  }

  /** {@link add} of the id that stands in binary at `at`. */
  addAt(bytes: Uint8Array, at: number, segment: number, block: number, entry: number): void {
    this.#add(word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12), segment, block, entry);
  }

  /**
   * {@link add} of all entries of a block's table.
   *
   * @param stride Bytes of an entry, which begins with the id in binary.
   */
  addTable(table: Uint8Array, stride: number, segment: number, block: number): void {
    for (let entry = 0, at = 0; at + stride <= table.length; entry += 1, at += stride) {
      this.addAt(table, at, segment, block, entry);
    }
  }

  #add(a: number, b: number, c: number, d: number, segment: number, block: number, entry: number): void {
    if (this.#size * 10 > this.#capacity * 7) this.#grow();
    const slot = this.#slot(a, b, c, d);
    if (this.#segments[slot] !== 0) return;
    const k = slot * 4;
    this.#keys[k] = a;
    this.#keys[k + 1] = b;
    this.#keys[k + 2] = c;
    this.#keys[k + 3] = d;
    this.#segments[slot] = segment + 1;
    this.#blocks[slot] = block;
    this.#entries[slot] = entry;
    this.#size += 1;
  }

  /** Takes an id out. Those that probing had pushed on move up, so that no gap hides them. */
  delete(id: string): void {
    const mask = this.#capacity - 1;
    let gap = this.#slotOf(id);
    if (this.#segments[gap] === 0) return;
    this.#size -= 1;
    for (let slot = (gap + 1) & mask; this.#segments[slot] !== 0; slot = (slot + 1) & mask) {
      const home = (this.#keys[slot * 4] ?? 0) & mask;
      // What lies between its home and its slot, around the end of the table too, must stay reachable.
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      this.#keys.copyWithin(gap * 4, slot * 4, slot * 4 + 4);
      this.#segments[gap] = this.#segments[slot] ?? 0;
      this.#blocks[gap] = this.#blocks[slot] ?? 0;
      this.#entries[gap] = this.#entries[slot] ?? 0;
      gap = slot;
    }
    this.#segments[gap] = 0;
  }

  /** Says where an id lies now, if it is known to lie in that segment. */
  move(id: string, place: ChunkPlace): void {
    const slot = this.#slotOf(id);
    if (this.#segments[slot] !== place.segment + 1) return;
    this.#blocks[slot] = place.block;
    this.#entries[slot] = place.entry;
  }

  #grow(): void {
    const keys = this.#keys;
    const segments = this.#segments;
    const blocks = this.#blocks;
    const entries = this.#entries;
    const old = this.#capacity;
    const capacity = old * 2;
    const mask = capacity - 1;
    const newKeys = new Int32Array(capacity * 4);
    const newSegments = new Uint32Array(capacity);
    const newBlocks = new Float64Array(capacity);
    const newEntries = new Uint32Array(capacity);
    for (let i = 0; i < old; i++) {
      const segment = segments[i] as number;
      if (segment === 0) continue;
      const from = i * 4;
      // All are different: the first free slot is theirs.
      let slot = (keys[from] as number) & mask;
      while (newSegments[slot] !== 0) slot = (slot + 1) & mask;
      const to = slot * 4;
      newKeys[to] = keys[from] as number;
      newKeys[to + 1] = keys[from + 1] as number;
      newKeys[to + 2] = keys[from + 2] as number;
      newKeys[to + 3] = keys[from + 3] as number;
      newSegments[slot] = segment;
      newBlocks[slot] = blocks[i] as number;
      newEntries[slot] = entries[i] as number;
    }
    this.#capacity = capacity;
    this.#keys = newKeys;
    this.#segments = newSegments;
    this.#blocks = newBlocks;
    this.#entries = newEntries;
  }
}
