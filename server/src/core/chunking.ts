/**
 * Cuts content into chunks, so that what two versions share is stored once. FastCDC with normalised chunking (Xia et al.,
 * USENIX ATC 2016) for content in general; in notebooks each long line, which is an embedded output, is cut out whole, for
 * outputs move up and down but seldom change.
 *
 * The parameters stand in the log's format.json. They may differ from one version of the program to the next: a chunk is found
 * by its id, not by how it was cut.
 */
import { createHash, hash } from 'node:crypto';

interface Sizes {
  readonly min: number;
  readonly average: number;
  readonly max: number;
}

/** The parameters, in bytes. */
export const CHUNKING = {
  whole: 16 * 1024,
  general: { min: 16 * 1024, average: 64 * 1024, max: 256 * 1024 },
  large: { min: 256 * 1024, average: 1024 * 1024, max: 4 * 1024 * 1024 },
  largeFrom: 256 * 1024 * 1024,
  notebook: { min: 2 * 1024, average: 8 * 1024, max: 32 * 1024 },
  notebookLine: { min: 64 * 1024, average: 128 * 1024, max: 256 * 1024 },
  longLine: 4 * 1024
} as const;

/** 256 numbers of 31 bits, the same for ever: SHA-256 of a counter. */
const GEAR = Uint32Array.from(
  { length: 256 },
  (_, i) => createHash('sha256').update(`syft-sync gear ${i}`).digest().readUInt32LE(0) >>> 1
);

/** Length of the first chunk of `bytes[start, end)`. `final`: no more bytes follow. 0: more bytes are needed to tell. */
function cutPoint(bytes: Uint8Array, start: number, end: number, sizes: Sizes, final: boolean): number {
  const available = end - start;
  if (available <= sizes.min) return final ? available : 0;
  const limit = Math.min(available, sizes.max);
  const bits = Math.log2(sizes.average);
  // Harder before the average, easier after it: sizes gather around the average.
  const hard = ((1 << (bits + 1)) - 1) << (30 - bits - 1);
  const easy = ((1 << (bits - 1)) - 1) << (30 - bits + 1);
  const middle = Math.min(limit, sizes.average);
  let fingerprint = 0;
  let i = sizes.min;
  for (; i < middle; i++) {
    fingerprint = ((fingerprint << 1) + (GEAR[bytes[start + i] as number] as number)) | 0;
    if ((fingerprint & hard) === 0) return i + 1;
  }
  for (; i < limit; i++) {
    fingerprint = ((fingerprint << 1) + (GEAR[bytes[start + i] as number] as number)) | 0;
    if ((fingerprint & easy) === 0) return i + 1;
  }
  if (limit === sizes.max) return limit;
  return final ? available : 0;
}

function cutRange(bytes: Uint8Array, start: number, end: number, sizes: Sizes, out: number[]): void {
  for (let at = start; at < end;) {
    at += cutPoint(bytes, at, end, sizes, true);
    out.push(at);
  }
}

/** Ends of the chunks of a notebook. */
function cutNotebook(bytes: Uint8Array): number[] {
  const ends: number[] = [];
  let from = 0;
  let line = 0;
  while (line < bytes.length) {
    const newline = bytes.indexOf(10, line);
    const end = newline < 0 ? bytes.length : newline + 1;
    if (end - line > CHUNKING.longLine) {
      cutRange(bytes, from, line, CHUNKING.notebook, ends);
      cutRange(bytes, line, end, CHUNKING.notebookLine, ends);
      from = end;
    }
    line = end;
  }
  cutRange(bytes, from, bytes.length, CHUNKING.notebook, ends);
  return ends;
}

/**
 * Cuts whole content.
 *
 * @param bytes The content.
 * @param options `notebook`: the content is a `.ipynb`.
 * @returns The end offset of each chunk, ascending; the last is the length. Empty for empty content.
 */
export function chunkEnds(bytes: Uint8Array, options: { notebook: boolean }): number[] {
  if (bytes.length === 0) return [];
  if (bytes.length <= CHUNKING.whole) return [bytes.length];
  if (options.notebook) return cutNotebook(bytes);
  const ends: number[] = [];
  cutRange(bytes, 0, bytes.length, bytes.length >= CHUNKING.largeFrom ? CHUNKING.large : CHUNKING.general, ends);
  return ends;
}

/** A chunk of content: its id (SHA-256, hex) and its bytes. */
export interface Chunk {
  readonly id: string;
  readonly bytes: Uint8Array;
}

/** {@link chunkEnds} with ids. `contentHash`: SHA-256 of the whole when it is known, which saves hashing a single chunk again. */
export function chunkContent(bytes: Uint8Array, options: { notebook: boolean; contentHash?: string }): Chunk[] {
  const ends = chunkEnds(bytes, options);
  let start = 0;
  return ends.map(end => {
    const part = bytes.subarray(start, end);
    start = end;
    const id =
      ends.length === 1 && options.contentHash !== undefined ? options.contentHash : hash('sha256', part, 'hex');
    return { id, bytes: part };
  });
}

/** Cuts content that arrives in pieces, in constant memory; the cuts are those of {@link chunkEnds} for the same sizes. */
export class StreamChunker {
  readonly #sizes: Sizes;
  #held: Buffer = Buffer.alloc(0);

  /** @param size The size the content is expected to have, bytes; only chooses parameters. */
  constructor(size: number) {
    this.#sizes = size >= CHUNKING.largeFrom ? CHUNKING.large : CHUNKING.general;
  }

  /** Chunks completed by this piece. Their bytes are copies. */
  push(piece: Uint8Array): Chunk[] {
    this.#held = Buffer.concat([this.#held, piece]);
    return this.#take(false);
  }

  /** What is left. */
  end(): Chunk[] {
    return this.#take(true);
  }

  #take(final: boolean): Chunk[] {
    const out: Chunk[] = [];
    let at = 0;
    while (at < this.#held.length) {
      const length = cutPoint(this.#held, at, this.#held.length, this.#sizes, final);
      if (length === 0) break;
      const bytes = Buffer.from(this.#held.subarray(at, at + length));
      out.push({ id: hash('sha256', bytes, 'hex'), bytes });
      at += length;
    }
    this.#held = Buffer.from(this.#held.subarray(at));
    return out;
  }
}
