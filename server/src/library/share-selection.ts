/** What of a workspace goes into a message when a folder is named: the newest version of each file below it, and why others do not. */
import { lstat, readdir } from 'node:fs/promises';
import { type Change } from '../core/change.ts';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { decodePath, displayPath, joinPath, type PathName } from '../core/path-name.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import type { LogActs } from '../log/types.ts';
import { faultOfPath, foldedName } from '../messages/member-names.ts';
import { absolute } from './restore.ts';

/** Something that was asked for and is not sent. */
export interface Refused {
  /** As displayed. */
  readonly path: string;
  /** A sentence. */
  readonly reason: string;
}

export interface Selection {
  /** By their paths. */
  readonly versions: readonly Change[];
  readonly refused: readonly Refused[];
}

/** True when the tree has something below a folder; of the workspace itself, when it has anything. */
export function isFolder(tree: ReadonlyTree, folder: PathName): boolean {
  if (folder === '' || tree.get(folder)?.type === 'directory') return true;
  for (const path of tree.keys()) if (path.startsWith(`${folder}/`)) return true;
  return false;
}

/** Why the newest version of a file cannot be sent; `undefined`: it can. */
function reasonAgainst(change: Change, log: Pick<LogActs, 'dropped'>): string | undefined {
  if (change.type !== 'file') return 'It is a link, and messages have files only.';
  if (change.content === undefined || change.hash === undefined) {
    return change.flags.includes('unreadable')
      ? 'It could not be read when it was recorded.'
      : 'Its content is not recorded.';
  }
  const act = log.dropped(change);
  if (act !== undefined) return 'Its content was pruned or erased.';
  const fault = faultOfPath(change.path);
  return fault === undefined ? undefined : `It ${fault}, and whoever receives it would refuse the message.`;
}

/**
 * The newest versions of everything recorded below a folder.
 *
 * @param folder `''`: all of the workspace.
 */
export function newestBelow(tree: ReadonlyTree, folder: PathName, log: Pick<LogActs, 'dropped'>): Selection {
  const versions: Change[] = [];
  const refused: Refused[] = [];
  const names = new Map<string, PathName>();
  const below = [...tree.values()].filter(
    ({ path, type }) => type !== 'directory' && (folder === '' || path.startsWith(`${folder}/`))
  );
  for (const change of below.sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const path = displayPath(change.path);
    const other = names.get(foldedName(change.path));
    const reason =
      reasonAgainst(change, log) ??
      (other === undefined ? undefined : `${displayPath(other)} has the same name on some systems.`);
    if (reason === undefined) {
      names.set(foldedName(change.path), change.path);
      versions.push(change);
    } else refused.push({ path, reason });
  }
  return { versions, refused };
}

export interface UnrecordedOptions {
  readonly root: string;
  readonly tree: ReadonlyTree;
  /** False when a path is excluded or outside of what is recorded. */
  readonly isRecorded: (path: PathName) => boolean;
  /** Names looked at, at most. */
  readonly most: number;
  readonly signal?: AbortSignal | undefined;
}

/** What lies below a folder and is not recorded; of what is excluded as a whole only the top. */
export async function unrecordedBelow(folder: PathName, options: UnrecordedOptions): Promise<Refused[]> {
  const { root, tree, isRecorded, signal } = options;
  const found: Refused[] = [];
  const waiting: PathName[] = [folder];
  let left = options.most;
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const entries = await readdir(absolute(root, at), { withFileTypes: true, encoding: 'buffer' }).catch(() => []);
    for (const entry of entries) {
      left -= 1;
      if (left < 0 || signal?.aborted === true) return found;
      const path = joinPath(at, decodePath(entry.name));
      // The log, and what is staged beside it, are nobody's files.
      if (entry.name.toString('latin1').startsWith(LOG_DIR_NAME)) continue;
      if (!isRecorded(path)) found.push({ path: displayPath(path), reason: 'It is excluded from recording.' });
      else if (entry.isDirectory()) waiting.push(path);
      else if (entry.isFile() && !tree.has(path)) {
        found.push({ path: displayPath(path), reason: 'It is not recorded yet.' });
      }
    }
  }
  return found;
}

/** True when something stands at a path on disk. */
export async function isOnDisk(root: string, path: PathName): Promise<boolean> {
  return lstat(absolute(root, path)).then(
    () => true,
    () => false
  );
}
