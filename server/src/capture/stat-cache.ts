/**
 * The stat cache on disk: what was known when the recorder stopped, so that the next start need not read every file.
 *
 * Disposable. It is one file, written beside and renamed, with a checksum over all of it; each entry names the version it
 * goes with, and counts only when that still is the path's latest version. Anything doubtful is ignored, and the file is
 * read instead, which costs time and changes nothing.
 *
 * Layout: magic, length of the header (u32), header (JSON), per directory: path, entry count, entries; CRC-32. Little endian.
 */
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errnoOf } from '../core/errors.ts';
import { decodePath, encodePath, isEscaped, joinPath } from '../core/path-name.ts';
import type { VersionMark } from '../core/packed-change.ts';
import type { PackedTree } from '../core/packed-tree.ts';
import type { KnownTree, StatValues } from './known.ts';
import { TimeSlice } from './time-slice.ts';

const FILE_NAME = 'stat-cache';
const MAGIC = Buffer.from('SYFTSTAT1\n', 'latin1');
/** Fixed part of an entry: name length, type, mode, device index, sequence, hash prefix, six stat values. */
const ENTRY_BYTES = 2 + 2 + 2 + 8 + 4 + 6 * 8;
// The hash prefix ties an entry to its version beyond the version id: a log put back from a copy may give an id again.
/** Bit beside the mode: equal stat values mean equal content. Without it an entry only tells which file it was. */
const SURE = 0x8000;
const FLUSH_BYTES = 1024 * 1024;

interface Header {
  readonly workspaceId: string;
  readonly root: RootIdentity;
  readonly devices: readonly string[];
}

/** Which directory the root was. */
export interface RootIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** The cache on its way to the file: one buffer that is written to in place. */
class CacheBytes {
  #bytes = Buffer.allocUnsafe(FLUSH_BYTES + FLUSH_BYTES / 4);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Begins a directory. Answers where its count goes. */
  begin(path: Uint8Array): number {
    this.#room(8 + path.length);
    this.#at = this.#bytes.writeUInt32LE(path.length, this.#at);
    this.raw(path);
    this.#at += 4;
    return this.#at - 4;
  }

  /** Ends a directory. */
  end(countAt: number, count: number): void {
    this.#bytes.writeUInt32LE(count, countAt);
  }

  entry(name: string, device: number, settled: boolean, mark: VersionMark, stats: StatValues): void {
    this.#room(ENTRY_BYTES + name.length * 3);
    const bytes = this.#bytes;
    const start = this.#at;
    let nameBytes: number;
    if (isEscaped(name)) {
      const encoded = encodePath(name);
      bytes.set(encoded, start + ENTRY_BYTES);
      nameBytes = encoded.length;
    } else nameBytes = bytes.write(name, start + ENTRY_BYTES);
    let at = bytes.writeUInt16LE(nameBytes, start);
    at = bytes.writeUInt16LE(device, at);
    at = bytes.writeUInt16LE((stats.mode & 0o7777) | (settled ? SURE : 0), at);
    at = bytes.writeDoubleLE(mark.seq, at);
    at = bytes.writeUInt32LE(mark.hashPrefix, at);
    at = bytes.writeDoubleLE(stats.dev, at);
    at = bytes.writeDoubleLE(stats.ino, at);
    at = bytes.writeDoubleLE(stats.size, at);
    at = bytes.writeDoubleLE(stats.mtimeMs, at);
    at = bytes.writeDoubleLE(stats.ctimeMs, at);
    at = bytes.writeDoubleLE(stats.birthtimeMs, at);
    this.#at = at + nameBytes;
  }

  /** What was written since the last call; to be used before anything else is written. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  #room(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const bytes = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + more));
    this.#bytes.copy(bytes, 0, 0, this.#at);
    this.#bytes = bytes;
  }
}

/**
 * Writes the cache.
 *
 * @throws System errors; the caller may ignore them.
 */
export async function saveStatCache(
  cacheDir: string,
  workspaceId: string,
  root: RootIdentity,
  known: KnownTree,
  tree: PackedTree
): Promise<void> {
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 });
  const target = join(cacheDir, FILE_NAME);
  const staged = `${target}.new`;
  const handle = await open(staged, 'w', 0o600);
  try {
    // A device that comes up while this is being written has no number here; its entries are left out.
    const devices = [...tree.devices];
    const deviceIndex = new Map(devices.map((device, i) => [device, i]));
    const header = Buffer.from(JSON.stringify({ workspaceId, root, devices } satisfies Header));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(header.length);
    let sum = 0;
    const out = new CacheBytes();
    out.raw(Buffer.concat([MAGIC, length, header]));
    const flush = async (): Promise<void> => {
      const block = out.take();
      sum = crc32(block, sum);
      await handle.write(block);
    };
    const slice = new TimeSlice();
    for (const node of [...known.nodes()]) {
      if (slice.spent()) await slice.rest();
      const path = encodePath(node.path);
      let count = 0;
      const countAt = out.begin(path);
      for (const [name, slot] of node.entries) {
        if ((count & 63) === 63 && slice.spent()) await slice.rest();
        const stats = known.stats(slot);
        const mark = tree.mark(joinPath(node.path, name));
        const device = mark === undefined ? undefined : deviceIndex.get(mark.device);
        if (stats === undefined || mark === undefined || device === undefined) continue;
        out.entry(name, device, known.isSettled(slot), mark, stats);
        count += 1;
      }
      out.end(countAt, count);
      if (out.length > FLUSH_BYTES) await flush();
    }
    await flush();
    const tail = Buffer.alloc(4);
    tail.writeUInt32LE(sum);
    await handle.write(tail);
  } finally {
    await handle.close();
  }
  renameSync(staged, target);
}

/**
 * Reads the cache into `known`, whose paths are those of `tree`.
 *
 * @returns Which directory the root was then; `undefined` when there is no cache to be trusted.
 */
export function loadStatCache(
  cacheDir: string,
  workspaceId: string,
  known: KnownTree,
  tree: PackedTree
): RootIdentity | undefined {
  const file = join(cacheDir, FILE_NAME);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') rmSync(file, { force: true, recursive: true });
    return undefined;
  }
  if (bytes.length < MAGIC.length + 8 || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const end = bytes.length - 4;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) return undefined;
  let at = MAGIC.length;
  const headerLength = bytes.readUInt32LE(at);
  at += 4;
  const header = JSON.parse(bytes.toString('utf8', at, at + headerLength)) as Header;
  at += headerLength;
  if (header.workspaceId !== workspaceId) return undefined;
  while (at < end) {
    const pathLength = bytes.readUInt32LE(at);
    const dir = decodePath(bytes.subarray(at + 4, at + 4 + pathLength));
    at += 4 + pathLength;
    const count = bytes.readUInt32LE(at);
    at += 4;
    for (let i = 0; i < count; i += 1) {
      const nameLength = bytes.readUInt16LE(at);
      const device = header.devices[bytes.readUInt16LE(at + 2)];
      const mode = bytes.readUInt16LE(at + 4);
      const seq = bytes.readDoubleLE(at + 6);
      const prefix = bytes.readUInt32LE(at + 14);
      const values = at + 18;
      const name = decodePath(bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameLength));
      const path = joinPath(dir, name);
      const mark = tree.mark(path);
      const slot = known.slot(path);
      if (slot !== undefined && mark?.seq === seq && mark.device === device && mark.hashPrefix === prefix) {
        const value = (n: number): number => bytes.readDoubleLE(values + n * 8);
        const stats = {
          dev: value(0),
          ino: value(1),
          size: value(2),
          mtimeMs: value(3),
          ctimeMs: value(4),
          birthtimeMs: value(5),
          mode: mode & ~SURE
        };
        known.set(slot, stats, (mode & SURE) !== 0);
      }
      at += ENTRY_BYTES + nameLength;
    }
  }
  return header.root;
}
