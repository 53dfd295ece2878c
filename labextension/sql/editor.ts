/** The query's editor: JupyterLab's own, with completion, the keys that run, and the place of an error. */
import { acceptCompletion, autocompletion, completionStatus } from '@codemirror/autocomplete';
import type { CompletionSource } from '@codemirror/autocomplete';
import { Prec, StateEffect, StateField } from '@codemirror/state';
import { Decoration, EditorView, keymap, tooltips } from '@codemirror/view';
import type { DecorationSet } from '@codemirror/view';
import { CodeEditor } from '@jupyterlab/codeeditor';
import type { IEditorServices } from '@jupyterlab/codeeditor';
import type { CodeMirrorEditor } from '@jupyterlab/codemirror';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { TextPosition } from '../client/errors';
import type { SqlModel } from './model';

interface Fault {
  readonly offset: number;
  readonly message: string;
}

const setFault = StateEffect.define<Fault | undefined>();

/** What is underlined; gone as soon as something is edited. */
const faults = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = transaction.docChanged ? Decoration.none : marks;
    for (const effect of transaction.effects) {
      if (!effect.is(setFault)) continue;
      next = effect.value === undefined ? Decoration.none : mark(transaction.state.doc.toString(), effect.value);
    }
    return next;
  },
  provide: field => EditorView.decorations.from(field)
});

function mark(text: string, { offset, message }: Fault): DecorationSet {
  if (text === '') return Decoration.none;
  // At the end of the text it is the last sign that is marked.
  const from = Math.max(0, Math.min(offset, text.length - 1));
  const word = /^(?:\w+|[^\w\s]+)/.exec(text.slice(from))?.[0] ?? ' ';
  const attributes = { title: message };
  return Decoration.set(Decoration.mark({ class: 'jp-SyftSync-sqlFault', attributes }).range(from, from + word.length));
}

export class QueryEditor extends Widget {
  constructor(options: QueryEditor.IOptions) {
    super();
    this._model = options.model;
    this.addClass('jp-SyftSync-sqlEditor');
    const { trans } = options;
    const run = (): boolean => {
      options.run();
      return true;
    };
    this._text = new CodeEditor.Model({ mimeType: 'text/x-sql' });
    this._text.sharedModel.setSource(this._model.query);
    this._editor = options.services.factoryService.newInlineEditor({
      host: this.node,
      model: this._text,
      config: { lineNumbers: true, lineWrap: true, autoClosingBrackets: true, matchBrackets: true },
      extensions: [
        faults,
        autocompletion({
          override: [options.completions],
          icons: false,
          tooltipClass: () => 'jp-SyftSync-sqlOptions'
        }),
        // In the tab it would be cut where the editor ends.
        tooltips({ parent: document.body }),
        EditorView.contentAttributes.of({
          'aria-label': trans.__('Query in SQL. Shift+Enter runs it, Escape leaves the editor.')
        }),
        Prec.highest(
          keymap.of([
            { key: 'Shift-Enter', run },
            { key: 'Mod-Enter', run },
            { key: 'Tab', run: acceptCompletion },
            {
              key: 'Escape',
              run: view => {
                // The first closes what is open.
                if (completionStatus(view.state) !== null) return false;
                options.leave();
                return true;
              }
            }
          ])
        )
      ]
    }) as CodeMirrorEditor;
    this._text.sharedModel.changed.connect(this._onText, this);
    this._model.queryChanged.connect(this._onQuery, this);
  }

  /** Puts a text where the cursor is, in the place of what is selected. */
  insert(text: string): void {
    const view = this._editor.editor;
    const before = view.state.sliceDoc(view.state.selection.main.from - 1, view.state.selection.main.from);
    view.dispatch(view.state.replaceSelection(/[\w)]/.test(before) ? ` ${text}` : text));
    view.focus();
  }

  /** Underlines a place and moves the cursor there; without one nothing is underlined. */
  showFault(position: TextPosition | undefined, message = ''): void {
    const view = this._editor.editor;
    if (position === undefined) {
      view.dispatch({ effects: setFault.of(undefined) });
      return;
    }
    const anchor = Math.min(position.offset, view.state.doc.length);
    view.dispatch({
      effects: setFault.of({ offset: position.offset, message }),
      selection: { anchor },
      scrollIntoView: true
    });
  }

  focus(): void {
    this._editor.focus();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._model.queryChanged.disconnect(this._onQuery, this);
    this._text.sharedModel.changed.disconnect(this._onText, this);
    this._editor.dispose();
    this._text.dispose();
    super.dispose();
  }

  protected override onActivateRequest(_message: Message): void {
    this.focus();
  }

  private _onText(): void {
    this._model.query = this._text.sharedModel.getSource();
  }

  private _onQuery(): void {
    if (this._text.sharedModel.getSource() === this._model.query) return;
    this._text.sharedModel.setSource(this._model.query);
  }

  private readonly _model: SqlModel;
  private readonly _text: CodeEditor.Model;
  private readonly _editor: CodeMirrorEditor;
}

export namespace QueryEditor {
  export interface IOptions {
    model: SqlModel;
    services: IEditorServices;
    completions: CompletionSource;
    trans: TranslationBundle;
    run(): void;
    /** The focus goes on to what is below. */
    leave(): void;
  }
}
