/**
 * Reading threads for a first pass. Opening, reading and hashing many small files is most of the work of a first capture
 * and needs nothing of what the main thread knows, so it is done beside it.
 *
 * Memory is bounded by the slabs: each thread has a few, fills one, sends it, and gets it back when the log has taken what
 * it holds. A thread that fails is no loss: what it has not read is answered as not read, and the main thread reads it.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { PathName } from '../core/path-name.ts';
import type { ReadyBlock } from '../log/ready-blocks.ts';
import { isHeapSmall } from './heap.ts';
import { SMALL_BYTES } from './stable-read.ts';

/** dev, ino, size, mtimeMs, ctimeMs, birthtimeMs, mode, time of the read. */
export const STAT_FIELDS = 8;

export interface PoolOptions {
  /** Absolute. */
  readonly root: string;
  /** The thread's slabs, larger than any file it reads. What is in one belongs to the main thread from when it is sent. */
  readonly slabs: readonly SharedArrayBuffer[];
  /** For each slab 1 while the main thread has it, else 0; behind them a counter that rises with each one given back. */
  readonly taken: Int32Array<SharedArrayBuffer>;
  /** Whether the process keeps its heap small. */
  readonly small: boolean;
}

/** To a reading thread. */
export interface ReadRequest {
  readonly job: number;
  /** Paths to read, separated by NUL. */
  readonly paths: string;
}

/** A block whose chunks lie in the slab from `start` to `end`; `stored` when they are compressed. */
export interface SentBlock {
  readonly head: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly stored?: Uint8Array;
}

/** From a reading thread: some of the files of a job, in order. */
export interface ReadAnswer {
  readonly job: number;
  /** Place of the first of them in the job. */
  readonly from: number;
  readonly count: number;
  /** {@link STAT_FIELDS} for each file; the first is NaN where there was nothing to be read, or not at rest. */
  readonly stats: Float64Array;
  /** SHA-256 of each, 32 bytes. */
  readonly hashes: Uint8Array;
  /** Files that are not exactly one chunk, with the ids of their chunks. */
  readonly cut: readonly [number, string[]][];
  readonly blocks: readonly SentBlock[];
  /** Content in the slab. */
  readonly bytes: number;
  /** Which of the thread's slabs. */
  readonly slab: number;
}

/** Files that were read, in the order asked for. Call `release` when the log has taken them. */
export interface FilesRead {
  readonly paths: readonly PathName[];
  readonly answer: ReadAnswer;
  readonly blocks: readonly ReadyBlock[];
  readonly release: () => void;
}

interface Job {
  readonly id: number;
  readonly paths: readonly PathName[];
  /** `undefined`: no thread was left. */
  readonly reader: Reader | undefined;
  readonly answers: ReadAnswer[];
  /** Files answered so far. */
  answered: number;
  failed: boolean;
  wake: (() => void) | undefined;
}

interface Reader {
  readonly worker: Worker;
  readonly slabs: readonly Buffer[];
  readonly taken: Int32Array<SharedArrayBuffer>;
  readonly jobs: Job[];
  alive: boolean;
}

const SLABS = 6;
const SLAB_BYTES = 2 * SMALL_BYTES;
/** Jobs that a thread is given ahead. */
const JOBS_AHEAD = 4;
const MOST_THREADS = 4;

/** Threads that are worth having on this machine; 0 where there is one processor only. */
export function readingThreads(): number {
  const processors = availableParallelism();
  return processors < 2 ? 0 : Math.min(MOST_THREADS, processors);
}

export class ReadPool {
  readonly #readers: Reader[];
  readonly #queue: Job[] = [];
  #next = 0;
  #closed = false;

  /** @param worker The file to run; another one only in tests. */
  constructor(root: string, threads: number, worker = new URL('./read-worker.ts', import.meta.url)) {
    this.#readers = Array.from({ length: threads }, () => this.#start(root, worker));
  }

  /** True when there is no use in handing over more before what is there has been taken. */
  get full(): boolean {
    return this.#queue.length >= this.#readers.length * JOBS_AHEAD;
  }

  /** Whether something was handed over and not taken yet. */
  get empty(): boolean {
    return this.#queue.length === 0;
  }

  /** Hands over files to be read. */
  read(paths: readonly PathName[]): void {
    const [reader] = this.#readers.filter(({ alive }) => alive).sort((a, b) => a.jobs.length - b.jobs.length);
    const failed = reader === undefined;
    const job: Job = { id: this.#next, paths, reader, answers: [], answered: 0, failed, wake: undefined };
    this.#next += 1;
    this.#queue.push(job);
    reader?.jobs.push(job);
    reader?.worker.postMessage({ job: job.id, paths: paths.join('\0') } satisfies ReadRequest);
  }

  /**
   * The oldest files handed over, as far as they are read: read ones, or plain paths that nobody read because a thread failed.
   * `undefined`: there is nothing left.
   */
  async take(): Promise<FilesRead | readonly PathName[] | undefined> {
    for (;;) {
      const [job] = this.#queue;
      if (job === undefined) return undefined;
      const answer = job.answers.shift();
      if (answer !== undefined) {
        job.answered += answer.count;
        if (job.answered >= job.paths.length) this.#queue.shift();
        return this.#filesRead(job, answer);
      }
      if (job.failed || this.#closed) {
        this.#queue.shift();
        return job.paths.slice(job.answered);
      }
      await new Promise<void>(resolve => {
        job.wake = resolve;
      });
    }
  }

  /** Ends the threads; what they have not answered stays unread. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#readers.map(reader => reader.worker.terminate()));
  }

  #filesRead(job: Job, answer: ReadAnswer): FilesRead {
    const { reader } = job;
    const slab = reader?.slabs[answer.slab] ?? Buffer.alloc(0);
    return {
      paths: job.paths.slice(answer.from, answer.from + answer.count),
      answer,
      blocks: answer.blocks.map(({ head, start, end, stored }): ReadyBlock => {
        const raw = slab.subarray(start, end);
        return { head: Buffer.from(head.buffer, head.byteOffset, head.length), raw, stored: stored ?? raw };
      }),
      release: () => {
        if (reader === undefined) return;
        Atomics.store(reader.taken, answer.slab, 0);
        Atomics.add(reader.taken, SLABS, 1);
        Atomics.notify(reader.taken, SLABS);
      }
    };
  }

  #start(root: string, file: URL): Reader {
    const slabs = Array.from({ length: SLABS }, () => new SharedArrayBuffer(SLAB_BYTES));
    const taken = new Int32Array(new SharedArrayBuffer((SLABS + 1) * Int32Array.BYTES_PER_ELEMENT));
    const options: PoolOptions = { root, slabs, taken, small: isHeapSmall() };
    const worker = new Worker(file, { workerData: options, resourceLimits: { maxYoungGenerationSizeMb: 16 } });
    const reader: Reader = { worker, slabs: slabs.map(slab => Buffer.from(slab)), taken, jobs: [], alive: true };
    worker.on('message', (answer: ReadAnswer) => {
      const job = reader.jobs[0];
      if (job?.id !== answer.job) return;
      job.answers.push(answer);
      if (answer.from + answer.count >= job.paths.length) reader.jobs.shift();
      job.wake?.();
    });
    const failed = (): void => {
      reader.alive = false;
      for (const job of reader.jobs.splice(0)) {
        job.failed = true;
        job.wake?.();
      }
    };
    worker.on('error', failed);
    worker.on('exit', failed);
    return reader;
  }
}
