/**
 * The scan: compares what is on disk with what is known, and says what has to be looked at. It reads no content and
 * decides nothing. Synchronous calls in short slices: five times less work than the asynchronous ones.
 */
import { lstatSync, opendirSync, readdirSync, type Stats } from 'node:fs';
import type { EntryType } from '../core/change.ts';
import { errnoOf } from '../core/errors.ts';
import { IGNORE_FILE, type IgnoreRules } from '../core/ignore-rules.ts';
import { baseName, decodePath, fsPath, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import type { DirNode, KnownTree } from './known.ts';
import { entryType, statValues, type StatValues } from './stat-columns.ts';
import type { TimeSlice } from './time-slice.ts';

/** A path that is on disk and not as known. */
export interface Candidate {
  readonly path: PathName;
  readonly stats: StatValues;
  /** Found by walking a directory, not asked for by name. */
  readonly walked: boolean;
}

/** Something that could not be looked at; recording of the rest goes on. */
export interface ScanProblem {
  readonly path: PathName;
  readonly code: string;
  readonly message: string;
}

/** What one scan found. */
export class Findings {
  readonly candidates: Candidate[] = [];
  /** Plain files met by a first pass: nothing is known of them, so their stat values are left to whoever opens them. */
  readonly files: PathName[] = [];
  /** Known paths that were not there. `true`: found by walking a directory. */
  readonly gone = new Map<PathName, boolean>();
  readonly problems: ScanProblem[] = [];
  /** Special files by kind. */
  readonly special: Record<string, number> = {};
  /** Known paths met that were as known. */
  unchanged = 0;
  /** Entries met: files, links, empty directories. */
  entries = 0;
  /** Directories walked because they were asked for by name. */
  readonly walkedDirectories: PathName[] = [];
  /** A `.syftignore` file changed. */
  rulesChanged = false;
}

export interface ScannerOptions {
  /** Absolute. */
  readonly root: string;
  readonly known: KnownTree;
  readonly rules: IgnoreRules;
  /** Told how many entries a walk has met; may throw to stop it. */
  readonly tooMany: (entries: number) => void;
}

// So many are handed on together in a first pass.
const ENOUGH_CANDIDATES = 256;
// A directory whose own size says it holds this much is listed in pieces.
const BIG_DIRECTORY_BYTES = 512 * 1024;

/** What makes a walk shorter. */
export interface ScanHelp {
  readonly onSome?: ((findings: Findings) => Promise<void>) | undefined;
  readonly isAsKnown?: ((node: DirNode) => boolean) | undefined;
}

export class Scanner {
  readonly #root: string;
  readonly #known: KnownTree;
  readonly #rules: IgnoreRules;
  readonly #options: ScannerOptions;
  /** Raised when patterns change: what was found excluded before counts no more. */
  rulesGeneration = 0;

  constructor(options: ScannerOptions) {
    this.#options = options;
    this.#root = options.root;
    this.#known = options.known;
    this.#rules = options.rules;
  }

  /** Absolute form of a path for `node:fs`. */
  absolute(path: PathName): string | Buffer {
    return fsPath(path === '' ? this.#root : `${this.#root}/${path}`);
  }

  /** `lstat` that answers `undefined` for what is not there. Throws for what cannot be looked at. */
  stat(path: PathName): Stats | undefined {
    return lstatSync(this.absolute(path), { throwIfNoEntry: false });
  }

  /**
   * {@link stat} of a path that was not met by walking down to it: what can only be reached through a link is not there.
   * Where a directory was moved away and a link to it left behind, the system still finds the old names.
   */
  statInPlace(path: PathName): Stats | undefined {
    const stats = this.stat(path);
    if (stats === undefined) return undefined;
    for (let dir = parentOf(path); dir !== ''; dir = parentOf(dir)) {
      if (this.stat(dir)?.isDirectory() !== true) return undefined;
    }
    return stats;
  }

  /**
   * Walks everything.
   *
   * @param options.onSome Takes candidates out of the findings while the walk goes on, so that they need not all be held. Only for
   *   a first pass, when nothing can have moved.
   * @param options.isAsKnown Directories that were looked at already, and have nothing new.
   */
  async scanAll(slice: TimeSlice, { onSome, isAsKnown }: ScanHelp = {}): Promise<Findings> {
    const findings = new Findings();
    await this.#walk('', findings, slice, { onSome, isAsKnown });
    return findings;
  }

  /** How many entries a walk would meet, excluded ones included; quick, for showing progress. */
  async estimate(slice: TimeSlice): Promise<number> {
    let count = 0;
    const stack: PathName[] = [''];
    for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
      if (slice.spent()) await slice.rest();
      try {
        for (const entry of readdirSync(this.absolute(dir), { withFileTypes: true })) {
          const path = joinPath(dir, entry.name);
          if (!entry.isDirectory()) count += 1;
          else if (!this.#rules.excludes(path, true)) stack.push(path);
        }
      } catch {
        // The walk itself will tell.
      }
    }
    return count;
  }

  /**
   * Looks at the given paths: files by themselves, directories with all that is below them.
   *
   * @param force Also at paths that patterns exclude.
   */
  async scanPaths(paths: readonly PathName[], slice: TimeSlice, force = false): Promise<Findings> {
    const findings = new Findings();
    const walked = new Set<PathName>();
    const parents = new Set<PathName>();
    // Parents before children, so that a directory walked covers what is asked for below it.
    for (const path of [...paths].sort((a, b) => rank(a) - rank(b) || a.length - b.length)) {
      if (slice.spent()) await slice.rest();
      if (path === '') {
        await this.#walk('', findings, slice);
        return findings;
      }
      if (covered(path, walked)) continue;
      let stats: Stats | undefined;
      try {
        stats = this.statInPlace(path);
      } catch (error) {
        this.#problem(findings, path, error);
        continue;
      }
      if (stats === undefined) {
        for (const known of this.#known.below(path)) this.#gone(findings, known, false);
        if (baseName(path) === IGNORE_FILE) this.#reloadRules(findings, parentOf(path));
        this.#rules.forget(path);
        parents.add(parentOf(path));
        continue;
      }
      const isDirectory = stats.isDirectory();
      const slot = this.#known.slot(path);
      if (isDirectory || slot === undefined || !this.#known.matches(slot, stats)) {
        if (force ? this.#rules.excludedAlwaysDeep(path, isDirectory) : this.#rules.excludesDeep(path, isDirectory)) {
          continue;
        }
      }
      if (isDirectory) {
        walked.add(path);
        findings.walkedDirectories.push(path);
        this.#reloadRules(findings, path);
        await this.#walk(path, findings, slice);
      } else {
        this.#entry(path, stats, findings, false);
      }
    }
    for (const parent of parents) {
      if (slice.spent()) await slice.rest();
      if (!covered(parent, walked)) this.#emptied(parent, findings);
    }
    if (!force) await this.#arrivals(parents, walked, findings, slice);
    return findings;
  }

  /**
   * What is gone may stand beside under another name that nothing told of yet: the hint of a renamed directory's old name
   * can be far ahead of the new one's. New names in the nearest directory that still stands are looked at together with it.
   */
  async #arrivals(
    parents: ReadonlySet<PathName>,
    walked: Set<PathName>,
    findings: Findings,
    slice: TimeSlice
  ): Promise<void> {
    const places = new Set<PathName>();
    for (const parent of parents) {
      let place = parent;
      while (place !== '' && !this.#isDirectory(place)) place = parentOf(place);
      if (!covered(place, walked)) places.add(place);
    }
    const met = new Set(findings.candidates.map(({ path }) => path));
    for (const place of places) {
      if (slice.spent()) await slice.rest();
      const node = this.#known.dir(place);
      try {
        for (const name of this.#names(place, undefined)) {
          const path = joinPath(place, name);
          if (node?.entries.has(name) === true || node?.dirs.has(name) === true || met.has(path)) continue;
          if (covered(path, walked)) continue;
          const stats = this.stat(path);
          if (stats === undefined || this.#rules.excludesDeep(path, stats.isDirectory())) continue;
          if (stats.isDirectory()) await this.#walk(path, findings, slice);
          else this.#entry(path, stats, findings, true);
        }
      } catch (error) {
        this.#problem(findings, place, error);
      }
    }
  }

  #isDirectory(path: PathName): boolean {
    try {
      return this.statInPlace(path)?.isDirectory() === true;
    } catch {
      return false;
    }
  }

  /** A directory that lost something may be empty now. */
  #emptied(dir: PathName, findings: Findings): void {
    if (dir === '') return;
    try {
      const stats = this.statInPlace(dir);
      if (stats?.isDirectory() !== true || this.#knownType(dir) === 'directory') return;
      if (this.#rules.excludesDeep(dir, true) || !this.isEmpty(dir)) return;
      findings.candidates.push({ path: dir, stats: statValues(stats), walked: true });
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') this.#problem(findings, dir, error);
    }
  }

  /** True when a directory holds nothing that is recorded. */
  isEmpty(dir: PathName): boolean {
    for (const name of this.#names(dir, undefined)) {
      const path = joinPath(dir, name);
      const stats = this.stat(path);
      if (stats === undefined || entryType(stats.mode) === undefined) continue;
      if (!this.#rules.excludes(path, stats.isDirectory())) return false;
    }
    return true;
  }

  async #walk(
    start: PathName,
    findings: Findings,
    slice: TimeSlice,
    { onSome, isAsKnown }: ScanHelp = {}
  ): Promise<void> {
    const stack: PathName[] = [start];
    for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
      if (slice.spent()) await slice.rest();
      if (onSome !== undefined && findings.candidates.length + findings.files.length >= ENOUGH_CANDIDATES) {
        await onSome(findings);
      }
      const node = isAsKnown === undefined ? undefined : this.#known.dir(dir);
      const directories =
        node !== undefined && isAsKnown?.(node) === true
          ? this.#unchangedDirectory(node, findings)
          : await this.#directory(dir, findings, slice, { first: onSome !== undefined, isAsKnown });
      for (let i = directories.length - 1; i >= 0; i -= 1) stack.push(directories[i] ?? '');
    }
  }

  /** Takes a directory for what is known of it; answers its subdirectories. */
  #unchangedDirectory(node: DirNode, findings: Findings): PathName[] {
    const { size, directories } = this.#known.entriesOf(node);
    findings.unchanged += size;
    findings.entries += size;
    if (size > 0) this.#options.tooMany(findings.entries);
    for (const [, { path }] of node.subdirectories) if (!this.#rules.excludes(path, true)) directories.push(path);
    return directories;
  }

  /**
   * Looks at the entries of one directory; answers its subdirectories.
   *
   * @param first In a first pass plain files are named and not looked at.
   */
  async #directory(
    dir: PathName,
    findings: Findings,
    slice: TimeSlice,
    { first = false, isAsKnown }: { readonly first?: boolean } & Pick<ScanHelp, 'isAsKnown'> = {}
  ): Promise<PathName[]> {
    const directories: PathName[] = [];
    const node = this.#known.dir(dir);
    const files = findings.files.length;
    let own: Stats | undefined;
    let names: Iterable<string>;
    try {
      own = this.stat(dir);
      if (own === undefined || !own.isDirectory()) {
        for (const path of this.#known.below(dir)) {
          if (path !== dir || own === undefined) this.#gone(findings, path, true);
        }
        if (own !== undefined && dir !== '') this.#entry(dir, own, findings, true);
        return directories;
      }
      names = (first && node === undefined ? this.#plainFiles(dir, own, findings) : undefined) ?? this.#names(dir, own);
    } catch (error) {
      // What is below cannot be told; it is left as it is known.
      this.#problem(findings, dir, error);
      return directories;
    }
    if (node !== undefined && node.ignoredAt !== this.rulesGeneration) {
      node.ignored = undefined;
      node.ignoredAt = this.rulesGeneration;
    }
    const present = new Set<string>();
    /** Whether each name is one that is known and recorded. */
    let allKnown = true;
    let counting = findings.files.length - files;
    let met = 0;
    const prefix = dir === '' ? '' : `${dir}/`;
    for (const name of names) {
      if ((++met & 31) === 0 && slice.spent()) await slice.rest();
      present.add(name);
      if (node?.ignored?.has(name) === true) {
        allKnown = false;
        continue;
      }
      const path = prefix + name;
      const child = isAsKnown === undefined ? undefined : node?.dirs.get(name);
      if (node !== undefined && child !== undefined && isAsKnown?.(child) === true && !node.entries.has(name)) {
        // It was looked at: it is a directory.
        if (this.#rules.excludes(path, true)) {
          (node.ignored ??= new Set()).add(name);
          allKnown = false;
          continue;
        }
        directories.push(path);
        counting += 1;
        continue;
      }
      let stats: Stats | undefined;
      try {
        stats = this.stat(path);
      } catch (error) {
        this.#problem(findings, path, error);
        allKnown = false;
        counting += 1;
        continue;
      }
      if (stats === undefined) {
        present.delete(name);
        continue;
      }
      const slot = node?.entries.get(name);
      const isDirectory = stats.isDirectory();
      if (slot === undefined) allKnown &&= isDirectory && node?.dirs.has(name) === true;
      else allKnown &&= this.#known.type(slot) === entryType(stats.mode);
      if (slot !== undefined && this.#known.matches(slot, stats) && (isDirectory || node?.dirs.has(name) !== true)) {
        findings.unchanged += 1;
        this.#count(findings);
        counting += 1;
        if (isDirectory) directories.push(path);
        continue;
      }
      if (this.#rules.excludes(path, isDirectory)) {
        if (node !== undefined) (node.ignored ??= new Set()).add(name);
        allKnown = false;
        continue;
      }
      if (isDirectory) {
        counting += 1;
        directories.push(path);
        // A recorded file where a directory stands now; a recorded empty directory stays what it is.
        if (slot !== undefined) {
          if (this.#known.type(slot) === 'directory') {
            this.#known.set(slot, statValues(stats), true);
            findings.unchanged += 1;
            this.#count(findings);
          } else this.#gone(findings, path, true);
        }
        continue;
      }
      if (this.#entry(path, stats, findings, true)) counting += 1;
      else allKnown = false;
    }
    if (node !== undefined) {
      const names = node.entries.size + node.dirs.size;
      this.#known.listed(node, allKnown && present.size === names ? own : undefined);
      this.#missing(node, present, findings);
    }
    if (counting === 0 && dir !== '' && this.#knownType(dir) !== 'directory') {
      findings.candidates.push({ path: dir, stats: statValues(own), walked: true });
      this.#count(findings);
    }
    return directories;
  }

  /** Known names that the listing did not have. */
  #missing(node: DirNode, present: ReadonlySet<string>, findings: Findings): void {
    for (const name of node.entries.keys()) {
      if (!present.has(name)) this.#gone(findings, joinPath(node.path, name), true);
    }
    for (const [name, child] of node.dirs) {
      if (present.has(name)) continue;
      for (const path of this.#known.below(child.path)) this.#gone(findings, path, true);
      this.#rules.forget(child.path);
    }
    if (this.#rules.hasFile(node.path) && !present.has(IGNORE_FILE)) this.#reloadRules(findings, node.path);
  }

  /** A file, link or special file that may differ from what is known. Answers whether it is of a kind that is recorded. */
  #entry(path: PathName, stats: Stats, findings: Findings, walked: boolean): boolean {
    const type = entryType(stats.mode);
    const slot = this.#known.slot(path);
    if (type === undefined) {
      const kind = stats.isFIFO() ? 'fifo' : stats.isSocket() ? 'socket' : 'device';
      findings.special[kind] = (findings.special[kind] ?? 0) + 1;
      for (const known of this.#known.below(path)) this.#gone(findings, known, walked);
      return false;
    }
    this.#count(findings);
    // What was known below a name that is no directory any more is gone with it.
    if (this.#known.dir(path) !== undefined) {
      for (const known of this.#known.below(path)) if (known !== path) this.#gone(findings, known, walked);
    }
    if (slot !== undefined && this.#known.matches(slot, stats)) {
      findings.unchanged += 1;
      return true;
    }
    if (baseName(path) === IGNORE_FILE) this.#reloadRules(findings, parentOf(path));
    findings.candidates.push({ path, stats: statValues(stats), walked });
    return true;
  }

  #knownType(path: PathName): EntryType | undefined {
    const slot = this.#known.slot(path);
    return slot === undefined ? undefined : this.#known.type(slot);
  }

  #count(findings: Findings): void {
    findings.entries += 1;
    this.#options.tooMany(findings.entries);
  }

  #gone(findings: Findings, path: PathName, walked: boolean): void {
    if (findings.gone.get(path) !== false) findings.gone.set(path, walked);
  }

  #reloadRules(findings: Findings, dir: PathName): void {
    if (!this.#rules.reload(dir)) return;
    findings.rulesChanged = true;
    this.rulesGeneration += 1;
  }

  #problem(findings: Findings, path: PathName, error: unknown): void {
    const code = errnoOf(error) ?? 'INTERNAL';
    findings.problems.push({
      path,
      code,
      message: error instanceof Error ? error.message.slice(0, 300) : String(error)
    });
  }

  /**
   * Puts the plain files of a directory of which nothing is known among the findings, going by what the listing says they are.
   *
   * @returns The names of all else; `undefined` when the listing has to be read in another way.
   */
  #plainFiles(dir: PathName, own: Stats, findings: Findings): string[] | undefined {
    if (own.size > BIG_DIRECTORY_BYTES) return undefined;
    const entries = readdirSync(this.absolute(dir), { withFileTypes: true });
    if (entries.some(({ name }) => name.includes('\uFFFD'))) return undefined;
    // Patterns in the directory itself are read before what they may exclude.
    if (entries.some(({ name }) => name === IGNORE_FILE)) return undefined;
    const others: string[] = [];
    const prefix = dir === '' ? '' : `${dir}/`;
    for (const entry of entries) {
      if (!entry.isFile()) {
        others.push(entry.name);
        continue;
      }
      const path = prefix + entry.name;
      if (this.#rules.excludes(path, false)) continue;
      this.#count(findings);
      findings.files.push(path);
    }
    return others;
  }

  /** The names in a directory, in internal form. */
  #names(dir: PathName, own: Stats | undefined): Iterable<string> {
    const absolute = this.absolute(dir);
    if (own !== undefined && own.size > BIG_DIRECTORY_BYTES) return bigListing(absolute);
    let names = readdirSync(absolute);
    // Node decodes names as UTF-8 and loses what is not; only the bytes tell.
    if (names.some(name => name.includes('\uFFFD'))) {
      names = readdirSync(absolute, { encoding: 'buffer' }).map(decodePath);
    }
    const patterns = names.indexOf(IGNORE_FILE);
    if (patterns > 0) names.unshift(...names.splice(patterns, 1));
    return names;
  }
}

function* bigListing(absolute: string | Buffer): Generator<string> {
  const path = typeof absolute === 'string' ? Buffer.from(absolute) : absolute;
  // Typed for strings, but given the encoding 'buffer' the names are buffers.
  const directory = opendirSync(path, { encoding: 'buffer' as BufferEncoding, bufferSize: 256 });
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      yield decodePath(entry.name as unknown as Uint8Array);
    }
  } finally {
    directory.closeSync();
  }
}

/** Files with patterns are looked at before what they may exclude. */
function rank(path: PathName): number {
  return baseName(path) === IGNORE_FILE ? 0 : 1;
}

function covered(path: PathName, walked: ReadonlySet<PathName>): boolean {
  if (walked.size === 0) return false;
  if (walked.has(path)) return true;
  for (let i = path.indexOf('/'); i >= 0; i = path.indexOf('/', i + 1)) {
    if (walked.has(path.slice(0, i))) return true;
  }
  return false;
}
