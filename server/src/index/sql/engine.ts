/**
 * SQL over a log: queries run in processes of their own (process.ts) over a copy of the index, so that neither recording nor the
 * panel waits for one, and none can harm them. What is on disk for them is in one private directory that goes with this.
 *
 * What a query needs is loaded with the first: most recorders are never asked one.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { versionId, type Change } from '../../core/change.ts';
import { SyftError } from '../../core/errors.ts';
import { displayPath } from '../../core/path-name.ts';
import type { Ended, Provided, SqlProcess } from './process.ts';
import type { ContentFile, ContentRequest, Format } from './protocol.ts';
import { endingOf } from './readers.ts';
import type { Parameters } from './session.ts';
import type { SqlSource } from './source.ts';

export interface SqlQuery {
  readonly query: string;
  readonly parameters?: Parameters | undefined;
  readonly format: Format;
  readonly maxRows: number;
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

/** The answer to a query, its first rows there. */
export interface SqlAnswer {
  /** To be read to its end, or returned from. It ends early when something goes wrong: `ended` says what. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly ended: Promise<Ended>;
}

export interface SqlEngineOptions extends SqlSource {
  /** Directory for what queries need on disk: `index` below the log directory. */
  readonly dir: () => string;
}

/** Queries at a time; more wait. */
const PROCESSES = 2;
/** Milliseconds that a process with nothing to do is kept. */
const KEEP_IDLE = 120_000;
/** Bytes of contents that one query may have put on disk. */
const CONTENT_LIMIT = 4 * 2 ** 30;
const SCRATCH = /^sql-(\d+)-/;
/** How the directory for queries is called in one that is not ours alone. */
const ELSEWHERE = 'syft-sync-';

interface Copy {
  readonly file: string;
  readonly stamp: string;
  users: number;
  replaced: boolean;
}

/** See the file's first lines. */
export class SqlEngine implements AsyncDisposable {
  readonly #options: SqlEngineOptions;
  readonly #idle: { readonly process: SqlProcess; readonly timer: NodeJS.Timeout }[] = [];
  readonly #busy = new Set<SqlProcess>();
  /** Told to end, and not gone yet. */
  readonly #ending = new Set<Promise<void>>();
  /** Queries that have their turn, with a process or about to. */
  #turns = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #directories = new Map<string, Promise<string>>();
  #copy: Copy | undefined;
  #copying: Promise<unknown> = Promise.resolve();
  #copies = 0;
  #closed = false;

  constructor(options: SqlEngineOptions) {
    this.#options = options;
  }

  /**
   * Runs a query.
   *
   * @param signal Cancels it, also while rows are read.
   * @throws SyftError SQL_*, VERSION_*, PATH_*, CANCELLED, NOT_RUNNING: whatever is wrong before the first row.
   */
  async query(query: SqlQuery, signal: AbortSignal): Promise<SqlAnswer> {
    await this.#turn(signal);
    let process: SqlProcess | undefined;
    let copy: Copy | undefined;
    let scratch: Promise<string> | undefined;
    let left = false;
    const leave = async (): Promise<void> => {
      left = true;
      this.#leave(process);
      if (copy !== undefined) await this.#release(copy);
      const dir = await scratch?.catch(() => undefined);
      if (dir !== undefined) await rm(dir, { recursive: true, force: true });
    };
    try {
      process = await this.#take();
      this.#busy.add(process);
      const sealed = this.#options.keys() !== undefined;
      const tables = await this.#options.index.tables?.();
      if (sealed && tables === undefined) {
        throw new SyftError(
          'SQL_UNAVAILABLE',
          'The log is encrypted, and its index is not in memory: it is not copied.'
        );
      }
      const about = {
        workspaceId: this.#options.log().workspaceId,
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone
      };
      if (tables === undefined) copy = await this.#current();
      else {
        const { carryIndex } = await import('./carry-index.ts');
        await carryIndex(tables, process, { ...about, memoryMb: query.memoryMb }, signal);
      }
      if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.');
      const inMemory = tables !== undefined;
      const ownScratch = (): Promise<string> =>
        (scratch ??= this.#scratch(inMemory).then(dir => mkdtemp(join(dir, 'query-'))));
      const run = process.run(
        {
          ...query,
          ...about,
          database: copy?.file,
          sealed,
          // Only Parquet is written by way of a file, or of a pipe.
          scratch: query.format === 'parquet' ? await ownScratch() : undefined
        },
        async (extras, contents) => ({
          extras: await (await import('./source.ts')).extraRows(this.#options, extras, signal),
          ...(contents.length === 0
            ? { contents: [] }
            : await this.#contents(contents, { dir: await ownScratch(), sealed }, signal))
        })
      );
      const cancel = (): void => run.cancel();
      signal.addEventListener('abort', cancel);
      const ended = run.ended.then(async end => {
        signal.removeEventListener('abort', cancel);
        await leave();
        return end;
      });
      if (signal.aborted) cancel();
      await run.begun.catch(async (error: unknown) => {
        await ended;
        throw error;
      });
      return { bytes: run.bytes, ended };
    } catch (error) {
      if (!left) await leave();
      if (signal.aborted && !(error instanceof SyftError)) throw new SyftError('CANCELLED', 'The query was cancelled.');
      throw error;
    }
  }

  /** Waits until a process may be had. */
  async #turn(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#closed) throw new SyftError('NOT_RUNNING', 'SQL is not answered any more.');
      if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.');
      if (this.#turns < PROCESSES) {
        this.#turns += 1;
        return;
      }
      await new Promise<void>(resolve => {
        const go = (): void => {
          signal.removeEventListener('abort', go);
          resolve();
        };
        this.#waiting.push(go);
        signal.addEventListener('abort', go);
      });
    }
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  async #take(): Promise<SqlProcess> {
    const { SqlProcess } = await import('./process.ts');
    const idle = this.#idle.pop();
    clearTimeout(idle?.timer);
    return idle === undefined || idle.process.failed ? new SqlProcess() : idle.process;
  }

  #leave(process: SqlProcess | undefined): void {
    this.#turns -= 1;
    if (process !== undefined) this.#busy.delete(process);
    if (process !== undefined && (this.#closed || process.failed)) this.#end(process);
    else if (process !== undefined) {
      const timer = setTimeout(() => {
        const at = this.#idle.findIndex(each => each.process === process);
        if (at >= 0) this.#idle.splice(at, 1);
        this.#end(process);
      }, KEEP_IDLE);
      timer.unref();
      this.#idle.push({ process, timer });
    }
    this.#wake();
  }

  #end(process: SqlProcess): void {
    const ending = process.kill();
    this.#ending.add(ending);
    void ending.then(() => this.#ending.delete(ending));
  }

  /**
   * The directory of this engine; those of processes that are no more go away.
   *
   * @param elsewhere The index is in memory, because the log is encrypted or another process writes it: nothing is put beside it.
   */
  #scratch(elsewhere: boolean): Promise<string> {
    const dir = elsewhere ? tmpdir() : this.#options.dir();
    const begin = elsewhere ? ELSEWHERE : '';
    let made = this.#directories.get(dir);
    if (made !== undefined) return made;
    made = (async () => {
      if (!elsewhere) await mkdir(dir, { recursive: true, mode: 0o700 });
      for (const name of await readdir(dir)) {
        if (!name.startsWith(begin)) continue;
        const pid = Number(SCRATCH.exec(name.slice(begin.length))?.[1] ?? 0);
        if (pid > 0 && pid !== process.pid && !isAlive(pid)) {
          // One of another user is not ours to take away.
          await rm(join(dir, name), { recursive: true, force: true }).catch(() => undefined);
        }
      }
      return mkdtemp(join(dir, `${begin}sql-${process.pid}-`));
    })().catch((error: unknown) => {
      this.#directories.delete(dir);
      throw new SyftError('SQL_UNAVAILABLE', `SQL needs a private directory below ${dir}, which cannot be made.`, {
        cause: error
      });
    });
    this.#directories.set(dir, made);
    return made;
  }

  /** A copy of the index as it is now; one is made when there is none yet. */
  #current(): Promise<Copy> {
    const current = this.#copying.then(async () => {
      const file = join(await this.#scratch(false), `index-${++this.#copies}.duckdb`);
      const copyTo = this.#options.index.copyTo?.bind(this.#options.index);
      if (copyTo === undefined) throw new SyftError('SQL_UNAVAILABLE', 'There is no index that could be queried.');
      let stamp: string;
      try {
        stamp = await copyTo(file, this.#copy?.stamp);
      } catch (error) {
        await rm(file, { force: true });
        if (error instanceof SyftError) throw error;
        throw new SyftError('SQL_UNAVAILABLE', 'The index cannot be copied; is there room on the disk?', {
          cause: error
        });
      }
      if (stamp !== this.#copy?.stamp) {
        const old = this.#copy;
        this.#copy = { file, stamp, users: 0, replaced: false };
        if (old !== undefined) {
          old.replaced = true;
          if (old.users === 0) await rm(old.file, { force: true }).catch(() => undefined);
        }
      }
      this.#copy.users += 1;
      return this.#copy;
    });
    this.#copying = current.catch(() => undefined);
    return current;
  }

  async #release(copy: Copy): Promise<void> {
    copy.users -= 1;
    // Where a file that is open cannot be removed it goes with the directory.
    if (copy.replaced && copy.users === 0) await rm(copy.file, { force: true }).catch(() => undefined);
  }

  /** Puts contents where the query, and nothing else, reads them. Those of an encrypted log go to no file: they are handed over. */
  async #contents(
    requests: readonly ContentRequest[],
    { dir, sealed }: { readonly dir: string; readonly sealed: boolean },
    signal: AbortSignal
  ): Promise<Pick<Provided, 'contents' | 'bytes'>> {
    const { checkContent, findVersion } = await import('./source.ts');
    const out: ContentFile[] = [];
    const changes: Change[] = [];
    const there = new Map<string, ContentFile>();
    let total = 0;
    for (const request of requests) {
      const change = await findVersion(this.#options, request, signal);
      checkContent(change);
      const id = versionId(change);
      let found = there.get(id);
      if (found === undefined) {
        total += change.size ?? 0;
        if (total > CONTENT_LIMIT) {
          throw new SyftError('SQL_INVALID', 'The versions that the query asks for are larger than 4 GiB in all.');
        }
        const path = displayPath(change.path);
        const file = join(dir, `content-${there.size + 1}${sealed ? '' : endingOf(path)}`);
        if (!sealed) {
          await pipeline(this.#options.log().content(change), createWriteStream(file, { flags: 'wx', mode: 0o600 }), {
            signal
          });
        }
        found = { file, path, versionId: id, size: change.size ?? 0 };
        there.set(id, found);
      }
      out.push(found);
      changes.push(change);
    }
    if (!sealed) return { contents: out };
    return { contents: out, bytes: content => this.#options.log().content(changes[content] as Change) };
  }

  /** Ends all queries, and removes what was on disk for them. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { process, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      this.#end(process);
    }
    for (const process of this.#busy) this.#end(process);
    this.#wake();
    await Promise.all(this.#ending);
    await this.#copying;
    for (const made of this.#directories.values()) {
      const directory = await made.catch(() => undefined);
      if (directory !== undefined) await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
