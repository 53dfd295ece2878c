/** Mailboxes: a message that was delivered is there once and whole, and whoever else can write there does no harm to who looks into it. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SyftError } from '../../../server/src/core/errors.ts';
import { fetchMessages, type FetchedMessages } from '../../../server/src/library/fetch-messages.ts';
import { MessageBox } from '../../../server/src/messages/box.ts';
import {
  deliver,
  fetchMailbox,
  makeMailbox,
  type Fetched,
  type FetchOptions
} from '../../../server/src/messages/mailbox.ts';
import { changeOwnContact } from '../../../server/src/messages/own-contact.ts';
import { FsStorage } from '../../../server/src/storage/fs.ts';
import { MemoryStorage } from '../../../server/src/storage/memory.ts';
import type { Storage } from '../../../server/src/storage/storage.ts';

const MARKER = 'syft-sync-mailbox.json';
let dir: string;
let address: string;
/** What the receiver has, as its box would: durable once it is in. */
let box: Map<string, Buffer>;
const at = (...parts: string[]): string => join(dir, ...parts);
const nameOf = (bytes: Uint8Array): string => `m-${createHash('sha256').update(bytes).digest('hex')}.syft`;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-mailbox-'));
  address = pathToFileURL(at('box')).href;
  box = new Map();
  await makeMailbox(address);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function message(bytes: Buffer, name = 'm.syft'): Promise<string> {
  await writeFile(at(name), bytes);
  return at(name);
}

function fetch(options: FetchOptions = {}): Promise<Fetched> {
  return fetchMailbox(
    address,
    id => box.has(id),
    async (bytes, { id }) => {
      const pieces: Uint8Array[] = [];
      for await (const piece of bytes) pieces.push(piece);
      expect(box.has(id)).toBe(false);
      box.set(id, Buffer.concat(pieces));
    },
    options
  );
}

/** What of the mailbox is left, without what says that it is one. */
const lies = async (): Promise<string[]> => (await readdir(at('box'))).filter(name => name !== MARKER).sort();

/** A storage with something in its way, before or after what it was asked for is done. */
function hindered(storage: Storage, hinder: (when: 'before' | 'after') => void): Storage {
  return new Proxy(storage, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        hinder('before');
        const result: unknown = await (value as (...all: unknown[]) => Promise<unknown>).apply(target, args);
        hinder('after');
        return result;
      };
    }
  });
}

test('what is delivered comes as it was, and then lies there no longer', async () => {
  const large = randomBytes(9 * 2 ** 20);
  const progress: number[] = [];
  const delivered = await deliver(address, await message(large), 'msg_1', {
    onProgress: ({ done }) => progress.push(done)
  });
  expect(delivered).toEqual({ name: nameOf(large), size: large.length, already: false });
  expect(progress.at(-1)).toBe(large.length);
  expect(await fetch({ remove: true })).toEqual({ received: 1, left: [], complete: true, problems: [] });
  expect([...box.values()].map(bytes => bytes.equals(large))).toEqual([true]);
  expect(await lies()).toEqual([]);
  expect((await fetch()).received).toBe(0);
});

test('it stays when it is to stay, and comes once all the same', async () => {
  await deliver(address, await message(Buffer.from('one')), 'msg_1');
  const [id] = [nameOf(Buffer.from('one')).slice(2, 34)];
  expect(await fetch()).toMatchObject({ received: 1, left: [id] });
  expect(await fetch()).toMatchObject({ received: 0, left: [id] });
  expect(await lies()).toHaveLength(1);
  // Seen before, it goes when it is no longer to stay.
  expect(await fetch({ remove: true })).toMatchObject({ received: 0, left: [] });
  expect(await lies()).toEqual([]);
});

test('delivered again, by one or by many at once, it is one message', async () => {
  const file = await message(Buffer.from('one'));
  const all = await Promise.all(Array.from({ length: 6 }, () => deliver(address, file, 'msg_1')));
  expect(all.filter(({ already }) => !already)).toHaveLength(1);
  expect(await lies()).toEqual([nameOf(Buffer.from('one'))]);
});

test('nobody takes the name of a message: one that was taken before goes beside it', async () => {
  const bytes = Buffer.from('one');
  for (const squatted of ['two', 'much longer than it']) {
    await writeFile(at('box', nameOf(bytes)), squatted);
    expect(await deliver(address, await message(bytes), 'msg_1')).toMatchObject({ already: false });
    const { received, problems } = await fetch({ remove: true });
    expect([received, problems.length, [...box.values()].map(String)]).toEqual([1, expect.any(Number), ['one']]);
    box.clear();
    for (const name of await lies()) await rm(at('box', name));
  }
});

test('an address that nobody has made a mailbox of takes nothing', async () => {
  const file = await message(Buffer.from('one'));
  for (const place of ['not-mounted', 'home']) {
    if (place === 'home') await mkdir(at(place));
    const elsewhere = pathToFileURL(at(place)).href;
    await expect(deliver(elsewhere, file, 'msg_1')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      fetchMailbox(
        elsewhere,
        () => false,
        () => Promise.resolve()
      )
    ).rejects.toMatchObject({
      code: 'NOT_FOUND'
    });
  }
  expect((await readdir(dir)).sort()).toEqual(['box', 'home', 'm.syft']);
  expect(await readdir(at('home'))).toEqual([]);
  await expect(deliver(at('box'), file, 'msg_1')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(deliver('gopher://x', file, 'msg_1')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(deliver(address, at('none'), 'msg_1')).rejects.toMatchObject({ code: 'PATH_NOT_FOUND' });
});

test('in a directory that several may write to, whoever may do that can read what is delivered', async () => {
  for (const [directory, file] of [
    [0o700, 0o600],
    [0o770, 0o640],
    [0o777, 0o644]
  ] as const) {
    await chmod(at('box'), directory);
    const { name } = await deliver(address, await message(Buffer.from(String(directory))), 'msg_1');
    expect((await stat(at('box', name))).mode & 0o777).toBe(file);
  }
});

describe('into the inbox', () => {
  const inbox = (limits = {}): MessageBox => new MessageBox({ logDir: at('log'), program: 'test', limits });
  const look = (into = inbox(), keep = false): Promise<FetchedMessages> =>
    fetchMessages(into, {
      logDir: at('log'),
      configuration: at('home'),
      keep,
      signal: new AbortController().signal
    });
  beforeEach(() => changeOwnContact(at('home'), { mailbox: address }));

  test('what is kept in the mailbox for other devices comes once, also when it was removed from the inbox', async () => {
    await deliver(address, await message(Buffer.from('one')), 'msg_1');
    const { ids } = await look(inbox(), true);
    const [entry] = await inbox().list('inbox');
    expect([entry?.id]).toEqual(ids);
    await inbox().remove(entry!);
    await deliver(address, await message(Buffer.from('two')), 'msg_2');
    expect((await look(inbox(), true)).received).toBe(1);
    expect((await inbox().list('inbox')).map(({ id }) => id)).not.toContain(ids[0]);
    expect(await lies()).toHaveLength(2);
    // What is no longer there is no longer known.
    expect((await look()).received).toBe(0);
    expect([await lies(), JSON.parse(await readFile(at('log', 'messages', 'taken.json'), 'utf8'))]).toEqual([
      [],
      { version: 1, ids: [] }
    ]);
  });

  test('two that look at once take it once', async () => {
    await deliver(address, await message(Buffer.from('one')), 'msg_1');
    const both = await Promise.all([look(), look(), look()]);
    expect(both.reduce((sum, { received }) => sum + received, 0)).toBe(1);
    expect(await inbox().list('inbox')).toHaveLength(1);
  });

  test('what there is no room for stays in the mailbox, and is said', async () => {
    for (const text of ['one', 'two', 'three']) await deliver(address, await message(Buffer.from(text)), 'msg_1');
    const { received, problems } = await look(inbox({ messages: 2 }));
    expect([received, problems]).toEqual([2, [expect.stringContaining('takes no more')]]);
    expect(await lies()).toHaveLength(1);
    expect((await look()).received).toBe(1);
  });
});

describe('whatever fails on the way', () => {
  test('an answer that is lost makes no second message', async () => {
    const file = await message(randomBytes(100_000));
    for (let call = 1; call <= 3; call += 1) {
      for (const when of ['before', 'after'] as const) {
        let calls = 0;
        const storage = hindered(new FsStorage(at('box')), now => {
          if (now !== when) return;
          calls += 1;
          if (calls === call) throw new SyftError('UNAVAILABLE', 'The network is down.');
        });
        await deliver(address, file, 'msg_1', { storage }).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'UNAVAILABLE' });
        });
      }
    }
    await deliver(address, file, 'msg_1');
    expect(await lies()).toHaveLength(1);
  });

  test('stopped at any call, the receiver has each message once, and nothing is lost', async () => {
    const sent = ['one', 'two', 'three'].map(text => Buffer.from(text));
    for (const remove of [true, false]) {
      for (let call = 1; ; call += 1) {
        box.clear();
        for (const bytes of sent) await deliver(address, await message(bytes), 'msg_1');
        let calls = 0;
        const storage = hindered(new FsStorage(at('box')), () => {
          calls += 1;
          if (calls >= call) throw new Error('killed');
        });
        await fetch({ remove, storage }).catch((error: unknown) => expect(String(error)).toMatch('killed'));
        expect((await fetch({ remove })).problems).toEqual([]);
        expect([...box.values()].map(String).sort()).toEqual(['one', 'three', 'two']);
        if (remove) expect(await lies()).toEqual([]);
        if (calls < call) break;
      }
    }
  });

  test('nothing is removed that could not be taken in', async () => {
    await deliver(address, await message(Buffer.from('one')), 'msg_1');
    const full = new SyftError('MESSAGES_FULL', 'The inbox is full.');
    const result = await fetchMailbox(
      address,
      () => false,
      () => Promise.reject(full),
      { remove: true }
    );
    expect(result).toMatchObject({ received: 0, complete: false, problems: [expect.stringContaining('full')] });
    expect(await lies()).toHaveLength(1);
  });

  test('a file that changes while it goes is not delivered', async () => {
    const file = await message(Buffer.alloc(600_000, 1));
    const storage = hindered(new MemoryStorage(), () => undefined);
    await storage.put(MARKER, Buffer.from('{}'));
    let changed = false;
    const changing = deliver(address, file, 'msg_1', {
      storage,
      onProgress: () => {
        if (changed) return;
        changed = true;
        void writeFile(file, Buffer.alloc(600_000, 2));
      }
    });
    // The change may come too late for the bytes that were read already; it is the same file then.
    const outcome = await changing.then(
      ({ name }) => name,
      (error: unknown) => (error as SyftError).code
    );
    expect(['UNREADABLE', nameOf(Buffer.alloc(600_000, 1))]).toContain(outcome);
    const { objects } = await storage.list('m-');
    expect(objects).toHaveLength(outcome === 'UNREADABLE' ? 0 : 1);
  });

  test('given up, it says so, and leaves nothing', async () => {
    const controller = new AbortController();
    const file = await message(Buffer.alloc(2 ** 20));
    const { signal } = controller;
    await expect(
      deliver(address, file, 'msg_1', { signal, onProgress: () => controller.abort() })
    ).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await lies()).toEqual([]);
    await deliver(address, file, 'msg_1');
    await expect(fetch({ signal })).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('a mailbox that somebody else fills', () => {
  test('holds nothing that is not a message under its own hash', async () => {
    await deliver(address, await message(Buffer.from('one')), 'msg_1');
    const hash = '0'.repeat(64);
    await writeFile(at('secret'), 'secret');
    await symlink(at('secret'), at('box', nameOf(Buffer.from('secret'))));
    await mkdir(at('box', `m-${'1'.repeat(64)}.syft`));
    for (const name of [
      `m-${hash}.syft`,
      `m-${hash}-${'a'.repeat(16)}.syft`,
      `M-${hash}.syft`,
      `m-${hash}.syft.tmp`,
      'm-',
      'm-..syft',
      `m-${hash.slice(1)}.syft`,
      `m-\u202e${hash}.syft`,
      `${'x'.repeat(200)}.syft`,
      '-rf',
      'a b\nc'
    ]) {
      await writeFile(at('box', name), 'not what its name says');
    }
    await writeFile(at('box', `m-${'2'.repeat(64)}.syft`), '');
    const { received, problems, complete } = await fetch({ remove: true });
    expect([received, problems.length, complete]).toEqual([1, 2, true]);
    expect([...box.values()].map(String)).toEqual(['one']);
    expect(await readFile(at('secret'), 'utf8')).toBe('secret');
  });

  test('costs no more than is allowed, and the message of another is found in the end', async () => {
    for (let i = 0; i < 30; i += 1) {
      await writeFile(at('box', `m-${createHash('sha256').update(String(i)).digest('hex')}.syft`), 'junk');
    }
    await writeFile(at('box', `m-${'3'.repeat(64)}.syft`), Buffer.alloc(2000));
    await deliver(address, await message(Buffer.from('one')), 'msg_1');
    expect((await fetch({ limits: { objects: 5 } })).complete).toBe(false);
    for (let looks = 1; box.size === 0; looks += 1) {
      const { problems } = await fetch({ limits: { messages: 10, messageBytes: 1000, totalBytes: 40 } });
      expect(problems.length).toBeLessThanOrEqual(21);
      expect(looks).toBeLessThan(200);
    }
    expect([...box.values()].map(String)).toEqual(['one']);
  });

  test('of thousands of names is gone through', async () => {
    const storage = new MemoryStorage();
    await storage.put(MARKER, Buffer.from('{}'));
    for (let i = 0; i < 5000; i += 1) await storage.put(`m-${i.toString(16).padStart(64, '0')}`, Buffer.from('x'));
    await deliver(address, await message(Buffer.from('one')), 'msg_1', { storage });
    expect(await fetch({ storage })).toMatchObject({ received: 1, complete: true, problems: [] });
  });

  test('is no place for a message larger than is taken', async () => {
    const storage = new MemoryStorage({ maxObjectSize: 10 });
    await storage.put(MARKER, Buffer.from('{}'));
    const file = await message(Buffer.from('more than ten'));
    await expect(deliver(address, file, 'msg_1', { storage })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});
