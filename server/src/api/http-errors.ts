/** Errors → answers: a status for each code, and a body that tells a person what to do and nobody how we are built. */
import type { NextFunction, Request, Response } from 'express';
import { SyftError, type ErrorCode } from '../core/errors.ts';
import type { ErrorDto } from './contract.ts';
import type { ApiLogger } from './server.ts';

const STATUS: Record<ErrorCode, number> = {
  WATCH_PATH_MISSING: 404,
  WATCH_PATH_NOT_DIRECTORY: 409,
  WATCH_PATH_UNREADABLE: 409,
  LOG_PATH_NOT_DIRECTORY: 409,
  LOG_MISSING: 404,
  LOG_NEWER_FORMAT: 409,
  LOG_LOCKED: 423,
  LOG_DAMAGED: 500,
  LOG_REWRITTEN: 500,
  ARCHIVE_INVALID: 422,
  SENDER_UNKNOWN: 422,
  SENDER_CHANGED: 422,
  MESSAGES_FULL: 507,
  PERMISSIONS_INVALID: 409,
  PERMISSION_DENIED: 403,
  LOG_CLOSED: 503,
  LOG_ENCRYPTED: 423,
  PASSPHRASE_WRONG: 423,
  KEY_MISSING: 423,
  KEY_DAMAGED: 423,
  KEY_MISMATCH: 423,
  DISK_FULL: 507,
  DISK_READ_ONLY: 507,
  DISK_ERROR: 500,
  PATH_OUTSIDE_ROOT: 400,
  PATH_NOT_FOUND: 404,
  PATH_INVALID: 400,
  VERSION_NOT_FOUND: 404,
  VERSION_AMBIGUOUS: 400,
  VERSION_HAS_NO_CONTENT: 409,
  VERSION_PRUNED: 410,
  VERSION_ERASED: 410,
  CONTENT_SHARED: 409,
  RESTORE_ONTO_DIRECTORY: 409,
  RESTORE_NOT_RECORDED: 409,
  UNREADABLE: 409,
  SETUP_NEEDED: 503,
  SYNC_HALTED: 409,
  SQL_SYNTAX: 400,
  SQL_INVALID: 400,
  SQL_FORBIDDEN: 400,
  SQL_TIMEOUT: 422,
  SQL_MEMORY: 422,
  SQL_UNAVAILABLE: 503,
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  PRECONDITION_FAILED: 412,
  UNAVAILABLE: 503,
  NOT_RUNNING: 503,
  CANCELLED: 503,
  INTERNAL: 500
};

/** The HTTP status that stands for a code. */
export function httpStatus(code: ErrorCode): number {
  // A code that another part of the program added is an error of ours until it is listed here.
  return (STATUS as Record<string, number>)[code] ?? 500;
}

/** The body of an error answer. */
export function errorBody(error: SyftError): ErrorDto {
  return {
    error: {
      code: error.code,
      message: error.message,
      ...(error.path !== undefined && { path: error.path.toWellFormed() }),
      ...(error.position !== undefined && { position: error.position })
    }
  };
}

/** What came from a request's own mistakes: body parser and router errors carry a 4xx status. */
function requestError(error: unknown): SyftError | undefined {
  if (!(error instanceof Error) || !('status' in error) || typeof error.status !== 'number') return undefined;
  if (error.status === 413) return new SyftError('BAD_REQUEST', 'The body is larger than 1 MB.');
  if (error.status >= 400 && error.status < 500) {
    return new SyftError('BAD_REQUEST', 'The request cannot be read: check its body and its encoding.');
  }
  return undefined;
}

/** Any error → one of ours. What we do not know is INTERNAL, and only the server's own log has its text. */
export function toSyftError(error: unknown): SyftError {
  if (error instanceof SyftError) return error;
  return (
    requestError(error) ??
    new SyftError('INTERNAL', 'Something went wrong inside Syft Sync; its log on the server says what.', {
      cause: error
    })
  );
}

/** The last handler: answers the error, or cuts the connection when an answer has begun. */
export function answerErrors(logger: ApiLogger) {
  // Express knows an error handler by its four parameters.
  return (error: unknown, req: Request, res: Response, _next: NextFunction): void => {
    const known = toSyftError(error);
    const status = httpStatus(known.code);
    const fields = { method: req.method, route: req.path.slice(0, 200), status, code: known.code };
    if (status >= 500 && known.code === 'INTERNAL') logger.error({ ...fields, err: error }, 'request failed');
    else logger.debug(fields, 'request refused');
    if (res.headersSent) {
      res.destroy();
      return;
    }
    for (const name of ['content-length', 'content-disposition', 'etag', 'accept-ranges', 'content-range']) {
      res.removeHeader(name);
    }
    res.status(status).json(errorBody(known));
  };
}
