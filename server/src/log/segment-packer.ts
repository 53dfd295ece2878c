/** Writes a segment with its contents packed anew, all in its last frame. */
import { closeSync, fstatSync } from 'node:fs';
import { SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { BlockSealer } from './block-sealer.ts';
import type { Inventory } from './inventory.ts';
import {
  CODEC_DELTA,
  decodeSegmentHeader,
  encodeFrameHeader,
  FLAG_DELTA,
  FRAME_HEADER,
  frameLength,
  frameSeed,
  SEGMENT_HEADER
} from './layout.ts';
import { isFull, packBlock, type Pack, type PackBase, type PackedChunk } from './pack-blocks.ts';
import { goneIn, type PackStep } from './pack-order.ts';
import { readUpTo } from './read-up-to.ts';
import { Relocation } from './relocation.ts';
import { segmentPlace } from './sealed-frame.ts';
import type { SegmentSink } from './segment-sink.ts';
import type { Frame, Segment, Stream } from './stream.ts';

/** A segment, as far as it counts. */
export interface SegmentPart {
  readonly stream: Stream;
  readonly segment: Segment;
  /** Bytes. */
  readonly end: number;
}

/** Frames handled before others get their turn. */
const PORTION = 64;

/** The frames of a segment up to where it counts; behind that its writer goes on. */
function* framesOf({ stream, segment, end }: SegmentPart): Generator<Frame> {
  for (const frame of stream.framesOf(segment)) {
    if (frame.offset >= end) return;
    yield frame;
  }
}

export type SegmentShape = 'packed' | 'to be packed' | 'damaged';

/**
 * Looks at the headers of a segment.
 *
 * @returns `packed` when all its contents stand in the last frame, as compaction leaves them; `damaged` when its frames do not follow one
 *   another from its header to the end: what stands between them is evidence, and stays as it is.
 */
export async function segmentShape(part: SegmentPart): Promise<SegmentShape> {
  const { stream, segment, end } = part;
  const header = decodeSegmentHeader(readUpTo(stream.open(segment), 0, SEGMENT_HEADER));
  if (header === undefined || header === 'newer') return 'damaged';
  let at = SEGMENT_HEADER;
  let frames = 0;
  /** Contents stand in a frame behind which others come. */
  let spread = false;
  let before = 0;
  for (const frame of framesOf(part)) {
    if (frame.offset !== at) return 'damaged';
    at += frameLength(frame.header);
    spread ||= before > 0;
    before = frame.header.chunksLength;
    frames += 1;
    if (frames % PORTION === 0) await new Promise(resolve => setImmediate(resolve));
  }
  if (at !== end) return 'damaged';
  return spread ? 'to be packed' : 'packed';
}

interface PackerOptions {
  /** 32 hex digits. */
  readonly workspace: string;
  readonly keys: LogKeys | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class SegmentPacker {
  readonly #inventory: Inventory;
  readonly #part: SegmentPart;
  readonly #steps: AsyncIterable<PackStep>;
  readonly #options: PackerOptions;
  readonly #sealer = new BlockSealer();
  /** Ids of all chunks of the segment; in those that were packed, the block that has them. */
  readonly #ids = new Set<string>();
  readonly #packed = new Map<string, Pack>();

  /**
   * @param part Must be `to be packed`.
   * @param steps Of it, from {@link PackOrder}.
   */
  constructor(inventory: Inventory, part: SegmentPart, steps: AsyncIterable<PackStep>, options: PackerOptions) {
    this.#inventory = inventory;
    this.#part = part;
    this.#steps = steps;
    this.#options = options;
  }

  /**
   * Writes the segment as it will be.
   *
   * @throws SyftError LOG_DAMAGED when not all of it can be read; CANCELLED.
   */
  async write(sink: SegmentSink): Promise<Relocation> {
    const { stream, segment } = this.#part;
    const fd = stream.open(segment);
    const relocation = new Relocation();
    sink.copy(fd, 0, SEGMENT_HEADER);
    let last = 0;
    let portion = 0;
    for (const frame of framesOf(this.#part)) {
      this.#collect(frame);
      last = frame.offset;
      portion += 1;
      if (portion % PORTION === 0) await this.#pause();
    }
    const seed = frameSeed(this.#options.workspace, stream.device);
    for (const frame of framesOf(this.#part)) {
      const { header, offset } = frame;
      const start = sink.length;
      sink.skip(FRAME_HEADER);
      sink.copy(fd, offset + FRAME_HEADER, header.recordsStored);
      const chunks = sink.length;
      let { flags } = header;
      if (offset === last && (await this.#writeBlocks(frame, start, sink))) flags |= FLAG_DELTA;
      sink.writeAt(encodeFrameHeader({ ...header, flags, chunksLength: sink.length - chunks }, seed), start);
      relocation.add(offset, offset + frameLength(header), start, sink.length);
      portion += 1;
      if (portion % PORTION === 0) await this.#pause();
    }
    return relocation;
  }

  #damaged(what: string): SyftError {
    return new SyftError('LOG_DAMAGED', `${this.#part.segment.where} is left as it is: ${what}.`);
  }

  #collect(frame: Frame): void {
    const { stream } = this.#part;
    if (!stream.isWhole(frame)) throw this.#damaged('a frame of it is damaged');
    for (const block of stream.blocks(frame)) for (const { id } of block.table ?? []) this.#ids.add(id);
  }

  async #pause(): Promise<void> {
    if (this.#options.signal?.aborted === true) {
      throw new SyftError('CANCELLED', 'Stopped; what is left to compact is compacted the next time.');
    }
    await new Promise(resolve => setImmediate(resolve));
  }

  /** Writes all blocks of the segment. True when some are deltas. */
  async #writeBlocks(frame: Frame, start: number, sink: SegmentSink): Promise<boolean> {
    const { header } = frame;
    // The records of an encrypted frame are bound to its flags.
    const mayDelta =
      this.#options.keys === undefined || header.recordsStored === 0 || (header.flags & FLAG_DELTA) !== 0;
    let deltas = false;
    for await (const pack of this.#packs(mayDelta)) {
      deltas ||= pack.head.readUInt32LE(16) === CODEC_DELTA;
      const { head, stored } = this.#sealed(frame, pack, sink.length - start);
      sink.write(head);
      sink.write(stored);
      await this.#pause();
    }
    return deltas;
  }

  #sealed(frame: Frame, pack: Pack, fromFrame: number): { readonly head: Buffer; readonly stored: Uint8Array } {
    const { keys, workspace } = this.#options;
    if (keys === undefined) return pack;
    const { stream, segment } = this.#part;
    const slot = { segment: segmentPlace(workspace, stream.device, segment), chain: frame.header.chain };
    return this.#sealer.seal(keys, stream.epochOf(segment), slot, pack, fromFrame);
  }

  async *#packs(mayDelta: boolean): AsyncGenerator<Pack> {
    let chunks: PackedChunk[] = [];
    let bytes = 0;
    let gone = new Set<number>();
    const flush = async (): Promise<Pack> => {
      const key = `packed ${this.#packed.size}`;
      const pack = await packBlock(key, chunks, mayDelta ? this.#basesOf(gone) : []);
      for (const id of pack.ids) this.#packed.set(id, pack);
      chunks = [];
      bytes = 0;
      gone = new Set();
      return pack;
    };
    for await (const { fresh, left } of this.#inOrder()) {
      for (const id of fresh) {
        if (!this.#ids.has(id)) continue;
        // Copied: it may be a part of a block that is much larger, and would keep all of it.
        const chunk = Buffer.from(this.#found(id).bytes);
        if (isFull(chunks, bytes, chunk.length)) yield await flush();
        chunks.push({ id, bytes: chunk });
        bytes += chunk.length;
        for (const number of left) gone.add(number);
      }
    }
    if (chunks.length > 0) yield await flush();
  }

  /** Ids of the chunks, each once: by versions, then those that no version has, such as what acts list. */
  async *#inOrder(): AsyncGenerator<{ fresh: readonly string[]; left: readonly number[] }> {
    const named = new Set<string>();
    for await (const step of this.#steps) {
      const fresh = step.fresh.map(chunk => this.#inventory.chunkId(chunk));
      for (const id of fresh) named.add(id);
      yield { fresh, left: goneIn(this.#inventory, step) };
    }
    yield { fresh: [...this.#ids].filter(id => !named.has(id)), left: [] };
  }

  #found(id: string): { readonly bytes: Buffer; readonly needs: ReadonlyMap<string, number> } {
    const found = this.#inventory.found(id);
    if (found === undefined) throw this.#damaged('a content in it cannot be read');
    return found;
  }

  /**
   * What a block may be based on: chunks in blocks before it, and in earlier segments of its stream. So nothing goes round, whatever
   * other blocks are based on, and whichever segments were compacted.
   */
  *#basesOf(gone: Iterable<number>): Generator<PackBase> {
    const { segment } = this.#part;
    for (const chunk of gone) {
      const id = this.#inventory.chunkId(chunk);
      const lies = this.#inventory.segmentOf(chunk);
      if (lies === undefined) continue;
      const pack = this.#packed.get(id);
      const isEarlier = lies.where < segment.where && lies.where.split('/')[1] === segment.where.split('/')[1];
      if (lies.where === segment.where ? pack === undefined : !isEarlier) continue;
      const found = this.#inventory.found(id);
      if (found !== undefined) yield { id, bytes: found.bytes, needs: pack?.needs ?? found.needs };
    }
  }

  /**
   * The file on disk holds all chunks, and nothing in it is cut or altered.
   *
   * @param copy Reads it.
   * @throws SyftError INTERNAL.
   */
  async verify(copy: Stream, written: Segment): Promise<void> {
    const left = new Set(this.#ids);
    let end = SEGMENT_HEADER;
    let portion = 0;
    for (const frame of copy.framesOf(written)) {
      if (frame.offset !== end || !copy.isWhole(frame)) break;
      end += frameLength(frame.header);
      for (const block of copy.blocks(frame)) for (const { id } of block.table ?? []) left.delete(id);
      portion += 1;
      if (portion % PORTION === 0) await this.#pause();
    }
    const fd = copy.open(written);
    if (left.size > 0 || end !== fstatSync(fd).size) {
      throw new SyftError('INTERNAL', `${written.where} could not be written anew; nothing was changed.`);
    }
    closeSync(fd);
    written.fd = undefined;
  }
}
