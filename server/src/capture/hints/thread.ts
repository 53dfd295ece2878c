/**
 * A hint source that lives in a thread of its own: events that wait for a busy main thread overflow the kernel's queue.
 * This is the half in the main thread; `thread-port.ts` is the other.
 */
import { Worker } from 'node:worker_threads';
import type { HintSink, HintSource, HintSourceOptions } from '../hints.ts';

/** From the thread. */
export type ThreadMessage =
  | { readonly kind: 'hints'; readonly paths: string; readonly directories: string }
  /** All that can be watched is; sent at the start and whenever the numbers change. */
  | { readonly kind: 'coverage'; readonly watched: number; readonly unwatched: number; readonly why: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'error'; readonly code: string; readonly message: string };

/** To the thread. Stopping needs no message: a thread is ended. */
export interface ThreadRequest {
  readonly kind: 'reopen';
}

/** A watcher that cannot get up within this time is given up: scans do its work. Milliseconds. */
const START_TIMEOUT_MS = 60_000;

export class ThreadHints implements HintSource {
  readonly kind: string;
  readonly #script: URL;
  #worker: Worker | undefined;
  #sink: HintSink | undefined;
  #ready: (() => void)[] = [];
  #stopping = false;
  /** What the thread failed with; it is not trusted again before it is started anew. */
  #failed = false;

  /** @param script The thread's module; it ends in `-worker.ts`. */
  constructor(kind: string, script: URL) {
    this.kind = kind;
    this.#script = script;
  }

  async start(options: HintSourceOptions, sink: HintSink): Promise<void> {
    this.#sink = sink;
    const worker = new Worker(this.#script, {
      workerData: options,
      // It only passes names on; a small young generation keeps its share of the memory small.
      resourceLimits: { maxYoungGenerationSizeMb: 4 }
    });
    this.#worker = worker;
    worker.on('message', (message: ThreadMessage) => {
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
    this.#worker.postMessage({ kind: 'reopen' } satisfies ThreadRequest);
    await this.#untilReady();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
    this.#release();
  }

  #receive(message: ThreadMessage): void {
    const sink = this.#sink;
    if (sink === undefined || this.#stopping) return;
    switch (message.kind) {
      case 'hints':
        if (message.paths !== '') sink.paths(message.paths.split('\0'));
        if (message.directories !== '') sink.directories(message.directories.slice(1).split('\0'));
        break;
      case 'coverage':
        if (!this.#failed) sink.health(message.unwatched === 0, coverage(message));
        break;
      case 'ready':
        this.#release();
        break;
      case 'lost':
        sink.lost(message.reason);
        break;
      case 'error':
        this.#fail(describeWatchError(message.code, message.message));
        break;
    }
  }

  #fail(detail: string): void {
    if (this.#stopping) return;
    this.#failed = true;
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

function coverage(message: Extract<ThreadMessage, { kind: 'coverage' }>): string {
  if (message.unwatched === 0) return `${message.watched} directories watched`;
  return `${message.unwatched} of ${message.watched + message.unwatched} directories cannot be watched: ${message.why}`;
}

/** What a watch fails with, in words that tell what to do. */
export function describeWatchError(code: string, message: string): string {
  switch (code) {
    case 'ENOSPC':
      return 'the system has no more file watches (fs.inotify.max_user_watches); changes are found by scanning';
    case 'EMFILE':
      return 'the system has no more watchers (fs.inotify.max_user_instances); changes are found by scanning';
    default:
      return message;
  }
}
