/** `format.json` and `device.json`: what is fixed when a log, or a stream in it, begins. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CHUNKING } from '../core/chunking.ts';
import { KEY_FILE } from '../crypto/key-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory, replaceFile, writeError } from '../storage/durable.ts';
import { FORMAT_VERSION } from './layout.ts';

export interface FormatFile {
  /** 32 hex digits. */
  readonly workspace: string;
  /** The bytes as they are on disk. */
  readonly bytes: Buffer;
  /** Of an encrypted log: what its first master key is called (docs/format.md, "Encryption"). */
  readonly keyId: string | undefined;
}

/** What a log may require of its readers. */
const ENCRYPTION = 'encryption';

/** The log's `.gitignore`: a log inside a repository of the user's must not be committed by accident. */
export const GITIGNORE = Buffer.from('*\n');

/** Directories below the log that may be deleted without loss, and what belongs to running processes. */
export const DISPOSABLE: readonly string[] = ['index', 'cache', 'locks'];
/** What a receiver, or an earlier log, may have left in a directory that was not recorded so far. */
const LEFT_BEFORE: readonly string[] = ['receive', 'conflicts', 'messages'];

/** Throws LOG_PATH_NOT_DIRECTORY; false when there is nothing. */
export function isLogDirectory(dir: string): boolean {
  let stats;
  try {
    stats = statSync(dir, { throwIfNoEntry: false });
  } catch (error) {
    // A part of the path is a file.
    if (errnoOf(error) === 'ENOTDIR') {
      throw new SyftError('LOG_PATH_NOT_DIRECTORY', `The log path ${dir} lies below a file.`, {
        path: dir,
        cause: error
      });
    }
    throw error;
  }
  if (stats === undefined) {
    // Nothing is there, or, which stat does not tell apart, a part of the path is a file.
    for (let above = dirname(resolve(dir)); ; above = dirname(above)) {
      const found = statSync(above, { throwIfNoEntry: false });
      if (found?.isDirectory() === true || above === dirname(above)) return false;
      if (found !== undefined) {
        throw new SyftError('LOG_PATH_NOT_DIRECTORY', `The log path ${dir} lies below the file ${above}.`, {
          path: dir
        });
      }
    }
  }
  if (!stats.isDirectory()) {
    throw new SyftError('LOG_PATH_NOT_DIRECTORY', `The log path ${dir} is a file, not a directory.`, { path: dir });
  }
  return existsSync(join(dir, 'format.json')) || holdsStreams(dir);
}

/** An empty `log/` is what a crash while a log was being created leaves. */
function holdsStreams(dir: string): boolean {
  try {
    return readdirSync(join(dir, 'log')).length > 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/** Reads format.json. Throws LOG_MISSING, LOG_DAMAGED, LOG_NEWER_FORMAT, LOG_PATH_NOT_DIRECTORY, DISK_ERROR. */
export function readFormatFile(dir: string): FormatFile {
  if (!isLogDirectory(dir)) throw new SyftError('LOG_MISSING', `There is no log at ${dir}.`, { path: dir });
  const path = join(dir, 'format.json');
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOENT') {
      throw new SyftError('DISK_ERROR', `${path} cannot be read (${errno ?? String(error)}).`, { cause: error, path });
    }
    throw new SyftError('LOG_DAMAGED', `The log at ${dir} lacks its format.json. Run fsck.`, { cause: error, path });
  }
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new SyftError('LOG_DAMAGED', `${path} is not readable. Run fsck.`, { cause: error, path });
  }
  const { format, version, workspace, requires, keyId } = body;
  if (format !== 'syft-sync-log' || typeof version !== 'number') {
    throw new SyftError('LOG_DAMAGED', `${path} does not describe a log.`, { path });
  }
  const required: readonly unknown[] = Array.isArray(requires) ? requires : [];
  const unknown = required.filter(word => word !== ENCRYPTION);
  if (version > FORMAT_VERSION || unknown.length > 0) {
    const needs = unknown.length > 0 ? ` and needs ${unknown.join(', ')}` : '';
    throw new SyftError(
      'LOG_NEWER_FORMAT',
      `The log at ${dir} is of format ${version}${needs}; this program knows format ${FORMAT_VERSION}. Update syft-sync.`,
      { path: dir }
    );
  }
  if (typeof workspace !== 'string' || !/^[0-9a-f]{32}$/.test(workspace)) {
    throw new SyftError('LOG_DAMAGED', `${path} names no workspace.`, { path });
  }
  const isEncrypted = required.includes(ENCRYPTION);
  if (isEncrypted && (typeof keyId !== 'string' || !/^[0-9a-f]{32}$/.test(keyId))) {
    throw new SyftError('LOG_DAMAGED', `${path} does not say with which key the log is encrypted.`, { path });
  }
  // Whoever makes an encrypted log pass for a plain one has what comes written in the clear.
  if (!isEncrypted && existsSync(join(dir, KEY_FILE))) {
    throw new SyftError(
      'LOG_DAMAGED',
      `${path} says that the log is not encrypted, but it has a key file (${KEY_FILE}): one of them does not belong there. Put the right format.json back.`,
      { path }
    );
  }
  return { workspace, bytes, keyId: isEncrypted ? (keyId as string) : undefined };
}

/**
 * The keys with which a log is opened: none for a plain one, for an encrypted one its own.
 *
 * @throws SyftError LOG_ENCRYPTED when there are none, KEY_MISMATCH when they are of another log.
 */
export function checkKeys(dir: string, format: FormatFile, keys: LogKeys | undefined): LogKeys | undefined {
  if (format.keyId === undefined) {
    if (keys === undefined) return undefined;
    throw new SyftError('KEY_MISMATCH', `The log at ${dir} is not encrypted; keys were given for it.`, { path: dir });
  }
  if (keys === undefined) throw encryptedError(dir);
  if (keys.workspace !== format.workspace || keys.keyId !== format.keyId) {
    throw new SyftError('KEY_MISMATCH', `The keys that were given are not those of the log at ${dir}.`, { path: dir });
  }
  return keys;
}

/** The log is encrypted, and nothing was given that opens it. */
export function encryptedError(dir: string): SyftError {
  return new SyftError(
    'LOG_ENCRYPTED',
    `The log at ${dir} is encrypted. Give its passphrase (--passphrase-file FILE, SYFT_SYNC_PASSPHRASE, or at the prompt of a terminal) or an age identity (--identity-file FILE, SYFT_SYNC_IDENTITY).`,
    { path: dir }
  );
}

/** The key file of a log that was never begun: what a crash leaves that came while one was. */
function isLoneKeyFile(dir: string): boolean {
  return readdirSync(join(dir, 'keys')).every(name => `keys/${name}`.startsWith(KEY_FILE));
}

/**
 * Throws LOG_PATH_NOT_DIRECTORY when a directory holds what is not ours: no log begins there, and nothing is put there.
 *
 * @param encrypted The log that is to begin there is encrypted.
 */
export function refuseStrangers(dir: string, encrypted = false): void {
  if (!existsSync(dir)) return;
  const stranger = readdirSync(dir).find(
    name =>
      !(name === 'log' && !holdsStreams(dir)) &&
      !(encrypted && name === 'keys' && isLoneKeyFile(dir)) &&
      !DISPOSABLE.includes(name) &&
      !LEFT_BEFORE.includes(name) &&
      !name.startsWith('.gitignore') &&
      !name.endsWith('.tmp')
  );
  if (stranger === undefined) return;
  throw new SyftError(
    'LOG_PATH_NOT_DIRECTORY',
    `${dir} is not empty and holds no log (${stranger}); choose another directory for it.`,
    { path: dir }
  );
}

/** The id of a new log: 32 hex digits. */
export function newWorkspaceId(): string {
  return randomBytes(16).toString('hex');
}

/**
 * Begins a log in a directory that is missing or holds nothing but disposable parts.
 *
 * @param keys The log is encrypted with these, and their key file is durable.
 */
export function createFormatFile(dir: string, keys?: LogKeys): FormatFile {
  try {
    makePrivateDirectory(dir);
    refuseStrangers(dir, keys !== undefined);
    const body = {
      format: 'syft-sync-log',
      version: FORMAT_VERSION,
      workspace: keys?.workspace ?? newWorkspaceId(),
      created: new Date().toISOString(),
      requires: keys === undefined ? [] : [ENCRYPTION],
      ...(keys !== undefined && { keyId: keys.keyId }),
      chunking: CHUNKING
    };
    const bytes = Buffer.from(`${JSON.stringify(body, null, 1)}\n`);
    makePrivateDirectory(join(dir, 'log'));
    replaceFile(join(dir, '.gitignore'), GITIGNORE);
    replaceFile(join(dir, 'format.json'), bytes);
    return { workspace: body.workspace, bytes, keyId: keys?.keyId };
  } catch (error) {
    throw writeError(error, `the log at ${dir} could not be created`);
  }
}

/** SHA-256 over format.json and device.json: what each segment header vouches for. */
export function configDigest(format: Buffer, device: Buffer): Buffer {
  return createHash('sha256').update(format).update(device).digest();
}
