/** The routes over real HTTP: what the panel asks, and what must never be answered. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  ChangesPageSchema,
  HistorySchema,
  StatsSchema,
  StatusSchema,
  TreeSchema
} from '../../../server/src/api/contract.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { change } from '../index/sample-changes.ts';
import { ask, makeRig, SECRET, type Rig } from './listed-service.ts';

let rig: Rig;
let socket: { socketPath: string };
let tcp: { port: number };

async function* pieces(...parts: (string | Error)[]): AsyncIterable<Uint8Array> {
  for (const part of parts) {
    await Promise.resolve();
    if (part instanceof Error) throw part;
    yield Buffer.from(part);
  }
}

beforeAll(async () => {
  rig = await makeRig({ allowedOrigins: ['http://lab.example:8888'] });
  socket = { socketPath: rig.socketPath };
  tcp = { port: rig.port };
  rig.service.record(
    change(1, { path: 'nb/a.ipynb' }, 'one'),
    change(2, { path: 'data/é \'"ü.csv' }, '0123456789'),
    change(3, { path: 'nb/a.ipynb', kind: 'modified' }, 'three'),
    change(4, { path: 'bad\uDCFF' }, 'odd'),
    change(5, { path: 'gone.txt' }, 'was here'),
    change(6, { path: 'gone.txt', kind: 'deleted' }),
    change(7, { path: 'nb/b.ipynb', kind: 'moved', from: 'nb/a.ipynb' }, 'three')
  );
});
afterAll(() => rig.close());
beforeEach(() => {
  rig.service.failure = undefined;
  rig.service.calls.length = 0;
});

const code = (answer: { json: unknown }): string | undefined =>
  (answer.json as { error?: { code: string } } | undefined)?.error?.code;

describe('what the panel asks', () => {
  test('health and status', async () => {
    expect((await ask(socket, '/api/health')).json).toMatchObject({ ok: true, apiVersion: 1 });
    const status = await ask(tcp, '/api/status');
    expect(StatusSchema.parse(status.json)).toMatchObject({ state: 'recording', apiVersion: 1 });
  });

  test('changes, newest first, in pages, with what stood before', async () => {
    const first = await ask(socket, '/api/changes?limit=3&_=17632&unknown=key');
    const page = ChangesPageSchema.parse(first.json);
    expect(page.total).toBe(7);
    expect(page.changes.map(row => row.versionId)).toEqual(['aaaaaaaa.7', 'aaaaaaaa.6', 'aaaaaaaa.5']);
    expect(page.changes[1]).toMatchObject({ kind: 'deleted', previousSize: 8, previousVersionId: 'aaaaaaaa.5' });
    const second = ChangesPageSchema.parse((await ask(socket, `/api/changes?limit=9&before=${page.next}`)).json);
    expect(second.changes.map(row => row.versionId)).toEqual(['aaaaaaaa.4', 'aaaaaaaa.3', 'aaaaaaaa.2', 'aaaaaaaa.1']);
    expect(second.changes[0]).toMatchObject({ path: 'bad\\xFF', pathBase64: 'YmFk/w==' });
    expect(second.next).toBeUndefined();
  });

  test('changes below a folder, by kind, by part of the name, by time', async () => {
    const ids = async (query: string): Promise<string[]> =>
      ChangesPageSchema.parse((await ask(socket, `/api/changes?${query}`)).json).changes.map(row =>
        row.versionId.slice(9)
      );
    expect(await ids('under=nb')).toEqual(['7', '3', '1']);
    expect(await ids('under=.&kind=deleted')).toEqual(['6']);
    expect(await ids(`q=${encodeURIComponent('É')}`)).toEqual(['2']);
    expect(await ids('after=aaaaaaaa.5')).toEqual(['7', '6']);
    expect(await ids('path=bad%5CxFF')).toEqual(['4']);
    expect(await ids('path=YmFk%2Fw%3D%3D')).toEqual(['4']);
    expect(await ids('since=2100-01-01T00:00:00Z')).toEqual([]);
  });

  test('history follows moves; of an unknown path it is empty, not an error', async () => {
    const history = HistorySchema.parse((await ask(socket, '/api/history?path=nb/b.ipynb')).json);
    expect(history.changes.map(row => row.versionId.slice(9))).toEqual(['7', '3', '1']);
    expect(history).toMatchObject({ path: 'nb/b.ipynb', exists: true, recorded: true, total: 3 });
    const none = HistorySchema.parse((await ask(socket, '/api/history?path=never')).json);
    expect(none).toMatchObject({ changes: [], total: 0, exists: false });
  });

  test('tree now and then, deleted files, one version, statistics', async () => {
    const tree = TreeSchema.parse((await ask(socket, '/api/tree')).json);
    expect(tree.entries.map(entry => entry.path)).toEqual(['bad\\xFF', 'data/é \'"ü.csv', 'nb/b.ipynb']);
    const then = TreeSchema.parse(
      (await ask(socket, `/api/tree?at=${encodeURIComponent(new Date(1_790_000_001_500).toISOString())}`)).json
    );
    expect(then.entries.map(entry => entry.path)).toEqual(['nb/a.ipynb']);
    expect((await ask(socket, '/api/deleted')).json).toMatchObject({
      files: [{ path: 'gone.txt', deleted: { versionId: 'aaaaaaaa.6' }, last: { versionId: 'aaaaaaaa.5' } }]
    });
    expect((await ask(socket, '/api/versions/aaaaaaaa.3')).json).toMatchObject({
      previousVersionId: 'aaaaaaaa.1',
      previousSize: 3
    });
    expect(code(await ask(socket, '/api/versions/aaaa'))).toBe('VERSION_AMBIGUOUS');
    expect(StatsSchema.parse((await ask(socket, '/api/stats')).json)).toMatchObject({
      filesCreated: 4,
      filesModified: 1,
      filesDeleted: 1,
      filesMoved: 1,
      trackedFiles: 3,
      storedBytes: 4711,
      changes: 7
    });
  });

  test('what is asked to be done is done, with whole version ids', async () => {
    expect((await ask(socket, '/api/flush', { method: 'POST' })).json).toEqual({ flushed: true });
    expect((await ask(socket, '/api/capture', { method: 'POST', body: {} })).json).toEqual({
      captured: 1,
      unchanged: 2,
      deleted: 3,
      bytes: 4,
      flagged: 5
    });
    expect(
      StatusSchema.parse(
        (
          await ask(socket, '/api/pause', {
            method: 'POST',
            headers: { 'x-syft-sync-request': '', 'x-xsrftoken': 'abc' }
          })
        ).json
      ).pid
    ).toBe(process.pid);
    await ask(socket, '/api/resume', { method: 'POST' });
    await ask(socket, '/api/setup', { method: 'POST', body: { folders: ['.'] } });
    await ask(socket, '/api/restore', { method: 'POST', body: { versionId: 'aaaaaaaa.1', asCopy: true } });
    await ask(socket, '/api/remove', { method: 'POST', body: { path: 'x', ifVersion: 'aaaaaaaa.1' } });
    expect(rig.service.calls).toEqual([
      'flush',
      'capture',
      'pause',
      'resume',
      { setup: ['.'] },
      { restore: { versionId: 'aaaaaaaa.1', asCopy: true } },
      { remove: { path: 'x', ifVersion: 'aaaaaaaa.1' } }
    ]);
  });
});

describe('content', () => {
  test('comes byte for byte, with its hash, and never runs in a browser', async () => {
    rig.service.contents.set('aaaaaaaa.2', () => pieces('012', '', '3456', '789'));
    const answer = await ask(socket, '/api/versions/aaaaaaaa.2/content');
    expect(answer.body.toString()).toBe('0123456789');
    expect(answer.headers).toMatchObject({
      'content-length': '10',
      'content-type': 'text/csv; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store'
    });
    expect(answer.headers['content-security-policy']).toContain('sandbox');
    expect(answer.headers['content-disposition']).toBeUndefined();
    const again = await ask(socket, '/api/versions/aaaaaaaa.2/content', {
      headers: { 'if-none-match': answer.headers.etag as string }
    });
    expect([again.status, again.body.length]).toEqual([304, 0]);
  });

  test('downloads under the name of the file, whatever is in it', async () => {
    const answer = await ask(socket, '/api/versions/aaaaaaaa.2/content?download=1');
    expect(answer.headers['content-disposition']).toBe(
      "attachment; filename=\"_ '__.csv\"; filename*=UTF-8''%C3%A9%20%27%22%C3%BC.csv"
    );
  });

  test.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=0-99', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=10-', 416, '', 'bytes */10'],
    ['bytes=4-2', 200, '0123456789', undefined],
    ['bytes=0-1,4-5', 200, '0123456789', undefined],
    ['lines=1-2', 200, '0123456789', undefined]
  ])('range %s', async (range, status, body, contentRange) => {
    const answer = await ask(socket, '/api/versions/aaaaaaaa.2/content', { headers: { range } });
    expect([answer.status, answer.body.toString(), answer.headers['content-range']]).toEqual([
      status,
      body,
      contentRange
    ]);
  });

  test('damage found before the first byte is an answer; found later it cuts the connection, never a full length of wrong bytes', async () => {
    const damage = new SyftError('LOG_DAMAGED', 'The content of aaaaaaaa.3 is damaged.');
    rig.service.contents.set('aaaaaaaa.3', () => pieces('three', damage));
    const early = await ask(socket, '/api/versions/aaaaaaaa.3/content');
    expect([early.status, code(early)]).toEqual([500, 'LOG_DAMAGED']);
    rig.service.contents.set('aaaaaaaa.3', () => pieces('th', 're', 'e', damage));
    const late = await ask(socket, '/api/versions/aaaaaaaa.3/content');
    expect(late.cut).toBe(true);
    expect(late.body.toString()).not.toBe('three');
  });

  test('a reader that is slow holds the log back instead of filling memory', async () => {
    let produced = 0;
    rig.service.record(change(8, { path: 'large.bin', size: 512 * 1024 * 1024 }));
    rig.service.contents.set('aaaaaaaa.8', async function* () {
      for (let i = 0; i < 512; i++) {
        produced += 1;
        await Promise.resolve();
        yield Buffer.alloc(1024 * 1024, i);
      }
    });
    const { request } = await import('node:http');
    await new Promise<void>((resolve, reject) => {
      const req = request(
        {
          socketPath: rig.socketPath,
          path: '/api/versions/aaaaaaaa.8/content',
          headers: { host: 'localhost', 'x-syft-sync-secret': SECRET }
        },
        res => {
          // Not read at all: only the buffers of the connection fill.
          setTimeout(() => {
            res.destroy();
            resolve();
          }, 300);
        }
      );
      req.on('error', reject);
      req.end();
    });
    expect(produced).toBeLessThan(64);
  });

  test('content of another size than recorded is never passed on as whole', async () => {
    for (const wrong of [['thr'], ['three', 'more']]) {
      rig.service.contents.set('aaaaaaaa.3', () => pieces(...wrong));
      const answer = await ask(socket, '/api/versions/aaaaaaaa.3/content');
      expect([answer.status, code(answer)]).toEqual([500, 'LOG_DAMAGED']);
    }
  });

  test('what has none says so; what is not there says so', async () => {
    const deleted = await ask(socket, '/api/versions/aaaaaaaa.6/content');
    expect([deleted.status, code(deleted)]).toEqual([409, 'VERSION_HAS_NO_CONTENT']);
    const missing = await ask(socket, '/api/versions/zzzzzzzz.1/content');
    expect([missing.status, code(missing)]).toEqual([404, 'VERSION_NOT_FOUND']);
  });
});

describe('who may ask', () => {
  const routes: [string, string][] = [
    ['GET', '/api/health'],
    ['GET', '/api/status'],
    ['GET', '/api/changes'],
    ['GET', '/api/history?path=a'],
    ['GET', '/api/tree'],
    ['GET', '/api/deleted'],
    ['GET', '/api/versions/aaaaaaaa.1'],
    ['GET', '/api/versions/aaaaaaaa.1/content'],
    ['GET', '/api/stats'],
    ['GET', '/api/events'],
    ['POST', '/api/flush'],
    ['POST', '/api/capture'],
    ['POST', '/api/pause'],
    ['POST', '/api/resume'],
    ['POST', '/api/setup'],
    ['POST', '/api/restore'],
    ['POST', '/api/remove'],
    ['GET', '/'],
    ['GET', '/nothing'],
    ['OPTIONS', '/api/status']
  ];
  test.each(routes)('%s %s wants the secret', async (method, path) => {
    for (const where of [socket, tcp]) {
      for (const secret of [null, '', 'wrong', `${SECRET}x`, SECRET.slice(1)]) {
        const answer = await ask(where, path, { method, secret });
        expect([answer.status, code(answer)]).toEqual([401, 'UNAUTHORIZED']);
      }
    }
    expect(rig.service.calls).toEqual([]);
  });

  test('a bearer token is as good', async () => {
    const bearer = (token: string): Promise<{ status: number }> =>
      ask(tcp, '/api/health', { secret: null, headers: { authorization: token } });
    expect((await bearer(`Bearer ${SECRET}`)).status).toBe(200);
    expect((await bearer(`Bearer ${SECRET} `)).status).toBe(200);
    expect((await bearer(`Basic ${SECRET}`)).status).toBe(401);
    expect((await bearer('Bearer')).status).toBe(401);
  });

  test('over TCP: only under a name of this machine, only from its own or allowed pages', async () => {
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example:80',
      '10.0.0.1',
      'localhost:80:90'
    ]) {
      expect(code(await ask(tcp, '/api/health', { headers: { host } }))).toBe('FORBIDDEN');
    }
    for (const host of ['localhost', 'LOCALHOST:1', `127.0.0.1:${tcp.port}`, '[::1]:5']) {
      expect((await ask(tcp, '/api/health', { headers: { host } })).status).toBe(200);
    }
    for (const origin of ['http://evil.example', 'null', `https://127.0.0.1:${tcp.port}`, 'http://lab.example']) {
      expect(code(await ask(tcp, '/api/health', { headers: { origin } }))).toBe('FORBIDDEN');
    }
    expect((await ask(tcp, '/api/health', { headers: { origin: `http://127.0.0.1:${tcp.port}` } })).status).toBe(200);
    const allowed = await ask(tcp, '/api/health', { headers: { origin: 'http://lab.example:8888' } });
    expect(allowed.headers['access-control-allow-origin']).toBe('http://lab.example:8888');
    const preflight = await ask(tcp, '/api/restore', {
      method: 'OPTIONS',
      secret: null,
      headers: { origin: 'http://lab.example:8888' }
    });
    expect([preflight.status, preflight.body.length]).toEqual([204, 0]);
  });

  test('a write needs JSON and a header that no form can send', async () => {
    for (const headers of [
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'application/jsonx' }
    ]) {
      expect(code(await ask(socket, '/api/flush', { method: 'POST', headers }))).toBe('BAD_REQUEST');
    }
    for (const value of ['', '0', 'true']) {
      const answer = await ask(socket, '/api/flush', { method: 'POST', headers: { 'x-syft-sync-request': value } });
      expect([answer.status, code(answer)]).toEqual([403, 'FORBIDDEN']);
    }
    expect(rig.service.calls).toEqual([]);
  });
});

describe('what is wrong', () => {
  test('hostile values are refused by the name of the field, and nothing leaves the workspace', async () => {
    const q = (key: string, value: string): string => `/api/changes?${key}=${encodeURIComponent(value)}`;
    for (const [path, field] of [
      ['/api/changes?limit=0', 'limit'],
      ['/api/changes?limit=5001', 'limit'],
      ['/api/changes?limit=NaN', 'limit'],
      ['/api/changes?limit=1.5', 'limit'],
      ['/api/changes?kind=erased', 'kind'],
      ['/api/changes?before=1', 'before'],
      [q('before', "1.aaaaaaaa.1' OR 1=1"), 'before'],
      [q('since', 'soon'), 'since'],
      ['/api/tree?at=13-13-13', 'at'],
      ['/api/history', 'path'],
      ['/api/history?path=a&path=b', 'path'],
      [q('q', 'x'.repeat(501)), 'q']
    ] as const) {
      const answer = await ask(socket, path);
      expect([path, answer.status, code(answer)]).toEqual([path, 400, 'BAD_REQUEST']);
      expect((answer.json as { error: { message: string } }).error.message.startsWith(`${field}:`)).toBe(true);
    }
    for (const path of ['../../etc/passwd', '/etc/passwd', 'a/../../b', '..', 'a\0b', 'a/..', '']) {
      for (const route of ['/api/history?path=', '/api/changes?path=']) {
        expect([path, code(await ask(socket, route + encodeURIComponent(path)))]).toEqual([path, 'PATH_OUTSIDE_ROOT']);
      }
    }
    for (const id of [
      '..%2f..%2fetc%2fpasswd',
      '%00',
      "a'%20OR%201=1",
      'aaaaaaaa.1.1',
      'A'.repeat(4000),
      '__proto__',
      '%F0%9F%98%80'
    ]) {
      expect([id, code(await ask(socket, `/api/versions/${id}/content`))]).toEqual([id, 'VERSION_NOT_FOUND']);
    }
    for (const value of ["'; DROP TABLE meta; --", '%', '\\', '\u202E', '\0', '🦊', '$1']) {
      expect((await ask(socket, q('q', value))).status).toBe(200);
    }
    expect(ChangesPageSchema.parse((await ask(socket, '/api/changes?__proto__=x&constructor=y')).json).total).toBe(8);
    expect((await ask(socket, '/api/versions/%E0%A4%A/content')).status).toBe(400);
  });

  test('bodies that are too large, cut short or of the wrong shape are refused', async () => {
    const send = (rawBody: string): Promise<{ status: number; json: unknown }> =>
      ask(socket, '/api/restore', { method: 'POST', rawBody });
    for (const body of [
      '{',
      '[]',
      '"x"',
      'null',
      '{"versionId":1}',
      '{}',
      `{"versionId":"${'x'.repeat(1_100_000)}"}`
    ]) {
      const answer = await send(body);
      expect([answer.status, code(answer)]).toEqual([400, 'BAD_REQUEST']);
    }
    const broken = await ask(socket, '/api/setup', { method: 'POST', body: { folders: [] } });
    expect((broken.json as { error: { message: string } }).error.message).toMatch(/^folders: /);
    expect(rig.service.calls).toEqual([]);
  });

  test.each([
    ['RESTORE_ONTO_DIRECTORY', 409],
    ['RESTORE_NOT_RECORDED', 409],
    ['LOG_LOCKED', 423],
    ['DISK_FULL', 507],
    ['SETUP_NEEDED', 503],
    ['NOT_RUNNING', 503],
    ['PATH_NOT_FOUND', 404],
    ['PATH_OUTSIDE_ROOT', 400],
    ['LOG_DAMAGED', 500]
  ] as const)('%s is answered with %i and its sentence', async (errorCode, status) => {
    rig.service.failure = new SyftError(errorCode, 'What to do.', { path: 'a' });
    const answer = await ask(socket, '/api/flush', { method: 'POST' });
    expect([answer.status, answer.json]).toEqual([
      status,
      { error: { code: errorCode, message: 'What to do.', path: 'a' } }
    ]);
  });

  test('an error of ours tells nothing of how we are built', async () => {
    rig.service.failure = new TypeError('secret detail at /home/ana');
    const answer = await ask(socket, '/api/flush', { method: 'POST' });
    expect([answer.status, code(answer)]).toEqual([500, 'INTERNAL']);
    expect(answer.body.toString()).not.toMatch(/secret detail|ana|\.ts/);
  });

  test('an unknown route is JSON too, and no header tells what runs here', async () => {
    for (const path of ['/api/nothing', '/', '/api/../etc/passwd', '/API/health']) {
      const answer = await ask(socket, path);
      expect([answer.status, code(answer)]).toEqual([404, 'NOT_FOUND']);
      expect(answer.headers['x-powered-by']).toBeUndefined();
    }
    expect((await ask(socket, '/api/status', { method: 'DELETE' })).status).toBe(404);
  });
});
