/** What the process that asks and the process that runs a query say to each other. Rows go over a pipe of their own. */
import type { TextPosition, ErrorCode } from '../../core/errors.ts';
import type { ExtraRows, Parameters } from './session.ts';
import type { TableRows } from './table-rows.ts';
import type { ExtraTable } from './tables.ts';

export const FORMATS = ['arrow', 'json', 'ndjson', 'csv', 'parquet', 'table'] as const;
export type Format = (typeof FORMATS)[number];

/** A content that a query asks for. */
export interface ContentRequest {
  /** As the person wrote it. */
  readonly path: string;
  /** A moment, a version id; `undefined`: the latest. */
  readonly when: string | undefined;
}

/** The content of a version, in a file that the query may read. */
export interface ContentFile {
  /** Absolute. Where nothing may be in the clear on a disk: not there; a name for a pipe that brings it. */
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** Display form, with the version. */
  readonly path: string;
  readonly versionId: string;
}

/** A SyftError on its way between processes. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly path?: string;
  readonly position?: TextPosition;
}

export interface RunRequest {
  readonly kind: 'run';
  readonly id: number;
  /** File of the index that nobody writes; `undefined`: the tables that were carried here before. */
  readonly database: string | undefined;
  /** The log is encrypted: of names and contents nothing comes to a disk. */
  readonly sealed: boolean;
  readonly workspaceId: string;
  readonly timeZone: string;
  /** Directory for what this query needs on disk, its own; `undefined`: nothing may be written. */
  readonly scratch: string | undefined;
  readonly query: string;
  readonly parameters?: Parameters | undefined;
  readonly format: Format;
  readonly maxRows: number;
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

/** Tables of an index in memory that are carried from process to process. */
export const CARRIED = ['change_rows', 'paths', 'hashes', 'moved_rows', 'disorder', 'devices'] as const;
/** What ended rows that were carried before: `id` and `ended` of `change_rows`. */
export const ENDS = 'ends';
export type Carried = (typeof CARRIED)[number] | typeof ENDS;

/** What is needed to make room for an index. */
export interface IndexRoom {
  readonly workspaceId: string;
  readonly timeZone: string;
  readonly memoryMb: number;
}

export type ToWorker =
  | RunRequest
  /** An index begins, in the place of the one that was there. */
  | ({ readonly kind: 'index' } & IndexRoom)
  | { readonly kind: 'empty'; readonly table: Carried }
  | ({ readonly kind: 'rows'; readonly table: Carried } & TableRows)
  /** What was pulled; without bytes and error: the end. */
  | { readonly kind: 'piece'; readonly id: number; readonly bytes?: Uint8Array; readonly error?: WireError }
  | { readonly kind: 'cancel'; readonly id: number }
  | {
      readonly kind: 'give';
      readonly id: number;
      readonly extras: readonly ExtraRows[];
      readonly contents: readonly ContentFile[];
    }
  | { readonly kind: 'refuse'; readonly id: number; readonly error: WireError };

export type FromWorker =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'need';
      readonly id: number;
      readonly extras: readonly ExtraTable[];
      readonly contents: readonly ContentRequest[];
    }
  /** Asks for the next piece of a content; the first time for a number, its first. */
  | { readonly kind: 'pull'; readonly id: number; readonly content: number }
  /** The first rows are there. */
  | { readonly kind: 'begin'; readonly id: number }
  | {
      readonly kind: 'end';
      readonly id: number;
      /** Bytes that went over the pipe for it. */
      readonly bytes: number;
      readonly rows: number;
      readonly truncated: boolean;
      readonly error?: WireError;
      /** The process is not to be asked again. */
      readonly last?: true;
    };
