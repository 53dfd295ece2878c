/** The status bar's item. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { StatusItem } from '../status/status-item';
import { ISyftSync } from '../tokens';

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:status',
  description: 'Says in the status bar whether files are being recorded.',
  autoStart: true,
  requires: [ISyftSync],
  optional: [IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ): void => {
    if (statusBar === null) return;
    const item = new StatusItem({
      connection: syft.connection,
      trans: (translator ?? nullTranslator).load('syft_sync'),
      onClick: () => void app.commands.execute(CommandIDs.openPanel)
    });
    statusBar.registerStatusItem('syft-sync-jupyterlab:status', { item, align: 'left', rank: 50 });
  }
};
