/** Threads that stage files. A thread that fails is no loss: what it has not done is answered as not done. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { stageFiles, type LinkJob, type StageJob } from './stage-files.ts';

const MOST_THREADS = 4;
/** Jobs that wait on a thread, the one that it does among them: it is never without one while the caller does its own. */
const MOST_WAITING = 3;

interface Waiting {
  readonly files: number;
  readonly resolve: (done: boolean[]) => void;
}

interface Stager {
  readonly worker: Worker;
  readonly waiting: Waiting[];
  alive: boolean;
}

const countOf = (job: StageJob | LinkJob): number => (job.kind === 'link' ? job.names.length : job.files.length);

export class StagePool {
  readonly #stagers: Stager[];

  /**
   * @param threads 0: all is done by the caller's. Default one less than there are processors, for the caller reads the log
   *   meanwhile, and stages what the others have no room for.
   */
  constructor(threads = Math.min(MOST_THREADS, Math.max(1, availableParallelism() - 1))) {
    this.#stagers = Array.from({ length: threads }, start);
  }

  /**
   * Does a job, on the thread that has least to do, or here and now when all have enough. The bytes of a job to stage are given
   * away.
   *
   * @returns When the next job may come; `done`: for each file whether it was done.
   */
  async run(job: StageJob | LinkJob): Promise<{ readonly done: Promise<boolean[]> }> {
    let stager = this.#free();
    if (stager === undefined && this.#stagers.length > 0) {
      // What the threads have answered meanwhile is heard only now.
      await new Promise(resolve => setImmediate(resolve));
      stager = this.#free();
    }
    if (stager === undefined) return { done: Promise.resolve(stageFiles(job)) };
    const { waiting, worker } = stager;
    const done = new Promise<boolean[]>(resolve => waiting.push({ files: countOf(job), resolve }));
    worker.postMessage(job, job.kind === 'stage' ? [job.bytes.buffer as ArrayBuffer] : []);
    return { done };
  }

  #free(): Stager | undefined {
    return this.#stagers
      .filter(({ alive, waiting }) => alive && waiting.length < MOST_WAITING)
      .sort((a, b) => a.waiting.length - b.waiting.length)[0];
  }

  async close(): Promise<void> {
    await Promise.all(this.#stagers.map(({ worker }) => worker.terminate()));
  }
}

function start(): Stager {
  const worker = new Worker(new URL('./stage-worker.ts', import.meta.url));
  const stager: Stager = { worker, waiting: [], alive: true };
  worker.on('message', (done: boolean[]) => stager.waiting.shift()?.resolve(done));
  const failed = (): void => {
    stager.alive = false;
    for (const { files, resolve } of stager.waiting.splice(0)) resolve(Array.from({ length: files }, () => false));
  };
  worker.on('error', failed);
  worker.on('exit', failed);
  return stager;
}
