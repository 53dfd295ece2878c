/**
 * What a receiver in another process says it is about to put into the directory: read as it grows, so that what is recorded
 * can say where it came from. The journal is advisory and may be missing, replaced or cut at any time.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseIntent, RECEIVED_JOURNAL, type Intent } from '../core/received.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openLines } from '../crypto/sealed-lines.ts';

const MAX_READ = 16 * 1024 * 1024;

/** An intent as the recorder meets it. */
export interface AnnouncedIntent extends Intent {
  /** It was announced before this recorder began, and may have been recorded by the one before. */
  readonly earlier: boolean;
}

export class ReceivedIntents {
  readonly #path: string;
  readonly #keys: LogKeys | undefined;
  #begun = false;
  #ino = 0;
  #offset = 0;

  /** @param keys Of an encrypted log: its journal is sealed line by line. */
  constructor(logDir: string, keys?: LogKeys) {
    this.#path = join(logDir, RECEIVED_JOURNAL);
    this.#keys = keys;
  }

  /** The intents added since the last call, oldest first. Costs one `stat` when there are none. */
  read(): AnnouncedIntent[] {
    const earlier = !this.#begun;
    this.#begun = true;
    try {
      const stats = statSync(this.#path, { throwIfNoEntry: false });
      if (stats === undefined || (stats.ino === this.#ino && stats.size === this.#offset)) {
        return [];
      }
      return this.#readNew().map(intent => ({ ...intent, earlier }));
    } catch {
      return [];
    }
  }

  #readNew(): Intent[] {
    const fd = openSync(this.#path, 'r');
    try {
      const stats = fstatSync(fd);
      if (stats.ino !== this.#ino || stats.size < this.#offset) {
        this.#ino = stats.ino;
        this.#offset = 0;
      }
      const start = Math.max(this.#offset, stats.size - MAX_READ);
      const bytes = Buffer.alloc(stats.size - start);
      const length = readSync(fd, bytes, 0, bytes.length, start);
      const whole = bytes.subarray(0, length).lastIndexOf(0x0a) + 1;
      this.#offset = start + whole;
      const text = bytes.toString('utf8', 0, whole);
      return (this.#keys === undefined ? text : openLines(this.#keys, RECEIVED_JOURNAL, text))
        .split('\n')
        .map(parseIntent)
        .filter(intent => intent !== undefined);
    } finally {
      closeSync(fd);
    }
  }
}
