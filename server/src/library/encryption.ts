/** How programs say that a log is encrypted: with what it opens, and with what a new one is wrapped. */
import { statSync } from 'node:fs';
import { SyftError } from '../core/errors.ts';
import { identitiesFromFile } from '../crypto/age.ts';
import { readKeyFile, type KeySecret } from '../crypto/key-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { passphraseFromFile } from '../crypto/passphrase.ts';
import { createEncryptedLog, unlockLog } from '../log/encryption.ts';
import { isLogDirectory, readFormatFile } from '../log/format-file.ts';

/**
 * An encrypted log. A new one is wrapped by the passphrase and for the recipients that are given, at least one of them; one that is
 * there opens with the identities, or with the passphrase.
 */
export interface EncryptionOptions {
  readonly passphrase?: string;
  /** A file whose first line is the passphrase. */
  readonly passphraseFile?: string;
  /** A file of age identities, as `age-keygen` writes it. */
  readonly identityFile?: string;
  /** `age1…`: who can open a log that is made now with an identity. */
  readonly recipients?: readonly string[];
}

/** The keys of a log by its directory; `undefined` for one that is not encrypted. */
export type KeysOf = (logDir: string) => Promise<LogKeys | undefined>;

/** True when others than its owner may read a file with a secret. A pipe or a file that cannot be looked at is none. */
export function isReadableByOthers(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true && (stats.mode & 0o077) !== 0;
}

function passphraseOf({ passphrase, passphraseFile }: EncryptionOptions): string | undefined {
  return passphrase ?? (passphraseFile === undefined ? undefined : passphraseFromFile(passphraseFile));
}

/**
 * What opens a log.
 *
 * @throws SyftError BAD_REQUEST when a file that is named cannot be read.
 */
export function secretOf(options: EncryptionOptions): KeySecret | undefined {
  if (options.identityFile !== undefined) return { identities: identitiesFromFile(options.identityFile) };
  const passphrase = passphraseOf(options);
  return passphrase === undefined ? undefined : { passphrase };
}

/**
 * Opens each log with the same secret. Keys are kept as long as their key file stays as it is: making them from a passphrase takes
 * its time.
 *
 * @param find Asked when the first encrypted log is met, and again where the answer was wrong.
 */
export function keysWith(find: () => Promise<KeySecret | undefined> | KeySecret | undefined): KeysOf {
  let secret: Promise<KeySecret | undefined> | undefined;
  const known = new Map<string, { readonly sum: string; readonly keys: LogKeys }>();
  const found = async (): Promise<KeySecret | undefined> => {
    secret ??= Promise.resolve(find());
    try {
      return await secret;
    } catch (error) {
      secret = undefined;
      throw error;
    }
  };
  return async logDir => {
    if (!isLogDirectory(logDir)) return undefined;
    const { workspace, keyId } = readFormatFile(logDir);
    if (keyId === undefined) return undefined;
    const { sum } = readKeyFile(logDir, workspace);
    const before = known.get(logDir);
    if (before?.sum === sum && before.keys.keyId === keyId) return before.keys;
    let keys: LogKeys | undefined;
    try {
      keys = await unlockLog(logDir, found);
    } catch (error) {
      // Found anew the next time: the file that it came from may be another one then.
      if (error instanceof SyftError && error.code === 'PASSPHRASE_WRONG') secret = undefined;
      throw error;
    }
    if (keys !== undefined) known.set(logDir, { sum, keys });
    return keys;
  };
}

/**
 * The keys of a log that is to be encrypted: of the one that is there, or of a new one.
 *
 * @throws SyftError KEY_MISMATCH when the log that is there is not encrypted; else as {@link unlockLog}, {@link createEncryptedLog}.
 */
export async function openEncryption(logDir: string, options: EncryptionOptions): Promise<LogKeys> {
  if (!isLogDirectory(logDir)) {
    const passphrase = passphraseOf(options);
    return createEncryptedLog(
      logDir,
      { ...(passphrase !== undefined && { passphrase }), recipients: options.recipients ?? [] },
      { command: 'library' }
    );
  }
  const keys = await unlockLog(logDir, () => secretOf(options));
  if (keys !== undefined) return keys;
  throw new SyftError(
    'KEY_MISMATCH',
    `The log at ${logDir} is not encrypted, and it was asked to be. A log is encrypted from its beginning or never: choose another directory.`,
    { path: logDir }
  );
}
