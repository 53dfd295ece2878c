/**
 * What every storage must do, as checks that any test runner can run. Each names what a user would lose without it.
 *
 * ```ts
 * for (const { name, run } of storageConformance(() => makeMine())) test(name, run);
 * ```
 */
import assert from 'node:assert/strict';
import { SyftError, type ErrorCode } from '../core/errors.ts';
import { listAll, MAX_PAGE, MAX_READ, type Body, type ObjectInfo, type Storage } from './storage.ts';

/** An empty place of its own for one check. */
export interface PlaceUnderTest {
  readonly storage: Storage;
  /** Another `Storage` for the same place, as another process would open it. Default: the same object. */
  readonly reopen?: () => Storage | Promise<Storage>;
  readonly dispose?: () => void | Promise<void>;
}

export interface ConformanceOptions {
  /** Bytes of the object that must pass in constant memory. Default 64 MiB; 0 leaves it out, for what lives in memory. */
  readonly largeObject?: number;
  /** Number of random operations. Default 300. */
  readonly operations?: number;
  /** Of the random operations; the same seed gives the same ones. Default 1. */
  readonly seed?: number;
  /** How long a listing that is `eventual` may lag behind, milliseconds. Default 30,000. */
  readonly listingLagMs?: number;
}

export interface ConformanceCheck {
  readonly name: string;
  /** What a user would lose if it did not hold. */
  readonly otherwise: string;
  /** Rejects, with what was seen, when the storage does not conform. */
  readonly run: () => Promise<void>;
}

type Place = Required<Pick<PlaceUnderTest, 'storage'>> & { other: Storage };

function filled(size: number, byte: number): Buffer {
  return Buffer.alloc(size, byte);
}

/** A sequence of numbers in [0, 1) that a seed determines (mulberry32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return below => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

async function whole(storage: Storage, name: string): Promise<Buffer> {
  return Buffer.from((await storage.read(name, { offset: 0, length: MAX_READ })).bytes);
}

async function listing(storage: Storage, prefix = ''): Promise<ObjectInfo[]> {
  return Array.fromAsync(listAll(storage, prefix));
}

async function rejects(work: () => Promise<unknown>, code: ErrorCode, what: string): Promise<void> {
  let outcome: unknown;
  try {
    await work();
  } catch (error) {
    outcome = error;
  }
  assert.ok(outcome instanceof SyftError, `${what}: a SyftError ${code} is due, not ${String(outcome)}`);
  assert.equal(outcome.code, code, `${what}: ${outcome.message}`);
}

function pieces(size: number, piece: (index: number) => Uint8Array | Promise<Uint8Array>): Body {
  return {
    size,
    async *pieces() {
      for (let index = 0, done = 0; done < size; index += 1) {
        const bytes = await piece(index);
        done += bytes.length;
        yield bytes;
      }
    }
  };
}

const HOSTILE = [
  '',
  '.',
  '..',
  '/',
  '/etc/passwd',
  '../outside',
  'a/../../outside',
  'a/./b',
  'a//b',
  'a/',
  'a\\..\\b',
  'a\0b',
  'a\nb',
  'Upper',
  'ü',
  'u\u0308',
  'a b',
  '%2e%2e/x',
  'a?b',
  'a#b',
  'a:b',
  'con',
  'a/nul.txt',
  'ends.',
  'x.tmp',
  'x.tmp/y',
  'p'.repeat(129),
  'a/'.repeat(300) + 'a'
];

/**
 * The checks for one kind of storage.
 *
 * @param make Called once for each check; makes an empty place.
 */
export function storageConformance(
  make: () => PlaceUnderTest | Promise<PlaceUnderTest>,
  options: ConformanceOptions = {}
): ConformanceCheck[] {
  const { largeObject = 64 * 2 ** 20, operations = 300, seed = 1, listingLagMs = 30_000 } = options;
  const checks: ConformanceCheck[] = [];
  const check = (name: string, otherwise: string, body: (place: Place) => Promise<void>): void => {
    const run = async (): Promise<void> => {
      const made = await make();
      try {
        await body({ storage: made.storage, other: (await made.reopen?.()) ?? made.storage });
      } finally {
        await made.dispose?.();
      }
    };
    checks.push({ name, otherwise, run });
  };
  /** Holds at once where listings are strong, after a while where they are not. */
  const eventually = async (storage: Storage, holds: () => Promise<void>): Promise<void> => {
    const end = Date.now() + (storage.listing === 'strong' ? 0 : listingLagMs);
    for (;;) {
      try {
        await holds();
        return;
      } catch (error) {
        if (Date.now() >= end) throw error;
        await new Promise(done => setTimeout(done, 200));
      }
    }
  };
  const names = async (storage: Storage, expected: readonly string[], prefix = ''): Promise<void> =>
    eventually(storage, async () => {
      assert.deepEqual(
        (await listing(storage, prefix)).map(({ name }) => name),
        expected
      );
    });

  check('what was put is read by whoever opens the place', 'versions that were said to be copied', async place => {
    for (const [name, bytes] of [
      ['empty', Buffer.alloc(0)],
      ['log/abcdefgh/head.json', Buffer.from('{}\n')],
      ['log/abcdefgh/tile/0/x001/000.p/17', Buffer.from(Array.from({ length: 256 }, (_, i) => i))]
    ] as const) {
      const put = await place.storage.put(name, bytes);
      assert.equal(put.name, name);
      assert.equal(put.size, bytes.length);
      assert.deepEqual(await place.other.stat(name), put);
      const read = await place.other.read(name, { offset: 0, length: 1000 });
      assert.deepEqual(Buffer.from(read.bytes), bytes);
      assert.deepEqual([read.name, read.size, read.etag], [name, put.size, put.etag]);
    }
  });

  check(
    'what is not there is told from what cannot be had',
    'a log, taken for empty while it is only away',
    async place => {
      assert.equal(await place.storage.stat('nothing'), undefined);
      assert.equal(await place.storage.stat('no/thing'), undefined);
      await rejects(
        () => place.storage.read('nothing', { offset: 0, length: 1 }),
        'NOT_FOUND',
        'reading what is not there'
      );
      await rejects(
        () => place.storage.read('no/thing', { offset: 0, length: 0 }),
        'NOT_FOUND',
        'reading no bytes of it'
      );
      await place.storage.delete('no/thing');
      assert.deepEqual(await place.storage.list(''), { objects: [] });
      assert.deepEqual(await place.storage.list('no/'), { objects: [] });
    }
  );

  check('what was deleted is gone', 'the room that merged parts take, for ever', async place => {
    await place.storage.put('a/b', Buffer.from('x'));
    await place.storage.put('a/c', Buffer.from('y'));
    await place.storage.delete('a/b');
    await place.storage.delete('a/b');
    assert.equal(await place.other.stat('a/b'), undefined);
    await rejects(() => place.other.read('a/b', { offset: 0, length: 1 }), 'NOT_FOUND', 'reading what was deleted');
    await names(place.other, ['a/c']);
    await place.storage.put('a/b', Buffer.from('z'), { ifAbsent: true });
    assert.equal((await whole(place.other, 'a/b')).toString(), 'z');
  });

  check('an object is replaced at once', 'a head or checkpoint, read in halves while it is replaced', async place => {
    const size = 300_000;
    await place.storage.put('object', filled(size, 0));
    let going = true;
    const reader = async (storage: Storage): Promise<void> => {
      while (going) {
        const { bytes } = await storage.read('object', { offset: 0, length: size + 1 });
        const [first] = bytes;
        assert.equal(bytes.length, size + ((first ?? 0) % 2), 'a part of an object was seen');
        assert.ok(filled(bytes.length, first ?? 0).equals(bytes), 'two objects were seen as one');
        await new Promise(done => setImmediate(done));
      }
    };
    const readers = [reader(place.storage), reader(place.other)];
    try {
      for (let i = 1; i <= 20; i += 1) {
        const body = filled(size + (i % 2), i);
        const slow = pieces(body.length, async index => {
          await new Promise(done => setImmediate(done));
          return body.subarray(index * 65_536, (index + 1) * 65_536);
        });
        await Promise.race([place.storage.put('object', slow), ...readers]);
      }
    } finally {
      going = false;
    }
    await Promise.all(readers);
  });

  check('of many who create one object exactly one does', 'a commit that another writer’s covers', async place => {
    for (let round = 0; round < 5; round += 1) {
      const name = `commit/${round}`;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 12 }, (_, i) => {
          const bytes = filled(1000 + i, i);
          const slow = pieces(bytes.length, async () => {
            await new Promise(done => setImmediate(done));
            return bytes;
          });
          return (i % 2 === 0 ? place.storage : place.other).put(name, slow, { ifAbsent: true });
        })
      );
      const won = outcomes.flatMap((outcome, i) => (outcome.status === 'fulfilled' ? [i] : []));
      assert.equal(won.length, 1, `${won.length} of 12 were told that theirs is the object`);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') {
          await rejects(() => Promise.reject(outcome.reason as Error), 'PRECONDITION_FAILED', 'the others');
        }
      }
      assert.deepEqual(
        await whole(place.other, name),
        filled(1000 + (won[0] ?? 0), won[0] ?? 0),
        'the winner’s is not there'
      );
    }
  });

  check('creation leaves what is there', 'what another device wrote', async place => {
    const first = await place.storage.put('object', Buffer.from('first'), { ifAbsent: true });
    await rejects(
      () => place.other.put('object', Buffer.from('second'), { ifAbsent: true }),
      'PRECONDITION_FAILED',
      'creating it again'
    );
    assert.deepEqual(await place.storage.stat('object'), first);
    assert.equal((await whole(place.storage, 'object')).toString(), 'first');
    await names(place.storage, ['object']);
  });

  check('a range is what was asked for', 'contents, read short or shifted', async place => {
    const bytes = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
    await place.storage.put('object', bytes);
    const random = randomNumbers(seed);
    const ranges = [
      [0, 0],
      [0, 1],
      [4999, 1],
      [4999, 2],
      [5000, 1],
      [6000, 10],
      [0, 5000],
      [0, MAX_READ],
      ...Array.from({ length: 40 }, () => [random(5100), random(5100)])
    ] as [number, number][];
    for (const [offset, length] of ranges) {
      const read = await place.storage.read('object', { offset, length });
      assert.deepEqual(
        Buffer.from(read.bytes),
        bytes.subarray(offset, offset + length),
        `${length} bytes at ${offset}`
      );
      assert.equal(read.size, bytes.length);
    }
  });

  check('sizes are checked before memory is taken', 'the process, to one hostile number', async place => {
    await place.storage.put('object', Buffer.from('x'));
    for (const [offset, length] of [
      [0, MAX_READ + 1],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [0, Number.NaN],
      [2 ** 60, 1]
    ] as const) {
      await rejects(
        () => place.storage.read('object', { offset, length }),
        'BAD_REQUEST',
        `${length} bytes at ${offset}`
      );
    }
    for (const limit of [0, -1, MAX_PAGE + 1, 1.5]) {
      await rejects(() => place.storage.list('', { limit }), 'BAD_REQUEST', `a page of ${limit}`);
    }
    let pulled = false;
    for (const size of [place.storage.maxObjectSize + 1, -1, Number.NaN]) {
      const body: Body = {
        size,
        async *pieces() {
          pulled = true;
          yield await Promise.resolve(Buffer.from('x'));
        }
      };
      await rejects(() => place.storage.put('large', body), 'BAD_REQUEST', `an object of ${size} bytes`);
    }
    assert.equal(pulled, false, 'the content was asked for before its size was looked at');
    await names(place.storage, ['object']);
  });

  check('another content has another etag', 'a change that the reader never fetches', async place => {
    const seen = new Set<string>();
    for (let i = 0; i < 60; i += 1) {
      // Of one size and, on a coarse clock, at one time.
      const { etag } = await place.storage.put('object', filled(100, i));
      assert.equal((await place.other.stat('object'))?.etag, etag);
      assert.equal(seen.has(etag), false, 'two contents have one etag');
      seen.add(etag);
    }
  });

  check('a read that follows an etag never mixes two objects', 'a segment, put together from two', async place => {
    const first = await place.storage.put('object', filled(1000, 1));
    const half = await place.other.read('object', { offset: 0, length: 500, etag: first.etag });
    assert.deepEqual(Buffer.from(half.bytes), filled(500, 1));
    await place.storage.put('object', filled(1000, 2));
    await rejects(
      () => place.other.read('object', { offset: 500, length: 500, etag: first.etag }),
      'PRECONDITION_FAILED',
      'going on in another object'
    );
  });

  const many = [
    'a',
    'a-b/c',
    'a.b',
    'a0',
    'b/a',
    'b/b/c',
    'b/b-a',
    'b/b.a/x',
    'b/c',
    'log/abcdefgh/device.json',
    'log/abcdefgh/head.json',
    'log/abcdefgh/tile/0/000',
    'log/abcdefgh/tile/0/000.p/3',
    'log/abcdefgh/tile/0/x001/000',
    'log/zyxwvuts/head.json',
    'loh',
    '.gitignore'
  ];
  check(
    'a listing is complete, in order, in pages',
    'segments that are not seen, and the versions in them',
    async place => {
      for (const [i, name] of [...many].reverse().entries()) await place.storage.put(name, filled(i, i));
      const sorted = [...many].sort();
      await names(place.other, sorted);
      for (const prefix of [
        'b',
        'b/',
        'b/b',
        'lo',
        'log/',
        'log/abcdefgh/tile/0/000',
        'zzz',
        'log/abcdefgh/head.json'
      ]) {
        await names(
          place.other,
          sorted.filter(name => name.startsWith(prefix)),
          prefix
        );
      }
      for (const limit of [1, 2, 5, sorted.length, sorted.length + 1]) {
        const found: ObjectInfo[] = [];
        let after: string | undefined;
        for (let page = 0; ; page += 1) {
          assert.ok(page <= sorted.length + 1, 'the pages have no end');
          const { objects, next } = await place.other.list('', { limit, ...(after !== undefined && { after }) });
          assert.ok(objects.length <= limit, `a page of ${limit} holds ${objects.length}`);
          found.push(...objects);
          if (next === undefined) break;
          after = next;
        }
        assert.deepEqual(
          found.map(({ name }) => name),
          sorted,
          `in pages of ${limit}`
        );
        for (const info of found) assert.deepEqual(info, await place.other.stat(info.name));
      }
      // What `after` names need not be there.
      const behind = await place.other.list('', { after: 'b/bz' });
      assert.deepEqual(
        behind.objects.map(({ name }) => name),
        sorted.filter(name => name > 'b/bz')
      );
    }
  );

  check(
    'names that are not legal are refused by everything',
    'files outside of the place; one object under two names',
    async place => {
      for (const name of HOSTILE) {
        const what = JSON.stringify(name.slice(0, 40));
        await rejects(() => place.storage.put(name, Buffer.from('x')), 'PATH_INVALID', `put ${what}`);
        await rejects(() => place.storage.stat(name), 'PATH_INVALID', `stat ${what}`);
        await rejects(() => place.storage.read(name, { offset: 0, length: 1 }), 'PATH_INVALID', `read ${what}`);
        await rejects(() => place.storage.delete(name), 'PATH_INVALID', `delete ${what}`);
      }
      for (const prefix of ['/', '../', 'a//', 'Upper', 'a\0', './']) {
        await rejects(() => place.storage.list(prefix), 'PATH_INVALID', `list ${JSON.stringify(prefix)}`);
      }
      await names(place.storage, []);
    }
  );

  check(
    'what is being put is not listed before it is there',
    'a reader that takes half an object for one',
    async place => {
      await place.storage.put('log/a', Buffer.from('x'));
      const body = pieces(400, async index => {
        const during = (await listing(place.other)).map(({ name }) => name);
        assert.deepEqual(during, ['log/a'], 'a put that is under way is listed');
        assert.equal(await place.other.stat('log/b'), undefined);
        return filled(100, index);
      });
      await place.storage.put('log/b', body);
      await names(place.other, ['log/a', 'log/b']);
    }
  );

  check('a content that ends early, late or badly is not stored', 'the object that was there', async place => {
    const before = await place.storage.put('object', Buffer.from('before'));
    const broken: Record<string, Body> = {
      short: { size: 10, pieces: () => givenPieces([filled(4, 1)]) },
      long: { size: 10, pieces: () => givenPieces([filled(8, 1), filled(8, 2)]) },
      failing: {
        size: 10,
        pieces: () => givenPieces([filled(4, 1)], new SyftError('DISK_ERROR', 'The source failed.'))
      }
    };
    for (const [kind, body] of Object.entries(broken)) {
      const code = kind === 'failing' ? 'DISK_ERROR' : 'BAD_REQUEST';
      await rejects(() => place.storage.put('object', body), code, kind);
      await rejects(() => place.storage.put('new', body, { ifAbsent: true }), code, kind);
      assert.deepEqual(await place.other.stat('object'), before);
      assert.equal((await whole(place.other, 'object')).toString(), 'before');
      assert.equal(await place.other.stat('new'), undefined);
    }
    await names(place.other, ['object']);
  });

  check('what is cancelled ends, and stores nothing', 'a stop that hangs, and what it leaves behind', async place => {
    await place.storage.put('object', Buffer.from('before'));
    const gone = AbortSignal.abort();
    const none = { signal: gone };
    await rejects(() => place.storage.stat('object', none), 'CANCELLED', 'stat');
    await rejects(() => place.storage.read('object', { ...none, offset: 0, length: 1 }), 'CANCELLED', 'read');
    await rejects(() => place.storage.list('', none), 'CANCELLED', 'list');
    await rejects(() => place.storage.delete('object', none), 'CANCELLED', 'delete');
    await rejects(() => place.storage.put('object', Buffer.from('after'), none), 'CANCELLED', 'put');
    const abort = new AbortController();
    const body = pieces(1000, index => {
      if (index === 3) abort.abort();
      return filled(100, index);
    });
    await rejects(() => place.storage.put('object', body, { signal: abort.signal }), 'CANCELLED', 'put, halfway');
    assert.equal((await whole(place.other, 'object')).toString(), 'before');
    await names(place.other, ['object']);
  });

  check('bytes belong to one side only', 'contents that change after they were stored', async place => {
    const bytes = Buffer.from('stored');
    await place.storage.put('object', bytes);
    bytes.fill(0);
    const read = await place.storage.read('object', { offset: 0, length: 10 });
    read.bytes.fill(1);
    assert.equal((await whole(place.storage, 'object')).toString(), 'stored');
    const reused = Buffer.alloc(10);
    await place.storage.put(
      'pieces',
      pieces(50, index => reused.fill(index))
    );
    assert.deepEqual(await whole(place.storage, 'pieces'), Buffer.concat([0, 1, 2, 3, 4].map(i => filled(10, i))));
  });

  if (largeObject > 0) {
    check('a large object passes in constant memory', 'the sidecar, to the first large segment', async place => {
      const piece = Buffer.alloc(2 ** 20);
      const size = Math.ceil(largeObject / piece.length) * piece.length;
      const buffers = (): number => process.memoryUsage().arrayBuffers;
      const before = buffers();
      let most = 0;
      await place.storage.put(
        'large',
        pieces(size, index => {
          most = Math.max(most, buffers() - before);
          return piece.fill(index);
        })
      );
      assert.ok(most < size / 2, `${most} bytes were held to store ${size}`);
      for (let at = 0; at < size; at += piece.length) {
        const { bytes } = await place.other.read('large', { offset: at, length: piece.length });
        assert.ok(Buffer.from(bytes).equals(piece.fill(at / piece.length)), `what stands at ${at} is another content`);
      }
    });
  }

  check('objects that grow do so at their end, once', 'a segment with a hole, or with a frame twice', async place => {
    const { storage } = place;
    if (storage.append === undefined) return;
    const grow = storage.append.bind(storage);
    await rejects(() => grow('object', 0, Buffer.from('x')), 'NOT_FOUND', 'appending to nothing');
    const first = await storage.put('object', Buffer.from('abc'));
    const second = await grow('object', 3, Buffer.from('def'));
    assert.equal(second.size, 6);
    assert.notEqual(second.etag, first.etag);
    for (const offset of [3, 5, 7]) {
      await rejects(() => grow('object', offset, Buffer.from('zzz')), 'PRECONDITION_FAILED', `appending at ${offset}`);
    }
    await rejects(() => grow('../x', 0, Buffer.from('x')), 'PATH_INVALID', 'appending outside');
    const cancelled = { signal: AbortSignal.abort() };
    await rejects(() => grow('object', 6, Buffer.from('x'), cancelled), 'CANCELLED', 'appending, cancelled');
    assert.equal((await whole(place.other, 'object')).toString(), 'abcdef');
    await grow(
      'object',
      6,
      pieces(4, () => Buffer.from('gh'))
    );
    assert.equal((await whole(place.other, 'object')).toString(), 'abcdefghgh');
  });

  check(`${operations} random operations (seed ${seed}) leave what they should`, 'any of the above', async place => {
    const random = randomNumbers(seed);
    const held = new Map<string, Buffer>();
    const pool = ['a', 'b/a', 'b/b', 'b/b-c/d', 'b/b.c/d', 'c/d/e/f', 'head.json', 'log/x/1.seg'];
    const told: string[] = [];
    try {
      for (let i = 0; i < operations; i += 1) {
        const storage = random(2) === 0 ? place.storage : place.other;
        const name = pool[random(pool.length)] as string;
        const bytes = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
        const now = held.get(name);
        const operation = random(6);
        told.push(`${operation} ${name} ${bytes.length}`);
        if (operation === 0) {
          await storage.put(name, random(2) === 0 ? bytes : pieces(bytes.length, () => bytes));
          held.set(name, bytes);
        } else if (operation === 1 && now === undefined) {
          await storage.put(name, bytes, { ifAbsent: true });
          held.set(name, bytes);
        } else if (operation === 1) {
          await rejects(() => storage.put(name, bytes, { ifAbsent: true }), 'PRECONDITION_FAILED', 'put');
        } else if (operation === 2) {
          await storage.delete(name);
          held.delete(name);
        } else if (operation === 3 && now !== undefined && storage.append !== undefined) {
          await storage.append(name, now.length, bytes);
          held.set(name, Buffer.concat([now, bytes]));
        } else if (operation === 4 && now !== undefined) {
          const [offset, length] = [random(220), random(220)];
          const read = await storage.read(name, { offset, length });
          assert.deepEqual(Buffer.from(read.bytes), now.subarray(offset, offset + length));
        } else {
          await eventually(storage, async () => {
            const found = (await listing(storage)).map(info => `${info.name} ${info.size}`);
            const expected = [...held.keys()].sort().map(each => `${each} ${(held.get(each) as Buffer).length}`);
            assert.deepEqual(found, expected);
          });
        }
        assert.equal((await storage.stat(name))?.size, held.get(name)?.length);
      }
      for (const [name, bytes] of held) assert.deepEqual(await whole(place.other, name), bytes);
    } catch (error) {
      throw new Error(`After ${told.slice(-8).join(', ')}: ${String(error)}`, { cause: error });
    }
  });

  return checks;
}

async function* givenPieces(parts: readonly Uint8Array[], error?: Error): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield await Promise.resolve(part);
  if (error !== undefined) throw error;
}
