/** @jest-environment node */
import type { ServerResponse } from 'node:http';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { Connection } from '../../../labextension/client/connection';
import { PanelModel } from '../../../labextension/history/panel-model';
import type { Status } from '../../../server/src/api/contract';
import { HttpServer, change, json, status, when } from '../http-server';

let server: HttpServer;
let connection: Connection;
let model: PanelModel;
let stream: ServerResponse | undefined;
let ready: boolean;

function tell(name: string, data: unknown): void {
  stream!.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

const now = (): Status => status({ index: { ready } });

beforeEach(async () => {
  stream = undefined;
  ready = true;
  server = await HttpServer.start((_request, response, url) => {
    if (url.pathname.endsWith('/events')) {
      stream = response;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      return tell('status', now());
    }
    if (!ready) return json(response, { error: { code: 'BUSY', message: 'The index is being built.' } }, 503);
    if (url.pathname.endsWith('/deleted')) return json(response, { files: [] });
    const path = url.searchParams.get('path') ?? 'a.txt';
    return json(response, { changes: [change(1, { path })], total: 1, path, exists: true, recorded: path !== 'no' });
  });
  connection = new Connection({ client: server.client });
  model = new PanelModel({ connection });
});
afterEach(async () => {
  model.dispose();
  connection.dispose();
  await server.stop();
});

const shown = (path: string): Promise<void> =>
  when(model.file.changed, () => model.file.state === 'ready' && model.file.changes[0]?.path === path);
const asked = (part: string): number => server.requests.filter(request => request.includes(part)).length;

describe('the panel', () => {
  test('follows what is active until it is pinned; what is asked for by name comes all the same', async () => {
    model.show({ path: 'one.txt', isFolder: false });
    await shown('one.txt');
    model.pinned = true;
    model.show({ path: 'two.txt', isFolder: false });
    expect(model.target?.path).toBe('one.txt');
    model.show({ path: 'three.txt', isFolder: false }, true);
    await shown('three.txt');
    expect(model.pinned).toBe(false);
    model.show({ path: 'four.txt', isFolder: false });
    await shown('four.txt');
    expect(asked('path=two.txt')).toBe(0);
  });

  test('knows of a file that is not recorded', async () => {
    model.show({ path: 'no', isFolder: false });
    await shown('no');
    expect(model.file.recorded).toBe(false);
  });

  test('live changes go to the lists that they belong to', async () => {
    model.show({ path: 'mine.txt', isFolder: false });
    await shown('mine.txt');
    await when(model.workspace.changed, () => model.workspace.state === 'ready');
    tell('changes', { changes: [change(2, { path: 'other.txt' }), change(3, { path: 'mine.txt' })] });
    await when(model.workspace.changed, () => model.workspace.changes.length === 3);
    expect(model.file.changes.map(row => row.versionId)).toEqual(['dev.3', 'dev.1']);
  });

  test('a file that was moved here brings its history along: it is asked for', async () => {
    model.show({ path: 'new.txt', isFolder: false });
    await shown('new.txt');
    const before = asked('path=new.txt');
    tell('changes', { changes: [change(2, { kind: 'moved', path: 'new.txt', from: 'old.txt' })] });
    await when(model.file.changed, () => asked('path=new.txt') > before && model.file.state === 'ready');
  });

  test('deleted files are not asked for before somebody looks', async () => {
    await when(model.workspace.changed, () => model.workspace.state === 'ready');
    model.filter = 'x';
    await when(model.workspace.changed, () => asked('q=x') === 1 && model.workspace.state === 'ready');
    expect(asked('/deleted')).toBe(0);
    model.wantDeleted();
    await when(model.deleted.changed, () => model.deleted.state === 'ready');
    expect(asked('/deleted?limit=5000&q=x')).toBe(1);
  });

  test('what could not be answered is asked again as soon as it can be', async () => {
    await when(model.workspace.changed, () => model.workspace.state === 'ready');
    await when(connection.stateChanged, () => connection.status !== undefined);
    ready = false;
    tell('status', now());
    await when(connection.stateChanged, () => connection.status?.index.ready === false);
    model.show({ path: 'late.txt', isFolder: false });
    await when(model.file.changed, () => model.file.state === 'failed');
    expect(model.file.error?.message).toBe('The index is being built.');
    ready = true;
    tell('status', now());
    await shown('late.txt');
  });
});
