/** `contacts`: whose messages are believed, and who this installation is to others. */
import { SyftError } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { parseContactLink } from '../messages/contact-link.ts';
import { Contacts, linkOf, wordsOf, type Contact } from '../messages/contacts.ts';
import { changeOwnContact, ownContact, type OwnChange } from '../messages/own-contact.ts';
import type { CommandContext } from './context.ts';

const ACTIONS = {
  list: { names: 0, options: [] },
  me: { names: 0, options: ['name', 'from', 'age', 'mailbox'] },
  add: { names: 1, options: ['age', 'mailbox', 'device-of', 'words'] },
  export: { names: 1, options: [] },
  rename: { names: 2, options: [] },
  remove: { names: 1, options: [] }
} as const satisfies Record<string, { readonly names: number; readonly options: readonly string[] }>;
type Action = keyof typeof ACTIONS;
const USAGE = 'Usage: syft-sync contacts list|me|add LINK|export NAME|rename NAME NEW|remove NAME';

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
  const { invocation, output, logDir } = context;
  const { values } = invocation;
  const configuration = configurationDirectory();
  const change: OwnChange = {
    name: values.get('name') ?? values.get('from'),
    recipient: values.get('age'),
    mailbox: values.get('mailbox')
  };
  if (Object.values(change).some(value => value !== undefined)) await changeOwnContact(configuration, change);
  const me = await ownContact(configuration, logDir);
  await output.result({ ...me, fingerprint: wordsOf(me) }, me.link);
  output.note(`the words of this key: ${wordsOf(me)}`);
}

async function add({ invocation }: CommandContext, contacts: Contacts, given: string): Promise<Contact> {
  const { values } = invocation;
  const card = parseContactLink(given);
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
  return contacts.add({ ...card, ...own }, { deviceOf, link: given.trim() });
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
      const contact = await oneOf(contacts, named);
      await output.result(shown(contact).object, linkOf(contact));
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

/** The contact that is meant. Throws NOT_FOUND; BAD_REQUEST when it has several devices. */
async function oneOf(contacts: Contacts, named: string): Promise<Contact> {
  const found = await contacts.named(named);
  const [only] = found;
  if (only === undefined) throw new SyftError('NOT_FOUND', `There is no contact ${named}.`);
  if (found.length === 1) return only;
  throw new SyftError(
    'BAD_REQUEST',
    `${named} has ${found.length} devices; give the words of the key of one: ${found.map(wordsOf).join(', ')}.`
  );
}
