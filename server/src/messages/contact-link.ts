/**
 * A contact as a link: `syft-sync:contact?name=…&key=…&age=…&box=…&sig=…`. The five words of a key vouch for the key alone; what else
 * the link says, where messages go and who can open them, is signed with it. So whoever compares the words has compared the whole link.
 */
import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { SyftError } from '../core/errors.ts';
import { storageAt } from '../storage/address.ts';

export const LINK_BEGINS = 'syft-sync:contact';
/** UTF-16 code units. A post-quantum age recipient takes two thousand of them. */
export const MAX_LINK = 16_384;
const MAX_NAME = 1000;
const MAX_RECIPIENT = 4000;
const MAX_MAILBOX = 4000;
/** SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** Characters that break a line, are not seen, or turn the direction of what follows: a name would not be what it looks like. */
const HIDDEN =
  /[\p{Cc}\u2028\u2029\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff\ufffd]/u;

/** What a contact says of itself. */
export interface ContactCard {
  readonly name: string;
  /** Ed25519, base64. */
  readonly publicKey: string;
  /** `age1…`: messages to this contact can be sealed for it. */
  readonly recipient?: string;
  /** Address of the storage where messages for this contact are put. */
  readonly mailbox?: string;
}

/** A name as a person may give it. @throws SyftError BAD_REQUEST saying what is wrong. */
export function checkContactName(name: string): void {
  if (name.trim() === '' || name.length > MAX_NAME || HIDDEN.test(name) || !name.isWellFormed()) {
    throw new SyftError(
      'BAD_REQUEST',
      `The name of a contact has 1 to ${MAX_NAME} characters, all of which can be seen.`
    );
  }
}

/** The address of a mailbox, as far as it can be judged without going there. @throws SyftError BAD_REQUEST saying what is wrong. */
export function checkMailboxAddress(address: string): void {
  const wrong = (why: string): SyftError =>
    new SyftError(
      'BAD_REQUEST',
      `The address of a mailbox is one of a storage, such as file:///mnt/shared/ana; ${why}.`
    );
  if (address.length > MAX_MAILBOX) throw wrong(`this one has more than ${MAX_MAILBOX} characters`);
  if (HIDDEN.test(address) || /\s/u.test(address) || !address.isWellFormed()) {
    throw wrong('this one has characters that are not seen');
  }
  if (!/^[a-z][a-z0-9+.-]+:\/\//.test(address) || !URL.canParse(address)) throw wrong('this is none');
  const { username, password } = new URL(address);
  if (username !== '' || password !== '') {
    throw wrong('leave the password out, for everybody who has the link would have it');
  }
}

/** As {@link checkMailboxAddress}, of a mailbox that this installation is to use. */
export function checkOwnMailbox(address: string): void {
  checkMailboxAddress(address);
  // Says which storages there are.
  storageAt(address);
}

function checkRecipient(recipient: string): void {
  if (recipient.length <= MAX_RECIPIENT && /^age1[02-9a-z][0-9a-z]+$/.test(recipient)) return;
  throw new SyftError('BAD_REQUEST', `"${recipient.slice(0, 80)}" is not an age recipient (age1…).`);
}

/** Everything that a contact says of itself is well-formed. @throws SyftError BAD_REQUEST. */
export function checkCard({ name, publicKey, recipient, mailbox }: ContactCard): void {
  checkContactName(name);
  if (!isPublicKey(publicKey)) throw new SyftError('BAD_REQUEST', 'The key of a contact is 32 bytes of Ed25519.');
  if (recipient !== undefined) checkRecipient(recipient);
  if (mailbox !== undefined) checkMailboxAddress(mailbox);
}

/** Base64 of 32 bytes, written as it is always written. */
function isPublicKey(base64: string): boolean {
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === 32 && bytes.toString('base64') === base64;
}

/** What the signature is over. Its first line is that of no other text that a device key signs. */
function signedText({ name, publicKey, recipient, mailbox }: ContactCard): Buffer {
  return Buffer.from(`${['syft-sync.contact/1', name, publicKey, recipient ?? '', mailbox ?? ''].join('\n')}\n`);
}

/**
 * A contact as a link that can be sent or shown.
 *
 * @param key Its own key, for the link of this installation. Without it the link has name and key only: what else is known of another
 *   contact only that contact can vouch for.
 */
export function contactLink(card: ContactCard, key?: KeyObject): string {
  checkCard(card);
  const { name, publicKey, recipient, mailbox } = card;
  const query = new URLSearchParams({ name, key: Buffer.from(publicKey, 'base64').toString('base64url') });
  if (key !== undefined) {
    if (recipient !== undefined) query.set('age', recipient);
    if (mailbox !== undefined) query.set('box', mailbox);
    query.set('sig', sign(null, signedText(card), key).toString('base64url'));
  }
  return `${LINK_BEGINS}?${query.toString()}`;
}

/**
 * Inverse of {@link contactLink}.
 *
 * @throws SyftError BAD_REQUEST: it is none, it was altered, or it says without a signature where messages go.
 */
export function parseContactLink(link: string): ContactCard {
  const invalid = new SyftError('BAD_REQUEST', `A contact is a link that begins with ${LINK_BEGINS}?; this is none.`);
  const text = link.trim();
  const query = text.slice(LINK_BEGINS.length + 1);
  if (text.length > MAX_LINK || !text.startsWith(`${LINK_BEGINS}?`)) throw invalid;
  const values = new URLSearchParams(query);
  // Of two values one reader may take the first and another the last.
  if (new Set(values.keys()).size !== values.size) throw invalid;
  const recipient = values.get('age');
  const mailbox = values.get('box');
  const card: ContactCard = {
    name: values.get('name') ?? '',
    publicKey: Buffer.from(values.get('key') ?? '', 'base64url').toString('base64'),
    ...(recipient !== null && { recipient }),
    ...(mailbox !== null && { mailbox })
  };
  if (!isPublicKey(card.publicKey)) throw invalid;
  checkCard(card);
  const signature = values.get('sig');
  if (signature === null) {
    if (recipient === null && mailbox === null) return card;
    throw new SyftError(
      'BAD_REQUEST',
      'The link says where messages go and is not signed: anybody can have put that in. Ask for the link of syft-sync contacts me.'
    );
  }
  const key = createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, Buffer.from(card.publicKey, 'base64')]),
    format: 'der',
    type: 'spki'
  });
  if (!verify(null, signedText(card), key, Buffer.from(signature, 'base64url'))) {
    throw new SyftError(
      'BAD_REQUEST',
      'The link was altered after it was made: its signature does not hold. Ask for it again.'
    );
  }
  return card;
}
