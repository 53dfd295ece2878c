/** Live changes: a panel sees each change once, in order, also across a lost connection; a stuck one harms nobody. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { request, type IncomingMessage } from 'node:http';
import type { ChangeRow, Status } from '../../../server/src/api/contract.ts';
import { change } from '../index/sample-changes.ts';
import { makeRig, SECRET, type Rig } from './listed-service.ts';

interface Event {
  name: string;
  id: string | undefined;
  data: unknown;
}

/** A reader of server-sent events as a browser is one: remembers the last id, ignores comments. */
class Stream {
  readonly events: Event[] = [];
  comments = 0;
  lastId: string | undefined;
  closed = false;
  readonly #response: IncomingMessage;
  readonly #waiters: (() => void)[] = [];
  #rest = '';

  private constructor(response: IncomingMessage) {
    this.#response = response;
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#read(text));
    const end = (): void => {
      this.closed = true;
      this.#wake();
    };
    response.on('close', end);
    response.on('error', end);
  }

  static open(rig: Rig, query = '', headers: Record<string, string> = {}): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const req = request(
        {
          socketPath: rig.socketPath,
          path: `/api/events${query}`,
          headers: { host: 'localhost', 'x-syft-sync-secret': SECRET, ...headers }
        },
        response => resolve(new Stream(response))
      );
      req.on('error', reject);
      req.end();
    });
  }

  #read(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) {
      let name = 'message';
      let data: string | undefined;
      for (const line of block.split('\n')) {
        if (line.startsWith(':')) this.comments += 1;
        else if (line.startsWith('id: ')) this.lastId = line.slice(4);
        else if (line.startsWith('event: ')) name = line.slice(7);
        else if (line.startsWith('data: ')) data = line.slice(6);
      }
      if (data !== undefined) this.events.push({ name, id: this.lastId, data: JSON.parse(data) });
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>(resolve => this.#waiters.push(resolve));
  }

  get rows(): ChangeRow[] {
    return this.events.filter(e => e.name === 'changes').flatMap(e => (e.data as { changes: ChangeRow[] }).changes);
  }

  get seqs(): number[] {
    return this.rows.map(row => Number(row.versionId.slice(9)));
  }

  pause(): void {
    this.#response.pause();
  }

  close(): void {
    this.#response.destroy();
  }
}

let rig: Rig;
afterEach(() => rig.close());
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('live changes', () => {
  test('begin with the status and the id to come back with; then each change, with what stood before it', async () => {
    rig = await makeRig();
    rig.service.record(change(1, { path: 'a' }, 'aa'));
    const stream = await Stream.open(rig);
    await stream.until(() => stream.lastId !== undefined);
    expect(stream.events[0]).toMatchObject({ name: 'status', data: { state: 'recording', apiVersion: 1 } });
    expect(stream.lastId).toBe('aaaaaaaa.1');
    rig.service.record(change(2, { path: 'a', kind: 'modified' }, 'aaa'), change(3, { path: 'b' }));
    await stream.until(() => stream.rows.length === 2);
    expect(stream.rows[0]).toMatchObject({
      versionId: 'aaaaaaaa.2',
      size: 3,
      previousSize: 2,
      previousVersionId: 'aaaaaaaa.1'
    });
    // Collected into one event, whose id is the last of them.
    expect(stream.events.filter(e => e.name === 'changes').map(e => e.id)).toEqual(['aaaaaaaa.3']);
    rig.service.pending = 5;
    rig.service.emit('status');
    await stream.until(() => stream.events.some(e => e.name === 'status' && (e.data as Status).pending === 5));
    stream.close();
  });

  test('after a lost connection everything missed comes, once and in order, while new changes arrive', async () => {
    rig = await makeRig();
    rig.service.record(...range(1, 1200).map(seq => change(seq, { path: `f${seq % 7}` })));
    for (const stream of [
      await Stream.open(rig, '', { 'last-event-id': 'aaaaaaaa.10' }),
      await Stream.open(rig, '?lastEventId=aaaaaaaa.10')
    ]) {
      const from = rig.service.list.list.length + 1;
      for (let seq = from; seq < from + 40; seq++) {
        rig.service.record(change(seq, { path: 'live' }));
        if (seq % 8 === 0) await new Promise(resolve => setTimeout(resolve, 20));
      }
      await stream.until(() => stream.seqs.at(-1) === from + 39 || stream.closed);
      expect(stream.seqs).toEqual(range(11, from + 39));
      stream.close();
    }
  });

  test('who missed too much, or comes from another log, is told to load afresh, and goes on from there', async () => {
    rig = await makeRig();
    rig.service.record(...range(1, 5002).map(seq => change(seq, { path: 'a' })));
    for (const id of ['aaaaaaaa.1', 'zzzzzzzz.1', 'nonsense', "'; --"]) {
      const stream = await Stream.open(rig, `?lastEventId=${encodeURIComponent(id)}`);
      await stream.until(() => stream.events.some(e => e.name === 'reset'));
      expect(stream.lastId).toBe('aaaaaaaa.5002');
      expect(stream.rows).toEqual([]);
      stream.close();
    }
    const stream = await Stream.open(rig, '?lastEventId=aaaaaaaa.2');
    await stream.until(() => stream.seqs.at(-1) === 5002);
    expect(stream.seqs).toEqual(range(3, 5002));
    stream.close();
  });

  test('a burst larger than is replayed becomes one reset', async () => {
    rig = await makeRig();
    const stream = await Stream.open(rig);
    await stream.until(() => stream.events.length > 0);
    rig.service.record(...range(1, 12_000).map(seq => change(seq, { path: 'a' })));
    await stream.until(() => stream.events.some(e => e.name === 'reset'));
    expect(stream.rows.length).toBe(0);
    rig.service.record(change(12_001, { path: 'b' }));
    await stream.until(() => stream.seqs.includes(12_001));
    stream.close();
  });

  test('silence is broken by comments, so that no proxy gives the connection up', async () => {
    rig = await makeRig({ heartbeatMs: 20 });
    const stream = await Stream.open(rig);
    await stream.until(() => stream.comments >= 3);
    stream.close();
  });

  test('a reader that does not keep up is dropped; the others see everything', async () => {
    rig = await makeRig({ maxBehind: 1024 * 1024 });
    const stuck = await Stream.open(rig);
    stuck.pause();
    const good = await Stream.open(rig);
    await good.until(() => good.events.length > 0);
    const total = 20_000;
    for (let seq = 1; seq <= total;) {
      const until = Math.min(total, seq + 999);
      rig.service.record(...range(seq, until).map(n => change(n, { path: `some/longer/path/${n}` })));
      seq = until + 1;
      await good.until(() => (good.seqs.at(-1) ?? 0) >= until || good.closed);
    }
    expect(good.seqs).toEqual(range(1, total));
    expect(rig.api.events.size).toBe(1);
    good.close();
    stuck.close();
  }, 60_000);

  test('readers that leave are forgotten, and closing ends those that stay', async () => {
    rig = await makeRig();
    const leaving = await Stream.open(rig);
    const staying = await Stream.open(rig);
    leaving.close();
    while (rig.api.events.size > 1) await new Promise(resolve => setTimeout(resolve, 5));
    rig.api.close();
    await staying.until(() => staying.closed);
    expect(rig.service.listenerCount('change')).toBe(0);
    expect(rig.service.listenerCount('status')).toBe(0);
  });
});
