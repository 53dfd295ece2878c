/**
 * How the records of a frame are stored. Most frames hold one record of a few hundred bytes, too short for zstd to learn
 * anything from: such are compressed with a dictionary that is part of the format.
 */
import { constants as zlibConstants, zstdCompress } from 'node:zlib';
import { promisify } from 'node:util';
import { decompress } from './decompress.ts';
import { FLAG_DICTIONARY, FLAG_ZSTD, type FrameHeader } from './layout.ts';

const compressZstd = promisify(zstdCompress);

/**
 * The dictionary of the format (docs/format.md, "The dictionary of records"). It never changes: what was written with it could
 * not be read with another one.
 */
export const RECORD_DICTIONARY = Buffer.from(
  '"flags":["torn","no-content","unreadable"],"from":"","cause":{"kind":"received","workspace":"","version":"' +
    '{"kind":"restore"{"kind":"jupyter-save"}"type":"symlink""type":"directory","mode":493{"seq":1,"kind":"deleted","path":"' +
    '{"seq":1,"kind":"moved","path":"{"seq":1,"kind":"created","path":"","content":true}\n,"content":{"chunks":["","' +
    '{"seq":1,"kind":"modified","path":".csv.json.md.py.ipynb","at":179,"hlc":179,"type":"file","size":1,"hash":"' +
    '","previous":"","mode":420,"mtime":179,"content":{"list":"","count":1}}\n'
);

/** Larger than this and the records are a better dictionary themselves, bytes. */
const SMALL_RECORDS = 64 * 1024;

const SMALL_LEVEL = 9;
/**
 * The lowest level finds what records have in common and no more. Higher ones find digits of hashes as well: three times the work,
 * and a tenth more bytes.
 */
const LARGE_LEVEL = 1;

/**
 * The records of a frame as they are to be stored.
 *
 * @param raw The lines.
 * @returns The bytes, and the flags of the frame that say how to read them.
 */
export async function packRecords(raw: Buffer): Promise<{ stored: Buffer; flags: number }> {
  if (raw.length === 0) return { stored: raw, flags: 0 };
  const small = raw.length <= SMALL_RECORDS;
  const packed = await compressZstd(raw, {
    params: {
      [zlibConstants.ZSTD_c_compressionLevel]: small ? SMALL_LEVEL : LARGE_LEVEL,
      // The frame header says the length, and a CRC stands beside it.
      [zlibConstants.ZSTD_c_contentSizeFlag]: 0
    },
    pledgedSrcSize: raw.length,
    // Of many records less than a quarter is left: then the output comes in one piece.
    chunkSize: Math.max(1024, raw.length >>> (small ? 0 : 2)),
    ...(small && { dictionary: RECORD_DICTIONARY })
  });
  if (packed.length >= raw.length) return { stored: raw, flags: 0 };
  return { stored: packed, flags: FLAG_ZSTD | (small ? FLAG_DICTIONARY : 0) };
}

/** The lines of a frame; `undefined` when what is stored does not unpack to the length that the header says. */
export function unpackRecords(stored: Buffer, header: Pick<FrameHeader, 'flags' | 'recordsRaw'>): Buffer | undefined {
  if ((header.flags & FLAG_ZSTD) === 0) return stored.length === header.recordsRaw ? stored : undefined;
  try {
    const dictionary = (header.flags & FLAG_DICTIONARY) === 0 ? undefined : RECORD_DICTIONARY;
    const raw = decompress(stored, header.recordsRaw, dictionary);
    return raw.length === header.recordsRaw ? raw : undefined;
  } catch {
    return undefined;
  }
}
