/**
 * Who has which access to a path, by the `syft.pub.yaml` files above it, as SyftBox decides it (`internal/server/acl`): the nearest file
 * alone counts, and no file below one that is terminal; of its rules the narrowest that fits. Two things are stricter here: the owner is who
 * the folder is named after, to the letter, not whoever's name it begins with; and a file that is not understood gives nobody anything,
 * where SyftBox goes by the one above it.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, sep } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import { foldedName } from '../messages/member-names.ts';
import {
  LEVELS,
  MOST_BYTES,
  parsePermissions,
  PERMISSION_FILE,
  type Level,
  type Rule,
  type RuleSet
} from './permission-file.ts';

/** Somebody's folder in a SyftBox. */
export interface Datasite {
  /** Absolute. */
  readonly dir: string;
  /** The address that it is named after. */
  readonly owner: string;
}

/** What somebody may do with a path, and what says so. */
export interface Grant {
  readonly level: Level | 'owner' | 'none';
  /** The file that decides; absent: there is none. Absolute. */
  readonly file?: string;
  readonly rule?: Rule;
}

const ADDRESS = /^[^@\s]+@[^@\s]+$/;

/**
 * The datasite that a place lies in: below a folder `datasites`, as SyftBox has them, or the folder of the same name in `SyftBox_<address>`,
 * as `syft` has them. `undefined`: in none.
 */
export function datasiteOf(place: string): Datasite | undefined {
  for (let dir = place; dirname(dir) !== dir; dir = dirname(dir)) {
    const owner = basename(dir);
    const above = basename(dirname(dir));
    if (ADDRESS.test(owner) && (above === 'datasites' || /^SyftBox(?:_|$)/.test(above))) return { dir, owner };
  }
  return undefined;
}

/** A name that is only a name. One with wildcards could be taken for the entry of a list that it is not. */
function isPlainUser(user: string): boolean {
  return user !== '' && user !== 'USER' && user.length <= 254 && !/[\s*?[\]{}\\/]/.test(user);
}

/** Whether an entry of a list is, or includes, a user. */
function includes(entry: string, user: string): boolean {
  if (entry === '*' || entry === 'USER' || entry === user) return true;
  if (!/[*?]/.test(entry)) return false;
  // Of addresses only what SyftBox's own documentation shows: everybody of a domain, and parts of a name.
  const parts = entry.split(/([*?])/).filter(part => part !== '');
  let rest: readonly number[] = [0];
  for (const part of parts) {
    const next = new Set<number>();
    for (const at of rest) {
      if (part === '*') for (let end = at; end <= user.length; end += 1) next.add(end);
      else if (part === '?') next.add(at + 1);
      else if (user.startsWith(part, at)) next.add(at + part.length);
    }
    rest = [...next];
  }
  return rest.includes(user.length);
}

/** The most that a rule gives a user. */
function levelOf({ access }: Rule, user: string): Level | 'none' {
  return LEVELS.findLast(level => access[level].some(entry => includes(entry, user))) ?? 'none';
}

/** Reads a permission file; `undefined` when there is none. @throws SyftError PERMISSIONS_INVALID. */
export function readPermissionFile(file: string): string | undefined {
  const refused = (why: string, cause?: unknown): SyftError =>
    new SyftError('PERMISSIONS_INVALID', `${file} ${why}. Until it is put right, nobody but the owner has access.`, {
      path: file,
      ...(cause !== undefined && { cause })
    });
  let fd: number;
  try {
    const stats = lstatSync(file, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    // Opening a pipe would wait for somebody to write into it.
    if (!stats.isFile()) throw refused('is not a file');
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof SyftError) throw error;
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw refused('cannot be read', error);
  }
  try {
    const { size } = fstatSync(fd);
    if (size > MOST_BYTES) throw refused(`is larger than ${MOST_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(fd));
  } catch (error) {
    throw error instanceof SyftError ? error : refused('is not UTF-8', error);
  } finally {
    closeSync(fd);
  }
}

/** What lies nearest above a path. */
export interface Governing {
  /** Absolute. */
  readonly file: string;
  readonly rules: RuleSet;
  /** The path, relative to the folder of the file. */
  readonly path: string;
}

/** The permissions of a folder, as its files are now. Each is read once. */
export class Permissions {
  /** Absolute. */
  readonly root: string;
  readonly #files = new Map<string, RuleSet | SyftError | undefined>();

  /** @param root Absolute path of the workspace. Where it lies in a datasite, files above it count, up to that. */
  constructor(root: string) {
    this.root = root;
  }

  #rulesIn(dir: string): RuleSet | SyftError | undefined {
    if (this.#files.has(dir)) return this.#files.get(dir);
    let found: RuleSet | SyftError | undefined;
    try {
      const text = readPermissionFile(join(dir, PERMISSION_FILE));
      found = text === undefined ? undefined : parsePermissions(text, join(dir, PERMISSION_FILE));
    } catch (error) {
      if (!(error instanceof SyftError)) throw error;
      found = error;
    }
    this.#files.set(dir, found);
    return found;
  }

  /**
   * The file that decides on a path. `undefined`: there is none.
   *
   * @param path Workspace path of a file; `''` is the workspace.
   * @throws SyftError PERMISSIONS_INVALID when one on the way to it is not understood.
   */
  governing(path: PathName): Governing | undefined {
    const target = path === '' ? this.root : join(this.root, displayPath(path));
    const top = datasiteOf(target)?.dir ?? this.root;
    const names = relative(top, target)
      .split(sep)
      .filter(name => name !== '');
    let nearest: Governing | undefined;
    for (let n = 0; n <= names.length; n += 1) {
      const dir = join(top, ...names.slice(0, n));
      // What is asked for may be a folder, and have a file of its own.
      const rules = this.#rulesIn(dir);
      if (rules instanceof SyftError) throw rules;
      if (rules === undefined) continue;
      nearest = { file: join(dir, PERMISSION_FILE), rules, path: names.slice(n).join('/') };
      if (rules.terminal) break;
    }
    return nearest;
  }

  /**
   * @param user Taken at his word: nothing here proves that somebody is who he says.
   * @throws SyftError PERMISSIONS_INVALID.
   */
  grantOf(path: PathName, user: string, now?: Date): Grant {
    if (!isPlainUser(user)) return { level: 'none' };
    if (datasiteOf(join(this.root, displayPath(path)))?.owner === user) return { level: 'owner' };
    const governing = this.governing(path);
    if (governing === undefined) return { level: 'none' };
    const rule = governing.rules.rules.find(candidate => candidate.matches(governing.path, user, now));
    return {
      level: rule === undefined ? 'none' : levelOf(rule, user),
      file: governing.file,
      ...(rule !== undefined && { rule })
    };
  }

  /** Whether somebody may change a path. Who may read, write and administer is changed by administrators only. */
  mayWrite(path: PathName, user: string): boolean {
    const { level } = this.grantOf(path, user);
    // Some systems take `Syft.pub.yaml` for the same file.
    const least = foldedName(basename(path)) === PERMISSION_FILE ? 'admin' : 'write';
    return level === 'owner' || (level !== 'none' && LEVELS.indexOf(level) >= LEVELS.indexOf(least));
  }
}
