/** Somebody would lose: the versions of a file from before it was renamed, or see those of another file among its own. */
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { livesOf, type Move } from '../../../../server/src/index/sql/lives.ts';

const PATHS = 5;
const event = fc.oneof(
  fc.record({ path: fc.integer({ min: 1, max: PATHS }) }),
  fc.record({ path: fc.integer({ min: 1, max: PATHS }), from: fc.integer({ min: 1, max: PATHS }) })
);

describe('lives of files', () => {
  it('are what carrying each history along with its moves gives', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), events => {
        const rows = events.map((change, i) => ({ row: i + 1, ...change }));
        const carried = new Map<number, number[]>();
        const moves: Move[] = [];
        for (const { row, path, ...more } of rows) {
          const before = 'from' in more && more.from !== undefined ? more.from : path;
          if (before !== path) moves.push({ row, path, from: before });
          carried.set(path, [...(carried.get(before) ?? []), row]);
        }
        const lives = livesOf(moves) ?? [];
        const moved = new Set(moves.map(({ path }) => path));
        expect(new Set(lives.map(({ of }) => of))).toEqual(moved);
        for (const of of moved) {
          const own = lives.filter(life => life.of === of);
          const found = rows.filter(({ row, path }) =>
            own.some(life => life.path === path && life.low <= row && row <= life.high)
          );
          expect(found.map(({ row }) => row)).toEqual(carried.get(of));
        }
      }),
      { numRuns: 500 }
    );
  });

  it('are given up where two names that change places for years would fill the memory', () => {
    const swaps = Array.from({ length: 300_000 }, (_, i) => ({ row: i + 1, path: 1 + (i % 2), from: 2 - (i % 2) }));
    expect(livesOf(swaps)).toBeUndefined();
  });
});
