/** `send` and `inbox`, as a shell calls them: a message goes from one installation to another by the name of a contact. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { CommandLine } from './run.ts';

let base: string;
let ana: CommandLine;
let ben: CommandLine;
const at = (...parts: string[]): string => join(base, ...parts);
/** What lies in Ben's mailbox, and what is left of what was being sent or received. */
const mail = (): string[] => readdirSync(at('box')).filter(name => name.startsWith('m-'));
const inWork = (who: string): string[] =>
  readdirSync(at(who, '.syft-sync', 'messages')).filter(name => name.startsWith('new-'));

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-mailbox-'));
  for (const name of ['ana', 'ben']) mkdirSync(at(name));
  ana = new CommandLine(at('ana'), at('ana-home'));
  ben = new CommandLine(at('ben'), at('ben-home'));
  writeFileSync(at('ana', 'a.txt'), 'one');
  await ana.ok('capture');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** What a failed command said: its status and the code of its error. */
async function failed(cli: CommandLine, ...args: string[]): Promise<[number | null, string | undefined]> {
  const { status, stderr } = await cli.run(['--json', ...args]);
  return [status, /"code":"([A-Z_]+)"/.exec(stderr)?.[1]];
}

test('what is sent by name arrives once, is what it is, and comes into the workspace when it is accepted', async () => {
  const [me] = await ben.ok('contacts', 'me', '--name', 'Ben', '--mailbox', `file://${at('box')}`);
  await ana.ok('contacts', 'add', String(me!['link']));
  expect(await failed(ana, 'send', 'a.txt', '--to', 'Eve')).toEqual([4, 'NOT_FOUND']);
  const [sent] = await ana.ok('send', 'a.txt', '--to', 'Ben', '--note', 'look');
  expect(sent).toMatchObject({ to: ['Ben'], mailboxes: [`file://${at('box')}`], sealed: false });
  expect([mail().length, inWork('ana')]).toEqual([1, []]);

  expect(await failed(ben, 'inbox')).toEqual([4, 'LOG_MISSING']);
  await ben.ok('init');
  const [fetched] = await ben.ok('inbox', 'fetch');
  expect(fetched).toMatchObject({
    messageId: sent!['messageId'],
    state: 'new-sender',
    note: 'look',
    source: 'mailbox'
  });
  expect([mail(), inWork('ben')]).toEqual([[], []]);
  expect(await ben.ok('inbox', 'fetch')).toEqual([]);
  const id = String(fetched!['id']).slice(0, 8);
  expect(await failed(ben, 'inbox', 'accept', id)).toEqual([3, 'SENDER_UNKNOWN']);
  expect(existsSync(at('ben', 'a.txt'))).toBe(false);
  const [change] = await ben.ok('inbox', 'accept', id, '--trust', '--to', 'from ana');
  expect(change).toMatchObject({ path: 'from ana/a.txt', cause: { kind: 'message', message: sent!['messageId'] } });
  expect((await ben.ok('inbox'))[0]).toMatchObject({ state: 'verified', accepted: { changes: 1, to: 'from ana' } });
  await ben.ok('inbox', 'remove', id);
  expect(await ben.ok('inbox', 'list')).toEqual([]);
});

test('in an encrypted log a sealed message is opened by who it is for, also beside a recorder', async () => {
  const identity = await generateX25519Identity();
  writeFileSync(at('key'), `${identity}\n`, { mode: 0o600 });
  writeFileSync(at('passphrase'), 'correct horse\n', { mode: 0o600 });
  const secret = ['--passphrase-file', at('passphrase')];
  await ben.ok(...secret, 'init', '--encrypt');
  const age = await identityToRecipient(identity);
  const [me] = await ben.ok('contacts', 'me', '--mailbox', `file://${at('box')}`, '--age', age, '--name', 'Ben');
  await ana.ok('contacts', 'add', String(me!['link']));
  expect((await ana.ok('send', 'a.txt', '--to', 'Ben'))[0]).toMatchObject({ sealed: true });
  const [entry] = await ben.ok(...secret, 'inbox', 'fetch');
  expect(entry).toMatchObject({ state: 'locked' });
  const open = [...secret, '--identity-file', at('key')];
  const recorder = await ben.watch(...secret);
  const [change] = await ben.ok(...open, 'inbox', 'accept', String(entry!['id']), '--trust');
  expect(change).toMatchObject({ path: 'a.txt' });
  expect(readFileSync(at('ben', 'a.txt'), 'utf8')).toBe('one');
  expect(await recorder.end()).toBe(0);
});

test('a mailbox that is not there is told, and nothing else is made in its place', async () => {
  await ben.ok('init');
  expect(await failed(ben, 'inbox', 'fetch')).toEqual([2, 'BAD_REQUEST']);
  const [me] = await ben.ok('contacts', 'me', '--mailbox', `file://${at('box')}`, '--name', 'Ben');
  await ana.ok('contacts', 'add', String(me!['link']));
  rmSync(at('box'), { recursive: true });
  expect(await failed(ana, 'send', 'a.txt', '--to', 'Ben')).toEqual([4, 'NOT_FOUND']);
  expect(await failed(ben, 'inbox', 'fetch')).toEqual([1, 'UNAVAILABLE']);
  expect(existsSync(at('box'))).toBe(false);
  expect(await failed(ben, 'inbox', 'list', '--keep')).toEqual([2, 'BAD_REQUEST']);
  expect(await failed(ben, 'inbox', 'accept', 'abcd')).toEqual([4, 'NOT_FOUND']);
});

test('what went to some is told: it is not to be sent to them once more', async () => {
  const eve = new CommandLine(at('ben'), at('eve-home'));
  for (const [cli, name] of [
    [ben, 'Ben'],
    [eve, 'Eve']
  ] as const) {
    const [me] = await cli.ok(
      'contacts',
      'me',
      '--name',
      name,
      '--mailbox',
      `file://${at(name === 'Ben' ? 'box' : 'gone')}`
    );
    await ana.ok('contacts', 'add', String(me!['link']));
  }
  rmSync(at('gone'), { recursive: true });
  const half = await ana.run(['send', 'a.txt', '--to', 'Ben', '--to', 'Eve']);
  expect([half.status, half.stderr]).toEqual([4, expect.stringContaining('delivered to Ben, and not to Eve')]);
  // An outbox that cannot be written makes no failure of what was delivered.
  writeFileSync(at('ana', '.syft-sync', 'messages', 'outbox'), 'in the way');
  const sent = await ana.run(['--json', 'send', 'a.txt', '--to', 'Ben', '--note', 'again']);
  expect([sent.status, sent.stderr]).toEqual([0, expect.stringContaining('not in the outbox')]);
  expect([mail().length, sent.json[0]!['id']]).toEqual([2, undefined]);
});
