/**
 * A result as a Parquet file. DuckDB writes one only to a file system, and who runs queries has none: so the rows go into a second
 * DuckDB that only ever runs the statements here. Its file and the Parquet file are in the directory of the query: however many
 * rows there are, a few are in memory.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { createReadStream } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftError } from '../../core/errors.ts';
import type { SqlRows } from './result-stream.ts';

type Api = typeof DuckdbApi;

/** A row group of DuckDB's: what is whole goes to its file. */
const FLUSH_ROWS = 122_880;

export async function* encodeParquet(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>,
  { scratch, memoryMb }: { readonly scratch: string | undefined; readonly memoryMb: number }
): AsyncGenerator<Uint8Array> {
  if (scratch === undefined) {
    throw new SyftError(
      'SQL_FORBIDDEN',
      'Parquet is written by way of a file, and of an encrypted log nothing is written in the clear. Ask for arrow, and write it where you want it.'
    );
  }
  const file = join(scratch, 'result.parquet');
  const rows = join(scratch, 'result.duckdb');
  const instance = await api.DuckDBInstance.create(rows, {
    threads: '1',
    memory_limit: `${Math.trunc(memoryMb)}MB`,
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false'
  });
  try {
    await chmod(rows, 0o600);
    const connection = await instance.connect();
    const names = result.names.map(name => `"${name.replaceAll('"', '""')}"`);
    const columns = result.types.map((type, i) => `${names[i] ?? ''} ${typeText(api, type)}`);
    await connection.run(`CREATE TABLE result (${columns.join(', ')})`);
    const appender = await connection.createAppender('result');
    let pending = 0;
    for await (const chunk of chunks) {
      appender.appendDataChunk(chunk);
      pending += chunk.rowCount;
      if (pending < FLUSH_ROWS) continue;
      appender.flushSync();
      pending = 0;
    }
    appender.closeSync();
    await connection.run(`COPY result TO '${file.replaceAll("'", "''")}' (FORMAT parquet, COMPRESSION zstd)`);
    await chmod(file, 0o600);
    for await (const piece of createReadStream(file)) yield piece as Buffer;
  } catch (error) {
    if (!/no space left|quota exceeded/i.test(String((error as { message?: unknown }).message))) throw error;
    throw new SyftError('DISK_FULL', `There is no space left at ${scratch}, where Parquet is written first.`, {
      cause: error
    });
  } finally {
    instance.closeSync();
    for (const each of [file, rows, `${rows}.wal`]) await rm(each, { force: true });
  }
}

function typeText(api: Api, type: DuckdbApi.DuckDBType): string {
  // A column of nothing but nulls has no type of its own in a table.
  return type.typeId === api.DuckDBTypeId.SQLNULL ? 'INTEGER' : type.toString();
}
