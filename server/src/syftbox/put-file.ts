/** Puts a small file among the user's own. */
import { randomUUID } from 'node:crypto';
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TEMPORARY_PREFIX } from '../library/restore.ts';
import { syncDirectory, writeError, writeFully } from '../storage/durable.ts';

/**
 * Writes a file at once and durably: what stood there is there until the new one is whole. What lies beside it meanwhile has a name that is
 * never recorded, and is nobody else's.
 *
 * @throws SyftError DISK_*.
 */
export function putFile(path: string, bytes: Uint8Array, mode: number): void {
  const dir = dirname(path);
  const temporary = join(dir, `${TEMPORARY_PREFIX}${randomUUID()}`);
  try {
    const fd = openSync(temporary, 'wx', 0o600);
    try {
      writeFully(fd, bytes, 0);
      fchmodSync(fd, mode);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncDirectory(dir);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(error, `${path} could not be written`);
  }
}
