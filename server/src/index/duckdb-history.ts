/**
 * History out of DuckDB: one database file, one connection, one statement at a time. Changes and the position they lead to
 * go in with one transaction, so that a crash leaves the position that its rows have.
 *
 * Holds no list of paths or changes in memory; what a batch needs is looked up by joins.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBType, DuckDBValue } from '@duckdb/node-api';
import { constants } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  parseVersionId,
  versionId,
  type Cause,
  type Change,
  type ChangeFlag,
  type ContentRef
} from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { decodePath, displayPath, encodePath, type PathName } from '../core/path-name.ts';
import {
  checkSignal,
  decodeCursor,
  encodeCursor,
  foldPath,
  foldText,
  isVersionPrefix,
  versionAmbiguous,
  versionNotFound,
  type ChangeCounts,
  type ChangeRecord,
  type ChangesFilter,
  type DeletedRecord,
  type HistoryEngine,
  type HistoryPage,
  type Place,
  type QueryOptions,
  type RecordPage
} from './history-queries.ts';
import { PreviousState, type PathState } from './previous-state.ts';
import { Fingerprint } from './fingerprint.ts';
import { CONTENT, KINDS, SCHEMA, SCHEMA_VERSION, TYPES } from './schema.ts';
import { treeAt } from './tree-at.ts';

type Api = typeof DuckdbApi;
type Row = readonly unknown[];

export interface DuckdbHistoryOptions {
  /** Directory of the index; created with mode 0700. `undefined`: in memory only, nothing of it ever comes to a disk. */
  readonly dir: string | undefined;
  readonly workspaceId: string;
  /** What DuckDB may take, megabytes. */
  readonly memory: number;
  /** What it may take for one piece of work that cannot be done with less, megabytes. */
  readonly memoryMost: number;
}

/** The database file's name in the index directory. */
export const DATABASE_FILE = 'changes.duckdb';

/** The index is not one of this log, or not of this version: to be built anew. */
export class StaleIndexError extends Error {
  override readonly name = 'StaleIndexError';
}

interface RowState extends PathState {
  readonly row: number;
  readonly type: number;
}

/** What a batch brings, for joins. */
const BATCH_TABLES = {
  batch_paths: 'k INTEGER, name BLOB, display VARCHAR, folded VARCHAR',
  batch_hashes: 'k INTEGER, hash BLOB',
  batch_removed: 'path INTEGER'
} as const;
const ROWS_PER_CHUNK = 2048;
/** Steps back across moves that are looked up one by one before all moves are read at once. */
const SINGLE_MOVES = 32;
const LAST_ROW = 2_147_483_647;

/** See the file's first lines. */
export class DuckdbHistory implements HistoryEngine {
  readonly #api: Api;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #options: DuckdbHistoryOptions;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  readonly #devices = new Map<string, number>();
  readonly #positions = new Map<string, number>();
  #fold = new PreviousState<RowState>();
  #fingerprint = new Fingerprint();
  #count = 0;
  #nextPath = 1;
  #nextHash = 1;
  #last: Place | undefined;

  private constructor(api: Api, instance: DuckDBInstance, connection: DuckDBConnection, options: DuckdbHistoryOptions) {
    this.#api = api;
    this.#instance = instance;
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * Opens the database, creating it when there is none.
   *
   * @param api The loaded DuckDB module.
   * @throws StaleIndexError when it belongs to another workspace or version; DuckDB's own errors when it cannot be read.
   */
  static async open(api: Api, options: DuckdbHistoryOptions): Promise<DuckdbHistory> {
    const { dir } = options;
    if (dir !== undefined) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await chmod(dir, 0o700);
    }
    const file = dir === undefined ? ':memory:' : join(dir, DATABASE_FILE);
    const instance = await api.DuckDBInstance.create(file, {
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
      if (dir !== undefined) await chmod(file, 0o600);
      const connection = await instance.connect();
      const history = new DuckdbHistory(api, instance, connection, options);
      await history.#load();
      return history;
    } catch (error) {
      instance.closeSync();
      throw error;
    }
  }

  async #load(): Promise<void> {
    const tables = await this.#read(`SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta' AND NOT temporary`);
    if (num(tables[0]?.[0]) === 0) {
      await this.#connection.run('BEGIN');
      await this.#connection.run(SCHEMA);
      await this.#connection.run('INSERT INTO meta VALUES ($1, $2, 0, $3)', [
        SCHEMA_VERSION,
        this.#options.workspaceId,
        this.#fingerprint.text
      ]);
      await this.#connection.run('COMMIT');
    }
    const [meta] = await this.#read('SELECT schema, workspace, changes, fingerprint FROM meta');
    if (meta === undefined || num(meta[0]) !== SCHEMA_VERSION) {
      throw new StaleIndexError('The index has another schema version.');
    }
    if (meta[1] !== this.#options.workspaceId) throw new StaleIndexError('The index belongs to another workspace.');
    this.#count = num(meta[2]);
    this.#fingerprint = Fingerprint.parse(String(meta[3]));
    for (const [id, name, seq] of await this.#read('SELECT id, name, seq FROM devices')) {
      this.#devices.set(String(name), num(id));
      this.#positions.set(String(name), num(seq));
    }
    const [ends] = await this.#read(`SELECT
      (SELECT coalesce(max(id), 0) FROM paths), (SELECT coalesce(max(id), 0) FROM hashes),
      (SELECT coalesce(max(id), 0) FROM change_rows), (SELECT count(*) FROM change_rows)`);
    this.#nextPath = num(ends?.[0]) + 1;
    this.#nextHash = num(ends?.[1]) + 1;
    if (num(ends?.[2]) !== this.#count || num(ends?.[3]) !== this.#count) {
      throw new StaleIndexError('The index has lost rows.');
    }
    const [last] = await this.#read(
      'SELECT c.hlc, d.name, c.seq FROM change_rows c JOIN devices d ON d.id = c.device WHERE c.id = $1',
      [this.#count]
    );
    if (last !== undefined) this.#last = { hlc: num(last[0]), device: String(last[1]), seq: num(last[2]) };
  }

  /** How many changes are applied: the first so many of the log. */
  get count(): number {
    return this.#count;
  }

  /** Over the changes applied; see {@link Fingerprint}. */
  get fingerprint(): string {
    return this.#fingerprint.text;
  }

  get last(): Place | undefined {
    return this.#last;
  }

  get positions(): ReadonlyMap<string, number> {
    return this.#positions;
  }

  /** Runs one piece of work at a time on the connection. */
  #exclusive<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
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

  /** Does what needs more memory than is usual with more, for this once. The work may be begun several times. */
  async #withRoom<T>(work: () => Promise<T>): Promise<T> {
    const { memory, memoryMost } = this.#options;
    let limit = memory;
    try {
      for (;;) {
        try {
          return await work();
        } catch (error) {
          if (!isOutOfMemory(error) || limit >= memoryMost) throw error;
          limit = Math.min(limit * 4, memoryMost);
          await this.#limitMemory(limit);
        }
      }
    } finally {
      // Refused while more is in use; then the next one tries again.
      if (limit !== memory) await this.#limitMemory(memory).catch(() => undefined);
    }
  }

  async #limitMemory(limit: number): Promise<void> {
    await this.#connection.run(`SET memory_limit = '${megabytes(limit)}'`);
  }

  async #read(sql: string, values: DuckDBValue[] = []): Promise<Row[]> {
    const reader = await this.#connection.runAndReadAll(sql, values);
    return reader.getRowsJS();
  }

  // ---- feeding ------------------------------------------------------------------------------------------------------

  apply(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return Promise.resolve();
    return this.#exclusive(() => this.#apply(changes));
  }

  async #apply(changes: readonly Change[]): Promise<void> {
    const { BLOB, INTEGER, VARCHAR } = this.#api;
    const names = new Numbering<PathName>();
    const hashes = new Numbering<string>();
    for (const change of changes) {
      names.add(change.path);
      if (change.from !== undefined) names.add(change.from);
      if (change.hash !== undefined) hashes.add(change.hash);
      if (change.previousHash !== undefined) hashes.add(change.previousHash);
    }
    const fingerprint = this.#fingerprint.copy();
    const fold = this.#fold.copy();
    const devices = new Map(this.#devices);
    const positions = new Map(this.#positions);

    await this.#connection.run('BEGIN');
    try {
      const pathIds = await this.#ids(
        'paths',
        'batch_paths',
        'name, display, folded',
        'name',
        [INTEGER, BLOB, VARCHAR, VARCHAR],
        names.keys.map((name, k) => [k, this.#blob(encodePath(name)), displayPath(name), foldPath(name)]),
        this.#nextPath
      );
      const hashIds = await this.#ids(
        'hashes',
        'batch_hashes',
        'hash',
        'hash',
        [INTEGER, BLOB],
        hashes.keys.map((hash, k) => [k, this.#blob(Buffer.from(hash, 'hex'))]),
        this.#nextHash
      );
      const idOf = (path: PathName): number => pathIds.ids[names.of(path)] as number;
      const hashOf = (hash: string | undefined): number | null =>
        hash === undefined ? null : (hashIds.ids[hashes.of(hash)] as number);

      const tree = await this.#treeOf(names, pathIds.ids);
      const before = new Map(tree);
      const rows: DuckDBValue[][] = [];
      let row = this.#count;
      for (const change of changes) {
        row += 1;
        let device = devices.get(change.device);
        if (device === undefined) {
          device = devices.size + 1;
          devices.set(change.device, device);
        }
        positions.set(change.device, change.seq);
        fingerprint.add(change);
        const type = TYPES.indexOf(change.type);
        const previous = fold.apply(tree, change, { at: change.at, device: change.device, row, type });
        rows.push([
          row,
          device,
          BigInt(change.seq),
          KINDS.indexOf(change.kind),
          idOf(change.path),
          new this.#api.DuckDBTimestampTZValue(BigInt(change.at)),
          BigInt(change.hlc),
          type,
          bigOrNull(change.size),
          hashOf(change.hash),
          hashOf(change.previousHash),
          change.mode ?? null,
          bigOrNull(change.mtime),
          change.flags.length === 0 ? null : change.flags.join(','),
          change.from === undefined ? null : idOf(change.from),
          ...this.#contentColumns(change),
          change.cause === undefined ? null : JSON.stringify(change.cause),
          previous?.row ?? null
        ]);
      }
      await this.#append('change_rows', this.#changeTypes(), rows);
      await this.#writeTree(before, tree, idOf, devices);
      for (const [name, id] of devices) {
        if (!this.#devices.has(name)) await this.#connection.run('INSERT INTO devices VALUES ($1, $2, 0)', [id, name]);
        if (positions.get(name) !== this.#positions.get(name)) {
          await this.#connection.run('UPDATE devices SET seq = $1 WHERE id = $2', [
            BigInt(positions.get(name) ?? 0),
            id
          ]);
        }
      }
      await this.#connection.run('UPDATE meta SET changes = $1, fingerprint = $2', [BigInt(row), fingerprint.text]);
      await this.#connection.run('COMMIT');

      for (const [name, id] of devices) this.#devices.set(name, id);
      for (const [name, seq] of positions) this.#positions.set(name, seq);
      this.#fingerprint = fingerprint;
      this.#fold = fold;
      this.#count = row;
      this.#nextPath = pathIds.next;
      this.#nextHash = hashIds.next;
      this.#last = changes.at(-1);
    } catch (error) {
      await this.#connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }

  #blob(bytes: Uint8Array): DuckDBValue {
    return this.#api.blobValue(bytes);
  }

  #changeTypes(): DuckDBType[] {
    const { BIGINT, BLOB, INTEGER, TIMESTAMPTZ, USMALLINT, UTINYINT, VARCHAR } = this.#api;
    return [
      ...[INTEGER, USMALLINT, BIGINT, UTINYINT, INTEGER, TIMESTAMPTZ, BIGINT, UTINYINT, BIGINT, INTEGER],
      ...[INTEGER, INTEGER, BIGINT, VARCHAR, INTEGER, UTINYINT, BLOB, BIGINT, VARCHAR, INTEGER]
    ];
  }

  #contentColumns(change: Change): [DuckDBValue, DuckDBValue, DuckDBValue] {
    const content = change.content;
    if (content === undefined) return [null, null, null];
    if ('list' in content) return [CONTENT.list, this.#blob(Buffer.from(content.list, 'hex')), BigInt(content.count)];
    if (content.chunks.length === 1 && content.chunks[0] === change.hash) return [CONTENT.own, null, null];
    return [CONTENT.chunks, this.#blob(Buffer.from(content.chunks.join(''), 'hex')), null];
  }

  async #append(
    table: string,
    types: readonly DuckDBType[],
    rows: readonly DuckDBValue[][],
    catalog?: string
  ): Promise<void> {
    if (rows.length === 0) return;
    const appender = await this.#connection.createAppender(table, 'main', catalog ?? null);
    try {
      for (let i = 0; i < rows.length; i += ROWS_PER_CHUNK) {
        const part = rows.slice(i, i + ROWS_PER_CHUNK);
        const chunk = this.#api.DuckDBDataChunk.create(types, part.length);
        chunk.setRows(part);
        appender.appendDataChunk(chunk);
        // The chunk is filled on this thread; let file events and requests through between two of them.
        if (i + ROWS_PER_CHUNK < rows.length) await new Promise(resolve => setImmediate(resolve));
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }

  /** A batch table without rows. Made anew, because rows that are deleted from a temporary table stay in memory. */
  async #emptyBatch(table: keyof typeof BATCH_TABLES): Promise<void> {
    await this.#connection.run(`CREATE OR REPLACE TEMP TABLE ${table} (${BATCH_TABLES[table]})`);
  }

  /** Ids of the entries of a batch in a dictionary table, entering what is new. `rows` start with their number `k`. */
  async #ids(
    table: string,
    batch: keyof typeof BATCH_TABLES,
    columns: string,
    key: string,
    types: readonly DuckDBType[],
    rows: readonly DuckDBValue[][],
    next: number
  ): Promise<{ ids: number[]; next: number }> {
    if (rows.length === 0) return { ids: [], next };
    await this.#emptyBatch(batch);
    await this.#append(batch, types, rows, 'temp');
    const inserted = await this.#connection.run(
      `INSERT INTO ${table} SELECT $1::INTEGER + (row_number() OVER (ORDER BY k))::INTEGER - 1, ${columns} FROM ${batch} b
       WHERE NOT EXISTS (SELECT 1 FROM ${table} t WHERE t.${key} = b.${key})`,
      [next]
    );
    const ids: number[] = [];
    for (const [k, id] of await this.#read(`SELECT b.k, t.id FROM ${batch} b JOIN ${table} t ON t.${key} = b.${key}`)) {
      ids[num(k)] = num(id);
    }
    return { ids, next: next + inserted.rowsChanged };
  }

  /** The present states of the paths of a batch; `batch_paths` still holds their names. */
  async #treeOf(names: Numbering<PathName>, ids: readonly number[]): Promise<Map<PathName, RowState>> {
    const nameOf = new Map<number, PathName>();
    names.keys.forEach((name, k) => nameOf.set(ids[k] as number, name));
    const tree = new Map<PathName, RowState>();
    const found = await this
      .#read(`SELECT t.path, t.change, t.moment, d.name, t.type FROM tree_rows t JOIN devices d ON d.id = t.device
      WHERE t.path IN (SELECT p.id FROM paths p JOIN batch_paths b ON b.name = p.name)`);
    for (const [path, row, at, device, type] of found) {
      tree.set(nameOf.get(num(path)) as PathName, {
        row: num(row),
        at: num(at),
        device: String(device),
        type: num(type)
      });
    }
    return tree;
  }

  async #writeTree(
    before: ReadonlyMap<PathName, RowState>,
    after: ReadonlyMap<PathName, RowState>,
    idOf: (path: PathName) => number,
    devices: ReadonlyMap<string, number>
  ): Promise<void> {
    const { BIGINT, INTEGER, USMALLINT, UTINYINT } = this.#api;
    const removed: DuckDBValue[][] = [];
    const added: DuckDBValue[][] = [];
    for (const [path, state] of before) if (after.get(path) !== state) removed.push([idOf(path)]);
    for (const [path, state] of after) {
      if (before.get(path) === state) continue;
      added.push([idOf(path), state.row, BigInt(state.at), devices.get(state.device) as number, state.type]);
    }
    if (removed.length > 0) {
      await this.#emptyBatch('batch_removed');
      await this.#append('batch_removed', [INTEGER], removed, 'temp');
      await this.#connection.run('DELETE FROM tree_rows WHERE path IN (SELECT path FROM batch_removed)');
    }
    await this.#append('tree_rows', [INTEGER, INTEGER, BIGINT, USMALLINT, UTINYINT], added);
  }

  // ---- questions ----------------------------------------------------------------------------------------------------

  changes(filter: ChangesFilter, options: QueryOptions = {}): Promise<RecordPage> {
    return this.#exclusive(async () => {
      const where = new Conditions();
      if (filter.after !== undefined) {
        const after = await this.#rowOf(filter.after);
        if (after === undefined) throw versionNotFound(filter.after);
        where.add(`id > ${where.value(after)}`);
      }
      if (filter.path !== undefined) {
        where.add(`path IN (SELECT id FROM paths WHERE name = ${where.value(this.#blob(encodePath(filter.path)))})`);
      }
      if (filter.under !== undefined && filter.under !== '') {
        const folder = `(SELECT id FROM paths WHERE ${this.#under(filter.under, where)})`;
        where.add(`(path IN ${folder} OR from_path IN ${folder})`);
      }
      if (filter.kind !== undefined) where.add(`kind = ${where.value(KINDS.indexOf(filter.kind))}`);
      if (filter.q !== undefined) {
        where.add(`path IN (SELECT id FROM paths WHERE contains(folded, ${where.value(foldText(filter.q))}))`);
      }
      if (filter.since !== undefined) where.add(`epoch_us(moment) >= ${where.value(micros(filter.since))}::BIGINT`);
      if (filter.until !== undefined) where.add(`epoch_us(moment) <= ${where.value(micros(filter.until))}::BIGINT`);
      return this.#page('change_rows', where, filter);
    }, options.signal);
  }

  history(path: PathName, page: { limit: number; before?: string }, options: QueryOptions = {}): Promise<HistoryPage> {
    return this.#exclusive(async () => {
      const id = await this.#pathId(path);
      if (id === undefined) {
        if (page.before !== undefined) decodeCursor(page.before);
        return { records: [], total: 0, exists: false };
      }
      const segments = await this.#segments(id);
      const values = segments.map(({ path, low, high }) => `(${path}, ${low}, ${high})`).join(', ');
      const lives = `(SELECT c.* FROM change_rows c JOIN (VALUES ${values}) s(path, low, high)
        ON c.path = s.path AND c.id BETWEEN s.low AND s.high)`;
      const [now] = await this.#read('SELECT count(*) FROM tree_rows WHERE path = $1', [id]);
      return { ...(await this.#page(lives, new Conditions(), page)), exists: num(now?.[0]) > 0 };
    }, options.signal);
  }

  /** The lives of a file under its names: from its last row there back to the move that brought it, and on from there. */
  async #segments(id: number): Promise<{ path: number; low: number; high: number }[]> {
    const out: { path: number; low: number; high: number }[] = [];
    let all: Map<number, { row: number; from: number }[]> | undefined;
    let path = id;
    let high = LAST_ROW;
    for (;;) {
      let move: { row: number; from: number } | undefined;
      if (all === undefined && out.length >= SINGLE_MOVES) {
        all = new Map();
        const moves = await this.#read(
          `SELECT id, path, from_path FROM change_rows WHERE kind = ${KINDS.indexOf('moved')} AND from_path IS NOT NULL AND id <= $1 ORDER BY id`,
          [high]
        );
        for (const [row, to, from] of moves) {
          const list = all.get(num(to)) ?? [];
          if (list.length === 0) all.set(num(to), list);
          list.push({ row: num(row), from: num(from) });
        }
      }
      if (all !== undefined) {
        // Rows only go down from here: what is above is not needed again.
        const list = all.get(path);
        while (list !== undefined && (list.at(-1)?.row ?? 0) > high) list.pop();
        move = list?.at(-1);
      } else {
        const [found] = await this.#read(
          `SELECT id, from_path FROM change_rows
           WHERE path = $1 AND id <= $2 AND kind = ${KINDS.indexOf('moved')} AND from_path IS NOT NULL ORDER BY id DESC LIMIT 1`,
          [path, high]
        );
        if (found !== undefined) move = { row: num(found[0]), from: num(found[1]) };
      }
      out.push({ path, low: move?.row ?? 0, high });
      if (move === undefined) return out;
      path = move.from;
      high = move.row - 1;
    }
  }

  tree(which: { at?: number; under?: PathName }, options: QueryOptions = {}): Promise<Change[]> {
    return this.#exclusive(async () => {
      const where = new Conditions();
      const { at, under } = which;
      const inFolder =
        under === undefined || under === ''
          ? ''
          : `WHERE path IN (SELECT id FROM paths WHERE ${this.#under(under, where)})`;
      const rows =
        at === undefined
          ? 'SELECT change AS id, path FROM tree_rows'
          : treeAt(`${where.value(micros(at))}::BIGINT`, 'change_rows');
      const records = await this.#records(
        `SELECT c.* FROM change_rows c JOIN (SELECT id FROM (${rows}) ${inFolder}) t ON t.id = c.id`,
        'name',
        where.values
      );
      return records.map(record => record.change);
    }, options.signal);
  }

  deleted(
    which: { under?: PathName; q?: string; limit: number },
    options: QueryOptions = {}
  ): Promise<DeletedRecord[]> {
    return this.#exclusive(async () => {
      const where = new Conditions();
      const inside = new Conditions(where.values);
      if (which.under !== undefined && which.under !== '') inside.add(this.#under(which.under, where));
      if (which.q !== undefined) inside.add(`contains(folded, ${where.value(foldText(which.q))})`);
      const gone = await this.#read(
        `WITH latest AS (
           SELECT path, max(id) AS id, arg_max(kind, id) AS kind,
             max(id) FILTER (content_kind IS NOT NULL AND type <> ${TYPES.indexOf('directory')}) AS content,
             max(id) FILTER (kind = ${KINDS.indexOf('moved')} AND from_path IS NOT NULL) AS moved
           FROM change_rows ${inside.empty ? '' : `WHERE path IN (SELECT id FROM paths ${inside})`} GROUP BY path)
         SELECT path, id, content, moved FROM latest WHERE kind = ${KINDS.indexOf('deleted')} ORDER BY id DESC`,
        where.values
      );
      const pairs: { deleted: number; last: number }[] = [];
      for (const [path, id, content, moved] of gone) {
        if (pairs.length >= which.limit) break;
        let last = content === null ? 0 : num(content);
        // What was at this path before a file moved there is another file's history.
        if (moved !== null && last < num(moved)) last = await this.#lastContent(num(path));
        if (last > 0) pairs.push({ deleted: num(id), last });
      }
      if (pairs.length === 0) return [];
      const records = await this.#byRow(pairs.flatMap(pair => [pair.deleted, pair.last]));
      return pairs.map(pair => {
        const deleted = records.get(pair.deleted) as ChangeRecord;
        return { path: deleted.change.path, deleted, last: records.get(pair.last) as ChangeRecord };
      });
    }, options.signal);
  }

  async #lastContent(path: number): Promise<number> {
    for (const { path: at, low, high } of await this.#segments(path)) {
      const [found] = await this.#read(
        `SELECT coalesce(max(id), 0) FROM change_rows
         WHERE path = $1 AND id BETWEEN $2 AND $3 AND content_kind IS NOT NULL AND type <> ${TYPES.indexOf('directory')}`,
        [at, low, high]
      );
      if (num(found?.[0]) > 0) return num(found?.[0]);
    }
    return 0;
  }

  version(id: string, options: QueryOptions = {}): Promise<ChangeRecord> {
    return this.#exclusive(async () => {
      let row = await this.#rowOf(id);
      if (row === undefined) {
        if (parseVersionId(id) !== undefined || !isVersionPrefix(id)) throw versionNotFound(id);
        const [found] = await this.#read(
          `SELECT count(*), min(c.id) FROM change_rows c JOIN devices d ON d.id = c.device WHERE starts_with(d.name || '.' || c.seq, $1)`,
          [id]
        );
        if (num(found?.[0]) === 0) throw versionNotFound(id);
        if (num(found?.[0]) > 1) throw versionAmbiguous(id, num(found?.[0]));
        row = num(found?.[1]);
      }
      return (await this.#byRow([row])).get(row) as ChangeRecord;
    }, options.signal);
  }

  recordsOf(changes: readonly Change[], options: QueryOptions = {}): Promise<ChangeRecord[]> {
    return this.#exclusive(async () => {
      const byDevice = new Map<string, number[]>();
      for (const change of changes) {
        const seqs = byDevice.get(change.device) ?? [];
        if (seqs.length === 0) byDevice.set(change.device, seqs);
        seqs.push(change.seq);
      }
      const known = new Map<string, ChangeRecord>();
      for (const [device, seqs] of byDevice) {
        const id = this.#devices.get(device);
        if (id === undefined) continue;
        const rows = `SELECT * FROM change_rows WHERE device = ${id} AND seq IN (${seqs.map(Number).join(', ')})`;
        for (const record of await this.#records(rows, 'oldest')) known.set(versionId(record.change), record);
      }
      return changes.map(change => known.get(versionId(change)) ?? { change });
    }, options.signal);
  }

  counts(options: QueryOptions = {}): Promise<ChangeCounts> {
    return this.#exclusive(async () => {
      const kinds = await this.#read(
        `SELECT kind, count(*), coalesce(sum(size), 0)::BIGINT FROM change_rows WHERE type <> ${TYPES.indexOf('directory')} GROUP BY kind`
      );
      const [tracked] = await this.#read(`SELECT count(*) FROM tree_rows WHERE type <> ${TYPES.indexOf('directory')}`);
      const byKind = { created: 0, modified: 0, deleted: 0, moved: 0 };
      let contentBytes = 0;
      for (const [code, n, bytes] of kinds) {
        const kind = KINDS[num(code)];
        if (kind === undefined) continue;
        byKind[kind] = num(n);
        if (kind !== 'deleted') contentBytes += num(bytes);
      }
      return {
        byKind,
        changes: this.#count,
        versions: byKind.created + byKind.modified + byKind.moved,
        devices: this.#devices.size,
        trackedFiles: num(tracked?.[0]),
        contentBytes
      };
    }, options.signal);
  }

  firstKnown(paths: readonly PathName[], options: QueryOptions = {}): Promise<PathName | undefined> {
    return this.#exclusive(async () => {
      for (const path of paths) if ((await this.#pathId(path)) !== undefined) return path;
      return undefined;
    }, options.signal);
  }

  /** It is in memory only. */
  get inMemory(): boolean {
    return this.#options.dir === undefined;
  }

  /** Rows of the tables, as DuckDB holds them, of one moment: for a copy in another memory. Each is a SELECT of ours. */
  select(statements: readonly string[]): Promise<DuckDBDataChunk[][]> {
    return this.#exclusive(async () => {
      const out: DuckDBDataChunk[][] = [];
      for (const sql of statements) out.push(await (await this.#connection.run(sql)).fetchAllChunks());
      return out;
    });
  }

  /** Copies the file, as it is with all that was applied, for somebody else to read. Only where there is a file. */
  copyTo(file: string): Promise<void> {
    return this.#exclusive(async () => {
      const { dir } = this.#options;
      if (dir === undefined) throw new SyftError('SQL_UNAVAILABLE', 'This index is in no file.');
      // What is in the log beside the file goes into it, so that the copy is whole.
      await this.#connection.run('CHECKPOINT');
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

  // ---- parts of questions -------------------------------------------------------------------------------------------

  async #pathId(path: PathName): Promise<number | undefined> {
    const [found] = await this.#read('SELECT id FROM paths WHERE name = $1', [this.#blob(encodePath(path))]);
    return found === undefined ? undefined : num(found[0]);
  }

  /** The row of a whole version id. */
  async #rowOf(id: string): Promise<number | undefined> {
    const wanted = parseVersionId(id);
    const device = wanted === undefined ? undefined : this.#devices.get(wanted.device);
    if (wanted === undefined || device === undefined) return undefined;
    const [found] = await this.#read('SELECT id FROM change_rows WHERE device = $1 AND seq = $2', [
      device,
      BigInt(wanted.seq)
    ]);
    return found === undefined ? undefined : num(found[0]);
  }

  /** Names that are a folder or below it: what lies between `folder/` and `folder0`, for `0` follows `/`. */
  #under(folder: PathName, where: Conditions): string {
    const bytes = encodePath(folder);
    const low = where.value(this.#blob(Buffer.concat([bytes, Buffer.from('/')])));
    const high = where.value(this.#blob(Buffer.concat([bytes, Buffer.from('0')])));
    return `(name = ${where.value(this.#blob(bytes))} OR (name >= ${low} AND name < ${high}))`;
  }

  async #page(
    source: string,
    where: Conditions,
    page: { limit: number; before?: string; oldestFirst?: boolean }
  ): Promise<RecordPage> {
    const [counted] = await this.#read(`SELECT count(*) FROM ${source} ${where}`, where.values);
    const total = num(counted?.[0]);
    if (page.oldestFirst === true) {
      const rows = `SELECT * FROM ${source} ${where} ORDER BY id LIMIT ${page.limit}`;
      return { records: await this.#records(rows, 'oldest', where.values), total };
    }
    if (page.before !== undefined) where.add(`id <= ${where.value(await this.#rowBefore(decodeCursor(page.before)))}`);
    const rows = `SELECT * FROM ${source} ${where} ORDER BY id DESC LIMIT ${page.limit + 1}`;
    const records = await this.#records(rows, 'newest', where.values);
    const more = records.length > page.limit;
    if (more) records.pop();
    const last = records.at(-1);
    return { records, ...(more && last !== undefined && { next: encodeCursor(last.change) }), total };
  }

  /** The newest row older than a place. */
  async #rowBefore(place: Place): Promise<number> {
    const [found] = await this.#read(
      `SELECT coalesce(max(c.id), 0) FROM change_rows c JOIN devices d ON d.id = c.device
       WHERE c.hlc < $1 OR (c.hlc = $1 AND (d.name < $2 OR (d.name = $2 AND c.seq < $3)))`,
      [BigInt(place.hlc), place.device, BigInt(place.seq)]
    );
    return num(found?.[0]);
  }

  async #byRow(rows: readonly number[]): Promise<Map<number, ChangeRecord>> {
    const out = new Map<number, ChangeRecord>();
    const found = await this.#rawRecords(
      `SELECT * FROM change_rows WHERE id IN (${rows.map(Number).join(', ')})`,
      'oldest'
    );
    for (const row of found) out.set(num(row[0]), toRecord(row));
    return out;
  }

  async #records(rows: string, order: RowOrder, values: DuckDBValue[] = []): Promise<ChangeRecord[]> {
    return (await this.#rawRecords(rows, order, values)).map(toRecord);
  }

  /**
   * Rows with what they refer to. One small statement for each dictionary: a single one that joins them all needs tens of
   * megabytes even for one row.
   */
  async #rawRecords(rows: string, order: RowOrder, values: DuckDBValue[] = []): Promise<Row[]> {
    await this.#connection.run(`CREATE OR REPLACE TEMP TABLE page AS ${rows}`, values);
    try {
      const found = await this.#read(
        `SELECT id, device, seq, kind, path, epoch_us(moment), hlc, type, size, hash, previous_hash, mode, mtime, flags,
           from_path, content_kind, content, content_count, cause, previous
         FROM page ${ORDER[order]}`
      );
      const names = await this.#byId(
        'SELECT id, name FROM paths WHERE id IN (SELECT path FROM page UNION ALL SELECT from_path FROM page)'
      );
      const hashes = await this.#byId(
        'SELECT id, hash FROM hashes WHERE id IN (SELECT hash FROM page UNION ALL SELECT previous_hash FROM page)'
      );
      const befores = await this.#byId(
        'SELECT id, size, device, seq FROM change_rows WHERE id IN (SELECT previous FROM page)'
      );
      const devices = new Map([...this.#devices].map(([name, id]) => [id, name]));
      const text = (of: ReadonlyMap<number, Row>, id: unknown): unknown =>
        id === null ? null : (of.get(num(id))?.[1] ?? null);
      const resolved = found.map(row => {
        const before = row[19] === null ? undefined : befores.get(num(row[19]));
        return [
          row[0],
          devices.get(num(row[1])),
          ...row.slice(2, 4),
          text(names, row[4]),
          ...row.slice(5, 9),
          text(hashes, row[9]),
          text(hashes, row[10]),
          ...row.slice(11, 14),
          text(names, row[14]),
          ...row.slice(15, 19),
          ...(before === undefined ? [null, null, null] : [before[1], devices.get(num(before[2])), before[3]])
        ];
      });
      if (order === 'name') {
        resolved.sort((a, b) => Buffer.compare(bytesOf(a[4]), bytesOf(b[4])));
      }
      return resolved;
    } finally {
      await this.#connection.run('DROP TABLE IF EXISTS temp.page').catch(() => undefined);
    }
  }

  /** Rows by what their first column says. */
  async #byId(sql: string): Promise<Map<number, Row>> {
    return new Map((await this.#read(sql)).map(row => [num(row[0]), row]));
  }
}

/** By row, or by the bytes of the path, which are looked up behind the statement. */
type RowOrder = 'oldest' | 'newest' | 'name';
const ORDER: Record<RowOrder, string> = { oldest: 'ORDER BY id', newest: 'ORDER BY id DESC', name: '' };

function toRecord(row: Row): ChangeRecord {
  const [
    ,
    device,
    seq,
    kind,
    path,
    at,
    hlc,
    type,
    size,
    hash,
    previousHash,
    mode,
    mtime,
    flags,
    from,
    contentKind,
    content,
    count,
    cause
  ] = row;
  const [previousSize, previousDevice, previousSeq] = row.slice(19);
  const own = hash === null ? undefined : hex(hash);
  const ref = contentOf(contentKind, content, count, own);
  const change: Change = {
    device: String(device),
    seq: num(seq),
    kind: KINDS[num(kind)] ?? 'modified',
    path: decodePath(bytesOf(path)),
    at: num(at),
    hlc: num(hlc),
    type: TYPES[num(type)] ?? 'file',
    ...(size !== null && { size: num(size) }),
    ...(own !== undefined && { hash: own }),
    ...(previousHash !== null && { previousHash: hex(previousHash) }),
    ...(mode !== null && { mode: num(mode) }),
    ...(mtime !== null && { mtime: num(mtime) }),
    flags: flags === null ? [] : (String(flags).split(',') as ChangeFlag[]),
    ...(from !== null && { from: decodePath(bytesOf(from)) }),
    ...(ref !== undefined && { content: ref }),
    ...(cause !== null && { cause: JSON.parse(String(cause)) as Cause })
  };
  return {
    change,
    ...(previousSize !== null && { previousSize: num(previousSize) }),
    ...(previousDevice !== null && { previousVersionId: `${String(previousDevice)}.${num(previousSeq)}` })
  };
}

function contentOf(kind: unknown, content: unknown, count: unknown, hash: string | undefined): ContentRef | undefined {
  if (kind === null) return undefined;
  if (num(kind) === CONTENT.own) return { chunks: [hash as string] };
  const text = hex(content);
  if (num(kind) === CONTENT.list) return { list: text, count: num(count) };
  return { chunks: text.match(/.{64}/g) ?? [] };
}

function megabytes(value: number): string {
  return `${Math.trunc(value)}MB`;
}

function isOutOfMemory(error: unknown): boolean {
  // Not by its class: it may have been made in another realm.
  return String((error as { message?: unknown }).message).startsWith('Out of Memory Error');
}

function num(value: unknown): number {
  return Number(value);
}

function bytesOf(value: unknown): Uint8Array {
  return value as Uint8Array;
}

function hex(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString('hex');
}

function bigOrNull(value: number | undefined): bigint | null {
  return value === undefined ? null : BigInt(Math.trunc(value));
}

/** A moment as DuckDB's integer; what lies beyond any date is as good as the end of days. */
function micros(value: number): bigint {
  return BigInt(Math.trunc(Math.min(Math.max(value, -9e15), 9e15)));
}

/** Numbers the distinct entries of a batch. */
class Numbering<T> {
  readonly keys: T[] = [];
  readonly #numbers = new Map<T, number>();

  add(key: T): void {
    if (this.#numbers.has(key)) return;
    this.#numbers.set(key, this.keys.length);
    this.keys.push(key);
  }

  of(key: T): number {
    return this.#numbers.get(key) as number;
  }
}

/** A WHERE clause with its values. */
class Conditions {
  readonly values: DuckDBValue[];
  readonly #conditions: string[] = [];

  constructor(values: DuckDBValue[] = []) {
    this.values = values;
  }

  /** The placeholder of a value. */
  value(value: DuckDBValue): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  add(condition: string): void {
    this.#conditions.push(condition);
  }

  get empty(): boolean {
    return this.#conditions.length === 0;
  }

  toString(): string {
    return this.empty ? '' : `WHERE ${this.#conditions.join(' AND ')}`;
  }
}
