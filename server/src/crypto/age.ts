/** Wrapping keys for age recipients (https://age-encryption.org/v1), so that `age -d` opens them too. */
import type * as age from 'age-encryption';
import { errnoOf, SyftError } from '../core/errors.ts';
import { readText } from '../storage/read-text.ts';

/** Loaded only where it is needed: logs without recipients start without it. */
const load = (): Promise<typeof age> => import('age-encryption');

/**
 * What encrypts for recipients.
 *
 * @param recipients `age1…`.
 * @throws SyftError BAD_REQUEST naming a recipient that is none.
 */
export async function encrypterFor(recipients: readonly string[]): Promise<age.Encrypter> {
  const { Encrypter } = await load();
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (error) {
      throw new SyftError('BAD_REQUEST', `"${recipient}" is not an age recipient (age1…).`, { cause: error });
    }
  }
  return encrypter;
}

/** Encrypts a key for recipients; ASCII armor. Throws as {@link encrypterFor}. */
export async function wrapForRecipients(recipients: readonly string[], key: Uint8Array): Promise<string> {
  const encrypter = await encrypterFor(recipients);
  return (await load()).armor.encode(await encrypter.encrypt(key));
}

/**
 * What decrypts with identities.
 *
 * @param identities `AGE-SECRET-KEY-1…`.
 * @throws SyftError BAD_REQUEST when one is no identity; it is not repeated in the message.
 */
export async function decrypterFor(identities: readonly string[]): Promise<age.Decrypter> {
  const { Decrypter } = await load();
  const decrypter = new Decrypter();
  for (const identity of identities) {
    try {
      decrypter.addIdentity(identity);
    } catch (error) {
      throw new SyftError('BAD_REQUEST', 'An age identity begins with AGE-SECRET-KEY-1; one given does not hold.', {
        cause: error
      });
    }
  }
  return decrypter;
}

/**
 * Decrypts what {@link wrapForRecipients} or age made; `undefined` when it was not for these identities or was altered. Throws as
 * {@link decrypterFor}.
 */
export async function unwrapByIdentity(identities: readonly string[], armored: string): Promise<Buffer | undefined> {
  const decrypter = await decrypterFor(identities);
  try {
    return Buffer.from(await decrypter.decrypt((await load()).armor.decode(armored)));
  } catch {
    // What it throws does not tell whose file it is from what was done to it; the caller says what it means.
    return undefined;
  }
}

/** The identities in a file as `age-keygen` writes it: one a line, `#` begins a comment. */
export function identitiesIn(text: string): string[] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !line.startsWith('#'));
}

/**
 * The identities in a file as `age-keygen` writes it.
 *
 * @throws SyftError BAD_REQUEST when it cannot be read or holds none.
 */
export function identitiesFromFile(path: string): string[] {
  let text: string;
  try {
    text = readText(path);
  } catch (error) {
    const why = errnoOf(error) ?? (error instanceof Error ? error.message : String(error));
    throw new SyftError('BAD_REQUEST', `The identity file ${path} cannot be read (${why}).`, { path, cause: error });
  }
  const identities = identitiesIn(text);
  if (identities.length > 0) return identities;
  throw new SyftError('BAD_REQUEST', `The identity file ${path} holds no age identity.`, { path });
}
