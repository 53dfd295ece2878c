/** What one plugin offers to the others, and to other extensions. */
import { Token } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import type { ChangeRow } from '../server/src/api/contract';
import type { SyftClient } from './client/client';
import type { Connection } from './client/connection';
import type { PanelModel } from './history/panel-model';

/** The sidecar: questions through `client`, what happens through `connection`. */
export interface ISyftSync {
  readonly client: SyftClient;
  readonly connection: Connection;
}

export const ISyftSync = new Token<ISyftSync>(
  'syft-sync-jupyterlab:ISyftSync',
  'The connection to the Syft Sync sidecar: its routes, its state, and the changes as they happen.'
);

/** Shows versions, read-only. */
export interface IVersionViewer {
  /**
   * @param row - the version; one that says the file was deleted shows what was there before
   * @param pin - keeps the tab and focuses it; otherwise the one tab for looking is used, and the focus stays
   * @throws {ClientError} when the version cannot be had
   */
  preview(row: ChangeRow, pin: boolean): Promise<void>;
}

export const IVersionViewer = new Token<IVersionViewer>(
  'syft-sync-jupyterlab:IVersionViewer',
  'Opens any recorded version of a file read-only, in the viewer of its type.'
);

/** Puts versions back. */
export interface IVersionRestorer {
  /**
   * Puts a version back where its file is, asks about unsaved edits, lets open tabs follow and offers to undo.
   *
   * @returns whether it was restored; false when the user decided against it. Errors are shown, not thrown.
   */
  restore(row: ChangeRow): Promise<boolean>;
  /** Puts a version beside the original, under a free name. */
  restoreCopy(row: ChangeRow): Promise<boolean>;
  /** Saves a version where the browser saves files. */
  download(row: ChangeRow): void;
}

export const IVersionRestorer = new Token<IVersionRestorer>(
  'syft-sync-jupyterlab:IVersionRestorer',
  'Restores recorded versions, with undo, and lets open documents follow.'
);

/** The side panel. */
export interface IHistoryPanel {
  readonly model: PanelModel;
  /** What can be dropped onto. */
  readonly node: HTMLElement;
  /** Adds a section below those that are there, folded; its title is that of the widget. */
  addSection(section: Widget): void;
  /** Brings the panel to the front and unfolds the section. */
  showSection(section: Widget): void;
}

export const IHistoryPanel = new Token<IHistoryPanel>(
  'syft-sync-jupyterlab:IHistoryPanel',
  'The Syft Sync side panel: whose history it shows, its filter and its selected row.'
);
