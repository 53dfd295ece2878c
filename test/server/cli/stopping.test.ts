/** Ctrl-C at any moment costs what was not done yet, and nothing else. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import { CommandLine } from './run.ts';

/** Together several times what one commit holds, or the last is under way before a signal can come in between. */
const FILES = 4_000;
const contentOf = (i: number): string => `${i} `.repeat(6_000);

let dir: string;
let ws: string;
let cli: CommandLine;

beforeAll(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'syft-stopping-')));
  ws = join(dir, 'ws');
  for (let i = 0; i < FILES; i += 1) {
    if (i % 100 === 0) mkdirSync(join(ws, `d${i / 100}`), { recursive: true });
    writeFileSync(join(ws, `d${Math.floor(i / 100)}`, `f${i}`), contentOf(i));
  }
  cli = new CommandLine(ws, join(dir, 'home'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Interrupts a command as soon as a condition holds; resolves with its exit status and what it wrote on stderr. */
async function interrupt(
  args: readonly string[],
  when: (child: ChildProcess) => boolean
): Promise<[number | null, string]> {
  const child = cli.spawn(args);
  let stderr = '';
  child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
  child.stdout?.resume();
  const closed = once(child, 'close') as Promise<[number | null]>;
  while (child.exitCode === null && !when(child)) await sleep(1);
  child.kill('SIGINT');
  return [(await closed)[0], stderr];
}

/** Whether a process has a file open whose name ends so. */
function hasOpen(pid: number | undefined, end: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some(fd => readlinkSync(`/proc/${pid}/fd/${fd}`).endsWith(end));
  } catch {
    return false;
  }
}

const stopped = [130, expect.stringMatching(/\[CANCELLED\]\n$/)];

test('in capture: what is recorded stays, the next one does the rest', async () => {
  expect(await interrupt(['capture'], ({ pid }) => hasOpen(pid, '.seg'))).toEqual(stopped);
  const [before] = await cli.ok('stats');
  const [rest] = await cli.ok('capture');
  expect(Number(rest?.['captured'])).toBeGreaterThan(0);
  expect(Number(before?.['trackedFiles']) + Number(rest?.['captured'])).toBe(FILES);
  expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
});

test('in fsck', async () => {
  expect(await interrupt(['fsck', '--read-data'], ({ pid }) => hasOpen(pid, '.seg'))).toEqual(stopped);
});

test('in restore --tree: every file that is there is whole, and a second one completes the tree', async () => {
  const out = join(dir, 'out');
  const there = (): string[] => {
    try {
      return readdirSync(out, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile())
        .map(entry => join(entry.parentPath, entry.name));
    } catch {
      return [];
    }
  };
  const restore = ['restore', '--tree', '--at', new Date().toISOString(), '--to', out];
  expect(await interrupt(restore, () => there().length > 10)).toEqual(stopped);
  const found = there();
  expect(found.length).toBeLessThan(FILES);
  for (const path of found) {
    expect(readFileSync(path, 'utf8')).toBe(contentOf(Number(path.slice(path.lastIndexOf('f') + 1))));
  }
  expect((await cli.run(restore)).status).toBe(0);
  expect(there()).toHaveLength(FILES);
});
