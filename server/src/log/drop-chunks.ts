/**
 * Takes chunks out of segments: each segment that holds one is written anew without them and put in place of the old one. Frames
 * keep their records, their chain and their order; only what they store is less (docs/format.md, "Dropped contents").
 *
 * Each segment is replaced at once, so that whoever opens the log at any moment finds whole segments, and what a crash leaves is
 * some of them done and some not: the same call goes on.
 */
import { closeSync, fstatSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { writeError } from '../storage/durable.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { BlockSealer } from './block-sealer.ts';
import type { Base } from './build-blocks.ts';
import {
  blockCrc,
  BLOCK_HEADER,
  blockTableLength,
  encodeFrameHeader,
  FRAME_HEADER,
  frameLength,
  frameSeed,
  moveSealedBlock,
  parseSegmentName,
  SEGMENT_HEADER,
  type BlockEntry
} from './layout.ts';
import { repackBlock } from './pack-blocks.ts';
import { readUpTo } from './read-up-to.ts';
import { Relocation } from './relocation.ts';
import { replaceSegment } from './replace-segment.ts';
import { segmentPlace, type PlainBlock } from './sealed-frame.ts';
import type { SegmentSink } from './segment-sink.ts';
import { Stream, type Block, type Frame, type Segment } from './stream.ts';

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

/** A block of more than a recorder puts into one was packed by a compaction: what is left of it is packed so again. Bytes. */
const PACKED_FROM = 2 ** 20;

/** What a block is based on and stays, where its chunks may go on to be based on it; none where any of that goes or cannot be read. */
function basesLeft(stream: Stream, block: Block, options: DropChunksOptions): Base[] {
  const bases: Base[] = [];
  for (const id of stream.basesOf(block)) {
    const bytes = options.isDropped(id) ? undefined : options.chunkBytes(id);
    if (bytes === undefined) return [];
    bases.push({ id, bytes });
  }
  return bases;
}

/** A block after a pass, not sealed: `undefined` when nothing is left of it. */
async function after(
  stream: Stream,
  block: Block,
  options: DropChunksOptions,
  pass: Pass
): Promise<PlainBlock | 'as it is' | undefined> {
  const { table } = block;
  if (table === undefined || !isConcerned(stream, block, options, pass)) return 'as it is';
  const kept = pass === 'free' ? table : table.filter(({ id }) => !options.isDropped(id));
  if (kept.length === 0) return undefined;
  const parts = kept.map(({ id }) => options.chunkBytes(id));
  // Not all of it can be read any more.
  if (!parts.every(part => part !== undefined)) return options.damagedToo === true ? undefined : 'as it is';
  const chunks = parts.map((bytes, i) => ({ id: (kept[i] as BlockEntry).id, bytes }));
  return repackBlock(chunks, basesLeft(stream, block, options), (block.header?.rawLength ?? 0) > PACKED_FROM);
}

class SegmentRewriter {
  readonly #options: DropChunksOptions;
  readonly #pass: Pass;
  readonly #seed: number;
  readonly #sealer = new BlockSealer();
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
      const now = await after(stream, block, this.#options, this.#pass);
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
    const sealed = this.#sealer.seal(keys, stream.epochOf(segment) || keys.newest, slot, block, fromFrame);
    sink.write(sealed.head);
    sink.write(sealed.stored);
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
          const after = await replaceSegment(stream, segment, sink => rewriter.rewrite(stream, segment, sink), options);
          freedBytes += before - (after ?? before);
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
