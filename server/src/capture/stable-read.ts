/**
 * Reads a file so that what is stored was its content at one moment: one descriptor, its state before and after, the hash
 * of exactly the bytes that are kept. Small files are read at once; large ones stream past in pieces.
 */
import { hash as hashOnce, createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { errnoOf } from '../core/errors.ts';
import { isWholeJsonObject } from '../core/notebook-complete.ts';
import type { PathName } from '../core/path-name.ts';
import { entryType, statValues, type StatValues } from './stat-columns.ts';

// Never follow a link, never wait for the other end of a FIFO.
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Largest file read in one synchronous go. */
export const SMALL_BYTES = 1024 * 1024;
/** Largest notebook whose JSON is checked. */
const CHECKED_NOTEBOOK_BYTES = 256 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;

export type ReadResult =
  /** Content. `moved`: it changed while it was read. `broken`: a notebook that is no JSON. `readAt`: before the read, ms since the epoch. */
  | {
      readonly kind: 'content';
      readonly bytes: Buffer;
      readonly hash: string;
      readonly stats: StatValues;
      readonly moved: boolean;
      readonly broken: boolean;
      readonly readAt: number;
    }
  /** Too large to be read in one go. */
  | { readonly kind: 'large'; readonly stats: StatValues }
  | { readonly kind: 'gone' }
  /** It is no plain file any more, or a link. */
  | { readonly kind: 'other' }
  /** Cannot be opened or read. */
  | { readonly kind: 'unreadable'; readonly code: string; readonly message: string }
  /** The system is short of something (descriptors, memory); try again later. */
  | { readonly kind: 'busy'; readonly code: string; readonly message: string };

/** Buffers for content on its way to the log. They are used again once the log has taken what they hold. */
export class ReadSlab {
  static readonly BYTES = 2 * 1024 * 1024;
  readonly #bytes = Buffer.allocUnsafeSlow(ReadSlab.BYTES);
  #used = 0;

  /** Room for `size` bytes, or `undefined` when there is not that much left. */
  take(size: number): Buffer | undefined {
    if (this.#used + size > ReadSlab.BYTES) return undefined;
    return this.#bytes.subarray(this.#used, this.#used + size);
  }

  /** Keeps the first `size` bytes of what was taken last. */
  keep(size: number): void {
    this.#used += size;
  }

  /** Whether `bytes` lie in this slab. */
  holds(bytes: Buffer): boolean {
    return bytes.buffer === this.#bytes.buffer;
  }

  clear(): void {
    this.#used = 0;
  }
}

export function isNotebook(path: PathName): boolean {
  return path.endsWith('.ipynb');
}

/** True when a change after `stats` could have left the times as they are: the file changed within 20 ms of `readAt`. */
export function isRacy(stats: StatValues, readAt: number): boolean {
  return stats.ctimeMs > readAt - 20;
}

function failure(error: unknown): ReadResult {
  const code = errnoOf(error) ?? 'INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return { kind: 'gone' };
    case 'ELOOP':
    case 'ENXIO':
    case 'ENODEV':
    case 'EISDIR':
      return { kind: 'other' };
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOMEM':
    case 'EINTR':
    case 'EAGAIN':
      return { kind: 'busy', code, message };
    default:
      return { kind: 'unreadable', code, message };
  }
}

/**
 * Reads a small file synchronously.
 *
 * @param absolute Path for `node:fs`.
 * @param path Its workspace path, which tells notebooks.
 * @param buffer Gives room for a number of bytes.
 */
export function readSmall(absolute: string | Buffer, path: PathName, buffer: (size: number) => Buffer): ReadResult {
  let fd: number | undefined;
  try {
    fd = openSync(absolute, OPEN_FLAGS);
    const readAt = Date.now();
    const before = fstatSync(fd);
    if (!before.isFile()) return { kind: 'other' };
    if (before.size > SMALL_BYTES) return { kind: 'large', stats: statValues(before) };
    // One byte more than expected, so that growth shows.
    const room = buffer(before.size + 1);
    let length = 0;
    while (length < room.length) {
      const n = readSync(fd, room, length, room.length - length, null);
      if (n === 0) break;
      length += n;
      if (length === before.size) {
        // The usual case needs no second read to find the end: the state afterwards tells.
        break;
      }
    }
    const after = fstatSync(fd);
    const bytes = room.subarray(0, length);
    const moved = length !== before.size || !sameFile(before, after);
    const broken = !moved && isNotebook(path) && !isWholeJsonObject(bytes);
    return {
      kind: 'content',
      bytes,
      hash: hashOnce('sha256', bytes, 'hex'),
      stats: statValues(after),
      moved,
      broken,
      readAt
    };
  } catch (error) {
    return failure(error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Reads the target of a symbolic link, which is its content. */
export function readLink(
  absolute: string | Buffer
): ReadResult | { readonly kind: 'link'; readonly bytes: Buffer; readonly hash: string } {
  try {
    const bytes = readlinkSync(absolute, { encoding: 'buffer' });
    return { kind: 'link', bytes, hash: hashOnce('sha256', bytes, 'hex') };
  } catch (error) {
    return errnoOf(error) === 'EINVAL' ? { kind: 'other' } : failure(error);
  }
}

export type LargeResult =
  | {
      readonly kind: 'content';
      readonly hash: string;
      readonly size: number;
      readonly stats: StatValues;
      readonly moved: boolean;
      readonly broken: boolean;
      readonly readAt: number;
      /** All bytes, of a notebook that was checked. */
      readonly whole?: Buffer;
    }
  | Exclude<ReadResult, { kind: 'content' } | { kind: 'large' }>;

/**
 * Reads a large file in pieces.
 *
 * @param onPiece Takes each piece before the next is read into the same buffer; `undefined` when only the hash is wanted.
 *   Not called for a notebook, which must be seen whole to be checked: its bytes are in the result.
 */
export async function readLarge(
  absolute: string | Buffer,
  path: PathName,
  onPiece: ((bytes: Buffer) => Promise<void>) | undefined,
  signal?: AbortSignal
): Promise<LargeResult> {
  let handle;
  try {
    handle = await open(absolute, OPEN_FLAGS);
    const readAt = Date.now();
    const before = await handle.stat();
    if (!before.isFile()) return { kind: 'other' };
    const digest = createHash('sha256');
    const whole =
      isNotebook(path) && before.size <= CHECKED_NOTEBOOK_BYTES ? Buffer.allocUnsafeSlow(before.size) : undefined;
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    let length = 0;
    // A file that grows without end is cut where it stood at the start; the rest is the next version.
    while (length < before.size) {
      if (signal?.aborted === true) return { kind: 'busy', code: 'CANCELLED', message: 'stopped' };
      const want = Math.min(PIECE_BYTES, before.size - length);
      const room = whole?.subarray(length, length + want) ?? piece.subarray(0, want);
      const { bytesRead } = await handle.read(room, 0, want, null);
      if (bytesRead === 0) break;
      length += bytesRead;
      const bytes = room.subarray(0, bytesRead);
      digest.update(bytes);
      if (whole === undefined) await onPiece?.(bytes);
    }
    const after = await handle.stat();
    const moved = length !== before.size || !sameFile(before, after);
    const all = whole?.subarray(0, length);
    return {
      kind: 'content',
      hash: digest.digest('hex'),
      size: length,
      stats: statValues(after),
      moved,
      broken: !moved && all !== undefined && !isWholeJsonObject(all),
      readAt,
      ...(all !== undefined && { whole: all })
    };
  } catch (error) {
    // What the taker of the pieces throws is not about this file.
    if (typeof error !== 'object' || error === null || !('syscall' in error)) throw error;
    return failure(error) as LargeResult;
  } finally {
    await handle?.close();
  }
}

function sameFile(a: StatValues, b: StatValues): boolean {
  return (
    a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs && entryType(a.mode) === entryType(b.mode)
  );
}
