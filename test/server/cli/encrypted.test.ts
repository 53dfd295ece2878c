/** An encrypted log from a shell: made, opened in each way, its keys changed, and each thing that can be wrong said as what it is. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine, type Finished } from './run.ts';
import { Terminal } from './terminal.ts';

let base: string;
let root: string;
let cli: CommandLine;

const NAME = 'Kündigungsschreiben-Zwickmühle';
const WORDS = 'the merger closes on the thirtieth of Brumaire';

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-encrypted-'));
  root = join(base, 'work');
  mkdirSync(root);
  cli = new CommandLine(root, join(base, 'home'));
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

function secretFile(name: string, text: string): string {
  const path = join(base, name);
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return path;
}

/** The same shell with a passphrase in its environment. */
function withPassphrase(passphrase: string): CommandLine {
  const other = new CommandLine(root, join(base, 'home'));
  other.env['SYFT_SYNC_PASSPHRASE'] = passphrase;
  return other;
}

const failed = ({ status, stderr }: Finished): unknown[] => [status, stderr];

/** Every byte below a directory. */
function bytesBelow(dir: string): Buffer {
  return Buffer.concat(
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .flatMap(entry => [Buffer.from(`${entry.name}\n`), readFileSync(join(entry.parentPath, entry.name))])
  );
}

test('a log is made encrypted, recorded, read, watched and pruned, and no name or content touches the disk', async () => {
  const file = secretFile('passphrase', 'a good one');
  const [made] = await cli.ok('init', '--encrypt', '--passphrase-file', file);
  expect(made).toEqual({
    log: join(root, '.syft-sync'),
    workspace: expect.stringMatching(/^[0-9a-f]{32}$/),
    encrypted: true,
    keyId: expect.stringMatching(/^[0-9a-f]{32}$/)
  });
  const mine = withPassphrase('a good one');
  for (const text of ['one', 'two', 'three']) {
    writeFileSync(join(root, `${NAME}.txt`), `${WORDS} ${text}`);
    await mine.ok('capture');
  }
  writeFileSync(join(root, `${NAME}.ipynb`), JSON.stringify({ cells: [{ source: WORDS }], nbformat: 4, metadata: {} }));
  const watch = await mine.watch();
  writeFileSync(join(root, `${NAME}.md`), WORDS);
  await watch.until(line => line['path'] === `${NAME}.md`);
  // Asked of the recorder, without any key of one's own.
  await cli.ok('flush');
  expect(await watch.end()).toBe(0);
  await mine.ok('label', `${NAME}.txt@-1`, `${WORDS} label`);
  await mine.ok('prune', '--keep-all', '0h', '--yes');
  const history = await cli.ok('history', `${NAME}.txt`, '--passphrase-file', file);
  expect(history).toHaveLength(3);
  expect((await mine.run(['show', `${NAME}.txt@-1`])).stdout).toBe(`${WORDS} two`);
  rmSync(join(root, `${NAME}.md`));
  await mine.ok('restore', `${NAME}.md@latest`);
  expect(readFileSync(join(root, `${NAME}.md`), 'utf8')).toBe(WORDS);
  expect((await mine.ok('usage')).length).toBeGreaterThan(2);
  const proof = join(base, 'proof');
  await mine.ok('prove', `${NAME}.md@latest`, '-o', proof);
  expect(await cli.ok('verify-proof', proof)).toMatchObject([{ proven: { path: `${NAME}.md` } }]);
  const [device = ''] = readdirSync(join(root, '.syft-sync', 'log'));
  // Nor the name of the machine, which every copy of a log takes along.
  expect(JSON.parse(readFileSync(join(root, '.syft-sync', 'log', device, 'device.json'), 'utf8'))).toMatchObject({
    device,
    name: ''
  });
  for (const dir of [join(root, '.syft-sync'), join(base, 'home')]) {
    const bytes = bytesBelow(dir);
    for (const secret of [NAME, WORDS, 'Zwickm', 'Brumaire', 'a good one']) expect(bytes.includes(secret)).toBe(false);
  }
}, 60_000);

test('without what opens it, with a wrong one, and without its key file, it is said what is wrong and what to do', async () => {
  const mine = withPassphrase('right');
  writeFileSync(join(root, 'a.txt'), 'a');
  await mine.ok('capture', '--encrypt');
  expect(failed(await cli.run(['log']))).toEqual([
    1,
    expect.stringMatching(/is encrypted\. Give its passphrase.*--identity-file.*\[LOG_ENCRYPTED\]\n$/)
  ]);
  expect(failed(await cli.run(['capture']))).toEqual([1, expect.stringMatching(/\[LOG_ENCRYPTED\]\n$/)]);
  expect(failed(await withPassphrase('wrong').run(['log']))).toEqual([
    1,
    'syft-sync: The passphrase is wrong. [PASSPHRASE_WRONG]\n'
  ]);
  expect(failed(await mine.run(['init', '--encrypt']))).toEqual([2, expect.stringMatching(/already/)]);
  const open = secretFile('open', 'right');
  chmodSync(open, 0o644);
  const warned = await cli.run(['log', '--passphrase-file', open]);
  expect(failed(warned)).toEqual([0, expect.stringMatching(/others can read .*open.*chmod 600/)]);
  expect(failed(await cli.run(['log', '--passphrase-file', join(base, 'nowhere')]))).toEqual([
    2,
    expect.stringMatching(/nowhere cannot be read \(ENOENT\)/)
  ]);
  const path = join(root, '.syft-sync/keys/master.json');
  const kept = readFileSync(path);
  rmSync(path);
  // Whoever is asked for a passphrase must be able to do something with it: the missing file is said first.
  expect(failed(await cli.run(['log']))).toEqual([
    4,
    expect.stringMatching(/key file .* is gone\..*\[KEY_MISSING\]\n$/)
  ]);
  const other = join(base, 'other');
  mkdirSync(other);
  await mine.ok('-C', other, 'init', '--encrypt');
  cpSync(join(other, '.syft-sync/keys/master.json'), path);
  expect(failed(await mine.run(['log']))).toEqual([3, expect.stringMatching(/another log.*\[KEY_MISMATCH\]\n$/)]);
  writeFileSync(path, kept);
  expect(await mine.ok('log')).toHaveLength(1);
  // A plain log is not asked about, whatever the environment has, and does not become an encrypted one.
  const plain = join(base, 'plain');
  mkdirSync(plain);
  await mine.ok('-C', plain, 'init');
  expect(failed(await mine.run(['-C', plain, 'capture', '--encrypt']))).toEqual([
    3,
    expect.stringMatching(/from its beginning or never.*\[KEY_MISMATCH\]\n$/)
  ]);
  expect(await mine.ok('-C', plain, 'log')).toEqual([]);
}, 60_000);

test('keys: a new passphrase, a recipient more and less, a rotation; the old opens no more, and nothing is lost', async () => {
  const old = secretFile('old', 'old');
  const fresh = secretFile('fresh', 'fresh');
  const identity = await generateIdentity();
  const recipient = await identityToRecipient(identity);
  const identities = secretFile('identity', `# made by a test\n${identity}`);
  await cli.ok('init', '--encrypt', '--passphrase-file', old);
  writeFileSync(join(root, 'a.txt'), 'before');
  await cli.ok('capture', '--passphrase-file', old);
  expect(await cli.ok('keys')).toEqual([
    expect.objectContaining({ passphrase: true, recipients: [], epochs: [expect.objectContaining({ epoch: 1 })] })
  ]);
  await cli.ok('keys', 'add-recipient', recipient, '--passphrase-file', old);
  expect(await cli.ok('log', '--identity-file', identities)).toHaveLength(1);
  await cli.ok('keys', 'passphrase', '--passphrase-file', old, '--new-passphrase-file', fresh);
  expect(failed(await cli.run(['log', '--passphrase-file', old]))[1]).toMatch(/PASSPHRASE_WRONG/);
  expect(await cli.ok('log', '--passphrase-file', fresh)).toHaveLength(1);
  // Opened by an identity, the passphrase is needed all the same: the new key must open with it too.
  expect(failed(await cli.run(['keys', 'rotate', '--identity-file', identities]))).toEqual([
    2,
    expect.stringMatching(/give the passphrase beside the identity/)
  ]);
  const [rotated] = await cli.ok('keys', 'rotate', '--passphrase-file', fresh);
  expect(rotated).toMatchObject({ epochs: [{ epoch: 1 }, { epoch: 2 }], recipients: [recipient] });
  writeFileSync(join(root, 'a.txt'), 'after');
  cli.env['SYFT_SYNC_IDENTITY'] = identities;
  await cli.ok('capture');
  expect((await cli.run(['show', 'a.txt@-1'])).stdout).toBe('before');
  expect((await cli.run(['show', 'a.txt@latest'])).stdout).toBe('after');
  delete cli.env['SYFT_SYNC_IDENTITY'];
  // The last thing that opens a log stays; without it the history would be lost.
  const before = readFileSync(join(root, '.syft-sync', 'keys', 'master.json'), 'utf8');
  const [alone] = await cli.ok('keys', 'remove-passphrase', '--identity-file', identities);
  expect(alone).toMatchObject({ passphrase: false, recipients: [recipient] });
  expect(failed(await cli.run(['log', '--passphrase-file', fresh]))[1]).toMatch(/opens with an age identity/);
  expect((await cli.run(['show', 'a.txt@-1', '--identity-file', identities])).stdout).toBe('before');
  expect(failed(await cli.run(['keys', 'remove-passphrase', '--identity-file', identities]))[0]).toBe(4);
  writeFileSync(join(root, '.syft-sync', 'keys', 'master.json'), before);
  await cli.ok('keys', 'remove-recipient', recipient, '--passphrase-file', fresh);
  const lone = readFileSync(join(root, '.syft-sync', 'keys', 'master.json'), 'utf8');
  const [status, why] = failed(await cli.run(['keys', 'remove-passphrase', '--passphrase-file', fresh]));
  expect([status, why]).toEqual([2, expect.stringMatching(/add an age recipient first/)]);
  expect(readFileSync(join(root, '.syft-sync', 'keys', 'master.json'), 'utf8')).toBe(lone);
  expect(failed(await cli.run(['log', '--identity-file', identities]))[1]).toMatch(/not encrypted for them/);
  expect(await cli.ok('log', '--passphrase-file', fresh)).toHaveLength(2);
  expect(failed(await cli.run(['keys', 'remove-recipient', recipient, '--passphrase-file', fresh]))[0]).toBe(4);
  // Not while somebody records.
  cli.env['SYFT_SYNC_PASSPHRASE_FILE'] = fresh;
  const watch = await cli.watch();
  expect((await cli.run(['keys', 'rotate'])).status).toBe(5);
  await watch.end();
}, 60_000);

test('a log for age recipients alone has no passphrase', async () => {
  const identity = await generateIdentity();
  const identities = secretFile('identity', identity);
  await cli.ok('init', '--encrypt', '--recipient', await identityToRecipient(identity));
  writeFileSync(join(root, 'a.txt'), 'a');
  await cli.ok('capture', '--identity-file', identities);
  expect((await cli.run(['show', 'a.txt@latest', '--identity-file', identities])).stdout).toBe('a');
  expect(failed(await withPassphrase('any').run(['log']))[1]).toMatch(/opens with an age identity/);
  expect(failed(await cli.run(['init', '--recipient', 'age1x']))[0]).toBe(2);
}, 60_000);

/** Waits for a question: a line, and no screen. */
async function asks(terminal: Terminal, question: string): Promise<void> {
  while (!terminal.raw.includes(question)) {
    if (terminal.child.exitCode !== null) throw new Error(`ended without "${question}": ${terminal.raw}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

test('at a terminal the passphrase is asked for, twice when it is new, and never shown', async () => {
  const init = new Terminal(cli, ['init', '--encrypt']);
  await asks(init, 'New passphrase: ');
  init.type('typed by hand\r');
  await asks(init, 'The same again: ');
  init.type('typed by hand\r');
  expect(await init.end()).toBe(0);
  expect(init.raw).not.toContain('typed by hand');
  expect(init.left).toBe('cooked');
  writeFileSync(join(root, 'a.txt'), 'a');
  await withPassphrase('typed by hand').ok('capture');
  const log = new Terminal(cli, ['log']);
  await asks(log, 'Passphrase: ');
  log.type('typed by hand\r');
  await asks(log, 'a.txt');
  expect(await log.end()).toBe(0);
  expect(log.raw).not.toContain('typed by hand');
}, 60_000);

test('a sidecar of JupyterLab says in the words of its configuration what an encrypted log needs', async () => {
  cli.env['SYFT_SYNC_SECRET'] = 'secret';
  const child = cli.spawn(['serve', '--encrypt', '--port', '0', '--stdin-lifeline', '-q']);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout?.on('data', (piece: Buffer) => {
        text += piece.toString();
        const found = /"url":"([^"]+)"/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once('exit', status => reject(new Error(`serve ended with ${String(status)}`)));
    });
    const headers = { authorization: 'Bearer secret' };
    let error: { code: string; message: string } | undefined;
    while (error === undefined) {
      const answer = await fetch(`${url}/api/status`, { headers });
      error = ((await answer.json()) as { error?: typeof error }).error;
    }
    expect(error).toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('c.SyftSync.passphrase_file')
    });
    expect(error.message).not.toMatch(/--passphrase-file|prompt|terminal/);
  } finally {
    child.stdin?.end();
    await new Promise(resolve => child.once('close', resolve));
  }
}, 60_000);
