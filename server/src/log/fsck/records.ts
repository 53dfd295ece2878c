/** One record: is it what docs/format.md says, and which content does it need. */
import { HEX, whole } from './bytes.ts';

/** Where a record stands in the merged streams: by clock, then device, then number. */
export interface Place {
  readonly hlc: number;
  readonly device: string;
  readonly seq: number;
}

export function isBefore(a: Place, b: Place): boolean {
  if (a.hlc !== b.hlc) return a.hlc < b.hlc;
  return a.device === b.device ? a.seq < b.seq : a.device < b.device;
}

/** True for an act that says that contents are gone; their hashes are its content. */
export function isDrop(record: Record<string, unknown>): boolean {
  const { kind, type, path, retention } = record;
  if (kind !== 'deleted' || type !== 'directory' || path !== '.syft-sync') return false;
  const act: unknown = typeof retention === 'object' && retention !== null ? (retention as { act?: unknown }).act : '';
  return act === 'prune' || act === 'erase';
}

/** A content that a record names. */
export interface Content {
  readonly version: string;
  readonly place: Place;
  readonly hash: string | undefined;
  readonly size: number | undefined;
  readonly ids: readonly string[];
  readonly list: { readonly id: string; readonly count: number } | undefined;
  readonly where: string;
}

function validPath(path: unknown, base64: unknown): boolean {
  if (typeof path !== 'string') return false;
  const exact =
    base64 === undefined ? path : typeof base64 === 'string' ? Buffer.from(base64, 'base64').toString('latin1') : '';
  return (
    exact !== '' &&
    !exact.includes('\0') &&
    exact.split('/').every(part => part !== '' && part !== '.' && part !== '..')
  );
}

/**
 * What is wrong with a record, or `undefined`.
 *
 * @param sealed It stands in an encrypted log.
 */
export function recordProblem(record: Record<string, unknown>, sealed: boolean): string | undefined {
  const { kind, type, path, path64, at, hlc, size, hash, previous, mode, mtime, flags, from, from64, content } = record;
  if (!['created', 'modified', 'deleted', 'moved'].includes(String(kind))) return 'its kind is unknown';
  if (!['file', 'symlink', 'directory'].includes(String(type))) return 'its type is unknown';
  if (!validPath(path, path64)) return 'its path does not name a file inside the workspace';
  if ((kind === 'moved') !== (from !== undefined) || (from !== undefined && !validPath(from, from64))) {
    return 'its origin is wrong';
  }
  if (!whole(at) || (hlc !== undefined && !whole(hlc))) return 'its time is wrong';
  if (size !== undefined && (!whole(size) || size < 0)) return 'its size is wrong';
  if (mode !== undefined && !whole(mode)) return 'its mode is wrong';
  if (mtime !== undefined && !whole(mtime)) return 'its modification time is wrong';
  if ([hash, previous].some(value => value !== undefined && !HEX.test(String(value)))) return 'a hash is wrong';
  if (
    flags !== undefined &&
    !(Array.isArray(flags) && flags.every(flag => ['torn', 'no-content', 'unreadable'].includes(String(flag))))
  ) {
    return 'its flags are unknown';
  }
  const salt = record['salt'];
  if (sealed ? Buffer.from(String(salt), 'base64').length !== 16 : salt !== undefined) return 'its salt is wrong';
  if (content === undefined || (content === true && hash !== undefined)) return undefined;
  const { chunks, list, count } = content as Record<string, unknown>;
  if (Array.isArray(chunks) && chunks.every(id => HEX.test(String(id)))) return undefined;
  return HEX.test(String(list)) && whole(count) && count > 0 ? undefined : 'its content is not understood';
}

export function contentOf(record: Record<string, unknown>, place: Place, where: string): Content | undefined {
  const version = `${place.device}.${place.seq}`;
  const { content } = record;
  if (content === undefined) return undefined;
  const hash = record['hash'] as string | undefined;
  const size = record['size'] as number | undefined;
  if (content === true) return { version, place, hash, size, ids: [hash ?? ''], list: undefined, where };
  const { chunks, list, count } = content as { chunks?: string[]; list?: string; count?: number };
  return {
    version,
    place,
    hash,
    size,
    ids: chunks ?? [],
    list: list === undefined ? undefined : { id: list, count: count ?? 0 },
    where
  };
}
