/** Begins encrypted logs, and opens their key files. */
import { createKeyFile, readKeyFile, unlockKeyFile, writeKeyFile } from '../crypto/key-file.ts';
import type { KeySecret, Wrapping } from '../crypto/key-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { SyftError } from '../core/errors.ts';
import { writeError } from '../storage/durable.ts';
import {
  createFormatFile,
  encryptedError,
  isLogDirectory,
  newWorkspaceId,
  readFormatFile,
  refuseStrangers
} from './format-file.ts';
import { WriterLock } from './lock.ts';

/** True when the log there is encrypted; false when it is not, or there is none. @throws SyftError as {@link readFormatFile}. */
export function isEncryptedLog(dir: string): boolean {
  return isLogDirectory(dir) && readFormatFile(dir).keyId !== undefined;
}

/**
 * Opens the key file of a log.
 *
 * @param secret Its passphrase, or age identities; not needed for a plain log. A function is asked once it is known that one is
 *   needed, and that the key file is there.
 * @returns `undefined` for a plain log.
 * @throws SyftError LOG_MISSING and others of format.json; LOG_ENCRYPTED without a secret; KEY_MISSING, KEY_DAMAGED,
 *   KEY_MISMATCH, PASSPHRASE_WRONG.
 */
export async function unlockLog(
  dir: string,
  secret: KeySecret | undefined | (() => Promise<KeySecret | undefined> | KeySecret | undefined)
): Promise<LogKeys | undefined> {
  const { workspace, keyId } = readFormatFile(dir);
  if (keyId === undefined) return undefined;
  // Before anything is asked of the user: without a key file no passphrase helps.
  const file = readKeyFile(dir, workspace);
  const found = typeof secret === 'function' ? await secret() : secret;
  if (found === undefined) throw encryptedError(dir);
  return unlockKeyFile(file, found, keyId);
}

/**
 * Begins an encrypted log. The key file is durable before anything says that it is needed.
 *
 * @param wrapping What will open it.
 * @throws SyftError BAD_REQUEST when there is a log already, or nothing would open this one; LOG_LOCKED, LOG_PATH_NOT_DIRECTORY,
 *   DISK_*.
 */
export async function createEncryptedLog(
  dir: string,
  wrapping: Wrapping,
  holder: { readonly command: string } = { command: 'init' }
): Promise<LogKeys> {
  if (!isLogDirectory(dir)) refuseStrangers(dir, true);
  let lock: WriterLock;
  try {
    lock = await WriterLock.acquire(dir, holder);
  } catch (error) {
    if (error instanceof SyftError) throw error;
    throw writeError(error, `the log at ${dir} could not be created`);
  }
  try {
    if (isLogDirectory(dir)) {
      throw new SyftError(
        'BAD_REQUEST',
        `There is a log at ${dir} already. A log is encrypted from its beginning or never: choose another directory, or move it away.`,
        { path: dir }
      );
    }
    const { file, keys } = await createKeyFile(newWorkspaceId(), wrapping);
    writeKeyFile(dir, file);
    createFormatFile(dir, keys);
    return keys;
  } finally {
    lock.release();
  }
}
