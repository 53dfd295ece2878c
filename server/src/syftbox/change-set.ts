/** What became of a folder between two moments: for each file what it was and is, whatever happened in between. */
import type { Change } from '../core/change.ts';
import { displayPath, isEscaped, type PathName } from '../core/path-name.ts';
import { applyChange, type Tree } from '../core/tree.ts';
import { faultOfPath } from '../messages/member-names.ts';

/** A file that is otherwise now. */
export interface NetChange {
  readonly path: PathName;
  /** Microseconds since the epoch: when it last changed. */
  readonly at: number;
  /** Absent: nothing was there. */
  readonly before?: Change;
  /** Absent: it is gone. */
  readonly after?: Change;
}

/** What cannot be told of in events, and why. */
export interface LeftOut {
  readonly path: string;
  readonly why: string;
}

export interface ChangeSet {
  /** In the order in which they can be made: by time, and what went before what came. */
  readonly changes: readonly NetChange[];
  readonly leftOut: readonly LeftOut[];
  /** The last change that it knows of. */
  readonly upTo?: Change;
}

/** Whether a change had been made. */
export type Moment = (change: Change, index: number) => boolean;

function whyNot({ path, after }: NetChange): string | undefined {
  if (after?.type === 'symlink') return 'it is a link';
  if (isEscaped(path)) return 'its name is not UTF-8';
  const fault = faultOfPath(path);
  if (fault !== undefined) return `it ${fault}`;
  if (after === undefined) return undefined;
  if (after.content === undefined || after.hash === undefined) return 'its content is not in the log';
  return undefined;
}

/**
 * @param changes Of the log, oldest first.
 * @param folder Workspace path; `''` is all.
 * @param since What had been made at the beginning; `undefined`: nothing had.
 * @param until What had been made at the end; `undefined`: all.
 */
export function changeSet(
  changes: readonly Change[],
  folder: PathName,
  since: Moment | undefined,
  until: Moment | undefined
): ChangeSet {
  const before: Tree = new Map();
  const after: Tree = new Map();
  const touched = new Map<PathName, number>();
  let upTo: Change | undefined;
  for (const [i, change] of changes.entries()) {
    if (until?.(change, i) === false) continue;
    applyChange(after, change);
    upTo = change;
    if (since?.(change, i) === true) {
      applyChange(before, change);
      continue;
    }
    touched.set(change.path, change.at);
    if (change.from !== undefined) touched.set(change.from, change.at);
  }
  const inside = (path: PathName): boolean => folder === '' || path.startsWith(`${folder}/`);
  const found: NetChange[] = [];
  const leftOut: LeftOut[] = [];
  for (const [path, at] of touched) {
    if (!inside(path)) continue;
    const was = before.get(path);
    const is = after.get(path);
    // Of links and empty directories events cannot tell: nobody was told of them before.
    const old = was?.type === 'file' ? was : undefined;
    const now = is?.type === 'directory' ? undefined : is;
    if (old === undefined && now === undefined) continue;
    if (old !== undefined && now !== undefined && now.type === 'file' && old.hash === now.hash) continue;
    const change: NetChange = {
      path,
      at,
      ...(old !== undefined && { before: old }),
      ...(now !== undefined && { after: now })
    };
    const why = whyNot(change);
    if (why === undefined) found.push(change);
    else leftOut.push({ path: displayPath(path), why });
  }
  const isGone = ({ after: left }: NetChange): number => (left === undefined ? 0 : 1);
  found.sort((a, b) => a.at - b.at || isGone(a) - isGone(b) || (a.path < b.path ? -1 : 1));
  return { changes: found, leftOut, ...(upTo !== undefined && { upTo }) };
}
