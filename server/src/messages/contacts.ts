/**
 * Whose keys this installation knows: `contacts.json` in the user's configuration, 0600. A key is believed when a person said so once,
 * and from then on the name belongs to it: another key under that name is refused. A person who has several devices has several keys
 * under one name, each added for itself.
 */
import { join } from 'node:path';
import * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { encrypterFor } from '../crypto/age.ts';
import { WriterLock } from '../log/lock.ts';
import { contentOf, makePrivateDirectory, replaceFile, writeError } from '../storage/durable.ts';
import { checkContactName, contactLink, MAX_LINK, parseContactLink, type ContactCard } from './contact-link.ts';
import { fingerprint } from './fingerprint.ts';
import type { Sender } from './inspect.ts';
import { foldedName } from './member-names.ts';

const NAME = z.string().min(1).max(1000);
const ContactSchema = z.strictObject({
  name: NAME,
  /** Ed25519, base64. */
  publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
  /** `age1…`: messages to this contact can be sealed for it. */
  recipient: z.string().max(4000).optional(),
  /** Address of the storage where messages for this contact are put. */
  mailbox: z.string().max(4000).optional(),
  /** The link that it was added by, when the contact had signed that. */
  link: z.string().max(MAX_LINK).optional(),
  /** Other names that belong to its key, newest first: what it was called before. */
  formerly: z.array(NAME).max(100).optional(),
  /** ISO 8601. */
  since: z.string().max(40)
});
/** One key, and what belongs to it. */
export type Contact = z.infer<typeof ContactSchema>;
const FileSchema = z.strictObject({ version: z.literal(1), contacts: z.array(ContactSchema).max(100_000) });
const MAX_FORMERLY = 100;
/** Whoever changes the list has it for milliseconds; one that is held longer belongs to a process that hangs. */
const WAIT_MS = 10_000;

/** How well a sender is known. */
export type Standing =
  /** The message was signed by this installation itself. */
  | 'own'
  /** The key is that of a contact. */
  | 'known'
  /** A key that nobody has said anything of. */
  | 'new'
  /** The name is that of a contact, and the key is another. */
  | 'changed'
  /** Not signed: it may be from anybody. */
  | 'unsigned';

export interface AddOptions {
  /** The key is of one more device of the contact with this name. Its words must have been compared. */
  readonly deviceOf?: string | undefined;
  /** The link that said it, when that was signed. */
  readonly link?: string | undefined;
}

/** Names that people take for one: case, spaces and ways of writing a letter make no difference. */
function alike(name: string): string {
  return foldedName(name).trim().replace(/\s+/gu, ' ');
}

function owns(contact: Contact, name: string): boolean {
  return [contact.name, ...(contact.formerly ?? [])].some(own => alike(own) === alike(name));
}

/** The people and devices that this installation knows. */
export class Contacts {
  readonly #file: string;
  readonly #dir: string;

  /** @param dir The user's configuration; made where it is missing when something is written. */
  constructor(dir: string) {
    this.#dir = dir;
    this.#file = join(dir, 'contacts.json');
  }

  /** One for each key. @throws SyftError DISK_ERROR when the file is there and is not understood. */
  async list(): Promise<Contact[]> {
    const bytes = await contentOf(this.#file);
    if (bytes === undefined) return [];
    try {
      return FileSchema.parse(JSON.parse(bytes.toString('utf8'))).contacts;
    } catch (error) {
      throw new SyftError(
        'DISK_ERROR',
        `${this.#file} is not understood. Mend it, or move it away: known senders are then new ones.`,
        { path: this.#file, cause: error }
      );
    }
  }

  /** Reads the list, changes it, writes it; one process at a time, so that none loses what another has written. */
  async #update<T>(change: (contacts: readonly Contact[]) => { contacts: readonly Contact[]; result: T }): Promise<T> {
    return underLock(this.#dir, this.#file, async () => {
      const { contacts, result } = change(await this.list());
      const text = JSON.stringify(FileSchema.parse({ version: 1, contacts }), null, 2);
      replaceFile(this.#file, Buffer.from(`${text}\n`));
      return result;
    });
  }

  /**
   * Believes a key. One that is known already keeps its name, and takes what else is said.
   *
   * @returns The contact as it is kept.
   * @throws SyftError SENDER_CHANGED when the name has another key; BAD_REQUEST when the recipient is none, or when the key of a further
   *   device belongs to somebody else; NOT_FOUND when there is nobody whose device it could be; DISK_*.
   */
  async add(card: ContactCard, options: AddOptions = {}): Promise<Contact> {
    const { deviceOf, link } = options;
    if (card.recipient !== undefined) await encrypterFor([card.recipient]);
    return this.#update(contacts => {
      const before = contacts.find(({ publicKey }) => publicKey === card.publicKey);
      const name = nameOf(contacts, card, before, deviceOf);
      const kept: Contact = {
        ...before,
        ...card,
        name,
        ...(link !== undefined && { link }),
        since: before?.since ?? new Date().toISOString()
      };
      return { contacts: [...contacts.filter(known => known !== before), kept], result: kept };
    });
  }

  /** Forgets a contact by its name or the words of its key. Throws NOT_FOUND; BAD_REQUEST when it is not clear which. */
  async remove(named: string): Promise<Contact> {
    return this.#update(contacts => {
      const only = onlyOne(select(contacts, named), named);
      return { contacts: contacts.filter(known => known !== only), result: only };
    });
  }

  /**
   * Calls a contact otherwise, with all of its devices. The old name stays its own: nobody else can come by it.
   *
   * @throws SyftError NOT_FOUND; BAD_REQUEST when the name is none or somebody else's.
   */
  async rename(named: string, name: string): Promise<Contact[]> {
    checkContactName(name);
    return this.#update(contacts => {
      const mine = new Set(select(contacts, named));
      if (mine.size === 0) throw notFound(named);
      const other = contacts.find(known => !mine.has(known) && owns(known, name));
      if (other !== undefined) {
        throw new SyftError('BAD_REQUEST', `${name} is, or was, the name of another contact, ${wordsOf(other)}.`);
      }
      const renamed = new Map([...mine].map(known => [known, called(known, name)] as const));
      return { contacts: contacts.map(known => renamed.get(known) ?? known), result: [...renamed.values()] };
    });
  }

  /** Every key of a contact, by its name; by the words of one of its keys, that one. */
  async named(named: string): Promise<Contact[]> {
    return select(await this.list(), named);
  }

  /** The first key of a contact by its name, or the one with these words. */
  async find(named: string): Promise<Contact | undefined> {
    return (await this.named(named))[0];
  }

  /** The key of a contact, where it has one, or where one was named by its words. Throws NOT_FOUND, BAD_REQUEST. */
  async single(named: string): Promise<Contact> {
    return onlyOne(await this.named(named), named);
  }

  /** Where messages for a contact are put: each place that one of its devices has named. Throws NOT_FOUND, BAD_REQUEST. */
  async mailboxesOf(named: string): Promise<string[]> {
    const devices = await this.named(named);
    if (devices.length === 0) throw notFound(named);
    const mailboxes = new Set(devices.flatMap(({ mailbox }) => (mailbox === undefined ? [] : [mailbox])));
    if (mailboxes.size > 0) return [...mailboxes];
    throw new SyftError(
      'BAD_REQUEST',
      `No mailbox is known of ${named}. Write the message to a file and send that, or ask ${named} for a link with one.`
    );
  }

  /** Whose name it is, or was. */
  async ownerOf(name: string): Promise<Contact | undefined> {
    return (await this.list()).find(known => owns(known, name));
  }

  /** The contact that a key belongs to. What it calls itself in a message may be another name. */
  async withKey(publicKey: string): Promise<Contact | undefined> {
    return (await this.list()).find(known => known.publicKey === publicKey);
  }

  /**
   * How well the sender of a message is known. A known key that comes in the name of somebody else is `changed`: the name is not its own.
   *
   * @param own Public keys of this installation, base64.
   */
  async standingOf(sender: Sender, own: readonly string[]): Promise<Standing> {
    const { name, publicKey } = sender;
    if (publicKey === undefined) return 'unsigned';
    if (own.includes(publicKey)) return 'own';
    const contacts = await this.list();
    const owners = contacts.filter(known => owns(known, name));
    if (owners.length > 0) return owners.some(known => known.publicKey === publicKey) ? 'known' : 'changed';
    return contacts.some(known => known.publicKey === publicKey) ? 'known' : 'new';
  }
}

function select(contacts: readonly Contact[], named: string): Contact[] {
  const byName = contacts.filter(known => known.name === named);
  return byName.length > 0 ? byName : contacts.filter(known => wordsOf(known) === named);
}

function onlyOne(found: readonly Contact[], named: string): Contact {
  const [only] = found;
  if (only === undefined) throw notFound(named);
  if (found.length === 1) return only;
  throw new SyftError(
    'BAD_REQUEST',
    `${named} has ${found.length} devices; give the words of the key of one: ${found.map(wordsOf).join(', ')}.`
  );
}

function called(contact: Contact, name: string): Contact {
  if (contact.name === name) return contact;
  const others = [contact.name, ...(contact.formerly ?? [])].filter(other => other !== name);
  return { ...contact, name, formerly: [...new Set(others)].slice(0, MAX_FORMERLY) };
}

/** What a contact that is added is called. Throws SENDER_CHANGED, BAD_REQUEST, NOT_FOUND. */
function nameOf(
  contacts: readonly Contact[],
  card: ContactCard,
  before: Contact | undefined,
  deviceOf: string | undefined
): string {
  if (deviceOf === undefined) {
    if (before !== undefined) return before.name;
    const taken = contacts.find(known => owns(known, card.name));
    // Whoever has no name at all is called by the key.
    if (taken === undefined) return card.name === '' ? wordsOf(card) : card.name;
    throw senderChanged(card.name, taken.publicKey, card.publicKey);
  }
  const [person] = select(contacts, deviceOf);
  if (person === undefined) throw notFound(deviceOf);
  if (before !== undefined && before.name !== person.name) {
    throw new SyftError('BAD_REQUEST', `The key ${wordsOf(card)} is that of ${before.name}, not of ${person.name}.`);
  }
  return person.name;
}

function notFound(named: string): SyftError {
  return new SyftError('NOT_FOUND', `There is no contact ${named}.`);
}

/**
 * Does work on a small file of the configuration while no other process does.
 *
 * @param dir Made where it is missing.
 * @param file What it is about, for errors.
 * @throws SyftError LOG_LOCKED when another does not let go of it, DISK_*.
 */
export async function underLock<T>(dir: string, file: string, work: () => Promise<T>): Promise<T> {
  const until = Date.now() + WAIT_MS;
  for (;;) {
    let lock: WriterLock;
    try {
      makePrivateDirectory(dir);
      lock = await WriterLock.acquire(dir, { command: 'contacts' });
    } catch (error) {
      if (!(error instanceof SyftError)) throw writeError(error, `${file} was not changed`);
      if (error.code !== 'LOG_LOCKED') throw error;
      if (Date.now() > until) {
        throw new SyftError(
          'LOG_LOCKED',
          `Another process is at work on ${file} and does not end; it was not changed.`,
          {
            path: file,
            cause: error
          }
        );
      }
      await new Promise(resolve => setTimeout(resolve, 5 + Math.random() * 20));
      continue;
    }
    try {
      return await work();
    } catch (error) {
      throw error instanceof SyftError ? error : writeError(error, `${file} was not changed`);
    } finally {
      lock.release();
    }
  }
}

/** The words of a contact's key. */
export function wordsOf({ publicKey }: Pick<Contact, 'publicKey'>): string {
  return fingerprint(Buffer.from(publicKey, 'base64'));
}

/** A contact as a link: the one that it signed, as long as that is what is kept, else its name and its key. */
export function linkOf(contact: Contact): string {
  const { name, publicKey, recipient, mailbox, link } = contact;
  if (link !== undefined) {
    const signed = parseContactLink(link);
    const same = signed.publicKey === publicKey && signed.recipient === recipient && signed.mailbox === mailbox;
    if (same) return link;
  }
  return contactLink({ name, publicKey });
}

/** The error for a name that comes with another key than before. */
export function senderChanged(name: string, before: string, now: string): SyftError {
  return new SyftError(
    'SENDER_CHANGED',
    `${name} is known by the key ${wordsOf({ publicKey: before })}, and this one is ${wordsOf({ publicKey: now })}. Ask ${name}; if the new one is right: syft-sync contacts remove "${name}".`
  );
}
