/** The connection to the sidecar, for all other plugins. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { SyftClient } from '../client/client';
import { Connection } from '../client/connection';
import { ISyftSync } from '../tokens';

export const connectionPlugin: JupyterFrontEndPlugin<ISyftSync> = {
  id: 'syft-sync-jupyterlab:connection',
  description: 'Connects to the Syft Sync sidecar and follows what it records.',
  autoStart: true,
  provides: ISyftSync,
  activate: (app: JupyterFrontEnd): ISyftSync => {
    const client = new SyftClient({ serverSettings: app.serviceManager.serverSettings });
    return { client, connection: new Connection({ client }) };
  }
};
