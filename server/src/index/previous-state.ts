/**
 * What stood at a path before a change, found while folding changes in order. The same for every engine, whatever it
 * keeps of a state.
 */
import type { Change } from '../core/change.ts';
import type { PathName } from '../core/path-name.ts';

/** What an engine keeps of the state of a path: at least who made it, and when. */
export interface PathState {
  readonly at: number;
  readonly device: string;
}

/** The states of the paths that exist; a Map, or something that takes less. */
export interface StateTree<S> {
  get(path: PathName): S | undefined;
  set(path: PathName, state: S): void;
  delete(path: PathName): void;
}

/** A fold over changes that answers, for each, with the state before it. */
export class PreviousState<S extends PathState> {
  /** What was displaced at the present moment: two files that swap names are two moves with one `at`. */
  #displaced = new Map<PathName, S>();
  #at = Number.NaN;
  #device = '';

  /** One that goes on from here, and leaves this one as it is. */
  copy(): PreviousState<S> {
    const copy = new PreviousState<S>();
    copy.#displaced = new Map(this.#displaced);
    copy.#at = this.#at;
    copy.#device = this.#device;
    return copy;
  }

  /**
   * Applies a change to `tree` with the meaning of `applyChange` in core/tree.ts.
   *
   * @param state What to keep for the change, unless it is a deletion.
   * @returns The state before: of `from` for a move, else of the path.
   */
  apply(tree: StateTree<S>, change: Change, state: S): S | undefined {
    if (change.at !== this.#at || change.device !== this.#device) {
      this.#at = change.at;
      this.#device = change.device;
      if (this.#displaced.size > 0) this.#displaced = new Map();
    }
    const target = tree.get(change.path);
    if (change.kind === 'deleted') {
      tree.delete(change.path);
      return target;
    }
    let before = target;
    if (change.kind === 'moved' && change.from !== undefined) {
      const source = tree.get(change.from);
      before = source;
      if (source !== undefined) {
        if (source.at !== change.at || source.device !== change.device) tree.delete(change.from);
        else before = this.#displaced.get(change.from) ?? source;
      }
    }
    if (target !== undefined && (target.at !== change.at || target.device !== change.device)) {
      this.#displaced.set(change.path, target);
    }
    tree.set(change.path, state);
    return before;
  }
}
