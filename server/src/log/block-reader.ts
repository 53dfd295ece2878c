/**
 * Reads chunks out of blocks, and blocks out of those they are based on. Remembers the blocks read last, for neighbours are
 * asked for one after the other, and versions of a file stand on one another.
 *
 * What stands in a log may be made up. Nothing is unpacked before its length is counted; a block that is based on itself, however
 * far around, or on more than the format allows, is one that cannot be read.
 */
import { hash } from 'node:crypto';
import { SOME_ENTRY, type ChunkPlace } from './chunk-index.ts';
import { decompress } from './decompress.ts';
import { MOST_DEPTH, MOST_DICTIONARY, MOST_NEEDED, MOST_NEEDED_BYTES, splitDelta, unpackDelta } from './delta.ts';
import { CODEC_DELTA, CODEC_RAW, type BlockEntry, type BlockHeader } from './layout.ts';

/** A block as it lies in a file, its checksum verified. */
export interface StoredBlock {
  readonly header: BlockHeader;
  readonly table: readonly BlockEntry[];
  readonly stored: Buffer;
}

export interface BlockSource {
  /** Where a chunk lies. */
  place(id: string): ChunkPlace | undefined;
  /** The block at a place; `undefined` when it is damaged. */
  stored(place: ChunkPlace): StoredBlock | undefined;
  /** The id of a chunk by its SHA-256, hex. */
  idOf(sha256: string): string;
}

/** A chunk, and the blocks that were needed for it. */
export interface FoundChunk {
  readonly bytes: Buffer;
  /** Its own block and those below it, by a key for each: bytes they unpack to. */
  readonly needs: ReadonlyMap<string, number>;
}

interface Unpacked {
  readonly table: readonly BlockEntry[];
  readonly offsets: readonly number[];
  readonly raw: Buffer;
  readonly needs: ReadonlyMap<string, number>;
  /** Ids in the table, once one was looked for: the first of each. */
  entries?: ReadonlyMap<string, number>;
}

function entryOf(block: Unpacked, id: string): number {
  block.entries ??= new Map(block.table.map((entry, i) => [entry.id, i] as const).toReversed());
  return block.entries.get(id) ?? -1;
}

/** One chunk being read. */
interface Reading {
  /** Blocks that wait for what they are based on. */
  readonly open: Set<string>;
  readonly done: Map<string, Unpacked | undefined>;
  bytes: number;
}

const CACHED_BYTES = 16 * 2 ** 20;

export class BlockReader {
  readonly #source: BlockSource;
  readonly #cache = new Map<string, Unpacked>();
  #cachedBytes = 0;

  constructor(source: BlockSource) {
    this.#source = source;
  }

  /**
   * The bytes of a chunk, verified; `undefined` when the log does not hold it whole.
   *
   * @param id As in the tables of blocks.
   */
  chunk(id: string): FoundChunk | undefined {
    return this.#chunk(id, { open: new Set(), done: new Map(), bytes: 0 });
  }

  /** Blocks of a segment are no longer where they were. */
  forget(segment: number): void {
    for (const [key, { raw }] of this.#cache) {
      if (!key.startsWith(`${segment}:`)) continue;
      this.#cache.delete(key);
      this.#cachedBytes -= raw.length;
    }
  }

  #chunk(id: string, reading: Reading): FoundChunk | undefined {
    const place = this.#source.place(id);
    if (place === undefined) return undefined;
    const block = this.#block(place, reading);
    const at = block === undefined || place.entry !== SOME_ENTRY ? place.entry : entryOf(block, id);
    const entry = block?.table[at];
    const offset = block?.offsets[at];
    if (block === undefined || entry?.id !== id || offset === undefined) return undefined;
    const bytes = block.raw.subarray(offset, offset + entry.length);
    return this.#source.idOf(hash('sha256', bytes, 'hex')) === id ? { bytes, needs: block.needs } : undefined;
  }

  #block(place: ChunkPlace, reading: Reading): Unpacked | undefined {
    const key = `${place.segment}:${place.block}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      // Used last: dropped last.
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      return cached;
    }
    if (reading.done.has(key)) return reading.done.get(key);
    const block = this.#unpack(place, key, reading);
    reading.done.set(key, block);
    if (block !== undefined) this.#keep(key, block);
    return block;
  }

  #unpack(place: ChunkPlace, key: string, reading: Reading): Unpacked | undefined {
    if (reading.open.has(key) || reading.open.size > MOST_DEPTH || reading.done.size > MOST_NEEDED) return undefined;
    const block = this.#source.stored(place);
    if (block === undefined) return undefined;
    const { header, table, stored } = block;
    if (reading.open.size > 0) reading.bytes += header.rawLength;
    if (reading.bytes > MOST_NEEDED_BYTES) return undefined;
    const needs = new Map([[key, header.rawLength]]);
    let raw: Buffer | undefined;
    if (header.codec === CODEC_DELTA) {
      reading.open.add(key);
      raw = this.#unpackDelta(stored, header.rawLength, needs, reading);
      reading.open.delete(key);
    } else {
      raw = header.codec === CODEC_RAW ? stored : inflated(stored, header.rawLength);
    }
    if (raw?.length !== header.rawLength) return undefined;
    raw = alone(raw);
    let at = 0;
    const offsets = table.map(({ length }) => {
      const start = at;
      at += length;
      return start;
    });
    return { table, offsets, raw, needs };
  }

  #unpackDelta(stored: Buffer, length: number, needs: Map<string, number>, reading: Reading): Buffer | undefined {
    const delta = splitDelta(stored);
    if (delta === undefined) return undefined;
    const bases: Buffer[] = [];
    let bytes = 0;
    for (const id of delta.bases) {
      const base = this.#chunk(id, reading);
      if (base === undefined) return undefined;
      bytes += base.bytes.length;
      if (bytes > MOST_DICTIONARY) return undefined;
      bases.push(base.bytes);
      for (const [need, size] of base.needs) needs.set(need, size);
    }
    return unpackDelta(delta.packed, bases, length);
  }

  #keep(key: string, block: Unpacked): void {
    this.#cache.set(key, block);
    this.#cachedBytes += block.raw.length;
    for (const [oldest, { raw }] of this.#cache) {
      if (this.#cachedBytes <= CACHED_BYTES || oldest === key) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= raw.length;
    }
  }
}

/** zlib hands out a small output in 64 KiB of memory, all of which would be kept with it. */
function alone(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

function inflated(stored: Buffer, length: number): Buffer | undefined {
  try {
    return decompress(stored, length);
  } catch {
    return undefined;
  }
}
