/**
 * The first look after a start at all that is known: this thread and others beside it. Whatever they find as it was, the scan
 * need not look at.
 */
import { lstatSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { fileSystemAt, keepsTimesOfDirectories } from './hints/file-system.ts';
import type { DirNode, KnownTree } from './known.ts';
import { Looker, type SharedLook } from './look.ts';
import type { TimeSlice } from './time-slice.ts';

/** With fewer paths a thread is not up before the look is over. */
const WORTH_A_THREAD = 4_000;
const MOST_THREADS = 3;
/** Larger directories would hold up this thread: others look at them first, or the scan. Entries. */
const LARGE = 1_000;

export class KnownLook {
  readonly #shared: SharedLook;
  readonly #known: KnownTree;
  readonly #threads: { readonly worker: Worker; readonly done: Promise<void> }[] = [];

  private constructor(known: KnownTree, shared: SharedLook) {
    this.#known = known;
    this.#shared = shared;
    if (shared.image.count < WORTH_A_THREAD) return;
    for (let i = Math.min(MOST_THREADS, availableParallelism() - 1); i > 0; i -= 1) {
      const worker = new Worker(new URL('./look-worker.ts', import.meta.url), {
        workerData: shared,
        // What it makes dies at once.
        resourceLimits: { maxYoungGenerationSizeMb: 8 }
      });
      // One that fails has found nothing more to be as known.
      const done = new Promise<void>(resolve => {
        for (const event of ['message', 'error', 'exit']) worker.once(event, () => resolve());
      });
      worker.unref();
      this.#threads.push({ worker, done });
    }
  }

  /**
   * Gets ready; {@link run} looks.
   *
   * @param root Absolute.
   * @returns `undefined` when `known` was not made from an image.
   */
  static prepare(root: string, known: KnownTree): KnownLook | undefined {
    const { image } = known;
    if (image === undefined) return undefined;
    return new KnownLook(known, {
      root,
      image,
      columns: known.columns.shared,
      timedDevice: timedDevice(root),
      large: LARGE,
      next: new Int32Array(new SharedArrayBuffer(8)),
      found: new Uint8Array(new SharedArrayBuffer(image.starts.length))
    });
  }

  /**
   * Looks at all of it. What has changed before that is found, and what changes meanwhile is for hints to tell of.
   *
   * @returns Whether a directory is as known: all its names, the files in it by their stat values, and no others. Nothing may be
   *   recorded before the scan has asked.
   * @throws CANCELLED.
   */
  async run(slice: TimeSlice): Promise<(node: DirNode) => boolean> {
    try {
      for (const { worker } of this.#threads) worker.postMessage('look');
      const looker = new Looker(this.#shared);
      while (looker.lookAtSome()) if (slice.spent()) await slice.rest();
      for (const { worker } of this.#threads) worker.ref();
      await Promise.all(this.#threads.map(({ done }) => done));
    } finally {
      this.close();
    }
    const { found, columns } = this.#shared;
    // What was recorded since this was prepared has made the columns too narrow: those looked at are of the past.
    if (this.#known.columns.shared !== columns) return () => false;
    return ({ number }) => number >= 0 && found[number] === 1;
  }

  close(): void {
    for (const { worker } of this.#threads.splice(0)) void worker.terminate();
  }
}

/** The device of the root, where its file system keeps the times of directories. */
function timedDevice(root: string): number {
  try {
    return keepsTimesOfDirectories(fileSystemAt(root)) ? lstatSync(root).dev : NaN;
  } catch {
    return NaN;
  }
}
