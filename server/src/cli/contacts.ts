/** `contacts`: whose messages are believed, and who this installation is to others. */
import { createReadStream } from 'node:fs';
import { extname, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, SyftError } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { LINK_BEGINS, parseContactLink } from '../messages/contact-link.ts';
import { Contacts, linkOf, wordsOf, type Contact } from '../messages/contacts.ts';
import { makeMailbox } from '../messages/mailbox.ts';
import { changeOwnContact, ownContact, type OwnChange } from '../messages/own-contact.ts';
import { isPng, MAX_PICTURE_BYTES } from '../messages/png.ts';
import { qrPng, qrSvg, qrText, readQr } from '../messages/qr.ts';
import { replaceFile, writeError } from '../storage/durable.ts';
import type { CommandContext } from './context.ts';

const ACTIONS = {
  list: { names: 0, options: [] },
  me: { names: 0, options: ['name', 'from', 'age', 'mailbox', 'qr', 'output'] },
  add: { names: 1, options: ['age', 'mailbox', 'device-of', 'words'] },
  export: { names: 1, options: ['qr', 'output'] },
  rename: { names: 2, options: [] },
  remove: { names: 1, options: [] }
} as const satisfies Record<string, { readonly names: number; readonly options: readonly string[] }>;
type Action = keyof typeof ACTIONS;
const USAGE = 'Usage: syft-sync contacts list|me|add LINK|PICTURE.png|-|export NAME|rename NAME NEW|remove NAME';

/** What is to be done, and to whom. Throws BAD_REQUEST. */
function actionOf({ invocation }: CommandContext): { action: Action; names: readonly string[] } {
  const [action = '', ...names] = invocation.args;
  if (!Object.hasOwn(ACTIONS, action)) throw new SyftError('BAD_REQUEST', `contacts has no ${action}. ${USAGE}`);
  const spec = ACTIONS[action as Action];
  if (names.length !== spec.names) throw new SyftError('BAD_REQUEST', USAGE);
  const all: readonly string[] = Object.values(ACTIONS).flatMap(({ options }) => options);
  const foreign = all.find(
    option =>
      (invocation.values.has(option) || invocation.flags.has(option)) &&
      !(spec.options as readonly string[]).includes(option)
  );
  if (foreign !== undefined) throw new SyftError('BAD_REQUEST', `contacts ${action} has no option --${foreign}.`);
  return { action: action as Action, names };
}

function shown(contact: Contact): { line: string; object: object } {
  const words = wordsOf(contact);
  const { link: _, ...rest } = contact;
  const { recipient, mailbox } = contact;
  return {
    object: { ...rest, fingerprint: words, link: linkOf(contact) },
    line: `${contact.name}  ${words}${recipient === undefined ? '' : '  sealed'}${mailbox === undefined ? '' : `  ${mailbox}`}`
  };
}

async function showMe(context: CommandContext): Promise<void> {
  const { invocation, output, logDir, signal } = context;
  const { values } = invocation;
  const configuration = configurationDirectory();
  const change: OwnChange = {
    name: values.get('name') ?? values.get('from'),
    recipient: values.get('age'),
    mailbox: values.get('mailbox')
  };
  if (Object.values(change).some(value => value !== undefined)) {
    // What is said to others must be there.
    if (change.mailbox !== undefined && change.mailbox !== '') await makeMailbox(change.mailbox, { signal });
    await changeOwnContact(configuration, change);
  }
  const me = await ownContact(configuration, logDir);
  await handOver(context, me, { ...me, fingerprint: wordsOf(me) });
  output.note(`the words of this key: ${wordsOf(me)}`);
}

/** Gives a link out: as text, as a QR code in the terminal, or as a file whose name says what it is to be. */
async function handOver(
  { invocation, output, cwd }: CommandContext,
  contact: { readonly name: string; readonly publicKey: string; readonly link: string },
  object: object
): Promise<void> {
  const { name, link } = contact;
  const named = invocation.values.get('output');
  if (named !== undefined) {
    const file = resolve(cwd, named);
    const kind = extname(file).toLowerCase();
    const bytes =
      kind === '.png'
        ? qrPng(link)
        : Buffer.from(
            kind === '.svg' ? qrSvg(link, `${name}, ${wordsOf(contact)}: a contact of Syft Sync`) : `${link}\n`
          );
    try {
      replaceFile(file, bytes);
    } catch (error) {
      throw writeError(error, `${file} was not written`);
    }
    await output.result({ ...object, file }, file);
  } else if (!invocation.flags.has('qr')) {
    await output.result(object, link);
  } else if (output.json) {
    await output.result({ ...object, qr: qrText(link, false) }, '');
  } else {
    await output.write(qrText(link, process.stdout.isTTY === true));
  }
}

/** What there is to read, up to the size of a picture. Throws BAD_REQUEST. */
async function readUpTo(source: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of source as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MAX_PICTURE_BYTES) {
      throw new SyftError('BAD_REQUEST', `A link or its picture has at most ${MAX_PICTURE_BYTES / 2 ** 20} MiB.`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The link that is given: itself, in a file, as a picture, or on standard input. Throws BAD_REQUEST, PATH_NOT_FOUND. */
async function givenLink({ cwd }: CommandContext, given: string): Promise<string> {
  if (given.trim().startsWith(LINK_BEGINS) || /^[a-z][a-z0-9+.-]+:/i.test(given)) return given.trim();
  let bytes: Buffer;
  try {
    bytes = await readUpTo(given === '-' ? process.stdin : createReadStream(resolve(cwd, given)));
  } catch (error) {
    if (error instanceof SyftError) throw error;
    const missing = errnoOf(error) === 'ENOENT';
    throw new SyftError(
      missing ? 'PATH_NOT_FOUND' : 'UNREADABLE',
      missing ? `${given} is neither the link of a contact nor a file.` : `${given} cannot be read.`,
      { path: given, cause: error }
    );
  }
  return (isPng(bytes) ? readQr(bytes) : bytes.toString('utf8')).trim();
}

async function add(context: CommandContext, contacts: Contacts, given: string): Promise<Contact> {
  const { values } = context.invocation;
  const link = await givenLink(context, given);
  const card = parseContactLink(link);
  const words = values.get('words');
  const deviceOf = values.get('device-of');
  if (words !== undefined && words.trim().toLowerCase() !== wordsOf(card)) {
    throw new SyftError(
      'SENDER_UNKNOWN',
      `These are not the words of the key in the link of ${card.name}. Nobody was added: the link may be somebody else’s.`
    );
  }
  if (deviceOf !== undefined && words === undefined) {
    // They are not shown here: they must come from the contact, and not from the link.
    throw new SyftError(
      'BAD_REQUEST',
      `One more key may sign in the name of ${deviceOf}: ask for the words that contacts me shows on that device, and give them with --words.`
    );
  }
  const recipient = values.get('age');
  const mailbox = values.get('mailbox');
  const own = { ...(recipient !== undefined && { recipient }), ...(mailbox !== undefined && { mailbox }) };
  return contacts.add({ ...card, ...own }, { deviceOf, link });
}

export async function contactsCommand(context: CommandContext): Promise<number> {
  const { output } = context;
  const { action, names } = actionOf(context);
  const [named = '', other = ''] = names;
  const contacts = new Contacts(configurationDirectory());
  const print = async (contact: Contact, before = ''): Promise<void> => {
    const { object, line } = shown(contact);
    await output.result(object, `${before}${line}`);
  };
  switch (action) {
    case 'list':
      for (const contact of await contacts.list()) await print(contact);
      return 0;
    case 'me':
      await showMe(context);
      return 0;
    case 'add':
      await print(await add(context, contacts, named));
      return 0;
    case 'export': {
      const contact = await contacts.single(named);
      await handOver(context, { ...contact, link: linkOf(contact) }, shown(contact).object);
      return 0;
    }
    case 'rename':
      for (const contact of await contacts.rename(named, other)) await print(contact);
      return 0;
    case 'remove':
      await print(await contacts.remove(named), 'forgotten: ');
      return 0;
  }
}
