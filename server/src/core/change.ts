/** The change model: what one line of the log means. Pure data; the bytes are in docs/format.md. */
import { displayPath, pathBase64, type PathName } from './path-name.ts';
import type { RetentionAct } from './retention-act.ts';

/** What happened to a path. */
export type ChangeKind = 'created' | 'modified' | 'deleted' | 'moved';
/** What the path is. An empty directory is recorded; others are implied by what they hold. */
export type EntryType = 'file' | 'symlink' | 'directory';
/**
 * `torn`: could not be read at rest, kept all the same. `no-content`: name, size and hash only.
 * `unreadable`: present, but could not be read at all.
 */
export type ChangeFlag = 'torn' | 'no-content' | 'unreadable';

/** How a version's content is put together from chunks: their ids in order, or one chunk that holds that list. */
export type ContentRef =
  /** Hex chunk ids in order. */
  | { readonly chunks: readonly string[] }
  /** Hex id of a chunk whose bytes are the 32-byte ids in order; `count` of them. */
  | { readonly list: string; readonly count: number };

/** How a change came about, as far as it is known. Absent: seen on disk, nothing more known. */
export type Cause =
  | { readonly kind: 'restore'; readonly version: string }
  | { readonly kind: 'received'; readonly workspace: string; readonly version: string }
  | { readonly kind: 'jupyter-save'; readonly user?: string }
  /** Taken out of a SyftMessage; `version` is its name at the sender. */
  | { readonly kind: 'message'; readonly message: string; readonly version?: string };

/** One event on one path, as the log holds it. */
export interface Change {
  /** Device id: 8 characters of `a-z2-7`. */
  readonly device: string;
  /** Position in the device's stream, from 1, without gaps. */
  readonly seq: number;
  readonly kind: ChangeKind;
  readonly path: PathName;
  /** Wall-clock time of capture, whole microseconds since the Unix epoch. */
  readonly at: number;
  /** Hybrid logical clock, microseconds: never runs backwards in a stream and exceeds all it has seen. Orders streams. */
  readonly hlc: number;
  readonly type: EntryType;
  /** Content length in bytes (a symlink: of its target). Absent for `deleted` and directories. */
  readonly size?: number;
  /** SHA-256 of the content, 64 hex digits. Absent for `deleted`, directories, and `unreadable`. */
  readonly hash?: string;
  /** `hash` of the path's version before this one. For `moved`: of the path it came from. */
  readonly previousHash?: string;
  /** Permission bits (`st_mode & 0o7777`). */
  readonly mode?: number;
  /** Modification time of the file, microseconds since the epoch. */
  readonly mtime?: number;
  readonly flags: readonly ChangeFlag[];
  /** Only for `moved`: where it was. */
  readonly from?: PathName;
  /** Absent when there is no content to fetch (`deleted`, directory, `no-content`, `unreadable`). */
  readonly content?: ContentRef;
  readonly cause?: Cause;
  /** Something said about versions, instead of something that happened to a file. Readers of changes never meet one. */
  readonly retention?: RetentionAct;
}

/** A change before the log has given it its place: no device, seq, clock. `at` may be given, else it is now. */
export type ChangeDraft = Omit<Change, 'device' | 'seq' | 'hlc' | 'at'> & { readonly at?: number };

/** A version id: `<device>.<seq>`. */
export function versionId(change: { readonly device: string; readonly seq: number }): string {
  return `${change.device}.${change.seq}`;
}

const VERSION_ID = /^([a-z2-7]{8})\.([1-9][0-9]{0,15})$/;

/** Parses a whole version id; `undefined` when it is not one. */
export function parseVersionId(text: string): { device: string; seq: number } | undefined {
  const match = VERSION_ID.exec(text);
  return match?.[1] !== undefined && match[2] !== undefined ? { device: match[1], seq: Number(match[2]) } : undefined;
}

/** Microseconds since the epoch → ISO 8601 UTC with microseconds. */
export function isoMicros(us: number): string {
  const ms = Math.floor(us / 1000);
  return new Date(ms).toISOString().replace('Z', `${String(us - ms * 1000).padStart(3, '0')}Z`);
}

/**
 * Microseconds since the epoch → seconds for `utimes`, such that the file's time in whole microseconds is the same again. The
 * nearest double often lies just below, and is cut down by a whole microsecond.
 */
export function utimeSeconds(us: number): number {
  const seconds = us / 1e6;
  const whole = Math.floor(seconds);
  return (seconds - whole) * 1e9 < (us - whole * 1e6) * 1000 ? (us + 0.3) / 1e6 : seconds;
}

/** Where a change stands in the common order of all streams. */
export type ChangePlace = Pick<Change, 'device' | 'seq' | 'hlc'>;

/** The order of changes across streams: hybrid logical clock, then device, then seq. */
export function compareChanges(a: ChangePlace, b: ChangePlace): number {
  return a.hlc - b.hlc || (a.device < b.device ? -1 : a.device > b.device ? 1 : a.seq - b.seq);
}

/** A change as the command line and the HTTP API show it. Absent values are absent, never null. */
export interface ChangeJson {
  versionId: string;
  kind: ChangeKind;
  path: string;
  pathBase64?: string;
  at: string;
  size?: number;
  hash?: string;
  previousHash?: string;
  device: string;
  mode?: number;
  mtime?: string;
  type: EntryType;
  flags: ChangeFlag[];
  from?: string;
  fromBase64?: string;
  cause?: Cause;
}

/** {@link Change} → {@link ChangeJson}. */
export function changeToJson(change: Change): ChangeJson {
  const path64 = pathBase64(change.path);
  const from64 = change.from === undefined ? undefined : pathBase64(change.from);
  return {
    versionId: versionId(change),
    kind: change.kind,
    path: displayPath(change.path),
    ...(path64 !== undefined && { pathBase64: path64 }),
    at: isoMicros(change.at),
    ...(change.size !== undefined && { size: change.size }),
    ...(change.hash !== undefined && { hash: `sha256:${change.hash}` }),
    ...(change.previousHash !== undefined && { previousHash: `sha256:${change.previousHash}` }),
    device: change.device,
    ...(change.mode !== undefined && { mode: change.mode }),
    ...(change.mtime !== undefined && { mtime: isoMicros(change.mtime) }),
    type: change.type,
    flags: [...change.flags],
    ...(change.from !== undefined && { from: displayPath(change.from) }),
    ...(from64 !== undefined && { fromBase64: from64 }),
    ...(change.cause !== undefined && { cause: change.cause })
  };
}
