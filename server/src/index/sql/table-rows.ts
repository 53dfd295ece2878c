/** Rows of tables on their way from the memory of one process into that of another: columns as DuckDB holds them. */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk, DuckDBType, DuckDBVector } from '@duckdb/node-api';
import { gatherBytes, isValid, layoutChanged, memoryOf, type Items } from './vector-memory.ts';

type Api = typeof DuckdbApi;

/** Either values of a fixed width, or texts and bytes that end at `ends`. */
export interface RowsColumn {
  readonly items?: Items;
  readonly ends?: Int32Array;
  readonly bytes?: Uint8Array;
  /** One for each row, 0: there is no value. None: there are values everywhere. */
  readonly valid?: Uint8Array;
}

export interface TableRows {
  readonly count: number;
  readonly columns: readonly RowsColumn[];
}

function validOf(vector: DuckDBVector, count: number): Uint8Array | undefined {
  const { validity } = memoryOf(vector);
  if (validity === undefined || validity.data === null) return undefined;
  return Uint8Array.from({ length: count }, (_, row) => Number(isValid(validity, row)));
}

/** Takes the rows out of a chunk. Of numbers, times, texts and bytes only: what the tables of the index have. */
export function rowsOf(chunk: DuckDBDataChunk): TableRows {
  const count = chunk.rowCount;
  const columns = Array.from({ length: chunk.columnCount }, (_, i): RowsColumn => {
    const vector = chunk.getColumnVector(i);
    const { items, dataView } = memoryOf(vector);
    const valid = validOf(vector, count);
    const more = valid === undefined ? {} : { valid };
    if (items !== undefined) return { items: items.slice(0, count), ...more };
    if (dataView === undefined) throw layoutChanged();
    const { offsets, data } = gatherBytes(vector, count, undefined);
    return { ends: offsets.subarray(1), bytes: data, ...more };
  });
  return { count, columns };
}

/** Makes a chunk of rows. */
export function chunkOf(api: Api, types: readonly DuckDBType[], { count, columns }: TableRows): DuckDBDataChunk {
  if (types.length !== columns.length) throw layoutChanged();
  const chunk = api.DuckDBDataChunk.create(types, count);
  for (const [i, column] of columns.entries()) fill(api, chunk.getColumnVector(i), count, column);
  return chunk;
}

function fill(api: Api, vector: DuckDBVector, count: number, { items, ends, bytes, valid }: RowsColumn): void {
  const isNull = (row: number): boolean => valid !== undefined && valid[row] === 0;
  if (items !== undefined) {
    const { items: own } = memoryOf(vector);
    if (own?.constructor !== items.constructor) throw layoutChanged();
    own.set(items as never);
    if (valid !== undefined) for (let row = 0; row < count; row++) if (isNull(row)) vector.setItem(row, null);
  } else {
    if (ends === undefined || bytes === undefined) throw layoutChanged();
    const text = vector.type.typeId === api.DuckDBTypeId.VARCHAR;
    const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let start = 0;
    for (let row = 0; row < count; row++) {
      const end = ends[row] as number;
      if (isNull(row)) vector.setItem(row, null);
      else if (text) vector.setItem(row, all.toString('utf8', start, end));
      else vector.setItem(row, new api.DuckDBBlobValue(all.subarray(start, end)));
      start = end;
    }
  }
  vector.flush();
}
