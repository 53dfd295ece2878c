/** Durable file operations: what is said to be on disk has been synced, its name included. */
import { closeSync, constants, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';

/** Syncs a directory, so that names made, renamed or removed in it survive. */
export function syncDirectory(path: string | Buffer): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a private directory (0700) and those above it. */
export function makePrivateDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = resolve(path); ; made = dirname(made)) {
    syncDirectory(dirname(made));
    if (made === first || made === dirname(made)) return;
  }
}

/** Writes all of `bytes` at `position`. */
export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

/**
 * Writes a small file beside itself, syncs it and renames it into place: it is the old or the new one, whole. The name is durable
 * only when the caller has synced the directory, which is left to him because many files may share one.
 *
 * @throws System errors; then the old file stands and nothing lies beside it.
 */
export function renameInto(path: string, bytes: Uint8Array, mode = 0o600): void {
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, 'w', mode);
  try {
    try {
      writeFully(fd, bytes, 0);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Replaces a small file, its name included: after a crash it is the old or the new one, whole. */
export function replaceFile(path: string, bytes: Uint8Array, mode = 0o600): void {
  renameInto(path, bytes, mode);
  syncDirectory(dirname(path));
}

/** Size of a file, or `undefined` when there is none. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** A failed write or sync of the log as an error with a code. */
export function writeError(error: unknown, what: string): SyftError {
  if (error instanceof SyftError) return error;
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new SyftError('DISK_FULL', `The disk is full: ${what}. Recording goes on by itself once there is space.`, {
        cause: error
      });
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new SyftError('DISK_READ_ONLY', `The disk cannot be written to: ${what}.`, { cause: error });
    default:
      return new SyftError('DISK_ERROR', `The disk reported an error: ${what} (${errnoOf(error) ?? String(error)}).`, {
        cause: error
      });
  }
}

/** What a file holds; `undefined` when there is none. Throws other system errors. */
export async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
