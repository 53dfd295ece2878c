/**
 * The routes of messages over HTTP, on a real sidecar: what a stranger sends waits in the inbox, shows itself for what it is, and comes into
 * the workspace only when a person says so; what is sent arrives.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as age from 'age-encryption';
import { gzipSync } from 'node:zlib';
import type {
  ImportResult,
  MessageDetail,
  MessagesPage,
  MessageSummary,
  PlanMessageResult,
  ShareMessageResult,
  Status
} from '../../../server/src/api/contract.ts';
import { startSidecar, type Sidecar, type SidecarOptions } from '../../../server/src/api/sidecar.ts';
import { createEncryptedLog } from '../../../server/src/log/encryption.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { fingerprint } from '../../../server/src/messages/fingerprint.ts';
import { archive, file, ID, manifestOf, member, newKey, signedMembers, type Key } from '../messages/forge.ts';
import { CHEAP, PASSPHRASE } from '../log/encrypted-log.ts';
import { ask, SECRET, silent, type Answer } from './listed-service.ts';

let base: string;
let root: string;
let open: Sidecar[];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-msg-'));
  root = join(base, 'work');
  await mkdir(root);
  open = [];
  process.env['SYFT_SYNC_HOME'] = join(base, 'config');
});
afterEach(async () => {
  for (const each of open.reverse()) await each.close();
  await rm(base, { recursive: true, force: true });
});

async function start(more: Partial<SidecarOptions> = {}, name = 's'): Promise<Sidecar> {
  const sidecar = await startSidecar({
    root,
    socketPath: join(base, 'run', name),
    secret: SECRET,
    logger: silent,
    pollMs: 30,
    retryMs: 50,
    hints: 'none',
    ...more
  });
  open.push(sidecar);
  const wanted = name === 's' ? 'recording' : 'read-only';
  while (((await get('/api/status', name)).json as Status).state !== wanted) await new Promise(r => setTimeout(r, 10));
  return sidecar;
}

const get = (path: string, name = 's'): Promise<Answer> => ask({ socketPath: join(base, 'run', name) }, path);
const post = (path: string, body: unknown = {}, name = 's'): Promise<Answer> =>
  ask({ socketPath: join(base, 'run', name) }, path, { method: 'POST', body });
const code = (answer: Answer): [number, string | undefined] => [
  answer.status,
  (answer.json as { error?: { code: string } }).error?.code
];

/** Sends bytes as an upload, as a browser does. */
function upload(bytes: Buffer, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request(
      {
        socketPath: join(base, 'run', 's'),
        path: '/api/messages/receive',
        method: 'POST',
        headers: {
          host: 'localhost',
          'x-syft-sync-secret': SECRET,
          'x-syft-sync-request': '1',
          'content-type': 'application/x-syft',
          ...headers
        }
      },
      res => {
        const pieces: Buffer[] = [];
        res.on('data', (piece: Buffer) => pieces.push(piece));
        res.on('end', () => {
          const body = Buffer.concat(pieces);
          const json: unknown = JSON.parse(body.toString());
          resolve({ status: res.statusCode ?? 0, headers: res.headers, body, json, cut: false });
        });
      }
    );
    req.on('error', reject);
    req.end(bytes);
  });
}

const key = newKey();
const words = fingerprint(key.publicKey);

function message(files: Record<string, Buffer | string>, by: Key = key, more: object = {}): Buffer {
  const contents = Object.entries(files).map(([path, body]) => ({ path, body: Buffer.from(body) }));
  return archive(
    signedMembers(
      by,
      manifestOf(
        by,
        contents.map(({ path, body }) => file(path, body)),
        more
      ),
      contents.map(({ path, body }) => ({ name: `${ID}/data/${path}`, body }))
    )
  );
}

const list = async (query = ''): Promise<MessagesPage> => (await get(`/api/messages${query}`)).json as MessagesPage;
const text = (path: string): Promise<string> => readFile(join(root, path), 'utf8');

describe('the inbox', () => {
  test('a message from a stranger waits, is looked into, and comes in when its key was compared', async () => {
    await writeFile(join(root, 'same.txt'), 'same');
    await writeFile(join(root, 'mine.txt'), 'mine');
    await start();
    const big = randomBytes(700_000);
    const bytes = message({ 'same.txt': 'same', 'mine.txt': 'theirs', 'new.csv': 'x\n1\n', 'big.bin': big }, key, {
      note: 'for you'
    });
    const received = await upload(bytes);
    expect(received.status).toBe(200);
    const { id } = received.json as MessageSummary;
    expect(received.json).toMatchObject({
      id: createHash('sha256').update(bytes).digest('hex').slice(0, 32),
      box: 'inbox',
      state: 'new-sender',
      sender: { name: 'mallory@example.org', fingerprint: words, own: false },
      note: 'for you',
      read: false,
      files: 4,
      size: bytes.length,
      source: 'upload'
    });
    expect(await list()).toMatchObject({ total: 1, unread: 1, messages: [{ id }] });
    const detail = (await get(`/api/messages/${id}`)).json as MessageDetail;
    expect(detail.fileList.map(({ path, here, kind }) => [path, here, kind])).toEqual([
      ['same.txt', 'same', 'text'],
      ['mine.txt', 'different', 'text'],
      ['new.csv', 'missing', 'table'],
      ['big.bin', 'missing', 'other']
    ]);
    expect(detail.proven.map(({ fact }) => fact)).toEqual(['contents', 'signature']);
    expect(await list()).toMatchObject({ unread: 0, messages: [{ read: true }] });
    const below = (await get(`/api/messages/${id}?to=from-m`)).json as MessageDetail;
    expect(new Set(below.fileList.map(({ here }) => here))).toEqual(new Set(['missing']));
    // A preview is the bytes of the file, under headers that let nothing of it run.
    const content = await get(`/api/messages/content?id=${id}&file=3&download=1`);
    expect(content.body.equals(big)).toBe(true);
    const version = await get(`/api/versions/${detail.fileList[1]?.hereVersionId}/content`);
    for (const name of ['content-security-policy', 'x-content-type-options', 'cross-origin-resource-policy']) {
      expect([name, content.headers[name]]).toEqual([name, version.headers[name]]);
    }
    expect(content.headers['content-disposition']).toContain('attachment; filename="big.bin"');
    const part = await ask({ socketPath: join(base, 'run', 's') }, `/api/messages/content?id=${id}&file=3`, {
      headers: { range: 'bytes=500000-500009' }
    });
    expect([part.status, part.body.equals(big.subarray(500_000, 500_010))]).toEqual([206, true]);
    // Trust is for the key that was shown, and for no other.
    expect(code(await post('/api/messages/accept', { id }))).toEqual([422, 'SENDER_UNKNOWN']);
    expect(code(await post('/api/messages/accept', { id, trust: true }))).toEqual([400, 'BAD_REQUEST']);
    const other = fingerprint(newKey().publicKey);
    expect(code(await post('/api/messages/accept', { id, trust: true, fingerprint: other }))).toEqual([
      422,
      'SENDER_CHANGED'
    ]);
    expect(await text('mine.txt')).toBe('mine');
    expect(code(await post('/api/messages/accept', { id, trust: true, fingerprint: words, files: [9] }))).toEqual([
      400,
      'BAD_REQUEST'
    ]);
    const accepted = await post('/api/messages/accept', {
      id,
      trust: true,
      fingerprint: words,
      files: [1, 2],
      to: 'from-m'
    });
    expect([accepted.status, (accepted.json as ImportResult).changes.map(({ path }) => path)]).toEqual([
      200,
      ['from-m/mine.txt', 'from-m/new.csv']
    ]);
    expect([await text('from-m/mine.txt'), await text('mine.txt')]).toEqual(['theirs', 'mine']);
    expect((await list()).messages[0]).toMatchObject({
      state: 'verified',
      accepted: { to: 'from-m', changes: 2 }
    });
    // What comes from now on under this name with another key is seen as that.
    const changed = (await upload(message({ a: 'b' }, newKey()))).json as MessageSummary;
    expect(changed).toMatchObject({ state: 'changed-sender', problem: expect.stringContaining(words) });
    expect(code(await post('/api/messages/accept', { id: changed.id, trust: true, fingerprint: other }))).toEqual([
      422,
      'SENDER_CHANGED'
    ]);
    // The log is what it was: the box is no damage of it.
    const damage = await Array.fromAsync(fsckLog(join(root, '.syft-sync'), { readData: true }));
    expect(damage).toEqual([]);
  });

  test('it is searched, paged, and emptied without touching the workspace', async () => {
    await start();
    const ids: string[] = [];
    for (const path of ['alpha.csv', 'beta.csv', 'gamma.csv']) {
      const sent = message({ [path]: path }, key, { note: `about ${path}`, replyTo: 'msg_before' });
      ids.push(((await upload(sent)).json as MessageSummary).id);
      await new Promise(r => setTimeout(r, 3));
    }
    const first = await list('?limit=2');
    expect([first.total, first.messages.map(({ id }) => id)]).toEqual([3, [ids[2], ids[1]]]);
    const second = await list(`?limit=2&before=${first.next}`);
    expect([second.next, second.messages.map(({ id }) => id)]).toEqual([undefined, [ids[0]]]);
    expect((await list('?q=BETA')).messages.map(({ id }) => id)).toEqual([ids[1]]);
    expect((await list('?q=msg_before')).total).toBe(3);
    expect((await list('?q=nothing')).total).toBe(0);
    expect(await list('?box=outbox')).toMatchObject({ total: 0, unread: 3 });
    const removed = await ask({ socketPath: join(base, 'run', 's') }, `/api/messages/${ids[0]}`, { method: 'DELETE' });
    expect([removed.status, removed.json]).toEqual([200, { removed: true }]);
    expect(code(await get(`/api/messages/${ids[0]}`))).toEqual([404, 'NOT_FOUND']);
    expect((await list()).total).toBe(2);
    expect(await readdir(root)).toEqual(['.syft-sync']);
  });

  test('a file of the workspace is looked into where it lies, taken in, and accepted from there', async () => {
    await writeFile(join(root, 'm.syft'), message({ 'a.txt': 'theirs' }));
    await writeFile(join(base, 'outside.syft'), message({ 'a.txt': 'theirs' }));
    await symlink(join(base, 'outside.syft'), join(root, 'link.syft'));
    await start();
    const looked = await post('/api/messages/inspect', { path: 'm.syft' });
    expect(looked.json).toMatchObject({ state: 'new-sender', fileList: [{ path: 'a.txt', here: 'missing' }] });
    expect((await list()).total).toBe(0);
    expect((await get('/api/messages/content?path=m.syft&file=0')).body.toString()).toBe('theirs');
    expect(code(await get('/api/messages/content?path=m.syft&file=1'))).toEqual([404, 'NOT_FOUND']);
    const { id } = (await post('/api/messages/receive', { path: 'm.syft' })).json as MessageSummary;
    expect(id).toBe((looked.json as MessageDetail).id);
    expect((await upload(await readFile(join(root, 'm.syft')))).json).toMatchObject({ id, source: 'file' });
    expect((await list()).total).toBe(1);
    expect((await get(`/api/messages/${id}/archive`)).body.equals(await readFile(join(root, 'm.syft')))).toBe(true);
    const accepted = await post('/api/messages/accept', { path: 'm.syft', trust: true, fingerprint: words });
    expect(accepted.status).toBe(200);
    expect(await text('a.txt')).toBe('theirs');
    for (const path of ['link.syft', '../outside.syft', 'none.syft', '.syft-sync/format.json', '.']) {
      const [status] = code(await post('/api/messages/receive', { path }));
      expect([path, status >= 400 && status < 500]).toEqual([path, true]);
    }
  });

  test('what was deleted here is told from what never was', async () => {
    await writeFile(join(root, 'a.txt'), 'once');
    await start();
    await rm(join(root, 'a.txt'));
    await post('/api/capture');
    const { id } = (await upload(message({ 'a.txt': 'new', 'b.txt': 'new' }))).json as MessageSummary;
    await writeFile(join(root, 'b.txt'), 'seen by nobody yet');
    const { fileList } = (await get(`/api/messages/${id}`)).json as MessageDetail;
    expect(fileList).toMatchObject([
      { here: 'deleted', hereVersionId: expect.stringMatching(/\.1$/) },
      { here: 'different' }
    ]);
  });
});

test('what is erased goes out of the inbox too, and other messages stay', async () => {
  await writeFile(join(root, 'a.txt'), 'a secret');
  await start();
  await post('/api/flush');
  const { id } = (await upload(message({ 'b.txt': 'a secret', 'c.txt': 'c' }))).json as MessageSummary;
  const other = (await upload(message({ 'd.txt': 'd' }))).json as MessageSummary;
  const hash = createHash('sha256').update('a secret').digest('hex');
  expect((await post('/api/erase', { hash, dryRun: true })).json).toMatchObject({ copies: [] });
  expect((await list()).total).toBe(2);
  expect((await post('/api/erase', { hash })).json).toMatchObject({ copies: [`messages/inbox/${id}`] });
  expect((await list()).messages.map(each => each.id)).toEqual([other.id]);
});

test('a sealed message is locked until there is an identity that opens it', async () => {
  await writeFile(join(root, 'a.txt'), 'for Ben alone');
  const identityFile = join(base, 'age.key');
  await start({ identityFile });
  const identity = await age.generateX25519Identity();
  const recipients = [await age.identityToRecipient(identity)];
  const plan = (await post('/api/messages/plan', { paths: ['a.txt'], recipients })).json;
  expect(plan).toMatchObject({ sealed: true, unsealable: [] });
  const half = (await post('/api/messages/plan', { paths: ['a.txt'], recipients: [...recipients, 'ana'] })).json;
  expect(half).toMatchObject({ sealed: false, unsealable: ['ana'] });
  const sent = await post('/api/messages/share', { paths: ['a.txt'], recipients, deliver: { path: 'm.syft' } });
  expect(sent.json).toMatchObject({ sealed: true });
  // As it was chosen: in the clear in spite of the key, and not at all where it could only be so.
  const chosen = { paths: ['a.txt'], recipients, note: 'in the clear', deliver: { keep: true } };
  const clear = (await post('/api/messages/share', { ...chosen, encrypt: false })).json as { id: string };
  expect(clear).toMatchObject({ sealed: false });
  const gzip = (await get(`/api/messages/${clear.id}/archive`)).body.subarray(0, 2);
  expect(gzip.toString('hex')).toBe('1f8b');
  for (const recipients of [['ana'], []]) {
    const refused = await post('/api/messages/share', { ...chosen, recipients, encrypt: true });
    expect(code(refused)).toEqual([400, 'BAD_REQUEST']);
  }
  const { id } = (await post('/api/messages/receive', { path: 'm.syft' })).json as MessageSummary;
  const state = async (): Promise<string | undefined> => (await list('?box=inbox')).messages[0]?.state;
  expect(await state()).toBe('locked');
  expect(code(await get(`/api/messages/content?id=${id}&file=0`))).toEqual([423, 'KEY_MISSING']);
  await writeFile(identityFile, 'no identity', { mode: 0o600 });
  expect(await state()).toBe('locked');
  await writeFile(identityFile, `${await age.generateX25519Identity()}\n`, { mode: 0o600 });
  expect(await state()).toBe('locked');
  await writeFile(identityFile, `${identity}\n`, { mode: 0o600 });
  expect(await state()).toBe('verified');
  expect((await get(`/api/messages/content?id=${id}&file=0`)).body.toString()).toBe('for Ben alone');
});

test('beside an encrypted log nothing of a message lies in the clear, received or sent', async () => {
  await writeFile(join(root, 'secret-name.txt'), 'secret words');
  const logDir = join(root, '.syft-sync');
  const keys = await createEncryptedLog(logDir, { passphrase: PASSPHRASE, recipients: [], cost: CHEAP });
  await start({ openKeys: () => Promise.resolve(keys) });
  const { id } = (await upload(message({ 'secret.txt': 'secret words' }, key, { note: 'secret note' })))
    .json as MessageSummary;
  const body = { paths: ['secret-name.txt'], note: 'secret answer', replyTo: ID, deliver: { keep: true } };
  const sent = (await post('/api/messages/share', body)).json as ShareMessageResult;
  const texts = await Promise.all(
    (await readdir(join(logDir, 'messages'), { recursive: true, withFileTypes: true }))
      .filter(entry => entry.isFile())
      .map(
        async entry => [entry.name, (await readFile(join(entry.parentPath, entry.name))).toString('latin1')] as const
      )
  );
  expect(texts.length).toBeGreaterThan(5);
  expect(texts.filter(([, each]) => /secret|mallory|manifest|\x1f\x8b\x08/.test(each))).toEqual([]);
  // To whom it belongs it is there.
  expect((await get(`/api/messages/content?id=${id}&file=0`)).body.toString()).toBe('secret words');
  expect((await list('?q=secret')).messages.map(each => each.id).sort()).toEqual([id, sent.id].sort());
  const again = await upload((await get(`/api/messages/${sent.id}/archive`)).body);
  expect(again.json).toMatchObject({ messageId: sent.messageId, state: 'verified' });
  const accepted = await post('/api/messages/accept', { id, trust: true, fingerprint: words, to: 'in' });
  expect(accepted.status).toBe(200);
  expect(await text('in/secret.txt')).toBe('secret words');
});

describe('hostile uploads', () => {
  test('are shown for what they are, open nothing, and leave the process alive', async () => {
    await start();
    const bomb = gzipSync(
      Buffer.concat([member({ name: 'bomb', body: Buffer.alloc(70 * 2 ** 20) }), Buffer.alloc(1024)]),
      { level: 1 }
    );
    const evil = [
      Buffer.from('not an archive'),
      bomb,
      message({ '../../../etc/cron.d/x': 'x' }),
      message({ '.git/hooks/pre-commit': 'x' }),
      message({ 'a.txt': 'x' }).subarray(0, -40),
      archive([{ name: 'link', type: '2', linkname: '/etc/passwd' }])
    ];
    for (const bytes of evil) {
      const answer = await upload(bytes);
      expect(answer).toMatchObject({ status: 200, json: { state: 'altered', problem: expect.any(String), files: 0 } });
      const { id } = answer.json as MessageSummary;
      expect((await get(`/api/messages/${id}`)).json).toMatchObject({ fileList: [], proven: [] });
      expect(code(await get(`/api/messages/content?id=${id}&file=0`))).toEqual([422, 'ARCHIVE_INVALID']);
      expect(code(await post('/api/messages/accept', { id, trust: true, fingerprint: words }))).toEqual([
        422,
        'ARCHIVE_INVALID'
      ]);
    }
    expect(await readdir(root)).toEqual(['.syft-sync']);
    expect((await list()).total).toBe(evil.length);
  });

  test('beyond the limits are refused while they come, and leave nothing', async () => {
    await start({ messageLimits: { archiveBytes: 100_000, messages: 1 } });
    // Far more than fits between the two: whoever still sends hears why.
    const answer = await upload(Buffer.alloc(20_000_000, 'x'));
    expect(code(answer)).toEqual([400, 'BAD_REQUEST']);
    expect((await upload(message({ a: 'b' }))).status).toBe(200);
    expect(code(await upload(message({ c: 'd' })))).toEqual([507, 'MESSAGES_FULL']);
    const box = join(root, '.syft-sync', 'messages');
    expect(await readdir(box)).toEqual(['inbox']);
    expect(await readdir(join(box, 'inbox'))).toHaveLength(1);
  });

  test('that break off leave nothing, and no page of another site can send one', async () => {
    await start();
    await new Promise<void>(resolve => {
      const req = request({
        socketPath: join(base, 'run', 's'),
        path: '/api/messages/receive',
        method: 'POST',
        headers: {
          host: 'localhost',
          'x-syft-sync-secret': SECRET,
          'x-syft-sync-request': '1',
          'content-type': 'application/x-syft',
          'content-length': '1000000'
        }
      });
      req.on('error', () => resolve());
      req.write(randomBytes(200_000));
      setTimeout(() => req.destroy(), 50);
    });
    expect(code(await upload(Buffer.from('x'), { 'x-syft-sync-request': '0' }))).toEqual([403, 'FORBIDDEN']);
    expect(code(await upload(Buffer.from('x'), { 'content-type': 'text/plain' }))).toEqual([400, 'BAD_REQUEST']);
    const elsewhere = await ask({ socketPath: join(base, 'run', 's') }, '/api/flush', {
      method: 'POST',
      rawBody: 'x',
      headers: { 'content-type': 'application/x-syft' }
    });
    expect(elsewhere.status).toBe(400);
    const box = join(root, '.syft-sync', 'messages');
    for (let i = 0; i < 100 && (await readdir(box)).length > 0; i += 1) await new Promise(r => setTimeout(r, 20));
    expect(await readdir(box)).toEqual([]);
  });
});

describe('sharing', () => {
  test('a folder is planned, sent to a file, noted in the outbox, and comes out of it again the same', async () => {
    await mkdir(join(root, 'data', 'deep'), { recursive: true });
    await writeFile(join(root, 'data', 'a.csv'), 'x\n1\n');
    await writeFile(join(root, 'data', 'deep', 'b.txt'), 'deep');
    await writeFile(join(root, 'data', 'left-out.tmp'), 'excluded');
    await symlink('a.csv', join(root, 'data', 'link'));
    await writeFile(join(root, 'beside.txt'), 'not asked for');
    await start({ excludePatterns: ['*.tmp'] });
    await post('/api/flush');
    const plan = (await post('/api/messages/plan', { paths: ['data'] })).json as PlanMessageResult;
    expect(plan.files.map(({ path, size }) => [path, size])).toEqual([
      ['data/a.csv', 4],
      ['data/deep/b.txt', 4]
    ]);
    expect(plan).toMatchObject({ bytes: 8, sealed: false, unsealable: [] });
    expect(plan.refused.map(({ path }) => path).sort()).toEqual(['data/left-out.tmp', 'data/link']);
    await writeFile(join(root, 'data', 'a.csv'), 'x\n1\n2\n');
    const body = { paths: ['data'], note: 'as agreed', deliver: { path: 'out.syft' } };
    const shared = await post('/api/messages/share', body);
    expect(shared.json).toMatchObject({ path: 'out.syft', files: 2, bytes: 10, sealed: false });
    const { id, messageId } = shared.json as ShareMessageResult;
    expect((await list('?box=outbox')).messages).toMatchObject([
      {
        id,
        messageId,
        state: 'verified',
        note: 'as agreed',
        files: 2,
        delivered: { path: 'out.syft' },
        sender: { own: true }
      }
    ]);
    expect((await get(`/api/messages/${id}`)).json).toMatchObject({
      fileList: [
        { path: 'data/a.csv', here: 'same' },
        { path: 'data/deep/b.txt', here: 'same' }
      ]
    });
    // What lies in the file is the message, whole and proven; it is our own.
    const looked = (await post('/api/messages/inspect', { path: 'out.syft' })).json as MessageDetail;
    expect(looked).toMatchObject({ state: 'verified', messageId, sender: { own: true }, note: 'as agreed' });
    const again = await get(`/api/messages/${id}/archive`);
    expect(again.headers['content-type']).toBe('application/x-syft');
    expect(again.body.length).toBeGreaterThan(100);
    expect((await upload(again.body)).json).toMatchObject({ messageId, state: 'verified' });
    // Nothing is kept twice, and nothing that stands there is replaced.
    expect(await readdir(join(root, '.syft-sync', 'messages', 'outbox', id))).toEqual(['detail.json', 'record.json']);
    expect(code(await post('/api/messages/share', body))).toEqual([400, 'BAD_REQUEST']);
    expect(code(await post('/api/messages/share', { ...body, deliver: { path: '../x.syft' } }))[0]).toBe(400);
    expect(code(await post('/api/messages/share', { ...body, deliver: { path: '.syft-sync/x' } }))[0]).toBe(400);
    expect(code(await post('/api/messages/share', { paths: ['none'], deliver: { keep: true } }))).toEqual([
      404,
      'PATH_NOT_FOUND'
    ]);
  });

  test('an answer is found by the message that it answers', async () => {
    await writeFile(join(root, 'q.txt'), 'question');
    await start();
    const asked = (await post('/api/messages/share', { paths: ['q.txt'], deliver: { keep: true } }))
      .json as ShareMessageResult;
    const { id } = (await upload(message({ 'a.txt': 'answer' }, key, { replyTo: asked.messageId })))
      .json as MessageSummary;
    const found = await list(`?q=${asked.messageId}`);
    expect(found.messages.map(each => [each.id, each.box])).toEqual(
      expect.arrayContaining([
        [id, 'inbox'],
        [asked.id, 'outbox']
      ])
    );
    const answered = (await get(`/api/messages/${id}`)).json as MessageDetail;
    const version = (await get('/api/history?path=q.txt')).json as { changes: { versionId: string }[] };
    const reply = await post('/api/messages/share', {
      versions: [version.changes[0]?.versionId],
      replyTo: answered.messageId,
      recipients: ['mallory@example.org'],
      deliver: { keep: true }
    });
    expect(reply.status).toBe(200);
    expect((await list('?box=outbox')).messages[0]).toMatchObject({ replyTo: ID, recipients: ['mallory@example.org'] });
  });

  test('whoever only reads the log lists, looks, and shares, and accepts nothing', async () => {
    await writeFile(join(root, 'a.txt'), 'mine');
    await start();
    await post('/api/flush');
    const { id } = (await upload(message({ 'b.txt': 'theirs' }))).json as MessageSummary;
    await start({}, 'reader');
    expect(((await get('/api/messages', 'reader')).json as MessagesPage).messages.map(each => each.id)).toEqual([id]);
    expect((await get(`/api/messages/${id}`, 'reader')).status).toBe(200);
    expect((await list()).unread).toBe(0);
    expect((await get(`/api/messages/content?id=${id}&file=0`, 'reader')).body.toString()).toBe('theirs');
    const shared = await post('/api/messages/share', { paths: ['a.txt'], deliver: { keep: true } }, 'reader');
    expect(shared.status).toBe(200);
    expect((await list('?box=outbox')).total).toBe(1);
    const refused = await post('/api/messages/accept', { id, trust: true, fingerprint: words }, 'reader');
    expect(code(refused)).toEqual([423, 'LOG_LOCKED']);
  });
});

test('whoever listens is told how many messages are unread', async () => {
  await start();
  const told = new Promise<string>((resolve, reject) => {
    const req = request(
      {
        socketPath: join(base, 'run', 's'),
        path: '/api/events',
        headers: { host: 'localhost', 'x-syft-sync-secret': SECRET }
      },
      res => {
        let all = '';
        res.setEncoding('utf8').on('data', (piece: string) => {
          all += piece;
          const found = /event: messages\ndata: (.*)\n/.exec(all)?.[1];
          if (found !== undefined) {
            req.destroy();
            resolve(found);
          }
        });
      }
    );
    req.on('error', reject);
    req.end();
    setTimeout(() => void upload(message({ a: 'b' })), 100);
  });
  expect(JSON.parse(await told)).toEqual({ unread: 1 });
});
