/**
 * Hints: word that something may have changed at a path. They may come late, twice, for nothing, or not at all; whoever
 * uses them scans as well. This file is the interface and the adapter for chokidar, which lives in its own thread so that
 * a busy main thread loses no events to a full kernel queue.
 */
import { Worker } from 'node:worker_threads';
import type { PathName } from '../core/path-name.ts';

/** What a source reports to. */
export interface HintSink {
  /** These paths may have changed: a file, a directory with all below it, or something gone. */
  paths(paths: readonly PathName[]): void;
  /** These directories changed in a way that names do not tell (a name that is not UTF-8). */
  directories(dirs: readonly PathName[]): void;
  /** Hints were lost; only a full scan tells. */
  lost(reason: string): void;
  /** The source works, or does not (and why). Scans go on either way. */
  health(healthy: boolean, detail: string): void;
}

export interface HintSourceOptions {
  /** Absolute. */
  readonly root: string;
  readonly excludePatterns: readonly string[];
  readonly include: readonly PathName[] | undefined;
  readonly logPath: PathName | undefined;
}

/** Something that gives hints. */
export interface HintSource {
  readonly kind: string;
  /** Resolves when changes from now on will be hinted at, as far as the source can. */
  start(options: HintSourceOptions, sink: HintSink): Promise<void>;
  /** The patterns of `.syftignore` files changed: what is watched must change with them. Resolves like `start`. */
  rulesChanged(): Promise<void>;
  stop(): Promise<void>;
}

/** Messages of the worker thread. */
export type WorkerMessage =
  | { readonly kind: 'ready'; readonly directories: number }
  | { readonly kind: 'hints'; readonly paths: string; readonly directories: string }
  | { readonly kind: 'error'; readonly code: string; readonly message: string }
  | { readonly kind: 'stopped' };

/** Messages to it. */
export type WorkerRequest = { readonly kind: 'reopen' } | { readonly kind: 'stop' };

/** A watcher that cannot get up within this time is given up: scans do its work. Milliseconds. */
const START_TIMEOUT_MS = 60_000;

/** Hints from chokidar in a worker thread. */
export class ChokidarHints implements HintSource {
  readonly kind = 'chokidar';
  #worker: Worker | undefined;
  #sink: HintSink | undefined;
  #ready: (() => void)[] = [];
  #stopping = false;
  #healthy = true;

  async start(options: HintSourceOptions, sink: HintSink): Promise<void> {
    this.#sink = sink;
    const worker = new Worker(new URL('./hints-worker.ts', import.meta.url), {
      workerData: options,
      // It only passes names on; a small young generation keeps its share of the memory small.
      resourceLimits: { maxYoungGenerationSizeMb: 4 }
    });
    this.#worker = worker;
    worker.on('message', (message: WorkerMessage) => {
      this.#receive(message);
    });
    worker.on('error', error => {
      this.#fail(`the watcher thread failed: ${error instanceof Error ? error.message : String(error)}`);
    });
    worker.on('exit', () => {
      if (!this.#stopping) this.#fail('the watcher thread ended');
      this.#release();
    });
    worker.unref();
    await this.#untilReady();
  }

  async rulesChanged(): Promise<void> {
    if (this.#worker === undefined) return;
    this.#worker.postMessage({ kind: 'reopen' } satisfies WorkerRequest);
    await this.#untilReady();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
    this.#release();
  }

  #receive(message: WorkerMessage): void {
    const sink = this.#sink;
    if (sink === undefined || this.#stopping) return;
    switch (message.kind) {
      case 'hints':
        if (message.paths !== '') sink.paths(message.paths.split('\0'));
        if (message.directories !== '') sink.directories(message.directories.slice(1).split('\0'));
        break;
      case 'ready':
        if (this.#healthy) sink.health(true, `${message.directories} directories watched`);
        this.#release();
        break;
      case 'error':
        this.#fail(describe(message.code, message.message));
        break;
      case 'stopped':
        break;
    }
  }

  #fail(detail: string): void {
    if (this.#stopping) return;
    this.#healthy = false;
    this.#sink?.health(false, detail);
    this.#sink?.lost(detail);
  }

  #release(): void {
    const waiting = this.#ready;
    this.#ready = [];
    for (const resolve of waiting) resolve();
  }

  async #untilReady(): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => {
        this.#fail('the watcher did not get up in time');
        resolve();
      }, START_TIMEOUT_MS);
      timer.unref();
      this.#ready.push(() => {
        clearTimeout(timer);
        resolve();
      });
      // Waiting for it must keep the process alive; running it must not.
      this.#worker?.ref();
    });
    this.#worker?.unref();
  }
}

function describe(code: string, message: string): string {
  switch (code) {
    case 'ENOSPC':
      return 'the system has no more file watches (fs.inotify.max_user_watches); changes are found by scanning';
    case 'EMFILE':
      return 'the system has no more watchers (fs.inotify.max_user_instances); changes are found by scanning';
    default:
      return message;
  }
}
