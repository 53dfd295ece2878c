/**
 * What a list of changes shows: pages loaded from the sidecar, live changes put on top or held back while somebody reads
 * further down.
 *
 * Invariant: `changes` is newest first, without gaps and without doubles, for the query that is asked.
 */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { ChangeRow, ChangesPage } from '../../server/src/api/contract';

/** Rows of the first page. */
export const PAGE = 200;
/** Rows of the largest: whoever scrolls far gets more at a time. */
const LARGEST_PAGE = 2000;
/** Milliseconds in which reloads are gathered. */
const RELOAD_DELAY = 200;

/** One way to ask for changes; another question is another source. */
export interface ChangeSource {
  /** @param before - cursor of an earlier page's `next` */
  load(page: { limit: number; before?: string }, signal: AbortSignal): Promise<ChangesPage>;
  /** Whether a live change belongs into the list; `reload` when only the sidecar can tell. */
  takes(row: ChangeRow): boolean | 'reload';
}

export type ModelState = 'idle' | 'loading' | 'ready' | 'failed';

export class ChangesModel implements IDisposable {
  get changes(): readonly ChangeRow[] {
    return this._changes;
  }

  /** Live changes that wait for the reader. */
  get waiting(): number {
    return this._waiting.length;
  }

  get state(): ModelState {
    return this._state;
  }

  get error(): Error | undefined {
    return this._error;
  }

  get hasOlder(): boolean {
    return this._next !== undefined;
  }

  get loadingOlder(): boolean {
    return this._loadingOlder;
  }

  /** Changes that match, those not loaded included. */
  get total(): number {
    return this._total;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** True while the reader is further down: new rows wait. False shows them. */
  get held(): boolean {
    return this._held;
  }
  set held(held: boolean) {
    if (this._held === held) return;
    this._held = held;
    if (!held) this.showWaiting();
  }

  /** Asks another question; undefined empties the list. */
  setSource(source: ChangeSource | undefined): void {
    this._source = source;
    this._changes = [];
    this._waiting = [];
    this._next = undefined;
    this._total = 0;
    this._held = false;
    this._loaded = false;
    void this.reload();
  }

  /** Loads the first page afresh. What is shown stays until it is here. */
  async reload(): Promise<void> {
    this._abort.abort();
    const source = this._source;
    if (source === undefined) {
      this._state = 'idle';
      this._changed.emit();
      return;
    }
    const abort = (this._abort = new AbortController());
    this._loadingOlder = false;
    if (!this._loaded) this._state = 'loading';
    this._changed.emit();
    this._early = [];
    try {
      const page = await source.load({ limit: PAGE }, abort.signal);
      if (abort.signal.aborted) return;
      this._changes = page.changes;
      this._next = page.next;
      this._total = page.total;
      this._waiting = [];
      this._state = 'ready';
      this._loaded = true;
      this._error = undefined;
      const early = this._early;
      this._early = undefined;
      this.add(early);
      this._onPage(page);
    } catch (error) {
      if (abort.signal.aborted) return;
      this._early = undefined;
      this._state = 'failed';
      this._error = error as Error;
    }
    this._changed.emit();
  }

  /** Loads afresh in a moment: one question for many reasons. */
  reloadSoon(): void {
    if (this._timer !== undefined) return;
    this._timer = setTimeout(() => {
      this._timer = undefined;
      void this.reload();
    }, RELOAD_DELAY);
  }

  /** Loads one page more, if there is one and none is under way. */
  async loadOlder(): Promise<void> {
    const source = this._source;
    const before = this._next;
    if (source === undefined || before === undefined || this._loadingOlder || this._state !== 'ready') return;
    this._loadingOlder = true;
    this._changed.emit();
    const { signal } = this._abort;
    try {
      const page = await source.load({ limit: Math.min(LARGEST_PAGE, this._changes.length), before }, signal);
      if (signal.aborted) return;
      // A first page that came in the meantime ends elsewhere: what follows the old one would leave a gap.
      if (this._next === before) {
        const known = new Set(this._changes.map(row => row.versionId));
        this._changes = [...this._changes, ...page.changes.filter(row => !known.has(row.versionId))];
        this._next = page.next;
      }
    } catch (error) {
      if (signal.aborted) return;
      this._error = error as Error;
    }
    this._loadingOlder = false;
    this._changed.emit();
  }

  /** Takes live changes, oldest first. */
  add(rows: readonly ChangeRow[]): void {
    const source = this._source;
    if (source === undefined || rows.length === 0) return;
    if (this._early !== undefined) {
      this._early.push(...rows);
      return;
    }
    if (!this._loaded) return;
    const known = new Set([...this._changes, ...this._waiting].map(row => row.versionId));
    const fresh: ChangeRow[] = [];
    for (const row of rows) {
      if (known.has(row.versionId)) continue;
      known.add(row.versionId);
      const takes = source.takes(row);
      if (takes === 'reload') {
        this.reloadSoon();
        return;
      }
      if (takes) fresh.unshift(row);
    }
    if (fresh.length === 0) return;
    this._total += fresh.length;
    if (this._held) this._waiting = [...fresh, ...this._waiting];
    else this._changes = [...fresh, ...this._changes];
    this._changed.emit();
  }

  /** Shows the changes that wait. */
  showWaiting(): void {
    if (this._waiting.length === 0) return;
    this._changes = [...this._waiting, ...this._changes];
    this._waiting = [];
    this._changed.emit();
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    this._abort.abort();
    clearTimeout(this._timer);
    Signal.clearData(this);
  }

  /** What a first page tells beyond its changes. */
  protected _onPage(_page: ChangesPage): void {
    // For models that show more.
  }

  private _source: ChangeSource | undefined;
  private _changes: readonly ChangeRow[] = [];
  private _waiting: readonly ChangeRow[] = [];
  /** Live changes that came while the first page was on its way; undefined when none is. */
  private _early: ChangeRow[] | undefined;
  private _next: string | undefined;
  private _total = 0;
  private _state: ModelState = 'idle';
  private _error: Error | undefined;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _held = false;
  private _loaded = false;
  private _loadingOlder = false;
  private _abort = new AbortController();
  private _isDisposed = false;
  protected readonly _changed = new Signal<this, void>(this);
}
