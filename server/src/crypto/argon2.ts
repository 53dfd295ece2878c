/** argon2id (RFC 9106): a key from a passphrase, at a price for whoever guesses. */
import * as crypto from 'node:crypto';

/** What the price is. It stands in the key file, so it is bounded before it is paid. */
export interface Argon2Cost {
  /** KiB. */
  readonly memory: number;
  readonly passes: number;
  readonly lanes: number;
}

/** The second recommendation of RFC 9106, section 4: for machines that have other work too. */
export const DEFAULT_COST: Argon2Cost = { memory: 64 * 1024, passes: 3, lanes: 4 };
/** Less than `least` protects nobody; more than `most` could only be asked for by a file made to exhaust this machine. */
export const COST_BOUNDS = {
  memory: { least: 8 * 1024, most: 1024 * 1024 },
  passes: { least: 1, most: 16 },
  lanes: { least: 1, most: 16 }
} as const;

interface NativeParameters {
  message: Uint8Array;
  nonce: Uint8Array;
  parallelism: number;
  tagLength: number;
  memory: number;
  passes: number;
}
/** `crypto.argon2` came with Node 24.7. */
type NativeArgon2 = (
  algorithm: 'argon2id',
  parameters: NativeParameters,
  callback: (error: Error | null, key: Buffer) => void
) => void;

/**
 * Derives 32 bytes.
 *
 * @param passphrase Any length; brought to Unicode NFKC first, so that it does not depend on the keyboard that typed it.
 * @param salt At least 16 bytes, random.
 */
export async function argon2id(passphrase: string, salt: Uint8Array, cost: Argon2Cost): Promise<Buffer> {
  const message = Buffer.from(passphrase.normalize('NFKC'));
  try {
    const native = (crypto as { argon2?: NativeArgon2 }).argon2;
    if (native !== undefined) {
      return await new Promise((resolve, reject) =>
        native(
          'argon2id',
          {
            message,
            nonce: salt,
            parallelism: cost.lanes,
            tagLength: 32,
            memory: cost.memory,
            passes: cost.passes
          },
          (error, key) => (error === null ? resolve(key) : reject(error))
        )
      );
    }
    return await portableArgon2id(message, salt, cost);
  } finally {
    message.fill(0);
  }
}

/** The same without help from Node: some ten times slower. */
export async function portableArgon2id(message: Uint8Array, salt: Uint8Array, cost: Argon2Cost): Promise<Buffer> {
  const { argon2idAsync } = await import('@noble/hashes/argon2.js');
  return Buffer.from(await argon2idAsync(message, salt, { m: cost.memory, t: cost.passes, p: cost.lanes, dkLen: 32 }));
}
