/** Below the query: the rows, the chart, the plan; and what is to be said instead of them. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { BoxLayout, StackedPanel, Widget } from '@lumino/widgets';
import * as React from 'react';

import type { Connection } from '../client/connection';
import { ClientError, messageOf } from '../client/errors';
import { StateView, takesPanel } from '../history/states';
import type { StateActions } from '../history/states';
import { useNow, useSignals } from '../history/use-signal';
import { printable } from '../history/words';
import { ChartView } from './chart-view';
import { ResultGrid } from './grid';
import type { RunState, SqlModel } from './model';
import { questions } from './questions';

const TABS = ['grid', 'chart', 'plan'] as const;
export type ResultTab = (typeof TABS)[number];

type PlanState =
  | { readonly kind: 'none' }
  | { readonly kind: 'loading' }
  | { readonly kind: 'known'; readonly text: string }
  | { readonly kind: 'failed'; readonly error: unknown };

export class ResultView extends Widget {
  constructor(options: ResultView.IOptions) {
    super();
    this._options = options;
    const { model, trans } = options;
    this.addClass('jp-SyftSync-sqlResult');
    const layout = (this.layout = new BoxLayout({ direction: 'top-to-bottom', spacing: 0 }));

    const bar = ReactWidget.create(<Bar view={this} model={model} trans={trans} />);
    bar.addClass('jp-SyftSync-sqlBar');
    this._stack = new StackedPanel();
    this._grid = new ResultGrid({
      trans,
      open: options.open,
      onCell: text => {
        this._cell = text;
        this.cellChanged.emit();
      }
    });
    this._chart = new ChartView({ rendermime: options.rendermime, trans });
    this._said = ReactWidget.create(<Said view={this} options={options} />);
    this._said.addClass('jp-SyftSync-sqlSaid');
    this._plan = ReactWidget.create(<Plan view={this} trans={trans} />);
    this._plan.addClass('jp-SyftSync-sqlPlan');
    for (const widget of [this._grid, this._chart, this._plan, this._said]) {
      widget.hide();
      this._stack.addWidget(widget);
    }
    const cell = ReactWidget.create(<Cell view={this} />);
    cell.addClass('jp-SyftSync-sqlCell');
    for (const widget of [bar, this._stack, cell]) layout.addWidget(widget);
    BoxLayout.setStretch(this._stack, 1);
    for (const widget of [bar, cell]) BoxLayout.setStretch(widget, 0);

    model.stateChanged.connect(this._onState, this);
    model.rowsArrived.connect(this._onRows, this);
    this._onState();
  }

  /** What is shown, or said, is another. */
  readonly changed = new Signal<this, void>(this);

  /** The cursor of the grid is on another cell: with a key that is held, thirty times a second. */
  readonly cellChanged = new Signal<this, void>(this);

  get tab(): ResultTab {
    return this._tab;
  }
  set tab(tab: ResultTab) {
    this._tab = tab;
    if (tab === 'plan') void this._loadPlan();
    this._arrange();
  }

  get plan(): PlanState {
    return this._planState;
  }

  /** What the cursor of the grid is on, in words. */
  get cell(): string {
    return this._tab === 'grid' && this._grid.isVisible ? this._cell : '';
  }

  /** The focus into what is shown. */
  focus(): void {
    if (this._grid.isVisible) this._grid.focus();
    else this.node.querySelector<HTMLElement>('.jp-SyftSync-sqlSaid button, [role="tab"][tabindex="0"]')?.focus();
  }

  restyle(): void {
    this._grid.restyle();
    this._chart.restyle();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._options.model.stateChanged.disconnect(this._onState, this);
    this._options.model.rowsArrived.disconnect(this._onRows, this);
    this._planAbort?.abort();
    super.dispose();
  }

  protected override onActivateRequest(_message: Message): void {
    this.focus();
  }

  private _onState(): void {
    const { state, table } = this._options.model;
    if (table !== this._table) {
      this._table = table;
      this._grid.setTable(table);
    }
    this._grid.setEmpty(
      state.kind === 'done' && table?.rowCount === 0
        ? this._options.trans.__(
            'No rows: nothing fits the query. It took %1.',
            duration(state.elapsedMs, this._options.trans)
          )
        : ''
    );
    if (state.kind !== 'running') {
      this._grid.refresh();
      this._chart.setTable(table);
    } else this._planFor = undefined;
    if (this._tab === 'plan' && state.kind !== 'idle') void this._loadPlan();
    this._arrange();
  }

  private _onRows(): void {
    this._grid.refresh();
  }

  private _arrange(): void {
    const { state, table } = this._options.model;
    // An error, or that it was cancelled, stands in the place of the rows, unless some came before.
    const said =
      state.kind === 'idle' ||
      ((state.kind === 'failed' || state.kind === 'cancelled') && (table === undefined || table.rowCount === 0)) ||
      (table === undefined && state.kind !== 'running');
    const shown = said
      ? this._said
      : this._tab === 'chart'
        ? this._chart
        : this._tab === 'plan'
          ? this._plan
          : table === undefined
            ? undefined
            : this._grid;
    for (const widget of this._stack.widgets) widget.setHidden(widget !== shown);
    this.changed.emit();
  }

  private async _loadPlan(): Promise<void> {
    const { model } = this._options;
    const query = model.ran;
    if (query === undefined || (this._planFor === query && this._planState.kind !== 'failed')) return;
    this._planFor = query;
    this._planAbort?.abort();
    const abort = (this._planAbort = new AbortController());
    this._setPlan({ kind: 'loading' });
    try {
      const text = await model.plan(abort.signal);
      if (!abort.signal.aborted) this._setPlan({ kind: 'known', text });
    } catch (error) {
      if (!abort.signal.aborted) this._setPlan({ kind: 'failed', error });
    }
  }

  private _setPlan(state: PlanState): void {
    this._planState = state;
    if (!this.isDisposed) this.changed.emit();
  }

  private readonly _options: ResultView.IOptions;
  private readonly _stack: StackedPanel;
  private readonly _grid: ResultGrid;
  private readonly _chart: ChartView;
  private readonly _said: ReactWidget;
  private readonly _plan: ReactWidget;
  private _tab: ResultTab = 'grid';
  private _table: SqlModel['table'];
  private _cell = '';
  private _planState: PlanState = { kind: 'none' };
  private _planFor: string | undefined;
  private _planAbort: AbortController | undefined;
}

export namespace ResultView {
  export interface IOptions {
    model: SqlModel;
    connection: Connection;
    actions: StateActions;
    rendermime: IRenderMimeRegistry;
    trans: TranslationBundle;
    open(lead: 'path' | 'version', value: string): void;
    /** Puts a query into the editor and runs it. */
    ask(query: string): void;
    /** Shows the place of an error in the query. */
    showFault(error: ClientError): void;
  }
}

/** Milliseconds as people say them. */
function duration(ms: number, trans: TranslationBundle): string {
  return ms < 1000
    ? trans.__('%1 ms', Math.round(ms))
    : trans.__('%1 s', (ms / 1000).toLocaleString(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 }));
}

/** The line beside the tabs: how many rows, how long, and whether it is all. */
export function statusText(state: RunState, rows: number, trans: TranslationBundle, now = Date.now()): string {
  const counted = trans._n('%1 row', '%1 rows', rows).replace(String(rows), rows.toLocaleString());
  switch (state.kind) {
    case 'idle':
      return '';
    case 'running':
      return rows === 0
        ? trans.__('Running, %1', duration(Math.max(0, now - state.since), trans))
        : trans.__('Running, %1 so far, %2', counted, duration(Math.max(0, now - state.since), trans));
    case 'done': {
      const elapsed = duration(state.elapsedMs, trans);
      if (state.cut === 'rows') return trans.__('First %1, there are more · %2', counted, elapsed);
      if (state.cut === 'memory') return trans.__('First %1, more do not fit into memory · %2', counted, elapsed);
      return rows === 0 ? trans.__('No rows · %1', elapsed) : trans.__('%1 · %2', counted, elapsed);
    }
    case 'cancelled':
      return trans.__('Cancelled after %1 · %2', counted, duration(state.elapsedMs, trans));
    case 'failed':
      return rows === 0 ? trans.__('Failed') : trans.__('Broke off after %1', counted);
  }
}

function Bar(props: { view: ResultView; model: SqlModel; trans: TranslationBundle }): JSX.Element {
  const { view, model, trans } = props;
  useSignals(view.changed, model.stateChanged);
  const running = model.state.kind === 'running';
  const now = useNow(running ? 100 : 60_000);
  const labels: Record<ResultTab, string> = {
    grid: trans.__('Grid'),
    chart: trans.__('Chart'),
    plan: trans.__('Plan')
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLElement>): void => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    const next = TABS[(TABS.indexOf(view.tab) + step + TABS.length) % TABS.length] ?? 'grid';
    view.tab = next;
    event.currentTarget.querySelector<HTMLElement>(`[data-tab="${next}"]`)?.focus();
    event.preventDefault();
  };
  const failed = model.state.kind === 'failed' && (model.table?.rowCount ?? 0) > 0 ? model.state.error : undefined;
  return (
    <>
      <div className="jp-SyftSync-sqlTabs" role="tablist" aria-label={trans.__('Result')} onKeyDown={onKeyDown}>
        {TABS.map(tab => (
          <button
            key={tab}
            type="button"
            role="tab"
            data-tab={tab}
            aria-selected={view.tab === tab}
            tabIndex={view.tab === tab ? 0 : -1}
            onClick={() => {
              view.tab = tab;
            }}
          >
            {labels[tab]}
          </button>
        ))}
      </div>
      {/* While it runs it changes ten times a second, which nobody wants read aloud. */}
      <span className="jp-SyftSync-sqlStatus" role="status" aria-live={running ? 'off' : 'polite'}>
        {statusText(model.state, model.table?.rowCount ?? 0, trans, now)}
        {failed === undefined ? '' : `: ${printable(messageOf(failed, trans))}`}
      </span>
    </>
  );
}

function Cell(props: { view: ResultView }): JSX.Element {
  const { view } = props;
  useSignals(view.changed, view.cellChanged);
  return (
    <span role="status" title={view.cell}>
      {view.cell}
    </span>
  );
}

function Plan(props: { view: ResultView; trans: TranslationBundle }): JSX.Element {
  const { view, trans } = props;
  useSignals(view.changed);
  const { plan } = view;
  if (plan.kind === 'failed') return <p role="alert">{printable(messageOf(plan.error, trans))}</p>;
  return (
    <pre tabIndex={0} aria-label={trans.__('How the query is done')}>
      {plan.kind === 'known' ? plan.text : ''}
    </pre>
  );
}

/** What stands where rows would be: nothing was run, it failed, or nothing can be run. */
function Said(props: { view: ResultView; options: ResultView.IOptions }): JSX.Element {
  const { view, options } = props;
  const { model, connection, trans } = options;
  useSignals(view.changed, model.stateChanged, connection.stateChanged);
  const { state } = model;
  const hindered =
    takesPanel(connection) || connection.state.kind === 'disconnected' || connection.status?.state === 'error';
  return (
    <>
      {hindered ? <StateView connection={connection} actions={options.actions} trans={trans} /> : null}
      {state.kind === 'failed' ? <Failure error={state.error} options={options} /> : null}
      {state.kind === 'cancelled' ? <p className="jp-SyftSync-hint">{trans.__('The query was cancelled.')}</p> : null}
      {state.kind === 'idle' && !takesPanel(connection) ? (
        <section className="jp-SyftSync-sqlQuestions" aria-label={trans.__('Questions worth asking')}>
          <h3>{trans.__('Questions worth asking')}</h3>
          <ul>
            {questions(trans).map(question => (
              <li key={question.title}>
                <button type="button" title={question.query} onClick={() => options.ask(question.query)}>
                  {question.title}
                </button>
              </li>
            ))}
          </ul>
          <p>
            {trans.__(
              'Every version of every file is in here. Write a query above and run it with Shift+Enter, or begin with one of these.'
            )}
          </p>
        </section>
      ) : null}
    </>
  );
}

function Failure(props: { error: unknown; options: ResultView.IOptions }): JSX.Element {
  const { error, options } = props;
  const { trans } = options;
  const position = error instanceof ClientError ? error.position : undefined;
  return (
    <div className="jp-SyftSync-banner jp-SyftSync-mod-error" role="alert">
      <strong>{title(error, trans)}</strong>
      <p className="jp-SyftSync-sqlMessage">{printable(messageOf(error, trans)).replaceAll('\u240a', '\n')}</p>
      <p className="jp-SyftSync-buttons">
        {position === undefined ? (
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => void options.model.run()}>
            {trans.__('Try again')}
          </button>
        ) : (
          <button
            type="button"
            className="jp-mod-styled jp-mod-reject"
            onClick={() => options.showFault(error as ClientError)}
          >
            {trans.__('Line %1, column %2', position.line, position.column)}
          </button>
        )}
      </p>
    </div>
  );
}

function title(error: unknown, trans: TranslationBundle): string {
  switch (error instanceof ClientError ? error.code : '') {
    case 'SQL_SYNTAX':
      return trans.__('The query cannot be read');
    case 'SQL_FORBIDDEN':
      return trans.__('This may not be asked');
    case 'SQL_TIMEOUT':
      return trans.__('It took too long');
    case 'SQL_MEMORY':
      return trans.__('It takes more memory than a query may');
    case 'LOG_ENCRYPTED':
      return trans.__('A passphrase is needed');
    case 'SETUP_NEEDED':
      return trans.__('Nothing is recorded here yet');
    case 'UNREACHABLE':
    case 'NOT_RUNNING':
    case 'NO_EXTENSION':
    case 'ENDED':
      return trans.__('Not connected');
    default:
      return trans.__('The query failed');
  }
}
