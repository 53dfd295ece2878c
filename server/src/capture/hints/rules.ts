/** What hint sources leave out, and names that arrive mangled: the same for every adapter. */
import { existsSync } from 'node:fs';
import { IGNORE_FILE, IgnoreRules } from '../../core/ignore-rules.ts';
import { fsPath, joinPath, type PathName } from '../../core/path-name.ts';
import type { HintSourceOptions } from '../hints.ts';
import { readText } from '../../storage/read-text.ts';

/** The rules of the recorder, over the `.syftignore` files as they are when they are first asked for. */
export function hintRules({ root, excludePatterns, include, logPath }: HintSourceOptions): IgnoreRules {
  return new IgnoreRules({
    excludePatterns,
    ...(include !== undefined && { include }),
    logPath,
    readIgnoreFile: dir => {
      const file = fsPath(`${root}/${joinPath(dir, IGNORE_FILE)}`);
      try {
        // To ask first is ten times cheaper than to fail, and few directories have such a file.
        return existsSync(file) ? readText(file) : undefined;
      } catch {
        return undefined;
      }
    }
  });
}

/** The workspace path of an absolute one; `undefined` outside the root. */
export function relativeTo(root: string, absolute: string): PathName | undefined {
  if (absolute === root) return '';
  const prefix = root === '/' ? '/' : `${root}/`;
  return absolute.startsWith(prefix) ? absolute.slice(prefix.length) : undefined;
}

/** For a path with a name that is not UTF-8 and arrived mangled: the nearest directory whose name is whole. */
export function wholePart(path: PathName): PathName | undefined {
  if (!path.includes('\uFFFD')) return undefined;
  const parts = path.split('/');
  return parts
    .slice(
      0,
      parts.findIndex(part => part.includes('\uFFFD'))
    )
    .join('/');
}
