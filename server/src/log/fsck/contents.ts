/** The contents that records name: are their chunks there, and are they what they should be. */
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import type { Damage } from '../types.ts';
import { bytesAt, MOST_BELOW, MOST_DEPTH, MOST_DICTIONARY, sha256 } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import type { ChunkMap } from './chunk-map.ts';
import { isBefore, type Content, type Place } from './records.ts';
import type { Opener, SealedPlace } from './sealed.ts';

/** Where the chunks of a block are stored, and on which others. */
export interface CheckedBlock {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  readonly raw: number;
  readonly zstd: boolean;
  /** How to open it, in an encrypted log, and how much of what is opened names its bases. */
  readonly sealed?: { readonly place: SealedPlace; readonly associated: Buffer; readonly skip: number };
  /** Ids of the chunks that make its dictionary. */
  readonly bases: readonly string[];
}

/** Where a chunk lies: in which block, and where in it. */
export interface ChunkSpot {
  readonly block: CheckedBlock;
  readonly start: number;
  readonly size: number;
}

/** Every content: are its chunks there, and with `readData`, are they what they should be. */
export function* checkContents(log: CheckedLog): Generator<Damage | undefined> {
  const read = new BlockReader(log.dir, log.chunks, log.opener);
  const grounds = new Grounds(log.chunks);
  try {
    const drops = signedDrops(log, read);
    for (let i = 0; i < log.contents.length; i += 1) {
      const content = log.contents.at(i);
      if (i % 256 === 0) yield undefined;
      log.tick(0);
      const damage = (why: string): Damage => ({
        kind: 'content',
        where: content.where,
        versions: [content.version],
        message: `The content of ${content.version} is damaged: ${why}.`
      });
      const act = content.hash === undefined ? undefined : drops.get(content.hash);
      const dropped = act !== undefined && isBefore(content.place, act);
      const named = (content.list === undefined ? content.ids : [content.list.id]).map(id => read.idOf(id));
      if (dropped && named.some(id => !log.chunks.has(id))) {
        log.pruned(content.version);
        continue;
      }
      const ids = idsOf(log, read, content);
      if (ids === undefined) {
        yield damage('its list of chunks is missing or altered');
        continue;
      }
      const missing = ids.find(id => !log.chunks.has(id));
      if (missing !== undefined && dropped) {
        log.pruned(content.version);
        continue;
      }
      if (missing !== undefined) {
        yield damage(`chunk ${missing.slice(0, 12)} is missing`);
        continue;
      }
      const groundless = ids.map(id => grounds.problem(id)).find(problem => problem !== undefined);
      if (groundless !== undefined) {
        yield damage(groundless);
        continue;
      }
      const size = ids.reduce((sum, id) => sum + (log.chunks.get(id)?.size ?? 0), 0);
      if (content.size !== undefined && size !== content.size) {
        yield damage(`it has ${size} bytes instead of ${content.size}`);
        continue;
      }
      if (!log.readData) continue;
      const whole = createHash('sha256');
      let altered: string | undefined;
      for (const id of ids) {
        const bytes = read.chunk(log.chunks.get(id) as ChunkSpot);
        if (bytes === undefined || read.idOfBytes(bytes) !== id) altered ??= id;
        else whole.update(bytes);
      }
      if (altered !== undefined) yield damage(`chunk ${altered.slice(0, 12)} is altered`);
      else if (content.hash !== undefined && whole.digest('hex') !== content.hash) {
        yield damage('it does not have the recorded hash');
      }
    }
  } finally {
    read.close();
  }
}

/** The chunks of a content, in order, as tables name them; `undefined` when its list of them cannot be read. */
function idsOf(log: CheckedLog, read: BlockReader, { ids, list }: Content): readonly string[] | undefined {
  if (list === undefined) return ids.map(id => read.idOf(id));
  const spot = log.chunks.get(read.idOf(list.id));
  const bytes = spot === undefined ? undefined : read.chunk(spot);
  if (bytes?.length !== list.count * 32 || sha256(bytes).toString('hex') !== list.id) return undefined;
  return hashesIn(bytes).map(id => read.idOf(id));
}

function hashesIn(bytes: Buffer): string[] {
  return Array.from({ length: Math.floor(bytes.length / 32) }, (_, i) => bytes.toString('hex', i * 32, i * 32 + 32));
}

/** What acts list as gone, each hash with the last act that lists it. An act counts when a checkpoint that holds covers it. */
function signedDrops(log: CheckedLog, read: BlockReader): Map<string, Place> {
  const drops = new Map<string, Place>();
  for (const drop of log.drops) {
    const stream = log.streams.get(drop.place.device);
    if (stream?.agrees !== true || (stream.checkpoint?.size ?? 0) < drop.place.seq) continue;
    const parts = idsOf(log, read, drop)?.map(id => {
      const spot = log.chunks.get(id);
      return spot === undefined ? undefined : read.chunk(spot);
    });
    if (parts?.every(part => part !== undefined) !== true) continue;
    const bytes = Buffer.concat(parts);
    if (sha256(bytes).toString('hex') !== drop.hash) continue;
    for (const hash of hashesIn(bytes)) {
      const before = drops.get(hash);
      if (before === undefined || isBefore(before, drop.place)) drops.set(hash, drop.place);
    }
  }
  return drops;
}

/** Reads chunks; keeps the last few blocks, for neighbours are asked for one after the other. */
/** What is wrong below a chunk: with those its block is based on, and those below them. */
class Grounds {
  readonly #chunks: ChunkMap;
  readonly #judged = new Map<CheckedBlock, { problem: string | undefined; depth: number }>();
  readonly #open = new Set<CheckedBlock>();

  constructor(chunks: ChunkMap) {
    this.#chunks = chunks;
  }

  problem(id: string): string | undefined {
    const spot = this.#chunks.get(id);
    return spot === undefined ? `chunk ${id.slice(0, 12)} is missing` : this.#judge(spot.block).problem;
  }

  #judge(block: CheckedBlock): { problem: string | undefined; depth: number } {
    if (block.bases.length === 0) return { problem: undefined, depth: 0 };
    const known = this.#judged.get(block);
    if (known !== undefined) return known;
    if (this.#open.has(block)) return { problem: 'a block is based on itself', depth: 0 };
    if (this.#open.size > MOST_DEPTH) return { problem: 'blocks stand too deep on one another', depth: 0 };
    this.#open.add(block);
    let problem: string | undefined;
    let depth = 0;
    let bytes = 0;
    for (const id of block.bases) {
      const base = this.#chunks.get(id);
      if (base === undefined) {
        problem ??= `chunk ${id.slice(0, 12)}, which others are based on, is missing`;
        continue;
      }
      bytes += base.size;
      const below = this.#judge(base.block);
      problem ??= below.problem;
      depth = Math.max(depth, below.depth + 1);
    }
    if (bytes > MOST_DICTIONARY) problem ??= 'a block is based on more than the format allows';
    if (depth > MOST_DEPTH) problem ??= 'blocks stand too deep on one another';
    this.#open.delete(block);
    const judged = { problem, depth };
    this.#judged.set(block, judged);
    return judged;
  }
}

const KEPT_BYTES = 32 * 1024 * 1024;

/** Reads chunks; keeps the last blocks, for neighbours are asked for one after the other. */
class BlockReader {
  readonly #dir: string;
  readonly #chunks: ChunkMap;
  readonly #opener: Opener | undefined;
  readonly #files = new Map<string, number>();
  readonly #blocks = new Map<CheckedBlock, Buffer | undefined>();
  readonly #open = new Set<CheckedBlock>();
  #kept = 0;
  /** What the blocks below the present one have unpacked to. */
  #below = 0;

  constructor(dir: string, chunks: ChunkMap, opener: Opener | undefined) {
    this.#dir = dir;
    this.#chunks = chunks;
    this.#opener = opener;
  }

  /** The id in tables of a chunk with this hash. */
  idOf(hash: string): string {
    return this.#opener === undefined ? hash : this.#opener.id(Buffer.from(hash, 'hex'));
  }

  idOfBytes(bytes: Buffer): string {
    const hash = sha256(bytes);
    return this.#opener === undefined ? hash.toString('hex') : this.#opener.id(hash);
  }

  chunk(spot: ChunkSpot): Buffer | undefined {
    this.#below = 0;
    return this.#part(spot);
  }

  #part({ block, start, size }: ChunkSpot): Buffer | undefined {
    const raw = this.#blocks.has(block) ? this.#blocks.get(block) : this.#unpack(block);
    // Used last: dropped last.
    this.#blocks.delete(block);
    this.#blocks.set(block, raw);
    return raw?.subarray(start, start + size);
  }

  #unpack(block: CheckedBlock): Buffer | undefined {
    if (this.#open.has(block) || this.#open.size > MOST_DEPTH) return undefined;
    if (this.#open.size > 0) this.#below += block.raw;
    if (this.#below > MOST_BELOW) return undefined;
    this.#open.add(block);
    const dictionary = block.bases.length === 0 ? undefined : this.#dictionary(block);
    this.#open.delete(block);
    if (block.bases.length > 0 && dictionary === undefined) return undefined;
    let fd = this.#files.get(block.file);
    if (fd === undefined) this.#files.set(block.file, (fd = openSync(join(this.#dir, block.file), 'r')));
    const stored = this.#opened(block, bytesAt(fd, block.offset, block.length));
    if (stored === undefined) return undefined;
    let raw: Buffer | undefined = stored;
    try {
      if (block.zstd) {
        raw = zstdDecompressSync(stored, {
          maxOutputLength: Math.max(1, block.raw),
          ...(dictionary !== undefined && { dictionary })
        });
      }
    } catch {
      raw = undefined;
    }
    if (raw?.length !== block.raw) return undefined;
    this.#kept += raw.length;
    for (const [oldest, old] of this.#blocks) {
      if (this.#kept <= KEPT_BYTES) break;
      this.#blocks.delete(oldest);
      this.#kept -= old?.length ?? 0;
    }
    return raw;
  }

  #opened({ sealed }: CheckedBlock, stored: Buffer): Buffer | undefined {
    if (sealed === undefined) return stored;
    return this.#opener?.open(sealed.place, 'block', sealed.associated, stored)?.subarray(sealed.skip);
  }

  /** A zero byte and the chunks that a block is based on. */
  #dictionary(block: CheckedBlock): Buffer | undefined {
    const parts: Buffer[] = [Buffer.alloc(1)];
    let bytes = 0;
    for (const id of block.bases) {
      const spot = this.#chunks.get(id);
      bytes += spot?.size ?? 0;
      const part = spot === undefined || bytes > MOST_DICTIONARY ? undefined : this.#part(spot);
      if (part === undefined || this.idOfBytes(part) !== id) return undefined;
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
  }
}
