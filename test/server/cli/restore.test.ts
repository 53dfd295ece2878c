/** Restoring by the command line: what comes back, where, and what is never touched. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { lstat, mkdir, mkdtemp, readFile, readdir, realpath, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let dir: string;
let ws: string;
let cli: CommandLine;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-restore-')));
  ws = join(dir, 'ws');
  await mkdir(ws);
  cli = new CommandLine(ws, join(dir, 'home'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('a touched file gets its time back; a moved one is found by its new name and goes back to that', async () => {
  await writeFile(join(ws, 'a'), 'one');
  await utimes(join(ws, 'a'), 1_600_000_000, 1_600_000_000.25);
  await cli.ok('capture');
  await utimes(join(ws, 'a'), 1_700_000_000, 1_700_000_000);
  await cli.ok('restore', 'a@latest');
  expect((await lstat(join(ws, 'a'))).mtimeMs).toBe(1_600_000_000_250);
  await rename(join(ws, 'a'), join(ws, 'b'));
  await cli.ok('capture');
  await writeFile(join(ws, 'b'), 'two');
  await cli.ok('restore', 'b@-1');
  expect([await readdir(ws), await readFile(join(ws, 'b'), 'utf8')]).toEqual([['.syft-sync', 'b'], 'one']);
});

test('nothing is restored into the log, even by force', async () => {
  await writeFile(join(ws, 'a'), 'one');
  await cli.ok('capture');
  for (const to of ['.syft-sync/format.json', '.syft-sync/new']) {
    const done = await cli.run(['restore', 'a@latest', '--to', to, '--force']);
    expect([done.status, done.stderr]).toEqual([2, expect.stringContaining('[PATH_INVALID]')]);
  }
  expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
});

test('a name that is not UTF-8 comes back under its own bytes after its deletion was recorded', async () => {
  const name = Buffer.from([0x62, 0xff]);
  const file = Buffer.concat([Buffer.from(`${ws}/`), name]);
  await writeFile(file, 'kept');
  await cli.ok('capture');
  await rm(file);
  await cli.ok('capture');
  await cli.ok('restore', 'b\\xFF@latest');
  expect((await readFile(file)).toString()).toBe('kept');
});
