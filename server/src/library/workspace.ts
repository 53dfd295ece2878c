/**
 * A workspace that is open for recording: its log, its recorder, and what is done with both together (restore, undo,
 * counts). The sidecar, the command line and the public watcher classes are three faces of this one object.
 */
import { EventEmitter } from 'node:events';
import { mkdir, mkdtemp, realpath, rm, rmdir, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve, sep } from 'node:path';
import type {
  CompactRequest,
  CompactResult,
  EraseRequest,
  EraseResult,
  MarkRequest,
  MarkResult,
  PruneRequest,
  PruneResult,
  RemoveRequest,
  RemoveResult,
  ImportRequest,
  ImportResult,
  RestoreRequest,
  RestoreResult,
  Stats,
  Status
} from '../api/contract.ts';
import {
  changeToJson,
  isoMicros,
  parseVersionId,
  versionId,
  type Cause,
  type Change,
  type ChangeKind
} from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { decodePath, displayPath, normalizeRelative, parseDisplayPath, type PathName } from '../core/path-name.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import { Recorder, type Fold, type CaptureSummary, type RecorderOptions } from '../capture/recorder.ts';
import { identitiesFromFile } from '../crypto/age.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { isLogDirectory } from '../log/format-file.ts';
import { compactLog, type CompactOptions } from '../log/compact.ts';
import { openLogWriter } from '../log/log.ts';
import type { OpenWriter } from '../log/types.ts';
import { writeError } from '../storage/durable.ts';
import {
  absolute,
  freeCopyName,
  lstatOrMissing,
  diskError,
  removeLeftOverStaged,
  TEMPORARY_PREFIX,
  removeRecorded,
  restoreVersion,
  type ContentSource,
  type RestoreOutcome,
  type RestorePlace
} from './restore.ts';
import { placeNewFiles } from './new-files.ts';
import { eraseFromWorkspace, pruneWorkspace } from './retention.ts';
import { saidIn, type Said } from './said.ts';
import { markVersion } from './version-marks.ts';
import { VERSION } from './version.ts';

export interface WorkspaceOptions {
  /** Directory to record. */
  readonly root: string;
  /** Log directory; default `<root>/.syft-sync`. */
  readonly logDir?: string;
  readonly excludePatterns?: readonly string[];
  /** Folders to record, relative to the root; default all of it. */
  readonly include?: readonly string[];
  readonly maxContentBytes?: number;
  readonly maxFiles?: number;
  readonly scanIntervalMs?: number;
  readonly hints?: RecorderOptions['hints'];
  /** {@link Workspace.start} follows at once: the watcher gets up while the log is opened. */
  readonly startsAtOnce?: boolean;
  readonly logger?: RecorderOptions['logger'];
  /** Keys of an encrypted log. */
  readonly keys?: LogKeys;
  /** Shown to others that meet the lock; `socket` and `secret` let them reach this process. */
  readonly holder?: { readonly command: string; readonly socket?: string; readonly secret?: string };
}

interface WorkspaceEvents {
  change: [Change];
  status: [];
  /** Labels, pins, or what was dropped: versions that were told of before are otherwise now. */
  said: [];
  problem: [{ path?: string; code: string; message: string }];
}

/** Running counts over the log: what `stats` answers without reading the log again. */
export class LogCounts implements Fold {
  byKind: Record<ChangeKind, number> = { created: 0, modified: 0, deleted: 0, moved: 0 };
  devices = new Set<string>();
  changes = 0;
  versions = 0;
  contentBytes = 0;

  add(change: Change): void {
    this.changes += 1;
    this.devices.add(change.device);
    if (change.type === 'directory') return;
    this.byKind[change.kind] += 1;
    if (change.kind === 'deleted') return;
    this.versions += 1;
    this.contentBytes += change.size ?? 0;
  }

  text(): string {
    const { byKind, devices, changes, versions, contentBytes } = this;
    return JSON.stringify({ byKind, devices: [...devices], changes, versions, contentBytes });
  }

  load(text: string): void {
    const counts = JSON.parse(text) as Omit<LogCounts, 'devices' | keyof Fold> & { devices: string[] };
    Object.assign(this, counts, { devices: new Set(counts.devices) });
  }

  clear(): void {
    this.load(new LogCounts().text());
  }
}

/** Where a workspace keeps its log unless told otherwise. */
export function defaultLogDir(root: string): string {
  return join(root, '.syft-sync');
}

/** True for what only the log itself may write: its directory, and any directory of that name. */
export function belongsToLog(path: string, logDir: string): boolean {
  return path === logDir || path.startsWith(logDir + sep) || path.split(sep).includes(LOG_DIR_NAME);
}

/** Checks that `root` is a directory that can be read; resolves it. Throws WATCH_PATH_*. */
export async function checkRoot(root: string): Promise<string> {
  const path = resolve(root);
  try {
    const stats = await stat(path);
    if (!stats.isDirectory()) {
      throw new SyftError('WATCH_PATH_NOT_DIRECTORY', `${root} is not a directory.`, { path: root });
    }
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new SyftError('WATCH_PATH_MISSING', `There is no directory ${root}.`, { cause: error, path: root });
    }
    if (errnoOf(error) === 'EACCES' || errnoOf(error) === 'ELOOP') {
      throw new SyftError('WATCH_PATH_UNREADABLE', `The directory ${root} cannot be read.`, {
        cause: error,
        path: root
      });
    }
    throw error;
  }
}

/**
 * Where contents lie on their way to the files. In the log directory, but not in an encrypted one: then beside the files, as
 * which they end, under a name that is not recorded.
 */
function stagingDirOf(root: string, logDir: string, { keys, workspaceId }: OpenWriter): string {
  return keys === undefined
    ? join(logDir, 'cache', 'staging')
    : join(root, `.syft-sync-tmp-${workspaceId.slice(0, 8)}-staging`);
}

/** An open, recording workspace. Close it: `await using`, or {@link Workspace.close}. */
export class Workspace extends EventEmitter<WorkspaceEvents> implements AsyncDisposable {
  readonly root: string;
  readonly logDir: string;
  readonly log: OpenWriter;
  readonly recorder: Recorder;
  readonly counts: LogCounts;
  readonly startedAt = Date.now();
  /** Keys of an encrypted log. */
  readonly keys: LogKeys | undefined;
  #storedBytes = 0;
  #storedBytesAt = 0;
  readonly #include: readonly string[] | undefined;
  #closing: Promise<void> | undefined;
  readonly #closed = new AbortController();
  #drops: Promise<void> = Promise.resolve();

  private constructor(
    root: string,
    logDir: string,
    log: OpenWriter,
    recorder: Recorder,
    counts: LogCounts,
    include: readonly string[] | undefined,
    keys: LogKeys | undefined
  ) {
    super();
    this.keys = keys;
    this.counts = counts;
    this.root = root;
    this.logDir = logDir;
    this.log = log;
    this.recorder = recorder;
    this.#include = include;
    recorder.on('change', change => {
      this.counts.add(change);
      this.emit('change', change);
    });
    recorder.on('status', () => this.emit('status'));
    recorder.on('problem', problem => this.emit('problem', problem));
  }

  /**
   * Opens the log for writing (creating it when there is none) and loads the tree. Records nothing yet.
   *
   * @throws SyftError WATCH_PATH_*, LOG_PATH_NOT_DIRECTORY, LOG_LOCKED, LOG_NEWER_FORMAT, DISK_*.
   */
  static async open(options: WorkspaceOptions): Promise<Workspace> {
    const root = await checkRoot(options.root);
    const logDir = resolve(options.logDir ?? defaultLogDir(root));
    const ahead =
      options.startsAtOnce === true && isLogDirectory(logDir)
        ? await Recorder.watchAhead({ ...options, root, logDir })
        : undefined;
    let log: OpenWriter | undefined;
    try {
      log = await openLogWriter({
        dir: logDir,
        keys: options.keys,
        ...(options.holder !== undefined && { holder: options.holder })
      });
      const cacheDir = join(logDir, 'cache');
      await mkdir(cacheDir, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
        throw writeError(error, `${cacheDir} could not be made`);
      });
      await removeLeftOverStaged(stagingDirOf(root, logDir, log));
      const counts = new LogCounts();
      const hints = ahead ?? options.hints;
      const recorder = await Recorder.open({
        root,
        log,
        fold: counts,
        logDir,
        cacheDir,
        ...(options.excludePatterns !== undefined && { excludePatterns: [...options.excludePatterns] }),
        ...(options.include !== undefined && { include: [...options.include] }),
        ...(options.keys !== undefined && { keys: options.keys }),
        ...(options.maxContentBytes !== undefined && { maxContentBytes: options.maxContentBytes }),
        ...(options.maxFiles !== undefined && { maxFiles: options.maxFiles }),
        ...(options.scanIntervalMs !== undefined && { scanIntervalMs: options.scanIntervalMs }),
        ...(hints !== undefined && { hints }),
        ...(options.logger !== undefined && { logger: options.logger })
      });
      return new Workspace(root, logDir, log, recorder, counts, options.include, options.keys);
    } catch (error) {
      await ahead?.stop();
      await log?.close();
      throw error;
    }
  }

  /** Itself, as what an API serves. */
  recording(): Workspace {
    return this;
  }

  get tree(): ReadonlyTree {
    return this.recorder.tree;
  }

  /** Begins to record; resolves when every change from then on will be recorded. */
  start(options?: Parameters<Recorder['start']>[0]): Promise<{ files: number }> {
    return this.recorder.start(options);
  }

  /** False when the path is excluded, or outside the folders chosen. */
  isRecorded(path: PathName): boolean {
    return this.recorder.records(path);
  }

  flush(): Promise<void> {
    return this.recorder.flush();
  }

  capture(options?: Parameters<Recorder['capture']>[0]): Promise<CaptureSummary> {
    return this.recorder.capture(options);
  }

  pause(): void {
    this.recorder.pause();
  }

  resume(): void {
    this.recorder.resume();
  }

  /** Bytes on disk, measured at most once a second: it walks the log directory. */
  async storedBytes(): Promise<number> {
    const now = Date.now();
    if (now - this.#storedBytesAt > 1000) {
      this.#storedBytesAt = now;
      this.#storedBytes = await this.log.storedBytes();
    }
    return this.#storedBytes;
  }

  /** The contract's status without its index part, which belongs to whoever runs the index. */
  status(): Omit<Status, 'index' | 'apiVersion'> {
    const recorder = this.recorder.status;
    void this.storedBytes().catch(() => undefined);
    return {
      version: VERSION,
      pid: process.pid,
      state: recorder.state,
      root: this.root,
      logDir: this.logDir,
      device: this.log.device,
      workspaceId: this.log.workspaceId,
      startedAt: new Date(this.startedAt).toISOString(),
      pending: recorder.pending,
      files: recorder.files,
      versions: this.counts.versions,
      contentBytes: this.counts.contentBytes,
      storedBytes: this.#storedBytes,
      skipped: Object.values(recorder.skipped).reduce((sum, n) => sum + n, 0),
      watcher: recorder.watcher,
      ...(recorder.error !== undefined && { error: recorder.error }),
      ...(this.log.damages.length > 0 && {
        damage: this.log.damages.map(({ kind, where, message }) => ({ kind, where, message }))
      }),
      ...(this.#include !== undefined && { include: [...this.#include] })
    };
  }

  /** The contract's statistics. */
  async stats(): Promise<Stats> {
    return statsOf(this.counts, this.recorder.countFiles(), await this.log.storedBytes(), this.startedAt);
  }

  /** Finds a version of this workspace by its whole id. */
  async findVersion(id: string): Promise<Change> {
    const wanted = parseVersionId(id);
    if (wanted !== undefined) {
      const latest = this.recorder.findLatest(wanted.device, wanted.seq);
      if (latest !== undefined) return latest;
      for await (const change of this.log.changes()) {
        if (change.seq === wanted.seq && change.device === wanted.device) return change;
      }
    }
    throw new SyftError('VERSION_NOT_FOUND', `There is no version ${id}.`);
  }

  /** What is said of versions. */
  said(): Promise<Said> {
    return saidIn(this.log);
  }

  /** Labels or pins a version. */
  async mark(request: MarkRequest): Promise<MarkResult> {
    const result = await markVersion(this.log, await this.findVersion(request.versionId), request);
    if (result.changed) this.emit('said');
    return result;
  }

  /** Drops the contents that a policy does not keep. */
  prune(request: PruneRequest, options: Parameters<typeof pruneWorkspace>[2] = {}): Promise<PruneResult> {
    return this.#dropping(options.signal, signal => pruneWorkspace(this.log, request, { ...options, signal }));
  }

  /** Stores the contents of full segments anew, so that they take less room. */
  compact(
    request: CompactRequest = {},
    options: Pick<CompactOptions, 'signal' | 'onProgress'> = {}
  ): Promise<CompactResult> {
    const { all = false, dryRun = false } = request;
    return this.#dropping(options.signal, async signal => {
      const { damaged, ...sums } = await compactLog(this.log, { ...options, all, dryRun, signal });
      return { dryRun, ...sums, damaged: [...damaged] };
    });
  }

  /** Erases one content from every version that has it. */
  erase(request: EraseRequest, options: Parameters<typeof eraseFromWorkspace>[3] = {}): Promise<EraseResult> {
    return this.#dropping(options.signal, async signal => {
      const result = await eraseFromWorkspace(this.log, this.tree, request, { ...options, signal });
      if (result.dryRun) return result;
      const { removeMessagesWith } = await import('./erase-messages.ts');
      return { ...result, copies: [...result.copies, ...(await removeMessagesWith(request.hash, this))] };
    });
  }

  /** One after the other; stopped when the workspace closes. What is then left to do is done at the next opening. */
  async #dropping<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signals = [this.#closed.signal, ...(signal === undefined ? [] : [signal])];
    const before = this.#drops;
    const done = before.then(() => work(AbortSignal.any(signals)));
    this.#drops = done.then(
      () => undefined,
      () => undefined
    );
    try {
      return await done;
    } finally {
      // Also what was stopped half-way has dropped something.
      this.#storedBytesAt = 0;
      this.emit('said');
    }
  }

  /** Restore as the HTTP contract says: inside the workspace only. */
  async restore(request: RestoreRequest, options: { signal?: AbortSignal } = {}): Promise<RestoreResult> {
    const version = await this.findVersion(request.versionId);
    let to = version.path;
    if (request.toBase64 !== undefined) to = this.#exactPath(decodePath(Buffer.from(request.toBase64, 'base64')));
    else if (request.to !== undefined) to = this.insidePath(request.to);
    if (request.asCopy === true) to = await freeCopyName(this.root, to, version.at);
    const outcome = await this.restoreTo(version, {
      to,
      ...(request.dryRun !== undefined && { dryRun: request.dryRun }),
      ...(request.force !== undefined && { force: request.force }),
      ...(options.signal !== undefined && { signal: options.signal })
    });
    return {
      path: displayPath(outcome.path),
      versionId: versionId(version),
      unchanged: outcome.unchanged,
      created: outcome.created,
      ...(outcome.replaced !== undefined && { replaced: versionId(outcome.replaced) }),
      ...(outcome.change !== undefined && { change: changeToJson(outcome.change) })
    };
  }

  /**
   * Puts versions where nothing stands, many at a time, and records that. For a workspace that is not being watched: what comes of it
   * is recorded behind it.
   *
   * @param versions Each with the path it goes to.
   * @returns Bit by bit, what was done, and what is left for {@link restore}.
   * @throws SyftError CANCELLED, DISK_*; what was done until then is whole, and recorded.
   */
  async *restoreNew(
    versions: readonly Change[],
    { signal }: { readonly signal: AbortSignal }
  ): AsyncGenerator<{ readonly done: readonly RestoreResult[]; readonly left: readonly Change[] }> {
    const { root, log, logDir, recorder } = this;
    // Beside the files, for a log may lie on another file system. Such a name is never recorded.
    const stagingDir = await mkdtemp(join(root, TEMPORARY_PREFIX)).catch((error: unknown) => {
      throw diskError(error, root);
    });
    try {
      for await (const { done, left } of placeNewFiles(versions, { root, log, stagingDir, logDir, signal })) {
        for (const version of done) {
          if (version.hash === undefined) continue;
          recorder.expect(version.path, version.hash, { kind: 'restore', version: versionId(version) });
        }
        const recorded = done.length === 0 ? [] : await recorder.captureNow(done.map(({ path }) => path));
        const changes = new Map(recorded.map(change => [change.path, change]));
        yield {
          left,
          done: done.map(version => {
            const change = changes.get(version.path);
            return {
              path: displayPath(version.path),
              versionId: versionId(version),
              unchanged: false,
              created: true,
              ...(change !== undefined && { change: changeToJson(change) })
            };
          })
        };
      }
    } finally {
      await rm(stagingDir, { recursive: true, force: true });
    }
  }

  get #place(): Omit<RestorePlace, 'log'> {
    const { root, recorder, logDir, stagingDir } = this;
    return { root, recorder, logDir, stagingDir };
  }

  /** Where contents lie on their way to the files. */
  get stagingDir(): string {
    return stagingDirOf(this.root, this.logDir, this.log);
  }

  /** {@link restoreVersion} in this workspace. */
  restoreTo(version: Change, options: Parameters<typeof restoreVersion>[2]): Promise<RestoreOutcome> {
    return restoreVersion({ ...this.#place, log: this.log }, version, options);
  }

  /** Puts content from outside the log in place of a file, with the same care as a restore, and records it. */
  restoreContent(
    version: Change,
    content: () => AsyncIterable<Uint8Array>,
    cause: Cause,
    options: Pick<NonNullable<Parameters<typeof restoreVersion>[2]>, 'onlyIf'> = {}
  ): Promise<RestoreOutcome> {
    const source: ContentSource = {
      content,
      contentBytes: async () => Buffer.concat(await Array.fromAsync(content()))
    };
    return restoreVersion({ ...this.#place, log: source }, version, { ...options, cause });
  }

  /** Takes the files of a message into the workspace; see {@link importMessage} in import-message.ts. */
  async importMessage(request: ImportRequest): Promise<ImportResult> {
    const { archive, to, trust, identityFile } = request;
    if (!isAbsolute(archive)) throw new SyftError('BAD_REQUEST', 'archive: an absolute path is wanted.');
    const folder = to === undefined || to === '' || to === '.' ? '' : this.insidePath(to);
    // Most recorders never see a message.
    const { importMessage } = await import('./import-message.ts');
    const { changes, unchanged, notDeleted, ...rest } = await importMessage(this, archive, {
      to: folder,
      trust,
      ...(identityFile !== undefined && { identities: identitiesFromFile(identityFile) })
    });
    return { ...rest, changes: [...changes], unchanged: [...unchanged], notDeleted: [...notDeleted] };
  }

  /**
   * Undo of a restore that created a file: removes it if it still is what was written; its state is in the log.
   *
   * @param cause What the deletion says of itself.
   */
  async remove(request: RemoveRequest, cause?: Cause): Promise<RemoveResult> {
    const path = this.insidePath(request.path);
    const target = absolute(this.root, path);
    const before = await lstatOrMissing(target);
    await this.recorder.captureNow([path]);
    const now = this.tree.get(path);
    if (now === undefined || before === undefined) return { path: displayPath(path) };
    const expected = await this.findVersion(request.ifVersion);
    // Announced before it is gone: a hint may have it recorded before this goes on.
    const withdraw = cause === undefined ? undefined : this.recorder.expect(path, undefined, cause);
    let isGone = false;
    try {
      isGone =
        now.hash === expected.hash &&
        now.type === expected.type &&
        (await removeRecorded(target, before, this.stagingDir));
    } finally {
      if (!isGone) withdraw?.();
    }
    if (!isGone) {
      throw new SyftError('RESTORE_NOT_RECORDED', `${displayPath(path)} has changed since; it was left alone.`, {
        path: displayPath(path)
      });
    }
    const changes = await this.recorder.captureNow([path], cause);
    const change = changes.findLast(candidate => candidate.path === path);
    return { path: displayPath(path), ...(change !== undefined && { change: changeToJson(change) }) };
  }

  /**
   * A path from outside → a workspace path. `\xHH` is a byte that is not UTF-8, unless such a name is there as it is written.
   *
   * @throws SyftError PATH_OUTSIDE_ROOT; PATH_INVALID for what belongs to the log.
   */
  insidePath(text: string): PathName {
    const literal = this.#exactPath(text);
    const escaped = parseDisplayPath(literal);
    return escaped !== literal && !this.tree.has(literal) ? escaped : literal;
  }

  #exactPath(text: string): PathName {
    const path = normalizeRelative(text);
    const shown = displayPath(text);
    if (path === undefined) {
      throw new SyftError('PATH_OUTSIDE_ROOT', `${shown} does not name a file inside the workspace.`, { path: shown });
    }
    if (belongsToLog(join(this.root, path), this.logDir)) {
      throw new SyftError('PATH_INVALID', `${shown} belongs to the log.`, { path: shown });
    }
    return path;
  }

  /** Records what is pending and closes the log. Safe to call more than once. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#closed.abort();
      await this.#drops;
      try {
        await this.recorder.stop();
      } finally {
        await this.log.close();
        // Left where something is still in it: a restore was cut off.
        if (this.keys !== undefined) await rmdir(this.stagingDir).catch(() => undefined);
      }
    })();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Files and links in a tree, without directories. */
export function trackedFiles(tree: ReadonlyTree): number {
  let files = 0;
  for (const change of tree.values()) if (change.type !== 'directory') files += 1;
  return files;
}

/** Counts → the contract's statistics. `startedAt`: epoch milliseconds, when a recorder runs. */
export function statsOf(counts: LogCounts, files: number, storedBytes: number, startedAt?: number): Stats {
  return {
    filesCreated: counts.byKind.created,
    filesModified: counts.byKind.modified,
    filesDeleted: counts.byKind.deleted,
    filesMoved: counts.byKind.moved,
    versions: counts.versions,
    trackedFiles: files,
    contentBytes: counts.contentBytes,
    storedBytes,
    runtimeSeconds: startedAt === undefined ? 0 : (Date.now() - startedAt) / 1000,
    ...(startedAt !== undefined && { startTime: isoMicros(startedAt * 1000) }),
    devices: counts.devices.size,
    changes: counts.changes
  };
}
