/**
 * What the section of the messages shows: one of the two boxes, what it is filtered by, the pages loaded so far.
 *
 * Invariant: `messages` is newest first, without doubles, for the box and the filter that are asked; what is on its way out
 * ({@link BoxesModel.take}) is not in it.
 */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { LiveEvents, MessageBoxName, MessageSummary, MessagesQuery } from '../../server/src/api/contract';
import type { Connection } from '../client/connection';

/** Messages of a page. */
export const PAGE = 100;
/** The most that one answer carries. */
const LARGEST_PAGE = 1000;
/** Milliseconds in which reloads are gathered: many messages of a mailbox come at once. */
const RELOAD_DELAY = 150;

export class BoxesModel implements IDisposable {
  constructor(options: BoxesModel.IOptions) {
    this.connection = options.connection;
    this.connection.messagesChanged.connect(this._onMessages, this);
    this.connection.reset.connect(this._onReset, this);
    this.connection.stateChanged.connect(this._onState, this);
  }

  readonly connection: Connection;

  /** Anything of this model is another. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get box(): MessageBoxName {
    return this._box;
  }
  set box(box: MessageBoxName) {
    if (box === this._box) return;
    this._box = box;
    this._restart();
  }

  /** Part of a sender, a note, a path or a recipient. */
  get filter(): string {
    return this._filter;
  }
  set filter(filter: string) {
    if (filter === this._filter) return;
    this._filter = filter;
    this._restart();
  }

  get messages(): readonly MessageSummary[] {
    return this._taken.size === 0 ? this._messages : this._messages.filter(({ id }) => !this._taken.has(id));
  }

  /** Messages that match, those not loaded included. */
  get total(): number {
    return Math.max(this.messages.length, this._total - this._taken.size);
  }

  /** Of the inbox, whatever is shown. */
  get unread(): number {
    return this._unread;
  }

  get state(): 'idle' | 'loading' | 'ready' | 'failed' {
    return this._state;
  }

  get error(): Error | undefined {
    return this._error;
  }

  /** The message that commands are about when they are not told another. */
  get selected(): MessageSummary | undefined {
    const id = this._selected?.id;
    return this._messages.find(message => message.id === id) ?? this._selected;
  }
  set selected(message: MessageSummary | undefined) {
    this._selected = message;
  }

  /** Begins to load: not before somebody looks. */
  want(): void {
    if (this._wanted) return;
    this._wanted = true;
    void this.reload();
  }

  /** Loads afresh as much as is shown. What is shown stays until it is here. */
  async reload(): Promise<void> {
    if (!this._wanted || this._isDisposed) return;
    this._abort.abort();
    const abort = (this._abort = new AbortController());
    this._loadingOlder = false;
    if (!this._loaded) this._state = 'loading';
    this._changed.emit();
    try {
      const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, this._messages.length));
      const page = await this.connection.client.messages(this._query(limit), abort.signal);
      if (abort.signal.aborted) return;
      this._messages = page.messages;
      this._next = page.next;
      this._total = page.total;
      this._unread = page.unread;
      this._state = 'ready';
      this._loaded = true;
      this._error = undefined;
    } catch (error) {
      if (abort.signal.aborted) return;
      this._state = 'failed';
      this._error = error as Error;
    }
    this._changed.emit();
  }

  /** Loads one page more, if there is one and none is under way. */
  async loadOlder(): Promise<void> {
    const before = this._next;
    if (before === undefined || this._loadingOlder || this._state !== 'ready') return;
    this._loadingOlder = true;
    const { signal } = this._abort;
    try {
      const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, this._messages.length));
      const page = await this.connection.client.messages({ ...this._query(limit), before }, signal);
      if (signal.aborted) return;
      const known = new Set(this._messages.map(({ id }) => id));
      this._messages = [...this._messages, ...page.messages.filter(({ id }) => !known.has(id))];
      this._next = page.next;
    } catch (error) {
      if (signal.aborted) return;
      this._error = error as Error;
    }
    this._loadingOlder = false;
    this._changed.emit();
  }

  /** Leaves a message out, as one that is to be removed; {@link putBack} shows it again. */
  take(id: string): void {
    this._taken.add(id);
    this._changed.emit();
  }

  putBack(id: string): void {
    if (this._taken.delete(id)) this._changed.emit();
  }

  /** Somebody looks at it now: it is read before the sidecar says so. */
  markRead(id: string): void {
    const message = this._messages.find(one => one.id === id);
    if (message === undefined || message.read) return;
    this._messages = this._messages.map(one => (one.id === id ? { ...one, read: true } : one));
    this._unread = Math.max(0, this._unread - 1);
    this._changed.emit();
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    this._abort.abort();
    clearTimeout(this._timer);
    Signal.clearData(this);
  }

  private _query(limit: number): MessagesQuery {
    return { box: this._box, limit, ...(this._filter !== '' && { q: this._filter }) };
  }

  private _restart(): void {
    this._messages = [];
    this._next = undefined;
    this._total = 0;
    this._loaded = false;
    this._selected = undefined;
    void this.reload();
  }

  private _reloadSoon(): void {
    if (this._timer !== undefined) return;
    this._timer = setTimeout(() => {
      this._timer = undefined;
      void this.reload();
    }, RELOAD_DELAY);
  }

  private _onMessages(_sender: Connection, { unread }: LiveEvents['messages']): void {
    this._unread = unread;
    this._changed.emit();
    this._reloadSoon();
  }

  private _onReset(): void {
    this._reloadSoon();
  }

  /** What could not be answered is asked again as soon as it can be. */
  private _onState(): void {
    const { state, status } = this.connection;
    const answers = state.kind === 'connected' && status !== undefined && status.state !== 'setup-needed';
    const begins = answers && !this._answers;
    this._answers = answers;
    if (begins || (answers && this._state === 'failed')) this._reloadSoon();
  }

  private _box: MessageBoxName = 'inbox';
  private _filter = '';
  private _messages: readonly MessageSummary[] = [];
  private readonly _taken = new Set<string>();
  private _next: string | undefined;
  private _total = 0;
  private _unread = 0;
  private _state: 'idle' | 'loading' | 'ready' | 'failed' = 'idle';
  private _error: Error | undefined;
  private _selected: MessageSummary | undefined;
  private _wanted = false;
  private _loaded = false;
  private _loadingOlder = false;
  private _answers = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _abort = new AbortController();
  private _isDisposed = false;
  private readonly _changed = new Signal<this, void>(this);
}

export namespace BoxesModel {
  export interface IOptions {
    connection: Connection;
  }
}
