/** The paths of an output that something may have to be done about, and what each of them waits for. */
import type { PathName } from '../core/path-name.ts';

/** Milliseconds between looks while a path waits for the recorder. */
export const HOLD_POLL_MS = 40;
/** After this long the recorder should have seen what was written; then it is asked again, so often. Milliseconds. */
const RECORDED_AFTER_MS = 1000;
const RECORDED_AGAIN_MS = 2000;
const RECORDED_LOOKS = 3;
/** What failed is tried again after twice this, and at longer and longer intervals. Milliseconds. */
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 60_000;

export class Waiting {
  readonly #pending = new Set<PathName>();
  /** Waiting for the recorder: since when, milliseconds. */
  readonly #held = new Map<PathName, number>();
  /** Written here, and not recorded yet: when to look again, and how often still. */
  readonly #unrecorded = new Map<PathName, { at: number; left: number }>();
  readonly #retry = new Map<PathName, { at: number; wait: number }>();

  get size(): number {
    return this.#pending.size;
  }

  /** All of them, as they are now. */
  paths(): readonly PathName[] {
    return [...this.#pending];
  }

  /** There is something new about a path. */
  touch(path: PathName): void {
    this.#pending.add(path);
    this.#retry.delete(path);
  }

  /** Something changed under our hands: to be planned anew. */
  again(path: PathName): void {
    this.#pending.add(path);
  }

  /** Tries a path again, at longer and longer intervals. */
  later(path: PathName): void {
    const wait = Math.min(LAST_RETRY_MS, (this.#retry.get(path)?.wait ?? FIRST_RETRY_MS) * 2);
    this.#pending.add(path);
    this.#retry.set(path, { at: Date.now() + wait, wait });
  }

  /** Nothing is to be done about a path. */
  done(path: PathName): void {
    this.#pending.delete(path);
    this.#held.delete(path);
    this.#retry.delete(path);
  }

  /** A path that is not received at all. */
  ignore(path: PathName): void {
    this.#pending.delete(path);
  }

  /** Lets a path wait for the recorder; returns since when it does. */
  hold(path: PathName, now: number): number {
    const since = this.#held.get(path) ?? now;
    this.#held.set(path, since);
    return since;
  }

  /** Whether a path that failed must wait longer. */
  rests(path: PathName, now: number): boolean {
    const retry = this.#retry.get(path);
    return retry !== undefined && retry.at > now;
  }

  /** Everything that is left failed before, and is tried again in its time. */
  get onlyRetries(): boolean {
    return [...this.#pending].every(path => this.#retry.has(path));
  }

  /** Milliseconds until something is due; `undefined` when nothing is but by a hint. */
  get due(): number | undefined {
    if (this.#held.size > 0) return HOLD_POLL_MS;
    return this.onlyRetries ? undefined : 0;
  }

  /** We have written a path; its recorder has yet to see it. */
  written(path: PathName): void {
    this.#unrecorded.set(path, { at: Date.now() + RECORDED_AFTER_MS, left: RECORDED_LOOKS });
  }

  isUnrecorded(path: PathName): boolean {
    return this.#unrecorded.has(path);
  }

  /** Makes pending again what should have been recorded by now and, as `isRecorded` says, was not. */
  checkRecorded(now: number, isRecorded: (path: PathName) => boolean): void {
    for (const [path, check] of this.#unrecorded) {
      if (check.left === 0 || isRecorded(path)) {
        this.#unrecorded.delete(path);
      } else if (check.at <= now) {
        this.#unrecorded.set(path, { at: now + RECORDED_AGAIN_MS, left: check.left - 1 });
        this.#pending.add(path);
      }
    }
  }

  /** After a dry run: everything was looked at. */
  dropPending(): void {
    this.#pending.clear();
    this.#held.clear();
  }

  clear(): void {
    this.dropPending();
    this.#unrecorded.clear();
    this.#retry.clear();
  }
}
