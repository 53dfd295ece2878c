/** Where the kernel keeps fewer events, or gives fewer watches, than there are changes and directories. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { queueLimit } from '../../../../server/src/capture/hints/drain.ts';
import { program } from '../../program.ts';
import { until } from '../workspace.ts';

const CHILD = program('hints-child');
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');

let base: string;
let child: ChildProcessByStdio<Writable, Readable, null> | undefined;
let told: Record<string, unknown>[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-limits-'));
  mkdirSync(join(base, 'root'));
  told = [];
});
afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    const gone = new Promise(resolve => child?.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await gone;
  }
  child = undefined;
  rmSync(base, { recursive: true, force: true });
});

const at = (name: string): string => join(base, 'root', name);

async function start(command: string, args: string[]): Promise<void> {
  let rest = '';
  child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) told.push(JSON.parse(line) as Record<string, unknown>);
  });
  await until(() => told.some(({ ready }) => ready === true), 'the child is ready');
}

const run = (what: string, name: string): Promise<void> => start(process.execPath, [CHILD, what, name, base]);

const isTold = (path: string): boolean =>
  told.some(({ paths }) => Array.isArray(paths) && paths.some(each => each === path));
const isRecorded = (path: string, text: string): boolean =>
  told.some(({ recorded, hash }) => recorded === path && hash === sha(text));

/** Fills the queue of a process that is stopped with events of two files, then does what nobody will be told of. */
function overflow(act: () => void): void {
  child?.kill('SIGSTOP');
  const [a, b] = [openSync(at('noise-a'), 'w'), openSync(at('noise-b'), 'w')];
  // Equal events that follow each other are kept once, so two files take turns.
  for (let i = 0; i < queueLimit() * 0.6; i += 1) {
    writeSync(a, '.');
    writeSync(b, '.');
  }
  act();
  closeSync(a);
  closeSync(b);
  child?.kill('SIGCONT');
}

describe('the kernel drops events and does not say so', () => {
  test.each(['fs-watch', 'chokidar'])('%s says that something may be lost', async name => {
    await run('source', name);
    overflow(() => {
      writeFileSync(at('victim'), '1');
    });
    await until(() => told.some(({ lost }) => lost !== undefined), 'told of the loss');
    // Else nothing was lost, and this test proves nothing.
    expect(isTold('victim')).toBe(false);
  });

  test('what was lost is recorded, and what comes to be in a directory whose creation was lost', async () => {
    await run('recorder', 'fs-watch');
    overflow(() => {
      mkdirSync(at('new/deep'), { recursive: true });
      writeFileSync(at('new/deep/file'), '1');
    });
    await until(() => isRecorded('new/deep/file', '1'), 'the victim');
    for (const text of ['2', '3']) {
      writeFileSync(at('new/deep/file'), text);
      await until(() => isRecorded('new/deep/file', text), `its version ${text}`);
    }
  });

  test('no alarm without reason: a hundred files at once are no overflow', async () => {
    await run('source', 'fs-watch');
    child?.kill('SIGSTOP');
    for (let i = 0; i < 100; i += 1) writeFileSync(at(`f${i}`), '1');
    child?.kill('SIGCONT');
    await until(() => isTold('f99'), 'the hints');
    expect(told.filter(({ lost }) => lost !== undefined)).toEqual([]);
  });
});

// Limits of a user namespace of its own concern nobody else.
const WATCHES = '/proc/sys/user/max_inotify_watches';
const INSTANCES = '/proc/sys/user/max_inotify_instances';
const confined = spawnSync('unshare', ['-Ur', 'sh', '-c', `echo 20 > ${WATCHES}`], { stdio: 'ignore' }).status === 0;

(confined ? describe : describe.skip)('the system gives no more watches', () => {
  const runConfined = (what: string, limit: string): Promise<void> =>
    start('unshare', ['-Ur', process.execPath, CHILD, what, 'fs-watch', base, limit]);

  test('it says how many directories are scanned instead, records in all of them, and heals when there are watches again', async () => {
    for (let i = 0; i < 60; i += 1) mkdirSync(at(`d${i}/e`), { recursive: true });
    await runConfined('recorder', `${WATCHES}=20`);
    expect(told.findLast(({ healthy }) => healthy !== undefined)).toMatchObject({
      healthy: false,
      detail: expect.stringMatching(/^101 of 121 directories cannot be watched: .*max_user_watches/)
    });
    for (let i = 0; i < 60; i += 1) writeFileSync(at(`d${i}/e/f`), `${i}`);
    for (let i = 0; i < 60; i += 1) await until(() => isRecorded(`d${i}/e/f`, `${i}`), `d${i}/e/f`);
    child?.stdin.write(`${WATCHES} 1000\n`);
    await until(() => told.findLast(({ healthy }) => healthy !== undefined)?.['healthy'] === true, 'all watched');
  });

  test('not one watcher to be had: the same', async () => {
    mkdirSync(at('d'));
    await runConfined('recorder', `${INSTANCES}=0`);
    expect(told.findLast(({ healthy }) => healthy !== undefined)).toMatchObject({
      healthy: false,
      detail: expect.stringContaining('max_user_instances')
    });
    writeFileSync(at('d/f'), '1');
    await until(() => isRecorded('d/f', '1'), 'found by scanning');
  });
});
