/**
 * The table "What a crash leaves" of docs/format.md, step by step: the process dies before, and in the middle of, every single
 * system call with which it writes a log, and every one of them fails once. No acknowledged change may be lost, and the log
 * must go on.
 */
import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { SyftError } from '../../../server/src/core/errors.ts';
import { isDrop } from '../../../server/src/core/retention-act.ts';
import { compactLog } from '../../../server/src/log/compact.ts';
import { COMPILED, program } from '../program.ts';
import { all, quickDirectory, Scratch, sha256, version } from './scratch.ts';

const CHILD = program('fault-child');

interface Run {
  readonly acknowledged: readonly { seq: number; path: string; hash: string }[];
  readonly refused: readonly string[];
  readonly calls: number | undefined;
  /** How many of the calls write bytes. */
  readonly writes: number;
  readonly signal: string | null;
  readonly stderr: string;
}

async function run(dir: string, keys: string, mode: string, k: number, scenario = 'write'): Promise<Run> {
  const options = [CHILD, dir, keys, mode, String(k), scenario];
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let text = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (data: string) => (text += data));
  child.stderr.setEncoding('utf8').on('data', (data: string) => (stderr += data));
  const [, signal] = (await once(child, 'close')) as [number | null, string | null];
  const lines = text.split('\n').map(line => line.split(' '));
  const [, calls, writes] = lines.find(([word]) => word === 'calls') ?? [];
  return {
    acknowledged: lines
      .filter(([word]) => word === 'acknowledged')
      .map(([, seq = '', path = '', hash = '']) => ({ seq: Number(seq), path, hash })),
    refused: lines.filter(([word]) => word === 'refused').map(([, code = '']) => code),
    calls: calls === undefined ? undefined : Number(calls),
    writes: Number(writes),
    signal,
    stderr
  };
}

/** After whatever happened: opened, read, appended to, closed, checked. */
async function goesOn(scratch: Scratch, dir: string, before: Run): Promise<void> {
  // A crash is no damage, and must not look like it. Before anything is acknowledged there may be no log yet.
  if (before.acknowledged.length > 0) expect(await scratch.fsck(true, dir)).toEqual([]);
  const log = await scratch.writer({ dir });
  const found = await all(log);
  expect(found.map(change => change.seq)).toEqual(found.map((_, i) => i + 1));
  for (const { seq, path, hash } of before.acknowledged) {
    const change = found[seq - 1];
    expect(change?.path).toBe(path);
    expect(sha256(await log.contentBytes(change!))).toBe(hash);
  }
  const [next] = await log.append([version(log, 'after', 'it goes on')]);
  expect(next!.seq).toBe(found.length + 1);
  await log.close();
  expect(await scratch.fsck(true, dir)).toEqual([]);
}

/** Each call is a process of its own. SYFT_FAULT_STRIDE=1 for all of them. */
const EVERY = process.env['SYFT_FAULT_STRIDE'] === undefined ? undefined : Number(process.env['SYFT_FAULT_STRIDE']);

async function everyCall(mode: 'kill' | 'tear' | 'fail', check: (run: Run, k: number) => void): Promise<void> {
  using scratch = new Scratch(quickDirectory());
  const whole = await run(join(scratch.base, 'whole'), scratch.keys, 'count', 0);
  expect(whole.stderr).toBe('');
  const total = whole.calls ?? 0;
  expect(total).toBeGreaterThan(40);
  const last = mode === 'tear' ? whole.writes : total;
  // Others fail than are killed.
  const stride = EVERY ?? (mode === 'tear' ? 1 : 3);
  let next = mode === 'fail' && stride > 1 ? 2 : 1;
  const take = (): number => (next += stride) - stride;
  const worker = async (): Promise<void> => {
    for (let k = take(); k <= last; k = take()) {
      const dir = join(scratch.base, `${mode}-${k}`);
      const done = await run(dir, scratch.keys, mode, k);
      try {
        check(done, k);
        await goesOn(scratch, dir, done);
        // There may be little room where syncing costs nothing.
        rmSync(dir, { recursive: true });
      } catch (error) {
        throw new Error(`${mode} at ${k} of ${last}: ${String(error)}\n${done.stderr}`, { cause: error });
      }
    }
  };
  await Promise.all([worker(), worker()]);
}

/** A run may need a call less than the one that was counted: a slow one writes its head in between. */
function killed(done: Run, k: number): void {
  if (done.signal === null) expect(Math.min(done.calls ?? 0, done.writes)).toBeLessThan(k);
  else expect(done.signal).toBe('SIGKILL');
}

test('killed before any of the system calls that write a log', async () => {
  await everyCall('kill', killed);
}, 300_000);

test('killed in the middle of any of them', async () => {
  await everyCall('tear', killed);
}, 300_000);

test('any of them fails once: what is refused is refused with a code, and a second try succeeds', async () => {
  await everyCall('fail', done => {
    expect(done.signal).toBeNull();
    expect(done.calls).toBeDefined();
    expect(done.acknowledged.length).toBe(12);
    for (const code of done.refused) expect(code).toMatch(/^DISK_/);
  });
}, 300_000);

interface Dropping {
  readonly what: 'prune' | 'erase';
  /** Versions of `a` whose content is to go. */
  readonly goes: readonly number[];
  readonly code: string;
}
const PRUNE: Dropping = { what: 'prune', goes: [1, 3], code: 'VERSION_PRUNED' };
const ERASE: Dropping = { what: 'erase', goes: [3], code: 'VERSION_ERASED' };

/**
 * After a prune or an erasure that was cut off: what is to be kept is there, what is not is gone once the log was opened again, or
 * was never said to go; and a crash never looks like damage.
 */
async function dropGoesOn(scratch: Scratch, dir: string, before: Run, { goes, code }: Dropping): Promise<void> {
  expect(await scratch.fsck(true, dir)).toEqual([]);
  const log = await scratch.writer({ dir });
  const found = await all(log);
  const acts = log.acts().filter(isDrop);
  for (const { seq, path, hash } of before.acknowledged) {
    const change = found.find(each => each.seq === seq)!;
    expect(change.path).toBe(path);
    const went = path === 'a' && goes.includes(seq) && acts.length > 0;
    const now = await log.contentBytes(change).then(
      bytes => sha256(bytes),
      (error: unknown) => (error instanceof SyftError ? error.code : String(error))
    );
    // `after` brings the first content again, and with it that of the first version.
    const again = hash === found.find(each => each.path === 'after')?.hash;
    if (!went || !again) expect([seq, now]).toEqual([seq, went ? code : hash]);
  }
  await log.append([version(log, 'goes on', 'it goes on')]);
  await log.close();
  expect(await scratch.fsck(true, dir)).toEqual([]);
}

const DROP_STRIDE = EVERY ?? 24;

async function everyCallOf(
  dropping: Dropping,
  mode: 'kill' | 'tear' | 'fail',
  check: (run: Run, k: number) => void
): Promise<void> {
  const { what } = dropping;
  using scratch = new Scratch(quickDirectory());
  const whole = await run(join(scratch.base, 'whole'), scratch.keys, 'count', 0, what);
  expect([whole.stderr, whole.acknowledged.length]).toEqual(['', 7]);
  const last = mode === 'tear' ? whole.writes : (whole.calls ?? 0);
  expect(last).toBeGreaterThan(mode === 'tear' ? 15 : 40);
  for (let k = 1; k <= last; k += DROP_STRIDE) {
    const dir = join(scratch.base, `${mode}-${k}`);
    const done = await run(dir, scratch.keys, mode, k, what);
    try {
      check(done, k);
      await dropGoesOn(scratch, dir, done, dropping);
    } catch (error) {
      throw new Error(`${what}: ${mode} at ${k} of ${last}: ${String(error)}\n${done.stderr}`, { cause: error });
    }
  }
}

describe.each([PRUNE, ERASE])('$what', dropping => {
  test('killed before any of its system calls: nothing is lost that it did not sign for, and the next opening ends it', async () => {
    await everyCallOf(dropping, 'kill', killed);
  }, 300_000);

  test('killed in the middle of any of them', async () => {
    await everyCallOf(dropping, 'tear', killed);
  }, 300_000);

  test('any of them fails once: it is refused with a code, and a second try ends it', async () => {
    await everyCallOf(dropping, 'fail', done => {
      expect(done.signal).toBeNull();
      for (const code of done.refused) expect(code).toMatch(/^DISK_/);
    });
  }, 300_000);
});

const COMPACT_STRIDE = EVERY ?? 24;

test('a compaction killed, torn or failing at any call: every version is there, nothing looks like damage, and the next one ends it', async () => {
  using scratch = new Scratch(quickDirectory());
  const whole = await run(join(scratch.base, 'whole'), scratch.keys, 'count', 0, 'compact');
  expect([whole.stderr, whole.acknowledged.length]).toEqual(['', 7]);
  for (const [i, mode] of (['kill', 'tear', 'fail'] as const).entries()) {
    const last = mode === 'tear' ? whole.writes : (whole.calls ?? 0);
    expect(last).toBeGreaterThan(mode === 'tear' ? 15 : 40);
    for (let k = 1 + i; k <= last; k += COMPACT_STRIDE) {
      const dir = join(scratch.base, `${mode}-${k}`);
      const done = await run(dir, scratch.keys, mode, k, 'compact');
      try {
        if (mode !== 'fail') killed(done, k);
        else for (const code of done.refused) expect(code).toMatch(/^DISK_/);
        await goesOn(scratch, dir, done);
        const log = await scratch.writer({ dir });
        await compactLog(log, { all: true });
        await log.close();
        await goesOn(scratch, dir, done);
        expect(scratch.filesOf(dir).filter(file => file.endsWith('.tmp'))).toEqual([]);
      } catch (error) {
        throw new Error(`compact: ${mode} at ${k} of ${last}: ${String(error)}\n${done.stderr}`, { cause: error });
      }
    }
  }
}, 300_000);

const TILES_STRIDE = EVERY ?? 24;

test('an older log whose tiles go into few files, killed, torn or failing at any call: nothing is lost, and nothing looks like damage', async () => {
  using scratch = new Scratch(quickDirectory());
  const whole = await run(join(scratch.base, 'whole'), scratch.keys, 'count', 0, 'tiles');
  expect([whole.stderr, whole.acknowledged.length]).toEqual(['', 601]);
  for (const [i, mode] of (['kill', 'tear', 'fail'] as const).entries()) {
    const last = mode === 'tear' ? whole.writes : (whole.calls ?? 0);
    expect(last).toBeGreaterThan(mode === 'tear' ? 8 : 40);
    for (let k = 1 + i; k <= last; k += TILES_STRIDE) {
      const dir = join(scratch.base, `${mode}-${k}`);
      const done = await run(dir, scratch.keys, mode, k, 'tiles');
      try {
        if (mode !== 'fail') killed(done, k);
        else for (const code of done.refused) expect(code).toMatch(/^(DISK_|EIO)/);
        await goesOn(scratch, dir, done);
        // One session without a fault is enough.
        expect(scratch.filesOf(dir).filter(file => /\/tile\//.test(file)).length).toBe(2);
      } catch (error) {
        throw new Error(`tiles: ${mode} at ${k} of ${last}: ${String(error)}\n${done.stderr}`, { cause: error });
      }
    }
  }
}, 300_000);
