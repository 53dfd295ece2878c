/**
 * Reaches the process that records a log: the lock names its control socket and secret, readable by this user only.
 * The same HTTP API as the sidecar's, over that unix socket.
 */
import { SyftError, errnoOf, type ErrorCode } from '../core/errors.ts';
import { readLockHolder } from '../log/lock.ts';

/** A recorder that can be asked. */
export interface Control {
  readonly pid: number;
  call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown>;
}

const HEALTH = '/api/health';
const UNREACHABLE: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EACCES', 'EPERM']);

function isErrorBody(value: unknown): value is { error: { code: ErrorCode; message: string; path?: string } } {
  return typeof value === 'object' && value !== null && 'error' in value && typeof value.error === 'object';
}

/** A recorder that is busy answers late; one that is stopped never does. */
const HEALTH_TIMEOUT_MS = 20_000;

interface Address {
  readonly pid: number;
  readonly socket: string;
  readonly secret: string;
}

async function call(
  { pid, socket: socketPath, secret }: Address,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal
): Promise<unknown> {
  // It takes a tenth of the start of a command, and most commands ask nobody.
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => {
      if (errnoOf(error) === 'ABORT_ERR') {
        reject(new SyftError('CANCELLED', 'Stopped waiting; the recorder goes on.', { cause: error }));
      } else if (path !== HEALTH && (errnoOf(error) === 'ECONNRESET' || errnoOf(error) === 'EPIPE')) {
        const message = `The recorder (process ${pid}) ended before it had answered; try again.`;
        reject(new SyftError('NOT_RUNNING', message, { cause: error }));
      } else {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const text = body === undefined ? undefined : JSON.stringify(body);
    // Not imported: see api/listen.ts.
    const req = process.getBuiltinModule('node:http').request(
      {
        socketPath,
        path,
        method,
        signal,
        headers: {
          host: 'localhost',
          'x-syft-sync-secret': secret,
          'x-syft-sync-request': '1',
          ...(method !== 'GET' && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text ?? '{}')
          })
        }
      },
      response => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', failed);
        response.on('end', () => {
          let answer: unknown;
          try {
            answer = JSON.parse(Buffer.concat(pieces).toString('utf8'));
          } catch (error) {
            reject(new SyftError('INTERNAL', 'The recorder gave an answer that is not JSON.', { cause: error }));
            return;
          }
          if (isErrorBody(answer)) {
            const { code, message, path: where } = answer.error;
            reject(new SyftError(code, message, where === undefined ? {} : { path: where }));
          } else {
            resolve(answer);
          }
        });
      }
    );
    req.on('error', failed);
    req.end(method === 'GET' ? undefined : (text ?? '{}'));
  });
}

/**
 * The recorder of a log when one runs and can be asked, else `undefined`.
 *
 * @param signal Ends the waiting for an answer.
 * @throws SyftError LOG_LOCKED when one is there but does not answer; CANCELLED.
 */
export async function findControl(logDir: string, signal: AbortSignal): Promise<Control | undefined> {
  const holder = await readLockHolder(logDir);
  const { socket, secret } = holder ?? {};
  if (holder === undefined || socket === undefined || secret === undefined) return undefined;
  const address = { pid: holder.pid, socket, secret };
  const late = AbortSignal.timeout(HEALTH_TIMEOUT_MS);
  try {
    await call(address, 'GET', HEALTH, undefined, AbortSignal.any([signal, late]));
  } catch (error) {
    if (late.aborted && !signal.aborted) {
      throw new SyftError('LOG_LOCKED', `Process ${holder.pid} records this log, but does not answer.`, {
        cause: error
      });
    }
    // Not listening yet, not any more, or another user's: the caller decides whether to wait or to take the lock.
    if (UNREACHABLE.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  return { pid: holder.pid, call: (method, path, body) => call(address, method, path, body, signal) };
}
