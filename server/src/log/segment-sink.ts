/** Where a segment goes that is written anew. */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { SyftError } from '../core/errors.ts';
import { writeFully } from '../storage/durable.ts';
import { readUpTo } from './read-up-to.ts';

/** Bytes copied at a time. */
const PIECE = 1 << 20;

/** Writes a segment, or only counts what it would take. */
export class SegmentSink {
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
