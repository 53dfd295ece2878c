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
  '__pycache__/',
  '.DS_Store',
  '.jupyter_ystore.db*'
];

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

interface Layer {
  readonly dir: PathName;
  readonly matcher: Ignore;
}

// The matcher remembers every path it was asked about; it is built anew before that memory counts.
const TESTS_PER_MATCHER = 20_000;

export class IgnoreRules {
  readonly #options: IgnoreRulesOptions;
  readonly #include: readonly PathName[] | undefined;
  /** Directory → text of its file. Only directories that have one are kept with text. */
  readonly #texts = new Map<PathName, string>();
  readonly #known = new Set<PathName>();
  #layers = new Map<PathName, Layer | undefined>();
  #tests = 0;

  constructor(options: IgnoreRulesOptions) {
    this.#options = options;
    this.#include = options.include?.map(folder => folder.replace(/^\.?\/+|\/+$/g, '')).filter(folder => folder !== '' && folder !== '.');
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
      this.#layers = new Map();
    }
    for (let dir = parentOf(path); ; dir = parentOf(dir)) {
      const layer = this.#layer(dir);
      if (layer !== undefined) {
        const relative = dir === '' ? path : path.slice(dir.length + 1);
        const verdict = test(layer.matcher, isDirectory ? `${relative}/` : relative);
        if (verdict !== undefined) return verdict;
      }
      if (dir === '') return false;
    }
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
    const before = this.#texts.get(dir);
    const wasKnown = this.#known.has(dir);
    this.#known.delete(dir);
    this.#layers.delete(dir);
    const after = this.#text(dir);
    return wasKnown ? before !== after : after !== undefined;
  }

  /** Whether the `.syftignore` file of a directory is in force. */
  hasFile(dir: PathName): boolean {
    return this.#texts.has(dir);
  }

  /** Forgets the `.syftignore` files of everything below a directory that is gone. */
  forget(dir: PathName): void {
    for (const known of [...this.#known]) {
      if (known === dir || known.startsWith(`${dir}/`)) {
        this.#known.delete(known);
        this.#texts.delete(known);
        this.#layers.delete(known);
      }
    }
  }

  #text(dir: PathName): string | undefined {
    if (!this.#known.has(dir)) {
      this.#known.add(dir);
      const text = this.#options.readIgnoreFile(dir);
      if (text === undefined) this.#texts.delete(dir);
      else this.#texts.set(dir, text);
    }
    return this.#texts.get(dir);
  }

  #layer(dir: PathName): Layer | undefined {
    if (this.#layers.has(dir)) return this.#layers.get(dir);
    const text = this.#text(dir);
    let layer: Layer | undefined;
    if (dir === '') {
      const matcher = newMatcher().add([...DEFAULT_EXCLUDES, ...(this.#options.excludePatterns ?? [])]);
      if (text !== undefined) matcher.add(text);
      layer = { dir, matcher };
    } else if (text !== undefined) {
      layer = { dir, matcher: newMatcher().add(text) };
    }
    this.#layers.set(dir, layer);
    return layer;
  }
}

function newMatcher(): Ignore {
  return ignore({ ignorecase: false, allowRelativePaths: true });
}

/** `true` excluded, `false` brought back, `undefined` no pattern of this layer speaks about it. */
function test(matcher: Ignore, path: string): boolean | undefined {
  const result = matcher.test(displayPath(path));
  return result.ignored ? true : result.unignored ? false : undefined;
}
