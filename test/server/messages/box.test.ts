/** The message box: what a stranger sends lies there whole or not at all, takes no more than it may, and harms nobody who lists it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import {
  MessageBox,
  outboxId,
  type BoxLimits,
  type InboxEntry,
  type OutboxRecord
} from '../../../server/src/messages/box.ts';
import { Archive } from '../../../server/src/messages/read-archive.ts';
import { inspect } from '../../../server/src/messages/inspect.ts';
import { program } from '../program.ts';
import { archive, file, ID, manifestOf, newKey, signedMembers } from './forge.ts';

const run = promisify(execFile);
const key = newKey();
const idOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 32);

function message(path = 'a.csv', body = Buffer.from('x,y\n1,2\n'), note = 'look'): Buffer {
  return archive(
    signedMembers(key, manifestOf(key, [file(path, body)], { note }), [{ name: `${ID}/data/${path}`, body }])
  );
}

async function* pieces(bytes: Buffer, size = 300): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

let logDir: string;
const at = (...parts: string[]): string => join(logDir, 'messages', ...parts);
const boxWith = (limits: Partial<BoxLimits> = {}, keys?: LogKeys): MessageBox =>
  new MessageBox({ logDir, program: '1', limits, keys });
const names = async (...parts: string[]): Promise<string[]> => (await readdir(at(...parts)).catch(() => [])).sort();

beforeEach(async () => {
  logDir = await mkdtemp(join(tmpdir(), 'syft-box-'));
});
afterEach(() => rm(logDir, { recursive: true, force: true }));

test('what came is kept byte for byte, for nobody else to read, and told of without being read again', async () => {
  const bytes = message();
  const { entry, fresh } = await boxWith().receive(pieces(bytes), 'upload');
  expect(fresh).toBe(true);
  expect(entry).toMatchObject({
    id: idOf(bytes),
    box: 'inbox',
    size: bytes.length,
    source: 'upload',
    read: false,
    verdict: { state: 'whole', sealed: false, messageId: ID, note: 'look', files: 1, bytes: 8, paths: ['a.csv'] }
  });
  expect((await readFile(at('inbox', entry.id, 'archive.syft'))).equals(bytes)).toBe(true);
  for (const name of [at(), at('inbox'), at('inbox', entry.id)]) expect((await stat(name)).mode & 0o777).toBe(0o700);
  for (const name of await names('inbox', entry.id)) {
    expect((await stat(at('inbox', entry.id, name))).mode & 0o777).toBe(0o600);
  }
  expect(await names()).toEqual(['inbox']);
  // Another process believes what was found, and reads no archive for a list.
  const verdict = at('inbox', entry.id, 'verdict.json');
  await writeFile(verdict, (await readFile(verdict, 'utf8')).replace('"look"', '"as it was found"'));
  expect(await boxWith().list('inbox')).toMatchObject([{ id: entry.id, verdict: { note: 'as it was found' } }]);
});

test('the same archive twice is one message, and keeps what became of it', async () => {
  const box = boxWith();
  const { entry } = await box.receive(pieces(message()), 'upload');
  await box.markRead(entry.id);
  await box.markRead(entry.id);
  await box.markAccepted(entry.id, { at: '2026-11-28T00:00:00.000Z', to: 'from-mallory', changes: 1 });
  const again = await boxWith().receive(pieces(message()), 'file');
  expect(again).toMatchObject({
    fresh: false,
    entry: { read: true, source: 'upload', accepted: { to: 'from-mallory' } }
  });
  expect(await box.list()).toHaveLength(1);
  expect(await names()).toEqual(['inbox']);
});

test('two processes that receive the same at once have it once, and both are told', async () => {
  const [a, b] = await Promise.all([
    boxWith().receive(pieces(message()), 'upload'),
    boxWith().receive(pieces(message()), 'mailbox')
  ]);
  expect(a.entry.id).toBe(b.entry.id);
  expect(await names('inbox')).toEqual([a.entry.id]);
  expect(await names()).toEqual(['inbox']);
});

test('a message that does not hold is there to be seen as such, and shows nothing of what it says', async () => {
  const box = boxWith();
  const bytes = message();
  bytes[bytes.length - 20] = (bytes.at(-20) ?? 0) ^ 0x40;
  const evil: [string, Buffer][] = [
    ['damaged', bytes],
    ['no archive', Buffer.from('hello')],
    ['a path that leads out', archive(signedMembers(key, manifestOf(key, [file('../../x', Buffer.from('b'))]), []))]
  ];
  for (const [name, bad] of evil) {
    const { entry } = await box.receive(pieces(bad), 'upload');
    expect([name, entry.verdict]).toMatchObject([name, { state: 'altered', problem: expect.any(String), files: 0 }]);
    expect((await box.detail(entry)).fileList).toEqual([]);
  }
  expect(await box.list()).toHaveLength(3);
});

describe('limits', () => {
  test.each<[string, Partial<BoxLimits>, string]>([
    ['one archive', { archiveBytes: 100 }, 'BAD_REQUEST'],
    ['all archives', { totalBytes: 100 }, 'MESSAGES_FULL'],
    ['the number', { messages: 0 }, 'MESSAGES_FULL'],
    ['the disk', { freeBytes: Number.MAX_SAFE_INTEGER }, 'DISK_FULL']
  ])('%s: what is too much is refused, and nothing of it stays', async (_, limits, code) => {
    let taken = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        taken += 300;
        yield message().subarray(0, 300);
      }
    };
    await expect(boxWith(limits).receive(endless(), 'upload')).rejects.toMatchObject({ code });
    expect(taken).toBeLessThan(1000);
    expect(await names()).toEqual([]);
  });

  test('messages that are removed make room', async () => {
    const box = boxWith({ messages: 1 });
    const { entry } = await box.receive(pieces(message()), 'upload');
    await expect(box.receive(pieces(message('b.csv')), 'upload')).rejects.toMatchObject({ code: 'MESSAGES_FULL' });
    await box.remove(entry);
    expect((await box.receive(pieces(message('b.csv')), 'upload')).fresh).toBe(true);
    await expect(box.get(entry.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('several that come at once share the room', async () => {
    const bytes = message();
    const box = boxWith({ totalBytes: Math.floor(bytes.length * 1.5) });
    const came = await Promise.allSettled(
      ['a', 'b', 'c', 'd'].map(path => box.receive(pieces(message(path), 50), 'upload'))
    );
    const kept = await box.list();
    expect(kept.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(bytes.length * 1.5);
    expect(came.filter(({ status }) => status === 'fulfilled')).toHaveLength(kept.length);
    expect(await names()).not.toContainEqual(expect.stringMatching(/^new-/));
  });
});

test('an upload that breaks off leaves nothing', async () => {
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield message().subarray(0, 100);
    await Promise.resolve();
    throw new Error('the connection was cut');
  };
  await expect(boxWith().receive(broken(), 'upload')).rejects.toThrow();
  expect(await names()).toEqual([]);
});

test('what others have put there is passed over, and never followed', async () => {
  const box = boxWith();
  const { entry } = await box.receive(pieces(message()), 'upload');
  await writeFile(at('inbox', 'notes.txt'), 'mine');
  await writeFile(at('inbox', 'a'.repeat(32)), 'a file where a message should be');
  await mkdir(at('inbox', 'b'.repeat(32)));
  await mkdir(at('inbox', 'c'.repeat(32)));
  await writeFile(at('inbox', 'c'.repeat(32), 'record.json'), '{"version":1');
  await cp(at('inbox', entry.id), at('inbox', 'd'.repeat(32)), { recursive: true });
  await mkdir(at('inbox', 'e'.repeat(32)));
  await symlink('/dev/zero', at('inbox', 'e'.repeat(32), 'record.json'));
  expect((await boxWith().list()).map(({ id }) => id)).toEqual([entry.id]);
  // Where the name of a message is taken by something else, the message takes it.
  const other = message('z.csv');
  await writeFile(at('inbox', idOf(other)), 'in the way');
  expect((await box.receive(pieces(other), 'upload')).fresh).toBe(true);
});

test('a message that was altered where it lies is judged anew', async () => {
  const { entry } = await boxWith().receive(pieces(message()), 'upload');
  const path = at('inbox', entry.id, 'archive.syft');
  const bytes = await readFile(path);
  bytes[40] = (bytes.at(40) ?? 0) ^ 1;
  await writeFile(path, bytes);
  await utimes(path, 1, 1);
  expect((await boxWith().get(entry.id)) as InboxEntry).toMatchObject({ verdict: { state: 'altered' } });
});

test('one found altered by another version of the program is judged anew, for it may have been too old to know', async () => {
  const { entry } = await boxWith().receive(pieces(Buffer.from('of the future')), 'upload');
  const verdict = at('inbox', entry.id, 'verdict.json');
  const kept = JSON.parse(await readFile(verdict, 'utf8')) as { verdict: { problem: string } };
  kept.verdict.problem = 'of old';
  await writeFile(verdict, JSON.stringify(kept));
  expect(await boxWith().get(entry.id)).toMatchObject({ verdict: { problem: 'of old' } });
  const newer = new MessageBox({ logDir, program: '2' });
  expect(await newer.get(entry.id)).not.toMatchObject({ verdict: { problem: 'of old' } });
});

test('of an encrypted log nothing lies there that could be read, and nothing in the clear is believed', async () => {
  const keys = new LogKeys('0123456789abcdef0123456789abcdef', new Map([[1, Buffer.alloc(32, 7)]]));
  const big = message('secret-name.csv', Buffer.alloc(3_000_000, 'secret words '), 'secret note');
  const { entry } = await boxWith({}, keys).receive(pieces(big, 100_000), 'upload');
  for (const name of await names('inbox', entry.id)) {
    const raw = await readFile(at('inbox', entry.id, name));
    expect([name, raw.includes('secret'), raw.includes('mallory'), raw.includes(big.subarray(0, 30))]).toEqual([
      name,
      false,
      false,
      false
    ]);
  }
  const box = boxWith({}, keys);
  const listed = (await box.get(entry.id)) as InboxEntry;
  expect(listed.verdict).toMatchObject({ state: 'whole', note: 'secret note' });
  await using opened = await Archive.open(await box.open(listed));
  expect((await inspect(opened)).files).toMatchObject([{ path: 'secret-name.csv', size: 3_000_000 }]);
  expect(await boxWith().list()).toEqual([]);
  // Cut off where a piece ends: what seals it says so.
  const path = at('inbox', entry.id, 'archive.syft');
  await writeFile(path, (await readFile(path)).subarray(0, -28));
  expect(await boxWith({}, keys).get(entry.id)).toMatchObject({ verdict: { state: 'altered' } });
});

describe('the outbox', () => {
  const record: OutboxRecord = {
    sentAt: '2026-11-28T10:00:00.000Z',
    size: 400,
    messageId: ID,
    versions: ['aaaaaaaa.1'],
    sender: 'ana@lab',
    publicKey: key.publicKey.toString('base64'),
    recipients: ['ben'],
    sealed: false,
    bytes: 8,
    paths: ['a.csv'],
    delivered: { path: 'out/a.syft' }
  };
  const detail = { fileList: [{ path: 'a.csv', size: 8, hash: 'ab' }], proven: [], claimed: [] };

  test('remembers what was sent, once for each message', async () => {
    const box = boxWith();
    const id = await box.addSent(record, detail);
    expect(id).toBe(outboxId(ID));
    await box.addSent({ ...record, sentAt: '2026-11-28T11:00:00.000Z', delivered: { contact: 'ben' } }, detail);
    const [entry, ...others] = await boxWith().list('outbox');
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ id, at: '2026-11-28T11:00:00.000Z', record: { delivered: { contact: 'ben' } } });
    expect(entry === undefined ? undefined : await box.detail(entry)).toEqual(detail);
    await expect(boxWith({ messages: 1 }).addSent({ ...record, messageId: 'msg_other' }, detail)).rejects.toMatchObject(
      {
        code: 'MESSAGES_FULL'
      }
    );
  });
});

describe('a crash, or a disk that fails, at any step of receiving', () => {
  interface Told {
    readonly steps: number;
    readonly outcome: string;
    readonly listed: string[];
  }
  const child = async (dir: string, ...args: string[]): Promise<Told> => {
    await mkdir(join(dir, 'messages'), { recursive: true });
    const { stdout } = await run(process.execPath, [program('box-fault-child'), dir, join(logDir, 'm.syft'), ...args]);
    return JSON.parse(stdout) as Told;
  };

  test('leaves the whole message or none, and the next attempt has it', async () => {
    const bytes = message();
    await writeFile(join(logDir, 'm.syft'), bytes);
    const { steps, outcome } = await child(join(logDir, 'log'), 'snapshot', join(logDir, 'crashed'));
    expect([outcome, steps > 15]).toEqual([idOf(bytes), true]);
    const seen = new Set<number>();
    for (let step = 1; step <= steps; step += 1) {
      const box = new MessageBox({
        logDir: join(logDir, 'crashed', String(step)),
        program: '1',
        limits: { abandonedMs: -1 }
      });
      const there = await box.list();
      seen.add(there.length);
      for (const entry of there) {
        expect(entry).toMatchObject({ id: outcome, verdict: { state: 'whole', note: 'look' } });
        expect((await box.detail(entry)).fileList).toHaveLength(1);
      }
      const { entry } = await box.receive(pieces(bytes), 'upload');
      expect(
        (await readFile(join(logDir, 'crashed', String(step), 'messages', 'inbox', entry.id, 'archive.syft'))).equals(
          bytes
        )
      ).toBe(true);
      expect((await readdir(join(logDir, 'crashed', String(step), 'messages'))).sort()).toEqual(['inbox']);
    }
    expect(seen).toEqual(new Set([0, 1]));
  });

  test('is told with its code and leaves nothing behind', async () => {
    await writeFile(join(logDir, 'm.syft'), message());
    const { steps } = await child(join(logDir, 'count'), 'fail', 'ENOSPC', '0');
    const tried = await Promise.all(
      [1, 2, 4, Math.floor(steps / 2), steps - 4].flatMap(step =>
        (['ENOSPC', 'EIO'] as const).map(async code => {
          const dir = join(logDir, `${code}-${step}`);
          const { outcome, listed } = await child(dir, 'fail', code, String(step));
          const left = await readdir(join(dir, 'messages'), { recursive: true });
          return { step, code, outcome, listed: listed.length, left: left.filter(name => name.startsWith('new-')) };
        })
      )
    );
    for (const { step, code, outcome, listed, left } of tried) {
      const told = { ENOSPC: 'DISK_FULL', EIO: 'DISK_ERROR' }[code];
      // Where only a directory could not be synced, the message is there.
      expect([step, code, listed === 1 || outcome === told, left]).toEqual([step, code, true, []]);
    }
    expect(tried.some(({ listed }) => listed === 0)).toBe(true);
  });
});
