/**
 * The lives of files under their names, worked out beforehand: a query that follows moves back by itself takes longer to be planned than
 * to be run, and most files were never moved.
 */
import { LAST_ROW } from '../schema.ts';

/** A file came to `path` from another one, by the change of that number. */
export interface Move {
  readonly row: number;
  readonly path: number;
  readonly from: number;
}

/** The changes `low` to `high` at `path` belong to the history of what is now at `of`. */
export interface Life {
  readonly of: number;
  readonly path: number;
  readonly low: number;
  readonly high: number;
}

/** Where a table of lives would be larger, moves are followed by the query. */
export const MOST_LIVES = 500_000;

/** The place in `moves` (rising) of the last one up to `row`; -1: there is none. */
function lastUpTo(moves: readonly Move[], row: number): number {
  let low = 0;
  let high = moves.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((moves[middle] as Move).row <= row) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * @param moves All of a log, in the order of their rows.
 * @returns The lives of the paths that something was moved to; a path that is not among them has one, of all its changes.
 *   `undefined`: there are more than {@link MOST_LIVES}.
 */
export function livesOf(moves: readonly Move[]): Life[] | undefined {
  const byPath = new Map<number, Move[]>();
  for (const move of moves) {
    const known = byPath.get(move.path);
    if (known === undefined) byPath.set(move.path, [move]);
    else known.push(move);
  }
  const lives: Life[] = [];
  for (const of of byPath.keys()) {
    let path = of;
    let high = LAST_ROW;
    for (;;) {
      const known = byPath.get(path) ?? [];
      const move = known[lastUpTo(known, high)];
      lives.push({ of, path, low: move?.row ?? 0, high });
      if (lives.length > MOST_LIVES) return undefined;
      if (move === undefined) break;
      path = move.from;
      high = move.row - 1;
    }
  }
  return lives;
}
