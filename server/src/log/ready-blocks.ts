/**
 * Blocks of chunks that come to the log ready to be written: built by whoever read the content, on another thread. The log
 * only looks whether it holds one of their chunks already; then what is left of the block goes in the usual way.
 */
import { ChunkIndex } from './chunk-index.ts';
import { BLOCK_ENTRY, BLOCK_HEADER, CODEC_RAW, CODEC_ZSTD, encodeBlockTable, finishBlockHead } from './layout.ts';
import type { ChunkInput } from './types.ts';

/** A block as it will stand in the log. */
export interface ReadyBlock {
  /** Its header and table, as docs/format.md has them. */
  readonly head: Buffer;
  /** The chunks one behind the other, not compressed. Must stay unchanged until the append that carries them has resolved. */
  readonly raw: Uint8Array;
  /** What is written: `raw` itself, or its compressed form. */
  readonly stored: Uint8Array;
}

/**
 * Builds a block.
 *
 * @param ids SHA-256 of each chunk, 32 bytes each, one behind the other.
 * @param lengths Length of each chunk, bytes.
 * @param raw The chunks one behind the other.
 * @param packed Their zstd form, when it is to be stored.
 */
export function readyBlock(
  ids: Uint8Array,
  lengths: readonly number[],
  raw: Uint8Array,
  packed?: Uint8Array
): ReadyBlock {
  const stored = packed !== undefined && packed.length < raw.length ? packed : raw;
  const head = encodeBlockTable(ids, lengths);
  finishBlockHead(head, raw.length, stored, stored === raw ? CODEC_RAW : CODEC_ZSTD);
  return { head, raw, stored };
}

/** Chunks in a block. */
export function chunkCount(block: ReadyBlock): number {
  return (block.head.length - BLOCK_HEADER) / BLOCK_ENTRY;
}

/** Only whether a chunk is there counts. */
const NOWHERE = { segment: 0, block: 0, entry: 0 };

/** What one frame adds to the chunks of a log. */
export class FrameChunks {
  readonly #met: ChunkIndex;
  readonly whole: ReadyBlock[] = [];
  readonly single: ChunkInput[] = [];
  /** Where a chunk may be already. */
  readonly #held: readonly ChunkIndex[];

  /**
   * @param index What the log holds.
   * @param former The frame before, when it is not yet counted in `index`.
   * @param expected Chunks that it may bring, about.
   */
  constructor(index: ChunkIndex, former?: FrameChunks, expected = 0) {
    this.#met = new ChunkIndex(expected);
    this.#held = former === undefined ? [this.#met, index] : [this.#met, index, former.#met];
  }

  /** True when the log will hold the chunk, once this frame is written. */
  has(id: string): boolean {
    for (const held of this.#held) if (held.has(id)) return true;
    return false;
  }

  #hasAt(bytes: Buffer, at: number): boolean {
    for (const held of this.#held) if (held.hasAt(bytes, at)) return true;
    return false;
  }

  /** Takes a chunk, unless there is one like it. */
  add(chunk: ChunkInput): void {
    if (this.meet(chunk.id)) this.single.push(chunk);
  }

  /** True when there is no chunk like it; from now on there is one, and the caller stores it. */
  meet(id: string): boolean {
    if (this.has(id)) return false;
    this.#met.add(id, NOWHERE);
    return true;
  }

  /** Takes a block, or when one of its chunks is there already, those that are not. */
  addBlock(block: ReadyBlock): void {
    const count = chunkCount(block);
    const fresh: number[] = [];
    for (let i = 0; i < count; i += 1) {
      const at = BLOCK_HEADER + i * BLOCK_ENTRY;
      if (this.#hasAt(block.head, at)) continue;
      this.#met.addAt(block.head, at, NOWHERE.segment, NOWHERE.block, NOWHERE.entry);
      fresh.push(i);
    }
    if (fresh.length === count) this.whole.push(block);
    else this.single.push(...chunksOf(block, fresh));
  }
}

/** Some chunks of a block by their place in it. */
export function chunksOf(block: ReadyBlock, entries: readonly number[]): ChunkInput[] {
  const wanted = new Set(entries);
  const found: ChunkInput[] = [];
  let offset = 0;
  for (let i = 0; i < chunkCount(block); i += 1) {
    const at = BLOCK_HEADER + i * BLOCK_ENTRY;
    const length = block.head.readUInt32LE(at + 32);
    if (wanted.has(i)) {
      found.push({ id: block.head.toString('hex', at, at + 32), bytes: block.raw.subarray(offset, offset + length) });
    }
    offset += length;
  }
  return found;
}
