/** @jest-environment node */
import type { ServerResponse } from 'node:http';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { Connection } from '../../../labextension/client/connection';
import type { ChangeRow } from '../../../server/src/api/contract';
import { HttpServer, change, json, status, when } from '../http-server';
import type { Answer } from '../http-server';

let server: HttpServer;
let connection: Connection | undefined;
/** Open streams, and the `Last-Event-ID` that each was asked with. */
let streams: ServerResponse[];
let asked: (string | undefined)[];
let arrived: string[];
let resets: number;

const streaming: Answer = (request, response, url) => {
  if (url.pathname !== '/syft-sync/api/events') return json(response, { running: true, restarts: 0 });
  asked.push(request.headers['last-event-id'] as string | undefined);
  streams.push(response);
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  send(response, 'status', status());
};

function send(response: ServerResponse, name: string, data: unknown, id?: string): void {
  response.write(`event: ${name}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
}

function tell(...rows: ChangeRow[]): void {
  send(streams.at(-1)!, 'changes', { changes: rows }, rows.at(-1)!.versionId);
}

function connect(): Connection {
  connection = new Connection({ client: server.client, random: () => 0 });
  connection.changesArrived.connect((_sender, rows) => arrived.push(...rows.map(row => row.versionId)));
  connection.reset.connect(() => resets++);
  return connection;
}

const reached = (it: Connection, kind: string): Promise<void> => when(it.stateChanged, () => it.state.kind === kind);

beforeEach(async () => {
  [streams, asked, arrived, resets] = [[], [], [], 0];
  server = await HttpServer.start(streaming);
});
afterEach(async () => {
  connection?.dispose();
  connection = undefined;
  await server.stop();
});

describe('the connection', () => {
  test('after a break it goes on from the last change: none is lost, none shown twice', async () => {
    const it = connect();
    await reached(it, 'connected');
    tell(change(1), change(2));
    await when(it.changesArrived, () => arrived.length === 2);
    streams[0]!.destroy();
    await reached(it, 'disconnected');
    it.retry();
    await reached(it, 'connected');
    tell(change(3));
    await when(it.changesArrived, () => arrived.length === 3);
    expect(arrived).toEqual(['dev.1', 'dev.2', 'dev.3']);
    expect(asked).toEqual([undefined, 'dev.2']);
    // Only the first connection could have gaps.
    expect(resets).toBe(1);
  });

  test('when the sidecar says that too much was missed, all is loaded afresh', async () => {
    const it = connect();
    await reached(it, 'connected');
    send(streams[0]!, 'reset', {});
    await when(it.reset, () => resets === 2);
  });

  test('a server that is killed is said, with the time of the next try; when it is back it is found again', async () => {
    const it = connect();
    await reached(it, 'connected');
    await server.stop();
    await reached(it, 'disconnected');
    expect(it.state).toMatchObject({ code: 'ENDED', retryAt: expect.any(Number) });
    it.retry();
    await when(it.stateChanged, () => it.state.kind === 'disconnected' && it.state.code === 'UNREACHABLE');
    // What it said last is still known.
    expect(it.status?.root).toBe('/home/ana/analysis');
    await server.listen();
    it.retry();
    await reached(it, 'connected');
  });

  test('a sidecar that does not run says why, and what to do', async () => {
    server.answer = (_request, response, url) =>
      url.pathname === '/syft-sync/status'
        ? json(response, {
            running: false,
            restarts: 3,
            reason: 'node-missing',
            message: 'No Node.',
            hint: 'Install it.'
          })
        : json(response, {}, 503);
    const it = connect();
    await reached(it, 'missing');
    expect(it.state).toMatchObject({ reason: 'node-missing', message: 'No Node.', hint: 'Install it.' });
  });

  test('a server without the extension is told from one that is away', async () => {
    server.answer = (_request, response) => {
      response.writeHead(404);
      response.end('<html>404</html>');
    };
    const it = connect();
    await reached(it, 'missing');
    expect(it.state).toMatchObject({ reason: 'no-extension' });
  });

  test('a sidecar of another version is not misread', async () => {
    server.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      send(response, 'status', status({ apiVersion: 2 }));
    };
    const it = connect();
    await reached(it, 'missing');
    expect(it.state).toMatchObject({ reason: 'version-mismatch' });
  });

  test('a login that ran out is said as such', async () => {
    server.answer = (_request, response) => {
      response.writeHead(403);
      response.end();
    };
    const it = connect();
    await reached(it, 'disconnected');
    expect(it.state).toMatchObject({ code: 'LOGGED_OUT' });
  });
});
