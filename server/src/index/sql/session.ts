/**
 * A DuckDB that reads the index and nothing else. Its own instance over a copy of the index that is attached read-only;
 * before the first query of a person it loses the file system, extensions and the right to change a setting, for good.
 * Queries run in read-only transactions, each on a connection of its own.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type {
  DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  DuckDBPreparedStatement,
  DuckDBType,
  DuckDBValue
} from '@duckdb/node-api';
import { availableParallelism } from 'node:os';
import { SyftError } from '../../core/errors.ts';
import { sqlError, type QueryText } from './errors.ts';
import { livesOf, MOST_LIVES, type Life, type Move } from './lives.ts';
import { BrokenOffError, ResultStream, type SqlRows } from './result-stream.ts';
import { readStatement, type Statement } from './statement.ts';
import { words } from './words.ts';
import { SCHEMA } from '../schema.ts';
import { CARRIED, ENDS, type Carried } from './protocol.ts';
import { chunkOf, type TableRows } from './table-rows.ts';
import { definitions, EXTRA_TABLES, MACRO_SPECS, TABLE_SPECS, type FilledTable } from './tables.ts';

type Api = typeof DuckdbApi;

/** A value of a parameter, as JSON has it. */
export type Parameter = string | number | boolean | null | readonly (string | number | boolean | null)[];
export type Parameters = readonly Parameter[] | Readonly<Record<string, Parameter>>;

export interface SqlSessionOptions {
  readonly workspaceId: string;
  /** Zone of times that are written without one; an IANA name. */
  readonly timeZone: string;
  /** Megabytes DuckDB may take. */
  readonly memoryMb: number;
  /** The only files that can be read; absolute. */
  readonly readable?: readonly string[];
  /** Work of ours before the doors are closed: makes tables over `readable`. */
  readonly prepare?: (own: DuckDBConnection) => Promise<void>;
}

/** Rows of a table that the index does not have. */
export interface ExtraRows {
  readonly table: FilledTable;
  readonly rows: readonly (readonly (string | number | boolean | null)[])[];
}

const CATALOG = 'log_index';
/** Megabytes that an index in memory may take; then so much of them, and a few, is kept for what comes to it. */
const INDEX_MOST = 4096;
const INDEX_ROOM = 1.25;
const INDEX_LEAST = 64;
const MAX_THREADS = 4;
/** Milliseconds between two interruptions: one that comes while DuckDB plans is lost. */
const INTERRUPT_EVERY = 25;

/** See the file's first lines. */
export class SqlSession {
  readonly #api: Api;
  readonly #instance: DuckDBInstance;
  readonly #own: DuckDBConnection;
  readonly #options: SqlSessionOptions;
  readonly #catalog: string;
  #closed = false;
  #sealed = false;
  #indexMb = 0;
  /** Whether the lives of files are worked out; `undefined`: nobody asked yet, or there were moves since. */
  #livesWorkedOut: boolean | undefined;

  private constructor(
    api: Api,
    instance: DuckDBInstance,
    own: DuckDBConnection,
    catalog: string,
    options: SqlSessionOptions
  ) {
    this.#api = api;
    this.#instance = instance;
    this.#own = own;
    this.#catalog = catalog;
    this.#options = options;
  }

  /**
   * Opens a session over a file of the index that nobody writes.
   *
   * @throws DuckDB's own errors when the file cannot be read.
   */
  static async open(api: Api, file: string, options: SqlSessionOptions): Promise<SqlSession> {
    return SqlSession.#open(api, options, options.memoryMb, async (session, own) => {
      await own.run(`ATTACH '${quoted(file)}' AS ${CATALOG} (READ_ONLY)`);
      await session.#prepare();
    });
  }

  /**
   * Opens a session over tables in its own memory. They are filled by {@link take}; then it is to be sealed. What they take is not
   * counted against the memory of queries.
   */
  static inMemory(api: Api, options: SqlSessionOptions): Promise<SqlSession> {
    return SqlSession.#open(api, options, options.memoryMb + INDEX_MOST, async (_, own) => {
      await own.run(`ATTACH ':memory:' AS ${CATALOG}`);
      await own.run(`USE ${CATALOG}`);
      await own.run(SCHEMA);
      await own.run(`CREATE TABLE ${ENDS} (id INTEGER, ended INTEGER)`);
      await own.run('USE memory');
    });
  }

  static async #open(
    api: Api,
    options: SqlSessionOptions,
    memoryMb: number,
    attach: (session: SqlSession, own: DuckDBConnection) => Promise<void>
  ): Promise<SqlSession> {
    const instance = await api.DuckDBInstance.create(':memory:', {
      memory_limit: `${Math.trunc(memoryMb)}MB`,
      threads: String(Math.max(1, Math.min(MAX_THREADS, availableParallelism()))),
      // What does not fit into memory fails: nothing is spilled to a disk.
      temp_directory: '',
      // What a query needed goes back to the system after it.
      allocator_flush_threshold: '1MB',
      allocator_bulk_deallocation_flush_threshold: '1MB',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false'
    });
    try {
      const own = await instance.connect();
      const session = new SqlSession(api, instance, own, CATALOG, options);
      await attach(session, own);
      return session;
    } catch (error) {
      instance.closeSync();
      throw error;
    }
  }

  /** Adds rows to a table of an index in memory. */
  async take(table: Carried, rows: TableRows): Promise<void> {
    const like = await this.#own.run(`SELECT * FROM ${CATALOG}.${table} LIMIT 0`);
    await this.#append(table, [chunkOf(this.#api, like.columnTypes(), rows)]);
    if (table === 'moved_rows') this.#livesWorkedOut = undefined;
    if (table !== ENDS) return;
    await this.#own.run(
      `UPDATE ${CATALOG}.change_rows SET ended = e.ended FROM ${CATALOG}.${ENDS} e WHERE change_rows.id = e.id`
    );
    await this.empty(ENDS);
  }

  /** Takes all rows out of a table of an index in memory. */
  async empty(table: Carried): Promise<void> {
    await this.#own.run(`DELETE FROM ${CATALOG}.${table}`);
    if (table === 'moved_rows') this.#livesWorkedOut = undefined;
  }

  async #append(table: Carried, chunks: Iterable<DuckDBDataChunk> | AsyncIterable<DuckDBDataChunk>): Promise<void> {
    const appender = await this.#own.createAppender(table, 'main', CATALOG);
    try {
      for await (const chunk of chunks) appender.appendDataChunk(chunk);
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  /** An index in memory is there: queries may come, and the doors are closed. The second time it does nothing. */
  async seal(): Promise<void> {
    if (this.#sealed) return;
    this.#sealed = true;
    const [row] = await (await this.#own.run('SELECT sum(memory_usage_bytes)::BIGINT FROM duckdb_memory()')).getRows();
    this.#indexMb = Math.ceil((Number(row?.[0] ?? 0) / 1e6) * INDEX_ROOM) + INDEX_LEAST;
    await this.#own.run(`SET GLOBAL memory_limit = '${Math.trunc(this.#options.memoryMb) + this.#indexMb}MB'`);
    await this.#prepare();
  }

  /** Megabytes that its index takes beside the queries. */
  get indexMb(): number {
    return this.#indexMb;
  }

  /** Another session over the same index in memory, of which a copy is made when the statement names a table of it. */
  async beside(options: SqlSessionOptions, { names }: Statement): Promise<SqlSession> {
    const other = await SqlSession.inMemory(this.#api, options);
    try {
      const ours = [...CARRIED, ...[...TABLE_SPECS, ...MACRO_SPECS].map(({ name }) => name)];
      if (ours.some(name => names.has(name))) {
        for (const table of CARRIED) {
          const result = await this.#own.stream(`SELECT * FROM ${CATALOG}.${table}`);
          await other.#append(table, new ResultStream(this.#api, this.#own, result).chunks());
        }
      }
      await other.seal();
      return other;
    } catch (error) {
      other.close();
      throw error;
    }
  }

  async #prepare(): Promise<void> {
    const own = this.#own;
    await own
      .run(`SET GLOBAL TimeZone = '${quoted(this.#options.timeZone)}'`)
      // A zone of the system that DuckDB does not know.
      .catch(() => own.run("SET GLOBAL TimeZone = 'UTC'"));
    await own.run("ATTACH ':memory:' AS extra");
    for (const [table, columns] of Object.entries(EXTRA_TABLES)) {
      await own.run(`CREATE TABLE extra.${table} (${columns})`);
    }
    const { workspaceId, readable = [], prepare } = this.#options;
    for (const { sql } of definitions({ catalog: this.#catalog, workspaceId })) await own.run(sql);
    await prepare?.(own);
    await own.run(`SET GLOBAL allowed_paths = [${readable.map(path => `'${quoted(path)}'`).join(', ')}]`);
    await own.run('SET GLOBAL enable_external_access = false');
    await own.run('SET GLOBAL lock_configuration = true');
  }

  /** Reads a query without running it. Throws as {@link readStatement}. */
  read(text: string): Promise<Statement> {
    return readStatement(this.#own, text);
  }

  /** Fills a table that the index does not have, in the place of what was in it. */
  async fill({ table, rows }: ExtraRows): Promise<void> {
    const { BIGINT, BOOLEAN, VARCHAR } = this.#api;
    const types = EXTRA_TABLES[table]
      .split(', ')
      .map(column => (column.endsWith('BIGINT') ? BIGINT : column.endsWith('BOOLEAN') ? BOOLEAN : VARCHAR));
    await this.#own.run(`CREATE OR REPLACE TABLE extra.${table} (${EXTRA_TABLES[table]})`);
    const appender = await this.#own.createAppender(table, 'main', 'extra');
    try {
      const size = 2048;
      for (let i = 0; i < rows.length; i += size) {
        const part = rows.slice(i, i + size);
        const chunk = this.#api.DuckDBDataChunk.create(types, part.length);
        chunk.setRows(part.map(row => row.map((value, k) => (types[k] === BIGINT ? bigint(value) : value))));
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  /** For reading statements only. */
  get parser(): DuckDBConnection {
    return this.#own;
  }

  /**
   * Runs a query and hands its rows to `use` while DuckDB works out the next: it waits for who reads, and holds a few portions.
   *
   * @param options.lenient Values for parameters that the query does not have are no mistake.
   * @param options.maxRows No more than one row beyond is worked out.
   * @param signal Interrupts it.
   * @throws SyftError SQL_*; CANCELLED when `signal` was aborted.
   */
  async run<T>(
    statement: Statement,
    parameters: Parameters | undefined,
    signal: AbortSignal,
    use: (rows: SqlRows) => Promise<T>,
    options: { readonly lenient?: boolean; readonly maxRows?: number } = {}
  ): Promise<T> {
    const query = limited(statement, options.maxRows);
    if (this.#closed) throw new SyftError('NOT_RUNNING', 'The SQL session is closed.');
    const connection = await this.#instance.connect();
    let timer: NodeJS.Timeout | undefined;
    const interrupt = (): void => {
      connection.interrupt();
      timer ??= setInterval(() => connection.interrupt(), INTERRUPT_EVERY);
    };
    signal.addEventListener('abort', interrupt);
    let rows: ResultStream | undefined;
    try {
      if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.');
      await this.#narrow(connection, statement);
      await connection.run('BEGIN TRANSACTION READ ONLY');
      const prepared = await this.#prepared(connection, query.run);
      bind(this.#api, prepared, parameters, options.lenient === true);
      // What explains a query is one row, and worked out by then.
      const result = await (statement.explain ? prepared.run() : prepared.stream());
      rows = new ResultStream(this.#api, connection, result);
      return await use(rows);
    } catch (error) {
      if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.', { cause: error });
      if (error instanceof BrokenOffError) {
        throw await this.#whyBrokenOff(connection, query, parameters, signal, options.lenient === true, error);
      }
      throw sqlError(error, query);
    } finally {
      signal.removeEventListener('abort', interrupt);
      clearInterval(timer);
      await rows?.leave();
      connection.closeSync();
    }
  }

  /**
   * Why a query failed after its first rows. DuckDB's client keeps it to itself, so the query is run once more without handing
   * on a row: `EXPLAIN ANALYZE` keeps none and fails with words.
   */
  async #whyBrokenOff(
    connection: DuckDBConnection,
    query: QueryText,
    parameters: Parameters | undefined,
    signal: AbortSignal,
    lenient: boolean,
    cause: BrokenOffError
  ): Promise<SyftError> {
    const before = 'EXPLAIN ANALYZE ';
    const again: QueryText = {
      written: query.written,
      run: `${before}${query.run}`,
      place: offset => query.place(Math.max(0, offset - before.length))
    };
    const unknown = (why: string): SyftError =>
      new SyftError('SQL_INVALID', `The query failed after its first rows, and ${why}. Ask again.`, { cause });
    try {
      await connection.run('ROLLBACK');
      await connection.run('BEGIN TRANSACTION READ ONLY');
      const prepared = await this.#prepared(connection, again.run);
      bind(this.#api, prepared, parameters, lenient);
      await prepared.run();
    } catch (error) {
      return signal.aborted ? unknown('there was no time left to find out why') : sqlError(error, again);
    }
    return unknown('did not when it was run again');
  }

  /** Works out the lives of files where `history` needs them. */
  async #workOutLives(): Promise<void> {
    if (this.#livesWorkedOut !== undefined) return;
    const moves: Move[] = [];
    const [counted] = await (await this.#own.run(`SELECT count(*) FROM ${this.#catalog}.moved_rows`)).getRows();
    let lives: Life[] | undefined;
    if (Number(counted?.[0]) <= MOST_LIVES) {
      const reader = await this.#own.runAndReadAll(
        `SELECT id, path, from_path FROM ${this.#catalog}.moved_rows ORDER BY id`
      );
      for (const [row, path, from] of reader.getRows()) {
        moves.push({ row: Number(row), path: Number(path), from: Number(from) });
      }
      lives = livesOf(moves);
    }
    await this.fill({ table: 'lives', rows: (lives ?? []).map(({ of, path, low, high }) => [of, path, low, high]) });
    this.#livesWorkedOut = lives !== undefined;
  }

  /** Tables without the joins behind columns that the query does not name. */
  async #narrow(connection: DuckDBConnection, { names, star }: Statement): Promise<void> {
    const history = names.has('history');
    if (history) await this.#workOutLives();
    if (star && !history) return;
    const { workspaceId } = this.#options;
    const narrow = definitions({
      catalog: this.#catalog,
      workspaceId,
      temporary: true,
      ...(!star && { wanted: column => names.has(column) }),
      ...(this.#livesWorkedOut === true && { livesWorkedOut: true })
    });
    // A name of a table in an expression is a whole row of it; then all is wanted, and nothing narrowed.
    for (const { name, sql } of narrow) if (names.has(name)) await connection.run(sql);
  }

  /** What the parser has judged is judged once more, by what DuckDB makes of it. */
  async #prepared(connection: DuckDBConnection, text: string): Promise<DuckDBPreparedStatement> {
    const { SELECT, EXPLAIN } = this.#api.StatementType;
    const statements = await connection.extractStatements(text);
    if (statements.count !== 1) throw new SyftError('SQL_FORBIDDEN', 'Only one statement may be run.');
    const prepared = await statements.prepare(0);
    if (prepared.statementType !== SELECT && prepared.statementType !== EXPLAIN) {
      throw new SyftError('SQL_FORBIDDEN', 'Only a statement that reads may be run.');
    }
    return prepared;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#own.closeSync();
    this.#instance.closeSync();
  }
}

function quoted(text: string): string {
  return text.replaceAll("'", "''");
}

function bigint(value: string | number | boolean | null): DuckDBValue {
  return typeof value === 'number' ? BigInt(Math.round(value)) : value;
}

/** The query for so many rows, and one that says that there are more. What explains a query has few. */
function limited({ query, explain }: Statement, maxRows: number | undefined): QueryText {
  if (explain || maxRows === undefined) return query;
  const before = 'SELECT * FROM (';
  const end = [...words(query.run)].findLast(word => word.text !== ';')?.end ?? query.run.length;
  return {
    written: query.written,
    // On a line of its own: the query may end in a comment.
    run: `${before}${query.run.slice(0, end)}\n) LIMIT ${maxRows + 1}`,
    place: offset => query.place(Math.min(Math.max(0, offset - before.length), end))
  };
}

/** Whole numbers as BIGINT, so that they index and count; others as DOUBLE. */
function valueOf(api: Api, value: Parameter): { value: DuckDBValue; type?: DuckDBType } {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return { value: BigInt(value), type: api.BIGINT };
  if (typeof value !== 'object' || value === null) return { value: value };
  const items = value.map(item => valueOf(api, item));
  const type = items.find(item => item.value !== null);
  if (type === undefined) return { value: api.listValue(items.map(() => null)), type: api.LIST(api.VARCHAR) };
  const kind = typeof type.value === 'string' ? api.VARCHAR : typeof type.value === 'boolean' ? api.BOOLEAN : undefined;
  const whole = items.every(item => item.value === null || typeof item.value === 'bigint');
  const element = kind ?? (whole ? api.BIGINT : api.DOUBLE);
  return {
    value: api.listValue(
      items.map(item => (element === api.DOUBLE && item.value !== null ? Number(item.value) : item.value))
    ),
    type: api.LIST(element)
  };
}

function bind(api: Api, prepared: DuckDBPreparedStatement, parameters: Parameters | undefined, lenient: boolean): void {
  const given = new Map<string, Parameter>();
  if (isList(parameters)) parameters.forEach((value, i) => given.set(String(i + 1), value));
  else for (const [name, value] of Object.entries(parameters ?? {})) given.set(name.replace(/^\$/, ''), value);
  const count = prepared.parameterCount;
  for (let index = 1; index <= count; index++) {
    const name = prepared.parameterName(index);
    if (!given.has(name)) {
      throw new SyftError('SQL_INVALID', `The query has a parameter $${name}, and no value is given for it.`);
    }
    const { value, type } = valueOf(api, given.get(name) as Parameter);
    if (value === null) prepared.bindNull(index);
    else prepared.bindValue(index, value, type);
    given.delete(name);
  }
  const [unknown] = given.keys();
  if (unknown !== undefined && !lenient) {
    throw new SyftError('SQL_INVALID', `A value is given for $${unknown}, which the query does not have.`);
  }
}

function isList(parameters: Parameters | undefined): parameters is readonly Parameter[] {
  return Array.isArray(parameters);
}
