/**
 * A result as a Parquet file. DuckDB writes one only to a file system, and who runs queries has none: so the rows go into a second
 * DuckDB that only ever runs the statements here. Its file and the Parquet file are in the directory of the query: however many
 * rows there are, a few are in memory. Of an encrypted log neither is a file.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import { constants, createReadStream, openSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { SyftError } from '../../core/errors.ts';
import { makePipe } from './fed-file.ts';
import type { SqlRows } from './result-stream.ts';

type Api = typeof DuckdbApi;

/** A row group of DuckDB's: what is whole goes to its file. */
const FLUSH_ROWS = 122_880;

/**
 * @param options.scratch The directory of the query; private.
 * @param options.sealed Nothing may come to a disk: the rows are held in memory, and the file leaves through a pipe.
 * @throws SyftError DISK_FULL; SQL_MEMORY for more rows of an encrypted log than the query may hold.
 */
export async function* encodeParquet(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>,
  { scratch, sealed, memoryMb }: { readonly scratch: string; readonly sealed: boolean; readonly memoryMb: number }
): AsyncGenerator<Uint8Array> {
  const file = join(scratch, 'result.parquet');
  const rows = join(scratch, 'result.duckdb');
  const instance = await api.DuckDBInstance.create(sealed ? ':memory:' : rows, {
    threads: '1',
    memory_limit: `${Math.trunc(memoryMb)}MB`,
    temp_directory: '',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false'
  });
  try {
    if (!sealed) await chmod(rows, 0o600);
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
    const copy = `COPY result TO '${file.replaceAll("'", "''")}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)`;
    if (sealed) yield* throughPipe(file, () => connection.run(copy));
    else {
      await connection.run(copy);
      await chmod(file, 0o600);
      for await (const piece of createReadStream(file)) yield piece as Buffer;
    }
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

/** What `write` writes to a pipe of this name, which is not there yet. */
async function* throughPipe(name: string, write: () => Promise<unknown>): AsyncGenerator<Uint8Array> {
  await makePipe(name);
  // Without waiting for the writer; the end is read when he has been there and gone.
  const reader = new Socket({ fd: openSync(name, constants.O_RDONLY | constants.O_NONBLOCK), readable: true });
  let failure: unknown;
  const writing = write().catch((error: unknown) => {
    failure = error;
    // One that failed before he opened it: nobody else will.
    reader.destroy();
  });
  try {
    for await (const piece of reader) yield piece as Buffer;
  } catch (error) {
    failure ??= error;
  } finally {
    // Whoever has seen enough: the writer finds the pipe broken, and is waited for.
    reader.destroy();
    await writing;
  }
  if (failure !== undefined) throw failure as Error;
}

function typeText(api: Api, type: DuckdbApi.DuckDBType): string {
  // A column of nothing but nulls has no type of its own in a table.
  return type.typeId === api.DuckDBTypeId.SQLNULL ? 'INTEGER' : type.toString();
}
