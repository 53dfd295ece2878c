/**
 * The history of one path: its changes newest first, followed back across moves.
 * A path's life before it was moved belongs to the file that moved, not to whatever stood at the path before.
 */
import type { Change } from './change.ts';
import type { PathName } from './path-name.ts';

/**
 * @param changes All changes of the workspace in log order (oldest first).
 * @param path The path as it is, or was, named.
 * @returns Newest first. When the path arrived by a move, the history goes on with the source's changes before the move;
 *   what had lived at this path before is left out, for it is another file's history. Where the path was moved away, the
 *   `moved` change at the new path is not part of the old path's history, but a later re-creation is.
 */
export function historyOf(changes: readonly Change[], path: PathName): Change[] {
  const out: Change[] = [];
  let current = path;
  for (let i = changes.length - 1; i >= 0; i--) {
    const change = changes[i];
    if (change?.path !== current) continue;
    out.push(change);
    if (change.kind === 'moved' && change.from !== undefined) current = change.from;
  }
  return out;
}

/** The versions of a history: the changes that carry content one can ask for, or would if it had been kept. */
export function isVersion(change: Change): boolean {
  return change.kind !== 'deleted' && change.type !== 'directory';
}
