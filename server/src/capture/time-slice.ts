/** Keeps long synchronous work from holding the event loop: work for a slice, then let others in. */
import { setImmediate } from 'node:timers/promises';
import { SyftError } from '../core/errors.ts';

/** Longest synchronous stretch, milliseconds. */
const SLICE_MS = 8;

export class TimeSlice {
  readonly #signal: AbortSignal | undefined;
  #started = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** True when the slice is used up and {@link rest} is due. */
  spent(): boolean {
    return performance.now() - this.#started > SLICE_MS;
  }

  /** Lets the event loop turn. Throws CANCELLED when the work was called off. */
  async rest(): Promise<void> {
    await setImmediate();
    if (this.#signal?.aborted === true) {
      throw new SyftError('CANCELLED', 'Stopped before the pass was complete; what was recorded stays recorded');
    }
    this.#started = performance.now();
  }
}
