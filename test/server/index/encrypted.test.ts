/** The index of an encrypted log: whoever gets the directory, or the disk, finds no name in what the index leaves behind. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { ChangeIndex, type ChangeIndexOptions } from '../../../server/src/index/change-index.ts';
import { ReplayQueries } from '../../../server/src/index/replay-queries.ts';
import { change, ListLog, WORKSPACE } from './sample-changes.ts';

let base: string;
let dir: string;
let open: ChangeIndex[];
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-encrypted-index-'));
  dir = join(base, 'index');
  open = [];
});
afterEach(async () => {
  for (const index of open) await index.close();
  await rm(base, { recursive: true, force: true });
});

const keys = new LogKeys(WORKSPACE, new Map([[1, randomBytes(32)]]));

function openIndex(log: ListLog, more: Partial<ChangeIndexOptions> = {}): ChangeIndex {
  const index = ChangeIndex.open({ dir, log, keys, ...more });
  open.push(index);
  return index;
}

const many = (count: number): ListLog =>
  new ListLog(
    Array.from({ length: count }, (_, i) => change(i + 1, { path: `d${i % 100}/${'Geheimname-'.repeat(8)}${i}.csv` }))
  );

describe('an encrypted log', () => {
  test('answers as any other, and not one file is left, nor made, by its index', async () => {
    const log = many(300);
    const truth = await ReplayQueries.of(log.list);
    for (let start = 0; start < 2; start++) {
      const index = openIndex(log);
      expect(await index.changes({ limit: 50, q: 'geheim' })).toEqual(await truth.changes({ limit: 50, q: 'geheim' }));
      expect(await index.tree({})).toEqual(await truth.tree({}));
      expect(index.status).toEqual({ ready: true });
      const next = change(log.list.length + 1, { path: `Geheimname-live-${start}` });
      log.list.push(next);
      await truth.apply([next]);
      index.add(next);
      expect((await index.changes({ limit: 1 })).records[0]?.change).toEqual(next);
      expect(existsSync(dir)).toBe(false);
      await index.close();
      expect(await readdir(base)).toEqual([]);
    }
  });

  test('what needs more memory than there is fails, and spills nowhere: not to the folder the process stands in', async () => {
    const log = many(20_000);
    const here = await readdir(process.cwd());
    const made = async (): Promise<string[]> => [
      ...(await readdir(base)),
      ...(await readdir(process.cwd())).filter(name => !here.includes(name))
    ];
    const index = openIndex(log, { memoryMost: 8 });
    const watched: string[] = [];
    const look = setInterval(() => void made().then(found => watched.push(...found)), 5);
    // Answered all the same: by replay.
    expect((await index.changes({ limit: 1, q: '9999' })).total).toBe(2);
    clearInterval(look);
    expect(index.status.detail).toContain('replaying the log');
    expect([...watched, ...(await made())]).toEqual([]);
  }, 60_000);

  test('an index in the clear that stands there goes away before the first answer', async () => {
    await mkdir(join(dir, 'spill'), { recursive: true });
    for (const name of [
      'changes.duckdb',
      'changes.duckdb.wal',
      'changes.duckdb.doubtful',
      'marks.json',
      'spill/x.tmp'
    ]) {
      await writeFile(join(dir, name), 'Geheimname');
    }
    const index = openIndex(many(3));
    expect((await index.counts()).changes).toBe(3);
    expect(existsSync(dir)).toBe(false);
  });
});
