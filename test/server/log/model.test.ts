/**
 * Random lives of a workspace against an oracle in memory: files are written, moved and removed, recorded, versions are pinned,
 * old ones pruned, the log compacted, the recorder is restarted, or crashes in the middle of writing, pruning or compacting. Whatever the order, what was said to be
 * recorded and is to be kept is there, byte for byte, what was pruned says so, the log is sound, and after recording its tree is what
 * the oracle says is on disk.
 *
 * 300 lives in `npm test`; SYFT_MODEL_RUNS=10000 for the long mode, SYFT_MODEL_SEED to have one again.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Recorder } from '../../../server/src/capture/recorder.ts';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { markVersion } from '../../../server/src/library/version-marks.ts';
import { compactLog } from '../../../server/src/log/compact.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { pruneLog, type Pruned } from '../../../server/src/log/prune.ts';
import type { OpenReader, OpenWriter } from '../../../server/src/log/types.ts';
import { quickDirectory } from './scratch.ts';

const RUNS = Number(process.env['SYFT_MODEL_RUNS'] ?? 300);
const SEED = process.env['SYFT_MODEL_SEED'];

/** A version that was recorded: what it must be for ever. */
interface Version {
  readonly kind: string;
  readonly path: string;
  readonly content: string | undefined;
  pinned?: true;
  /** It was pruned: who asks for its content gets it, as long as another version has the same, or is told. */
  gone?: true;
}

/** The oracle: what is on disk, and what was said to be recorded. */
class Oracle {
  readonly files = new Map<string, string>();
  /** What the log has last of each path. */
  readonly recorded = new Map<string, string | undefined>();
  readonly history = new Map<string, Version>();

  /** The versions that a prune takes of which all but the last content of each path is too old. */
  prunable(): string[] {
    const there = [...this.history].filter(([, { content, gone }]) => content !== undefined && gone === undefined);
    const last = new Map(there.map(([id, { path }]) => [path, id]));
    const stays = new Set(
      there
        .filter(([id, { path, pinned }]) => pinned === true || last.get(path) === id)
        .map(([, { content }]) => content)
    );
    return there.filter(([, { content }]) => !stays.has(content)).map(([id]) => id);
  }
}

/** The real thing: a directory, a log and a recorder, which die and come back. */
class Real {
  readonly base = mkdtempSync(join(quickDirectory(), 'syft-sync-model-'));
  readonly root = join(this.base, 'root');
  #life = 0;
  log!: OpenWriter;
  recorder!: Recorder;
  /** What the recorder has said since it was last asked. */
  said: Change[] = [];

  get dir(): string {
    return join(this.base, String(this.#life), 'log');
  }

  async open(): Promise<void> {
    this.log = await openLogWriter({
      dir: this.dir,
      keyDir: join(this.base, 'keys'),
      onDamage: damage => {
        throw new Error(`damage after a crash: ${damage.message}`);
      }
    });
    this.recorder = await Recorder.open({
      root: this.root,
      log: this.log,
      logDir: this.dir,
      cacheDir: join(this.dir, 'cache'),
      hints: 'none'
    });
    this.recorder.on('change', change => this.said.push(change));
  }

  async close(): Promise<void> {
    await this.recorder.stop();
    await this.log.close();
  }

  /**
   * The process is gone. The disk is what it was when this is called: the log goes on in a copy of it, and what the old
   * process still does reaches no one.
   *
   * @param then What else the crash did to the copy.
   */
  async crash(then: (dir: string) => void = () => undefined): Promise<void> {
    const from = this.dir;
    const { recorder, log } = this;
    this.#life += 1;
    cpSync(from, this.dir, { recursive: true, preserveTimestamps: true });
    rmSync(join(this.dir, 'locks'), { recursive: true, force: true });
    const [keys, aside] = [join(this.base, 'keys'), join(this.base, 'keys then')];
    cpSync(keys, aside, { recursive: true, preserveTimestamps: true });
    recorder.removeAllListeners('change');
    await recorder.stop();
    await log.close();
    rmSync(dirname(from), { recursive: true });
    // The old process has remembered a checkpoint of what the crash takes back.
    rmSync(keys, { recursive: true });
    renameSync(aside, keys);
    then(this.dir);
    await this.open();
  }

  path(name: string): string {
    return join(this.root, name);
  }

  /** The last segment of the only stream. */
  segment(): { path: string; length: number } | undefined {
    const streams = join(this.dir, 'log');
    const device = existsSync(streams) ? readdirSync(streams)[0] : undefined;
    const name =
      device === undefined
        ? undefined
        : readdirSync(join(streams, device))
            .filter(n => n.endsWith('.seg'))
            .sort()
            .at(-1);
    if (device === undefined || name === undefined) return undefined;
    const path = join('log', device, name);
    return { path, length: statSync(join(this.dir, path)).size };
  }

  /** Takes every content but the last of each path, and what is pinned. */
  prune(): Promise<Pruned> {
    return pruneLog(this.log, { keepAll: 0, timeZone: 'UTC' }, { now: (Date.now() + 60_000) * 1000 });
  }
}

/**
 * The content that a change must have: what stands there. What was moved and edited since is recorded as a move with the old
 * content and a modification.
 */
function contentOf(oracle: Oracle, change: Change, later: readonly Change[]): string | undefined {
  if (change.kind === 'deleted' || change.type !== 'file') return undefined;
  const moved = change.kind === 'moved' && later.some(next => next.path === change.path);
  return moved ? oracle.recorded.get(change.from ?? '') : oracle.files.get(change.path);
}

/** These changes are in the log now. */
function learn(oracle: Oracle, changes: readonly Change[]): void {
  for (const [i, change] of changes.entries()) {
    const content = contentOf(oracle, change, changes.slice(i + 1));
    oracle.history.set(versionId(change), { kind: change.kind, path: change.path, content });
    if (change.from !== undefined) oracle.recorded.delete(change.from);
    oracle.recorded.set(change.path, content);
  }
}

/** What the recorder has said is recorded now; each must be what the oracle says stands there. */
function acknowledge(oracle: Oracle, real: Real): void {
  learn(oracle, real.said.splice(0));
}

/**
 * Everything that was said to be recorded is there, and the log is sound. What else is there was on its way: known from now on.
 *
 * @param log Who is asked: after a crash the writer that came back, for a reader is still shown what is about to be cut off.
 */
async function remembers(oracle: Oracle, real: Real, log: OpenReader): Promise<void> {
  const damages = [];
  for await (const damage of fsckLog(real.dir, { readData: true })) damages.push(damage);
  expect(damages).toEqual([]);
  const changes = await Array.fromAsync(log.changes());
  // What was on its way when the crash came must be what stood there then, which is what still stands there.
  learn(
    oracle,
    changes.filter(change => !oracle.history.has(versionId(change)))
  );
  expect(changes.length).toBe(oracle.history.size);
  for (const change of changes) {
    const id = versionId(change);
    const version = oracle.history.get(id);
    const content = await contentNow(log, change, version);
    expect([id, change.kind, change.path, content]).toEqual([id, version?.kind, version?.path, version?.content]);
  }
}

/** The content of a version; of one that was pruned, and whose content is gone, what it was. */
async function contentNow(log: OpenReader, change: Change, version: Version | undefined): Promise<string | undefined> {
  if (change.content === undefined) return undefined;
  try {
    return (await log.contentBytes(change)).toString('utf8');
  } catch (error) {
    if (version?.gone !== true || !(error instanceof SyftError) || error.code !== 'VERSION_PRUNED') throw error;
    expect(log.dropped(change)).toMatchObject({ retention: { act: 'prune' } });
    return version.content;
  }
}

/** The same of a log that is closed. Where nothing was written since a crash, what it tore is still to be cut off. */
async function kept(oracle: Oracle, real: Real): Promise<void> {
  await real.open();
  await remembers(oracle, real, real.log);
  await real.close();
  await using reader = await openLogReader({ dir: real.dir });
  const found = new Set((await Array.fromAsync(reader.changes())).map(versionId));
  for (const id of oracle.history.keys()) expect(found).toContain(id);
}

/** After recording, the tree of the log is the oracle's. */
async function agrees(oracle: Oracle, real: Real): Promise<void> {
  const recorded = new Map<string, string>();
  for (const [path, change] of real.recorder.tree) {
    if (change.type === 'file') recorded.set(path, (await real.log.contentBytes(change)).toString('utf8'));
  }
  expect([...recorded].sort()).toEqual([...oracle.files].sort());
}

type Command = fc.AsyncCommand<Oracle, Real>;

class Write implements Command {
  readonly path: string;
  readonly content: string;
  readonly whole: boolean;
  constructor(path: string, content: string, whole: boolean) {
    this.path = path;
    this.content = content;
    this.whole = whole;
  }
  check(oracle: Readonly<Oracle>): boolean {
    // A file is where a directory would be needed, or the other way round.
    return ![...oracle.files.keys()].some(
      other => other.startsWith(`${this.path}/`) || this.path.startsWith(`${other}/`)
    );
  }
  run(oracle: Oracle, real: Real): Promise<void> {
    const path = real.path(this.path);
    if (!oracle.files.has(this.path)) rmSync(path, { recursive: true, force: true });
    mkdirSync(dirname(path), { recursive: true });
    if (this.whole) {
      writeFileSync(`${path}.tmp`, this.content);
      renameSync(`${path}.tmp`, path);
    } else writeFileSync(path, this.content);
    oracle.files.set(this.path, this.content);
    return Promise.resolve();
  }
  toString(): string {
    return `write(${this.path}, ${this.content.length} bytes of ${JSON.stringify(this.content.slice(0, 8))}, ${this.whole ? 'by rename' : 'in place'})`;
  }
}

class Remove implements Command {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
  check(oracle: Readonly<Oracle>): boolean {
    return [...oracle.files.keys()].some(path => path === this.path || path.startsWith(`${this.path}/`));
  }
  run(oracle: Oracle, real: Real): Promise<void> {
    rmSync(real.path(this.path), { recursive: true });
    for (const path of oracle.files.keys()) {
      if (path === this.path || path.startsWith(`${this.path}/`)) oracle.files.delete(path);
    }
    return Promise.resolve();
  }
  toString(): string {
    return `remove(${this.path})`;
  }
}

/** A file, or a directory with all that is below it. */
class Move implements Command {
  readonly from: string;
  readonly to: string;
  constructor(from: string, to: string) {
    this.from = from;
    this.to = to;
  }
  check(oracle: Readonly<Oracle>): boolean {
    const paths = [...oracle.files.keys()];
    const below = (path: string, dir: string): boolean => path === dir || path.startsWith(`${dir}/`);
    return (
      !below(this.to, this.from) &&
      !below(this.from, this.to) &&
      paths.some(path => below(path, this.from)) &&
      !paths.some(path => path.startsWith(`${this.to}/`) || this.to.startsWith(`${path}/`)) &&
      // Onto a file only a file can be moved.
      (oracle.files.has(this.from) || !oracle.files.has(this.to))
    );
  }
  run(oracle: Oracle, real: Real): Promise<void> {
    if (!oracle.files.has(this.to)) rmSync(real.path(this.to), { recursive: true, force: true });
    mkdirSync(dirname(real.path(this.to)), { recursive: true });
    renameSync(real.path(this.from), real.path(this.to));
    for (const [path, content] of [...oracle.files]) {
      if (path !== this.from && !path.startsWith(`${this.from}/`)) continue;
      oracle.files.delete(path);
      oracle.files.set(this.to + path.slice(this.from.length), content);
    }
    return Promise.resolve();
  }
  toString(): string {
    return `move(${this.from}, ${this.to})`;
  }
}

class Record implements Command {
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.recorder.flush();
    acknowledge(oracle, real);
    await agrees(oracle, real);
  }
  toString = (): string => 'record';
}

class Restart implements Command {
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.close();
    acknowledge(oracle, real);
    await kept(oracle, real);
    await real.open();
  }
  toString = (): string => 'restart';
}

/** Between two commits. */
class Crash implements Command {
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.crash();
    await remembers(oracle, real, real.log);
  }
  toString = (): string => 'crash';
}

/** While a recording is under way, a few turns of the event loop after it began. */
class CrashWhileRecording implements Command {
  readonly turns: number;
  constructor(turns: number) {
    this.turns = turns;
  }
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    const recording = real.recorder.flush().catch(() => undefined);
    for (let i = 0; i < this.turns; i += 1) await new Promise(resolve => setImmediate(resolve));
    // What it has said so far was said before the crash.
    acknowledge(oracle, real);
    await real.crash();
    await recording;
    await remembers(oracle, real, real.log);
  }
  toString(): string {
    return `crash(${this.turns} turns into recording)`;
  }
}

/** A version that people want to keep. */
class Pin implements Command {
  readonly which: number;
  constructor(which: number) {
    this.which = which;
  }
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    const there = [...oracle.history].filter(([, { content, gone }]) => content !== undefined && gone === undefined);
    const [id, version] = there[Math.floor(this.which * there.length)] ?? [];
    if (id === undefined || version === undefined) return;
    for await (const change of real.log.changes()) {
      if (versionId(change) === id) await markVersion(real.log, change, { versionId: id, act: 'pin' });
    }
    version.pinned = true;
  }
  toString(): string {
    return `pin(version at ${this.which})`;
  }
}

class Prune implements Command {
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.recorder.flush();
    acknowledge(oracle, real);
    const expected = oracle.prunable();
    const { lost } = await real.prune();
    expect(lost.map(version => version.versionId).sort()).toEqual(expected.sort());
    for (const id of expected) (oracle.history.get(id) as Version).gone = true;
    await remembers(oracle, real, real.log);
    for await (const change of real.log.changes()) {
      const version = oracle.history.get(versionId(change));
      if (!expected.includes(versionId(change)) || version?.content === '') continue;
      await expect(real.log.contentBytes(change)).rejects.toMatchObject({ code: 'VERSION_PRUNED' });
    }
  }
  toString = (): string => 'prune';
}

/** While a prune is under way. It was announced, and the next opening ends it, or nothing is gone. */
class CrashWhilePruning implements Command {
  readonly turns: number;
  constructor(turns: number) {
    this.turns = turns;
  }
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.recorder.flush();
    acknowledge(oracle, real);
    const expected = oracle.prunable();
    const acts = real.log.acts().length;
    const pruning = real.prune().catch(() => undefined);
    for (let i = 0; i < this.turns; i += 1) await new Promise(resolve => setImmediate(resolve));
    await real.crash();
    await pruning;
    if (real.log.acts().length > acts) {
      for (const id of expected) (oracle.history.get(id) as Version).gone = true;
    }
    await remembers(oracle, real, real.log);
  }
  toString(): string {
    return `crash(${this.turns} turns into pruning)`;
  }
}

class Compact implements Command {
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.recorder.flush();
    acknowledge(oracle, real);
    expect((await compactLog(real.log, { all: true })).damaged).toEqual([]);
    await remembers(oracle, real, real.log);
  }
  toString = (): string => 'compact';
}

class CrashWhileCompacting implements Command {
  readonly turns: number;
  constructor(turns: number) {
    this.turns = turns;
  }
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    await real.recorder.flush();
    acknowledge(oracle, real);
    const compacting = compactLog(real.log, { all: true }).catch(() => undefined);
    for (let i = 0; i < this.turns; i += 1) await new Promise(resolve => setImmediate(resolve));
    await real.crash();
    await compacting;
    await remembers(oracle, real, real.log);
  }
  toString(): string {
    return `crash(${this.turns} turns into compacting)`;
  }
}

type Torn = 'cut' | 'zeros' | 'junk';

/** After the write and before the sync came back: nobody was told, and the disk kept only a part of what was written. */
class CrashBeforeSync implements Command {
  readonly how: Torn;
  readonly share: number;
  constructor(how: Torn, share: number) {
    this.how = how;
    this.share = share;
  }
  check = (): boolean => true;
  async run(oracle: Oracle, real: Real): Promise<void> {
    const before = real.segment();
    await real.recorder.flush();
    // It was never heard.
    real.said = [];
    const after = real.segment();
    await real.crash(dir => {
      if (after === undefined) return;
      const synced = before?.path === after.path ? before.length : 128;
      const kept = synced + Math.floor((after.length - synced) * this.share);
      const path = join(dir, after.path);
      if (this.how === 'cut') truncateSync(path, kept);
      else {
        const bytes = readFileSync(path);
        const piece = bytes.subarray(kept, after.length);
        if (this.how === 'zeros') piece.fill(0);
        else for (let i = 0; i < piece.length; i += 1) piece[i] = (piece[i] ?? 0) ^ ((i * 167 + 13) & 0xff);
        writeFileSync(path, bytes);
      }
    });
    await remembers(oracle, real, real.log);
  }
  toString(): string {
    return `crash(before the sync, ${this.how} at ${this.share})`;
  }
}

const path = fc.constantFrom('a', 'b', 'c', 'd/a', 'd/b', 'd/e/f', 'g/h');
const place = fc.constantFrom('a', 'b', 'd', 'd/a', 'd/e', 'g', 'i');
const content = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('one', 'two', 'three', '') },
  { weight: 2, arbitrary: fc.nat(999).map(n => `text ${n}`) },
  { weight: 1, arbitrary: fc.nat(9).map(n => `${n} `.repeat(20_000)) }
);
const share = fc.nat(1000).map(n => n / 1000);

/** All that may happen to a workspace. What comes to act on a log joins the list. */
const COMMANDS: fc.Arbitrary<Command>[] = [
  fc.tuple(path, content, fc.boolean()).map(([at, text, whole]) => new Write(at, text, whole)),
  fc.tuple(path, content, fc.boolean()).map(([at, text, whole]) => new Write(at, text, whole)),
  place.map(at => new Remove(at)),
  fc.tuple(place, place).map(([from, to]) => new Move(from, to)),
  fc.constant(new Record()),
  fc.constant(new Restart()),
  fc.constant(new Crash()),
  fc.nat(12).map(turns => new CrashWhileRecording(turns)),
  fc.nat(999).map(n => new Pin(n / 1000)),
  fc.constant(new Prune()),
  fc.nat(40).map(turns => new CrashWhilePruning(turns)),
  fc.constant(new Compact()),
  fc.nat(60).map(turns => new CrashWhileCompacting(turns)),
  fc.tuple(fc.constantFrom<Torn>('cut', 'zeros', 'junk'), share).map(([how, at]) => new CrashBeforeSync(how, at))
];

test(
  `${RUNS} random lives: nothing that was said to be recorded is ever lost`,
  async () => {
    let lives = 0;
    await fc.assert(
      fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 20 }), async commands => {
        lives += 1;
        const real = new Real();
        const oracle = new Oracle();
        mkdirSync(real.root);
        // A directory that comes back empty from a crash may be a disk that is not mounted: there a recorder waits, by design.
        await new Write('keeps', 'this', false).run(oracle, real);
        try {
          await real.open();
          await fc.asyncModelRun(() => ({ model: oracle, real }), commands);
          await new Record().run(oracle, real);
          await real.close();
          acknowledge(oracle, real);
          await kept(oracle, real);
        } finally {
          await real.recorder?.stop().catch(() => undefined);
          await real.log?.close().catch(() => undefined);
          rmSync(real.base, { recursive: true, force: true });
        }
      }),
      { numRuns: RUNS, ...(SEED !== undefined && { seed: Number(SEED) }) }
    );
    if (process.env['SYFT_MODEL_RUNS'] !== undefined) console.log(`${lives} lives`);
  },
  // A limit against hanging.
  120_000 + RUNS * 1_000
);
