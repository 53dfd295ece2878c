/** One record: is it what docs/format.md says, and which content does it need. */
import { HEX, whole } from './bytes.ts';

/** A content that a record names. */
export interface Content {
  readonly version: string;
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

/** What is wrong with a record, or `undefined`. */
export function recordProblem(record: Record<string, unknown>): string | undefined {
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
  if (content === undefined || (content === true && hash !== undefined)) return undefined;
  const { chunks, list, count } = content as Record<string, unknown>;
  if (Array.isArray(chunks) && chunks.every(id => HEX.test(String(id)))) return undefined;
  return HEX.test(String(list)) && whole(count) && count > 0 ? undefined : 'its content is not understood';
}

export function contentOf(record: Record<string, unknown>, version: string, where: string): Content | undefined {
  const { content } = record;
  if (content === undefined) return undefined;
  const hash = record['hash'] as string | undefined;
  const size = record['size'] as number | undefined;
  if (content === true) return { version, hash, size, ids: [hash ?? ''], list: undefined, where };
  const { chunks, list, count } = content as { chunks?: string[]; list?: string; count?: number };
  return {
    version,
    hash,
    size,
    ids: chunks ?? [],
    list: list === undefined ? undefined : { id: list, count: count ?? 0 },
    where
  };
}
