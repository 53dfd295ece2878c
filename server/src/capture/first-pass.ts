/**
 * A first pass records what the scan finds while the scan goes on, so that the findings need not all be held; nothing can
 * have moved, since nothing is known. Where there are many files, they are read on other threads.
 */
import type { PathName } from '../core/path-name.ts';
import { entryType } from './stat-columns.ts';
import { readingThreads, ReadPool } from './read-pool.ts';
import type { Pass, Reconciler } from './reconcile.ts';
import { Findings } from './scan.ts';

/** Files from which on threads are started: below, they would cost more than they bring. */
const POOL_FROM = 2_000;
/** Files handed to a thread at a time. */
const TOGETHER = 1_000;

export class FirstPass {
  readonly #root: string;
  readonly #reconciler: Reconciler;
  readonly #pass: Pass;
  #pool: ReadPool | undefined;
  #files: PathName[] = [];

  constructor(root: string, reconciler: Reconciler, pass: Pass) {
    this.#root = root;
    this.#reconciler = reconciler;
    this.#pass = pass;
  }

  /** Takes what was found so far out of `findings` and records it. */
  async take(findings: Findings): Promise<void> {
    const batch = new Findings();
    for (const candidate of findings.candidates.splice(0)) {
      if (entryType(candidate.stats.mode) === 'file') this.#files.push(candidate.path);
      else batch.candidates.push(candidate);
    }
    for (const path of findings.files.splice(0)) this.#files.push(path);
    if (batch.candidates.length > 0) await this.#reconciler.reconcile(batch, this.#pass);
    if (this.#files.length >= (this.#pool === undefined ? POOL_FROM : TOGETHER)) await this.#read();
  }

  /** Records what is left. */
  async finish(findings: Findings): Promise<void> {
    await this.take(findings);
    await this.#read();
    if (this.#pool !== undefined) await this.#reconciler.finishFirst(this.#pool, this.#pass);
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }

  async #read(): Promise<void> {
    const threads = readingThreads();
    if (this.#files.length >= POOL_FROM && threads > 0) this.#pool ??= new ReadPool(this.#root, threads);
    while (this.#files.length > 0) {
      await this.#reconciler.reconcileFiles(this.#files.splice(0, TOGETHER), this.#pass, this.#pool);
    }
  }
}
