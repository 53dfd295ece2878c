/** The stat values that are remembered, in columns that threads can share: one place in each for every recorded path (its slot). */
import type { Stats } from 'node:fs';
import type { EntryType } from '../core/change.ts';

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

/** What a thread is sent of the columns. */
export interface SharedColumns {
  readonly values: Readonly<Record<Column, Float64Array<SharedArrayBuffer>>>;
  readonly mode: Uint16Array<SharedArrayBuffer>;
  readonly type: Uint8Array<SharedArrayBuffer>;
  readonly flags: Uint8Array<SharedArrayBuffer>;
}

export class StatColumns {
  #c: SharedColumns;

  /** @param over How many there is room for, or the columns of another thread. */
  constructor(over: number | SharedColumns) {
    this.#c = typeof over === 'number' ? newColumns(over) : over;
  }

  get shared(): SharedColumns {
    return this.#c;
  }

  type(slot: number): EntryType | undefined {
    return TYPES[this.#c.type[slot] ?? 0];
  }

  setType(slot: number, type: EntryType): void {
    this.#c.type[slot] = TYPES.indexOf(type);
  }

  /**
   * Remembers stat values.
   *
   * @param sure False when the file may have changed since without its times showing it: it is read again next time.
   */
  set(slot: number, stats: StatValues, sure: boolean): void {
    const { values, mode, flags } = this.#c;
    values.dev[slot] = stats.dev;
    values.ino[slot] = stats.ino;
    values.size[slot] = stats.size;
    values.mtime[slot] = stats.mtimeMs;
    values.ctime[slot] = stats.ctimeMs;
    values.birth[slot] = birthOf(stats);
    mode[slot] = stats.mode & 0o7777;
    const young = entryType(stats.mode) === 'file' && Date.now() - stats.ctimeMs < MAPPED_MS;
    flags[slot] = sure ? SURE | (young ? YOUNG : 0) : 0;
  }

  /** Marks the stat values of a slot as not to be trusted. */
  doubt(slot: number): void {
    this.#c.flags[slot] = 0;
  }

  /** Forgets the stat values of a slot. */
  forget(slot: number): void {
    for (const column of COLUMNS) this.#c.values[column][slot] = NaN;
    this.#c.flags[slot] = 0;
  }

  /** Forgets all of a slot, and makes room for it. */
  clear(slot: number): void {
    if (slot >= this.#c.type.length) this.#grow();
    this.forget(slot);
    this.#c.mode[slot] = 0;
    this.#c.type[slot] = 0;
  }

  isSure(slot: number): boolean {
    return ((this.#c.flags[slot] ?? 0) & SURE) !== 0;
  }

  /** True when the memory can be trusted for ever: the file need not be read once more. */
  isSettled(slot: number): boolean {
    return this.#c.flags[slot] === SURE;
  }

  /** True when `stats` are those remembered, and the memory can be trusted. */
  matches(slot: number, stats: StatValues): boolean {
    const flags = this.#c.flags[slot] ?? 0;
    if ((flags & SURE) === 0 || !this.sameStat(slot, stats)) return false;
    return (flags & YOUNG) === 0 || Date.now() - stats.ctimeMs < MAPPED_MS;
  }

  /** True when `stats` are those remembered. */
  sameStat(slot: number, stats: StatValues): boolean {
    const { values, mode, type } = this.#c;
    return (
      values.mtime[slot] === stats.mtimeMs &&
      values.ctime[slot] === stats.ctimeMs &&
      values.size[slot] === stats.size &&
      values.ino[slot] === stats.ino &&
      values.dev[slot] === stats.dev &&
      mode[slot] === (stats.mode & 0o7777) &&
      TYPES[type[slot] ?? 0] === entryType(stats.mode)
    );
  }

  /** Remembered stat values; `undefined` when there are none. */
  stats(slot: number): StatValues | undefined {
    const { values, mode } = this.#c;
    const ino = values.ino[slot] ?? NaN;
    if (Number.isNaN(ino)) return undefined;
    return {
      dev: values.dev[slot] ?? 0,
      ino,
      size: values.size[slot] ?? 0,
      mtimeMs: values.mtime[slot] ?? 0,
      ctimeMs: values.ctime[slot] ?? 0,
      birthtimeMs: values.birth[slot] ?? 0,
      mode: mode[slot] ?? 0
    };
  }

  /** Slots below `end` whose inode is one of `inodes`. */
  slotsOfInodes(inodes: ReadonlySet<number>, end: number): number[] {
    const found: number[] = [];
    const { ino } = this.#c.values;
    // Every batch of a first pass comes through here: the last bits tell most slots apart before the set is asked.
    const maybe = new Uint8Array(0x10000);
    for (const inode of inodes) maybe[inode & 0xffff] = 1;
    for (let slot = 0; slot < end; slot += 1) {
      const inode = ino[slot] ?? NaN;
      if (maybe[inode & 0xffff] === 1 && inodes.has(inode)) found.push(slot);
    }
    return found;
  }

  /** What is sure enough to last of some slots, for {@link restore}. */
  image(slots: Uint32Array): Uint8Array[] {
    const { values, mode, type } = this.#c;
    const count = slots.length;
    // Loops: with a function for each value this takes as long as all else that a checkpoint needs.
    const columns = COLUMNS.map(column => {
      const from = values[column];
      const picked = new Float64Array(count);
      for (let i = 0; i < count; i += 1) picked[i] = from[slots[i] as number] ?? NaN;
      return new Uint8Array(picked.buffer);
    });
    const modes = new Uint16Array(count);
    const types = new Uint8Array(count);
    const flags = new Uint8Array(count);
    for (let i = 0; i < count; i += 1) {
      const slot = slots[i] as number;
      modes[i] = mode[slot] ?? 0;
      types[i] = type[slot] ?? 0;
      flags[i] = this.isSettled(slot) ? SURE : 0;
    }
    return [...columns, new Uint8Array(modes.buffer), types, flags];
  }

  /** Fills the first slots from an image, which `take` answers piece by piece. */
  restore(count: number, take: (bytes: number) => Uint8Array): void {
    const { values, mode, type, flags } = this.#c;
    for (const column of COLUMNS) new Uint8Array(values[column].buffer).set(take(count * 8));
    new Uint8Array(mode.buffer).set(take(count * 2));
    type.set(take(count));
    flags.set(take(count));
  }

  #grow(): void {
    const old = this.#c;
    const wider = newColumns(Math.ceil(old.type.length * 1.5) + 1);
    for (const column of COLUMNS) wider.values[column].set(old.values[column]);
    wider.mode.set(old.mode);
    wider.type.set(old.type);
    wider.flags.set(old.flags);
    this.#c = wider;
  }
}

function newColumns(capacity: number): SharedColumns {
  const column = (): Float64Array<SharedArrayBuffer> => new Float64Array(new SharedArrayBuffer(capacity * 8)).fill(NaN);
  return {
    values: { dev: column(), ino: column(), size: column(), mtime: column(), ctime: column(), birth: column() },
    mode: new Uint16Array(new SharedArrayBuffer(capacity * 2)),
    type: new Uint8Array(new SharedArrayBuffer(capacity)),
    flags: new Uint8Array(new SharedArrayBuffer(capacity))
  };
}
