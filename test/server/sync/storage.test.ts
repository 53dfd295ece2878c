/** A log that lies in a storage: what was recorded arrives at another place that shares nothing with it but the storage. */
import { expect, test } from '@jest/globals';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { versionId } from '../../../server/src/core/change.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { parsePolicy } from '../../../server/src/core/retention-policy.ts';
import { AppendOnlyLogWatcher } from '../../../server/src/library/watcher.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { compactLog } from '../../../server/src/log/compact.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { pruneLog } from '../../../server/src/log/prune.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { MemoryStorage } from '../../../server/src/storage/memory.ts';
import { listAll, MAX_READ, readSmall, type ObjectInfo, type Storage } from '../../../server/src/storage/storage.ts';
import { FetchedLog } from '../../../server/src/sync/fetch.ts';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import type { ReceiverOptions } from '../../../server/src/sync/receiving.ts';
import { ownPlace } from '../library/place.ts';

const at = ownPlace('data');

const BACKENDS: readonly [string, () => Storage][] = [
  ['memory, in parts', () => new MemoryStorage()],
  ['memory, growing', () => new MemoryStorage({ growing: true })],
  ['fs', () => new FsStorage(at('bucket'))]
];

/** Records a directory as it is now, with a copy in a storage. Returns the problems told. */
async function record(storage: Storage, data = 'data', log = `${data}.log`): Promise<string[]> {
  const problems: string[] = [];
  await using watcher = new AppendOnlyLogWatcher({ watchPath: at(data), logPath: [at(log), storage], watcher: 'none' });
  watcher.on('problem', problem => problems.push(problem.code));
  await watcher.start();
  await watcher.stop();
  return problems;
}

async function receive(storage: Storage, out = 'out', more: Partial<ReceiverOptions> = {}): Promise<string[]> {
  const problems: string[] = [];
  await using receiver = new SyftLogReceiver({ logPath: storage, outputPath: at(out), ...more });
  receiver.on('problem', problem => problems.push(problem.code));
  receiver.on('halted', halt => problems.push(halt.reason));
  await receiver.runOnce();
  return problems;
}

const damages = (dir: string): Promise<unknown[]> => Array.fromAsync(fsckLog(dir, { readData: true }));

/** The only copy that was fetched. */
function copy(): string {
  const [key = ''] = readdirSync(at('home/fetched'));
  return at('home/fetched', key);
}

async function snapshot(storage: Storage): Promise<Map<string, Buffer>> {
  const objects = new Map<string, Buffer>();
  for await (const { name } of listAll(storage, '')) {
    objects.set(name, (await readSmall(storage, name, MAX_READ)) ?? Buffer.alloc(0));
  }
  return objects;
}

async function putBack(storage: Storage, objects: ReadonlyMap<string, Buffer>): Promise<void> {
  for await (const { name } of listAll(storage, '')) await storage.delete(name);
  for (const [name, bytes] of objects) await storage.put(name, bytes);
}

async function prune(log: string): Promise<void> {
  const writer = await openLogWriter({ dir: at(log) });
  await pruneLog(writer, parsePolicy({ keepAll: '0h' }, 'test'), { now: Date.now() * 1000 });
  await writer.close();
}

/** Bytes that do not compress. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

test.each(BACKENDS)('%s: recorded here, received there, again after each change and a prune', async (_name, make) => {
  const storage = make();
  for (let round = 0; round < 4; round += 1) {
    writeFileSync(at('data/a'), noise(60_000 * (round + 1), round));
    writeFileSync(at(`data/b${round}`), `${round}`);
    expect(await record(storage)).toEqual([]);
    if (round === 2) {
      await prune('data.log');
      expect(await record(storage)).toEqual([]);
    }
    expect(await receive(storage)).toEqual([]);
    expect(readFileSync(at('out/a')).equals(readFileSync(at('data/a')))).toBe(true);
    expect(readdirSync(at('out')).filter(name => name.startsWith('b'))).toHaveLength(round + 1);
  }
  expect(await damages(copy())).toEqual([]);
  // What was pruned there takes no space here.
  const bytes = (dir: string): number =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter(entry => entry.name.endsWith('.seg'))
      .reduce((sum, entry) => sum + readFileSync(join(entry.parentPath, entry.name)).length, 0);
  expect(bytes(join(copy(), 'log'))).toBe(bytes(at('data.log/log')));
});

test.each(BACKENDS)('%s: a storage that was put back is refused, and what was fetched stays', async (_name, make) => {
  const storage = make();
  let before = new Map<string, Buffer>();
  for (let round = 0; round < 3; round += 1) {
    writeFileSync(at('data/a'), `round ${round}`);
    await record(storage);
    if (round === 1) before = await snapshot(storage);
    expect(await receive(storage)).toEqual([]);
  }
  const latest = await snapshot(storage);
  await putBack(storage, before);
  const held = readFileSync(at('out/a'), 'utf8');
  expect(await receive(storage)).toEqual(['LOG_REWRITTEN']);
  expect(await damages(copy())).toEqual([]);
  // Without a copy it is what this machine remembers that tells.
  rmSync(copy(), { recursive: true });
  expect(await receive(storage)).toEqual(['LOG_REWRITTEN']);
  expect(readFileSync(at('out/a'), 'utf8')).toBe(held);
  // The storage is made good, and all is as before.
  await putBack(storage, latest);
  expect(await receive(storage)).toEqual([]);
  expect(held).toBe('round 2');
  // Or the older state is meant.
  await putBack(storage, before);
  expect(await receive(storage, 'out', { force: true })).not.toContain('LOG_REWRITTEN');
  expect(await receive(storage)).not.toContain('LOG_REWRITTEN');
});

test('two directories that receive from each other through storages converge', async () => {
  const [one, two] = [new MemoryStorage(), new FsStorage(at('bucket'))];
  mkdirSync(at('data2'));
  writeFileSync(at('data/a'), 'of one');
  writeFileSync(at('data2/b'), 'of two');
  for (let round = 0; round < 3; round += 1) {
    await record(one, 'data');
    await record(two, 'data2');
    expect(await receive(one, 'data2', { ownLog: at('data2.log') })).toEqual([]);
    expect(await receive(two, 'data', { ownLog: at('data.log') })).toEqual([]);
    if (round === 0) writeFileSync(at('data2/a'), 'of one, changed by two');
  }
  for (const dir of ['data', 'data2']) {
    expect(readFileSync(at(dir, 'a'), 'utf8')).toBe('of one, changed by two');
    expect(readFileSync(at(dir, 'b'), 'utf8')).toBe('of two');
  }
});

/** A storage that answers so many requests and no more. */
function cutOff(inner: Storage, requests: number): Storage {
  let left = requests;
  const spend = (): void => {
    left -= 1;
    if (left < 0) throw new SyftError('UNAVAILABLE', 'The line is down.');
  };
  return {
    location: inner.location,
    listing: 'strong',
    maxObjectSize: inner.maxObjectSize,
    stat: (...all) => (spend(), inner.stat(...all)),
    read: (...all) => (spend(), inner.read(...all)),
    put: (...all) => inner.put(...all),
    list: (...all) => (spend(), inner.list(...all)),
    delete: (...all) => inner.delete(...all)
  };
}

test('a fetch that is cut off at any request leaves a log without damage, and the next one goes on', async () => {
  const storage = new MemoryStorage();
  for (let round = 0; round < 5; round += 1) {
    if (round !== 3) {
      writeFileSync(at('data/a'), noise(round === 0 ? 1_300_000 : 90_000, round));
      writeFileSync(at('data/b'), `${round}`);
      await record(storage);
    }
    if (round >= 3) {
      await prune('data.log');
      await record(storage);
    }
    for (let requests = 0, done = false; !done; requests += 1) {
      if (requests > 200) throw new Error('A fetch never ends.');
      rmSync(at('cut'), { recursive: true, force: true });
      if (existsSync(at('before'))) cpSync(at('before'), at('cut'), { recursive: true });
      // As if the process had been killed: only the files are left, and the lock of a dead one.
      const fetched = new FetchedLog(cutOff(storage, requests), at('cut'));
      done = await fetched.fetch().catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'UNAVAILABLE' });
        return false;
      });
      fetched.close();
      const devices = existsSync(at('cut/log')) ? readdirSync(at('cut/log')) : [];
      if (devices.some(device => existsSync(at('cut/log', device, 'head.json')))) {
        const found = (await damages(at('cut'))) as { kind: string }[];
        // Who was behind when contents were dropped lacks them before he has the act that says so.
        expect(round === 4 ? found.filter(({ kind }) => kind !== 'content') : found).toEqual([]);
      }
      if (requests % 3 === 0) {
        const again = new FetchedLog(storage, at('cut'));
        await again.fetch();
        again.close();
        expect(await damages(at('cut'))).toEqual([]);
      }
    }
    rmSync(at('before'), { recursive: true, force: true });
    cpSync(at('cut'), at('before'), { recursive: true });
  }
});

test('a fetch of what was compacted meanwhile, cut off at any request, has no damage and all versions', async () => {
  const storage = new MemoryStorage();
  const text = (i: number): string => `${i} ${noise(9000, 7).toString('hex')} ${i}`;
  const versions = async (dir: string): Promise<string[]> => {
    await using reader = await openLogReader({ dir });
    const found: string[] = [];
    for await (const change of reader.changes()) found.push((await reader.contentBytes(change)).toString());
    return found;
  };
  for (let i = 0; i < 3; i += 1) {
    writeFileSync(at('data/a'), text(i));
    await record(storage);
  }
  const early = new FetchedLog(storage, at('before'));
  await early.fetch();
  early.close();
  for (let i = 3; i < 6; i += 1) {
    writeFileSync(at('data/a'), text(i));
    await record(storage);
  }
  const writer = await openLogWriter({ dir: at('data.log') });
  expect((await compactLog(writer, { all: true })).segments).toBe(1);
  await writer.close();
  await record(storage);
  const expected = await versions(at('data.log'));
  for (let requests = 0, done = false; !done; requests += 1) {
    if (requests > 200) throw new Error('A fetch never ends.');
    rmSync(at('cut'), { recursive: true, force: true });
    cpSync(at('before'), at('cut'), { recursive: true });
    const fetched = new FetchedLog(cutOff(storage, requests), at('cut'));
    done = await fetched.fetch().catch(() => false);
    fetched.close();
    expect([requests, await damages(at('cut'))]).toEqual([requests, []]);
    const found = await versions(at('cut'));
    expect(found).toEqual(expected.slice(0, found.length));
    expect(found.length).toBeGreaterThanOrEqual(3);
    if (done) expect(found).toEqual(expected);
  }
});

/** Lists what there was at the last `catchUp`, whatever was put or deleted since. */
function lagging(inner: Storage): { readonly storage: Storage; catchUp(): Promise<void> } {
  let listed: ObjectInfo[] = [];
  return {
    storage: {
      location: inner.location,
      listing: 'eventual',
      maxObjectSize: inner.maxObjectSize,
      stat: (...all) => inner.stat(...all),
      read: (...all) => inner.read(...all),
      put: (...all) => inner.put(...all),
      delete: (...all) => inner.delete(...all),
      list: (prefix, { after = '' } = {}) =>
        Promise.resolve({ objects: listed.filter(({ name }) => name.startsWith(prefix) && name > after) })
    },
    catchUp: async () => {
      listed = await Array.fromAsync(listAll(inner, ''));
    }
  };
}

const recordsIn = async (dir: string): Promise<string[]> => {
  const reader = await openLogReader({ dir });
  try {
    return (await Array.fromAsync(reader.changes())).map(versionId);
  } finally {
    await reader.close();
  }
};

test('from a storage whose listings lag behind nothing is taken for gone, and all comes once they have caught up', async () => {
  const inner = new MemoryStorage();
  const { storage, catchUp } = lagging(inner);
  let before: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    writeFileSync(at('data/a'), noise(round === 0 ? 1_300_000 : 90_000, round));
    await record(inner);
    if (round === 3) {
      await prune('data.log');
      await record(inner);
    }
    for (const caughtUp of [false, true]) {
      if (caughtUp) await catchUp();
      const fetched = new FetchedLog(storage, at('copy'));
      await fetched.fetch().catch((error: unknown) => {
        // What is listed may be gone already.
        if (caughtUp) throw error;
        expect(error).toMatchObject({ code: 'UNAVAILABLE' });
      });
      fetched.close();
      if (round === 0 && !caughtUp) continue;
      const found = (await damages(at('copy'))) as { kind: string }[];
      // Before there is the act that dropped contents, the record of a dropped one looks like any other.
      expect(round === 3 && !caughtUp ? found.filter(({ kind }) => kind !== 'content') : found).toEqual([]);
      const now = await recordsIn(at('copy'));
      expect(now.slice(0, before.length)).toEqual(before);
      if (caughtUp) expect(now).toEqual(await recordsIn(at('data.log')));
      before = now;
    }
  }
});

test('a fetch brings only what is new, and asks little when there is nothing', async () => {
  const storage = new MemoryStorage();
  writeFileSync(at('data/big'), noise(3_000_000, 1));
  await record(storage);
  let bytes = 0;
  let requests = 0;
  const counted: Storage = {
    ...cutOff(storage, Infinity),
    list: (...all) => ((requests += 1), storage.list(...all)),
    stat: (...all) => ((requests += 1), storage.stat(...all)),
    read: async (...all) => {
      requests += 1;
      const range = await storage.read(...all);
      bytes += range.bytes.length;
      return range;
    }
  };
  const count = async (log: FetchedLog): Promise<{ brought: boolean; bytes: number; requests: number }> => {
    [bytes, requests] = [0, 0];
    return { brought: await log.fetch(), bytes, requests };
  };
  let fetched = new FetchedLog(counted, at('fetched'));
  expect((await count(fetched)).bytes).toBeGreaterThan(3_000_000);
  expect(await count(fetched)).toMatchObject({ brought: false, requests: 3 });
  writeFileSync(at('data/small'), 'a little');
  await record(storage);
  expect((await count(fetched)).bytes).toBeLessThan(60_000);
  fetched.close();
  // Another process knows what is there.
  fetched = new FetchedLog(counted, at('fetched'));
  expect((await count(fetched)).bytes).toBeLessThan(10_000);
  fetched.close();
  expect(await damages(at('fetched'))).toEqual([]);
});

test('what no log can have is refused, and nothing is written outside of the copy', async () => {
  const storage = new MemoryStorage();
  writeFileSync(at('data/a'), 'mine');
  await record(storage);
  const objects = await snapshot(storage);
  const device = [...objects.keys()].find(name => name.endsWith('/head.json'))!.split('/')[1]!;
  const segment = [...objects.keys()].find(name => name.includes('.seg'))!.replace(/\.parts.*/, '');
  const hostile = (more: Partial<Storage>): Storage => ({ ...cutOff(storage, Infinity), ...more });
  const fetch = async (from: Storage): Promise<unknown> => {
    const log = new FetchedLog(from, at('box/copy'));
    try {
      return await log.fetch();
    } catch (error) {
      return error instanceof SyftError ? error.code : error;
    } finally {
      log.close();
    }
  };
  const listing = (...infos: { name: string; size: number }[]): Storage =>
    hostile({ list: () => Promise.resolve({ objects: infos.map(info => ({ ...info, etag: 'x' })) }) });

  // Names that lead away, or are of nothing.
  await fetch(
    listing(
      { name: 'log/../../escaped/00000000000000000001-000000.seg', size: 9 },
      { name: `log/${device}/../../../escaped`, size: 9 },
      { name: `log/${device}/../x/head.json`, size: 9 }
    )
  );
  expect(existsSync(at('escaped'))).toBe(false);
  expect(readdirSync(at('box'))).toEqual(['copy']);
  expect(await fetch(listing({ name: `log/${device}/b`, size: 9 }, { name: `log/${device}/a`, size: 9 }))).toBe(
    'DISK_ERROR'
  );
  expect(await fetch(listing({ name: `log/${device}/b`, size: -1 }))).toBe('DISK_ERROR');
  // A listing without end.
  let n = 0;
  const endless = hostile({
    list: () => {
      const objects = Array.from({ length: 1000 }, () => ({
        name: `log/${String((n += 1)).padStart(12, '0')}`,
        size: 1,
        etag: 'x'
      }));
      return Promise.resolve({ objects, next: objects[999]!.name });
    }
  });
  expect(await fetch(endless)).toBe('LOG_DAMAGED');

  // More than there is room for, in segments of which each could be one.
  const many = Array.from({ length: 100_000 }, (_, i) => ({
    name: `log/${device}/${String(i + 1).padStart(20, '0')}-000000.seg`,
    size: 64 * 2 ** 20
  }));
  expect(await fetch(listing(...many))).toBe('DISK_FULL');

  // Sizes that fill the disk or the memory.
  const huge = await fetch(
    hostile({
      stat: async name => (name === segment ? { name, size: 2 ** 40, etag: 'huge' } : storage.stat(name))
    })
  );
  expect(huge).toBe('LOG_DAMAGED');
  for (const note of ['format.json', `log/${device}/head.json`, `log/${device}/checkpoint`]) {
    await storage.put(note, Buffer.alloc(100_000));
    expect(await fetch(storage)).toBe('LOG_DAMAGED');
    await storage.put(note, objects.get(note)!);
  }
  expect(await fetch(storage)).toBe(true);
  expect(await damages(at('box/copy'))).toEqual([]);

  // An object that is another one at each look.
  writeFileSync(at('data/a'), 'mine, and more');
  await record(storage);
  let looks = 0;
  const moving = hostile({
    read: (name, options) => {
      if (name.includes('.seg')) throw new SyftError('PRECONDITION_FAILED', `It moves, ${(looks += 1)}.`);
      return storage.read(name, options);
    }
  });
  expect(await fetch(moving)).toBe('UNAVAILABLE');
  expect(looks).toBeLessThan(10);
  // A stream that vanishes.
  await putBack(storage, new Map([...objects].filter(([name]) => !name.startsWith('log/'))));
  expect(await fetch(storage)).toBe('LOG_REWRITTEN');
  // Another log at the same place.
  await storage.put('format.json', Buffer.from('{"format":"syft-sync-log"}'));
  expect(await fetch(storage)).toBe('LOG_REWRITTEN');
  await storage.delete('format.json');
  expect(await fetch(storage)).toBe('LOG_MISSING');
  expect(await damages(at('box/copy'))).toEqual([]);
});

test('a receiver follows a storage live, and stops in the middle of a fetch', async () => {
  const storage = new MemoryStorage();
  writeFileSync(at('data/a'), 'first');
  await record(storage);
  let hang = false;
  const slow: Storage = {
    ...cutOff(storage, Infinity),
    list: async (prefix, options) => {
      if (hang) {
        await new Promise((_done, fail) =>
          options?.signal?.addEventListener('abort', () => fail(new SyftError('CANCELLED', 'Cancelled.')))
        );
      }
      return storage.list(prefix, options);
    }
  };
  const receiver = new SyftLogReceiver({ logPath: slow, outputPath: at('out'), fetchIntervalMs: 50 });
  const problems: string[] = [];
  receiver.on('problem', problem => problems.push(problem.code));
  await receiver.start();
  expect(readFileSync(at('out/a'), 'utf8')).toBe('first');
  const applied = new Promise(done => receiver.on('applied', done));
  writeFileSync(at('data/b'), 'second');
  await record(storage);
  await applied;
  expect(readFileSync(at('out/b'), 'utf8')).toBe('second');
  hang = true;
  await new Promise(done => setTimeout(done, 200));
  await receiver.stop();
  expect(problems).toEqual([]);
});
