/** The half of a hint source that runs in the thread: patterns, names, and batches of hints on their way out. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { errnoOf } from '../../core/errors.ts';
import type { IgnoreRules } from '../../core/ignore-rules.ts';
import { fsPath, type PathName } from '../../core/path-name.ts';
import type { HintSourceOptions } from '../hints.ts';
import { hintRules, relativeTo, wholePart } from './rules.ts';
import type { ThreadMessage, ThreadRequest } from './thread.ts';

const BATCH_MS = 5;

export class HintPort {
  readonly options: HintSourceOptions;
  readonly root: string;
  readonly #port: MessagePort;
  readonly #prefix: string;
  #rules: IgnoreRules;
  #paths = new Set<PathName>();
  #directories = new Set<PathName>();
  #timer: NodeJS.Timeout | undefined;

  constructor() {
    if (parentPort === null) throw new Error('this module runs as a worker thread only');
    this.#port = parentPort;
    this.options = workerData as HintSourceOptions;
    this.root = this.options.root;
    this.#prefix = this.root === '/' ? '/' : `${this.root}/`;
    this.#rules = hintRules(this.options);
  }

  /** What `node:fs` is given for a path. */
  absolute(path: PathName): string | Buffer {
    return fsPath(path === '' ? this.root : this.#prefix + path);
  }

  /** The workspace path of an absolute one; `undefined` outside the root. */
  relative(absolute: string): PathName | undefined {
    return relativeTo(this.root, absolute);
  }

  /** Whether a directory is excluded, given that none above it is. */
  excludes(dir: PathName): boolean {
    return this.#rules.excludes(dir, true);
  }

  /** Reads all `.syftignore` files anew when they are next asked for. */
  forgetRules(): void {
    this.#rules = hintRules(this.options);
  }

  /** Calls `reopen` when the patterns changed. */
  onReopen(reopen: () => void): void {
    this.#port.on('message', (request: ThreadRequest) => {
      if (request.kind === 'reopen') reopen();
    });
  }

  /** A path may have changed. The root has no name: it is looked at by a scan alone. */
  hint(path: PathName): void {
    if (path === '') return;
    const whole = wholePart(path);
    if (whole !== undefined) {
      this.directory(whole);
      return;
    }
    this.#paths.add(path);
    this.#timer ??= setTimeout(this.#send, BATCH_MS);
  }

  /** Something in a directory may have changed, nobody knows what. */
  directory(dir: PathName): void {
    this.#directories.add(dir);
    this.#timer ??= setTimeout(this.#send, BATCH_MS);
  }

  lost(reason: string): void {
    this.#post({ kind: 'lost', reason });
  }

  coverage(watched: number, unwatched: number, why: string): void {
    this.#post({ kind: 'coverage', watched, unwatched, why });
  }

  ready(): void {
    this.#post({ kind: 'ready' });
  }

  error(error: unknown): void {
    this.#post({
      kind: 'error',
      code: errnoOf(error) ?? '',
      message: error instanceof Error ? error.message : String(error)
    });
  }

  #post(message: ThreadMessage): void {
    this.#port.postMessage(message);
  }

  readonly #send = (): void => {
    this.#timer = undefined;
    // A root entry is an empty name, so the list of directories starts each with a separator.
    const dirs = [...this.#directories].map(dir => `\0${dir}`).join('');
    this.#post({ kind: 'hints', paths: [...this.#paths].join('\0'), directories: dirs });
    this.#paths = new Set();
    this.#directories = new Set();
  };
}
