/**
 * Journals that are sealed line by line: each line is a sealed file of its own, in base64, and holds one or several lines of the
 * journal. So they can be appended to by several processes, and a torn or damaged line loses only itself. That lines are missing
 * or stand in another order does not show: such a journal may hold only what may be lost.
 */
import type { LogKeys } from './log-keys.ts';
import { openSealedFile, sealFile } from './sealed-file.ts';
import { SyftError } from '../core/errors.ts';

/** Bytes of text that are sealed together. */
const TOGETHER = 64 * 1024;

/**
 * Seals lines, each ended by a line feed.
 *
 * @param name Place of the journal below the log directory.
 * @returns Lines to write.
 */
export function sealLines(keys: LogKeys, name: string, text: string): string {
  let sealed = '';
  for (let at = 0; at < text.length;) {
    const end = text.length - at <= TOGETHER ? text.length : text.indexOf('\n', at + TOGETHER) + 1 || text.length;
    sealed += `${sealFile(keys, name, Buffer.from(text.slice(at, end))).toString('base64')}\n`;
    at = end;
  }
  return sealed;
}

/**
 * Opens a journal that {@link sealLines} made.
 *
 * @returns The lines that could be opened. What is torn, damaged, in the clear, or of another log is left out.
 */
export function openLines(keys: LogKeys, name: string, text: string): string {
  let plain = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    try {
      plain += openSealedFile(keys, name, Buffer.from(line, 'base64')).toString('utf8');
    } catch (error) {
      if (!(error instanceof SyftError)) throw error;
    }
  }
  return plain;
}
