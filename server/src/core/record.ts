/**
 * One record: the line of JSON by which the log holds a change (docs/format.md, "Records"). A log may come from a stranger,
 * so reading validates everything before anything else sees it.
 */
import { displayPath, isEscaped, pathBase64, decodePath, type PathName } from './path-name.ts';
import { ACT_PATH, decodeAct } from './retention-act.ts';
import type { Cause, Change, ChangeFlag, ChangeKind, ContentRef, EntryType } from './change.ts';

const KINDS = new Set<string>(['created', 'modified', 'deleted', 'moved'] satisfies ChangeKind[]);
const TYPES = new Set<string>(['file', 'symlink', 'directory'] satisfies EntryType[]);
const FLAGS = new Set<string>(['torn', 'no-content', 'unreadable'] satisfies ChangeFlag[]);
const HASH = /^[0-9a-f]{64}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Why a line is not a record. */
export class RecordError extends Error {}

// What stands in JSON as it is, and is UTF-8: almost every path.
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function pathMembers(name: 'path' | 'from', path: PathName): string {
  if (PLAIN.test(path)) return `,"${name}":"${path}"`;
  const base64 = pathBase64(path);
  if (base64 === undefined) return `,"${name}":${JSON.stringify(path)}`;
  return `,"${name}":${JSON.stringify(displayPath(path))},"${name}64":"${base64}"`;
}

/** True when `content` says no more than that the one chunk is the content itself. */
function isPlain(content: ContentRef, hash: string | undefined): boolean {
  return 'chunks' in content && content.chunks.length === 1 && content.chunks[0] === hash;
}

/**
 * A change as the line the log stores, without the line end. Inverse of {@link decodeRecord}. Put together by hand: a first
 * capture writes very many, and this takes a third of the time that `JSON.stringify` of a made-up object takes.
 *
 * @param salt In an encrypted log: base64 of random bytes, which no reader needs. The line cannot be guessed then.
 */
export function encodeRecord(change: Change, salt?: string): string {
  const { at, hlc, size, hash, previousHash, mode, mtime, flags, from, content, cause, retention } = change;
  let line = `{"seq":${change.seq},"kind":"${change.kind}"${pathMembers('path', change.path)},"at":${at}`;
  if (hlc !== at) line += `,"hlc":${hlc}`;
  line += `,"type":"${change.type}"`;
  if (size !== undefined) line += `,"size":${size}`;
  if (hash !== undefined) line += `,"hash":"${hash}"`;
  if (previousHash !== undefined) line += `,"previous":"${previousHash}"`;
  if (mode !== undefined) line += `,"mode":${mode}`;
  if (mtime !== undefined) line += `,"mtime":${mtime}`;
  if (flags.length > 0) line += `,"flags":${JSON.stringify(flags)}`;
  if (from !== undefined) line += pathMembers('from', from);
  // Most content is one chunk named by the content's own hash; `true` says so in four bytes.
  if (content !== undefined) {
    line += isPlain(content, hash) ? ',"content":true' : `,"content":${JSON.stringify(content)}`;
  }
  if (cause !== undefined) line += `,"cause":${JSON.stringify(cause)}`;
  if (retention !== undefined) line += `,"retention":${JSON.stringify(retention)}`;
  if (salt !== undefined) line += `,"salt":"${salt}"`;
  return `${line}}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function whole(object: Record<string, unknown>, key: string, min = 0): number | undefined {
  const value = object[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min) {
    throw new RecordError(`"${key}" is not a whole number`);
  }
  return value;
}

function hash(object: Record<string, unknown>, key: string): string | undefined {
  const value = object[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !HASH.test(value)) throw new RecordError(`"${key}" is not a SHA-256`);
  return value;
}

// An empty part, `.` or `..`, or a NUL anywhere.

const ODD_PART = /(?:^|\/)\.{0,2}(?:\/|$)|\0/;

function path(object: Record<string, unknown>, key: 'path' | 'from'): PathName | undefined {
  const text = object[key];
  const base64 = object[`${key}64`];
  if (text === undefined) return undefined;
  if (typeof text !== 'string') throw new RecordError(`"${key}" is not a text`);
  let name = text;
  if (base64 !== undefined) {
    if (typeof base64 !== 'string' || !BASE64.test(base64)) throw new RecordError(`"${key}64" is not base64`);
    name = decodePath(Buffer.from(base64, 'base64'));
    if (!isEscaped(name)) throw new RecordError(`"${key}64" is UTF-8`);
  } else if (!text.isWellFormed()) {
    throw new RecordError(`"${key}" is not well-formed`);
  }
  if (ODD_PART.test(name)) throw new RecordError(`"${key}" does not name a file inside the workspace`);
  return name;
}

function contentOf(value: unknown, contentHash: string | undefined): ContentRef | undefined {
  if (value === undefined) return undefined;
  if (value === true && contentHash !== undefined) return { chunks: [contentHash] };
  if (isObject(value)) {
    const { chunks, list, count } = value;
    if (Array.isArray(chunks) && chunks.every(id => typeof id === 'string' && HASH.test(id))) {
      return { chunks: chunks as string[] };
    }
    if (
      typeof list === 'string' &&
      HASH.test(list) &&
      typeof count === 'number' &&
      Number.isSafeInteger(count) &&
      count > 0
    ) {
      return { list, count };
    }
  }
  throw new RecordError('"content" is not understood');
}

function causeOf(value: unknown): Cause | undefined {
  if (!isObject(value)) return undefined;
  const { kind, version, workspace, user, message } = value;
  if (kind === 'restore' && typeof version === 'string') return { kind, version };
  if (kind === 'received' && typeof version === 'string' && typeof workspace === 'string') {
    return { kind, workspace, version };
  }
  if (kind === 'message' && typeof message === 'string') {
    return typeof version === 'string' ? { kind, message, version } : { kind, message };
  }
  if (kind === 'jupyter-save') return typeof user === 'string' ? { kind, user } : { kind };
  // A cause of a later version of the program is not needed to understand what changed.
  return undefined;
}

/**
 * Reads one line of a stream.
 *
 * @param line The stored line without its end.
 * @param device The stream's device.
 * @throws RecordError saying what is wrong with it.
 */
export function decodeRecord(line: string, device: string): Change {
  let object: unknown;
  try {
    object = JSON.parse(line);
  } catch {
    throw new RecordError('not JSON');
  }
  if (!isObject(object)) throw new RecordError('not an object');
  const kind = object['kind'];
  const type = object['type'];
  const flags = object['flags'] ?? [];
  if (typeof kind !== 'string' || !KINDS.has(kind)) throw new RecordError('"kind" is not known');
  if (typeof type !== 'string' || !TYPES.has(type)) throw new RecordError('"type" is not known');
  if (!Array.isArray(flags) || !flags.every(flag => typeof flag === 'string' && FLAGS.has(flag))) {
    throw new RecordError('"flags" are not known');
  }
  const seq = whole(object, 'seq', 1);
  const at = whole(object, 'at');
  const name = path(object, 'path');
  if (seq === undefined || at === undefined || name === undefined) {
    throw new RecordError('"seq", "at" or "path" is missing');
  }
  const from = path(object, 'from');
  if ((from !== undefined) !== (kind === 'moved')) throw new RecordError('"from" belongs to moves');
  const size = whole(object, 'size');
  const contentHash = hash(object, 'hash');
  const previousHash = hash(object, 'previous');
  const mode = whole(object, 'mode');
  const mtime = whole(object, 'mtime', Number.MIN_SAFE_INTEGER);
  const content = contentOf(object['content'], contentHash);
  const cause = causeOf(object['cause']);
  // One after the other: spreading takes three times as long, and a log is read record by record.
  const change: { -readonly [K in keyof Change]: Change[K] } = {
    device,
    seq,
    kind: kind as ChangeKind,
    path: name,
    at,
    hlc: whole(object, 'hlc') ?? at,
    type: type as EntryType,
    flags: flags as ChangeFlag[]
  };
  if (size !== undefined) change.size = size;
  if (contentHash !== undefined) change.hash = contentHash;
  if (previousHash !== undefined) change.previousHash = previousHash;
  if (mode !== undefined) change.mode = mode & 0o7777;
  if (mtime !== undefined) change.mtime = mtime;
  if (from !== undefined) change.from = from;
  if (content !== undefined) change.content = content;
  if (cause !== undefined) change.cause = cause;
  const retention = object['retention'];
  if (retention !== undefined && kind === 'deleted' && type === 'directory' && name === ACT_PATH) {
    change.retention = decodeAct(retention);
  }
  return change;
}
