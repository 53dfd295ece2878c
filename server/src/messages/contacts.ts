/**
 * Whose keys this installation knows: `contacts.json` in the user's configuration, 0600. A key is believed when a person said so once,
 * and from then on the name belongs to it: another key under that name is refused.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { contentOf, makePrivateDirectory, replaceFile } from '../storage/durable.ts';
import { fingerprint } from './fingerprint.ts';
import type { Sender } from './inspect.ts';

const ContactSchema = z.strictObject({
  name: z.string().min(1).max(1000),
  /** Ed25519, base64. */
  publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
  /** `age1…`: messages to this contact can be sealed for it. */
  recipient: z.string().max(4000).optional(),
  /** ISO 8601. */
  since: z.string().max(40)
});
export type Contact = z.infer<typeof ContactSchema>;
const FileSchema = z.strictObject({ version: z.literal(1), contacts: z.array(ContactSchema).max(100_000) });

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

const LINK = 'syft-sync:contact';

/** The people and devices that this installation knows. */
export class Contacts {
  readonly #file: string;
  readonly #dir: string;

  /** @param dir The user's configuration; made where it is missing when something is written. */
  constructor(dir: string) {
    this.#dir = dir;
    this.#file = join(dir, 'contacts.json');
  }

  /** @throws SyftError DISK_ERROR when the file is there and is not understood. */
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

  #write(contacts: readonly Contact[]): void {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    makePrivateDirectory(this.#dir);
    replaceFile(this.#file, Buffer.from(`${JSON.stringify({ version: 1, contacts }, null, 2)}\n`));
  }

  /**
   * Believes a key.
   *
   * @returns The contact as it is kept.
   * @throws SyftError SENDER_CHANGED when the name has another key.
   */
  async add(contact: Omit<Contact, 'since'>): Promise<Contact> {
    const contacts = await this.list();
    const taken = contacts.find(known => known.name === contact.name && known.publicKey !== contact.publicKey);
    if (taken !== undefined) throw senderChanged(contact.name, taken.publicKey, contact.publicKey);
    const before = contacts.find(known => known.publicKey === contact.publicKey);
    const kept: Contact = { ...before, ...contact, since: before?.since ?? new Date().toISOString() };
    this.#write([...contacts.filter(known => known !== before), kept]);
    return kept;
  }

  /** Forgets a contact by its name or the words of its key. Throws NOT_FOUND. */
  async remove(named: string): Promise<Contact> {
    const contacts = await this.list();
    const found = contacts.filter(known => known.name === named || wordsOf(known) === named);
    const [only] = found;
    if (only === undefined) throw new SyftError('NOT_FOUND', `There is no contact ${named}.`);
    if (found.length > 1) {
      throw new SyftError('BAD_REQUEST', `Several contacts are called ${named}; give the words of the key.`);
    }
    this.#write(contacts.filter(known => known !== only));
    return only;
  }

  /** A contact by its name or the words of its key. */
  async find(named: string): Promise<Contact | undefined> {
    return (await this.list()).find(known => known.name === named || wordsOf(known) === named);
  }

  /**
   * How well the sender of a message is known.
   *
   * @param own Public keys of this installation, base64.
   */
  async standingOf(sender: Sender, own: readonly string[]): Promise<Standing> {
    const { name, publicKey } = sender;
    if (publicKey === undefined) return 'unsigned';
    if (own.includes(publicKey)) return 'own';
    const contacts = await this.list();
    if (contacts.some(known => known.publicKey === publicKey)) return 'known';
    return contacts.some(known => known.name === name) ? 'changed' : 'new';
  }
}

/** The words of a contact's key. */
export function wordsOf({ publicKey }: Pick<Contact, 'publicKey'>): string {
  return fingerprint(Buffer.from(publicKey, 'base64'));
}

/** The error for a name that comes with another key than before. */
export function senderChanged(name: string, before: string, now: string): SyftError {
  return new SyftError(
    'SENDER_CHANGED',
    `${name} is known by the key ${wordsOf({ publicKey: before })}, and this one is ${wordsOf({ publicKey: now })}. Ask ${name}; if the new one is right: syft-sync contacts remove "${name}".`
  );
}

/** A contact as a link that can be sent or shown. */
export function contactLink({ name, publicKey, recipient }: Pick<Contact, 'name' | 'publicKey' | 'recipient'>): string {
  const query = new URLSearchParams({ name, key: Buffer.from(publicKey, 'base64').toString('base64url') });
  if (recipient !== undefined) query.set('age', recipient);
  return `${LINK}?${query.toString()}`;
}

/** Inverse of {@link contactLink}. Throws BAD_REQUEST. */
export function parseContactLink(link: string): Omit<Contact, 'since'> {
  const invalid = new SyftError('BAD_REQUEST', `A contact is a link that begins with ${LINK}?; this is none.`);
  const [head, query] = link.trim().split('?', 2);
  if (head !== LINK || query === undefined) throw invalid;
  const values = new URLSearchParams(query);
  const recipient = values.get('age');
  const contact = ContactSchema.omit({ since: true }).safeParse({
    name: values.get('name'),
    publicKey: Buffer.from(values.get('key') ?? '', 'base64url').toString('base64'),
    ...(recipient !== null && { recipient })
  });
  if (!contact.success) throw invalid;
  return contact.data;
}
