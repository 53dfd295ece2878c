/**
 * Which paths are not recorded. Gitignore syntax throughout, in three layers: built-in defaults, then the patterns of the
 * settings, then `.syftignore` files in the root and below it, each relative to its own directory. A later or deeper layer
 * overrides an earlier one, `!` included; as in git, nothing below an excluded directory can be brought back.
 *
 * Pure: the content of `.syftignore` files comes through a function.
 */
import ignore, { type Ignore } from 'ignore';
import { baseName, displayPath, parentOf, type PathName } from './path-name.ts';

/** The name of the file that holds patterns. */
export const IGNORE_FILE = '.syftignore';

/** Excluded unless a later pattern brings them back: other tools' bookkeeping, not the user's work. */
export const DEFAULT_EXCLUDES: readonly string[] = [
  '.git/',
  '.ipynb_checkpoints/',
  '.~*',
  '.syft-sync-tmp-*',
  '.syft-sync-conflicts/',
  '__pycache__/',
  '.DS_Store',
  '.jupyter_ystore.db*'
];

/** Where lost conflicts of a directory with an encrypted log are kept: beside the files, in the clear as they are. */
export const CONFLICTS_DIR_NAME = '.syft-sync-conflicts';

/** Directory of a log under its default name; excluded at every depth, whatever any pattern says. */
export const LOG_DIR_NAME = '.syft-sync';

export interface IgnoreRulesOptions {
  /** Added after the defaults; relative to the root. */
  readonly excludePatterns?: readonly string[];
  /** When given, only these relative folders, and what is below them, are recorded. */
  readonly include?: readonly PathName[];
  /** Log directory relative to the root, when it lies inside. */
  readonly logPath?: PathName | undefined;
  /** The text of the `.syftignore` file of a directory, or `undefined` when there is none. */
  readonly readIgnoreFile: (dir: PathName) => string | undefined;
}

// The matcher remembers every path it was asked about; it is built anew before that memory counts.
const TESTS_PER_MATCHER = 20_000;

export class IgnoreRules {
  readonly #options: IgnoreRulesOptions;
  readonly #include: readonly PathName[] | undefined;
  /** Directory → text of its file, where there is one. */
  readonly #texts = new Map<PathName, string>();
  readonly #known = new Set<PathName>();
  /** Directories other than the root that have a file, the deepest first. */
  #nested: PathName[] = [];
  readonly #matchers = new Map<PathName, Matcher>();
  #tests = 0;

  constructor(options: IgnoreRulesOptions) {
    this.#options = options;
    this.#include = options.include
      ?.map(folder => folder.replace(/^\.?\/+|\/+$/g, ''))
      .filter(folder => folder !== '' && folder !== '.');
    if (this.#include?.length === 0) this.#include = undefined;
  }

  /** Excluded whatever the patterns say: a log directory, or something outside the chosen folders. */
  excludedAlways(path: PathName, isDirectory: boolean): boolean {
    if (path === '') return false;
    if (isDirectory && (baseName(path) === LOG_DIR_NAME || path === this.#options.logPath)) return true;
    if (this.#include === undefined) return false;
    const below = this.#include.some(folder => path === folder || path.startsWith(`${folder}/`));
    if (below) return false;
    return !(isDirectory && this.#include.some(folder => folder.startsWith(`${path}/`)));
  }

  /** {@link excludedAlways} of an entry or any directory above it. */
  excludedAlwaysDeep(path: PathName, isDirectory: boolean): boolean {
    for (let i = path.indexOf('/'); i >= 0; i = path.indexOf('/', i + 1)) {
      if (this.excludedAlways(path.slice(0, i), true)) return true;
    }
    return this.excludedAlways(path, isDirectory);
  }

  /**
   * Whether an entry is excluded, given that none of its parents is.
   *
   * @param path Relative path of the entry.
   * @param isDirectory Patterns that end in `/` concern directories only.
   */
  excludes(path: PathName, isDirectory: boolean): boolean {
    if (path === '') return false;
    if (this.excludedAlways(path, isDirectory)) return true;
    if (++this.#tests > TESTS_PER_MATCHER) {
      this.#tests = 0;
      this.#matchers.clear();
    }
    this.#discover(parentOf(path));
    for (const dir of this.#nested) {
      if (!path.startsWith(`${dir}/`)) continue;
      const relative = path.slice(dir.length + 1);
      const verdict = test(this.#matcher(dir), isDirectory ? `${relative}/` : relative);
      if (verdict !== undefined) return verdict;
    }
    return test(this.#matcher(''), isDirectory ? `${path}/` : path) ?? false;
  }

  /** Whether an entry or any directory above it is excluded. */
  excludesDeep(path: PathName, isDirectory: boolean): boolean {
    for (let i = path.indexOf('/'); i >= 0; i = path.indexOf('/', i + 1)) {
      if (this.excludes(path.slice(0, i), true)) return true;
    }
    return this.excludes(path, isDirectory);
  }

  /**
   * Reads the `.syftignore` of a directory again.
   *
   * @returns Whether its text differs from what was in force.
   */
  reload(dir: PathName): boolean {
    this.#discover(parentOf(dir));
    const before = this.#texts.get(dir);
    this.#read(dir);
    return before !== this.#texts.get(dir);
  }

  /** Whether the `.syftignore` file of a directory is in force. */
  hasFile(dir: PathName): boolean {
    return this.#texts.has(dir);
  }

  /** Forgets the `.syftignore` files of a directory that is gone, and of all below it. */
  forget(dir: PathName): void {
    if (!this.#known.has(dir)) return;
    for (const known of [...this.#known]) {
      if (known !== dir && !known.startsWith(`${dir}/`)) continue;
      this.#known.delete(known);
      this.#setText(known, undefined);
    }
  }

  /** Sees to it that the files of a directory and of all above it are read. Invariant: what is above a known one is known. */
  #discover(dir: PathName): void {
    for (let at = dir; !this.#known.has(at); at = parentOf(at)) {
      this.#read(at);
      if (at === '') return;
    }
  }

  #read(dir: PathName): void {
    this.#known.add(dir);
    this.#setText(dir, this.#options.readIgnoreFile(dir));
  }

  #setText(dir: PathName, text: string | undefined): void {
    if (this.#texts.get(dir) === text) return;
    this.#matchers.delete(dir);
    if (text === undefined) this.#texts.delete(dir);
    else this.#texts.set(dir, text);
    this.#nested = [...this.#texts.keys()].filter(nested => nested !== '').sort((a, b) => b.length - a.length);
  }

  #matcher(dir: PathName): Matcher {
    let matcher = this.#matchers.get(dir);
    if (matcher === undefined) {
      const patterns = dir === '' ? [...DEFAULT_EXCLUDES, ...(this.#options.excludePatterns ?? [])] : [];
      patterns.push(...(this.#texts.get(dir) ?? '').split(/\r?\n/));
      const rules = ignore({ ignorecase: false, allowRelativePaths: true }).add(patterns);
      matcher = { rules, candidate: candidates(patterns) };
      this.#matchers.set(dir, matcher);
    }
    return matcher;
  }
}

interface Matcher {
  readonly rules: Ignore;
  /** A path that does not match this is matched by no pattern. */
  readonly candidate: RegExp | undefined;
}

/**
 * What a path must contain for one of `patterns` to match: of each the longest piece that stands for itself. Asking this first
 * spares nearly every path the patterns themselves, which take ten times as long. `undefined`: a pattern may match anything.
 */
function candidates(patterns: readonly string[]): RegExp | undefined {
  const pieces: string[] = [];
  for (const line of patterns) {
    const pattern = line.trim();
    if (pattern === '' || pattern.startsWith('#')) continue;
    if (/[\\[\]]/.test(pattern)) return undefined;
    const pieceList = pattern.replace(/^!/, '').split(/[*?/\s]+/);
    const longest = pieceList.reduce((best, piece) => (piece.length > best.length ? piece : best), '');
    if (longest === '') return undefined;
    pieces.push(longest.replace(/[.+^${}()|]/g, '\\$&'));
  }
  return pieces.length === 0 ? /[]/ : new RegExp(pieces.join('|'));
}

/** `true` excluded, `false` brought back, `undefined` no pattern of this layer speaks about it. */
function test({ rules, candidate }: Matcher, path: string): boolean | undefined {
  const shown = displayPath(path);
  if (candidate?.test(shown) === false) return undefined;
  const result = rules.test(shown);
  return result.ignored ? true : result.unignored ? false : undefined;
}
