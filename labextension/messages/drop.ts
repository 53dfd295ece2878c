/**
 * What is dragged onto the panel: from JupyterLab's file browser a `.syft` file is taken into the inbox and anything else is
 * shared; from the computer `.syft` files are taken in.
 */
import type { MimeData } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';

/** What JupyterLab's file browser drags: paths, with their drive. */
const CONTENTS_MIME = 'application/x-jupyter-icontents';

/** The event of Lumino's own dragging, as far as it is needed here. */
interface LuminoDragEvent extends MouseEvent {
  dropAction: string;
  readonly proposedAction: string;
  readonly mimeData: MimeData;
}

export function isArchive(name: string): boolean {
  return /\.syft$/i.test(name);
}

/** What a drop will do, which is said while it is still in the air. */
export type DropPlan = 'receive' | 'share' | 'both';

export class MessageDrop implements IDisposable {
  /** @param options.target - what a drop is taken by; gets the attribute `data-drop` with the {@link DropPlan} while it can be */
  constructor(private readonly _options: MessageDrop.IOptions) {
    const { target } = _options;
    for (const name of EVENTS) target.addEventListener(name, this, true);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) return;
    this._isDisposed = true;
    for (const name of EVENTS) this._options.target.removeEventListener(name, this, true);
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case 'lm-dragenter':
      case 'lm-dragover':
      case 'lm-drop':
        this._fromBrowser(event as LuminoDragEvent);
        break;
      case 'dragenter':
      case 'dragover':
      case 'drop':
        this._fromComputer(event as DragEvent);
        break;
      case 'lm-dragleave':
      case 'dragleave': {
        const to = (event as MouseEvent).relatedTarget;
        if (!(to instanceof Node) || !this._options.target.contains(to)) this._show(undefined);
        break;
      }
    }
  }

  private _fromBrowser(event: LuminoDragEvent): void {
    if (!event.mimeData.hasData(CONTENTS_MIME) || !this._options.enabled()) return;
    const paths = event.mimeData.getData(CONTENTS_MIME) as string[];
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== 'lm-drop') {
      const archives = paths.filter(isArchive).length;
      this._show(archives === 0 ? 'share' : archives === paths.length ? 'receive' : 'both');
      event.dropAction = event.proposedAction;
      return;
    }
    this._show(undefined);
    event.dropAction = event.proposedAction;
    this._options.onPaths(paths);
  }

  private _fromComputer(event: DragEvent): void {
    const transfer = event.dataTransfer;
    if (transfer === null || !transfer.types.includes('Files') || !this._options.enabled()) return;
    // Else the browser would leave JupyterLab and open the file.
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== 'drop') {
      this._show('receive');
      transfer.dropEffect = 'copy';
      return;
    }
    this._show(undefined);
    this._options.onFiles([...transfer.files]);
  }

  private _show(plan: DropPlan | undefined): void {
    const { target, onPlan } = this._options;
    if (plan === this._plan) return;
    this._plan = plan;
    if (plan === undefined) delete target.dataset['drop'];
    else target.dataset['drop'] = plan;
    onPlan(plan);
  }

  private _plan: DropPlan | undefined;
  private _isDisposed = false;
}

const EVENTS = [
  'lm-dragenter',
  'lm-dragover',
  'lm-dragleave',
  'lm-drop',
  'dragenter',
  'dragover',
  'dragleave',
  'drop'
] as const;

export namespace MessageDrop {
  export interface IOptions {
    target: HTMLElement;
    /** False while nothing can be taken in. */
    enabled: () => boolean;
    /** What a drop would do; undefined when nothing is dragged over it. */
    onPlan: (plan: DropPlan | undefined) => void;
    /** @param paths - of the file browser, drive included */
    onPaths: (paths: readonly string[]) => void;
    onFiles: (files: readonly File[]) => void;
  }
}
