/** A real HTTP server whose answers a test decides, and the front end's client on it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { ServerConnection } from '@jupyterlab/services';
import type { ISignal } from '@lumino/signaling';

import { SyftClient } from '../../labextension/client/client';
import type { ChangeRow, Status } from '../../server/src/api/contract';

export type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

export class HttpServer {
  /** @param base - starts and ends with a slash */
  static async start(answer: Answer, base = '/', token = 'secret'): Promise<HttpServer> {
    const server = new HttpServer(answer, base, token);
    await server.listen(0);
    return server;
  }

  private constructor(
    public answer: Answer,
    private readonly _base: string,
    private readonly _token: string
  ) {}

  /** Method, path and query of each request, in order. */
  readonly requests: string[] = [];

  get client(): SyftClient {
    const baseUrl = `http://127.0.0.1:${this._port}${this._base}`;
    return new SyftClient({ serverSettings: ServerConnection.makeSettings({ baseUrl, token: this._token, fetch }) });
  }

  /** At the port it had before, when it had one. */
  async listen(port = this._port): Promise<void> {
    this._server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      // JupyterLab adds the time to what must not be cached.
      const query = url.search.replace(/[?&]\d{10,}$/, '');
      this.requests.push(`${request.method} ${url.pathname}${query}`);
      this.answer(request, response, url);
    });
    this._server.on('connection', (socket: Socket) => {
      this._sockets.add(socket);
      socket.on('close', () => this._sockets.delete(socket));
    });
    this._server.listen(port, '127.0.0.1');
    await once(this._server, 'listening');
    this._port = (this._server.address() as AddressInfo).port;
  }

  /** Gone at once, as a process that is killed. */
  async stop(): Promise<void> {
    const closed = once(this._server, 'close');
    this._server.close();
    for (const socket of this._sockets) socket.destroy();
    await closed;
  }

  private _server = createServer();
  private _port = 0;
  private readonly _sockets = new Set<Socket>();
}

export function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** Resolves once `holds`, looked at now and at every emission. */
export function when(signal: ISignal<object, unknown>, holds: () => boolean): Promise<void> {
  return new Promise(done => {
    const look = (): void => {
      if (!holds()) return;
      signal.disconnect(look);
      done();
    };
    signal.connect(look);
    look();
  });
}

export function change(seq: number, more: Partial<ChangeRow> = {}): ChangeRow {
  return {
    versionId: `dev.${seq}`,
    kind: 'modified',
    path: 'a.txt',
    at: new Date(Date.UTC(2026, 10, 24, 12) + seq * 60_000).toISOString(),
    size: 100,
    device: 'dev',
    type: 'file',
    flags: [],
    ...more
  };
}

export function status(more: Partial<Status> = {}): Status {
  return {
    apiVersion: 1,
    version: '0.1.0',
    pid: 1,
    state: 'recording',
    root: '/home/ana/analysis',
    logDir: '/home/ana/analysis/.syft-sync',
    startedAt: '2026-11-24T12:00:00.000000Z',
    pending: 0,
    files: 2,
    versions: 3,
    contentBytes: 300,
    storedBytes: 200,
    skipped: 0,
    index: { ready: true },
    ...more
  };
}
