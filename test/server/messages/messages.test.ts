/** Messages from one installation to another: what was sent arrives, is proven, and nobody else is taken for the sender. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { SyftAppendOnlyLogWatcher } from '../../../server/src/library/watcher.ts';
import { Contacts } from '../../../server/src/messages/contacts.ts';
import { fingerprint } from '../../../server/src/messages/fingerprint.ts';
import type { ExportOptions } from '../../../server/src/library/export-message.ts';
import { archive, file, manifestOf, newKey, signedMembers } from './forge.ts';

let dir: string;
const at = (...parts: string[]): string => join(dir, ...parts);
const text = (...parts: string[]): Promise<string> => readFile(at(...parts), 'utf8');

/** A workspace and a configuration of its own, as on another machine. */
function installation(name: string): { watcher: SyftAppendOnlyLogWatcher; configuration: string } {
  return {
    watcher: new SyftAppendOnlyLogWatcher({ watchPath: at(name), watcher: 'none' }),
    configuration: at(`${name}-home`)
  };
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-message-'));
  await mkdir(at('ana', 'data'), { recursive: true });
  await mkdir(at('ben'));
  await writeFile(at('ana', 'data', 'a.csv'), 'x,y\n1,2\n');
  await writeFile(at('ana', 'model.bin'), Buffer.from([0, 1, 2, 255]));
  await chmod(at('ana', 'model.bin'), 0o750);
  await utimes(at('ana', 'model.bin'), 1_790_000_000, 1_790_000_000);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Records what Ana has, and sends the latest versions of some paths. */
async function send(paths: readonly string[], options: ExportOptions = {}, name = 'm.syft') {
  const ana = installation('ana');
  await using watcher = ana.watcher;
  await watcher.start();
  await watcher.flush();
  await watcher.stop();
  const versions = paths.map(path => `${at('ana', path)}@latest`);
  return await watcher.exportSyftArchive(versions, at(name), {
    configuration: ana.configuration,
    sender: 'ana@lab',
    ...options
  });
}

async function receive(options: object = {}, name = 'm.syft') {
  const ben = installation('ben');
  await using watcher = ben.watcher;
  return await watcher.importSyftArchive(at(name), { configuration: ben.configuration, ...options });
}

test('several files arrive with content, mode and time, and say that they came by a message', async () => {
  const sent = await send(['data/a.csv', 'model.bin'], { note: 'as of today', recipients: ['ben@lab'] });
  const changes = await receive({ trust: true });
  expect(await text('ben', 'data', 'a.csv')).toBe('x,y\n1,2\n');
  expect([...(await readFile(at('ben', 'model.bin')))]).toEqual([0, 1, 2, 255]);
  const { mode, mtimeMs } = await stat(at('ben', 'model.bin'));
  expect([mode & 0o777, mtimeMs]).toEqual([0o750, 1_790_000_000_000]);
  expect(changes.map(({ path, cause }) => [path, cause])).toEqual([
    ['data/a.csv', { kind: 'message', message: sent.messageId, version: sent.versions[0] }],
    ['model.bin', { kind: 'message', message: sent.messageId, version: sent.versions[1] }]
  ]);
});

test('a stranger sees what is proven and what is only claimed', async () => {
  const { messageId, versions, unproven } = await send(['data/a.csv'], { note: 'look', replyTo: 'msg_x' });
  expect(unproven).toEqual([]);
  const verified = await installation('ben').watcher.verifySyftArchive(at('m.syft'));
  expect(verified).toMatchObject({
    ok: true,
    id: messageId,
    form: 'syft-sync',
    note: 'look',
    replyTo: 'msg_x',
    sender: { name: 'ana@lab' }
  });
  expect(verified.proven.map(({ fact }) => fact)).toEqual(['contents', 'signature', 'recorded']);
  expect(verified.proven[2]).toMatchObject({ path: 'data/a.csv', value: versions[0] });
  expect(verified.claimed.map(({ fact }) => fact)).toEqual(['sender', 'note', 'reply', 'time']);
  expect(await readdir(at('ben'))).toEqual([]);
});

test('the same message is the same bytes', async () => {
  await send(['data/a.csv', 'model.bin'], { note: 'n' }, 'one.syft');
  await send(['data/a.csv', 'model.bin'], { note: 'n' }, 'two.syft');
  expect((await readFile(at('two.syft'))).equals(await readFile(at('one.syft')))).toBe(true);
  expect((await stat(at('one.syft'))).mode & 0o777).toBe(0o600);
});

test('an unknown sender is told by the words of the key, believed when a person says so, and known from then on', async () => {
  await send(['data/a.csv']);
  const words = /key ([a-z]{5}(?:-[a-z]{5}){4}),/;
  await expect(receive()).rejects.toMatchObject({ code: 'SENDER_UNKNOWN', message: expect.stringMatching(words) });
  expect(await readdir(at('ben'))).not.toContain('data');
  await receive({ trust: true });
  await rm(at('ben', 'data'), { recursive: true });
  expect(await receive()).toHaveLength(1);
  expect((await stat(at('ben-home', 'contacts.json'))).mode & 0o777).toBe(0o600);
});

test('another key under a known name is refused, even by who trusts', async () => {
  await send(['data/a.csv']);
  await receive({ trust: true });
  await send(['model.bin'], { configuration: at('mallory-home') });
  await expect(receive({ trust: true })).rejects.toMatchObject({ code: 'SENDER_CHANGED' });
  expect(await readdir(at('ben'))).not.toContain('model.bin');
});

test('what this installation sent itself is taken without a question', async () => {
  await send(['data/a.csv']);
  const ana = installation('ana');
  await writeFile(at('ana', 'data', 'a.csv'), 'lost');
  const changes = await ana.watcher.importSyftArchive(at('m.syft'), { configuration: ana.configuration });
  expect(changes.map(({ kind, path }) => [kind, path])).toEqual([['modified', 'data/a.csv']]);
  expect(await text('ana', 'data', 'a.csv')).toBe('x,y\n1,2\n');
});

test('what stood in the way is in the history, and can be put back', async () => {
  await send(['data/a.csv']);
  await mkdir(at('ben', 'data'));
  await writeFile(at('ben', 'data', 'a.csv'), 'mine, never recorded');
  const [change] = await receive({ trust: true });
  const { watcher } = installation('ben');
  const history = await watcher.getFileHistory(at('ben', 'data', 'a.csv'));
  expect(history.map(({ versionId }) => versionId)[0]).toBe(change?.versionId);
  await watcher.restoreVersion({
    filePath: at('ben', 'data', 'a.csv'),
    versionId: history[1]?.versionId ?? '',
    restorePath: at('mine')
  });
  expect(await text('mine')).toBe('mine, never recorded');
});

test('the files go below a folder that is asked for', async () => {
  await send(['data/a.csv']);
  expect((await receive({ trust: true, to: 'from/ana' })).map(({ path }) => path)).toEqual(['from/ana/data/a.csv']);
  await expect(receive({ to: '.syft-sync/x' })).rejects.toMatchObject({ code: 'PATH_INVALID' });
  await expect(receive({ to: '../outside' })).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
});

test('an import that is given up half-way puts back what it replaced', async () => {
  const paths = Array.from({ length: 20 }, (_, i) => `data/f${i}`);
  for (const path of paths) await writeFile(at('ana', path), `new ${path}`);
  await send(paths);
  await mkdir(at('ben', 'data'));
  await writeFile(at('ben', 'data', 'f0'), 'mine');
  const ben = installation('ben');
  await using watcher = ben.watcher;
  await watcher.start();
  const controller = new AbortController();
  watcher.on('event', ({ change }) => {
    if (change.cause?.kind === 'message' && change.path === 'data/f3') controller.abort();
  });
  const importing = watcher.importSyftArchive(at('m.syft'), {
    trust: true,
    configuration: ben.configuration,
    signal: controller.signal
  });
  await expect(importing).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(await readdir(at('ben', 'data'))).toEqual(['f0']);
  expect(await text('ben', 'data', 'f0')).toBe('mine');
  expect(await new Contacts(ben.configuration).list()).toEqual([]);
});

test('what cannot be sent is said before anything is written', async () => {
  await send(['data/a.csv']);
  await writeFile(at('ana', 'data', 'a.csv'), 'second');
  const ana = installation('ana');
  await ana.watcher.start();
  await ana.watcher.stop();
  const twice = [`${at('ana', 'data', 'a.csv')}@latest`, `${at('ana', 'data', 'a.csv')}@-1`];
  await rm(at('m.syft'));
  const attempt = (versions: string[], options: ExportOptions = {}) =>
    ana.watcher.exportSyftArchive(versions, at('m.syft'), { configuration: ana.configuration, ...options });
  await expect(attempt(twice)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(attempt([])).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(attempt([`${at('ana', 'no')}@latest`])).rejects.toMatchObject({ code: 'PATH_NOT_FOUND' });
  await expect(attempt(twice.slice(0, 1), { recipients: ['age1nonsense'] })).rejects.toMatchObject({
    code: 'BAD_REQUEST'
  });
  expect((await readdir(dir)).filter(name => /syft$|tmp/.test(name))).toEqual([]);
});

test('a name that is not UTF-8 arrives as it is', async () => {
  await writeFile(Buffer.concat([Buffer.from(at('ana', 'b')), Buffer.from([0xff])]), 'odd');
  await send(['b\\xFF']);
  expect((await receive({ trust: true })).map(({ path }) => path)).toEqual(['b\\xFF']);
  const names = await readdir(at('ben'), { encoding: 'buffer' });
  expect(names.map(name => name.toString('latin1'))).toContain('b\u00ff');
});

describe('sealed for its recipients', () => {
  const keygen = (): { identity: string; recipient: string } => {
    const made = execFileSync('age-keygen', { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return {
      identity: /^AGE-SECRET-KEY-1\S+$/m.exec(made)?.[0] ?? '',
      recipient: /public key: (age1\S+)/.exec(made)?.[1] ?? ''
    };
  };
  test('`age -d` opens it, only they can, and what age sealed is opened here', async () => {
    const ben = keygen();
    const sent = await send(['data/a.csv'], { recipients: [ben.recipient] });
    expect(sent.sealed).toBe(true);
    const bytes = await readFile(at('m.syft'));
    for (const plain of ['a.csv', 'ana@lab', 'x,y', sent.messageId]) expect(bytes.includes(plain)).toBe(false);
    await writeFile(at('ben.key'), ben.identity, { mode: 0o600 });
    const opened = execFileSync('age', ['-d', '-i', at('ben.key'), at('m.syft')]);
    expect(gunzipSync(opened).includes('x,y\n1,2\n')).toBe(true);
    await expect(receive({ trust: true })).rejects.toMatchObject({ code: 'KEY_MISSING' });
    await expect(receive({ trust: true, identities: [keygen().identity] })).rejects.toMatchObject({
      code: 'KEY_MISMATCH'
    });
    await writeFile(at('plain.syft'), opened);
    execFileSync('age', ['-r', ben.recipient, '-o', at('age.syft'), at('plain.syft')]);
    expect(await receive({ trust: true, identities: [ben.identity] }, 'age.syft')).toHaveLength(1);
    expect(await receive({ identities: [ben.identity] })).toEqual([]);
    expect(await text('ben', 'data', 'a.csv')).toBe('x,y\n1,2\n');
  });

  test('one that was altered or cut off is refused', async () => {
    const ben = keygen();
    await writeFile(at('ana', 'big'), Buffer.alloc(300_000, 'abc\n'));
    await send(['model.bin', 'big'], { recipients: [ben.recipient] });
    const bytes = await readFile(at('m.syft'));
    const altered = Buffer.from(bytes);
    altered[bytes.length - 30] = (altered[bytes.length - 30] ?? 0) ^ 1;
    for (const wrong of [altered, bytes.subarray(0, bytes.length - 40)]) {
      await writeFile(at('m.syft'), wrong);
      await expect(receive({ trust: true, identities: [ben.identity] })).rejects.toMatchObject({
        code: 'ARCHIVE_INVALID'
      });
    }
    expect(await readdir(at('ben'))).not.toContain('model.bin');
  });

  test('a contact with an age key gets it sealed by name', async () => {
    const ben = keygen();
    const contacts = new Contacts(at('ana-home'));
    await contacts.add({ name: 'ben@lab', publicKey: newKey().publicKey.toString('base64'), recipient: ben.recipient });
    expect((await send(['data/a.csv'], { recipients: ['ben@lab'] })).sealed).toBe(true);
    await expect(send(['data/a.csv'], { recipients: ['ben@lab', 'eve@lab'] })).rejects.toMatchObject({
      code: 'BAD_REQUEST'
    });
  });
});

describe('proofs', () => {
  test('a proof that belongs to another version is found out', async () => {
    await writeFile(at('ana', 'data', 'b.csv'), 'other');
    await send(['data/a.csv', 'data/b.csv'], {}, 'both.syft');
    const tar = gunzipSync(await readFile(at('both.syft'))).toString('utf8');
    const manifest = JSON.parse(/\{"format":"syft-sync\.message\/1".*?\}\n/s.exec(tar)?.[0] ?? '{}') as ReturnType<
      typeof manifestOf
    >;
    const [a, b] = manifest.files;
    const key = newKey();
    const body = Buffer.from('x,y\n1,2\n');
    const forged = manifestOf(key, [file('data/a.csv', body, { ...a, proof: b?.proof })]);
    const contents = [{ name: `${forged.id}/data/data/a.csv`, body }];
    await writeFile(at('m.syft'), archive(signedMembers(key, forged, contents)));
    await expect(receive({ trust: true })).rejects.toThrow(/another version/);
    // With its own proof, sent on by somebody else: proven, and said whose log it was.
    const passedOn = manifestOf(key, [file('data/a.csv', body, { ...a })]);
    await writeFile(at('m.syft'), archive(signedMembers(key, passedOn, contents)));
    const { ok, proven } = await installation('ben').watcher.verifySyftArchive(at('m.syft'));
    expect([ok, proven.at(-1)?.text]).toEqual([true, expect.stringMatching(/in a log signed by the key/)]);
  });

  test('a signature over a checkpoint is none over a message, and the other way round', async () => {
    await send(['data/a.csv']);
    const tar = gunzipSync(await readFile(at('m.syft')));
    const evil = Buffer.from(tar.toString('latin1').replace('syft-sync.message.', 'syft-sync.massage.'), 'latin1');
    await writeFile(at('m.syft'), gzipSync(evil));
    await expect(receive({ trust: true })).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });
});

describe('fingerprints', () => {
  test('the words of a key are the same everywhere', () => {
    expect(fingerprint(Buffer.alloc(32))).toBe(fingerprint(Buffer.alloc(32)));
    expect(fingerprint(Buffer.alloc(32))).toMatch(/^[a-z]{5}(?:-[a-z]{5}){4}$/);
    expect(fingerprint(Buffer.alloc(32))).not.toBe(fingerprint(Buffer.alloc(32, 1)));
  });
});
