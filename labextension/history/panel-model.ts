/** What the side panel is about: which file, which filter, which row; and the three lists. */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { ChangeRow, ChangesPage, History } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import type { Connection } from '../client/connection';
import { ChangesModel } from './changes-model';
import { deletedSource, fileSource, folderSource, workspaceSource } from './sources';

/** What the first list shows the history of. Paths are relative to the workspace. */
export interface HistoryTarget {
  path: string;
  isFolder: boolean;
}

/** The list of one file's versions knows more than its rows. */
export class FileHistoryModel extends ChangesModel {
  /** The path exists now. */
  get exists(): boolean {
    return this._exists;
  }

  /** False when the path is excluded or outside of the recorded folders. */
  get recorded(): boolean {
    return this._recorded;
  }

  protected override _onPage(page: ChangesPage): void {
    const history = page as Partial<History>;
    this._exists = history.exists ?? true;
    this._recorded = history.recorded ?? true;
  }

  private _exists = false;
  private _recorded = true;
}

export class PanelModel implements IDisposable {
  constructor(options: PanelModel.IOptions) {
    this.connection = options.connection;
    this._client = options.connection.client;
    this.file = new FileHistoryModel();
    this.workspace = new ChangesModel();
    this.deleted = new ChangesModel();
    this.workspace.setSource(workspaceSource(this._client, ''));
    this.connection.changesArrived.connect(this._onChanges, this);
    this.connection.reset.connect(this._onReset, this);
    this.connection.stateChanged.connect(this._onState, this);
  }

  readonly connection: Connection;
  readonly file: FileHistoryModel;
  readonly workspace: ChangesModel;
  readonly deleted: ChangesModel;

  /** Target, pin, filter, selected row or unsaved edits are others. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get target(): HistoryTarget | undefined {
    return this._target;
  }

  /** The target stays, whatever is opened or selected. */
  get pinned(): boolean {
    return this._pinned;
  }
  set pinned(pinned: boolean) {
    this._pinned = pinned;
    this._changed.emit();
  }

  /** Part of the paths that the lists of many files show. */
  get filter(): string {
    return this._filter;
  }
  set filter(filter: string) {
    if (filter === this._filter) return;
    this._filter = filter;
    this.workspace.setSource(workspaceSource(this._client, filter));
    if (this._deletedWanted) this.deleted.setSource(deletedSource(this._client, filter));
    this._changed.emit();
  }

  /** Whether bursts are folded in the list of the workspace. */
  get foldBursts(): boolean {
    return this._foldBursts;
  }
  set foldBursts(fold: boolean) {
    this._foldBursts = fold;
    this._changed.emit();
  }

  /** The target is open and has edits that are not on disk. */
  get unsaved(): boolean {
    return this._unsaved;
  }
  set unsaved(unsaved: boolean) {
    if (unsaved === this._unsaved) return;
    this._unsaved = unsaved;
    this._changed.emit();
  }

  /** The row that commands are about when they are not told another. */
  get selected(): ChangeRow | undefined {
    const id = this._selected?.versionId;
    if (id === undefined) return undefined;
    // What is said of it may be other since it was selected.
    for (const list of [this.file, this.workspace, this.deleted]) {
      const row = list.changes.find(({ versionId }) => versionId === id);
      if (row !== undefined) return row;
    }
    return this._selected;
  }
  set selected(row: ChangeRow | undefined) {
    this._selected = row;
  }

  /** Shows the history of another path, unless the target is pinned and `force` is not given. */
  show(target: HistoryTarget | undefined, force = false): void {
    if (this._pinned && !force) return;
    if (target?.path === this._target?.path && target?.isFolder === this._target?.isFolder) return;
    this._target = target;
    if (force) this._pinned = false;
    this._unsaved = false;
    this.file.setSource(
      target === undefined
        ? undefined
        : target.isFolder
          ? folderSource(this._client, target.path)
          : fileSource(this._client, target.path)
    );
    this._changed.emit();
  }

  /** Begins to load the deleted files: not before somebody looks. */
  wantDeleted(): void {
    if (this._deletedWanted) return;
    this._deletedWanted = true;
    this.deleted.setSource(deletedSource(this._client, this._filter));
  }

  /** Loads everything afresh. */
  async refresh(): Promise<void> {
    await Promise.all([this.file.reload(), this.workspace.reload(), this.deleted.reload()]);
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    this.file.dispose();
    this.workspace.dispose();
    this.deleted.dispose();
    Signal.clearData(this);
  }

  private _onChanges(_sender: Connection, rows: readonly ChangeRow[]): void {
    this.file.add(rows);
    this.workspace.add(rows);
    this.deleted.add(rows);
  }

  /** What could not be answered before, as while folders were being chosen, is asked again as soon as it can be. */
  private _onState(): void {
    const { state, status } = this.connection;
    const answers =
      state.kind === 'connected' && status !== undefined && status.state !== 'setup-needed' && status.index.ready;
    const begins = answers && !this._answers;
    this._answers = answers;
    if (!answers) return;
    if (begins) void this.refresh();
    for (const list of [this.file, this.workspace, this.deleted]) {
      if (list.state === 'failed') list.reloadSoon();
    }
  }

  private _onReset(): void {
    void this.refresh();
  }

  private readonly _client: SyftClient;
  private _target: HistoryTarget | undefined;
  private _pinned = false;
  private _filter = '';
  private _foldBursts = true;
  private _unsaved = false;
  private _deletedWanted = false;
  /** The sidecar can answer questions about history. */
  private _answers = false;
  private _selected: ChangeRow | undefined;
  private _isDisposed = false;
  private readonly _changed = new Signal<this, void>(this);
}

export namespace PanelModel {
  export interface IOptions {
    connection: Connection;
  }
}
