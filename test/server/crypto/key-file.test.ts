import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { identitiesIn, unwrapByIdentity, wrapForRecipients } from '../../../server/src/crypto/age.ts';
import { argon2id, COST_BOUNDS, portableArgon2id } from '../../../server/src/crypto/argon2.ts';
import {
  addEpoch,
  canonicalKeyFile,
  createKeyFile,
  KEY_FILE,
  readKeyFile,
  rewrapKeyFile,
  unlockKeyFile,
  writeKeyFile,
  type KeyFile
} from '../../../server/src/crypto/key-file.ts';
import { deriveKey } from '../../../server/src/crypto/log-keys.ts';

const dir = mkdtempSync(join(tmpdir(), 'syft-keys-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const WORKSPACE = '00112233445566778899aabbccddeeff';
const cost = { memory: COST_BOUNDS.memory.least, passes: 1, lanes: 1 };
const passphrase = 'correct horse battery staple';
// Made with age-keygen, as is SEALED_BY_AGE below with `age -a -r`.
const IDENTITY = 'AGE-SECRET-KEY-1E4HJFM3GERLGW08HUK6T4LU3M5L58MLDKZCFUA4ZPR24KNZJESSQSLD45A';
const RECIPIENT = 'age13r75d3fqp00tycj8jw6yswhtlfx2chdv26x57ywep6c680emkprsa3lkey';
const SEALED_BY_AGE = `-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBHYW1UYkJkTmN6TTMzVnZl
Z1A1UVcycDl0TURTQmFlcTVpcG5FWTZRRVVNCmNBdUwwV0V1bjF2cVdGbmRPRUFF
K2F3aU0zWUpFdzZnVG9CekpqRUEvN1UKLS0tIDlpeURSMU4zdjRjb2FtQkdsTmFr
VTkzM2YwMVZRVDFmTWdqUlFPWkxzL2MKCznyQuQE/9sQKCDpRxaoZ9FjY3jkxuQK
STsMIKSx9O6sXKyzfiBJe3EU+cEdnFS30Z65VgCKK7p+i+Aqx75ZZQ==
-----END AGE ENCRYPTED FILE-----
`;

function fresh(): string {
  return mkdtempSync(join(dir, 'log-'));
}

function edit(logDir: string, change: (file: KeyFile) => object): void {
  const path = join(logDir, KEY_FILE);
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as KeyFile)));
}

test('the keys come back by the passphrase, and only by it', async () => {
  const log = fresh();
  const { file, keys } = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  writeKeyFile(log, file);
  expect(statSync(join(log, KEY_FILE)).mode & 0o777).toBe(0o600);
  expect(statSync(join(log, 'keys')).mode & 0o777).toBe(0o700);
  const again = await unlockKeyFile(readKeyFile(log, WORKSPACE), { passphrase }, keys.keyId);
  expect(again.master(1)).toEqual(keys.master(1));
  await expect(unlockKeyFile(file, { passphrase: `${passphrase} ` }, keys.keyId)).rejects.toMatchObject({
    code: 'PASSPHRASE_WRONG'
  });
  const text = readFileSync(join(log, KEY_FILE), 'utf8');
  expect(text).not.toContain((keys.master(1) as Buffer).toString('base64'));
  expect(text).not.toContain(keys.keyId);
});

test('a passphrase typed with composed or decomposed letters is the same one', async () => {
  const { file, keys } = await createKeyFile(WORKSPACE, { passphrase: 'Gr\u00fc\u00dfe', recipients: [], cost });
  await unlockKeyFile(file, { passphrase: 'Gru\u0308\u00dfe' }, keys.keyId);
});

test('argon2id is that of RFC 9106, with and without help from Node', async () => {
  // From the tests of the reference implementation (phc-winner-argon2, version 1.3).
  const known = '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe';
  const how = { memory: 256, passes: 2, lanes: 1 };
  const salt = Buffer.from('somesalt');
  expect((await argon2id('password', salt, how)).toString('hex')).toBe(known);
  expect((await portableArgon2id(Buffer.from('password'), salt, how)).toString('hex')).toBe(known);
});

test('a lost key file, a damaged one and one of another log are told apart', async () => {
  const log = fresh();
  expect(() => readKeyFile(log, WORKSPACE)).toThrow(expect.objectContaining({ code: 'KEY_MISSING' }));
  const { file, keys } = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  writeKeyFile(log, file);
  expect(() => readKeyFile(log, 'ff'.repeat(16))).toThrow(expect.objectContaining({ code: 'KEY_MISMATCH' }));

  // One of the same workspace, made anew with the same passphrase.
  const other = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  writeKeyFile(log, other.file);
  await expect(unlockKeyFile(readKeyFile(log, WORKSPACE), { passphrase }, keys.keyId)).rejects.toMatchObject({
    code: 'KEY_MISMATCH'
  });

  writeKeyFile(log, file);
  const whole = readFileSync(join(log, KEY_FILE));
  for (let at = 0; at < whole.length; at += 1) {
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] as number) ^ 1;
    writeFileSync(join(log, KEY_FILE), flipped);
    let code: unknown = 'none';
    try {
      // What only spaces the file otherwise changes nothing of what it says.
      if (JSON.stringify(readKeyFile(log, WORKSPACE)) === JSON.stringify(file)) code = 'same';
    } catch (error) {
      code = (error as { code?: unknown }).code;
    }
    expect(['KEY_DAMAGED', 'same', 'LOG_NEWER_FORMAT']).toContain(code);
  }
  writeFileSync(join(log, KEY_FILE), whole.subarray(0, whole.length / 2));
  expect(() => readKeyFile(log, WORKSPACE)).toThrow(expect.objectContaining({ code: 'KEY_DAMAGED' }));
});

test('a file that asks for more memory than there is, or for endless work, is refused before it is paid', async () => {
  const log = fresh();
  const { file } = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  for (const much of [{ memory: 2 ** 31 }, { passes: 1e9 }, { lanes: 2 ** 24 - 1 }, { memory: 1 }]) {
    writeKeyFile(log, file);
    edit(log, body => ({ ...body, passphrase: { ...body.passphrase, ...much } }));
    expect(() => readKeyFile(log, WORKSPACE)).toThrow(expect.objectContaining({ code: 'KEY_DAMAGED' }));
  }
  writeFileSync(join(log, KEY_FILE), Buffer.alloc(5 * 2 ** 20, ' '));
  expect(() => readKeyFile(log, WORKSPACE)).toThrow(expect.objectContaining({ code: 'KEY_DAMAGED' }));
});

test('nobody without the keys can add himself as a recipient, even with every checksum made right', async () => {
  const { file, keys } = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  const forged = { ...file, recipients: [RECIPIENT] };
  await expect(unlockKeyFile(forged, { passphrase }, keys.keyId)).rejects.toMatchObject({ code: 'KEY_DAMAGED' });
});

test('nobody who knows a recipient can slip in an epoch whose key he has himself', async () => {
  const { file, keys } = await createKeyFile(WORKSPACE, { recipients: [RECIPIENT], cost });
  const own = await createKeyFile(WORKSPACE, { recipients: [RECIPIENT], cost });
  const epochs = [file.epochs[0]!, { ...own.file.epochs[0]!, epoch: 2 }];
  const body = { ...file, epochs };
  // All that he can sign with is his own key.
  const key = deriveKey(own.keys.master(1)!, WORKSPACE, 'key-file', Buffer.alloc(0));
  const mac = createHmac('sha256', key).update(canonicalKeyFile(body)).digest('base64');
  await expect(unlockKeyFile({ ...body, mac }, { identities: [IDENTITY] }, keys.keyId)).rejects.toMatchObject({
    code: 'KEY_DAMAGED'
  });
});

test('another passphrase opens the same keys, and the former one no longer does', async () => {
  const { file, keys } = await createKeyFile(WORKSPACE, { passphrase, recipients: [], cost });
  const changed = await rewrapKeyFile(file, keys, { passphrase: 'new', recipients: [], cost });
  expect((await unlockKeyFile(changed, { passphrase: 'new' }, keys.keyId)).master(1)).toEqual(keys.master(1));
  await expect(unlockKeyFile(changed, { passphrase }, keys.keyId)).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
});

test('a rotation keeps the old keys readable and shuts out who only had those', async () => {
  const made = await createKeyFile(WORKSPACE, { passphrase, recipients: [RECIPIENT], cost });
  const rotated = await addEpoch(made.file, made.keys, { passphrase, recipients: [], cost });
  const keys = await unlockKeyFile(rotated.file, { passphrase }, made.keys.keyId);
  expect(keys.epochs).toEqual([1, 2]);
  expect(keys.newest).toBe(2);
  expect(keys.master(1)).toEqual(made.keys.master(1));
  expect(keys.master(2)).not.toEqual(made.keys.master(1));
  // Contents stored before are found again.
  expect(keys.chunkId(Buffer.alloc(32))).toEqual(made.keys.chunkId(Buffer.alloc(32)));
  await expect(unlockKeyFile(rotated.file, { identities: [IDENTITY] }, made.keys.keyId)).rejects.toMatchObject({
    code: 'PASSPHRASE_WRONG'
  });
  // An epoch that was taken away, or put in from elsewhere, is noticed.
  const [first] = rotated.file.epochs;
  const cut = { ...rotated.file, epochs: first === undefined ? [] : [first] };
  await expect(unlockKeyFile(cut, { passphrase }, made.keys.keyId)).rejects.toMatchObject({ code: 'KEY_DAMAGED' });
});

test('a key without a way to it is not made', async () => {
  await expect(createKeyFile(WORKSPACE, { recipients: [], cost })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(createKeyFile(WORKSPACE, { recipients: ['age1nonsense'], cost })).rejects.toMatchObject({
    code: 'BAD_REQUEST'
  });
});

test('a recipient opens the keys with the identity; others do not', async () => {
  const { file, keys } = await createKeyFile(WORKSPACE, { recipients: [RECIPIENT] });
  const identities = identitiesIn(`# created: today\n# public key: ${RECIPIENT}\n${IDENTITY}\n`);
  expect((await unlockKeyFile(file, { identities }, keys.keyId)).master(1)).toEqual(keys.master(1));
  const { generateX25519Identity } = await import('age-encryption');
  await expect(unlockKeyFile(file, { identities: [await generateX25519Identity()] }, keys.keyId)).rejects.toMatchObject(
    { code: 'PASSPHRASE_WRONG' }
  );
  await expect(unlockKeyFile(file, { passphrase }, keys.keyId)).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
});

test('what the age command line encrypted is read', async () => {
  expect((await unwrapByIdentity([IDENTITY], SEALED_BY_AGE))?.toString()).toBe('thirty-two bytes, as a key has..');
});

const AGE = process.env['AGE'] ?? 'age';
(spawnSync(AGE, ['--version']).status === 0 ? test : test.skip)(
  'the age command line reads what was wrapped here',
  async () => {
    const folder = fresh();
    writeFileSync(join(folder, 'identity'), `${IDENTITY}\n`, { mode: 0o600 });
    writeFileSync(join(folder, 'key.age'), await wrapForRecipients([RECIPIENT], Buffer.from('a key')));
    const read = spawnSync(AGE, ['-d', '-i', join(folder, 'identity'), join(folder, 'key.age')]);
    expect(read.stderr.toString()).toBe('');
    expect(read.stdout.toString()).toBe('a key');
  }
);
