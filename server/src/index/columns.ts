/**
 * Rows on their way into a table, kept by column in typed arrays, and handed to DuckDB as whole vectors. The client takes values
 * one by one, with a BigInt for each wide number; at millions of rows that is most of the time.
 *
 * The arrays of a vector are private to the client's types (sql/vector-memory.ts). The client is pinned to one version, and a
 * test writes every type through this.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBAppender, DuckDBDataChunk, DuckDBType, DuckDBValue, DuckDBVector } from '@duckdb/node-api';

type Api = typeof DuckdbApi;

/** Rows of a vector in DuckDB. */
export const VECTOR_ROWS = 2048;
const TWO_TO_32 = 2 ** 32;
const WIDEST = 2 ** 63;

/** A column that rows are put into. */
export interface Column<T> {
  /** `null` is SQL's NULL. What was at this row before is gone. */
  set(row: number, value: T | null): void;
}

interface StoredColumn {
  readonly type: DuckDBType;
  /** Copies rows into a vector that has as many. */
  write(vector: DuckDBVector, from: number, count: number): void;
}

/** Of a vector in the client. */
interface WritableMemory {
  readonly items: ArrayBufferView;
  readonly validity: { data: BigUint64Array | null; flush(vector: unknown): void };
  readonly vector: unknown;
}

/** Which rows have a value; one bit each. */
class Validity {
  readonly #words: Uint32Array;
  #nulls = false;

  constructor(capacity: number) {
    this.#words = new Uint32Array(Math.ceil(capacity / VECTOR_ROWS) * (VECTOR_ROWS / 32)).fill(0xffff_ffff);
  }

  set(row: number, valid: boolean): void {
    const word = row >>> 5;
    if (valid) {
      if (this.#nulls) this.#words[word] = (this.#words[word] as number) | (1 << (row & 31));
    } else {
      this.#nulls = true;
      this.#words[word] = (this.#words[word] as number) & ~(1 << (row & 31));
    }
  }

  write(vector: DuckDBVector, from: number, count: number): void {
    if (!this.#nulls) return;
    // `from` is a multiple of a vector's rows. A copy, because the client keeps what it is given.
    const words = this.#words.slice(from >>> 5, (from >>> 5) + Math.ceil(count / 64) * 2);
    (vector as unknown as WritableMemory).validity.data = new BigUint64Array(words.buffer);
  }
}

type NumberArray = Uint8Array | Uint16Array | Int32Array | Uint32Array;

class Numbers<A extends NumberArray> implements Column<number>, StoredColumn {
  readonly type: DuckDBType;
  readonly #values: A;
  readonly #validity: Validity;

  constructor(type: DuckDBType, values: A) {
    this.type = type;
    this.#values = values;
    this.#validity = new Validity(values.length);
  }

  set(row: number, value: number | null): void {
    this.#validity.set(row, value !== null);
    this.#values[row] = value ?? 0;
    if (value !== null && this.#values[row] !== value) {
      throw new RangeError(`${value} does not go into ${String(this.type)}`);
    }
  }

  write(vector: DuckDBVector, from: number, count: number): void {
    copyInto(vector, this.#values, from, count);
    this.#validity.write(vector, from, count);
    vector.flush();
  }
}

/** Whole numbers of 64 bits, as far as a JavaScript number holds them. */
class WideNumbers implements Column<number>, StoredColumn {
  readonly type: DuckDBType;
  /** Low and high half of each. */
  readonly #halves: Uint32Array;
  readonly #validity: Validity;

  constructor(type: DuckDBType, capacity: number) {
    this.type = type;
    this.#halves = new Uint32Array(capacity * 2);
    this.#validity = new Validity(capacity);
  }

  set(row: number, value: number | null): void {
    this.#validity.set(row, value !== null);
    if (value === null) {
      this.halves(row, 0, 0);
      return;
    }
    if (!(Math.abs(value) < WIDEST)) throw new RangeError(`${value} does not go into ${String(this.type)}`);
    const high = Math.floor(value / TWO_TO_32);
    this.halves(row, value - high * TWO_TO_32, high);
  }

  /** A value by its halves. */
  halves(row: number, low: number, high: number): void {
    this.#halves[row * 2] = low;
    this.#halves[row * 2 + 1] = high;
  }

  write(vector: DuckDBVector, from: number, count: number): void {
    copyInto(vector, this.#halves, from * 2, count * 2);
    this.#validity.write(vector, from, count);
    vector.flush();
  }
}

/** Texts or bytes. Mostly there are none, so only those that there are take room. */
class Values<T extends string | Uint8Array> implements Column<T>, StoredColumn {
  readonly type: DuckDBType;
  readonly #wrap: (value: T) => DuckDBValue;
  readonly #values = new Map<number, T>();
  readonly #validity: Validity;

  constructor(type: DuckDBType, capacity: number, wrap: (value: T) => DuckDBValue) {
    this.type = type;
    this.#wrap = wrap;
    this.#validity = new Validity(capacity);
  }

  set(row: number, value: T | null): void {
    this.#validity.set(row, value !== null);
    if (value === null) this.#values.delete(row);
    else this.#values.set(row, value);
  }

  write(vector: DuckDBVector, from: number, count: number): void {
    this.#validity.write(vector, from, count);
    if (this.#values.size === 0) {
      const { validity, vector: memory } = vector as unknown as WritableMemory;
      validity.flush(memory);
      return;
    }
    for (let row = 0; row < count; row++) {
      const value = this.#values.get(from + row);
      if (value !== undefined) vector.setItem(row, this.#wrap(value));
    }
    vector.flush();
  }

  clear(): void {
    this.#values.clear();
  }
}

function copyInto(vector: DuckDBVector, from: NumberArray, start: number, count: number): void {
  const { items } = vector as unknown as WritableMemory;
  const bytes = new Uint8Array(items.buffer, items.byteOffset, items.byteLength);
  const size = from.BYTES_PER_ELEMENT;
  bytes.set(new Uint8Array(from.buffer, from.byteOffset + start * size, count * size));
}

/** The types of columns, and what makes room for them. */
const MAKERS = {
  UTINYINT: (api: Api, rows: number) => new Numbers(api.UTINYINT, new Uint8Array(rows)),
  USMALLINT: (api: Api, rows: number) => new Numbers(api.USMALLINT, new Uint16Array(rows)),
  INTEGER: (api: Api, rows: number) => new Numbers(api.INTEGER, new Int32Array(rows)),
  DATE: (api: Api, rows: number) => new Numbers(api.DATE, new Int32Array(rows)),
  BIGINT: (api: Api, rows: number) => new WideNumbers(api.BIGINT, rows),
  UBIGINT: (api: Api, rows: number) => new WideNumbers(api.UBIGINT, rows),
  TIMESTAMPTZ: (api: Api, rows: number) => new WideNumbers(api.TIMESTAMPTZ, rows),
  VARCHAR: (api: Api, rows: number) => new Values<string>(api.VARCHAR, rows, text => text),
  BLOB: (api: Api, rows: number) => new Values<Uint8Array>(api.BLOB, rows, bytes => api.blobValue(bytes))
} as const;

export type ColumnType = keyof typeof MAKERS;
type Columns<S extends Readonly<Record<string, ColumnType>>> = {
  readonly [K in keyof S]: ReturnType<(typeof MAKERS)[S[K]]>;
};

/** Room for so many rows of a table. */
export class RowColumns<S extends Readonly<Record<string, ColumnType>>> {
  readonly capacity: number;
  /** Column by name. */
  readonly of: Columns<S>;
  readonly #api: Api;
  readonly #columns: readonly StoredColumn[];
  /** Kept: it is memory that the collector of garbage does not know of. */
  #chunk: DuckDBDataChunk | undefined;

  /** @param columns Names and types in the order that the table has. */
  constructor(api: Api, columns: S, capacity: number) {
    this.#api = api;
    this.capacity = Math.ceil(Math.max(1, capacity) / VECTOR_ROWS) * VECTOR_ROWS;
    const made = Object.entries(columns).map(([name, type]) => [name, MAKERS[type](api, this.capacity)] as const);
    this.of = Object.fromEntries(made) as unknown as Columns<S>;
    this.#columns = made.map(([, column]) => column);
  }

  /** Hands the first `rows` rows to an appender. They may be written over afterwards. */
  async appendTo(appender: DuckDBAppender, rows: number): Promise<void> {
    this.#chunk ??= this.#api.DuckDBDataChunk.create(this.#columns.map(column => column.type));
    const chunk = this.#chunk;
    for (let from = 0; from < rows; from += VECTOR_ROWS) {
      const count = Math.min(VECTOR_ROWS, rows - from);
      chunk.reset();
      chunk.rowCount = count;
      this.#columns.forEach((column, i) => column.write(chunk.getColumnVector(i), from, count));
      appender.appendDataChunk(chunk);
      // All this is work of this thread; let file events and requests through now and then.
      if ((from / VECTOR_ROWS) % 8 === 7) await new Promise(resolve => setImmediate(resolve));
    }
    for (const column of this.#columns) if (column instanceof Values) column.clear();
  }
}
