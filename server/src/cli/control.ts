/**
 * Reaches the process that records a log: the lock names its control socket and secret, readable by this user only.
 * The same HTTP API as the sidecar's, over that unix socket.
 */
import type { IncomingMessage } from 'node:http';
import { SyftError, errnoOf, type ErrorCode, type TextPosition } from '../core/errors.ts';
import { readLockHolder } from '../log/lock.ts';

/** A recorder that can be asked. */
export interface Control {
  readonly pid: number;
  call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown>;
  /** As `call`, for an answer that is no JSON: its bytes as they come. */
  stream(path: string, body: unknown): Promise<AsyncIterable<Uint8Array>>;
}

const HEALTH = '/api/health';
const UNREACHABLE: ReadonlySet<string> = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EACCES', 'EPERM']);

function isErrorBody(
  value: unknown
): value is { error: { code: ErrorCode; message: string; path?: string; position?: TextPosition } } {
  return typeof value === 'object' && value !== null && 'error' in value && typeof value.error === 'object';
}

/** A recorder that is busy answers late; one that is stopped never does. */
const HEALTH_TIMEOUT_MS = 20_000;

interface Address {
  readonly pid: number;
  readonly socket: string;
  readonly secret: string;
}

function send(
  { pid, socket: socketPath, secret }: Address,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
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
      resolve
    );
    req.on('error', error => reject(failure(error, pid, path)));
    req.end(method === 'GET' ? undefined : (text ?? '{}'));
  });
}

/** What went wrong on the way, in words. */
function failure(error: unknown, pid: number, path: string): Error {
  if (errnoOf(error) === 'ABORT_ERR') {
    return new SyftError('CANCELLED', 'Stopped waiting; the recorder goes on.', { cause: error });
  }
  if (path !== HEALTH && (errnoOf(error) === 'ECONNRESET' || errnoOf(error) === 'EPIPE')) {
    const message = `The recorder (process ${pid}) ended before it had answered; try again.`;
    return new SyftError('NOT_RUNNING', message, { cause: error });
  }
  return error instanceof Error ? error : new Error(String(error));
}

async function bytesOf(response: IncomingMessage, pid: number, path: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of response) pieces.push(piece as Buffer);
  } catch (error) {
    throw failure(error, pid, path);
  }
  return Buffer.concat(pieces);
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new SyftError('INTERNAL', 'The recorder gave an answer that is not JSON.', { cause: error });
  }
}

function refusal(answer: unknown): SyftError | undefined {
  if (!isErrorBody(answer)) return undefined;
  const { code, message, path, position } = answer.error;
  return new SyftError(code, message, {
    ...(path !== undefined && { path }),
    ...(position !== undefined && { position })
  });
}

async function call(
  address: Address,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal
): Promise<unknown> {
  const answer = parsed(await bytesOf(await send(address, method, path, body, signal), address.pid, path));
  const error = refusal(answer);
  if (error !== undefined) throw error;
  return answer;
}

async function stream(
  address: Address,
  path: string,
  body: unknown,
  signal: AbortSignal
): Promise<AsyncIterable<Uint8Array>> {
  const response = await send(address, 'POST', path, body, signal);
  if (response.statusCode === 200) return response;
  throw (
    refusal(parsed(await bytesOf(response, address.pid, path))) ??
    new SyftError('INTERNAL', `The recorder answered with status ${response.statusCode ?? 0}.`)
  );
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
  return {
    pid: holder.pid,
    call: (method, path, body) => call(address, method, path, body, signal),
    stream: (path, body) => stream(address, path, body, signal)
  };
}
