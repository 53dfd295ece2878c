/** The contents that records name, in the order of the log, in columns: most are one chunk that has the hash of the whole. */
import type { Content } from './records.ts';

const HASH = 32;
const START = 1 << 6;

/** What of a content is not in the columns. */
type Rest = Pick<Content, 'hash' | 'ids' | 'list'>;

export class ContentList {
  #hashes = Buffer.alloc(START * HASH);
  #seqs = new Float64Array(START);
  #clocks = new Float64Array(START);
  /** NaN: none is recorded. */
  #sizes = new Float64Array(START);
  #devices = new Uint32Array(START);
  #wheres = new Uint32Array(START);
  readonly #deviceNames: string[] = [];
  readonly #places: string[] = [];
  /** By number, those that are made otherwise. */
  readonly #rest = new Map<number, Rest>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(content: Content): void {
    const number = this.#length;
    if (number === this.#seqs.length) this.#grow();
    this.#length += 1;
    const { hash, ids, list, place, size, where } = content;
    const plain = hash?.length === HASH * 2 && ids.length === 1 && ids[0] === hash && list === undefined;
    if (plain) this.#hashes.write(hash, number * HASH, HASH, 'hex');
    else this.#rest.set(number, { hash, ids, list });
    this.#seqs[number] = place.seq;
    this.#clocks[number] = place.hlc;
    this.#sizes[number] = size ?? NaN;
    this.#devices[number] = lastOf(this.#deviceNames, place.device);
    this.#wheres[number] = lastOf(this.#places, where);
  }

  at(number: number): Content {
    const device = this.#deviceNames[this.#devices[number] as number] ?? '';
    const seq = this.#seqs[number] as number;
    const size = this.#sizes[number] as number;
    let rest = this.#rest.get(number);
    if (rest === undefined) {
      const hash = this.#hashes.toString('hex', number * HASH, (number + 1) * HASH);
      rest = { hash, ids: [hash], list: undefined };
    }
    return {
      version: `${device}.${seq}`,
      place: { hlc: this.#clocks[number] as number, device, seq },
      size: Number.isNaN(size) ? undefined : size,
      where: this.#places[this.#wheres[number] as number] ?? '',
      ...rest
    };
  }

  /** Forgets all from a number on. */
  truncate(length: number): void {
    for (let number = length; number < this.#length; number += 1) this.#rest.delete(number);
    this.#length = Math.min(this.#length, length);
  }

  #grow(): void {
    const capacity = this.#seqs.length * 2;
    const wider = <T extends Float64Array | Uint32Array>(column: T, made: T): T => {
      made.set(column);
      return made;
    };
    this.#hashes = Buffer.concat([this.#hashes], capacity * HASH);
    this.#seqs = wider(this.#seqs, new Float64Array(capacity));
    this.#clocks = wider(this.#clocks, new Float64Array(capacity));
    this.#sizes = wider(this.#sizes, new Float64Array(capacity));
    this.#devices = wider(this.#devices, new Uint32Array(capacity));
    this.#wheres = wider(this.#wheres, new Uint32Array(capacity));
  }
}

/** The place of a name in a list; those of a frame come together. */
function lastOf(names: string[], name: string): number {
  if (names.at(-1) !== name) names.push(name);
  return names.length - 1;
}
