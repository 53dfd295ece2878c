/**
 * When a path that was written is looked at: after it has been quiet for a moment, at the latest after a while, and ever
 * more seldom when it never rests. Pure: the caller brings the clock (milliseconds, monotonic).
 *
 * Invariant: every marked path becomes due at a finite time, so the last state of each is always looked at.
 */
import type { PathName } from './path-name.ts';

export interface SettleTimes {
  /** Quiet time after the last mark, milliseconds. */
  readonly quiet: number;
  /** Longest wait after the first mark, milliseconds; also the shortest interval of a path that never rests. */
  readonly maxWait: number;
  /** Longest interval of a path that never rests, milliseconds. */
  readonly maxInterval: number;
  /** Versions a path may have in quick succession before the interval applies to it too. */
  readonly burst: number;
}

/** 20 ms quiet, 250 ms at most; a path that never rests every 250 ms, growing to 2 s; 40 quick versions before that. */
export const SETTLE_TIMES: SettleTimes = { quiet: 20, maxWait: 250, maxInterval: 2000, burst: 40 };

interface Mark {
  first: number;
  last: number;
  /** Not looked at before this time, whatever was marked. */
  notBefore: number;
}

interface Pace {
  lastVersion: number;
  interval: number;
  credit: number;
}

// A path without versions for this long starts again with full credit.
const PACE_MEMORY_MS = 10_000;

export class SettleQueue {
  readonly #times: SettleTimes;
  readonly #marks = new Map<PathName, Mark>();
  readonly #paces = new Map<PathName, Pace>();

  constructor(times: SettleTimes = SETTLE_TIMES) {
    this.#times = times;
  }

  /** Paths waiting. */
  get size(): number {
    return this.#marks.size;
  }

  has(path: PathName): boolean {
    return this.#marks.has(path);
  }

  /** Something was seen at `path`. */
  mark(path: PathName, now: number): void {
    const mark = this.#marks.get(path);
    if (mark === undefined) this.#marks.set(path, { first: now, last: now, notBefore: 0 });
    else mark.last = now;
  }

  /** `path` is to be looked at at `time`, and not earlier. */
  defer(path: PathName, time: number): void {
    const mark = this.#marks.get(path);
    if (mark === undefined) this.#marks.set(path, { first: time, last: time - this.#times.quiet, notBefore: time });
    else mark.notBefore = Math.max(mark.notBefore, time);
  }

  /** Takes `path` out, when somebody has looked at it. */
  drop(path: PathName): void {
    this.#marks.delete(path);
  }

  /** Drops all. */
  clear(): void {
    this.#marks.clear();
  }

  /** A version of `path` was recorded after it had been waiting here. */
  versioned(path: PathName, now: number): void {
    const pace = this.#paces.get(path);
    if (pace === undefined) {
      this.#paces.set(path, { lastVersion: now, interval: this.#times.maxWait, credit: this.#times.burst - 1 });
      return;
    }
    const since = now - pace.lastVersion;
    pace.credit = Math.min(this.#times.burst, pace.credit - 1 + since / this.#times.maxInterval);
    if (since < pace.interval * 1.5 && (pace.credit < 1 || since >= this.#times.maxWait)) {
      pace.interval = Math.min(this.#times.maxInterval, pace.interval * 1.5);
    } else if (since > this.#times.maxInterval * 2) {
      pace.interval = this.#times.maxWait;
    }
    pace.lastVersion = now;
  }

  /** When `path` is due. */
  #dueAt(path: PathName, mark: Mark): number {
    const pace = this.#paces.get(path);
    const quiet = mark.last + this.#times.quiet;
    let latest = mark.first + this.#times.maxWait;
    let earliest = mark.notBefore;
    if (pace !== undefined) {
      latest = Math.max(latest, pace.lastVersion + pace.interval);
      if (pace.credit < 1) earliest = Math.max(earliest, pace.lastVersion + pace.interval);
    }
    return Math.max(earliest, Math.min(quiet, latest));
  }

  /**
   * Takes out what is due, and with it what will be in half a quiet time: what happened together, such as both sides of a
   * rename, should be looked at together.
   */
  takeDue(now: number): PathName[] {
    const due: PathName[] = [];
    let some = false;
    for (const [path, mark] of this.#marks) {
      const at = this.#dueAt(path, mark);
      if (at > now + this.#times.quiet / 2) continue;
      due.push(path);
      if (at <= now) some = true;
    }
    if (!some) return [];
    for (const path of due) this.#marks.delete(path);
    if (this.#paces.size > 0) {
      for (const [path, pace] of this.#paces) if (now - pace.lastVersion > PACE_MEMORY_MS) this.#paces.delete(path);
    }
    return due;
  }

  /** Takes out all, due or not. */
  takeAll(): PathName[] {
    const all = [...this.#marks.keys()];
    this.#marks.clear();
    return all;
  }

  /** The next time something is due, or `undefined` when nothing waits. */
  nextDue(): number | undefined {
    let next: number | undefined;
    for (const [path, mark] of this.#marks) {
      const due = this.#dueAt(path, mark);
      if (next === undefined || due < next) next = due;
    }
    return next;
  }
}
