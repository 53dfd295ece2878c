/** A log that is broadcast: a copy must be readable at every moment, and must never cost what it or another log has. */
import { expect, test } from '@jest/globals';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SyftError } from '../../../server/src/core/errors.ts';
import { LogMirror } from '../../../server/src/library/log-mirror.ts';
import { AppendOnlyLogWatcher } from '../../../server/src/library/watcher.ts';
import { compactLog } from '../../../server/src/log/compact.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { storedBytes, storedSegment } from '../../../server/src/log/stored-segment.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { MemoryStorage } from '../../../server/src/storage/memory.ts';
import { listAll, MAX_READ, readSmall, type Storage } from '../../../server/src/storage/storage.ts';
import { pruneLog } from '../../../server/src/log/prune.ts';
import { parsePolicy } from '../../../server/src/core/retention-policy.ts';
import { ownPlace } from './place.ts';

const at = ownPlace('data');

/** Records `data` as it is now, into these logs. Returns the problems told. */
async function record(...logs: string[]): Promise<string[]> {
  const problems: string[] = [];
  await using watcher = new AppendOnlyLogWatcher({ watchPath: at('data'), logPath: logs });
  watcher.on('problem', problem => problems.push(problem.code));
  await watcher.start();
  await watcher.stop();
  return problems;
}

async function contents(log: string): Promise<string[]> {
  const reader = await openLogReader({ dir: log });
  const found: string[] = [];
  for await (const change of reader.changes()) found.push((await reader.contentBytes(change)).toString());
  await reader.close();
  return found;
}

function damages(log: string): Promise<unknown[]> {
  return Array.fromAsync(fsckLog(log, { readData: true }));
}

test('another log, or a stranger’s folder, is not written over', async () => {
  writeFileSync(at('data/a'), 'mine');
  await record(at('other'));
  const format = readFileSync(at('other/format.json'));
  mkdirSync(at('folder'));
  writeFileSync(at('folder/thesis.tex'), 'years of work');
  expect(await record(at('log'), at('other'), at('folder'), at('copy'))).toEqual([
    'LOG_PATH_NOT_DIRECTORY',
    'LOG_PATH_NOT_DIRECTORY'
  ]);
  expect(readFileSync(at('other/format.json')).equals(format)).toBe(true);
  expect(await damages(at('other'))).toEqual([]);
  expect(readdirSync(at('folder'))).toEqual(['thesis.tex']);
  expect(await contents(at('copy'))).toEqual(['mine']);
});

test('what a log put back from an old backup has lost stays in its copy', async () => {
  writeFileSync(at('data/a'), 'first');
  await record(at('log'), at('copy'));
  cpSync(at('log'), at('backup'), { recursive: true });
  writeFileSync(at('data/a'), 'second, which only the copy will have');
  await record(at('log'), at('copy'));
  rmSync(at('log'), { recursive: true });
  cpSync(at('backup'), at('log'), { recursive: true });
  writeFileSync(at('data/a'), 'third');
  expect(await record(at('log'), at('copy'))).toEqual(['LOG_DAMAGED']);
  // What is recorded from then on is in a stream of its own, and that is copied.
  expect(await contents(at('copy'))).toEqual(['first', 'second, which only the copy will have', 'third']);
  expect(await damages(at('copy'))).toEqual([]);
});

test('a copy in a storage whose objects cannot grow has all of the log, and becomes one again', async () => {
  const storage = new MemoryStorage();
  {
    await using watcher = new AppendOnlyLogWatcher({ watchPath: at('data'), logPath: [at('log'), storage] });
    await watcher.start();
    for (let i = 0; i < 100; i += 1) {
      writeFileSync(at(`data/f${i % 7}`), `${i} `.repeat(500 * (i % 4)));
      await watcher.flush();
    }
  }
  const segments = new Set<string>();
  let parts = 0;
  for await (const { name } of listAll(storage, '')) {
    const segment = /^(.*\.(?:seg|tiles))(\.parts\/\d+)?$/.exec(name);
    if (segment?.[2] !== undefined) parts += 1;
    if (segment?.[1] !== undefined) segments.add(segment[1]);
    else {
      mkdirSync(dirname(at(`back/${name}`)), { recursive: true });
      writeFileSync(at(`back/${name}`), (await readSmall(storage, name, MAX_READ))!);
    }
  }
  // Many commits, and yet few objects.
  expect(parts).toBeLessThanOrEqual(64);
  for (const name of segments) {
    const stored = (await storedSegment(storage, name))!;
    mkdirSync(dirname(at(`back/${name}`)), { recursive: true });
    writeFileSync(
      at(`back/${name}`),
      Buffer.concat(await Array.fromAsync(storedBytes(storage, stored, 0, stored.size)))
    );
  }
  expect(await contents(at('back'))).toEqual(await contents(at('log')));
  expect(await damages(at('back'))).toEqual([]);
});

test('a copy cut off at any moment is a log without damage', async () => {
  await using watcher = new AppendOnlyLogWatcher({ watchPath: at('data'), logPath: [at('log'), at('copy')] });
  await watcher.start();
  for (let i = 0; i < 40; i += 1) {
    writeFileSync(at(`data/f${i % 5}`), `${i} `.repeat(3000 * (i % 4)));
    await watcher.flush();
    if (!existsSync(at('copy/log'))) continue;
    // In the order in which a reader looks: what a head vouches for must be there already.
    for (const device of readdirSync(at('copy/log'))) {
      const stream = at('copy/log', device);
      const snapshot = at('snapshot', String(i), 'log', device);
      mkdirSync(snapshot, { recursive: true });
      for (const name of ['head.json', ...readdirSync(stream).filter(name => !/^head|tmp$/.test(name))]) {
        if (existsSync(join(stream, name))) cpSync(join(stream, name), join(snapshot, name));
      }
      for (const name of ['.gitignore', 'format.json']) cpSync(at('copy', name), at('snapshot', String(i), name));
      if (existsSync(join(snapshot, 'device.json'))) expect(await damages(at('snapshot', String(i)))).toEqual([]);
    }
  }
  await watcher.stop();
  expect(await damages(at('copy'))).toEqual([]);
  expect((await contents(at('copy'))).length).toBe((await contents(at('log'))).length);
});

test('a copy follows a prune: it gives up what the log gave up, and nothing else', async () => {
  for (const text of ['first', 'second', 'third']) {
    writeFileSync(at('data/a'), text.repeat(2000));
    await record(at('log'), at('copy'));
  }
  const log = await openLogWriter({ dir: at('log') });
  await pruneLog(log, parsePolicy({ keepAll: '0h' }, 'test'), { now: Date.now() * 1000 });
  await log.close();
  writeFileSync(at('data/b'), 'recorded later');
  expect(await record(at('log'), at('copy'))).toEqual([]);
  const segments = (dir: string): Buffer[] => {
    const device = readdirSync(at(dir, 'log'))[0]!;
    const names = readdirSync(at(dir, 'log', device)).filter(name => name.endsWith('.seg'));
    return names.sort().map(name => readFileSync(at(dir, 'log', device, name)));
  };
  expect(segments('copy')).toEqual(segments('log'));
  expect(await damages(at('copy'))).toEqual([]);
});

/** A storage that counts what is asked of it, and after so many writes is away. */
class Counted implements Storage {
  readonly location: string;
  readonly listing = 'strong';
  readonly maxObjectSize: number;
  reads = 0;
  writes = 0;
  most = Infinity;
  readonly #inner: FsStorage;

  constructor(inner: FsStorage) {
    this.#inner = inner;
    this.location = inner.location;
    this.maxObjectSize = inner.maxObjectSize;
  }

  #write<T>(work: () => Promise<T>): Promise<T> {
    this.writes += 1;
    return this.writes > this.most ? Promise.reject(new SyftError('UNAVAILABLE', 'The line is down.')) : work();
  }

  stat: Storage['stat'] = (...all) => ((this.reads += 1), this.#inner.stat(...all));
  read: Storage['read'] = (...all) => ((this.reads += 1), this.#inner.read(...all));
  list: Storage['list'] = (...all) => ((this.reads += 1), this.#inner.list(...all));
  put: Storage['put'] = (...all) => this.#write(() => this.#inner.put(...all));
  append: NonNullable<Storage['append']> = (...all) => this.#write(() => this.#inner.append(...all));
  delete: Storage['delete'] = (...all) => this.#write(() => this.#inner.delete(...all));
}

test('a copy that is cut off at any write, while it follows a compaction too, has no damage and all versions', async () => {
  const text = (i: number): string => `${i} ${'the same '.repeat(800)}${i}`;
  for (let i = 0; i < 4; i += 1) {
    writeFileSync(at('data/a'), text(i));
    await record(at('log'), at('before'));
  }
  // The copy has a part of the segment that is compacted.
  for (let i = 4; i < 8; i += 1) {
    writeFileSync(at('data/a'), text(i));
    await record(at('log'));
  }
  const log = await openLogWriter({ dir: at('log') });
  expect((await compactLog(log, { all: true })).segments).toBe(1);
  await log.close();
  const expected = await contents(at('log'));
  const known = await contents(at('before'));
  for (let most = 0, problems = 1; problems > 0; most += 1) {
    if (most > 50) throw new Error('A copy never gets equal.');
    rmSync(at('copy'), { recursive: true, force: true });
    cpSync(at('before'), at('copy'), { recursive: true });
    const storage = new Counted(new FsStorage(at('copy')));
    const mirror = new LogMirror(at('log'), storage);
    problems = 0;
    mirror.on('problem', () => (problems += 1));
    storage.most = most;
    await mirror.stop();
    expect(await damages(at('copy'))).toEqual([]);
    expect((await contents(at('copy'))).slice(0, known.length)).toEqual(known);
    storage.most = Infinity;
    await mirror.stop();
    expect(await damages(at('copy'))).toEqual([]);
    expect(await contents(at('copy'))).toEqual(expected);
  }
});

test('a copy that is cut off at any write, while it follows a prune too, has no damage', async () => {
  for (const text of ['first', 'second', 'third']) {
    writeFileSync(at('data/a'), text.repeat(2000));
    await record(at('log'), at('before'));
  }
  const log = await openLogWriter({ dir: at('log') });
  await pruneLog(log, parsePolicy({ keepAll: '0h' }, 'test'), { now: Date.now() * 1000 });
  await log.close();
  for (let most = 0, problems = 1; problems > 0; most += 1) {
    if (most > 50) throw new Error('A copy never gets equal.');
    rmSync(at('copy'), { recursive: true, force: true });
    cpSync(at('before'), at('copy'), { recursive: true });
    const storage = new Counted(new FsStorage(at('copy')));
    const mirror = new LogMirror(at('log'), storage);
    problems = 0;
    mirror.on('problem', () => (problems += 1));
    storage.most = most;
    await mirror.stop();
    expect(await damages(at('copy'))).toEqual([]);
    storage.most = Infinity;
    await mirror.stop();
    expect(await damages(at('copy'))).toEqual([]);
    expect(await contents(at('copy')).catch((error: unknown) => (error as SyftError).code)).toBe('VERSION_PRUNED');
  }
});

test('a mirror asks for nothing that it knows, and yet finds out what somebody else did to its copy', async () => {
  writeFileSync(at('data/a'), 'mine');
  await record(at('log'));
  const storage = new Counted(new FsStorage(at('copy')));
  const mirror = new LogMirror(at('log'), storage);
  const synced = async (): Promise<number> => {
    storage.reads = 0;
    const done = new Promise(resolve => mirror.once('synced', () => resolve(undefined)));
    mirror.wake();
    await done;
    return storage.reads;
  };
  expect(await synced()).toBeGreaterThan(5);
  // Whether it is the same place still.
  expect(await synced()).toBe(1);
  rmSync(at('copy'), { recursive: true });
  await synced();
  expect(await damages(at('copy'))).toEqual([]);
  rmSync(at('copy/log', readdirSync(at('copy/log'))[0]!, 'head.json'));
  await mirror.stop();
  expect(await damages(at('copy'))).toEqual([]);
  expect(await contents(at('copy'))).toEqual(['mine']);
});
