/** @jest-environment node */
import type { ServerResponse } from 'node:http';

import { afterEach, beforeEach, expect, test } from '@jest/globals';

import { Connection } from '../../../labextension/client/connection';
import { MessageViewModel } from '../../../labextension/message/view-model';
import type { MessageDetail } from '../../../server/src/api/contract';
import { HttpServer, change, json, status, when } from '../http-server';

const MESSAGE: MessageDetail = {
  id: '0'.repeat(32),
  box: 'inbox',
  state: 'verified',
  recipients: [],
  receivedAt: '2026-11-28T12:00:00Z',
  read: true,
  size: 100,
  sealed: false,
  files: 2,
  bytes: 2,
  paths: ['a.txt', 'b.txt'],
  fileList: [
    { path: 'a.txt', size: 1, here: 'missing' },
    { path: 'b.txt', size: 1, here: 'missing' }
  ],
  proven: [],
  claimed: []
};

let server: HttpServer;
let connection: Connection;
let model: MessageViewModel | undefined;
let stream: ServerResponse | undefined;
let answer: MessageDetail | { code: string; status: number };

function tell(name: string, data: unknown): void {
  stream!.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

beforeEach(async () => {
  answer = MESSAGE;
  server = await HttpServer.start((_request, response, url) => {
    if (url.pathname.endsWith('/events')) {
      stream = response;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      return tell('status', status());
    }
    if ('code' in answer) return json(response, { error: { code: answer.code, message: 'why' } }, answer.status);
    return json(response, answer);
  });
  connection = new Connection({ client: server.client });
});
afterEach(async () => {
  model?.dispose();
  connection.dispose();
  await server.stop();
});

function look(isThere = false): MessageViewModel {
  model = new MessageViewModel({
    ref: { path: 'results.syft' },
    connection,
    isThere: () => Promise.resolve(isThere)
  });
  return model;
}
const failure = (it: MessageViewModel): string | undefined =>
  it.state.kind === 'failed' ? it.state.failure : undefined;

test.each([
  ['PATH_NOT_FOUND', 404, false, 'gone'],
  ['PATH_NOT_FOUND', 404, true, 'outside'],
  ['PATH_OUTSIDE_ROOT', 400, true, 'outside'],
  ['NOT_FOUND', 404, false, 'gone'],
  ['NOT_RUNNING', 503, true, 'away'],
  ['UNREADABLE', 500, true, 'other']
])('%s (%i, there: %s) is said as %s', async (code, httpStatus, isThere, said) => {
  answer = { code, status: httpStatus };
  const it = look(isThere);
  await when(it.changed, () => failure(it) === said);
});

test('what arrives at the path of one of its files is looked at again, and the chosen file stays chosen', async () => {
  const it = look();
  await when(it.changed, () => it.message !== undefined);
  it.chosen = 1;
  answer = { ...MESSAGE, fileList: [{ path: 'a.txt', size: 1, here: 'same' }, ...MESSAGE.fileList.slice(1)] };
  await when(connection.stateChanged, () => connection.state.kind === 'connected');
  tell('changes', { changes: [change(1, { path: 'a.txt' })] });
  await when(it.changed, () => it.message?.fileList[0]?.here === 'same');
  expect(it.chosen).toBe(1);
  // Another message in its place begins at its first file.
  answer = { ...MESSAGE, id: '1'.repeat(32) };
  tell('changes', { changes: [change(2, { path: 'results.syft' })] });
  await when(it.changed, () => it.message?.id === '1'.repeat(32));
  expect(it.chosen).toBe(0);
});

test('a change of files that it does not hold asks for nothing', async () => {
  const it = look();
  await when(it.changed, () => it.message !== undefined);
  await when(connection.stateChanged, () => connection.state.kind === 'connected');
  // What a new connection asks for has been asked for.
  await new Promise(done => setTimeout(done, 700));
  const asked = server.requests.length;
  tell('changes', { changes: [change(1, { path: 'other.txt' })] });
  await new Promise(done => setTimeout(done, 700));
  expect(server.requests.length).toBe(asked);
});

test('without an answer what was shown stays', async () => {
  const it = look();
  await when(it.changed, () => it.message !== undefined);
  answer = { code: 'NOT_RUNNING', status: 503 };
  await it.load();
  expect(it.message?.id).toBe(MESSAGE.id);
});
