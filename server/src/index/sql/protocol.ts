/** What the process that asks and the process that runs a query say to each other. Rows go over a pipe of their own. */
import type { TextPosition, ErrorCode } from '../../core/errors.ts';
import type { ExtraRows, Parameters } from './session.ts';
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
  readonly file: string;
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
  /** File of the index that nobody writes. */
  readonly database: string;
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

export type ToWorker =
  | RunRequest
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
