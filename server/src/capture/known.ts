/**
 * What is known about the files on disk: for each recorded path the stat values that went with its latest version.
 * A file whose values are the same needs no reading.
 *
 * Kept in typed columns with one number (the slot) per path, below a tree of directories, because a hundred thousand
 * objects with a dozen fields each would cost more memory than all the rest of the recorder.
 *
 * Times are the doubles of `fs.Stats` (milliseconds, about 0.25 µs fine for present-day times).
 */
import type { EntryType } from '../core/change.ts';
import type { Identity } from '../core/moves.ts';
import { baseName, encodePath, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import { directoryAt, entriesAt, isWhole, OWN_FIELDS, RECORD_HEAD, type KnownImage } from './known-image.ts';
import { StatColumns, type StatValues } from './stat-columns.ts';
import type { TimeSlice } from './time-slice.ts';

/** What a directory itself was when all names in it were known ones. */
export interface OwnValues {
  readonly dev: number;
  readonly ino: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}

/** A directory that holds recorded paths, directly or further below. */
export class DirNode {
  readonly path: PathName;
  readonly parent: DirNode | undefined;
  /** Its number in the image that the tree was made from; -1: it is not in there, or holds other names now. */
  number: number;
  /** Names found excluded, as of {@link DirNode.ignoredAt}; saves asking the patterns at every scan. */
  ignored: Set<string> | undefined;
  ignoredAt = -1;
  /** See {@link KnownTree.listed}. */
  own: OwnValues | undefined;
  #entries: Map<string, number> | undefined;
  #dirs: Map<string, DirNode> | undefined;
  /** Puts the entries together when they are first asked for. */
  #unpack: (() => Map<string, number>) | undefined;

  constructor(path: PathName, parent: DirNode | undefined, number = -1) {
    this.path = path;
    this.parent = parent;
    this.number = number;
  }

  /** Recorded entries by name: files, symlinks, empty directories. */
  get entries(): Map<string, number> {
    if (this.#entries === undefined) {
      this.#entries = this.#unpack?.() ?? new Map<string, number>();
      this.#unpack = undefined;
    }
    return this.#entries;
  }

  get dirs(): Map<string, DirNode> {
    return (this.#dirs ??= new Map());
  }

  /** Directories in it, without making a list where there is none. */
  get subdirectories(): Iterable<[string, DirNode]> {
    return this.#dirs ?? [];
  }

  /** What a directory of the image is made of. */
  later(number: number, unpack: () => Map<string, number>): void {
    this.number = number;
    this.#unpack = unpack;
  }
}

/**
 * A directory whose own times are younger than this when it is listed may change again without their showing it: the coarsest
 * clocks of file systems go by two seconds. Milliseconds.
 */
const LISTED_MS = 2_500;

export class KnownTree {
  readonly root = new DirNode('', undefined);
  readonly #dirs = new Map<PathName, DirNode>([['', this.root]]);
  #columns: StatColumns;
  #nodes: (DirNode | undefined)[] = [];
  #names: string[] = [];
  #free: number[] = [];
  #count = 0;
  #generation = 0;
  #image: KnownImage | undefined;

  constructor(capacity = 1024) {
    this.#columns = new StatColumns(capacity);
  }

  /** What {@link restored} made this from. Directories have numbers in it. */
  get image(): KnownImage | undefined {
    return this.#image;
  }

  /** The stat values by slot; others take their place when the tree grows. */
  get columns(): StatColumns {
    return this.#columns;
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

  /** How many recorded entries a directory has, and which of them are (empty) directories. */
  entriesOf(node: DirNode): { readonly size: number; readonly directories: PathName[] } {
    const directories: PathName[] = [];
    if (node.number < 0 || this.#image === undefined) {
      for (const [name, slot] of node.entries) {
        if (this.type(slot) === 'directory') directories.push(joinPath(node.path, name));
      }
      return { size: node.entries.size, directories };
    }
    const size = entriesAt(this.#image, node.number);
    const first = this.#image.firsts[node.number] ?? 0;
    for (let slot = first; slot < first + size; slot += 1) {
      if (this.type(slot) === 'directory') directories.push(this.path(slot));
    }
    return { size, directories };
  }

  /** The slot of a path, or `undefined` when it is not recorded. */
  slot(path: PathName): number | undefined {
    return this.#dirs.get(parentOf(path))?.entries.get(baseName(path));
  }

  path(slot: number): PathName {
    if (this.#nodes[slot] === undefined && this.#image !== undefined) this.#unpackDirectoryOf(slot, this.#image);
    return joinPath(this.#nodes[slot]?.path ?? '', this.#names[slot] ?? '');
  }

  type(slot: number): EntryType | undefined {
    return this.#columns.type(slot);
  }

  /** Adds a path (or finds it). Its stat values are unknown until {@link set}. */
  add(path: PathName, type: EntryType): number {
    const node = this.#makeDir(parentOf(path));
    const name = baseName(path);
    let slot = node.entries.get(name);
    if (slot === undefined) {
      slot = this.#free.pop() ?? this.#nodes.length;
      node.number = -1;
      node.entries.set(name, slot);
      this.#nodes[slot] = node;
      this.#names[slot] = name;
      this.#count += 1;
      this.#clear(slot);
    }
    this.#columns.setType(slot, type);
    return slot;
  }

  /** Removes a path. Directories that hold nothing recorded any more are forgotten with it. */
  remove(path: PathName): void {
    const node = this.#dirs.get(parentOf(path));
    const name = baseName(path);
    const slot = node?.entries.get(name);
    if (node === undefined || slot === undefined) return;
    node.entries.delete(name);
    node.number = -1;
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
    this.#generation += 1;
    this.#columns.set(slot, stats, sure);
  }

  /** Marks the stat values of a slot as not to be trusted: the file is read at the next look. */
  doubt(slot: number): void {
    this.#generation += 1;
    this.#columns.doubt(slot);
  }

  /** Forgets the stat values of a slot. */
  forget(slot: number): void {
    this.#generation += 1;
    this.#columns.forget(slot);
  }

  /**
   * Remembers what a directory was before it was listed, when each of its names was a known one: while it stays so, there are no
   * others in it. `undefined`: some were not.
   */
  listed(node: DirNode, stats: StatValues | undefined): void {
    const { own } = node;
    if (stats === undefined || Date.now() - Math.max(stats.ctimeMs, stats.mtimeMs) < LISTED_MS) {
      if (own !== undefined) this.#generation += 1;
      node.own = undefined;
      return;
    }
    const { dev, ino, mtimeMs, ctimeMs } = stats;
    if (own?.ctimeMs === ctimeMs && own.mtimeMs === mtimeMs && own.ino === ino && own.dev === dev) return;
    node.own = { dev, ino, mtimeMs, ctimeMs };
    this.#generation += 1;
  }

  isSure(slot: number): boolean {
    return this.#columns.isSure(slot);
  }

  /** True when the memory can be trusted for ever: the file need not be read once more. */
  isSettled(slot: number): boolean {
    return this.#columns.isSettled(slot);
  }

  /** True when `stats` are those remembered, and the memory can be trusted. */
  matches(slot: number, stats: StatValues): boolean {
    return this.#columns.matches(slot, stats);
  }

  /** True when `stats` are those remembered. */
  sameStat(slot: number, stats: StatValues): boolean {
    return this.#columns.sameStat(slot, stats);
  }

  /** The identity remembered; `undefined` when no stat values are. */
  identity(slot: number): Identity | undefined {
    const type = this.type(slot);
    const stats = this.stats(slot);
    if (type === undefined || stats === undefined) return undefined;
    return {
      type,
      dev: stats.dev,
      ino: stats.ino,
      birth: stats.birthtimeMs,
      mtime: stats.mtimeMs,
      size: stats.size
    };
  }

  /** Remembered stat values; `undefined` when there are none. */
  stats(slot: number): StatValues | undefined {
    return this.#columns.stats(slot);
  }

  /** Slots whose inode is one of `inodes`. */
  slotsOfInodes(inodes: ReadonlySet<number>): number[] {
    return this.#columns.slotsOfInodes(inodes, this.#nodes.length);
  }

  /** Every recorded path at or below `path`. */
  *below(path: PathName): Generator<PathName> {
    if (path !== '' && this.slot(path) !== undefined) yield path;
    const start = this.#dirs.get(path);
    const stack = start === undefined ? [] : [start];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      for (const name of node.entries.keys()) yield joinPath(node.path, name);
      for (const [, child] of node.subdirectories) stack.push(child);
    }
  }

  /**
   * What is known, for {@link restored}: paths in no order, and of each what is sure enough to last.
   *
   * @param slice Lets others run in between; what changes meanwhile may be in it or not.
   */
  async toImage(slice: TimeSlice): Promise<{ readonly count: number; readonly parts: readonly Uint8Array[] }> {
    const order = new Uint32Array(this.#count);
    const nodes = [...this.#dirs.values()];
    const starts = new Uint32Array(nodes.length);
    const own = new Float64Array(nodes.length * OWN_FIELDS).fill(NaN);
    const records: Buffer[] = [];
    let length = 0;
    let count = 0;
    for (const [number, node] of nodes.entries()) {
      if (slice.spent()) await slice.rest();
      const here = [...node.entries].slice(0, order.length - count);
      for (const [, slot] of here) order[count++] = slot;
      const path = encodePath(node.path);
      const list = encodePath(here.map(([name]) => name).join('\0'));
      const below = [...node.subdirectories];
      const dirs = encodePath(below.map(([name]) => name).join('\0'));
      const head = Buffer.alloc(RECORD_HEAD);
      [path.length, here.length, list.length, below.length, dirs.length].forEach((value, i) =>
        head.writeUInt32LE(value, i * 4)
      );
      records.push(head, path, list, dirs);
      starts[number] = length;
      length += head.length + path.length + list.length + dirs.length;
      const { own: was } = node;
      if (was !== undefined) own.set([was.dev, was.ino, was.mtimeMs, was.ctimeMs], number * OWN_FIELDS);
    }
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32LE(nodes.length, 0);
    lengths.writeUInt32LE(length, 4);
    const directories = [new Uint8Array(starts.buffer), new Uint8Array(own.buffer), Buffer.concat(records)];
    return { count, parts: [lengths, ...directories, ...this.#columns.image(order.subarray(0, count))] };
  }

  /**
   * @param count Paths.
   * @param take Answers the next so many bytes.
   * @throws RangeError when they cannot be an image.
   */
  static restored(count: number, take: (bytes: number) => Buffer): KnownTree {
    const lengths = take(8);
    const directories = lengths.readUInt32LE(0);
    const image: KnownImage = {
      count,
      starts: new Uint32Array(shared(take(directories * 4))),
      own: new Float64Array(shared(take(directories * OWN_FIELDS * 8))),
      records: new Uint8Array(shared(take(lengths.readUInt32LE(4)))),
      firsts: new Uint32Array(new SharedArrayBuffer(directories * 4))
    };
    const known = new KnownTree(count + 64);
    known.#columns.restore(count, take);
    known.#over(image);
    return known;
  }

  #over(image: KnownImage): void {
    const nodes: DirNode[] = [];
    let first = 0;
    for (let number = 0; number < image.starts.length; number += 1) {
      const { path, entries } = directoryAt(image, number);
      if (!isWhole(image, number)) throw new RangeError('Names are missing.');
      image.firsts[number] = first;
      first += entries;
      nodes.push(this.#makeDir(path));
    }
    if (first !== image.count || new Set(nodes).size !== nodes.length) throw new RangeError('Paths are missing.');
    this.#nodes.length = this.#names.length = this.#count = first;
    this.#image = image;
    for (const [number, node] of nodes.entries()) {
      const [dev = NaN, ino = NaN, mtimeMs = NaN, ctimeMs = NaN] = image.own.subarray(number * OWN_FIELDS);
      if (!Number.isNaN(ino)) node.own = { dev, ino, mtimeMs, ctimeMs };
      node.later(number, () => this.#unpackDirectory(node, image, number));
    }
  }

  /** Puts the names of the directory together that a slot of the image is in. */
  #unpackDirectoryOf(slot: number, image: KnownImage): void {
    if (slot >= image.count) return;
    // The last directory that begins at or before it; those behind it that begin there too are empty.
    let low = 0;
    for (let high = image.firsts.length; high - low > 1;) {
      const middle = (low + high) >> 1;
      if ((image.firsts[middle] ?? 0) <= slot) low = middle;
      else high = middle;
    }
    void this.#dirs.get(directoryAt(image, low).path)?.entries;
  }

  #unpackDirectory(node: DirNode, image: KnownImage, number: number): Map<string, number> {
    const entries = new Map<string, number>();
    let slot = image.firsts[number] ?? 0;
    for (const name of directoryAt(image, number).names()) {
      entries.set(name, slot);
      this.#nodes[slot] = node;
      this.#names[slot] = name;
      slot += 1;
    }
    return entries;
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
      const child: DirNode = new DirNode(dir, node);
      node.dirs.set(baseName(dir), child);
      node.number = -1;
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
      n.parent.number = -1;
      this.#dirs.delete(n.path);
    }
  }

  #clear(slot: number): void {
    this.#generation += 1;
    this.#columns.clear(slot);
  }
}

/** A copy that threads can read too. */
function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}
