/** Numbers in rows that grow: what is known of millions of versions and chunks without an object for each. */

type Numbers = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** A growing column of one kind of number. */
export class Column<T extends Numbers> {
  #values: T;
  #length = 0;
  readonly #make: (length: number) => T;

  /** @param make `length => new Uint32Array(length)` and the like. */
  constructor(make: (length: number) => T) {
    this.#make = make;
    this.#values = make(1024);
  }

  get length(): number {
    return this.#length;
  }

  /** Appends; returns the place. */
  push(value: number): number {
    if (this.#length === this.#values.length) {
      const larger = this.#make(this.#length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length] = value;
    this.#length += 1;
    return this.#length - 1;
  }

  at(place: number): number {
    return this.#values[place] as number;
  }

  set(place: number, value: number): void {
    this.#values[place] = value;
  }

  /** The values, without a copy; valid until the next {@link push}. */
  get values(): T {
    return this.#values.subarray(0, this.#length) as T;
  }
}

export const bytes8 = (): Column<Uint8Array> => new Column(length => new Uint8Array(length));
export const numbers16 = (): Column<Uint16Array> => new Column(length => new Uint16Array(length));
export const numbers32 = (): Column<Uint32Array> => new Column(length => new Uint32Array(length));
export const floats = (): Column<Float64Array> => new Column(length => new Float64Array(length));

/** SHA-256 values by number. */
export class HashColumn {
  #bytes = Buffer.alloc(32 * 1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(hex: string): number {
    if (this.#length * 32 === this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    this.#bytes.write(hex, this.#length * 32, 32, 'hex');
    this.#length += 1;
    return this.#length - 1;
  }

  at(place: number): string {
    return this.#bytes.toString('hex', place * 32, place * 32 + 32);
  }
}
