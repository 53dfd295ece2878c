/** How far an index was fed, and what has to be known of it to go on. */
import type { Change } from '../core/change.ts';
import type { RowState } from './change-row.ts';
import { Fingerprint } from './fingerprint.ts';
import type { Place } from './history-queries.ts';
import { PreviousState } from './previous-state.ts';

/** See the file's first line. A batch works on a copy, which takes the place of this one when the batch is in. */
export class Progress {
  /** Number of each device. */
  devices = new Map<string, number>();
  /** Highest seq applied, by device. */
  positions = new Map<string, number>();
  fold = new PreviousState<RowState>();
  fingerprint = new Fingerprint();
  count = 0;
  nextPath = 1;
  nextHash = 1;
  /** The latest moment so far, microseconds. */
  latest = -Infinity;
  last: Place | undefined;
  /** Moments at which the tree is not that of the first so many changes; what came since the last {@link takeDisorder}. */
  #disorder: { low: number; high: number }[] = [];

  copy(): Progress {
    const copy = Object.assign(new Progress(), this);
    copy.devices = new Map(this.devices);
    copy.positions = new Map(this.positions);
    copy.fold = this.fold.copy();
    copy.fingerprint = this.fingerprint.copy();
    copy.#disorder = [];
    return copy;
  }

  /** Counts a change in. @returns The number of its device. */
  add(change: Change): number {
    this.count += 1;
    let device = this.devices.get(change.device);
    if (device === undefined) {
      device = this.devices.size + 1;
      this.devices.set(change.device, device);
    }
    this.positions.set(change.device, change.seq);
    this.fingerprint.add(change);
    this.last = change;
    if (change.at >= this.latest) this.latest = change.at;
    else this.#addDisorder(change.at, this.latest);
    return device;
  }

  #addDisorder(low: number, high: number): void {
    const last = this.#disorder.at(-1);
    if (last !== undefined && low <= last.high && high >= last.low) {
      last.low = Math.min(last.low, low);
      last.high = Math.max(last.high, high);
    } else this.#disorder.push({ low, high });
  }

  /** Hands out the disorder, once. */
  takeDisorder(): { low: number; high: number }[] {
    const disorder = this.#disorder;
    this.#disorder = [];
    return disorder;
  }
}
