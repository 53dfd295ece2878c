/** Where the API listens: a unix socket only this user can reach, or a port of this machine only. */
import type { RequestListener, Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';

export type ListenAddress =
  /** Absolute path; its directory is made with mode 0700, or must already be private to this user. */
  | { readonly socketPath: string }
  /** 0 takes a free port. */
  | { readonly host: '127.0.0.1'; readonly port: number };

/** What answers, and ends what it holds: the API. */
export interface Answering {
  readonly app: RequestListener;
  close(): void;
}

export interface Listening {
  readonly server: Server;
  /** Where it listens: `{socket}` or `{url}`. */
  readonly at: { readonly socket: string } | { readonly url: string };
  /** Ends live streams and connections, and removes the socket. */
  close(): Promise<void>;
}

/** `sun_path` holds 108 bytes with its closing zero; 104 on other systems. */
const MAX_SOCKET_PATH = 103;

/** A message of some gigabytes over a slow line takes its time; a head still has to come within a minute. */
const LONGEST_REQUEST_MS = 3 * 3_600_000;

/**
 * Starts to listen.
 *
 * @throws SyftError BAD_REQUEST when the place is not private, too long, or taken by something else; LOG_LOCKED when another
 *   process answers there.
 */
export async function listen(api: Answering, address: ListenAddress): Promise<Listening> {
  // Imported, `node:http` reads all its members, one of which loads a whole WebSocket client: 80 ms.
  const server = process.getBuiltinModule('node:http').createServer(api.app);
  server.requestTimeout = LONGEST_REQUEST_MS;
  if ('socketPath' in address) await prepareSocket(address.socketPath);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const done = (): void => {
      server.off('error', reject);
      resolve();
    };
    if ('socketPath' in address) {
      // The socket is bound within the call: it never exists with more rights than these.
      const before = process.umask(0o177);
      try {
        server.listen(address.socketPath, done);
      } finally {
        process.umask(before);
      }
    } else {
      server.listen(address.port, address.host, done);
    }
  }).catch((error: unknown) => {
    if (errnoOf(error) === 'EADDRINUSE') {
      throw new SyftError('LOG_LOCKED', 'Another process already listens there.', { cause: error });
    }
    throw error;
  });
  if ('socketPath' in address) await chmod(address.socketPath, 0o600);
  const at =
    'socketPath' in address
      ? { socket: address.socketPath }
      : { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    api.close();
    await new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeIdleConnections();
      // Answers under way get a moment.
      setTimeout(() => server.closeAllConnections(), 1000).unref();
    });
  };
  return { server, at, close: () => (closing ??= close()) };
}

async function prepareSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new SyftError('BAD_REQUEST', `The path of the socket is longer than ${MAX_SOCKET_PATH} bytes: ${path}`);
  }
  const dir = dirname(path);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const stats = await lstat(dir);
  const mine = process.getuid === undefined || stats.uid === process.getuid();
  if (!stats.isDirectory() || !mine || (stats.mode & 0o077) !== 0) {
    throw new SyftError(
      'BAD_REQUEST',
      `The directory of the socket must belong to this user alone (mode 0700): ${dir}`
    );
  }
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new SyftError('BAD_REQUEST', `There is something else where the socket should be: ${path}`);
  }
  if (await answers(path)) throw new SyftError('LOG_LOCKED', 'Another process already listens there.', { path });
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
