/**
 * The records of many changes as the bytes a frame holds: the lines of {@link encodeRecord}, written without making them. A first
 * capture and every batch come through here, and strings would be most of its work and of its garbage.
 */
import type { Change, ChangeKind, EntryType } from './change.ts';
import { encodeRecord } from './record.ts';

/** What a line takes, about. Bytes. */
const USUAL_LINE = 320;
/** More than all of a line but its path and its salt: members, numbers of up to 16 digits, two hashes. Bytes. */
const MOST_MEMBERS = 512;

const ascii = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

const SEQ = ascii('{"seq":');
const KIND: Record<ChangeKind, Uint8Array> = {
  created: ascii(',"kind":"created","path":"'),
  modified: ascii(',"kind":"modified","path":"'),
  deleted: ascii(',"kind":"deleted","path":"'),
  moved: ascii(',"kind":"moved","path":"')
};
const AT = ascii('","at":');
const HLC = ascii(',"hlc":');
const TYPE: Record<EntryType, Uint8Array> = {
  file: ascii(',"type":"file"'),
  symlink: ascii(',"type":"symlink"'),
  directory: ascii(',"type":"directory"')
};
const SIZE = ascii(',"size":');
const HASH = ascii(',"hash":"');
const PREVIOUS = ascii(',"previous":"');
const MODE = ascii(',"mode":');
const MTIME = ascii(',"mtime":');
const QUOTE = ascii('"');
const NO_CONTENT = ascii(',"flags":["no-content"]');
const CONTENT = ascii(',"content":true');
const SALT = ascii(',"salt":"');
const END = ascii('}\n');

// Each writes at a place and answers the place behind; the caller has made room.

function put(out: Uint8Array, at: number, part: Uint8Array): number {
  for (let i = 0; i < part.length; i += 1) out[at + i] = part[i] as number;
  return at + part.length;
}

/** A member that is a text of ASCII. */
function putText(out: Buffer, at: number, name: Uint8Array, value: string): number {
  const from = put(out, at, name);
  return put(out, from + out.write(value, from, value.length, 'latin1'), QUOTE);
}

/** Up to eight digits. @param width So many at least, with zeros in front. */
function putDigits(out: Uint8Array, at: number, value: number, width: number): number {
  let digits = width;
  for (let limit = 10 ** width; limit <= value; limit *= 10) digits += 1;
  let rest = value | 0;
  for (let i = at + digits - 1; i >= at; i -= 1) {
    const tenth = (rest / 10) | 0;
    out[i] = 0x30 + rest - tenth * 10;
    rest = tenth;
  }
  return at + digits;
}

/** A member that is a whole number below 10^16. */
function putNumber(out: Uint8Array, at: number, name: Uint8Array, value: number): number {
  const from = put(out, at, name);
  if (value < 1e8) return putDigits(out, from, value, 1);
  const high = Math.floor(value / 1e8);
  return putDigits(out, putDigits(out, from, high, 1), value - high * 1e8, 8);
}

/** A path. -1: something in it does not stand in JSON as it is. */
function putPath(out: Uint8Array, at: number, path: string): number {
  for (let i = 0; i < path.length; i += 1) {
    const code = path.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return -1;
    out[at + i] = code;
  }
  return at + path.length;
}

const isWhole = (value: number | undefined): boolean =>
  value === undefined || (Number.isSafeInteger(value) && value >= 0);

const isHash = (value: string | undefined): boolean => value === undefined || value.length === 64;

/** Whether there is nothing in a change but what {@link putLine} can write; its path is looked at there. */
function isUsual(change: Change): boolean {
  const { hash, content, flags } = change;
  if (change.from !== undefined || change.cause !== undefined || change.retention !== undefined) return false;
  if (flags.length > 1 || (flags.length === 1 && flags[0] !== 'no-content')) return false;
  if (content !== undefined) {
    if (hash === undefined || !('chunks' in content)) return false;
    if (content.chunks.length !== 1 || content.chunks[0] !== hash) return false;
  }
  return (
    isHash(hash) &&
    isHash(change.previousHash) &&
    isWhole(change.seq) &&
    isWhole(change.at) &&
    isWhole(change.hlc) &&
    isWhole(change.size) &&
    isWhole(change.mode) &&
    isWhole(change.mtime)
  );
}

/** Writes a line. -1: its path is none that can be written so. */
function putLine(out: Buffer, start: number, change: Change, salt: string | undefined): number {
  const { at, hlc, size, hash, previousHash, mode, mtime } = change;
  let end = put(out, putNumber(out, start, SEQ, change.seq), KIND[change.kind]);
  end = putPath(out, end, change.path);
  if (end < 0) return -1;
  end = putNumber(out, end, AT, at);
  if (hlc !== at) end = putNumber(out, end, HLC, hlc);
  end = put(out, end, TYPE[change.type]);
  if (size !== undefined) end = putNumber(out, end, SIZE, size);
  if (hash !== undefined) end = putText(out, end, HASH, hash);
  if (previousHash !== undefined) end = putText(out, end, PREVIOUS, previousHash);
  if (mode !== undefined) end = putNumber(out, end, MODE, mode);
  if (mtime !== undefined) end = putNumber(out, end, MTIME, mtime);
  if (change.flags.length > 0) end = put(out, end, NO_CONTENT);
  if (change.content !== undefined) end = put(out, end, CONTENT);
  if (salt !== undefined) end = putText(out, end, SALT, salt);
  return put(out, end, END);
}

function withRoom(bytes: Buffer, used: number, size: number): Buffer {
  if (used + size <= bytes.length) return bytes;
  const larger = Buffer.allocUnsafeSlow(Math.max(Math.ceil(bytes.length * 1.5), used + size));
  bytes.copy(larger, 0, 0, used);
  return larger;
}

/**
 * Changes as a frame holds them.
 *
 * @param changes In the order of their numbers.
 * @param salt In an encrypted log: the salt of the change at a place among them, see {@link encodeRecord}.
 * @returns Their lines, each ended by a line feed.
 */
export function encodeRecords(changes: readonly Change[], salt?: (place: number) => string): Buffer {
  let bytes: Buffer = Buffer.allocUnsafeSlow(changes.length * USUAL_LINE + MOST_MEMBERS);
  let used = 0;
  for (let i = 0; i < changes.length; i += 1) {
    const change = changes[i] as Change;
    const own = salt?.(i);
    bytes = withRoom(bytes, used, MOST_MEMBERS + change.path.length + (own?.length ?? 0));
    const end = isUsual(change) ? putLine(bytes, used, change, own) : -1;
    if (end >= 0) {
      used = end;
      continue;
    }
    const line = `${encodeRecord(change, own)}\n`;
    bytes = withRoom(bytes, used, Buffer.byteLength(line));
    used += bytes.write(line, used);
  }
  return bytes.subarray(0, used);
}
