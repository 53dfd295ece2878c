/**
 * The workspace behind a sidecar, through all that may happen to it: not opened yet, too much to record unasked, recorded
 * by another process, out of order, recording. History is answered in each of these states in which there is a log.
 */
import { EventEmitter } from 'node:events';
import { resolve } from 'node:path';
import type {
  EraseRequest,
  EraseResult,
  ImportRequest,
  ImportResult,
  MarkRequest,
  MarkResult,
  CompactRequest,
  CompactResult,
  PruneRequest,
  PruneResult,
  RemoveRequest,
  RemoveResult,
  RestoreRequest,
  RestoreResult,
  Status
} from './contract.ts';
import { CurrentIndex } from './current-index.ts';
import {
  checkFolders,
  countFiles,
  loadFolders,
  MAX_FILES_UNASKED,
  placeNeedsChoice,
  saveFolders,
  topFolders
} from './chosen-folders.ts';
import type { MessageHost } from './message-service.ts';
import type { ApiLogger } from './server.ts';
import type { CaptureCounts, ServiceStatus, WorkspaceService } from './service.ts';
import { comparePlaces } from '../index/history-queries.ts';
import { compareChanges, type Change } from '../core/change.ts';
import { SyftError, type ErrorCode } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import { applyChange, type ReadonlyTree, type Tree } from '../core/tree.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { ChangeIndex, type HistoryIndex } from '../index/change-index.ts';
import { ReplayQueries } from '../index/replay-queries.ts';
import {
  checkRoot,
  defaultLogDir,
  LogCounts,
  trackedFiles,
  Workspace,
  type WorkspaceOptions
} from '../library/workspace.ts';
import { NOTHING_SAID, saidIn, type Said } from '../library/said.ts';
import { VERSION } from '../library/version.ts';
import { isLogDirectory } from '../log/format-file.ts';
import { readLockHolder } from '../log/lock.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openLogReader } from '../log/log.ts';
import type { OpenReader } from '../log/types.ts';
import { join } from 'node:path';

export interface SidecarServiceOptions {
  readonly root: string;
  /** Default `<root>/.syft-sync`. */
  readonly logDir?: string | undefined;
  readonly excludePatterns?: readonly string[] | undefined;
  /** Folders to record; when given nothing is asked and nothing remembered. */
  readonly include?: readonly string[] | undefined;
  /** Bytes; see {@link WorkspaceOptions}. */
  readonly maxContentBytes?: number | undefined;
  readonly scanIntervalMs?: number | undefined;
  /** More files than this are not recorded unasked. Default 200,000. */
  readonly maxFiles?: number | undefined;
  readonly hints?: WorkspaceOptions['hints'];
  readonly holder?: WorkspaceOptions['holder'];
  /** Keys of an encrypted log, asked for whenever it is opened; it may begin one. `undefined`: the log is plain. */
  readonly openKeys?: (() => Promise<LogKeys | undefined>) | undefined;
  /** Where choices are remembered. Default: the installation's configuration. */
  readonly configDir?: string | undefined;
  readonly logger: ApiLogger;
  /** Milliseconds between looks at a log that another process records. Default 500. */
  readonly pollMs?: number | undefined;
  /** Milliseconds before what failed is tried again. Default 5,000. */
  readonly retryMs?: number | undefined;
}

interface ServiceEvents {
  change: [Change];
  status: [];
  said: [];
  messages: [];
}

interface Reading {
  readonly reader: OpenReader;
  readonly tree: Tree;
  readonly counts: LogCounts;
  index: ReplayQueries;
  /** For SQL, in memory, made when it is asked for. */
  sql: ChangeIndex | undefined;
  /** Acts that were there at the last look. */
  acts: number;
}

/** See the file's first lines. */
export class SidecarService extends EventEmitter<ServiceEvents> implements WorkspaceService, MessageHost {
  readonly root: string;
  readonly index = new CurrentIndex();
  readonly #options: SidecarServiceOptions;
  readonly #startedAt = new Date().toISOString();
  #logDir: string;
  #state: Status['state'] = 'starting';
  #error: Status['error'];
  #setup: Status['setup'];
  #include: readonly string[] | undefined;
  #progress: Status['progress'];
  #workspace: Workspace | undefined;
  #changeIndex: ChangeIndex | undefined;
  #reading: Reading | undefined;
  #storedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #counting: AbortController | undefined;
  /** Opening, choosing and closing come one after the other. */
  #steps: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: SidecarServiceOptions) {
    super();
    this.#options = options;
    this.root = resolve(options.root);
    this.#logDir = resolve(options.logDir ?? defaultLogDir(this.root));
  }

  get logDir(): string {
    return this.#logDir;
  }

  /** Begins; never rejects. What comes of it is in `status`. */
  start(): Promise<void> {
    return this.#step(() => this.#open());
  }

  #step(work: () => Promise<void>): Promise<void> {
    const result = this.#steps.then(work);
    this.#steps = result.catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'a step of the sidecar failed');
    });
    return result;
  }

  #set(state: Status['state'], more: { error?: unknown; setup?: Status['setup'] } = {}): void {
    this.#state = state;
    this.#setup = more.setup;
    this.#error = more.error === undefined ? undefined : describe(more.error);
    this.emit('status');
  }

  // ---- opening ------------------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    if (this.#closed) return;
    const options = this.#options;
    const maxFiles = options.maxFiles ?? MAX_FILES_UNASKED;
    let root: string;
    try {
      root = await checkRoot(this.root);
      if (options.logDir === undefined) this.#logDir = defaultLogDir(root);
    } catch (error) {
      await this.#failed(error);
      return;
    }
    const chosen = options.include ?? loadFolders(this.#configDir(), root);
    const all = chosen === undefined || chosen.includes('.');
    this.#include = all ? undefined : chosen;
    if (chosen === undefined) {
      const place = await placeNeedsChoice(root);
      if (place !== undefined) return this.#ask(root, place);
      // Asked before the first byte of a log is written; later the recorder counts as it scans.
      if (!isLogDirectory(this.#logDir) && (await this.#count(root, maxFiles)) > maxFiles) {
        return this.#ask(root, 'too-many-files');
      }
    }
    let workspace: Workspace;
    try {
      const keys = await options.openKeys?.();
      workspace = await Workspace.open({
        root,
        logDir: this.#logDir,
        ...(keys !== undefined && { keys }),
        ...(this.#include !== undefined && { include: this.#include }),
        ...(chosen === undefined && { maxFiles }),
        ...(options.excludePatterns !== undefined && { excludePatterns: options.excludePatterns }),
        ...(options.maxContentBytes !== undefined && { maxContentBytes: options.maxContentBytes }),
        ...(options.scanIntervalMs !== undefined && { scanIntervalMs: options.scanIntervalMs }),
        ...(options.hints !== undefined && { hints: options.hints }),
        ...(options.holder !== undefined && { holder: options.holder }),
        startsAtOnce: true,
        logger: this.#recorderLogger()
      });
    } catch (error) {
      await this.#failed(error);
      return;
    }
    await this.#record(workspace);
  }

  /** The workspace is ours: it takes the place of what was read until now, and begins to record. */
  async #record(workspace: Workspace): Promise<void> {
    const { logger } = this.#options;
    const index = ChangeIndex.open({
      dir: join(workspace.logDir, 'index'),
      log: workspace.log,
      ...(workspace.keys !== undefined && { keys: workspace.keys }),
      logger,
      onStatus: () => this.emit('status')
    });
    const known = this.#reading?.index.last;
    this.#workspace = workspace;
    this.#changeIndex = index;
    workspace.on('change', change => {
      index.add(change);
      this.emit('change', change);
    });
    workspace.on('status', () => this.emit('status'));
    workspace.on('said', () => this.emit('said'));
    workspace.on('problem', problem =>
      logger.warn({ code: problem.code }, 'something could not be recorded as it should')
    );
    this.index.use(index);
    await this.#stopReading();
    this.#set('recording');
    if (known !== undefined) await this.#announceSince(workspace, known);
    // The first pass may take minutes; commands and questions go on meanwhile.
    void this.#first(workspace);
  }

  /** What the other process recorded between our last look and our taking over. */
  async #announceSince(workspace: Workspace, known: Parameters<typeof comparePlaces>[1]): Promise<void> {
    for await (const change of workspace.log.changes()) {
      if (comparePlaces(change, known) > 0) this.emit('change', change);
    }
  }

  async #first(workspace: Workspace): Promise<void> {
    const started = performance.now();
    try {
      const { files } = await workspace.start({
        onProgress: progress => {
          this.#progress = progress;
          this.emit('status');
        }
      });
      this.#options.logger.info({ files, ms: Math.round(performance.now() - started) }, 'recording');
      this.emit('status');
      void this.#changeIndex?.warm();
    } catch (error) {
      if (this.#closed || this.#workspace !== workspace) return;
      await this.#step(async () => {
        if (this.#closed || this.#workspace !== workspace) return;
        await this.#stopRecording();
        if (error instanceof SyftError && error.code === 'SETUP_NEEDED') {
          await this.#ask(workspace.root, 'too-many-files');
        } else await this.#failed(error);
      });
    } finally {
      this.#progress = undefined;
    }
  }

  /** It cannot be recorded now: history is answered where there is one, and it is tried again. */
  async #failed(error: unknown): Promise<void> {
    const code = describe(error).code;
    const locked = code === 'LOG_LOCKED';
    if (this.#error?.code !== code) {
      this.#options.logger.warn({ code, err: locked ? undefined : error }, 'not recording');
    }
    await this.#startReading();
    this.#set(locked ? 'read-only' : 'error', { error });
    if (this.#reading === undefined) this.index.refuse(error instanceof SyftError ? error : notRunning());
    this.#again(locked ? (this.#options.pollMs ?? 500) : (this.#options.retryMs ?? 5000), locked);
  }

  #again(delay: number, locked: boolean): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.#step(async () => {
        if (this.#closed || this.#workspace !== undefined || this.#state === 'setup-needed') return;
        await this.#poll();
        const holder = locked ? await readLockHolder(this.#logDir).catch(() => undefined) : undefined;
        if (holder === undefined) await this.#open();
        else this.#again(delay, true);
      });
    }, delay);
  }

  // ---- reading what another process records ---------------------------------------------------------------------------

  async #startReading(): Promise<void> {
    if (this.#reading !== undefined) return;
    let reader: OpenReader | undefined;
    try {
      // Reads what is there, and begins nothing.
      const keys = isLogDirectory(this.#logDir) ? await this.#options.openKeys?.() : undefined;
      reader = await openLogReader({ dir: this.#logDir, keys });
      const reading: Reading = {
        reader,
        tree: new Map(),
        counts: new LogCounts(),
        index: new ReplayQueries(),
        sql: undefined,
        acts: 0
      };
      const changes: Change[] = [];
      for await (const change of reader.changes()) changes.push(change);
      await this.#take(reading, changes);
      await reader.searchActs();
      reading.acts = reader.acts().length;
      this.#reading = reading;
      this.index.use(asIndex(reading));
    } catch (error) {
      await reader?.close();
      this.#options.logger.debug({ code: describe(error).code }, 'there is no log to read');
    }
  }

  async #take(reading: Reading, changes: readonly Change[]): Promise<void> {
    const [first] = changes;
    const { last } = reading.index;
    if (first !== undefined && last !== undefined && comparePlaces(first, last) < 0) {
      // Another device's changes came in between: the fold starts over.
      const all: Change[] = [];
      for await (const change of reading.reader.changes()) all.push(change);
      reading.tree.clear();
      for (const change of all) applyChange(reading.tree, change);
      reading.index = await ReplayQueries.of(all);
      await reading.sql?.close();
      reading.sql = undefined;
    } else {
      for (const change of changes) applyChange(reading.tree, change);
      await reading.index.apply(changes);
    }
    for (const change of changes) {
      reading.counts.add(change);
      reading.sql?.add(change);
    }
  }

  async #poll(): Promise<void> {
    const reading = this.#reading;
    if (reading === undefined) {
      await this.#startReading();
      return;
    }
    try {
      const changes = (await reading.reader.refresh()).sort(compareChanges);
      const acts = reading.reader.acts().length;
      if (acts !== reading.acts) this.emit('said');
      reading.acts = acts;
      if (changes.length === 0) return;
      await this.#take(reading, changes);
      this.#storedBytes = await reading.reader.storedBytes();
      for (const change of changes) this.emit('change', change);
      this.emit('status');
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'the log could not be read again');
    }
  }

  async #stopReading(): Promise<void> {
    const reading = this.#reading;
    this.#reading = undefined;
    await reading?.sql?.close();
    await reading?.reader.close();
  }

  async #stopRecording(): Promise<void> {
    const workspace = this.#workspace;
    const index = this.#changeIndex;
    this.#workspace = undefined;
    this.#changeIndex = undefined;
    this.index.hold();
    // The recorder's last changes still reach the index and those who listen.
    await workspace
      ?.close()
      .catch((error: unknown) => this.#options.logger.error({ err: error }, 'the log could not be closed in order'));
    workspace?.removeAllListeners();
    await index?.close();
  }

  // ---- choosing folders ---------------------------------------------------------------------------------------------

  #configDir(): string {
    return this.#options.configDir ?? configurationDirectory();
  }

  async #count(root: string, limit: number): Promise<number> {
    return countFiles(root, '', { excludePatterns: this.#options.excludePatterns, limit });
  }

  async #ask(root: string, reason: NonNullable<Status['setup']>['reason']): Promise<void> {
    const folders = (await topFolders(root)).map((path): { path: string; files?: number } => ({ path }));
    await this.#startReading();
    this.#set('setup-needed', { setup: { reason, folders } });
    if (this.#reading === undefined) {
      this.index.refuse(new SyftError('SETUP_NEEDED', 'Choose first which folders to record.'));
    }
    void this.#countFolders(root, reason, folders);
  }

  /** Says beside each folder how much it holds, as it is counted. */
  async #countFolders(
    root: string,
    reason: NonNullable<Status['setup']>['reason'],
    folders: readonly { path: string; files?: number }[]
  ): Promise<void> {
    this.#counting?.abort();
    const counting = new AbortController();
    this.#counting = counting;
    const limit = this.#options.maxFiles ?? MAX_FILES_UNASKED;
    const counted = [...folders];
    for (const [i, { path }] of folders.entries()) {
      const files = await countFiles(root, path, {
        excludePatterns: this.#options.excludePatterns,
        limit,
        signal: counting.signal
      }).catch(() => undefined);
      if (counting.signal.aborted || this.#state !== 'setup-needed') return;
      if (files !== undefined) counted[i] = { path, files };
      this.#setup = { reason, folders: [...counted] };
      this.emit('status');
    }
  }

  async setup(folders: string[]): Promise<void> {
    if (this.#options.include !== undefined) {
      throw new SyftError('BAD_REQUEST', 'The folders to record were given when this sidecar was started.');
    }
    const root = await checkRoot(this.root);
    const chosen = await checkFolders(root, folders);
    await this.#step(async () => {
      if (this.#closed) throw notRunning();
      saveFolders(this.#configDir(), root, chosen);
      this.#counting?.abort();
      clearTimeout(this.#timer);
      await this.#stopRecording();
      this.#set('starting');
      await this.#open();
    });
  }

  // ---- what the API asks --------------------------------------------------------------------------------------------

  get tree(): ReadonlyTree {
    return this.#workspace?.tree ?? this.#reading?.tree ?? new Map();
  }

  get log(): Pick<OpenReader, 'content' | 'storedBytes' | 'workspaceId'> {
    return this.reader;
  }

  /** The log, with all that can be read in it. Throws while there is none. */
  get reader(): OpenReader {
    const log = this.#workspace?.log ?? this.#reading?.reader;
    if (log === undefined) throw this.#refusal();
    return log;
  }

  /** Of an encrypted log. */
  get keys(): LogKeys | undefined {
    return this.#workspace?.keys ?? this.#reading?.reader.keys;
  }

  async said(): Promise<Said> {
    const log = this.#workspace?.log ?? this.#reading?.reader;
    if (log === undefined) return NOTHING_SAID;
    return saidIn(log);
  }

  /** Why nothing can be done to the workspace now. */
  #refusal(): SyftError {
    if (this.#state === 'setup-needed') return new SyftError('SETUP_NEEDED', 'Choose first which folders to record.');
    if (this.#error !== undefined) return new SyftError(this.#error.code as ErrorCode, this.#error.message);
    return notRunning();
  }

  #recording(): Workspace {
    if (this.#workspace === undefined) throw this.#refusal();
    return this.#workspace;
  }

  get isRecording(): boolean {
    return this.#workspace !== undefined;
  }

  /** Throws why nothing can be done to the workspace now. */
  recording(): Workspace {
    return this.#recording();
  }

  messagesChanged(): void {
    this.emit('messages');
  }

  status(): ServiceStatus {
    const workspace = this.#workspace;
    if (workspace !== undefined) {
      const status = workspace.status();
      return {
        ...status,
        startedAt: this.#startedAt,
        ...(status.state === 'starting' && this.#progress !== undefined && { progress: this.#progress })
      };
    }
    const reading = this.#reading;
    return {
      version: VERSION,
      pid: process.pid,
      state: this.#state,
      root: this.root,
      logDir: this.#logDir,
      ...(reading !== undefined && { workspaceId: reading.reader.workspaceId }),
      startedAt: this.#startedAt,
      pending: 0,
      files: reading === undefined ? 0 : trackedFiles(reading.tree),
      versions: reading?.counts.versions ?? 0,
      contentBytes: reading?.counts.contentBytes ?? 0,
      storedBytes: this.#storedBytes,
      skipped: 0,
      ...(this.#error !== undefined && { error: this.#error }),
      ...(this.#setup !== undefined && { setup: this.#setup }),
      ...(this.#include !== undefined && { include: [...this.#include] })
    };
  }

  async flush(): Promise<void> {
    await this.#recording().flush();
  }

  async capture(): Promise<CaptureCounts> {
    return this.#recording().capture();
  }

  pause(): void {
    this.#recording().pause();
  }

  resume(): void {
    this.#recording().resume();
  }

  async restore(request: RestoreRequest): Promise<RestoreResult> {
    return this.#recording().restore(request);
  }

  async mark(request: MarkRequest): Promise<MarkResult> {
    return this.#recording().mark(request);
  }

  async prune(request: PruneRequest): Promise<PruneResult> {
    return this.#recording().prune(request);
  }

  async compact(request: CompactRequest): Promise<CompactResult> {
    return this.#recording().compact(request);
  }

  async erase(request: EraseRequest): Promise<EraseResult> {
    return this.#recording().erase(request);
  }

  async importMessage(request: ImportRequest): Promise<ImportResult> {
    return this.#recording().importMessage(request);
  }

  async remove(request: RemoveRequest): Promise<RemoveResult> {
    return this.#recording().remove(request);
  }

  isRecorded(path: PathName): boolean {
    return this.#workspace?.isRecorded(path) ?? this.tree.has(path);
  }

  /** Records what is pending, closes the log, and ends. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#counting?.abort();
    await this.#step(async () => {
      await this.#stopRecording();
      await this.#stopReading();
      this.index.refuse(notRunning());
      this.#set('stopped');
    });
  }

  #recorderLogger(): NonNullable<WorkspaceOptions['logger']> {
    const { logger } = this.#options;
    return {
      debug: (message, details = {}) => logger.debug(details, message),
      info: (message, details = {}) => logger.info(details, message),
      warn: (message, details = {}) => logger.warn(details, message),
      error: (message, details = {}) => logger.error(details, message)
    };
  }
}

function notRunning(): SyftError {
  return new SyftError('NOT_RUNNING', 'The recorder is not running yet; try again in a moment.');
}

/** Said to who sits before JupyterLab, not before a command line. */
const NEEDS_PASSPHRASE =
  'The history of this folder is encrypted. Start JupyterLab with its passphrase in SYFT_SYNC_PASSPHRASE, or name a file that holds it: c.SyftSync.passphrase_file, or SYFT_SYNC_PASSPHRASE_FILE.';

function describe(error: unknown): { code: string; message: string } {
  if (error instanceof SyftError && error.code === 'LOG_ENCRYPTED') {
    return { code: error.code, message: NEEDS_PASSPHRASE };
  }
  if (error instanceof SyftError && error.code === 'PASSPHRASE_WRONG') {
    const message = `${error.message} Start JupyterLab again with the right one, or correct the passphrase file: it is read again at once.`;
    return { code: error.code, message };
  }
  if (error instanceof SyftError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL', message: 'Something went wrong inside Syft Sync; its log says what.' };
}

/** Replay as the index of what is read: always as new as the last look at the log. */
function asIndex(reading: Reading): HistoryIndex {
  return {
    status: { ready: true, detail: 'answers come from the log that another process records' },
    changes: (filter, options) => reading.index.changes(filter, options),
    history: (path, page, options) => reading.index.history(path, page, options),
    tree: (which, options) => reading.index.tree(which, options),
    deleted: (which, options) => reading.index.deleted(which, options),
    version: (id, options) => reading.index.version(id, options),
    recordsOf: (changes, options) => reading.index.recordsOf(changes, options),
    counts: options => reading.index.counts(options),
    firstKnown: (paths, options) => reading.index.firstKnown(paths, options),
    tables: () => {
      // The one on disk is the other process's.
      const keys = reading.reader.keys;
      reading.sql ??= ChangeIndex.open({ dir: undefined, log: reading.reader, ...(keys !== undefined && { keys }) });
      return reading.sql.tables();
    }
  };
}
