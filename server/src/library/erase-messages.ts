/** Messages of the inbox that carry a content which is erased: they are copies of it in the log directory. */
import type { LogKeys } from '../crypto/log-keys.ts';
import { MessageBox } from '../messages/box.ts';
import { VERSION } from './version.ts';

/**
 * Takes messages that have a content out of the inbox. One that is sealed and was never opened here is not known to have it, and stays.
 *
 * @param hash SHA-256, hex.
 * @returns Their places, relative to the log.
 * @throws SyftError DISK_*.
 */
export async function removeMessagesWith(
  hash: string,
  { logDir, keys }: { readonly logDir: string; readonly keys: LogKeys | undefined }
): Promise<string[]> {
  const box = new MessageBox({ logDir, keys, program: VERSION });
  const removed: string[] = [];
  for (const entry of await box.list('inbox')) {
    const { fileList } = await box.detail(entry);
    if (!fileList.some(file => file.hash === hash)) continue;
    await box.remove(entry);
    removed.push(`messages/inbox/${entry.id}`);
  }
  return removed;
}
