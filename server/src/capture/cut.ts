/** Content → chunks for the log. */
import { hash as hashOnce } from 'node:crypto';
import type { PathName } from '../core/path-name.ts';
import type { ChunkInput } from '../log/types.ts';

/** Cuts the whole content of a small file. `hash` is its SHA-256, which is the id when it stays one chunk. */
export function cutSmall(_path: PathName, bytes: Buffer, hash: string): ChunkInput[] {
  return bytes.length === 0 ? [] : [{ id: hash, bytes }];
}

/** Cuts content that arrives in pieces. */
export class StreamCut {
  constructor(_path: PathName, _size: number) {}

  /** Chunks completed by this piece. */
  push(bytes: Buffer): ChunkInput[] {
    return [{ id: hashOnce('sha256', bytes, 'hex'), bytes }];
  }

  /** The rest. */
  end(): ChunkInput[] {
    return [];
  }
}
