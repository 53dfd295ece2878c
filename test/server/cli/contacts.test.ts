/** `contacts`, as a shell calls it: links and pictures from one installation to another. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let base: string;
let ana: CommandLine;
let ben: CommandLine;
const at = (name: string): string => join(base, name);

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-contacts-'));
  for (const name of ['ana', 'ben']) mkdirSync(at(name));
  ana = new CommandLine(at('ana'), at('ana-home'));
  ben = new CommandLine(at('ben'), at('ben-home'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** What a failed command said: its status and the code of its error. */
async function failed(cli: CommandLine, ...args: string[]): Promise<[number | null, string | undefined]> {
  const { status, stderr } = await cli.run(['--json', ...args]);
  return [status, /"code":"([A-Z_]+)"/.exec(stderr)?.[1]];
}

test('a contact goes over as a picture, a file or through a pipe, with what it is called and where its messages go', async () => {
  const mailbox = `file://${at('box')}`;
  const [me] = await ana.ok('contacts', 'me', '--name', 'Ana', '--mailbox', mailbox, '-o', at('me.png'));
  expect(me).toMatchObject({ name: 'Ana', mailbox, file: at('me.png') });
  expect(statSync(at('me.png')).mode & 0o777).toBe(0o600);
  const [added] = await ben.ok('contacts', 'add', at('me.png'));
  expect(added).toMatchObject({ name: 'Ana', mailbox, fingerprint: me!['fingerprint'], link: me!['link'] });
  // Passed on, it is what she signed.
  await ben.ok('contacts', 'rename', 'Ana', 'my sister');
  await ben.ok('contacts', 'export', 'my sister', '-o', at('ana.txt'));
  expect(readFileSync(at('ana.txt'), 'utf8')).toBe(`${String(me!['link'])}\n`);
  await ana.ok('contacts', 'add', at('ana.txt'));
  await ben.ok('contacts', 'remove', 'my sister');
  const child = ben.spawn(['contacts', 'add', '-']);
  child.stdin?.end(readFileSync(at('me.png')));
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(await ben.ok('contacts', 'list')).toMatchObject([{ name: 'Ana', mailbox }]);
});

test('the code is drawn, and the SVG is one', async () => {
  const { stdout } = await ana.run(['contacts', 'me', '--qr']);
  expect(stdout).toMatch(/^[ █▀▄\n]+$/);
  await ana.ok('contacts', 'me', '-o', at('me.svg'));
  expect(readFileSync(at('me.svg'), 'utf8')).toMatch(/^<svg [^>]*><title>[^<]+: a contact of Syft Sync<\/title>/);
});

test('one more device of a contact is believed by the words of its key, and not without', async () => {
  const lap = new CommandLine(at('ana'), at('ana-laptop'));
  const [desk] = await ana.ok('contacts', 'me', '--name', 'Ana');
  const [laptop] = await lap.ok('contacts', 'me', '--name', 'Ana');
  const link = String(laptop!['link']);
  await ben.ok('contacts', 'add', String(desk!['link']), '--words', String(desk!['fingerprint']));
  expect(await failed(ben, 'contacts', 'add', link)).toEqual([3, 'SENDER_CHANGED']);
  const unasked = await ben.run(['contacts', 'add', link, '--device-of', 'Ana']);
  expect([unasked.status, unasked.stderr.includes(String(laptop!['fingerprint']))]).toEqual([2, false]);
  const wrong = String(desk!['fingerprint']);
  expect(await failed(ben, 'contacts', 'add', link, '--device-of', 'Ana', '--words', wrong)).toEqual([
    3,
    'SENDER_UNKNOWN'
  ]);
  const words = String(laptop!['fingerprint']);
  await ben.ok('contacts', 'add', link, '--device-of', 'Ana', '--words', words);
  expect((await ben.ok('contacts', 'list')).map(({ name, fingerprint }) => [name, fingerprint])).toEqual([
    ['Ana', desk!['fingerprint']],
    ['Ana', words]
  ]);
});

test('what is no contact is said, and nobody is added', async () => {
  writeFileSync(at('not.png'), 'GIF89a');
  expect(await failed(ben, 'contacts', 'add', at('not.png'))).toEqual([2, 'BAD_REQUEST']);
  expect(await failed(ben, 'contacts', 'add', at('none.png'))).toEqual([4, 'PATH_NOT_FOUND']);
  expect(await failed(ben, 'contacts', 'add', '/dev/zero')).toEqual([2, 'BAD_REQUEST']);
  expect(await failed(ben, 'contacts', 'me', '--mailbox', 'gopher://x')).toEqual([2, 'BAD_REQUEST']);
  expect(await failed(ben, 'contacts', 'list', '--qr')).toEqual([2, 'BAD_REQUEST']);
  expect(await ben.ok('contacts', 'list')).toEqual([]);
});
