/**
 * A segment in a storage. Where objects grow it is one object. Elsewhere it is one object, which may be missing, and parts
 * behind it, `<segment>.parts/<offset, 16 digits>`, each put once where nothing was; a part that begins before the end of what
 * is there already counts for nothing (it was merged and not yet deleted).
 */
import type { Cancellable, ObjectInfo, Storage } from '../storage/storage.ts';
import { listAll, MAX_READ } from '../storage/storage.ts';

export interface StoredSegment {
  readonly size: number;
  /** What it consists of, in order and without gaps. */
  readonly pieces: readonly { readonly info: ObjectInfo; readonly offset: number }[];
  /** All parts that are listed, merged ones too. */
  readonly parts: readonly string[];
}

export function partName(segment: string, offset: number): string {
  return `${segment}.parts/${String(offset).padStart(16, '0')}`;
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
  return pieces.length === 0 ? undefined : { size, pieces, parts: parts.map(part => part.name) };
}

/** Bytes of a segment from `offset` to `end`, in pieces of a megabyte. @throws SyftError of the storage. */
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
        length
      });
      if (bytes.length === 0) return;
      yield bytes;
      at += bytes.length;
    }
  }
}
