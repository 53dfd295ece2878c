/** Messages in outputs of notebooks, as `syft_sync.message` of Python puts them out. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { messageOf } from '../client/errors';
import { CommandIDs } from '../commands';
import { printable } from '../history/words';
import { MESSAGE_MIME_TYPE } from '../message-output/claims';
// eslint-disable-next-line jupyter/prefer-lazy-imports -- a factory has its renderer at once
import { MessageRenderer } from '../message-output/renderer';

/** Before HTML, which is for where this extension is not. */
const RANK = 40;

export const messageOutputPlugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:message-output',
  description: 'Shows SyftMessages in outputs of notebooks, as what the notebook says of them.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { commands } = app;
    const open = (where: { path: string } | { id: string }): void => {
      commands.execute(CommandIDs.openMessage, where).catch((error: unknown) => {
        Notification.error(printable(messageOf(error, trans)), { autoClose: false });
      });
    };
    rendermime.addFactory(
      {
        // It runs and loads nothing of what it is given: it is shown in notebooks that are not trusted, too.
        safe: true,
        mimeTypes: [MESSAGE_MIME_TYPE],
        createRenderer: () =>
          new MessageRenderer({ open: () => (commands.hasCommand(CommandIDs.openMessage) ? open : undefined), trans })
      },
      RANK
    );
  }
};
