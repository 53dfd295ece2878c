/** @jest-environment node */
import type { ServerResponse } from 'node:http';

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { Connection } from '../../../labextension/client/connection';
import { BoxesModel, PAGE } from '../../../labextension/messages/boxes-model';
import type { MessageSummary } from '../../../server/src/api/contract';
import { HttpServer, json, status, when } from '../http-server';
import { summary } from './summary';

let server: HttpServer;
let connection: Connection;
let model: BoxesModel;
let stream: ServerResponse | undefined;
/** Newest first. */
let box: MessageSummary[];
let broken: boolean;

beforeEach(async () => {
  stream = undefined;
  broken = false;
  box = Array.from({ length: 1000 }, (_one, index) => summary({}, 1000 - index));
  server = await HttpServer.start((_request, response, url) => {
    if (url.pathname.endsWith('/events')) {
      stream = response;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(`event: status\ndata: ${JSON.stringify(status())}\n\n`);
      return;
    }
    if (broken) return json(response, { error: { code: 'IO', message: 'The box cannot be read.' } }, 500);
    const query = url.searchParams;
    const matching = box.filter(
      message => message.box === query.get('box') && (message.note ?? '').includes(query.get('q') ?? '')
    );
    const before = query.get('before');
    const start = before === null ? 0 : matching.findIndex(({ id }) => id === before) + 1;
    const messages = matching.slice(start, start + Number(query.get('limit')));
    return json(response, {
      messages,
      total: matching.length,
      unread: box.filter(({ read }) => !read).length,
      ...(start + messages.length < matching.length && { next: messages.at(-1)!.id })
    });
  });
  connection = new Connection({ client: server.client });
  model = new BoxesModel({ connection });
});
afterEach(async () => {
  model.dispose();
  connection.dispose();
  await server.stop();
});

const ids = (): string[] => model.messages.map(({ id }) => id);
const shown = (holds: () => boolean): Promise<void> => when(model.changed, holds);
const changed = (): void => {
  const unread = box.filter(({ read }) => !read).length;
  stream!.write(`event: messages\ndata: ${JSON.stringify({ unread })}\n\n`);
};

describe('the boxes', () => {
  test('nothing is asked before somebody looks', async () => {
    await when(connection.stateChanged, () => connection.status !== undefined);
    expect(server.requests.filter(request => request.includes('messages'))).toEqual([]);
  });

  test('a thousand messages come page by page, each once, newest first', async () => {
    model.want();
    await shown(() => model.state === 'ready');
    expect(model.messages).toHaveLength(PAGE);
    expect(model.total).toBe(1000);
    while (model.messages.length < 1000) await model.loadOlder();
    await model.loadOlder();
    expect(ids()).toEqual(box.map(({ id }) => id));
  });

  test('what comes in is on top at once, and what was scrolled to stays loaded', async () => {
    model.want();
    await shown(() => model.state === 'ready');
    await model.loadOlder();
    expect(model.messages).toHaveLength(2 * PAGE);
    box = [summary({ note: 'new' }, 1001), ...box];
    changed();
    await shown(() => model.messages[0]?.note === 'new');
    expect(model.messages).toHaveLength(2 * PAGE);
    expect(model.unread).toBe(1001);
  });

  test('filter and box ask anew, and an answer that comes too late is not shown', async () => {
    box = [summary({ note: 'needle' }, 3), summary({ note: 'other' }, 2), summary({ box: 'outbox', read: true }, 1)];
    model.want();
    model.filter = 'other';
    model.filter = 'needle';
    await shown(() => model.state === 'ready');
    expect(ids()).toEqual([box[0]!.id]);
    model.filter = '';
    model.box = 'outbox';
    await shown(() => model.state === 'ready');
    expect(ids()).toEqual([box[2]!.id]);
    expect(model.unread).toBe(2);
  });

  test('what is on its way out is not shown, and comes back when it is not removed', async () => {
    model.want();
    await shown(() => model.state === 'ready');
    const [first, second] = ids();
    model.take(first!);
    expect(ids()[0]).toBe(second);
    expect(model.total).toBe(999);
    await model.reload();
    expect(ids()[0]).toBe(second);
    model.putBack(first!);
    expect(ids()[0]).toBe(first);
  });

  test('a failure is said, what was loaded stays, and the next try clears it', async () => {
    model.want();
    await shown(() => model.state === 'ready');
    broken = true;
    await model.reload();
    expect(model.error?.message).toBe('The box cannot be read.');
    expect(model.messages).toHaveLength(PAGE);
    broken = false;
    await model.reload();
    expect([model.state, model.error]).toEqual(['ready', undefined]);
  });

  test('a message that is looked at is read before the sidecar says so', async () => {
    model.want();
    await shown(() => model.state === 'ready');
    model.markRead(ids()[0]!);
    expect(model.messages[0]!.read).toBe(true);
    expect(model.unread).toBe(999);
    model.markRead(ids()[0]!);
    expect(model.unread).toBe(999);
  });
});
