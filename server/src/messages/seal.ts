/** Messages that only their recipients can open: the archive as it is, in an age file (https://age-encryption.org/v1). */
import { Readable } from 'node:stream';
import { SyftError } from '../core/errors.ts';
import { decrypterFor, encrypterFor } from '../crypto/age.ts';

/** How an age file begins. */
const MAGIC = Buffer.from('age-encryption.org/v1\n');

/** Bytes → a stream of the web that the library takes. */
function webStream(pieces: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = pieces[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.next();
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await reader.return?.(undefined);
    }
  });
}

async function* piecesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let whole = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield value;
    }
    whole = true;
  } finally {
    if (!whole) await reader.cancel().catch(() => undefined);
  }
}

/** True when the first bytes of a file say that it is sealed. */
export function isSealed(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(0, MAGIC.length)).equals(MAGIC);
}

/**
 * A step of a pipeline that seals what passes for recipients.
 *
 * @param recipients `age1…`. Throws BAD_REQUEST, when the first byte passes, naming one that is none.
 */
export function sealFor(
  recipients: readonly string[]
): (plain: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array> {
  return async function* (plain) {
    const encrypter = await encrypterFor(recipients);
    yield* piecesOf(await encrypter.encrypt(webStream(plain)));
  };
}

/**
 * Opens a sealed message.
 *
 * @param identities `AGE-SECRET-KEY-1…`.
 * @throws SyftError KEY_MISSING without an identity; KEY_MISMATCH when it is not sealed for these; BAD_REQUEST when one is none.
 */
export async function unseal(sealed: Readable, identities: readonly string[]): Promise<Readable> {
  if (identities.length === 0) {
    throw new SyftError(
      'KEY_MISSING',
      'The message is encrypted. Name the file with your age identity: --identity-file FILE.'
    );
  }
  const decrypter = await decrypterFor(identities);
  let plain: ReadableStream<Uint8Array>;
  try {
    plain = await decrypter.decrypt(webStream(sealed));
  } catch (error) {
    sealed.destroy();
    throw new SyftError('KEY_MISMATCH', 'The message is encrypted for somebody else, or its head was altered.', {
      cause: error
    });
  }
  return Readable.from(piecesOf(plain), { objectMode: false });
}
