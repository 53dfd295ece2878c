/**
 * The public watcher classes. `BaseWatcher` is what an integrator extends to add a watcher of their own;
 * `AppendOnlyLogWatcher` records a directory into an append-only log and answers about it.
 */
import { EventEmitter } from 'node:events';
import { resolve } from 'node:path';
import type { RestoreResult, Stats } from '../api/contract.ts';
import type { WatcherChoice } from '../capture/hints/registry.ts';
import { changeToJson, versionId, type Change, type ChangeJson } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { absolute, type RestoreOutcome } from './restore.ts';
import { dispatchEvent, type EventHandler, type FileEvent } from './event-handler.ts';
import { keysWith, openEncryption, type EncryptionOptions } from './encryption.ts';
import { LogExplorer } from './explorer.ts';
import { LogMirror } from './log-mirror.ts';
import { LogStorage } from './log-storage.ts';
import { workspacePath } from './log-view.ts';
import { checkRoot, defaultLogDir, Workspace } from './workspace.ts';
import { verifyMessage, type Verified } from '../messages/inspect.ts';
import type { OpenArchiveOptions } from '../messages/read-archive.ts';
import { exportMessage, type ExportedMessage, type ExportOptions } from './export-message.ts';
import { importMessage, type ImportOptions } from './import-message.ts';
import { displayPath } from '../core/path-name.ts';
import { FsStorage } from '../storage/fs.ts';
import type { Storage } from '../storage/storage.ts';

export interface BaseWatcherOptions {
  /** Directory to watch. */
  readonly watchPath: string;
  /** gitignore syntax, relative to `watchPath`; added to the defaults and to `.syftignore`. */
  readonly excludePatterns?: readonly string[];
  /** Called for every change once it is durable. */
  readonly eventHandler?: EventHandler;
  /** Say on stderr what is recorded. */
  readonly verbose?: boolean;
}

export interface WatcherOptions extends BaseWatcherOptions {
  /**
   * Log directory; default `<watchPath>/.syft-sync`. A list: the first is the log, the others, directories or storages, are copies
   * that are kept equal to it.
   */
  readonly logPath?: string | readonly [string, ...(string | Storage)[]] | readonly string[];
  /** Files over this many bytes are recorded by name, size and hash only. Default 1 GiB. */
  readonly maxContentBytes?: number;
  /** Milliseconds between full scans. Default 45,000. */
  readonly scanIntervalMs?: number;
  /**
   * Where word of changes comes from: `auto`, `fs-watch`, `chokidar`, `parcel`, `polling`, `none`, a name given to
   * {@link registerWatcher}, the path of a module that exports `createWatcher`, or a source. Default `auto`. Whatever it
   * misses the next scan finds.
   */
  readonly watcher?: WatcherChoice;
  /**
   * Encrypts the log. One that is not there yet is begun encrypted; one that is opens with this, and one that is plain is refused.
   * Default: a new log is plain.
   */
  readonly encryption?: EncryptionOptions;
}

export interface RestoreVersionOptions {
  /** The file whose version is restored, and the target unless `restorePath` is given. */
  readonly filePath: string;
  readonly versionId: string;
  readonly restorePath?: string;
  /** Replace even what cannot be recorded first. */
  readonly force?: boolean;
}

interface WatcherEvents {
  event: [FileEvent];
  problem: [{ path?: string; code: string; message: string }];
}

/** A watcher: starts, stops, and hands durable events to a handler, in order. Extend it to add a watcher type. */
export abstract class BaseWatcher extends EventEmitter<WatcherEvents> implements AsyncDisposable {
  readonly watchPath: string;
  readonly excludePatterns: readonly string[];
  readonly verbose: boolean;
  readonly #handler: EventHandler | undefined;
  #queue: Promise<void> = Promise.resolve();

  constructor(options: BaseWatcherOptions) {
    super();
    this.watchPath = resolve(options.watchPath);
    this.excludePatterns = options.excludePatterns ?? [];
    this.verbose = options.verbose ?? false;
    this.#handler = options.eventHandler;
  }

  abstract start(): Promise<void>;
  protected abstract shutDown(): Promise<void>;

  /** Stops; resolves when everything seen is durable and every handler has returned. */
  async stop(): Promise<void> {
    await this.shutDown();
    await this.#queue;
  }

  /** For subclasses: an event is durable; hand it on. */
  protected deliver(event: FileEvent): void {
    if (this.verbose) {
      process.stderr.write(`${event.timestamp.toISOString()} ${event.type} ${event.destPath ?? event.srcPath}\n`);
    }
    this.emit('event', event);
    const handler = this.#handler;
    if (handler === undefined) return;
    this.#queue = this.#queue
      .then(() => dispatchEvent(handler, event))
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        this.emit('problem', {
          code: 'INTERNAL',
          path: event.srcPath,
          message: `The event handler failed: ${message}`
        });
      });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/**
 * Records every change below a directory into an append-only log.
 *
 * @example
 * await using watcher = new AppendOnlyLogWatcher({ watchPath: './data', logPath: './data_log' });
 * await watcher.start();
 */
export class AppendOnlyLogWatcher extends BaseWatcher {
  readonly logPath: string;
  readonly #options: WatcherOptions;
  readonly #copies: readonly (string | Storage)[];
  #mirrors: LogMirror[] = [];
  #workspace: Workspace | undefined;
  #storage: LogStorage | undefined;
  #lastStats: Stats | undefined;

  constructor(options: WatcherOptions | string, more: Omit<WatcherOptions, 'watchPath'> = {}) {
    const whole = typeof options === 'string' ? { ...more, watchPath: options } : options;
    super(whole);
    this.#options = whole;
    const [first, ...others] = typeof whole.logPath === 'string' ? [whole.logPath] : (whole.logPath ?? []);
    this.logPath = first === undefined ? defaultLogDir(this.watchPath) : resolve(first);
    this.#copies = others.map(place => (typeof place === 'string' ? resolve(place) : place));
  }

  /**
   * Records the present state and everything from then on.
   *
   * @throws SyftError WATCH_PATH_*, LOG_PATH_NOT_DIRECTORY, LOG_LOCKED, LOG_NEWER_FORMAT, LOG_ENCRYPTED, PASSPHRASE_WRONG, KEY_*,
   *   DISK_*.
   */
  async start(): Promise<void> {
    if (this.#workspace !== undefined) return;
    const options = this.#options;
    const keys = await this.#keys();
    const workspace = await Workspace.open({
      root: this.watchPath,
      logDir: this.logPath,
      ...(keys !== undefined && { keys }),
      excludePatterns: [...this.excludePatterns, ...this.#mirrorExcludes()],
      ...(options.maxContentBytes !== undefined && { maxContentBytes: options.maxContentBytes }),
      ...(options.scanIntervalMs !== undefined && { scanIntervalMs: options.scanIntervalMs }),
      ...(options.watcher !== undefined && { hints: options.watcher }),
      holder: { command: 'library' }
    });
    try {
      this.#mirrors = this.#copies.map(place => new LogMirror(workspace.logDir, place));
      for (const mirror of this.#mirrors) mirror.on('problem', problem => this.emit('problem', problem));
      workspace.on('change', change => {
        this.deliver(fileEvent(workspace.root, change));
        for (const mirror of this.#mirrors) mirror.wake();
      });
      workspace.on('problem', problem => this.emit('problem', problem));
      await workspace.start();
      for (const mirror of this.#mirrors) mirror.wake();
      this.#workspace = workspace;
    } catch (error) {
      await workspace.close();
      throw error;
    }
  }

  /** Keys of the log; begins it where it is to be encrypted and is not there. */
  async #keys(): Promise<LogKeys | undefined> {
    const { encryption } = this.#options;
    if (encryption === undefined) return keysWith(() => undefined)(this.logPath);
    await checkRoot(this.watchPath);
    return openEncryption(this.logPath, encryption);
  }

  #mirrorExcludes(): string[] {
    return this.#copies
      .map(place => (place instanceof FsStorage ? place.location : place))
      .filter(place => typeof place === 'string')
      .filter(path => path.startsWith(`${this.watchPath}/`))
      .map(path => `/${path.slice(this.watchPath.length + 1).replace(/[\\*?[\]!# ]/g, '\\$&')}/`);
  }

  protected async shutDown(): Promise<void> {
    const workspace = this.#workspace;
    if (workspace === undefined) return;
    this.#workspace = undefined;
    await workspace.recorder.flush().catch(() => undefined);
    this.#lastStats = await workspace.stats();
    await workspace.close();
    for (const mirror of this.#mirrors) await mirror.stop();
    this.#mirrors = [];
    await this.#storage?.close();
    this.#storage = undefined;
  }

  /** Returns when the state every file had when it was called is recorded and durable. */
  async flush(): Promise<void> {
    await this.#running().flush();
  }

  #running(): Workspace {
    if (this.#workspace === undefined) throw new SyftError('NOT_RUNNING', 'The watcher is not started.');
    return this.#workspace;
  }

  /** The log, for reading; works before, while and after recording. */
  get storage(): LogStorage {
    const { encryption } = this.#options;
    this.#storage ??= new LogStorage(this.logPath, {
      watchPath: this.watchPath,
      ...(encryption !== undefined && { encryption })
    });
    return this.#storage;
  }

  /** Changes of one file, newest first, followed back across moves. Throws PATH_NOT_FOUND. */
  async getFileHistory(filePath: string): Promise<ChangeJson[]> {
    if (this.#workspace !== undefined) await this.#workspace.log.drain();
    return this.storage.getFileHistory(resolve(filePath));
  }

  /**
   * Puts a version back, atomically; inside the watched directory what stood there is recorded first.
   *
   * @throws SyftError VERSION_NOT_FOUND, VERSION_HAS_NO_CONTENT, RESTORE_ONTO_DIRECTORY, RESTORE_NOT_RECORDED, DISK_*.
   */
  async restoreVersion(options: RestoreVersionOptions): Promise<RestoreResult> {
    const target = resolve(options.restorePath ?? options.filePath);
    const inside = target.startsWith(`${this.watchPath}/`);
    return this.#withWorkspace(async workspace => {
      const version = await workspace.findVersion(options.versionId);
      const outcome = await workspace.restoreTo(version, {
        ...(inside ? { to: workspacePath(this.watchPath, target, '/') } : { toAbsolute: target }),
        ...(options.force !== undefined && { force: options.force })
      });
      return restoreResult(outcome);
    });
  }

  /** Runs with the open workspace, or opens the log for as long as it takes. */
  async #withWorkspace<T>(work: (workspace: Workspace) => Promise<T>): Promise<T> {
    if (this.#workspace !== undefined) return work(this.#workspace);
    const keys = await this.#keys();
    await using workspace = await Workspace.open({
      root: this.watchPath,
      logDir: this.logPath,
      ...(keys !== undefined && { keys }),
      excludePatterns: this.excludePatterns,
      hints: 'none'
    });
    // Awaited here: what is returned as a promise would go on behind the closing of the workspace.
    return await work(workspace);
  }

  /** What was recorded: counts of changes by kind, versions, files, bytes, run time. */
  async getStats(): Promise<Stats> {
    if (this.#workspace !== undefined) return this.#workspace.stats();
    return this.#lastStats ?? this.storage.getStats();
  }

  /** The interactive explorer, on this terminal or on the streams given. */
  async exploreLog(streams: ConstructorParameters<typeof LogExplorer>[1] = {}): Promise<void> {
    await new LogExplorer(this.storage, streams).run();
  }

  /** The SyftMessages of a file: what each of its versions says as a message, newest first. Throws PATH_NOT_FOUND. */
  async getAllSyftMessages(filePath: string): Promise<SyftMessageSummary[]> {
    return (await this.getFileHistory(filePath)).map(summaryOf);
  }

  /**
   * What a version says as a message.
   *
   * @param version A version id, a unique beginning of one, or `PATH@T`.
   * @throws SyftError VERSION_NOT_FOUND, VERSION_AMBIGUOUS, PATH_NOT_FOUND.
   */
  async getSyftMessage(version: string): Promise<SyftMessageSummary> {
    if (this.#workspace !== undefined) await this.#workspace.log.drain();
    return summaryOf(changeToJson((await this.storage.view()).version(version, process.cwd())));
  }

  /**
   * Writes versions as one SyftMessage archive.
   *
   * @param versions One of each file.
   * @throws SyftError VERSION_NOT_FOUND, VERSION_HAS_NO_CONTENT, BAD_REQUEST, DISK_*.
   */
  async exportSyftArchive(
    versions: string | readonly string[],
    outFile: string,
    options: ExportOptions = {}
  ): Promise<ExportedMessage> {
    if (this.#workspace !== undefined) await this.#workspace.log.drain();
    const view = await this.storage.view();
    const named = typeof versions === 'string' ? [versions] : versions;
    return exportMessage(
      { logDir: this.logPath, log: view.reader, keys: await this.#keys() },
      named.map(version => view.version(version, process.cwd())),
      outFile,
      options
    );
  }

  /** What a SyftMessage archive is, what is proven of it and what it only claims. Writes nothing. */
  verifySyftArchive(archive: string, options: OpenArchiveOptions = {}): Promise<Verified> {
    return verifyMessage(resolve(archive), options);
  }

  /**
   * Verifies a SyftMessage archive whole, then writes its files into the watched directory and records them.
   * A file that stands in the way is recorded first.
   *
   * @param options `to`: a folder that they go below; `trust`: believe a sender who is not known yet.
   * @returns The changes it made.
   * @throws SyftError ARCHIVE_INVALID, SENDER_UNKNOWN, SENDER_CHANGED and nothing is written; RESTORE_NOT_RECORDED.
   */
  async importSyftArchive(archive: string, options: ImportOptions = {}): Promise<readonly ChangeJson[]> {
    return this.#withWorkspace(async workspace => (await importMessage(workspace, resolve(archive), options)).changes);
  }

  /** Writes the content that a version's SyftMessage carries to a file. */
  async restoreFromSyft(version: string, restorePath: string): Promise<void> {
    const found = (await this.storage.view()).version(version, process.cwd());
    await this.restoreVersion({ filePath: displayPath(found.path), versionId: versionId(found), restorePath });
  }
}

/** What a version says as a message. */
export interface SyftMessageSummary {
  readonly versionId: string;
  readonly eventType: 'file_created' | 'file_modified' | 'file_deleted' | 'file_moved';
  readonly filePath: string;
  readonly timestamp: string;
  readonly size?: number;
  readonly hash?: string;
}

function summaryOf(change: ChangeJson): SyftMessageSummary {
  return {
    versionId: change.versionId,
    eventType: `file_${change.kind}`,
    filePath: change.path,
    timestamp: change.at,
    ...(change.size !== undefined && { size: change.size }),
    ...(change.hash !== undefined && { hash: change.hash })
  };
}

/** The name under which the original offered the watcher with messages; every version can be sent as one. */
export class SyftAppendOnlyLogWatcher extends AppendOnlyLogWatcher {}

function restoreResult(outcome: RestoreOutcome): RestoreResult {
  return {
    path: displayPath(outcome.path),
    versionId: versionId(outcome.version),
    unchanged: outcome.unchanged,
    created: outcome.created,
    ...(outcome.replaced !== undefined && { replaced: versionId(outcome.replaced) }),
    ...(outcome.change !== undefined && { change: changeToJson(outcome.change) })
  };
}

function fileEvent(root: string, change: Change): FileEvent {
  const at = (path: string): string => absolute(root, path).toString();
  return {
    type: change.kind,
    srcPath: at(change.kind === 'moved' && change.from !== undefined ? change.from : change.path),
    ...(change.kind === 'moved' && { destPath: at(change.path) }),
    isDirectory: change.type === 'directory',
    timestamp: new Date(change.at / 1000),
    ...(change.size !== undefined && { size: change.size }),
    ...(change.hash !== undefined && { hash: `sha256:${change.hash}` }),
    versionId: versionId(change),
    change: changeToJson(change)
  };
}
