/** The side panel: the history of this file, what changed in the workspace, what was deleted. */
import {
  PanelWithToolbar,
  ReactWidget,
  SidePanel,
  searchIcon,
  InputGroup,
  ellipsesIcon,
  refreshIcon
} from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import { MessageLoop } from '@lumino/messaging';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { historyIcon, pinIcon } from '../icons';
import type { ChangesModel } from './changes-model';
import { ChangeList } from './list';
import type { ChangeListProps } from './list';
import type { PanelModel } from './panel-model';
import { listItems } from './rows';
import { Skeleton, StateView, takesPanel } from './states';
import type { StateActions } from './states';
import { useLasting, useNow, useSignals } from './use-signal';
import { baseName, moment, printable, shorten } from './words';

/** What the rows and buttons of the panel set in motion. */
export interface PanelActions extends StateActions {
  preview(row: ChangeRow, pin: boolean): void;
  restore(row: ChangeRow): void;
  /** Back to the document. */
  leave(): void;
  /** What concerns all of the panel, in a menu at this place. */
  openMenu(x: number, y: number): void;
}

/** Id of the panel in the shell and in the layout that is restored. */
export const PANEL_ID = 'syft-sync-panel';
/** Pixels; a section with less shows no row under its heading. */
const LEAST_SECTION = 84;
/** Pixels; a section that was asked for shows some rows. */
const GOOD_SECTION = 260;
/** Pixels of a section's title that are not its text, and of one character of the text. */
const TITLE_REST = 55;
const TITLE_CHARACTER = 7.5;
/** Relative times are as old as this, in milliseconds. */
const CLOCK = 15_000;

export class SyftPanel extends SidePanel {
  constructor(options: SyftPanel.IOptions) {
    super();
    const { model, actions, trans } = options;
    this._model = model;
    this._panelTrans = trans;
    this.id = PANEL_ID;
    this.addClass('jp-SyftSync');
    this.title.icon = historyIcon;
    this.title.caption = trans.__('Syft Sync: every version of your files');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Syft Sync'));

    const state = ReactWidget.create(<StateView connection={model.connection} actions={actions} trans={trans} />);
    state.addClass('jp-SyftSync-stateWidget');
    const filter = ReactWidget.create(<Filter model={model} actions={actions} trans={trans} />);
    filter.addClass('jp-SyftSync-filter');
    this.header.addWidget(filter);
    this.header.addWidget(state);

    this._file = new PanelWithToolbar();
    this._file.addClass('jp-SyftSync-section');
    this._file.addWidget(section(<FileHistory model={model} actions={actions} trans={trans} />));
    this._file.toolbar.addItem('pin', ReactWidget.create(<PinButton model={model} trans={trans} />));

    const workspace = (this._workspace = new PanelWithToolbar());
    workspace.addClass('jp-SyftSync-section');
    workspace.title.label = trans.__('Workspace');
    workspace.addWidget(section(<Workspace model={model} actions={actions} trans={trans} />));
    workspace.toolbar.addItem(
      'refresh',
      ReactWidget.create(<RefreshButton model={model} actions={actions} trans={trans} />)
    );

    this._deleted = new PanelWithToolbar();
    this._deleted.addClass('jp-SyftSync-section');
    this._deleted.title.label = trans.__('Deleted files');
    this._deleted.addWidget(section(<DeletedFiles model={model} actions={actions} trans={trans} />));

    for (const widget of [this._file, this._workspace, this._deleted]) this.addWidget(widget);
    const accordion = this.content as AccordionPanel;
    accordion.collapse(2);
    accordion.expansionToggled.connect((_sender, index) => {
      if (index === 2 && !this._deleted.isHidden) model.wantDeleted();
      this._share(index);
    });

    // The lists share what the header leaves, and nobody tells them when a sentence comes or goes there.
    this._headerSize = new ResizeObserver(() => {
      MessageLoop.postMessage(this.content, Widget.ResizeMessage.UnknownSize);
    });
    this._headerSize.observe(this.header.node);

    this._update();
    model.changed.connect(this._update, this);
    model.connection.stateChanged.connect(this._update, this);
  }

  /** Adds a section below the others, folded. */
  addSection(section: Widget): void {
    const accordion = this.content as AccordionPanel;
    this.addWidget(section);
    accordion.collapse(accordion.widgets.indexOf(section));
  }

  /** Unfolds a section; one without much room gets half of what there is. */
  showSection(section: Widget): void {
    const accordion = this.content as AccordionPanel;
    accordion.expand(accordion.widgets.indexOf(section));
    requestAnimationFrame(() => {
      if (this.isDisposed || section.isHidden || section.node.offsetHeight >= GOOD_SECTION) return;
      const others = accordion.widgets.filter(widget => widget !== section && !widget.isHidden).length;
      accordion.setRelativeSizes(
        accordion.widgets.map(widget => (widget.isHidden ? 0 : widget === section ? Math.max(1, others) : 1))
      );
    });
  }

  /** Unfolds the list of deleted files and puts the focus there. */
  showDeleted(): void {
    (this.content as AccordionPanel).expand(2);
    this._model.wantDeleted();
    this._focusIn(this._deleted.node);
  }

  /** Unfolds the list of the file's versions and puts the focus there. */
  showFile(): void {
    (this.content as AccordionPanel).expand(0);
    this._focusIn(this._file.node);
  }

  focusFilter(): void {
    this.header.node.querySelector('input')?.focus();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._headerSize.disconnect();
    this._model.changed.disconnect(this._update, this);
    this._model.connection.stateChanged.disconnect(this._update, this);
    super.dispose();
  }

  protected override onActivateRequest(_message: Message): void {
    const row = this.node.querySelector<HTMLElement>('[role="row"][tabindex="0"]');
    (row ?? this.node.querySelector<HTMLElement>('input, button'))?.focus();
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    this._update();
  }

  /** A section that unfolds without room gets its share: one that was folded from the start has none of its own. */
  private _share(index: number): void {
    const accordion = this.content as AccordionPanel;
    const section = accordion.widgets[index];
    if (section === undefined || section.isHidden) return;
    requestAnimationFrame(() => {
      if (this.isDisposed || section.isHidden || section.node.offsetHeight >= LEAST_SECTION) return;
      accordion.setRelativeSizes(accordion.widgets.map(widget => (widget.isHidden ? 0 : 1)));
    });
  }

  /** Focuses the first row as soon as there is one, unless the focus went elsewhere in the meantime. */
  private _focusIn(node: HTMLElement): void {
    const from = document.activeElement;
    const deadline = Date.now() + 3000;
    const attempt = (): void => {
      if (this.isDisposed || Date.now() > deadline || document.activeElement !== from) return;
      const row = node.querySelector<HTMLElement>('[role="row"][tabindex="0"]');
      if (row === null) requestAnimationFrame(attempt);
      else row.focus();
    };
    requestAnimationFrame(attempt);
  }

  private _update(): void {
    const { target } = this._model;
    const trans = this._panelTrans;
    const { title } = this._file;
    if (target === undefined) title.label = trans.__('This file');
    else {
      const room = Math.max(20, Math.floor((this.node.clientWidth - TITLE_REST) / TITLE_CHARACTER));
      title.label = shorten(printable(baseName(target.path)), room) || trans.__('All files');
    }
    title.caption = target === undefined ? '' : printable(target.path);
    this.toggleClass('jp-SyftSync-mod-stateOnly', takesPanel(this._model.connection));
  }

  private readonly _headerSize: ResizeObserver;
  private readonly _model: PanelModel;
  private readonly _panelTrans: TranslationBundle;
  private readonly _file: PanelWithToolbar;
  private readonly _workspace: PanelWithToolbar;
  private readonly _deleted: PanelWithToolbar;
}

export namespace SyftPanel {
  export interface IOptions {
    model: PanelModel;
    actions: PanelActions;
    trans: TranslationBundle;
  }
}

function section(content: JSX.Element): ReactWidget {
  const widget = ReactWidget.create(content);
  widget.addClass('jp-SyftSync-sectionBody');
  return widget;
}

interface PartProps {
  model: PanelModel;
  actions: PanelActions;
  trans: TranslationBundle;
}

function Filter(props: PartProps): JSX.Element {
  const { model, actions, trans } = props;
  const [text, setText] = React.useState(model.filter);
  React.useEffect(() => {
    const timer = setTimeout(() => {
      model.filter = text.trim();
    }, 150);
    return () => clearTimeout(timer);
  }, [text, model]);
  return (
    <>
      <InputGroup
        type="search"
        rightIcon={searchIcon}
        placeholder={trans.__('Filter by name')}
        aria-label={trans.__('Filter files by name')}
        value={text}
        onChange={event => setText(event.currentTarget.value)}
        onKeyDown={event => {
          if (event.key !== 'Escape' || text === '') return;
          setText('');
          event.stopPropagation();
        }}
      />
      <button
        type="button"
        className="jp-SyftSync-action"
        title={trans.__('Pause, recover, settings')}
        aria-label={trans.__('Pause, recover, settings')}
        aria-haspopup="menu"
        onClick={event => {
          const { left, bottom } = event.currentTarget.getBoundingClientRect();
          actions.openMenu(left, bottom);
        }}
      >
        <ellipsesIcon.react tag="span" />
      </button>
    </>
  );
}

function PinButton(props: { model: PanelModel; trans: TranslationBundle }): JSX.Element {
  const { model, trans } = props;
  useSignals(model.changed);
  const label = model.pinned ? trans.__('Follow the active tab again') : trans.__('Keep showing this file');
  return (
    <button
      type="button"
      className="jp-SyftSync-action jp-SyftSync-pin"
      aria-pressed={model.pinned}
      disabled={model.target === undefined}
      title={label}
      aria-label={label}
      onClick={() => {
        model.pinned = !model.pinned;
      }}
    >
      <pinIcon.react tag="span" />
    </button>
  );
}

function RefreshButton(props: PartProps): JSX.Element {
  const { model, actions, trans } = props;
  const [busy, setBusy] = React.useState(false);
  const label = trans.__('Look at every file now');
  const onClick = async (): Promise<void> => {
    setBusy(true);
    try {
      await actions.capture();
      await model.refresh();
    } catch {
      // Why is what the panel's state says.
    } finally {
      setBusy(false);
    }
  };
  return (
    <button
      type="button"
      className="jp-SyftSync-action"
      disabled={busy}
      title={label}
      aria-label={label}
      onClick={onClick}
    >
      <refreshIcon.react tag="span" />
    </button>
  );
}

function Hint(props: { children: React.ReactNode }): JSX.Element {
  // It may be longer than its section, and must then be scrolled by keyboard too.
  return (
    <div className="jp-SyftSync-hint" tabIndex={0}>
      {props.children}
    </div>
  );
}

interface LoadedProps extends PartProps {
  list: ChangesModel;
  label: string;
  rows: ChangeListProps['rows'];
  empty: React.ReactNode;
  fold: boolean;
  current?: string | undefined;
  /** What is looked at here becomes the file whose history is shown. */
  follow?: boolean;
}

/** A list in any of its states. */
function LoadedList(props: LoadedProps): JSX.Element {
  const { list, model, actions, trans } = props;
  useSignals(list.changed, model.changed, model.connection.stateChanged);
  const now = useNow(CLOCK);
  const slow = useLasting(list.state === 'loading', 150);
  const [open, setOpen] = React.useState<ReadonlySet<string>>(new Set());
  const items = React.useMemo(
    () => listItems(list.changes, { fold: props.fold, open }),
    // The rows of a day are headed by how long ago it is.
    [list.changes, props.fold, open]
  );
  const times = React.useMemo(() => new Map(list.changes.map(row => [row.versionId, row.at])), [list.changes]);
  const onTop = React.useCallback(
    (atTop: boolean) => {
      list.held = !atTop;
    },
    [list]
  );
  const onEnd = React.useCallback(() => void list.loadOlder(), [list]);

  if (list.state === 'failed' && list.changes.length === 0) {
    return (
      <Hint>
        <p role="alert">{printable(messageOf(list.error, trans))}</p>
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => void list.reload()}>
          {trans.__('Try again')}
        </button>
      </Hint>
    );
  }
  if (list.state === 'loading' && list.changes.length === 0) {
    return slow ? <Skeleton label={trans.__('Loading')} /> : <></>;
  }
  if (list.changes.length === 0) return <Hint>{props.empty}</Hint>;
  return (
    <>
      {list.waiting > 0 ? (
        <button
          type="button"
          className="jp-SyftSync-waiting"
          onClick={event => {
            const grid = event.currentTarget.parentElement?.querySelector('[role="grid"]');
            grid?.scrollTo({ top: 0 });
            list.showWaiting();
          }}
        >
          {trans._n('%1 new change', '%1 new changes', list.waiting)}
        </button>
      ) : null}
      <ChangeList
        items={items}
        total={list.total}
        label={props.label}
        trans={trans}
        now={now}
        rows={props.rows}
        current={props.current}
        timeOf={versionId => {
          const at = times.get(versionId);
          return at === undefined ? undefined : moment(at, now, trans);
        }}
        onTop={onTop}
        onEnd={onEnd}
        onPreview={(row, pin) => {
          if (props.follow === true) model.show({ path: row.path, isFolder: false });
          actions.preview(row, pin);
        }}
        onRestore={row => actions.restore(row)}
        onSelect={row => {
          model.selected = row;
        }}
        onToggle={key =>
          setOpen(before => {
            const next = new Set(before);
            if (!next.delete(key)) next.add(key);
            return next;
          })
        }
        onEscape={() => actions.leave()}
      />
    </>
  );
}

function FileHistory(props: PartProps): JSX.Element {
  const { model, trans } = props;
  useSignals(model.changed, model.file.changed);
  const { target, file } = model;
  if (target === undefined) {
    return (
      <Hint>
        {trans.__(
          'Open a file, or right-click one in the file browser and choose “Show history”, to see its versions.'
        )}
      </Hint>
    );
  }
  const newest = file.changes[0];
  const current =
    !target.isFolder && file.exists && newest !== undefined && newest.kind !== 'deleted' ? newest.versionId : undefined;
  return (
    <>
      {model.unsaved ? (
        <div className="jp-SyftSync-unsaved" role="status">
          <span className="jp-SyftSync-mark" aria-hidden="true" />
          {trans.__('Unsaved edits: save to keep them')}
        </div>
      ) : null}
      <LoadedList
        {...props}
        list={file}
        label={trans.__('Versions of %1', printable(target.path) || trans.__('all files'))}
        rows={target.isFolder ? 'file' : 'version'}
        fold={target.isFolder && model.foldBursts}
        current={current}
        empty={
          file.recorded
            ? trans.__('No version of this file is recorded yet.')
            : trans.__('This file is not recorded: it is excluded by a pattern, or outside of the recorded folders.')
        }
      />
    </>
  );
}

function Workspace(props: PartProps): JSX.Element {
  const { model, trans } = props;
  useSignals(model.changed, model.connection.stateChanged);
  const root = model.connection.status?.root;
  return (
    <LoadedList
      {...props}
      list={model.workspace}
      label={trans.__('Changes in the workspace')}
      rows="file"
      follow
      fold={model.foldBursts && model.filter === ''}
      empty={
        model.filter === '' ? (
          <>
            <p>{trans.__('Nothing has changed yet. Every version of every file here will be kept:')}</p>
            <p className="jp-SyftSync-path">{printable(root ?? '')}</p>
            <p>
              {trans.__(
                'They are kept in the folder .syft-sync. Patterns in a file .syftignore exclude what shall not be.'
              )}
            </p>
          </>
        ) : (
          trans.__('No change of a file with “%1” in its name.', model.filter)
        )
      }
    />
  );
}

function DeletedFiles(props: PartProps): JSX.Element {
  const { model, trans } = props;
  useSignals(model.changed);
  return (
    <LoadedList
      {...props}
      list={model.deleted}
      label={trans.__('Deleted files')}
      rows="file"
      follow
      fold={false}
      empty={
        model.filter === ''
          ? trans.__('No file was deleted since recording began.')
          : trans.__('No deleted file with “%1” in its name.', model.filter)
      }
    />
  );
}
