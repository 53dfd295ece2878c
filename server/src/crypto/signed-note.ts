/**
 * Signed notes (https://c2sp.org/signed-note): a text, a blank line, and lines that each carry a signature over the text. Only
 * Ed25519 (type 1). Whoever signs anything else with a device key must see to it that it cannot be read as such a text.
 */
import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';

const ED25519 = 1;
/** SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const SIGNATURE_LINE = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u;
/** A note may carry the signatures of witnesses too; more than this is not read. */
const MAX_NOTE = 64 * 1024;

function keyId(name: string, publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(`${name}\n`).update(Buffer.of(ED25519)).update(publicKey).digest().subarray(0, 4);
}

/**
 * A key as verifiers of signed notes take it: `<name>+<key id>+<base64>`.
 *
 * @param publicKey Ed25519, 32 bytes.
 */
export function verifierKey(name: string, publicKey: Uint8Array): string {
  const key = Buffer.concat([Buffer.of(ED25519), publicKey]);
  return `${name}+${keyId(name, publicKey).toString('hex')}+${key.toString('base64')}`;
}

/**
 * Signs a text.
 *
 * @param text Lines, each ended by a line feed; no other control characters.
 * @param name Key name: no spaces, no `+`.
 */
export function signNote(text: string, name: string, key: { privateKey: KeyObject; publicKey: Uint8Array }): string {
  const signature = sign(null, Buffer.from(text), key.privateKey);
  const line = Buffer.concat([keyId(name, key.publicKey), signature]).toString('base64');
  return `${text}\n\u2014 ${name} ${line}\n`;
}

/**
 * The text of a note when this key has signed it, else `undefined`. Signatures of other keys are passed over; a wrong one of
 * this key spoils the note.
 *
 * @param publicKey Ed25519, 32 bytes.
 */
export function openNote(note: string, name: string, publicKey: Uint8Array): string | undefined {
  if (note.length > MAX_NOTE || /[\0-\x09\x0b-\x1f\ufffd]/u.test(note) || !note.isWellFormed()) return undefined;
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n')) return undefined;
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2, -1).split('\n');
  const id = keyId(name, publicKey);
  let signed = false;
  for (const line of lines) {
    const [, signer, base64 = ''] = SIGNATURE_LINE.exec(line) ?? [];
    const bytes = Buffer.from(base64, 'base64');
    // Base64 that decodes alike but is written otherwise would be a change that nobody notices.
    if (signer === undefined || bytes.length < 5 || bytes.toString('base64') !== base64) return undefined;
    if (signer !== name || !bytes.subarray(0, 4).equals(id)) continue;
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
    if (!verify(null, Buffer.from(text), key, bytes.subarray(4))) return undefined;
    signed = true;
  }
  return signed ? text : undefined;
}
