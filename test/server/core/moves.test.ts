import { describe, expect, test } from '@jest/globals';
import { findMoves, type Identity, type Lost, type Seen } from '../../../server/src/core/moves.ts';

const id = (ino: number, birth = ino * 10): Identity => ({ type: 'file', dev: 1, ino, birth, mtime: 5, size: 5 });
const seen = (path: string, ino: number, known = false): Seen => ({ path, identity: id(ino), known });
const lost = (path: string, ino: number, refilled = false): Lost => ({ path, identity: id(ino), refilled });

/** Each line: what is seen, what is lost, the moves. A user who renames must find the history under the new name. */
const table: [string, Seen[], Lost[], string[]][] = [
  ['rename', [seen('b', 1)], [lost('a', 1)], ['a>b']],
  ['another file under a new name', [seen('b', 2)], [lost('a', 1)], []],
  ['save over: temporary renamed over the file', [seen('f', 2, true)], [lost('f', 1, true), lost('tmp', 2)], []],
  ['swap', [seen('a', 2, true), seen('b', 1, true)], [lost('a', 1, true), lost('b', 2, true)], ['a>b', 'b>a']],
  ['chain a to b, b to c', [seen('b', 1, true), seen('c', 2)], [lost('a', 1), lost('b', 2, true)], ['b>c', 'a>b']],
  [
    'three in a ring',
    [seen('b', 1, true), seen('c', 2, true), seen('a', 3, true)],
    [lost('a', 1, true), lost('b', 2, true), lost('c', 3, true)],
    ['a>b', 'b>c', 'c>a']
  ],
  ['backup: renamed away and written anew', [seen('f~', 1), seen('f', 2, true)], [lost('f', 1, true)], []],
  ['chain onto a file in use is no move', [seen('b', 1, true)], [lost('a', 1), lost('b', 2, true)], []],
  ['a directory full', [seen('e/1', 1), seen('e/2', 2)], [lost('d/1', 1), lost('d/2', 2)], ['d/1>e/1', 'd/2>e/2']]
];

describe('moves', () => {
  test.each(table)('%s', (_name, s, l, expected) => {
    const moves = findMoves(s, l).map(m => `${m.from}>${m.to}`);
    expect([...moves].sort()).toEqual([...expected].sort());
  });

  test('a name is left before it is filled', () => {
    const moves = findMoves(
      [seen('b', 1, true), seen('c', 2, true), seen('d', 3)],
      [lost('a', 1), lost('b', 2, true), lost('c', 3, true)]
    );
    expect(moves.map(m => `${m.from}>${m.to}`)).toEqual(['c>d', 'b>c', 'a>b']);
  });

  test('an inode used again is not the old file', () => {
    expect(
      findMoves([{ path: 'b', identity: { ...id(1), birth: 99, mtime: 6 }, known: false }], [lost('a', 1)])
    ).toEqual([]);
  });

  test('without birth times, an unchanged file is still known', () => {
    const bare = { ...id(1), birth: 0 };
    expect(
      findMoves([{ path: 'b', identity: bare, known: false }], [{ path: 'a', identity: bare, refilled: false }])
    ).toHaveLength(1);
    expect(
      findMoves(
        [{ path: 'b', identity: { ...bare, size: 6 }, known: false }],
        [{ path: 'a', identity: bare, refilled: false }]
      )
    ).toEqual([]);
  });
});
