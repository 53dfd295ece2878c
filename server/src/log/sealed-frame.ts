/**
 * What of a frame is sealed, and what each part is bound to (docs/format.md, "What is sealed"). A part opens only in the frame for
 * which it was made; it does not depend on where in its segment that frame stands, so a segment can be rewritten without some of
 * its chunks, and what stays is not sealed anew.
 */
import type { LogKeys } from '../crypto/log-keys.ts';
import { openSealed, SEAL_OVERHEAD, type SealingSession, type SealOrigin } from '../crypto/seal.ts';
import {
  BLOCK_ENTRY,
  BLOCK_HEADER,
  boundOfBlock,
  decodeSealedTable,
  encodeSealedBlockHead,
  frameFields,
  SESSION_ID,
  type BlockCodec,
  type BlockEntry,
  type BlockHeader,
  type FrameFields
} from './layout.ts';

/** Bytes of a GCM tag: the end of every sealed part. */
const TAG = 16;

/** A frame, as what is sealed in it is bound to it. */
export interface FrameSlot {
  /** From {@link segmentPlace}. */
  readonly segment: Buffer;
  /** Chain value of the frame. */
  readonly chain: Buffer;
}

/**
 * Names a segment: workspace, device, first sequence number and part, as in its path.
 *
 * @param workspace 32 hex digits.
 */
export function segmentPlace(
  workspace: string,
  device: string,
  segment: { readonly firstSeq: number; readonly part: number }
): Buffer {
  const out = Buffer.alloc(36);
  out.write(workspace, 0, 16, 'hex');
  out.write(device, 16, 8, 'latin1');
  out.writeBigUInt64LE(BigInt(segment.firstSeq), 24);
  out.writeUInt32LE(segment.part, 32);
  return out;
}

function context({ segment, chain }: FrameSlot, more: Uint8Array): Buffer {
  return Buffer.concat([segment, chain, more]);
}

/** Seals the records of a frame. @param stored As they would be written plain: compressed or not. */
export function sealRecords(session: SealingSession, slot: FrameSlot, fields: FrameFields, stored: Uint8Array): Buffer {
  return session.seal('records', context(slot, frameFields(fields)), stored);
}

/** The records of a frame as they would be plain; `undefined` when they were altered, or are not of this frame. */
export function openRecords(
  keys: LogKeys,
  origin: SealOrigin,
  slot: FrameSlot,
  fields: FrameFields,
  sealed: Uint8Array
): Buffer | undefined {
  return openSealed(keys, origin, 'records', context(slot, frameFields(fields)), sealed);
}

/** A block that is not sealed, its ids those of the log. */
export interface PlainBlock {
  /** Header and table, as of a plain log. */
  readonly head: Buffer;
  readonly stored: Uint8Array;
}

/** Bytes that a block takes when it is sealed. */
export function sealedBlockLength({ head, stored }: PlainBlock, ownSession = false): number {
  return head.length + SEAL_OVERHEAD + (ownSession ? SESSION_ID : 0) + stored.length + SEAL_OVERHEAD;
}

/**
 * Seals a block.
 *
 * @param fromFrame Bytes from the beginning of its frame to where it will stand.
 * @param ownSession The session is not that of its frame.
 * @returns Header and table, and what stands behind them.
 */
export function sealBlock(
  session: SealingSession,
  slot: FrameSlot,
  { head, stored }: PlainBlock,
  fromFrame: number,
  ownSession = false
): { readonly head: Buffer; readonly stored: Buffer } {
  const count = (head.length - BLOCK_HEADER) / BLOCK_ENTRY;
  const codec = head.readUInt32LE(16) as BlockCodec;
  const bound = boundOfBlock(count, stored.length + SEAL_OVERHEAD, codec, ownSession);
  const table = session.seal('block-table', context(slot, bound), head.subarray(BLOCK_HEADER));
  const content = session.seal('block', context(slot, table.subarray(-TAG)), stored);
  const before = ownSession ? Buffer.concat([session.id, table]) : table;
  return { head: encodeSealedBlockHead(fromFrame, bound, before, content), stored: content };
}

/** A table that was sealed, and how to open what is stored behind it. */
export interface OpenedTable {
  readonly entries: readonly BlockEntry[];
  readonly rawLength: number;
  /** `undefined` when it was altered, or belongs behind another table. */
  readonly unseal: (stored: Buffer) => Buffer | undefined;
}

/**
 * Opens the table of a block.
 *
 * @param epoch Of its segment.
 * @param session Of its frame.
 * @param header Of the block; must be one that is sealed.
 * @param table All between header and what is stored.
 * @returns `undefined` when it was altered, or is not of this frame.
 */
export function openTable(
  keys: LogKeys,
  epoch: number,
  session: Uint8Array,
  slot: FrameSlot,
  header: BlockHeader,
  table: Buffer
): OpenedTable | undefined {
  const ownSession = header.sealed?.ownSession === true;
  const origin = { epoch, session: ownSession ? table.subarray(0, SESSION_ID) : session };
  const sealed = ownSession ? table.subarray(SESSION_ID) : table;
  const bound = boundOfBlock(header.count, header.storedLength, header.codec, ownSession);
  const plain = openSealed(keys, origin, 'block-table', context(slot, bound), sealed);
  const decoded = plain === undefined ? undefined : decodeSealedTable(plain);
  if (decoded === undefined) return undefined;
  // Copied: `table` may be part of a larger buffer, and the closure lives as long as the block.
  const behind = context(slot, sealed.subarray(-TAG));
  const from = { epoch, session: Buffer.from(origin.session) };
  return { ...decoded, unseal: stored => openSealed(keys, from, 'block', behind, stored) };
}
