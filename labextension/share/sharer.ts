/** Shares versions of files: asks, lets the message be made, says where it is. */
import { Clipboard, Notification } from '@jupyterlab/apputils';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';

import type { ShareMessageResult } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { folderOf, printable } from '../history/words';
import { askToShare } from './dialog';
import { ShareForm } from './form';
import type { Given } from './form';
import { freePath } from './words';

/** Milliseconds a notification with something to do stays. */
const STAYS = 15_000;

export class Sharer {
  constructor(options: Sharer.IOptions) {
    this._options = options;
  }

  /** @returns what was shared; undefined when nothing was. Errors are shown, not thrown. */
  async share(given: Given): Promise<ShareMessageResult | undefined> {
    const { client, contents, documents, recording, translator, trans } = this._options;
    const form = new ShareForm({ client, given, recording, trans });
    void form.plan().then(() => this._freePlace(form));
    for (;;) {
      const answer = await askToShare(form, trans);
      if (answer.kind === 'cancelled') return undefined;
      if (answer.kind === 'shared') {
        this._tell(form, answer.result);
        return answer.result;
      }
      // JupyterLab shows one dialog at a time; ours comes back as it was left.
      const [first] = form.files;
      const chosen = await FileDialog.getOpenFiles({
        manager: documents,
        title: trans.__('Add files'),
        ...(first !== undefined && { defaultPath: folderOf(first.path) }),
        ...(translator !== undefined && { translator })
      });
      const added = (chosen.button.accept ? (chosen.value ?? []) : []).filter(({ type }) => type !== 'directory');
      if (added.length > 0) {
        void form.add(added.map(({ path }) => contents.localPath(path))).then(() => this._freePlace(form));
      }
    }
  }

  /** What is proposed is not taken by another file. */
  private async _freePlace(form: ShareForm): Promise<void> {
    const { proposed } = form;
    if (proposed === '') return;
    let names: Set<string>;
    try {
      const { content } = await this._options.contents.get(folderOf(proposed), { content: true, type: 'directory' });
      names = new Set((content as readonly Contents.IModel[]).map(({ name }) => name));
    } catch {
      // A folder that cannot be listed: the sidecar says what is wrong with the place when it comes to that.
      return;
    }
    const free = freePath(proposed, name => names.has(name));
    if (free !== proposed && form.proposed === proposed) form.propose(free);
  }

  private _tell(form: ShareForm, { path, id, sealed }: ShareMessageResult): void {
    const { client, openMessage, trans } = this._options;
    const closing = sealed ? ` ${trans.__('Encrypted for its recipients.')}` : '';
    const said = (text: string, actions: Notification.IAction[] = []): void => {
      Notification.success(`${text}${closing}`, { autoClose: STAYS, actions });
    };
    if (path !== undefined) {
      const open = openMessage();
      said(trans.__('Saved as %1.', printable(path)), [
        ...(open === undefined ? [] : [{ label: trans.__('Open'), callback: () => open(path) }]),
        { label: trans.__('Copy path'), callback: () => Clipboard.copyToSystem(path) }
      ]);
    } else if (form.whereto === 'mailbox') {
      said(trans.__('Put into the mailbox of %1.', printable(form.mailbox)));
    } else {
      const link = document.createElement('a');
      link.href = client.messageArchiveUrl(id);
      link.download = '';
      link.click();
      said(trans.__('The browser saves the message.'));
    }
  }

  private readonly _options: Sharer.IOptions;
}

export namespace Sharer {
  export interface IOptions {
    client: SyftClient;
    contents: Contents.IManager;
    documents: IDocumentManager;
    /** Whether what is on disk is recorded. */
    recording: () => boolean;
    /** What shows a `.syft` file of the workspace; undefined while nothing does. */
    openMessage: () => ((path: string) => void) | undefined;
    translator: ITranslator | undefined;
    trans: TranslationBundle;
  }
}
