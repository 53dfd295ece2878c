/**
 * What JupyterLab's document manager holds of an open `.syft` file: its name and nothing of its content, which may be a gigabyte and is
 * looked at by the sidecar, not by the browser.
 */
import { DocumentModel } from '@jupyterlab/docregistry';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Contents } from '@jupyterlab/services';

export class MessageModelFactory implements DocumentRegistry.IModelFactory<DocumentRegistry.IModel> {
  static readonly modelName = 'syft-message';

  readonly name = MessageModelFactory.modelName;
  readonly contentType: Contents.ContentType = 'file';
  /** None: JupyterLab then asks its server for no content. */
  readonly fileFormat: Contents.FileFormat = null;
  readonly collaborative = false;

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
  }

  createNew(): DocumentRegistry.IModel {
    // As of a document that others save: JupyterLab would else copy the whole file into a checkpoint when it is opened.
    const model = new DocumentModel({ collaborationEnabled: true });
    model.readOnly = true;
    return model;
  }

  preferredLanguage(_path: string): string {
    return '';
  }

  private _isDisposed = false;
}
