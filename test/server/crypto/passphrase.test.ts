/** A passphrase that is shown, inherited by others or cut short opens a log to somebody, or to nobody. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import {
  findPassphrase,
  passphraseFromFile,
  takePassphraseFromEnvironment
} from '../../../server/src/crypto/passphrase.ts';

const dir = mkdtempSync(join(tmpdir(), 'syft-passphrase-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const file = (text: string): string => {
  const path = join(mkdtempSync(join(dir, 'p-')), 'passphrase');
  writeFileSync(path, text);
  return path;
};

test('the first line of a file, whatever ends it, and nothing else of it', () => {
  expect(passphraseFromFile(file('two words \n'))).toBe('two words ');
  expect(passphraseFromFile(file('two words\r\nsecond line\n'))).toBe('two words');
  expect(passphraseFromFile(file('none at the end'))).toBe('none at the end');
  const refused = expect.objectContaining({ code: 'BAD_REQUEST' });
  for (const path of [file(''), file('\nsecond'), join(dir, 'missing'), dir, file('x'.repeat(4097))]) {
    expect(() => passphraseFromFile(path)).toThrow(refused);
  }
});

test('a file goes before the environment, from which it is taken out; with neither and nobody to ask there is none', async () => {
  expect(await findPassphrase(undefined, undefined)).toBeUndefined();
  const env: NodeJS.ProcessEnv = { SYFT_SYNC_PASSPHRASE: 'from the environment', PATH: '/bin' };
  takePassphraseFromEnvironment(env);
  expect(env).toEqual({ PATH: '/bin' });
  expect(await findPassphrase(undefined, undefined)).toBe('from the environment');
  expect(await findPassphrase(file('from a file\n'), undefined)).toBe('from a file');
});

// A terminal of its own, with Python's pty: what the child writes, echo included, is all that is printed.
const ON_A_TERMINAL = `
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:2] + sys.argv[3:])
shown = b''
keys = sys.argv[2].encode().decode('unicode_escape').encode()
while True:
    try:
        got = os.read(fd, 4096)
    except OSError:
        break
    if not got: break
    shown += got
    if got.endswith(b': '):
        line, _, keys = keys.partition(b'|')
        os.write(fd, line)
os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
`;
const ASKS = `
import { findPassphrase } from ${JSON.stringify(resolve('server/src/crypto/passphrase.ts'))};
try {
  const terminal = { input: process.stdin, output: process.stdout };
  console.log('GOT', Buffer.from(await findPassphrase(undefined, terminal, process.argv[1] === 'fresh')).toString('hex'));
} catch (error) { console.log('FAILED', error.code); }
`;
function typed(keys: string, fresh = false): string {
  const node = [process.execPath, keys, '--input-type=module', '-e', ASKS, ...(fresh ? ['fresh'] : [])];
  return spawnSync('python3', ['-c', ON_A_TERMINAL, ...node], { timeout: 30_000 }).stdout.toString();
}
const got = (text: string): string => `GOT ${Buffer.from(text).toString('hex')}`;

test('what is typed is not shown, and can be corrected', () => {
  const shown = typed('secreT\\x7ft words\\r');
  expect(shown).toContain(got('secret words'));
  expect(shown).not.toContain('secre');
  expect(typed('wrong\\x15right\\r')).toContain(got('right'));
});

test('Ctrl-C and an empty line give none', () => {
  expect(typed('abc\\x03')).toContain('FAILED CANCELLED');
  expect(typed('\\r')).toContain('FAILED BAD_REQUEST');
});

test('a new one is asked for twice', () => {
  expect(typed('same\\r|same\\r', true)).toContain(got('same'));
  expect(typed('same\\r|some\\r', true)).toContain('FAILED BAD_REQUEST');
});
