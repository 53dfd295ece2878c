/** The documents that are open on a path, and how they come to show what is on disk. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { DocumentRegistry } from '@jupyterlab/docregistry';

export class OpenDocuments {
  constructor(options: OpenDocuments.IOptions) {
    this._app = options.app;
    this._documents = options.documents;
    this._historyDrive = options.historyDrive;
  }

  /** Contexts of a workspace path, whatever viewers they are open in. */
  of(path: string): DocumentRegistry.Context[] {
    const { contents } = this._app.serviceManager;
    const found = new Set<DocumentRegistry.Context>();
    for (const widget of this._app.shell.widgets('main')) {
      const context = this._documents.contextForWidget(widget);
      if (context === undefined || contents.driveName(context.path) === this._historyDrive) continue;
      if (contents.localPath(context.path) === path) found.add(context);
    }
    return [...found];
  }

  /** Shows what is on disk. Unsaved edits are lost: ask before. */
  async follow(context: DocumentRegistry.Context): Promise<void> {
    await context.revert();
    if (context.isDisposed) return;
    // JupyterLab leaves a text that had edits marked as edited, though it is again what is on disk.
    context.model.dirty = false;
    // JupyterLab takes over no empty content: a file that is empty now would go on to show what it held.
    const { contents } = this._app.serviceManager;
    const { size } = await contents.get(context.path, { content: false });
    if (size === 0 && !context.isDisposed && !context.model.dirty && context.model.toString() !== '') {
      context.model.fromString('');
      context.model.dirty = false;
    }
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _documents: IDocumentManager;
  private readonly _historyDrive: string;
}

export namespace OpenDocuments {
  export interface IOptions {
    app: JupyterFrontEnd;
    documents: IDocumentManager;
    /** Name of the drive whose documents are versions, which never change. */
    historyDrive: string;
  }
}
