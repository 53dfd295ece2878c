/** What the grid shows of every type that a query may give: a digit that is lost here is a wrong number in somebody's paper. */
import { describe, expect, test } from '@jest/globals';
import * as arrow from 'apache-arrow';
import type { Data } from 'apache-arrow';

import { cellNumber, cellText } from '../../../labextension/sql/cell-text';

/** All values of a vector, after a way over the wire, as a grid shows them. */
function texts(vector: arrow.Vector): (string | null)[] {
  const table = new arrow.Table({ value: vector });
  const read = arrow.tableFromIPC(arrow.tableToIPC(table, 'stream'));
  return read.batches.flatMap(batch => {
    const data = batch.data.children[0] as Data;
    return Array.from({ length: batch.numRows }, (_, i) => cellText(data, i));
  });
}
const of = (values: unknown[], type: arrow.DataType): (string | null)[] => texts(arrow.vectorFromArray(values, type));
const words = (value: bigint, count: number): Uint32Array =>
  Uint32Array.from({ length: count }, (_, i) => Number(BigInt.asUintN(32, value >> BigInt(32 * i))));
const fixed = (type: arrow.DataType, data: unknown, length: number): (string | null)[] =>
  texts(new arrow.Vector([arrow.makeData({ type, data, length, nullCount: 0 } as never)]));

describe('a cell shows', () => {
  test('integers with every digit', () => {
    expect(of([9007199254740993n, -1n, null], new arrow.Int64())).toEqual(['9007199254740993', '-1', null]);
    expect(of([18446744073709551615n], new arrow.Uint64())).toEqual(['18446744073709551615']);
    expect(of([-128, 127], new arrow.Int8())).toEqual(['-128', '127']);
  });

  test('floats, the short form of 32 bits, and what is no number', () => {
    expect(of([0.1, 1e300, NaN, Infinity], new arrow.Float64())).toEqual(['0.1', '1e+300', 'NaN', 'Infinity']);
    expect(of([0.1, 16777216, 3.4028234663852886e38], new arrow.Float32())).toEqual([
      '0.1',
      '16777216',
      '3.4028235e+38'
    ]);
  });

  test('decimals and huge integers with their scale', () => {
    const values = (numbers: bigint[]): Uint32Array => new Uint32Array(numbers.flatMap(value => [...words(value, 4)]));
    expect(fixed(new arrow.Decimal(2, 38, 128), values([123456n, -5n, 0n]), 3)).toEqual(['1234.56', '-0.05', '0.00']);
    const most = 2n ** 127n - 1n;
    expect(fixed(new arrow.Decimal(0, 38, 128), values([most, -most - 1n]), 2)).toEqual([
      String(most),
      String(-most - 1n)
    ]);
    expect(fixed(new arrow.Decimal(0, 39, 256), new Uint32Array(words(2n ** 128n - 1n, 8)), 1)).toEqual([
      String(2n ** 128n - 1n)
    ]);
  });

  test('text, enums, booleans, bytes', () => {
    expect(of(['a\u0000b', 'ü😀', '', null], new arrow.Utf8())).toEqual(['a\u0000b', 'ü😀', '', null]);
    expect(of([true, false, null], new arrow.Bool())).toEqual(['true', 'false', null]);
    expect(of(['x', 'y', null, 'x'], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32()))).toEqual([
      'x',
      'y',
      null,
      'x'
    ]);
    expect(of([Uint8Array.of(0, 255), new Uint8Array(65)], new arrow.Binary())).toEqual([
      '0x00ff',
      `0x${'00'.repeat(64)}… (65 B)`
    ]);
  });

  test('times with every digit: with a zone as the clock here shows them, without one as they are', () => {
    const micros = BigInt(Date.UTC(2026, 10, 28, 15, 12, 40, 123)) * 1000n + 456n;
    expect(fixed(new arrow.TimestampMicrosecond(), BigInt64Array.of(micros, 0n, -1n), 3)).toEqual([
      '2026-11-28 15:12:40.123456',
      '1970-01-01 00:00:00',
      '1969-12-31 23:59:59.999999'
    ]);
    const here = new Date(2026, 5, 1, 9, 30);
    expect(fixed(new arrow.TimestampMicrosecond('UTC'), BigInt64Array.of(BigInt(here.getTime()) * 1000n), 1)).toEqual([
      '2026-06-01 09:30:00'
    ]);
    expect(fixed(new arrow.TimestampNanosecond(), BigInt64Array.of(1n), 1)).toEqual(['1970-01-01 00:00:00.000000001']);
    expect(fixed(new arrow.TimestampSecond(), BigInt64Array.of(60n), 1)).toEqual(['1970-01-01 00:01:00']);
    const ends = BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n) + 1n, 2n ** 63n - 2n);
    for (const zone of [undefined, 'UTC']) {
      expect(fixed(new arrow.TimestampMicrosecond(zone), ends, 3)).toEqual([
        'infinity',
        '-infinity',
        '294247-01-10 04:00:54.775806'
      ]);
    }
  });

  test('dates, times of day, intervals', () => {
    expect(fixed(new arrow.DateDay(), Int32Array.of(0, -1, 20785, -800_000, 2 ** 31 - 2, -(2 ** 31) + 1), 6)).toEqual([
      '1970-01-01',
      '1969-12-31',
      '2026-11-28',
      '0222-09-04 (BC)',
      '5881580-07-10',
      '-infinity'
    ]);
    expect(fixed(new arrow.TimeMicrosecond(), BigInt64Array.of(86_399_000_001n), 1)).toEqual(['23:59:59.000001']);
    const interval = new arrow.IntervalMonthDayNano();
    expect(fixed(interval, Int32Array.of(14, 3, 1_500_000_000, 0, 0, 0, 0, 0), 2)).toEqual([
      '1 year 2 months 3 days 00:00:01.500',
      '00:00:00'
    ]);
  });

  test('lists, structs and maps as JSON', () => {
    const list = new arrow.List(new arrow.Field('item', new arrow.Int32(), true));
    expect(of([[1, null, 3], [], null], list)).toEqual(['[1,null,3]', '[]', null]);
    const struct = new arrow.Struct([
      new arrow.Field('name', new arrow.Utf8(), true),
      new arrow.Field('__proto__', new arrow.Int64(), true)
    ]);
    expect(of([{ name: 'a', ['__proto__']: 1n }, null], struct)).toEqual(['{"name":"a","__proto__":1}', null]);
    const map = new arrow.Map_(
      new arrow.Field(
        'entries',
        new arrow.Struct([
          new arrow.Field('key', new arrow.Utf8(), false),
          new arrow.Field('value', new arrow.Float64(), true)
        ]),
        false
      ) as never
    );
    expect(
      of(
        [
          new Map([
            ['x', 1.5],
            ['y', 2]
          ])
        ],
        map
      )
    ).toEqual(['{"x":1.5,"y":2}']);
    const deep = new arrow.List(new arrow.Field('item', new arrow.Int64(), true));
    expect(of([[9007199254740993n, 5n]], deep)).toEqual(['["9007199254740993",5]']);
  });
});

test('a chart gets numbers, and times in milliseconds', () => {
  const number = (vector: arrow.Vector): (number | undefined)[] =>
    Array.from({ length: vector.length }, (_, i) => cellNumber(vector.data[0] as Data, i));
  expect(number(arrow.vectorFromArray([5n, null], new arrow.Int64()))).toEqual([5, undefined]);
  expect(number(arrow.vectorFromArray([NaN, 2.5], new arrow.Float64()))).toEqual([undefined, 2.5]);
  const type = new arrow.TimestampMicrosecond('UTC');
  const data = arrow.makeData({ type, data: BigInt64Array.of(1_500_000n), length: 1, nullCount: 0 } as never) as Data;
  expect(cellNumber(data, 0)).toBe(1500);
  expect(number(arrow.vectorFromArray(['7'], new arrow.Utf8()))).toEqual([undefined]);
});
