/** Where the files of a message go, and what that does to what is there. Pure. */
import type { MessageFileDto } from '../../server/src/api/contract';

type Here = MessageFileDto['here'];

/** A folder as a person types it: relative to the workspace, without slashes at its ends. */
export function folderName(text: string): string {
  return text
    .trim()
    .split('/')
    .filter(part => part !== '' && part !== '.')
    .join('/');
}

/** Whether a folder can be accepted into: not out of the workspace, and not into the log. */
export function isUsableFolder(folder: string): boolean {
  return !folder.split('/').includes('..') && folder.split('/')[0] !== '.syft-sync' && !folder.includes('\0');
}

/** Where a file goes. */
export function destination(file: Pick<MessageFileDto, 'path'>, folder: string): string {
  return folder === '' ? file.path : `${folder}/${file.path}`;
}

/** How many files are new here, replace something, are there already. */
export function tally(here: readonly Here[]): Record<'new' | 'replaces' | 'same', number> {
  const counts = { new: 0, replaces: 0, same: 0 };
  for (const one of here) {
    if (one === 'same') counts.same++;
    else if (one === 'different') counts.replaces++;
    else counts.new++;
  }
  return counts;
}
