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
    this.#add(a, b, c, d, place);
  }

  /** {@link add} of the id that stands in binary at `at`. */
  addAt(bytes: Buffer, at: number, place: ChunkPlace): void {
    this.#add(
      bytes.readUInt32BE(at),
      bytes.readUInt32BE(at + 4),
      bytes.readUInt32BE(at + 8),
      bytes.readUInt32BE(at + 12),
      place
    );
  }

  #add(a: number, b: number, c: number, d: number, place: ChunkPlace): void {
    if (this.#size * 10 > this.#capacity * 7) this.#grow();
    const slot = this.#slot(a, b, c, d);
    if (this.#segments[slot] !== 0) return;
    const k = slot * 4;
    this.#keys[k] = a;
    this.#keys[k + 1] = b;
    this.#keys[k + 2] = c;
    this.#keys[k + 3] = d;
    this.#segments[slot] = place.segment + 1;
    this.#blocks[slot] = place.block;
    this.#entries[slot] = place.entry;
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
    const [keys, segments, blocks, entries, old] = [
      this.#keys,
      this.#segments,
      this.#blocks,
      this.#entries,
      this.#capacity
    ];
    this.#capacity = old * 2;
    this.#keys = new Uint32Array(this.#capacity * 4);
    this.#segments = new Uint32Array(this.#capacity);
    this.#blocks = new Float64Array(this.#capacity);
    this.#entries = new Uint32Array(this.#capacity);
    for (let i = 0; i < old; i++) {
      if (segments[i] === 0) continue;
      const k = i * 4;
      const slot = this.#slot(keys[k] ?? 0, keys[k + 1] ?? 0, keys[k + 2] ?? 0, keys[k + 3] ?? 0);
      this.#keys.set(keys.subarray(k, k + 4), slot * 4);
      this.#segments[slot] = segments[i] ?? 0;
      this.#blocks[slot] = blocks[i] ?? 0;
      this.#entries[slot] = entries[i] ?? 0;
    }
  }
}
