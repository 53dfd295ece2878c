/**
 * Reaches the process that records a log: the lock names its control socket and secret, readable by this user only.
 * The same HTTP API as the sidecar's, over that unix socket.
 */
import { request } from 'node:http';
import { SyftError, errnoOf, type ErrorCode } from '../core/errors.ts';
import { readLockHolder } from '../log/lock.ts';

/** A recorder that can be asked. */
export interface Control {
  readonly pid: number;
  call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown>;
}

function isErrorBody(value: unknown): value is { error: { code: ErrorCode; message: string; path?: string } } {
  return typeof value === 'object' && value !== null && 'error' in value && typeof value.error === 'object';
}

function call(socketPath: string, secret: string, method: string, path: string, body: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const req = request(
      {
        socketPath,
        path,
        method,
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
        response.on('error', reject);
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
    req.on('error', reject);
    req.end(method === 'GET' ? undefined : (text ?? '{}'));
  });
}

/** The recorder of a log when one runs and can be asked, else `undefined`. */
export async function findControl(logDir: string): Promise<Control | undefined> {
  const holder = await readLockHolder(logDir);
  const { socket, secret } = holder ?? {};
  if (holder === undefined || socket === undefined || secret === undefined) return undefined;
  try {
    await call(socket, secret, 'GET', '/api/health', undefined);
  } catch (error) {
    // Not listening yet, or not any more: the caller decides whether to wait or to take the lock.
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ECONNREFUSED' || errnoOf(error) === 'ECONNRESET') {
      return undefined;
    }
    throw error;
  }
  return { pid: holder.pid, call: (method, path, body) => call(socket, secret, method, path, body) };
}
