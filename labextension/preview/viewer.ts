/** Opens versions: in the viewer of their type where there is one, else as what is known of them. One tab is for looking. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, ReactWidget } from '@jupyterlab/apputils';
import type { IDocumentManager, IDocumentWidgetOpener } from '@jupyterlab/docmanager';
import type { IDocumentWidget } from '@jupyterlab/docregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { DockPanel } from '@lumino/widgets';
import type { Widget } from '@lumino/widgets';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { placeOf, placed } from '../history/place';
import { baseName, hasContent, versionName } from '../history/words';
import { historyIcon } from '../icons';
import type { IVersionRestorer, IVersionViewer } from '../tokens';
import { BarWidget } from './bar';
import { Details } from './details';
import type { WhyNot } from './details';
import { HistoryDrive, notebook, textOf } from './drive';

/** Bytes; text viewers and the notebook hold all of it as one document. */
const LARGEST_TEXT = 20e6;
const LARGEST_BINARY = 50e6;
/** Versions among which `older` and `newer` step. */
const STEPS = 5000;

/** Marks the tab that the next look takes over. */
const PREVIEW_TAB = ' jp-SyftSync-previewTab';

type Shown = MainAreaWidget | IDocumentWidget;

export class VersionViewer implements IVersionViewer {
  constructor(options: VersionViewer.IOptions) {
    this._app = options.app;
    this._client = options.client;
    this._drive = options.drive;
    this._documents = options.documents;
    this._restorer = options.restorer;
    this._trans = options.trans;
    // A version's tab that comes back with the layout gets its bar as well.
    options.opener?.opened.connect((_sender, widget) => {
      if (!this._opening) void this._dress(widget);
    });
  }

  async preview(row: ChangeRow, pin: boolean): Promise<void> {
    const shown = await this._lookable(row);
    const turn = ++this._turn;
    const why = await this._whyNot(shown);
    // Whoever steps through a list fast wants the last one only.
    if (turn !== this._turn) return;

    const before = this._current;
    if (before !== undefined && !before.isDisposed && this._currentRow?.versionId === shown.versionId) {
      this._show(before, pin);
      if (pin) this._keep(before);
      return;
    }
    const reused = before !== undefined && !before.isDisposed && before.isAttached ? before : undefined;
    const place = reused === undefined ? {} : { ref: reused.id, mode: 'tab-after' as const };
    const path = this._drive.pathOf(shown);
    const kept = this._documents.findWidget(path, null);
    if (kept !== undefined) {
      this._show(kept, pin);
      return;
    }
    let widget: Shown | undefined;
    if (why === undefined) {
      this._opening = true;
      widget = this._documents.open(path, this._factory(shown), undefined, { ...place, activate: false });
      this._opening = false;
      if (widget !== undefined) this._withoutKernel(widget);
    }
    if (widget === undefined) {
      widget = this._details(shown, why ?? 'binary');
      this._app.shell.add(widget, 'main', { ...place, activate: false });
    }
    if (pin) this._keep(widget);
    else {
      this._current = widget;
      this._currentRow = shown;
    }
    await this._dress(widget, shown);
    this._show(widget, pin);
    if (!pin && reused !== undefined) reused.dispose();
  }

  /** The version itself, or what was there before the deletion. */
  private _lookable(row: ChangeRow): Promise<ChangeRow> {
    if (row.kind === 'deleted' && row.previousVersionId !== undefined) {
      return this._drive.version(row.previousVersionId);
    }
    return Promise.resolve(row);
  }

  /** Why no viewer can show it; undefined when one can. */
  private async _whyNot(row: ChangeRow): Promise<WhyNot | undefined> {
    if (row.type !== 'file') return 'symlink';
    if (!hasContent(row)) return 'no-content';
    const type = this._documents.registry.getFileTypesForPath(baseName(row.path))[0];
    const length = row.size ?? 0;
    if (type?.fileFormat === 'base64') return length > LARGEST_BINARY ? 'too-large' : undefined;
    if (length > LARGEST_TEXT) return 'too-large';
    const bytes = await this._drive.bytes(row.versionId);
    if (textOf(bytes) === undefined) return 'binary';
    if (type?.contentType === 'notebook') {
      try {
        notebook(bytes);
      } catch {
        this._brokenNotebooks.add(row.versionId);
      }
    }
    return undefined;
  }

  /** A file that is called a notebook and is none is shown as the text it is. */
  private _factory(row: ChangeRow): string {
    const name = baseName(row.path);
    const preferred = this._documents.registry.defaultWidgetFactory(name).name;
    return this._brokenNotebooks.has(row.versionId) ? 'Editor' : preferred;
  }

  private _details(row: ChangeRow, why: WhyNot): MainAreaWidget {
    const content = ReactWidget.create(React.createElement(Details, { row, why, trans: this._trans }));
    content.addClass('jp-SyftSync-detailsWidget');
    const widget = new MainAreaWidget({ content });
    // Nothing is in it: it would be an empty stripe.
    widget.toolbar.hide();
    widget.id = `syft-sync-details-${row.versionId}`;
    widget.title.icon = historyIcon;
    widget.title.closable = true;
    return widget;
  }

  /** Gives a version's tab its title and its bar, and no kernel. */
  private async _dress(widget: Shown, known?: ChangeRow): Promise<void> {
    if (this._dressed.has(widget)) return;
    const context = this._documents.contextForWidget(widget);
    let row = known;
    if (row === undefined) {
      if (context === undefined) return;
      const contents = this._app.serviceManager.contents;
      if (contents.driveName(context.path) !== this._drive.name) return;
      this._dressed.add(widget);
      this._withoutKernel(widget);
      row = await this._drive.version(HistoryDrive.versionOf(contents.localPath(context.path)));
    }
    this._dressed.add(widget);
    const version = row;
    const bar = new BarWidget({
      row: version,
      older: false,
      newer: false,
      kept: this._current !== widget,
      trans: this._trans,
      actions: {
        restore: it => void this._restorer.restore(it),
        restoreCopy: it => void this._restorer.restoreCopy(it),
        download: it => this._restorer.download(it),
        keep: () => this._keep(widget),
        step: (it, direction) => void this._step(widget, it, direction)
      }
    });
    this._bars.set(widget, bar);
    // Every document widget of JupyterLab is a main area widget; its interface does not say so.
    if (widget instanceof MainAreaWidget) widget.contentHeader.addWidget(bar);
    if (this._current === widget) widget.title.className += PREVIEW_TAB;
    if (context === undefined) widget.title.label = versionName(version);
    widget.disposed.connect(() => {
      if (this._current === widget) this._current = undefined;
    });
    void this._neighbours(version).then(
      ({ older, newer }) => {
        if (!bar.isDisposed) bar.set({ older: older !== undefined, newer: newer !== undefined });
      },
      () => undefined
    );
  }

  private _withoutKernel(widget: Shown): void {
    const context = this._documents.contextForWidget(widget);
    if (context === undefined) return;
    const session = context.sessionContext;
    session.kernelPreference = {
      ...session.kernelPreference,
      shouldStart: false,
      canStart: false,
      autoStartDefault: false
    };
  }

  private async _neighbours(row: ChangeRow): Promise<{ older?: ChangeRow | undefined; newer?: ChangeRow | undefined }> {
    const history = await this._client.history(placeOf(row), { limit: STEPS });
    const versions = placed(history).filter(it => it.versionId === row.versionId || hasContent(it));
    const index = versions.findIndex(it => it.versionId === row.versionId);
    if (index < 0) return {};
    return { older: versions[index + 1], newer: versions[index - 1] };
  }

  private async _step(widget: Shown, row: ChangeRow, direction: 'older' | 'newer'): Promise<void> {
    const next = (await this._neighbours(row))[direction];
    if (next === undefined) return;
    if (this._current !== widget) {
      // A kept tab stays what it is.
      await this.preview(next, false);
      return;
    }
    await this.preview(next, false);
    this._bars
      .get(this._current ?? widget)
      ?.node.querySelector<HTMLElement>('button:enabled')
      ?.focus();
  }

  private _keep(widget: Shown): void {
    if (this._current === widget) {
      this._current = undefined;
      this._currentRow = undefined;
    }
    widget.title.className = widget.title.className.replace(PREVIEW_TAB, '');
    this._bars.get(widget)?.set({ kept: true });
  }

  /** Brings a tab to the front; the focus goes with it only when the tab is to be kept. */
  private _show(widget: Shown, focus: boolean): void {
    if (focus) {
      this._app.shell.activateById(widget.id);
      return;
    }
    let parent: Widget | null = widget.parent;
    while (parent !== null && !(parent instanceof DockPanel)) parent = parent.parent;
    if (parent === null) this._app.shell.activateById(widget.id);
    else parent.selectWidget(widget);
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _client: SyftClient;
  private readonly _drive: HistoryDrive;
  private readonly _documents: IDocumentManager;
  private readonly _restorer: IVersionRestorer;
  private readonly _trans: TranslationBundle;
  private readonly _dressed = new WeakSet<Widget>();
  private readonly _bars = new WeakMap<Widget, BarWidget>();
  private readonly _brokenNotebooks = new Set<string>();
  private _current: Shown | undefined;
  private _currentRow: ChangeRow | undefined;
  private _turn = 0;
  /** True while this viewer itself opens a document. */
  private _opening = false;
}

export namespace VersionViewer {
  export interface IOptions {
    app: JupyterFrontEnd;
    client: SyftClient;
    drive: HistoryDrive;
    documents: IDocumentManager;
    restorer: IVersionRestorer;
    trans: TranslationBundle;
    /** Tells of documents that the layout restorer opens. */
    opener?: IDocumentWidgetOpener | undefined;
  }
}
