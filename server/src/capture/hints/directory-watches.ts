/**
 * One watch per directory: opened, closed, renewed, and counted where the system refuses. A watch belongs to the directory
 * it was opened on, not to the name: a directory that is replaced by another of the same name needs a new one.
 */
import { lstatSync, watch, type FSWatcher, type Stats } from 'node:fs';
import { errnoOf } from '../../core/errors.ts';
import { joinPath, parentOf, baseName, type PathName } from '../../core/path-name.ts';
import { fileSystemAt, linksTellOfSubdirectories, remoteName } from './file-system.ts';
import { describeWatchError } from './thread.ts';

interface Entry {
  /** `undefined`: the system refused. */
  readonly watcher: FSWatcher | undefined;
  readonly dev: number;
  readonly ino: number;
}

type Listener = (dir: PathName, event: string, name: string | null) => void;

export class DirectoryWatches {
  readonly #listener: Listener;
  #entries = new Map<PathName, Entry>();
  /** Names of subdirectories that have an entry, for directories that have such. */
  #children = new Map<PathName, Set<string>>();
  readonly #fileSystems = new Map<number, number>();
  /** Directories for which the system had no watch. */
  #refused = new Set<PathName>();
  /** Directories whose watch does not see all. */
  #remote = new Set<PathName>();
  readonly #forbidden = new Set<PathName>();
  /** Why the last directory could not be watched. */
  why = '';

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  get watched(): number {
    return this.#entries.size - this.unwatched;
  }

  /** Directories of which not every change is told. */
  get unwatched(): number {
    return this.#refused.size + this.#remote.size;
  }

  /** Some directory for which the system had no watch. */
  get refused(): PathName | undefined {
    return this.#refused.values().next().value;
  }

  isRefused(dir: PathName): boolean {
    return this.#refused.has(dir);
  }

  has(dir: PathName): boolean {
    return this.#entries.has(dir);
  }

  /** Whether the directory could not be watched because it is not ours to read. */
  isForbidden(dir: PathName): boolean {
    return this.#forbidden.size > 0 && this.#forbidden.has(dir);
  }

  /** Whether the directory that now has this name is the one that is watched. */
  isSame(dir: PathName, stats: Stats): boolean {
    const entry = this.#entries.get(dir);
    return entry !== undefined && entry.ino === stats.ino && entry.dev === stats.dev;
  }

  /**
   * Whether nothing in a directory is a directory itself, as far as its own state tells.
   *
   * @param stats `undefined`: it is not there.
   */
  holdsNoDirectory(stats: Stats | undefined): boolean {
    // Two links: the entry itself and `.`.
    if (stats?.nlink !== 2 || !stats.isDirectory()) return false;
    return linksTellOfSubdirectories(this.#fileSystems.get(stats.dev) ?? 0);
  }

  /**
   * Watches a directory.
   *
   * @returns What it is, looked at after its watch was up; `undefined` when there is no directory.
   */
  open(dir: PathName, absolute: string | Buffer): Stats | undefined {
    let watcher: FSWatcher | undefined;
    try {
      watcher = watch(absolute, (event, name) => {
        this.#listener(dir, event, name);
      });
    } catch (error) {
      const code = errnoOf(error) ?? '';
      if (code === 'EACCES') this.#forbidden.add(dir);
      // What cannot be read cannot be scanned either: nothing is gained by looking at it often.
      if (code !== 'ENOSPC' && code !== 'EMFILE' && code !== 'ENFILE' && code !== 'ENOSYS') return undefined;
      this.why = describeWatchError(code, error instanceof Error ? error.message : String(error));
    }
    const stats = lstatSync(absolute, { throwIfNoEntry: false });
    if (stats?.isDirectory() !== true) {
      watcher?.close();
      return undefined;
    }
    // The watch goes with its directory; that it did is told as an event.
    watcher?.on('error', () => undefined);
    let fileSystem = this.#fileSystems.get(stats.dev);
    if (fileSystem === undefined) {
      fileSystem = fileSystemAt(absolute);
      this.#fileSystems.set(stats.dev, fileSystem);
    }
    const remote = remoteName(fileSystem);
    if (remote !== undefined) this.why = `a file system of type ${remote} tells only of changes made here`;
    this.#forbidden.delete(dir);
    this.#entries.set(dir, { watcher, dev: stats.dev, ino: stats.ino });
    if (watcher === undefined) this.#refused.add(dir);
    else if (remote !== undefined) this.#remote.add(dir);
    if (dir !== '') {
      const parent = parentOf(dir);
      const siblings = this.#children.get(parent);
      if (siblings === undefined) this.#children.set(parent, new Set([baseName(dir)]));
      else siblings.add(baseName(dir));
    }
    return stats;
  }

  /** Closes the watches of a directory and of all below it. */
  closeBelow(start: PathName): void {
    this.#forbidden.delete(start);
    if (!this.#entries.has(start)) return;
    this.#children.get(parentOf(start))?.delete(baseName(start));
    const stack: PathName[] = [start];
    for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
      this.#entries.get(dir)?.watcher?.close();
      this.#entries.delete(dir);
      this.#refused.delete(dir);
      this.#remote.delete(dir);
      const names = this.#children.get(dir);
      if (names === undefined) continue;
      this.#children.delete(dir);
      for (const name of names) stack.push(joinPath(dir, name));
    }
  }

  /** Replaces all watches by those that `open` opens. The old ones are closed after that, so nothing goes unseen between. */
  renewing(open: () => void): void {
    const old = this.#entries;
    this.#entries = new Map();
    this.#children = new Map();
    this.#refused = new Set();
    this.#remote = new Set();
    this.#fileSystems.clear();
    this.#forbidden.clear();
    try {
      open();
    } finally {
      for (const { watcher } of old.values()) watcher?.close();
    }
  }
}
