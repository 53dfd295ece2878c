/**
 * Where each chunk lies. Open addressing over typed arrays: about 40 bytes a chunk instead of the 200 of a Map with string
 * keys. Keys are the first 16 bytes of the id; whoever reads a chunk checks its whole id.
 */

export interface ChunkPlace {
  /** Number of the segment in the reader's list. */
  readonly segment: number;
  /** Offset of the block in the segment file. */
  readonly block: number;
  /** Position in the block's table. */
  readonly entry: number;
}

const START = 1 << 12;

export class ChunkIndex {
  #capacity = START;
  #size = 0;
  #keys = new Uint32Array(START * 4);
  /** Segment number plus one; 0: free. */
  #segments = new Uint32Array(START);
  #blocks = new Float64Array(START);
  #entries = new Uint32Array(START);

  get size(): number {
    return this.#size;
  }

  static #key(id: string): [number, number, number, number] {
    return [
      parseInt(id.slice(0, 8), 16),
      parseInt(id.slice(8, 16), 16),
      parseInt(id.slice(16, 24), 16),
      parseInt(id.slice(24, 32), 16)
    ];
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
    return this.#segments[this.#slot(...ChunkIndex.#key(id))] !== 0;
  }

  get(id: string): ChunkPlace | undefined {
    const slot = this.#slot(...ChunkIndex.#key(id));
    const segment = this.#segments[slot] ?? 0;
    if (segment === 0) return undefined;
    return { segment: segment - 1, block: this.#blocks[slot] ?? 0, entry: this.#entries[slot] ?? 0 };
  }

  /** {@link has} of the id that stands in binary at `at`. */
  hasAt(bytes: Buffer, at: number): boolean {
    const slot = this.#slot(
      bytes.readUInt32BE(at),
      bytes.readUInt32BE(at + 4),
      bytes.readUInt32BE(at + 8),
      bytes.readUInt32BE(at + 12)
    );
    return this.#segments[slot] !== 0;
  }

  /** The first place of an id is kept. */
  add(id: string, place: ChunkPlace): void {
    const [a, b, c, d] = ChunkIndex.#key(id);
    this.#add(a, b, c, d, place.segment, place.block, place.entry);
  }

  /** {@link add} of the id that stands in binary at `at`. */
  addAt(bytes: Buffer, at: number, { segment, block, entry }: ChunkPlace): void {
    this.#addAt(bytes, at, segment, block, entry);
  }

  /**
   * {@link add} of all entries of a block's table.
   *
   * @param stride Bytes of an entry, which begins with the id in binary.
   */
  addTable(table: Buffer, stride: number, segment: number, block: number): void {
    for (let entry = 0, at = 0; at + stride <= table.length; entry += 1, at += stride) {
      this.#addAt(table, at, segment, block, entry);
    }
  }

  #addAt(bytes: Buffer, at: number, segment: number, block: number, entry: number): void {
    const a = bytes.readUInt32BE(at);
    const b = bytes.readUInt32BE(at + 4);
    const c = bytes.readUInt32BE(at + 8);
    this.#add(a, b, c, bytes.readUInt32BE(at + 12), segment, block, entry);
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
    let gap = this.#slot(...ChunkIndex.#key(id));
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
    const slot = this.#slot(...ChunkIndex.#key(id));
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
    const newKeys = new Uint32Array(capacity * 4);
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
