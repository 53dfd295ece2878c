/** `format.json` and `device.json`: what is fixed when a log, or a stream in it, begins. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { CHUNKING } from '../core/chunking.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory, replaceFile, writeError } from '../storage/durable.ts';
import { FORMAT_VERSION } from './layout.ts';

export interface FormatFile {
  /** 32 hex digits. */
  readonly workspace: string;
  /** The bytes as they are on disk. */
  readonly bytes: Buffer;
}

/** The log's `.gitignore`: a log inside a repository of the user's must not be committed by accident. */
export const GITIGNORE = Buffer.from('*\n');

/** Directories below the log that may be deleted without loss, and what belongs to running processes. */
export const DISPOSABLE: readonly string[] = ['index', 'cache', 'locks'];
/** What a receiver may have left in a directory that was not recorded so far. */
const OF_RECEIVERS: readonly string[] = ['receive', 'conflicts'];

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
  const { format, version, workspace, requires } = body;
  if (format !== 'syft-sync-log' || typeof version !== 'number') {
    throw new SyftError('LOG_DAMAGED', `${path} does not describe a log.`, { path });
  }
  if (version > FORMAT_VERSION || (Array.isArray(requires) && requires.length > 0)) {
    const needs = Array.isArray(requires) && requires.length > 0 ? ` and needs ${requires.join(', ')}` : '';
    throw new SyftError(
      'LOG_NEWER_FORMAT',
      `The log at ${dir} is of format ${version}${needs}; this program knows format ${FORMAT_VERSION}. Update syft-sync.`,
      { path: dir }
    );
  }
  if (typeof workspace !== 'string' || !/^[0-9a-f]{32}$/.test(workspace)) {
    throw new SyftError('LOG_DAMAGED', `${path} names no workspace.`, { path });
  }
  return { workspace, bytes };
}

/** Throws LOG_PATH_NOT_DIRECTORY when a directory holds what is not ours: no log begins there, and nothing is put there. */
export function refuseStrangers(dir: string): void {
  if (!existsSync(dir)) return;
  const stranger = readdirSync(dir).find(
    name =>
      !(name === 'log' && !holdsStreams(dir)) &&
      !DISPOSABLE.includes(name) &&
      !OF_RECEIVERS.includes(name) &&
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

/** Begins a log in a directory that is missing or holds nothing but disposable parts. */
export function createFormatFile(dir: string): FormatFile {
  try {
    makePrivateDirectory(dir);
    refuseStrangers(dir);
    const body = {
      format: 'syft-sync-log',
      version: FORMAT_VERSION,
      workspace: randomBytes(16).toString('hex'),
      created: new Date().toISOString(),
      requires: [],
      chunking: CHUNKING
    };
    const bytes = Buffer.from(`${JSON.stringify(body, null, 1)}\n`);
    makePrivateDirectory(join(dir, 'log'));
    replaceFile(join(dir, '.gitignore'), GITIGNORE);
    replaceFile(join(dir, 'format.json'), bytes);
    return { workspace: body.workspace, bytes };
  } catch (error) {
    throw writeError(error, `the log at ${dir} could not be created`);
  }
}

/** SHA-256 over format.json and device.json: what each segment header vouches for. */
export function configDigest(format: Buffer, device: Buffer): Buffer {
  return createHash('sha256').update(format).update(device).digest();
}
