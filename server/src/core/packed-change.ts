/**
 * A change as a short row of bytes, for holding very many of them. For memory and for derived files only; what the log
 * holds is {@link encodeRecord}.
 *
 * Row: flags (u8: kind, type), flags (u8: which optional members follow), bits of `flags` (u8), device number (u16), seq
 * (f64), at (f64), then as present: hlc, size, hash, previous hash, mode, mtime, from, content, cause; the path comes first
 * of all, after its length (u32), so that rows can be found by the bytes of their path. Little endian.
 */
import type { Cause, Change, ChangeFlag, ChangeKind, ContentRef, EntryType } from './change.ts';
import { decodePath, encodePath, type PathName } from './path-name.ts';

const KINDS: readonly ChangeKind[] = ['created', 'modified', 'deleted', 'moved'];
const TYPES: readonly EntryType[] = ['file', 'symlink', 'directory'];
const FLAGS: readonly ChangeFlag[] = ['torn', 'no-content', 'unreadable'];

const NO_FLAGS: readonly ChangeFlag[] = Object.freeze([]);

const HLC = 1;
const SIZE = 2;
const HASH = 4;
const PREVIOUS = 8;
const MODE = 16;
const MTIME = 32;
const FROM = 64;
const CAUSE = 128;

const NO_CONTENT = 0;
/** One chunk, named by the hash. */
const PLAIN = 1;
const CHUNKS = 2;
const LIST = 3;

/** Fixed part of a row behind its path: kind and type and kind of content, members, flags, device, seq, at. */
const FIXED = 1 + 1 + 1 + 2 + 8 + 8;
const HASH_BYTES = 32;

/** Numbers the devices of packed changes, whose names would be most of a row. */
export class DeviceNumbers {
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  name(number: number): string {
    const name = this.#names[number];
    if (name === undefined) throw new RangeError(`No device has the number ${number}.`);
    return name;
  }

  /** In the order of their numbers. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** The number of a device, if it has one. */
  find(name: string): number | undefined {
    return this.#numbers.get(name);
  }

  /** The number of a device, which is given one when it has none. */
  number(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#names.length;
      this.#names.push(name);
      this.#numbers.set(name, number);
    }
    return number;
  }
}

let scratch = Buffer.alloc(4096);
/** The same bytes: numbers are written by it in a few instructions. */
let view = new DataView(scratch.buffer, scratch.byteOffset, scratch.length);

function room(at: number, bytes: number): void {
  if (at + bytes <= scratch.length) return;
  const larger = Buffer.alloc(Math.max(scratch.length * 2, at + bytes));
  scratch.copy(larger, 0, 0, at);
  scratch = larger;
  view = new DataView(scratch.buffer, scratch.byteOffset, scratch.length);
}

function putBytes(at: number, bytes: Uint8Array): number {
  room(at, 4 + bytes.length);
  view.setUint32(at, bytes.length, true);
  scratch.set(bytes, at + 4);
  return at + 4 + bytes.length;
}

function putHash(at: number, hex: string): number {
  room(at, HASH_BYTES);
  scratch.write(hex, at, HASH_BYTES, 'hex');
  return at + HASH_BYTES;
}

function putNumber(at: number, value: number): number {
  room(at, 8);
  view.setFloat64(at, value, true);
  return at + 8;
}

function contentKind(content: ContentRef | undefined, hash: string | undefined): number {
  if (content === undefined) return NO_CONTENT;
  if (!('chunks' in content)) return LIST;
  return content.chunks.length === 1 && content.chunks[0] === hash ? PLAIN : CHUNKS;
}

/**
 * Packs a change.
 *
 * @returns The row; valid until the next call.
 */
export function packChange(change: Change, devices: DeviceNumbers, path: Uint8Array = encodePath(change.path)): Buffer {
  const kindOfContent = contentKind(change.content, change.hash);
  let at = putBytes(0, path);
  room(at, FIXED);
  scratch[at] = KINDS.indexOf(change.kind) | (TYPES.indexOf(change.type) << 2) | (kindOfContent << 4);
  scratch[at + 1] =
    (change.hlc === change.at ? 0 : HLC) |
    (change.size === undefined ? 0 : SIZE) |
    (change.hash === undefined ? 0 : HASH) |
    (change.previousHash === undefined ? 0 : PREVIOUS) |
    (change.mode === undefined ? 0 : MODE) |
    (change.mtime === undefined ? 0 : MTIME) |
    (change.from === undefined ? 0 : FROM) |
    (change.cause === undefined ? 0 : CAUSE);
  let bits = 0;
  for (const flag of change.flags) bits |= 1 << FLAGS.indexOf(flag);
  scratch[at + 2] = bits;
  view.setUint16(at + 3, devices.number(change.device), true);
  at = putNumber(putNumber(at + 5, change.seq), change.at);
  if (change.hlc !== change.at) at = putNumber(at, change.hlc);
  if (change.size !== undefined) at = putNumber(at, change.size);
  if (change.hash !== undefined) at = putHash(at, change.hash);
  if (change.previousHash !== undefined) at = putHash(at, change.previousHash);
  if (change.mode !== undefined) {
    room(at, 2);
    view.setUint16(at, change.mode, true);
    at += 2;
  }
  if (change.mtime !== undefined) at = putNumber(at, change.mtime);
  if (change.from !== undefined) at = putBytes(at, encodePath(change.from));
  if (change.content !== undefined && kindOfContent !== PLAIN) {
    room(at, 4);
    if ('chunks' in change.content) {
      at = scratch.writeUInt32LE(change.content.chunks.length, at);
      for (const id of change.content.chunks) at = putHash(at, id);
    } else {
      at = putHash(putNumber(at, change.content.count), change.content.list);
    }
  }
  if (change.cause !== undefined) at = putBytes(at, Buffer.from(JSON.stringify(change.cause)));
  return scratch.subarray(0, at);
}

/** The path of the row that begins at `at`, as bytes. */
export function packedPath(rows: Buffer, at: number): Buffer {
  return rows.subarray(at + 4, at + 4 + rows.readUInt32LE(at));
}

/** The type of what the row that begins at `at` describes. */
export function packedType(rows: Buffer, at: number): EntryType {
  return TYPES[((rows[at + 4 + rows.readUInt32LE(at)] ?? 0) >> 2) & 3] as EntryType;
}

/** Which version a change is, in short. */
export interface VersionMark {
  readonly device: string;
  readonly seq: number;
  /** First four bytes of the hash, big endian; 0 without one. */
  readonly hashPrefix: number;
}

/** The mark of the row that begins at `at`. */
export function packedMark(rows: Buffer, at: number, devices: DeviceNumbers): VersionMark {
  const fixed = at + 4 + rows.readUInt32LE(at);
  const members = rows[fixed + 1] ?? 0;
  const hashAt = fixed + FIXED + ((members & HLC) === 0 ? 0 : 8) + ((members & SIZE) === 0 ? 0 : 8);
  return {
    device: devices.name(rows.readUInt16LE(fixed + 3)),
    seq: rows.readDoubleLE(fixed + 5),
    hashPrefix: (members & HASH) === 0 ? 0 : rows.readUInt32BE(hashAt)
  };
}

/** True when the row that begins at `at` is that version. */
export function isPackedVersion(rows: Buffer, at: number, device: number, seq: number): boolean {
  const fixed = at + 4 + rows.readUInt32LE(at);
  return rows.readDoubleLE(fixed + 5) === seq && rows.readUInt16LE(fixed + 3) === device;
}

/** Reads the row that begins at `at`. Inverse of {@link packChange}. */
export function unpackChange(rows: Buffer, at: number, devices: DeviceNumbers, known?: PathName): Change {
  const bytes = (): Buffer => {
    const length = rows.readUInt32LE(at);
    at += 4 + length;
    return rows.subarray(at - length, at);
  };
  const number = (): number => {
    at += 8;
    return rows.readDoubleLE(at - 8);
  };
  const hash = (): string => {
    at += HASH_BYTES;
    return rows.toString('hex', at - HASH_BYTES, at);
  };
  const pathBytes = bytes();
  const what = rows[at] ?? 0;
  const members = rows[at + 1] ?? 0;
  const flagBits = rows[at + 2] ?? 0;
  const device = devices.name(rows.readUInt16LE(at + 3));
  at += 5;
  const seq = number();
  const time = number();
  const change: { -readonly [K in keyof Change]: Change[K] } = {
    device,
    seq,
    kind: KINDS[what & 3] as ChangeKind,
    path: known ?? decodePath(pathBytes),
    at: time,
    hlc: (members & HLC) === 0 ? time : number(),
    type: TYPES[(what >> 2) & 3] as EntryType,
    flags: flagBits === 0 ? NO_FLAGS : FLAGS.filter((_, i) => (flagBits & (1 << i)) !== 0)
  };
  if ((members & SIZE) !== 0) change.size = number();
  if ((members & HASH) !== 0) change.hash = hash();
  if ((members & PREVIOUS) !== 0) change.previousHash = hash();
  if ((members & MODE) !== 0) {
    change.mode = rows.readUInt16LE(at);
    at += 2;
  }
  if ((members & MTIME) !== 0) change.mtime = number();
  if ((members & FROM) !== 0) change.from = decodePath(bytes());
  const kindOfContent = what >> 4;
  if (kindOfContent === PLAIN) change.content = { chunks: [change.hash as string] };
  else if (kindOfContent === CHUNKS) {
    const count = rows.readUInt32LE(at);
    at += 4;
    change.content = { chunks: Array.from({ length: count }, hash) };
  } else if (kindOfContent === LIST) {
    const count = number();
    change.content = { list: hash(), count };
  }
  if ((members & CAUSE) !== 0) change.cause = JSON.parse(bytes().toString()) as Cause;
  return change;
}
