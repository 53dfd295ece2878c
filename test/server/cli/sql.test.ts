/** `sql` on the command line: scripts get rows or an error that they can tell from rows, whether a recorder runs or not. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { lstat, mkdir, mkdtemp, readFile, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine, type Finished } from './run.ts';

let dir: string;
let cli: CommandLine;

beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-sql-cli-')));
  await mkdir(join(dir, 'ws'));
  cli = new CommandLine(join(dir, 'ws'), join(dir, 'home'));
  await writeFile(join(dir, 'ws', 'a.csv'), 'n\n1\n');
  await cli.ok('capture');
  await writeFile(join(dir, 'ws', 'a.csv'), 'n\n1\n2\n');
  await cli.ok('capture');
}, 60_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

const sql = (...args: string[]): Promise<Finished> => cli.run(['sql', ...args]);

async function answersAlike(): Promise<void> {
  const query = 'SELECT kind, path, size FROM changes ORDER BY number';
  const rows = [
    { kind: 'created', path: 'a.csv', size: 4 },
    { kind: 'modified', path: 'a.csv', size: 6 }
  ];
  expect(await cli.ok('sql', query)).toEqual(rows);
  expect(JSON.parse((await sql(query, '--format', 'json')).stdout)).toEqual(rows);
  const table = await sql(`SELECT sum(n) AS total FROM version_of('a.csv', '-1')`);
  expect([table.status, table.stdout.split('\n')[2]?.trim()]).toEqual([0, '1']);
  const wrong = await cli.run(['--json', 'sql', 'SELECT nosuch\nFROM changes']);
  expect([wrong.status, wrong.stdout]).toEqual([2, '']);
  expect(JSON.parse(wrong.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
    error: { code: 'SQL_INVALID', position: { line: 1, column: 8 } }
  });
  expect((await sql('DROP VIEW changes')).stderr).toContain('[SQL_FORBIDDEN]');
  const late = await sql('SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3', '--timeout', '1');
  expect([late.status, late.stderr]).toEqual([1, expect.stringContaining('[SQL_TIMEOUT]')]);
}

describe('without a recorder', () => {
  test('questions are answered from the log', answersAlike, 60_000);

  test('a file is there whole or not at all; its name says the format', async () => {
    const file = join(dir, 'out.csv');
    expect((await sql('SELECT size FROM changes ORDER BY size', '-o', file)).status).toBe(0);
    expect(await readFile(file, 'utf8')).toBe('size\n4\n6\n');
    expect((await sql('SELECT nosuch', '-o', join(dir, 'not.parquet'))).status).toBe(2);
    expect((await sql('SELECT 1', '-o', join(dir, 'no', 'such', 'x.csv'))).status).toBe(1);
    expect((await readdir(dir)).sort()).toEqual(['home', 'out.csv', 'ws']);
    // What was on disk for the queries went with them.
    const left = await readdir(join(dir, 'ws', '.syft-sync', 'index'));
    expect(left.filter(name => name.startsWith('sql-'))).toEqual([]);
  }, 60_000);

  test('a query comes from stdin too', async () => {
    const child = cli.spawn(['sql', '--format', 'csv']);
    let out = '';
    child.stdout?.on('data', (piece: Buffer) => (out += piece.toString()));
    child.stdin?.end('SELECT count(*) AS n FROM changes;\n');
    expect((await once(child, 'close'))[0]).toBe(0);
    expect(out).toBe('n\n2\n');
    expect((await sql('SELECT 1', '--format', 'xml')).status).toBe(2);
    expect((await sql('SELECT 1', '--memory', '1')).status).toBe(2);
  }, 60_000);
});

test('of an encrypted log too, and nothing in the clear comes to a disk', async () => {
  const keyed = new CommandLine(join(dir, 'sealed'), join(dir, 'sealed-home'));
  const places = ['tmp', 'sealed', 'log'].map(name => join(dir, name));
  for (const place of places) await mkdir(place);
  keyed.env['TMPDIR'] = join(dir, 'tmp');
  keyed.env['SYFT_SYNC_PASSPHRASE'] = 'correct horse battery staple';
  const log = ['--log', join(dir, 'log', 'own')];
  await writeFile(join(dir, 'sealed', 'hidden-name.csv'), 'n,word\n1,hidden-word\n41,other\n');
  await keyed.ok(...log, 'capture', '--encrypt');
  const query = `SELECT c.path, sum(v.n)::INT AS total FROM version_of('hidden-name.csv') v, changes c GROUP BY ALL`;
  const asked = async (): Promise<void> => {
    expect(await keyed.ok(...log, 'sql', query)).toEqual([{ path: 'hidden-name.csv', total: 42 }]);
    for (const place of [join(dir, 'tmp'), join(dir, 'log')]) {
      for (const name of await readdir(place, { recursive: true })) {
        expect(name).not.toContain('hidden');
        if (!(await lstat(join(place, name))).isFile()) continue;
        expect((await readFile(join(place, name))).toString('latin1')).not.toContain('hidden');
      }
    }
  };
  await asked();
  const watch = await keyed.watch(...log);
  try {
    await asked();
  } finally {
    expect(await watch.end()).toBe(0);
  }
  expect(await readdir(join(dir, 'tmp'))).toEqual([]);
}, 60_000);

test('a recorder that runs is asked, and answers the same', async () => {
  const watch = await cli.watch();
  try {
    await answersAlike();
    await writeFile(join(dir, 'ws', 'b.csv'), 'x\n1\n');
    await watch.until(line => line['path'] === 'b.csv');
    expect(await cli.ok('sql', `SELECT kind FROM changes WHERE path = 'b.csv'`)).toEqual([{ kind: 'created' }]);
  } finally {
    expect(await watch.end()).toBe(0);
  }
}, 60_000);
