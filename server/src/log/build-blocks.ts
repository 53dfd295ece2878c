/** Puts chunks into blocks: those of a new version on the chunks of the one before, others together. */
import { promisify } from 'node:util';
import { constants as zlibConstants, zstdCompress } from 'node:zlib';
import { packDelta } from './delta.ts';
import { BLOCK_SIZE, CODEC_DELTA, CODEC_RAW, CODEC_ZSTD, encodeBlockHead, type BlockCodec } from './layout.ts';
import type { ChunkInput } from './types.ts';

const compressZstd = promisify(zstdCompress);

/** A chunk the log holds, on which others are compressed. */
export interface Base {
  readonly id: string;
  readonly bytes: Buffer;
}

/** What is new in a version, and the chunks of the version before that it is compressed on. */
export interface VersionChunks {
  readonly chunks: readonly ChunkInput[];
  readonly bases: readonly Base[];
}

/** A block as it will stand in the log. */
export interface BuiltBlock {
  readonly head: Buffer;
  readonly stored: Uint8Array;
}

/** A version is one block up to this many bytes: each block names its bases again. */
const DELTA_BLOCK = 2 ** 20;
/** Up to this much, a better level costs nobody a wait: it is a save or two, and not a first capture. Bytes. */
const UNHURRIED = 2 * 2 ** 20;
const LEVEL = 3;
const UNHURRIED_LEVEL = 9;

/** Told the size, zstd takes memory for that much and not for a stream; with room for all of it, the output comes in one piece. */
function compress(raw: Buffer, level: number): Promise<Buffer> {
  return compressZstd(raw, {
    params: { [zlibConstants.ZSTD_c_compressionLevel]: level },
    pledgedSrcSize: raw.length,
    chunkSize: BLOCK_SIZE
  });
}

/** Chunks in order, together up to `most` bytes; a larger one alone. */
function grouped(chunks: readonly ChunkInput[], most: number): ChunkInput[][] {
  const groups: ChunkInput[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const chunk of chunks) {
    if (size + chunk.bytes.length > most) {
      groups.push([]);
      size = 0;
    }
    (groups.at(-1) as ChunkInput[]).push(chunk);
    size += chunk.bytes.length;
  }
  return groups;
}

async function build(chunks: readonly ChunkInput[], bases: readonly Base[], level: number): Promise<BuiltBlock> {
  const raw = Buffer.concat(chunks.map(({ bytes }) => bytes));
  let stored: Buffer = raw;
  let codec: BlockCodec = CODEC_RAW;
  if (raw.length > 0 && bases.length > 0) {
    stored = await packDelta(raw, bases, level);
    codec = CODEC_DELTA;
  }
  // Where most of it is new, it is better off without the others: it can then be read without them.
  if (raw.length > 0 && (codec === CODEC_RAW || stored.length * 2 > raw.length)) {
    const packed = await compress(raw, level);
    if (codec === CODEC_RAW || packed.length <= stored.length) {
      stored = packed;
      codec = CODEC_ZSTD;
    }
  }
  if (stored.length >= raw.length) {
    stored = raw;
    codec = CODEC_RAW;
  }
  const table = chunks.map(({ id, bytes }) => ({ id, length: bytes.length }));
  return { head: encodeBlockHead(table, raw.length, stored, codec), stored };
}

/**
 * Blocks that hold the given chunks, in this order.
 *
 * @param single Chunks without a former version.
 * @param versions New versions of what the log holds.
 */
export async function buildBlocks(
  single: readonly ChunkInput[],
  versions: readonly VersionChunks[]
): Promise<BuiltBlock[]> {
  let bytes = 0;
  for (const chunk of single) bytes += chunk.bytes.length;
  for (const { chunks } of versions) for (const chunk of chunks) bytes += chunk.bytes.length;
  const level = bytes <= UNHURRIED ? UNHURRIED_LEVEL : LEVEL;
  const alone = [...single];
  const building: Promise<BuiltBlock>[] = [];
  for (const { chunks, bases } of versions) {
    if (bases.length === 0) alone.push(...chunks);
    else for (const group of grouped(chunks, DELTA_BLOCK)) building.push(build(group, bases, level));
  }
  return Promise.all([...grouped(alone, BLOCK_SIZE).map(group => build(group, [], level)), ...building]);
}
