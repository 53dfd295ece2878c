/**
 * The database of an index: one file or none, one connection, one piece of work at a time, within the memory that it was given.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBValue } from '@duckdb/node-api';
import { constants } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import type { ColumnType, RowColumns } from './columns.ts';
import { checkSignal } from './history-queries.ts';

export type Api = typeof DuckdbApi;
export type Row = readonly unknown[];

export interface DatabaseOptions {
  /** Directory of the index; created with mode 0700. `undefined`: in memory only, nothing of it ever comes to a disk. */
  readonly dir: string | undefined;
  /** What DuckDB may take, megabytes. */
  readonly memory: number;
  /** What it may take for one piece of work that cannot be done with less, megabytes. */
  readonly memoryMost: number;
}

/** The database file's name in the index directory. */
export const DATABASE_FILE = 'changes.duckdb';

/** What the file is called within. */
const CATALOG = 'log_index';
/**
 * Rows that DuckDB keeps bounds for. A row that is looked for by its number costs a look at so many; many small groups cost a look at the
 * bounds of each.
 */
export const ROW_GROUP = 30_720;

/** See the file's first lines. */
export class IndexDatabase {
  readonly api: Api;
  readonly options: DatabaseOptions;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(api: Api, instance: DuckDBInstance, connection: DuckDBConnection, options: DatabaseOptions) {
    this.api = api;
    this.#instance = instance;
    this.#connection = connection;
    this.options = options;
  }

  /**
   * Opens the file, creating it when there is none.
   *
   * @throws DuckDB's own errors when it cannot be read.
   */
  static async open(api: Api, options: DatabaseOptions): Promise<IndexDatabase> {
    const { dir } = options;
    if (dir !== undefined) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await chmod(dir, 0o700);
    }
    const instance = await api.DuckDBInstance.create(':memory:', {
      memory_limit: megabytes(options.memory),
      threads: '2',
      // What a question needed goes back to the system after it, not to the allocator's stock.
      allocator_flush_threshold: '1MB',
      allocator_bulk_deallocation_flush_threshold: '1MB',
      allocator_background_threads: 'true',
      // Empty: what does not fit into memory fails. DuckDB spills in the clear.
      temp_directory: dir === undefined ? '' : join(dir, 'spill'),
      // Fixed statements over our own file: nothing may be loaded or fetched on their behalf.
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
      preserve_insertion_order: 'false'
    });
    try {
      const connection = await instance.connect();
      if (dir !== undefined) {
        const file = join(dir, DATABASE_FILE);
        // Nobody reads the file but this version of DuckDB: it may be written as small as it can be.
        await connection.run(
          `ATTACH '${file.replaceAll("'", "''")}' AS ${CATALOG} (STORAGE_VERSION 'latest', ROW_GROUP_SIZE ${ROW_GROUP})`
        );
        await chmod(file, 0o600);
        await connection.run(`USE ${CATALOG}`);
      }
      return new IndexDatabase(api, instance, connection, options);
    } catch (error) {
      instance.closeSync();
      throw error;
    }
  }

  /**
   * Runs one piece of work at a time. It may be begun several times: what runs out of memory is begun again with more.
   *
   * @throws SyftError NOT_RUNNING when it is closed, CANCELLED by `signal`; whatever `work` throws.
   */
  exclusive<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const run = async (): Promise<T> => {
      checkSignal(signal);
      if (this.#closed) throw new SyftError('NOT_RUNNING', 'The index is closed.');
      const interrupt = (): void => this.#connection.interrupt();
      signal?.addEventListener('abort', interrupt);
      try {
        return await this.#withRoom(work);
      } catch (error) {
        checkSignal(signal);
        throw error;
      } finally {
        signal?.removeEventListener('abort', interrupt);
      }
    };
    const result = this.#queue.then(run, run);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Does what needs more memory than is usual with more, for this once. */
  async #withRoom<T>(work: () => Promise<T>): Promise<T> {
    const { memory, memoryMost } = this.options;
    let limit = memory;
    try {
      for (;;) {
        try {
          return await work();
        } catch (error) {
          if (!isOutOfMemory(error) || limit >= memoryMost) throw error;
          limit = Math.min(limit * 4, memoryMost);
          await this.limitMemory(limit);
        }
      }
    } finally {
      // Refused while more is in use; then the next one tries again.
      if (limit !== memory) await this.limitMemory(memory).catch(() => undefined);
    }
  }

  /** What DuckDB may take from now on, megabytes. */
  async limitMemory(limit: number): Promise<void> {
    await this.run(`SET memory_limit = '${megabytes(limit)}'`);
  }

  /** Runs a statement. Only within {@link exclusive}, as all that follows. */
  async run(sql: string, values: DuckDBValue[] = []): Promise<void> {
    await this.#connection.run(sql, values);
  }

  async read(sql: string, values: DuckDBValue[] = []): Promise<Row[]> {
    const reader = await this.#connection.runAndReadAll(sql, values);
    return reader.getRowsJS();
  }

  /** Rows as DuckDB holds them. */
  async chunks(sql: string): Promise<DuckDBDataChunk[]> {
    const result = await this.#connection.run(sql);
    return result.fetchAllChunks();
  }

  /** Brings what is in the log beside the file into it. */
  async checkpoint(): Promise<void> {
    if (this.options.dir !== undefined) await this.run(`CHECKPOINT ${CATALOG}`);
  }

  /** All of `work`, or nothing of it. */
  async transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.run('BEGIN');
    try {
      const result = await work();
      await this.run('COMMIT');
      return result;
    } catch (error) {
      await this.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }

  /**
   * Puts rows into a temporary table of this name, made anew: rows that are deleted from one stay in memory. Rows on their way into
   * the file go this way too, because an appender works on the thread of the program, and a statement does not.
   */
  async stage<S extends Readonly<Record<string, ColumnType>>>(
    table: string,
    columns: S,
    rows: RowColumns<S>,
    count: number
  ): Promise<void> {
    const definition = Object.entries(columns).map(([name, type]) => `${name} ${type}`);
    await this.run(`CREATE OR REPLACE TEMP TABLE ${table} (${definition.join(', ')})`);
    const appender = await this.#connection.createAppender(table, 'main', 'temp');
    try {
      await rows.appendTo(appender, count);
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  blob(bytes: Uint8Array): DuckDBValue {
    return this.api.blobValue(bytes);
  }

  /** Copies the file for somebody else to read. Only where there is a file. */
  copyTo(file: string): Promise<void> {
    return this.exclusive(async () => {
      const { dir } = this.options;
      if (dir === undefined) throw new SyftError('SQL_UNAVAILABLE', 'This index is in no file.');
      // What is in the log beside the file goes into it, so that the copy is whole.
      await this.checkpoint();
      await copyFile(join(dir, DATABASE_FILE), file, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      await chmod(file, 0o600);
    });
  }

  close(): Promise<void> {
    const closing = this.#queue.then(() => {
      if (this.#closed) return;
      this.#closed = true;
      this.#connection.closeSync();
      this.#instance.closeSync();
    });
    this.#queue = closing;
    return closing;
  }
}

function megabytes(value: number): string {
  return `${Math.trunc(value)}MB`;
}

export function isOutOfMemory(error: unknown): boolean {
  // Not by its class: it may have been made in another realm.
  return String((error as { message?: unknown }).message).startsWith('Out of Memory Error');
}
