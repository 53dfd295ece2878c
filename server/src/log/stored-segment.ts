/**
 * A segment in a storage. Where objects grow it is one object. Elsewhere it is one object, which may be missing, and parts
 * behind it, `<segment>.parts/<offset, 16 digits>`, each put once where nothing was; a part that begins before the end of what
 * is there already counts for nothing (it was merged and not yet deleted).
 */
import { createHash } from 'node:crypto';
import type { Cancellable, ObjectInfo, Storage } from '../storage/storage.ts';
import { listAll, MAX_READ, preconditionFailed } from '../storage/storage.ts';

export interface StoredSegment {
  readonly size: number;
  /** What it consists of, in order and without gaps. */
  readonly pieces: readonly { readonly info: ObjectInfo; readonly offset: number }[];
  /** All parts that are listed, merged ones too. */
  readonly parts: readonly string[];
  /** Differs whenever an object of it does ({@link segmentKey}). */
  readonly key: string;
}

export function partName(segment: string, offset: number): string {
  return `${segment}.parts/${String(offset).padStart(16, '0')}`;
}

/** Short name for the state of the objects of a segment, which are given as a listing has them: in the order of their names. */
export function segmentKey(objects: readonly ObjectInfo[]): string {
  const hash = createHash('sha256');
  for (const { name, size, etag } of objects) hash.update(`${name} ${size} ${etag}\n`);
  return hash.digest('hex').slice(0, 32);
}

/** What there is of a segment; `undefined` when there is nothing. */
export async function storedSegment(
  storage: Storage,
  name: string,
  options: Cancellable = {}
): Promise<StoredSegment | undefined> {
  // Parts first: those that are merged meanwhile are then in the whole.
  const parts: ObjectInfo[] = [];
  for await (const info of listAll(storage, `${name}.parts/`, options)) parts.push(info);
  const whole = await storage.stat(name, options);
  const pieces = whole === undefined ? [] : [{ info: whole, offset: 0 }];
  let size = whole?.size ?? 0;
  for (const info of parts) {
    if (info.name !== partName(name, size) || info.size === 0) continue;
    pieces.push({ info, offset: size });
    size += info.size;
  }
  if (pieces.length === 0) return undefined;
  const key = segmentKey(whole === undefined ? parts : [whole, ...parts]);
  return { size, pieces, parts: parts.map(part => part.name), key };
}

/**
 * Bytes of a segment from `offset` to `end`, in pieces of a megabyte.
 *
 * @throws SyftError of the storage; PRECONDITION_FAILED, NOT_FOUND when an object is no longer the one that was found.
 */
export async function* storedBytes(
  storage: Storage,
  { pieces }: StoredSegment,
  offset: number,
  end: number,
  options: Cancellable = {}
): AsyncGenerator<Uint8Array> {
  let at = offset;
  for (const piece of pieces) {
    const stop = Math.min(end, piece.offset + piece.info.size);
    while (at >= piece.offset && at < stop) {
      const length = Math.min(MAX_READ / 8, stop - at);
      const { bytes } = await storage.read(piece.info.name, {
        ...options,
        offset: at - piece.offset,
        length,
        etag: piece.info.etag
      });
      if (bytes.length === 0 || bytes.length > length) {
        preconditionFailed(piece.info.name, 'gave other bytes than it has');
      }
      yield bytes;
      at += bytes.length;
    }
  }
}
