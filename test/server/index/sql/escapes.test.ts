/**
 * Who may ask SQL may read the change log, and nothing else. Each line here is a way out that somebody could try; all aim at bait in
 * the test's own folder. A line that is not refused is somebody's file read, or their history written to.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftError } from '../../../../server/src/core/errors.ts';
import { asWritten } from '../../../../server/src/index/sql/errors.ts';
import type { SqlSession } from '../../../../server/src/index/sql/session.ts';
import type { Statement } from '../../../../server/src/index/sql/statement.ts';
import { rowsOf, sampleIndex, type SampleIndex } from './sample-index.ts';

const SECRET = 'bait-7c1f';
let index: SampleIndex;
let session: SqlSession;
let allowed: string;

beforeAll(async () => {
  index = await sampleIndex();
  const bait = join(index.dir, 'bait');
  await mkdir(join(bait, 'private'), { recursive: true });
  for (const name of ['b.csv', 'b.json', 'b.parquet', 'b.txt', 'b.db']) {
    await writeFile(join(bait, name), `x\n${SECRET}\n`);
  }
  allowed = join(bait, 'private', 'ok.csv');
  await writeFile(allowed, 'x\nfine\n');
  await symlink(join(bait, 'b.csv'), join(bait, 'private', 'link.csv'));
  session = await index.open({ readable: [allowed] });
});
afterAll(async () => {
  session.close();
  await index.remove();
});

// %B: the folder of bait. %O: a file that must not come to be. %P: the only file that may be read.
const READS_FILES = [
  `SELECT * FROM read_csv('%B/b.csv')`,
  `SELECT * FROM read_csv_auto('%B/b.csv')`,
  `SELECT * FROM READ_CSV('%B/b.csv')`,
  `SELECT * FROM "read_csv"('%B/b.csv')`,
  `SELECT * FROM main.read_csv('%B/b.csv')`,
  `SELECT * FROM system.main.read_csv('%B/b.csv')`,
  `SELECT * FROM read_csv(['%B/b.csv', '%P'])`,
  `SELECT * FROM read_csv('%B/*.csv')`,
  `SELECT * FROM read_csv('%B/private/../b.csv')`,
  `SELECT * FROM read_csv('%B/private/link.csv')`,
  `SELECT * FROM read_csv('%B/private/./link.csv')`,
  `SELECT * FROM read_csv('%P/../../b.csv')`,
  `SELECT * FROM read_csv('file://%B/b.csv')`,
  `SELECT * FROM read_csv('%B//b.csv')`,
  `SELECT * FROM read_csv(concat('%B', '/b.csv'))`,
  `SELECT * FROM read_csv('/proc/self/environ')`,
  `SELECT * FROM read_csv('/proc/self/cwd/package.json')`,
  `SELECT * FROM read_csv('/dev/stdin')`,
  `SELECT * FROM read_text('%B/b.txt')`,
  `SELECT * FROM read_blob('%B/b.txt')`,
  `SELECT content FROM read_text('%B/*')`,
  `SELECT * FROM read_json('%B/b.json')`,
  `SELECT * FROM read_json_auto('%B/b.json')`,
  `SELECT * FROM read_json_objects('%B/b.json')`,
  `SELECT * FROM read_ndjson('%B/b.json')`,
  `SELECT * FROM read_ndjson_objects('%B/b.json')`,
  `SELECT * FROM read_parquet('%B/b.parquet')`,
  `SELECT * FROM parquet_scan('%B/b.parquet')`,
  `SELECT * FROM parquet_metadata('%B/b.parquet')`,
  `SELECT * FROM parquet_schema('%B/b.parquet')`,
  `SELECT * FROM parquet_file_metadata('%B/b.parquet')`,
  `SELECT * FROM parquet_kv_metadata('%B/b.parquet')`,
  `SELECT * FROM parquet_bloom_probe('%B/b.parquet', 'x', 1)`,
  `SELECT * FROM sniff_csv('%B/b.csv')`,
  `SELECT * FROM glob('%B/*')`,
  `SELECT * FROM glob('/*')`,
  `SELECT * FROM '%B/b.csv'`,
  `FROM '%B/b.json'`,
  `SELECT * FROM "%B/b.parquet"`,
  `TABLE '%B/b.csv'`,
  `DESCRIBE SELECT * FROM '%B/b.csv'`,
  `SUMMARIZE '%B/b.csv'`,
  `EXPLAIN SELECT * FROM read_text('%B/b.txt')`,
  `EXPLAIN ANALYZE SELECT * FROM read_text('%B/b.txt')`,
  `SELECT (SELECT x FROM read_csv('%B/b.csv'))`,
  `WITH a AS (FROM read_csv('%B/b.csv')) SELECT * FROM a`,
  `SELECT * FROM changes WHERE path IN (SELECT content FROM read_text('%B/b.txt'))`,
  `SELECT * FROM changes, LATERAL (SELECT * FROM read_text('%B/b.txt'))`,
  `SELECT * FROM changes UNION ALL BY NAME SELECT * FROM read_text('%B/b.txt')`,
  `PIVOT (FROM read_csv('%B/b.csv')) ON x IN ('1') USING count(*)`,
  `SELECT * FROM query('SELECT * FROM read_text(''%B/b.txt'')')`,
  `SELECT * FROM query_table('%B/b.csv')`,
  `SELECT * FROM read_duckdb('%B/b.db')`,
  `SELECT * FROM read_csv('https://localhost:1/b.csv')`,
  `SELECT * FROM read_parquet('s3://bucket/b.parquet')`,
  `SELECT * FROM read_text('hf://datasets/b')`,
  `SELECT * FROM sqlite_scan('%B/b.db', 't')`,
  `SELECT * FROM postgres_scan('host=localhost', 'public', 't')`,
  `SELECT * FROM arrow_scan(0::UBIGINT, 0::UBIGINT, 0::UBIGINT)`,
  `SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''%B/b.txt'')'))`
];
const WRITES = [
  `COPY changes TO '%O'`,
  `COPY (SELECT 1) TO '%O' (FORMAT parquet)`,
  `COPY changes TO '%P'`,
  `COPY changes FROM '%B/b.csv'`,
  `COPY FROM DATABASE log_index TO memory`,
  `EXPORT DATABASE '%O'`,
  `IMPORT DATABASE '%B'`,
  `ATTACH '%O' AS o`,
  `ATTACH '%B/b.db' AS o (TYPE sqlite)`,
  `ATTACH ':memory:' AS o`,
  `DETACH log_index`,
  `CREATE TABLE t (i INTEGER)`,
  `CREATE TEMP TABLE t (i INTEGER)`,
  `CREATE TABLE log_index.main.t AS SELECT 1`,
  `CREATE OR REPLACE VIEW changes AS SELECT 1`,
  `CREATE TEMP VIEW changes AS SELECT 1`,
  `CREATE MACRO files_at(ts) AS TABLE SELECT 1`,
  `CREATE SCHEMA s`,
  `CREATE SEQUENCE s`,
  `CREATE TYPE t AS ENUM ('a')`,
  `CREATE INDEX i ON log_index.main.paths (id)`,
  `CREATE SECRET s (TYPE s3)`,
  `DROP VIEW changes`,
  `DROP TABLE log_index.main.change_rows`,
  `ALTER TABLE log_index.main.paths RENAME TO p`,
  `INSERT INTO log_index.main.meta VALUES (1, 'a', 1, 'b')`,
  `INSERT INTO changes (path) VALUES ('x')`,
  `INSERT INTO extra.main.labels VALUES ('x', 'y', true)`,
  `UPDATE log_index.main.meta SET changes = 0`,
  `UPDATE changes SET path = 'x'`,
  `DELETE FROM log_index.main.change_rows`,
  `DELETE FROM changes RETURNING *`,
  `TRUNCATE log_index.main.change_rows`,
  `MERGE INTO log_index.main.paths USING (SELECT 1 AS id) s ON FALSE WHEN NOT MATCHED THEN INSERT DEFAULT VALUES`,
  `WITH a AS (DELETE FROM log_index.main.change_rows RETURNING *) SELECT * FROM a`,
  `WITH a AS (INSERT INTO extra.main.labels VALUES ('x', 'y', true) RETURNING *) FROM a`,
  `EXPLAIN ANALYZE DELETE FROM log_index.main.change_rows`,
  `EXPLAIN INSERT INTO extra.main.labels VALUES ('x', 'y', true)`,
  `PREPARE p AS DELETE FROM log_index.main.change_rows`,
  `EXECUTE p`,
  `DEALLOCATE p`,
  `VACUUM`,
  `ANALYZE`,
  `CHECKPOINT log_index`,
  `COMMENT ON VIEW changes IS 'x'`,
  `SELECT 1; DELETE FROM log_index.main.change_rows`,
  `SELECT 1; SELECT 2`,
  `DELETE FROM log_index.main.change_rows; SELECT 1`,
  `/* */ DELETE FROM log_index.main.change_rows -- SELECT`
];
const SETTINGS = [
  `SET enable_external_access = true`,
  `SET GLOBAL lock_configuration = false`,
  `SET allowed_directories = ['/']`,
  `SET memory_limit = '100GB'`,
  `SET threads = 64`,
  `SET temp_directory = '%O'`,
  `SET log_query_path = '%O'`,
  `SET profiling_output = '%O'`,
  `SET VARIABLE a = 1`,
  `RESET lock_configuration`,
  `PRAGMA enable_profiling = 'json'`,
  `PRAGMA database_list`,
  `PRAGMA import_database('%B')`,
  `USE log_index`,
  `CALL pragma_version()`,
  `CALL enable_logging()`,
  `LOAD httpfs`,
  `INSTALL httpfs`,
  `FORCE INSTALL httpfs FROM 'http://localhost:1'`,
  `LOAD '%B/b.db'`,
  `UPDATE EXTENSIONS`,
  `BEGIN`,
  `COMMIT`,
  `ROLLBACK; DELETE FROM log_index.main.change_rows`,
  `SELECT getenv('HOME')`,
  `SELECT getvariable('a')`,
  `SELECT write_log('x')`,
  `SELECT * FROM enable_logging()`,
  `SELECT * FROM disable_logging()`,
  `SELECT * FROM enable_profiling()`,
  `SELECT * FROM checkpoint()`,
  `SELECT * FROM force_checkpoint('log_index')`,
  `SELECT * FROM duckdb_secrets()`,
  `SELECT * FROM duckdb_settings()`,
  `SELECT * FROM duckdb_databases()`,
  `SELECT * FROM duckdb_extensions()`,
  `SELECT * FROM duckdb_logs()`,
  `SELECT * FROM duckdb_temporary_files()`,
  `SELECT * FROM pragma_database_list()`
];
const MALFORMED = [
  ``,
  `   ;`,
  `-- nothing`,
  `SELECT`,
  `\\copy changes to '%O'`,
  `.shell id`,
  `SELECT 1\u0000; DELETE FROM log_index.main.change_rows`,
  `SELECT ${'NOT '.repeat(20_000)}TRUE`,
  `SELECT ${'1+'.repeat(50_000)}1`,
  `SELECT '${'x'.repeat(100)}`,
  `SELECT $a$`
];
/** Asked of a parser that was passed by, DuckDB answers these: they read what is no secret, or change nothing that lasts. */
const HARMLESS = new Set([
  ...[
    `SELECT * FROM query_table('%B/b.csv')`,
    'PRAGMA database_list',
    'ANALYZE',
    'VACUUM',
    'SELECT 1; SELECT 2',
    'BEGIN'
  ],
  ...SETTINGS.filter(line => /^SELECT (\*|write_log|getv)/.test(line))
]);

const filled = (line: string): string =>
  line
    .replaceAll('%B', join(index.dir, 'bait'))
    .replaceAll('%O', join(index.dir, 'bait', 'written'))
    .replaceAll('%P', allowed);

async function refusal(query: string | Statement): Promise<SyftError> {
  let got: unknown[][];
  try {
    got = await rowsOf(session, query);
  } catch (error) {
    if (error instanceof SyftError) return error;
    throw error;
  }
  throw new Error(`not refused: ${JSON.stringify(got).slice(0, 200)}`);
}

const every = [...READS_FILES, ...WRITES, ...SETTINGS, ...MALFORMED];

describe('a way out', () => {
  test('there are more than a hundred tried here', () => expect(new Set(every).size).toBeGreaterThan(140));

  test.each(every.map(line => [line.slice(0, 100), line]))('%s', async (_, line) => {
    const error = await refusal(filled(line));
    expect(error.code).toMatch(/^SQL_(FORBIDDEN|SYNTAX|INVALID)$/);
    expect(error.message.length).toBeGreaterThan(10);
    expect(error.message).not.toContain(SECRET);
  });
});

describe('without the parser’s judgement', () => {
  const passedBy = [...READS_FILES, ...WRITES, ...SETTINGS].filter(line => !HARMLESS.has(line));
  test.each(passedBy.map(line => [line.slice(0, 100), line]))('DuckDB itself refuses %s', async (_, line) => {
    const query = asWritten(filled(line));
    const statement = { query, explain: false, names: new Set<string>(), star: true, contentCalls: [], ast: {} };
    const error = await refusal(statement);
    expect(error.code).toMatch(/^SQL_(FORBIDDEN|SYNTAX|INVALID)$/);
    expect(error.message).not.toContain(SECRET);
  });
});

test('after all of it the log is as it was, nothing was written, and queries are answered', async () => {
  expect(await rowsOf(session, 'SELECT count(*), max(number) FROM changes')).toEqual([[5n, 5n]]);
  expect(await rowsOf(session, `SELECT path FROM files_at('2100-01-01')`)).toEqual([['data/c.csv']]);
  expect(await rowsOf(session, 'SELECT * FROM labels')).toEqual([]);
  expect((await readdir(join(index.dir, 'bait'))).sort()).toEqual([
    'b.csv',
    'b.db',
    'b.json',
    'b.parquet',
    'b.txt',
    'private'
  ]);
  expect(await readFile(allowed, 'utf8')).toBe('x\nfine\n');
  expect((await readdir(index.dir)).sort()).toEqual(['bait', 'copy.duckdb']);
});
