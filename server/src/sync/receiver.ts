/**
 * The way out of the log: applies what other logs record to a directory, and goes on doing so.
 *
 * One pass: read what is new, relate each touched path to our own history (core/lineage.ts), look at the disk, plan
 * (core/reconcile.ts), carry out (apply.ts), remember (cursor.ts). A pass can be cut off anywhere: the next one finds what is
 * done by content and does the rest.
 */
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { appendFile, lstat, mkdir, open, readdir, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { changeToJson, versionId, type Cause, type Change, type ChangeJson } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { CONFLICTS_DIR_NAME, IgnoreRules, LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { relate, type Moment } from '../core/lineage.ts';
import { baseName, displayPath, normalizeRelative, type PathName } from '../core/path-name.ts';
import { causeOf, formatIntent, RECEIVED_JOURNAL, type Intent } from '../core/received.ts';
import {
  above,
  deletesTooMuch,
  nodeOf,
  keyOf,
  reconcile,
  sameContent,
  type Blocked,
  type Node,
  type Plan,
  type Step
} from '../core/reconcile.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { sealLines } from '../crypto/sealed-lines.ts';
import type { Storage } from '../storage/storage.ts';
import { versionPath } from './all-versions.ts';
import { applyBatch, batches, conflictsOf, keep, stageAll, type ApplyPlace, type Outcome } from './apply.ts';
import { ReceiveState, sameAgreement, type Agreed } from './cursor.ts';
import { isWritable, mergeHistories, nodeOfChange, type Histories, type LogMoment } from './history.ts';
import { DiskView, lstatOrMissing, type Look } from './look.ts';
import { FollowedLog, type RemoteLog } from './source.ts';
import { Staging } from './stage.ts';

/** What a receiver asks of a recorder in the same process; the one of the output directory. */
export interface ReceivingRecorder {
  /** The next change of `path` with this content carries `cause`. */
  expect(path: PathName, hash: string | undefined, cause: Cause): void;
  /** Records the present state of paths at once. */
  captureNow?(paths: readonly PathName[]): Promise<unknown>;
}

export interface ReceiverOptions {
  /**
   * The log, or several: directories (relative ones to the current directory), or storages. What a storage has is fetched to this
   * machine, by what has changed, and applied from there.
   */
  readonly logPath: string | Storage | readonly (string | Storage)[];
  /** The directory that receives. Made when it is missing and was never received into. */
  readonly outputPath: string;
  /** `latest`: the output becomes the tree of the log. `all_versions`: every version is a file of its own. Default `latest`. */
  readonly syncMode?: 'latest' | 'all_versions';
  /** Gitignore syntax, relative to the output: what is not received. */
  readonly excludePatterns?: readonly string[];
  /** Says on stderr what it does. */
  readonly verbose?: boolean;
  /** Log of the recorder that watches the output. Default `<outputPath>/.syft-sync`; used when there is one. */
  readonly ownLog?: string;
  /** Milliseconds between looks at the logs when nothing hints at a change. Default 250. */
  readonly pollIntervalMs?: number;
  /** Milliseconds between looks at a storage. Default 2000. */
  readonly fetchIntervalMs?: number;
  /** Where logs from storages are fetched to, each to a directory of its own. Default {@link fetchDirectory}. */
  readonly fetchPath?: string;
  /** Ends a fetch, and lets none begin. {@link SyftLogReceiver.stop} does so too, and the rest. */
  readonly signal?: AbortSignal;
  /** Plan, and write nothing to the output. */
  readonly dryRun?: boolean;
  /** Halt when more than this share of at least 10 files would be deleted. Default 0.5. */
  readonly maxDeleteFraction?: number;
  /** Go on where a safety halt would stop. */
  readonly force?: boolean;
  /** The recorder of the output, when it runs in this process. */
  readonly recorder?: ReceivingRecorder;
  /**
   * Keys of an encrypted log, by its directory: asked for each log received from, and for that of the output, when it is
   * opened. `undefined` for one that is not encrypted.
   *
   * @throws SyftError PASSPHRASE_WRONG, KEY_*, LOG_ENCRYPTED.
   */
  readonly keysOf?: (logDir: string) => Promise<LogKeys | undefined>;
  /** How long a conflicting file may wait to be recorded before it counts as not recorded, milliseconds. Default 3000. */
  readonly recordWaitMs?: number;
}

/** One step that was carried out. */
export interface AppliedEvent {
  readonly do: Step['do'];
  readonly path: PathName;
  readonly from?: PathName;
  /** The change it carries out. */
  readonly change: Change;
  readonly workspace: string;
}

export interface ConflictEvent {
  readonly path: PathName;
  /** Whose state stands now. */
  readonly winner: 'disk' | 'log';
  /** Version of the other log. */
  readonly version?: string;
  /** Where the state that stood there is kept, relative to the conflicts directory. */
  readonly kept?: string;
  /** The name of that directory: `conflicts` in the log of the output, `.syft-sync-conflicts` in the output itself. */
  readonly keptIn?: string;
}

export type HaltReason =
  'output-missing' | 'output-replaced' | 'output-emptied' | 'log-rolled-back' | 'log-replaced' | 'too-many-deletes';

export interface HaltEvent {
  readonly reason: HaltReason;
  readonly message: string;
}

export interface ProblemEvent {
  readonly path?: string;
  readonly code: string;
  readonly message: string;
}

/** Told, but no failure: there is nothing to apply, and there will not be. */
const DROPPED: ReadonlySet<string> = new Set(['VERSION_PRUNED', 'VERSION_ERASED']);

interface ReceiverEvents {
  applied: [AppliedEvent];
  conflict: [ConflictEvent];
  halted: [HaltEvent];
  problem: [ProblemEvent];
  /** Every step that was planned in a dry run. */
  planned: [Step];
}

export interface SyncStatus {
  readonly state: 'stopped' | 'running' | 'halted';
  readonly outputPath: string;
  readonly syncMode: 'latest' | 'all_versions';
  /** Files agreed on (`latest`), or version files written (`all_versions`). */
  readonly filesTracked: number;
  readonly versionsProcessed: number;
  readonly pending: number;
  readonly conflicts: number;
  readonly problems: number;
  readonly halted?: HaltEvent;
  readonly sources: readonly {
    readonly logPath: string;
    readonly workspaceId?: string;
    readonly reachable: boolean;
    /** The log is not the one that was seen before; nothing is taken from it. */
    readonly refused: boolean;
    readonly error?: string;
  }[];
}

/** What one `runOnce` did. */
export interface ReceiveReport {
  readonly applied: number;
  readonly conflicts: number;
  readonly problems: number;
  readonly halted?: HaltEvent;
  /** Only in a dry run. */
  readonly plan?: readonly Step[];
}

const NONE: ReadonlySet<PathName> = new Set();
/** The log of the output is there, and encrypted, and cannot be opened. */
const LOCKED_AWAY: ReadonlySet<string> = new Set([
  'LOG_ENCRYPTED',
  'PASSPHRASE_WRONG',
  'KEY_MISSING',
  'KEY_DAMAGED',
  'KEY_MISMATCH'
]);
const DEFAULT_POLL_MS = 250;
const DEFAULT_FETCH_MS = 2000;
const DEFAULT_RECORD_WAIT_MS = 3000;
const HOLD_POLL_MS = 40;
/** Above this size the journal of intents starts anew. */
const INTENTS_MAX_BYTES = 4 * 1024 * 1024;
/** Present, and equal to nothing: the ancestor of a path that both sides changed. */
const NO_COMMON: Node = { type: 'other' };

/** A source with what is remembered of it. */
class Source {
  readonly log: FollowedLog;
  state: ReceiveState | undefined;
  staging: Staging | undefined;
  error: SyftError | Error | undefined;
  halted: HaltEvent | undefined;
  workspaceId: string | undefined;
  /** `all_versions`: versions still to be written, oldest first. */
  queue: Change[] = [];

  constructor(log: FollowedLog) {
    this.log = log;
  }
}

/** Applies other logs to a directory. `await using`, or {@link SyftLogReceiver.stop}. */
export class SyftLogReceiver extends EventEmitter<ReceiverEvents> implements AsyncDisposable {
  readonly #options: ReceiverOptions;
  readonly #mode: 'latest' | 'all_versions';
  readonly #output: string;
  readonly #ownLogDir: string;
  readonly #sources: Source[];
  readonly #own: FollowedLog;
  #ownThere = false;
  #root = '';
  #rootId: { dev: bigint; ino: bigint } | undefined;
  #privateDir = '';
  #disk: DiskView;
  #rules: IgnoreRules;
  #pending = new Set<PathName>();
  /** Paths that wait for the recorder: since when, milliseconds. */
  readonly #held = new Map<PathName, number>();
  /** Paths written here that the recorder has not recorded yet: when to look again, and how often still. */
  readonly #unrecorded = new Map<PathName, { at: number; left: number }>();
  readonly #reported = new Set<string>();
  readonly #retry = new Map<PathName, { at: number; wait: number }>();
  readonly #counts = { processed: 0, conflicts: 0, problems: 0, applied: 0, written: 0 };
  #halted: HaltEvent | undefined;
  #n = 0;
  #tracked = 0;
  #opened = false;
  #state: 'stopped' | 'running' = 'stopped';
  #chain: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;
  #wake: () => void = () => undefined;
  #hinted = false;
  #stopping = false;
  /** Aborted by {@link stop}. */
  #fetching = new AbortController();
  #planned: Step[] = [];

  constructor(options: ReceiverOptions) {
    super();
    this.#options = options;
    const { logPath: given } = options;
    const logs = typeof given === 'string' || 'location' in given ? [given] : [...given];
    if (logs.length === 0) {
      throw new SyftError('BAD_REQUEST', 'A receiver needs at least one log.');
    }
    const fraction = options.maxDeleteFraction ?? 0.5;
    if (!(fraction >= 0 && fraction <= 1)) {
      throw new SyftError('BAD_REQUEST', `maxDeleteFraction lies between 0 and 1, not ${fraction}.`);
    }
    this.#mode = options.syncMode ?? 'latest';
    this.#output = resolve(options.outputPath);
    this.#ownLogDir = resolve(options.ownLog ?? join(this.#output, LOG_DIR_NAME));
    const onHint = (): void => this.#hint();
    const onDamage = (damage: { where: string; message: string }): void =>
      this.#problem(`damage ${damage.where} ${damage.message}`, {
        code: 'LOG_DAMAGED',
        message: `${damage.message} (${damage.where})`
      });
    const withKeys = options.keysOf === undefined ? {} : { keysOf: options.keysOf };
    const places = new Set(logs.map(log => (typeof log === 'string' ? resolve(log) : log)));
    this.#sources = [...places].map(place => {
      const log = typeof place === 'string' ? place : this.#remote(place);
      return new Source(new FollowedLog(log, { onHint, onDamage, guarded: true, ...withKeys }));
    });
    if (this.#sources.some(source => source.log.logPath === this.#ownLogDir)) {
      throw new SyftError('BAD_REQUEST', 'A directory cannot receive from its own log. Give the log of another one.', {
        path: this.#ownLogDir
      });
    }
    this.#own = new FollowedLog(this.#ownLogDir, { onHint, onDamage, ...withKeys });
    this.#disk = new DiskView(this.#output);
    this.#rules = new IgnoreRules({ readIgnoreFile: () => undefined });
  }

  /** The copy is this receiver's alone: it is remembered by its path how far the log was seen. */
  #remote(storage: Storage): RemoteLog {
    const key = createHash('sha256').update(`${storage.location}\0${this.#output}`).digest('hex').slice(0, 32);
    return {
      storage,
      copy: join(resolve(this.#options.fetchPath ?? fetchDirectory()), key),
      intervalMs: this.#options.fetchIntervalMs ?? DEFAULT_FETCH_MS
    };
  }

  /**
   * Applies what there is, then follows live until {@link stop}.
   *
   * @throws SyftError WATCH_PATH_NOT_DIRECTORY when the output is a file, LOG_LOCKED when another receiver uses it.
   */
  async start(): Promise<void> {
    if (this.#loop !== undefined) {
      return;
    }
    await this.#open();
    this.#state = 'running';
    await this.#exclusive(() => this.#pass({ now: true }));
    this.#loop = this.#follow();
  }

  /**
   * Applies all there is now, once. Waits for the recorder of the output where a conflict needs it.
   *
   * @param options `force`: go on where a safety halt would stop, this once.
   */
  async runOnce(options: { readonly force?: boolean } = {}): Promise<ReceiveReport> {
    await this.#open();
    const before = { ...this.#counts };
    this.#planned = [];
    for (let now = true; ; now = false) {
      await this.#exclusive(() => this.#pass({ force: options.force === true, now }));
      if (this.#halted !== undefined || this.#options.dryRun === true || this.#due() === undefined) {
        break;
      }
      await new Promise(done => setTimeout(done, HOLD_POLL_MS));
    }
    return {
      applied: this.#counts.applied - before.applied,
      conflicts: this.#counts.conflicts - before.conflicts,
      problems: this.#counts.problems - before.problems,
      ...(this.#halted !== undefined && { halted: this.#halted }),
      ...(this.#options.dryRun === true && { plan: this.#planned })
    };
  }

  /** Finishes the step at hand and lets go of everything. Can be started again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#fetching.abort();
    this.#wake();
    await this.#loop;
    this.#loop = undefined;
    await this.#exclusive(async () => {
      for (const source of this.#sources) {
        await source.log.close();
        await source.staging?.close();
        await source.state?.close();
        source.state = undefined;
        source.staging = undefined;
        source.workspaceId = undefined;
      }
      await this.#own.close();
      this.#ownThere = false;
      this.#opened = false;
      this.#tracked = 0;
      this.#root = '';
      this.#rootId = undefined;
      this.#pending.clear();
      this.#held.clear();
      this.#unrecorded.clear();
      this.#retry.clear();
    });
    this.#state = 'stopped';
    this.#stopping = false;
    this.#fetching = new AbortController();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  getSyncStatus(): SyncStatus {
    return {
      state: this.#halted !== undefined ? 'halted' : this.#state,
      outputPath: this.#output,
      syncMode: this.#mode,
      filesTracked: this.#mode === 'latest' ? this.#tracked : this.#counts.written,
      versionsProcessed: this.#counts.processed,
      pending: this.#pending.size + this.#sources.reduce((sum, source) => sum + source.queue.length, 0),
      conflicts: this.#counts.conflicts,
      problems: this.#counts.problems,
      ...(this.#halted !== undefined && { halted: this.#halted }),
      sources: this.#sources.map(({ log, error }) => ({
        logPath: log.location,
        ...(log.workspaceId !== undefined && { workspaceId: log.workspaceId }),
        reachable: log.reader !== undefined,
        ...(error !== undefined && { error: error.message }),
        refused: error instanceof SyftError && error.code === 'LOG_REWRITTEN'
      }))
    };
  }

  // Opening

  async #open(): Promise<void> {
    if (this.#opened) {
      return;
    }
    const stats = await stat(this.#output).catch(() => undefined);
    if (stats !== undefined && !stats.isDirectory()) {
      throw new SyftError('WATCH_PATH_NOT_DIRECTORY', `${this.#output} is not a directory.`, { path: this.#output });
    }
    for (const { log } of this.#sources) {
      const inside = relative(log.logPath, this.#output);
      if (inside === '' || (!inside.startsWith('..') && !inside.startsWith(sep))) {
        throw new SyftError('BAD_REQUEST', 'The output lies inside the log it would receive from.', {
          path: this.#output
        });
      }
    }
    this.#opened = true;
    this.#halted = undefined;
    this.#reported.clear();
  }

  /** Makes or checks the output. False when it is not safe to write there. */
  async #checkRoot(force: boolean): Promise<boolean> {
    let stats = await stat(this.#output, { bigint: true }).catch(() => undefined);
    if (stats === undefined && this.#tracked === 0 && this.#rootId === undefined) {
      if (this.#options.dryRun === true) {
        this.#root = this.#output;
        return true;
      }
      await mkdir(this.#output, { recursive: true });
      stats = await stat(this.#output, { bigint: true });
    }
    if (stats?.isDirectory() !== true) {
      this.#halt('output-missing', `${this.#output} is missing; nothing is written until it is back.`);
      return false;
    }
    if (this.#rootId !== undefined && (stats.dev !== this.#rootId.dev || stats.ino !== this.#rootId.ino) && !force) {
      this.#halt(
        'output-replaced',
        `${this.#output} is not the directory it was; start again with force when that is intended.`
      );
      return false;
    }
    if (this.#rootId === undefined || force) {
      this.#rootId = { dev: stats.dev, ino: stats.ino };
      const root = await realpath(this.#output);
      if (root !== this.#root) {
        this.#root = root;
        this.#disk = new DiskView(root);
      }
    }
    if (this.#tracked >= 10 && !force) {
      const names = (await readdir(this.#root)).filter(name => name !== LOG_DIR_NAME);
      if (names.length === 0) {
        this.#halt(
          'output-emptied',
          `Everything in ${this.#output} is gone; nothing is written until you say so with force.`
        );
        return false;
      }
    }
    return true;
  }

  /** Reads what is new in our own log, if there is one. */
  async #readOwn(): Promise<void> {
    try {
      const changes = await this.#own.next();
      this.#ownThere = true;
      for (const change of changes) {
        for (const path of this.#own.histories?.add(change) ?? []) {
          this.#touch(path);
        }
      }
    } catch (error) {
      // It is there and cannot be opened: what is kept of names and contents would come into its directory in the clear.
      if (error instanceof SyftError && LOCKED_AWAY.has(error.code)) throw error;
      // None yet, or gone: then only what stands on disk counts.
      this.#ownThere = false;
      if (!(error instanceof SyftError && error.code === 'LOG_MISSING') && errnoOf(error) !== 'ENOENT') {
        this.#problem(`own ${String(error)}`, problemOf(error));
      }
    }
  }

  async #readSource(source: Source, force: boolean, now: boolean): Promise<void> {
    const { log } = source;
    const { signal: asked } = this.#options;
    const signal = asked === undefined ? this.#fetching.signal : AbortSignal.any([this.#fetching.signal, asked]);
    let changes: readonly Change[];
    try {
      changes = await log.next({ force, now, signal });
      if (source.error !== undefined) {
        this.#log(`${log.location} is back`);
        source.error = undefined;
      }
    } catch (error) {
      // The next start goes on with what was being fetched.
      if (signal.aborted) return;
      const problem = error instanceof Error ? error : new Error(String(error));
      if (source.error?.message !== problem.message) {
        source.error = problem;
        this.#problem(undefined, problemOf(problem));
      }
      return;
    }
    const { histories } = log;
    if (histories === undefined || log.workspaceId === undefined) {
      return;
    }
    if (source.workspaceId !== undefined && source.workspaceId !== log.workspaceId) {
      source.halted = {
        reason: 'log-replaced',
        message: `The log at ${log.location} is another one than before; start again when that is intended.`
      };
      return;
    }
    source.workspaceId = log.workspaceId;
    const first = source.state === undefined;
    source.state ??= await this.#openState(source, log.workspaceId);
    const { state } = source;
    for (const change of changes) {
      this.#counts.processed += 1;
      if (this.#mode === 'all_versions') {
        histories.streams.set(change.device, Math.max(change.seq, histories.streams.get(change.device) ?? 0));
        if (change.seq > (state.streams.get(change.device) ?? 0) || state.skipped.has(versionId(change))) {
          source.queue.push(change);
        }
        continue;
      }
      for (const path of histories.add(change)) {
        this.#touch(path);
      }
    }
    source.halted = undefined;
    for (const [device, seq] of state.streams) {
      if ((histories.streams.get(device) ?? 0) < seq && !force) {
        source.halted = {
          reason: 'log-rolled-back',
          message: `The log at ${log.location} has less than what was received from it before; nothing is applied from it until you say so with force.`
        };
      }
    }
    if (first) {
      await this.#judgeLeftOvers(source);
    }
  }

  async #openState(source: Source, workspaceId: string): Promise<ReceiveState> {
    if (workspaceId === this.#own.workspaceId) {
      throw new SyftError('BAD_REQUEST', `${source.log.location} is a copy of the log of ${this.#output} itself.`, {
        path: source.log.location
      });
    }
    this.#privateDir = this.#ownThere ? this.#ownLogDir : join(this.#root, LOG_DIR_NAME);
    const name = `receive/${workspaceId}${this.#mode === 'latest' ? '' : '-versions'}`;
    const dir = join(this.#privateDir, name);
    const readOnly = this.#options.dryRun === true;
    const keys = this.#ownThere ? this.#own.keys : source.log.keys;
    const state = await ReceiveState.open(dir, { readOnly, ...(keys !== undefined && { seal: { keys, name } }) });
    try {
      for (const agreed of state.agreed.values()) {
        this.#n = Math.max(this.#n, agreed.n);
        this.#tracked += isFile(agreed.key) ? 1 : 0;
      }
      if (!readOnly) {
        source.staging = await Staging.open(await this.#stagingFor(dir, workspaceId));
      }
      this.#rules = new IgnoreRules({
        readIgnoreFile: () => undefined,
        ...(this.#options.excludePatterns !== undefined && { excludePatterns: this.#options.excludePatterns }),
        logPath: normalizeRelative(relative(this.#root, this.#ownLogDir))
      });
      return state;
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  /** A directory for contents on their way: on the file system of the output, and not in an encrypted log. */
  async #stagingFor(dir: string, workspaceId: string): Promise<string> {
    const staging = join(dir, 'staging');
    const inOutput = join(this.#root, `.syft-sync-tmp-${workspaceId.slice(0, 16)}`);
    if (this.#ownEncrypted) return inOutput;
    await mkdir(staging, { recursive: true, mode: 0o700 });
    if ((await stat(staging)).dev === (await stat(this.#root)).dev) return staging;
    // A rename does not reach over file systems: stage in the output, under a name that is never recorded.
    await rm(staging, { recursive: true, force: true });
    return inOutput;
  }

  /** Also while that log is away for a moment. */
  get #ownEncrypted(): boolean {
    return this.#own.keys !== undefined;
  }

  /** What lost a conflict is a file of the output, in the clear as that is: it does not come into an encrypted log. */
  get #conflictsDir(): string {
    return this.#ownEncrypted ? join(this.#root, CONFLICTS_DIR_NAME) : conflictsOf(this.#privateDir);
  }

  /** Files a run that was cut off had just taken away: gone when a log has them, else kept for the user. */
  async #judgeLeftOvers(source: Source): Promise<void> {
    const leftOver = source.staging?.leftOver ?? [];
    if (leftOver.length === 0) {
      return;
    }
    const known = new Set<string>();
    for (const histories of [this.#own.histories, ...this.#sources.map(each => each.log.histories)]) {
      for (const path of histories?.paths() ?? []) {
        for (const moment of histories?.of(path) ?? []) {
          known.add(moment.change.hash ?? '');
        }
      }
    }
    for (const path of leftOver) {
      const stats = await lstat(path);
      let recorded = !stats.isFile();
      if (!recorded) {
        const hash = createHash('sha256');
        const handle = await open(path, 'r');
        for await (const piece of handle.createReadStream()) {
          hash.update(piece as Buffer);
        }
        recorded = known.has(hash.digest('hex'));
      }
      if (!recorded) {
        const kept = await keep({ conflictsDir: this.#conflictsDir }, `left-over/${baseName(path)}`, path, undefined);
        this.#conflict({ path: kept, winner: 'log', kept });
      }
      await unlink(path);
    }
  }

  // The live loop

  async #follow(): Promise<void> {
    while (!this.#stopping) {
      const wait = Math.min(this.#due() ?? Infinity, this.#options.pollIntervalMs ?? DEFAULT_POLL_MS);
      if (!this.#hinted) {
        await new Promise<void>(done => {
          const timer = setTimeout(done, wait);
          this.#wake = () => {
            clearTimeout(timer);
            done();
          };
        });
      }
      this.#hinted = false;
      if (!this.#stopping) {
        try {
          await this.#exclusive(() => this.#pass());
        } catch (error) {
          this.#problem(`pass ${String(error)}`, problemOf(error));
        }
      }
    }
  }

  #hint(): void {
    this.#hinted = true;
    this.#wake();
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#chain.then(work, work);
    this.#chain = done.catch(() => undefined);
    return done;
  }

  /** Milliseconds until something that waits is due; `undefined` when nothing waits. */
  #due(): number | undefined {
    if (this.#held.size > 0) {
      return HOLD_POLL_MS;
    }
    const ready = [...this.#pending].some(path => !this.#retry.has(path));
    return ready ? 0 : undefined;
  }

  #touch(path: PathName): void {
    this.#pending.add(path);
    this.#retry.delete(path);
  }

  // One pass

  async #pass({ force: forceNow = false, now: fetchNow = false } = {}): Promise<void> {
    const force = forceNow || this.#options.force === true;
    if (this.#root === '') {
      if (!(await this.#checkRoot(force))) {
        return;
      }
    }
    await this.#readOwn();
    for (const source of this.#sources) {
      await this.#readSource(source, force, fetchNow);
    }
    const halted = this.#sources.find(source => source.halted !== undefined)?.halted;
    const active = this.#sources.filter(source => source.state !== undefined && source.halted === undefined);
    if (halted !== undefined) {
      this.#halt(halted.reason, halted.message);
    }
    const now = Date.now();
    for (const [path, check] of this.#unrecorded) {
      if (this.#own.histories?.last(path)?.key === this.#agreedOn(path)?.key || check.left === 0) {
        this.#unrecorded.delete(path);
      } else if (check.at <= now) {
        this.#unrecorded.set(path, { at: now + 2000, left: check.left - 1 });
        this.#pending.add(path);
      }
    }
    const waiting =
      this.#mode === 'latest' ? this.#pending.size : active.reduce((sum, source) => sum + source.queue.length, 0);
    if (active.length === 0 || waiting === 0) {
      if (halted === undefined && active.length > 0 && this.#halted?.reason === 'log-rolled-back') {
        this.#halted = undefined;
      }
      return;
    }
    if (!(await this.#checkRoot(force))) {
      return;
    }
    if (this.#mode === 'all_versions') {
      for (const source of active) {
        await this.#writeVersions(source);
      }
    } else if (!(await this.#applyLatest(active, force))) {
      return;
    }
    if (halted === undefined) {
      this.#halted = undefined;
    }
  }

  /** Whether a path from a log may be written at all. */
  #allowed(path: PathName, isDirectory: boolean): boolean {
    if (this.#reported.has(`path ${path}`)) {
      return false;
    }
    const parts = path.split('/');
    if (
      normalizeRelative(path) !== path ||
      parts.some(part => part.toLowerCase() === LOG_DIR_NAME || part === '..') ||
      parts.some(part => Buffer.byteLength(part) > 765)
    ) {
      this.#problem(`path ${path}`, {
        path: displayPath(path),
        code: 'PATH_INVALID',
        message: `${displayPath(path)} is not a path that is received.`
      });
      return false;
    }
    return !this.#rules.excludesDeep(path, isDirectory);
  }

  #agreedOn(path: PathName): (Agreed & { workspace: string }) | undefined {
    let found: (Agreed & { workspace: string }) | undefined;
    for (const { state, log } of this.#sources) {
      const agreed = state?.agreed.get(path);
      if (agreed !== undefined && (found === undefined || agreed.n > found.n)) {
        found = { ...agreed, workspace: log.histories === undefined ? '' : (log.workspaceId ?? '') };
      }
    }
    return found;
  }

  /** A state that lost against ours is not judged again until one of the two has something new. */
  #isRefused(path: PathName, last: LogMoment, ownLast: Moment | undefined): boolean {
    const agreed = this.#agreedOn(path);
    return agreed?.refused === true && agreed.version === versionId(last) && agreed.ownAt === nameOfLast(ownLast);
  }

  /** Our own recorded history of a path, with what we have put there and is not recorded yet. */
  #ownHistory(path: PathName): readonly Moment[] {
    const recorded = this.#own.histories?.of(path) ?? [];
    const agreed = this.#agreedOn(path);
    const last = recorded.at(-1);
    if (
      agreed === undefined ||
      agreed.refused === true ||
      agreed.ownAt !== nameOfLast(last) ||
      agreed.key === (last?.key ?? '')
    ) {
      return recorded;
    }
    const put: Moment = {
      key: agreed.key,
      hlc: last?.hlc ?? 0,
      device: last?.device ?? '',
      seq: last?.seq ?? 0,
      workspace: this.#own.workspaceId ?? '',
      cause: { workspace: agreed.workspace, version: agreed.version }
    };
    return [...recorded, put];
  }

  /** @returns False when a safety halt stopped it. */
  async #applyLatest(active: readonly Source[], force: boolean): Promise<boolean> {
    const all = active.map(source => source.log.histories).filter(histories => histories !== undefined);
    const ancestor = new Map<PathName, Node>();
    const disk = new Map<PathName, Node>();
    const log = new Map<PathName, Node>();
    const looks = new Map<PathName, Look>();
    const sources = new Map<PathName, LogMoment>();
    const newer = new Map<PathName, 'disk' | 'log'>();
    const seen = new Set<PathName>();
    const held = new Set<PathName>();
    const now = Date.now();
    this.#disk.newPass();

    /** Puts one path into the three trees, or decides that it is not to be touched now. */
    const consider = async (path: PathName, standsInTheWay: boolean): Promise<void> => {
      seen.add(path);
      const history = mergeHistories(all, path);
      const last = history.at(-1);
      const wanted = last === undefined ? undefined : nodeOf(last.key);
      if (last !== undefined && !this.#allowed(path, last.change.type === 'directory')) {
        this.#pending.delete(path);
        return;
      }
      let own = this.#ownThere ? this.#ownHistory(path) : undefined;
      let look: Look | undefined;
      const recordedOnly = own === undefined ? [] : (this.#own.histories?.of(path) ?? []);
      if (own !== undefined && own.length > recordedOnly.length && this.#unrecorded.has(path)) {
        // Written by us and gone again before the recorder saw it: no log will ever know, so it counts as never written.
        look = await this.#disk.look(path);
        const recorded = nodeOf(recordedOnly.at(-1)?.key ?? '');
        if (sameContent(look.node, recorded) && !sameContent(look.node, nodeOf(own.at(-1)?.key ?? ''))) {
          own = recordedOnly;
        }
      }
      if (!standsInTheWay && last !== undefined && this.#isRefused(path, last, recordedOnly.at(-1))) {
        this.#done(path);
        return;
      }
      const lineage = own === undefined ? undefined : relate(own, history);
      const nothingNew = lineage !== undefined && (lineage.relation === 'behind' || lineage.relation === 'same');
      if (!standsInTheWay && (last === undefined || (nothingNew && lineage.relation === 'behind'))) {
        this.#done(path);
        return;
      }
      if (last !== undefined && wanted !== undefined && !nothingNew && !isWritable(last.change)) {
        this.#problem(`content ${versionId(last.change)}`, {
          path: displayPath(path),
          code: 'VERSION_HAS_NO_CONTENT',
          message: `Version ${versionId(last.change)} of ${displayPath(path)} has no content in the log and was skipped.`
        });
        this.#done(path);
        return;
      }
      look ??= await this.#disk.look(path);
      const stands = look.node;
      looks.set(path, look);
      let base: Node | undefined;
      if (lineage === undefined) {
        const agreed = this.#agreedOn(path);
        const from = agreed === undefined ? -1 : history.findIndex(moment => versionId(moment) === agreed.version);
        // A run that was cut off may have put a later version than the one it remembers; that is nobody's edit.
        const put = history.some((moment, i) => i > from && sameContent(stands, nodeOf(moment.key)));
        base = put ? stands : nodeOf(agreed?.key ?? '');
      } else if (nothingNew) {
        base = wanted;
      } else {
        base = lineage.relation === 'ahead' ? stands : NO_COMMON;
        newer.set(path, lineage.newer === 'own' ? 'disk' : 'log');
        const recorded = nodeOf(own?.at(-1)?.key ?? '');
        const implied = stands?.type === 'directory' && this.#own.histories?.implies(path) === true;
        if (!sameContent(stands, wanted) && !sameContent(stands, recorded) && !implied) {
          // Changed on disk and not recorded yet: let the recorder see it before it is judged.
          const since = this.#held.get(path) ?? now;
          this.#held.set(path, since);
          if (now - since < (this.#options.recordWaitMs ?? DEFAULT_RECORD_WAIT_MS)) {
            held.add(path);
            return;
          }
          base = NO_COMMON;
          newer.set(path, 'log');
        }
      }
      setNode(ancestor, path, base);
      setNode(disk, path, stands);
      setNode(log, path, wanted);
      if (last !== undefined) {
        sources.set(path, last);
      }
    };

    for (const path of [...this.#pending]) {
      const retry = this.#retry.get(path);
      if ((retry !== undefined && retry.at > now && !force) || seen.has(path)) {
        continue;
      }
      await consider(path, false);
      if (!log.has(path)) {
        continue;
      }
      // Whatever is not a directory above it, and all that is below it when a file is to stand there, belongs to the question.
      for (const dir of above(path)) {
        const standing = await this.#disk.standing(dir);
        if (standing !== 'directory' && standing !== 'missing' && !seen.has(standing)) {
          await consider(standing, true);
        }
      }
      let waits = [...above(path)].some(dir => held.has(dir));
      if (log.get(path)?.type !== 'directory' && disk.get(path)?.type === 'directory') {
        for (const below of await this.#disk.below(path)) {
          if (!seen.has(below)) {
            await consider(below, true);
          }
          waits ||= held.has(below);
        }
      }
      if (waits) {
        // What stands in its way is not judged yet, so neither can this be.
        held.add(path);
        this.#held.set(path, this.#held.get(path) ?? now);
        ancestor.delete(path);
        disk.delete(path);
        log.delete(path);
      }
    }
    // What the log has above or below these paths decides whether it contradicts itself.
    for (const path of [...log.keys()]) {
      for (const dir of above(path)) {
        if (!seen.has(dir)) {
          const last = mergeHistories(all, dir).at(-1);
          if (last !== undefined && last.key !== '' && last.key !== 'd') {
            setNode(log, dir, nodeOf(last.key));
            setNode(ancestor, dir, nodeOf(last.key));
          }
        }
      }
    }

    if (held.size > 0 && this.#options.dryRun !== true) {
      await this.#options.recorder
        ?.captureNow?.([...held])
        .catch((error: unknown) => this.#problem(`capture ${String(error)}`, problemOf(error)));
    }
    const moves = new Map<PathName, PathName>();
    for (const path of log.keys()) {
      let from = sources.get(path)?.change.kind === 'moved' ? lastMove(all, path) : undefined;
      for (
        let i = 0;
        from !== undefined && i < 64 && !(disk.has(from) && !log.has(from) && ancestor.has(from));
        i += 1
      ) {
        from = lastMove(all, from);
      }
      if (from !== undefined && from !== path) {
        moves.set(path, from);
      }
    }
    const plan = reconcile({ ancestor, disk, log, moves, newer: path => newer.get(path) ?? 'log' });

    const deletes = plan.steps.filter(step => step.do === 'remove' && step.expect.type !== 'directory').length;
    if (!force && deletesTooMuch(deletes, this.#tracked, this.#options.maxDeleteFraction ?? 0.5)) {
      this.#halt(
        'too-many-deletes',
        `${deletes} of ${this.#tracked} files in ${this.#output} would be deleted; nothing is applied until you say so with force.`
      );
      return false;
    }
    if (this.#options.dryRun === true) {
      this.#planned.push(...plan.steps);
      for (const step of plan.steps) {
        this.emit('planned', step);
      }
      this.#pending.clear();
      this.#held.clear();
      return true;
    }
    await this.#carryOut(active, all, plan, { looks, log, sources, held });
    return true;
  }

  async #carryOut(
    active: readonly Source[],
    all: readonly Histories[],
    plan: Plan,
    seen: {
      readonly looks: ReadonlyMap<PathName, Look>;
      readonly log: ReadonlyMap<PathName, Node>;
      readonly sources: ReadonlyMap<PathName, LogMoment>;
      readonly held: ReadonlySet<PathName>;
    }
  ): Promise<void> {
    const { looks, log, sources } = seen;
    const staging = active.map(source => source.staging).find(found => found !== undefined);
    if (staging === undefined) {
      return;
    }
    const sourceOf = (workspace: string): Source | undefined =>
      active.find(source => source.log.workspaceId === workspace);
    const place: ApplyPlace = {
      root: this.#root,
      disk: this.#disk,
      staging,
      conflictsDir: this.#conflictsDir,
      looks,
      implies: dir => all.some(histories => histories.implies(dir)),
      onKept: (path, kept) => this.#conflict({ path, winner: 'log', kept }),
      stage: async path => {
        const moment = sources.get(path);
        const reader = moment === undefined ? undefined : sourceOf(moment.workspace)?.log.reader;
        if (moment === undefined || reader === undefined) {
          throw new SyftError('LOG_MISSING', `The log that has ${displayPath(path)} is not there at the moment.`, {
            path: displayPath(path)
          });
        }
        return staging.stage(reader, moment.change);
      }
    };
    const conflicts = new Map(plan.conflicts.map(conflict => [conflict.path, conflict]));
    const version = (path: PathName): { version?: string } => {
      const moment = sources.get(path);
      return moment === undefined ? {} : { version: versionId(moment) };
    };

    // Gone on both sides needs no step, but must be remembered: else the same content coming back would pass for what was had.
    const gone = [...looks.keys()].filter(
      path =>
        !log.has(path) &&
        !seen.held.has(path) &&
        looks.get(path)?.node === undefined &&
        (this.#agreedOn(path)?.key ?? '') !== ''
    );
    const refused = new Set(plan.settled.filter(path => conflicts.get(path)?.winner === 'disk'));
    await this.#agree(active, [...plan.settled, ...gone], log, sources, refused);
    for (const path of plan.settled) {
      const conflict = conflicts.get(path);
      if (conflict?.winner === 'disk') {
        this.#conflict({ path, winner: 'disk', ...version(path) });
      }
      this.#done(path);
    }
    for (const { path, reason } of plan.blocked) {
      this.#block(path, reason);
    }

    for (const batch of batches(plan.steps)) {
      const staged = await stageAll(place, batch);
      await this.#announce(batch, sources);
      const outcomes = await applyBatch(place, batch, staged);
      const agreed: PathName[] = [];
      for (const [step, outcome] of outcomes) {
        if (outcome.kind === 'done') {
          agreed.push(step.path, ...(step.do === 'move' ? [step.from] : []));
        }
      }
      await this.#agree(active, agreed, log, sources);
      for (const [step, outcome] of outcomes) {
        this.#report(step, outcome, sources.get(step.path));
        const conflict = conflicts.get(step.path);
        if (outcome.kind === 'done' && conflict?.winner === 'log') {
          this.#conflict({
            path: step.path,
            winner: 'log',
            ...version(step.path),
            ...(outcome.kept !== undefined && { kept: outcome.kept })
          });
        }
      }
    }

    // What is left after all this has nothing to be done about.
    const touched = new Set(plan.steps.flatMap(step => (step.do === 'move' ? [step.path, step.from] : [step.path])));
    const blocked = new Set(plan.blocked.map(each => each.path));
    for (const path of looks.keys()) {
      if (!touched.has(path) && !blocked.has(path) && !seen.held.has(path)) {
        this.#done(path);
      }
    }
    if ([...this.#pending].every(path => this.#retry.has(path))) {
      for (const { state, log: followed } of active) {
        await state?.advance(followed.histories?.streams ?? new Map());
      }
    }
  }

  /** Remembers that these paths are as the log has them; of `refused`, that this was seen. */
  async #agree(
    active: readonly Source[],
    paths: readonly PathName[],
    log: ReadonlyMap<PathName, Node>,
    sources: ReadonlyMap<PathName, LogMoment>,
    refused: ReadonlySet<PathName> = NONE
  ): Promise<void> {
    const lines = new Map<Source, [PathName, Agreed][]>();
    for (const path of paths) {
      const moment = sources.get(path);
      const source = active.find(each => each.log.workspaceId === moment?.workspace) ?? active[0];
      if (source === undefined) {
        continue;
      }
      const before = this.#agreedOn(path);
      const key = keyOf(log.get(path));
      const version = moment === undefined ? '' : versionId(moment);
      const ownAt = nameOfLast(this.#own.histories?.last(path));
      const present = { key, version, ownAt, ...(refused.has(path) && { refused: true }) };
      if (sameAgreement(before, present)) continue;
      this.#n += 1;
      this.#tracked += (isFile(key) ? 1 : 0) - (isFile(before?.key ?? '') ? 1 : 0);
      const list = lines.get(source) ?? [];
      list.push([path, { ...present, n: this.#n }]);
      lines.set(source, list);
    }
    for (const [source, entries] of lines) {
      await source.state?.agree(entries);
    }
  }

  /** Tells the recorder of the output what is about to appear, so that it can say where it came from. */
  async #announce(steps: readonly Step[], sources: ReadonlyMap<PathName, LogMoment>): Promise<void> {
    if (!this.#ownThere && this.#options.recorder === undefined) {
      return;
    }
    const at = Date.now();
    const intents: Intent[] = [];
    for (const step of steps) {
      const moment = sources.get(step.path);
      if (moment === undefined) {
        continue;
      }
      const hash = step.do === 'remove' || step.node.hash === undefined ? {} : { hash: step.node.hash };
      const origin = { workspace: moment.workspace, version: versionId(moment), at };
      intents.push({ path: step.path, ...hash, ...origin });
      // The old name is left. When somebody fills it at once, the recorder must know that it was free in between.
      if (step.do === 'move') {
        intents.push({ path: step.from, ...origin });
      }
    }
    if (!this.#ownThere) {
      for (const intent of intents) this.#options.recorder?.expect(intent.path, intent.hash, causeOf(intent));
    } else if (intents.length > 0) {
      // Written down even for a recorder of this process: killed before it has recorded them, the next one must know.
      const journal = join(this.#ownLogDir, RECEIVED_JOURNAL);
      await mkdir(dirname(journal), { recursive: true, mode: 0o700 });
      const size = (await lstatOrMissing(journal))?.size ?? 0n;
      if (size > INTENTS_MAX_BYTES) {
        await rename(journal, `${journal}.old`);
      }
      const lines = intents.map(formatIntent).join('');
      const { keys } = this.#own;
      await appendFile(journal, keys === undefined ? lines : sealLines(keys, RECEIVED_JOURNAL, lines), { mode: 0o600 });
    }
  }

  #report(step: Step, outcome: Outcome, moment: LogMoment | undefined): void {
    switch (outcome.kind) {
      case 'done':
        this.#done(step.path);
        if (step.do === 'move') {
          this.#done(step.from);
        }
        if (moment !== undefined) {
          this.#counts.applied += 1;
          if (this.#ownThere) {
            this.#unrecorded.set(step.path, { at: Date.now() + 1000, left: 3 });
          }
          this.#log(`${step.do} ${displayPath(step.path)}`);
          this.emit('applied', {
            do: step.do,
            path: step.path,
            ...(step.do === 'move' && { from: step.from }),
            change: moment.change,
            workspace: moment.workspace
          });
        }
        return;
      case 'raced':
        this.#pending.add(step.path);
        return;
      case 'failed': {
        this.#later(step.path);
        const problem = problemOf(outcome.error);
        this.#problem(`step ${step.path} ${problem.code}`, { ...problem, path: displayPath(step.path) });
      }
    }
  }

  #block(path: PathName, reason: Blocked['reason']): void {
    this.#later(path);
    this.#problem(`blocked ${path}`, {
      path: displayPath(path),
      code: 'PATH_INVALID',
      message:
        reason === 'below-a-file'
          ? `The log has ${displayPath(path)} below something that is not a directory; it was left out.`
          : `What stands at ${displayPath(path)} cannot be read or replaced; it was left alone.`
    });
  }

  /** Tries a path again, at longer and longer intervals. */
  #later(path: PathName): void {
    const wait = Math.min(60_000, (this.#retry.get(path)?.wait ?? 500) * 2);
    this.#pending.add(path);
    this.#retry.set(path, { at: Date.now() + wait, wait });
  }

  #done(path: PathName): void {
    this.#pending.delete(path);
    this.#held.delete(path);
    this.#retry.delete(path);
  }

  // all_versions

  async #writeVersions(source: Source): Promise<void> {
    const { state, staging } = source;
    const reader = source.log.reader;
    const workspace = source.log.workspaceId ?? '';
    if (state === undefined || reader === undefined) {
      return;
    }
    const queue = source.queue;
    source.queue = [];
    for (let start = 0; start < queue.length; start += 64) {
      if (this.#stopping) {
        source.queue = [...queue.slice(start), ...source.queue];
        return;
      }
      const group = queue.slice(start, start + 64);
      const targets = new Map<PathName, Change>();
      const looks = new Map<PathName, Look>();
      const steps: Step[] = [];
      this.#disk.newPass();
      for (const change of group) {
        const node = nodeOfChange(change);
        if (node === undefined || !this.#allowed(change.path, change.type === 'directory')) {
          continue;
        }
        if (!isWritable(change)) {
          state.skipped.add(versionId(change));
          this.#problem(`content ${versionId(change)}`, {
            path: displayPath(change.path),
            code: 'VERSION_HAS_NO_CONTENT',
            message: `Version ${versionId(change)} of ${displayPath(change.path)} has no content in the log and was skipped.`
          });
          continue;
        }
        for (const path of [versionPath(change), versionPath(change, workspace)]) {
          const look = await this.#disk.look(path);
          if (look.node === undefined && !targets.has(path)) {
            looks.set(path, look);
            targets.set(path, change);
            steps.push({ do: 'put', path, expect: undefined, node, keep: false });
            break;
          }
          if (sameContent(look.node, node)) {
            state.skipped.delete(versionId(change));
            break;
          }
        }
      }
      if (this.#options.dryRun === true) {
        this.#planned.push(...steps);
        continue;
      }
      if (staging === undefined) {
        return;
      }
      const place: ApplyPlace = {
        root: this.#root,
        disk: this.#disk,
        staging,
        conflictsDir: this.#conflictsDir,
        looks,
        implies: () => true,
        onKept: () => undefined,
        stage: path => {
          const change = targets.get(path);
          return change === undefined
            ? Promise.reject(new SyftError('INTERNAL', 'No version to stage.'))
            : staging.stage(reader, change);
        }
      };
      const outcomes = await applyBatch(place, steps, await stageAll(place, steps));
      for (const [step, outcome] of outcomes) {
        const change = targets.get(step.path);
        if (change === undefined) {
          continue;
        }
        if (outcome.kind === 'done') {
          state.skipped.delete(versionId(change));
          this.#counts.applied += 1;
          this.#counts.written += 1;
          this.emit('applied', { do: 'put', path: step.path, change, workspace });
          continue;
        }
        state.skipped.add(versionId(change));
        const problem =
          outcome.kind === 'failed'
            ? problemOf(outcome.error)
            : {
                code: 'PATH_INVALID',
                message: `${displayPath(step.path)} is in the way of a version; it was left alone.`
              };
        this.#problem(`step ${step.path} ${problem.code}`, { ...problem, path: displayPath(step.path) });
      }
      const streams = new Map<string, number>();
      for (const change of group) {
        streams.set(change.device, Math.max(change.seq, streams.get(change.device) ?? 0));
      }
      await state.advance(streams);
    }
  }

  // Telling

  #halt(reason: HaltReason, message: string): void {
    const again = this.#halted?.reason === reason && this.#halted.message === message;
    this.#halted = { reason, message };
    if (!again) {
      this.#log(`halted: ${message}`);
      this.emit('halted', this.#halted);
    }
  }

  #conflict(lost: ConflictEvent): void {
    const event = { ...lost, ...(lost.kept !== undefined && { keptIn: basename(this.#conflictsDir) }) };
    this.#counts.conflicts += 1;
    this.#log(
      `conflict at ${displayPath(event.path)}: the ${event.winner === 'log' ? 'received' : 'own'} version stands`
    );
    this.emit('conflict', event);
  }

  /** Reports a problem, once for each `key`. */
  #problem(key: string | undefined, problem: ProblemEvent): void {
    if (key !== undefined) {
      if (this.#reported.has(key)) {
        return;
      }
      this.#reported.add(key);
    }
    if (!DROPPED.has(problem.code)) this.#counts.problems += 1;
    this.#log(problem.message);
    this.emit('problem', problem);
  }

  #log(text: string): void {
    if (this.#options.verbose === true) {
      process.stderr.write(`syft-sync receive: ${text}\n`);
    }
  }
}

/** Where logs are fetched to that lie in storages; may be deleted while nobody receives. */
export function fetchDirectory(): string {
  const home = process.env['SYFT_SYNC_HOME'];
  if (home !== undefined && home !== '') return join(home, 'fetched');
  const caches = process.env['XDG_CACHE_HOME'];
  return join(caches !== undefined && caches !== '' ? caches : join(homedir(), '.cache'), 'syft-sync', 'fetched');
}

function setNode(tree: Map<PathName, Node>, path: PathName, node: Node | undefined): void {
  if (node === undefined) {
    tree.delete(path);
  } else {
    tree.set(path, node);
  }
}

function isFile(key: string): boolean {
  return key.startsWith('f') || key.startsWith('l');
}

function nameOfLast(moment: Moment | undefined): string {
  return moment === undefined ? '' : versionId(moment);
}

function lastMove(all: readonly Histories[], path: PathName): PathName | undefined {
  for (const histories of all) {
    const from = histories.moves.get(path);
    if (from !== undefined) {
      return from;
    }
  }
  return undefined;
}

function problemOf(error: unknown): ProblemEvent {
  if (error instanceof SyftError) {
    return { code: error.code, message: error.message, ...(error.path !== undefined && { path: error.path }) };
  }
  const message = error instanceof Error ? error.message : String(error);
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return { code: 'DISK_FULL', message: `The disk is full: ${message}` };
    case 'EROFS':
      return { code: 'DISK_READ_ONLY', message: `The disk is read-only: ${message}` };
    case 'EACCES':
    case 'EPERM':
      return { code: 'UNREADABLE', message: `No permission: ${message}` };
    case undefined:
      return { code: 'INTERNAL', message };
    default:
      return { code: 'DISK_ERROR', message };
  }
}

// The command line's part

export interface RunReceiveOptions {
  readonly logs: readonly (string | Storage)[];
  readonly out: string;
  readonly mode: 'latest' | 'all_versions';
  /** Apply what there is, and end. */
  readonly once: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly excludePatterns?: readonly string[];
  readonly ownLog?: string;
  readonly keysOf?: ReceiverOptions['keysOf'];
  readonly signal: AbortSignal;
  readonly onEvent: (event: ReceiveEvent) => void;
}

/** What `receive --json` prints, one a line. */
export type ReceiveEvent =
  | { readonly ready: true }
  | (ChangeJson & { readonly applied: Step['do']; readonly writtenTo?: string })
  | { readonly planned: Step['do']; readonly path: string; readonly from?: string }
  | {
      readonly conflict: 'disk' | 'log';
      readonly path: string;
      readonly versionId?: string;
      readonly kept?: string;
      readonly message: string;
    }
  | { readonly halted: HaltReason; readonly message: string }
  | { readonly problem: string; readonly path?: string; readonly message: string };

/**
 * Runs a receiver for the command line until the signal, or once.
 *
 * @returns Exit status: 0; with `once` 1 when halted or something could not be applied, 3 when a log was refused for being
 *   rewritten, 4 when no log was there.
 */
export async function runReceive(options: RunReceiveOptions): Promise<number> {
  const receiver = new SyftLogReceiver({
    logPath: options.logs,
    outputPath: options.out,
    syncMode: options.mode,
    signal: options.signal,
    ...(options.dryRun !== undefined && { dryRun: options.dryRun }),
    ...(options.force !== undefined && { force: options.force }),
    ...(options.excludePatterns !== undefined && { excludePatterns: options.excludePatterns }),
    ...(options.ownLog !== undefined && { ownLog: options.ownLog }),
    ...(options.keysOf !== undefined && { keysOf: options.keysOf })
  });
  const { onEvent } = options;
  receiver.on('applied', event => {
    const to = displayPath(event.path);
    onEvent({
      ...changeToJson(event.change),
      applied: event.do,
      ...(to !== displayPath(event.change.path) && { writtenTo: to })
    });
  });
  receiver.on('planned', step =>
    onEvent({
      planned: step.do,
      path: displayPath(step.path),
      ...(step.do === 'move' && { from: displayPath(step.from) })
    })
  );
  receiver.on('conflict', ({ path, winner, version, kept, keptIn = 'conflicts' }) =>
    onEvent({
      conflict: winner,
      path: displayPath(path),
      ...(version !== undefined && { versionId: version }),
      ...(kept !== undefined && { kept }),
      message:
        winner === 'disk'
          ? `Both sides changed ${displayPath(path)}: yours stands, the other one is in its log.`
          : `Both sides changed ${displayPath(path)}: the received one stands${kept === undefined ? '' : `, yours is kept as ${keptIn}/${kept}`}.`
    })
  );
  receiver.on('halted', ({ reason, message }) => onEvent({ halted: reason, message }));
  receiver.on('problem', ({ code, path, message }) =>
    onEvent({ problem: code, ...(path !== undefined && { path }), message })
  );
  try {
    if (options.once) {
      const report = await receiver.runOnce();
      const { sources } = receiver.getSyncStatus();
      if (sources.some(source => source.refused)) {
        return 3;
      }
      if (sources.every(source => !source.reachable)) {
        return 4;
      }
      onEvent({ ready: true });
      return report.halted !== undefined || report.problems > 0 ? 1 : 0;
    }
    await receiver.start();
    onEvent({ ready: true });
    if (!options.signal.aborted) {
      await new Promise<void>(done => options.signal.addEventListener('abort', () => done(), { once: true }));
    }
    return 0;
  } finally {
    await receiver.stop();
  }
}
