/** Threads that stage files. A thread that fails is no loss: what it has not done is answered as not done. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { stageFiles, type LinkJob, type StageJob } from './stage-files.ts';

const MOST_THREADS = 4;

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

  /** @param threads 0: all is done by the caller's. */
  constructor(threads = Math.min(MOST_THREADS, availableParallelism())) {
    this.#stagers = Array.from({ length: threads }, start);
  }

  get threads(): number {
    return this.#stagers.length;
  }

  /** Does a job, on the thread that has least to do. The bytes of a job to stage are given away. */
  run(job: StageJob | LinkJob): Promise<boolean[]> {
    const [stager] = this.#stagers.filter(({ alive }) => alive).sort((a, b) => a.waiting.length - b.waiting.length);
    if (stager === undefined) return Promise.resolve(stageFiles(job));
    return new Promise(resolve => {
      stager.waiting.push({ files: countOf(job), resolve });
      stager.worker.postMessage(job, job.kind === 'stage' ? [job.bytes.buffer as ArrayBuffer] : []);
    });
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
