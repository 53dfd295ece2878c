/**
 * What is known of the files, as it lies in the checkpoint: by directory and without objects, so that threads can read it where
 * it is (`look.ts`), and a directory is unpacked when somebody asks for what is in it.
 */
import { decodePath, type PathName } from '../core/path-name.ts';

/** Five lengths (u32) in front of each directory: of its path, how many entries, of their names, how many directories, of theirs. */
export const RECORD_HEAD = 20;
/** dev, ino, mtimeMs, ctimeMs of each directory as it was listed last; NaN: to be listed in any case. */
export const OWN_FIELDS = 4;

/** Directories by their number. All of it is shared memory. */
export interface KnownImage {
  /** Paths in all. */
  readonly count: number;
  /** Where each directory begins in {@link records}. */
  readonly starts: Uint32Array<SharedArrayBuffer>;
  /** Slot of the first entry of each; those of the others follow. */
  readonly firsts: Uint32Array<SharedArrayBuffer>;
  readonly own: Float64Array<SharedArrayBuffer>;
  readonly records: Uint8Array<SharedArrayBuffer>;
}

export interface ImagedDirectory {
  readonly path: PathName;
  /** How many recorded entries it has. */
  readonly entries: number;
  names(): readonly string[];
  /** Names of the directories in it that hold something recorded. */
  directories(): readonly string[];
}

/**
 * One directory.
 *
 * @throws RangeError when there is none that is whole.
 */
export function directoryAt({ starts, records }: KnownImage, number: number): ImagedDirectory {
  const start = starts[number] ?? Infinity;
  if (start + RECORD_HEAD > records.length) throw new RangeError('A directory lies outside.');
  const bytes = Buffer.from(records.buffer);
  const pathEnd = start + RECORD_HEAD + bytes.readUInt32LE(start);
  const entries = bytes.readUInt32LE(start + 4);
  const namesEnd = pathEnd + bytes.readUInt32LE(start + 8);
  const directories = bytes.readUInt32LE(start + 12);
  const end = namesEnd + bytes.readUInt32LE(start + 16);
  if (end > records.length) throw new RangeError('A directory is cut short.');
  return {
    path: text(bytes, start + RECORD_HEAD, pathEnd),
    entries,
    names: () => list(bytes, pathEnd, namesEnd, entries),
    directories: () => list(bytes, namesEnd, end, directories)
  };
}

/** How many recorded entries a directory has that is there. */
export function entriesAt({ starts, firsts, count }: KnownImage, number: number): number {
  return (number + 1 < starts.length ? (firsts[number + 1] ?? 0) : count) - (firsts[number] ?? 0);
}

/** Whether all names are there that the lengths promise. Cheaper than to unpack them. */
export function isWhole({ starts, records }: KnownImage, number: number): boolean {
  const start = starts[number] ?? Infinity;
  const bytes = Buffer.from(records.buffer);
  let at = start + RECORD_HEAD + bytes.readUInt32LE(start);
  for (const field of [4, 12]) {
    const count = bytes.readUInt32LE(start + field);
    const end = at + bytes.readUInt32LE(start + field + 4);
    let names = end > at ? 1 : 0;
    for (; at < end; at += 1) if (bytes[at] === 0) names += 1;
    if (names !== count) return false;
  }
  return true;
}

function list(bytes: Buffer, from: number, to: number, count: number): readonly string[] {
  return count === 0 ? [] : text(bytes, from, to).split('\0');
}

function text(bytes: Buffer, from: number, to: number): string {
  const plain = bytes.toString('utf8', from, to);
  // Names that are not UTF-8 need more care, and bytes that are this thread's own.
  return plain.includes('\uFFFD') ? decodePath(Uint8Array.from(bytes.subarray(from, to))) : plain;
}
