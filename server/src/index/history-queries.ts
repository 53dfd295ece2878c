/**
 * The questions one can ask about the changes of a workspace. Two engines answer them, DuckDB and plain replay of the
 * log, and one conformance suite holds both to the same answers.
 */
import type { Change, ChangeKind } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { decodePath, displayPath, normalizeRelative, parseDisplayPath, type PathName } from '../core/path-name.ts';

/** A change with what stood before it at the same path (for `moved`: at the path it came from). */
export interface ChangeRecord {
  readonly change: Change;
  /** Bytes. Absent when nothing stood there, or when its size is not known. */
  readonly previousSize?: number;
  readonly previousVersionId?: string;
}

/** Which changes; all conditions must hold. Times are microseconds since the epoch, both ends included. */
export interface ChangesFilter {
  /** How many records at most. */
  readonly limit: number;
  /** Cursor: only changes older than it; see {@link encodeCursor}. */
  readonly before?: string;
  /** Whole version id: only changes newer than it. Throws VERSION_NOT_FOUND when there is no such version. */
  readonly after?: string;
  /** Exact path. */
  readonly path?: PathName;
  /** A folder: changes of it and of everything below it, and moves out of it. `''` is the whole workspace. */
  readonly under?: PathName;
  readonly kind?: ChangeKind;
  /** Part of the path as displayed, case ignored. */
  readonly q?: string;
  readonly since?: number;
  readonly until?: number;
  /** Oldest first instead of newest first; `next` is then absent. */
  readonly oldestFirst?: boolean;
}

export interface RecordPage {
  readonly records: ChangeRecord[];
  /** Cursor for the next, older page; absent at the end. */
  readonly next?: string;
  /** Changes that match on all pages; the cursor does not count. */
  readonly total: number;
}

export interface HistoryPage extends RecordPage {
  /** The path exists in the tree now. */
  readonly exists: boolean;
}

export interface DeletedRecord {
  readonly path: PathName;
  /** The deletion. */
  readonly deleted: ChangeRecord;
  /** The last version before it that has content. */
  readonly last: ChangeRecord;
}

/** Counts over the whole log. Directories count as changes only. */
export interface ChangeCounts {
  readonly byKind: Record<ChangeKind, number>;
  readonly changes: number;
  readonly versions: number;
  readonly devices: number;
  readonly trackedFiles: number;
  /** Bytes of all versions, before deduplication and compression. */
  readonly contentBytes: number;
}

/** Options every question takes: `signal` gives up with CANCELLED. */
export interface QueryOptions {
  readonly signal?: AbortSignal;
}

/** The questions. Every answer reflects at least the changes that were handed over before the question was asked. */
export interface HistoryQueries {
  changes(filter: ChangesFilter, options?: QueryOptions): Promise<RecordPage>;
  /** Changes of one path, newest first, followed back across moves. Empty when nothing is recorded of it. */
  history(path: PathName, page: { limit: number; before?: string }, options?: QueryOptions): Promise<HistoryPage>;
  /**
   * The tree now, or folded over the changes with `at` up to a moment (microseconds); sorted by the bytes of the path.
   */
  tree(which: { at?: number; under?: PathName }, options?: QueryOptions): Promise<Change[]>;
  /** Files and links that are gone and can be brought back, newest deletion first. */
  deleted(which: { under?: PathName; q?: string; limit: number }, options?: QueryOptions): Promise<DeletedRecord[]>;
  /** A version by its id or a unique prefix of it. Throws VERSION_NOT_FOUND, VERSION_AMBIGUOUS. */
  version(id: string, options?: QueryOptions): Promise<ChangeRecord>;
  /** The records of these changes, in the order given; one that is not known comes without what stood before it. */
  recordsOf(changes: readonly Change[], options?: QueryOptions): Promise<ChangeRecord[]>;
  counts(options?: QueryOptions): Promise<ChangeCounts>;
  /** The first of these paths that the log has ever seen. */
  firstKnown(paths: readonly PathName[], options?: QueryOptions): Promise<PathName | undefined>;
}

/** An engine: answers questions about the changes it was fed. */
export interface HistoryEngine extends HistoryQueries {
  /** Feeds changes, each newer than all before in the order of `compareChanges`. All of a call are applied, or none. */
  apply(changes: readonly Change[]): Promise<void>;
  /** The newest change applied. */
  readonly last: Place | undefined;
  /** Highest seq applied, by device. */
  readonly positions: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** What orders a change among all others. */
export type Place = Pick<Change, 'hlc' | 'device' | 'seq'>;

/** The order of `compareChanges`, on places. */
export function comparePlaces(a: Place, b: Place): number {
  return a.hlc - b.hlc || (a.device < b.device ? -1 : a.device > b.device ? 1 : a.seq - b.seq);
}

const CURSOR = /^([0-9]{1,16})\.([a-z2-7]{8})\.([0-9]{1,16})$/;

/** A place as an opaque text for `before`. */
export function encodeCursor(place: Place): string {
  return `${place.hlc}.${place.device}.${place.seq}`;
}

/** Inverse of {@link encodeCursor}. Throws BAD_REQUEST. */
export function decodeCursor(text: string): Place {
  const match = CURSOR.exec(text);
  if (match?.[1] === undefined || match[2] === undefined || match[3] === undefined) {
    throw new SyftError('BAD_REQUEST', 'before: this is not a cursor that an earlier answer gave.');
  }
  return { hlc: Number(match[1]), device: match[2], seq: Number(match[3]) };
}

/** The form in which `q` is compared: case and composition of letters do not matter. */
export function foldText(text: string): string {
  return text.toWellFormed().normalize('NFC').toLowerCase();
}

/** {@link foldText} of a path as displayed. */
export function foldPath(path: PathName): string {
  return foldText(displayPath(path));
}

/**
 * A path from outside → a workspace path. The literal reading wins; `\xHH` escapes, and base64 of a name that is not
 * UTF-8, are understood where the log knows such a path.
 *
 * @throws SyftError PATH_OUTSIDE_ROOT when no reading lies inside the workspace.
 */
export async function resolvePath(
  queries: HistoryQueries,
  text: string,
  options: QueryOptions = {}
): Promise<PathName> {
  const literal = text.isWellFormed() ? normalizeRelative(text) : undefined;
  const escaped = literal === undefined ? undefined : parseDisplayPath(literal);
  const candidates = [literal, escaped !== literal ? escaped : undefined, fromBase64(text)].filter(
    path => path !== undefined
  );
  if (candidates.length > 1) {
    const known = await queries.firstKnown(candidates, options);
    if (known !== undefined) return known;
  }
  if (literal === undefined) {
    throw new SyftError('PATH_OUTSIDE_ROOT', 'The path does not name a file inside the workspace.', {
      path: text.toWellFormed()
    });
  }
  return literal;
}

function fromBase64(text: string): PathName | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return normalizeRelative(decodePath(Buffer.from(text, 'base64')));
}

/** The prefix of a version id, when the text can be one. */
export function isVersionPrefix(text: string): boolean {
  return /^[a-z2-7]{1,8}$|^[a-z2-7]{8}\.([1-9][0-9]{0,15})?$/.test(text);
}

/** The error for a version that is not there. */
export function versionNotFound(text: string): SyftError {
  return new SyftError('VERSION_NOT_FOUND', `There is no version ${text.slice(0, 100).toWellFormed()}.`);
}

/** The error for the beginning of several version ids. */
export function versionAmbiguous(text: string, matches: number): SyftError {
  return new SyftError('VERSION_AMBIGUOUS', `"${text}" is the beginning of ${matches} version ids; write more of it.`);
}

/** Throws CANCELLED when the signal says so. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new SyftError('CANCELLED', 'The question was given up before it was answered.');
}
