/** Asks what is to become of unsaved edits before a file is replaced below the document that holds them. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { SyftClient } from '../client/client';
import { baseName, printable } from '../history/words';

/**
 * @param contexts - the documents that are open on what will be replaced
 * @param options.discard - the button that lets the edits go
 * @param options.save - the button that saves them first
 * @returns false when the user wants none of it, and nothing was done
 */
export async function settleUnsaved(
  contexts: readonly DocumentRegistry.Context[],
  options: { client: SyftClient; trans: TranslationBundle; discard: string; save: string }
): Promise<boolean> {
  const dirty = contexts.filter(context => context.model.dirty);
  const [first] = dirty;
  if (first === undefined) return true;
  const { trans } = options;
  const { button } = await showDialog({
    title:
      dirty.length === 1
        ? trans.__('%1 has unsaved edits', printable(baseName(first.path)))
        : trans.__('%1 files have unsaved edits', dirty.length),
    body: trans.__(
      'Save them first, and they stay a version of their own that can be restored. Discarded edits are gone.'
    ),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: options.discard, actions: ['discard'] }),
      Dialog.okButton({ label: options.save, actions: ['save'] })
    ],
    defaultButton: 2
  });
  if (!button.accept) return false;
  if (button.actions.includes('save')) {
    for (const context of dirty) await context.save();
    // So that the saved state is a version of its own before anything is put in its place.
    await options.client.flush();
  }
  return true;
}
