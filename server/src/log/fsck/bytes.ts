/** What every part of the check reads with. */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync, readSync, statSync } from 'node:fs';

export const MEBI = 1024 * 1024;
/** No section, block or chunk may claim more. */
export const LARGEST = 256 * MEBI;
/** Records of one stream that may be missing before a number counts as nonsense: each costs memory and time. */
export const MOST_LOST = 4 * MEBI;
/** Chunks that a block may be based on, bytes of them, how deep blocks may stand on one another, and what they may unpack to. */
export const MOST_BASES = 64;
export const MOST_DICTIONARY = 4 * MEBI;
export const MOST_DEPTH = 256;
export const MOST_BELOW = 128 * MEBI;
export const HEX = /^[0-9a-f]{64}$/;
export const DEVICE = /^[a-z2-7]{8}$/;
export const whole = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value);

/** SHA-256 of parts one behind the other. In one call: a hash object for each of a tree's nodes would cost twice the time. */
export function sha256(...parts: Uint8Array[]): Buffer {
  const [only] = parts;
  return hash('sha256', parts.length === 1 && only !== undefined ? only : Buffer.concat(parts), 'buffer');
}

export function bytesAt(fd: number, offset: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  let got = 0;
  while (got < length) {
    const n = readSync(fd, out, got, length - got, offset + got);
    if (n === 0) break;
    got += n;
  }
  return out.subarray(0, got);
}

export function listing(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** A small file; `undefined` when there is none, or it is larger than any that belongs to a log. */
export function fileBytes(path: string, most = MEBI): Buffer | undefined {
  try {
    return statSync(path).size > most ? undefined : readFileSync(path);
  } catch {
    return undefined;
  }
}
