/** The process that runs queries: whatever a query does to it, who asked gets an answer, and the next is answered. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqlEngine, type SqlQuery } from '../../../../server/src/index/sql/engine.ts';
import { ChangeIndex } from '../../../../server/src/index/change-index.ts';
import { Marks } from '../../../../server/src/core/retention-act.ts';
import { ListLog } from '../sample-changes.ts';
import { SAMPLE } from './sample-index.ts';

let dir: string;
let index: ChangeIndex;
let engine: SqlEngine;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-sql-process-'));
  const log = new ListLog(SAMPLE);
  index = ChangeIndex.open({ dir: join(dir, 'index'), log });
  const content = async function* (): AsyncIterable<Uint8Array> {
    await Promise.resolve();
    yield Buffer.from('a,b\n1,2\n');
  };
  engine = new SqlEngine({
    index,
    log: () => ({ workspaceId: log.workspaceId, content }),
    logDir: () => dir,
    keys: () => undefined,
    marks: () => Promise.resolve(Marks.of([])),
    dir: () => join(dir, 'index')
  });
});
afterAll(async () => {
  await engine.close();
  await index.close();
  await rm(dir, { recursive: true, force: true });
});

async function run(
  query: string,
  more: Partial<SqlQuery> = {},
  signal = new AbortController().signal
): Promise<string> {
  const { bytes, ended } = await engine.query(
    { query, format: 'json', maxRows: 1_000_000, timeoutMs: 20_000, memoryMb: 128, ...more },
    signal
  );
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) pieces.push(piece);
  const { error } = await ended;
  if (error !== undefined) throw error;
  return Buffer.concat(pieces).toString();
}

describe('a query that takes all it can get', () => {
  const code = async (query: string, more: Partial<SqlQuery> = {}): Promise<unknown> =>
    run(query, { timeoutMs: 600, memoryMb: 64, ...more }).catch((error: unknown) => (error as { code: unknown }).code);

  test.each([
    ['time', 'SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3'],
    ['time by recursion', 'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r'],
    ['time by joins', 'SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range = 7'],
    ['memory by rows', 'SELECT list(range) FROM range(1000000000)'],
    ['memory by one text', `SELECT length(repeat('x', 2000000000))`],
    ['memory by groups', 'SELECT count(*) FROM (SELECT hash(range) AS h FROM range(100000000) GROUP BY h)']
  ])('%s is stopped', async (_, query) => {
    expect(await code(query)).toMatch(/^SQL_(TIMEOUT|MEMORY)$/);
    expect(await run('SELECT count(*) AS n FROM changes')).toBe('[{"n":5}]\n');
  });
});

test('what waits and what runs is cancelled', async () => {
  const controllers = Array.from({ length: 4 }, () => new AbortController());
  const all = controllers.map(({ signal }) =>
    run('SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 3', {}, signal).catch(
      (error: unknown) => (error as { code: unknown }).code
    )
  );
  setTimeout(() => controllers.forEach(controller => controller.abort()), 300);
  expect(await Promise.all(all)).toEqual(Array(4).fill('CANCELLED'));
  expect(await run('SELECT 1 AS one')).toBe('[{"one":1}]\n');
});

test('no more rows than were asked for, and it is said that there were more', async () => {
  const { bytes, ended } = await engine.query(
    { query: 'FROM range(5000) ORDER BY range DESC', format: 'csv', maxRows: 3, timeoutMs: 5000, memoryMb: 128 },
    new AbortController().signal
  );
  let text = '';
  for await (const piece of bytes) text += Buffer.from(piece).toString();
  expect(text).toBe('range\n4999\n4998\n4997\n');
  expect(await ended).toEqual({ rows: 3, truncated: true });
});

describe('rows leave while the next are worked out', () => {
  const ENDLESS = `SELECT range AS n, repeat('x', 1000) AS t FROM range(1000000000000)`;
  const open = (query: string, more: Partial<SqlQuery> = {}, signal = new AbortController().signal) =>
    engine.query({ query, format: 'arrow', maxRows: 100_000_000, timeoutMs: 20_000, memoryMb: 64, ...more }, signal);

  test.each(['arrow', 'ndjson', 'csv', 'json'] as const)('as %s, until nobody wants them', async format => {
    const controller = new AbortController();
    const { bytes, ended } = await open(ENDLESS, { format }, controller.signal);
    let size = 0;
    for await (const piece of bytes) {
      size += piece.length;
      if (size > 1_000_000) controller.abort();
    }
    expect(await ended).toMatchObject({ error: { code: 'CANCELLED' } });
  });

  test.each([
    ['arrow', `SELECT range AS n, repeat('x', 1000) AS t FROM range(600000)`, 600_000_000],
    ['parquet', `SELECT range AS n, hash(range) AS h, hash(-range) AS i FROM range(6000000)`, 100_000_000]
  ] as const)(
    'and a result larger than the memory arrives whole as %s',
    async (format, query, least) => {
      const { bytes, ended } = await open(query, { format, timeoutMs: 60_000 });
      let size = 0;
      for await (const piece of bytes) size += piece.length;
      expect(await ended).toEqual({ rows: Number(/range\((\d+)\)$/.exec(query)?.[1]), truncated: false });
      expect(size).toBeGreaterThan(least);
    },
    60_000
  );

  test('a reader that does not read holds up the query, until its time is up', async () => {
    const { bytes, ended } = await open(ENDLESS, { timeoutMs: 700 });
    const reading = bytes[Symbol.asyncIterator]();
    expect((await reading.next()).done).toBe(false);
    const end = await ended;
    expect(end.error).toMatchObject({ code: 'SQL_TIMEOUT' });
    // A few portions wait for their reader, and no more are worked out.
    expect(end.rows).toBeLessThan(50_000);
    expect(await reading.next()).toEqual({ done: true, value: undefined });
    expect(await run('SELECT 1 AS one')).toBe('[{"one":1}]\n');
  });

  const bad = (last: string): string =>
    `SELECT CASE WHEN range = 200000 THEN ${last} ELSE 'a' END AS r FROM range(300000)`;
  test.each([
    [
      'a conversion',
      "SELECT CASE WHEN range = 200000 THEN 'x' ELSE range::VARCHAR END::BIGINT FROM range(300000)",
      /Could not convert string 'x'/
    ],
    ['an overflow', 'SELECT range + 9223372036854575807 FROM range(300000)', /Overflow in addition/],
    ['an error of its own', bad(`error('bad row')`), /bad row/],
    // By this one DuckDB does not even abort the transaction.
    [
      'a parser',
      `SELECT json_deserialize_sql(CASE WHEN range = 200000 THEN '{"error":true,"error_type":"parser","error_message":"odd"}' ELSE json_serialize_sql('SELECT 1') END) FROM range(300000)`,
      /odd/
    ],
    [
      'what does not happen again',
      bad(`error(CASE WHEN current_query() LIKE 'EXPLAIN%' THEN NULL ELSE 'once' END)`),
      /did not when it was run again/
    ]
  ])('rows that break off by %s say why, and are not taken for all', async (_, query, why) => {
    const { bytes, ended } = await open(query);
    for await (const piece of bytes) expect(piece.length).toBeGreaterThan(0);
    const end = await ended;
    expect(end.error).toMatchObject({
      code: expect.stringMatching(/^SQL_(INVALID|SYNTAX)$/) as unknown,
      message: expect.stringMatching(why) as unknown
    });
    expect(end.rows).toBeGreaterThan(0);
  });

  test('and a query that needs too much after its first rows is stopped', async () => {
    const query = `SELECT length(repeat('x', CASE WHEN range > 200000 THEN 1500000000 ELSE 1 END)) AS n FROM range(300000)`;
    const { bytes, ended } = await open(query);
    for await (const piece of bytes) expect(piece.length).toBeGreaterThan(0);
    expect((await ended).error).toMatchObject({ code: 'SQL_MEMORY' });
    expect(await run('SELECT 1 AS one')).toBe('[{"one":1}]\n');
  });
});

test('a change that has just come is in the next answer', async () => {
  const before = await run('SELECT max(number) AS n FROM changes');
  const log = new ListLog(SAMPLE);
  const last = SAMPLE.at(-1);
  if (last === undefined) throw new Error('no sample');
  const { size: _s, hash: _h, content: _c, ...rest } = last;
  index.add({ ...rest, seq: 6, hlc: last.hlc + 1, at: last.at + 1, path: 'data/c.csv', kind: 'deleted' });
  expect(log.list).toHaveLength(5);
  expect([before, await run('SELECT max(number) AS n FROM changes')]).toEqual(['[{"n":5}]\n', '[{"n":6}]\n']);
});

test('of an encrypted log nothing is copied', async () => {
  const closed = new SqlEngine({
    index,
    log: () => ({ workspaceId: '0'.repeat(32), content: () => (async function* () {})() }),
    logDir: () => dir,
    keys: () => ({}) as never,
    marks: () => Promise.resolve(Marks.of([])),
    dir: () => join(dir, 'never')
  });
  const asked = closed.query(
    { query: 'SELECT 1', format: 'json', maxRows: 1, timeoutMs: 1000, memoryMb: 64 },
    new AbortController().signal
  );
  await expect(asked).rejects.toMatchObject({ code: 'SQL_UNAVAILABLE' });
});
