/** @jest-environment node */
import { afterEach, describe, expect, test } from '@jest/globals';

import { HttpServer, change, json } from '../http-server';
import type { Answer } from '../http-server';

let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function failing(answer: Answer): Promise<{ code: string; message: string; path?: string }> {
  server = await HttpServer.start(answer);
  return (await server.client.status().catch((error: unknown) => error)) as { code: string; message: string };
}

const page =
  (code: number): Answer =>
  (_request, response) => {
    response.writeHead(code, { 'Content-Type': 'text/html' });
    response.end('<html>proxy</html>');
  };

describe('what goes wrong has the code that the panel branches on', () => {
  test('the sidecar’s own error keeps its code, its sentence and its file', async () => {
    const error = { code: 'DISK_FULL', message: 'The disk is full.', path: 'a.csv' };
    expect(await failing((_request, response) => json(response, { error }, 507))).toMatchObject(error);
  });

  test.each([
    [401, 'LOGGED_OUT'],
    [403, 'LOGGED_OUT'],
    [404, 'NO_EXTENSION'],
    [500, 'BAD_ANSWER'],
    [502, 'NOT_RUNNING'],
    [503, 'NOT_RUNNING'],
    [504, 'NOT_RUNNING'],
    [200, 'BAD_ANSWER']
  ])('a page of a proxy with status %d is %s', async (code, expected) => {
    expect(await failing(page(code))).toMatchObject({ name: 'ClientError', code: expected });
  });

  test('a redirect to the login page is a login, not an answer', async () => {
    const error = await failing((_request, response, url) => {
      if (url.pathname === '/login') return page(200)(_request, response, url);
      response.writeHead(302, { Location: '/login?next=lab' });
      response.end();
    });
    expect(error.code).toBe('LOGGED_OUT');
  });

  test('a server that is gone is unreachable', async () => {
    const gone = await HttpServer.start(page(200));
    const { client } = gone;
    await gone.stop();
    await expect(client.status()).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });
});

describe('requests', () => {
  test('stay below base_url, carry Jupyter’s token, and name files of any name', async () => {
    const headers: (string | undefined)[] = [];
    server = await HttpServer.start((request, response, url) => {
      headers.push(request.headers.authorization);
      json(response, { path: url.searchParams.get('path'), changes: [], total: 0, exists: true, recorded: true });
    }, '/user/ana%40lab/');
    for (const path of ['a b/ü 数据.csv', '100%?x=1&y#z', '../up', 'back\\slash\\xFF', '+plus']) {
      expect((await server.client.history(path)).path).toBe(path);
    }
    expect(server.requests.every(request => request.startsWith('GET /user/ana%40lab/syft-sync/api/history?'))).toBe(
      true
    );
    expect(new Set(headers)).toEqual(new Set(['token secret']));
  });

  test('what changes something says that it is meant, as no form of a foreign page can', async () => {
    let mark: unknown;
    server = await HttpServer.start((request, response) => {
      mark = request.headers['x-syft-sync-request'];
      json(response, { flushed: true });
    });
    await server.client.flush();
    expect(mark).toBe('1');
    expect(server.requests).toEqual(['POST /syft-sync/api/flush']);
  });

  test('content comes byte for byte', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_unused, i) => i);
    server = await HttpServer.start((_request, response) => void response.end(bytes));
    expect(new Uint8Array(await server.client.content(change(1).versionId))).toEqual(bytes);
  });
});
