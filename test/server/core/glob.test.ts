/** `--path` finds what the pattern says and nothing else: what a person does not find, they believe to be lost. */
import { describe, expect, test } from '@jest/globals';
import { pathMatcher } from '../../../server/src/core/glob.ts';

describe('a pattern for paths', () => {
  test.each<[string, string[], string[]]>([
    ['*.csv', ['a.csv', 'deep/er/b.csv', '.hidden.csv', 'a\nb.csv'], ['a.csv2', 'csv', 'A.CSV']],
    ['data', ['data', 'data/x', 'other/data'], ['database', 'mydata']],
    ['data/', ['data', 'data/x/y'], ['other/data']],
    ['./data/*', ['data/x', 'data/.env', 'data/sub/y'], ['data', 'x/data/y']],
    ['data/*.csv', ['data/a.csv'], ['data/sub/a.csv', 'a.csv']],
    ['data/**/*.csv', ['data/a.csv', 'data/x/y/a.csv', 'data/.x/a.csv'], ['a.csv', 'data/a.txt']],
    ['**', ['a', '.a', 'b/.c/d'], []],
    ['**/x/**', ['x/a', 'b/x/a'], ['bx/a']],
    ['a?c', ['abc', 'a😀c', 'a c'], ['ac', 'a/c', 'abbc']],
    ['[ab]*.{txt,md}', ['a1.txt', 'b.md'], ['c.txt', 'a.py']],
    ['[!a]', ['b'], ['a']],
    ['a[1].txt', ['a[1].txt', 'a1.txt'], ['a2.txt']],
    ['a[z-a]', ['a[z-a]'], ['az']],
    ['open{', ['open{'], ['open']],
    ['open[', ['open['], ['open']],
    ['a.b+c(d)|e^f$', ['a.b+c(d)|e^f$'], ['axb+c(d)|e^f$']],
    ['\\*', ['*'], ['a', '\\x']],
    ['bad-\\xFF*', ['bad-\udcff', 'bad-\udcff.txt'], ['bad-', 'bad-\udcfe']]
  ])('%s', (glob, yes, no) => {
    const matches = pathMatcher(glob);
    expect(yes.filter(path => !matches(path))).toEqual([]);
    expect(no.filter(matches)).toEqual([]);
  });

  test('is relative to the directory one stands in', () => {
    expect(['sub/a.csv', 'sub/x/a.csv', 'a.csv'].filter(pathMatcher('*.csv', 'sub'))).toEqual([
      'sub/a.csv',
      'sub/x/a.csv'
    ]);
    expect(['data/a', 'sub/data/a'].filter(pathMatcher('../data/*', 'sub'))).toEqual(['data/a']);
    expect(['data/a', 'sub/data/a'].filter(pathMatcher('.', 'sub'))).toEqual(['sub/data/a']);
  });
});
