/** A result in the format that was asked for, piece by piece, no more rows than were asked for. */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { SyftError } from '../../core/errors.ts';
import { jsonWriter } from './json.ts';
import type { Format } from './protocol.ts';
import type { SqlRows } from './result-stream.ts';
import { encodeTable, TABLE_ROWS } from './text-table.ts';
import { plainWriter, written } from './written.ts';

type Api = typeof DuckdbApi;

export interface EncodeOptions {
  readonly format: Format;
  readonly maxRows: number;
  /** Private directory for what is made on the way; there for Parquet. */
  readonly scratch?: string | undefined;
  /** No row may come to a disk. */
  readonly sealed: boolean;
  /** Megabytes that what is made of the rows may take. */
  readonly memoryMb: number;
  /** Kept up to date. */
  readonly counts: { rows: number; truncated: boolean };
}

export async function* encodeRows(
  api: Api,
  result: SqlRows,
  options: EncodeOptions
): AsyncGenerator<Uint8Array | string> {
  const { format, counts } = options;
  const maxRows = format === 'table' ? Math.min(options.maxRows, TABLE_ROWS) : options.maxRows;
  const chunks = limited(api, result, maxRows, counts);
  switch (format) {
    case 'arrow': {
      // Loaded when it is wanted: it takes longer than most queries.
      const { encodeArrow } = await import('./arrow.ts');
      yield* encodeArrow(api, result, chunks);
      return;
    }
    case 'parquet': {
      const { encodeParquet } = await import('./parquet.ts');
      const { scratch, sealed, memoryMb } = options;
      if (scratch === undefined) throw new SyftError('INTERNAL', 'Parquet is made without a place for it.');
      yield* encodeParquet(api, result, chunks, { scratch, sealed, memoryMb });
      return;
    }
    case 'json':
      yield* encodeJson(api, result, chunks, { begin: '[', between: ',\n', end: ']\n' });
      return;
    case 'ndjson':
      yield* encodeJson(api, result, chunks, { begin: '', between: '\n', end: '\n' });
      return;
    case 'csv':
      yield* encodeCsv(api, result, chunks);
      return;
    case 'table':
      yield* encodeTable(api, result, chunks, counts);
  }
}

/** At most so many rows; the last chunk is cut. */
async function* limited(
  api: Api,
  result: SqlRows,
  maxRows: number,
  counts: EncodeOptions['counts']
): AsyncGenerator<DuckDBDataChunk> {
  for await (const chunk of result.chunks()) {
    const left = maxRows - counts.rows;
    if (left <= 0) {
      counts.truncated = true;
      return;
    }
    if (chunk.rowCount > left) {
      const cut = api.DuckDBDataChunk.create(result.types, left);
      for (let i = 0; i < result.types.length; i++) cut.setColumnValues(i, chunk.getColumnValues(i).slice(0, left));
      counts.rows += left;
      counts.truncated = true;
      yield cut;
      return;
    }
    counts.rows += chunk.rowCount;
    yield chunk;
  }
}

async function* encodeJson(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>,
  { begin, between, end }: { begin: string; between: string; end: string }
): AsyncGenerator<string> {
  const writers = result.types.map(type => jsonWriter(api, type));
  const names = result.names.map(name => `${JSON.stringify(name)}:`);
  let out = begin;
  let rows = 0;
  for await (const chunk of chunks) {
    const columns = written(chunk, writers);
    for (let row = 0; row < chunk.rowCount; row++) {
      out += `${rows === 0 ? '' : between}{${columns.map((column, i) => `${names[i] ?? ''}${column[row] ?? 'null'}`).join(',')}}`;
      rows += 1;
    }
    yield out;
    out = '';
  }
  // Of no rows nothing is sent as lines, and an empty array as an array.
  yield rows === 0 && begin === '' ? '' : `${out}${end}`;
}

/** RFC 4180 with `\n`; null is nothing, an empty text is `""`. */
async function* encodeCsv(api: Api, result: SqlRows, chunks: AsyncIterable<DuckDBDataChunk>): AsyncGenerator<string> {
  const writers = result.types.map(type => plainWriter(api, type));
  let out = `${result.names.map(field).join(',')}\n`;
  for await (const chunk of chunks) {
    const columns = written(chunk, writers);
    for (let row = 0; row < chunk.rowCount; row++) {
      out += `${columns.map(column => orNothing(column[row])).join(',')}\n`;
    }
    yield out;
    out = '';
  }
  if (out !== '') yield out;
}

function orNothing(text: string | undefined): string {
  return text === undefined ? '' : field(text);
}

function field(text: string): string {
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
