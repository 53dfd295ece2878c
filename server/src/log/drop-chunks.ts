/**
 * Takes chunks out of segments: each segment that holds one is written anew without them and put in place of the old one. Frames
 * keep their records, their chain and their order; only what they store is less (docs/format.md, "Dropped contents").
 *
 * Each segment is replaced at once, so that whoever opens the log at any moment finds whole segments, and what a crash leaves is
 * some of them done and some not: the same call goes on.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { constants as zlibConstants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { SyftError } from '../core/errors.ts';
import { replaceFile, syncDirectory, writeError, writeFully } from '../storage/durable.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { SealingSession } from '../crypto/seal.ts';
import { encodeHead, readHead } from './head.ts';
import {
  blockCrc,
  BLOCK_HEADER,
  blockTableLength,
  CODEC_RAW,
  CODEC_ZSTD,
  decodeBlockHeader,
  encodeBlockHead,
  encodeFrameHeader,
  FRAME_HEADER,
  frameLength,
  frameSeed,
  moveSealedBlock,
  parseSegmentName,
  SEGMENT_HEADER
} from './layout.ts';
import { readUpTo } from './read-up-to.ts';
import { Relocation } from './relocation.ts';
import { openTable, sealBlock, segmentPlace, type FrameSlot, type PlainBlock } from './sealed-frame.ts';
import { Stream, type Block, type Frame, type Segment } from './stream.ts';

/** Bytes copied at a time. */
const PIECE = 1 << 20;
/** Blocks handled before others get their turn. */
const PORTION = 8;

export interface DropChunksOptions {
  readonly logDir: string;
  /** 32 hex digits. */
  readonly workspace: string;
  /** Of an encrypted log. */
  readonly keys: LogKeys | undefined;
  /** The segments to look through, by stream. Nobody may append to them. */
  readonly segments: ReadonlyMap<string, readonly string[]>;
  readonly isDropped: (id: string) => boolean;
  /** The bytes of a chunk as the log had it before anything was rewritten; `undefined` when it cannot be read. */
  readonly chunkBytes: (id: string) => Buffer | undefined;
  /** Blocks that cannot be read go too when one of their chunks is to go; else they stay as they are, as evidence. */
  readonly damagedToo?: boolean;
  /** Only count. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
  /** A segment was replaced. Called before anything else can happen. */
  readonly onReplaced?: (device: string, segment: string, relocation: Relocation) => void;
}

/** What was, or would be, taken out. */
export interface DroppedChunks {
  readonly freedBytes: number;
  readonly segments: number;
}

/** Writes a segment, or only counts what it would take. */
class SegmentSink {
  readonly #fd: number | undefined;
  length = 0;

  constructor(path: string | undefined) {
    this.#fd = path === undefined ? undefined : openSync(path, 'w', 0o600);
  }

  write(bytes: Uint8Array): void {
    if (this.#fd !== undefined) writeFully(this.#fd, bytes, this.length);
    this.length += bytes.length;
  }

  writeAt(bytes: Uint8Array, position: number): void {
    if (this.#fd !== undefined) writeFully(this.#fd, bytes, position);
  }

  /** Leaves room that is filled by {@link writeAt}. */
  skip(length: number): void {
    this.length += length;
  }

  copy(from: number, offset: number, length: number): void {
    if (this.#fd === undefined) {
      this.length += length;
      return;
    }
    for (let done = 0; done < length;) {
      const piece = readUpTo(from, offset + done, Math.min(PIECE, length - done));
      if (piece.length === 0) {
        throw new SyftError('DISK_ERROR', 'A segment became shorter while it was being rewritten.');
      }
      this.write(piece);
      done += piece.length;
    }
  }

  sync(): void {
    if (this.#fd !== undefined) fsyncSync(this.#fd);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

/**
 * What is done to blocks. `free`: one that keeps a chunk and is based on one that goes is made to stand alone, with all it has.
 * `drop`: what goes is taken out.
 */
type Pass = 'free' | 'drop';

/** Whether a block is other after a pass. */
function isConcerned(stream: Stream, block: Block, { isDropped }: DropChunksOptions, pass: Pass): boolean {
  const { table } = block;
  if (table === undefined) return false;
  const going = table.filter(({ id }) => isDropped(id)).length;
  if (going > 0 && pass === 'drop') return true;
  return going < table.length && stream.basesOf(block).some(isDropped);
}

/** A block after a pass, not sealed: `undefined` when nothing is left of it. */
function after(
  stream: Stream,
  block: Block,
  options: DropChunksOptions,
  pass: Pass
): PlainBlock | 'as it is' | undefined {
  const { table } = block;
  if (table === undefined || !isConcerned(stream, block, options, pass)) return 'as it is';
  const kept = pass === 'free' ? table : table.filter(({ id }) => !options.isDropped(id));
  if (kept.length === 0) return undefined;
  const parts = kept.map(({ id }) => options.chunkBytes(id));
  // Not all of it can be read any more.
  if (!parts.every(part => part !== undefined)) return options.damagedToo === true ? undefined : 'as it is';
  const left = Buffer.concat(parts);
  const packed = zstdCompressSync(left, { params: { [zlibConstants.ZSTD_c_compressionLevel]: 3 } });
  const zstd = packed.length < left.length;
  // This replaces the only copy: what was packed must come out again before the old one goes.
  if (zstd && !zstdDecompressSync(packed).equals(left)) {
    throw new SyftError('INTERNAL', 'A block could not be packed anew; nothing was changed.');
  }
  const stored = zstd ? packed : left;
  return { head: encodeBlockHead(kept, left.length, stored, zstd ? CODEC_ZSTD : CODEC_RAW), stored };
}

class SegmentRewriter {
  readonly #options: DropChunksOptions;
  readonly #pass: Pass;
  readonly #seed: number;
  /** What was sealed once is sealed anew in sessions of this call's own: how far those of the writers had counted nobody knows. */
  readonly #sessions = new Map<number, SealingSession>();
  #portion = 0;

  constructor(options: DropChunksOptions, pass: Pass, device: string) {
    this.#options = options;
    this.#pass = pass;
    this.#seed = frameSeed(options.workspace, device);
  }

  /** True when a block of the segment is to become another one. */
  async concerns(stream: Stream, segment: Segment): Promise<boolean> {
    for (const frame of stream.framesOf(segment)) {
      for (const block of stream.blocks(frame)) {
        if (isConcerned(stream, block, this.#options, this.#pass)) return true;
        await this.#pause();
      }
    }
    return false;
  }

  async #pause(): Promise<void> {
    this.#portion += 1;
    if (this.#portion % PORTION !== 0) return;
    if (this.#options.signal?.aborted === true) {
      throw new SyftError('CANCELLED', 'Stopped; what is left to drop is dropped the next time.');
    }
    await new Promise(resolve => setImmediate(resolve));
  }

  /** Writes the segment as it will be. */
  async rewrite(stream: Stream, segment: Segment, sink: SegmentSink): Promise<Relocation> {
    const fd = stream.open(segment);
    const { size } = fstatSync(fd);
    const relocation = new Relocation();
    sink.copy(fd, 0, Math.min(size, SEGMENT_HEADER));
    let done = SEGMENT_HEADER;
    for (const frame of stream.framesOf(segment)) {
      // What stands between frames and cannot be read stays as it is.
      sink.copy(fd, done, frame.offset - done);
      const start = sink.length;
      await this.#frame(stream, frame, fd, sink);
      done = frame.offset + frameLength(frame.header);
      relocation.add(frame.offset, done, start, sink.length);
    }
    sink.copy(fd, done, size - done);
    return relocation;
  }

  async #frame(stream: Stream, frame: Frame, fd: number, sink: SegmentSink): Promise<void> {
    const { header, offset } = frame;
    const start = sink.length;
    sink.skip(FRAME_HEADER);
    sink.copy(fd, offset + FRAME_HEADER, header.recordsStored);
    const chunks = sink.length;
    for (const block of stream.blocks(frame)) {
      const now = after(stream, block, this.#options, this.#pass);
      const fromFrame = sink.length - start;
      if (now === 'as it is') this.#keep(block, fd, sink, fromFrame, block.offset - offset);
      else if (now !== undefined) this.#writeBlock(stream, frame, now, sink, fromFrame);
      await this.#pause();
    }
    sink.writeAt(encodeFrameHeader({ ...header, chunksLength: sink.length - chunks }, this.#seed), start);
  }

  /** A block stays. One that is sealed says where in its frame it stands. */
  #keep(block: Block, fd: number, sink: SegmentSink, fromFrame: number, before: number): void {
    const { header, offset, length } = block;
    const sound = header?.sealed !== undefined && fromFrame !== before ? readUpTo(fd, offset, length) : undefined;
    const tableEnd = header === undefined ? 0 : BLOCK_HEADER + blockTableLength(header);
    if (sound?.length !== length || blockCrc(sound.subarray(0, tableEnd), sound.subarray(tableEnd)) !== header?.crc) {
      // What is damaged stays as it is.
      sink.copy(fd, offset, length);
      return;
    }
    moveSealedBlock(sound.subarray(0, tableEnd), fromFrame, sound.subarray(tableEnd));
    sink.write(sound);
  }

  #writeBlock(
    stream: Stream,
    { segment, header }: Frame,
    block: PlainBlock,
    sink: SegmentSink,
    fromFrame: number
  ): void {
    const { keys, workspace } = this.#options;
    if (keys === undefined) {
      sink.write(block.head);
      sink.write(block.stored);
      return;
    }
    const slot = { segment: segmentPlace(workspace, stream.device, segment), chain: header.chain };
    // Where the header of the segment cannot be read, readers try all epochs.
    const sealed = this.#seal(keys, stream.epochOf(segment) || keys.newest, slot, block, fromFrame);
    sink.write(sealed.head);
    sink.write(sealed.stored);
  }

  #seal(
    keys: LogKeys,
    epoch: number,
    slot: FrameSlot,
    block: PlainBlock,
    fromFrame: number
  ): { head: Buffer; stored: Buffer } {
    let session = this.#sessions.get(epoch);
    if (session === undefined) this.#sessions.set(epoch, (session = new SealingSession(keys, epoch)));
    const sealed = sealBlock(session, slot, block, fromFrame, true);
    const header = decodeBlockHeader(sealed.head);
    const opened = header && openTable(keys, epoch, session.id, slot, header, sealed.head.subarray(BLOCK_HEADER));
    if (opened?.unseal(sealed.stored)?.equals(block.stored) !== true) {
      throw new SyftError('INTERNAL', 'A block could not be encrypted anew; nothing was changed.');
    }
    return sealed;
  }

  /** The new file has the frames of the old one. */
  check(stream: Stream, segment: Segment, path: string): void {
    const copy = new Stream(stream.dir, stream.device, {
      workspace: this.#options.workspace,
      config: () => undefined,
      nextNumber: () => 0,
      onDamage: () => undefined,
      keys: this.#options.keys
    });
    try {
      const other: Segment = { ...segment, path, fd: undefined, relocations: [] };
      copy.segments.push(other);
      const left = copy.framesOf(other);
      for (const { header } of stream.framesOf(segment)) {
        const found = left.next();
        if (found.done === true || !found.value.header.chain.equals(header.chain)) {
          throw new SyftError('INTERNAL', `${segment.where} could not be written anew; nothing was changed.`);
        }
      }
    } finally {
      copy.close();
    }
  }
}

/**
 * Takes chunks out of the segments given.
 *
 * Nothing that stays may be based on what goes, so in a first pass over all segments blocks are freed of such bases. With `dryRun`
 * both are counted at once: what comes out in the end is the same.
 *
 * @returns What was freed, to the byte; with `dryRun` what would be.
 * @throws SyftError CANCELLED, DISK_*: what was done is done, and the same call goes on.
 */
export async function dropChunks(options: DropChunksOptions): Promise<DroppedChunks> {
  const freed = options.dryRun === true ? 0 : (await pass(options, 'free')).freedBytes;
  const { freedBytes, segments } = await pass(options, 'drop');
  return { freedBytes: freed + freedBytes, segments };
}

async function pass(options: DropChunksOptions, which: Pass): Promise<DroppedChunks> {
  let freedBytes = 0;
  let segments = 0;
  let total = 0;
  let done = 0;
  for (const [device, names] of options.segments) {
    for (const name of names) total += statSync(join(options.logDir, 'log', device, name)).size;
  }
  for (const [device, names] of options.segments) {
    const stream = new Stream(join(options.logDir, 'log', device), device, {
      workspace: options.workspace,
      config: () => undefined,
      nextNumber: () => 0,
      // Damage is told by those who read the log for its contents; here it is copied as it is.
      onDamage: () => undefined,
      keys: options.keys
    });
    const rewriter = new SegmentRewriter(options, which, device);
    try {
      stream.discover();
      for (const segment of [...stream.segments]) {
        if (!names.includes(segment.name)) continue;
        const before = fstatSync(stream.open(segment)).size;
        if (await rewriter.concerns(stream, segment)) {
          const after = await replaceSegment(rewriter, stream, segment, options);
          freedBytes += before - after;
          segments += 1;
        }
        if (segment.fd !== undefined) closeSync(segment.fd);
        segment.fd = undefined;
        done += before;
        // What takes long is the second pass: the first touches few segments, or none.
        if (which === 'drop') options.onProgress?.({ done, total, bytes: done });
      }
    } catch (error) {
      throw writeError(error, 'a segment of the log could not be rewritten');
    } finally {
      stream.close();
    }
  }
  return { freedBytes, segments };
}

/** Bytes of the segment as it is, or would be, afterwards. */
async function replaceSegment(
  rewriter: SegmentRewriter,
  stream: Stream,
  segment: Segment,
  options: DropChunksOptions
): Promise<number> {
  const temporary = options.dryRun === true ? undefined : `${segment.path}.tmp`;
  const sink = new SegmentSink(temporary);
  let relocation: Relocation;
  try {
    relocation = await rewriter.rewrite(stream, segment, sink);
    sink.sync();
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    throw error;
  } finally {
    sink.close();
  }
  if (temporary === undefined) return sink.length;
  rewriter.check(stream, segment, temporary);
  shortenHead(stream, segment, relocation);
  renameSync(temporary, segment.path);
  syncDirectory(stream.dir);
  options.onReplaced?.(stream.device, segment.name, relocation);
  return sink.length;
}

/** A head may be behind its segment, never ahead: so it is shortened first, where it names this one. */
function shortenHead(stream: Stream, segment: Segment, relocation: Relocation): void {
  const head = readHead(stream.dir);
  if (head === undefined || head === 'damaged' || head.segment !== segment.name) return;
  replaceFile(join(stream.dir, 'head.json'), encodeHead({ ...head, length: relocation.of(head.length) }));
}

/** Names of the segments of a stream, in order. */
export function segmentNames(logDir: string, device: string): string[] {
  return readdirSync(join(logDir, 'log', device))
    .filter(name => parseSegmentName(name) !== undefined)
    .sort();
}

/** Removes what a rewriting that was cut off has left beside the segments. */
export function removeLeftOvers(logDir: string, device: string): void {
  const dir = join(logDir, 'log', device);
  for (const name of readdirSync(dir)) {
    if (name.endsWith('.seg.tmp')) rmSync(join(dir, name), { force: true });
  }
}
