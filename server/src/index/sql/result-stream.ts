/** Rows as DuckDB works them out, and whether they were all. */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBResult, DuckDBType } from '@duckdb/node-api';

type Api = typeof DuckdbApi;

/** A result whose first rows are there. */
export interface SqlRows {
  readonly names: readonly string[];
  readonly types: readonly DuckDBType[];
  /**
   * Rows in portions of DuckDB's, worked out one ahead of those that are asked for. Throws when the
   * query fails: only what ends without is whole.
   */
  chunks(): AsyncGenerator<DuckDBDataChunk>;
}

/** Chunks between looks at the memory. */
const SWEEP_EVERY = 8;
/** Bytes that this process may grow by before what was handed on is looked for: of DuckDB's memory V8 sees nothing. */
const GROWTH = 32 << 20;

/** A query failed after its first rows. */
export class BrokenOffError extends Error {
  override readonly name = 'BrokenOffError';
}

/** See the file's first lines. */
export class ResultStream implements SqlRows {
  readonly names: readonly string[];
  readonly types: readonly DuckDBType[];
  readonly #api: Api;
  readonly #connection: DuckDBConnection;
  readonly #result: DuckDBResult;
  #ended = false;
  #next: Promise<DuckDBDataChunk | null> | undefined;
  #size = process.memoryUsage.rss();

  constructor(api: Api, connection: DuckDBConnection, result: DuckDBResult) {
    this.#api = api;
    this.#connection = connection;
    this.#result = result;
    this.names = result.deduplicatedColumnNames();
    this.types = result.columnTypes();
  }

  async *chunks(): AsyncGenerator<DuckDBDataChunk> {
    // DuckDB works out the next while this one is used.
    this.#next = this.#result.fetchChunk();
    for (let count = 1; ; count++) {
      const chunk = await this.#next;
      if (chunk === null || chunk.rowCount === 0) break;
      this.#next = this.#result.fetchChunk();
      // It fails when it is its turn.
      this.#next.catch(() => undefined);
      yield chunk;
      if (count % SWEEP_EVERY === 0) this.#sweep();
    }
    this.#ended = true;
    await this.#checkWhole();
  }

  /** Gives back the memory of chunks that nobody holds any more; without `--expose-gc` it is left to chance. */
  #sweep(): void {
    if (globalThis.gc === undefined || process.memoryUsage.rss() < this.#size + GROWTH) return;
    globalThis.gc({ type: 'minor' });
    this.#size = process.memoryUsage.rss();
  }

  /**
   * The client ends rows that fail as it ends those that are whole. Two things tell them apart. A result with an error says that it
   * is of no type, whatever the error was. And its transaction is aborted, by most errors: it is asked as well, for a client that
   * should not say the first any more.
   */
  async #checkWhole(): Promise<void> {
    if (this.#result.returnType === this.#api.ResultReturnType.INVALID) {
      throw new BrokenOffError('the result has failed');
    }
    try {
      await this.#connection.run('SELECT 1');
    } catch (error) {
      throw new BrokenOffError('the transaction is aborted', { cause: error });
    }
  }

  /** What is not worked out yet is not wanted any more. */
  async leave(): Promise<void> {
    if (this.#ended) return;
    this.#connection.interrupt();
    await this.#next?.catch(() => undefined);
    await this.#connection.run('ROLLBACK').catch(() => undefined);
  }
}
