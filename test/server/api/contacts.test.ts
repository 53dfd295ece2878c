/** The routes of contacts and of the mailbox, on real sidecars: what one sends by a contact's name arrives in the other's inbox. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import type {
  ContactDto,
  ContactsDto,
  FetchMessagesResult,
  MessagesPage,
  ShareMessageResult,
  Status
} from '../../../server/src/api/contract.ts';
import { startSidecar, type Sidecar } from '../../../server/src/api/sidecar.ts';
import { contactLink } from '../../../server/src/messages/contact-link.ts';
import { readQr } from '../../../server/src/messages/qr.ts';
import { newKey } from '../messages/forge.ts';
import { ask, SECRET, silent, type Answer } from './listed-service.ts';

let base: string;
let open: Sidecar[];
const at = (...parts: string[]): string => join(base, ...parts);

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-contacts-api-'));
  open = [];
  await start('ana');
});
afterEach(async () => {
  for (const each of open.reverse()) await each.close();
  await rm(base, { recursive: true, force: true });
});

/** A sidecar with a configuration of its own, as on another machine. */
async function start(name: string): Promise<void> {
  process.env['SYFT_SYNC_HOME'] = at(`${name}-home`);
  await mkdir(at(name));
  const options = { root: at(name), socketPath: at('run', name), secret: SECRET, logger: silent, hints: 'none' };
  open.push(await startSidecar(options));
  while (((await get('/api/status', name)).json as Status).state !== 'recording') {
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

const send = (method: string, path: string, body: unknown = {}, name = 'ana'): Promise<Answer> =>
  ask({ socketPath: at('run', name) }, path, { method, body });
const get = (path: string, name = 'ana'): Promise<Answer> => ask({ socketPath: at('run', name) }, path);
const code = (answer: Answer): [number, string | undefined] => [
  answer.status,
  (answer.json as { error?: { code: string } }).error?.code
];
const all = async (name = 'ana'): Promise<ContactsDto> => (await get('/api/contacts', name)).json as ContactsDto;
const stranger = (name: string): string => contactLink({ name, publicKey: newKey().publicKey.toString('base64') });

describe('contacts', () => {
  test('are added by a link or its picture, listed, and forgotten by their words', async () => {
    const { me, contacts } = await all();
    expect(contacts).toEqual([]);
    expect(me).toMatchObject({ fingerprint: expect.stringMatching(/^[a-z]{5}(-[a-z]{5}){4}$/) });
    const added = (await send('POST', '/api/contacts', { link: stranger('ben') })).json as ContactDto;
    expect(added).toMatchObject({ name: 'ben' });
    const png = (await get(`/api/contacts/qr?format=png&name=${added.fingerprint}`)).body;
    expect(readQr(png)).toBe(added.link);
    expect((await send('DELETE', `/api/contacts/${added.fingerprint}`)).json).toEqual(added);
    const again = await send('POST', '/api/contacts', { picture: png.toString('base64') });
    expect(again.json).toEqual(added);
    expect((await all()).contacts).toEqual([added]);
    expect(code(await send('DELETE', '/api/contacts/nobody'))).toEqual([404, 'NOT_FOUND']);
  });

  test('another key under a known name is refused, as is what is no contact', async () => {
    await send('POST', '/api/contacts', { link: stranger('ben') });
    expect(code(await send('POST', '/api/contacts', { link: stranger('ben') }))).toEqual([422, 'SENDER_CHANGED']);
    for (const body of [
      { link: 'https://example.org' },
      { picture: Buffer.from('no picture').toString('base64') },
      { link: stranger('x'), picture: '' },
      { link: stranger('x'), recipient: 'age1none' },
      {}
    ]) {
      expect(code(await send('POST', '/api/contacts', body))).toEqual([400, 'BAD_REQUEST']);
    }
    expect((await all()).contacts).toHaveLength(1);
  });

  test('this installation is called as it is told, and its mailbox is made', async () => {
    const recipient = await identityToRecipient(await generateX25519Identity());
    const mailbox = pathToFileURL(at('box')).href;
    const changed = await send('PATCH', '/api/contacts/me', { name: 'Ana <&>', recipient, mailbox });
    expect(changed.json).toMatchObject({ name: 'Ana <&>', recipient, mailbox });
    expect((await all()).me).toEqual(changed.json);
    expect(await readdir(at('box'))).toEqual(['syft-sync-mailbox.json']);
    for (const body of [
      { name: 'a\u0000' },
      { recipient: 'age1x' },
      { mailbox: 'gopher://x' },
      { mailbox: at('box') }
    ]) {
      expect(code(await send('PATCH', '/api/contacts/me', body))).toEqual([400, 'BAD_REQUEST']);
    }
    const svg = await get('/api/contacts/qr');
    expect(svg.headers['content-type']).toMatch(/^image\/svg\+xml/);
    expect(svg.body.toString()).toContain('<title>Ana &lt;&amp;&gt;, ');
    expect((await all()).me).toEqual(changed.json);
  });
});

describe('a message by a contact’s name', () => {
  const fetch = async (name: string): Promise<FetchMessagesResult> =>
    (await send('POST', '/api/messages/fetch', {}, name)).json as FetchMessagesResult;

  test('goes into the mailbox and comes out of it into the inbox, once', async () => {
    const mailbox = pathToFileURL(at('box')).href;
    process.env['SYFT_SYNC_HOME'] = at('ana-home');
    await writeFile(at('ana', 'a.txt'), 'one');
    await start('ben');
    const ben = (await send('PATCH', '/api/contacts/me', { name: 'Ben', mailbox }, 'ben')).json as ContactDto;
    const ana = (await all()).me;
    await send('POST', '/api/contacts', { link: ben.link });
    await send('POST', '/api/contacts', { link: ana.link }, 'ben');

    const share = await send('POST', '/api/messages/share', { paths: ['a.txt'], deliver: { contact: 'Ben' } });
    const { messageId } = share.json as ShareMessageResult;
    expect(await fetch('ben')).toEqual({ received: 1, mailboxes: 1, problems: [] });
    const { messages } = (await get('/api/messages', 'ben')).json as MessagesPage;
    expect(messages).toMatchObject([
      { messageId, state: 'verified', source: 'mailbox', sender: { name: ana.name }, recipients: ['Ben'] }
    ]);
    expect(await fetch('ben')).toEqual({ received: 0, mailboxes: 1, problems: [] });
    expect(await readdir(at('box'))).toEqual(['syft-sync-mailbox.json']);
  });

  test('is refused where no mailbox is known, or where none is', async () => {
    await writeFile(at('ana', 'a.txt'), 'one');
    await send('POST', '/api/contacts', { link: stranger('ben') });
    const share = { paths: ['a.txt'], deliver: { contact: 'ben' } };
    expect(code(await send('POST', '/api/messages/share', share))).toEqual([400, 'BAD_REQUEST']);
    const link = stranger('ben');
    await send('DELETE', '/api/contacts/ben');
    await send('POST', '/api/contacts', { link, mailbox: pathToFileURL(at('nowhere')).href });
    expect(code(await send('POST', '/api/messages/share', share))).toEqual([404, 'NOT_FOUND']);
    expect(((await get('/api/messages')).json as MessagesPage).messages).toEqual([]);
    expect(await readdir(base)).not.toContain('nowhere');
  });

  test('a mailbox that is not there is a problem and no failure; without one there is nothing to do', async () => {
    expect(await fetch('ana')).toEqual({ received: 0, mailboxes: 0, problems: [] });
    await send('PATCH', '/api/contacts/me', { mailbox: pathToFileURL(at('box')).href });
    await rm(at('box'), { recursive: true });
    expect(await fetch('ana')).toMatchObject({
      received: 0,
      mailboxes: 1,
      problems: [expect.stringContaining('no mailbox at')]
    });
  });
});
