/** Under what name a chunk stands in the blocks of a log: its SHA-256, or in an encrypted log a keyed hash of that. */
import type { LogKeys } from '../crypto/log-keys.ts';
import { BLOCK_ENTRY, BLOCK_HEADER } from './layout.ts';

/**
 * @param keys `undefined`: the log is plain.
 * @param sha256 SHA-256 of the chunk, hex, as records and lists of chunks name it.
 */
export function storedId(keys: LogKeys | undefined, sha256: string): string {
  return keys === undefined ? sha256 : keys.chunkId(Buffer.from(sha256, 'hex')).toString('hex');
}

/** Header and table of a block whose table names chunks by SHA-256, with stored names instead. Its CRC is not made anew. */
export function withStoredIds(keys: LogKeys, head: Buffer): Buffer {
  const out = Buffer.from(head);
  for (let at = BLOCK_HEADER; at < out.length; at += BLOCK_ENTRY) {
    keys.chunkId(out.subarray(at, at + 32)).copy(out, at);
  }
  return out;
}
