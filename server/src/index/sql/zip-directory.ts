/**
 * What a ZIP archive says is in it (APPNOTE.TXT 4.3.12 to 4.3.16), read before any of it is unpacked: what an entry may become is
 * known and bounded then, because who unpacks stops at the size that is said here.
 */

export interface ZipEntry {
  readonly name: string;
  /** Bytes in the archive, and bytes that they become. */
  readonly packed: number;
  readonly size: number;
  /** 0 stored, 8 deflated. */
  readonly method: number;
  /** Where its local header begins. */
  readonly at: number;
}

const END = 0x06054b50;
const END_64_LOCATOR = 0x07064b50;
const END_64 = 0x06064b50;
const ENTRY = 0x02014b50;
/** Bytes from the beginning of the last record to its end, with the longest comment. */
const LONGEST_END = 22 + 0xffff;
const NEVER = 0xffffffff;

/**
 * The entries of an archive.
 *
 * @param mostEntries More than this are no workbook.
 * @returns undefined when it is no archive, is cut off, or has more entries.
 */
export function zipDirectory(archive: Buffer, mostEntries: number): ZipEntry[] | undefined {
  try {
    return read(archive, mostEntries);
  } catch {
    // All that it does is to look at places; one that a number leads to is not there.
    return undefined;
  }
}

function read(archive: Buffer, mostEntries: number): ZipEntry[] | undefined {
  const end = endOf(archive);
  if (end === undefined) return undefined;
  let count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  if (count === 0xffff || at === NEVER) {
    if (archive.readUInt32LE(end - 20) !== END_64_LOCATOR) return undefined;
    const end64 = number64(archive, end - 12);
    if (archive.readUInt32LE(end64) !== END_64) return undefined;
    count = number64(archive, end64 + 32);
    at = number64(archive, end64 + 48);
  }
  if (count > mostEntries) return undefined;
  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i++) {
    if (archive.readUInt32LE(at) !== ENTRY) return undefined;
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map(offset => archive.readUInt16LE(at + offset));
    const nameEnd = at + 46 + (nameLength ?? 0);
    const extraEnd = nameEnd + (extraLength ?? 0);
    if (extraEnd > archive.length) return undefined;
    entries.push({
      name: archive.toString('utf8', at + 46, nameEnd),
      method: archive.readUInt16LE(at + 10),
      ...sizes(archive, at, nameEnd, extraEnd)
    });
    at = extraEnd + (commentLength ?? 0);
  }
  return entries;
}

function endOf(archive: Buffer): number | undefined {
  for (let at = archive.length - 22; at >= Math.max(0, archive.length - LONGEST_END); at--) {
    if (archive.readUInt32LE(at) === END) return at;
  }
  return undefined;
}

/** Sizes that do not fit into 32 bits are in an extra field, in this order, those only. */
function sizes(
  archive: Buffer,
  entry: number,
  extra: number,
  extraEnd: number
): Pick<ZipEntry, 'packed' | 'size' | 'at'> {
  let [size, packed, at] = [24, 20, 42].map(offset => archive.readUInt32LE(entry + offset)) as [number, number, number];
  if (size !== NEVER && packed !== NEVER && at !== NEVER) return { size, packed, at };
  let field = extra;
  while (field + 4 <= extraEnd && archive.readUInt16LE(field) !== 1) field += 4 + archive.readUInt16LE(field + 2);
  let next = field + 4;
  const take = (): number => {
    if (next + 8 > extraEnd) throw new RangeError('a size is missing');
    next += 8;
    return number64(archive, next - 8);
  };
  if (size === NEVER) size = take();
  if (packed === NEVER) packed = take();
  if (at === NEVER) at = take();
  return { size, packed, at };
}

function number64(archive: Buffer, at: number): number {
  const value = archive.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('beyond every archive');
  return Number(value);
}
