/** The log, opened for reading or for writing (docs/format.md). */
import { createHash, hash as hashOnce, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  write,
  writev
} from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { compareChanges, versionId, type Change, type ChangeDraft, type ContentRef } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import { decodeHashes, Drops, isAct, isDrop, type ActChange, type DropAct } from '../core/retention-act.ts';
import { encodeRecords } from '../core/record-lines.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { SEAL_OVERHEAD, SealingSession } from '../crypto/seal.ts';
import { makePrivateDirectory, replaceFile, syncDirectory, writeError, writeFully } from '../storage/durable.ts';
import { BlockReader, type StoredBlock } from './block-reader.ts';
import { ChunkIndex, type ChunkPlace } from './chunk-index.ts';
import { buildBlocks, type Base, type BuiltBlock, type VersionChunks } from './build-blocks.ts';
import { storedId, withStoredIds } from './chunk-id.ts';
import { removeLeftOvers } from './drop-chunks.ts';
import { droppedError } from './dropped-error.ts';
import { finishDrops, UNFINISHED_FILE } from './drops.ts';
import {
  checkKeys,
  configDigest,
  createFormatFile,
  isLogDirectory,
  readFormatFile,
  refuseStrangers,
  type FormatFile
} from './format-file.ts';
import { MOST_BASES } from './delta.ts';
import { encodeHead, readHead } from './head.ts';
import {
  BLOCK_ENTRY,
  BLOCK_HEADER,
  chainOf,
  CODEC_DELTA,
  encodeFrameHeader,
  encodeSegmentHeader,
  FLAG_CLOSE,
  FLAG_DELTA,
  FLAG_ENCRYPTED,
  FLAG_SEAL,
  FRAME_HEADER,
  frameSeed,
  type FrameFields,
  MAX_CHUNK,
  SEGMENT_HEADER,
  SEGMENT_SIZE,
  segmentName
} from './layout.ts';
import { WriterLock } from './lock.ts';
import { markOf, type StreamMark } from './marks.ts';
import { chooseOwnStream, type OwnStream } from './own-stream.ts';
import { chunkCount, FrameChunks, type ReadyBlock } from './ready-blocks.ts';
import { packRecords } from './records-codec.ts';
import type { Relocation } from './relocation.ts';
import { sealBlock, sealedBlockLength, sealRecords, segmentPlace } from './sealed-frame.ts';
import { storedBytes, Stream, streamStart, type Frame, type Position, type Segment } from './stream.ts';
import { TreeKeeper } from './tree-keeper.ts';
import type {
  Append,
  ChunkInput,
  Damage,
  HeldLog,
  OpenLogOptions,
  OpenReader,
  DurableEnd,
  OpenWriter,
  OpenWriterOptions
} from './types.ts';

const DEVICE = /^[a-z2-7]{8}$/;
/** Longer chunk lists become a chunk of their own. */
const INLINE_CHUNKS = 4;
const FRAME_TARGET = 16 * 2 ** 20;
const HEAD_IDLE_MS = 2000;

const writeAt = promisify(write) as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number
) => Promise<{ bytesWritten: number }>;
const writePartsAt = promisify(writev) as (
  fd: number,
  parts: readonly Uint8Array[],
  position: number
) => Promise<{ bytesWritten: number }>;
const sync = promisify(fdatasync);
class OpenedLog implements OpenReader {
  readonly dir: string;
  readonly workspaceId: string;
  readonly keys: LogKeys | undefined;
  protected readonly format: Buffer;
  protected readonly streams = new Map<string, Stream>();
  protected readonly chunks = new ChunkIndex();
  protected readonly segments: Segment[] = [];
  /** How far each stream's chunks are indexed. */
  protected readonly indexed = new Map<string, Position>();
  /** How far each stream's changes were handed out. */
  readonly #delivered = new Map<string, Position>();
  /** Acts met so far, and how far each stream was searched for them. */
  readonly #acts = new Map<string, ActChange>();
  readonly #searched = new Map<string, Position>();
  #drops: Drops | undefined;
  readonly #configs = new Map<string, Buffer | undefined>();
  readonly #reported = new Map<string, Damage>();
  readonly #onDamage: (damage: Damage) => void;
  readonly #blocks = new BlockReader({
    place: id => this.#placeOf(id),
    stored: place => this.#storedAt(place),
    idOf: sha256 => storedId(this.keys, sha256)
  });

  constructor(options: OpenLogOptions, format: FormatFile) {
    this.keys = checkKeys(options.dir, format, options.keys);
    this.dir = options.dir;
    this.workspaceId = format.workspace;
    this.format = format.bytes;
    this.#onDamage = options.onDamage ?? (() => undefined);
  }

  protected damage(damage: Damage): void {
    const key = `${damage.kind} ${damage.where}`;
    if (this.#reported.has(key)) return;
    this.#reported.set(key, damage);
    this.#onDamage(damage);
  }

  /** As if it had been met while reading. */
  tell(damage: Damage): void {
    this.damage(damage);
  }

  get damages(): readonly Damage[] {
    return [...this.#reported.values()];
  }

  #config(device: string): Buffer | undefined {
    if (!this.#configs.has(device)) {
      let bytes: Buffer | undefined;
      try {
        bytes = readFileSync(join(this.dir, 'log', device, 'device.json'));
      } catch (error) {
        this.damage({
          kind: 'missing',
          where: `log/${device}/device.json`,
          versions: [],
          message: `device.json cannot be read (${errnoOf(error) ?? 'unknown'}).`
        });
      }
      this.#configs.set(device, bytes === undefined ? undefined : configDigest(this.format, bytes));
    }
    return this.#configs.get(device);
  }

  protected stream(device: string): Stream {
    let stream = this.streams.get(device);
    if (stream === undefined) {
      stream = new Stream(join(this.dir, 'log', device), device, {
        workspace: this.workspaceId,
        config: name => this.#config(name),
        nextNumber: () => this.segments.length,
        onDamage: damage => this.damage(damage),
        keys: this.keys
      });
      // A segment's number is its place in this list.
      const add = stream.addSegment.bind(stream);
      stream.addSegment = (name, firstSeq, part) => {
        const segment = add(name, firstSeq, part);
        this.segments.push(segment);
        return segment;
      };
      this.streams.set(device, stream);
      this.indexed.set(device, streamStart());
      this.#delivered.set(device, streamStart());
    }
    return stream;
  }

  /** Takes up new streams and segments and indexes the chunks of new frames. */
  protected discover(): void {
    let names: string[] = [];
    try {
      names = readdirSync(join(this.dir, 'log'));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      this.damage({ kind: 'missing', where: 'log', versions: [], message: 'The directory of the streams is missing.' });
    }
    for (const name of names.filter(name => DEVICE.test(name)).sort()) {
      const stream = this.stream(name);
      stream.discover();
      this.advance(stream);
    }
  }

  /** How much of a stream may be read; the writer keeps readers of its own stream off what is not durable. */
  protected limit(_stream: Stream): { segment: Segment; length: number } | undefined {
    return undefined;
  }

  protected advance(stream: Stream): void {
    const position = this.indexed.get(stream.device) as Position;
    let held: Frame | undefined;
    for (const frame of stream.walk(position, this.limit(stream))) {
      if (held !== undefined) this.indexChunks(stream, held, false);
      held = frame;
    }
    if (held !== undefined && this.mayIndex(stream, held)) this.indexChunks(stream, held, true);
  }

  /** Whether the chunks of the last frame count as held. */
  protected mayIndex(_stream: Stream, _last: Frame): boolean {
    return true;
  }

  /** `tail`: the last frame, where a torn one is no damage. */
  protected indexChunks(stream: Stream, frame: Frame, tail: boolean): void {
    if (frame.header.chunksLength === 0) return;
    const { number } = frame.segment;
    for (const block of stream.blocks(frame)) {
      if (block.plainTable !== undefined) {
        this.chunks.addTable(block.plainTable, BLOCK_ENTRY, number, block.offset);
        continue;
      }
      if (block.table === undefined) {
        if (tail) return;
        this.damage({
          kind: 'checksum',
          where: `${frame.segment.where}:${block.offset}`,
          versions: [],
          message: 'A block of contents is damaged.'
        });
        continue;
      }
      block.table.forEach((entry, i) => this.chunks.add(entry.id, { segment: number, block: block.offset, entry: i }));
    }
  }

  /** Changes of one stream from a position on, frame by frame. */
  *#changesOf(stream: Stream, position: Position): Generator<Change[]> {
    let held: Frame | undefined;
    for (const frame of stream.walk(position, this.limit(stream))) {
      if (held !== undefined) yield withoutActs(stream.records(held, false));
      held = frame;
    }
    if (held !== undefined) yield withoutActs(stream.records(held, true));
  }

  acts(): ActChange[] {
    this.#searchActs(Infinity);
    return [...this.#acts.values()].sort(compareChanges);
  }

  async searchActs(): Promise<void> {
    while (!this.#searchActs(performance.now() + SEARCH_SLICE_MS)) {
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  /** Reads frames not searched yet, at least one; false when time was up before the end. */
  #searchActs(until: number): boolean {
    this.discover();
    let searched = 0;
    for (const stream of this.streams.values()) {
      let position = this.#searched.get(stream.device);
      if (position === undefined) this.#searched.set(stream.device, (position = streamStart()));
      for (const frame of stream.walk(position, this.limit(stream))) {
        if (searched > 0 && performance.now() > until) return false;
        searched += 1;
        const raw = stream.rawRecords(frame);
        // Beside a writer the last frame may not be whole yet: it is looked at again.
        if (raw === undefined && stream.isLast(frame)) break;
        if (raw?.includes(ACT_MEMBER) !== true) continue;
        for (const change of stream.records(frame, true)) this.#addAct(change);
      }
    }
    return true;
  }

  #addAct(change: Change): void {
    const id = versionId(change);
    if (!isAct(change) || this.#acts.has(id)) return;
    this.#acts.set(id, change);
    if (isDrop(change)) this.#drops = undefined;
  }

  dropped(change: Change): DropAct | undefined {
    return this.#isHeld(change) ? undefined : this.#dropOf(change);
  }

  /** True when every chunk of a content is there. */
  #isHeld({ content }: Change): boolean {
    if (content === undefined) return true;
    if ('chunks' in content) return content.chunks.every(id => this.hasChunk(id));
    const list = this.chunk(content.list)?.bytes;
    return list !== undefined && (decodeHashes(list) ?? []).every(id => this.hasChunk(id));
  }

  /** The act that says that the content of a version is gone. */
  #dropOf(change: Change): DropAct | undefined {
    const acts = this.acts();
    if (this.#drops === undefined) {
      this.#drops = new Drops();
      for (const act of acts) {
        if (!isDrop(act)) continue;
        const list = this.#listOf(act);
        if (list !== undefined) this.#drops.add(act, list);
      }
    }
    return this.#drops.of(change);
  }

  /** The hashes that an act lists; `undefined` when they cannot be read. */
  #listOf({ content, hash }: DropAct): string[] | undefined {
    if (content === undefined) return undefined;
    const list = 'chunks' in content ? undefined : this.chunk(content.list)?.bytes;
    const ids = 'chunks' in content ? content.chunks : list === undefined ? undefined : decodeHashes(list);
    const parts = ids?.map(id => this.chunk(id)?.bytes);
    if (parts?.every(part => part !== undefined) !== true) return undefined;
    const bytes = Buffer.concat(parts);
    return hashOnce('sha256', bytes, 'hex') === hash ? decodeHashes(bytes) : undefined;
  }

  /** Why a content cannot be read: it was dropped on purpose, or is damaged. */
  #missing(change: Change, what: string): SyftError {
    const act = this.#dropOf(change);
    return act === undefined ? this.#damaged(change, what) : droppedError(change, act);
  }

  changes(): AsyncIterable<Change> {
    return this.#from(() => streamStart());
  }

  changesAfter(marks: readonly StreamMark[]): AsyncIterable<Change> | undefined {
    this.discover();
    const behind = new Map<string, Position>();
    for (const mark of marks) {
      const position = this.streams.get(mark.device)?.behind(mark);
      if (position === undefined) return undefined;
      behind.set(mark.device, position);
    }
    return this.#from(device => behind.get(device) ?? streamStart());
  }

  marks(): StreamMark[] | undefined {
    const marks: StreamMark[] = [];
    for (const [device, position] of this.#delivered) {
      const stream = this.streams.get(device);
      const reached = stream === undefined ? undefined : (this.durable(stream) ?? position);
      if (stream === undefined || reached === undefined || reached.nextSeq === 1) continue;
      const mark = markOf(stream, reached);
      if (mark === undefined) return undefined;
      marks.push(mark);
    }
    return marks;
  }

  /** How far the writer's own stream is durable; of other streams only what was handed out counts. */
  protected durable(_stream: Stream): Position | undefined {
    return undefined;
  }

  /** Changes of all streams, each from its position on, in their common order. */
  async *#from(begin: (device: string) => Position): AsyncIterable<Change> {
    this.discover();
    const streams = [...this.streams.values()];
    for (const stream of streams) this.#delivered.set(stream.device, begin(stream.device));
    const first = streams[0];
    if (streams.length === 1 && first !== undefined) {
      for (const changes of this.#changesOf(first, this.#delivered.get(first.device) as Position)) yield* changes;
      return;
    }
    // Few streams have much to merge: the heads are compared one by one.
    const heads = streams.map(stream => {
      const frames = this.#changesOf(stream, this.#delivered.get(stream.device) as Position);
      let changes: Change[] = [];
      let i = 0;
      const peek = (): Change | undefined => {
        while (i >= changes.length) {
          const next = frames.next();
          if (next.done === true) return undefined;
          changes = next.value;
          i = 0;
        }
        return changes[i];
      };
      return { peek, skip: () => (i += 1) };
    });
    for (;;) {
      let best: { change: Change; skip: () => void } | undefined;
      for (const head of heads) {
        const change = head.peek();
        if (change !== undefined && (best === undefined || compareChanges(change, best.change) < 0)) {
          best = { change, skip: head.skip };
        }
      }
      if (best === undefined) return;
      best.skip();
      yield best.change;
    }
  }

  refresh(): Promise<Change[]> {
    this.discover();
    const fresh: Change[] = [];
    for (const stream of this.streams.values()) {
      for (const changes of this.#changesOf(stream, this.#delivered.get(stream.device) as Position)) {
        fresh.push(...changes);
      }
    }
    return Promise.resolve(fresh.sort(compareChanges));
  }

  hasChunk(id: string): boolean {
    return this.chunks.has(storedId(this.keys, id));
  }

  /**
   * The bytes of a chunk, verified; `undefined` when the log does not hold it whole.
   *
   * @param id Its SHA-256.
   */
  protected chunk(id: string): ReturnType<BlockReader['chunk']> {
    return this.#blocks.chunk(storedId(this.keys, id));
  }

  /** Blocks of a segment are no longer where they were. */
  protected forgetBlocks(segment: Segment): void {
    this.#blocks.forget(segment.number);
  }

  #placeOf(id: string): ChunkPlace | undefined {
    const place = this.chunks.get(id);
    if (place !== undefined) return place;
    // Beside a writer that goes on, changes may have been read from frames whose chunks were not noted yet.
    this.discover();
    return this.chunks.get(id);
  }

  #storedAt({ segment: number, block: offset }: ChunkPlace): StoredBlock | undefined {
    const segment = this.segments[number];
    const stream = segment === undefined ? undefined : this.streams.get(segment.where.split('/')[1] ?? '');
    if (segment === undefined || stream === undefined) return undefined;
    const block = stream.blockAt(segment, offset);
    if (block?.table === undefined || block.header === undefined) return undefined;
    const stored = storedBytes(stream.open(segment), block);
    return stored === undefined ? undefined : { header: block.header, table: block.table, stored };
  }

  #damaged(change: Change, what: string): SyftError {
    const id = versionId(change);
    this.damage({
      kind: 'content',
      where: `log/${change.device}`,
      versions: [id],
      message: `The content of ${id} is damaged: ${what}.`
    });
    return new SyftError(
      'LOG_DAMAGED',
      `The content of version ${id} of ${displayPath(change.path)} is damaged (${what}).`,
      { path: displayPath(change.path) }
    );
  }

  #ids(change: Change, ref: ContentRef): string[] {
    if ('chunks' in ref) return [...ref.chunks];
    const list = this.chunk(ref.list)?.bytes;
    if (list?.length !== ref.count * 32) throw this.#missing(change, 'its list of chunks is missing');
    return Array.from({ length: ref.count }, (_, i) => list.toString('hex', i * 32, i * 32 + 32));
  }

  async *content(change: Change): AsyncIterable<Uint8Array> {
    if (change.content === undefined) {
      const why =
        change.kind === 'deleted'
          ? 'it is a deletion'
          : change.type === 'directory'
            ? 'it is a directory'
            : 'only its name, size and hash were kept';
      throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(change)} has no content: ${why}.`, {
        path: displayPath(change.path)
      });
    }
    const whole = createHash('sha256');
    const ids = this.#ids(change, change.content);
    for (const id of ids) {
      const bytes = this.chunk(id)?.bytes;
      if (bytes === undefined) throw this.#missing(change, `chunk ${id.slice(0, 12)} is missing or altered`);
      whole.update(bytes);
      yield bytes;
    }
    if (change.hash !== undefined && whole.digest('hex') !== change.hash) {
      throw this.#damaged(change, 'it does not have the recorded hash');
    }
  }

  async contentBytes(change: Change): Promise<Buffer> {
    // A chunk is checked against its id, so where that is the hash of the content there is no more to check.
    const [only, ...more] = change.content !== undefined && 'chunks' in change.content ? change.content.chunks : [];
    const whole = only !== undefined && only === change.hash && more.length === 0 ? this.chunk(only)?.bytes : undefined;
    if (whole !== undefined) return whole;
    return Buffer.concat(await Array.fromAsync(this.content(change)));
  }

  async storedBytes(): Promise<number> {
    let total = this.format.length;
    for (const device of await readdir(join(this.dir, 'log')).catch(() => [])) {
      for (const name of await readdir(join(this.dir, 'log', device)).catch(() => [])) {
        total += (await stat(join(this.dir, 'log', device, name)).catch(() => undefined))?.size ?? 0;
      }
    }
    return total;
  }

  start(): void {
    this.discover();
  }

  close(): Promise<void> {
    for (const stream of this.streams.values()) stream.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What a record of an act has in it. */
const ACT_MEMBER = Buffer.from('"retention":');

function withoutActs(changes: Change[]): Change[] {
  return changes.some(isAct) ? changes.filter(change => !isAct(change)) : changes;
}

/** Bytes of the salt of a record. */
const SALT = 16;

/** The records of a frame; with salt, so that their hashes, which are not encrypted, confirm no guess about them. */
function encodeLines(changes: readonly Change[], salted: boolean): Buffer {
  if (!salted) return encodeRecords(changes);
  const salt = randomBytes(SALT * changes.length);
  return encodeRecords(changes, i => salt.toString('base64', i * SALT, (i + 1) * SALT));
}

/** Milliseconds that other work waits while acts are looked for. */
const SEARCH_SLICE_MS = 8;
/** Frames up to this size are copied together and written by one call; of larger ones the parts are handed over. Bytes. */
const COPIED_FRAME = 512 * 1024;

/** Writes `parts` one behind the other, `length` bytes in all. */
async function writeParts(fd: number, parts: Uint8Array[], length: number, start: number): Promise<void> {
  let left = length <= COPIED_FRAME ? [Buffer.concat(parts, length)] : parts.filter(part => part.length > 0);
  for (let done = 0; done < length;) {
    const [only] = left;
    const { bytesWritten } =
      left.length === 1 && only !== undefined
        ? await writeAt(fd, only, 0, only.length, start + done)
        : await writePartsAt(fd, left, start + done);
    done += bytesWritten;
    if (done < length) left = without(left, bytesWritten);
  }
}

/** `parts` without their first `n` bytes. */
function without(parts: readonly Uint8Array[], n: number): Uint8Array[] {
  let skip = n;
  let i = 0;
  for (; skip >= (parts[i]?.length ?? Infinity); i += 1) skip -= parts[i]?.length ?? 0;
  const [first, ...others] = parts.slice(i);
  return first === undefined ? [] : [first.subarray(skip), ...others];
}

/** While a frame is being written the next one is prepared when this much waits; with less it waits for company. Bytes. */
const PREPARED_AHEAD = 1024 * 1024;

/** What a record takes, about: many without contents must not make one frame without end. */
const RECORD_BYTES = 256;

/** What a frame is made of. */
interface PackedFrame {
  /** Of the chunk section; not sealed, for a frame that fails is sealed anew. */
  readonly blocks: readonly BuiltBlock[];
  /** The records, or their compressed form. */
  readonly records: Buffer;
  /** Flags of the frame that say how records and chunks are stored. */
  readonly flags: number;
}

/** A frame that only needs its place. */
interface PreparedFrame {
  readonly changes: Change[];
  readonly chunks: FrameChunks;
  readonly raw: Buffer;
  /** Being compressed on other threads while the frame before is written. */
  readonly packed: Promise<PackedFrame>;
  /** The last number and clock given. */
  readonly seq: number;
  readonly hlc: number;
}

/**
 * A change that takes over a content which was dropped meanwhile, as one of permissions does, has none: a record must not name
 * chunks that are not there (format F-2).
 */
function kept(draft: ChangeDraft, isHeld: (id: string) => boolean): ChangeDraft {
  if (draft.content === undefined) return draft;
  const { content, ...rest } = draft;
  const needed = 'chunks' in content ? content.chunks : [content.list];
  if (needed.every(isHeld)) return draft;
  return { ...rest, flags: [...draft.flags.filter(flag => flag !== 'no-content'), 'no-content'] };
}

/** Chunks that calls bring. */
function chunksOfCalls(calls: readonly Call[]): number {
  let count = 0;
  for (const { appends, chunks, ready } of calls) {
    count += chunks.length;
    for (const append of appends) count += append.chunks.length;
    for (const block of ready) count += chunkCount(block);
  }
  return count;
}

/** Compresses what a frame is made of. */
async function packFrame(building: Promise<readonly BuiltBlock[]>, raw: Buffer): Promise<PackedFrame> {
  const [blocks, records] = await Promise.all([building, packRecords(raw)]);
  const hasDelta = blocks.some(({ head }) => head.readUInt32LE(16) === CODEC_DELTA);
  return { blocks, records: records.stored, flags: records.flags | (hasDelta ? FLAG_DELTA : 0) };
}

function callOf(appends: readonly Append[]): Call {
  return { appends, chunks: [], ready: [], bytes: 0, resolve: () => undefined, reject: () => undefined };
}

/** Changes of one frame beyond which none is stored as a delta: with so many at once, keeping up counts for more. */
const DELTAS_IN_FRAME = 256;
/** Bytes of former chunks that a new version is compressed on. */
const DELTA_DICTIONARY = 2 * 2 ** 20;
/** Blocks that may have to be read for one: then a chunk is stored anew. Far below what readers allow. */
const DELTA_NEEDED = 48;
/** Bytes that they may unpack to. */
const DELTA_NEEDED_BYTES = 32 * 2 ** 20;

function checkedChunk(chunk: ChunkInput): ChunkInput {
  if (chunk.bytes.length <= MAX_CHUNK) return chunk;
  throw new SyftError('INTERNAL', `A chunk of ${chunk.bytes.length} bytes is larger than the format allows.`);
}

interface Call {
  readonly appends: readonly Append[];
  readonly chunks: readonly ChunkInput[];
  readonly ready: readonly ReadyBlock[];
  readonly bytes: number;
  readonly resolve: (changes: Change[]) => void;
  readonly reject: (error: SyftError) => void;
}

class OpenedWriter extends OpenedLog implements OpenWriter {
  readonly device: string;
  readonly earlierDevices: readonly string[];
  readonly #lock: WriterLock;
  readonly #own: Stream;
  readonly #tree: TreeKeeper;
  readonly #config: Buffer;
  readonly #seed: number;
  /** Of an encrypted log: what is written is sealed in it. */
  readonly #session: SealingSession | undefined;
  readonly #queue: Call[] = [];
  /** Stored ids of chunks for changes that are still to come: no version names them, and they must not be dropped. */
  readonly #ahead = new Set<string>();
  #pending = 0;
  #working: Promise<void> | undefined;
  /** Somebody has the log to himself: what is appended meanwhile waits. */
  #held: Promise<void> | undefined;
  #closed = false;
  #arrived: (() => void) | undefined;
  /** The segment being written, and how much of it is durable. */
  #segment: Segment | undefined;
  #fd: number | undefined;
  #length = 0;
  #chain: Buffer = Buffer.alloc(32);
  #seq = 0;
  #hlc = 0;
  #appended = false;
  /** There is a head.json. fsck misses it where the stream was closed or has a second segment: it is there before. */
  #hasHead = false;
  /** A write failed: cut back to what is durable before the next one. */
  #broken = false;
  #headTimer: NodeJS.Timeout | undefined;
  /** The head as it was found, when it was that of a clean close and nothing has come after it. */
  #closedHead = false;

  constructor(options: OpenLogOptions, format: FormatFile, lock: WriterLock, own: OwnStream, deviceFile: Buffer) {
    super(options, format);
    this.#lock = lock;
    const { device } = own;
    this.device = device;
    this.#config = configDigest(format.bytes, deviceFile);
    this.#own = this.stream(device);
    this.#seed = frameSeed(format.workspace, device);
    this.#session = this.keys === undefined ? undefined : new SealingSession(this.keys);
    this.#tree = new TreeKeeper({
      logDir: options.dir,
      workspace: format.workspace,
      own,
      stream: this.#own,
      limit: () => this.limit(this.#own),
      busy: () => this.#working !== undefined
    });
    this.earlierDevices = own.earlier;
    for (const damage of own.damages) this.damage(damage);
  }

  get pendingBytes(): number {
    return this.#pending;
  }

  /** Finds the end of the own stream, cuts off a torn tail, and learns the clock of all streams. */
  override start(): void {
    this.discover();
    this.#refuseOldKeys();
    const position = this.indexed.get(this.device) as Position;
    const segment = this.#own.segments[position.index] ?? this.#own.segments.at(-1);
    const head = readHead(this.#own.dir);
    this.#hasHead = head !== undefined;
    // A number that was given out is never given out again, even where its record is lost.
    const given = Math.max(head === undefined || head === 'damaged' ? 0 : head.seq, this.#tree.tree.size);
    if (given > position.nextSeq - 1) {
      const where = head === undefined || head === 'damaged' ? '' : `/${head.segment}`;
      this.damage({
        kind: 'truncated',
        where: `log/${this.device}${where}`,
        versions: Array.from(
          { length: Math.min(1000, given - position.nextSeq + 1) },
          (_, i) => `${this.device}.${position.nextSeq + i}`
        ),
        message: `The log ends at ${this.device}.${position.nextSeq - 1}, but ${this.device}.${given} was recorded once.`
      });
    }
    this.#seq = Math.max(position.nextSeq - 1, given);
    this.#chain = position.chain ?? Buffer.alloc(32);
    if (segment !== undefined) this.#recover(segment, position, head);
    for (const stream of this.streams.values()) this.#learnClock(stream);
    this.#closedHead =
      head !== undefined &&
      head !== 'damaged' &&
      head.closed &&
      head.seq === this.#seq &&
      head.chain === this.#chain.toString('hex');
    if (this.#tree.tree.size < this.#seq) this.#tree.wake();
  }

  /** Who was shut out by a rotation could read what is written with the keys from before it. */
  #refuseOldKeys(): void {
    const { keys } = this;
    if (keys === undefined) return;
    for (const stream of this.streams.values()) {
      for (const segment of stream.segments) {
        const epoch = stream.epochOf(segment);
        if (epoch <= keys.newest) continue;
        throw new SyftError(
          'KEY_MISMATCH',
          `keys/master.json is older than the log: it has ${keys.newest} keys, and ${segment.where} is encrypted with key ${epoch}. Put the newest copy of it back.`,
          { path: this.dir }
        );
      }
    }
  }

  /** The last segment: whole to its end, torn at the end, or damaged. */
  #recover(segment: Segment, position: Position, head: ReturnType<typeof readHead>): void {
    const size = fstatSync(this.#own.open(segment)).size;
    let end = Math.min(position.offset, size);
    const last = this.#lastFrame(segment);
    if (last !== undefined && end === size && !this.#own.isWhole(last)) {
      const acknowledged =
        head !== undefined && head !== 'damaged' && head.segment === segment.name && head.length >= end;
      // Below what the head vouches for nothing can be torn: that is damage, and stays as evidence.
      if (acknowledged || last.header.firstSeq + last.header.count <= this.#seq) {
        const where = `${segment.where}:${last.offset}`;
        this.damage({ kind: 'checksum', where, versions: [], message: 'The last frame is damaged.' });
        this.indexChunks(this.#own, last, false);
        return;
      }
      end = last.offset;
      this.#seq = Math.max(
        last.header.firstSeq - 1,
        head === undefined || head === 'damaged' ? 0 : head.seq,
        this.#tree.tree.size
      );
      position.offset = end;
      position.nextSeq = last.header.firstSeq;
      this.#chain = this.#chainBefore(segment, end);
      position.chain = this.#chain;
      position.last = undefined;
    }
    const vouched = head !== undefined && head !== 'damaged' && head.segment === segment.name && end < head.length;
    const sealed = last !== undefined && (last.header.flags & FLAG_SEAL) !== 0 && end === size;
    if (vouched || sealed || end < SEGMENT_HEADER || position.chain === undefined) {
      if (
        !vouched &&
        end <= SEGMENT_HEADER &&
        size <= SEGMENT_HEADER &&
        this.#own.segments.at(-1) === segment &&
        end < SEGMENT_HEADER
      ) {
        this.#discard(segment);
      }
      return;
    }
    this.#segment = segment;
    this.#length = end;
    if (size > end) this.#broken = true;
  }

  /** A torn frame is going to be cut off: a content that counted on its chunks would be lost (format F-2). */
  protected override mayIndex(stream: Stream, last: Frame): boolean {
    return stream !== this.#own || stream.isWhole(last);
  }

  #lastFrame(segment: Segment): Frame | undefined {
    let last: Frame | undefined;
    for (const frame of this.#own.framesOf(segment)) last = frame;
    return last;
  }

  #chainBefore(segment: Segment, offset: number): Buffer {
    let chain: Buffer | undefined;
    for (const frame of this.#own.framesOf(segment)) if (frame.offset < offset) chain = frame.header.chain;
    if (chain !== undefined) return chain;
    const previous = this.#own.segments[this.#own.segments.indexOf(segment) - 1];
    return previous === undefined ? Buffer.alloc(32) : (this.#lastFrame(previous)?.header.chain ?? Buffer.alloc(32));
  }

  /** A newest segment that never got its header holds nothing: its name is used again. */
  #discard(segment: Segment): void {
    this.#own.segments.splice(this.#own.segments.indexOf(segment), 1);
    if (segment.fd !== undefined) closeSync(segment.fd);
    segment.fd = undefined;
    // Else the next look at the directory would take it up again.
    rmSync(segment.path, { force: true });
    const position = this.indexed.get(this.device) as Position;
    position.index = Math.max(0, this.#own.segments.length - 1);
    position.last = undefined;
    const previous = this.#own.segments.at(-1);
    position.offset = previous === undefined ? 0 : fstatSync(this.#own.open(previous)).size;
  }

  #learnClock(stream: Stream): void {
    // Clocks do not run backwards in a stream: the last records carry the highest.
    const segment = stream.segments.at(-1);
    if (segment === undefined) return;
    for (const start of [stream.segments.length - 1, 0]) {
      const position: Position = {
        index: start,
        offset: 0,
        chain: undefined,
        nextSeq: stream.segments[start]?.firstSeq ?? 1
      };
      let last: Frame | undefined;
      for (const frame of stream.walk(position, this.limit(stream))) if (frame.header.count > 0) last = frame;
      if (last === undefined) continue;
      for (const change of stream.records(last, true)) this.#hlc = Math.max(this.#hlc, change.hlc);
      return;
    }
  }

  protected override durable(stream: Stream): Position | undefined {
    return stream === this.#own ? this.indexed.get(stream.device) : undefined;
  }

  get durableEnd(): DurableEnd | undefined {
    if (this.#segment === undefined) return undefined;
    return { device: this.device, segment: this.#segment.name, length: this.#length };
  }

  protected override limit(stream: Stream): { segment: Segment; length: number } | undefined {
    return stream === this.#own && this.#segment !== undefined
      ? { segment: this.#segment, length: this.#length }
      : undefined;
  }

  append(appends: readonly Append[], ready: readonly ReadyBlock[] = []): Promise<Change[]> {
    if (appends.length === 0) return Promise.resolve([]);
    return this.#enqueue(appends, [], ready);
  }

  async putChunks(chunks: readonly ChunkInput[]): Promise<void> {
    for (const { id } of chunks) this.#ahead.add(storedId(this.keys, id));
    if (chunks.length > 0) await this.#enqueue([], chunks);
  }

  /** What was stored ahead for a change has been named by it. */
  #named({ appends }: Call): void {
    if (this.#ahead.size === 0) return;
    for (const { draft, chunks } of appends) {
      const { content } = draft;
      if (content === undefined) continue;
      const list = 'chunks' in content ? undefined : chunks.find(({ id }) => id === content.list);
      const ids = 'chunks' in content ? content.chunks : (decodeHashes(Buffer.from(list?.bytes ?? [])) ?? []);
      for (const id of ids) this.#ahead.delete(storedId(this.keys, id));
    }
  }

  #enqueue(
    appends: readonly Append[],
    chunks: readonly ChunkInput[],
    ready: readonly ReadyBlock[] = []
  ): Promise<Change[]> {
    if (this.#closed) return Promise.reject(new SyftError('LOG_CLOSED', 'The log is closed.'));
    let bytes = appends.length * RECORD_BYTES;
    for (const chunk of chunks) bytes += chunk.bytes.length;
    for (const append of appends) for (const chunk of append.chunks) bytes += chunk.bytes.length;
    for (const block of ready) bytes += block.raw.length;
    return new Promise((resolve, reject) => {
      this.#queue.push({ appends, chunks, ready, bytes, resolve, reject });
      this.#pending += bytes;
      this.#arrived?.();
      if (this.#held === undefined) this.#working ??= this.#work();
    });
  }

  contentRef(ids: readonly string[]): { ref: ContentRef; chunks: ChunkInput[] } {
    if (ids.length <= INLINE_CHUNKS) return { ref: { chunks: ids }, chunks: [] };
    const bytes = Buffer.from(ids.join(''), 'hex');
    const id = hashOnce('sha256', bytes, 'hex');
    return { ref: { list: id, count: ids.length }, chunks: [{ id, bytes }] };
  }

  async drain(): Promise<void> {
    while (this.#held !== undefined || this.#working !== undefined) await (this.#held ?? this.#working);
  }

  async exclusively<T>(work: (inside: HeldLog) => Promise<T>): Promise<T> {
    while (this.#held !== undefined) await this.#held;
    if (this.#closed) throw new SyftError('LOG_CLOSED', 'The log is closed.');
    let release = (): void => undefined;
    this.#held = new Promise(resolve => (release = resolve));
    try {
      while (this.#working !== undefined) await this.#working;
      return await work({
        ahead: this.#ahead,
        append: async appends => this.#write(this.#prepare([callOf(appends)])),
        seal: async () => {
          if (this.#segment !== undefined) await this.#write(this.#prepare([]), FLAG_SEAL);
        },
        begin: async () => {
          // At this moment nothing is on its way: a clean close, though the stream goes on.
          if (this.#segment === undefined) await this.#write(this.#prepare([]), FLAG_CLOSE);
        },
        sign: async () => {
          await this.#tree.settle();
          this.#writeHead(false, true);
        },
        forget: ids => {
          for (const id of ids) this.chunks.delete(id);
        }
      });
    } catch (error) {
      throw writeError(error, 'the log could not be written');
    } finally {
      this.#held = undefined;
      release();
      if (this.#queue.length > 0) this.#working ??= this.#work();
    }
  }

  relocated(device: string, name: string, relocation: Relocation): void {
    const stream = this.streams.get(device);
    const segment = stream?.segments.find(candidate => candidate.name === name);
    if (stream === undefined || segment === undefined) return;
    stream.relocated(segment, relocation);
    this.forgetBlocks(segment);
    for (const frame of stream.framesOf(segment)) {
      for (const block of stream.blocks(frame)) {
        block.table?.forEach((entry, i) =>
          this.chunks.move(entry.id, { segment: segment.number, block: block.offset, entry: i })
        );
      }
    }
  }

  /**
   * One frame after the other, each with all that is waiting. While a frame is being written and a good deal more is there,
   * the next one is prepared.
   */
  async #work(): Promise<void> {
    // What is called in the same turn of the event loop belongs together.
    await new Promise(resolve => setImmediate(resolve));
    let former: { frame: PreparedFrame; written: Promise<boolean> } | undefined;
    for (;;) {
      if (former !== undefined && this.#held === undefined && this.#queuedBytes() < PREPARED_AHEAD) {
        const arrival = new Promise<'more'>(resolve => (this.#arrived = () => resolve('more')));
        if ((await Promise.race([former.written, arrival])) !== 'more') former = undefined;
        continue;
      }
      if (this.#held !== undefined) {
        // Whoever holds the log waits for what is on its way, and nothing more begins.
        await former?.written;
        break;
      }
      if (this.#queue.length === 0) break;
      const calls = this.#gather();
      try {
        let frame = this.#prepare(calls, former?.frame);
        // What was prepared on top of a frame that failed has the wrong numbers.
        if (former !== undefined && !(await former.written)) frame = this.#prepare(calls);
        former = { frame, written: this.#writeCalls(frame, calls) };
      } catch (error) {
        this.#refuse(calls, error);
      }
    }
    this.#working = undefined;
    clearTimeout(this.#headTimer);
    this.#headTimer = setTimeout(() => this.#writeHead(false), HEAD_IDLE_MS).unref();
    this.#tree.wake();
  }

  #queuedBytes(): number {
    let bytes = 0;
    for (const call of this.#queue) bytes += call.bytes;
    return bytes;
  }

  #gather(): Call[] {
    const calls: Call[] = [];
    let bytes = 0;
    while (this.#queue.length > 0 && (calls.length === 0 || bytes + (this.#queue[0]?.bytes ?? 0) <= FRAME_TARGET)) {
      const call = this.#queue.shift() as Call;
      calls.push(call);
      bytes += call.bytes;
    }
    return calls;
  }

  /** Writes a frame and answers its calls. False: it failed. */
  async #writeCalls(frame: PreparedFrame, calls: readonly Call[]): Promise<boolean> {
    try {
      const changes = await this.#write(frame);
      let at = 0;
      for (const call of calls) {
        this.#pending -= call.bytes;
        this.#named(call);
        call.resolve(changes.slice(at, (at += call.appends.length)));
      }
      return true;
    } catch (error) {
      this.#refuse(calls, error);
      return false;
    }
  }

  #refuse(calls: readonly Call[], error: unknown): void {
    const failure = writeError(error, 'the log could not be written');
    for (const call of calls) {
      this.#pending -= call.bytes;
      call.reject(failure);
    }
  }

  #place(calls: readonly Call[], lastSeq: number, lastHlc: number, chunks: FrameChunks): Change[] {
    const wall = Date.now() * 1000;
    let seq = lastSeq;
    let hlc = lastHlc;
    const changes: Change[] = [];
    for (const { appends } of calls) {
      for (const { draft } of appends) {
        const at = draft.at ?? wall;
        hlc = Math.max(at, hlc + 1);
        seq += 1;
        const placed = kept(draft, id => chunks.has(storedId(this.keys, id)));
        changes.push({ ...placed, device: this.device, seq, at, hlc });
      }
    }
    return changes;
  }

  /**
   * Blocks of chunks the log does not hold yet, under the names that they have in it. When this returns, `chunks` has them all.
   *
   * @throws SyftError INTERNAL.
   */
  #blocks(calls: readonly Call[], chunks: FrameChunks): Promise<readonly BuiltBlock[]> {
    for (const call of calls) for (const block of call.ready) chunks.addBlock(this.#readyToStore(block));
    const versions: VersionChunks[] = [];
    let appended = 0;
    for (const { appends } of calls) appended += appends.length;
    for (const call of calls) {
      for (const append of call.appends) {
        if (append.former === undefined || appended > DELTAS_IN_FRAME) {
          for (const chunk of append.chunks) chunks.add(this.#toStore(chunk));
        } else {
          versions.push(this.#onFormer(append, append.former, chunks));
        }
      }
      for (const chunk of call.chunks) chunks.add(this.#toStore(chunk));
    }
    return buildBlocks(chunks.single, versions).then(built => [...chunks.whole, ...built]);
  }

  #toStore(chunk: ChunkInput): ChunkInput {
    const { id, bytes } = checkedChunk(chunk);
    return this.keys === undefined ? chunk : { id: storedId(this.keys, id), bytes };
  }

  #readyToStore(block: ReadyBlock): ReadyBlock {
    return this.keys === undefined ? block : { ...block, head: withStoredIds(this.keys, block.head) };
  }

  /**
   * What of a version is new, and what of the version before it is gone: a chunk that was altered is most like the one in whose
   * place it stands. A base that is damaged, or not yet durable, is none.
   */
  #onFormer(append: Append, former: ContentRef, chunks: FrameChunks): VersionChunks {
    const fresh = append.chunks.filter(chunk => chunks.meet(this.#toStore(chunk).id));
    if (fresh.length === 0) return { chunks: fresh, bases: [] };
    const list = append.draft.content !== undefined && 'list' in append.draft.content ? append.draft.content.list : '';
    // Of a large file only the list comes with the change: its chunks went before.
    const listOnly = fresh.every(({ id }) => id === list);
    const present = new Set(append.chunks.map(({ id }) => id));
    const bases: Base[] = [];
    const needs = new Map<string, number>();
    let bytes = 0;
    for (const id of this.#heldIds(former)) {
      if (bases.length >= MOST_BASES || bytes >= DELTA_DICTIONARY) break;
      const found = !present.has(id) && this.hasChunk(id) ? this.chunk(id) : undefined;
      if (found !== undefined && bytes + found.bytes.length <= DELTA_DICTIONARY) {
        const together = new Map([...needs, ...found.needs]);
        let unpacked = 0;
        for (const raw of together.values()) unpacked += raw;
        if (together.size <= DELTA_NEEDED && unpacked <= DELTA_NEEDED_BYTES) {
          for (const [key, raw] of found.needs) needs.set(key, raw);
          bases.push({ id: storedId(this.keys, id), bytes: found.bytes });
          bytes += found.bytes.length;
        }
      }
      if (listOnly) break;
    }
    return { chunks: fresh.map(chunk => this.#toStore(chunk)), bases };
  }

  /** The chunks of a content as far as the log has them; its list, when there is one, first. */
  *#heldIds(ref: ContentRef): Generator<string> {
    if ('chunks' in ref) {
      yield* ref.chunks;
      return;
    }
    yield ref.list;
    const list = this.hasChunk(ref.list) ? this.chunk(ref.list)?.bytes : undefined;
    if (list?.length !== ref.count * 32) return;
    for (let i = 0; i < ref.count; i += 1) yield list.toString('hex', i * 32, i * 32 + 32);
  }

  /**
   * Makes all of a frame that does not depend on where it will stand.
   *
   * @param former The frame that is being written, which this one will follow.
   */
  #prepare(calls: readonly Call[], former?: PreparedFrame): PreparedFrame {
    const chunks = new FrameChunks(this.chunks, former?.chunks, chunksOfCalls(calls));
    const blocks = this.#blocks(calls, chunks);
    const seq = former === undefined ? this.#seq : former.seq;
    const changes = this.#place(calls, seq, former === undefined ? this.#hlc : former.hlc, chunks);
    const raw = encodeLines(changes, this.keys !== undefined);
    const packed = packFrame(blocks, raw);
    // Whoever writes the frame hears of it.
    packed.catch(() => undefined);
    const hlc = changes.at(-1)?.hlc ?? former?.hlc ?? this.#hlc;
    return { changes, chunks, raw, packed, seq: seq + changes.length, hlc };
  }

  /** Writes one frame and syncs it. When this returns, its changes are recorded. */
  async #write(frame: PreparedFrame, mark = 0): Promise<Change[]> {
    const { changes, raw } = frame;
    const packed = await frame.packed;
    const { blocks, records } = packed;
    if (changes.length === 0 && blocks.length === 0 && mark === 0) return [];
    const session = this.#session;
    await this.#leaveOldEpoch(mark);
    this.#openSegment();
    const recordsStored =
      session === undefined || records.length === 0 ? records.length : records.length + SEAL_OVERHEAD;
    let chunksLength = 0;
    for (const block of blocks) {
      chunksLength += session === undefined ? block.head.length + block.stored.length : sealedBlockLength(block);
    }
    const length = FRAME_HEADER + recordsStored + chunksLength;
    const seal = (mark & FLAG_SEAL) !== 0 || this.#length + length >= SEGMENT_SIZE;
    const fields = {
      flags: packed.flags | mark | (seal ? FLAG_SEAL : 0) | (session === undefined ? 0 : FLAG_ENCRYPTED),
      firstSeq: this.#seq + 1,
      count: changes.length,
      committedAt: Date.now() * 1000,
      recordsStored,
      recordsRaw: raw.length,
      chunksLength,
      recordsCrc: 0
    };
    const chain = chainOf(this.#chain, fields, raw);
    const { stored, parts, places } = this.#stored(packed, fields, chain);
    const header = encodeFrameHeader(
      { ...fields, recordsCrc: crc32(stored), chain, ...(session !== undefined && { session: session.id }) },
      this.#seed
    );
    const segment = this.#segment as Segment;
    const fd = this.#fd as number;
    const start = this.#length;
    try {
      await writeParts(fd, [header, stored, ...parts], length, start);
      await sync(fd);
    } catch (error) {
      // After a failed write or sync the state of this descriptor is unknown: it is never used again (format F-9).
      this.#broken = true;
      this.#closeFile();
      throw error;
    }
    this.#length += length;
    this.#chain = chain;
    this.#seq += changes.length;
    this.#hlc = changes.at(-1)?.hlc ?? this.#hlc;
    this.#appended = true;
    for (const { head, block } of places) {
      this.chunks.addTable(head.subarray(BLOCK_HEADER), BLOCK_ENTRY, segment.number, start + block);
    }
    const position = this.indexed.get(this.device) as Position;
    position.index = this.#own.segments.indexOf(segment);
    position.offset = this.#length;
    position.chain = chain;
    position.nextSeq = this.#seq + 1;
    position.generation = segment.relocations.length;
    position.last = { segment, offset: start, generation: position.generation };
    if (seal) {
      this.#closeFile();
      this.#segment = undefined;
      this.#writeHead(false);
      this.#tree.wake();
    }
    return changes;
  }

  /**
   * A frame as it goes to disk: sealed, in an encrypted log. Each call seals anew, so that what is tried again after a failure never
   * repeats a nonce.
   */
  #stored(
    { records, blocks }: PackedFrame,
    fields: FrameFields,
    chain: Buffer
  ): {
    readonly stored: Buffer;
    readonly parts: readonly Uint8Array[];
    /** Tables of the blocks in the clear, and where each block begins in the frame. */
    readonly places: readonly { readonly head: Buffer; readonly block: number }[];
  } {
    const session = this.#session;
    const parts: Uint8Array[] = [];
    const places: { head: Buffer; block: number }[] = [];
    const slot = session && { segment: segmentPlace(this.workspaceId, this.device, this.#segment as Segment), chain };
    const stored = session && slot && records.length > 0 ? sealRecords(session, slot, fields, records) : records;
    let block = FRAME_HEADER + stored.length;
    for (const built of blocks) {
      const written = session && slot ? sealBlock(session, slot, built, block) : built;
      places.push({ head: built.head, block });
      parts.push(written.head, written.stored);
      block += written.head.length + written.stored.length;
    }
    return { stored, parts, places };
  }

  /** A segment has keys of one epoch. After a rotation the one that was being written ends. */
  async #leaveOldEpoch(mark: number): Promise<void> {
    if (this.#session === undefined || this.#segment === undefined || (mark & FLAG_SEAL) !== 0) return;
    if (this.#own.epochOf(this.#segment) === this.#session.epoch) return;
    await this.#write(this.#prepare([]), FLAG_SEAL);
  }

  /** Makes sure there is a segment to append to, cut to what is durable. */
  #openSegment(): void {
    if (this.#fd !== undefined) return;
    if (this.#segment !== undefined) {
      const fd = openSync(this.#segment.path, constants.O_RDWR);
      try {
        if (this.#broken || fstatSync(fd).size > this.#length) {
          ftruncateSync(fd, this.#length);
          fsyncSync(fd);
        }
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      this.#fd = fd;
      this.#broken = false;
      return;
    }
    if (!this.#hasHead && this.#own.segments.length > 0) this.#writeHead(false, true);
    const firstSeq = this.#seq + 1;
    const part = this.#own.segments.filter(segment => segment.firstSeq === firstSeq).length;
    const name = segmentName(firstSeq, part);
    const path = join(this.#own.dir, name);
    const header = encodeSegmentHeader({
      workspace: this.workspaceId,
      device: this.device,
      firstSeq,
      created: Date.now() * 1000,
      previousChain: this.#chain,
      config: this.#config,
      epoch: this.#session?.epoch ?? 0
    });
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      ftruncateSync(fd, 0);
      writeFully(fd, header, 0);
      fsyncSync(fd);
      syncDirectory(this.#own.dir);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#segment = this.#own.addSegment(name, firstSeq, part);
    this.#fd = fd;
    this.#length = SEGMENT_HEADER;
    this.#broken = false;
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** What is durable, said outside of the segments: so that a cut tail is noticed. Never ahead of them. */
  #writeHead(closed: boolean, must = closed): void {
    clearTimeout(this.#headTimer);
    const last = this.#segment ?? this.#own.segments.at(-1);
    if (last === undefined) return;
    const length = this.#segment === undefined ? fstatSync(this.#own.open(last)).size : this.#length;
    try {
      replaceFile(
        join(this.#own.dir, 'head.json'),
        encodeHead({
          segment: last.name,
          length,
          seq: this.#seq,
          chain: this.#chain.toString('hex'),
          closed,
          ...this.#tree.head
        })
      );
      this.#hasHead = true;
    } catch (error) {
      // The head is a witness, not the truth: without it recording goes on, and the next one comes soon.
      if (must) throw writeError(error, 'the head of the log could not be written');
    }
  }

  override async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.drain();
      clearTimeout(this.#headTimer);
      if (this.#appended) {
        if (!this.#hasHead) this.#writeHead(false, true);
        await this.#write(this.#prepare([]), FLAG_CLOSE);
      }
      await this.#tree.close();
      if (this.#appended || (this.#tree.wrote && this.#closedHead)) this.#writeHead(true);
    } catch (error) {
      throw writeError(error, 'the log could not be closed');
    } finally {
      clearTimeout(this.#headTimer);
      this.#closeFile();
      this.#lock.release();
      await super.close();
    }
  }
}

/**
 * Opens a log for reading. Takes no lock, writes nothing, and may be used while another process writes.
 *
 * @throws SyftError LOG_MISSING, LOG_PATH_NOT_DIRECTORY, LOG_NEWER_FORMAT, LOG_DAMAGED (format.json), LOG_ENCRYPTED,
 *   KEY_MISMATCH.
 */
export function openLogReader(options: OpenLogOptions): Promise<OpenReader> {
  return Promise.resolve().then(() => {
    const log = new OpenedLog(options, readFormatFile(options.dir));
    log.start();
    return log;
  });
}

/** Removes what a rewriting that was cut off has left, and finishes what a prune has left to do. That it cannot be done now, for want of space, must not keep anybody from recording. */
async function finishLater(log: OpenedWriter): Promise<void> {
  try {
    for (const device of [log.device, ...log.earlierDevices]) removeLeftOvers(log.dir, device);
    await finishDrops(log);
  } catch (error) {
    log.tell({
      kind: 'unfinished',
      where: UNFINISHED_FILE,
      versions: [],
      message: `Contents that were pruned or erased are still there: ${error instanceof Error ? error.message : String(error)}`
    });
  }
}

/**
 * Opens a log for writing, creating it when there is none, and takes its lock.
 *
 * @throws SyftError LOG_LOCKED naming the holder, LOG_MISSING (`create: false`), LOG_PATH_NOT_DIRECTORY, LOG_NEWER_FORMAT,
 *   LOG_DAMAGED, LOG_ENCRYPTED, KEY_MISMATCH, DISK_FULL, DISK_READ_ONLY, DISK_ERROR.
 */
export async function openLogWriter(options: OpenWriterOptions): Promise<OpenWriter> {
  const { dir } = options;
  // Keys are of a log that is there.
  if (!isLogDirectory(dir) && (options.create === false || options.keys !== undefined)) {
    throw new SyftError('LOG_MISSING', `There is no log at ${dir}.`, { path: dir });
  }
  if (!isLogDirectory(dir)) refuseStrangers(dir);
  let lock: WriterLock;
  try {
    lock = await WriterLock.acquire(dir, options.holder ?? { command: 'library' });
  } catch (error) {
    if (error instanceof SyftError) throw error;
    throw writeError(error, `the log at ${dir} could not be opened`);
  }
  try {
    const format = isLogDirectory(dir) ? readFormatFile(dir) : createFormatFile(dir);
    const keys = checkKeys(dir, format, options.keys);
    const own = chooseOwnStream(dir, options.keyDir ?? configurationDirectory(), format.workspace, keys);
    const { key, device } = own;
    const streamDir = join(dir, 'log', device);
    const devicePath = join(streamDir, 'device.json');
    makePrivateDirectory(streamDir);
    let deviceFile: Buffer;
    try {
      deviceFile = readFileSync(devicePath);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      const body = {
        device,
        publicKey: key.publicKey.toString('base64'),
        // For people to know a device by; of no use to those from whom a log is encrypted.
        name: keys === undefined ? hostname() : '',
        created: new Date().toISOString()
      };
      deviceFile = Buffer.from(`${JSON.stringify(body, null, 1)}\n`);
      replaceFile(devicePath, deviceFile);
    }
    const log = new OpenedWriter(options, format, lock, own, deviceFile);
    log.start();
    await finishLater(log);
    return log;
  } catch (error) {
    lock.release();
    throw error instanceof SyftError ? error : writeError(error, `the log at ${dir} could not be opened`);
  }
}
