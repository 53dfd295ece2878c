/**
 * What is known about the files on disk: for each recorded path the stat values that went with its latest version.
 * A file whose values are the same needs no reading.
 *
 * Kept in typed columns with one number (the slot) per path, below a tree of directories, because a hundred thousand
 * objects with a dozen fields each would cost more memory than all the rest of the recorder.
 *
 * Times are the doubles of `fs.Stats` (milliseconds, about 0.25 µs fine for present-day times).
 */
import type { Stats } from 'node:fs';
import type { EntryType } from '../core/change.ts';
import type { Identity } from '../core/moves.ts';
import { baseName, decodePath, encodePath, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import type { TimeSlice } from './time-slice.ts';

/** A directory that holds recorded paths, directly or further below. */
export interface DirNode {
  readonly path: PathName;
  readonly parent: DirNode | undefined;
  /** Recorded entries by name: files, symlinks, empty directories. */
  readonly entries: Map<string, number>;
  readonly dirs: Map<string, DirNode>;
  /** Names found excluded, as of {@link DirNode.ignoredAt}; saves asking the patterns at every scan. */
  ignored: Set<string> | undefined;
  ignoredAt: number;
}

/** The stat values that matter, copied out of `fs.Stats`. */
export interface StatValues {
  readonly dev: number;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;
  readonly mode: number;
}

export function statValues(stats: Stats): StatValues {
  const { dev, ino, size, mtimeMs, ctimeMs, birthtimeMs, mode } = stats;
  return { dev, ino, size, mtimeMs, ctimeMs, birthtimeMs, mode };
}

/** The change model's word for what `stats` describes; `undefined` for FIFOs, sockets and devices. */
export function entryType(mode: number): EntryType | undefined {
  switch (mode & 0o170000) {
    case 0o100000:
      return 'file';
    case 0o120000:
      return 'symlink';
    case 0o040000:
      return 'directory';
    default:
      return undefined;
  }
}

/** Birth time as identity: 0 where it is missing or only a copy of the change time. */
export function birthOf(stats: { readonly birthtimeMs: number; readonly ctimeMs: number }): number {
  return stats.birthtimeMs > 0 ? stats.birthtimeMs : 0;
}

const TYPES: readonly (EntryType | undefined)[] = [undefined, 'file', 'symlink', 'directory'];

// Bits of the flag column.
const SURE = 1;
const YOUNG = 2;

/**
 * A file that is written through a memory map gets its times at the first touch of each page; until the kernel has written
 * that page out (30 seconds and what it takes), further touches leave no trace at all. What was read earlier than this after
 * its last change is therefore read once more later. Milliseconds.
 */
const MAPPED_MS = 40_000;

const COLUMNS = ['dev', 'ino', 'size', 'mtime', 'ctime', 'birth'] as const;
type Column = (typeof COLUMNS)[number];

export class KnownTree {
  readonly root: DirNode = newNode('', undefined);
  readonly #dirs = new Map<PathName, DirNode>([['', this.root]]);
  #columns: Record<Column, Float64Array>;
  #mode: Uint16Array;
  #type: Uint8Array;
  #flags: Uint8Array;
  #nodes: (DirNode | undefined)[] = [];
  #names: string[] = [];
  #free: number[] = [];
  #count = 0;
  #generation = 0;

  constructor(capacity = 1024) {
    this.#columns = newColumns(capacity);
    this.#mode = new Uint16Array(capacity);
    this.#type = new Uint8Array(capacity);
    this.#flags = new Uint8Array(capacity);
  }

  /** Recorded paths. */
  get size(): number {
    return this.#count;
  }

  /** Another number after each change. */
  get generation(): number {
    return this.#generation;
  }

  dir(path: PathName): DirNode | undefined {
    return this.#dirs.get(path);
  }

  /** The slot of a path, or `undefined` when it is not recorded. */
  slot(path: PathName): number | undefined {
    return this.#dirs.get(parentOf(path))?.entries.get(baseName(path));
  }

  path(slot: number): PathName {
    return joinPath(this.#nodes[slot]?.path ?? '', this.#names[slot] ?? '');
  }

  type(slot: number): EntryType | undefined {
    return TYPES[this.#type[slot] ?? 0];
  }

  /** Adds a path (or finds it). Its stat values are unknown until {@link set}. */
  add(path: PathName, type: EntryType): number {
    const node = this.#makeDir(parentOf(path));
    const name = baseName(path);
    let slot = node.entries.get(name);
    if (slot === undefined) {
      slot = this.#free.pop() ?? this.#nodes.length;
      if (slot >= this.#type.length) this.#grow();
      node.entries.set(name, slot);
      this.#nodes[slot] = node;
      this.#names[slot] = name;
      this.#count += 1;
      this.#clear(slot);
    }
    this.#type[slot] = TYPES.indexOf(type);
    return slot;
  }

  /** Removes a path. Directories that hold nothing recorded any more are forgotten with it. */
  remove(path: PathName): void {
    const node = this.#dirs.get(parentOf(path));
    const name = baseName(path);
    const slot = node?.entries.get(name);
    if (node === undefined || slot === undefined) return;
    node.entries.delete(name);
    this.#nodes[slot] = undefined;
    this.#names[slot] = '';
    this.#clear(slot);
    this.#free.push(slot);
    this.#count -= 1;
    this.#prune(node);
  }

  /**
   * Remembers stat values.
   *
   * @param sure False when the file may have changed since without its times showing it: it is read again next time.
   */
  set(slot: number, stats: StatValues, sure: boolean): void {
    this.#columns.dev[slot] = stats.dev;
    this.#columns.ino[slot] = stats.ino;
    this.#columns.size[slot] = stats.size;
    this.#columns.mtime[slot] = stats.mtimeMs;
    this.#columns.ctime[slot] = stats.ctimeMs;
    this.#columns.birth[slot] = birthOf(stats);
    this.#mode[slot] = stats.mode & 0o7777;
    this.#generation += 1;
    const young = entryType(stats.mode) === 'file' && Date.now() - stats.ctimeMs < MAPPED_MS;
    this.#flags[slot] = sure ? SURE | (young ? YOUNG : 0) : 0;
  }

  /** Marks the stat values of a slot as not to be trusted: the file is read at the next look. */
  doubt(slot: number): void {
    this.#generation += 1;
    this.#flags[slot] = 0;
  }

  /** Forgets the stat values of a slot. */
  forget(slot: number): void {
    this.#generation += 1;
    for (const column of COLUMNS) this.#columns[column][slot] = NaN;
    this.#flags[slot] = 0;
  }

  isSure(slot: number): boolean {
    return ((this.#flags[slot] ?? 0) & SURE) !== 0;
  }

  /** True when the memory can be trusted for ever: the file need not be read once more. */
  isSettled(slot: number): boolean {
    return this.#flags[slot] === SURE;
  }

  /** True when `stats` are those remembered, and the memory can be trusted. */
  matches(slot: number, stats: StatValues): boolean {
    const flags = this.#flags[slot] ?? 0;
    if ((flags & SURE) === 0 || !this.sameStat(slot, stats)) return false;
    return (flags & YOUNG) === 0 || Date.now() - stats.ctimeMs < MAPPED_MS;
  }

  /** True when `stats` are those remembered. */
  sameStat(slot: number, stats: StatValues): boolean {
    const c = this.#columns;
    return (
      c.mtime[slot] === stats.mtimeMs &&
      c.ctime[slot] === stats.ctimeMs &&
      c.size[slot] === stats.size &&
      c.ino[slot] === stats.ino &&
      c.dev[slot] === stats.dev &&
      this.#mode[slot] === (stats.mode & 0o7777) &&
      TYPES[this.#type[slot] ?? 0] === entryType(stats.mode)
    );
  }

  /** The identity remembered; `undefined` when no stat values are. */
  identity(slot: number): Identity | undefined {
    const c = this.#columns;
    const type = TYPES[this.#type[slot] ?? 0];
    const ino = c.ino[slot] ?? NaN;
    if (type === undefined || Number.isNaN(ino)) return undefined;
    return {
      type,
      dev: c.dev[slot] ?? 0,
      ino,
      birth: c.birth[slot] ?? 0,
      mtime: c.mtime[slot] ?? 0,
      size: c.size[slot] ?? 0
    };
  }

  /** Remembered stat values; `undefined` when there are none. */
  stats(slot: number): StatValues | undefined {
    const c = this.#columns;
    const ino = c.ino[slot] ?? NaN;
    if (Number.isNaN(ino)) return undefined;
    return {
      dev: c.dev[slot] ?? 0,
      ino,
      size: c.size[slot] ?? 0,
      mtimeMs: c.mtime[slot] ?? 0,
      ctimeMs: c.ctime[slot] ?? 0,
      birthtimeMs: c.birth[slot] ?? 0,
      mode: this.#mode[slot] ?? 0
    };
  }

  /** Slots whose inode is one of `inodes`. */
  slotsOfInodes(inodes: ReadonlySet<number>): number[] {
    const found: number[] = [];
    const ino = this.#columns.ino;
    // Every batch of a first pass comes through here: the last bits tell most slots apart before the set is asked.
    const maybe = new Uint8Array(0x10000);
    for (const inode of inodes) maybe[inode & 0xffff] = 1;
    for (let slot = 0; slot < this.#nodes.length; slot += 1) {
      const inode = ino[slot] ?? NaN;
      if (maybe[inode & 0xffff] === 1 && inodes.has(inode)) found.push(slot);
    }
    return found;
  }

  /** Every recorded path at or below `path`. */
  *below(path: PathName): Generator<PathName> {
    if (path !== '' && this.slot(path) !== undefined) yield path;
    const start = this.#dirs.get(path);
    const stack = start === undefined ? [] : [start];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      for (const name of node.entries.keys()) yield joinPath(node.path, name);
      stack.push(...node.dirs.values());
    }
  }

  /**
   * What is known, for {@link restored}: paths in no order, and of each what is sure enough to last.
   *
   * @param slice Lets others run in between; what changes meanwhile may be in it or not.
   */
  async image(slice: TimeSlice): Promise<{ readonly count: number; readonly parts: readonly Uint8Array[] }> {
    const order = new Uint32Array(this.#count);
    const names: Buffer[] = [];
    let count = 0;
    for (const node of [...this.#dirs.values()]) {
      if (slice.spent()) await slice.rest();
      if (node.entries.size === 0) continue;
      const here = [...node.entries].slice(0, order.length - count);
      for (const [, slot] of here) order[count++] = slot;
      const path = encodePath(node.path);
      const list = encodePath(here.map(([name]) => name).join('\0'));
      const head = Buffer.alloc(12);
      head.writeUInt32LE(path.length, 0);
      head.writeUInt32LE(here.length, 4);
      head.writeUInt32LE(list.length, 8);
      names.push(head, path, list);
    }
    const slots = order.subarray(0, count);
    const columns = COLUMNS.map(column => {
      const values = this.#columns[column];
      return new Uint8Array(Float64Array.from(slots, slot => values[slot] ?? NaN).buffer);
    });
    const mode = new Uint8Array(Uint16Array.from(slots, slot => this.#mode[slot] ?? 0).buffer);
    const type = Uint8Array.from(slots, slot => this.#type[slot] ?? 0);
    const flags = Uint8Array.from(slots, slot => (this.isSettled(slot) ? SURE : 0));
    const directories = Buffer.concat(names);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(directories.length);
    return { count, parts: [length, directories, ...columns, mode, type, flags] };
  }

  /**
   * @param count Paths.
   * @param take Answers the next so many bytes.
   * @throws RangeError when they cannot be an image.
   */
  static restored(count: number, take: (bytes: number) => Buffer): KnownTree {
    const known = new KnownTree(count + 64);
    const directories = take(take(4).readUInt32LE());
    for (let at = 0; at < directories.length;) {
      const pathLength = directories.readUInt32LE(at);
      const entries = directories.readUInt32LE(at + 4);
      const listLength = directories.readUInt32LE(at + 8);
      at += 12;
      const node = known.#makeDir(decodePath(directories.subarray(at, at + pathLength)));
      at += pathLength;
      const names = decodePath(directories.subarray(at, at + listLength)).split('\0');
      at += listLength;
      if (names.length !== entries) throw new RangeError('Names are missing.');
      for (const name of names) {
        node.entries.set(name, known.#nodes.length);
        known.#nodes.push(node);
        known.#names.push(name);
      }
    }
    if (known.#nodes.length !== count) throw new RangeError('Paths are missing.');
    known.#count = count;
    for (const column of COLUMNS) {
      const bytes = take(count * 8);
      new Uint8Array(known.#columns[column].buffer).set(bytes);
    }
    new Uint8Array(known.#mode.buffer).set(take(count * 2));
    known.#type.set(take(count));
    known.#flags.set(take(count));
    return known;
  }

  #makeDir(path: PathName): DirNode {
    let node = this.#dirs.get(path);
    if (node !== undefined) return node;
    // From the nearest known directory downwards; a loop, since trees can be deeper than the stack.
    const missing: PathName[] = [];
    let at = path;
    for (; node === undefined; at = parentOf(at)) {
      node = this.#dirs.get(at);
      if (node !== undefined) break;
      missing.push(at);
    }
    for (const dir of missing.reverse()) {
      const child: DirNode = newNode(dir, node);
      node.dirs.set(baseName(dir), child);
      this.#dirs.set(dir, child);
      node = child;
    }
    return node;
  }

  #prune(node: DirNode): void {
    for (
      let n: DirNode | undefined = node;
      n?.parent !== undefined && n.entries.size === 0 && n.dirs.size === 0;
      n = n.parent
    ) {
      n.parent.dirs.delete(baseName(n.path));
      this.#dirs.delete(n.path);
    }
  }

  #clear(slot: number): void {
    this.#generation += 1;
    for (const column of COLUMNS) this.#columns[column][slot] = NaN;
    this.#mode[slot] = 0;
    this.#type[slot] = 0;
    this.#flags[slot] = 0;
  }

  #grow(): void {
    const capacity = Math.ceil(this.#type.length * 1.5);
    const columns = newColumns(capacity);
    for (const column of COLUMNS) columns[column].set(this.#columns[column]);
    this.#columns = columns;
    const mode = new Uint16Array(capacity);
    mode.set(this.#mode);
    this.#mode = mode;
    const type = new Uint8Array(capacity);
    type.set(this.#type);
    this.#type = type;
    const flags = new Uint8Array(capacity);
    flags.set(this.#flags);
    this.#flags = flags;
  }
}

function newColumns(capacity: number): Record<Column, Float64Array> {
  const column = (): Float64Array => new Float64Array(capacity).fill(NaN);
  return { dev: column(), ino: column(), size: column(), mtime: column(), ctime: column(), birth: column() };
}

function newNode(path: PathName, parent: DirNode | undefined): DirNode {
  return { path, parent, entries: new Map(), dirs: new Map(), ignored: undefined, ignoredAt: -1 };
}
