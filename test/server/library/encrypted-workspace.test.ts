/**
 * An encrypted log in use: recorded, indexed, asked, restored from, received and mirrored, fought over and killed. What a thief of the
 * disk finds outside of the watched folders has no name and no content in it.
 */
import { expect, test } from '@jest/globals';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { addEpoch, readKeyFile, unlockKeyFile, writeKeyFile } from '../../../server/src/crypto/key-file.ts';
import { versionId } from '../../../server/src/core/change.ts';
import { ChangeIndex } from '../../../server/src/index/change-index.ts';
import { keysWith, type EncryptionOptions } from '../../../server/src/library/encryption.ts';
import { LogStorage } from '../../../server/src/library/log-storage.ts';
import { LogMirror } from '../../../server/src/library/log-mirror.ts';
import { AppendOnlyLogWatcher } from '../../../server/src/library/watcher.ts';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { createEncryptedLog, unlockLog } from '../../../server/src/log/encryption.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { readFormatFile } from '../../../server/src/log/format-file.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import { MemoryStorage } from '../../../server/src/storage/memory.ts';
import { listAll, MAX_READ, readSmall } from '../../../server/src/storage/storage.ts';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import type { ConflictEvent } from '../../../server/src/sync/receiving.ts';
import { ownPlace } from './place.ts';

const at = ownPlace('data');
const PASSPHRASE = 'correct horse battery staple';
const CHEAP = { memory: 8 * 1024, passes: 1, lanes: 1 };
const NAME = 'Übernahmeplan-Zwickmühle';
const WORDS = 'the merger closes on the thirtieth of Brumaire';

const make = (dir: string): Promise<LogKeys> =>
  createEncryptedLog(dir, { passphrase: PASSPHRASE, recipients: [], cost: CHEAP });

/** Files below these places that tell one of the secrets, in their names or bytes, as they are or as text of them. */
function telling(places: readonly string[], secrets: readonly string[]): string[] {
  const forms = secrets.flatMap(secret => {
    const bytes = Buffer.from(secret);
    const hash = createHash('sha256').update(bytes).digest();
    return [
      bytes,
      bytes.toString('utf16le'),
      bytes.toString('hex'),
      // Wherever it begins in what is encoded.
      ...[0, 1, 2].map(n => bytes.subarray(n, n + Math.trunc((bytes.length - n) / 3) * 3).toString('base64')),
      hash,
      hash.toString('hex'),
      hash.toString('base64').slice(0, -2)
    ].map(form => Buffer.from(form as string));
  });
  const found: string[] = [];
  for (const place of places) {
    for (const entry of readdirSync(place, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const bytes = entry.isFile() ? readFileSync(path) : Buffer.alloc(0);
      if (forms.some(form => bytes.includes(form) || Buffer.from(entry.name).includes(form))) found.push(path);
    }
  }
  return found;
}

async function damages(dir: string, keys: LogKeys): Promise<unknown[]> {
  return Array.fromAsync(fsckLog(dir, { readData: true, masters: keys }));
}

test('nothing of it touches the disk in the clear: not while it is recorded, indexed, restored, received, nor after', async () => {
  const log = at('log');
  const keys = await make(log);
  const secrets = [NAME, WORDS, `${WORDS} again`, `${WORDS} mine`, `${WORDS} theirs`, 'Brumaire', 'Zwickmühle'];
  const places = [log, at('home')];
  mkdirSync(at('data', NAME));
  writeFileSync(at('data', NAME, 'Brumaire.txt'), WORDS);
  const workspace = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
  const index = ChangeIndex.open({ dir: join(log, 'index'), log: workspace.log, keys });
  workspace.on('change', change => index.add(change));
  await workspace.capture();
  const path = `${NAME}/Brumaire.txt`;
  const first = workspace.tree.get(path)!;
  writeFileSync(at('data', path), `${WORDS} again`);
  await workspace.capture();
  expect((await index.changes({ limit: 9, q: 'brumaire' })).total).toBe(2);
  expect((await index.history(path, { limit: 9 })).records).toHaveLength(2);
  expect(telling(places, secrets)).toEqual([]);
  await workspace.restore({ versionId: versionId(first) });
  expect(readFileSync(at('data', path), 'utf8')).toBe(WORDS);
  expect(telling(places, secrets)).toEqual([]);
  await index.close();
  await workspace.close();
  expect(readdirSync(at('data'))).toEqual([NAME]);

  // Another folder, whose own log is encrypted too, receives it; both change a file.
  const own = at('out', '.syft-sync');
  const ownKeys = await make(own);
  const keysOf = (dir: string): Promise<LogKeys | undefined> => unlockLog(dir, { passphrase: PASSPHRASE });
  const receive = async (): Promise<ConflictEvent[]> => {
    const conflicts: ConflictEvent[] = [];
    await using receiver = new SyftLogReceiver({ logPath: log, outputPath: at('out'), keysOf, recordWaitMs: 0 });
    receiver.on('conflict', event => conflicts.push(event));
    await receiver.runOnce();
    return conflicts;
  };
  expect(await receive()).toEqual([]);
  expect(readFileSync(at('out', path), 'utf8')).toBe(WORDS);
  {
    await using there = await Workspace.open({ root: at('out'), logDir: own, keys: ownKeys, hints: 'none' });
    await there.capture();
    // What was received is recorded as received: the announcement could be read.
    expect(there.tree.get(path)?.cause).toMatchObject({ kind: 'received', workspace: keys.workspace });
  }
  writeFileSync(at('out', path), `${WORDS} mine`);
  {
    await using here = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
    writeFileSync(at('data', path), `${WORDS} theirs`);
    utimesSync(at('data', path), 1e9, 1e9);
    await here.capture();
  }
  await receive();
  expect(telling([own, log, at('home')], secrets)).toEqual([]);
  const standing = readFileSync(at('out', path), 'utf8');
  const kept = join(at('out'), '.syft-sync-conflicts');
  // Neither is lost: it stands there, or is kept in the folder.
  if (standing !== `${WORDS} mine`) expect(telling([kept], [`${WORDS} mine`])).toHaveLength(1);
  {
    await using there = await Workspace.open({ root: at('out'), logDir: own, keys: ownKeys, hints: 'none' });
    await there.capture();
    expect([...there.tree.keys()].filter(name => name.startsWith('.syft-sync'))).toEqual([]);
  }
  expect(telling([own, log, at('home')], secrets)).toEqual([]);
  // The search finds what is there to be found.
  expect(telling([at('data')], [NAME])).not.toEqual([]);
  expect(telling([at('out')], ['Brumaire'])).not.toEqual([]);
  expect(await damages(log, keys)).toEqual([]);
  expect(await damages(own, ownKeys)).toEqual([]);
}, 60_000);

test('what is restored to elsewhere passes through no other place', async () => {
  const keys = await make(at('log'));
  writeFileSync(at('data', 'a'), WORDS);
  {
    await using workspace = await Workspace.open({ root: at('data'), logDir: at('log'), keys, hints: 'none' });
    await workspace.capture();
  }
  await using storage = new LogStorage(at('log'), { watchPath: at('data'), keysOf: () => Promise.resolve(keys) });
  const [version] = await storage.getFileHistory('a');
  const temporary = process.env['TMPDIR'];
  // Whoever stages there fails.
  process.env['TMPDIR'] = at('data', 'a', 'nowhere');
  try {
    await storage.restoreVersion(version?.versionId ?? '', at('elsewhere', 'a'));
    await expect(storage.restoreVersion(version?.versionId ?? '', at('data', 'a'), { force: true })).resolves.toBe(
      undefined
    );
  } finally {
    if (temporary === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = temporary;
  }
  expect(readFileSync(at('elsewhere', 'a'), 'utf8')).toBe(WORDS);
  expect(readdirSync(at('elsewhere'))).toEqual(['a']);
  expect(readdirSync(at('data'))).toEqual(['a']);
});

test('a start from the sealed checkpoint knows the files, and that of another log, swapped in, costs nothing', async () => {
  const keys = await make(at('log'));
  const others = await make(at('other'));
  for (let i = 0; i < 20; i += 1) writeFileSync(at('data', `${NAME}-${i}`), WORDS);
  const capture = async (log: string, with_: LogKeys): Promise<{ captured: number; unchanged: number }> => {
    await using workspace = await Workspace.open({ root: at('data'), logDir: log, keys: with_, hints: 'none' });
    return await workspace.capture();
  };
  expect(await capture(at('log'), keys)).toMatchObject({ captured: 20 });
  expect(await capture(at('log'), keys)).toMatchObject({ captured: 0, unchanged: 20 });
  expect(await capture(at('other'), others)).toMatchObject({ captured: 20 });
  const checkpoint = join('cache', 'checkpoint');
  const sound = readFileSync(at('log', checkpoint));
  expect(readFileSync(at('other', checkpoint)).equals(sound)).toBe(false);
  cpSync(at('other', checkpoint), at('log', checkpoint));
  expect(await capture(at('log'), keys)).toMatchObject({ captured: 0, unchanged: 20 });
  expect(telling([at('log'), at('other'), at('home')], [NAME, WORDS])).toEqual([]);
});

test('a mirror has the sealed bytes and the key file, follows a rotation, and can be read with the passphrase alone', async () => {
  const log = at('log');
  let keys = await make(log);
  const stored = new MemoryStorage();
  const mirrors = [new LogMirror(log, at('copy')), new LogMirror(log, stored)];
  const problems: string[] = [];
  for (const mirror of mirrors) mirror.on('problem', ({ code }) => problems.push(code));
  const record = async (text: string): Promise<void> => {
    writeFileSync(at('data', NAME), text);
    await using workspace = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
    await workspace.capture();
  };
  await record(WORDS);
  for (const mirror of mirrors) mirror.wake();
  const before = readFileSync(join(log, 'keys/master.json'));
  const rotated = await addEpoch(readKeyFile(log, keys.workspace), keys, {
    passphrase: PASSPHRASE,
    recipients: [],
    cost: CHEAP
  });
  writeKeyFile(log, rotated.file);
  keys = rotated.keys;
  await record(`${WORDS} again`);
  for (const mirror of mirrors) await mirror.stop();
  expect(problems).toEqual([]);
  expect(telling([at('copy'), log, at('home')], [NAME, WORDS])).toEqual([]);
  rmSync(log, { recursive: true });
  const opened = await unlockLog(at('copy'), { passphrase: PASSPHRASE });
  expect(opened?.newest).toBe(2);
  await using reader = await openLogReader({ dir: at('copy'), keys: opened });
  const texts: string[] = [];
  for await (const change of reader.changes()) texts.push((await reader.contentBytes(change)).toString());
  expect(texts).toEqual([WORDS, `${WORDS} again`]);
  expect(await damages(at('copy'), keys)).toEqual([]);
  await expect(unlockLog(at('copy'), { passphrase: 'guess' })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  for await (const { name } of listAll(stored, '')) {
    const bytes = (await readSmall(stored, name, MAX_READ))!;
    expect(bytes.includes(NAME) || bytes.includes(WORDS)).toBe(false);
  }
  // A log whose key file was put back to an older one does not take the newer one from its copy.
  cpSync(at('copy'), log, { recursive: true });
  writeFileSync(join(log, 'keys/master.json'), before);
  const mirror = new LogMirror(log, at('copy'));
  mirror.on('problem', ({ code }) => problems.push(code));
  await mirror.stop();
  expect(problems).toEqual(['KEY_MISMATCH']);
  expect(readKeyFile(at('copy'), keys.workspace).epochs).toHaveLength(2);
});

test('a receiver that runs goes on after a rotation, and takes nothing of it for damage', async () => {
  const log = at('log');
  const secret = { passphrase: PASSPHRASE };
  let keys = await make(log);
  const record = async (text: string): Promise<void> => {
    writeFileSync(at('data', 'a'), text);
    await using workspace = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
    await workspace.capture();
  };
  await record('before');
  const problems: string[] = [];
  await using receiver = new SyftLogReceiver({
    logPath: log,
    outputPath: at('out'),
    keysOf: keysWith(() => secret),
    pollIntervalMs: 50
  });
  receiver.on('problem', ({ code }) => problems.push(code));
  receiver.on('halted', ({ reason }) => problems.push(reason));
  await receiver.start();
  const { workspace, keyId } = readFormatFile(log);
  const file = readKeyFile(log, workspace);
  const old = await unlockKeyFile(file, secret, keyId);
  const rotated = await addEpoch(file, old, { ...secret, recipients: [], cost: CHEAP });
  writeKeyFile(log, rotated.file);
  ({ keys } = rotated);
  await record('after');
  while (problems.length === 0 && readFileSync(at('out', 'a'), 'utf8') !== 'after') {
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  expect(problems).toEqual([]);
});

test('the option of the library begins an encrypted log, and opens it again by any of its ways', async () => {
  const identity = await generateIdentity();
  const recipient = await identityToRecipient(identity);
  writeFileSync(at('identity'), `${identity}\n`, { mode: 0o600 });
  writeFileSync(at('passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 });
  writeFileSync(at('data', NAME), WORDS);
  const record = async (encryption?: EncryptionOptions): Promise<void> => {
    await using watcher = new AppendOnlyLogWatcher({
      watchPath: at('data'),
      logPath: at('log'),
      watcher: 'none',
      ...(encryption !== undefined && { encryption })
    });
    await watcher.start();
    await watcher.stop();
  };
  const history = async (encryption: EncryptionOptions): Promise<string[]> => {
    await using storage = new LogStorage(at('log'), { watchPath: at('data'), encryption });
    const versions = await storage.getFileHistory(NAME);
    return await Promise.all(versions.map(async ({ versionId }) => (await storage.readVersion(versionId)).toString()));
  };
  await expect(record({})).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await record({ passphraseFile: at('passphrase'), recipients: [recipient] });
  writeFileSync(at('data', NAME), `${WORDS} again`);
  // Opened with the identity alone, and recorded to.
  await record({ identityFile: at('identity') });
  for (const encryption of [{ passphrase: PASSPHRASE }, { identityFile: at('identity') }]) {
    expect(await history(encryption)).toEqual([`${WORDS} again`, WORDS]);
  }
  await expect(history({ passphrase: 'another' })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  await expect(record({ passphrase: 'another' })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
  await expect(record()).rejects.toMatchObject({ code: 'LOG_ENCRYPTED' });
  expect(telling([at('log')], [NAME, WORDS, PASSPHRASE])).toEqual([]);
});

test('without a log of its own, an output remembers what it received from an encrypted log sealed with the keys of that', async () => {
  const log = at('log');
  const keys = await make(log);
  mkdirSync(at('data', NAME));
  writeFileSync(at('data', NAME, 'kept'), WORDS);
  writeFileSync(at('data', NAME, 'gone-Zwickmühle'), WORDS);
  const capture = async (): Promise<void> => {
    await using workspace = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
    await workspace.capture();
  };
  await capture();
  const receive = async (passphrase: string): Promise<string[]> => {
    const problems: string[] = [];
    await using receiver = new SyftLogReceiver({
      logPath: log,
      outputPath: at('out'),
      keysOf: dir => unlockLog(dir, { passphrase })
    });
    receiver.on('problem', ({ code }) => problems.push(code));
    await receiver.runOnce();
    return problems;
  };
  expect(await receive('guess')).toEqual(['PASSPHRASE_WRONG']);
  expect(existsSync(at('out', NAME))).toBe(false);
  expect(await receive(PASSPHRASE)).toEqual([]);
  rmSync(at('data', NAME, 'gone-Zwickmühle'));
  await capture();
  expect(await receive(PASSPHRASE)).toEqual([]);
  expect(readdirSync(at('out', NAME))).toEqual(['kept']);
  expect(telling([at('out', '.syft-sync')], [NAME, 'Zwickmühle', WORDS])).toEqual([]);
});

test('a collaborator receives it from a storage with the passphrase, and is told what is missing without', async () => {
  const log = at('log');
  const keys = await make(log);
  writeFileSync(at('data', 'plan.txt'), WORDS);
  const workspace = await Workspace.open({ root: at('data'), logDir: log, keys, hints: 'none' });
  await workspace.capture();
  await workspace.close();
  const storage = new MemoryStorage();
  await new LogMirror(log, storage).stop();
  const receive = async (keysOf: (dir: string) => Promise<LogKeys | undefined>): Promise<unknown[]> => {
    const receiver = new SyftLogReceiver({
      logPath: storage,
      outputPath: at('out'),
      fetchPath: at('home', 'fetched'),
      keysOf
    });
    const problems: unknown[] = [];
    receiver.on('problem', ({ code }) => problems.push(code));
    await receiver.runOnce();
    await receiver.stop();
    return problems;
  };
  expect(await receive(dir => unlockLog(dir, undefined))).toEqual(['LOG_ENCRYPTED']);
  expect(await receive(dir => unlockLog(dir, { passphrase: PASSPHRASE }))).toEqual([]);
  expect(readFileSync(at('out', 'plan.txt'), 'utf8')).toBe(WORDS);
  expect(telling([at('home')], [WORDS, 'plan.txt'])).toEqual([]);

  // The key of a new epoch comes with what is sealed by it.
  const rotated = await addEpoch(readKeyFile(log, keys.workspace), keys, {
    passphrase: PASSPHRASE,
    recipients: [],
    cost: CHEAP
  });
  writeKeyFile(log, rotated.file);
  writeFileSync(at('data', 'plan.txt'), `${WORDS} again`);
  const again = await Workspace.open({ root: at('data'), logDir: log, keys: rotated.keys, hints: 'none' });
  await again.capture();
  await again.close();
  await new LogMirror(log, storage).stop();
  expect(await receive(dir => unlockLog(dir, { passphrase: PASSPHRASE }))).toEqual([]);
  expect(readFileSync(at('out', 'plan.txt'), 'utf8')).toBe(`${WORDS} again`);
});
