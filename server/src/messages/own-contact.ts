/** What this installation says of itself to others: `me.json` in the user's configuration, 0600, and the device key. */
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { encrypterFor } from '../crypto/age.ts';
import { deviceKey } from '../crypto/device-key.ts';
import { contentOf, replaceFile } from '../storage/durable.ts';
import { checkContactName, checkOwnMailbox, contactLink, type ContactCard } from './contact-link.ts';
import { underLock } from './contacts.ts';

const FileSchema = z.strictObject({
  version: z.literal(1),
  name: z.string().min(1).max(1000).optional(),
  recipient: z.string().max(4000).optional(),
  mailbox: z.string().max(4000).optional()
});
/** What a person has said of this installation; what is absent has its default, or is none. */
export type OwnSettings = { readonly [K in 'name' | 'recipient' | 'mailbox']?: string };
/** What is to be said from now on: `''` takes it back, what is absent stays. */
export type OwnChange = { readonly [K in keyof OwnSettings]?: string | undefined };

/** This installation as a contact. */
export interface OwnContact extends ContactCard {
  /** Signed. */
  readonly link: string;
}

/** Who it is when nobody has said anything: user and machine. */
export function defaultName(): string {
  return `${userName()}@${hostname()}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that no user has.
    return `uid${process.getuid?.() ?? ''}`;
  }
}

/**
 * What was said of this installation.
 *
 * @param dir The user's configuration.
 * @throws SyftError DISK_ERROR when the file is there and is not understood.
 */
export async function ownSettings(dir: string): Promise<OwnSettings> {
  const file = join(dir, 'me.json');
  const bytes = await contentOf(file);
  if (bytes === undefined) return {};
  try {
    const { version: _, ...settings } = FileSchema.parse(JSON.parse(bytes.toString('utf8')));
    return definite(settings);
  } catch (error) {
    throw new SyftError('DISK_ERROR', `${file} is not understood. Mend it, or move it away.`, {
      path: file,
      cause: error
    });
  }
}

/**
 * This installation as others are to know it.
 *
 * @param dir The user's configuration.
 * @param fallbackDir Where the device key is when the configuration cannot be written to.
 */
export async function ownContact(dir: string, fallbackDir: string): Promise<OwnContact> {
  const key = deviceKey(dir, fallbackDir);
  const settings = await ownSettings(dir);
  const { name = defaultName(), ...rest } = settings;
  const card = { name, ...rest, publicKey: key.publicKey.toString('base64') };
  return { ...card, link: contactLink(card, key.privateKey) };
}

/**
 * Says otherwise who this installation is. Two who do so at once do not undo each other's.
 *
 * @param dir The user's configuration; made where it is missing.
 * @throws SyftError BAD_REQUEST, DISK_*; then what was said before stands.
 */
export async function changeOwnContact(dir: string, change: OwnChange): Promise<void> {
  const { name, recipient, mailbox } = change;
  if (name !== undefined && name !== '') checkContactName(name);
  if (recipient !== undefined && recipient !== '') await encrypterFor([recipient]);
  if (mailbox !== undefined && mailbox !== '') checkOwnMailbox(mailbox);
  const file = join(dir, 'me.json');
  await underLock(dir, file, async () => {
    const said = Object.entries({ ...(await ownSettings(dir)), ...definite({ name, recipient, mailbox }) });
    const settings = FileSchema.parse({ version: 1, ...Object.fromEntries(said.filter(([, value]) => value !== '')) });
    replaceFile(file, Buffer.from(`${JSON.stringify(settings, null, 2)}\n`));
  });
}

function definite(change: OwnChange): OwnSettings {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
