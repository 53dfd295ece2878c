/** Results in Arrow, read by the library that notebooks read them with. A type that is written wrong is a wrong number in a paper. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeRows } from '../../../../server/src/index/sql/encode.ts';
import type { Format } from '../../../../server/src/index/sql/protocol.ts';
import type { SqlSession } from '../../../../server/src/index/sql/session.ts';
import { api, sampleIndex, type SampleIndex } from './sample-index.ts';

/** `npm test` makes it before any test runs; without it these fail. */
const PYTHON = fileURLToPath(new URL('../../../../.venv/bin/python', import.meta.url));
let index: SampleIndex;
let session: SqlSession;
beforeAll(async () => {
  index = await sampleIndex();
  session = await index.open();
});
afterAll(async () => {
  session.close();
  await index.remove();
});

async function encoded(query: string, format: Format = 'arrow', maxRows = 1_000_000): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await session.run(await session.read(query), undefined, AbortSignal.timeout(20_000), async rows => {
    const counts = { rows: 0, truncated: false };
    const options = { format, maxRows, scratch: index.dir, sealed: false, memoryMb: 256, counts };
    for await (const piece of encodeRows(api, rows, options)) {
      pieces.push(Buffer.from(piece));
    }
  });
  return Buffer.concat(pieces);
}

/** Each column as JSON of what Python has, and its Arrow type. */
const READ = `
import sys, json, pyarrow as pa, datetime as d
t = pa.ipc.open_stream(open(sys.argv[1], 'rb')).read_all()
t.validate(full=True)
print(json.dumps({n: [str(t[n].type), t[n].to_pylist()] for n in t.column_names}, default=lambda v: v.hex() if isinstance(v, bytes) else str(v)))
`;

async function inPython(query: string): Promise<Record<string, [type: string, values: unknown[]]>> {
  const file = join(index.dir, 'result.arrow');
  await writeFile(file, await encoded(query));
  return JSON.parse(execFileSync(PYTHON, ['-c', READ, file], { encoding: 'utf8' })) as never;
}

test('every type of DuckDB arrives in Python as what it is', async () => {
  const query = `
    SELECT * FROM (VALUES (1), (2)) r(row_number), (SELECT
      TRUE AS b, (-128)::TINYINT AS i8, (-32768)::SMALLINT AS i16, 2147483647 AS i32, 9223372036854775807 AS i64,
      255::UTINYINT AS u8, 65535::USMALLINT AS u16, 4294967295::UINTEGER AS u32, 18446744073709551615::UBIGINT AS u64,
      (-99999999999999999999999999999999999999)::HUGEINT AS huge, 340282366920938463463374607431768211455::UHUGEINT AS uhuge,
      1.5::FLOAT AS f, 0.1::DOUBLE AS d, 12.3::DECIMAL(4,1) AS d4, (-12345.6789)::DECIMAL(9,4) AS d9,
      123456789012.123456::DECIMAL(18,6) AS d18, (-1234567890123456789012345678.0123456789)::DECIMAL(38,10) AS d38,
      DATE '2026-11-01' AS day, TIME '14:32:05.5' AS tm, TIMESTAMP '2026-11-01 14:32:05.120334' AS ts,
      TIMESTAMP_S '2026-11-01 14:32:05' AS ts_s, TIMESTAMP_MS '2026-11-01 14:32:05.12' AS ts_ms,
      TIMESTAMP_NS '2026-11-01 14:32:05.120334567' AS ts_ns, TIMESTAMPTZ '2026-11-01 14:32:05+02' AS tz,
      INTERVAL '14 months 3 days 2.5 seconds' AS gap, 'short' AS s, 'a text that is longer than twelve bytes, é😀' AS l, '' AS e,
      'blob'::BLOB AS bl, '0101'::BIT AS bits, '00000000-0000-0000-0000-0000000000ff'::UUID AS u,
      'b'::ENUM ('a', 'b') AS en, [1, NULL, 3] AS li, [['x'], [], NULL] AS lli, [1, 2, 3]::INTEGER[3] AS ar,
      {'a': 1, 'b': ['long enough to be stored elsewhere']} AS st, MAP {'k': 1, 'l': NULL} AS mp,
      union_value(num := 7)::UNION(num INTEGER, str VARCHAR) AS un, NULL AS nil, NULL::VARCHAR AS nul, '{"a":1}'::JSON AS js)`;
  const got = await inPython(query);
  const both = (value: unknown): unknown[] => [value, value];
  expect(got).toEqual({
    row_number: ['int32', [1, 2]],
    b: ['bool', both(true)],
    i8: ['int8', both(-128)],
    i16: ['int16', both(-32768)],
    i32: ['int32', both(2147483647)],
    i64: ['int64', expect.anything()],
    u8: ['uint8', both(255)],
    u16: ['uint16', both(65535)],
    u32: ['uint32', both(4294967295)],
    u64: ['uint64', expect.anything()],
    huge: ['decimal128(38, 0)', both('-99999999999999999999999999999999999999')],
    uhuge: ['decimal256(39, 0)', both('340282366920938463463374607431768211455')],
    f: ['float', both(1.5)],
    d: ['double', both(0.1)],
    d4: ['decimal128(4, 1)', both('12.3')],
    d9: ['decimal128(9, 4)', both('-12345.6789')],
    d18: ['decimal128(18, 6)', both('123456789012.123456')],
    d38: ['decimal128(38, 10)', both('-1234567890123456789012345678.0123456789')],
    day: ['date32[day]', both('2026-11-01')],
    tm: ['time64[us]', both('14:32:05.500000')],
    ts: ['timestamp[us]', both('2026-11-01 14:32:05.120334')],
    ts_s: ['timestamp[s]', both('2026-11-01 14:32:05')],
    ts_ms: ['timestamp[ms]', both('2026-11-01 14:32:05.120000')],
    ts_ns: ['timestamp[ns]', both('2026-11-01 14:32:05.120334567')],
    tz: ['timestamp[us, tz=UTC]', both('2026-11-01 12:32:05+00:00')],
    gap: ['month_day_nano_interval', both([14, 3, 2_500_000_000])],
    s: ['string', both('short')],
    l: ['string', both('a text that is longer than twelve bytes, é😀')],
    e: ['string', both('')],
    bl: ['binary', both('626c6f62')],
    bits: ['string', both('0101')],
    u: ['string', both('00000000-0000-0000-0000-0000000000ff')],
    en: [expect.stringContaining('dictionary<values=string'), both('b')],
    li: ['list<item: int32>', both([1, null, 3])],
    lli: ['list<item: list<item: string>>', both([['x'], [], null])],
    ar: ['fixed_size_list<item: int32>[3]', both([1, 2, 3])],
    st: [expect.stringContaining('struct<a: int32'), both({ a: 1, b: ['long enough to be stored elsewhere'] })],
    mp: [
      expect.stringContaining('map<string, int32'),
      both([
        ['k', 1],
        ['l', null]
      ])
    ],
    un: [expect.stringContaining('sparse_union'), both(7)],
    nil: [expect.stringMatching(/null|int32/), both(null)],
    nul: ['string', both(null)],
    js: ['string', both('{"a":1}')]
  });
});

test('rows of many batches arrive in order, nulls and shared texts at their places', async () => {
  const got = await inPython(`
    SELECT range AS i, CASE WHEN range % 3 = 0 THEN NULL ELSE 'a longer text number ' || range END AS t,
      CASE WHEN range % 2 = 0 THEN 'the same long text in half of all rows' ELSE 's' END AS u,
      CASE WHEN range % 5 = 0 THEN NULL ELSE [range, NULL] END AS l
    FROM range(5000)`);
  expect(got['i']?.[1]).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  expect(got['t']?.[1]).toEqual(
    Array.from({ length: 5000 }, (_, i) => (i % 3 === 0 ? null : `a longer text number ${i}`))
  );
  expect(got['u']?.[1]).toEqual(
    Array.from({ length: 5000 }, (_, i) => (i % 2 === 0 ? 'the same long text in half of all rows' : 's'))
  );
  expect(got['l']?.[1]).toEqual(Array.from({ length: 5000 }, (_, i) => (i % 5 === 0 ? null : [i, null])));
});

test('a whole number of 39 digits is read whole, or not at all', async () => {
  const most = '170141183460469231731687303715884105727';
  const least = `-${most}`;
  expect(
    await inPython(`SELECT * FROM (VALUES (${most}::HUGEINT, 1::HUGEINT), ((${least})::HUGEINT, NULL)) t(long, short)`)
  ).toEqual({
    long: ['decimal256(39, 0)', [most, least]],
    short: ['decimal128(38, 0)', ['1', null]]
  });
  const edge = '9'.repeat(38);
  expect(await inPython(`SELECT ${edge}::HUGEINT AS a, (-${edge})::HUGEINT AS b`)).toEqual({
    a: ['decimal128(38, 0)', [edge]],
    b: ['decimal128(38, 0)', [`-${edge}`]]
  });
  expect((await inPython(`SELECT ${edge}::HUGEINT + 1 AS a`))['a']).toEqual([
    'decimal256(39, 0)',
    [`1${'0'.repeat(38)}`]
  ]);
  const late = `SELECT CASE WHEN range = 2999 THEN ${most} ELSE range END::HUGEINT AS n FROM range(3000)`;
  await expect(encoded(late)).rejects.toMatchObject({ code: 'SQL_INVALID' });
});

test('no rows are a table with columns, and a result that is cut has as many as were asked for', async () => {
  expect(await inPython('SELECT path, size FROM changes WHERE FALSE')).toEqual({
    path: ['string', []],
    size: ['int64', []]
  });
  await writeFile(join(index.dir, 'cut.arrow'), await encoded('SELECT range AS n FROM range(3000)', 'arrow', 2500));
  const count = `import sys, pyarrow as pa; t = pa.ipc.open_stream(open(sys.argv[1], 'rb')).read_all(); print(t.num_rows, t['n'][2499])`;
  expect(execFileSync(PYTHON, ['-c', count, join(index.dir, 'cut.arrow')], { encoding: 'utf8' }).trim()).toBe(
    '2500 2499'
  );
});

test('as JSON, whole numbers and decimals stand in full, times in UTC, and text cannot break out', async () => {
  const query = `SELECT 9223372036854775807 AS big, 0.10::DECIMAL(9,2) AS dec, 'NaN'::DOUBLE AS nan, TIMESTAMPTZ '2026-11-01 14:32:05+02' AS tz,
    DATE '2026-11-01' AS day, 'a"\n' AS text, 'x'::BLOB AS bytes, {'a': [1, NULL]} AS st, MAP {'k': 'v'} AS mp, NULL AS nil, '{"a":1}'::JSON AS js`;
  expect((await encoded(query, 'json')).toString()).toBe(
    '[{"big":9223372036854775807,"dec":0.10,"nan":null,"tz":"2026-11-01T12:32:05.000000Z","day":"2026-11-01","text":"a\\"\\n",' +
      '"bytes":"eA==","st":{"a":[1,null]},"mp":[{"key":"k","value":"v"}],"nil":null,"js":{"a":1}}]\n'
  );
  expect((await encoded(`SELECT 'a,"b' AS x, '' AS e, NULL AS n, 1.5 AS f`, 'csv')).toString()).toBe(
    'x,e,n,f\n"a,""b","",,1.5\n'
  );
});

test('nothing of a name can be a command to a terminal', async () => {
  const table = (await encoded(`SELECT 'a' || chr(27) || '[2J' || chr(10) || chr(8238) AS x`, 'table')).toString();
  expect(table).toContain('a\\u001b[2J↵\\u202e');
  expect(table.split('\n')).toHaveLength(5);
});
