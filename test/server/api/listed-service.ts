/** A workspace that is a list of changes, for what the API does with any workspace; real ones are in sidecar.test.ts. */
import { EventEmitter } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RemoveRequest, RestoreRequest } from '../../../server/src/api/contract.ts';
import { listen, type Listening } from '../../../server/src/api/listen.ts';
import { createApi, type Api, type ApiLogger } from '../../../server/src/api/server.ts';
import type { ServiceStatus, WorkspaceService } from '../../../server/src/api/service.ts';
import { NOTHING_SAID, type Said } from '../../../server/src/library/said.ts';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { applyChange, type Tree } from '../../../server/src/core/tree.ts';
import { ChangeIndex } from '../../../server/src/index/change-index.ts';
import { ListLog, WORKSPACE } from '../index/sample-changes.ts';

export const SECRET = 'the-secret-of-this-launch';
export const silent: ApiLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined
};

export class ListedService extends EventEmitter implements WorkspaceService {
  readonly root = '/nowhere';
  readonly logDir = '/nowhere/.syft-sync';
  readonly tree: Tree = new Map();
  readonly list = new ListLog();
  readonly calls: unknown[] = [];
  /** What the content of each version is; a function may fail midway. */
  readonly contents = new Map<string, () => AsyncIterable<Uint8Array>>();
  index: ChangeIndex | undefined;
  failure: Error | undefined;
  pending = 0;

  readonly log = {
    content: (change: Change): AsyncIterable<Uint8Array> =>
      (this.contents.get(versionId(change)) as () => AsyncIterable<Uint8Array>)(),
    storedBytes: (): Promise<number> => Promise.resolve(4711)
  };

  said(): Promise<Said> {
    return Promise.resolve(NOTHING_SAID);
  }

  record(...changes: Change[]): void {
    for (const change of changes) {
      this.list.list.push(change);
      applyChange(this.tree, change);
      this.index?.add(change);
      this.emit('change', change);
    }
  }

  status(): ServiceStatus {
    return {
      version: '0.0.0',
      pid: process.pid,
      state: 'recording',
      root: this.root,
      logDir: this.logDir,
      workspaceId: WORKSPACE,
      startedAt: '2026-11-24T00:00:00.000Z',
      pending: this.pending,
      files: this.tree.size,
      versions: 0,
      contentBytes: 0,
      storedBytes: 0,
      skipped: 0
    };
  }

  async #do<T>(call: unknown, result: T): Promise<T> {
    this.calls.push(call);
    if (this.failure !== undefined) throw this.failure;
    return Promise.resolve(result);
  }

  flush = (): Promise<void> => this.#do('flush', undefined);
  pause = (): void => void this.#do('pause', undefined);
  resume = (): void => void this.#do('resume', undefined);
  setup = (folders: string[]): Promise<void> => this.#do({ setup: folders }, undefined);
  capture = (): Promise<{ captured: number; unchanged: number; deleted: number; bytes: number; flagged: number }> =>
    this.#do('capture', { captured: 1, unchanged: 2, deleted: 3, bytes: 4, flagged: 5 });
  restore = (r: RestoreRequest): Promise<{ path: string; versionId: string; unchanged: boolean; created: boolean }> =>
    this.#do({ restore: r }, { path: 'a', versionId: r.versionId, unchanged: false, created: true });
  remove = (r: RemoveRequest): Promise<{ path: string }> => this.#do({ remove: r }, { path: r.path });
}

export interface Rig {
  readonly service: ListedService;
  readonly index: ChangeIndex;
  readonly api: Api;
  readonly dir: string;
  readonly socketPath: string;
  readonly socket: Listening;
  readonly tcp: Listening;
  readonly port: number;
  close(): Promise<void>;
}

/** A service with its index, listening on a unix socket and on a port. */
export async function makeRig(
  more: { maxBehind?: number; heartbeatMs?: number; allowedOrigins?: string[]; logger?: ApiLogger } = {}
): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), 'syft-api-'));
  const service = new ListedService();
  const index = ChangeIndex.open({ dir: join(dir, 'index'), log: service.list });
  service.index = index;
  const options = { service, index, secret: SECRET, logger: silent, ...more };
  const api = createApi(options);
  const socketPath = join(dir, 'run', 'sock');
  const socket = await listen(api, { socketPath });
  const tcp = await listen(api, { host: '127.0.0.1', port: 0 });
  const port = Number(new URL((tcp.at as { url: string }).url).port);
  const close = async (): Promise<void> => {
    await Promise.all([socket.close(), tcp.close()]);
    await index.close();
    await rm(dir, { recursive: true, force: true });
  };
  return { service, index, api, dir, socketPath, socket, tcp, port, close };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: unknown;
  /** The connection was cut before the promised end. */
  readonly cut: boolean;
}

/** One request, over the unix socket unless a port is given. */
export function ask(
  where: { socketPath: string } | { port: number },
  path: string,
  options: {
    method?: string;
    headers?: Record<string, string>;
    body?: unknown;
    rawBody?: string;
    secret?: string | null;
  } = {}
): Promise<Answer> {
  const { method = 'GET', secret = SECRET } = options;
  const text = options.rawBody ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  return new Promise((resolve, reject) => {
    const req = request(
      {
        ...('port' in where ? { host: '127.0.0.1', port: where.port } : { socketPath: where.socketPath }),
        path,
        method,
        headers: {
          ...('port' in where ? {} : { host: 'localhost' }),
          ...(secret !== null && { 'x-syft-sync-secret': secret }),
          ...(method !== 'GET' &&
            method !== 'HEAD' && { 'content-type': 'application/json', 'x-syft-sync-request': '1' }),
          ...(text !== undefined && { 'content-length': String(Buffer.byteLength(text)) }),
          ...options.headers
        }
      },
      res => {
        const pieces: Buffer[] = [];
        const finish = (cut: boolean): void => {
          const body = Buffer.concat(pieces);
          let json: unknown;
          try {
            json = JSON.parse(body.toString('utf8'));
          } catch {
            json = undefined;
          }
          resolve({ status: res.statusCode ?? 0, headers: res.headers, body, json, cut });
        };
        res.on('data', (piece: Buffer) => pieces.push(piece));
        res.on('end', () => finish(!res.complete));
        res.on('error', () => finish(true));
      }
    );
    req.on('error', reject);
    req.end(text);
  });
}
