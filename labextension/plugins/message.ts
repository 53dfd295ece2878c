/** Opens messages in the main area: `.syft` files as documents, messages of a box by their id. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { MainAreaWidget, Notification, WidgetTracker } from '@jupyterlab/apputils';
import { IEditorServices } from '@jupyterlab/codeeditor';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ABCWidgetFactory, DocumentWidget } from '@jupyterlab/docregistry';
import type { DocumentRegistry, IDocumentWidget } from '@jupyterlab/docregistry';
import { NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { Widget } from '@lumino/widgets';

import type { MessageRef } from '../client/client';
import { messageOf } from '../client/errors';
import { CommandIDs } from '../commands';
import { printable, shorten } from '../history/words';
import { messageIcon } from '../icons';
import type { AboutActions } from '../message/about';
import { MessageModelFactory } from '../message/document-model';
// eslint-disable-next-line jupyter/prefer-lazy-imports -- a widget factory has its widget at once
import { MessageView } from '../message/view';
import { MessageViewModel } from '../message/view-model';
import { senderName, who } from '../messages/words';
import { ISyftSync } from '../tokens';

const FILE_TYPE = 'syft-message';
const FACTORY = 'SyftMessage';
/** Characters of the name in the title of a tab. */
const TITLE_LENGTH = 30;

type MessageDocument = IDocumentWidget<MessageView>;

class MessageFactory extends ABCWidgetFactory<MessageDocument> {
  constructor(
    options: DocumentRegistry.IWidgetFactoryOptions<MessageDocument>,
    private readonly _view: (context: DocumentRegistry.Context) => MessageView
  ) {
    super(options);
  }

  protected createNewWidget(context: DocumentRegistry.Context): MessageDocument {
    const widget = new DocumentWidget({ context, content: this._view(context) });
    // Nothing is in it: it would be an empty stripe.
    widget.toolbar.hide();
    return widget;
  }
}

export const messagePlugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:message',
  description: 'Shows a message: who sent it, what of it is proven, and its files.',
  autoStart: true,
  requires: [ISyftSync, IDocumentManager, IEditorServices, IRenderMimeRegistry, NotebookPanel.IContentFactory],
  optional: [ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    documents: IDocumentManager,
    services: IEditorServices,
    rendermime: IRenderMimeRegistry,
    contentFactory: NotebookPanel.IContentFactory,
    layout: ILayoutRestorer | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { commands, docRegistry } = app;
    const { client, connection } = syft;
    const { contents } = app.serviceManager;

    const run = (command: string, args: ReadonlyPartialJSONObject): void => {
      commands.execute(command, args).catch((error: unknown) => {
        Notification.error(printable(messageOf(error, trans)), { autoClose: false });
      });
    };
    const optional = (command: string, args: () => ReadonlyPartialJSONObject): (() => void) | undefined =>
      commands.hasCommand(command) ? () => run(command, args()) : undefined;

    const actionsOf = (model: MessageViewModel, archiveUrl: () => Promise<string>, close: () => void): AboutActions => {
      const args = (): ReadonlyPartialJSONObject => ({ ...model.ref });
      return {
        accept: () => run(CommandIDs.acceptMessage, args()),
        get reply() {
          return commands.hasCommand(CommandIDs.share) ? optional(CommandIDs.replyMessage, args) : undefined;
        },
        get receive() {
          return 'path' in model.ref ? optional(CommandIDs.receiveMessage, args) : undefined;
        },
        compare: file => run(CommandIDs.compareMessageFile, { ...model.ref, file }),
        archiveUrl,
        fileUrl: file => {
          const { message } = model;
          if (message?.box !== 'outbox') return client.messageContentUrl(model.ref, file);
          const versionId = message.fileList[file]?.versionId;
          return versionId === undefined ? undefined : client.downloadUrl(versionId);
        },
        get openContacts() {
          return optional(CommandIDs.openContacts, () => ({}));
        },
        get addFile() {
          return optional(CommandIDs.addMessageFile, () => ({}));
        },
        close,
        state: {
          restartProcess: () => client.restartProcess(),
          resume: async () => connection.accept(await client.resume()),
          capture: () => client.capture(),
          setup: async folders => connection.accept(await client.setup(folders))
        }
      };
    };
    const viewOf = (
      ref: MessageRef,
      isThere: () => Promise<boolean>,
      archiveUrl: () => Promise<string>,
      close: () => void
    ): MessageView => {
      const model = new MessageViewModel({ ref, connection, isThere });
      return new MessageView({
        model,
        actions: actionsOf(model, archiveUrl, close),
        preview: { rendermime, contentFactory, services },
        trans
      });
    };

    docRegistry.addFileType({
      name: FILE_TYPE,
      displayName: trans.__('SyftMessage'),
      contentType: 'file',
      fileFormat: null,
      extensions: ['.syft'],
      mimeTypes: ['application/x-syft'],
      icon: messageIcon
    });
    docRegistry.addModelFactory(new MessageModelFactory());
    const factory = new MessageFactory(
      {
        name: FACTORY,
        label: trans.__('SyftMessage'),
        modelName: MessageModelFactory.modelName,
        fileTypes: [FILE_TYPE],
        defaultFor: [FILE_TYPE],
        readOnly: true
      },
      context => {
        // A drive of another extension is never in the recorded folder.
        const pathOf = (path: string): string => (contents.driveName(path) === '' ? contents.localPath(path) : path);
        const isThere = (): Promise<boolean> =>
          contents.get(context.path, { content: false }).then(
            () => true,
            () => false
          );
        const view = viewOf(
          { path: pathOf(context.path) },
          isThere,
          () => contents.getDownloadUrl(context.path),
          () => view.parent?.dispose()
        );
        context.pathChanged.connect((_context, path) => {
          view.model.ref = { path: pathOf(path) };
        });
        context.fileChanged.connect(() => void view.model.load());
        return view;
      }
    );
    const opened = new WidgetTracker<MessageDocument>({ namespace: 'syft-sync-message-documents' });
    factory.widgetCreated.connect((_factory, widget) => {
      widget.title.icon = messageIcon;
      widget.context.pathChanged.connect(() => void opened.save(widget));
      void opened.add(widget);
    });
    // Its optional properties are there as undefined, which the interface does not know.
    docRegistry.addWidgetFactory(factory as DocumentRegistry.WidgetFactory);

    const tabs = new WidgetTracker<MainAreaWidget<MessageView>>({ namespace: 'syft-sync-message-tabs' });
    const openTab = (id: string): Widget => {
      const name = `syft-sync-message-${id}`;
      let tab = tabs.find(({ id: other }) => other === name);
      if (tab === undefined) {
        const content = viewOf(
          { id },
          () => Promise.resolve(false),
          () => Promise.resolve(client.messageArchiveUrl(id)),
          () => content.parent?.dispose()
        );
        tab = new MainAreaWidget({ content });
        tab.toolbar.hide();
        tab.id = name;
        const { title } = tab;
        title.icon = messageIcon;
        title.closable = true;
        title.label = trans.__('Message');
        content.model.changed.connect(({ message }) => {
          if (message === undefined) return;
          const label =
            message.box === 'outbox' ? who(message, trans) : trans.__('From %1', senderName(message, trans));
          title.label = shorten(label, TITLE_LENGTH);
          title.caption = label;
        });
        app.shell.add(tab, 'main');
        void tabs.add(tab);
      }
      app.shell.activateById(name);
      return tab;
    };

    commands.addCommand(CommandIDs.openMessage, {
      label: trans.__('Open message'),
      caption: trans.__('Show who sent it, what of it is proven, and its files'),
      icon: messageIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            id: { type: 'string', description: trans.__('Id of a message of a box') },
            path: { type: 'string', description: trans.__('Path of a .syft file') }
          }
        }
      },
      execute: args => {
        const { id, path } = args;
        if (typeof id === 'string') return openTab(id);
        if (typeof path === 'string') return documents.openOrReveal(path, FACTORY);
        throw new Error('Neither id nor path is given.');
      }
    });

    void layout?.restore(opened, {
      command: 'docmanager:open',
      args: ({ context }) => ({ path: context.path, factory: FACTORY }),
      name: ({ context }) => context.path
    });
    void layout?.restore(tabs, {
      command: CommandIDs.openMessage,
      args: ({ content: { model } }) => ({ ...model.ref }),
      name: ({ id }) => id
    });
  }
};
