/** One message that is looked at: what the sidecar says of it now, why there is nothing to say, and the file that is chosen. */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { ChangeRow, MessageDetail } from '../../server/src/api/contract';
import type { MessageRef } from '../client/client';
import type { Connection } from '../client/connection';
import { ClientError } from '../client/errors';

/** Milliseconds in which what happened is taken together. */
const SETTLED = 300;

/**
 * - `gone`: there is no such file, or no such message in the box.
 * - `outside`: the sidecar records another folder than the one that the file is in.
 * - `away`: the sidecar did not answer; it is asked again when it is back.
 * - `other`: what it says.
 */
export type FailureKind = 'gone' | 'outside' | 'away' | 'other';

export type ViewState =
  | { kind: 'loading' }
  | { kind: 'message'; message: MessageDetail }
  | { kind: 'failed'; failure: FailureKind; error: unknown };

export class MessageViewModel implements IDisposable {
  constructor(options: MessageViewModel.IOptions) {
    this.connection = options.connection;
    this._ref = options.ref;
    this._isThere = options.isThere;
    const { connection } = this;
    connection.stateChanged.connect(this._onState, this);
    connection.messagesChanged.connect(this._reloadSoon, this);
    connection.reset.connect(this._reloadSoon, this);
    connection.changesArrived.connect(this._onChanges, this);
    void this.load();
  }

  readonly connection: Connection;

  /** The message, its state or the chosen file is another. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get state(): ViewState {
    return this._state;
  }

  get message(): MessageDetail | undefined {
    return this._state.kind === 'message' ? this._state.message : undefined;
  }

  /** Another path is the same file after it was renamed. */
  get ref(): MessageRef {
    return this._ref;
  }

  set ref(ref: MessageRef) {
    if (JSON.stringify(ref) === JSON.stringify(this._ref)) return;
    this._ref = ref;
    void this.load();
  }

  /** Place in `fileList` of the file that is shown. */
  get chosen(): number {
    return this._chosen;
  }

  set chosen(index: number) {
    if (index === this._chosen) return;
    this._chosen = index;
    this._changed.emit();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    clearTimeout(this._timer);
    this._abort.abort();
    Signal.clearData(this);
  }

  /** Asks the sidecar. What is shown stays until the answer is there. */
  async load(): Promise<void> {
    this._abort.abort();
    const abort = (this._abort = new AbortController());
    const before = this.message;
    let state: ViewState;
    try {
      const message = await this.connection.client.message(this._ref, { signal: abort.signal });
      state = { kind: 'message', message };
    } catch (error) {
      state = { kind: 'failed', failure: await this._failureOf(error), error };
    }
    if (abort.signal.aborted || this._isDisposed) return;
    // Without a connection what is known is still shown; the line above it says that it may be old.
    if (state.kind === 'failed' && state.failure === 'away' && before !== undefined) return;
    if (state.kind !== 'message' || state.message.id !== before?.id || this._chosen >= state.message.fileList.length) {
      this._chosen = 0;
    }
    this._state = state;
    this._changed.emit();
  }

  /** Shows that it is asked again. */
  retry(): Promise<void> {
    this._state = { kind: 'loading' };
    this._changed.emit();
    return this.load();
  }

  private async _failureOf(error: unknown): Promise<FailureKind> {
    if (!(error instanceof ClientError)) return 'other';
    switch (error.code) {
      case 'UNREACHABLE':
      case 'ENDED':
      case 'NO_EXTENSION':
      case 'NOT_RUNNING':
      case 'LOGGED_OUT':
        return 'away';
      case 'NOT_FOUND':
        return 'gone';
      case 'PATH_NOT_FOUND':
        // JupyterLab has it and the sidecar has not: they look into different folders.
        return (await this._isThere()) ? 'outside' : 'gone';
      case 'PATH_OUTSIDE_ROOT':
      case 'PATH_INVALID':
        return 'outside';
      default:
        return 'other';
    }
  }

  private _onState(): void {
    if (this.connection.state.kind === 'connected' && this._state.kind === 'failed') void this.load();
  }

  /** How the files are to those here is said of now. */
  private _onChanges(_connection: Connection, rows: readonly ChangeRow[]): void {
    const about = new Set(this.message?.fileList.map(({ path }) => path));
    if ('path' in this._ref) about.add(this._ref.path);
    if (rows.some(({ path, from }) => about.has(path) || (from !== undefined && about.has(from)))) this._reloadSoon();
  }

  private _reloadSoon(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this.load(), SETTLED);
  }

  private readonly _isThere: () => Promise<boolean>;
  private readonly _changed = new Signal<this, void>(this);
  private _ref: MessageRef;
  private _state: ViewState = { kind: 'loading' };
  private _chosen = 0;
  private _abort = new AbortController();
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _isDisposed = false;
}

export namespace MessageViewModel {
  export interface IOptions {
    ref: MessageRef;
    connection: Connection;
    /** Whether JupyterLab finds the file; of a message of a box it is not asked. */
    isThere: () => Promise<boolean>;
  }
}
