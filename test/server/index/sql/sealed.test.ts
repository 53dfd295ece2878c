/**
 * SQL over an encrypted log. Names and contents that come to a disk in the clear, and be it for a moment, are what its owner
 * encrypted it against.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import type { Change } from '../../../../server/src/core/change.ts';
import { Marks } from '../../../../server/src/core/retention-act.ts';
import { ChangeIndex } from '../../../../server/src/index/change-index.ts';
import { SqlEngine, type SqlQuery } from '../../../../server/src/index/sql/engine.ts';
import { change, ListLog } from '../sample-changes.ts';

const SECRET = 'sealed-7c1f';
const rowsOfCsv = (last: number): string =>
  `id,note\n${Array.from({ length: last }, (_, i) => `${i},${SECRET} ${i}`).join('\n')}\n`;
/** By path, of one version after the other. */
const CONTENTS: Readonly<Record<string, readonly (string | Buffer)[]>> = {
  [`${SECRET}/a.csv`]: [rowsOfCsv(5000), `${rowsOfCsv(4999)}4999,other\n`],
  [`${SECRET}/b.csv.gz`]: [gzipSync(rowsOfCsv(7))],
  [`${SECRET}/c.tsv`]: [`id\tnote\n1\t${SECRET}\n`],
  [`${SECRET}/d.json`]: [JSON.stringify([{ id: 1, note: SECRET }])],
  [`${SECRET}/e.ndjson`]: [`{"id":1,"note":"${SECRET}"}\n{"id":2,"note":null}\n`],
  [`${SECRET}/f.ipynb`]: [JSON.stringify({ cells: [{ cell_type: 'markdown', source: SECRET }] })],
  [`${SECRET}/g.parquet`]: ['PAR1'],
  [`${SECRET}/h.csv`]: [`id,note\n${'1,x\n'.repeat(30_000)}broken`],
  [`${SECRET}/i.xlsx`]: [readFileSync(new URL('../../../fixtures/sales.xlsx', import.meta.url))]
};
const SEQUENCE = Object.entries(CONTENTS).flatMap(([path, versions]) =>
  versions.map((content, i) => ({ path, content, kind: i === 0 ? ('created' as const) : ('modified' as const) }))
);
const CHANGES = SEQUENCE.map(({ path, content, kind }, i) => change(i + 1, { path, kind, size: content.length }));

let base: string;
let index: ChangeIndex;
let engine: SqlEngine;
let temporary: string | undefined;
const found: string[] = [];
let looks = 0;

/** Notes every name and every file below the test's folder that tells something. */
async function look(): Promise<void> {
  looks += 1;
  for (const name of await readdir(base, { recursive: true })) {
    const file = join(base, name);
    if (name.includes(SECRET)) found.push(name);
    const stat = await lstat(file).catch(() => undefined);
    if (stat?.isFile() === true && (await readFile(file)).includes(SECRET)) found.push(`in ${name}`);
  }
}

async function* contentOf(one: Change): AsyncGenerator<Uint8Array> {
  const { content } = SEQUENCE[one.seq - 1] as (typeof SEQUENCE)[number];
  const bytes = Buffer.from(content);
  const half = bytes.length >> 1;
  yield bytes.subarray(0, half);
  await look();
  if (one.path === `${SECRET}/h.csv`) throw new Error('the disk has gone');
  yield bytes.subarray(half);
  await look();
}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-sql-sealed-'));
  temporary = process.env['TMPDIR'];
  await mkdir(join(base, 'tmp'));
  process.env['TMPDIR'] = join(base, 'tmp');
  const log = new ListLog(CHANGES);
  index = ChangeIndex.open({ dir: join(base, 'log', 'index'), log, keys: {} as never });
  engine = new SqlEngine({
    index,
    log: () => ({ workspaceId: log.workspaceId, content: contentOf }),
    logDir: () => join(base, 'log'),
    keys: () => ({}) as never,
    marks: () => Promise.resolve(Marks.of([])),
    dir: () => join(base, 'log', 'index')
  });
});
afterAll(async () => {
  await engine.close();
  await index.close();
  if (temporary === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = temporary;
  await rm(base, { recursive: true, force: true });
});

async function answer(query: string, more: Partial<SqlQuery> = {}, onPiece?: () => Promise<void>): Promise<Buffer> {
  const { bytes, ended } = await engine.query(
    { query, format: 'json', maxRows: 1_000_000, timeoutMs: 20_000, memoryMb: 256, ...more },
    new AbortController().signal
  );
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) {
    pieces.push(piece);
    await onPiece?.();
  }
  const { error } = await ended;
  if (error !== undefined) throw error;
  return Buffer.concat(pieces);
}

async function run(query: string, more: Partial<SqlQuery> = {}): Promise<unknown> {
  return JSON.parse((await answer(query, more)).toString());
}

test('its changes are answered, and what came since', async () => {
  const all = 'SELECT count(*) AS n, count(DISTINCT path) AS paths, max(size) AS size FROM changes';
  expect(await run(all)).toEqual([{ n: 10, paths: 9, size: Math.max(...CHANGES.map(each => each.size ?? 0)) }]);
  expect(await run('SELECT path FROM files ORDER BY path LIMIT 1')).toEqual([{ path: `${SECRET}/a.csv` }]);
  index.add(change(11, { path: `${SECRET}/z.txt` }));
  index.add(change(12, { path: `${SECRET}/a.csv`, kind: 'deleted' }));
  expect(await run('SELECT count(*) AS n FROM changes')).toEqual([{ n: 12 }]);
  expect(await run('SELECT count(*) AS n FROM files')).toEqual([{ n: 9 }]);
  // With other limits it is another session, which has it all too.
  expect(await run('SELECT count(*) AS n FROM versions', { memoryMb: 128 })).toEqual([{ n: 11 }]);
  expect(await run(`SELECT at < now() AS past, hash LIKE 'sha256:%' AS hash, flags FROM versions LIMIT 1`)).toEqual([
    { past: true, hash: true, flags: [] }
  ]);
});

describe('its contents are tables that no disk sees', () => {
  const a = `version_of('${SECRET}/a.csv', '-1')`;
  test.each([
    ['CSV', `SELECT count(*) AS n, max(note) AS note FROM ${a}`, [{ n: 5000, note: 'sealed-7c1f 999' }]],
    [
      'Excel',
      `SELECT count(*) AS n, max(id) AS last FROM version_of('${SECRET}/i.xlsx', 'latest', 'Sales')`,
      [{ n: 300, last: 300 }]
    ],
    ['compressed', `SELECT count(*) AS n FROM version_of('${SECRET}/b.csv.gz')`, [{ n: 7 }]],
    ['TSV', `SELECT id FROM version_of('${SECRET}/c.tsv') WHERE note = '${SECRET}'`, [{ id: 1 }]],
    ['JSON', `SELECT id FROM version_of('${SECRET}/d.json') WHERE note = '${SECRET}'`, [{ id: 1 }]],
    ['NDJSON', `SELECT count(note) AS n FROM version_of('${SECRET}/e.ndjson')`, [{ n: 1 }]],
    ['a notebook', `SELECT source FROM cells_of('${SECRET}/f.ipynb')`, [{ source: SECRET }]],
    ['twice the same', `SELECT count(*) AS n FROM ${a} x JOIN ${a} y USING (id)`, [{ n: 5000 }]],
    ['beside changes', `SELECT count(*) AS n FROM ${a} x JOIN changes c ON c.number = x.id`, [{ n: 12 }]],
    [
      'differences',
      `SELECT change, key, after->>'note' AS note FROM data_diff('${SECRET}/a.csv', '-1', '-0', 'id')`,
      [{ change: 'changed', key: 4999, note: 'other' }]
    ]
  ])('%s', async (_, query, rows) => {
    const before = looks;
    expect(await run(query)).toEqual(rows);
    expect(looks).toBeGreaterThan(before);
    expect(await readdir(join(base, 'tmp', (await readdir(join(base, 'tmp')))[0] ?? ''))).toEqual([]);
  });

  test('and what cannot be read so, or breaks off, is an error that says it', async () => {
    await expect(run(`SELECT * FROM version_of('${SECRET}/g.parquet')`)).rejects.toMatchObject({
      code: 'SQL_INVALID',
      message: expect.stringContaining('of an encrypted log nothing is written to a disk in the clear') as unknown
    });
    await expect(run(`SELECT count(*) FROM version_of('${SECRET}/h.csv')`)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await run('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('and its rows are a Parquet file that is in no file', async () => {
    const before = looks;
    const query = `SELECT range AS n, '${SECRET} ' || md5(range::VARCHAR) AS note FROM range(300000)`;
    const parquet = await answer(query, { format: 'parquet' }, look);
    expect(looks).toBeGreaterThan(before + 2);
    const file = join(await mkdtemp(join(tmpdir(), 'syft-sql-parquet-')), 'out.parquet');
    await writeFile(file, parquet);
    const instance = await DuckDBInstance.create();
    const read = await (await instance.connect()).runAndReadAll(`SELECT count(*), sum(n), min(note) FROM '${file}'`);
    expect(read.getRows()).toEqual([[300_000n, 44_999_850_000n, expect.stringMatching(new RegExp(`^${SECRET} 00`))]]);
    instance.closeSync();
    await rm(dirname(file), { recursive: true, force: true });
    await expect(
      answer(`SELECT error('late') FROM range(3) WHERE range = 2`, { format: 'parquet' })
    ).rejects.toMatchObject({ code: 'SQL_INVALID' });
    const much = `SELECT md5(range::VARCHAR) || md5((range + 1)::VARCHAR) AS a FROM range(20000000)`;
    await expect(answer(much, { format: 'parquet', maxRows: 100_000_000, memoryMb: 64 })).rejects.toMatchObject({
      code: 'SQL_MEMORY'
    });
    const left = await engine.query(
      { query, format: 'parquet', maxRows: 1_000_000, timeoutMs: 20_000, memoryMb: 256 },
      new AbortController().signal
    );
    for await (const piece of left.bytes) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await left.ended;
    expect(await run('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('also while a query is given up', async () => {
    const query = `SELECT count(*) FROM ${a} x, range(100000000000) r WHERE x.id * r.range = 7`;
    await expect(run(query, { timeoutMs: 700 })).rejects.toMatchObject({ code: 'SQL_TIMEOUT' });
    expect(await run('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

test('who asks cannot write to it either', async () => {
  for (const query of [
    'DELETE FROM log_index.change_rows',
    'DROP TABLE log_index.paths',
    'CREATE TABLE t AS SELECT 1'
  ]) {
    await expect(run(query)).rejects.toMatchObject({ code: 'SQL_FORBIDDEN' });
  }
});

test('a long history comes in parts, and is whole', async () => {
  const log = new ListLog(Array.from({ length: 20_000 }, (_, i) => change(i + 1, { path: `p${i % 18_000}.txt` })));
  await using long = ChangeIndex.open({ dir: undefined, log });
  await using own = new SqlEngine({
    index: long,
    log: () => ({ workspaceId: log.workspaceId, content: contentOf }),
    logDir: () => join(base, 'log'),
    keys: () => undefined,
    marks: () => Promise.resolve(Marks.of([])),
    dir: () => join(base, 'never')
  });
  const ask = async (query: string): Promise<string> => {
    const limits = { maxRows: 10, timeoutMs: 20_000, memoryMb: 64 };
    const { bytes } = await own.query({ query, format: 'csv', ...limits }, new AbortController().signal);
    return Buffer.concat(await Array.fromAsync(bytes)).toString();
  };
  const query =
    'SELECT count(*) AS n, count(DISTINCT path) AS p, sum(number) AS s, (SELECT count(*) FROM files) AS f FROM changes';
  expect(await ask(query)).toBe('n,p,s,f\n20000,18000,200010000,18000\n');
});

test('after all that nothing of it is on the disk', async () => {
  await engine.close();
  await look();
  expect(found).toEqual([]);
  expect(await readdir(join(base, 'tmp'))).toEqual([]);
  expect(looks).toBeGreaterThan(20);
});
