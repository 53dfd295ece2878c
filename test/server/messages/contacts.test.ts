/** Whom this installation knows: what was confirmed stays confirmed, and nobody comes by the name or the mailbox of another. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import * as fc from 'fast-check';
import { contactLink, parseContactLink, type ContactCard } from '../../../server/src/messages/contact-link.ts';
import { Contacts, linkOf, wordsOf } from '../../../server/src/messages/contacts.ts';
import { changeOwnContact, ownContact, ownSettings } from '../../../server/src/messages/own-contact.ts';
import { COMPILED, program } from '../program.ts';
import { newKey } from './forge.ts';

let dir: string;
let contacts: Contacts;
const at = (...parts: string[]): string => join(dir, ...parts);
const key = (): string => newKey().publicKey.toString('base64');
const refused = (code: string): object => expect.objectContaining({ code });
const recipient = async (): Promise<string> => identityToRecipient(await generateX25519Identity());

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-contacts-'));
  contacts = new Contacts(at('home'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('links', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
    .filter(text => text.trim() !== '' && !/[\p{Cc}\p{Cf}\u2028\u2029\u115f\u1160\u3164\ufffd]/u.test(text));
  const card = (publicKey: string): fc.Arbitrary<ContactCard> =>
    fc.record(
      {
        name,
        publicKey: fc.constant(publicKey),
        recipient: fc.stringMatching(/^age1[02-9ac-hj-np-z]{58}$/),
        mailbox: fc.webPath().map(path => `file:///mnt${path}`)
      },
      { requiredKeys: ['name', 'publicKey'] }
    );

  test('a link gives back whom it was made of', () => {
    const own = newKey();
    fc.assert(
      fc.property(card(own.publicKey.toString('base64')), made => {
        expect(parseContactLink(contactLink(made, own.privateKey))).toEqual(made);
        // What another says of somebody is the name and the key.
        expect(parseContactLink(contactLink(made))).toEqual({ name: made.name, publicKey: made.publicKey });
      }),
      { numRuns: 50 }
    );
  });

  test('what was altered on the way is refused: where messages go, and who opens them', async () => {
    const own = newKey();
    const made = {
      name: 'ana@lab',
      publicKey: own.publicKey.toString('base64'),
      recipient: await recipient(),
      mailbox: 'file:///mnt/ana'
    };
    const link = contactLink(made, own.privateKey);
    const mallory = newKey();
    const changed = (change: (values: URLSearchParams) => void): string => {
      const values = new URLSearchParams(link.slice('syft-sync:contact?'.length));
      change(values);
      return `syft-sync:contact?${values.toString()}`;
    };
    const theirs = await recipient();
    for (const altered of [
      changed(values => values.set('age', theirs)),
      changed(values => values.set('box', 'file:///mnt/mallory')),
      changed(values => values.set('name', 'ben@lab')),
      changed(values => values.delete('age')),
      changed(values => values.delete('box')),
      changed(values => values.delete('sig')),
      changed(values => values.append('age', theirs)),
      changed(values => values.set('key', mallory.publicKey.toString('base64url')))
    ]) {
      expect(() => parseContactLink(altered)).toThrow(refused('BAD_REQUEST'));
    }
    // Of the name and the key, which a person compares, anybody can tell.
    const bare = changed(values => ['age', 'box', 'sig'].forEach(part => values.delete(part)));
    expect(parseContactLink(bare)).toEqual({ name: made.name, publicKey: made.publicKey });
  });

  test('what is no link of a contact is refused', () => {
    const good = contactLink({ name: 'a', publicKey: key() });
    for (const link of [
      '',
      'https://x',
      'syft-sync:contact',
      'syft-sync:contact?name=a',
      'syft-sync:contact?name=a&key=AAAA',
      good.replace('name=a', 'name='),
      good.replace('name=a', 'name=a%0Ab'),
      good.replace('name=a', 'name=a%E2%80%AEb'),
      `${good}&name=b`,
      `${good}&x=${'y'.repeat(20_000)}`
    ]) {
      expect(() => parseContactLink(link)).toThrow(refused('BAD_REQUEST'));
    }
  });

  test('a mailbox has an address without a password', () => {
    const own = newKey();
    const made = { name: 'a', publicKey: own.publicKey.toString('base64') };
    for (const mailbox of ['/mnt/ana', 'mnt', 's3://id:secret@host/bucket', 'file:///a b', 'file:///a\nb', 'x://']) {
      expect(() => contactLink({ ...made, mailbox }, own.privateKey)).toThrow(refused('BAD_REQUEST'));
    }
  });
});

test('a name has one key; removed, it may have another', async () => {
  const [one, two] = [key(), key()];
  await contacts.add({ name: 'ana', publicKey: one });
  await expect(contacts.add({ name: 'ana', publicKey: two })).rejects.toMatchObject({ code: 'SENDER_CHANGED' });
  expect(await contacts.standingOf({ name: 'ana', publicKey: one }, [])).toBe('known');
  expect(await contacts.standingOf({ name: 'ana', publicKey: two }, [])).toBe('changed');
  expect(await contacts.standingOf({ name: 'ben', publicKey: two }, [])).toBe('new');
  expect(await contacts.standingOf({ name: 'ana' }, [])).toBe('unsigned');
  await contacts.remove('ana');
  await contacts.add({ name: 'ana', publicKey: two });
  expect((await contacts.list()).map(({ publicKey }) => publicKey)).toEqual([two]);
  await expect(contacts.remove('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await stat(at('home', 'contacts.json'))).mode & 0o777).toBe(0o600);
});

test('nobody comes by a name by writing it otherwise, nor with a key that is known for another', async () => {
  const [ana, ben] = [key(), key()];
  await contacts.add({ name: 'Ana Lovelace', publicKey: ana });
  await contacts.add({ name: 'ben', publicKey: ben });
  for (const name of ['ana lovelace', ' Ana  Lovelace ', 'Ａna Lovelace']) {
    expect(await contacts.standingOf({ name, publicKey: key() }, [])).toBe('changed');
    await expect(contacts.add({ name, publicKey: key() })).rejects.toMatchObject({ code: 'SENDER_CHANGED' });
  }
  expect(await contacts.standingOf({ name: 'Ana Lovelace', publicKey: ben }, [])).toBe('changed');
  expect(await contacts.standingOf({ name: 'whatever', publicKey: ben }, [])).toBe('known');
});

describe('somebody with several devices', () => {
  test('has several keys under one name, each added on purpose', async () => {
    const [desk, lap] = [key(), key()];
    await contacts.add({ name: 'ana', publicKey: desk });
    const device = await contacts.add({ name: 'ana@laptop', publicKey: lap }, { deviceOf: 'ana' });
    expect(device.name).toBe('ana');
    for (const publicKey of [desk, lap]) {
      expect(await contacts.standingOf({ name: 'ana', publicKey }, [])).toBe('known');
    }
    expect(await contacts.standingOf({ name: 'ana', publicKey: key() }, [])).toBe('changed');
    expect((await contacts.named('ana')).map(({ publicKey }) => publicKey)).toEqual([desk, lap]);
  });

  test('loses one of them by its words, and none by the name alone', async () => {
    const [desk, lap] = [key(), key()];
    await contacts.add({ name: 'ana', publicKey: desk });
    await contacts.add({ name: 'ana', publicKey: lap }, { deviceOf: 'ana' });
    await expect(contacts.remove('ana')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await contacts.remove(wordsOf({ publicKey: lap }));
    expect((await contacts.list()).map(({ publicKey }) => publicKey)).toEqual([desk]);
  });

  test('is given no key that is somebody else’s, nor made of nothing', async () => {
    const [ana, ben] = [key(), key()];
    await contacts.add({ name: 'ana', publicKey: ana });
    await contacts.add({ name: 'ben', publicKey: ben });
    await expect(contacts.add({ name: 'x', publicKey: ben }, { deviceOf: 'ana' })).rejects.toMatchObject({
      code: 'BAD_REQUEST'
    });
    await expect(contacts.add({ name: 'x', publicKey: key() }, { deviceOf: 'eve' })).rejects.toMatchObject({
      code: 'NOT_FOUND'
    });
  });
});

test('a new name takes all devices along, and the old one stays theirs', async () => {
  const [desk, lap, ben] = [key(), key(), key()];
  await contacts.add({ name: 'ana@lab', publicKey: desk });
  await contacts.add({ name: 'x', publicKey: lap }, { deviceOf: 'ana@lab' });
  await contacts.add({ name: 'ben', publicKey: ben });
  expect((await contacts.rename('ana@lab', 'Ana')).map(({ name }) => name)).toEqual(['Ana', 'Ana']);
  expect(await contacts.standingOf({ name: 'ana@lab', publicKey: key() }, [])).toBe('changed');
  expect(await contacts.standingOf({ name: 'ana@lab', publicKey: lap }, [])).toBe('known');
  // The link that she sends again does not call her otherwise.
  expect((await contacts.add({ name: 'ana@lab', publicKey: desk })).name).toBe('Ana');
  for (const taken of ['Ana', 'ana@lab']) {
    await expect(contacts.rename('ben', taken)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  }
  await expect(contacts.rename('ben', 'b\u202en')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(contacts.rename('nobody', 'x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await contacts.rename('Ana', 'ana@lab');
  expect((await contacts.named('ana@lab')).map(({ formerly }) => formerly)).toEqual([['Ana'], ['Ana']]);
});

test('what a contact signed is passed on as it is; what was changed here is not passed off as signed', async () => {
  const own = newKey();
  const card = { name: 'ana', publicKey: own.publicKey.toString('base64'), recipient: await recipient() };
  const link = contactLink(card, own.privateKey);
  expect(linkOf(await contacts.add(card, { link }))).toBe(link);
  await contacts.rename('ana', 'Ana');
  expect(linkOf((await contacts.list())[0]!)).toBe(link);
  const mine = await contacts.add({ ...card, recipient: await recipient() });
  expect(parseContactLink(linkOf(mine))).toEqual({ name: 'Ana', publicKey: card.publicKey });
});

test('an age recipient that nothing could be sealed for is refused when it is added', async () => {
  await expect(contacts.add({ name: 'a', publicKey: key(), recipient: 'age1xyz' })).rejects.toMatchObject({
    code: 'BAD_REQUEST'
  });
  expect(await contacts.list()).toEqual([]);
});

test('a file that is not understood is said, and left as it is', async () => {
  await mkdir(at('home'));
  await writeFile(at('home', 'contacts.json'), '{');
  await expect(contacts.list()).rejects.toMatchObject({ code: 'DISK_ERROR' });
  await expect(contacts.add({ name: 'a', publicKey: key() })).rejects.toMatchObject({ code: 'DISK_ERROR' });
  expect(await readFile(at('home', 'contacts.json'), 'utf8')).toBe('{');
});

test('several processes that add at once lose nothing', async () => {
  const run = promisify(execFile);
  await Promise.all([
    ...['a', 'b'].map(prefix =>
      run(process.execPath, [program('contacts-child'), at('home'), prefix, '20'], {
        env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: COMPILED }
      })
    ),
    ...Array.from({ length: 10 }, (_, i) => contacts.add({ name: `c${i}`, publicKey: key() }))
  ]);
  expect(new Set((await contacts.list()).map(({ name }) => name)).size).toBe(50);
  expect((await readdir(at('home'))).sort()).toEqual(['contacts.json', 'locks']);
  expect(await readdir(at('home', 'locks'))).toEqual([]);
}, 20_000);

describe('this installation', () => {
  test('is known by what was said of it, and its link is signed', async () => {
    const age = await recipient();
    await Promise.all([
      changeOwnContact(at('home'), { name: 'Ana' }),
      changeOwnContact(at('home'), { recipient: age }),
      changeOwnContact(at('home'), { mailbox: 'file:///mnt/ana' })
    ]);
    const me = await ownContact(at('home'), at('log'));
    expect(me).toMatchObject({ name: 'Ana', recipient: age, mailbox: 'file:///mnt/ana' });
    const { link, ...card } = me;
    expect(parseContactLink(link)).toEqual(card);
    expect((await stat(at('home', 'me.json'))).mode & 0o777).toBe(0o600);
  });

  test('says no longer what is taken back, and is user and machine without a name', async () => {
    const { name } = await ownContact(at('home'), at('log'));
    await changeOwnContact(at('home'), { name: 'Ana', mailbox: 'file:///mnt/ana' });
    await changeOwnContact(at('home'), { name: '', mailbox: '' });
    expect(await ownContact(at('home'), at('log'))).toMatchObject({ name });
    expect(await ownSettings(at('home'))).toEqual({});
  });

  test.each([{ name: 'a\nb' }, { recipient: 'age1xyz' }, { mailbox: 'gopher://x' }, { mailbox: '/mnt/ana' }])(
    'says nothing that is none: %p',
    async change => {
      await changeOwnContact(at('home'), { name: 'Ana' });
      await expect(changeOwnContact(at('home'), change)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      expect(await ownSettings(at('home'))).toEqual({ name: 'Ana' });
    }
  );
});
