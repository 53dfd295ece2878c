/**
 * Notices that the kernel's queue may have overflowed, of which nobody is told: libuv drops the kernel's own word for it.
 *
 * Whatever waits in the queue is delivered in one go, before any other callback of the loop runs. An overflow means that
 * the queue was full, so at least a full queue is then delivered. Fewer events in one go: nothing was lost. The limit is
 * taken at a quarter, because events of watches that were closed meanwhile count in the queue and are not delivered.
 */
import { readText } from '../../storage/read-text.ts';

const LIMIT_FILE = '/proc/sys/fs/inotify/max_queued_events';
/** The kernel's default. */
const DEFAULT_LIMIT = 16_384;

/** Events that the kernel keeps for a watcher before it drops them. */
export function queueLimit(): number {
  try {
    const limit = Number(readText(LIMIT_FILE));
    return Number.isSafeInteger(limit) && limit > 0 ? limit : DEFAULT_LIMIT;
  } catch {
    return DEFAULT_LIMIT;
  }
}

/** Counts the events that are delivered in one go. */
export class Drain {
  readonly #limit: number;
  readonly #onEnd: (mayHaveOverflowed: boolean) => void;
  #count = 0;

  /** @param onEnd Called after the last event of each go. */
  constructor(onEnd: (mayHaveOverflowed: boolean) => void, limit = queueLimit()) {
    this.#limit = Math.max(16, Math.floor(limit / 4));
    this.#onEnd = onEnd;
  }

  /** One event was delivered. */
  event(): void {
    this.#count += 1;
    if (this.#count === 1) setImmediate(this.#end);
  }

  readonly #end = (): void => {
    const count = this.#count;
    this.#count = 0;
    this.#onEnd(count >= this.#limit);
  };
}
