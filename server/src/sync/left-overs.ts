/** Files that a run which was cut off had just taken away. */
import { createHash } from 'node:crypto';
import { lstat, open, unlink } from 'node:fs/promises';

/**
 * Removes them; first what no log has is kept for the user.
 *
 * @param recorded SHA-256 of every content that a log has.
 * @param keep Puts a copy of one where the user finds it.
 */
export async function judgeLeftOvers(
  paths: readonly string[],
  recorded: ReadonlySet<string>,
  keep: (path: string) => Promise<void>
): Promise<void> {
  for (const path of paths) {
    if ((await lstat(path)).isFile() && !recorded.has(await hashOf(path))) await keep(path);
    await unlink(path);
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await using handle = await open(path, 'r');
  for await (const piece of handle.createReadStream({ autoClose: false })) hash.update(piece as Buffer);
  return hash.digest('hex');
}
