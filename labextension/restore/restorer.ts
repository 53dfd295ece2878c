/**
 * Puts versions back. What stands there is a version before it is replaced, so that every restore can be undone; a document
 * with unsaved edits is never overwritten unasked.
 */
import { Notification } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChangeRow, RestoreResult } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import type { Connection } from '../client/connection';
import { messageOf } from '../client/errors';
import { placeOf } from '../history/place';
import { baseName, moment, printable } from '../history/words';
import type { IVersionRestorer } from '../tokens';
import type { OpenDocuments } from './open-documents';
import { settleUnsaved } from './unsaved-edits';

/** Milliseconds a notification with Undo stays. */
const STAYS = 15_000;

export class VersionRestorer implements IVersionRestorer {
  constructor(options: VersionRestorer.IOptions) {
    this._client = options.connection.client;
    this._open = options.open;
    this._trans = options.trans;
    this._openFile = options.openFile;
    options.connection.changesArrived.connect(this._onChanges, this);
  }

  async restore(row: ChangeRow): Promise<boolean> {
    const trans = this._trans;
    const versionId = versionToRestore(row);
    const to = placeOf(row);
    try {
      if (!(await this._unsavedSettled(to))) return false;
      const result = await this._client.restore({ versionId, to });
      if (result.unchanged) {
        Notification.info(trans.__('%1 is already as it was then.', printable(baseName(to))), {
          autoClose: 5000
        });
        return true;
      }
      await this._follow(result.path);
      const undo = this._undoOf(result);
      const message = trans.__(
        'Restored %1 as of %2.',
        printable(baseName(result.path)),
        moment(row.at, Date.now(), trans)
      );
      Notification.success(message, {
        autoClose: STAYS,
        actions: undo === undefined ? [] : [{ label: trans.__('Undo'), callback: () => void this._run(undo) }]
      });
      return true;
    } catch (error) {
      this._report(trans.__('%1 was not restored.', printable(baseName(to))), error);
      return false;
    }
  }

  async restoreCopy(row: ChangeRow): Promise<boolean> {
    const trans = this._trans;
    try {
      const result = await this._client.restore({ versionId: versionToRestore(row), to: placeOf(row), asCopy: true });
      const undo = this._undoOf(result);
      Notification.success(trans.__('Restored as %1.', printable(baseName(result.path))), {
        autoClose: STAYS,
        actions: [
          { label: trans.__('Open'), callback: () => this._openFile(result.path) },
          ...(undo === undefined ? [] : [{ label: trans.__('Undo'), callback: () => void this._run(undo) }])
        ]
      });
      return true;
    } catch (error) {
      this._report(trans.__('%1 was not restored.', printable(baseName(row.path))), error);
      return false;
    }
  }

  download(row: ChangeRow): void {
    const link = document.createElement('a');
    link.href = this._client.downloadUrl(versionToRestore(row));
    link.download = baseName(row.path);
    document.body.appendChild(link);
    link.click();
    link.remove();
  }

  /** What puts things back as they were before a restore; undefined when there is nothing to undo. */
  private _undoOf(result: RestoreResult): (() => Promise<void>) | undefined {
    const trans = this._trans;
    const name = printable(baseName(result.path));
    const { change, replaced } = result;
    if (replaced !== undefined) {
      return async () => {
        if (!(await this._unsavedSettled(result.path))) return;
        await this._client.restore({ versionId: replaced, to: result.path });
        await this._follow(result.path);
        Notification.success(trans.__('Undone: %1 is as it was before.', name), { autoClose: 5000 });
      };
    }
    if (!result.created || change === undefined) return undefined;
    return async () => {
      await this._client.remove({ path: result.path, ifVersion: change.versionId });
      Notification.success(trans.__('Undone: %1 is gone again.', name), { autoClose: 5000 });
    };
  }

  private async _run(undo: () => Promise<void>): Promise<void> {
    try {
      await undo();
    } catch (error) {
      this._report(this._trans.__('It could not be undone.'), error);
    }
  }

  private _unsavedSettled(path: string): Promise<boolean> {
    const trans = this._trans;
    return settleUnsaved(this._open.of(path), {
      client: this._client,
      trans,
      discard: trans.__('Discard and restore'),
      save: trans.__('Save, then restore')
    });
  }

  private async _follow(path: string): Promise<void> {
    await Promise.all(this._open.of(path).map(context => this._open.follow(context)));
  }

  /** Restores and messages accepted elsewhere, by another tab or the command line: documents without unsaved edits follow. */
  private _onChanges(_sender: Connection, rows: readonly ChangeRow[]): void {
    for (const row of rows) {
      if (row.cause?.kind !== 'restore' && row.cause?.kind !== 'message') continue;
      for (const context of this._open.of(row.path)) {
        if (!context.model.dirty && isOlder(context, row)) void this._open.follow(context).catch(() => undefined);
      }
    }
  }

  private _report(what: string, error: unknown): void {
    const why = printable(messageOf(error, this._trans));
    Notification.error(`${what} ${why}`, { autoClose: false });
  }

  private readonly _client: SyftClient;
  private readonly _open: OpenDocuments;
  private readonly _trans: TranslationBundle;
  private readonly _openFile: (path: string) => void;
}

export namespace VersionRestorer {
  export interface IOptions {
    connection: Connection;
    open: OpenDocuments;
    openFile: (path: string) => void;
    trans: TranslationBundle;
  }
}

/** A row that says a file was deleted stands for what was there before. */
export function versionToRestore(row: ChangeRow): string {
  return row.kind === 'deleted' ? (row.previousVersionId ?? row.versionId) : row.versionId;
}

/** What the document has loaded is from before the change. */
function isOlder(context: DocumentRegistry.Context, row: ChangeRow): boolean {
  const loaded = context.contentsModel?.last_modified;
  return loaded === undefined || row.mtime === undefined || Date.parse(loaded) !== Math.floor(Date.parse(row.mtime));
}
