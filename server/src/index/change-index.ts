/**
 * The index of a log: DuckDB tables kept up with it, and thrown away at the first doubt. The log is the truth; whatever
 * happens here, recording does not wait for it and cannot fail through it.
 *
 * Life: nothing is loaded until the first question (or `warm`). Then what the log has behind the marks kept with the index is
 * applied; without such marks the log is walked whole, and the part the index says it has applied must have the fingerprint
 * the index keeps. From then on changes are handed over as they become durable and applied in batches. Where DuckDB cannot be
 * had, the same questions are answered by replay.
 *
 * The index of an encrypted log lives in memory and is made anew at each start. DuckDB can encrypt its files, but writes them
 * without a network extension only under `force_mbedtls_unsafe`, with nonces out of a generator that is none for secrets, and
 * spills to disk in the clear: so it gets no file at all.
 */
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';
import type { Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import type { StreamMark } from '../log/marks.ts';
import type { LogReader } from '../log/types.ts';
import { DATABASE_FILE, isOutOfMemory } from './database.ts';
import { DuckdbHistory, StaleIndexError } from './duckdb-history.ts';
import { Fingerprint } from './fingerprint.ts';
import {
  checkSignal,
  comparePlaces,
  type ChangeCounts,
  type ChangeRecord,
  type ChangesFilter,
  type DeletedRecord,
  type HistoryEngine,
  type HistoryPage,
  type HistoryQueries,
  type QueryOptions,
  type RecordPage
} from './history-queries.ts';
import { ReplayQueries } from './replay-queries.ts';

export interface IndexStatus {
  /** Answers come from an index that is up to date. */
  readonly ready: boolean;
  /** Why not, or what is going on. */
  readonly detail?: string;
}

/** History questions with a word on how they are answered. */
export interface HistoryIndex extends HistoryQueries {
  readonly status: IndexStatus;
  /**
   * Writes a copy of the index, up to date, to a file that is not there yet.
   *
   * @param known What it answered before: nothing is written while it would be the same.
   * @returns What the copy is of.
   * @throws SyftError SQL_UNAVAILABLE where the index is in no file.
   */
  copyTo?(file: string, known: string | undefined): Promise<string>;
  /**
   * Its tables, up to date, where they are in memory only; `undefined`: they are in a file, see `copyTo`.
   *
   * @throws SyftError SQL_UNAVAILABLE where there are none.
   */
  tables?(): Promise<IndexTables | undefined>;
}

/**
 * The tables of an index in memory (schema.ts). What stands in the rows of changes, paths and hashes stays as it is, but for what ended a
 * change and what is at a path now.
 */
export interface IndexTables {
  /** Another one: the index was built anew, and what was read of it before is of no use. */
  readonly id: object;
  /** Rows as DuckDB holds them, all of one moment. Each is a SELECT over the tables. */
  select(statements: readonly string[]): Promise<DuckDBDataChunk[][]>;
}

/** What the index says about itself; one line each. */
export interface IndexLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ChangeIndexOptions {
  /** Directory of the index: `index` below the log directory. `undefined`: it is in memory, and nothing on disk is touched. */
  readonly dir: string | undefined;
  /** The log it is derived from. */
  readonly log: Pick<LogReader, 'changes' | 'workspaceId'> & Partial<Pick<LogReader, 'changesAfter' | 'marks'>>;
  /** Keys of an encrypted log: nothing of the index is written then. */
  readonly keys?: LogKeys;
  /** What DuckDB may take, megabytes. Default 40; an index in memory takes what it needs up to `memoryMost`. */
  readonly memory?: number;
  /** What DuckDB may take for one piece of work that cannot be done with less, megabytes. Default 1024; in memory 4096. */
  readonly memoryMost?: number;
  readonly logger?: IndexLogger;
  /** Called when `status` changed. */
  readonly onStatus?: () => void;
  /** How DuckDB is loaded; for tests. */
  readonly loadApi?: () => Promise<typeof DuckdbApi>;
}

/** Marks an opening under way: found at start, the last process died opening the index, which is then not trusted. */
const OPENING_FILE = 'opening';
/** Where in the log the index is; counts only with the fingerprint that the index has. */
const MARKS_FILE = 'marks.json';
const DOUBTFUL_SUFFIX = '.doubtful';
/** Megabytes; see the options of these names. */
const MEMORY = 40;
const MEMORY_MOST = 1024;
/** All rows and not only one piece of work; a million changes take about 350. Replay, which is what is left, takes more. */
const MEMORY_MOST_WITHOUT_FILE = 4096;
/** Milliseconds changes are collected before they are applied. */
const BATCH_DELAY = 40;
const BATCH_SIZE = 2048;
const BATCH_SIZE_MOST = 16_384;
/** Changes held for the index before it is told to read them from the log instead. */
const PENDING_LIMIT = 20_000;
/** Milliseconds before DuckDB is tried again after it could not be used. */
const RETRY_AFTER = 5 * 60_000;

/** See the file's first lines. */
export class ChangeIndex implements HistoryIndex, AsyncDisposable {
  readonly #options: ChangeIndexOptions;
  #engine: Promise<HistoryEngine> | undefined;
  #kind: 'closed' | 'duckdb' | 'replay' = 'closed';
  #retryAt = 0;
  #status: IndexStatus = { ready: false, detail: 'not loaded yet' };
  #pending: Change[] = [];
  /** Changes were passed over; the log has them. */
  #behind = false;
  #timer: NodeJS.Timeout | undefined;
  #pumping: Promise<void> | undefined;
  #closed = false;

  private constructor(options: ChangeIndexOptions) {
    this.#options = options;
  }

  /** An index over a log. Loads nothing yet and cannot fail. */
  static open(options: ChangeIndexOptions): ChangeIndex {
    return new ChangeIndex(options);
  }

  get status(): IndexStatus {
    return this.#status;
  }

  #setStatus(status: IndexStatus): void {
    if (status.ready === this.#status.ready && status.detail === this.#status.detail) return;
    this.#status = status;
    this.#options.onStatus?.();
  }

  /** Hands over a change that has just become durable. Never throws, never waits. */
  add(change: Change): void {
    // Not loaded yet: loading reads the log, which has it.
    if (this.#closed || this.#engine === undefined) return;
    if (this.#pending.length >= PENDING_LIMIT) {
      this.#pending = [];
      this.#behind = true;
    }
    if (!this.#behind) this.#pending.push(change);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#settle().catch(() => undefined);
    }, BATCH_DELAY);
  }

  /** Opens the index and brings it up to date with the log. Never rejects: what is wrong is in `status`. */
  async warm(): Promise<void> {
    await this.#settled().catch(() => undefined);
  }

  /** Applies what is pending now, and closes. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    if (this.#engine !== undefined) await this.#settle().catch(() => undefined);
    this.#closed = true;
    const engine = await this.#engine?.catch(() => undefined);
    this.#engine = undefined;
    if (engine instanceof DuckdbHistory) await this.#keepMarks(engine);
    await engine?.close();
    this.#setStatus({ ready: false, detail: 'closed' });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ---- opening ------------------------------------------------------------------------------------------------------

  #load(): Promise<HistoryEngine> {
    if (this.#closed) throw new SyftError('NOT_RUNNING', 'The index is closed.');
    if (this.#kind === 'replay' && Date.now() >= this.#retryAt) this.#engine = undefined;
    this.#engine ??= this.#open().catch((error: unknown) => {
      this.#engine = undefined;
      throw error;
    });
    return this.#engine;
  }

  async #open(): Promise<HistoryEngine> {
    this.#setStatus({ ready: false, detail: 'being brought up to date' });
    let reason: unknown;
    for (let attempt = 0; attempt < 2; attempt++) {
      let engine: DuckdbHistory | undefined;
      try {
        engine = await this.#openDuckdb();
        await this.#catchUp(engine);
        this.#kind = 'duckdb';
        this.#setStatus({ ready: true });
        return engine;
      } catch (error) {
        reason = error;
        await engine?.close().catch(() => undefined);
        if (error instanceof UnavailableError) break;
        // The log itself could not be read: replay would meet the same, and the index is not to blame.
        if (error instanceof SyftError) throw error;
        this.#options.logger?.warn(
          { reason: messageOf(error) },
          'the index is in doubt and is built anew from the log'
        );
        await this.#putAside().catch((failed: unknown) => (reason = failed));
      }
    }
    return this.#openReplay(reason);
  }

  async #openReplay(reason: unknown): Promise<HistoryEngine> {
    const detail = `answers come from replaying the log, because the index cannot be used: ${messageOf(reason)}`;
    this.#options.logger?.warn(
      { reason: messageOf(reason) },
      'the index cannot be used; history is replayed from the log'
    );
    const replay = await ReplayQueries.of(this.#options.log.changes());
    this.#kind = 'replay';
    this.#retryAt = Date.now() + RETRY_AFTER;
    this.#setStatus({ ready: false, detail });
    return replay;
  }

  async #openDuckdb(): Promise<DuckdbHistory> {
    const { dir, log, keys } = this.#options;
    let api: typeof DuckdbApi;
    try {
      api = await (this.#options.loadApi?.() ?? import('@duckdb/node-api'));
    } catch (error) {
      throw new UnavailableError(`DuckDB is not available on this machine (${messageOf(error)})`, { cause: error });
    }
    if (keys !== undefined || dir === undefined) return this.#openInMemory(api);
    const marker = join(dir, OPENING_FILE);
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await chmod(dir, 0o700);
      if ((await readdir(dir)).includes(OPENING_FILE)) await this.#putAside();
      await writeFile(marker, '', { mode: 0o600 });
    } catch (error) {
      throw new UnavailableError(`its directory cannot be written (${messageOf(error)})`, { cause: error });
    }
    try {
      return await DuckdbHistory.open(api, {
        dir,
        workspaceId: log.workspaceId,
        memory: this.#options.memory ?? MEMORY,
        memoryMost: this.#options.memoryMost ?? MEMORY_MOST
      });
    } catch (error) {
      if (isElsewhere(error)) {
        throw new UnavailableError(`it cannot be opened now (${messageOf(error)})`, { cause: error });
      }
      throw error;
    } finally {
      await rm(marker, { force: true });
    }
  }

  /** Nothing is written, and what stands where an index in the clear would goes away. */
  async #openInMemory(api: typeof DuckdbApi): Promise<DuckdbHistory> {
    const { dir, log, memoryMost = MEMORY_MOST_WITHOUT_FILE } = this.#options;
    try {
      if (dir !== undefined) await rm(dir, { recursive: true, force: true });
    } catch (error) {
      throw new UnavailableError(`what is in ${dir} cannot be removed (${messageOf(error)})`, { cause: error });
    }
    try {
      const { workspaceId } = log;
      return await DuckdbHistory.open(api, { dir: undefined, workspaceId, memory: memoryMost, memoryMost });
    } catch (error) {
      throw new UnavailableError(`DuckDB cannot be opened (${messageOf(error)})`, { cause: error });
    }
  }

  /** The doubtful files get another name: one generation is kept for whoever wants to know what happened. */
  async #putAside(): Promise<void> {
    const { dir, keys } = this.#options;
    if (keys !== undefined || dir === undefined) return;
    for (const file of [DATABASE_FILE, `${DATABASE_FILE}.wal`]) {
      const from = join(dir, file);
      await rm(`${from}${DOUBTFUL_SUFFIX}`, { recursive: true, force: true });
      await rename(from, `${from}${DOUBTFUL_SUFFIX}`).catch((error: unknown) => {
        if (errnoOf(error) !== 'ENOENT') throw error;
      });
    }
  }

  // ---- keeping up ---------------------------------------------------------------------------------------------------

  /** Applies what the log has and the index has not. */
  async #catchUp(engine: HistoryEngine): Promise<void> {
    const duckdb = engine instanceof DuckdbHistory ? engine : undefined;
    const rest = duckdb === undefined ? undefined : await this.#behindMarks(duckdb);
    if (rest === undefined) await this.#walk(engine, duckdb);
    else await this.#applyAll(engine, rest);
    if (duckdb !== undefined) await this.#keepMarks(duckdb);
  }

  /** What follows the marks that were kept with the index as it is; `undefined`: there are none, or the log has others. */
  async #behindMarks(duckdb: DuckdbHistory): Promise<AsyncIterable<Change> | undefined> {
    const { dir, log, keys } = this.#options;
    if (keys !== undefined || dir === undefined) return undefined;
    try {
      const kept = JSON.parse(await readFile(join(dir, MARKS_FILE), 'utf8')) as KeptMarks;
      if (kept.count !== duckdb.count || kept.fingerprint !== duckdb.fingerprint) return undefined;
      return log.changesAfter?.(kept.marks);
    } catch (error) {
      if (error instanceof SyftError) throw error;
      return undefined;
    }
  }

  async #applyAll(engine: HistoryEngine, changes: AsyncIterable<Change>): Promise<void> {
    let { last } = engine;
    let batch: Change[] = [];
    for await (const change of changes) {
      if (last !== undefined && comparePlaces(change, last) < 0) {
        throw new StaleIndexError('A change came in between others.');
      }
      last = change;
      batch.push(change);
      if (batch.length < batchSize(engine)) continue;
      await engine.apply(batch);
      batch = [];
    }
    await engine.apply(batch);
  }

  /** Keeps the log's marks with the index, when it has all that they stand for and no more. */
  async #keepMarks(duckdb: DuckdbHistory): Promise<void> {
    const { dir, log, keys } = this.#options;
    if (keys !== undefined || dir === undefined) return;
    const marks = log.marks?.();
    if (marks?.length !== duckdb.positions.size) return;
    if (!marks.every(mark => duckdb.positions.get(mark.device) === mark.seq)) return;
    const kept: KeptMarks = { count: duckdb.count, fingerprint: duckdb.fingerprint, marks };
    // Half of a file is no JSON, and without the file the log is walked.
    await writeFile(join(dir, MARKS_FILE), JSON.stringify(kept), { mode: 0o600 }).catch(() => undefined);
  }

  /** Walks the log: the part the index has must be the same, the rest is applied. */
  async #walk(engine: HistoryEngine, duckdb: DuckdbHistory | undefined): Promise<void> {
    if (duckdb?.count === 0 && (await this.#fill(duckdb))) return;
    const known = duckdb?.count ?? 0;
    const fingerprint = new Fingerprint();
    const last = engine.last;
    let seen = 0;
    let batch: Change[] = [];
    for await (const change of this.#options.log.changes()) {
      seen += 1;
      if (duckdb !== undefined && seen <= known) {
        fingerprint.add(change);
        if (seen === known && fingerprint.text !== duckdb.fingerprint) {
          throw new StaleIndexError('The index is not of this log.');
        }
        continue;
      }
      if (duckdb === undefined && last !== undefined && comparePlaces(change, last) <= 0) continue;
      batch.push(change);
      if (batch.length >= batchSize(engine)) {
        await engine.apply(batch);
        batch = [];
        this.#tellRead(seen);
      }
    }
    if (seen < known) throw new StaleIndexError('The index is ahead of the log.');
    await engine.apply(batch);
  }

  #tellRead(changes: number): void {
    this.#setStatus({ ready: false, detail: `being brought up to date, ${changes} changes read` });
  }

  /**
   * Fills an empty index with the log.
   *
   * @returns Whether it has all of it. Else the log is to be walked: the memory does not suffice for the quick way.
   */
  async #fill(duckdb: DuckdbHistory): Promise<boolean> {
    const bulk = await duckdb.fill();
    try {
      for await (const change of this.#options.log.changes()) {
        if (bulk.full) {
          await duckdb.filled(bulk);
          return false;
        }
        if (!bulk.add(change)) continue;
        await bulk.write();
        this.#tellRead(bulk.count);
      }
      await duckdb.filled(bulk);
      return true;
    } catch (error) {
      await bulk.abandon();
      if (!isOutOfMemory(error)) throw error;
      return false;
    }
  }

  /** Applies what was handed over so far; one run at a time. */
  async #settle(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping.catch(() => undefined);
    if (this.#pending.length === 0 && !this.#behind) return;
    this.#pumping = this.#pump();
    try {
      await this.#pumping;
    } finally {
      this.#pumping = undefined;
    }
  }

  async #pump(): Promise<void> {
    const engine = await this.#load();
    try {
      while (this.#pending.length > 0 || this.#behind) {
        if (this.#behind) {
          this.#behind = false;
          this.#pending = [];
          await this.#catchUp(engine);
          continue;
        }
        const taken = this.#pending.splice(0, BATCH_SIZE);
        const batch: Change[] = [];
        const positions = new Map(engine.positions);
        let last = engine.last;
        for (const change of taken) {
          const position = positions.get(change.device) ?? 0;
          if (change.seq <= position) continue;
          // Newer streams may begin anywhere; a gap in one we know means that something was not handed over.
          if (change.seq > position + 1) {
            this.#behind = true;
            break;
          }
          if (last !== undefined && comparePlaces(change, last) < 0) {
            throw new StaleIndexError('A change came in between others.');
          }
          positions.set(change.device, change.seq);
          last = change;
          batch.push(change);
        }
        await engine.apply(batch);
      }
    } catch (error) {
      await this.#doubt(engine, error);
    }
    if (this.#kind === 'duckdb') this.#setStatus({ ready: true });
  }

  /** Something is wrong with the engine: it is closed, and the next question builds another from the log. */
  async #doubt(engine: HistoryEngine, error: unknown): Promise<void> {
    if (this.#engine === undefined || (await this.#engine.catch(() => undefined)) !== engine) return;
    this.#pending = [];
    this.#behind = false;
    const reopened = (async () => {
      await engine.close().catch(() => undefined);
      if (isElsewhere(error)) return this.#openReplay(error);
      this.#options.logger?.warn({ reason: messageOf(error) }, 'the index is in doubt and is built anew from the log');
      if (engine instanceof DuckdbHistory) await this.#putAside().catch(() => undefined);
      return this.#open();
    })();
    this.#engine = reopened.catch((failed: unknown) => {
      this.#engine = undefined;
      throw failed;
    });
    await this.#engine;
  }

  async #settled(): Promise<HistoryEngine> {
    await this.#load();
    await this.#settle();
    return this.#load();
  }

  async #ask<T>(question: (engine: HistoryEngine) => Promise<T>, options: QueryOptions | undefined): Promise<T> {
    checkSignal(options?.signal);
    const engine = await this.#settled();
    try {
      return await question(engine);
    } catch (error) {
      // Our own errors are answers, unless another question's doubt closed the engine under this one.
      if (error instanceof SyftError && (error.code !== 'NOT_RUNNING' || this.#closed)) throw error;
      // All else is the engine's: the questions are fixed, so its data is in doubt.
      if (!(error instanceof SyftError)) await this.#doubt(engine, error);
      return question(await this.#settled());
    }
  }

  // ---- questions ----------------------------------------------------------------------------------------------------

  changes(filter: ChangesFilter, options?: QueryOptions): Promise<RecordPage> {
    return this.#ask(engine => engine.changes(filter, options), options);
  }

  history(path: PathName, page: { limit: number; before?: string }, options?: QueryOptions): Promise<HistoryPage> {
    return this.#ask(engine => engine.history(path, page, options), options);
  }

  tree(which: { at?: number; under?: PathName }, options?: QueryOptions): Promise<Change[]> {
    return this.#ask(engine => engine.tree(which, options), options);
  }

  deleted(which: { under?: PathName; q?: string; limit: number }, options?: QueryOptions): Promise<DeletedRecord[]> {
    return this.#ask(engine => engine.deleted(which, options), options);
  }

  version(id: string, options?: QueryOptions): Promise<ChangeRecord> {
    return this.#ask(engine => engine.version(id, options), options);
  }

  recordsOf(changes: readonly Change[], options?: QueryOptions): Promise<ChangeRecord[]> {
    return this.#ask(engine => engine.recordsOf(changes, options), options);
  }

  counts(options?: QueryOptions): Promise<ChangeCounts> {
    return this.#ask(engine => engine.counts(options), options);
  }

  firstKnown(paths: readonly PathName[], options?: QueryOptions): Promise<PathName | undefined> {
    return this.#ask(engine => engine.firstKnown(paths, options), options);
  }

  tables(): Promise<IndexTables | undefined> {
    return this.#ask(engine => {
      const duckdb = this.#forSql(engine);
      const select: IndexTables['select'] = statements => duckdb.select(statements);
      return Promise.resolve(duckdb.inMemory ? { id: duckdb, select } : undefined);
    }, undefined);
  }

  #forSql(engine: HistoryEngine): DuckdbHistory {
    if (engine instanceof DuckdbHistory) return engine;
    throw new SyftError('SQL_UNAVAILABLE', `SQL needs the index, which cannot be used: ${this.#status.detail ?? ''}.`);
  }

  copyTo(file: string, known: string | undefined): Promise<string> {
    return this.#ask(async asked => {
      const engine = this.#forSql(asked);
      const stamp = `${engine.count} ${engine.fingerprint}`;
      if (stamp === known) return stamp;
      await engine.copyTo(file);
      return stamp;
    }, undefined);
  }
}

/** Each batch costs a walk through what the index has, so a large index gets large ones. */
function batchSize(engine: HistoryEngine): number {
  const count = engine instanceof DuckdbHistory ? engine.count : 0;
  return Math.min(Math.max(BATCH_SIZE, Math.trunc(count / 64)), BATCH_SIZE_MOST);
}

interface KeptMarks {
  readonly count: number;
  readonly fingerprint: string;
  readonly marks: readonly StreamMark[];
}

/** DuckDB cannot be used here and now; building the index anew would not help. */
class UnavailableError extends Error {
  override readonly name = 'UnavailableError';
}

/** Locked by another process, out of space or memory, no right to write: not a damage of the index. */
function isElsewhere(error: unknown): boolean {
  return /could not set lock|conflicting lock|no space left|out of memory|permission denied|read-only file system|disk quota/i.test(
    messageOf(error)
  );
}

function messageOf(error: unknown): string {
  const text =
    typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
  return text.split('\n', 1)[0]?.slice(0, 300) ?? '';
}
