/** A dialog whose body has buttons and fields of its own: Enter is theirs while they have the focus. */
import { Dialog } from '@jupyterlab/apputils';

/**
 * JupyterLab's dialog takes every Enter as its own: in a field it would accept, also what is not valid yet, and a button of the
 * body would do nothing.
 */
export class BodyDialog<T> extends Dialog<T> {
  override handleEvent(event: Event): void {
    if (event instanceof KeyboardEvent && event.type === 'keydown' && event.key === 'Enter') {
      const body = this.node.querySelector('.jp-Dialog-body');
      if (body?.contains(document.activeElement) === true) return;
    }
    super.handleEvent(event);
  }
}
