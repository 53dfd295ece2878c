/**
 * AES-256-GCM with nonces that cannot repeat: each opening of a writer is a session with a random id, the id gives the key,
 * and within a session a counter gives the nonce. The counter counts what was sealed, not what was written: a frame that
 * failed to be written is sealed again, at the same place with other bytes, under the next number.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { SyftError } from '../core/errors.ts';
import { SESSION_LENGTH, type LogKeys, type SealPurpose } from './log-keys.ts';

const COUNTER = 8;
const NONCE = 12;
const TAG = 16;
/** What sealing adds: the counter in front, the tag behind. */
export const SEAL_OVERHEAD = COUNTER + TAG;
/** Far below what one key may seal, and far above what one session does. */
const MOST_PARTS = 2 ** 40;

function nonceOf(counter: Uint8Array): Buffer {
  const nonce = Buffer.alloc(NONCE);
  nonce.set(counter, NONCE - COUNTER);
  return nonce;
}

/** Seals. One a writer, from its opening to its close. */
export class SealingSession {
  readonly id: Buffer = randomBytes(SESSION_LENGTH);
  readonly epoch: number;
  readonly #keys: LogKeys;
  #sealed = 0;

  /** @param epoch Under which it seals; must be one of the keys. Default: the newest. */
  constructor(keys: LogKeys, epoch = keys.newest) {
    this.#keys = keys;
    this.epoch = epoch;
  }

  /**
   * Seals a part: counter (8 bytes) ‖ ciphertext ‖ tag (16).
   *
   * @param associated What the part belongs to: it opens nowhere else.
   * @throws SyftError INTERNAL when the session has sealed as much as it may.
   */
  seal(purpose: SealPurpose, associated: Uint8Array, plain: Uint8Array): Buffer {
    if (this.#sealed >= MOST_PARTS) {
      throw new SyftError('INTERNAL', 'This process has encrypted as much as one session may. Start it again.');
    }
    const out = Buffer.allocUnsafe(plain.length + SEAL_OVERHEAD);
    out.writeBigUInt64BE(BigInt(this.#sealed), 0);
    // Counted before it is used: whatever happens now, this number is gone.
    this.#sealed += 1;
    const key = this.#keys.session(this.epoch, this.id, purpose) as Buffer;
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(out.subarray(0, COUNTER)), { authTagLength: TAG });
    cipher.setAAD(associated);
    let at = COUNTER;
    for (const piece of [cipher.update(plain), cipher.final(), cipher.getAuthTag()]) at += piece.copy(out, at);
    return out;
  }
}

/** Where a sealed part comes from, as its frame and segment say. */
export interface SealOrigin {
  readonly epoch: number;
  readonly session: Uint8Array;
}

/**
 * Opens a part; `undefined` when it was altered, stands elsewhere than it was made for, or is of an epoch that is not known.
 *
 * @param sealed As {@link SealingSession.seal} made it.
 */
export function openSealed(
  keys: LogKeys,
  origin: SealOrigin,
  purpose: SealPurpose,
  associated: Uint8Array,
  sealed: Uint8Array
): Buffer | undefined {
  const key = keys.session(origin.epoch, origin.session, purpose);
  if (key === undefined || sealed.length < SEAL_OVERHEAD) return undefined;
  const end = sealed.length - TAG;
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(sealed.subarray(0, COUNTER)), { authTagLength: TAG });
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(end));
  const plain = decipher.update(sealed.subarray(COUNTER, end));
  try {
    decipher.final();
  } catch {
    // The only thing final() can say about GCM is that the tag is wrong.
    plain.fill(0);
    return undefined;
  }
  return plain;
}
