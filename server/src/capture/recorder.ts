/**
 * The recorder: keeps the log in step with a directory. Hints say where to look first; scans find what hints missed; one
 * loop does the work, so that two looks at one path never cross.
 */
import { EventEmitter } from 'node:events';
import { accessSync, constants, lstatSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { compareChanges, type Cause, type Change, type ChangePlace } from '../core/change.ts';
import { errnoOf, SyftError, type ErrorCode } from '../core/errors.ts';
import { IGNORE_FILE, IgnoreRules, LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { fsPath, type PathName } from '../core/path-name.ts';
import { SettleQueue } from '../core/settle.ts';
import { PackedTree } from '../core/packed-tree.ts';
import { applyChange, type ReadonlyTree } from '../core/tree.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import type { StreamMark } from '../log/marks.ts';
import type { LogWriter } from '../log/types.ts';
import { readText } from '../storage/read-text.ts';
import { loadCheckpoint, saveCheckpoint, type Checkpoint, type RootIdentity } from './checkpoint.ts';
import { Committer } from './commit.ts';
import { FirstPass } from './first-pass.ts';
import { dropGarbage } from './heap.ts';
import type { HintSink, HintSource, HintSourceOptions } from './hints.ts';
import { HintsAhead } from './hints/ahead.ts';
import { createHintSource, type WatcherChoice } from './hints/registry.ts';
import { KnownLook } from './known-look.ts';
import { KnownTree } from './known.ts';
import { ReceivedIntents } from './received.ts';
import { Reconciler, type Pass } from './reconcile.ts';
import { Scanner, type Findings, type ScanHelp, type ScanProblem } from './scan.ts';
import { TimeSlice } from './time-slice.ts';

export interface RecorderLogger {
  debug(message: string, details?: object): void;
  info(message: string, details?: object): void;
  warn(message: string, details?: object): void;
  error(message: string, details?: object): void;
}

export interface RecorderOptions {
  /** Directory to record, absolute. */
  readonly root: string;
  /** The open writer; the recorder never closes it. */
  readonly log: LogWriter;
  /** Always excluded when inside `root`. */
  readonly logDir: string;
  /** Disposable: the checkpoint lives here. */
  readonly cacheDir: string;
  /** Keys of an encrypted log: the checkpoint and what receivers announce are sealed. */
  readonly keys?: LogKeys | undefined;
  /** Gitignore syntax relative to the root, after the built-in defaults and before `.syftignore` files. */
  readonly excludePatterns?: readonly string[] | undefined;
  /** When given, only these folders (relative) are recorded. */
  readonly include?: readonly string[] | undefined;
  /** Larger files are recorded by name, size and hash, with flag `no-content`. Bytes, default 1 GiB. */
  readonly maxContentBytes?: number | undefined;
  /** Longest time between two scans, milliseconds, default 45,000. */
  readonly scanIntervalMs?: number | undefined;
  /** The first scan stops with SETUP_NEEDED when it meets more files. Default: no limit. */
  readonly maxFiles?: number | undefined;
  /** Where hints come from; see {@link WatcherChoice}. Default `auto`. */
  readonly hints?: WatcherChoice | undefined;
  readonly logger?: RecorderLogger | undefined;
  /** Kept in step with the log, and in the checkpoint. Changes recorded later are for its owner to add. */
  readonly fold?: Fold | undefined;
}

/** Something that is made of all changes in their order. */
export interface Fold {
  add(change: Change): void;
  /** All of it, for {@link load}. */
  text(): string;
  load(text: string): void;
  clear(): void;
}

/** What one full pass did. */
export interface CaptureSummary {
  /** Versions recorded: created, modified, moved. */
  readonly captured: number;
  readonly unchanged: number;
  readonly deleted: number;
  /** Content of the versions recorded. */
  readonly bytes: number;
  /** Versions with a flag. */
  readonly flagged: number;
  /** Special files met, by kind: `fifo`, `socket`, `device`. */
  readonly skipped: Readonly<Record<string, number>>;
  readonly errors: readonly ScanProblem[];
}

export interface CaptureProgress {
  readonly done: number;
  readonly total: number;
  readonly bytes: number;
}

export interface RecorderStatus {
  readonly state: 'starting' | 'recording' | 'paused' | 'error' | 'stopped';
  /** Paths seen changed and not yet durable. */
  readonly pending: number;
  /** Recorded paths. */
  readonly files: number;
  /** Milliseconds since the epoch. */
  readonly lastScanAt: number | undefined;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
  readonly skipped: Readonly<Record<string, number>>;
  /** Paths that could not be looked at in the last scan. */
  readonly unreadable: number;
  readonly watcher: { readonly kind: string; readonly healthy: boolean; readonly detail: string };
}

export interface RecorderEvents {
  /** A change is durable. In the order of the log. */
  change: [Change];
  status: [RecorderStatus];
  /** Something could not be recorded as it should; recording of the rest goes on. */
  problem: [ScanProblem];
}

type Job =
  | {
      readonly kind: 'full';
      readonly signal?: AbortSignal | undefined;
      readonly onProgress?: ((p: CaptureProgress) => void) | undefined;
      readonly first: boolean;
    }
  | { readonly kind: 'paths'; readonly paths: readonly PathName[] };

interface QueuedJob {
  readonly job: Job;
  readonly resolve: (outcome: JobOutcome) => void;
  readonly reject: (error: unknown) => void;
}

interface JobOutcome {
  readonly unchanged: number;
  readonly skipped: Readonly<Record<string, number>>;
  readonly errors: readonly ScanProblem[];
  readonly aside: ReadonlySet<PathName>;
}

const DEFAULT_SCAN_INTERVAL_MS = 45_000;
const DEFAULT_MAX_CONTENT_BYTES = 1024 ** 3;
/** Without a watcher that sees all, scans come this often, or so that they take a twentieth of the time. */
const BLIND_SCAN_INTERVAL_MS = 2_000;
const BLIND_SCAN_SHARE = 20;
/** So many hints since the last scan, and one follows when it is quiet. */
const BURST_HINTS = 2_000;
const AFTER_BURST_MS = 1_000;
/** New directories are looked at again: their watch may have come up after the first look. Milliseconds after it. */
const NEW_DIRECTORY_LOOKS: readonly number[] = [120, 600, 2_500];
const ROOT_RETRY_MS = 500;
const LAG_CHECK_MS = 500;
const LAG_MS = 1_000;
const SAVE_CACHE_MS = 10 * 60_000;
const MAX_LOG_RETRY_MS = 10_000;

class RootLost extends SyftError {}

export class Recorder extends EventEmitter<RecorderEvents> {
  readonly #options: RecorderOptions;
  readonly #root: string;
  readonly #tree: PackedTree;
  readonly #known: KnownTree;
  readonly #rules: IgnoreRules;
  readonly #scanner: Scanner;
  readonly #committer: Committer;
  readonly #reconciler: Reconciler;
  readonly #settle = new SettleQueue();
  readonly #hints: HintSource | undefined;
  readonly #stopSignal = new AbortController();
  /** Which file `format.json` is, which never changes; `undefined` where there is none. */
  readonly #logIdentity: RootIdentity | undefined;
  /** How far the streams of other devices are in the tree: as far as they were when this was opened. */
  readonly #foreignMarks: readonly StreamMark[];
  /** The last change in the tree. */
  #last: ChangePlace | undefined;
  #rootIdentity: RootIdentity;
  #rootKnownEarlier: boolean;
  #jobs: QueuedJob[] = [];
  #settledWaiters = new Set<{ readonly paths: Set<PathName>; readonly resolve: () => void }>();
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lagTimer: NodeJS.Timeout | undefined;
  #live = false;
  #paused = false;
  #state: RecorderStatus['state'] = 'starting';
  #error: { code: ErrorCode; message: string } | undefined;
  #blockedUntil = 0;
  #logRetryMs = 0;
  #failures = 0;
  #lastFailure: SyftError | undefined;
  #scanAt = Infinity;
  #scanTookMs = 0;
  #lastScanEnded = -Infinity;
  #lastScanAt: number | undefined;
  #lastSaveAt = performance.now();
  /** Generations of what the checkpoint on disk holds. */
  #saved: string | undefined;
  #skipped: Readonly<Record<string, number>> = {};
  #unreadable = 0;
  #watcher = { kind: 'none', healthy: true, detail: '' };
  #hintsSinceScan = 0;
  #newDirectories = new Map<PathName, { look: number; at: number }>();
  #statusQueued = false;
  #reopenHints = false;
  /** Ready for the first scan when the files were known before it. */
  #look: KnownLook | undefined;
  #limitLifted = false;

  private constructor(
    options: RecorderOptions,
    hints: HintSource | undefined,
    { tree, known, last, saved }: State,
    root: RootIdentity,
    { rootKnownEarlier, foreign }: { rootKnownEarlier: boolean; foreign: readonly StreamMark[] }
  ) {
    super();
    this.#last = last;
    this.#foreignMarks = foreign;
    if (rootKnownEarlier) this.#saved = saved;
    this.#options = options;
    this.#hints = hints;
    this.#root = options.root;
    this.#logIdentity = logIdentity(options.logDir);
    this.#tree = tree;
    this.#known = known;
    this.#rootIdentity = root;
    this.#rootKnownEarlier = rootKnownEarlier;
    this.#rules = new IgnoreRules({
      excludePatterns: options.excludePatterns ?? [],
      ...(options.include !== undefined && { include: options.include }),
      logPath: this.#logPath(),
      readIgnoreFile: dir => readIgnoreFile(this.#root, dir)
    });
    const maxFiles = options.maxFiles ?? Infinity;
    this.#scanner = new Scanner({
      root: this.#root,
      known,
      rules: this.#rules,
      tooMany: entries => {
        if (entries <= maxFiles || this.#limitLifted) return;
        throw new SyftError(
          'SETUP_NEEDED',
          `This folder holds more than ${maxFiles} files; choose which folders to record`
        );
      }
    });
    const received = new ReceivedIntents(options.logDir, options.keys);
    this.#committer = new Committer({
      log: options.log,
      tree,
      known,
      announced: () => received.read(),
      onDurable: changes => {
        this.#durable(changes);
      },
      onFailure: error => {
        this.#logFailed(error);
      }
    });
    this.#reconciler = new Reconciler({
      log: options.log,
      known,
      rules: this.#rules,
      scanner: this.#scanner,
      committer: this.#committer,
      maxContentBytes: options.maxContentBytes ?? DEFAULT_MAX_CONTENT_BYTES,
      verifyRoot: () => {
        this.#verifyRoot();
      },
      later: (path, delay) => {
        this.#settle.defer(path, performance.now() + delay);
        this.#arm();
      },
      settled: path => {
        this.#settled(path);
      },
      problem: (path, code, message) => {
        this.#problem({ path, code, message });
      },
      signal: this.#stopSignal.signal
    });
    this.#look = KnownLook.prepare(this.#root, known);
    this.#watcher = {
      kind: hints?.kind ?? 'none',
      healthy: true,
      detail: hints === undefined ? 'scans only' : ''
    };
  }

  /**
   * Prepares to record: takes up the checkpoint and what the log has behind it, or folds the whole log.
   *
   * @throws WATCH_PATH_MISSING, WATCH_PATH_NOT_DIRECTORY, WATCH_PATH_UNREADABLE; BAD_REQUEST for a watcher that is not there;
   *   what reading the log throws.
   */
  static async open(options: RecorderOptions): Promise<Recorder> {
    const identity = inspectRoot(resolve(options.root));
    const root = realpathSync(options.root);
    const hints = await createHintSource(options.hints ?? 'auto', root);
    const before = await resume(options);
    const state = before ?? (await replay(options));
    return new Recorder(
      { ...options, root, logDir: realPath(options.logDir) },
      hints,
      state,
      before?.root ?? identity,
      {
        rootKnownEarlier: before !== undefined,
        foreign: (options.log.marks() ?? []).filter(mark => mark.device !== options.log.device)
      }
    );
  }

  /**
   * Starts to watch before the log is open, for a recorder that is going to be opened with `hints` as answered and the same
   * other options. Whoever opens none stops it.
   *
   * @param options.root With its links resolved; `options.logDir` must exist.
   * @returns `undefined` for `none`.
   * @throws BAD_REQUEST for a watcher that is not there.
   */
  static async watchAhead(
    options: Pick<RecorderOptions, 'root' | 'logDir' | 'excludePatterns' | 'include' | 'hints'>
  ): Promise<HintSource | undefined> {
    const source = await createHintSource(options.hints ?? 'auto', options.root);
    return source === undefined
      ? undefined
      : new HintsAhead(source, watched({ ...options, logDir: realPath(options.logDir) }));
  }

  /** The latest state of every recorded path. */
  get tree(): ReadonlyTree {
    return this.#tree;
  }

  /** Recorded files and links, without directories. */
  countFiles(): number {
    return this.#tree.countFiles();
  }

  /** The latest change of some path whose version id this is; `undefined` when it is none, or an older one. */
  findLatest(device: string, seq: number): Change | undefined {
    return this.#tree.findVersion(device, seq);
  }

  get status(): RecorderStatus {
    return {
      state: this.#state,
      pending: this.#settle.size + this.#committer.pending + this.#reconciler.aside,
      files: this.#tree.size,
      lastScanAt: this.#lastScanAt,
      ...(this.#error !== undefined && { error: this.#error }),
      skipped: this.#skipped,
      unreadable: this.#unreadable,
      watcher: { ...this.#watcher }
    };
  }

  /**
   * One full pass: records every file that differs from its latest version. What it recorded is durable when it resolves.
   *
   * @param options.signal Stops the pass; what was recorded stays.
   * @param options.onProgress Called at most about ten times a second, and at the end.
   * @throws CANCELLED, SETUP_NEEDED, WATCH_PATH_MISSING, and what the log refuses with.
   */
  async capture(
    options: { signal?: AbortSignal; onProgress?: (p: CaptureProgress) => void } = {}
  ): Promise<CaptureSummary> {
    let captured = 0;
    let deleted = 0;
    let bytes = 0;
    let flagged = 0;
    const count = (change: Change): void => {
      if (change.kind === 'deleted') deleted += 1;
      else {
        captured += 1;
        bytes += change.kind === 'moved' ? 0 : (change.size ?? 0);
        if (change.flags.length > 0) flagged += 1;
      }
    };
    this.on('change', count);
    try {
      const outcome = await this.#do({
        kind: 'full',
        signal: options.signal,
        onProgress: options.onProgress,
        first: true
      });
      return {
        captured,
        unchanged: outcome.unchanged,
        deleted,
        bytes,
        flagged,
        skipped: outcome.skipped,
        errors: outcome.errors
      };
    } finally {
      this.off('change', count);
    }
  }

  /**
   * Starts recording: watcher up, then a full pass. When it resolves, every change from then on will be recorded.
   *
   * @param options.onProgress As for {@link capture}, of the first pass.
   * @throws As {@link capture}.
   */
  async start(options: { onProgress?: (p: CaptureProgress) => void } = {}): Promise<{ files: number }> {
    if (this.#state === 'stopped') throw new SyftError('NOT_RUNNING', 'This recorder was stopped; open a new one');
    if (this.#live) return { files: this.#tree.size };
    this.#live = true;
    try {
      await this.#withHints(hints => hints.start(watched(this.#options), this.#sink()));
      await this.#do({ kind: 'full', first: true, onProgress: options.onProgress });
    } catch (error) {
      this.#live = false;
      await this.#withHints(hints => hints.stop());
      throw error;
    }
    // Whoever waits for the start need not wait for this.
    setImmediate(dropGarbage);
    this.#watchClock();
    this.#setState(this.#paused ? 'paused' : 'recording');
    this.#scheduleScan(this.#scanInterval());
    this.#arm();
    return { files: this.#tree.size };
  }

  /** Resolves when the state that every file had at the call is recorded and durable. */
  async flush(): Promise<void> {
    if (this.#state === 'stopped') return;
    if (!this.#paused) await this.#do({ kind: 'full', first: false });
    await this.#options.log.drain();
  }

  /**
   * Records the present state of these paths now, excluded ones too; a directory with all that is below it. Durable when it
   * resolves.
   *
   * @param cause Attached to each resulting change.
   * @returns The resulting changes, in the order of the log; none when nothing differs.
   */
  async captureNow(paths: readonly PathName[], cause?: Cause): Promise<Change[]> {
    const changes: Change[] = [];
    const wanted = new Set(paths);
    const concerns = (path: PathName): boolean => {
      if (wanted.has(path)) return true;
      for (let i = path.lastIndexOf('/'); i > 0; i = path.lastIndexOf('/', i - 1)) {
        if (wanted.has(path.slice(0, i))) return true;
      }
      return false;
    };
    const collect = (change: Change): void => {
      if (concerns(change.path)) changes.push(change);
    };
    const release = cause === undefined ? undefined : this.#committer.attach(concerns, cause);
    this.on('change', collect);
    try {
      await this.#do({ kind: 'paths', paths });
      return changes;
    } finally {
      this.off('change', collect);
      release?.();
    }
  }

  /** False when the path is excluded, or outside the folders chosen. */
  records(path: PathName): boolean {
    const known = this.#tree.get(path);
    let isDirectory = known?.type === 'directory';
    if (known === undefined) {
      try {
        isDirectory = this.#scanner.statInPlace(path)?.isDirectory() === true;
      } catch {
        // A name that cannot be there: only patterns tell.
      }
    }
    return !this.#rules.excludesDeep(path, isDirectory);
  }

  /**
   * The next recorded change of `path` with this content carries `cause`. Without `hash`: its deletion.
   *
   * @returns Takes it back, if that change has not come yet.
   */
  expect(path: PathName, hash: string | undefined, cause: Cause): () => void {
    return this.#committer.expect(path, hash, cause);
  }

  /** Stops recording until {@link resume}. What was seen is not lost: the scan at resume finds it. */
  pause(): void {
    if (this.#paused || this.#state === 'stopped') return;
    this.#paused = true;
    this.#newDirectories.clear();
    this.#setState('paused');
  }

  resume(): void {
    if (!this.#paused || this.#state === 'stopped') return;
    this.#paused = false;
    this.#setState(this.#live ? 'recording' : 'starting');
    this.#scheduleScan(0);
    this.#arm();
  }

  /** Records what is pending, writes a checkpoint, and ends. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    if (this.#live && !this.#paused && this.#error === undefined) {
      try {
        await this.flush();
      } catch (error) {
        this.#options.logger?.warn('not all could be recorded before stopping', { error: String(error) });
      }
    }
    this.#setState('stopped');
    this.#live = false;
    this.#stopSignal.abort();
    clearTimeout(this.#timer);
    clearInterval(this.#lagTimer);
    this.#look?.close();
    await this.#withHints(hints => hints.stop());
    await this.#running;
    for (const { reject } of this.#jobs.splice(0)) reject(stopped());
    for (const waiter of this.#settledWaiters) waiter.resolve();
    await this.#committer.settle().catch(() => undefined);
    await this.#saveCache();
  }

  // ---- the loop ----

  /** Queues a job and waits until what it concerns is recorded and durable, what was taken aside included. */
  async #do(job: Job): Promise<JobOutcome> {
    if (this.#state === 'stopped') throw stopped();
    const failures = this.#failures;
    const outcome = await new Promise<JobOutcome>((resolve, reject) => {
      this.#jobs.push({ job, resolve, reject });
      this.#kick();
    });
    const waiting = new Set([...outcome.aside].filter(path => this.#reconciler.isAside(path)));
    if (waiting.size > 0) {
      await new Promise<void>(resolve => {
        this.#settledWaiters.add({ paths: waiting, resolve });
      });
    }
    await this.#committer.settle();
    if (this.#failures !== failures && this.#lastFailure !== undefined) throw this.#lastFailure;
    return outcome;
  }

  #kick(): void {
    if (this.#running !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = this.#loop().finally(() => {
      this.#running = undefined;
      this.#queueStatus();
      if (this.#state !== 'stopped') {
        if (this.#jobs.length > 0) this.#kick();
        else this.#arm();
      }
    });
  }

  /** Sets the timer for what is due next. */
  #arm(): void {
    if (this.#running !== undefined || this.#state === 'stopped') return;
    clearTimeout(this.#timer);
    const due = this.#nextDue();
    if (due === Infinity) return;
    this.#timer = setTimeout(
      () => {
        this.#kick();
      },
      Math.max(1, Math.ceil(due - performance.now()))
    );
  }

  #nextDue(): number {
    let due = this.#settle.nextDue() ?? Infinity;
    if (this.#live && !this.#paused) due = Math.min(due, this.#scanAt);
    for (const { at } of this.#newDirectories.values()) due = Math.min(due, at);
    return Math.max(due, this.#blockedUntil);
  }

  async #loop(): Promise<void> {
    for (;;) {
      if (this.#state === 'stopped') return;
      const queued = this.#jobs.shift();
      if (queued !== undefined) {
        await this.#runJob(queued);
        continue;
      }
      const now = performance.now();
      if (this.#nextDue() > now) return;
      let due: readonly PathName[] = [];
      try {
        this.#lookAgainAtNewDirectories(now);
        due = this.#settle.takeDue(now);
        if (due.length > 0) await this.#livePaths(due);
        else if (this.#live && !this.#paused && this.#scanAt <= now) await this.#liveScan();
      } catch (error) {
        this.#passFailed(error);
        // Still to be looked at, also where no scan follows.
        for (const path of due) this.#settle.defer(path, this.#blockedUntil);
      }
    }
  }

  async #runJob(queued: QueuedJob): Promise<void> {
    const { job } = queued;
    // Jobs of the same kind that came before this one began are served by it.
    const served = [queued];
    if (job.kind === 'full') {
      const others = this.#jobs.filter(other => other.job.kind === 'full' && other.job.signal === undefined);
      this.#jobs = this.#jobs.filter(other => !others.includes(other));
      served.push(...others);
    }
    try {
      const outcome = job.kind === 'full' ? await this.#fullPass(job) : await this.#pathsPass(job.paths);
      for (const { resolve } of served) resolve(outcome);
    } catch (error) {
      for (const { reject } of served) reject(error);
      if (!(error instanceof SyftError && (error.code === 'CANCELLED' || error.code === 'SETUP_NEEDED'))) {
        this.#passFailed(error);
      }
    }
  }

  async #fullPass(job: Extract<Job, { kind: 'full' }>): Promise<JobOutcome> {
    this.#verifyRoot();
    const unsettled = this.#reconciler.unsettled;
    const pass = newPass(false, job.signal);
    let report: (() => void) | undefined;
    let progressPass = pass;
    if (job.onProgress !== undefined) {
      const onProgress = job.onProgress;
      const progress = { done: 0, total: 0, bytes: 0 };
      let last = 0;
      report = () => {
        onProgress({ ...progress });
      };
      progressPass = {
        ...pass,
        onTotal: total => {
          progress.total += total;
        },
        onDone: bytes => {
          progress.done += 1;
          progress.bytes += bytes;
          const now = performance.now();
          if (now - last > 100) {
            last = now;
            report?.();
          }
        }
      };
    }
    const maxFiles = this.#limitLifted ? Infinity : (this.#options.maxFiles ?? Infinity);
    const empty = this.#tree.size === 0;
    const estimate =
      empty && (job.onProgress !== undefined || maxFiles !== Infinity) ? await this.#scanner.estimate(pass.slice) : 0;
    // Nothing may be recorded of a root that turns out too large, so where that is possible all is walked first.
    const first = empty && estimate <= maxFiles;
    if (first) progressPass.onTotal?.(estimate);
    // On a first pass what is found is recorded while the walk goes on; with something recorded, moves need the whole.
    const findings = first
      ? await this.#firstScan({ ...progressPass, onTotal: () => undefined })
      : await this.#scan(progressPass, { isAsKnown: job.first ? await this.#lookAtKnown(pass) : undefined });
    await this.#reconciler.reconcile(findings, first ? { ...progressPass, onTotal: () => undefined } : progressPass);
    await this.#again(progressPass);
    this.#reconciler.finishUnsettled(unsettled, progressPass);
    await this.#committer.settle();
    this.#limitLifted = true;
    report?.();
    this.#recovered();
    return {
      unchanged: findings.unchanged + progressPass.unchanged,
      skipped: findings.special,
      errors: findings.problems,
      aside: progressPass.aside
    };
  }

  /** The look at all that was known before the first scan. */
  async #lookAtKnown({ slice }: Pass): Promise<ScanHelp['isAsKnown']> {
    const look = this.#look;
    this.#look = undefined;
    return look?.run(slice);
  }

  /** A scan that has what it finds recorded as it goes. */
  async #firstScan(pass: Pass): Promise<Findings> {
    const firstPass = new FirstPass(this.#root, this.#reconciler, pass);
    try {
      const findings = await this.#scan(pass, { onSome: some => firstPass.take(some) });
      await firstPass.finish(findings);
      return findings;
    } finally {
      await firstPass.close();
    }
  }

  async #pathsPass(paths: readonly PathName[]): Promise<JobOutcome> {
    this.#verifyRoot();
    const pass = newPass(false, undefined, true);
    const findings = await this.#scanner.scanPaths(paths, pass.slice, true);
    await this.#reconciler.reconcile(findings, pass);
    await this.#again(pass);
    this.#reconciler.finishUnsettled(paths, pass);
    await this.#committer.settle();
    this.#afterFindings(findings);
    return {
      unchanged: findings.unchanged + pass.unchanged,
      skipped: findings.special,
      errors: findings.problems,
      aside: pass.aside
    };
  }

  async #liveScan(): Promise<void> {
    this.#verifyRoot();
    if (this.#reopenHints) {
      this.#reopenHints = false;
      await this.#withHints(hints => hints.rulesChanged());
    }
    const unsettled = this.#reconciler.unsettled;
    const pass = newPass(true);
    const findings = await this.#scan(pass);
    await this.#reconciler.reconcile(findings, pass);
    await this.#again(pass);
    this.#reconciler.finishUnsettled(unsettled, pass);
    await this.#committer.settle();
    this.#recovered();
    if (performance.now() - this.#lastSaveAt > SAVE_CACHE_MS) await this.#saveCache();
  }

  async #livePaths(due: readonly PathName[]): Promise<void> {
    this.#verifyRoot();
    const pass = newPass(true);
    const findings = await this.#scanner.scanPaths(due, pass.slice);
    const before = this.#committer.pending;
    await this.#reconciler.reconcile(findings, pass);
    await this.#again(pass);
    this.#reconciler.finishUnsettled(due, pass);
    const recorded = this.#committer.pending > before;
    await this.#committer.settle();
    if (recorded) this.#recovered();
    this.#afterFindings(findings);
  }

  /** A full scan with what goes with it. */
  async #scan(pass: Pass, help?: ScanHelp): Promise<Findings> {
    const started = performance.now();
    let findings = await this.#scanner.scanAll(pass.slice, help);
    for (let round = 0; findings.rulesChanged && round < 3; round += 1) {
      this.#rulesChanged();
      findings = await this.#scanner.scanAll(pass.slice);
    }
    this.#lastScanEnded = performance.now();
    this.#scanTookMs = this.#lastScanEnded - started;
    this.#lastScanAt = Date.now();
    this.#hintsSinceScan = 0;
    this.#skipped = findings.special;
    this.#unreadable = findings.problems.length;
    for (const problem of findings.problems) this.#problem(problem);
    this.#scheduleScan(this.#scanInterval(), true);
    return findings;
  }

  /** Looks again at what changed while it was looked at. */
  async #again(pass: Pass): Promise<void> {
    for (let round = 0; pass.again.size > 0 && round < 5; round += 1) {
      const paths = [...pass.again];
      pass.again.clear();
      const findings = await this.#scanner.scanPaths(paths, pass.slice, pass.force);
      await this.#reconciler.reconcile(findings, pass);
    }
    for (const path of pass.again) this.#settle.mark(path, performance.now());
    pass.again.clear();
  }

  #afterFindings(findings: Findings): void {
    for (const problem of findings.problems) this.#problem(problem);
    if (findings.rulesChanged) this.#rulesChanged();
    const now = performance.now();
    if (!this.#live) return;
    for (const dir of findings.walkedDirectories) {
      if (!this.#newDirectories.has(dir)) {
        this.#newDirectories.set(dir, { look: 0, at: now + (NEW_DIRECTORY_LOOKS[0] ?? 0) });
      }
    }
  }

  #lookAgainAtNewDirectories(now: number): void {
    for (const [dir, entry] of this.#newDirectories) {
      if (entry.at > now) continue;
      this.#settle.defer(dir, now);
      entry.look += 1;
      const next = NEW_DIRECTORY_LOOKS[entry.look];
      if (next === undefined) this.#newDirectories.delete(dir);
      else entry.at = now + next;
    }
  }

  #rulesChanged(): void {
    this.#scheduleScan(0);
    this.#reopenHints = true;
    this.#arm();
  }

  // ---- state ----

  #durable(changes: readonly Change[]): void {
    const now = performance.now();
    this.#last = changes.at(-1) ?? this.#last;
    for (const change of changes) {
      if (this.#live) this.#settle.versioned(change.path, now);
      this.emit('change', change);
    }
    this.#queueStatus();
  }

  /** Whoever waits for something to be recorded hears that it was not. */
  #failWaiters(error: SyftError): void {
    this.#failures += 1;
    this.#lastFailure = error;
    for (const { resolve } of this.#settledWaiters) resolve();
    this.#settledWaiters.clear();
  }

  #logFailed(error: SyftError): void {
    this.#failWaiters(error);
    this.#setError(error.code, error.message);
    this.#logRetryMs = Math.min(MAX_LOG_RETRY_MS, Math.max(250, this.#logRetryMs * 2));
    this.#blockedUntil = performance.now() + this.#logRetryMs;
    // What was not taken is still not known, so a scan finds it again.
    this.#scheduleScan(0);
    this.#arm();
  }

  #passFailed(error: unknown): void {
    if (error instanceof RootLost) {
      this.#failWaiters(error);
      this.#setError(error.code, error.message);
      this.#blockedUntil = performance.now() + ROOT_RETRY_MS;
      this.#reopenHints = true;
      this.#scheduleScan(0);
    } else if (error !== this.#lastFailure) {
      const message = error instanceof Error ? error.message : String(error);
      this.#options.logger?.error('a pass failed', {
        error: error instanceof Error ? (error.stack ?? message) : message
      });
      const failure = error instanceof SyftError ? error : new SyftError('INTERNAL', message, { cause: error });
      this.#failWaiters(failure);
      this.#setError(failure.code, message);
      this.#blockedUntil = performance.now() + 1_000;
      this.#scheduleScan(0);
    }
    this.#arm();
  }

  /** A pass went through: whatever was wrong is over. */
  #recovered(): void {
    this.#logRetryMs = 0;
    this.#blockedUntil = 0;
    if (this.#error === undefined) return;
    this.#error = undefined;
    this.#setState(this.#paused ? 'paused' : this.#live ? 'recording' : 'starting');
  }

  #setError(code: ErrorCode, message: string): void {
    const same = this.#error?.code === code;
    this.#error = { code, message };
    if (!same) this.#options.logger?.error(message, { code });
    this.#setState('error');
  }

  #setState(state: RecorderStatus['state']): void {
    if (this.#state === 'stopped') return;
    this.#state = state;
    this.emit('status', this.status);
  }

  #queueStatus(): void {
    if (this.#statusQueued || this.listenerCount('status') === 0) return;
    this.#statusQueued = true;
    setTimeout(() => {
      this.#statusQueued = false;
      this.emit('status', this.status);
    }, 100).unref();
  }

  #problem(problem: ScanProblem): void {
    this.#options.logger?.debug('problem', problem);
    this.emit('problem', problem);
  }

  #settled(path: PathName): void {
    for (const waiter of this.#settledWaiters) {
      if (!waiter.paths.delete(path) || waiter.paths.size > 0) continue;
      this.#settledWaiters.delete(waiter);
      waiter.resolve();
    }
  }

  #scanInterval(): number {
    const interval = this.#options.scanIntervalMs ?? DEFAULT_SCAN_INTERVAL_MS;
    if (this.#watcher.healthy && this.#hints !== undefined && this.#hints.polls !== true) return interval;
    return Math.max(Math.min(interval, BLIND_SCAN_INTERVAL_MS), this.#scanTookMs * BLIND_SCAN_SHARE);
  }

  /** Hints are a help: a source that fails is told of, and scans do its work. */
  async #withHints(work: (hints: HintSource) => Promise<void>): Promise<void> {
    if (this.#hints === undefined) return;
    try {
      await work(this.#hints);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#health(false, `the watcher failed: ${message}`);
    }
  }

  #health(healthy: boolean, detail: string): void {
    const before = this.#watcher;
    this.#watcher = { kind: before.kind, healthy, detail };
    if (!healthy && detail !== before.detail) {
      this.#options.logger?.warn('the watcher does not see every change; the folder is scanned often', { detail });
    }
    // Blind, the next scan is due much earlier.
    if (healthy !== before.healthy && this.#live) this.#scheduleScan(this.#scanInterval(), healthy);
    this.emit('status', this.status);
    this.#arm();
  }

  /** @param reset Forget an earlier date. */
  #scheduleScan(delay: number, reset = false): void {
    const at = performance.now() + delay;
    this.#scanAt = reset ? at : Math.min(this.#scanAt, at);
  }

  /** Throws when the log is not there any more: what is written to a file without a name is recorded for nobody. */
  #verifyLog(): void {
    if (this.#logIdentity === undefined) return;
    const now = logIdentity(this.#options.logDir);
    if (now?.dev === this.#logIdentity.dev && now.ino === this.#logIdentity.ino) return;
    throw new RootLost(
      'LOG_MISSING',
      `The log at ${this.#options.logDir} is gone; nothing is recorded until it is back. Start again to begin a new one.`
    );
  }

  /** Throws when the root is not the directory that was recorded, or the log is gone. */
  #verifyRoot(): void {
    let identity: RootIdentity;
    try {
      identity = inspectRoot(this.#root);
    } catch (error) {
      if (error instanceof SyftError) throw new RootLost(error.code, error.message, { cause: error });
      throw error;
    }
    const other =
      identity.dev !== this.#rootIdentity.dev || identity.ino !== this.#rootIdentity.ino || !this.#rootKnownEarlier;
    if (other) {
      // Another directory under the same name (a disk that is not mounted leaves its empty mount point): with nothing in it,
      // it must not pass for everything having been deleted.
      const logName = this.#logPath() ?? LOG_DIR_NAME;
      const empty = readdirSync(this.#root).every(name => name === LOG_DIR_NAME || name === logName);
      if (empty && this.#known.size > 0 && (this.#rootKnownEarlier || this.#logPath() === undefined)) {
        throw new RootLost(
          'WATCH_PATH_MISSING',
          `${this.#root} is empty and is not the folder that was recorded; nothing is recorded as deleted. Is its disk mounted?`
        );
      }
    }
    this.#verifyLog();
    if (other) {
      this.#rootIdentity = identity;
      this.#rootKnownEarlier = true;
      this.#reopenHints = this.#live;
    }
  }

  #watchClock(): void {
    let steady = performance.now();
    let wall = Date.now();
    this.#lagTimer = setInterval(() => {
      const lag = performance.now() - steady - LAG_CHECK_MS;
      const jump = Math.abs(Date.now() - wall - (performance.now() - steady));
      steady = performance.now();
      wall = Date.now();
      if (lag > LAG_MS || jump > 2 * LAG_MS) {
        this.#scheduleScan(0);
        this.#arm();
      }
    }, LAG_CHECK_MS);
    this.#lagTimer.unref();
  }

  #sink(): HintSink {
    const mark = (paths: readonly PathName[]): void => {
      if (this.#paused || !this.#live) return;
      const now = performance.now();
      for (const path of paths) this.#settle.mark(path, now);
      this.#hintsSinceScan += paths.length;
      if (this.#hintsSinceScan > BURST_HINTS) this.#scheduleScan(AFTER_BURST_MS);
      this.#queueStatus();
      this.#arm();
    };
    return {
      paths: mark,
      directories: mark,
      lost: reason => {
        if (this.#paused || !this.#live) return;
        this.#options.logger?.debug('hints were lost', { reason });
        // Under a storm that does not end, scans take a third of the time at most.
        const rest = this.#lastScanEnded + 2 * this.#scanTookMs - performance.now();
        this.#scheduleScan(Math.max(0, rest));
        this.#arm();
      },
      health: (healthy, detail) => {
        this.#health(healthy, detail);
      }
    };
  }

  #logPath(): PathName | undefined {
    return logPathIn(this.#options);
  }

  /** Writes a checkpoint, when nothing is on its way. */
  async #saveCache(): Promise<void> {
    this.#lastSaveAt = performance.now();
    const { log, cacheDir, keys, fold, logger } = this.#options;
    const own = log.marks()?.filter(mark => mark.device === log.device);
    if (this.#committer.pending > 0 || own === undefined) return;
    const state = `${this.#tree.generation} ${this.#known.generation}`;
    if (state === this.#saved) return;
    try {
      const checkpoint = {
        tree: this.#tree,
        known: this.#known,
        root: this.#rootIdentity,
        marks: [...own, ...this.#foreignMarks],
        last: this.#last,
        folded: fold?.text() ?? ''
      };
      const saved = await saveCheckpoint(cacheDir, log.workspaceId, checkpoint, keys);
      // Something was recorded meanwhile: the next scan tries again.
      if (saved) this.#saved = state;
      else this.#lastSaveAt = -Infinity;
    } catch (error) {
      logger?.warn('the checkpoint cannot be written; the next start reads the whole log and every file', {
        error: String(error)
      });
    }
  }
}

/** What a recorder begins with. */
interface State extends Pick<Checkpoint, 'tree' | 'known' | 'last'> {
  /** Generations of what the checkpoint on disk holds. */
  readonly saved?: string;
}

/** The state of a checkpoint, brought up to date with the log; `undefined` when there is none that goes with it. */
async function resume(options: RecorderOptions): Promise<(State & { root: RootIdentity }) | undefined> {
  const { cacheDir, log, fold, logger } = options;
  try {
    const state = loadCheckpoint(cacheDir, log.workspaceId, options.keys);
    const rest = state === undefined ? undefined : log.changesAfter(state.marks);
    if (state === undefined || rest === undefined || (fold !== undefined && state.folded === '')) return undefined;
    const { tree, known } = state;
    const saved = `${tree.generation} ${known.generation}`;
    fold?.load(state.folded);
    let { last } = state;
    const touched = new Set<PathName>();
    for await (const change of rest) {
      // A stream that came later with older changes: the fold has to be made in their common order.
      if (last !== undefined && compareChanges(change, last) < 0) return undefined;
      last = change;
      applyChange(tree, change);
      fold?.add(change);
      touched.add(change.path);
      if (change.from !== undefined) touched.add(change.from);
    }
    for (const path of touched) {
      const now = tree.get(path);
      if (now === undefined) known.remove(path);
      else known.forget(known.add(path, now.type));
    }
    return { tree, known, last, root: state.root, saved };
  } catch (error) {
    if (error instanceof SyftError) throw error;
    logger?.warn('the checkpoint cannot be used; the log and every file are read instead', { error: String(error) });
    return undefined;
  }
}

/** The state that the whole log makes, with nothing known of the files. */
async function replay({ log, fold }: RecorderOptions): Promise<State> {
  const tree = new PackedTree();
  let last: ChangePlace | undefined;
  fold?.clear();
  for await (const change of log.changes()) {
    applyChange(tree, change);
    fold?.add(change);
    last = change;
  }
  const known = new KnownTree(Math.max(1024, tree.size + 64));
  for (const [path, type] of tree.types()) known.add(path, type);
  return { tree, known, last };
}

function newPass(live: boolean, signal?: AbortSignal, force = false): Pass {
  return { live, slice: new TimeSlice(signal), force, aside: new Set(), again: new Set(), unchanged: 0 };
}

/** What there is to be watched. Both directories with their links resolved. */
function watched(options: Pick<RecorderOptions, 'root' | 'logDir' | 'excludePatterns' | 'include'>): HintSourceOptions {
  const { root, excludePatterns = [], include } = options;
  return { root, excludePatterns, include, logPath: logPathIn(options) };
}

/** The log relative to the root, when it lies inside. */
function logPathIn({ root, logDir }: Pick<RecorderOptions, 'root' | 'logDir'>): PathName | undefined {
  const path = relative(root, logDir);
  return path === '' || path === '..' || path.startsWith(`..${sep}`) ? undefined : path;
}

/** A path with its links resolved, as far as it exists. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    return absolute;
  }
}

function stopped(): SyftError {
  return new SyftError('NOT_RUNNING', 'The recorder was stopped');
}

/** Which directory the root is. Throws WATCH_PATH_MISSING, WATCH_PATH_NOT_DIRECTORY, WATCH_PATH_UNREADABLE. */
function inspectRoot(root: string): RootIdentity {
  let stats;
  try {
    stats = lstatSync(root);
    if (stats.isSymbolicLink()) stats = lstatSync(`${root}/.`);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EACCES') {
      throw new SyftError('WATCH_PATH_UNREADABLE', `${root} cannot be read; check its permissions`, { cause: error });
    }
    throw new SyftError('WATCH_PATH_MISSING', `${root} does not exist`, { cause: error });
  }
  if (!stats.isDirectory()) throw new SyftError('WATCH_PATH_NOT_DIRECTORY', `${root} is not a directory`);
  try {
    accessSync(root, constants.R_OK | constants.X_OK);
  } catch (error) {
    throw new SyftError('WATCH_PATH_UNREADABLE', `${root} cannot be read; check its permissions`, { cause: error });
  }
  return { dev: stats.dev, ino: stats.ino };
}

function logIdentity(logDir: string): RootIdentity | undefined {
  try {
    const { dev, ino } = statSync(join(logDir, 'format.json'));
    return { dev, ino };
  } catch {
    return undefined;
  }
}

function readIgnoreFile(root: string, dir: PathName): string | undefined {
  try {
    const path = fsPath(`${root}/${dir === '' ? '' : `${dir}/`}${IGNORE_FILE}`);
    // Most directories have none, and an error costs ten times what the question does.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    return readText(path);
  } catch {
    return undefined;
  }
}
