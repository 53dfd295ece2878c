/** Versions in the main area, and putting them back: the drive of the past, the viewer, the restorer. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDocumentManager, IDocumentWidgetOpener } from '@jupyterlab/docmanager';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { HistoryDrive } from '../preview/drive';
import { VersionViewer } from '../preview/viewer';
import { OpenDocuments } from '../restore/open-documents';
import { VersionRestorer } from '../restore/restorer';
import { ISyftSync, IVersionRestorer, IVersionViewer } from '../tokens';

export const restorePlugin: JupyterFrontEndPlugin<IVersionRestorer> = {
  id: 'syft-sync-jupyterlab:restore',
  description: 'Restores recorded versions, with undo, and lets open documents follow.',
  autoStart: true,
  requires: [ISyftSync, IDocumentManager],
  optional: [ITranslator],
  provides: IVersionRestorer,
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    documents: IDocumentManager,
    translator: ITranslator | null
  ): IVersionRestorer =>
    new VersionRestorer({
      connection: syft.connection,
      open: new OpenDocuments({ app, documents, historyDrive: HistoryDrive.driveName }),
      openFile: path => void documents.openOrReveal(path),
      trans: (translator ?? nullTranslator).load('syft_sync')
    })
};

export const previewPlugin: JupyterFrontEndPlugin<IVersionViewer> = {
  id: 'syft-sync-jupyterlab:preview',
  description: 'Opens any recorded version of a file read-only, in the viewer of its type.',
  autoStart: true,
  requires: [ISyftSync, IDocumentManager, IVersionRestorer],
  optional: [IDocumentWidgetOpener, ITranslator],
  provides: IVersionViewer,
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    documents: IDocumentManager,
    restorer: IVersionRestorer,
    opener: IDocumentWidgetOpener | null,
    translator: ITranslator | null
  ): IVersionViewer => {
    const drive = new HistoryDrive({ client: syft.client });
    app.serviceManager.contents.addDrive(drive);
    return new VersionViewer({
      app,
      client: syft.client,
      drive,
      documents,
      restorer,
      opener: opener ?? undefined,
      trans: (translator ?? nullTranslator).load('syft_sync')
    });
  }
};
