/**
 * A result as a Parquet file. DuckDB writes one only to a file system, and who runs queries has none: so the rows go into a second
 * DuckDB in memory that only ever runs the statement here, and the file into the directory of the query.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { createReadStream } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftError } from '../../core/errors.ts';
import type { SqlRows } from './session.ts';

type Api = typeof DuckdbApi;

export async function* encodeParquet(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>,
  scratch: string | undefined
): AsyncGenerator<Uint8Array> {
  if (scratch === undefined) {
    throw new SyftError(
      'SQL_FORBIDDEN',
      'Parquet is written by way of a file, and of an encrypted log nothing is written in the clear. Ask for arrow, and write it where you want it.'
    );
  }
  const file = join(scratch, 'result.parquet');
  const instance = await api.DuckDBInstance.create(':memory:', {
    threads: '1',
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false'
  });
  try {
    const connection = await instance.connect();
    const names = result.names.map(name => `"${name.replaceAll('"', '""')}"`);
    const columns = result.types.map((type, i) => `${names[i] ?? ''} ${typeText(api, type)}`);
    await connection.run(`CREATE TABLE result (${columns.join(', ')})`);
    const appender = await connection.createAppender('result');
    for await (const chunk of chunks) appender.appendDataChunk(chunk);
    appender.closeSync();
    await connection.run(`COPY result TO '${file.replaceAll("'", "''")}' (FORMAT parquet, COMPRESSION zstd)`);
    await chmod(file, 0o600);
    for await (const piece of createReadStream(file)) yield piece as Buffer;
  } finally {
    instance.closeSync();
    await rm(file, { force: true });
  }
}

function typeText(api: Api, type: DuckdbApi.DuckDBType): string {
  // A column of nothing but nulls has no type of its own in a table.
  return type.typeId === api.DuckDBTypeId.SQLNULL ? 'INTEGER' : type.toString();
}
