/** Where each chunk lies: a hundred thousand of them in typed columns take a quarter of what a Map of objects takes. */
import { randomBytes } from 'node:crypto';
import type { CheckedBlock, ChunkSpot } from './contents.ts';

const ID = 32;
const START = 1 << 6;

export class ChunkMap {
  /** Number of the chunk plus one; 0: free. */
  #slots = new Uint32Array(START * 2);
  #ids = Buffer.alloc(START * ID);
  #starts = new Float64Array(START);
  #sizes = new Float64Array(START);
  #blocks = new Uint32Array(START);
  readonly #checked: CheckedBlock[] = [];
  #count = 0;
  /** Ids in a log may be made up so that all fall on one slot; where they fall is another in each check. */
  readonly #seed = randomBytes(8);

  get size(): number {
    return this.#count;
  }

  has(id: string): boolean {
    return this.#find(id) !== undefined;
  }

  get(id: string): ChunkSpot | undefined {
    const number = this.#find(id);
    if (number === undefined) return undefined;
    return {
      block: this.#checked[this.#blocks[number] as number] as CheckedBlock,
      start: this.#starts[number] as number,
      size: this.#sizes[number] as number
    };
  }

  /** Adds a chunk; there must be none with this id, which is 32 bytes in hex. */
  add(id: string, { block, start, size }: ChunkSpot): void {
    const number = this.#count;
    if (number === this.#starts.length) this.#grow();
    this.#count += 1;
    this.#ids.write(id, number * ID, ID, 'hex');
    this.#starts[number] = start;
    this.#sizes[number] = size;
    // Those of one block come together.
    if (this.#checked.at(-1) !== block) this.#checked.push(block);
    this.#blocks[number] = this.#checked.length - 1;
    this.#slots[this.#slotOf(this.#ids, number * ID)] = number + 1;
  }

  #find(id: string): number | undefined {
    const bytes = Buffer.from(id, 'hex');
    if (bytes.length !== ID || id.length !== ID * 2) return undefined;
    const found = this.#slots[this.#slotOf(bytes, 0)] as number;
    return found === 0 ? undefined : found - 1;
  }

  /** The slot of an id, or the free one where it belongs. */
  #slotOf(bytes: Buffer, at: number): number {
    const mask = this.#slots.length - 1;
    const a = bytes.readUInt32LE(at) ^ this.#seed.readUInt32LE(0);
    const b = bytes.readUInt32LE(at + 4) ^ this.#seed.readUInt32LE(4);
    let hash = Math.imul(a, 0x9e3779b1) ^ Math.imul(b ^ (a >>> 13), 0x85ebca77);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const number = this.#slots[slot] as number;
      if (number === 0) return slot;
      const from = (number - 1) * ID;
      if (bytes.compare(this.#ids, from, from + ID, at, at + ID) === 0) return slot;
    }
  }

  #grow(): void {
    const capacity = this.#starts.length * 2;
    const wider = <T extends Float64Array | Uint32Array>(column: T, made: T): T => {
      made.set(column);
      return made;
    };
    this.#ids = Buffer.concat([this.#ids], capacity * ID);
    this.#starts = wider(this.#starts, new Float64Array(capacity));
    this.#sizes = wider(this.#sizes, new Float64Array(capacity));
    this.#blocks = wider(this.#blocks, new Uint32Array(capacity));
    this.#slots = new Uint32Array(capacity * 2);
    for (let number = 0; number < this.#count; number += 1) {
      this.#slots[this.#slotOf(this.#ids, number * ID)] = number + 1;
    }
  }
}
