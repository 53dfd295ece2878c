/**
 * Mode `all_versions`: every version becomes a file of its own, in the tree the log has, named after its version id:
 * `dir/name.ext` in version `k7f2abcd.1042` is written as `dir/name.k7f2abcd.1042.ext`. Nothing is ever replaced or removed.
 */
import { createHash } from 'node:crypto';
import { versionId, type Change } from '../core/change.ts';
import { baseName, decodePath, encodePath, joinPath, parentOf, type PathName } from '../core/path-name.ts';

const MAX_NAME = 255;

/**
 * The name of the file that holds one version.
 *
 * @param change The version.
 * @param workspace Given when the plain name is taken by the version of another workspace: told apart by its first digits.
 */
export function versionPath(change: Change, workspace?: string): PathName {
  if (change.type === 'directory') {
    return change.path;
  }
  const name = baseName(change.path);
  const dot = name.lastIndexOf('.');
  const extension = dot > 0 ? name.slice(dot) : '';
  const stem = dot > 0 ? name.slice(0, dot) : name;
  const id = workspace === undefined ? versionId(change) : `${versionId(change)}-${workspace.slice(0, 8)}`;
  const whole = `${stem}.${id}${extension}`;
  if (encodePath(whole).length <= MAX_NAME) {
    return joinPath(parentOf(change.path), whole);
  }
  // Too long with the id in it: what is cut off is stood for by a hash of the whole name.
  const digest = createHash('sha256').update(encodePath(name)).digest('hex').slice(0, 8);
  const tail = encodePath(extension).length <= 32 ? extension : '';
  const room = MAX_NAME - encodePath(`~${digest}.${id}${tail}`).length;
  const bytes = encodePath(stem);
  let end = Math.min(room, bytes.length);
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) {
    end -= 1;
  }
  return joinPath(parentOf(change.path), `${decodePath(bytes.subarray(0, end))}~${digest}.${id}${tail}`);
}
