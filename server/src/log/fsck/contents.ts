/** The contents that records name: are their chunks there, and are they what they should be. */
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import type { Damage } from '../types.ts';
import { bytesAt, sha256 } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import { isBefore, type Content, type Place } from './records.ts';

/** Where a chunk lies: in which block of which file, and where in the block. */
export interface ChunkSpot {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  readonly raw: number;
  readonly zstd: boolean;
  readonly start: number;
  readonly size: number;
}

/** Every content: are its chunks there, and with `readData`, are they what they should be. */
export function* checkContents(log: CheckedLog): Generator<Damage | undefined> {
  const read = new BlockReader(log.dir);
  try {
    const drops = signedDrops(log, read);
    for (const [i, content] of log.contents.entries()) {
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
      if (dropped && (content.list === undefined ? content.ids : [content.list.id]).some(id => !log.chunks.has(id))) {
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
        if (bytes === undefined || sha256(bytes).toString('hex') !== id) altered ??= id;
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

/** The chunks of a content, in order; `undefined` when its list of them cannot be read. */
function idsOf(log: CheckedLog, read: BlockReader, { ids, list }: Content): readonly string[] | undefined {
  if (list === undefined) return ids;
  const spot = log.chunks.get(list.id);
  const bytes = spot === undefined ? undefined : read.chunk(spot);
  if (bytes?.length !== list.count * 32 || sha256(bytes).toString('hex') !== list.id) return undefined;
  return hashesIn(bytes);
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
class BlockReader {
  readonly #dir: string;
  readonly #files = new Map<string, number>();
  readonly #blocks = new Map<string, Buffer | undefined>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  chunk(spot: ChunkSpot): Buffer | undefined {
    const key = `${spot.file}:${spot.offset}`;
    if (!this.#blocks.has(key)) {
      let fd = this.#files.get(spot.file);
      if (fd === undefined) this.#files.set(spot.file, (fd = openSync(join(this.#dir, spot.file), 'r')));
      const stored = bytesAt(fd, spot.offset, spot.length);
      let raw: Buffer | undefined = stored;
      try {
        if (spot.zstd) raw = zstdDecompressSync(stored, { maxOutputLength: Math.max(1, spot.raw) });
      } catch {
        raw = undefined;
      }
      if (this.#blocks.size >= 16) this.#blocks.delete(this.#blocks.keys().next().value as string);
      this.#blocks.set(key, raw?.length === spot.raw ? raw : undefined);
    }
    return this.#blocks.get(key)?.subarray(spot.start, spot.start + spot.size);
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
  }
}
