/** What is on disk, to be compared with what was recorded. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { decodePath, fsPath } from '../../../server/src/core/path-name.ts';
import type { ReadonlyTree } from '../../../server/src/core/tree.ts';

/** path → kind and hash of its content, for files, links and empty directories below `root`. */
export function onDisk(root: string, skip: (path: string) => boolean = () => false): Map<string, string> {
  const out = new Map<string, string>();
  const walk = (dir: string): void => {
    const names = readdirSync(fsPath(dir === '' ? root : `${root}/${dir}`), { encoding: 'buffer' }).map(decodePath);
    if (names.length === 0 && dir !== '') out.set(dir, 'directory');
    for (const name of names) {
      const path = dir === '' ? name : `${dir}/${name}`;
      if (skip(path)) continue;
      const absolute = fsPath(`${root}/${path}`);
      const stats = lstatSync(absolute, { throwIfNoEntry: false });
      if (stats === undefined) continue;
      if (stats.isDirectory()) walk(path);
      else if (stats.isSymbolicLink()) out.set(path, `symlink ${sha(readlinkSync(absolute))}`);
      else if (stats.isFile()) out.set(path, `file ${sha(readFileSync(absolute))}`);
    }
  };
  walk('');
  return out;
}

/** The same of a tree. */
export function inTree(tree: ReadonlyTree): Map<string, string> {
  const out = new Map<string, string>();
  for (const [path, { type, hash }] of tree) out.set(path, type === 'directory' ? 'directory' : `${type} ${hash}`);
  // A directory recorded when it was empty stays recorded when it fills; it is implied then.
  for (const path of [...out.keys()]) {
    for (let i = path.lastIndexOf('/'); i > 0; i = path.lastIndexOf('/', i - 1)) {
      if (out.get(path.slice(0, i)) === 'directory') out.delete(path.slice(0, i));
    }
  }
  return out;
}

/** Up to `most` differences between two such maps, in words; none when they are equal. */
export function differences(disk: Map<string, string>, tree: Map<string, string>, most = 5): string[] {
  const out: string[] = [];
  for (const [path, what] of disk) {
    const recorded = tree.get(path);
    if (recorded !== what) out.push(`${path}: ${what} on disk, ${recorded ?? 'nothing'} recorded`);
  }
  for (const path of tree.keys()) if (!disk.has(path)) out.push(`${path}: recorded, not on disk`);
  return out.slice(0, most);
}

function sha(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Waits until what is recorded is what is on disk, by itself: nothing asks for it. */
export async function untilRecorded(
  root: string,
  tree: () => ReadonlyTree,
  what: string,
  timeoutMs = 60_000,
  skip?: (path: string) => boolean
): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (let pause = 10; ; pause = Math.min(1000, pause * 1.3)) {
    const left = differences(onDisk(root, skip), inTree(tree()));
    if (left.length === 0) return;
    if (Date.now() > end) throw new Error(`${what}: not recorded in ${timeoutMs} ms:\n${left.join('\n')}`);
    await new Promise(resolve => setTimeout(resolve, pause));
  }
}
