/**
 * DuckDB's own memory of a vector. The client hands out values one by one; whoever wants columns whole reads the arrays it holds,
 * which are private to its types. The client is pinned to one version, and a test reads every type through this.
 */
import type { DuckDBVector } from '@duckdb/node-api';
import { createRequire } from 'node:module';

/** Bit set: there is a value. No array: there are values everywhere. */
export interface Validity {
  readonly data: BigUint64Array | null;
  readonly offset: number;
}

export type Items =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** What vectors hold, each a part of it. */
export interface VectorMemory {
  readonly validity?: Validity;
  /** Fixed-width values. */
  readonly items?: Items;
  /** Values of other widths, and string headers of 16 bytes. */
  readonly dataView?: DataView;
  /** Of lists: offset and length of each row in `childData`. */
  readonly entryData?: BigUint64Array;
  /** Of lists and arrays. */
  readonly childData?: DuckDBVector;
  /** Of structs. */
  readonly entryVectors?: readonly DuckDBVector[];
  /** Of maps. */
  readonly listVector?: DuckDBVector;
  /** Of unions: a struct whose first entry is the tag. */
  readonly structVector?: DuckDBVector;
}

export function memoryOf(vector: DuckDBVector): VectorMemory {
  return vector as unknown as VectorMemory;
}

interface Bindings {
  get_data_from_pointer(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array;
}

/** The client's own: it need not be among our dependencies' names. */
function loadBindings(): Bindings {
  const client = createRequire(import.meta.url).resolve('@duckdb/node-api');
  return createRequire(client)('@duckdb/node-bindings') as Bindings;
}

let bindings: Bindings | undefined;

/**
 * Bytes behind the string header of a row.
 *
 * @param length At most what is known to belong to this string and those that follow it in memory.
 */
export function farBytes(headers: DataView, row: number, length: number): Uint8Array {
  bindings ??= loadBindings();
  return bindings.get_data_from_pointer(headers.buffer, headers.byteOffset + row * 16 + 8, length);
}
