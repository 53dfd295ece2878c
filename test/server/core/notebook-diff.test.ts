import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { diffCells, parseNotebook, type Cell } from '../../../server/src/core/notebook-diff.ts';

function cell(id: string | undefined, source: string, more: Partial<Cell> = {}): Cell {
  return { id, type: 'code', source, outputs: '', executionCount: undefined, metadata: '{}', ...more };
}

const summary = (a: Cell[], b: Cell[]): string[] =>
  diffCells(a, b).map(change =>
    `${change.change} ${change.oldIndex ?? '-'}→${change.newIndex ?? '-'} ${change.parts.join('+')}`.trim()
  );

describe('what changed between two notebooks', () => {
  test('an edited cell is one modified cell, not one removed and one added', () => {
    expect(summary([cell('x', 'a = 1'), cell('y', 'b')], [cell('x', 'a = 2'), cell('y', 'b')])).toEqual([
      'modified 0→0 source'
    ]);
  });

  test('a cell inserted above leaves the others unchanged', () => {
    expect(summary([cell('x', 'a'), cell('y', 'b')], [cell('n', 'new'), cell('x', 'a'), cell('y', 'b')])).toEqual([
      'added -→0'
    ]);
  });

  test('a removed cell is shown where it stood', () => {
    expect(summary([cell('x', 'a'), cell('y', 'b'), cell('z', 'c')], [cell('x', 'a'), cell('z', 'c')])).toEqual([
      'removed 1→-'
    ]);
  });

  test('a cell dragged elsewhere is one move', () => {
    const [x, y, z] = [cell('x', 'a'), cell('y', 'b'), cell('z', 'c')];
    expect(summary([x, y, z], [z, x, y])).toEqual(['moved 2→0']);
  });

  test('notebooks without ids are matched by source and by likeness', () => {
    const a = [cell(undefined, 'import pandas as pd'), cell(undefined, 'df = pd.read_csv("sales.csv")\ndf.head()')];
    const b = [
      cell(undefined, 'import pandas as pd'),
      cell(undefined, 'df = pd.read_csv("sales.csv").dropna()\ndf.head()')
    ];
    expect(summary(a, b)).toEqual(['modified 1→1 source']);
  });

  test('a run again with the same result differs in its execution count only', () => {
    const a = parseNotebook(
      JSON.stringify({
        cells: [
          {
            id: 'x',
            cell_type: 'code',
            source: ['a\n', 'b'],
            execution_count: 1,
            outputs: [{ output_type: 'execute_result', execution_count: 1, data: { 'text/plain': '3' } }]
          }
        ]
      })
    );
    const b = parseNotebook(
      JSON.stringify({
        cells: [
          {
            id: 'x',
            cell_type: 'code',
            source: 'a\nb',
            execution_count: 2,
            outputs: [{ data: { 'text/plain': '3' }, output_type: 'execute_result', execution_count: 2 }]
          }
        ]
      })
    );
    expect(summary(a ?? [], b ?? [])).toEqual(['modified 0→0 executionCount']);
  });

  test('what is not a notebook is said to be none', () => {
    for (const text of ['', '{', '[]', '"x"', '{"a":1}', 'null']) expect(parseNotebook(text)).toBeUndefined();
  });

  const cells = fc
    .uniqueArray(fc.record({ id: fc.string({ minLength: 1, maxLength: 2 }), source: fc.string({ maxLength: 5 }) }), {
      selector: item => item.id,
      maxLength: 8
    })
    .map(list => list.map(({ id, source }) => cell(id, source)));

  test('laws: a notebook equals itself; every cell of both sides is accounted for once', () => {
    fc.assert(
      fc.property(cells, cells, (a, b) => {
        expect(diffCells(a, a)).toEqual([]);
        const changes = diffCells(a, b);
        const olds = changes.flatMap(change => change.oldIndex ?? []);
        const news = changes.flatMap(change => change.newIndex ?? []);
        expect(new Set(olds).size).toBe(olds.length);
        expect(new Set(news).size).toBe(news.length);
        const added = changes.filter(change => change.change === 'added').length;
        const removed = changes.filter(change => change.change === 'removed').length;
        expect(a.length - removed).toBe(b.length - added);
      })
    );
  });
});
