/** zstd with the length known beforehand. */
import { zstdDecompressSync } from 'node:zlib';

/** The most that is taken for an output before there is any: so many bytes, or so many times what it is made of. */
const EXPECTED_OUTPUT = 1024 * 1024;
const EXPECTED_RATIO = 16;

/** With room for all of it, the output comes in one piece; how large it says it is may be a lie. Throws what zlib throws. */
export function decompress(stored: Uint8Array, length: number, dictionary?: Uint8Array): Buffer {
  return zstdDecompressSync(stored, {
    maxOutputLength: Math.max(1, length),
    chunkSize: Math.min(Math.max(EXPECTED_OUTPUT, EXPECTED_RATIO * stored.length), Math.max(64, length)),
    ...(dictionary !== undefined && { dictionary })
  });
}
