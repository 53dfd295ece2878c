/** One SQL tab: its query, the run that goes on or went on last, and what came of it. */
import { UUID } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { SqlFormat, SqlOutcome } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { ClientError } from '../client/errors';
import type { ArrowTable } from './arrow-table';
import { readTable } from './arrow-table';
import { exportHeld } from './export';
import type { HeldFormat } from './export';

/** Bytes of a result that are held. */
const LARGEST = 512e6;
/** Milliseconds; the button *Stop* is always there, so this is only against what was forgotten. */
const TIMEOUT = 600_000;

/** Why rows are missing at the end. */
export type Cut = 'rows' | 'memory' | undefined;

export type RunState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running'; readonly since: number }
  | { readonly kind: 'done'; readonly elapsedMs: number; readonly cut: Cut }
  | { readonly kind: 'cancelled'; readonly elapsedMs: number }
  | { readonly kind: 'failed'; readonly elapsedMs: number; readonly error: unknown };

export class SqlModel implements IDisposable {
  constructor(options: SqlModel.IOptions) {
    this._client = options.client;
    this._largest = options.largest ?? LARGEST;
    this._query = options.query ?? '';
    this._maxRows = options.maxRows ?? SqlModel.ROW_LIMITS[2];
  }

  /** The text of the editor. */
  get query(): string {
    return this._query;
  }
  set query(text: string) {
    if (text === this._query) return;
    this._query = text;
    this._queryChanged.emit();
  }

  get maxRows(): number {
    return this._maxRows;
  }
  set maxRows(rows: number) {
    if (rows === this._maxRows) return;
    this._maxRows = rows;
    this._queryChanged.emit();
  }

  get state(): RunState {
    return this._state;
  }

  /** The rows of the last run, those of one that was cancelled or broke off too. Undefined until the columns are known. */
  get table(): ArrowTable | undefined {
    return this._table;
  }

  /** What was run last: the text of the editor may be another by now. */
  get ran(): string | undefined {
    return this._last?.query;
  }

  /** {@link query} or {@link maxRows} is another. */
  get queryChanged(): ISignal<this, void> {
    return this._queryChanged;
  }

  /** {@link state} or {@link table} is another. */
  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  /** The table has more rows. */
  get rowsArrived(): ISignal<this, void> {
    return this._rowsArrived;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Runs the query; one that runs is cancelled. Resolves when the run has ended in whatever way. */
  async run(): Promise<void> {
    const query = this._query;
    if (query.trim() === '' || this._isDisposed) return;
    this._abort?.abort();
    const abort = (this._abort = new AbortController());
    const queryId = UUID.uuid4();
    const since = Date.now();
    const current = (): boolean => this._abort === abort;
    const maxRows = this._maxRows;
    this._last = { query, maxRows };
    this._table = undefined;
    this._setState({ kind: 'running', since });
    try {
      const request = { query, maxRows, timeoutMs: TIMEOUT, queryId };
      const stream = await this._client.sql(request, abort.signal);
      const all = await readTable(stream, {
        largest: this._largest,
        onSchema: table => {
          if (!current()) return;
          this._table = table;
          this._stateChanged.emit();
        },
        onRows: () => {
          if (current()) this._rowsArrived.emit();
        }
      });
      if (!current()) return;
      if (!all) abort.abort();
      const cut: Cut = all ? await this._cut(queryId) : 'memory';
      if (current()) this._setState({ kind: 'done', elapsedMs: Date.now() - since, cut });
    } catch (error) {
      if (!current()) return;
      const elapsedMs = Date.now() - since;
      if (abort.signal.aborted) this._setState({ kind: 'cancelled', elapsedMs });
      else {
        const why = await this._why(queryId, error);
        if (current()) this._setState({ kind: 'failed', elapsedMs, error: why });
      }
    }
  }

  /** Cancels the run that goes on; the rows that came stay. */
  cancel(): void {
    if (this._state.kind === 'running') this._abort?.abort();
  }

  /** The way in which the sidecar would do the query, as it says it. */
  async plan(signal: AbortSignal): Promise<string> {
    const given = this.ran ?? this._query;
    const query = /^\s*explain\b/i.test(given) ? given : `EXPLAIN ${given}`;
    const answer = await this._client.sqlFile({ query, timeoutMs: TIMEOUT }, 'json', signal);
    const rows = JSON.parse(await answer.text()) as Record<string, unknown>[];
    return rows.map(row => String(row['explain_value'] ?? Object.values(row).at(-1) ?? '')).join('\n\n');
  }

  /**
   * Whether an export is made of the rows that are shown. Else the query runs again, and may find others: Parquet is written by
   * the sidecar, and rows that did not fit into memory are not here.
   */
  isHeld(format: SqlFormat): format is HeldFormat {
    if (format !== 'csv' && format !== 'json' && format !== 'arrow') return false;
    return this._table !== undefined && !(this._state.kind === 'done' && this._state.cut === 'memory');
  }

  /**
   * The result as a file: what is shown, or where {@link isHeld} says no, of the query that was run, with its limit, anew.
   *
   * @throws {ClientError} when the query fails, or its result broke off on its way; what the signal was aborted with
   */
  async export(format: SqlFormat, options: SqlModel.IExportOptions): Promise<SqlModel.IExport> {
    const { signal, progress } = options;
    const table = this._table;
    if (table !== undefined && this.isHeld(format)) {
      const total = table.rowCount;
      const file = await exportHeld(table, format, { signal, progress: rows => progress({ rows, total }) });
      return { file, rows: total };
    }
    const queryId = UUID.uuid4();
    const { query, maxRows } = this._last ?? { query: this._query, maxRows: this._maxRows };
    const request = { query, maxRows, timeoutMs: TIMEOUT, queryId };
    let file: Blob;
    try {
      file = await this._client.sqlFile(request, format, signal, bytes => progress({ bytes }));
    } catch (error) {
      signal.throwIfAborted();
      throw await this._why(queryId, error);
    }
    const outcome = await this._outcome(queryId);
    const failure = failureOf(outcome);
    if (failure !== undefined) throw failure;
    return { file, rows: outcome.rows };
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    this._abort?.abort();
    this._abort = undefined;
    this._table = undefined;
    Signal.clearData(this);
  }

  /** Whether the sidecar has sent all: a stream that was cut on its way may look as if it had ended. */
  private async _cut(queryId: string): Promise<Cut> {
    const outcome = await this._outcome(queryId);
    const failure = failureOf(outcome);
    if (failure !== undefined) throw failure;
    if (outcome.rows !== (this._table?.rowCount ?? 0)) {
      throw new ClientError('The result broke off on its way.', 'ENDED');
    }
    return outcome.truncated ? 'rows' : undefined;
  }

  /** The reason behind a stream that broke off, which only the sidecar knows. */
  private async _why(queryId: string, error: unknown): Promise<unknown> {
    if (error instanceof ClientError) return error;
    try {
      return failureOf(await this._outcome(queryId)) ?? error;
    } catch {
      return error;
    }
  }

  /** The last bytes may be here before the sidecar has written down that they were the last. */
  private async _outcome(queryId: string): Promise<SqlOutcome> {
    let outcome = await this._client.sqlOutcome(queryId);
    for (let wait = 20; outcome.state === 'running' && wait < 1000; wait *= 2) {
      await new Promise(done => setTimeout(done, wait));
      outcome = await this._client.sqlOutcome(queryId);
    }
    return outcome;
  }

  private _setState(state: RunState): void {
    this._state = state;
    this._stateChanged.emit();
  }

  private readonly _client: SyftClient;
  private readonly _largest: number;
  private readonly _queryChanged = new Signal<this, void>(this);
  private readonly _stateChanged = new Signal<this, void>(this);
  private readonly _rowsArrived = new Signal<this, void>(this);
  private _query: string;
  private _maxRows: number;
  private _last: { readonly query: string; readonly maxRows: number } | undefined;
  private _state: RunState = { kind: 'idle' };
  private _table: ArrowTable | undefined;
  private _abort: AbortController | undefined;
  private _isDisposed = false;
}

export namespace SqlModel {
  /** Rows that can be chosen as the limit. */
  export const ROW_LIMITS = [1000, 100_000, 1_000_000, 10_000_000] as const;

  export interface IOptions {
    client: SyftClient;
    query?: string;
    maxRows?: number;
    /** Bytes of a result that are held; for tests. */
    largest?: number;
  }

  export interface IExportOptions {
    signal: AbortSignal;
    /** Is told often how far it is: in rows where they are here, else in bytes that came. */
    progress(done: { rows: number; total: number } | { bytes: number }): void;
  }

  export interface IExport {
    readonly file: Blob;
    readonly rows: number;
  }
}

function failureOf({ state, error }: SqlOutcome): ClientError | undefined {
  if (error !== undefined) {
    return new ClientError(error.message, error.code, error.position === undefined ? {} : { position: error.position });
  }
  return state === 'done' ? undefined : new ClientError('The query did not end.', 'ENDED');
}
