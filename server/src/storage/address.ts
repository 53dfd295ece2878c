/** Storages by address, as they are given on the command line. */
import { fileURLToPath } from 'node:url';
import { SyftError } from '../core/errors.ts';
import { FsStorage } from './fs.ts';
import type { Storage } from './storage.ts';

/**
 * The storage at an address such as `file:///mnt/shared/log`; `undefined` when the text is a path.
 *
 * @param options `shared`: others read what is put there, as far as they may write to it.
 * @throws SyftError BAD_REQUEST for an address of a kind that is not known.
 */
export function storageAt(address: string, options: { readonly shared?: boolean } = {}): Storage | undefined {
  // A letter alone may be a drive.
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(address)?.[1]?.toLowerCase();
  if (scheme === undefined) return undefined;
  if (scheme !== 'file') {
    throw new SyftError(
      'BAD_REQUEST',
      `There is no storage for ${scheme}: addresses yet; file:///… is one, and a path.`
    );
  }
  try {
    return new FsStorage(fileURLToPath(address), options);
  } catch (error) {
    throw new SyftError('BAD_REQUEST', `${address} is no address of a directory; write file:///mnt/shared/log.`, {
      cause: error
    });
  }
}
