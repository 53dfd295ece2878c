/** The SQL tab and its commands. What it needs is loaded with the first tab. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette, IThemeManager, Notification, WidgetTracker } from '@jupyterlab/apputils';
import { IEditorServices } from '@jupyterlab/codeeditor';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { UUID } from '@lumino/coreutils';
import { Debouncer } from '@lumino/polling';

import { messageOf } from '../client/errors';
import { CommandIDs } from '../commands';
import { printable } from '../history/words';
import { sqlIcon } from '../icons';
import { QueryStore } from '../sql/query-store';
import type { ExportFormat } from '../sql/save-result';
import type { SqlTab } from '../sql/tab';
import { ISyftSync } from '../tokens';

const PLUGIN_ID = 'syft-sync-jupyterlab:sql';
const FORMATS: readonly ExportFormat[] = ['csv', 'parquet', 'arrow', 'json'];
/** Milliseconds after the last edit at which the layout learns of it. */
const SETTLED = 1000;
/** Behind the terminal and before the plain files of JupyterLab, which have 1 and 2 upwards. */
const LAUNCHER_RANK = 1.5;

export const sqlPlugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'SQL over the change log, in a tab.',
  autoStart: true,
  requires: [ISyftSync, IEditorServices, IRenderMimeRegistry],
  optional: [ILayoutRestorer, ISettingRegistry, IStateDB, IThemeManager, ICommandPalette, ILauncher, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    services: IEditorServices,
    rendermime: IRenderMimeRegistry,
    layout: ILayoutRestorer | null,
    registry: ISettingRegistry | null,
    state: IStateDB | null,
    themes: IThemeManager | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { commands } = app;
    const { client, connection } = syft;
    let settings: ISettingRegistry.ISettings | undefined;
    const loading = registry?.load(PLUGIN_ID).then(
      loaded => {
        settings = loaded;
      },
      error => console.warn('Syft Sync: the settings of SQL could not be loaded.', error)
    );
    const store = new QueryStore({ settings: () => settings, state });
    const tracker = new WidgetTracker<SqlTab>({ namespace: 'syft-sync-sql' });
    const settle = new Debouncer((tab: SqlTab) => {
      if (!tab.isDisposed && tracker.has(tab)) void tracker.save(tab);
    }, SETTLED);
    themes?.themeChanged.connect(() => {
      // The sheet of the new theme is in place by the next frame.
      requestAnimationFrame(() => tracker.forEach(tab => tab.restyle()));
    });

    const report = (error: unknown): void => {
      Notification.error(printable(messageOf(error, trans)), { autoClose: false });
    };
    const make = async (args: { id?: string; query?: string; maxRows?: number }): Promise<SqlTab> => {
      const [{ SqlTab: Tab }] = await Promise.all([import('../sql/tab'), loading]);
      const maxRows = args.maxRows ?? (settings?.get('maxRows').composite as number | undefined);
      return new Tab({
        id: args.id ?? `syft-sync-sql-${UUID.uuid4()}`,
        client,
        connection,
        services,
        rendermime,
        store,
        trans,
        ...(args.query !== undefined && { query: args.query }),
        ...(maxRows !== undefined && { maxRows }),
        actions: {
          restartProcess: () => client.restartProcess(),
          resume: async () => connection.accept(await client.resume()),
          capture: () => client.capture(),
          setup: async folders => connection.accept(await client.setup(folders))
        },
        open: (lead, value) => {
          const opened =
            lead === 'path'
              ? commands.execute(CommandIDs.showHistory, { path: value, isFolder: false })
              : commands.execute(CommandIDs.previewVersion, { versionId: value, pin: true });
          opened.catch(report);
        },
        changed: tab => void settle.invoke(tab)
      });
    };

    commands.addCommand(CommandIDs.openSql, {
      label: args => (args['isLauncher'] === true ? trans.__('SQL') : trans.__('Open log as SQL')),
      caption: trans.__('Ask the history of the workspace in SQL, and every past version of its data'),
      icon: sqlIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            query: { type: 'string', description: trans.__('The query; an empty tab when it is not given') },
            run: { type: 'boolean', description: trans.__('Runs the query at once') },
            maxRows: { type: 'integer', description: trans.__('Rows at most') },
            isLauncher: { type: 'boolean', description: trans.__('It is chosen in the launcher, by its short name') },
            id: { type: 'string', description: trans.__('Id of a tab that is restored') }
          }
        }
      },
      execute: async args => {
        const given = args as { id?: string; query?: string; maxRows?: number; run?: boolean };
        let tab = given.query === undefined ? tracker.find(it => it.model.query.trim() === '') : undefined;
        if (tab === undefined) {
          tab = await make(given);
          app.shell.add(tab, 'main');
          await tracker.add(tab);
        }
        if (given.id === undefined) app.shell.activateById(tab.id);
        if (given.run === true) await tab.run();
        // The launcher puts the tab into its own place.
        return tab;
      }
    });
    const nothing = { args: { type: 'object', properties: {} } } as const;
    const current = (): SqlTab | null => tracker.currentWidget;
    commands.addCommand(CommandIDs.runSql, {
      label: trans.__('Run the query'),
      describedBy: nothing,
      isEnabled: () => current() !== null,
      execute: () => current()?.run()
    });
    commands.addCommand(CommandIDs.stopSql, {
      label: trans.__('Stop the query'),
      describedBy: nothing,
      isEnabled: () => current()?.model.state.kind === 'running',
      execute: () => current()?.model.cancel()
    });
    commands.addCommand(CommandIDs.saveSql, {
      label: trans.__('Save the query…'),
      describedBy: {
        args: {
          type: 'object',
          properties: { name: { type: 'string', description: trans.__('Its name; asked for when it is not given') } }
        }
      },
      isEnabled: () => current() !== null,
      execute: args =>
        current()
          ?.save(args['name'] as string | undefined)
          .catch(report)
    });
    commands.addCommand(CommandIDs.exportSql, {
      label: args => trans.__('Export the result as %1', String(args['format'] ?? 'csv').toUpperCase()),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            format: {
              type: 'string',
              enum: [...FORMATS],
              description: trans.__('Format of the file; CSV if not given')
            }
          }
        }
      },
      isEnabled: () => {
        const model = current()?.model;
        return model?.ran !== undefined && model.state.kind !== 'running';
      },
      execute: args => {
        const format = (args['format'] ?? 'csv') as ExportFormat;
        if (!FORMATS.includes(format)) throw new Error(`${String(format)} is not one of ${FORMATS.join(', ')}`);
        return current()?.export(format);
      }
    });
    commands.addCommand(CommandIDs.copySqlCell, {
      label: trans.__('Copy the query as notebook cell'),
      describedBy: nothing,
      isEnabled: () => current() !== null,
      execute: () => current()?.copyCell()
    });
    tracker.currentChanged.connect(() => commands.notifyCommandChanged());

    const category = trans.__('Syft Sync');
    for (const command of [
      CommandIDs.openSql,
      CommandIDs.runSql,
      CommandIDs.stopSql,
      CommandIDs.saveSql,
      CommandIDs.copySqlCell
    ]) {
      palette?.addItem({ command, category });
    }
    launcher?.add({
      command: CommandIDs.openSql,
      args: { isLauncher: true },
      // The section that JupyterLab itself names so, in every language.
      category: (translator ?? nullTranslator).load('jupyterlab').__('Other'),
      rank: LAUNCHER_RANK
    });
    for (const format of FORMATS) palette?.addItem({ command: CommandIDs.exportSql, category, args: { format } });

    void layout?.restore(tracker, {
      command: CommandIDs.openSql,
      args: tab => ({ id: tab.id, query: tab.model.query, maxRows: tab.model.maxRows }),
      name: tab => tab.id
    });
  }
};
