/** The side that asks of the process that runs queries (sql-worker.ts). */
import { fork, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { SyftError } from '../../core/errors.ts';
import type { Held } from './carry-index.ts';
import type { ContentFile, ContentRequest, FromWorker, RunRequest, ToWorker, WireError } from './protocol.ts';
import type { ExtraRows } from './session.ts';
import type { ExtraTable } from './tables.ts';

/** What became of a query. */
export interface Ended {
  readonly rows: number;
  readonly truncated: boolean;
  readonly error?: SyftError;
}

/** Gives what a query needs and the index does not have. */
export type Provide = (extras: readonly ExtraTable[], contents: readonly ContentRequest[]) => Promise<Provided>;

export interface Provided {
  readonly extras: readonly ExtraRows[];
  readonly contents: readonly ContentFile[];
  /** The bytes of a content that is in no file, by its place in `contents`. */
  readonly bytes?: (content: number) => AsyncIterable<Uint8Array>;
}

/** A query under way. */
export interface Run {
  /** Resolves when the first rows are there; rejects when there is an error before. */
  readonly begun: Promise<undefined>;
  /** Resolves when all is over; never rejects. */
  readonly ended: Promise<Ended>;
  /** The rows in the format that was asked for. Ends early when there is an error: see `ended`. */
  readonly bytes: AsyncIterable<Uint8Array>;
  cancel(): void;
}

/** Milliseconds that a process is given to start, and to stop when it was told to. */
const START_TIMEOUT = 30_000;
const STOP_TIMEOUT = 2000;

export class SqlProcess {
  readonly #child: ChildProcess;
  readonly #rows: Readable;
  readonly #ready: Promise<void>;
  readonly #gone = Promise.withResolvers<undefined>();
  #next = 1;
  /** What it holds of an index in memory. */
  held: Held | undefined;
  #failed: SyftError | undefined;
  #current: Current | undefined;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./sql-worker.ts', import.meta.url)), {
      // Nothing of this process's environment: secrets are in it.
      env: process.env['SystemRoot'] === undefined ? {} : { SystemRoot: process.env['SystemRoot'] },
      execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', process.env['SYFT_SYNC_DEBUG'] === undefined ? 'ignore' : 'inherit', 'ipc', 'pipe']
    });
    this.#rows = this.#child.stdio[4] as Readable;
    this.#rows.on('error', () => undefined);
    this.#ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        void this.kill();
        reject(unavailable('it did not start in time'));
      }, START_TIMEOUT);
      const fail = (why: string, cause?: unknown): void => {
        clearTimeout(timer);
        this.#failed ??= unavailable(why, cause);
        reject(this.#failed);
        this.#current?.gone(this.#failed);
      };
      this.#child.on('error', error => {
        // One that could not be started does not exit either.
        if (this.#child.pid === undefined) this.#gone.resolve(undefined);
        fail(error.message, error);
      });
      this.#child.on('exit', (code, signal) => {
        this.#gone.resolve(undefined);
        fail(`it ended (${signal ?? `exit ${code}`})`);
      });
      this.#child.on('message', (message: FromWorker) => {
        if (message.kind === 'ready') {
          clearTimeout(timer);
          resolve();
        } else {
          if (message.kind === 'end' && message.last === true) this.#failed ??= unavailable('it ended');
          this.#current?.receive(message);
        }
      });
    });
    this.#ready.catch(() => undefined);
    // An idle process of ours keeps nobody from ending.
    this.#child.unref();
    this.#child.channel?.unref();
    (this.#rows as unknown as { unref?: () => void }).unref?.();
  }

  /** It cannot run anything any more. */
  get failed(): boolean {
    return this.#failed !== undefined;
  }

  /** Runs a query; one at a time. */
  run(request: Omit<RunRequest, 'kind' | 'id'>, provide: Provide): Run {
    if (this.#current !== undefined) throw new Error('one query at a time');
    const id = this.#next++;
    this.#child.channel?.ref();
    const current = new Current({
      id,
      rows: this.#rows,
      provide,
      say: message => this.#say(message),
      kill: () => void this.kill(),
      // The worker stops by itself at its time; this is for one that cannot.
      killAfter: request.timeoutMs + STOP_TIMEOUT
    });
    this.#current = current;
    void current.ended.then(() => {
      this.#current = undefined;
      this.#child.channel?.unref();
    });
    if (this.#failed !== undefined) current.gone(this.#failed);
    this.#ready.then(
      () => this.#say({ ...request, kind: 'run', id }),
      (error: unknown) => current.gone(error as SyftError)
    );
    return current;
  }

  #say(message: ToWorker): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** Tells it something beside a query. Resolves when it is on its way, or there is nobody to be told. */
  async send(message: ToWorker): Promise<void> {
    // A query finds out why, and says it.
    await this.#ready.catch(() => undefined);
    if (!this.#child.connected) return;
    this.#child.channel?.ref();
    await new Promise<void>(resolve => this.#child.send(message, () => resolve()));
    if (this.#current === undefined) this.#child.channel?.unref();
  }

  /** Ends it, whatever it does. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#failed ??= unavailable('it was ended');
    // Who waits for its end must live to see it.
    this.#child.ref();
    this.#child.kill('SIGKILL');
    await this.#gone.promise;
  }
}

function unavailable(why: string, cause?: unknown): SyftError {
  return new SyftError('SQL_UNAVAILABLE', `The process that runs queries cannot be used: ${why}. Try again.`, {
    ...(cause !== undefined && { cause })
  });
}

interface CurrentOptions {
  readonly id: number;
  readonly rows: Readable;
  readonly provide: Provide;
  readonly say: (message: ToWorker) => void;
  readonly kill: () => void;
  readonly killAfter: number;
}

/** One query under way, on this side. */
class Current implements Run {
  readonly begun: Promise<undefined>;
  readonly ended: Promise<Ended>;
  readonly #options: CurrentOptions;
  readonly #begun = Promise.withResolvers<undefined>();
  readonly #ended = Promise.withResolvers<Ended>();
  readonly #timer: NodeJS.Timeout;
  #stopTimer: NodeJS.Timeout | undefined;
  #end: (Ended & { readonly bytes: number }) | undefined;
  #taken = 0;
  #cancelled = false;
  #reading = false;
  #bytes: Provided['bytes'];
  #content: { readonly number: number; readonly pieces: AsyncIterator<Uint8Array> } | undefined;
  #discarding: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: CurrentOptions) {
    this.#options = options;
    this.begun = this.#begun.promise;
    this.ended = this.#ended.promise;
    this.begun.catch(() => undefined);
    this.#timer = setTimeout(() => {
      options.kill();
      this.gone(
        new SyftError('SQL_TIMEOUT', 'The query took longer than it may, and did not stop when it was told to.')
      );
    }, options.killAfter);
    this.#timer.unref();
  }

  receive(message: FromWorker): void {
    if (message.kind === 'ready' || message.id !== this.#options.id) return;
    if (message.kind === 'begin') this.#begun.resolve(undefined);
    else if (message.kind === 'need') void this.#provide(message.extras, message.contents);
    else if (message.kind === 'pull') void this.#piece(message.content);
    else {
      const { rows, truncated, bytes, error } = message;
      this.#over({ rows, truncated, bytes, ...(error !== undefined && { error: fromWire(error) }) });
    }
  }

  async #provide(extras: readonly ExtraTable[], contents: readonly ContentRequest[]): Promise<void> {
    const { id, provide, say } = this.#options;
    try {
      const { bytes, ...given } = await provide(extras, contents);
      this.#bytes = bytes;
      say({ kind: 'give', id, ...given });
    } catch (error) {
      say({ kind: 'refuse', id, error: toWire(error) });
    }
  }

  /** Gives the next piece of a content. They are read one after the other. */
  async #piece(content: number): Promise<void> {
    const { id, say } = this.#options;
    try {
      if (this.#content?.number !== content) {
        await this.#content?.pieces.return?.();
        const pieces = this.#bytes?.(content)[Symbol.asyncIterator]();
        if (pieces === undefined) throw new Error('a content that was not given');
        this.#content = { number: content, pieces };
      }
      const { done, value } = await this.#content.pieces.next();
      if (done === true) this.#content = undefined;
      say({ kind: 'piece', id, ...(done !== true && { bytes: value }) });
    } catch (error) {
      this.#content = undefined;
      say({ kind: 'piece', id, error: toWire(error) });
    }
  }

  /** The process is no more. */
  gone(error: SyftError): void {
    this.#over({ rows: 0, truncated: false, bytes: this.#taken, error });
  }

  #over(end: Ended & { readonly bytes: number }): void {
    if (this.#end !== undefined) return;
    this.#end = this.#cancelled ? { ...end, error: end.error ?? cancelled() } : end;
    clearTimeout(this.#timer);
    clearTimeout(this.#stopTimer);
    void this.#content?.pieces.return?.().catch(() => undefined);
    if (this.#end.error === undefined) this.#begun.resolve(undefined);
    else this.#begun.reject(this.#end.error);
    // Rows that break off are of no use, and whoever reads them may have stopped for good: the process is for others now.
    if (this.#end.error !== undefined) void this.#discard();
    this.#wake?.();
  }

  get bytes(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    if (this.#reading) throw new Error('the rows are read once');
    this.#reading = true;
    try {
      while (this.#discarding === undefined) {
        const piece = this.#take();
        if (piece !== undefined) {
          yield piece;
          continue;
        }
        if (this.#end !== undefined && this.#taken >= this.#end.bytes) return;
        await this.#more();
      }
    } finally {
      if (this.#end === undefined) this.cancel();
      await this.#discard();
    }
  }

  #take(): Uint8Array | undefined {
    const left = this.#end === undefined ? Number.POSITIVE_INFINITY : this.#end.bytes - this.#taken;
    if (left <= 0) return undefined;
    const { rows } = this.#options;
    const size = Math.min(left, rows.readableLength);
    const piece = size === 0 ? null : (rows.read(size) as Buffer | null);
    if (piece === null) {
      // Starts reading when it was not.
      rows.read(0);
      return undefined;
    }
    this.#taken += piece.length;
    return piece;
  }

  #more(): Promise<void> {
    const { rows } = this.#options;
    return new Promise(resolve => {
      const done = (): void => {
        rows.off('readable', done).off('end', done).off('close', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      rows.on('readable', done).on('end', done).on('close', done);
      if (rows.readableLength > 0) done();
      if (rows.destroyed || rows.readableEnded) {
        // What the process promised will not come.
        this.gone(unavailable('it ended'));
        if (this.#end !== undefined) this.#end = { ...this.#end, bytes: this.#taken };
        done();
      }
    });
  }

  /** What is left of the rows is read and thrown away: the next query's begin behind them. */
  #discard(): Promise<void> {
    this.#discarding ??= this.#discardAll();
    return this.#discarding;
  }

  async #discardAll(): Promise<void> {
    while (this.#end === undefined || this.#taken < this.#end.bytes) {
      if (this.#take() === undefined) await this.#more();
    }
    const { rows, truncated, error } = this.#end;
    this.#ended.resolve({ rows, truncated, ...(error !== undefined && { error }) });
  }

  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    if (this.#end !== undefined) {
      void this.#discard();
      return;
    }
    const { id, say, kill } = this.#options;
    say({ kind: 'cancel', id });
    this.#stopTimer = setTimeout(() => {
      kill();
      this.gone(cancelled());
    }, STOP_TIMEOUT);
    this.#stopTimer.unref();
  }
}

function cancelled(): SyftError {
  return new SyftError('CANCELLED', 'The query was cancelled.');
}

function toWire(error: unknown): WireError {
  const known =
    error instanceof SyftError
      ? error
      : new SyftError('INTERNAL', 'What the query needs cannot be had.', { cause: error });
  const { code, message, path } = known;
  return { code, message, ...(path !== undefined && { path }) };
}

function fromWire({ code, message, ...more }: WireError): SyftError {
  return new SyftError(code, message, more);
}
