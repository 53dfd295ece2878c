/**
 * A log opened for reading only: its changes in order, the tree at any moment, and the ways people name a version.
 * Needs no lock and works while another process records.
 */
import { posix, resolve, relative, isAbsolute, sep } from 'node:path';
import { compareChanges, parseVersionId, versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { historyOf } from '../core/history.ts';
import { displayPath, normalizeRelative, parseDisplayPath, pathBase64, type PathName } from '../core/path-name.ts';
import { parseMoment } from '../core/time-text.ts';
import { applyChange, type Tree } from '../core/tree.ts';
import { openLogReader } from '../log/log.ts';
import type { LogReader, OpenLogOptions } from '../log/types.ts';

/** Microseconds since the epoch. */
export function nowMicros(): number {
  return Date.now() * 1000;
}

/** Parses a moment or throws BAD_REQUEST naming the text. */
export function momentOf(text: string): number {
  const at = parseMoment(text, nowMicros());
  if (at === undefined) {
    throw new SyftError(
      'BAD_REQUEST',
      `"${text}" is not a time. Write 2026-11-01 14:32, an ISO 8601 time, 10m, 2h, 3d or yesterday.`
    );
  }
  return at;
}

/** A read-only view of one log. */
export class LogView implements AsyncDisposable {
  readonly reader: LogReader;
  /** Workspace root, to which paths of the user are related. */
  readonly root: string;
  #changes: Change[] = [];
  #byId: Map<string, Change> | undefined;
  #paths: Map<PathName, number> | undefined;

  private constructor(reader: LogReader, root: string) {
    this.reader = reader;
    this.root = root;
  }

  /**
   * @param options Log directory, and what to do with damage met on the way.
   * @param root Workspace root.
   * @throws SyftError LOG_MISSING, LOG_PATH_NOT_DIRECTORY, LOG_NEWER_FORMAT.
   */
  static async open(options: OpenLogOptions, root: string): Promise<LogView> {
    const view = new LogView(await openLogReader(options), root);
    try {
      for await (const change of view.reader.changes()) view.#changes.push(change);
      return view;
    } catch (error) {
      await view.reader.close();
      throw error;
    }
  }

  /** All changes, oldest first. */
  get changes(): readonly Change[] {
    return this.#changes;
  }

  /** Reads what was appended since; returns it, oldest first. */
  async refresh(): Promise<readonly Change[]> {
    const fresh = await this.reader.refresh();
    if (fresh.length > 0) {
      this.#changes.push(...fresh);
      const last = this.#changes.at(-fresh.length - 1);
      if (last !== undefined && compareChanges(last, fresh[0] as Change) > 0) this.#changes.sort(compareChanges);
      this.#byId = undefined;
      this.#paths = undefined;
    }
    return fresh;
  }

  /** The tree as it was at a moment (microseconds), or as it is. */
  tree(at = Number.POSITIVE_INFINITY): Tree {
    const tree: Tree = new Map();
    for (const change of this.#changes) if (change.at <= at) applyChange(tree, change);
    return tree;
  }

  /** Changes of one path, newest first, followed back across moves. Throws PATH_NOT_FOUND. */
  history(path: PathName): Change[] {
    const history = historyOf(this.#changes, path);
    if (history.length === 0) {
      throw new SyftError('PATH_NOT_FOUND', `Nothing is recorded of ${displayPath(path)}.`, {
        path: displayPath(path)
      });
    }
    return history;
  }

  /** True when the log has ever seen the path. */
  knows(path: PathName): boolean {
    if (this.#paths === undefined) {
      this.#paths = new Map();
      for (const change of this.#changes) {
        this.#paths.set(change.path, 1);
        if (change.from !== undefined) this.#paths.set(change.from, 1);
      }
    }
    return this.#paths.has(path);
  }

  /**
   * A path as a person wrote it → a workspace path. Relative to `cwd`; when that lies outside the workspace, to the root.
   * Display escapes (`\xHH`) and base64 of names that are not UTF-8 are understood when the log knows such a path.
   *
   * @throws SyftError PATH_OUTSIDE_ROOT.
   */
  pathOf(text: string, cwd: string): PathName {
    const path = workspacePath(this.root, text, cwd);
    if (this.knows(path)) return path;
    const escaped = parseDisplayPath(path);
    if (escaped !== path && this.knows(escaped)) return escaped;
    if (/^[A-Za-z0-9+/]+=*$/.test(text)) {
      for (const change of this.#changes) if (pathBase64(change.path) === text) return change.path;
    }
    return path;
  }

  /**
   * A version as a person names it: a version id, a unique prefix of one, `PATH@T`, `PATH@latest`, `PATH@-1`.
   *
   * @throws SyftError VERSION_NOT_FOUND, VERSION_AMBIGUOUS, PATH_NOT_FOUND, BAD_REQUEST.
   */
  version(text: string, cwd: string): Change {
    const at = text.lastIndexOf('@');
    if (at > 0) return this.#versionAt(this.pathOf(text.slice(0, at), cwd), text.slice(at + 1));
    if (this.#byId === undefined) {
      this.#byId = new Map(this.#changes.map(change => [versionId(change), change]));
    }
    const exact = this.#byId.get(text);
    if (exact !== undefined) return exact;
    if (parseVersionId(text) === undefined && text !== '') {
      const matches = this.#changes.filter(change => versionId(change).startsWith(text));
      if (matches.length === 1) return matches[0] as Change;
      if (matches.length > 1) {
        throw new SyftError(
          'VERSION_AMBIGUOUS',
          `"${text}" is the beginning of ${matches.length} version ids; write more of it.`
        );
      }
    }
    throw new SyftError('VERSION_NOT_FOUND', `There is no version ${text}.`);
  }

  #versionAt(path: PathName, which: string): Change {
    const history = this.history(path);
    if (which === 'latest') return latestContent(history, path);
    const back = /^-([0-9]+)$/.exec(which);
    if (back?.[1] !== undefined) {
      const versions = history.filter(change => change.kind !== 'deleted');
      const found = versions[Number(back[1])];
      if (found !== undefined) return found;
      throw new SyftError('VERSION_NOT_FOUND', `${displayPath(path)} has only ${versions.length} versions.`, {
        path: displayPath(path)
      });
    }
    const moment = momentOf(which);
    const found = history.find(change => change.at <= moment);
    if (found === undefined || found.kind === 'deleted') {
      throw new SyftError('VERSION_NOT_FOUND', `${displayPath(path)} did not exist at ${which}.`, {
        path: displayPath(path)
      });
    }
    return found;
  }

  async close(): Promise<void> {
    await this.reader.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function latestContent(history: readonly Change[], path: PathName): Change {
  const found = history.find(change => change.kind !== 'deleted');
  if (found === undefined) {
    throw new SyftError('VERSION_NOT_FOUND', `${displayPath(path)} has no version.`, { path: displayPath(path) });
  }
  return found;
}

/**
 * Relates a path to the workspace: relative to `cwd` first, and where that leads outside, relative to the root.
 *
 * @throws SyftError PATH_OUTSIDE_ROOT.
 */
export function workspacePath(root: string, text: string, cwd: string): PathName {
  const within = (path: string): PathName | undefined => {
    const rel = relative(root, path);
    if (rel === '' || rel === '..' || rel.startsWith(`..${sep}`) || isAbsolute(rel)) return undefined;
    return normalizeRelative(rel.split(sep).join('/'));
  };
  const found = within(resolve(cwd, text)) ?? (isAbsolute(text) ? undefined : within(resolve(root, text)));
  if (found === undefined) {
    throw new SyftError('PATH_OUTSIDE_ROOT', `${text} does not name a file inside the workspace ${root}.`, {
      path: text
    });
  }
  return found;
}

/** Glob match as the command line's `--path` means it: a glob without a slash matches the name, a plain folder what is below it. */
export function matchesPath(path: PathName, glob: string): boolean {
  const pattern = glob.replace(/^\.\//, '').replace(/\/$/, '/**');
  if (path === pattern || path.startsWith(`${pattern}/`)) return true;
  if (posix.matchesGlob(path, pattern)) return true;
  return !pattern.includes('/') && posix.matchesGlob(posix.basename(path), pattern);
}
