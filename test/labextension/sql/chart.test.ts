/** @jest-environment node */
/** What a chart shows of many rows: sums that are right, and never more points than can be seen. */
import { expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';
import * as arrow from 'apache-arrow';

import { ArrowTable } from '../../../labextension/sql/arrow-table';
import { chartOf, likelyChoice } from '../../../labextension/sql/chart';
import { leadOf, notebookCell, questions } from '../../../labextension/sql/questions';

function tableOf(columns: Record<string, arrow.Vector>): ArrowTable {
  const read = arrow.tableFromIPC(arrow.tableToIPC(new arrow.Table(columns)));
  const table = new ArrowTable(read.schema);
  for (const batch of read.batches) table.append(batch);
  return table;
}
const ints = (values: (number | null)[]): arrow.Vector => arrow.vectorFromArray(values, new arrow.Int32());
const words = (values: string[]): arrow.Vector => arrow.vectorFromArray(values, new arrow.Utf8());

test('few rows are drawn as they are, in their order, without those that have no value', () => {
  const table = tableOf({ name: words(['b', 'a', 'c']), n: ints([1, 2, null]) });
  expect(likelyChoice(table)).toEqual({ x: 0, y: 1, mark: 'bar' });
  expect(chartOf(table, likelyChoice(table))).toEqual({
    points: [
      { x: 'b', y: 1 },
      { x: 'a', y: 2 }
    ],
    summed: false,
    left: 0
  });
});

test('names that come again are added up, and the smallest of too many are left out', () => {
  const names = Array.from({ length: 200 }, (_, i) => `n${i % 60}`);
  const table = tableOf({ name: words(names), n: ints(names.map((_, i) => i % 60)) });
  const chart = chartOf(table, { x: 0, y: 1, mark: 'bar' });
  expect(chart.points).toHaveLength(50);
  expect(chart.points[0]).toEqual({ x: 'n59', y: 59 * 3 });
  expect(chart).toMatchObject({ summed: true, left: 10 });
});

test('a hundred thousand rows become at most 300 points, and no value is lost', () => {
  const count = 100_000;
  const at = Array.from({ length: count }, (_, i) => i);
  const table = tableOf({ at: ints(at), n: ints(at.map(() => 2)) });
  const chart = chartOf(table, { x: 0, y: 1, mark: 'line' });
  expect(chart.points.length).toBeLessThanOrEqual(300);
  expect(chart.points.reduce((sum, { y }) => sum + y, 0)).toBe(2 * count);
  expect(chart.summed).toBe(true);
  const rows = chartOf(table, { x: 0, y: undefined, mark: 'bar' });
  expect(rows.points.reduce((sum, { y }) => sum + y, 0)).toBe(count);
});

test('a result of one moment, and one without numbers, can be drawn too', () => {
  expect(chartOf(tableOf({ n: ints([5, 5]) }), { x: 0, y: undefined, mark: 'bar' }).points).toEqual([{ x: 5, y: 2 }]);
  expect(chartOf(tableOf({ n: ints([null]) }), { x: 0, y: undefined, mark: 'bar' }).points).toEqual([]);
});

test('columns that hold paths and versions are known by their names', () => {
  expect(['path', 'from_path', 'PATH', 'pathology', 'xpath'].map(leadOf)).toEqual([
    'path',
    'path',
    'path',
    undefined,
    undefined
  ]);
  expect(['version_id', 'previous_version_id', 'versions'].map(leadOf)).toEqual(['version', 'version', undefined]);
});

test('a notebook cell says the query as it is, whatever quotes and backslashes it holds', () => {
  expect(notebookCell(' SELECT 1\n')).toBe('import syft_sync\n\nsyft_sync.sql("""\nSELECT 1\n""")');
  expect(notebookCell(String.raw`SELECT '\d'`)).toContain(String.raw`sql(r"""` + '\n' + String.raw`SELECT '\d'`);
  expect(notebookCell('SELECT """x')).toContain(String.raw`SELECT \"\"\"x`);
});

test('there are five questions, each with a query', () => {
  const all = questions(nullTranslator.load('syft_sync'));
  expect(new Set(all.map(({ query }) => query)).size).toBe(5);
});
