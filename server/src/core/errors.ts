/** The one error class of the product: a code for programs, a sentence a person can act on. */

/**
 * Every code an operation can fail with. Codes are API: they appear in CLI output, HTTP answers and the UI.
 */
export type ErrorCode =
  | 'WATCH_PATH_MISSING'
  | 'WATCH_PATH_NOT_DIRECTORY'
  | 'WATCH_PATH_UNREADABLE'
  | 'LOG_PATH_NOT_DIRECTORY'
  | 'LOG_MISSING'
  | 'LOG_NEWER_FORMAT'
  | 'LOG_LOCKED'
  | 'LOG_DAMAGED'
  | 'LOG_REWRITTEN'
  | 'LOG_CLOSED'
  | 'LOG_ENCRYPTED'
  | 'PASSPHRASE_WRONG'
  | 'KEY_MISSING'
  | 'KEY_DAMAGED'
  | 'KEY_MISMATCH'
  | 'ARCHIVE_INVALID'
  | 'SENDER_UNKNOWN'
  | 'SENDER_CHANGED'
  | 'MESSAGES_FULL'
  | 'PERMISSIONS_INVALID'
  | 'PERMISSION_DENIED'
  | 'DISK_FULL'
  | 'DISK_READ_ONLY'
  | 'DISK_ERROR'
  | 'PATH_OUTSIDE_ROOT'
  | 'PATH_NOT_FOUND'
  | 'PATH_INVALID'
  | 'VERSION_NOT_FOUND'
  | 'VERSION_AMBIGUOUS'
  | 'VERSION_HAS_NO_CONTENT'
  | 'VERSION_PRUNED'
  | 'VERSION_ERASED'
  | 'CONTENT_SHARED'
  | 'RESTORE_ONTO_DIRECTORY'
  | 'RESTORE_NOT_RECORDED'
  | 'UNREADABLE'
  | 'SETUP_NEEDED'
  | 'SYNC_HALTED'
  | 'SQL_SYNTAX'
  | 'SQL_INVALID'
  | 'SQL_FORBIDDEN'
  | 'SQL_TIMEOUT'
  | 'SQL_MEMORY'
  | 'SQL_UNAVAILABLE'
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'PRECONDITION_FAILED'
  | 'UNAVAILABLE'
  | 'NOT_RUNNING'
  | 'CANCELLED'
  | 'INTERNAL';

/** Exit status of the command line for a code (see the user guide, "Exit status"). */
export function exitStatus(code: ErrorCode): number {
  switch (code) {
    case 'BAD_REQUEST':
    case 'PATH_INVALID':
    case 'SQL_SYNTAX':
    case 'SQL_INVALID':
    case 'SQL_FORBIDDEN':
      return 2;
    case 'LOG_DAMAGED':
    case 'LOG_REWRITTEN':
    case 'ARCHIVE_INVALID':
    case 'SENDER_UNKNOWN':
    case 'SENDER_CHANGED':
    case 'PERMISSIONS_INVALID':
    case 'PERMISSION_DENIED':
    case 'KEY_DAMAGED':
    case 'KEY_MISMATCH':
      return 3;
    case 'WATCH_PATH_MISSING':
    case 'LOG_MISSING':
    case 'KEY_MISSING':
    case 'PATH_NOT_FOUND':
    case 'VERSION_NOT_FOUND':
    case 'NOT_FOUND':
      return 4;
    case 'LOG_LOCKED':
      return 5;
    case 'CANCELLED':
      return 130;
    default:
      return 1;
  }
}

/** A place in a text that was given. */
export interface TextPosition {
  /** UTF-16 code units from the beginning, as JavaScript counts. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
}

/**
 * An error with a stable `code` and a `message` a person can act on.
 *
 * @param code One of {@link ErrorCode}.
 * @param message One sentence: what failed, on what, and what to do.
 * @param options `cause`: the underlying error; `path`: the file concerned, relative to the workspace where there is one;
 *   `position`: where in a text that was given.
 */
export class SyftError extends Error {
  readonly code: ErrorCode;
  readonly path: string | undefined;
  readonly position: TextPosition | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; path?: string; position?: TextPosition } = {}
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SyftError';
    this.code = code;
    this.path = options.path;
    this.position = options.position;
  }
}

/** The `errno` name of a Node system error (`ENOENT`, …), or `undefined`. */
export function errnoOf(error: unknown): string | undefined {
  // Not `instanceof Error`: errors of Node's own modules belong to another realm when the caller runs in a VM context.
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  return undefined;
}

/** What went wrong first, when putting things away failed as well (`await using` makes one error of both). */
export function firstError(error: unknown): unknown {
  let first = error;
  while (first instanceof Error && 'suppressed' in first && first.suppressed !== undefined) first = first.suppressed;
  return first;
}
