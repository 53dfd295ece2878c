/** Walks the frames of one device's stream. Reads only; never trusts a length before it has been checked. */
import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Change } from '../core/change.ts';
import { decodeRecord, RecordError } from '../core/record.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { DELTA_HEAD, splitDelta } from './delta.ts';
import {
  BLOCK_ENTRY,
  BLOCK_HEADER,
  blockTableLength,
  CODEC_DELTA,
  blockCrc,
  decodeBlockHeader,
  decodeBlockTable,
  decodeFrameHeader,
  decodeSegmentHeader,
  fitsBlock,
  FLAG_ENCRYPTED,
  FRAME_HEADER,
  FRAME_MAGIC,
  frameLength,
  frameSeed,
  parseSegmentName,
  SEGMENT_HEADER,
  type BlockEntry,
  type BlockHeader,
  type FrameHeader
} from './layout.ts';
import { positionBehind, type StreamMark } from './marks.ts';
import { readUpTo } from './read-up-to.ts';
import { presentOffset, type Relocation } from './relocation.ts';
import { unpackRecords } from './records-codec.ts';
import { openRecords, openTable, segmentPlace, type FrameSlot } from './sealed-frame.ts';
import type { Damage } from './types.ts';

/** One segment file. `number` counts over all streams of the log: chunks are found by it. */
export interface Segment {
  readonly number: number;
  readonly name: string;
  readonly path: string;
  /** Relative to the log directory, for messages. */
  readonly where: string;
  readonly firstSeq: number;
  readonly part: number;
  fd: number | undefined;
  /** How it was rewritten since it was taken up, in order. A place in it counts with how many of these it knows. */
  readonly relocations: Relocation[];
  /** Epoch of its keys, once it was looked up; `unknown`: its header cannot be read. */
  epoch?: number | 'unknown' | undefined;
}

export interface Frame {
  readonly segment: Segment;
  readonly offset: number;
  /** How many relocations of the segment the offset knows; absent: all. */
  readonly generation?: number;
  readonly header: FrameHeader;
}

/** A place in a stream, and what must come next there. */
export interface Position {
  /** Index into the stream's segments. */
  index: number;
  offset: number;
  chain: Buffer | undefined;
  nextSeq: number;
  /** How many relocations of the segment the offset knows; absent: all. */
  generation?: number | undefined;
  /** The frame before, when it is known. */
  last?: { readonly segment: Segment; readonly offset: number; readonly generation: number } | undefined;
}

export function streamStart(): Position {
  return { index: 0, offset: 0, chain: Buffer.alloc(32), nextSeq: 1 };
}

const RESYNC_STEP = 1 << 20;

export class Stream {
  readonly device: string;
  readonly dir: string;
  readonly segments: Segment[] = [];
  readonly #workspace: string;
  readonly #seed: number;
  readonly #config: (device: string) => Buffer | undefined;
  readonly #number: () => number;
  readonly #onDamage: (damage: Damage) => void;
  readonly #keys: LogKeys | undefined;

  constructor(
    dir: string,
    device: string,
    options: {
      workspace: string;
      /** Digest that segment headers must carry; `undefined` when device.json cannot be read. */
      config: (device: string) => Buffer | undefined;
      nextNumber: () => number;
      onDamage: (damage: Damage) => void;
      /** Of an encrypted log; without them what is encrypted cannot be walked at all. */
      keys: LogKeys | undefined;
    }
  ) {
    this.dir = dir;
    this.device = device;
    this.#workspace = options.workspace;
    this.#seed = frameSeed(options.workspace, device);
    this.#config = options.config;
    this.#number = options.nextNumber;
    this.#onDamage = options.onDamage;
    this.#keys = options.keys;
  }

  /** Takes up segments that have appeared. */
  discover(): void {
    let names: string[];
    try {
      names = readdirSync(this.dir);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    const known = new Set(this.segments.map(segment => segment.name));
    const fresh = names.flatMap(name => {
      const parsed = parseSegmentName(name);
      return parsed === undefined || known.has(name) ? [] : [{ name, ...parsed }];
    });
    fresh.sort((a, b) => a.firstSeq - b.firstSeq || a.part - b.part);
    for (const { name, firstSeq, part } of fresh) this.addSegment(name, firstSeq, part);
  }

  addSegment(name: string, firstSeq: number, part: number): Segment {
    const segment: Segment = {
      number: this.#number(),
      name,
      path: join(this.dir, name),
      where: `log/${this.device}/${name}`,
      firstSeq,
      part,
      fd: undefined,
      relocations: []
    };
    this.segments.push(segment);
    return segment;
  }

  #damage(kind: string, segment: Segment, offset: number, message: string, versions: readonly string[] = []): void {
    this.#onDamage({ kind, where: `${segment.where}:${offset}`, versions, message });
  }

  /** The header of a segment, judged. False: the segment cannot be read from its beginning. */
  #checkHeader(segment: Segment, fd: number, position: Position, isLast: boolean): boolean {
    const header = decodeSegmentHeader(readUpTo(fd, 0, SEGMENT_HEADER));
    if (header === 'newer') {
      throw new SyftError(
        'LOG_NEWER_FORMAT',
        `${segment.where} is of a newer format than this program knows. Update syft-sync.`,
        { path: segment.path }
      );
    }
    if (header === undefined) {
      // A crash may leave the newest segment without its header; it then holds nothing that was ever acknowledged.
      if (!(isLast && fstatSync(fd).size <= SEGMENT_HEADER)) {
        this.#damage('checksum', segment, 0, 'The header of a segment is damaged.');
      }
      return false;
    }
    if (header.workspace !== this.#workspace || header.device !== this.device || header.firstSeq !== segment.firstSeq) {
      this.#damage('config', segment, 0, 'The segment belongs to another log, device or place.');
      return false;
    }
    this.#checkEpoch(segment, header.epoch);
    const config = this.#config(this.device);
    if (config !== undefined && !config.equals(header.config)) {
      this.#damage('config', segment, 0, 'format.json or device.json is not what it was when this segment began.');
    }
    if (position.chain !== undefined && !position.chain.equals(header.previousChain)) {
      this.#damage('missing', segment, 0, 'What came before this segment is missing or is not what it was.');
      position.chain = header.previousChain;
    }
    return true;
  }

  #checkEpoch(segment: Segment, epoch: number): void {
    segment.epoch = epoch;
    const newest = this.#keys?.newest ?? 0;
    if (newest === 0 && epoch > 0) throw this.#needsKeys(segment);
    if (newest > 0 && epoch === 0) {
      this.#damage(
        'encryption',
        segment,
        0,
        'The segment is not encrypted, and the log is: it was put there without the keys.'
      );
    } else if (epoch > newest) {
      const message = `The segment is encrypted with key ${epoch}, and keys/master.json has ${newest}: put the newest copy of it back.`;
      this.#damage('encryption', segment, 0, message);
    }
  }

  #needsKeys(segment: Segment): SyftError {
    return new SyftError(
      'LOG_ENCRYPTED',
      `${segment.where} is encrypted, and no keys were given; if format.json says that the log is not, it was altered.`,
      { path: segment.path }
    );
  }

  /** Epoch of the keys of a segment; 0 in a plain log, and where its header cannot be read. */
  epochOf(segment: Segment): number {
    if (segment.epoch === undefined) {
      const header = decodeSegmentHeader(readUpTo(this.open(segment), 0, SEGMENT_HEADER));
      segment.epoch = header === undefined || header === 'newer' ? 'unknown' : header.epoch;
    }
    return segment.epoch === 'unknown' ? 0 : segment.epoch;
  }

  /** The epochs under which something in a segment may be sealed. */
  #epochs(segment: Segment, keys: LogKeys): readonly number[] {
    const epoch = this.epochOf(segment);
    return segment.epoch === 'unknown' ? keys.epochs.toReversed() : [epoch];
  }

  #slot(segment: Segment, header: FrameHeader): FrameSlot {
    return { segment: segmentPlace(this.#workspace, this.device, segment), chain: header.chain };
  }

  /** A frame header of this log. In an encrypted log a frame that is not encrypted is none: it was put there without the keys. */
  #decodeFrame(segment: Segment, bytes: Buffer, at = 0): FrameHeader | 'newer' | undefined {
    const header = decodeFrameHeader(bytes, this.#seed, at);
    if (header === undefined || header === 'newer') return header;
    const isEncrypted = (header.flags & FLAG_ENCRYPTED) !== 0;
    if (isEncrypted && this.#keys === undefined) throw this.#needsKeys(segment);
    return isEncrypted === (this.#keys !== undefined) ? header : undefined;
  }

  /**
   * Yields the sound frames from a position on and moves the position along. Ends at the last whole frame; what is damaged in
   * between is reported and passed over.
   *
   * @param limit Bytes of the last segment that may be read; default all.
   */
  *walk(position: Position, limit?: { segment: Segment; length: number }): Generator<Frame> {
    for (;;) {
      const segment = this.segments[position.index];
      if (segment === undefined) return;
      const isLast = position.index === this.segments.length - 1;
      if (position.offset > 0) position.offset = presentOffset(segment, position.offset, position.generation);
      const generation = segment.relocations.length;
      position.generation = generation;
      let fd: number;
      try {
        fd = this.open(segment);
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
        this.#damage('missing', segment, 0, 'A segment is missing.');
        position.index += 1;
        position.offset = 0;
        position.generation = undefined;
        position.chain = undefined;
        continue;
      }
      // What was rewritten had been sealed before, whatever was known of it when the walk began.
      const limited = limit?.segment === segment && segment.relocations.length === 0;
      const size = limited ? limit.length : fstatSync(fd).size;
      if (position.offset === 0) {
        if (!this.#checkHeader(segment, fd, position, isLast)) {
          if (isLast && size <= SEGMENT_HEADER) return;
          position.chain = undefined;
        }
        position.offset = SEGMENT_HEADER;
      }
      if (position.offset >= size) {
        if (isLast) return;
        position.index += 1;
        position.offset = 0;
        position.generation = undefined;
        continue;
      }
      const header = this.#decodeFrame(segment, readUpTo(fd, position.offset, FRAME_HEADER));
      if (header === 'newer') {
        throw new SyftError(
          'LOG_NEWER_FORMAT',
          `${segment.where} holds what this program does not know. Update syft-sync.`,
          { path: segment.path }
        );
      }
      if (header === undefined || position.offset + frameLength(header) > size) {
        const next = this.#resync(segment, fd, position.offset + 1, size, position.nextSeq);
        if (next === undefined && isLast) return;
        this.#damage(
          next === undefined ? 'truncated' : 'checksum',
          segment,
          position.offset,
          `${next === undefined ? 'The rest of a segment' : `${next - position.offset} bytes`} cannot be read.`
        );
        position.chain = undefined;
        if (next === undefined) {
          position.index += 1;
          position.offset = 0;
          position.generation = undefined;
        } else {
          position.offset = next;
        }
        continue;
      }
      const frame: Frame = { segment, offset: position.offset, generation, header };
      if (header.firstSeq !== position.nextSeq) {
        this.#damage(
          'sequence',
          segment,
          position.offset,
          `Changes ${this.device}.${position.nextSeq} to ${this.device}.${header.firstSeq - 1} are missing.`
        );
      }
      yield frame;
      position.last = { segment, offset: position.offset, generation };
      position.offset += frameLength(header);
      position.chain = header.chain;
      position.nextSeq = header.firstSeq + header.count;
    }
  }

  /** The sound frames of one segment, whatever stands before it. */
  *framesOf(segment: Segment): Generator<Frame> {
    const position: Position = {
      index: this.segments.indexOf(segment),
      offset: 0,
      chain: undefined,
      nextSeq: segment.firstSeq
    };
    for (const frame of this.walk(position)) {
      if (frame.segment !== segment) return;
      yield frame;
    }
  }

  /**
   * Offset of the next sound frame header in [from, size), or `undefined`. One with a number that was given out already is a
   * copy of this log inside of a content.
   */
  #resync(segment: Segment, fd: number, from: number, size: number, nextSeq: number): number | undefined {
    for (let at = from; at < size; at += RESYNC_STEP) {
      const window = readUpTo(fd, at, Math.min(RESYNC_STEP + FRAME_HEADER, size - at));
      for (let i = window.indexOf(FRAME_MAGIC); i >= 0 && i < RESYNC_STEP; i = window.indexOf(FRAME_MAGIC, i + 1)) {
        const header = this.#decodeFrame(segment, window, i);
        if (header === undefined || header === 'newer' || header.firstSeq < nextSeq) continue;
        if (at + i + frameLength(header) <= size) return at + i;
      }
    }
    return undefined;
  }

  /** A segment was replaced by one that holds the same frames without some of their chunks. */
  relocated(segment: Segment, relocation: Relocation): void {
    if (segment.fd !== undefined) closeSync(segment.fd);
    segment.fd = undefined;
    segment.relocations.push(relocation);
  }

  /** The frame as it is now, should its segment have been rewritten since it was met. */
  #present(frame: Frame): Frame {
    const { segment, generation } = frame;
    if (generation === undefined || generation === segment.relocations.length) return frame;
    const offset = presentOffset(segment, frame.offset, generation);
    const header = decodeFrameHeader(readUpTo(this.open(segment), offset, FRAME_HEADER), this.#seed);
    return header === undefined || header === 'newer' ? frame : { segment, offset, header };
  }

  /** True when nothing of the frame is cut or altered: records and every block. */
  isWhole(found: Frame): boolean {
    const frame = this.#present(found);
    const { header } = frame;
    const fd = this.open(frame.segment);
    const records = readUpTo(fd, frame.offset + FRAME_HEADER, header.recordsStored);
    if (records.length !== header.recordsStored || crc32(records) !== header.recordsCrc) return false;
    let seen = 0;
    for (const block of this.blocks(frame)) {
      if (block.table === undefined || checkedBytes(fd, block) === undefined) return false;
      seen = block.offset + block.length - frame.offset;
    }
    return header.chunksLength === 0 || seen === frameLength(header);
  }

  /** True when nothing stands behind the frame. */
  isLast(frame: Frame): boolean {
    const { segment, offset, header } = this.#present(frame);
    return segment === this.segments.at(-1) && offset + frameLength(header) >= fstatSync(this.open(segment)).size;
  }

  /** The block that begins at an offset; `undefined` when none that is sound does. */
  blockAt(segment: Segment, offset: number): Block | undefined {
    // Its own lengths say how far it goes.
    const block = this.#block(segment, offset, fstatSync(this.open(segment)).size, undefined);
    return block.table === undefined ? undefined : block;
  }

  /** Ids of the chunks that a block is based on; none when it stands alone, or they cannot be made out. */
  basesOf(block: Block): readonly string[] {
    const { segment, offset, length, header, unseal } = block;
    if (header?.codec !== CODEC_DELTA) return [];
    const fd = this.open(segment);
    const { storedLength } = header;
    const head =
      unseal === undefined
        ? readUpTo(fd, offset + length - storedLength, Math.min(storedLength, DELTA_HEAD))
        : storedBytes(fd, block);
    return head === undefined ? [] : (splitDelta(head)?.bases ?? []);
  }

  /** The blocks of chunks in a frame. A block that cannot be made out ends the list with `header` and `table` undefined. */
  *blocks(found: Frame): Generator<Block> {
    const frame = this.#present(found);
    const end = frame.offset + frameLength(frame.header);
    let offset = end - frame.header.chunksLength;
    while (offset < end) {
      const block = this.#block(frame.segment, offset, end, frame);
      yield block;
      if (block.header === undefined) return;
      offset += block.length;
    }
  }

  /** @param frame The frame that the block is in; `undefined`: where the block says that it begins. */
  #block(segment: Segment, offset: number, end: number, frame: Frame | undefined): Block {
    const fd = this.open(segment);
    const head = readUpTo(fd, offset, Math.min(BLOCK_HEADER + 64 * BLOCK_ENTRY, end - offset));
    const header = decodeBlockHeader(head);
    const tableLength = header === undefined ? 0 : blockTableLength(header);
    const length = BLOCK_HEADER + tableLength + (header?.storedLength ?? 0);
    if (header === undefined || offset + length > end) {
      return { segment, offset, length: end - offset, header: undefined, table: undefined };
    }
    const table =
      head.length >= BLOCK_HEADER + tableLength
        ? head.subarray(BLOCK_HEADER, BLOCK_HEADER + tableLength)
        : readUpTo(fd, offset + BLOCK_HEADER, tableLength);
    if (this.#keys === undefined && header.sealed === undefined) {
      return new PlainBlock(segment, offset, length, header, table);
    }
    const opened = this.#openTable(this.#keys, segment, offset, header, table, frame);
    if (opened === undefined) return { segment, offset, length, header, table: undefined };
    const { entries, rawLength, unseal } = opened;
    return { segment, offset, length, header: { ...header, rawLength }, table: entries, unseal };
  }

  #openTable(
    keys: LogKeys | undefined,
    segment: Segment,
    offset: number,
    header: BlockHeader,
    table: Buffer,
    frame: Frame | undefined
  ): ReturnType<typeof openTable> {
    // A sealed block in a plain log, or the other way round.
    if (keys === undefined || header.sealed === undefined) return undefined;
    const start = offset - header.sealed.fromFrame;
    if (start < SEGMENT_HEADER || (frame !== undefined && frame.offset !== start)) return undefined;
    const found = frame?.header ?? this.#decodeFrame(segment, readUpTo(this.open(segment), start, FRAME_HEADER));
    if (found === undefined || found === 'newer') return undefined;
    for (const epoch of this.#epochs(segment, keys)) {
      const opened = openTable(keys, epoch, found.session, this.#slot(segment, found), header, table);
      if (opened !== undefined) return opened;
    }
    return undefined;
  }

  /** Stored records as they would be in a plain log; `undefined` when they were altered, or are not of this frame. */
  #unsealed({ segment, header }: Frame, stored: Buffer): Buffer | undefined {
    const keys = this.#keys;
    if (keys === undefined || header.recordsStored === 0) return stored;
    for (const epoch of this.#epochs(segment, keys)) {
      const origin = { epoch, session: header.session };
      const opened = openRecords(keys, origin, this.#slot(segment, header), header, stored);
      if (opened !== undefined) return opened;
    }
    return undefined;
  }

  /** The records of a frame as they were written, uncompressed; `undefined` when they are damaged, which is reported by `records`. */
  rawRecords(found: Frame): Buffer | undefined {
    const frame = this.#present(found);
    const { header, segment, offset } = frame;
    const stored = readUpTo(this.open(segment), offset + FRAME_HEADER, header.recordsStored);
    if (stored.length !== header.recordsStored || crc32(stored) !== header.recordsCrc) return undefined;
    const unsealed = this.#unsealed(frame, stored);
    return unsealed === undefined ? undefined : unpackRecords(unsealed, header);
  }

  /** The changes of a frame; damage is reported and yields none. `tail`: the last frame, where a torn one is no damage. */
  records(found: Frame, tail: boolean): Change[] {
    const frame = this.#present(found);
    const { header, segment, offset } = frame;
    if (header.count === 0) return [];
    const stored = readUpTo(this.open(segment), offset + FRAME_HEADER, header.recordsStored);
    const last = header.firstSeq + header.count - 1;
    const versions = (): string[] =>
      Array.from({ length: header.count }, (_, i) => `${this.device}.${header.firstSeq + i}`);
    if (stored.length !== header.recordsStored || crc32(stored) !== header.recordsCrc) {
      if (!tail) {
        this.#damage(
          'checksum',
          segment,
          offset,
          `Changes ${this.device}.${header.firstSeq} to ${this.device}.${last} are damaged.`,
          versions()
        );
      }
      return [];
    }
    const unsealed = this.#unsealed(frame, stored);
    if (unsealed === undefined) {
      const message = `Changes ${this.device}.${header.firstSeq} to ${this.device}.${last} do not open: they were altered, or put there from elsewhere.`;
      this.#damage('encryption', segment, offset, message, versions());
      return [];
    }
    try {
      const raw = unpackRecords(unsealed, header);
      if (raw === undefined) throw new RecordError('they do not unpack to their length');
      const lines = raw.toString('utf8').split('\n');
      if (lines.pop() !== '' || lines.length !== header.count) throw new RecordError('the number of records differs');
      return lines.map((line, i) => {
        const change = decodeRecord(line, this.device);
        if (change.seq !== header.firstSeq + i) throw new RecordError('a record stands at the wrong place');
        return change;
      });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#damage(
        'record',
        segment,
        offset,
        `Changes ${this.device}.${header.firstSeq} to ${this.device}.${last} cannot be read: ${why}.`,
        versions()
      );
      return [];
    }
  }

  /** Where reading goes on behind a mark; `undefined` when the stream does not have it. */
  behind(mark: StreamMark): Position | undefined {
    return positionBehind(this, mark, this.#seed);
  }

  open(segment: Segment): number {
    segment.fd ??= openSync(segment.path, 'r');
    return segment.fd;
  }

  close(): void {
    for (const segment of this.segments) {
      if (segment.fd !== undefined) closeSync(segment.fd);
      segment.fd = undefined;
    }
  }
}

export interface Block {
  readonly segment: Segment;
  readonly offset: number;
  readonly length: number;
  readonly header: BlockHeader | undefined;
  readonly table: readonly BlockEntry[] | undefined;
  /** {@link table} as it lies in the file, where it is not sealed: {@link BLOCK_ENTRY} bytes an entry, the id first. */
  readonly plainTable?: Buffer | undefined;
  /** Opens what is stored, in an encrypted log. */
  readonly unseal?: (stored: Buffer) => Buffer | undefined;
}

/** A block of a plain log. Its table is decoded when it is asked for: whoever opens a log only wants the ids, as they lie there. */
class PlainBlock implements Block {
  readonly segment: Segment;
  readonly offset: number;
  readonly length: number;
  readonly header: BlockHeader;
  readonly plainTable: Buffer | undefined;
  #table: readonly BlockEntry[] | undefined;

  constructor(segment: Segment, offset: number, length: number, header: BlockHeader, table: Buffer) {
    this.segment = segment;
    this.offset = offset;
    this.length = length;
    this.header = header;
    this.plainTable = fitsBlock(table, header) ? table : undefined;
  }

  get table(): readonly BlockEntry[] | undefined {
    if (this.plainTable === undefined) return undefined;
    return (this.#table ??= decodeBlockTable(this.plainTable));
  }
}

/** The bytes behind the table of a block as they lie there, their checksum verified; `undefined` when it is wrong. */
function checkedBytes(fd: number, block: Pick<Block, 'offset' | 'length' | 'header'>): Buffer | undefined {
  const { header } = block;
  if (header === undefined) return undefined;
  const bytes = readUpTo(fd, block.offset, block.length);
  if (bytes.length !== block.length) return undefined;
  const head = bytes.subarray(0, block.length - header.storedLength);
  const stored = bytes.subarray(block.length - header.storedLength);
  return blockCrc(head, stored) === header.crc ? stored : undefined;
}

/** What is stored of a block, as it would be in a plain log; `undefined` when it is damaged or was altered. */
export function storedBytes(
  fd: number,
  block: Pick<Block, 'offset' | 'length' | 'header' | 'unseal'>
): Buffer | undefined {
  const stored = checkedBytes(fd, block);
  return stored === undefined || block.unseal === undefined ? stored : block.unseal(stored);
}
