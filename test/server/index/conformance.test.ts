/**
 * Both engines give the same answers: what a user sees must not depend on whether DuckDB could be loaded, on how the
 * changes were batched, or on a restart in between.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as duckdb from '@duckdb/node-api';
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { historyOf } from '../../../server/src/core/history.ts';
import { applyChange, type Tree } from '../../../server/src/core/tree.ts';
import { DuckdbHistory } from '../../../server/src/index/duckdb-history.ts';
import {
  resolvePath,
  type ChangesFilter,
  type HistoryEngine,
  type RecordPage
} from '../../../server/src/index/history-queries.ts';
import { ReplayQueries } from '../../../server/src/index/replay-queries.ts';
import { anyFolder, anyLog, anyPath, change, WORKSPACE } from './sample-changes.ts';

/** Logs of each kind; others in every run. */
const RUNS = Number(process.env['SYFT_CONFORMANCE_RUNS'] ?? 10);

let base: string;
let nextDir = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-index-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const openDuckdb = (dir: string): Promise<DuckdbHistory> =>
  DuckdbHistory.open(duckdb, { dir, workspaceId: WORKSPACE, memory: 128, memoryMost: 128 });

async function fedDuckdb(log: readonly Change[], cuts: readonly number[] = []): Promise<DuckdbHistory> {
  const dir = join(base, String(nextDir++));
  const engine = await openDuckdb(dir);
  let from = 0;
  // Every second one begins as the index of a log that was there before it.
  if (nextDir % 2 === 0) {
    const bulk = await engine.fill();
    from = cuts[0] ?? log.length;
    for (const next of log.slice(0, from)) if (bulk.add(next)) await bulk.write();
    await engine.filled(bulk);
  }
  for (const cut of cuts.filter(cut => cut > from).sort((a, b) => a - b)) {
    await engine.apply(log.slice(from, cut));
    from = Math.max(from, cut);
  }
  await engine.apply(log.slice(from));
  return engine;
}

/** The answer, or the code of the error. */
const answer = async (question: Promise<unknown>): Promise<unknown> =>
  question.catch((error: unknown) => ({ code: (error as { code?: string }).code ?? error }));

describe('DuckDB and replay', () => {
  test('answer every question alike, however the log was fed', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyLog(),
        fc.array(fc.nat(60), { maxLength: 3 }),
        fc.array(anyPath, { minLength: 2, maxLength: 4 }),
        fc.array(anyFolder, { minLength: 2, maxLength: 3 }),
        fc.record({
          limit: fc.constantFrom(1, 3, 100),
          kind: fc.option(
            fc.constantFrom('created' as const, 'modified' as const, 'deleted' as const, 'moved' as const),
            { nil: undefined }
          ),
          q: fc.option(fc.constantFrom('A', 'dir', 'É', 'xff', '%', "'", '\\', 'x\u0000y', '\uD800', ''), {
            nil: undefined
          }),
          pick: fc.nat(),
          oldestFirst: fc.boolean()
        }),
        async (log, cuts, paths, folders, ask) => {
          const left = await fedDuckdb(log, cuts);
          const right = await ReplayQueries.of(log);
          const some = log[ask.pick % Math.max(1, log.length)];
          const same = async (question: (engine: HistoryEngine) => Promise<unknown>): Promise<void> => {
            expect(await answer(question(left))).toEqual(await answer(question(right)));
          };
          try {
            for (const under of folders) {
              const filter: ChangesFilter = {
                limit: ask.limit,
                ...(under !== undefined && { under }),
                ...(ask.kind !== undefined && { kind: ask.kind }),
                ...(ask.q !== undefined && { q: ask.q })
              };
              await same(e => e.changes(filter));
              await same(e => e.changes({ ...filter, oldestFirst: ask.oldestFirst }));
              if (some !== undefined) {
                await same(e =>
                  e.changes({
                    limit: 100,
                    after: versionId(some),
                    oldestFirst: ask.oldestFirst,
                    ...(under !== undefined && { under })
                  })
                );
                await same(e => e.changes({ limit: 100, since: some.at, until: some.at + 1_000_000 }));
                await same(e => e.tree({ at: some.at, ...(under !== undefined && { under }) }));
              }
              await same(e => e.tree(under === undefined ? {} : { under }));
              await same(e =>
                e.deleted({
                  limit: ask.limit,
                  ...(under !== undefined && { under }),
                  ...(ask.q !== undefined && { q: ask.q })
                })
              );
            }
            for (const path of paths) {
              await same(e => e.changes({ limit: ask.limit, path }));
              await same(e => e.history(path, { limit: 100 }));
              await same(e => resolvePath(e, path.toWellFormed()));
            }
            if (some !== undefined) {
              const id = versionId(some);
              await same(e => e.version(id));
              await same(e => e.version(id.slice(0, 1 + (ask.pick % id.length))));
              await same(e => e.recordsOf([some, ...log.slice(0, 3)]));
            }
            await same(e => e.version('aaaaaaaa.99999'));
            await same(e => e.counts());
          } finally {
            await left.close();
          }
        }
      ),
      { numRuns: RUNS * 2 }
    );
  }, 240_000);

  test('pages put together are the whole list, each change once', async () => {
    await fc.assert(
      fc.asyncProperty(anyLog(), fc.integer({ min: 1, max: 7 }), anyPath, async (log, limit, path) => {
        const left = await fedDuckdb(log);
        const right = await ReplayQueries.of(log);
        try {
          for (const engine of [left, right]) {
            const all: string[] = [];
            let before: string | undefined;
            do {
              const page: RecordPage = await engine.changes({ limit, ...(before !== undefined && { before }) });
              expect(page.total).toBe(log.length);
              all.push(...page.records.map(record => versionId(record.change)));
              before = page.next;
            } while (before !== undefined);
            expect(all).toEqual(log.map(versionId).reverse());

            const lives: string[] = [];
            do {
              const page: RecordPage = await engine.history(path, { limit, ...(before !== undefined && { before }) });
              lives.push(...page.records.map(record => versionId(record.change)));
              before = page.next;
            } while (before !== undefined);
            expect(lives).toEqual(historyOf(log, path).map(versionId));
          }
        } finally {
          await left.close();
        }
      }),
      { numRuns: RUNS }
    );
  }, 240_000);

  test('the tree at any moment is the fold of core/tree.ts', async () => {
    await fc.assert(
      fc.asyncProperty(anyLog(40), async log => {
        const engine = await fedDuckdb(log);
        try {
          for (const at of new Set(log.map(c => c.at))) {
            const tree: Tree = new Map();
            for (const c of log) if (c.at <= at) applyChange(tree, c);
            const found = await engine.tree({ at });
            expect(found.map(versionId).sort()).toEqual([...tree.values()].map(versionId).sort());
          }
        } finally {
          await engine.close();
        }
      }),
      { numRuns: RUNS }
    );
  }, 240_000);

  test('a change reads back as it was written, content reference and odd names included', async () => {
    await fc.assert(
      fc.asyncProperty(anyLog(), async log => {
        const engine = await fedDuckdb(log);
        try {
          const { records } = await engine.changes({ limit: 5000, oldestFirst: true });
          expect(records.map(record => record.change)).toEqual(log);
        } finally {
          await engine.close();
        }
      }),
      { numRuns: RUNS }
    );
  }, 240_000);
});

describe.each(['duckdb', 'replay'] as const)('%s', kind => {
  const feed = (log: readonly Change[]): Promise<HistoryEngine> =>
    kind === 'duckdb' ? fedDuckdb(log) : ReplayQueries.of(log);

  test('a swap of two files shows for each what it replaced', async () => {
    const at = 1_790_000_009_000_000;
    const engine = await feed([
      change(1, { path: 'a' }, 'aa'),
      change(2, { path: 'b' }, 'bbbb'),
      change(3, { kind: 'moved', path: 'b', from: 'a', at }, 'aa'),
      change(4, { kind: 'moved', path: 'a', from: 'b', at }, 'bbbb')
    ]);
    const [toA, toB] = (await engine.changes({ limit: 2 })).records;
    expect(toB).toMatchObject({ previousVersionId: 'aaaaaaaa.1', previousSize: 2 });
    expect(toA).toMatchObject({ previousVersionId: 'aaaaaaaa.2', previousSize: 4 });
    expect((await engine.tree({})).map(versionId)).toEqual(['aaaaaaaa.4', 'aaaaaaaa.3']);
    await engine.close();
  });

  test('history follows a file through many moves, and leaves out what lived under its names', async () => {
    const log: Change[] = [
      change(1, { path: 'b' }, 'another file'),
      change(2, { kind: 'deleted', path: 'b' }),
      change(3, { path: 'a' })
    ];
    for (let seq = 4; seq < 104; seq++) {
      log.push(change(seq, { kind: 'moved', path: seq % 2 === 0 ? 'b' : 'a', from: seq % 2 === 0 ? 'a' : 'b' }));
    }
    const engine = await feed(log);
    const history = await engine.history('a', { limit: 500 });
    expect(history.total).toBe(101);
    expect(history.exists).toBe(true);
    expect(versionId(history.records.at(-1)!.change)).toBe('aaaaaaaa.3');
    expect((await engine.history('b', { limit: 500 })).exists).toBe(false);
    await engine.close();
  });

  test('a deleted file is offered with its last version that has content, never with another file of that name', async () => {
    const engine = await feed([
      change(1, { path: 'mine' }, 'of a stranger'),
      change(2, { path: 'old' }, 'the real one'),
      change(3, {
        kind: 'moved',
        path: 'mine',
        from: 'old',
        content: undefined,
        flags: ['no-content']
      } as unknown as Partial<Change> & { path: string }),
      change(4, { kind: 'deleted', path: 'mine' }),
      change(5, { kind: 'deleted', path: 'folder', type: 'directory' }),
      change(6, { path: 'kept' })
    ]);
    const files = await engine.deleted({ limit: 10 });
    expect(files.map(file => [file.path, versionId(file.deleted.change), versionId(file.last.change)])).toEqual([
      ['mine', 'aaaaaaaa.4', 'aaaaaaaa.2']
    ]);
    await engine.close();
  });

  test('names that are not UTF-8 are told from names that look like them', async () => {
    const engine = await feed([
      change(1, { path: 'bad\uDCFF' }),
      change(2, { path: 'bad\\xFF' }),
      change(3, { path: 'x\uDCFE' })
    ]);
    expect((await engine.history('bad\uDCFF', { limit: 9 })).records.map(r => r.change.seq)).toEqual([1]);
    expect((await engine.history('bad\\xFF', { limit: 9 })).records.map(r => r.change.seq)).toEqual([2]);
    expect(await resolvePath(engine, 'bad\\xFF')).toBe('bad\\xFF');
    expect(await resolvePath(engine, 'x\\xFE')).toBe('x\uDCFE');
    expect(await resolvePath(engine, Buffer.from('bad\xFF', 'latin1').toString('base64'))).toBe('bad\uDCFF');
    for (const bad of ['', '/', '..', '../x', 'a/../../x', '/etc/passwd', 'a\0b', '\uD800']) {
      await expect(resolvePath(engine, bad)).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
    }
    await engine.close();
  });

  test('cursors of elsewhere, and versions that are not there, are refused by name', async () => {
    const engine = await feed([change(1, { path: 'a' }), change(12, { path: 'b' })]);
    for (const before of ['', 'x', '1.2.3', "1.aaaaaaaa.1'; DROP TABLE meta; --"]) {
      await expect(engine.changes({ limit: 1, before })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    await expect(engine.version('aaaaaaaa.')).rejects.toMatchObject({ code: 'VERSION_AMBIGUOUS' });
    await expect(engine.version('b')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' });
    await expect(engine.version("' OR 1=1 --")).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' });
    expect(versionId((await engine.version('aaaaaaaa.1')).change)).toBe('aaaaaaaa.1');
    await engine.close();
  });

  test('a question that was given up ends with CANCELLED', async () => {
    const engine = await feed([change(1, { path: 'a' })]);
    await expect(engine.counts({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await engine.counts()).changes).toBe(1);
    await engine.close();
  });
});
