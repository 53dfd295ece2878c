import { expect, test } from '@jest/globals';

import { readTable } from '../../../labextension/message/table-text';

test('quoted separators, quotes and line ends belong to their field', () => {
  expect(readTable('\ufeffa,b\r\n"1,5","say ""yes""\nor no"\r\n,\n', ',', 10)).toEqual({
    rows: [
      ['a', 'b'],
      ['1,5', 'say "yes"\nor no'],
      ['', '']
    ],
    more: false
  });
});

test('a quote that is never closed loses nothing', () => {
  expect(readTable('a\t"b\nc\td', '\t', 10).rows).toEqual([['a', 'b\nc\td']]);
  expect(readTable('"a"x,b', ',', 10).rows).toEqual([['ax', 'b']]);
});

test('no more rows are read than are asked for, and it is said that there are more', () => {
  expect(readTable('a\nb\nc\n', ',', 2)).toEqual({ rows: [['a'], ['b']], more: true });
  expect(readTable('a\nb\n', ',', 2)).toEqual({ rows: [['a'], ['b']], more: false });
  expect(readTable('', ',', 2)).toEqual({ rows: [], more: false });
});
