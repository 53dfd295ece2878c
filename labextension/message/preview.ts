/**
 * Shows a file of a message read-only, with what JupyterLab itself shows such files with. A stranger may have written it: nothing of it
 * runs, whatever it says of itself, nothing is fetched from elsewhere, and no kernel is started.
 */
import { EditorView } from '@codemirror/view';
import { CodeEditor, CodeEditorWrapper } from '@jupyterlab/codeeditor';
import type { IEditorServices } from '@jupyterlab/codeeditor';
import type { NotebookPanel } from '@jupyterlab/notebook';
import { NotebookModel, StaticNotebook } from '@jupyterlab/notebook';
import type { INotebookContent } from '@jupyterlab/nbformat';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Panel, Widget } from '@lumino/widgets';

import type { MessageFileDto } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { baseName, printable } from '../history/words';
import { notebook, textOf } from '../preview/drive';
import { imageType, isTooLarge, viewOf } from './file-kind';
import { StillSanitizer } from './still-sanitizer';
import { readTable } from './table-text';

/** Rows and columns of a table that are shown. */
const MOST_ROWS = 500;
const MOST_COLUMNS = 100;
/** Milliseconds after which it is said that something is on its way. */
const SLOW = 150;

/** A file, and where its bytes come from. */
export interface PreviewTarget {
  /** Another key is another content. */
  key: string;
  file: MessageFileDto;
  bytes: (signal: AbortSignal) => Promise<ArrayBuffer>;
}

export class FilePreview extends Panel {
  constructor(options: FilePreview.IOptions) {
    super();
    this._options = options;
    const { rendermime } = options;
    this._rendermime = rendermime.clone({ sanitizer: new StillSanitizer(rendermime.sanitizer) });
    this.addClass('jp-SyftSync-filePreview');
    this.node.setAttribute('role', 'region');
  }

  /** Shows a file, and forgets the one before. */
  set(target: PreviewTarget | undefined): void {
    if (target?.key === this._key) return;
    this._key = target?.key;
    this._abort.abort();
    this._abort = new AbortController();
    if (target === undefined) {
      this._clear();
      return;
    }
    const { trans } = this._options;
    this.node.setAttribute('aria-label', trans.__('Preview of %1', printable(baseName(target.file.path))));
    void this._load(target, this._abort.signal);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._abort.abort();
    this._clear();
    super.dispose();
  }

  private async _load(target: PreviewTarget, signal: AbortSignal): Promise<void> {
    const { trans } = this._options;
    const { file } = target;
    const view = viewOf(file.path);
    if (isTooLarge(view, file.size)) {
      this._fill(remark(trans.__('It is too large to be shown here. It can be downloaded, or accepted.')));
      return;
    }
    if (file.size === 0) {
      this._fill(remark(trans.__('The file is empty.')));
      return;
    }
    const slow = setTimeout(() => this._fill(remark(trans.__('Loading…'), 'status')), SLOW);
    let widget: Widget;
    try {
      const bytes = await target.bytes(signal);
      if (signal.aborted) return;
      widget = await this._render(file.path, bytes);
    } catch (error) {
      if (signal.aborted) return;
      widget = remark(`${trans.__('It cannot be shown.')} ${printable(messageOf(error, trans))}`, 'alert');
      this._key = undefined;
    } finally {
      clearTimeout(slow);
    }
    if (signal.aborted) widget.dispose();
    else this._fill(widget);
  }

  private async _render(path: string, bytes: ArrayBuffer): Promise<Widget> {
    const { trans } = this._options;
    const type = imageType(path);
    if (type !== undefined) return picture(new Blob([bytes], { type }), printable(baseName(path)));
    const text = textOf(bytes);
    if (text === undefined) {
      return remark(
        trans.__('It is not text, and there is no preview for its type. It can be downloaded, or accepted.')
      );
    }
    switch (viewOf(path)) {
      case 'notebook':
        try {
          return this._notebook(notebook(bytes) as unknown as INotebookContent);
        } catch {
          // It is called a notebook and is none: then it is the text that it is.
          return this._text(path, text);
        }
      case 'markdown':
        return this._markdown(text);
      case 'table':
        return this._table(text, path);
      default:
        return this._text(path, text);
    }
  }

  private _notebook(content: INotebookContent): Widget {
    const { contentFactory, services } = this._options;
    const cells = content.cells.map(cell => ({ ...cell, metadata: { ...cell.metadata, editable: false } }));
    const model = new NotebookModel();
    model.fromJSON({ ...content, cells });
    model.readOnly = true;
    const widget = new StaticNotebook({
      rendermime: this._rendermime,
      contentFactory,
      mimeTypeService: services.mimeTypeService,
      notebookConfig: { ...StaticNotebook.defaultNotebookConfig, windowingMode: 'defer' }
    });
    widget.model = model;
    widget.addClass('jp-Notebook');
    widget.disposed.connect(() => model.dispose());
    return widget;
  }

  private async _markdown(text: string): Promise<Widget> {
    const rendermime = this._rendermime;
    const type = 'text/markdown';
    const renderer = rendermime.createRenderer(type);
    await renderer.renderModel(rendermime.createModel({ data: { [type]: text }, trusted: false }));
    renderer.addClass('jp-SyftSync-previewMarkdown');
    renderer.node.tabIndex = 0;
    return renderer;
  }

  private _text(path: string, text: string): Widget {
    const { services } = this._options;
    const model = new CodeEditor.Model({ mimeType: services.mimeTypeService.getMimeTypeByFilePath(path) });
    model.sharedModel.setSource(text);
    const widget = new CodeEditorWrapper({
      model,
      factory: services.factoryService.newDocumentEditor,
      editorOptions: {
        config: { readOnly: true, lineNumbers: true, lineWrap: true },
        extensions: [EditorView.contentAttributes.of({ 'aria-label': printable(baseName(path)) })]
      }
    });
    widget.disposed.connect(() => model.dispose());
    return widget;
  }

  private _table(text: string, path: string): Widget {
    const { trans } = this._options;
    const { rows, more } = readTable(text, /\.tsv$/i.test(path) ? '\t' : ',', MOST_ROWS + 1);
    const columns = rows.reduce((most, row) => Math.max(most, row.length), 0);
    const table = document.createElement('table');
    table.className = 'jp-SyftSync-previewTable';
    for (const [index, row] of rows.entries()) {
      const section = index === 0 ? table.createTHead() : (table.tBodies[0] ?? table.createTBody());
      const line = section.insertRow();
      for (let column = 0; column < Math.min(columns, MOST_COLUMNS); column++) {
        const cell = document.createElement(index === 0 ? 'th' : 'td');
        if (index === 0) cell.setAttribute('scope', 'col');
        cell.textContent = row[column] ?? '';
        line.append(cell);
      }
    }
    const widget = new Widget();
    widget.addClass('jp-SyftSync-previewScroll');
    widget.node.tabIndex = 0;
    widget.node.append(table);
    const left: string[] = [];
    if (more) left.push(trans.__('These are the first %1 rows.', MOST_ROWS));
    if (columns > MOST_COLUMNS) left.push(trans.__('%1 of %2 columns are shown.', MOST_COLUMNS, columns));
    if (left.length > 0) {
      const note = document.createElement('p');
      note.className = 'jp-SyftSync-previewNote';
      note.textContent = left.join(' ');
      widget.node.prepend(note);
    }
    return widget;
  }

  private _fill(widget: Widget): void {
    this._clear();
    this.addWidget(widget);
  }

  private _clear(): void {
    for (const widget of [...this.widgets]) widget.dispose();
  }

  private readonly _options: FilePreview.IOptions;
  private readonly _rendermime: IRenderMimeRegistry;
  private _key: string | undefined;
  private _abort = new AbortController();
}

export namespace FilePreview {
  export interface IOptions {
    rendermime: IRenderMimeRegistry;
    contentFactory: NotebookPanel.IContentFactory;
    services: IEditorServices;
    trans: TranslationBundle;
  }
}

function remark(text: string, role?: 'status' | 'alert'): Widget {
  const widget = new Widget();
  widget.addClass('jp-SyftSync-previewRemark');
  if (role !== undefined) widget.node.setAttribute('role', role);
  widget.node.textContent = text;
  return widget;
}

/** As a picture, not as a document: of an SVG no script runs, and nothing is fetched. */
function picture(blob: Blob, name: string): Widget {
  const url = URL.createObjectURL(blob);
  const widget = new Widget();
  widget.addClass('jp-SyftSync-previewScroll');
  widget.node.tabIndex = 0;
  const image = document.createElement('img');
  image.className = 'jp-SyftSync-previewImage';
  image.alt = name;
  image.src = url;
  widget.node.append(image);
  widget.disposed.connect(() => URL.revokeObjectURL(url));
  return widget;
}
