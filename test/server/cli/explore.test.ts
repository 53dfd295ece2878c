/** The explorer and progress in a real terminal: where a person looks for what they lost, whatever files are called. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';
import { Terminal } from './terminal.ts';

let dir: string;
let ws: string;
let cli: CommandLine;
const open: Terminal[] = [];
function terminal(
  ...given: ConstructorParameters<typeof Terminal> extends [unknown, ...infer R] ? R : never
): Terminal {
  const made = new Terminal(cli, ...given);
  open.push(made);
  return made;
}

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-tty-')));
  ws = join(dir, 'ws');
  await mkdir(ws);
  cli = new CommandLine(ws, join(dir, 'home'));
});

afterEach(async () => {
  for (const one of open.splice(0)) if (one.child.exitCode === null) one.child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

describe('explore', () => {
  test('finds a file among many, shows an old version, brings it back, and leaves the terminal as it was', async () => {
    for (let i = 0; i < 300; i++) await writeFile(join(ws, `file-${String(i).padStart(3, '0')}.txt`), String(i));
    await writeFile(join(ws, 'plan.txt'), 'the first plan');
    await cli.ok('capture');
    await writeFile(join(ws, 'plan.txt'), 'a worse plan');
    await cli.ok('capture');
    const tty = terminal(['explore']);
    await tty.shows('301 files');
    tty.type('G');
    await tty.shows('plan.txt');
    tty.type('g/plan\r');
    await tty.shows(/1 files.*\/plan/);
    tty.type('\r');
    await tty.shows('2 changes');
    tty.type('\u001b[B\r');
    await tty.shows('the first plan');
    tty.type('h');
    await tty.shows('2 changes');
    tty.type('r');
    await tty.shows('Restore plan.txt');
    tty.type('y');
    await tty.shows('Restored plan.txt');
    expect(await readFile(join(ws, 'plan.txt'), 'utf8')).toBe('the first plan');
    await tty.shows('3 changes');
    tty.type('hs');
    await tty.shows('files now           301');
    tty.type('qq');
    expect(await tty.end()).toBe(0);
    expect(tty.left).toBe('cooked');
    expect(tty.raw).toContain('\u001b[?25h\u001b[?1049l');
  });

  test.each([
    ['Ctrl-C', '\u0003', 130],
    ['Ctrl-D', '\u0004', 0],
    ['SIGTERM', 'SIGUSR1', 130]
  ] as const)('%s gives the terminal back', async (_, how, status) => {
    await writeFile(join(ws, 'a'), '1');
    await cli.ok('capture');
    const tty = terminal(['explore']);
    await tty.shows('1 files');
    if (how === 'SIGUSR1') tty.child.kill('SIGUSR1');
    else tty.type(how);
    expect(await tty.end()).toBe(status);
    expect(tty.left).toBe('cooked');
    expect(tty.raw.endsWith('\u001b[?7h\u001b[?25h\u001b[?1049l')).toBe(true);
  });

  test('names full of escape sequences, wide letters and narrow windows neither steer nor overflow the screen', async () => {
    await writeFile(join(ws, 'evil\u001b[2J\u001b]0;owned\u0007\u009b31m\u202e.txt'), 'x');
    await writeFile(join(ws, `${'長い名前'.repeat(12)}.csv`), 'x');
    await cli.ok('capture');
    const tty = terminal(['explore'], { rows: 6, columns: 24 });
    await tty.shows('evil\\x1b');
    tty.type('G\r');
    await tty.shows('1 changes');
    tty.type('r');
    await tty.shows('Restore');
    tty.type('n');
    await tty.shows('Nothing was changed');
    tty.type('\u0003');
    expect(await tty.end()).toBe(130);
    for (const bad of ['\u001b[2J', '\u001b]0', '\u0007', '\u009b', '\u202e']) expect(tty.raw).not.toContain(bad);
  });

  test('without a terminal it says so instead of writing escapes into a file', async () => {
    await writeFile(join(ws, 'a'), '1');
    await cli.ok('capture');
    const done = await cli.run(['explore']);
    expect([done.status, done.stdout, done.stderr]).toEqual([2, '', expect.stringContaining('needs a terminal')]);
  });
});

describe('every other command in a terminal', () => {
  test('draws progress on the terminal, none in the results, and prints no name raw', async () => {
    const evil = 'evil\u001b[2J\u009b31m.txt';
    await writeFile(join(ws, evil), 'x');
    const results = join(dir, 'results');
    const capture = terminal(['--json', 'capture'], { stdout: results });
    expect(await capture.end()).toBe(0);
    expect(capture.raw).toMatch(/\d+ of \d+ files, .* files\/s/);
    expect(JSON.parse(await readFile(results, 'utf8'))).toMatchObject({ captured: 1 });
    await writeFile(join(ws, evil), 'yy');
    const id = String((await cli.ok('log'))[0]?.['versionId']);
    for (const args of [
      ['log'],
      ['--json', 'log'],
      ['tree'],
      ['diff', id],
      ['fsck'],
      ['restore', id, '--dry-run'],
      ['restore', id],
      ['restore', '--tree', '--at', 'now', '--to', join(dir, 'out')],
      ['history', `nothing${evil}`]
    ]) {
      const tty = terminal(args);
      await tty.end();
      expect(tty.raw).not.toMatch(/\u001b\[2J|\u009b/);
    }
    const quiet = terminal(['-q', 'capture']);
    await quiet.end();
    expect(quiet.raw).not.toContain('files/s');
  });
});
