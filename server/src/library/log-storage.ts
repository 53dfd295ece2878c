/** `LogStorage`: programmatic reading of a log directory: files, histories, contents, restore to anywhere. */
import { dirname, resolve } from 'node:path';
import { tmpdir } from 'node:os';
import { changeToJson, type Change, type ChangeJson } from '../core/change.ts';
import { displayPath } from '../core/path-name.ts';
import type { Stats } from '../api/contract.ts';
import { keysWith, secretOf, type EncryptionOptions, type KeysOf } from './encryption.ts';
import { LogView } from './log-view.ts';
import { restoreVersion, type RecordingBeforeRestore } from './restore.ts';
import { LogCounts, statsOf, trackedFiles } from './workspace.ts';

/** One file of a log, with how many versions it has. */
export interface LoggedFile {
  readonly path: string;
  readonly versions: number;
  /** Present in the tree now. */
  readonly exists: boolean;
  readonly latest: ChangeJson;
}

/**
 * A log directory opened for reading. Works while another process records into it.
 *
 * @example
 * await using storage = new LogStorage('./my_project_log');
 * for (const file of await storage.listFiles()) console.log(file.path, file.versions);
 */
export class LogStorage implements AsyncDisposable {
  readonly logPath: string;
  readonly watchPath: string;
  readonly #keysOf: KeysOf;
  #view: Promise<LogView> | undefined;

  /**
   * @param logPath Log directory.
   * @param options `watchPath`: the workspace it belongs to, to which paths are related; default the log's parent. `encryption`: what
   *   opens an encrypted log; `keysOf` the same, for who has the keys.
   */
  constructor(logPath: string, options: { watchPath?: string; encryption?: EncryptionOptions; keysOf?: KeysOf } = {}) {
    const { encryption = {} } = options;
    this.#keysOf = options.keysOf ?? keysWith(() => secretOf(encryption));
    this.logPath = resolve(logPath);
    this.watchPath = resolve(options.watchPath ?? dirname(this.logPath));
  }

  /** The view, read up to the present end of the log. */
  async view(): Promise<LogView> {
    if (this.#view === undefined) {
      this.#view = this.#open();
      this.#view.catch(() => (this.#view = undefined));
      return this.#view;
    }
    const view = await this.#view;
    await view.refresh();
    return view;
  }

  async #open(): Promise<LogView> {
    return LogView.open({ dir: this.logPath, keys: await this.#keysOf(this.logPath) }, this.watchPath);
  }

  /** Every file the log has seen, by path. */
  async listFiles(): Promise<LoggedFile[]> {
    const view = await this.view();
    const tree = view.tree();
    const found = new Map<string, { versions: number; latest: Change }>();
    for (const change of view.changes) {
      if (change.type === 'directory') continue;
      const entry = found.get(change.path);
      found.set(change.path, {
        versions: (entry?.versions ?? 0) + (change.kind === 'deleted' ? 0 : 1),
        latest: change
      });
    }
    return [...found]
      .map(([path, { versions, latest }]) => ({
        path: displayPath(path),
        versions,
        exists: tree.has(path),
        latest: changeToJson(latest)
      }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** Changes of one path, newest first. Paths relative to the working directory or to the workspace. */
  async getFileHistory(path: string): Promise<ChangeJson[]> {
    const view = await this.view();
    return view.history(view.pathOf(path, process.cwd())).map(changeToJson);
  }

  /** A version by id, unique prefix, or `PATH@T`. Throws VERSION_NOT_FOUND. */
  async getVersion(version: string): Promise<ChangeJson> {
    return changeToJson((await this.view()).version(version, process.cwd()));
  }

  /** The content of a version. Throws VERSION_HAS_NO_CONTENT, LOG_DAMAGED. */
  async readVersion(version: string): Promise<Buffer> {
    const view = await this.view();
    // The caller may do with it as he likes.
    return Buffer.from(await view.reader.contentBytes(view.version(version, process.cwd())));
  }

  /** Writes a version to a file, atomically. An existing file that differs is only replaced with `force`. */
  async restoreVersion(version: string, restorePath: string, options: { force?: boolean } = {}): Promise<void> {
    const view = await this.view();
    // Contents of an encrypted log go nowhere but to where they were asked for.
    const staged = view.reader.keys === undefined ? { stagingDir: tmpdir() } : {};
    await restoreVersion(
      { root: this.watchPath, log: view.reader, recorder: NOT_RECORDING, ...staged },
      view.version(version, process.cwd()),
      { toAbsolute: resolve(restorePath), ...(options.force !== undefined && { force: options.force }) }
    );
  }

  async getStats(): Promise<Stats> {
    const view = await this.view();
    const counts = new LogCounts();
    for (const change of view.changes) counts.add(change);
    return statsOf(counts, trackedFiles(view.tree()), await view.reader.storedBytes());
  }

  async close(): Promise<void> {
    const view = await this.#view?.catch(() => undefined);
    this.#view = undefined;
    await view?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Outside a workspace nothing is recorded before a restore; what stands there is then only replaced when forced. */
const NOT_RECORDING: RecordingBeforeRestore = {
  tree: new Map(),
  captureNow: () => Promise.resolve([]),
  expect: () => () => undefined
};
