/**
 * Which folders of a workspace to record, when it is too much to record all of it unasked: what can be chosen, and what
 * was. The choice belongs to this installation, not to the workspace, and is kept with its configuration.
 */
import { createHash } from 'node:crypto';
import { lstat, readdir, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, sep } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { IGNORE_FILE, IgnoreRules } from '../core/ignore-rules.ts';
import { decodePath, displayPath, fsPath, joinPath, normalizeRelative, type PathName } from '../core/path-name.ts';
import { makePrivateDirectory, replaceFile } from '../storage/durable.ts';
import { readText } from '../storage/read-text.ts';

/** Workspaces with more files are recorded only when someone says so. */
export const MAX_FILES_UNASKED = 200_000;

function fileOf(configDir: string, root: string): string {
  return join(configDir, 'folders', `${createHash('sha256').update(root).digest('hex').slice(0, 32)}.json`);
}

/** The folders chosen for a root, relative to it (`.` for all of it), or `undefined` when nobody has chosen. */
export function loadFolders(configDir: string, root: string): string[] | undefined {
  try {
    const saved = JSON.parse(readText(fileOf(configDir, root))) as { root?: unknown; folders?: unknown };
    if (saved.root !== root || !Array.isArray(saved.folders)) return undefined;
    const folders = saved.folders.filter(folder => typeof folder === 'string');
    return folders.length > 0 ? folders : undefined;
  } catch (error) {
    // A choice that cannot be read is as one that was not made: it is asked for again.
    if (error instanceof SyntaxError || errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** Remembers the choice. Throws DISK_*. */
export function saveFolders(configDir: string, root: string, folders: readonly string[]): void {
  makePrivateDirectory(join(configDir, 'folders'));
  replaceFile(fileOf(configDir, root), Buffer.from(`${JSON.stringify({ root, folders }, null, 1)}\n`));
}

/**
 * Checks a choice: each a directory inside the root, also when links are followed.
 *
 * @returns The folders in normal form; `['.']` when the whole root is among them.
 * @throws SyftError BAD_REQUEST, PATH_OUTSIDE_ROOT, PATH_NOT_FOUND.
 */
export async function checkFolders(root: string, folders: readonly string[]): Promise<string[]> {
  const out = new Set<string>();
  const inRoot = root.endsWith(sep) ? root : root + sep;
  for (const folder of folders) {
    if (['.', './', ''].includes(folder)) {
      out.add('.');
      continue;
    }
    const path = normalizeRelative(folder);
    if (path === undefined) {
      throw new SyftError('PATH_OUTSIDE_ROOT', 'The folder does not lie inside the workspace.', { path: folder });
    }
    const real = await realpath(join(root, path)).catch(() => undefined);
    const stats = real === undefined ? undefined : await lstat(real);
    if (stats?.isDirectory() !== true) throw new SyftError('PATH_NOT_FOUND', `There is no folder ${path}.`, { path });
    if (!real?.startsWith(inRoot)) {
      throw new SyftError('PATH_OUTSIDE_ROOT', 'The folder is a link that leads out of the workspace.', { path });
    }
    out.add(path);
  }
  if (out.size === 0) throw new SyftError('BAD_REQUEST', 'folders: choose at least one.');
  return out.has('.') ? ['.'] : [...out];
}

/** Why a root is not recorded unasked, as far as its place tells. */
export async function placeNeedsChoice(root: string): Promise<'home' | 'filesystem-root' | undefined> {
  if (root === '/') return 'filesystem-root';
  const home = await realpath(homedir()).catch(() => homedir());
  return root === home ? 'home' : undefined;
}

export interface CountOptions {
  readonly excludePatterns?: readonly string[] | undefined;
  /** Counting ends as soon as there are more. */
  readonly limit: number;
  readonly signal?: AbortSignal | undefined;
}

/** Files below a folder that would be recorded; `limit + 1` when there are more. */
export async function countFiles(root: string, folder: PathName, options: CountOptions): Promise<number> {
  const rules = new IgnoreRules({
    excludePatterns: options.excludePatterns ?? [],
    readIgnoreFile: dir => {
      try {
        return readText(join(root, dir, IGNORE_FILE));
      } catch {
        return undefined;
      }
    }
  });
  const waiting: PathName[] = [folder];
  let files = 0;
  for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
    options.signal?.throwIfAborted();
    const place =
      dir === ''
        ? root
        : typeof fsPath(dir) === 'string'
          ? join(root, dir)
          : Buffer.concat([Buffer.from(root + sep), fsPath(dir) as Buffer]);
    const entries = await readdir(place, { withFileTypes: true, encoding: 'buffer' }).catch(() => []);
    for (const entry of entries) {
      const path = joinPath(dir, decodePath(entry.name));
      if (rules.excludes(path, entry.isDirectory())) continue;
      if (entry.isDirectory()) waiting.push(path);
      else if (entry.isFile() || entry.isSymbolicLink()) files += 1;
    }
    if (files > options.limit) return options.limit + 1;
  }
  return files;
}

/** The folders at the top of a root that one may want to record; hidden ones are left out. */
export async function topFolders(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true, encoding: 'buffer' }).catch(() => []);
  return entries
    .filter(entry => entry.isDirectory())
    .map(entry => displayPath(decodePath(entry.name)))
    .filter(name => !name.startsWith('.'))
    .sort((a, b) => a.localeCompare(b));
}
