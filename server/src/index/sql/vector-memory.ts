/**
 * DuckDB's own memory of a vector. The client hands out values one by one; whoever wants columns whole reads the arrays it holds,
 * which are private to its types. The client is pinned to one version, and a test reads every type through this.
 */
import type { DuckDBVector } from '@duckdb/node-api';
import { createRequire } from 'node:module';
import { SyftError } from '../../core/errors.ts';

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

/** Rows to take, in order; `undefined`: all. */
export type Rows = Uint32Array | undefined;

export function isValid({ data, offset }: Validity, row: number): boolean {
  if (data === null) return true;
  const bit = offset + row;
  return ((data[bit >> 6] as bigint) & (1n << BigInt(bit & 63))) !== 0n;
}

export function layoutChanged(): SyftError {
  return new SyftError('INTERNAL', 'The DuckDB client holds vectors in another way than is known.');
}

export function viewOf(vector: DuckDBVector): DataView {
  const { dataView } = memoryOf(vector);
  if (dataView === undefined) throw layoutChanged();
  return dataView;
}

/**
 * Strings and bytes of a vector, put one behind the other. Short ones stand in the vector itself. Longer ones stand elsewhere, most
 * often one behind the other as well, so that one copy brings many; one that many rows share is copied from where it was put first.
 *
 * @param room Where they are put.
 */
export function gatherBytes(
  vector: DuckDBVector,
  count: number,
  rows: Rows,
  room: (size: number) => Buffer = size => Buffer.allocUnsafe(size)
): { offsets: Int32Array; data: Buffer } {
  const { validity = { data: null, offset: 0 } } = memoryOf(vector);
  const from = viewOf(vector);
  // Of each row: the length, and either the bytes or the first four of them and an address.
  const words = new Uint32Array(from.buffer, from.byteOffset, from.byteLength >> 2);
  const bytes = new Uint8Array(from.buffer, from.byteOffset, from.byteLength);
  const offsets = new Int32Array(count + 1);
  const everywhere = validity.data === null;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const row = rows === undefined ? i : (rows[i] as number);
    if (everywhere || isValid(validity, row)) total += words[row * 4] as number;
    if (total > 0x7fff_ffff) {
      throw new SyftError('SQL_MEMORY', 'The texts of one column are too large to be sent at once.');
    }
    offsets[i + 1] = total;
  }
  const data = room(total);
  const put = new Map<number, number>();
  let runRow = 0;
  let runStart = 0;
  let runLength = 0;
  let next = -1;
  const flush = (): void => {
    if (runLength > 0) data.set(farBytes(from, runRow, runLength), runStart);
    runLength = 0;
  };
  for (let i = 0; i < count; i++) {
    const start = offsets[i] as number;
    const length = (offsets[i + 1] as number) - start;
    if (length === 0) continue;
    const row = rows === undefined ? i : (rows[i] as number);
    if (length <= 12) {
      flush();
      const at = row * 16 + 4;
      for (let k = 0; k < length; k++) data[start + k] = bytes[at + k] as number;
      continue;
    }
    // Addresses have 48 bits or a few more: a number holds them.
    const address = (words[row * 4 + 2] as number) + (words[row * 4 + 3] as number) * 2 ** 32;
    if (runLength > 0 && address === next) runLength += length;
    else {
      flush();
      const before = put.get(address);
      // What is shared has one length too.
      if (before !== undefined) data.copy(data, start, before, before + length);
      else {
        put.set(address, start);
        runRow = row;
        runStart = start;
        runLength = length;
      }
    }
    next = address + length;
  }
  flush();
  return { offsets, data };
}
