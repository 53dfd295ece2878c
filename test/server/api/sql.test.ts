/** SQL over HTTP, as the panel and notebooks ask it: over a real workspace, with the processes that run it. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { tableFromIPC } from 'apache-arrow';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  SqlOutcomeSchema,
  SqlSchemaSchema,
  type SqlOutcome,
  type SqlRequest
} from '../../../server/src/api/contract.ts';
import { startSidecar, type Sidecar } from '../../../server/src/api/sidecar.ts';
import { ask, SECRET, silent, type Answer } from './listed-service.ts';

let base: string;
let root: string;
let socketPath: string;
let sidecar: Sidecar;
const versions: string[] = [];

const post = (path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  ask({ socketPath }, path, { method: 'POST', body, headers });
const sql = (body: Partial<SqlRequest>, headers?: Record<string, string>): Promise<Answer> =>
  post('/api/sql', body, headers);
const rows = async (query: string, more: Partial<SqlRequest> = {}): Promise<unknown> => {
  const answer = await sql({ query, ...more });
  if (answer.status !== 200) throw new Error(answer.body.toString());
  return answer.json;
};
const outcome = async (queryId: string): Promise<SqlOutcome> =>
  SqlOutcomeSchema.parse((await ask({ socketPath }, `/api/sql/queries/${queryId}`)).json);

async function record(path: string, content: string): Promise<void> {
  await writeFile(join(root, path), content);
  await post('/api/flush');
}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-sql-api-'));
  root = join(base, 'work');
  socketPath = join(base, 'run', 's');
  await mkdir(join(root, 'data'), { recursive: true });
  process.env['SYFT_SYNC_HOME'] = join(base, 'config');
  sidecar = await startSidecar({ root, socketPath, secret: SECRET, logger: silent });
  while (sidecar.service.status().state !== 'recording') await new Promise(resolve => setTimeout(resolve, 20));
  await record('data/sales.csv', 'id,region,amount\n1,north,10.5\n2,south,20\n');
  await record('data/sales.csv', 'id,region,amount,note\n1,north,11.5,\n3,west,5,new\n');
  await record('notes.md', '# Notes');
  for (const row of (await rows(`SELECT version_id FROM history('data/sales.csv') ORDER BY number`)) as {
    version_id: string;
  }[]) {
    versions.push(row.version_id);
  }
}, 60_000);
afterAll(async () => {
  await sidecar.close();
  await rm(base, { recursive: true, force: true });
});

describe('a query', () => {
  test('answers rows, with what was recorded a moment ago among them', async () => {
    expect(await rows('SELECT path, size FROM files ORDER BY path')).toEqual([
      { path: 'data/sales.csv', size: 49 },
      { path: 'notes.md', size: 7 }
    ]);
    await record('late.txt', 'x');
    expect(await rows(`SELECT kind, path FROM changes WHERE path = 'late.txt'`)).toEqual([
      { kind: 'created', path: 'late.txt' }
    ]);
    // "at" is a word of DuckDB's grammar, and the name of a column all the same.
    const [row] = (await rows('SELECT at FROM changes ORDER BY at DESC LIMIT 1')) as { at: string }[];
    expect(row?.at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  test('takes parameters by name and by place', async () => {
    const query = 'SELECT path FROM files WHERE size > $least AND extension IN (SELECT unnest($endings))';
    expect(await rows(query, { parameters: { least: 10, endings: ['.csv', '.md'] } })).toEqual([
      { path: 'data/sales.csv' }
    ]);
    expect(await rows('SELECT ? AS a, ? AS b', { parameters: ["it's", 1.5] })).toEqual([{ a: "it's", b: 1.5 }]);
  });

  test('comes in the format that is asked for', async () => {
    const query = `SELECT path, size FROM files WHERE extension IN ('.csv', '.md') ORDER BY path`;
    const arrow = await sql({ query }, { accept: 'application/vnd.apache.arrow.stream' });
    expect(arrow.headers['content-type']).toBe('application/vnd.apache.arrow.stream');
    expect(
      tableFromIPC(arrow.body)
        .toArray()
        .map(row => ({ ...row }) as object)
    ).toEqual([
      { path: 'data/sales.csv', size: 49n },
      { path: 'notes.md', size: 7n }
    ]);
    expect((await sql({ query, format: 'csv' })).body.toString()).toBe('path,size\ndata/sales.csv,49\nnotes.md,7\n');
    expect((await sql({ query }, { accept: 'application/x-ndjson' })).body.toString()).toBe(
      '{"path":"data/sales.csv","size":49}\n{"path":"notes.md","size":7}\n'
    );
    expect((await sql({ query, format: 'parquet' })).body.subarray(0, 4).toString()).toBe('PAR1');
    expect((await sql({ query, format: 'table' })).body.toString()).toContain('(2 rows)');
    expect((await sql({ query }, { accept: 'image/png' })).status).toBe(400);
    expect((await sql({ query: 'SELECT 1 WHERE FALSE' })).json).toEqual([]);
  });

  test('that is wrong says what and where', async () => {
    const syntax = await sql({ query: 'SELECT path\nFROM files\nWHERE ORDER' });
    expect([syntax.status, syntax.json]).toMatchObject([
      400,
      { error: { code: 'SQL_SYNTAX', position: { line: 3, column: 7 } } }
    ]);
    const unknown = await sql({ query: `SELECT 'é😀',\n  nosuch FROM files` });
    expect([unknown.status, unknown.json]).toMatchObject([
      400,
      { error: { code: 'SQL_INVALID', position: { line: 2, column: 3 } } }
    ]);
    expect((await sql({ query: 'DELETE FROM changes' })).json).toMatchObject({ error: { code: 'SQL_FORBIDDEN' } });
    expect((await sql({ query: 'SELECT $a' })).json).toMatchObject({ error: { code: 'SQL_INVALID' } });
  });

  test('ends at its time, at its rows, and when nobody reads it any more', async () => {
    const endless = 'SELECT count(*) FROM range(100000000000) a WHERE range % 7 = 3';
    const late = await sql({ query: endless, timeoutMs: 300 });
    expect([late.status, late.json]).toMatchObject([422, { error: { code: 'SQL_TIMEOUT' } }]);

    const few = await sql({ query: 'SELECT * FROM range(100000)', maxRows: 2500, queryId: 'few', format: 'csv' });
    expect(few.body.toString().trim().split('\n')).toHaveLength(2501);
    expect(await outcome('few')).toMatchObject({ state: 'done', rows: 2500, truncated: true });

    await new Promise<void>((resolve, reject) => {
      const req = request({
        socketPath,
        path: '/api/sql',
        method: 'POST',
        headers: {
          host: 'localhost',
          'x-syft-sync-secret': SECRET,
          'x-syft-sync-request': '1',
          'content-type': 'application/json'
        }
      });
      req.on('error', () => resolve());
      req.on('response', response => {
        response.once('data', () => {
          req.destroy();
          resolve();
        });
        response.on('error', reject);
      });
      const query = 'SELECT range, repeat(range::VARCHAR, 20) FROM range(1000000000)';
      req.end(JSON.stringify({ query, format: 'csv', maxRows: 100_000_000, timeoutMs: 60_000, queryId: 'gone' }));
    });
    while ((await outcome('gone')).state === 'running') await new Promise(resolve => setTimeout(resolve, 20));
    expect(await outcome('gone')).toMatchObject({ state: 'cancelled' });
    expect(await rows('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  }, 30_000);

  test('is not held up by who has stopped to read it', async () => {
    const stalled = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { host: 'localhost', 'x-syft-sync-secret': SECRET, 'content-type': 'application/json' };
      const req = request({
        socketPath,
        path: '/api/sql',
        method: 'POST',
        headers: { ...headers, 'x-syft-sync-request': '1' }
      });
      req.on('error', reject);
      req.on('response', response => resolve(response.pause()));
      const query = 'SELECT range, repeat(range::VARCHAR, 20) FROM range(1000000000)';
      req.end(JSON.stringify({ query, format: 'csv', maxRows: 100_000_000, timeoutMs: 700, queryId: 'stalled' }));
    });
    const cut = new Promise(resolve => stalled.on('error', resolve));
    while ((await outcome('stalled')).state === 'running') await new Promise(resolve => setTimeout(resolve, 20));
    expect(await outcome('stalled')).toMatchObject({ state: 'failed', error: { code: 'SQL_TIMEOUT' } });
    stalled.resume();
    expect(await cut).toMatchObject({ code: 'ECONNRESET' });
  }, 30_000);

  test('that fails at its last row is an error, and no shorter table', async () => {
    const failing = (last: number): string =>
      `SELECT CASE WHEN range = ${last} THEN error('bad row') ELSE range::VARCHAR END AS r FROM range(${last + 1})`;
    const failed = await sql({ query: failing(2999), queryId: 'bad', format: 'ndjson' });
    expect([failed.status, failed.json]).toMatchObject([400, { error: { code: 'SQL_INVALID' } }]);
    expect(await outcome('bad')).toMatchObject({ state: 'failed', error: { code: 'SQL_INVALID' } });
    // Of a large one rows have left by then: the answer is cut off before its end.
    const late = await sql({ query: failing(199_999), queryId: 'late', format: 'ndjson' });
    expect([late.status, late.cut]).toEqual([200, true]);
    expect(await outcome('late')).toMatchObject({
      state: 'failed',
      error: { code: 'SQL_INVALID', message: expect.stringContaining('bad row') as unknown }
    });
    expect((await ask({ socketPath }, '/api/sql/queries/never')).status).toBe(404);
  });

  test('two run at a time, and neither sees the other’s end', async () => {
    const queries = Array.from({ length: 6 }, (_, i) => rows(`SELECT count(*) + ${i} AS n FROM range(200000)`));
    expect(await Promise.all(queries)).toEqual(Array.from({ length: 6 }, (_, i) => [{ n: 200_000 + i }]));
  });
});

describe('the contents of versions', () => {
  test('are tables, as they were', async () => {
    const old = `version_of('data/sales.csv', '${versions[0] ?? ''}')`;
    expect(await rows(`SELECT * FROM ${old} ORDER BY id`)).toEqual([
      { id: 1, region: 'north', amount: 10.5 },
      { id: 2, region: 'south', amount: 20 }
    ]);
    expect(
      await rows(
        `SELECT b.id, a.amount AS before, b.amount AS after FROM ${old} a RIGHT JOIN version_of($file) b USING (id) WHERE b.id > ? - 1`.replace(
          '?',
          '$least'
        ),
        { parameters: { file: 'data/sales.csv', least: 1 } }
      )
    ).toEqual([
      { id: 1, before: 10.5, after: 11.5 },
      { id: 3, before: null, after: 5 }
    ]);
    expect(
      await rows(
        `SELECT change, key, columns, after FROM data_diff('data/sales.csv', '-1', 'latest', 'id') ORDER BY change, key::VARCHAR`
      )
    ).toEqual([
      { change: 'added', key: 3, columns: [], after: { id: 3, region: 'west', amount: 5, note: 'new' } },
      { change: 'changed', key: 1, columns: ['amount'], after: { id: 1, region: 'north', amount: 11.5, note: null } },
      { change: 'column added', key: 'note', columns: ['note'], after: 'VARCHAR' },
      { change: 'removed', key: 2, columns: [], after: null }
    ]);
  });

  test('that cannot be had say why, by the names of the workspace', async () => {
    const refused = async (query: string): Promise<unknown> => (await sql({ query })).json;
    expect(await refused(`SELECT * FROM version_of('notes.md')`)).toMatchObject({
      error: { code: 'SQL_INVALID', path: 'notes.md' }
    });
    expect(await refused(`SELECT * FROM version_of('no/such.csv')`)).toMatchObject({
      error: { code: 'VERSION_NOT_FOUND' }
    });
    expect(await refused(`SELECT * FROM version_of('data/sales.csv', '2001-01-01')`)).toMatchObject({
      error: { code: 'VERSION_NOT_FOUND' }
    });
    expect(await refused(`SELECT * FROM version_of('data/sales.csv', 'aaaaaaaa.999')`)).toMatchObject({
      error: { code: 'VERSION_NOT_FOUND' }
    });
    expect(await refused(`SELECT * FROM version_of('../../etc/passwd')`)).toMatchObject({
      error: { code: 'PATH_OUTSIDE_ROOT' }
    });
  });
});

test('the schema tells every table, column and macro with a word on each', async () => {
  const schema = SqlSchemaSchema.parse((await ask({ socketPath }, '/api/sql/schema')).json);
  expect(schema.tables.map(table => table.name)).toEqual(
    expect.arrayContaining(['changes', 'versions', 'files', 'devices', 'runs', 'messages', 'labels', 'chunks'])
  );
  for (const { name, columns } of schema.tables) {
    const described = (await rows(`DESCRIBE ${name}`)) as { column_name: string; column_type: string }[];
    expect([name, described.map(row => [row.column_name, row.column_type])]).toEqual([
      name,
      columns.map(column => [column.name, column.type])
    ]);
    expect(columns.every(column => column.description.length > 5)).toBe(true);
  }
  expect(await rows('SELECT path, versions FROM storage_report() ORDER BY path LIMIT 1')).toEqual([
    { path: 'data/sales.csv', versions: 2 }
  ]);
  expect(await rows('SELECT count(*) > 0 AS some FROM chunks WHERE stored_bytes > 0')).toEqual([{ some: true }]);
  expect(await rows('SELECT * FROM labels')).toEqual([]);
  await post('/api/marks', { versionId: versions[0], act: 'label', name: 'first' });
  expect(await rows('SELECT * FROM labels')).toEqual([{ version_id: versions[0], label: 'first', pinned: false }]);
});

test('what is on disk for queries is private, small, and gone at the end', async () => {
  await rows(`SELECT * FROM version_of('data/sales.csv')`);
  const index = join(root, '.syft-sync', 'index');
  const [own, ...others] = (await readdir(index)).filter(name => name.startsWith('sql-'));
  expect([own === undefined, others]).toEqual([false, []]);
  const dir = join(index, own ?? '');
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  const left = await readdir(dir);
  // One copy of the index, and no content.
  expect(left.filter(name => !name.startsWith('index-'))).toEqual([]);
  expect(left.length).toBeLessThanOrEqual(2);
  await sidecar.close();
  expect((await readdir(index)).filter(name => name.startsWith('sql-'))).toEqual([]);
});
