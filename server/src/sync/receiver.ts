/**
 * The way out of the log: applies what other logs record to a directory, and goes on doing so.
 *
 * One pass: read what is new, relate each touched path to our own history (core/lineage.ts), look at the disk, plan
 * (core/reconcile.ts), carry out (apply.ts), remember (cursor.ts). A pass can be cut off anywhere: the next one finds what is
 * done by content and does the rest.
 */
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, relative, resolve, sep } from 'node:path';
import { versionId, type Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { CONFLICTS_DIR_NAME, IgnoreRules, LOG_DIR_NAME } from '../core/ignore-rules.ts';
import type { Moment } from '../core/lineage.ts';
import { baseName, displayPath, normalizeRelative, type PathName } from '../core/path-name.ts';
import { causeOf } from '../core/received.ts';
import { deletesTooMuch, reconcile, type Blocked, type Plan, type Step } from '../core/reconcile.ts';
import type { Storage } from '../storage/storage.ts';
import { Agreements } from './agreements.ts';
import { intentsOf, writeIntents } from './announce.ts';
import { applyBatch, batches, conflictsOf, keep, stageAll, type ApplyPlace, type Outcome } from './apply.ts';
import { ReceiveState } from './cursor.ts';
import { Source } from './followed-source.ts';
import { gather, type Gathered } from './gather.ts';
import { type Histories, type LogMoment } from './history.ts';
import { judgeLeftOvers } from './left-overs.ts';
import { DiskView } from './look.ts';
import { Output } from './output.ts';
import {
  problemOf,
  type ConflictEvent,
  type HaltEvent,
  type HaltReason,
  type ProblemEvent,
  type ReceiveReport,
  type ReceiverEvents,
  type ReceiverOptions,
  type SyncStatus
} from './receiving.ts';
import { FollowedLog, type RemoteLog } from './source.ts';
import { Staging } from './stage.ts';
import { HOLD_POLL_MS, Waiting } from './waiting.ts';
import { writeVersions } from './write-versions.ts';

/** Told, but no failure: there is nothing to apply, and there will not be. */
const DROPPED: ReadonlySet<string> = new Set(['VERSION_PRUNED', 'VERSION_ERASED']);

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

/** Applies other logs to a directory. `await using`, or {@link SyftLogReceiver.stop}. */
export class SyftLogReceiver extends EventEmitter<ReceiverEvents> implements AsyncDisposable {
  readonly #options: ReceiverOptions;
  readonly #mode: 'latest' | 'all_versions';
  readonly #output: Output;
  readonly #ownLogDir: string;
  readonly #sources: Source[];
  readonly #own: FollowedLog;
  #ownThere = false;
  #privateDir = '';
  #disk: DiskView;
  #rules: IgnoreRules;
  readonly #waiting = new Waiting();
  readonly #agreements: Agreements;
  readonly #reported = new Set<string>();
  readonly #counts = { processed: 0, conflicts: 0, problems: 0, applied: 0, written: 0 };
  #halted: HaltEvent | undefined;
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
    this.#output = new Output(resolve(options.outputPath));
    this.#ownLogDir = resolve(options.ownLog ?? join(this.#output.path, LOG_DIR_NAME));
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
    this.#agreements = new Agreements(this.#sources);
    if (this.#sources.some(source => source.log.logPath === this.#ownLogDir)) {
      throw new SyftError('BAD_REQUEST', 'A directory cannot receive from its own log. Give the log of another one.', {
        path: this.#ownLogDir
      });
    }
    this.#own = new FollowedLog(this.#ownLogDir, { onHint, onDamage, ...withKeys });
    this.#disk = new DiskView(this.#output.path);
    this.#rules = new IgnoreRules({ readIgnoreFile: () => undefined });
  }

  /** The copy is this receiver's alone: it is remembered by its path how far the log was seen. */
  #remote(storage: Storage): RemoteLog {
    const key = createHash('sha256').update(`${storage.location}\0${this.#output.path}`).digest('hex').slice(0, 32);
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
      if (this.#halted !== undefined || this.#options.dryRun === true || this.#waiting.due === undefined) {
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
      this.#agreements.forget();
      this.#output.forget();
      this.#waiting.clear();
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
      outputPath: this.#output.path,
      syncMode: this.#mode,
      filesTracked: this.#mode === 'latest' ? this.#agreements.files : this.#counts.written,
      versionsProcessed: this.#counts.processed,
      pending: this.#waiting.size + this.#sources.reduce((sum, source) => sum + source.queue.length, 0),
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
    const stats = await stat(this.#output.path).catch(() => undefined);
    if (stats !== undefined && !stats.isDirectory()) {
      throw new SyftError('WATCH_PATH_NOT_DIRECTORY', `${this.#output.path} is not a directory.`, {
        path: this.#output.path
      });
    }
    for (const { log } of this.#sources) {
      const inside = relative(log.logPath, this.#output.path);
      if (inside === '' || (!inside.startsWith('..') && !inside.startsWith(sep))) {
        throw new SyftError('BAD_REQUEST', 'The output lies inside the log it would receive from.', {
          path: this.#output.path
        });
      }
    }
    this.#opened = true;
    this.#halted = undefined;
    this.#reported.clear();
  }

  /** Makes or checks the output. False when it is not safe to write there. */
  async #checkRoot(force: boolean): Promise<boolean> {
    const before = this.#output.root;
    const dryRun = this.#options.dryRun === true;
    const halt = await this.#output.check({ tracked: this.#agreements.files, force, dryRun });
    if (this.#output.root !== before) this.#disk = new DiskView(this.#output.root);
    if (halt !== undefined) this.#halt(halt.reason, halt.message);
    return halt === undefined;
  }

  /** Reads what is new in our own log, if there is one. */
  async #readOwn(): Promise<void> {
    try {
      const changes = await this.#own.next();
      this.#ownThere = true;
      for (const change of changes) {
        for (const path of this.#own.histories?.add(change) ?? []) {
          this.#waiting.touch(path);
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
        this.#waiting.touch(path);
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
      throw new SyftError(
        'BAD_REQUEST',
        `${source.log.location} is a copy of the log of ${this.#output.path} itself.`,
        {
          path: source.log.location
        }
      );
    }
    this.#privateDir = this.#ownThere ? this.#ownLogDir : join(this.#output.root, LOG_DIR_NAME);
    const name = `receive/${workspaceId}${this.#mode === 'latest' ? '' : '-versions'}`;
    const dir = join(this.#privateDir, name);
    const readOnly = this.#options.dryRun === true;
    const keys = this.#ownThere ? this.#own.keys : source.log.keys;
    const state = await ReceiveState.open(dir, { readOnly, ...(keys !== undefined && { seal: { keys, name } }) });
    try {
      this.#agreements.load(state);
      if (!readOnly) {
        source.staging = await Staging.open(await this.#output.stagingFor(dir, workspaceId, this.#ownEncrypted));
      }
      this.#rules = new IgnoreRules({
        readIgnoreFile: () => undefined,
        ...(this.#options.excludePatterns !== undefined && { excludePatterns: this.#options.excludePatterns }),
        logPath: normalizeRelative(relative(this.#output.root, this.#ownLogDir))
      });
      return state;
    } catch (error) {
      await state.close();
      throw error;
    }
  }

  /** Also while that log is away for a moment. */
  get #ownEncrypted(): boolean {
    return this.#own.keys !== undefined;
  }

  /** What lost a conflict is a file of the output, in the clear as that is: it does not come into an encrypted log. */
  get #conflictsDir(): string {
    return this.#ownEncrypted ? join(this.#output.root, CONFLICTS_DIR_NAME) : conflictsOf(this.#privateDir);
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
    await judgeLeftOvers(leftOver, known, async path => {
      const kept = await keep({ conflictsDir: this.#conflictsDir }, `left-over/${baseName(path)}`, path, undefined);
      this.#conflict({ path: kept, winner: 'log', kept });
    });
  }

  // The live loop

  async #follow(): Promise<void> {
    while (!this.#stopping) {
      const wait = Math.min(this.#waiting.due ?? Infinity, this.#options.pollIntervalMs ?? DEFAULT_POLL_MS);
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

  // One pass

  async #pass({ force: forceNow = false, now: fetchNow = false } = {}): Promise<void> {
    const force = forceNow || this.#options.force === true;
    if (this.#output.root === '') {
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
    this.#waiting.checkRecorded(now, path => this.#own.histories?.last(path)?.key === this.#agreements.on(path)?.key);
    const waiting =
      this.#mode === 'latest' ? this.#waiting.size : active.reduce((sum, source) => sum + source.queue.length, 0);
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
        await writeVersions(source, {
          root: this.#output.root,
          disk: this.#disk,
          conflictsDir: this.#conflictsDir,
          stopping: () => this.#stopping,
          allowed: change => this.#allowed(change.path, change.type === 'directory'),
          onProblem: (key, problem) => this.#problem(key, problem),
          onWritten: (path, change) => {
            this.#counts.applied += 1;
            this.#counts.written += 1;
            this.emit('applied', { do: 'put', path, change, workspace: source.log.workspaceId ?? '' });
          },
          ...(this.#options.dryRun === true && { planned: this.#planned })
        });
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

  /** @returns False when a safety halt stopped it. */
  async #applyLatest(active: readonly Source[], force: boolean): Promise<boolean> {
    const all = active.map(source => source.log.histories).filter(histories => histories !== undefined);
    const gathered = await gather(all, {
      waiting: this.#waiting,
      agreements: this.#agreements,
      disk: this.#disk,
      own: this.#ownThere ? this.#own : undefined,
      force,
      recordWaitMs: this.#options.recordWaitMs ?? DEFAULT_RECORD_WAIT_MS,
      allowed: (path, isDirectory) => this.#allowed(path, isDirectory),
      onProblem: (key, problem) => this.#problem(key, problem)
    });
    const { ancestor, disk, log, moves, newer, held } = gathered;
    if (held.size > 0 && this.#options.dryRun !== true) {
      await this.#options.recorder
        ?.captureNow?.([...held])
        .catch((error: unknown) => this.#problem(`capture ${String(error)}`, problemOf(error)));
    }
    const plan = reconcile({ ancestor, disk, log, moves, newer: path => newer.get(path) ?? 'log' });

    const deletes = plan.steps.filter(step => step.do === 'remove' && step.expect.type !== 'directory').length;
    if (!force && deletesTooMuch(deletes, this.#agreements.files, this.#options.maxDeleteFraction ?? 0.5)) {
      this.#halt(
        'too-many-deletes',
        `${deletes} of ${this.#agreements.files} files in ${this.#output.path} would be deleted; nothing is applied until you say so with force.`
      );
      return false;
    }
    if (this.#options.dryRun === true) {
      this.#planned.push(...plan.steps);
      for (const step of plan.steps) {
        this.emit('planned', step);
      }
      this.#waiting.dropPending();
      return true;
    }
    await this.#carryOut(active, all, plan, gathered);
    return true;
  }

  async #carryOut(
    active: readonly Source[],
    all: readonly Histories[],
    plan: Plan,
    { looks, log, sources, held }: Gathered
  ): Promise<void> {
    const staging = active.map(source => source.staging).find(found => found !== undefined);
    if (staging === undefined) {
      return;
    }
    const sourceOf = (workspace: string): Source | undefined =>
      active.find(source => source.log.workspaceId === workspace);
    const place: ApplyPlace = {
      root: this.#output.root,
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
        !held.has(path) &&
        looks.get(path)?.node === undefined &&
        (this.#agreements.on(path)?.key ?? '') !== ''
    );
    const decided = { log, moments: sources };
    const ownLast = (path: PathName): Moment | undefined => this.#own.histories?.last(path);
    const refused = new Set(plan.settled.filter(path => conflicts.get(path)?.winner === 'disk'));
    await this.#agreements.agree(active, [...plan.settled, ...gone], decided, ownLast, refused);
    for (const path of plan.settled) {
      const conflict = conflicts.get(path);
      if (conflict?.winner === 'disk') {
        this.#conflict({ path, winner: 'disk', ...version(path) });
      }
      this.#waiting.done(path);
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
      await this.#agreements.agree(active, agreed, decided, ownLast);
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
      if (!touched.has(path) && !blocked.has(path) && !held.has(path)) {
        this.#waiting.done(path);
      }
    }
    if (this.#waiting.onlyRetries) {
      for (const { state, log: followed } of active) {
        await state?.advance(followed.histories?.streams ?? new Map());
      }
    }
  }

  /** Tells the recorder of the output what is about to appear, so that it can say where it came from. */
  async #announce(steps: readonly Step[], sources: ReadonlyMap<PathName, LogMoment>): Promise<void> {
    if (!this.#ownThere && this.#options.recorder === undefined) {
      return;
    }
    const intents = intentsOf(steps, sources);
    if (this.#ownThere) await writeIntents(this.#ownLogDir, intents, this.#own.keys);
    else for (const intent of intents) this.#options.recorder?.expect(intent.path, intent.hash, causeOf(intent));
  }

  #report(step: Step, outcome: Outcome, moment: LogMoment | undefined): void {
    switch (outcome.kind) {
      case 'done':
        this.#waiting.done(step.path);
        if (step.do === 'move') {
          this.#waiting.done(step.from);
        }
        if (moment !== undefined) {
          this.#counts.applied += 1;
          if (this.#ownThere) {
            this.#waiting.written(step.path);
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
        this.#waiting.again(step.path);
        return;
      case 'failed': {
        this.#waiting.later(step.path);
        const problem = problemOf(outcome.error);
        this.#problem(`step ${step.path} ${problem.code}`, { ...problem, path: displayPath(step.path) });
      }
    }
  }

  #block(path: PathName, reason: Blocked['reason']): void {
    this.#waiting.later(path);
    this.#problem(`blocked ${path}`, {
      path: displayPath(path),
      code: 'PATH_INVALID',
      message:
        reason === 'below-a-file'
          ? `The log has ${displayPath(path)} below something that is not a directory; it was left out.`
          : `What stands at ${displayPath(path)} cannot be read or replaced; it was left alone.`
    });
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
