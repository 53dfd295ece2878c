/**
 * A look at directories of which everything is known: is each still as it was? That needs nothing but shared memory, so any number
 * of threads do it side by side and tell nothing but a byte a directory. Whatever is not exactly as known is left to the scan,
 * which says what it is.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { isEscaped } from '../core/path-name.ts';
import { directoryAt, entriesAt, OWN_FIELDS, type ImagedDirectory, type KnownImage } from './known-image.ts';
import { StatColumns, type SharedColumns } from './stat-columns.ts';

/** What the threads share. */
export interface SharedLook {
  /** Absolute. */
  readonly root: string;
  readonly image: KnownImage;
  readonly columns: SharedColumns;
  /**
   * On this device a directory whose own times are as they were has the names that it had, and is not listed. NaN: on none.
   */
  readonly timedDevice: number;
  /** Directories with more entries are taken one by one, and not by every thread. */
  readonly large: number;
  /** The next directory that nobody has taken; of the large ones, the next that nobody has searched for. */
  readonly next: Int32Array<SharedArrayBuffer>;
  /** By directory: 1 once it was found to be as known. */
  readonly found: Uint8Array<SharedArrayBuffer>;
}

const NEXT = 0;
const NEXT_LARGE = 1;
/** Directories taken at a time. */
const PORTION = 16;
const IF_THERE = { throwIfNoEntry: false } as const;

export class Looker {
  readonly #shared: SharedLook;
  readonly #columns: StatColumns;
  readonly #prefix: string;

  constructor(shared: SharedLook) {
    this.#shared = shared;
    this.#columns = new StatColumns(shared.columns);
    this.#prefix = shared.root === '/' ? '/' : `${shared.root}/`;
  }

  /** Takes some directories that nobody has looked at, none of them large, and looks. False: none was left. */
  lookAtSome(): boolean {
    const { next, image, large } = this.#shared;
    const from = Atomics.add(next, NEXT, PORTION);
    for (let number = from; number < Math.min(from + PORTION, this.#count); number += 1) {
      const directory = directoryAt(image, number);
      if (directory.entries <= large) this.#look(number, directory);
    }
    return from < this.#count;
  }

  /** Takes a large directory, and looks. False: none was left. */
  lookAtLarge(): boolean {
    const { next, image, large } = this.#shared;
    for (;;) {
      const number = Atomics.add(next, NEXT_LARGE, 1);
      if (number >= this.#count) return false;
      if (entriesAt(image, number) <= large) continue;
      this.#look(number, directoryAt(image, number));
      return true;
    }
  }

  get #count(): number {
    return this.#shared.image.starts.length;
  }

  #look(number: number, directory: ImagedDirectory): void {
    if (this.#isAsKnown(number, directory)) Atomics.store(this.#shared.found, number, 1);
  }

  #isAsKnown(number: number, directory: ImagedDirectory): boolean {
    const names = directory.names();
    const { path } = directory;
    // Names that are not UTF-8 are the scan's.
    if (isEscaped(path) || (names.length > 0 && isEscaped(names.join('')))) return false;
    const absolute = path === '' ? this.#shared.root : this.#prefix + path;
    try {
      if (!this.#hasNames(absolute, number, directory, names)) return false;
      let slot = this.#shared.image.firsts[number] ?? 0;
      for (const name of names) {
        const stats = lstatSync(`${absolute}/${name}`, IF_THERE);
        if (stats === undefined || !this.#columns.matches(slot, stats)) return false;
        slot += 1;
      }
      return true;
    } catch {
      // The scan meets it too, and says what it is.
      return false;
    }
  }

  /** Whether it is a directory that has the names known, and no others. */
  #hasNames(absolute: string, number: number, directory: ImagedDirectory, names: readonly string[]): boolean {
    const stats = lstatSync(absolute, IF_THERE);
    if (stats?.isDirectory() !== true) return false;
    const { timedDevice, image } = this.#shared;
    const at = number * OWN_FIELDS;
    const { own } = image;
    if (
      stats.dev === timedDevice &&
      stats.dev === own[at] &&
      stats.ino === own[at + 1] &&
      stats.mtimeMs === own[at + 2] &&
      stats.ctimeMs === own[at + 3]
    ) {
      return true;
    }
    const directories = directory.directories();
    const listed = new Set(readdirSync(absolute));
    return (
      listed.size === names.length + directories.length &&
      names.every(name => listed.has(name)) &&
      directories.every(name => listed.has(name))
    );
  }
}
