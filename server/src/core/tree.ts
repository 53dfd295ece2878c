/**
 * The tree: the latest state of every path, as a fold over changes in order.
 * The one definition of "what is there now"; capture, CLI, index and receivers all rest on it.
 */
import type { Change } from './change.ts';
import type { PathName } from './path-name.ts';

/** path → the change that made it what it is. Deleted paths are absent. A `Map` is one. */
export interface ReadonlyTree extends Iterable<[PathName, Change]> {
  readonly size: number;
  get(path: PathName): Change | undefined;
  has(path: PathName): boolean;
  keys(): Iterable<PathName>;
  values(): Iterable<Change>;
}

/** A tree that can be changed. */
export interface Tree extends ReadonlyTree {
  set(path: PathName, change: Change): unknown;
  delete(path: PathName): boolean;
  clear(): void;
}

/**
 * Applies one change. A `moved` removes its source, unless the source was itself filled at the same moment by the same
 * device: changes with one `at` were seen together, so two files that swapped names are two moves with one `at`, and the
 * second must not remove what the first has just put there.
 */
export function applyChange(tree: Tree, change: Change): void {
  if (change.kind === 'deleted') {
    tree.delete(change.path);
    return;
  }
  if (change.kind === 'moved' && change.from !== undefined) {
    const source = tree.get(change.from);
    if (source !== undefined && (source.at !== change.at || source.device !== change.device)) tree.delete(change.from);
  }
  tree.set(change.path, change);
}
