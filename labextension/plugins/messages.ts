/** The messages: their section in the side panel, what is dropped onto it, and the commands that belong to it. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { IEditorLanguageRegistry, IEditorThemeRegistry } from '@jupyterlab/codemirror';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { MessageSummary } from '../../server/src/api/contract';
import type { MessageRef } from '../client/client';
import { messageOf } from '../client/errors';
import { CommandIDs } from '../commands';
import { printable } from '../history/words';
import { contactsIcon, historyIcon } from '../icons';
import { MessageAcceptor } from '../messages/accept';
import { BoxesModel } from '../messages/boxes-model';
import type { CompareTab } from '../messages/compare';
import { MessageDrop, isArchive } from '../messages/drop';
import type { DropPlan } from '../messages/drop';
import { MessageIntake } from '../messages/intake';
import { folderName } from '../messages/place';
import { MessageRemoval } from '../messages/removal';
import { MessagesSection, canWrite } from '../messages/section';
import type { MessageActions } from '../messages/section';
import { acceptable } from '../messages/words';
import { HistoryDrive } from '../preview/drive';
import { OpenDocuments } from '../restore/open-documents';
import { IHistoryPanel, ISyftSync } from '../tokens';

export const messagesPlugin: JupyterFrontEndPlugin<void> = {
  id: 'syft-sync-jupyterlab:messages',
  description: 'Shows the messages with versions that were received and sent, and takes them into the workspace.',
  autoStart: true,
  requires: [ISyftSync, IHistoryPanel, IDocumentManager, IEditorLanguageRegistry, IEditorThemeRegistry],
  optional: [IFileBrowserFactory, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    syft: ISyftSync,
    panel: IHistoryPanel,
    documents: IDocumentManager,
    languages: IEditorLanguageRegistry,
    themes: IEditorThemeRegistry,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('syft_sync');
    const { commands } = app;
    const { client, connection } = syft;
    const { contents } = app.serviceManager;
    const model = new BoxesModel({ connection });
    const report = (error: unknown): void => {
      Notification.error(printable(messageOf(error, trans)), { autoClose: false });
    };
    const run = (command: string, args: ReadonlyPartialJSONObject): void => {
      commands.execute(command, args).catch(report);
    };
    const open = (message: MessageSummary): void => {
      model.markRead(message.id);
      if (commands.hasCommand(CommandIDs.openMessage)) run(CommandIDs.openMessage, { id: message.id });
      else if (acceptable(message)) run(CommandIDs.acceptMessage, { id: message.id });
    };
    const removal = new MessageRemoval({ model, trans });
    const acceptor = new MessageAcceptor({
      client,
      contents,
      documents,
      open: new OpenDocuments({ app, documents, historyDrive: HistoryDrive.driveName }),
      compare: (ref, file, folder) => run(CommandIDs.compareMessageFile, { ...ref, file, to: folder }),
      translator: translator ?? undefined,
      trans
    });
    const actions: MessageActions = {
      open,
      accept: message => run(CommandIDs.acceptMessage, { id: message.id }),
      remove: message => removal.remove(message),
      add: () => run(CommandIDs.addMessageFile, {}),
      fetch: async () => {
        await commands.execute(CommandIDs.fetchMessages);
      },
      openContacts: () => run(CommandIDs.openContacts, {}),
      leave: () => {
        const { currentWidget } = app.shell;
        if (currentWidget !== null) app.shell.activateById(currentWidget.id);
      }
    };
    const section = new MessagesSection({ model, actions, trans, contacts: true });
    panel.addSection(section);
    const intake = new MessageIntake({
      client,
      trans,
      taken: messages => {
        const [only] = messages;
        model.box = 'inbox';
        panel.showSection(section);
        if (only !== undefined && messages.length === 1 && commands.hasCommand(CommandIDs.openMessage)) open(only);
      }
    });
    const hint = dropHint(panel.node);
    new MessageDrop({
      target: panel.node,
      enabled: () => canWrite(connection),
      onPlan: plan => hint(plan === undefined ? undefined : dropText(plan, trans)),
      onPaths: dropped => {
        const paths = dropped.map(path => contents.localPath(path));
        const archives = paths.filter(isArchive);
        const others = paths.filter(path => !isArchive(path));
        if (archives.length > 0) void intake.paths(archives);
        if (others.length > 0) run(CommandIDs.share, { paths: others });
      },
      onFiles: files => void intake.files(files)
    });
    // How many are new is in the title of the section, which is folded at first.
    connection.stateChanged.connect(() => {
      if (canWrite(connection)) model.want();
    });

    let compared: CompareTab | undefined;
    const compare = async (ref: MessageRef, file: number, folder: string): Promise<void> => {
      const { CompareTab: Tab } = await import('../messages/compare');
      const options = {
        of: ref,
        file,
        folder,
        client,
        contents,
        languages,
        themes,
        trans,
        accept: (of: MessageRef, to: string) => run(CommandIDs.acceptMessage, { ...of, to })
      };
      if (compared === undefined || compared.isDisposed) compared = new Tab(options);
      else compared.set(options);
      if (!compared.isAttached) app.shell.add(compared, 'main');
      app.shell.activateById(compared.id);
    };

    /** What a command is about: what it is told, else what is selected in the section. */
    const refOf = (args: ReadonlyPartialJSONObject): MessageRef | undefined => {
      if (typeof args['id'] === 'string') return { id: args['id'] };
      if (typeof args['path'] === 'string') return { path: args['path'] };
      return model.selected === undefined ? undefined : { id: model.selected.id };
    };
    const told = (args: ReadonlyPartialJSONObject): boolean =>
      typeof args['id'] === 'string' || typeof args['path'] === 'string';
    const selectedFile = (): string | undefined => {
      const item = browsers?.tracker.currentWidget?.selectedItems().next().value;
      return item !== undefined && item.type !== 'directory' && isArchive(item.path)
        ? contents.localPath(item.path)
        : undefined;
    };
    const nothing = { args: { type: 'object', properties: {} } } as const;
    const message = {
      id: {
        type: 'string',
        description: trans.__('Id of a message; the one selected in the panel when neither id nor path is given')
      },
      path: { type: 'string', description: trans.__('Path of a .syft file in the workspace') }
    } as const;

    commands.addCommand(CommandIDs.showMessages, {
      label: trans.__('Show messages'),
      caption: trans.__('Show what was received from others and sent to them'),
      icon: historyIcon,
      describedBy: {
        args: { type: 'object', properties: { box: { type: 'string', enum: ['inbox', 'outbox'] } } }
      },
      execute: args => {
        const { box } = args as { box?: 'inbox' | 'outbox' };
        panel.showSection(section);
        section.focusList(box);
      }
    });
    commands.addCommand(CommandIDs.focusMessageFilter, {
      label: trans.__('Filter messages'),
      describedBy: nothing,
      execute: () => section.focusFilter()
    });
    commands.addCommand(CommandIDs.acceptMessage, {
      label: trans.__('Accept…'),
      caption: trans.__('Take files of the message into the workspace; what they replace stays a version'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            ...message,
            to: { type: 'string', description: trans.__('Folder of the workspace that is proposed') }
          }
        }
      },
      isEnabled: args => canWrite(connection) && refOf(args) !== undefined,
      isVisible: args => told(args) || model.selected === undefined || acceptable(model.selected),
      execute: async args => {
        const ref = refOf(args);
        const { to } = args;
        if (ref !== undefined) await acceptor.accept(ref, typeof to === 'string' ? to : undefined);
      }
    });
    commands.addCommand(CommandIDs.compareMessageFile, {
      label: trans.__('Compare with yours'),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            ...message,
            file: { type: 'integer', description: trans.__('Place of the file in the message, from 0') },
            to: { type: 'string', description: trans.__('Folder of the workspace that it would go to') }
          }
        }
      },
      isEnabled: args => refOf(args) !== undefined,
      isVisible: args => told(args) || (model.selected !== undefined && acceptable(model.selected)),
      execute: async args => {
        const ref = refOf(args);
        const { file, to } = args;
        if (ref === undefined) return;
        try {
          await compare(ref, typeof file === 'number' ? file : 0, typeof to === 'string' ? folderName(to) : '');
        } catch (error) {
          report(error);
        }
      }
    });
    commands.addCommand(CommandIDs.replyMessage, {
      label: trans.__('Reply…'),
      caption: trans.__('Share files with the sender, as an answer to this message'),
      describedBy: { args: { type: 'object', properties: message } },
      isEnabled: args => canWrite(connection) && commands.hasCommand(CommandIDs.share) && refOf(args) !== undefined,
      isVisible: args => told(args) || (model.selected?.box === 'inbox' && model.selected.sender !== undefined),
      execute: async args => {
        const ref = refOf(args);
        if (ref === undefined) return;
        try {
          const { messageId, sender } = await client.message(ref);
          await commands.execute(CommandIDs.share, {
            ...(messageId !== undefined && { replyTo: messageId }),
            recipients: sender === undefined || sender.own ? [] : [sender.name]
          });
        } catch (error) {
          report(error);
        }
      }
    });
    commands.addCommand(CommandIDs.removeMessage, {
      label: trans.__('Remove'),
      caption: trans.__('Take the message out of its box; nothing of the workspace changes'),
      describedBy: { args: { type: 'object', properties: { id: message.id } } },
      isEnabled: args => canWrite(connection) && (typeof args['id'] === 'string' || model.selected !== undefined),
      execute: async args => {
        const { id } = args;
        const summary =
          typeof id === 'string' && id !== model.selected?.id ? await client.message({ id }) : model.selected;
        if (summary !== undefined) removal.remove(summary);
      }
    });
    commands.addCommand(CommandIDs.receiveMessage, {
      label: trans.__('Take into Messages'),
      caption: trans.__('Take the .syft file into the inbox, where it is checked before anything is accepted'),
      icon: historyIcon,
      describedBy: { args: { type: 'object', properties: { path: message.path } } },
      isEnabled: () => canWrite(connection),
      isVisible: args => typeof args['path'] === 'string' || selectedFile() !== undefined,
      execute: async args => {
        const path = typeof args['path'] === 'string' ? args['path'] : selectedFile();
        if (path !== undefined) await intake.paths([path]);
      }
    });
    commands.addCommand(CommandIDs.addMessageFile, {
      label: trans.__('Add a .syft file…'),
      caption: trans.__('Choose .syft files of this computer and take them into the inbox'),
      describedBy: nothing,
      isEnabled: () => canWrite(connection),
      execute: () => intake.choose()
    });
    commands.addCommand(CommandIDs.fetchMessages, {
      label: trans.__('Look into the mailboxes'),
      caption: trans.__('Take in what others have put into your mailboxes'),
      describedBy: nothing,
      isEnabled: () => canWrite(connection),
      execute: async () => {
        try {
          tellFetched(await client.fetchMessages(), trans);
          await model.reload();
        } catch (error) {
          report(error);
        }
      }
    });
    commands.addCommand(CommandIDs.openContacts, {
      label: trans.__('Contacts…'),
      caption: trans.__('Whose keys are known here, and your own link'),
      icon: contactsIcon,
      describedBy: nothing,
      isEnabled: () => connection.state.kind === 'connected',
      execute: async () => {
        const { showContacts } = await import('../messages/contacts');
        await showContacts({ client, canWrite: canWrite(connection), trans });
      }
    });
    connection.stateChanged.connect(() => commands.notifyCommandChanged());
    const category = trans.__('Syft Sync');
    for (const command of [
      CommandIDs.showMessages,
      CommandIDs.addMessageFile,
      CommandIDs.fetchMessages,
      CommandIDs.openContacts
    ]) {
      palette?.addItem({ command, category });
    }
  }
};

function tellFetched(
  { received, mailboxes, problems }: { received: number; mailboxes: number; problems: string[] },
  trans: TranslationBundle
): void {
  const [problem] = problems;
  if (problem !== undefined) {
    Notification.warning(`${trans.__('A mailbox could not be looked into.')} ${printable(problem)}`, {
      autoClose: false
    });
  }
  if (mailboxes === 0) {
    Notification.info(
      trans.__('You have no mailbox. With one, others can send to you without a file changing hands.'),
      { autoClose: 8000 }
    );
  } else if (received > 0 || problem === undefined) {
    Notification.info(
      received === 0
        ? trans.__('Nothing new in the mailboxes.')
        : trans._n('%1 message came in.', '%1 messages came in.', received),
      { autoClose: 5000 }
    );
  }
}

function dropText(plan: DropPlan, trans: TranslationBundle): string {
  switch (plan) {
    case 'receive':
      return trans.__('Take into Messages');
    case 'share':
      return trans.__('Share…');
    case 'both':
      return trans.__('Take the .syft files in, share the rest');
  }
}

/** Says over the panel what a drop will do. */
function dropHint(node: HTMLElement): (text: string | undefined) => void {
  const hint = document.createElement('div');
  hint.className = 'jp-SyftSync-dropHint';
  hint.hidden = true;
  hint.setAttribute('aria-hidden', 'true');
  node.append(hint);
  return text => {
    hint.hidden = text === undefined;
    hint.textContent = text ?? '';
  };
}
