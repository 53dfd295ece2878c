/**
 * What a log holds, in columns: every version, the contents they have, the chunks these are made of and what each takes in the
 * segments. Reads the log by itself, beside whoever writes it, and goes on where it was: some 150 bytes a chunk and 50 a version.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { compareChanges, type Change, type ContentRef } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import { decodeHashes, isAct, type ActChange } from '../core/retention-act.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { BlockReader, type FoundChunk, type StoredBlock } from './block-reader.ts';
import { ChunkIndex, SOME_ENTRY, type ChunkPlace } from './chunk-index.ts';
import { bytes8, floats, HashColumn, numbers16, numbers32 } from './columns.ts';
import { storedId } from './chunk-id.ts';
import { checkKeys, readFormatFile } from './format-file.ts';
import { BLOCK_ENTRY, BLOCK_HEADER, frameLength } from './layout.ts';
import type { Relocation } from './relocation.ts';
import { storedBytes, Stream, streamStart, type Block, type Position, type Segment } from './stream.ts';
import type { DurableEnd } from './types.ts';

const DEVICE = /^[a-z2-7]{8}$/;
const NONE = 0xffffffff;
/** Frames read before others get their turn. */
const PORTION = 16;

/** Names → numbers. */
class Numbering<K> {
  readonly names: K[] = [];
  readonly #numbers = new Map<K, number>();

  of(name: K): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

/** Hashes → numbers. */
class HashNumbers {
  readonly hashes = new HashColumn();
  readonly #index = new ChunkIndex();

  find(hex: string): number | undefined {
    return this.#index.get(hex)?.block;
  }

  /** Gives a hash a number; it must have none. */
  add(hex: string): number {
    const number = this.hashes.push(hex);
    this.#index.add(hex, { segment: 0, block: number, entry: 0 });
    return number;
  }
}

export interface ReadInventoryOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Where a writer of this process says that it ends. What a failed write has left behind that never was: an act there must not be
   * carried out.
   */
  readonly end?: () => DurableEnd | undefined;
  /** Of an encrypted log. */
  readonly keys?: LogKeys | undefined;
}

export class Inventory {
  readonly dir: string;
  readonly acts: ActChange[] = [];
  readonly #workspace: string;
  readonly #signal: AbortSignal | undefined;
  readonly #streams = new Map<string, { readonly stream: Stream; readonly position: Position }>();
  readonly #segments: Segment[] = [];
  readonly #paths = new Numbering<PathName>();
  readonly #devices = new Numbering<string>();

  // ---- versions, in the order in which they were read
  readonly versionPath = numbers32();
  readonly versionAt = floats();
  readonly versionContent = numbers32();
  readonly versionDevice = numbers16();
  readonly versionSeq = floats();
  readonly #versionHlc = floats();

  // ---- contents: one hash may be made of chunks in two ways, and is two contents then
  readonly #byHash = new HashNumbers();
  /** The first content of each hash, and further ones. */
  readonly #first = numbers32();
  readonly #variants = new Map<number, number[]>();
  readonly #contentHash = numbers32();
  readonly contentSize = floats();
  readonly #contentStart = floats();
  readonly #contentCount = numbers32();
  readonly #contentList = numbers32();
  readonly #pool = numbers32();
  /** Contents whose list of chunks is still to be read. */
  #unread: { readonly content: number; readonly count: number }[] = [];
  /** Chunks of acts: they are never dropped. */
  readonly #actContents: ContentRef[] = [];

  // ---- chunks, by the names that they have in blocks
  readonly #chunkNumbers = new HashNumbers();
  readonly chunkBytes = floats();
  readonly #chunkSegment = numbers32();
  readonly #chunkBlock = floats();
  readonly #chunkPresent = bytes8();
  /** Bytes of the segments but for the chunks. */
  fixedBytes = 0;
  /** Chunks on which blocks of a segment are based, by its number. */
  readonly #bases = new Map<number, Set<number>>();
  readonly #blocks = new BlockReader({
    place: id => this.#placeOf(id),
    stored: place => this.#storedAt(place),
    idOf: sha256 => storedId(this.#keys, sha256)
  });

  readonly #end: () => DurableEnd | undefined;
  readonly #keys: LogKeys | undefined;

  private constructor(dir: string, { signal, end, keys }: ReadInventoryOptions) {
    this.dir = dir;
    this.#end = end ?? (() => undefined);
    const format = readFormatFile(dir);
    this.#workspace = format.workspace;
    this.#keys = checkKeys(dir, format, keys);
    this.#signal = signal;
  }

  /**
   * Reads a log.
   *
   * @throws SyftError LOG_MISSING, LOG_DAMAGED (format.json), LOG_NEWER_FORMAT, LOG_ENCRYPTED, KEY_MISMATCH, CANCELLED.
   */
  static async read(dir: string, options: ReadInventoryOptions = {}): Promise<Inventory> {
    const inventory = new Inventory(dir, options);
    try {
      await inventory.advance();
      return inventory;
    } catch (error) {
      inventory.close();
      throw error;
    }
  }

  /** Reads what has come since. */
  async advance(): Promise<void> {
    for (const device of readdirSync(join(this.dir, 'log'))
      .filter(name => DEVICE.test(name))
      .sort()) {
      let found = this.#streams.get(device);
      if (found === undefined) {
        const stream = new Stream(join(this.dir, 'log', device), device, {
          workspace: this.#workspace,
          config: () => undefined,
          nextNumber: () => 0,
          // Whoever reads the log for its contents tells of damage; what cannot be read is not counted, and never dropped.
          onDamage: () => undefined,
          keys: this.#keys
        });
        this.#streams.set(device, (found = { stream, position: streamStart() }));
      }
      await this.#readStream(found.stream, found.position);
    }
    this.#readLists();
  }

  async #readStream(stream: Stream, position: Position): Promise<void> {
    stream.discover();
    let portion = 0;
    const end = this.#end();
    const segment = stream.segments.find(({ name }) => stream.device === end?.device && name === end.segment);
    const limit = segment === undefined || end === undefined ? undefined : { segment, length: end.length };
    for (const frame of stream.walk(position, limit)) {
      if (stream.isLast(frame) && !stream.isWhole(frame)) break;
      const segment = this.#segmentNumber(frame.segment);
      let inChunks = 0;
      for (const block of stream.blocks(frame)) {
        inChunks += this.#addBlock(block, segment);
        for (const id of stream.basesOf(block)) this.#addBase(segment, this.#chunk(id));
      }
      this.fixedBytes += frameLength(frame.header) - inChunks;
      for (const change of stream.records(frame, true)) this.#addChange(change);
      portion += 1;
      if (portion % PORTION !== 0) continue;
      if (this.#signal?.aborted === true) throw new SyftError('CANCELLED', 'Stopped; nothing was changed.');
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  #segmentNumber(segment: Segment): number {
    if (this.#segments.at(-1) !== segment) this.#segments.push(segment);
    return this.#segments.length - 1;
  }

  /** A chunk by its SHA-256, as records and lists name it. */
  #named(sha256: string): number {
    return this.#chunk(storedId(this.#keys, sha256));
  }

  #chunk(id: string): number {
    const known = this.#chunkNumbers.find(id);
    if (known !== undefined) return known;
    this.chunkBytes.push(0);
    this.#chunkSegment.push(0);
    this.#chunkBlock.push(0);
    this.#chunkPresent.push(0);
    return this.#chunkNumbers.add(id);
  }

  #addBase(segment: number, chunk: number): void {
    const bases = this.#bases.get(segment) ?? new Set();
    if (bases.size === 0) this.#bases.set(segment, bases);
    bases.add(chunk);
  }

  /** The chunks on which blocks are based that lie in segments of which `stays` is true. */
  *basesIn(stays: (segment: Pick<Segment, 'name' | 'where'>) => boolean): Generator<number> {
    for (const [number, bases] of this.#bases) {
      const segment = this.#segments[number];
      if (segment !== undefined && stays(segment)) yield* bases;
    }
  }

  /** Notes the chunks of a block; returns the bytes that are theirs: all of it, in shares of their lengths. */
  #addBlock(block: Block, segment: number): number {
    const { table, header } = block;
    if (table === undefined || header === undefined) return 0;
    const shared = BLOCK_HEADER + header.storedLength;
    for (const { id, length } of table) {
      const chunk = this.#chunk(id);
      const share =
        BLOCK_ENTRY + (header.rawLength === 0 ? shared / table.length : (shared * length) / header.rawLength);
      // A chunk that is there twice takes its room twice.
      this.chunkBytes.set(chunk, this.chunkBytes.at(chunk) + share);
      if (this.#chunkPresent.at(chunk) === 1) continue;
      this.#chunkPresent.set(chunk, 1);
      this.#chunkSegment.set(chunk, segment);
      this.#chunkBlock.set(chunk, block.offset);
    }
    return table.length === 0 ? 0 : block.length;
  }

  #addChange(change: Change): void {
    if (isAct(change)) {
      this.acts.push(change);
      if (change.content !== undefined) this.#actContents.push(change.content);
      return;
    }
    const { content, hash } = change;
    if (content === undefined || hash === undefined || change.kind === 'deleted') return;
    this.versionPath.push(this.#paths.of(change.path));
    this.versionAt.push(change.at);
    this.versionContent.push(this.#content(hash, change.size ?? 0, content));
    this.versionDevice.push(this.#devices.of(change.device));
    this.versionSeq.push(change.seq);
    this.#versionHlc.push(change.hlc);
  }

  #content(hash: string, size: number, ref: ContentRef): number {
    const list = 'chunks' in ref ? NONE : this.#named(ref.list);
    const ids = 'chunks' in ref ? ref.chunks.map(id => this.#named(id)) : [];
    const same = (content: number): boolean =>
      this.#contentList.at(content) === list &&
      (list !== NONE ||
        (this.#contentCount.at(content) === ids.length &&
          ids.every((chunk, i) => this.#pool.at(this.#contentStart.at(content) + i) === chunk)));
    let number = this.#byHash.find(hash);
    const others = number === undefined ? [] : (this.#variants.get(number) ?? []);
    const first = number === undefined ? undefined : this.#firstOf(number);
    const found = [...(first === undefined ? [] : [first]), ...others].find(same);
    if (found !== undefined) return found;
    number ??= this.#byHash.add(hash);
    const content = this.#contentHash.push(number);
    this.contentSize.push(size);
    this.#contentStart.push(this.#pool.length);
    this.#contentCount.push(ids.length);
    this.#contentList.push(list);
    for (const chunk of ids) this.#pool.push(chunk);
    if ('list' in ref) this.#unread.push({ content, count: ref.count });
    if (first === undefined) this.#first.push(content);
    else this.#variants.set(number, [...others, content]);
    return content;
  }

  #firstOf(number: number): number {
    return this.#first.at(number);
  }

  /** Lists of chunks are chunks themselves, and may lie in a stream that is read later. */
  #readLists(): void {
    const later: { content: number; count: number }[] = [];
    for (const { content, count } of this.#unread) {
      const list = this.#contentList.at(content);
      const ids = decodeHashes(this.bytesOf(this.#chunkNumbers.hashes.at(list)) ?? Buffer.alloc(0)) ?? [];
      if (ids.length !== count) {
        if (this.#chunkPresent.at(list) === 0) later.push({ content, count });
        this.#contentStart.set(content, this.#pool.length);
        this.#contentCount.set(content, 1);
        this.#pool.push(list);
        continue;
      }
      const chunks = [list, ...ids.map(id => this.#named(id))];
      this.#contentStart.set(content, this.#pool.length);
      this.#contentCount.set(content, chunks.length);
      for (const chunk of chunks) this.#pool.push(chunk);
    }
    this.#unread = later;
  }

  /** The bytes of a chunk, verified, as the log had it when it was read; `undefined` when it is not there whole. */
  bytesOf(id: string): Buffer | undefined {
    return this.#blocks.chunk(id)?.bytes;
  }

  /** {@link bytesOf}, with the blocks that were needed. */
  found(id: string): FoundChunk | undefined {
    return this.#blocks.chunk(id);
  }

  /** The segment in which a chunk lies: the first of those that hold it. */
  segmentOf(chunk: number): Segment | undefined {
    return this.#chunkPresent.at(chunk) === 1 ? this.#segments[this.#chunkSegment.at(chunk)] : undefined;
  }

  /** A segment was replaced by one with the same frames and chunks; from now on it is read instead of the old one. */
  relocated(device: string, name: string, relocation: Relocation): void {
    const stream = this.#streams.get(device)?.stream;
    const segment = stream?.segments.find(candidate => candidate.name === name);
    if (stream === undefined || segment === undefined) return;
    stream.relocated(segment, relocation);
    // A segment that was gone on with after others has several numbers.
    const numbers = new Set<number>();
    this.#segments.forEach((candidate, number) => {
      if (candidate === segment) numbers.add(number);
    });
    for (const number of numbers) this.#blocks.forget(number);
    for (const frame of stream.framesOf(segment)) {
      for (const block of stream.blocks(frame)) {
        for (const { id } of block.table ?? []) {
          const chunk = this.#chunkNumbers.find(id);
          if (chunk !== undefined && numbers.has(this.#chunkSegment.at(chunk))) {
            this.#chunkBlock.set(chunk, block.offset);
          }
        }
      }
    }
  }

  #placeOf(id: string): ChunkPlace | undefined {
    const chunk = this.#chunkNumbers.find(id);
    if (chunk === undefined || this.#chunkPresent.at(chunk) === 0) return undefined;
    return { segment: this.#chunkSegment.at(chunk), block: this.#chunkBlock.at(chunk), entry: SOME_ENTRY };
  }

  #storedAt({ segment: number, block: offset }: ChunkPlace): StoredBlock | undefined {
    const segment = this.#segments[number];
    const stream = this.#streams.get(segment?.where.split('/')[1] ?? '')?.stream;
    const block = segment === undefined ? undefined : stream?.blockAt(segment, offset);
    if (stream === undefined || block?.table === undefined || block.header === undefined) return undefined;
    const stored = storedBytes(stream.open(block.segment), block);
    return stored === undefined ? undefined : { header: block.header, table: block.table, stored };
  }

  // ---- what is asked ------------------------------------------------------------------------------------------------

  get versions(): number {
    return this.versionPath.length;
  }

  get contents(): number {
    return this.#contentHash.length;
  }

  get paths(): readonly PathName[] {
    return this.#paths.names;
  }

  /** The streams of the log. */
  devices(): string[] {
    return [...this.#streams.keys()];
  }

  device(version: number): string {
    return this.#devices.names[this.versionDevice.at(version)] ?? '';
  }

  versionId(version: number): string {
    return `${this.device(version)}.${this.versionSeq.at(version)}`;
  }

  path(version: number): PathName {
    return this.#paths.names[this.versionPath.at(version)] ?? '';
  }

  /** Where a version stands in the common order of streams. */
  place(version: number): { device: string; seq: number; hlc: number } {
    return { device: this.device(version), seq: this.versionSeq.at(version), hlc: this.#versionHlc.at(version) };
  }

  /** Versions in the order of the log, as numbers. */
  order(): Uint32Array {
    const order = Uint32Array.from({ length: this.versions }, (_, i) => i);
    if (this.#streams.size > 1) order.sort((a, b) => compareChanges(this.place(a), this.place(b)));
    return order;
  }

  hash(content: number): string {
    return this.#byHash.hashes.at(this.#contentHash.at(content));
  }

  /** All contents of one hash. */
  withHash(hash: string): readonly number[] {
    const number = this.#byHash.find(hash);
    return number === undefined ? [] : [this.#firstOf(number), ...(this.#variants.get(number) ?? [])];
  }

  /** Numbers of the chunks of a content, its list included. Valid until the next {@link advance}. */
  chunksOf(content: number): Uint32Array {
    const start = this.#contentStart.at(content);
    return this.#pool.values.subarray(start, start + this.#contentCount.at(content));
  }

  /** True when the log has all of a content. */
  isHeld(content: number): boolean {
    if (this.#contentList.at(content) !== NONE && this.#contentCount.at(content) < 2) return false;
    return this.chunksOf(content).every(chunk => this.#chunkPresent.at(chunk) === 1);
  }

  get chunks(): number {
    return this.chunkBytes.length;
  }

  chunkId(chunk: number): string {
    return this.#chunkNumbers.hashes.at(chunk);
  }

  chunkNumber(id: string): number | undefined {
    return this.#chunkNumbers.find(id);
  }

  isChunkHeld(chunk: number): boolean {
    return this.#chunkPresent.at(chunk) === 1;
  }

  /** Chunks that acts need. */
  actChunks(): number[] {
    return this.#actContents.flatMap(ref =>
      ('chunks' in ref ? ref.chunks : [ref.list, ...this.#idsOf(ref.list)]).map(id => this.#named(id))
    );
  }

  #idsOf(list: string): string[] {
    return decodeHashes(this.bytesOf(storedId(this.#keys, list)) ?? Buffer.alloc(0)) ?? [];
  }

  /** The hashes that an act lists; `undefined` when they cannot be read. */
  listOf(act: Change): string[] | undefined {
    const ref = act.content;
    if (ref === undefined) return undefined;
    const parts = ('chunks' in ref ? ref.chunks : this.#idsOf(ref.list)).map(id =>
      this.bytesOf(storedId(this.#keys, id))
    );
    return parts.every(part => part !== undefined) ? decodeHashes(Buffer.concat(parts)) : undefined;
  }

  close(): void {
    for (const { stream } of this.#streams.values()) stream.close();
  }
}
