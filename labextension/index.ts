/** The extension's plugins. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:plugin',
  description: 'Shows and restores every version of every file.',
  autoStart: true,
  activate: (_app: JupyterFrontEnd): void => undefined
};

export default [plugin];
