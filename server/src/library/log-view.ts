/**
 * A log opened for reading only: its changes in order, the tree at any moment, and the ways people name a version.
 * Needs no lock and works while another process records.
 */
import { realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { compareChanges, parseVersionId, versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { historyOf } from '../core/history.ts';
import {
  displayPath,
  encodePath,
  normalizeRelative,
  parseDisplayPath,
  pathBase64,
  type PathName
} from '../core/path-name.ts';
import { parseMoment } from '../core/time-text.ts';
import { applyChange, type Tree } from '../core/tree.ts';
import { openLogReader } from '../log/log.ts';
import type { OpenLogOptions, OpenReader } from '../log/types.ts';

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

/** A version that a person named. */
export interface NamedVersion {
  readonly version: Change;
  /** The path they wrote, else the version's own. They differ when the file has been moved since. */
  readonly path: PathName;
}

/** A read-only view of one log. */
export class LogView implements AsyncDisposable {
  readonly reader: OpenReader;
  /** Workspace root, to which paths of the user are related. */
  readonly root: string;
  #changes: Change[] = [];
  #byId: Map<string, Change> | undefined;
  #paths: Set<PathName> | undefined;

  private constructor(reader: OpenReader, root: string) {
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
    return this.#known().has(path);
  }

  #known(): ReadonlySet<PathName> {
    if (this.#paths === undefined) {
      this.#paths = new Set();
      for (const change of this.#changes) {
        this.#paths.add(change.path);
        if (change.from !== undefined) this.#paths.add(change.from);
      }
    }
    return this.#paths;
  }

  /**
   * A path as a person wrote it → a workspace path. Relative to `cwd`; when that lies outside the workspace, to the root.
   * Display escapes (`\xHH`) and base64 of names that are not UTF-8 are understood when the log knows such a path.
   *
   * @throws SyftError PATH_OUTSIDE_ROOT.
   */
  pathOf(text: string, cwd: string): PathName {
    let path: PathName;
    try {
      path = workspacePath(this.root, text, cwd);
    } catch (error) {
      // The base64 of a name may begin with a slash.
      const named = this.#pathOfBase64(text);
      if (named === undefined) throw error;
      return named;
    }
    if (this.knows(path)) return path;
    const escaped = parseDisplayPath(path);
    if (escaped !== path && this.knows(escaped)) return escaped;
    return this.#pathOfBase64(text) ?? this.#throughLinks(path) ?? this.#pathOfLossy(path) ?? path;
  }

  #pathOfBase64(text: string): PathName | undefined {
    if (!/^[A-Za-z0-9+/]+=*$/.test(text)) return undefined;
    for (const path of this.#known().keys()) if (pathBase64(path) === text) return path;
    return undefined;
  }

  /** The path behind links to directories in it: what is below a link is recorded where it really is. */
  #throughLinks(path: PathName): PathName | undefined {
    const real = realParent(join(this.root, path));
    const found = relative(this.root, real).split(sep).join('/');
    return this.knows(found) ? found : undefined;
  }

  /** A shell hands over the bytes of a name; those that are not UTF-8 arrive as U+FFFD. Understood when only one path fits. */
  #pathOfLossy(path: PathName): PathName | undefined {
    if (!path.includes('\ufffd')) return undefined;
    const fitting = [...this.#known().keys()].filter(known => encodePath(known).toString('utf8') === path);
    return fitting.length === 1 ? fitting[0] : undefined;
  }

  /**
   * A version as a person names it: a version id, a unique prefix of one, `PATH@T`, `PATH@latest`, `PATH@-1`.
   *
   * @throws SyftError VERSION_NOT_FOUND, VERSION_AMBIGUOUS, PATH_NOT_FOUND, BAD_REQUEST.
   */
  version(text: string, cwd: string): Change {
    return this.named(text, cwd).version;
  }

  /** {@link version}, with the path that was meant. */
  named(text: string, cwd: string): NamedVersion {
    const exact = this.#ids().get(text);
    if (exact !== undefined) return { version: exact, path: exact.path };
    const at = text.lastIndexOf('@');
    if (at > 0) {
      const which = text.slice(at + 1);
      if (!namesMoment(which) && this.#isPath(text, cwd)) throw wantsVersion(text);
      const path = this.pathOf(text.slice(0, at), cwd);
      return { version: this.#versionAt(path, which), path };
    }
    if (parseVersionId(text) === undefined && text !== '') {
      const matches = this.#changes.filter(change => versionId(change).startsWith(text));
      if (matches[0] !== undefined && matches.length === 1) return { version: matches[0], path: matches[0].path };
      if (matches.length > 1 && !this.#isPath(text, cwd)) {
        throw new SyftError(
          'VERSION_AMBIGUOUS',
          `"${text}" is the beginning of ${matches.length} version ids; write more of it.`
        );
      }
    }
    if (this.#isPath(text, cwd)) throw wantsVersion(text);
    throw new SyftError('VERSION_NOT_FOUND', `There is no version ${text}.`);
  }

  /** What `VERSION|PATH` names: a path that the log knows is its latest version; everything else as {@link named}. */
  namedOrLatest(text: string, cwd: string): NamedVersion {
    if (this.#ids().has(text) || !this.#isPath(text, cwd)) return this.named(text, cwd);
    const path = this.pathOf(text, cwd);
    return { version: this.#versionAt(path, 'latest'), path };
  }

  /** The version of a path as of a moment, as a person wrote it. Throws PATH_NOT_FOUND, VERSION_NOT_FOUND, BAD_REQUEST. */
  namedAt(text: string, moment: string, cwd: string): NamedVersion {
    const path = this.pathOf(text, cwd);
    return { version: this.#versionAt(path, moment), path };
  }

  #ids(): ReadonlyMap<string, Change> {
    this.#byId ??= new Map(this.#changes.map(change => [versionId(change), change]));
    return this.#byId;
  }

  #isPath(text: string, cwd: string): boolean {
    try {
      return this.knows(this.pathOf(text, cwd));
    } catch (error) {
      if (error instanceof SyftError && error.code === 'PATH_OUTSIDE_ROOT') return false;
      throw error;
    }
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
    if (found === undefined || found.kind === 'deleted' || this.#movedAway(found, path, moment)) {
      throw new SyftError('VERSION_NOT_FOUND', `${displayPath(path)} did not exist at ${which}.`, {
        path: displayPath(path)
      });
    }
    return found;
  }

  /** True when what a change had put at `path` was somewhere else by `moment`. The rule is that of {@link applyChange}. */
  #movedAway(change: Change, path: PathName, moment: number): boolean {
    return (
      change.path === path &&
      this.#changes
        .slice(this.#changes.indexOf(change) + 1)
        .some(
          later =>
            later.from === path && later.at <= moment && (later.at !== change.at || later.device !== change.device)
        )
    );
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

function namesMoment(text: string): boolean {
  return text === 'latest' || /^-[0-9]+$/.test(text) || parseMoment(text, nowMicros()) !== undefined;
}

function wantsVersion(path: string): SyftError {
  return new SyftError(
    'VERSION_NOT_FOUND',
    `${path} is a path; say which version of it: ${path}@latest, ${path}@-1 or ${path}@2h.`,
    { path }
  );
}

/** The path with the links in its directories followed, as far as it exists; its last part is left as it is. */
function realParent(path: string): string {
  const rest = [basename(path)];
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    try {
      return join(realpathSync(dir), ...rest);
    } catch {
      if (dirname(dir) === dir) return path;
      rest.unshift(basename(dir));
    }
  }
}

/**
 * Relates a path to the workspace: relative to `cwd` first, and where that leads outside, relative to the root. It may reach
 * the workspace through a link.
 *
 * @throws SyftError PATH_OUTSIDE_ROOT.
 */
export function workspacePath(root: string, text: string, cwd: string): PathName {
  const within = (path: string): PathName | undefined => {
    const rel = relative(root, path);
    if (rel === '' || rel === '..' || rel.startsWith(`..${sep}`) || isAbsolute(rel)) return undefined;
    return normalizeRelative(rel.split(sep).join('/'));
  };
  const path = resolve(cwd, text);
  const found =
    within(path) ?? within(realParent(path)) ?? (isAbsolute(text) ? undefined : within(resolve(root, text)));
  if (found === undefined) {
    throw new SyftError('PATH_OUTSIDE_ROOT', `${text} does not name a file inside the workspace ${root}.`, {
      path: text
    });
  }
  return found;
}
