/** The side panel, and the commands that belong to it. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILabShell, ILayoutRestorer } from '@jupyterlab/application';
import { Clipboard, ICommandPalette, InputDialog, Notification } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { IDefaultFileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Menu } from '@lumino/widgets';
import type { Widget } from '@lumino/widgets';

import type { ChangeRow, MarkRequest } from '../../server/src/api/contract';
import type { Connection } from '../client/connection';
import { messageOf } from '../client/errors';
import { CommandIDs } from '../commands';
import { lookable } from '../history/list';
import { SyftPanel } from '../history/panel';
import type { PanelActions } from '../history/panel';
import { PanelModel } from '../history/panel-model';
import { printable } from '../history/words';
import { historyIcon, pinIcon, restoreIcon } from '../icons';
import { HistoryDrive } from '../preview/drive';
import { IHistoryPanel, ISyftSync, IVersionRestorer, IVersionViewer } from '../tokens';

const PLUGIN_ID = 'syft-sync-jupyterlab:history';
const RANK = 600;

export const historyPlugin: JupyterFrontEndPlugin<IHistoryPanel> = {
  id: PLUGIN_ID,
  description: 'Shows the history of files and of the workspace in the side bar.',
  autoStart: true,
  requires: [ISyftSync, IVersionViewer, IVersionRestorer, IDocumentManager],
  optional: [
    ILabShell,
    ILayoutRestorer,
    IFileBrowserFactory,
    IDefaultFileBrowser,
    ISettingRegistry,
    ICommandPalette,
    ITranslator
  ],
  provides: IHistoryPanel,
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    viewer: IVersionViewer,
    restorer: IVersionRestorer,
    documents: IDocumentManager,
    labShell: ILabShell | null,
    layout: ILayoutRestorer | null,
    browsers: IFileBrowserFactory | null,
    browser: IDefaultFileBrowser | null,
    settings: ISettingRegistry | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ): IHistoryPanel => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { client, connection } = syft;
    const model = new PanelModel({ connection });

    const actions: PanelActions = {
      preview: (row, pin) =>
        void viewer
          .preview(row, pin)
          .catch(error => report(trans.__('The version cannot be shown.'), messageOf(error, trans))),
      restore: row => void restorer.restore(row),
      leave: () => {
        const { currentWidget } = app.shell;
        if (currentWidget !== null) app.shell.activateById(currentWidget.id);
      },
      openMenu: (x, y) => openMenu(app, connection, x, y),
      restartProcess: () => client.restartProcess(),
      resume: async () => connection.accept(await client.resume()),
      capture: () => client.capture(),
      setup: async folders => connection.accept(await client.setup(folders))
    };
    const panel = new SyftPanel({ model, actions, trans });
    app.shell.add(panel, 'left', { rank: RANK, type: 'Syft Sync' });
    layout?.add(panel, panel.id);

    const follow = new Follower(app, documents, model);
    labShell?.currentChanged.connect((_sender, { newValue }) => follow.onCurrent(newValue));
    void app.restored.then(() => follow.onCurrent(app.shell.currentWidget));
    browser?.selectionChanged?.connect(() => {
      const [item, second] = browser.selectedItems();
      if (item !== undefined && second === undefined && item.type !== 'directory') follow.onSelected(item.path);
    });

    if (settings !== null) {
      const apply = (loaded: ISettingRegistry.ISettings): void => {
        follow.enabled = loaded.get('followActiveTab').composite as boolean;
        model.foldBursts = loaded.get('foldBursts').composite as boolean;
      };
      void settings.load(PLUGIN_ID).then(loaded => {
        apply(loaded);
        loaded.changed.connect(apply);
      });
    }

    addCommands(app, { syft, viewer, restorer, documents, browsers, model, panel, actions, trans });
    const category = trans.__('Syft Sync');
    for (const command of [
      CommandIDs.openPanel,
      CommandIDs.showHistory,
      CommandIDs.recoverDeleted,
      CommandIDs.captureNow,
      CommandIDs.pauseRecording,
      CommandIDs.resumeRecording,
      CommandIDs.restartSidecar
    ]) {
      palette?.addItem({ command, category });
    }
    return {
      model,
      node: panel.node,
      addSection: section => panel.addSection(section),
      showSection: section => {
        app.shell.activateById(panel.id);
        panel.showSection(section);
      }
    };
  }
};

/** Lets the panel show the history of what the user works on. */
class Follower {
  constructor(app: JupyterFrontEnd, documents: IDocumentManager, model: PanelModel) {
    this._app = app;
    this._documents = documents;
    this._model = model;
    model.changed.connect(this._onTarget, this);
  }

  enabled = true;

  onCurrent(widget: Widget | null): void {
    if (widget === null) return;
    const context = this._documents.contextForWidget(widget);
    if (context === undefined) return;
    const { contents } = this._app.serviceManager;
    // A version's own tab is about the file that the panel shows already.
    if (contents.driveName(context.path) === HistoryDrive.driveName) return;
    if (this.enabled) this._model.show({ path: contents.localPath(context.path), isFolder: false });
    this._watch();
  }

  onSelected(path: string): void {
    if (!this.enabled) return;
    this._model.show({ path: this._app.serviceManager.contents.localPath(path), isFolder: false });
  }

  private _onTarget(): void {
    if (this._model.target?.path !== this._path) this._watch();
  }

  /** Unsaved edits are those of the document that is open on the panel's file. */
  private _watch(): void {
    const path = this._model.target?.path;
    this._path = path;
    const context = path === undefined ? undefined : this._contextOf(path);
    if (context !== this._context) {
      if (this._context !== undefined && !this._context.isDisposed) {
        this._context.model.stateChanged.disconnect(this._onState, this);
      }
      this._context = context;
      context?.model.stateChanged.connect(this._onState, this);
      context?.disposed.connect(this._watch, this);
    }
    this._onState();
  }

  private _onState(): void {
    const context = this._context;
    this._model.unsaved = context !== undefined && !context.isDisposed && context.model.dirty;
  }

  private _contextOf(path: string): DocumentRegistry.Context | undefined {
    const { contents } = this._app.serviceManager;
    for (const widget of this._app.shell.widgets('main')) {
      const context = this._documents.contextForWidget(widget);
      if (context === undefined || contents.driveName(context.path) === HistoryDrive.driveName) continue;
      if (contents.localPath(context.path) === path) return context;
    }
    return undefined;
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _documents: IDocumentManager;
  private readonly _model: PanelModel;
  private _path: string | undefined;
  private _context: DocumentRegistry.Context | undefined;
}

function report(what: string, why: string): void {
  Notification.error(`${what} ${printable(why)}`, { autoClose: false });
}

/** The menu of the panel, made anew each time: what it offers depends on what goes on. */
function openMenu(app: JupyterFrontEnd, connection: Connection, x: number, y: number): void {
  const { commands } = app;
  const menu = new Menu({ commands });
  const recording = connection.status?.state === 'recording';
  menu.addItem({ command: recording ? CommandIDs.pauseRecording : CommandIDs.resumeRecording });
  menu.addItem({ command: CommandIDs.captureNow });
  menu.addItem({ command: CommandIDs.recoverDeleted });
  // A plugin of its own, which may be switched off.
  if (commands.hasCommand(CommandIDs.openSql)) menu.addItem({ command: CommandIDs.openSql });
  if (commands.hasCommand('settingeditor:open')) {
    menu.addItem({ type: 'separator' });
    menu.addItem({ command: 'settingeditor:open', args: { query: 'Syft Sync' } });
  }
  // What is chosen runs after the menu has closed.
  menu.aboutToClose.connect(() => requestAnimationFrame(() => menu.dispose()));
  menu.open(x, y);
}

interface Parts {
  syft: ISyftSync;
  viewer: IVersionViewer;
  restorer: IVersionRestorer;
  documents: IDocumentManager;
  browsers: IFileBrowserFactory | null;
  model: PanelModel;
  panel: SyftPanel;
  actions: PanelActions;
  trans: TranslationBundle;
}

function addCommands(app: JupyterFrontEnd, parts: Parts): void {
  const { commands } = app;
  const { syft, viewer, restorer, documents, browsers, model, panel, actions, trans } = parts;
  const { client, connection } = syft;

  const nothing = { args: { type: 'object', properties: {} } } as const;
  const ofVersion = {
    args: {
      type: 'object',
      properties: {
        versionId: {
          type: 'string',
          description: trans.__('The version; the one selected in the panel when it is not given')
        }
      }
    }
  } as const;
  const rowOf = async (args: ReadonlyPartialJSONObject): Promise<ChangeRow | undefined> => {
    const { versionId } = args;
    if (typeof versionId !== 'string' || versionId === model.selected?.versionId) return model.selected;
    return client.version(versionId);
  };
  const canLook = (args: ReadonlyPartialJSONObject): boolean =>
    typeof args['versionId'] === 'string' || (model.selected !== undefined && lookable(model.selected));
  const canMark = (args: ReadonlyPartialJSONObject): boolean =>
    canAsk() && (typeof args['versionId'] === 'string' || model.selected !== undefined);
  const mark = async (request: MarkRequest): Promise<void> => {
    try {
      await client.mark(request);
    } catch (error) {
      report(trans.__('The version could not be marked.'), messageOf(error, trans));
    }
  };
  const canAsk = (): boolean => connection.state.kind === 'connected' && connection.status !== undefined;

  commands.addCommand(CommandIDs.openPanel, {
    label: trans.__('Show Syft Sync'),
    caption: trans.__('Show the history of files and of the workspace'),
    icon: historyIcon,
    describedBy: nothing,
    execute: () => app.shell.activateById(panel.id)
  });
  commands.addCommand(CommandIDs.showHistory, {
    label: trans.__('Show history'),
    caption: trans.__('Show the versions of this file, or what changed in this folder'),
    icon: historyIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          path: {
            type: 'string',
            description: trans.__('Path in the workspace; what is selected in the file browser when it is not given')
          },
          isFolder: { type: 'boolean', description: trans.__('The path is a folder') }
        }
      }
    },
    execute: args => {
      let { path, isFolder } = args as { path?: string; isFolder?: boolean };
      if (path === undefined) {
        const item = browsers?.tracker.currentWidget?.selectedItems().next().value;
        if (item !== undefined) {
          path = app.serviceManager.contents.localPath(item.path);
          isFolder = item.type === 'directory';
        }
      }
      if (path !== undefined) model.show({ path, isFolder: isFolder === true }, true);
      app.shell.activateById(panel.id);
      panel.showFile();
    }
  });
  commands.addCommand(CommandIDs.recoverDeleted, {
    label: trans.__('Recover deleted files…'),
    caption: trans.__('List the files that are gone, to look at them and to restore them'),
    icon: restoreIcon,
    describedBy: nothing,
    execute: () => {
      app.shell.activateById(panel.id);
      panel.showDeleted();
    }
  });
  commands.addCommand(CommandIDs.focusFilter, {
    label: trans.__('Filter the lists of Syft Sync'),
    describedBy: nothing,
    execute: () => panel.focusFilter()
  });

  commands.addCommand(CommandIDs.previewVersion, {
    label: trans.__('Preview'),
    icon: historyIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...ofVersion.args.properties,
          pin: { type: 'boolean', description: trans.__('Keeps the tab and focuses it') }
        }
      }
    },
    isEnabled: canLook,
    execute: async args => {
      const row = await rowOf(args);
      if (row !== undefined) await viewer.preview(row, args['pin'] === true);
    }
  });
  commands.addCommand(CommandIDs.restoreVersion, {
    label: trans.__('Restore'),
    caption: trans.__('Put this version back; what is there now stays a version'),
    icon: restoreIcon,
    describedBy: ofVersion,
    isEnabled: args => canAsk() && canLook(args),
    execute: async args => {
      const row = await rowOf(args);
      if (row !== undefined) await restorer.restore(row);
    }
  });
  commands.addCommand(CommandIDs.restoreCopy, {
    label: trans.__('Restore as copy'),
    caption: trans.__('Put this version beside the file, under a free name'),
    describedBy: ofVersion,
    isEnabled: args => canAsk() && canLook(args),
    execute: async args => {
      const row = await rowOf(args);
      if (row !== undefined) await restorer.restoreCopy(row);
    }
  });
  commands.addCommand(CommandIDs.downloadVersion, {
    label: trans.__('Download'),
    describedBy: ofVersion,
    isEnabled: args => canAsk() && canLook(args),
    execute: async args => {
      const row = await rowOf(args);
      if (row !== undefined) restorer.download(row);
    }
  });
  commands.addCommand(CommandIDs.openFile, {
    label: trans.__('Open the file as it is now'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          path: {
            type: 'string',
            description: trans.__('Path in the workspace; the one selected in the panel when it is not given')
          }
        }
      }
    },
    isEnabled: args => typeof args['path'] === 'string' || model.selected !== undefined,
    execute: args => {
      const path = typeof args['path'] === 'string' ? args['path'] : model.selected?.path;
      if (path !== undefined) documents.openOrReveal(path);
    }
  });
  commands.addCommand(CommandIDs.pinVersion, {
    label: args =>
      args['versionId'] === undefined && model.selected?.pinned === true ? trans.__('Unpin') : trans.__('Pin'),
    caption: trans.__('A pinned version is kept whatever else is pruned; on one that is pinned: take that back'),
    icon: pinIcon,
    describedBy: ofVersion,
    isEnabled: args => canMark(args) && canLook(args),
    execute: async args => {
      const row = await rowOf(args);
      if (row !== undefined) await mark({ versionId: row.versionId, act: row.pinned === true ? 'unpin' : 'pin' });
    }
  });
  commands.addCommand(CommandIDs.labelVersion, {
    label: trans.__('Label…'),
    caption: trans.__('Give this version a name by which it is found again; it is then kept whatever else is pruned'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...ofVersion.args.properties,
          name: { type: 'string', description: trans.__('The label; asked for when it is not given') }
        }
      }
    },
    isEnabled: canMark,
    execute: async args => {
      const row = await rowOf(args);
      if (row === undefined) return;
      const name =
        typeof args['name'] === 'string'
          ? args['name']
          : (
              await InputDialog.getText({
                title: trans.__('Label this version'),
                label: trans.__('Label'),
                placeholder: trans.__('such as “submitted” or “v1.0”'),
                okLabel: trans.__('Label'),
                required: true
              })
            ).value;
      if (name !== null) await mark({ versionId: row.versionId, act: 'label', name });
    }
  });
  commands.addCommand(CommandIDs.removeLabel, {
    label: trans.__('Remove label…'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...ofVersion.args.properties,
          name: { type: 'string', description: trans.__('The label; asked for when there are several') }
        }
      }
    },
    isEnabled: args => canMark(args) && (args['versionId'] !== undefined || model.selected?.labels !== undefined),
    execute: async args => {
      const row = await rowOf(args);
      const labels = row?.labels ?? [];
      const [only] = labels;
      if (row === undefined || only === undefined) return;
      let name: string | null = typeof args['name'] === 'string' ? args['name'] : only;
      if (typeof args['name'] !== 'string' && labels.length > 1) {
        const chosen = await InputDialog.getItem({
          title: trans.__('Remove a label'),
          label: trans.__('Label'),
          items: [...labels],
          okLabel: trans.__('Remove')
        });
        name = chosen.value;
      }
      if (name !== null) await mark({ versionId: row.versionId, act: 'unlabel', name });
    }
  });
  commands.addCommand(CommandIDs.copyVersionId, {
    label: trans.__('Copy version id'),
    caption: trans.__('For the command line: syft-sync show, diff, restore'),
    describedBy: ofVersion,
    isEnabled: args => typeof args['versionId'] === 'string' || model.selected !== undefined,
    execute: args => {
      const id = typeof args['versionId'] === 'string' ? args['versionId'] : model.selected?.versionId;
      if (id !== undefined) Clipboard.copyToSystem(id);
    }
  });

  commands.addCommand(CommandIDs.pauseRecording, {
    label: trans.__('Pause recording'),
    describedBy: nothing,
    isEnabled: () => canAsk() && connection.status?.state === 'recording',
    execute: async () => connection.accept(await client.pause())
  });
  commands.addCommand(CommandIDs.resumeRecording, {
    label: trans.__('Resume recording'),
    describedBy: nothing,
    isEnabled: () => canAsk() && ['paused', 'error'].includes(connection.status?.state ?? ''),
    execute: () => actions.resume()
  });
  commands.addCommand(CommandIDs.captureNow, {
    label: trans.__('Look at every file now'),
    caption: trans.__('Finds changes that nothing told of, as on some network drives'),
    describedBy: nothing,
    isEnabled: canAsk,
    execute: () => actions.capture()
  });
  commands.addCommand(CommandIDs.restartSidecar, {
    label: trans.__('Restart the Syft Sync sidecar'),
    describedBy: nothing,
    execute: async () => {
      await actions.restartProcess();
      connection.retry();
    }
  });
  connection.stateChanged.connect(() => commands.notifyCommandChanged());
}
