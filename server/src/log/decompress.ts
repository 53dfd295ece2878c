/** zstd with the length known beforehand. */
import { zstdDecompressSync } from 'node:zlib';

/** The most that is taken for an output before there is any. Bytes. */
const EXPECTED_OUTPUT = 1024 * 1024;

/** With room for all of it, the output comes in one piece; how large it says it is may be a lie. Throws what zlib throws. */
export function decompress(stored: Uint8Array, length: number, dictionary?: Uint8Array): Buffer {
  return zstdDecompressSync(stored, {
    maxOutputLength: Math.max(1, length),
    chunkSize: Math.min(EXPECTED_OUTPUT, Math.max(64, length)),
    ...(dictionary !== undefined && { dictionary })
  });
}
