/** @jest-environment node */
import { afterEach, beforeEach, expect, test } from '@jest/globals';

import { undoAccept } from '../../../labextension/messages/undo-accept';
import type { ChangeRow } from '../../../server/src/api/contract';
import { HttpServer, change, json } from '../http-server';

let server: HttpServer;
/** What the newest version of a path is. */
let newest: Map<string, string>;
let rows: Map<string, ChangeRow>;
let bodies: [string, unknown][];

beforeEach(async () => {
  newest = new Map();
  rows = new Map();
  bodies = [];
  server = await HttpServer.start((request, response, url) => {
    if (request.method === 'POST') {
      let text = '';
      request.on('data', (piece: Buffer) => (text += piece.toString()));
      request.on('end', () => {
        const route = url.pathname.split('/').at(-1)!;
        const body = JSON.parse(text) as { path?: string };
        bodies.push([route, body]);
        if (body.path === 'locked.txt') return json(response, { error: { code: 'DENIED', message: 'No.' } }, 403);
        return json(response, {});
      });
      return;
    }
    if (url.pathname.endsWith('/history')) {
      const path = url.searchParams.get('path')!;
      return json(response, { path, changes: [change(0, { versionId: newest.get(path)! })] });
    }
    return json(response, rows.get(decodeURIComponent(url.pathname.split('/').at(-1)!)));
  });
});
afterEach(() => server.stop());

function accepted(row: ChangeRow): ChangeRow {
  rows.set(row.versionId, row);
  newest.set(row.path, row.versionId);
  return row;
}

test('what replaced something gives it back, what was new goes, and what was edited since stays', async () => {
  const replaced = accepted(change(1, { path: 'old.txt', previousVersionId: 'dev.0' }));
  const created = accepted(change(2, { path: 'new.txt', kind: 'created' }));
  const edited = accepted(change(3, { path: 'edited.txt', previousVersionId: 'dev.0' }));
  newest.set('edited.txt', 'dev.9');
  const locked = accepted(change(4, { path: 'locked.txt', kind: 'created' }));
  const result = await undoAccept([replaced, created, edited, locked], server.client);
  expect(result.undone).toEqual(['new.txt', 'old.txt']);
  expect(result.kept).toEqual(['edited.txt']);
  expect(result.failed).toMatchObject([{ path: 'locked.txt', error: { code: 'DENIED' } }]);
  expect(bodies).toEqual([
    ['remove', { path: 'locked.txt', ifVersion: 'dev.4' }],
    ['remove', { path: 'new.txt', ifVersion: 'dev.2' }],
    ['restore', { versionId: 'dev.0', to: 'old.txt' }]
  ]);
});
