/** The SQL tab: tables at the left, the query above, what it gives below. */
import { Clipboard, InputDialog, MainAreaWidget, Notification } from '@jupyterlab/apputils';
import type { IEditorServices } from '@jupyterlab/codeeditor';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import {
  HTMLSelect,
  ReactWidget,
  ToolbarButton,
  caretDownEmptyIcon,
  copyIcon,
  downloadIcon,
  listIcon,
  runIcon,
  saveIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import { Menu, SplitPanel } from '@lumino/widgets';
import type { Widget } from '@lumino/widgets';
import * as React from 'react';

import type { SyftClient } from '../client/client';
import type { Connection } from '../client/connection';
import { ClientError, messageOf } from '../client/errors';
import type { StateActions } from '../history/states';
import { useSignals } from '../history/use-signal';
import { printable } from '../history/words';
import { sqlIcon } from '../icons';
import { sqlCompletions } from './completion';
import { QueryEditor } from './editor';
import { SqlModel } from './model';
import type { QueryStore } from './query-store';
import { notebookCell, questions } from './questions';
import { oneLine } from './recent-queries';
import { ResultView } from './result';
import { EXPORTS, saveResult } from './save-result';
import type { ExportFormat } from './save-result';
import { SchemaList } from './schema-list';
import type { SchemaState } from './schema-list';

/** Pixels below which the list of tables would leave the query no room. */
const NARROW = 620;
/** Of the list of tables and the rest. */
const SIZES = [1, 4];
const NO_ARGUMENTS = { type: 'object', properties: {} } as const;
/** Paths that are offered between quotes. */
const PATHS = 50;
const RECENT_SHOWN = 15;

export class SqlTab extends MainAreaWidget<SplitPanel> {
  constructor(options: SqlTab.IOptions) {
    const content = new SplitPanel({ orientation: 'horizontal', spacing: 1 });
    super({ content });
    this._options = options;
    const { client, connection, trans } = options;
    this.id = options.id;
    for (const name of ['jp-SyftSync', 'jp-SyftSync-sql']) this.addClass(name);
    this.title.label = trans.__('SQL');
    this.title.icon = sqlIcon;
    this.title.closable = true;
    this.node.setAttribute('aria-label', trans.__('SQL over the history'));
    this.toolbar.node.setAttribute('aria-label', trans.__('SQL'));

    this.model = new SqlModel({
      client,
      ...(options.query !== undefined && { query: options.query }),
      ...(options.maxRows !== undefined && { maxRows: options.maxRows })
    });
    this._schema = new SchemaWidget(() => (
      <SchemaList
        state={this._schemaState}
        trans={trans}
        insert={text => this._editor.insert(text)}
        reload={() => void this._loadSchema()}
      />
    ));
    this._editor = new QueryEditor({
      model: this.model,
      services: options.services,
      trans,
      run: () => void this.run(),
      leave: () => this._result.focus(),
      completions: sqlCompletions({
        schema: () => (this._schemaState.kind === 'known' ? this._schemaState.schema : undefined),
        paths: part => this._paths(part)
      })
    });
    this._result = new ResultView({
      model: this.model,
      connection,
      trans,
      actions: options.actions,
      rendermime: options.rendermime,
      open: options.open,
      ask: query => {
        this.model.query = query;
        void this.run();
      },
      showFault: error => {
        this._editor.showFault(error.position, messageOf(error, trans));
        this._editor.focus();
      }
    });
    const right = new SplitPanel({ orientation: 'vertical', spacing: 1 });
    right.addWidget(this._editor);
    right.addWidget(this._result);
    right.setRelativeSizes([1, 2]);
    content.addWidget(this._schema);
    content.addWidget(right);
    content.setRelativeSizes(SIZES);
    content.handleMoved.connect(this._keepSizes, this);
    this._fillToolbar();

    this.model.stateChanged.connect(this._onState, this);
    this.model.queryChanged.connect(this._onQuery, this);
    connection.stateChanged.connect(this._onConnection, this);
    this._onQuery();
    this._onState();
    void this._loadSchema();
  }

  readonly model: SqlModel;

  /** Runs the query; one that runs is cancelled. */
  async run(): Promise<void> {
    const { query } = this.model;
    if (query.trim() === '') return;
    this._editor.showFault(undefined);
    await Promise.all([this.model.run(), this._options.store.remember(query)]);
    const { state } = this.model;
    if (state.kind !== 'failed' || !(state.error instanceof ClientError)) return;
    // Of a text that was edited since, nobody knows where it is.
    if (this.model.query === this.model.ran) {
      this._editor.showFault(state.error.position, messageOf(state.error, this._options.trans));
    }
  }

  /** Keeps the query under a name, which is asked for when it is not given. */
  async save(given?: string): Promise<void> {
    const { trans, store } = this._options;
    let name: string | null = given ?? null;
    if (name === null) {
      const answer = await InputDialog.getText({
        title: trans.__('Save this query'),
        label: trans.__('Name'),
        text: oneLine(this.model.query, 40),
        okLabel: trans.__('Save'),
        required: true
      });
      name = answer.value;
    }
    if (name !== null) await store.save(name, this.model.query);
  }

  /** Saves the result as a file, where the browser saves files. */
  export(format: ExportFormat): Promise<void> {
    return saveResult(this.model, format, this._options.trans);
  }

  /** Puts a notebook cell with the query on the clipboard: JupyterLab's, for cells, and the system's, for text. */
  copyCell(): void {
    const { trans } = this._options;
    const source = notebookCell(this.model.query);
    Clipboard.copyToSystem(source);
    Clipboard.getInstance().setData('application/vnd.jupyter.cells', [
      { cell_type: 'code', source, metadata: {}, outputs: [], execution_count: null }
    ]);
    Notification.info(trans.__('Copied: paste it into a notebook.'), { autoClose: 3000 });
  }

  /** Takes the colours of the theme anew. */
  restyle(): void {
    this._result.restyle();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._options.connection.stateChanged.disconnect(this._onConnection, this);
    this.model.stateChanged.disconnect(this._onState, this);
    this.model.queryChanged.disconnect(this._onQuery, this);
    super.dispose();
    this.model.dispose();
  }

  protected override onActivateRequest(_message: Message): void {
    this._editor.focus();
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    const width = message.width < 0 ? this.node.clientWidth : message.width;
    if (width === 0) return;
    const narrow = width < NARROW;
    if (narrow === this._narrow) {
      this._keepSizes();
      return;
    }
    // By now the parts have their new widths: what they were before is what was kept.
    this._narrow = narrow;
    this._showSchema(!narrow);
  }

  private _showSchema(show: boolean): void {
    const { content } = this;
    if (show === this._schema.isHidden) {
      // A panel gives what is hidden its room away, and next to nothing back.
      if (!show) this._keepSizes();
      this._schema.setHidden(!show);
      if (show) content.setRelativeSizes(this._sizes);
    }
    this._tables.pressed = show;
  }

  private _keepSizes(): void {
    if (this._narrow === false && !this._schema.isHidden) this._sizes = this.content.relativeSizes();
  }

  private _fillToolbar(): void {
    const { trans } = this._options;
    const { toolbar, model } = this;
    const button = (name: string, options: ConstructorParameters<typeof ToolbarButton>[0]): ToolbarButton => {
      const widget = new ToolbarButton(options);
      toolbar.addItem(name, widget);
      return widget;
    };
    this._run = button('run', {
      icon: runIcon,
      label: trans.__('Run'),
      tooltip: trans.__('Run the query (Shift+Enter)'),
      onClick: () => void this.run()
    });
    this._stop = button('stop', {
      icon: stopIcon,
      tooltip: trans.__('Stop the query; the rows that came stay'),
      enabled: false,
      onClick: () => model.cancel()
    });
    toolbar.addItem('limit', ReactWidget.create(<Limit model={model} trans={trans} />));
    button('queries', {
      icon: caretDownEmptyIcon,
      label: trans.__('Queries'),
      tooltip: trans.__('Saved and recent queries, and questions worth asking'),
      onClick: () => void this._openQueries()
    });
    button('save', {
      icon: saveIcon,
      tooltip: trans.__('Save the query under a name'),
      onClick: () => void this.save().catch(error => Notification.error(messageOf(error, trans)))
    });
    this._export = button('export', {
      icon: downloadIcon,
      tooltip: trans.__('Export the result as a file'),
      enabled: false,
      onClick: () => this._openExport()
    });
    button('copy-cell', {
      icon: copyIcon,
      tooltip: trans.__('Copy as notebook cell'),
      onClick: () => this.copyCell()
    });
    this._tables = button('tables', {
      icon: listIcon,
      tooltip: trans.__('Show or hide the list of tables'),
      pressed: true,
      onClick: () => this._showSchema(this._schema.isHidden)
    });
  }

  private _openExport(): void {
    const commands = new CommandRegistry();
    const menu = new Menu({ commands });
    for (const format of Object.keys(EXPORTS) as ExportFormat[]) {
      commands.addCommand(format, {
        label: this.model.isHeld(format)
          ? EXPORTS[format].name
          : this._options.trans.__('%1, by running the query again', EXPORTS[format].name),
        describedBy: { args: NO_ARGUMENTS },
        execute: () => this.export(format)
      });
      menu.addItem({ command: format });
    }
    this._openMenu(menu, 'export');
  }

  private async _openQueries(): Promise<void> {
    const { trans, store } = this._options;
    const recent = (await store.recent()).slice(0, RECENT_SHOWN);
    const { saved } = store;
    const commands = new CommandRegistry();
    const menu = new Menu({ commands });
    let count = 0;
    const add = (label: string, caption: string, execute: () => unknown, isEnabled = true): void => {
      const id = String(count++);
      commands.addCommand(id, {
        label,
        caption,
        describedBy: { args: NO_ARGUMENTS },
        isEnabled: () => isEnabled,
        execute
      });
      menu.addItem({ command: id });
    };
    const section = (label: string, queries: readonly { name: string; query: string }[]): void => {
      if (queries.length === 0) return;
      if (count > 0) menu.addItem({ type: 'separator' });
      add(label, '', () => undefined, false);
      for (const { name, query } of queries) {
        add(printable(name), query, () => {
          this.model.query = query;
          this._editor.focus();
        });
      }
    };
    section(trans.__('Saved'), saved);
    if (saved.length > 0) {
      add(trans.__('Remove a saved query…'), '', async () => {
        const { value } = await InputDialog.getItem({
          title: trans.__('Remove a saved query'),
          label: trans.__('Name'),
          items: saved.map(({ name }) => name),
          okLabel: trans.__('Remove')
        });
        if (value !== null) await store.remove(value);
      });
    }
    section(
      trans.__('Recent'),
      recent.map(query => ({ name: oneLine(query), query }))
    );
    section(
      trans.__('Questions worth asking'),
      questions(trans).map(({ title, query }) => ({ name: title, query }))
    );
    this._openMenu(menu, 'queries');
  }

  private _openMenu(menu: Menu, item: string): void {
    menu.aboutToClose.connect(() => requestAnimationFrame(() => menu.dispose()));
    const anchor = this.toolbar.node.querySelector(`[data-jp-item-name="${item}"]`) ?? this.toolbar.node;
    const { left, bottom } = anchor.getBoundingClientRect();
    menu.open(left, bottom);
  }

  private _onState(): void {
    const running = this.model.state.kind === 'running';
    this._stop.enabled = running;
    this._export.enabled = this.model.ran !== undefined && !running;
  }

  private _onQuery(): void {
    const { query } = this.model;
    this._run.enabled = query.trim() !== '';
    this.title.caption = query.trim() === '' ? this._options.trans.__('SQL over the history') : oneLine(query, 200);
    this._options.changed(this);
  }

  private _onConnection(): void {
    const { state } = this._options.connection;
    if (state.kind === 'connected' && this._schemaState.kind === 'failed') void this._loadSchema();
  }

  private async _loadSchema(): Promise<void> {
    this._setSchema({ kind: 'loading' });
    try {
      this._setSchema({ kind: 'known', schema: await this._options.client.sqlSchema() });
    } catch (error) {
      this._setSchema({ kind: 'failed', error });
    }
  }

  private _setSchema(state: SchemaState): void {
    if (this.isDisposed) return;
    this._schemaState = state;
    this._schema.update();
  }

  /** Paths that hold a part, those that begin with it first. */
  private async _paths(part: string): Promise<readonly string[]> {
    const query = `SELECT path FROM files WHERE contains(lower(path), lower($1::VARCHAR))
      ORDER BY NOT starts_with(lower(path), lower($1::VARCHAR)), length(path), path LIMIT ${PATHS}`;
    try {
      const answer = await this._options.client.sqlFile(
        { query, parameters: [part], timeoutMs: 2000 },
        'json',
        new AbortController().signal
      );
      return (JSON.parse(await answer.text()) as { path: string }[]).map(({ path }) => path);
    } catch (error) {
      // Nothing is offered, and what was typed stays.
      console.warn('Syft Sync: no paths for completion.', error);
      return [];
    }
  }

  private readonly _options: SqlTab.IOptions;
  private readonly _schema: SchemaWidget;
  private readonly _editor: QueryEditor;
  private readonly _result: ResultView;
  private _schemaState: SchemaState = { kind: 'loading' };
  private _run!: ToolbarButton;
  private _stop!: ToolbarButton;
  private _export!: ToolbarButton;
  private _tables!: ToolbarButton;
  private _narrow: boolean | undefined;
  /** Of the list of tables and the rest, while both are shown. */
  private _sizes = SIZES;
}

export namespace SqlTab {
  export interface IOptions {
    id: string;
    client: SyftClient;
    connection: Connection;
    actions: StateActions;
    services: IEditorServices;
    rendermime: IRenderMimeRegistry;
    store: QueryStore;
    trans: TranslationBundle;
    query?: string;
    maxRows?: number;
    /** A path or a version id of the result was chosen. */
    open(lead: 'path' | 'version', value: string): void;
    /** What is to be restored with the layout is another. */
    changed(tab: SqlTab): void;
  }
}

class SchemaWidget extends ReactWidget {
  constructor(private readonly _content: () => JSX.Element) {
    super();
    this.addClass('jp-SyftSync-sqlSide');
  }

  protected override render(): JSX.Element {
    return this._content();
  }
}

function Limit(props: { model: SqlModel; trans: TranslationBundle }): JSX.Element {
  const { model, trans } = props;
  useSignals(model.queryChanged);
  return (
    <HTMLSelect
      className="jp-SyftSync-sqlLimit"
      aria-label={trans.__('Rows at most')}
      title={trans.__('Rows at most')}
      value={model.maxRows}
      onChange={event => {
        model.maxRows = Number(event.currentTarget.value);
      }}
    >
      {SqlModel.ROW_LIMITS.map(rows => (
        <option key={rows} value={rows}>
          {trans.__('%1 rows', rows.toLocaleString())}
        </option>
      ))}
    </HTMLSelect>
  );
}
