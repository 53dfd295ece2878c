/** Sharing versions of files as a `.syft` file: from the file browser, from the history, as a reply. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { ChangeRow } from '../../server/src/api/contract';
import { CommandIDs } from '../commands';
import { hasContent } from '../history/words';
import { historyIcon } from '../icons';
import { canWrite } from '../messages/section';
import type { Given } from '../share/form';
import type { Sharer } from '../share/sharer';
import { IHistoryPanel, ISyftSync } from '../tokens';

export const sharePlugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:share',
  description: 'Shares versions of files and folders as signed .syft files.',
  autoStart: true,
  requires: [ISyftSync, IHistoryPanel, IDocumentManager],
  optional: [IFileBrowserFactory, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    panel: IHistoryPanel,
    documents: IDocumentManager,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { commands } = app;
    const { client, connection } = syft;
    const { contents } = app.serviceManager;
    const options: Sharer.IOptions = {
      client,
      contents,
      documents,
      recording: () => connection.status?.state === 'recording',
      openMessage: () =>
        commands.hasCommand(CommandIDs.openMessage)
          ? path => void commands.execute(CommandIDs.openMessage, { path })
          : undefined,
      translator: translator ?? undefined,
      trans
    };
    let loaded: Promise<Sharer> | undefined;
    const sharer = (): Promise<Sharer> =>
      (loaded ??= import('../share/sharer').then(({ Sharer: Made }) => new Made(options)));
    const selectedPaths = (): string[] =>
      [...(browsers?.tracker.currentWidget?.selectedItems() ?? [])].map(({ path }) => contents.localPath(path));
    const list = (description: string): { type: 'array'; items: { type: 'string' }; description: string } => ({
      type: 'array',
      items: { type: 'string' },
      description
    });

    commands.addCommand(CommandIDs.share, {
      label: trans.__('Share as .syft…'),
      caption: trans.__('Make a signed file of versions, for others to verify and accept'),
      icon: historyIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            paths: list(
              trans.__(
                'Files and folders of the workspace; those selected in the file browser when neither paths, versions nor replyTo are given'
              )
            ),
            versions: list(trans.__('Ids of versions')),
            recipients: list(trans.__('Names of contacts, or age keys')),
            replyTo: { type: 'string', description: trans.__('Id of the message that it answers') }
          }
        }
      },
      isEnabled: () => canWrite(connection),
      execute: async args => {
        const given = args as Given;
        const nothing = given.paths === undefined && given.versions === undefined && given.replyTo === undefined;
        await (await sharer()).share(nothing ? { ...given, paths: selectedPaths() } : given);
      }
    });
    commands.addCommand(CommandIDs.shareVersion, {
      label: trans.__('Share as .syft…'),
      caption: trans.__('Make a signed file of this version, for others to verify and accept'),
      icon: historyIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            versionId: {
              type: 'string',
              description: trans.__('The version; the one selected in the panel when it is not given')
            }
          }
        }
      },
      isEnabled: args =>
        canWrite(connection) &&
        (typeof args['versionId'] === 'string' || versionToShare(panel.model.selected) !== undefined),
      execute: async args => {
        const { versionId } = args;
        const version = typeof versionId === 'string' ? versionId : versionToShare(panel.model.selected);
        if (version !== undefined) await (await sharer()).share({ versions: [version] });
      }
    });
    connection.stateChanged.connect(() => {
      commands.notifyCommandChanged(CommandIDs.share);
      commands.notifyCommandChanged(CommandIDs.shareVersion);
    });
    palette?.addItem({ command: CommandIDs.share, category: trans.__('Syft Sync') });
  }
};

/** The version that a row stands for; of a deletion what was there before. */
function versionToShare(row: ChangeRow | undefined): string | undefined {
  if (row === undefined) return undefined;
  if (row.kind === 'deleted') return row.previousVersionId;
  return hasContent(row) ? row.versionId : undefined;
}
