/**
 * The one live connection of this browser tab to the sidecar: what it is in, what changed, when it tries again.
 *
 * Invariant: between two `reset` signals, `changesArrived` has given every change that became durable, in order and once.
 */
import { PromiseDelegate } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { ChangeRow, LiveEvents, Status } from '../../server/src/api/contract';
import type { ProcessStatus, SyftClient } from './client';
import { ClientError } from './errors';
import { readEvents } from './event-stream';

/** The contract's version that this front end speaks. */
export const SPOKEN_API_VERSION = 1;

/** The sidecar sends a comment every 20 s. */
const SILENCE = 65_000;
const FIRST_RETRY = 500;
const LONGEST_RETRY = 30_000;

export type ConnectionState =
  | { kind: 'connecting' }
  | { kind: 'connected' }
  /** It was there, or should be; `retryAt` in milliseconds since the epoch. */
  | { kind: 'disconnected'; code: string; message: string; retryAt: number }
  /** It cannot come by waiting alone. */
  | { kind: 'missing'; reason: string; message: string; hint: string | undefined; retryAt: number };

export class Connection implements IDisposable {
  constructor(options: Connection.IOptions) {
    this.client = options.client;
    this._random = options.random ?? Math.random;
    void this._run();
  }

  readonly client: SyftClient;

  get state(): ConnectionState {
    return this._state;
  }

  /** What the sidecar said of itself last; undefined until it has said something. */
  get status(): Status | undefined {
    return this._status;
  }

  /** {@link state} or {@link status} is another. */
  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  /** Changes that became durable, oldest first. */
  get changesArrived(): ISignal<this, readonly ChangeRow[]> {
    return this._changesArrived;
  }

  /** A message came, went, was read or accepted, or is to be judged otherwise. */
  get messagesChanged(): ISignal<this, LiveEvents['messages']> {
    return this._messagesChanged;
  }

  /** What is shown may have gaps: load it afresh. Emitted on every new connection that could not be resumed. */
  get reset(): ISignal<this, void> {
    return this._reset;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Tries now instead of at the next time. */
  retry(): void {
    this._delay = FIRST_RETRY;
    this._wake.resolve();
  }

  /** Takes a status that a request has answered, before the stream tells it. */
  accept(status: Status): void {
    this._status = status;
    this._stateChanged.emit();
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    this._abort.abort();
    this._wake.resolve();
    Signal.clearData(this);
  }

  private async _run(): Promise<void> {
    while (!this._isDisposed) {
      let failure: unknown = new ClientError('The connection ended.', 'ENDED');
      try {
        await this._follow();
      } catch (error) {
        failure = error;
      }
      if (this._isDisposed) return;
      const wait = this._delay * (0.75 + this._random() / 2);
      this._delay = Math.min(LONGEST_RETRY, this._delay * 2);
      const state = await this._explain(failure, wait);
      if (this._isDisposed) return;
      this._setState(state);
      await this._pause(wait);
    }
  }

  /** Listens until the stream ends. */
  private async _follow(): Promise<void> {
    this._abort = new AbortController();
    const body = await this.client.events(this._lastEventId, this._abort.signal);
    const resumed = this._lastEventId !== undefined;
    let first = true;
    for await (const { name, data, id } of readEvents(body, SILENCE)) {
      if (this._isDisposed) return;
      if (first) {
        first = false;
        this._delay = FIRST_RETRY;
        if (!resumed) this._reset.emit();
      }
      if (id !== undefined) this._lastEventId = id;
      this._take(name, data);
    }
  }

  private _take(name: string, data: string): void {
    switch (name) {
      case 'changes': {
        const { changes } = JSON.parse(data) as LiveEvents['changes'];
        if (changes.length > 0) this._changesArrived.emit(changes);
        break;
      }
      case 'status': {
        const status = JSON.parse(data) as Status;
        this._status = status;
        if (status.apiVersion !== SPOKEN_API_VERSION) {
          throw new ClientError(
            `The sidecar speaks version ${status.apiVersion} of the API, this panel version ${SPOKEN_API_VERSION}.`,
            'VERSION_MISMATCH'
          );
        }
        this._setState({ kind: 'connected' });
        break;
      }
      case 'messages':
        this._messagesChanged.emit(JSON.parse(data) as LiveEvents['messages']);
        break;
      case 'reset':
        this._reset.emit();
        break;
    }
  }

  /** Asks the server extension why there is no stream. */
  private async _explain(failure: unknown, wait: number): Promise<ConnectionState> {
    const retryAt = Date.now() + wait;
    // All that is not ours is fetch's own error of a stream that broke off.
    const code = failure instanceof ClientError ? failure.code : 'ENDED';
    const message = failure instanceof Error ? failure.message : String(failure);
    if (code === 'VERSION_MISMATCH') {
      return { kind: 'missing', reason: 'version-mismatch', message, hint: undefined, retryAt };
    }
    if (code === 'UNREACHABLE' || code === 'ENDED' || code === 'LOGGED_OUT') {
      return { kind: 'disconnected', code, message, retryAt };
    }
    let process: ProcessStatus;
    try {
      process = await this.client.processStatus();
    } catch (error) {
      const why = error instanceof ClientError ? error : new ClientError(String(error), 'BAD_ANSWER');
      if (why.code === 'NO_EXTENSION') {
        return { kind: 'missing', reason: 'no-extension', message: why.message, hint: undefined, retryAt };
      }
      return { kind: 'disconnected', code: why.code, message: why.message, retryAt };
    }
    if (process.running || process.reason === undefined) return { kind: 'disconnected', code, message, retryAt };
    return {
      kind: 'missing',
      reason: process.reason,
      message: process.message ?? message,
      hint: process.hint,
      retryAt
    };
  }

  private async _pause(wait: number): Promise<void> {
    this._wake = new PromiseDelegate<void>();
    const timer = setTimeout(() => this._wake.resolve(), wait);
    await this._wake.promise;
    clearTimeout(timer);
  }

  private _setState(state: ConnectionState): void {
    this._state = state;
    this._stateChanged.emit();
  }

  private _state: ConnectionState = { kind: 'connecting' };
  private _status: Status | undefined;
  private _lastEventId: string | undefined;
  private _delay = FIRST_RETRY;
  private _wake = new PromiseDelegate<void>();
  private _abort = new AbortController();
  private _isDisposed = false;
  private readonly _random: () => number;
  private readonly _stateChanged = new Signal<this, void>(this);
  private readonly _changesArrived = new Signal<this, readonly ChangeRow[]>(this);
  private readonly _messagesChanged = new Signal<this, LiveEvents['messages']>(this);
  private readonly _reset = new Signal<this, void>(this);
}

export namespace Connection {
  export interface IOptions {
    client: SyftClient;
    /** In [0, 1): spreads the retries of many tabs. `Math.random` when absent. */
    random?: () => number;
  }
}
