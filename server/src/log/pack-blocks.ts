/** Packs chunks that are known well in advance: in larger blocks than a recorder makes, and with more time. */
import { promisify } from 'node:util';
import { constants as zlibConstants, zstdCompress } from 'node:zlib';
import { SyftError } from '../core/errors.ts';
import type { Base } from './build-blocks.ts';
import { decompress } from './decompress.ts';
import { MOST_BASES, MOST_DICTIONARY, packDelta, splitDelta, unpackDelta, windowLogFor } from './delta.ts';
import { CODEC_DELTA, CODEC_RAW, CODEC_ZSTD, encodeBlockHead, type BlockCodec } from './layout.ts';
import type { PlainBlock } from './sealed-frame.ts';

const compressZstd = promisify(zstdCompress);

/** Bytes of a block: what is unpacked to read any chunk of it, some ten milliseconds. */
const PACK_BLOCK = 8 * 2 ** 20;
/** Chunks of a block: its table is read to find one. */
const PACK_CHUNKS = 1024;
/** Bytes of the chunks that a block is based on. */
const PACK_DICTIONARY = MOST_DICTIONARY - 2 ** 10;
/** Blocks that are needed to read one, and what they unpack to: a recorder that goes on has most of its own limit left. */
const PACK_NEEDED = 2;
const PACK_NEEDED_BYTES = 16 * 2 ** 20;
/** zstd levels: the usual one, and a highest for where a sample of so many bytes is made smaller by it by so much. It takes ten times as long. */
interface Levels {
  readonly level: number;
  readonly highest: number;
}
const PACKING: Levels = { level: 12, highest: 19 };
const SAMPLE = 2 ** 20;
const PAYS = 0.98;
/** For what was not packed before. */
const STORING: Levels = { level: 3, highest: 3 };

/** A chunk to be packed. */
export interface PackedChunk {
  /** As in tables. */
  readonly id: string;
  readonly bytes: Buffer;
}

/** A chunk that others may be based on, and the blocks that are needed for it with the bytes they unpack to. */
export interface PackBase extends Base {
  readonly needs: ReadonlyMap<string, number>;
}

/** A block as it is to be stored, and what is needed to read it. */
export interface Pack extends PlainBlock {
  readonly ids: readonly string[];
  readonly needs: ReadonlyMap<string, number>;
}

/** Whether what has come so far fills a block, so that a further chunk begins the next. */
export function isFull(chunks: readonly PackedChunk[], bytes: number, more: number): boolean {
  return chunks.length > 0 && (bytes + more > PACK_BLOCK || chunks.length >= PACK_CHUNKS);
}

/** As many of the bases as a block may have, the first ones first. */
function chosen(
  bases: Iterable<PackBase>,
  own: ReadonlyMap<string, number>
): { bases: PackBase[]; needs: Pack['needs'] } {
  const taken: PackBase[] = [];
  let needs: Pack['needs'] = own;
  let bytes = 0;
  for (const base of bases) {
    if (taken.length >= MOST_BASES) break;
    if (bytes + base.bytes.length > PACK_DICTIONARY) continue;
    const together = new Map([...needs, ...base.needs]);
    let unpacked = 0;
    for (const raw of together.values()) unpacked += raw;
    if (together.size > PACK_NEEDED || unpacked > PACK_NEEDED_BYTES) continue;
    needs = together;
    bytes += base.bytes.length;
    taken.push(base);
  }
  return { bases: taken, needs };
}

/** Whether the highest level makes more of a beginning of the bytes than the usual one does. */
async function paysHighest(raw: Buffer, { level, highest }: Levels): Promise<boolean> {
  if (highest <= level) return false;
  const some = raw.subarray(0, SAMPLE);
  const [usual, most] = [await compress(some, [], level), await compress(some, [], highest)];
  return most.length < usual.length * PAYS;
}

function compress(raw: Buffer, bases: readonly Base[], level: number): Promise<Buffer> {
  if (bases.length > 0) return packDelta(raw, bases, level);
  return compressZstd(raw, {
    params: {
      [zlibConstants.ZSTD_c_compressionLevel]: level,
      [zlibConstants.ZSTD_c_windowLog]: windowLogFor(raw.length)
    },
    pledgedSrcSize: raw.length,
    chunkSize: Math.max(64, Math.min(raw.length, MOST_DICTIONARY))
  });
}

/** How bytes are stored. */
interface Packed {
  readonly stored: Buffer;
  readonly codec: BlockCodec;
}

/** The smaller of what there is and another attempt. */
async function smaller(best: Packed, raw: Buffer, bases: readonly Base[], level: number): Promise<Packed> {
  const stored = await compress(raw, bases, level);
  if (stored.length >= best.stored.length) return best;
  return { stored, codec: bases.length > 0 ? CODEC_DELTA : CODEC_ZSTD };
}

async function pack(raw: Buffer, bases: readonly Base[], levels: Levels): Promise<Packed> {
  let best: Packed = { stored: raw, codec: CODEC_RAW };
  if (raw.length > 0) {
    best = await smaller(best, raw, [], levels.level);
    // What has enough in itself gains nothing from a dictionary, and may lose.
    if (bases.length > 0) best = await smaller(best, raw, bases, levels.level);
    if (await paysHighest(raw, levels)) {
      best = await smaller(best, raw, best.codec === CODEC_DELTA ? bases : [], levels.highest);
    }
  }
  if (unpacked(best.stored, best.codec, bases, raw.length)?.equals(raw) !== true) {
    throw new SyftError('INTERNAL', 'A block could not be packed anew; nothing was changed.');
  }
  return best;
}

function unpacked(stored: Buffer, codec: BlockCodec, bases: readonly Base[], length: number): Buffer | undefined {
  if (codec === CODEC_RAW) return stored;
  if (codec === CODEC_ZSTD) return decompress(stored, length);
  const delta = splitDelta(stored);
  if (delta?.bases.every((id, i) => id === bases[i]?.id) !== true) return undefined;
  return unpackDelta(
    delta.packed,
    bases.map(({ bytes }) => bytes),
    length
  );
}

/**
 * Packs chunks into a block, and unpacks it again: it is to replace the only copy.
 *
 * @param key Names the block among those that are needed.
 * @param bases What the chunks may be based on, best first.
 * @throws SyftError INTERNAL when it does not unpack to what it was.
 */
export async function packBlock(key: string, chunks: readonly PackedChunk[], bases: Iterable<PackBase>): Promise<Pack> {
  const raw = Buffer.concat(chunks.map(({ bytes }) => bytes));
  const own = new Map([[key, raw.length]]);
  const choice = chosen(bases, own);
  const { stored, codec } = await pack(raw, choice.bases, PACKING);
  return {
    head: headOf(chunks, raw, stored, codec),
    stored,
    ids: chunks.map(({ id }) => id),
    needs: codec === CODEC_DELTA ? choice.needs : own
  };
}

/**
 * Packs what is left of a block, on what it was based on, and unpacks it again: it is to replace the only copy.
 *
 * @param wasPacked Packed in advance, and not by a recorder: with as much effort again.
 * @throws SyftError INTERNAL when it does not unpack to what it was.
 */
export async function repackBlock(
  chunks: readonly PackedChunk[],
  bases: readonly Base[],
  wasPacked: boolean
): Promise<PlainBlock> {
  const raw = Buffer.concat(chunks.map(({ bytes }) => bytes));
  const { stored, codec } = await pack(raw, bases, wasPacked ? PACKING : STORING);
  return { head: headOf(chunks, raw, stored, codec), stored };
}

function headOf(chunks: readonly PackedChunk[], raw: Buffer, stored: Buffer, codec: BlockCodec): Buffer {
  const table = chunks.map(({ id, bytes }) => ({ id, length: bytes.length }));
  return encodeBlockHead(table, raw.length, stored, codec);
}
