/**
 * The real recorder on the real kernel: strace kills it at, or makes fail, every system call with which it writes a log. Then
 * it is started again, the log is checked, and compared with what the recorder had said is recorded.
 *
 * `npm test` tries some of the calls, chosen by a seed (SYFT_FAULT_SEED); SYFT_FAULTS=all tries each of them with each fault.
 */
import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Change } from '../../../server/src/core/change.ts';
import { changeToJson } from '../../../server/src/core/change.ts';
import { applyChange, type Tree } from '../../../server/src/core/tree.ts';
import { deviceKey } from '../../../server/src/crypto/device-key.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { CommandLine, Watch } from '../cli/run.ts';
import { sha256, version } from './scratch.ts';
import {
  injecting,
  readTrace,
  site,
  straceProblem,
  TRACEABLE,
  tracing,
  wasReached,
  type Fault,
  type SystemCall
} from './strace.ts';

const ALL = process.env['SYFT_FAULTS'] === 'all';
/** The same sites each time; SYFT_FAULT_SEED=… takes others, SYFT_FAULTS=all every one. */
const SEED = Number(process.env['SYFT_FAULT_SEED'] ?? 1);
const SAMPLE = 8;
const FAULTS: readonly Fault[] = ['KILL', 'EIO', 'ENOSPC'];
const DEADLINE_MS = 60_000;

/** Where a recorder stands when the fault comes. */
interface Scenario {
  readonly name: string;
  /** Makes `<base>/root`, with or without a log, and `<base>/home`. */
  prepare(base: string): Promise<void>;
  /** One life of the recorder, to its end however it comes. */
  live(cli: CommandLine): Promise<Life>;
}

/** What a recorder said in its life. */
interface Life {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  /** Changes it said are recorded, as `--json` prints them. */
  readonly acknowledged: readonly Record<string, unknown>[];
  /** All that was there at its start is recorded, it said. */
  readonly all: boolean;
}

const big = (seed: string): string => Array.from({ length: 700 }, (_, i) => sha256(`${seed}${i}`)).join('\n');

function fill(root: string): void {
  mkdirSync(join(root, 'd'), { recursive: true });
  writeFileSync(join(root, 'a'), 'first');
  writeFileSync(join(root, 'd', 'b'), big('b'));
}

/** A log of some age, made through the library: closed cleanly, or left as by a crash with a torn frame at its end. */
async function agedLog(base: string, crashed: boolean): Promise<void> {
  const dir = join(base, 'root', '.syft-sync');
  const log = await openLogWriter({ dir, keyDir: join(base, 'home') });
  await log.append([version(log, 'a', 'older'), version(log, 'gone', 'no longer there')]);
  if (!crashed) {
    await log.close();
    return;
  }
  cpSync(dir, join(base, 'crashed'), { recursive: true });
  await log.close();
  rmSync(dir, { recursive: true });
  renameSync(join(base, 'crashed'), dir);
  rmSync(join(dir, 'locks'), { recursive: true });
  const segment = readdirSync(join(dir, 'log')).map(device =>
    join(dir, 'log', device, `${'1'.padStart(20, '0')}-000000.seg`)
  );
  for (const path of segment) appendFileSync(path, readFileSync(path).subarray(128, 300));
}

async function captured(cli: CommandLine): Promise<Life> {
  const child = cli.spawn(['--json', 'capture']);
  child.stdin?.end();
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { status, signal, stderr, acknowledged: [], all: stdout.includes('"captured"') };
}

/** The recorder itself, below strace. */
function tracee(watch: Watch): number | undefined {
  const { pid } = watch.child;
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  } catch {
    return undefined;
  }
}

/** A recorder that sees changes come, one after the other, and is then told to stop. */
async function watched(cli: CommandLine): Promise<Life> {
  const watch = new Watch(cli.spawn(['--json', '-v', 'watch']));
  const closed = once(watch.child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const all = (): boolean => watch.lines.some(line => line['ready'] === true);
  const edits: [string, () => void][] = [
    ['new', () => writeFileSync(join(cli.cwd, 'new'), big('new'))],
    ['a', () => writeFileSync(join(cli.cwd, 'a'), 'second')],
    ['d/moved', () => renameSync(join(cli.cwd, 'd', 'b'), join(cli.cwd, 'd', 'moved'))]
  ];
  try {
    await watch.until(line => line['ready'] === true);
    for (const [path, edit] of edits) {
      const before = watch.lines.length;
      edit();
      await watch.until(line => line['path'] === path && watch.lines.indexOf(line) >= before);
    }
  } catch (error) {
    // It has ended, which is what some of the faults are for.
    if (!watch.exited) throw error;
  }
  const pid = tracee(watch);
  if (pid !== undefined && !watch.exited) process.kill(pid, 'SIGTERM');
  const [status, signal] = await closed;
  return {
    status,
    signal,
    stderr: watch.stderr,
    acknowledged: watch.lines.filter(line => typeof line['versionId'] === 'string'),
    all: all()
  };
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'the first capture, which makes the log',
    prepare: base => {
      fill(join(base, 'root'));
      deviceKey(join(base, 'home'), join(base, 'home'));
      return Promise.resolve();
    },
    live: captured
  },
  {
    name: 'a capture of changes into a log that was closed',
    prepare: async base => {
      fill(join(base, 'root'));
      await agedLog(base, false);
    },
    live: captured
  },
  {
    name: 'a capture into a log that a crash left with a torn end',
    prepare: async base => {
      fill(join(base, 'root'));
      await agedLog(base, true);
    },
    live: captured
  },
  {
    name: 'a recorder that watches, edits that come one after the other, and its end',
    prepare: async base => {
      fill(join(base, 'root'));
      await agedLog(base, false);
    },
    live: watched
  }
];

function disk(root: string, at = ''): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const entry of readdirSync(join(root, at), { withFileTypes: true })) {
    const path = at === '' ? entry.name : `${at}/${entry.name}`;
    if (path === '.syft-sync') continue;
    if (entry.isDirectory()) for (const [name, bytes] of disk(root, path)) found.set(name, bytes);
    else found.set(path, readFileSync(join(root, path)));
  }
  return found;
}

/** Started again and closed; then all that was acknowledged is there, byte for byte, the log is sound, and it is what is on disk. */
async function sound(cli: CommandLine, before: Life): Promise<void> {
  const dir = join(cli.cwd, '.syft-sync');
  if (before.all) {
    // It said so before anyone started it again.
    const reader = await openLogReader({ dir });
    const hashes = new Set((await Array.fromAsync(reader.changes())).map(change => change.hash));
    await reader.close();
    for (const text of ['first', big('b')]) expect(hashes).toContain(sha256(text));
  }
  const again = await cli.run(['--json', 'capture']);
  expect([again.status, again.stderr]).toEqual([0, '']);
  const damages = [];
  for await (const damage of fsckLog(dir, { readData: true })) damages.push(damage);
  expect(damages).toEqual([]);
  const reader = await openLogReader({ dir, onDamage: damage => expect(damage).toBeUndefined() });
  try {
    const found = new Map<string, Change>();
    const tree: Tree = new Map();
    for await (const change of reader.changes()) {
      found.set(changeToJson(change).versionId, change);
      applyChange(tree, change);
    }
    for (const line of before.acknowledged) {
      const change = found.get(String(line['versionId']));
      if (change === undefined) throw new Error(`was acknowledged and is not there: ${JSON.stringify(line)}`);
      expect(changeToJson(change)).toEqual(line);
    }
    for (const change of found.values()) {
      if (change.content !== undefined) expect(sha256(await reader.contentBytes(change))).toBe(change.hash);
    }
    const present = disk(cli.cwd);
    expect([...tree.keys()].sort()).toEqual([...present.keys()].sort());
    for (const [path, bytes] of present) {
      expect((await reader.contentBytes(tree.get(path) as Change)).equals(bytes)).toBe(true);
    }
  } finally {
    await reader.close();
  }
}

/** Of the two ways to end after a failed call: it went on, or it said what is wrong with a code. */
function endedWell(life: Life, fault: Fault, call: SystemCall): void {
  if (fault === 'KILL') {
    expect(life.signal).toBe('SIGKILL');
  } else if (life.status !== 0) {
    expect(life.signal).toBeNull();
    expect(life.status).toBe(1);
    // A full disk that is noticed where a file that was read is closed: no disk does that, and any of its codes will do.
    const codes =
      call.name === 'close' ? /\[DISK_(FULL|ERROR)\]/ : fault === 'ENOSPC' ? /\[DISK_FULL\]/ : /\[DISK_ERROR\]/;
    expect(life.stderr).toMatch(codes);
  }
}

function shuffled<T>(items: readonly T[], seed: number): T[] {
  let state = seed % 2147483647 || 1;
  const random = (): number => (state = (state * 48271) % 2147483647) / 2147483647;
  return items
    .map(item => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

const problem = straceProblem();
if (problem !== undefined) console.warn(`system calls are not made to fail in this run: ${problem}`);

(problem === undefined ? test : test.skip).each(SCENARIOS.map(scenario => [scenario.name, scenario] as const))(
  'killed at, or failed by, the system calls of %s',
  async (_name, scenario) => {
    const base = mkdtempSync(join(tmpdir(), 'syft-sync-strace-'));
    const template = join(base, 'template');
    mkdirSync(template);
    await scenario.prepare(template);
    const made = (name: string, command: (dir: string) => string[]): { cli: CommandLine; dir: string } => {
      const here = join(base, name);
      cpSync(template, here, { recursive: true, preserveTimestamps: true });
      const dir = join(here, 'root', '.syft-sync');
      const cli = new CommandLine(join(here, 'root'), join(here, 'home'), command(dir));
      Object.assign(cli.env, TRACEABLE);
      return { cli, dir };
    };
    try {
      const file = join(base, 'whole.trace');
      const whole = made('whole', () => tracing(file));
      const undisturbed = await scenario.live(whole.cli);
      expect([undisturbed.status, undisturbed.stderr, undisturbed.all]).toEqual([0, '', true]);
      const calls = readTrace(file, whole.dir).filter(call => !call.reads);
      expect(calls.length).toBeGreaterThan(20);

      const jobs = calls.flatMap(call => FAULTS.map(fault => ({ call, fault })));
      const chosen = ALL ? jobs : shuffled(jobs, SEED).slice(0, SAMPLE);
      const hits = new Map<string, number>(FAULTS.map(fault => [fault, 0]));
      const missed: string[] = [];
      const failures: string[] = [];
      const one = async ({ call, fault }: { call: SystemCall; fault: Fault }, n: number): Promise<void> => {
        const trace = join(base, `${n}.trace`);
        const { cli, dir } = made(`run-${n}`, dir => injecting(trace, dir, call, fault));
        try {
          const life = await within(scenario.live(cli));
          // A run may group what it writes otherwise, and then has fewer calls than the one that was traced.
          if (!wasReached(readTrace(trace, dir), call, fault)) missed.push(`${fault} ${site(call)}`);
          else {
            hits.set(fault, (hits.get(fault) ?? 0) + 1);
            endedWell(life, fault, call);
          }
          await within(sound(new CommandLine(cli.cwd, join(cli.cwd, '..', 'home')), life));
        } catch (error) {
          failures.push(`${fault} at ${site(call)}: ${String(error)}`);
        }
        rmSync(join(base, `run-${n}`), { recursive: true, force: true });
      };
      let next = 0;
      const worker = async (): Promise<void> => {
        for (let n = next++; n < chosen.length; n = next++) await one(chosen[n] as (typeof jobs)[number], n);
      };
      await Promise.all([worker(), worker()]);
      if (ALL) {
        const counts = [...hits].map(([fault, n]) => `${fault} ${n}`).join(', ');
        console.log(
          `${scenario.name}: ${calls.length} calls; ${counts}; not reached: ${missed.length} ${missed.join('; ')}`
        );
      }
      if (failures.length > 0) {
        const how = ALL ? 'SYFT_FAULTS=all' : `SYFT_FAULT_SEED=${SEED}`;
        throw new Error(`${failures.length} of ${chosen.length} (again with ${how}):\n${failures.join('\n')}`);
      }
      expect(missed.length).toBeLessThan(Math.max(3, chosen.length / 4));
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  },
  ALL ? 1_800_000 : 120_000
);

/** A recorder that neither goes on nor ends has failed as well. */
async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing more happened in ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
