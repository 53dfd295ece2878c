/** What is put into columns is what the index has afterwards: else it answers with other sizes, times and names than were recorded. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as api from '@duckdb/node-api';
import { createHash } from 'node:crypto';
import { RowColumns, type ColumnType } from '../../../server/src/index/columns.ts';
import { ContentNumbers, HASH_WORDS, hashWords } from '../../../server/src/index/content-numbers.ts';
import { IndexDatabase } from '../../../server/src/index/database.ts';
import { HashPutter } from '../../../server/src/index/feed.ts';
import { HASH_COLUMNS, hashTextOf } from '../../../server/src/index/schema.ts';

let db: IndexDatabase;
beforeAll(async () => {
  db = await IndexDatabase.open(api, { dir: undefined, memory: 256, memoryMost: 256 });
});
afterAll(() => db.close());

const EVERY = {
  i: 'INTEGER',
  a: 'UTINYINT',
  b: 'USMALLINT',
  c: 'INTEGER',
  d: 'BIGINT',
  e: 'UBIGINT',
  f: 'TIMESTAMPTZ',
  g: 'VARCHAR',
  h: 'BLOB'
} as const satisfies Record<string, ColumnType>;

const ROWS: readonly (readonly [number, number, number, number, number, number, string, number[]] | null)[] = [
  [0, 0, 0, 0, 0, 0, '', []],
  [
    255,
    65_535,
    2_147_483_647,
    Number.MAX_SAFE_INTEGER,
    Number.MAX_SAFE_INTEGER,
    1_790_000_000_123_456,
    'short',
    [255, 0]
  ],
  null,
  [
    1,
    1,
    -2_147_483_648,
    -Number.MAX_SAFE_INTEGER,
    4_294_967_296,
    -1,
    'longer than twelve bytes, ünï',
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
  ],
  [2, 256, -1, -4_294_967_297, 4_294_967_295, -4_294_967_296, "it's", [39]]
];

test('every type comes back as it was put, over the edge of a vector, and over what was there before', async () => {
  const count = 2048 * 2 + 5;
  const rows = new RowColumns(api, EVERY, count);
  for (const shift of [0, 3]) {
    for (let i = 0; i < count; i++) {
      const row = ROWS[(i + shift) % ROWS.length];
      rows.of.i.set(i, i);
      rows.of.a.set(i, row?.[0] ?? null);
      rows.of.b.set(i, row?.[1] ?? null);
      rows.of.c.set(i, row?.[2] ?? null);
      rows.of.d.set(i, row?.[3] ?? null);
      rows.of.e.set(i, row?.[4] ?? null);
      rows.of.f.set(i, row?.[5] ?? null);
      rows.of.g.set(i, row?.[6] ?? null);
      rows.of.h.set(i, row === null || row === undefined ? null : Uint8Array.from(row[7]));
    }
    await db.stage('t', EVERY, rows, count);
    const found = await db.read('SELECT a, b, c, d, e, epoch_us(f), g, h FROM t ORDER BY i');
    expect(found).toHaveLength(count);
    found.forEach((row, i) => {
      const put = ROWS[(i + shift) % ROWS.length];
      const read = row.map(value =>
        value instanceof Uint8Array ? [...value] : typeof value === 'bigint' ? Number(value) : value
      );
      // One comparison by hand: a matcher for each of thousands of rows takes seconds.
      const wanted = put ?? Array<null>(8).fill(null);
      if (JSON.stringify(read) !== JSON.stringify(wanted)) expect({ i, read }).toEqual({ i, read: wanted });
    });
  }
});

test.each([
  ['UTINYINT', 256],
  ['USMALLINT', 65_536],
  ['USMALLINT', -1],
  ['INTEGER', 2 ** 31],
  ['INTEGER', 0.5],
  ['BIGINT', 2 ** 63],
  ['BIGINT', Number.NaN]
] as const)('a number that does not go into %s is refused, not cut: %d', (type, value) => {
  const rows = new RowColumns(api, { n: type }, 1);
  expect(() => rows.of.n.set(0, value)).toThrow(RangeError);
});

describe('contents', () => {
  test('hashes come back digit by digit, leading zeros included', async () => {
    const hashes = [
      '0'.repeat(64),
      'f'.repeat(64),
      `00${'a1'.repeat(31)}`,
      ...[1, 2, 3].map(n => createHash('sha256').update(`${n}`).digest('hex'))
    ];
    const rows = new RowColumns(api, HASH_COLUMNS, hashes.length);
    const put = new HashPutter(rows);
    hashes.forEach((hash, i) => put.set(i, i, hash));
    await db.stage('h', HASH_COLUMNS, rows, hashes.length);
    const found = await db.read(`SELECT ${hashTextOf('h')} FROM h ORDER BY id`);
    expect(found.map(row => row[0])).toEqual(hashes);
    for (const bad of ['', 'a'.repeat(63), 'a'.repeat(65), `${'a'.repeat(63)}g`, `${'a'.repeat(63)}é`]) {
      expect(() => put.set(0, 0, bad)).toThrow(TypeError);
    }
  });

  test('each content has one number, and no two share one, however alike their hashes are', () => {
    const numbers = new ContentNumbers();
    const words = new Uint32Array(HASH_WORDS);
    const wanted = new Map<string, number>();
    for (let n = 0; n < 20_000; n++) {
      // Alike in all but one digit, at any place.
      const at = n % 64;
      const hash = `${'7'.repeat(at)}${(n % 15).toString(16)}${'7'.repeat(63 - at)}`;
      const other = createHash('sha256')
        .update(`${n % 9000}`)
        .digest('hex');
      for (const text of [hash, other]) {
        hashWords(text, words);
        const number = numbers.numberOf(words);
        if (!wanted.has(text)) wanted.set(text, wanted.size + 1);
        if (number !== wanted.get(text)) expect([text, number]).toEqual([text, wanted.get(text)]);
      }
    }
    expect(numbers.count).toBe(wanted.size);
    expect(numbers.count).toBeGreaterThan(9000);
  });
});
