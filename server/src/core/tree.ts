/**
 * The tree: the latest state of every path, as a fold over changes in order.
 * The one definition of "what is there now"; capture, CLI, index and receivers all rest on it.
 */
import type { Change } from './change.ts';
import type { PathName } from './path-name.ts';

/** path → the change that made it what it is. Deleted paths are absent. */
export type Tree = Map<PathName, Change>;

/** Applies one change. A `moved` removes its source when that is not younger than the move. */
export function applyChange(tree: Tree, change: Change): void {
  if (change.kind === 'deleted') {
    tree.delete(change.path);
    return;
  }
  if (change.kind === 'moved' && change.from !== undefined) tree.delete(change.from);
  tree.set(change.path, change);
}
