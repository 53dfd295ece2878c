import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { ChangesModel, PAGE } from '../../../labextension/history/changes-model';
import type { ChangeSource } from '../../../labextension/history/changes-model';
import type { ChangeRow, ChangesPage } from '../../../server/src/api/contract';
import { change, when } from '../http-server';

/** What the sidecar knows, newest first, paged as its API pages it. */
class Log implements ChangeSource {
  rows: ChangeRow[] = [];
  asked = 0;

  grow(count = 1): ChangeRow[] {
    const rows = Array.from({ length: count }, (_unused, i) => change(this.rows.length + 1 + i));
    this.rows = [...rows.toReversed(), ...this.rows];
    return rows;
  }

  load({ limit, before }: { limit: number; before?: string }): Promise<ChangesPage> {
    this.asked++;
    const start = before === undefined ? 0 : this.rows.findIndex(row => row.versionId === before) + 1;
    const changes = this.rows.slice(start, start + limit);
    const more = start + limit < this.rows.length;
    return Promise.resolve({ changes, total: this.rows.length, ...(more && { next: changes.at(-1)!.versionId }) });
  }

  takes(): boolean {
    return true;
  }
}

const ids = (rows: readonly ChangeRow[]): string[] => rows.map(row => row.versionId);

async function loaded(log: ChangeSource): Promise<ChangesModel> {
  const model = new ChangesModel();
  model.setSource(log);
  await when(model.changed, () => model.state === 'ready');
  return model;
}

describe('a list of changes', () => {
  test('whatever comes when, it is newest first, without gaps and without doubles', async () => {
    const step = fc.constantFrom('live', 'twice', 'missed', 'older', 'reload', 'hold', 'release', 'show');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 500 }), fc.array(step, { maxLength: 30 }), async (before, steps) => {
        const log = new Log();
        log.grow(before);
        const model = await loaded(log);
        let last: ChangeRow[] = [];
        for (const it of steps) {
          if (it === 'live') model.add((last = log.grow(2)));
          else if (it === 'twice') model.add(last);
          // The connection resets after what it could not tell; then the list is loaded afresh.
          else if (it === 'missed') void (log.grow(3), model.reload());
          else if (it === 'older') void model.loadOlder();
          else if (it === 'reload') void model.reload();
          else if (it === 'show') model.showWaiting();
          else model.held = it === 'hold';
        }
        await when(model.changed, () => model.state === 'ready' && !model.loadingOlder);
        model.showWaiting();
        expect(ids(model.changes)).toEqual(ids(log.rows.slice(0, model.changes.length)));
        expect(model.total).toBe(log.rows.length);
        while (model.hasOlder) await model.loadOlder();
        expect(ids(model.changes)).toEqual(ids(log.rows));
        model.dispose();
      }),
      { numRuns: 100 }
    );
  });

  test('new rows wait, counted, while somebody reads further down', async () => {
    const log = new Log();
    log.grow(3);
    const model = await loaded(log);
    model.held = true;
    model.add(log.grow());
    model.add(log.grow(4));
    expect(model.waiting).toBe(5);
    expect(model.changes).toHaveLength(3);
    model.held = false;
    expect(model.waiting).toBe(0);
    expect(ids(model.changes)).toEqual(ids(log.rows));
  });

  test('what happens while the first page is on its way is not lost', async () => {
    const log = new Log();
    log.grow(2);
    const model = new ChangesModel();
    model.setSource(log);
    // The page was cut before this change.
    const late = log.grow();
    model.add(late);
    await when(model.changed, () => model.state === 'ready');
    expect(ids(model.changes)).toEqual(ids(log.rows));
  });

  test('who scrolls far gets larger pages', async () => {
    const log = new Log();
    log.grow(10_000);
    const model = await loaded(log);
    expect(model.changes).toHaveLength(PAGE);
    while (model.hasOlder) await model.loadOlder();
    expect(model.changes).toHaveLength(10_000);
    expect(log.asked).toBeLessThan(12);
  });

  test('the late answer to an earlier question is not shown', async () => {
    let answer: (page: ChangesPage) => void = () => undefined;
    const slow: ChangeSource = { load: () => new Promise(done => (answer = done)), takes: () => true };
    const log = new Log();
    log.grow(2);
    const model = new ChangesModel();
    model.setSource(slow);
    model.setSource(log);
    await when(model.changed, () => model.state === 'ready');
    answer({ changes: [change(99)], total: 1 });
    await Promise.resolve();
    expect(ids(model.changes)).toEqual(ids(log.rows));
  });

  test('a failed question says why, and keeps what is listed when it was asked again', async () => {
    const log = new Log();
    log.grow(2);
    const model = await loaded(log);
    const load = log.load.bind(log);
    log.load = () => Promise.reject(new Error('away'));
    await model.reload();
    expect(model.state).toBe('failed');
    expect(model.error?.message).toBe('away');
    expect(model.changes).toHaveLength(2);
    log.load = load;
    await model.reload();
    expect(model.state).toBe('ready');
    expect(model.error).toBeUndefined();
  });

  test('a burst that only the sidecar can place is one question', async () => {
    const log = new Log();
    log.grow(1);
    const model = await loaded({ load: page => log.load(page), takes: () => 'reload' });
    for (let i = 0; i < 50; i++) model.add(log.grow());
    await when(model.changed, () => model.changes.length === 51);
    expect(log.asked).toBe(2);
    model.dispose();
  });
});
