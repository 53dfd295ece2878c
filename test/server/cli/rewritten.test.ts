/**
 * From the command line: a log that was put back is refused by whoever received from it, named by fsck and in the status, and
 * accepted when the user says so. And a proof convinces whoever has nothing else.
 */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let dir: string;
let ws: string;
let cli: CommandLine;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-rewritten-')));
  ws = join(dir, 'ws');
  await mkdir(ws);
  cli = new CommandLine(ws, join(dir, 'home'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('a log put back to an older state: refused with status 3, nothing written, until it is accepted', async () => {
  const log = join(ws, '.syft-sync');
  await writeFile(join(ws, 'a'), 'one');
  await cli.ok('capture');
  await cp(log, join(dir, 'backup'), { recursive: true });
  await writeFile(join(ws, 'a'), 'two');
  await cli.ok('capture');
  const out = join(dir, 'out');
  await cli.ok('receive', log, out, '--once');
  await rm(log, { recursive: true });
  await cp(join(dir, 'backup'), log, { recursive: true });

  const refused = await cli.run(['receive', log, out, '--once']);
  expect(refused.status).toBe(3);
  expect(refused.stderr).toContain('rollback');
  expect(refused.stderr).toContain('[LOG_REWRITTEN]');
  expect(await readFile(join(out, 'a'), 'utf8')).toBe('two');
  const checked = await cli.run(['--json', 'fsck']);
  expect([checked.status, checked.json.map(damage => damage['kind'])]).toEqual([3, ['rollback']]);

  expect((await cli.run(['fsck', '--accept'])).status).toBe(0);
  expect((await cli.run(['fsck'])).status).toBe(0);
  // The receiver has had more than the log has now, and asks for itself.
  expect((await cli.run(['receive', log, out, '--once'])).stderr).toContain('[log-rolled-back]');
  await cli.ok('receive', log, out, '--once', '--force');
});

test('fsck --repair puts a deleted checkpoint and tile back', async () => {
  await writeFile(join(ws, 'a'), 'one');
  await cli.ok('capture');
  const [change] = await cli.ok('log');
  const stream = join(ws, '.syft-sync/log', String(change?.['device']));
  await unlink(join(stream, 'checkpoint'));
  await unlink(join(stream, 'tile/0/000000.tiles'));
  expect((await cli.run(['fsck'])).status).toBe(3);
  const repaired = await cli.ok('fsck', '--repair');
  expect(repaired).toMatchObject([
    { repaired: { did: 'written', where: `log/${String(change?.['device'])}/checkpoint` } }
  ]);
  expect(await readFile(join(stream, 'tile/0/000000.tiles'))).toHaveLength(32);
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});

test('a version is proven to somebody without the log; a proof that was altered proves nothing', async () => {
  await writeFile(join(ws, 'model.pkl'), 'weights');
  await cli.ok('capture');
  const file = join(dir, 'model.tlog-proof');
  await cli.ok('prove', 'model.pkl@latest', '-o', file);
  const [change] = await cli.ok('log');
  const elsewhere = new CommandLine(dir, join(dir, 'other-home'));
  const [proven] = await elsewhere.ok('verify-proof', file);
  expect(proven).toMatchObject({ proven: change, checkpoint: { size: 1 } });
  // Later, somebody with that proof asks whether the log still has all of it.
  await writeFile(join(ws, 'model.pkl'), 'better weights');
  await cli.ok('capture');
  const history = join(dir, 'since-then.txt');
  await cli.ok('prove-history', file, '-o', history);
  const [still] = await elsewhere.ok('verify-proof', file, '--history', history);
  expect(still).toMatchObject({ proven: change, checkpoint: { size: 1 }, later: { size: 2 } });
  await writeFile(history, (await readFile(history, 'utf8')).replace('old 1', 'old 2'));
  expect((await elsewhere.run(['verify-proof', file, '--history', history])).status).toBe(3);
  const text = await readFile(file, 'utf8');
  const index = text.indexOf('\n1\n') + 1;
  await writeFile(file, `${text.slice(0, index)}2${text.slice(index + 1)}`);
  const refused = await elsewhere.run(['verify-proof', file]);
  expect([refused.status, refused.stderr]).toEqual([3, expect.stringContaining('[ARCHIVE_INVALID]')]);
  expect((await elsewhere.run(['verify-proof', join(dir, 'none')])).status).toBe(4);
});
