/**
 * Blocks on other blocks: chunks compressed with former chunks as the dictionary (docs/format.md, "Deltas"). Most of a new
 * version stands in the one before it.
 */
import { promisify } from 'node:util';
import { constants as zlibConstants, zstdCompress } from 'node:zlib';
import { decompress } from './decompress.ts';

const compressZstd = promisify(zstdCompress);

/** Chunks that one block may be based on. */
export const MOST_BASES = 64;
/** Bytes of all of them. */
export const MOST_DICTIONARY = 4 * 2 ** 20;
/** Blocks that may have to be read, one on the other, to read one; and how deep they may stand on one another. */
export const MOST_NEEDED = 4096;
export const MOST_DEPTH = 256;
/** Bytes that all the blocks below one may unpack to. */
export const MOST_NEEDED_BYTES = 128 * 2 ** 20;

const COUNT_BYTES = 4;
const ID_BYTES = 32;
/** Bytes in which the ids of all bases stand. */
export const DELTA_HEAD = COUNT_BYTES + MOST_BASES * ID_BYTES;
/** zstd takes a dictionary that begins with its magic number for one of its own kind. With this before it, none does. */
const PLAIN = Buffer.alloc(1);

/** The dictionary that chunks make, in this order. */
export function dictionaryOf(bases: readonly Uint8Array[]): Buffer {
  return Buffer.concat([PLAIN, ...bases]);
}

/** The window in which all of so many bytes are seen. Readers allow it: zstd's own limit is 27. */
export function windowLogFor(bytes: number): number {
  return Math.min(24, Math.max(17, Math.ceil(Math.log2(bytes + 1))));
}

/**
 * Compresses chunks on others.
 *
 * @param raw The chunks one behind the other.
 * @param bases The chunks that readers must have to unpack it, with their ids in hex.
 * @returns What stands in the block behind its table.
 */
export async function packDelta(
  raw: Buffer,
  bases: readonly { readonly id: string; readonly bytes: Uint8Array }[],
  level: number
): Promise<Buffer> {
  const dictionary = dictionaryOf(bases.map(({ bytes }) => bytes));
  // The whole dictionary must lie within the window.
  const windowLog = windowLogFor(raw.length + dictionary.length);
  const packed = await compressZstd(raw, {
    dictionary,
    pledgedSrcSize: raw.length,
    params: { [zlibConstants.ZSTD_c_compressionLevel]: level, [zlibConstants.ZSTD_c_windowLog]: windowLog }
  });
  const head = Buffer.alloc(COUNT_BYTES + bases.length * ID_BYTES);
  head.writeUInt32LE(bases.length, 0);
  bases.forEach(({ id }, i) => head.write(id, COUNT_BYTES + i * ID_BYTES, ID_BYTES, 'hex'));
  return Buffer.concat([head, packed]);
}

/** The bases that a block names, and what is compressed; `undefined` when that cannot be. */
export function splitDelta(stored: Buffer): { bases: string[]; packed: Buffer } | undefined {
  if (stored.length < COUNT_BYTES) return undefined;
  const count = stored.readUInt32LE(0);
  const end = COUNT_BYTES + count * ID_BYTES;
  if (count === 0 || count > MOST_BASES || end > stored.length) return undefined;
  const bases = Array.from({ length: count }, (_, i) =>
    stored.toString('hex', COUNT_BYTES + i * ID_BYTES, COUNT_BYTES + (i + 1) * ID_BYTES)
  );
  return { bases, packed: stored.subarray(end) };
}

/** Inverse of {@link packDelta}; `undefined` when it does not unpack to `length` bytes. */
export function unpackDelta(packed: Buffer, bases: readonly Uint8Array[], length: number): Buffer | undefined {
  try {
    const raw = decompress(packed, length, dictionaryOf(bases));
    return raw.length === length ? raw : undefined;
  } catch {
    return undefined;
  }
}
