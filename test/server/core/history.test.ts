import { describe, expect, test } from '@jest/globals';
import type { Change, ChangeKind } from '../../../server/src/core/change.ts';
import { historyOf } from '../../../server/src/core/history.ts';

function log(...lines: [ChangeKind, string, string?][]): Change[] {
  return lines.map(([kind, path, from], i) => ({
    device: 'aaaaaaaa',
    seq: i + 1,
    kind,
    path,
    at: i,
    hlc: i,
    type: 'file',
    flags: [],
    ...(from !== undefined && { from })
  }));
}

const seqs = (changes: readonly Change[], path: string): number[] => historyOf(changes, path).map(change => change.seq);

describe('the history of a path', () => {
  test('goes back across a move, so that renaming a notebook does not cut its past off', () => {
    const changes = log(['created', 'a'], ['modified', 'a'], ['moved', 'b', 'a'], ['modified', 'b']);
    expect(seqs(changes, 'b')).toEqual([4, 3, 2, 1]);
  });

  test('leaves out what another file did at the name before the move', () => {
    const changes = log(['created', 'b'], ['deleted', 'b'], ['created', 'a'], ['moved', 'b', 'a']);
    expect(seqs(changes, 'b')).toEqual([4, 3]);
  });

  test('a name used again after its file moved away shows both lives, newest first', () => {
    const changes = log(['created', 'a'], ['moved', 'b', 'a'], ['created', 'a'], ['modified', 'a']);
    expect(seqs(changes, 'a')).toEqual([4, 3, 1]);
    expect(seqs(changes, 'b')).toEqual([2, 1]);
  });

  test('a chain of moves is followed to the beginning', () => {
    const changes = log(['created', 'a'], ['moved', 'b', 'a'], ['moved', 'c', 'b'], ['moved', 'a', 'c']);
    expect(seqs(changes, 'a')).toEqual([4, 3, 2, 1]);
  });

  test('a path never seen has none', () => {
    expect(seqs(log(['created', 'a']), 'z')).toEqual([]);
  });
});
