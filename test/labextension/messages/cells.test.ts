/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { countCells, pairCells, readNotebook } from '../../../labextension/messages/cells';
import type { NotebookCell } from '../../../labextension/messages/cells';

const cell = (source: string, more: Partial<NotebookCell> = {}): NotebookCell => ({
  id: undefined,
  type: 'code',
  source,
  outputs: '',
  ...more
});
const kinds = (mine: NotebookCell[], theirs: NotebookCell[]): string =>
  pairCells(mine, theirs)
    .map(({ kind }) => kind)
    .join(' ');

describe('cells of two notebooks', () => {
  test('a cell keeps its partner by its id, whatever is written in it now', () => {
    const [mine, theirs] = [cell('x = 1', { id: 'a' }), cell('import pandas', { id: 'a' })];
    expect(pairCells([mine], [theirs])).toEqual([{ kind: 'changed', mine, theirs }]);
  });

  test('without ids: what is equal is found, what is alike is changed, the rest comes or goes', () => {
    expect(
      kinds(
        ['a', 'b', 'c'].map(s => cell(s)),
        ['a', 'c'].map(s => cell(s))
      )
    ).toBe('same removed same');
    expect(
      kinds(
        ['a', 'c'].map(s => cell(s)),
        ['a', 'b', 'c'].map(s => cell(s))
      )
    ).toBe('same added same');
    expect(kinds([cell('x = 1\nprint(x)')], [cell('x = 2\nprint(x)')])).toBe('changed');
    expect(kinds([cell('x = 1\ny = 2')], [cell('z = 1\nw = 2')])).toBe('removed added');
    expect(kinds([cell('text', { type: 'markdown' })], [cell('text')])).toBe('removed added');
  });

  test('an output that differs is said, and how often a cell ran is not', () => {
    const of = (text: string, count: number): string =>
      JSON.stringify({
        cells: [
          { cell_type: 'code', source: 'f()', outputs: [{ text, execution_count: count }], execution_count: count }
        ]
      });
    const cells = (text: string, count: number): NotebookCell[] => readNotebook(of(text, count))!.cells;
    expect(kinds(cells('1', 1), cells('1', 7))).toBe('same');
    expect(kinds(cells('1', 1), cells('2', 1))).toBe('outputs');
  });

  test('every cell of both is shown once and in its order, whatever they hold', () => {
    const cells = fc.array(
      fc.record({
        id: fc.option(fc.constantFrom('i', 'j', 'k'), { nil: undefined }),
        type: fc.constantFrom('code', 'markdown'),
        source: fc.constantFrom('', 'a', 'b', 'a\nb', 'c\nd'),
        outputs: fc.constantFrom('', '1')
      }),
      { maxLength: 8 }
    );
    fc.assert(
      fc.property(cells, cells, (mine, theirs) => {
        const pairs = pairCells(mine, theirs);
        expect(pairs.flatMap(pair => ('mine' in pair ? [pair.mine] : []))).toEqual(mine);
        expect(pairs.flatMap(pair => ('theirs' in pair ? [pair.theirs] : []))).toEqual(theirs);
      })
    );
  });

  test('two notebooks that have nothing in common and thousands of cells are still answered', () => {
    const many = (word: string): NotebookCell[] =>
      Array.from({ length: 3000 }, (_one, i) => cell(`${word}${i}\n${word}`));
    expect(countCells(pairCells(many('a'), many('b')))).toEqual({ added: 3000, removed: 3000, changed: 0, outputs: 0 });
  });
});

describe('reading a notebook', () => {
  test('lines of a source are joined, and the language is that of its code', () => {
    const text = JSON.stringify({
      metadata: { kernelspec: { language: 'R' } },
      cells: [{ cell_type: 'code', id: 'x', source: ['a\n', 'b'], outputs: [] }]
    });
    expect(readNotebook(text)).toEqual({
      language: 'R',
      cells: [{ id: 'x', type: 'code', source: 'a\nb', outputs: '[]' }]
    });
  });

  test.each(['', 'null', '[]', '{"cells": {}}', '{"cells"', '"cells"'])('%j is none', text => {
    expect(readNotebook(text)).toBeUndefined();
  });

  test('cells that are none are left out instead of breaking the comparison', () => {
    expect(readNotebook('{"cells": [null, 3, {"source": 4}]}')!.cells).toEqual([
      { id: undefined, type: 'raw', source: '', outputs: '' }
    ]);
  });
});
