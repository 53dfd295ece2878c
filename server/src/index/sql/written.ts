/** Values of a chunk as text, column by column. */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk, DuckDBValue } from '@duckdb/node-api';
import { jsonWriter, type Writer } from './json.ts';

type Api = typeof DuckdbApi;

/** Columns of a chunk, each as written values; `undefined` is null. */
export function written(chunk: DuckDBDataChunk, writers: readonly Writer[]): (string | undefined)[][] {
  return writers.map((write, i) =>
    chunk.getColumnValues(i).map((value: DuckDBValue) => (value === null ? undefined : write(value)))
  );
}

/** As JSON, without the quotes around a text. */
export function plainWriter(api: Api, type: DuckdbApi.DuckDBType): Writer {
  const write = jsonWriter(api, type);
  return value => {
    if (typeof value === 'string') return value;
    const json = write(value);
    return json.startsWith('"') ? String(JSON.parse(json)) : json;
  };
}
