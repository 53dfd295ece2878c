/** The index keeps up with the log, and whatever becomes of its files, answers are those of the log. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DuckDBInstance } from '@duckdb/node-api';
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { versionId, type Change } from '../../../server/src/core/change.ts';
import { ChangeIndex, type ChangeIndexOptions } from '../../../server/src/index/change-index.ts';
import { openLogWriter } from '../../../server/src/log/log.ts';
import type { LogWriter } from '../../../server/src/log/types.ts';
import { ReplayQueries } from '../../../server/src/index/replay-queries.ts';
import { change, ListLog } from './sample-changes.ts';

let base: string;
let dir: string;
let open: ChangeIndex[];
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-change-index-'));
  dir = join(base, 'log', 'index');
  open = [];
});
afterEach(async () => {
  for (const index of open) await index.close();
  await chmod(base, 0o700);
  await rm(base, { recursive: true, force: true });
});

function openIndex(log: ListLog | undefined, more: Partial<ChangeIndexOptions> = {}): ChangeIndex {
  const index = ChangeIndex.open({ dir, log: log ?? new ListLog([]), ...more });
  open.push(index);
  return index;
}
const file = (): string => join(dir, 'changes.duckdb');
const sample = (count: number): Change[] =>
  Array.from({ length: count }, (_, i) =>
    change(i + 1, { path: `d${i % 3}/f${i % 7}`, ...(i % 5 === 4 && { kind: 'deleted' as const }) })
  );

/** Everything one may ask, as one value. */
async function everything(index: ChangeIndex | ReplayQueries): Promise<unknown> {
  return {
    changes: await index.changes({ limit: 5000 }),
    tree: await index.tree({}),
    deleted: await index.deleted({ limit: 100 }),
    history: await index.history('d0/f0', { limit: 100 }),
    counts: await index.counts()
  };
}
const truth = async (log: ListLog): Promise<unknown> => everything(await ReplayQueries.of(log.list));

describe('keeping up', () => {
  test('nothing is loaded until it is asked; then a change handed over is in the next answer', async () => {
    const log = new ListLog(sample(20));
    const index = openIndex(log);
    expect(index.status.ready).toBe(false);
    index.add(log.list[19]!);
    expect(log.reads).toBe(0);
    await expect(stat(dir)).rejects.toThrow();
    expect((await index.counts()).changes).toBe(20);
    expect(index.status).toEqual({ ready: true });
    for (let seq = 21; seq < 60; seq++) {
      const next = change(seq, { path: 'live' });
      log.list.push(next);
      index.add(next);
      expect((await index.changes({ limit: 1 })).records[0]?.change).toEqual(next);
    }
    expect(log.reads).toBe(1);
    expect(await everything(index)).toEqual(await truth(log));
  });

  test('changes handed over twice, while it is loading, or not at all, are each there once', async () => {
    const log = new ListLog(sample(50));
    const index = openIndex(log);
    const loading = index.counts();
    for (const known of log.list.slice(40)) index.add(known);
    await loading;
    const more = sample(100).slice(50);
    log.list.push(...more);
    // Some never came: the gap is noticed.
    for (const next of more.slice(25)) index.add(next);
    expect((await index.counts()).changes).toBe(100);
    for (const next of more) index.add(next);
    expect(await everything(index)).toEqual(await truth(log));
  });

  test('more than is held for it is read from the log instead', async () => {
    const log = new ListLog(sample(10));
    const index = openIndex(log);
    await index.warm();
    for (let seq = 11; seq <= 45_000; seq++) {
      const next = change(seq, { path: `f${seq % 100}` });
      log.list.push(next);
      index.add(next);
    }
    expect((await index.counts()).changes).toBe(45_000);
    expect(log.reads).toBeGreaterThan(1);
  }, 60_000);

  test('a log with many files needs no more memory than the index was given', async () => {
    const log = new ListLog(
      Array.from({ length: 20_000 }, (_, i) => change(i + 1, { path: `d${i % 100}/${'long-name-'.repeat(8)}${i}.csv` }))
    );
    const index = openIndex(log, { memory: 20, memoryMost: 20 });
    const page = await index.changes({ limit: 200, q: '9999' });
    expect(page.records).toHaveLength(page.total);
    expect(page.total).toBe(log.list.filter(change => change.path.includes('9999')).length);
    expect((await index.changes({ limit: 200 })).records).toHaveLength(200);
    // Not by replay, which would hold the whole log in memory.
    expect(index.status).toEqual({ ready: true });
  }, 60_000);

  test('a question that cannot be answered in the usual memory gets more for this once', async () => {
    const log = new ListLog(
      Array.from({ length: 20_000 }, (_, i) => change(i + 1, { path: `d${i % 100}/${'long-name-'.repeat(8)}${i}.csv` }))
    );
    const index = openIndex(log, { memory: 4, memoryMost: 256 });
    expect(await index.tree({})).toHaveLength(20_000);
    expect((await index.deleted({ limit: 10 })).length).toBe(0);
    expect(index.status).toEqual({ ready: true });
  }, 60_000);

  test('a change of another device that belongs between others is put there', async () => {
    const log = new ListLog(sample(10));
    const index = openIndex(log);
    await index.warm();
    const late = { ...change(1, { path: 'd0/f0' }), device: 'zzzzzzzz', hlc: log.list[4]!.hlc };
    log.list.splice(5, 0, late);
    index.add(late);
    expect(await everything(index)).toEqual(await truth(log));
  });

  test('a restart applies only what is new', async () => {
    const log = new ListLog(sample(30));
    const first = openIndex(log);
    await first.warm();
    await first.close();
    const before = await stat(file());
    log.list.push(...sample(40).slice(30));
    const second = openIndex(log);
    expect(await everything(second)).toEqual(await truth(log));
    expect((await stat(file())).ino).toBe(before.ino);
    expect((await readdir(dir)).filter(name => name.includes('doubtful'))).toEqual([]);
  });

  test('a restart reads only what the log has behind the marks; a log without them is walked, and is the truth', async () => {
    const where = { dir: join(base, 'real', 'log'), keyDir: join(base, 'keys') };
    const other = { dir: join(base, 'real', 'copy'), keyDir: join(base, 'other keys') };
    const [a, b, c, d] = [1, 2, 3, 4].map(n => ({ draft: change(n, { path: `f${n % 2}` }), chunks: [] }));
    let walks = 0;
    const counted = (log: LogWriter): ChangeIndexOptions['log'] => ({
      workspaceId: log.workspaceId,
      changes: () => {
        walks += 1;
        return log.changes();
      },
      changesAfter: marks => log.changesAfter(marks),
      marks: () => log.marks()
    });
    const asked = async (log: LogWriter): Promise<void> => {
      const index = openIndex(undefined, { log: counted(log) });
      const found = await everything(index);
      expect(found).toEqual(await everything(await ReplayQueries.of(await Array.fromAsync(log.changes()))));
      await index.close();
      await log.close();
    };
    const first = await openLogWriter(where);
    await first.append([a!, b!]);
    await asked(first);
    expect(walks).toBe(1);
    await cp(where.dir, other.dir, { recursive: true });
    const second = await openLogWriter(where);
    await asked(second);
    const third = await openLogWriter(where);
    await third.append([c!]);
    await asked(third);
    expect(walks).toBe(1);
    // The log is put back to what it was, and goes on differently.
    const elsewhere = await openLogWriter(other);
    await elsewhere.append([d!]);
    await asked(elsewhere);
    expect(walks).toBeGreaterThan(1);
    // Marks that go with nothing, or are no marks.
    for (const text of ['', '[]', '{"count":3}', '{"count":3,"fingerprint":"x","marks":[{}]}']) {
      await writeFile(join(dir, 'marks.json'), text);
      await asked(await openLogWriter(other));
    }
  });
});

describe('doubt', () => {
  /** An index of a log, closed, its file ready to be spoiled. */
  async function built(log: ListLog): Promise<void> {
    const index = openIndex(log);
    await index.warm();
    await index.close();
  }
  async function sql(text: string): Promise<void> {
    const instance = await DuckDBInstance.create(file());
    const connection = await instance.connect();
    await connection.run(text);
    connection.closeSync();
    instance.closeSync();
  }

  const spoils: [string, (log: ListLog) => Promise<unknown>][] = [
    ['deleted', () => rm(dir, { recursive: true })],
    ['empty', () => writeFile(file(), '')],
    ['not a database', () => writeFile(file(), 'hello '.repeat(5000))],
    ['cut short', async () => writeFile(file(), (await readFile(file())).subarray(0, 9000))],
    [
      'flipped at the head',
      async () =>
        writeFile(
          file(),
          (await readFile(file())).map((b, i) => (i < 64 ? b ^ 0x55 : b))
        )
    ],
    [
      'flipped all over',
      async () =>
        writeFile(
          file(),
          (await readFile(file())).map((b, i) => (i > 12_288 && i % 61 === 0 ? b ^ 0x55 : b))
        )
    ],
    ['a directory in its place', () => rm(file()).then(() => mkdir(join(file(), 'x'), { recursive: true }))],
    ['a torn write-ahead log beside it', () => writeFile(`${file()}.wal`, Buffer.alloc(5000, 7))],
    ['another schema', () => sql('UPDATE meta SET schema = 99')],
    ['a table missing', () => sql('DROP TABLE paths')],
    ['a column missing', () => sql('ALTER TABLE change_rows DROP COLUMN hlc')],
    ['rows missing', () => sql('DELETE FROM change_rows WHERE id > 10')],
    ['ahead of the log', log => Promise.resolve(log.list.splice(20))],
    [
      'of a log that was rolled back and went another way',
      log =>
        Promise.resolve(
          log.list.splice(20, 100, ...Array.from({ length: 40 }, (_, i) => change(21 + i, { path: 'other' })))
        )
    ],
    ['of another workspace', log => Promise.resolve((log.workspaceId = 'f'.repeat(32)))],
    ['left by a process that died opening it', () => writeFile(join(dir, 'opening'), '')]
  ];
  test.each(spoils)('an index that is %s is built anew, and the answers are those of the log', async (_, spoil) => {
    const log = new ListLog(sample(30));
    await built(log);
    await spoil(log);
    const index = openIndex(log);
    expect(await everything(index)).toEqual(await truth(log));
    expect(index.status).toEqual({ ready: true });
    await index.close();
    // What was rebuilt is sound.
    const again = openIndex(log);
    expect(await everything(again)).toEqual(await truth(log));
    expect(again.status).toEqual({ ready: true });
  });

  test('damage that shows only while it is in use is mended within the question', async () => {
    const log = new ListLog(sample(30));
    await built(log);
    // Passes the look at the position, fails every question about paths.
    await sql('ALTER TABLE paths DROP COLUMN folded');
    const index = openIndex(log);
    expect((await index.changes({ limit: 5, q: 'F1' })).total).toBeGreaterThan(0);
    expect(await everything(index)).toEqual(await truth(log));
    expect(index.status).toEqual({ ready: true });
  });

  test('every state that a crash could leave is continued from, never doubled', async () => {
    const log = new ListLog(sample(10));
    const index = openIndex(log);
    await index.warm();
    const states: string[] = [];
    for (let seq = 11; seq <= 40; seq++) {
      const next = change(seq, { path: `f${seq % 4}` });
      log.list.push(next);
      index.add(next);
      await index.counts();
      if (seq % 6 === 0) {
        // The files as they are while the index is in use: what a killed process leaves.
        const copy = join(base, `state${seq}`);
        await mkdir(copy);
        for (const name of await readdir(dir)) await copyFile(join(dir, name), join(copy, name));
        states.push(copy);
      }
    }
    for (const state of states) {
      const after = openIndex(log, { dir: state });
      expect(await everything(after)).toEqual(await truth(log));
      expect((await readdir(state)).filter(name => name.includes('doubtful'))).toEqual([]);
      await after.close();
    }
  });
});

describe('without DuckDB', () => {
  test('the same answers come from replay, new changes included, and the status says why', async () => {
    const log = new ListLog(sample(30));
    const index = openIndex(log, { loadApi: () => Promise.reject(new Error('no binary for this platform')) });
    expect(await everything(index)).toEqual(await truth(log));
    expect(index.status.ready).toBe(false);
    expect(index.status.detail).toContain('no binary for this platform');
    const next = change(31, { path: 'new' });
    log.list.push(next);
    index.add(next);
    expect((await index.changes({ limit: 1 })).records.map(record => versionId(record.change))).toEqual([
      'aaaaaaaa.31'
    ]);
    const late = { ...change(1, { path: 'late' }), device: 'zzzzzzzz', hlc: log.list[4]!.hlc };
    log.list.splice(5, 0, late);
    index.add(late);
    expect(await everything(index)).toEqual(await truth(log));
  });

  test('an index that another process has open is left to it', async () => {
    const log = new ListLog(sample(30));
    const first = openIndex(log);
    await first.warm();
    const inode = (await stat(file())).ino;
    // DuckDB refuses a second process; here the refusal alone is played.
    const second = openIndex(log, {
      loadApi: async () => {
        const api = await import('@duckdb/node-api');
        return {
          ...api,
          DuckDBInstance: { create: () => Promise.reject(new Error('IO Error: Could not set lock on file')) }
        } as unknown as typeof api;
      }
    });
    expect(await everything(second)).toEqual(await truth(log));
    expect(second.status.ready).toBe(false);
    expect((await stat(file())).ino).toBe(inode);
  });

  test('an index directory that cannot be made costs nothing but the index', async () => {
    const log = new ListLog(sample(30));
    await writeFile(join(base, 'log'), 'a file where the directory should be');
    const index = openIndex(log);
    expect(await everything(index)).toEqual(await truth(log));
    expect(index.status.ready).toBe(false);
  });

  test('a log that cannot be read is said, and read when it can be', async () => {
    const log = new ListLog(sample(3));
    const read = log.changes.bind(log);
    log.changes = () => {
      throw new Error('EIO');
    };
    const index = openIndex(log);
    await expect(index.counts()).rejects.toThrow('EIO');
    log.changes = read;
    expect((await index.counts()).changes).toBe(3);
  });
});
