/** Two texts in CodeMirror, side by side where there is room and below each other where there is not; read-only. */
import { MergeView, getChunks, goToNextChunk, goToPreviousChunk, unifiedMergeView } from '@codemirror/merge';
import { EditorState } from '@codemirror/state';
import type { Extension } from '@codemirror/state';
import { EditorView, lineNumbers } from '@codemirror/view';
import type { IEditorLanguageRegistry, IEditorThemeRegistry } from '@jupyterlab/codemirror';

export interface TextDifferenceOptions {
  parent: HTMLElement;
  mine: string;
  theirs: string;
  wide: boolean;
  /** Names of both sides for screen readers, and what stands where `$` equal lines are folded. */
  labels: { mine: string; theirs: string; folded: string };
  languages: IEditorLanguageRegistry;
  themes: IEditorThemeRegistry;
  /** A language by its name or the name of a file. */
  language: { name?: string | undefined; file?: string };
  /** Lines that are equal are folded but for these around a change; false shows all. */
  fold: boolean;
}

/** Milliseconds that one comparison may take; beyond it is coarser. */
const LONGEST = 500;

export class TextDifference {
  private constructor(
    private readonly _editor: EditorView,
    private readonly _merge: MergeView | undefined
  ) {}

  static async create(options: TextDifferenceOptions): Promise<TextDifference> {
    const { mine, theirs, parent, labels } = options;
    const language = await languageOf(options);
    const extensions = (label: string): Extension => [
      EditorView.editable.of(false),
      EditorState.readOnly.of(true),
      // What cannot be edited can still be reached, read and scrolled by keyboard.
      EditorView.contentAttributes.of({ tabindex: '0', 'aria-label': label, role: 'textbox', 'aria-readonly': 'true' }),
      EditorView.lineWrapping,
      lineNumbers(),
      EditorState.phrases.of({ '$ unchanged lines': labels.folded }),
      options.themes.defaultTheme(),
      language
    ];
    const shared = {
      gutter: true,
      highlightChanges: true,
      diffConfig: { scanLimit: 5000, timeout: LONGEST },
      ...(options.fold && { collapseUnchanged: { margin: 3, minSize: 4 } })
    };
    if (options.wide) {
      const merge = new MergeView({
        parent,
        a: { doc: mine, extensions: extensions(labels.mine) },
        b: { doc: theirs, extensions: extensions(labels.theirs) },
        ...shared
      });
      return new TextDifference(merge.b, merge);
    }
    const editor = new EditorView({
      parent,
      doc: theirs,
      extensions: [
        extensions(labels.theirs),
        unifiedMergeView({ original: mine, mergeControls: false, syntaxHighlightDeletions: true, ...shared })
      ]
    });
    return new TextDifference(editor, undefined);
  }

  /** Stretches of lines that differ. */
  get changes(): number {
    return this._merge?.chunks.length ?? getChunks(this._editor.state)?.chunks.length ?? 0;
  }

  /** Puts the cursor on the next or the one before of what differs, and shows it. */
  step(direction: 'next' | 'previous'): void {
    const command = direction === 'next' ? goToNextChunk : goToPreviousChunk;
    command({ state: this._editor.state, dispatch: transaction => this._editor.dispatch(transaction) });
    const { head } = this._editor.state.selection.main;
    this._editor.dispatch({ effects: EditorView.scrollIntoView(head, { y: 'center' }) });
    this._editor.focus();
  }

  dispose(): void {
    if (this._merge === undefined) this._editor.destroy();
    else this._merge.destroy();
  }
}

async function languageOf(options: TextDifferenceOptions): Promise<Extension> {
  const { languages, language } = options;
  const spec =
    language.name === undefined
      ? language.file === undefined
        ? null
        : languages.findByFileName(language.file)
      : languages.findByName(language.name);
  if (spec === null) return [];
  // Without its highlighting a text can be compared as well.
  const loaded = await languages.getLanguage(spec).catch(() => null);
  return loaded?.support ?? [];
}
