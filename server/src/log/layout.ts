/** The bytes of the log: segment headers, frame headers, chunk blocks. Pure; docs/format.md is the text of this file. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { SEAL_OVERHEAD } from '../crypto/seal.ts';

export const FORMAT_VERSION = 1;
export const SEGMENT_HEADER = 128;
export const FRAME_HEADER = 96;
export const BLOCK_HEADER = 24;
export const BLOCK_ENTRY = 36;
/** A segment is sealed when it has grown to this many bytes. */
export const SEGMENT_SIZE = 64 * 2 ** 20;
/** No frame, block or chunk may claim more than this; read lengths are checked against it before memory is taken. */
export const MAX_SECTION = 256 * 2 ** 20;
export const MAX_CHUNK = 4 * 2 ** 20;
/** Chunks are compressed together in blocks of about this many bytes. */
export const BLOCK_SIZE = 256 * 1024;

const SEGMENT_MAGIC = Buffer.from('SYFTSEG1', 'latin1');
export const FRAME_MAGIC = Buffer.from('SYFR', 'latin1');
const BLOCK_MAGIC = Buffer.from('SYBK', 'latin1');

export const FLAG_ZSTD = 1;
export const FLAG_ENCRYPTED = 2;
export const FLAG_SEAL = 4;
export const FLAG_CLOSE = 8;
/** With FLAG_ZSTD: the records are compressed with the dictionary of the format. */
export const FLAG_DICTIONARY = 16;
/** Some block of the frame is compressed on chunks of other blocks. */
export const FLAG_DELTA = 32;
const KNOWN_FLAGS = FLAG_ZSTD | FLAG_ENCRYPTED | FLAG_SEAL | FLAG_CLOSE | FLAG_DICTIONARY | FLAG_DELTA;
/** Flags that say how records and chunks are packed, not what the frame is: the chain leaves them out. */
const STORAGE_FLAGS = FLAG_ZSTD | FLAG_DICTIONARY | FLAG_DELTA;

/** How the chunks of a block are stored: as they are, as zstd, or as zstd on the chunks of other blocks (delta.ts). */
export const CODEC_RAW = 0;
export const CODEC_ZSTD = 1;
export const CODEC_DELTA = 2;
export type BlockCodec = typeof CODEC_RAW | typeof CODEC_ZSTD | typeof CODEC_DELTA;
/** Beside the codec: table and content of the block are sealed, and not in the session of its frame. */
const BLOCK_SEALED = 0x100;
const BLOCK_OWN_SESSION = 0x200;
/** Bytes of a session id. */
export const SESSION_ID = 16;
const NO_SESSION = Buffer.alloc(SESSION_ID);

export interface SegmentHeader {
  /** 32 hex digits. */
  readonly workspace: string;
  readonly device: string;
  readonly firstSeq: number;
  /** Microseconds since the epoch. */
  readonly created: number;
  /** Chain value of the last frame before this segment; zeros at the beginning of a stream. */
  readonly previousChain: Buffer;
  /** SHA-256 over the bytes of format.json and device.json. */
  readonly config: Buffer;
  /** Epoch of the keys with which it is encrypted; 0 in a plain log. */
  readonly epoch: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const out = Buffer.alloc(SEGMENT_HEADER);
  SEGMENT_MAGIC.copy(out, 0);
  out.writeUInt16LE(FORMAT_VERSION, 8);
  out.writeUInt16LE(SEGMENT_HEADER, 10);
  out.writeUInt32LE(0, 12);
  out.write(header.workspace, 16, 16, 'hex');
  out.write(header.device, 32, 8, 'latin1');
  out.writeBigUInt64LE(BigInt(header.firstSeq), 40);
  out.writeBigInt64LE(BigInt(header.created), 48);
  header.previousChain.copy(out, 56);
  header.config.copy(out, 88);
  out.writeUInt32LE(header.epoch, 120);
  out.writeUInt32LE(crc32(out.subarray(0, 124)), 124);
  return out;
}

/** `undefined`: not a sound header. `newer`: of a format this program does not know. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | 'newer' | undefined {
  if (bytes.length < SEGMENT_HEADER || !bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return undefined;
  if (bytes.readUInt32LE(124) !== crc32(bytes.subarray(0, 124))) return undefined;
  if (bytes.readUInt16LE(8) !== FORMAT_VERSION || bytes.readUInt32LE(12) !== 0) return 'newer';
  return {
    workspace: bytes.toString('hex', 16, 32),
    device: bytes.toString('latin1', 32, 40),
    firstSeq: Number(bytes.readBigUInt64LE(40)),
    created: Number(bytes.readBigInt64LE(48)),
    previousChain: Buffer.from(bytes.subarray(56, 88)),
    config: Buffer.from(bytes.subarray(88, 120)),
    epoch: bytes.readUInt32LE(120)
  };
}

export interface FrameHeader {
  readonly flags: number;
  readonly firstSeq: number;
  /** Records in it; 0 in a frame of chunks only. */
  readonly count: number;
  /** Microseconds since the epoch. */
  readonly committedAt: number;
  readonly recordsStored: number;
  readonly recordsRaw: number;
  readonly chunksLength: number;
  readonly recordsCrc: number;
  readonly chain: Buffer;
  /** Session in which records and blocks are sealed; zeros in a plain log. */
  readonly session: Buffer;
}

/** What the chain value is made from. */
export type FrameFields = Omit<FrameHeader, 'chain' | 'session'>;

/** Bytes of the whole frame. */
export function frameLength(header: FrameHeader): number {
  return FRAME_HEADER + header.recordsStored + header.chunksLength;
}

function writeFrameFields(out: Buffer, header: FrameFields): void {
  FRAME_MAGIC.copy(out, 0);
  out.writeUInt16LE(header.flags, 4);
  out.writeUInt16LE(FRAME_HEADER, 6);
  out.writeBigUInt64LE(BigInt(header.firstSeq), 8);
  out.writeUInt32LE(header.count, 16);
  out.writeUInt32LE(header.recordsRaw, 20);
  out.writeBigInt64LE(BigInt(header.committedAt), 24);
  out.writeUInt32LE(header.recordsStored, 32);
  out.writeUInt32LE(header.chunksLength, 36);
  out.writeUInt32LE(header.recordsCrc, 40);
}

/** chain = SHA-256(previous chain ‖ header bytes 4…31 ‖ SHA-256(raw records)). Stored lengths and chunks stay out of it. */
export function chainOf(previous: Buffer, header: FrameFields, rawRecords: Buffer): Buffer {
  const fields = Buffer.alloc(FRAME_HEADER);
  writeFrameFields(fields, header);
  fields.writeUInt16LE(header.flags & ~STORAGE_FLAGS, 4);
  return createHash('sha256')
    .update(previous)
    .update(fields.subarray(4, 32))
    .update(createHash('sha256').update(rawRecords).digest())
    .digest();
}

/**
 * What the CRC of a frame header begins with: workspace and device. A log that is itself kept as a content of another one, and
 * met while searching for the next sound frame, is thereby not taken for frames of this stream.
 */
export function frameSeed(workspace: string, device: string): number {
  return crc32(Buffer.concat([Buffer.from(workspace, 'hex'), Buffer.from(device, 'latin1')]));
}

export function encodeFrameHeader(
  header: FrameFields & { readonly chain: Buffer; readonly session?: Buffer },
  seed: number
): Buffer {
  const out = Buffer.alloc(FRAME_HEADER);
  writeFrameFields(out, header);
  header.chain.copy(out, 44);
  header.session?.copy(out, 76);
  out.writeUInt32LE(crc32(out.subarray(0, 92), seed), 92);
  return out;
}

/** `undefined`: no sound header of this stream stands there. `newer`: it uses what this program does not know. */
export function decodeFrameHeader(bytes: Buffer, seed: number, at = 0): FrameHeader | 'newer' | undefined {
  const view = bytes.subarray(at, at + FRAME_HEADER);
  if (view.length < FRAME_HEADER || !view.subarray(0, 4).equals(FRAME_MAGIC)) return undefined;
  if (view.readUInt32LE(92) !== crc32(view.subarray(0, 92), seed)) return undefined;
  const flags = view.readUInt16LE(4);
  if ((flags & ~KNOWN_FLAGS) !== 0 || view.readUInt16LE(6) !== FRAME_HEADER) return 'newer';
  const header: FrameHeader = {
    flags,
    firstSeq: Number(view.readBigUInt64LE(8)),
    count: view.readUInt32LE(16),
    recordsRaw: view.readUInt32LE(20),
    committedAt: Number(view.readBigInt64LE(24)),
    recordsStored: view.readUInt32LE(32),
    chunksLength: view.readUInt32LE(36),
    recordsCrc: view.readUInt32LE(40),
    chain: Buffer.from(view.subarray(44, 76)),
    session: (flags & FLAG_ENCRYPTED) === 0 ? NO_SESSION : Buffer.from(view.subarray(76, 92))
  };
  if (header.recordsRaw > MAX_SECTION || header.recordsStored > MAX_SECTION || header.chunksLength > MAX_SECTION) {
    return undefined;
  }
  return header;
}

/** Bytes 4…31 of a frame header, to which its sealed records are bound. */
export function frameFields(header: FrameFields): Buffer {
  const out = Buffer.alloc(FRAME_HEADER);
  writeFrameFields(out, header);
  return out.subarray(4, 32);
}

export interface BlockEntry {
  /** 64 hex digits. */
  readonly id: string;
  /** Bytes of the chunk. */
  readonly length: number;
}

export interface BlockHeader {
  readonly count: number;
  readonly rawLength: number;
  readonly storedLength: number;
  readonly codec: BlockCodec;
  readonly crc: number;
  /** Of a block that is sealed; its `rawLength` is 0 until its table is open. */
  readonly sealed: SealedBlockHeader | undefined;
}

export interface SealedBlockHeader {
  /** Bytes from the beginning of its frame to its own. */
  readonly fromFrame: number;
  /** A session id of its own stands before the table. */
  readonly ownSession: boolean;
}

/** Header and table of a block of chunks; `stored` follows. The crc covers header (but itself), table and stored bytes. */
export function encodeBlockHead(
  entries: readonly BlockEntry[],
  rawLength: number,
  stored: Uint8Array,
  codec: BlockCodec
): Buffer {
  const out = Buffer.allocUnsafe(BLOCK_HEADER + entries.length * BLOCK_ENTRY);
  entries.forEach((entry, i) => {
    out.write(entry.id, BLOCK_HEADER + i * BLOCK_ENTRY, 32, 'hex');
    out.writeUInt32LE(entry.length, BLOCK_HEADER + i * BLOCK_ENTRY + 32);
  });
  finishBlockHead(out, rawLength, stored, codec);
  return out;
}

/** Room for the header of a block, and its table from ids in binary (32 bytes each) and lengths. */
export function encodeBlockTable(ids: Uint8Array, lengths: readonly number[]): Buffer {
  const out = Buffer.allocUnsafe(BLOCK_HEADER + lengths.length * BLOCK_ENTRY);
  const view = new DataView(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < lengths.length; i += 1) {
    const at = BLOCK_HEADER + i * BLOCK_ENTRY;
    for (let k = 0; k < 32; k += 1) out[at + k] = ids[i * 32 + k] as number;
    view.setUint32(at + 32, lengths[i] as number, true);
  }
  return out;
}

/** Writes the header of a block in front of its table, which is there already. */
export function finishBlockHead(out: Buffer, rawLength: number, stored: Uint8Array, codec: BlockCodec): void {
  BLOCK_MAGIC.copy(out, 0);
  out.writeUInt32LE((out.length - BLOCK_HEADER) / BLOCK_ENTRY, 4);
  out.writeUInt32LE(rawLength, 8);
  out.writeUInt32LE(stored.length, 12);
  out.writeUInt32LE(codec, 16);
  out.writeUInt32LE(blockCrc(out, stored), 20);
}

/** CRC over a block's header without its crc field, its table and its stored bytes. */
export function blockCrc(head: Buffer, stored: Uint8Array): number {
  return crc32(stored, crc32(head.subarray(BLOCK_HEADER), crc32(head.subarray(0, 20))));
}

export function decodeBlockHeader(bytes: Buffer): BlockHeader | undefined {
  if (bytes.length < BLOCK_HEADER || !bytes.subarray(0, 4).equals(BLOCK_MAGIC)) return undefined;
  const kind = bytes.readUInt32LE(16);
  const isSealed = (kind & BLOCK_SEALED) !== 0;
  const codec = isSealed ? kind & ~(BLOCK_SEALED | BLOCK_OWN_SESSION) : kind;
  const header: BlockHeader = {
    count: bytes.readUInt32LE(4),
    rawLength: isSealed ? 0 : bytes.readUInt32LE(8),
    storedLength: bytes.readUInt32LE(12),
    codec: codec as BlockCodec,
    crc: bytes.readUInt32LE(20),
    sealed: isSealed ? { fromFrame: bytes.readUInt32LE(8), ownSession: (kind & BLOCK_OWN_SESSION) !== 0 } : undefined
  };
  if (
    codec > CODEC_DELTA ||
    header.rawLength > MAX_SECTION ||
    header.storedLength > MAX_SECTION ||
    header.count > MAX_SECTION / BLOCK_ENTRY
  ) {
    return undefined;
  }
  return header;
}

/** Bytes between the header of a block and what is stored of its chunks. */
export function blockTableLength({ count, sealed }: BlockHeader): number {
  if (sealed === undefined) return count * BLOCK_ENTRY;
  return (sealed.ownSession ? SESSION_ID : 0) + count * BLOCK_ENTRY + SEAL_OVERHEAD;
}

/** What the sealed table of a block is bound to of its header: bytes 4…7 and 12…19. */
export function boundOfBlock(count: number, storedLength: number, codec: BlockCodec, ownSession: boolean): Buffer {
  const out = Buffer.alloc(12);
  out.writeUInt32LE(count, 0);
  out.writeUInt32LE(storedLength, 4);
  out.writeUInt32LE(codec | BLOCK_SEALED | (ownSession ? BLOCK_OWN_SESSION : 0), 8);
  return out;
}

/**
 * Header and sealed table of a block; `stored`, sealed, follows.
 *
 * @param bound From {@link boundOfBlock}.
 * @param table Sealed, with the session id before it where the block has its own.
 */
export function encodeSealedBlockHead(fromFrame: number, bound: Buffer, table: Uint8Array, stored: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(BLOCK_HEADER + table.length);
  BLOCK_MAGIC.copy(out, 0);
  bound.copy(out, 4, 0, 4);
  out.writeUInt32LE(fromFrame, 8);
  bound.copy(out, 12, 4);
  out.set(table, BLOCK_HEADER);
  out.writeUInt32LE(blockCrc(out, stored), 20);
  return out;
}

/** A sealed block that stands at another place in its frame; `head` is everything before what is stored. */
export function moveSealedBlock(head: Buffer, fromFrame: number, stored: Uint8Array): void {
  head.writeUInt32LE(fromFrame, 8);
  head.writeUInt32LE(blockCrc(head, stored), 20);
}

/** The entries of a table; `undefined` when they claim more than a block may have. */
export function decodeSealedTable(table: Buffer): { entries: BlockEntry[]; rawLength: number } | undefined {
  const entries: BlockEntry[] = [];
  let rawLength = 0;
  for (let at = 0; at < table.length; at += BLOCK_ENTRY) {
    const length = table.readUInt32LE(at + 32);
    rawLength += length;
    entries.push({ id: table.toString('hex', at, at + 32), length });
  }
  return rawLength > MAX_SECTION ? undefined : { entries, rawLength };
}

/** Whether a table is whole and the lengths in it add up to what its block says. */
export function fitsBlock(table: Buffer, { count, rawLength }: BlockHeader): boolean {
  if (table.length !== count * BLOCK_ENTRY) return false;
  let total = 0;
  for (let at = 32; at < table.length; at += BLOCK_ENTRY) total += table.readUInt32LE(at);
  return total === rawLength;
}

/** The entries of a table that {@link fitsBlock}. */
export function decodeBlockTable(table: Buffer): BlockEntry[] {
  const entries: BlockEntry[] = [];
  for (let at = 0; at < table.length; at += BLOCK_ENTRY) {
    entries.push({ id: table.toString('hex', at, at + 32), length: table.readUInt32LE(at + 32) });
  }
  return entries;
}

const SEGMENT_NAME = /^(\d{20})-(\d{6})\.seg$/;

/** `<first-seq>-<part>.seg`: several segments may begin at one seq when a large content fills more than one. */
export function segmentName(firstSeq: number, part: number): string {
  return `${String(firstSeq).padStart(20, '0')}-${String(part).padStart(6, '0')}.seg`;
}

export function parseSegmentName(name: string): { firstSeq: number; part: number } | undefined {
  const match = SEGMENT_NAME.exec(name);
  return match === null ? undefined : { firstSeq: Number(match[1]), part: Number(match[2]) };
}
