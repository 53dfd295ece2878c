/** Takes files of a message into the workspace: asks, writes, lets open documents follow, offers to undo. */
import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import { FileDialog } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { ImportResult, MessageDetail, MessageFileDto } from '../../server/src/api/contract';
import type { MessageRef, SyftClient } from '../client/client';
import { messageOf } from '../client/errors';
import { baseName, printable } from '../history/words';
import type { OpenDocuments } from '../restore/open-documents';
import { settleUnsaved } from '../restore/unsaved-edits';
import { AcceptChoice, askToAccept } from './accept-dialog';
import { destination, folderName } from './place';
import { tellWhenLong } from './tell-when-long';
import { undoAccept } from './undo-accept';
import { leftSentence, senderName, stateSentence, stateWord } from './words';

/** Milliseconds a notification with Undo stays. */
const STAYS = 15_000;

export class MessageAcceptor {
  constructor(options: MessageAcceptor.IOptions) {
    this._options = options;
    this._client = options.client;
    this._trans = options.trans;
  }

  /**
   * Errors are shown, not thrown.
   *
   * @param folder - of the workspace, what is proposed
   * @returns what was done; undefined when nothing was
   */
  async accept(ref: MessageRef, folder?: string): Promise<ImportResult | undefined> {
    const trans = this._trans;
    try {
      const message = await this._client.message(ref);
      if (!['verified', 'new-sender', 'unsigned'].includes(message.state)) {
        await this._refuse(message);
        return undefined;
      }
      const kept = this._asides.get(message.id);
      this._asides.delete(message.id);
      const choice = new AcceptChoice(message);
      if (kept !== undefined) {
        choice.folder = kept.folder;
        choice.believed = kept.believed;
        choice.chosen = new Set([...kept.chosen].filter(index => index < message.fileList.length));
      }
      if (folder !== undefined) choice.folder = folder;
      return await this._ask(ref, choice);
    } catch (error) {
      this._report(trans.__('The message was not accepted.'), error);
      return undefined;
    }
  }

  private async _ask(ref: MessageRef, choice: AcceptChoice): Promise<ImportResult | undefined> {
    const { contents, documents, translator } = this._options;
    const trans = this._trans;
    const { message } = choice;
    const lookAround = async (folder: string, signal: AbortSignal): Promise<readonly MessageFileDto['here'][]> => {
      // Asked for just now: at the top of the workspace it is known.
      const { fileList } = folder === '' ? message : await this._client.message(ref, { to: folder, signal });
      return fileList.map(({ here }) => here);
    };
    for (;;) {
      const accepts = await askToAccept({ choice, contents, lookAround, trans });
      if (accepts) break;
      const { aside } = choice;
      if (aside === undefined) return undefined;
      if (aside.kind === 'compare') {
        // The dialog stands before what is compared; from there it is opened again, as it was left.
        this._asides.set(message.id, choice);
        this._options.compare(ref, aside.file, folderName(choice.folder));
        return undefined;
      }
      const chosen = await FileDialog.getExistingDirectory({
        manager: documents,
        title: trans.__('Accept into'),
        defaultPath: folderName(choice.folder),
        ...(translator !== undefined && { translator })
      });
      const [place] = chosen.value ?? [];
      if (chosen.button.accept && place !== undefined) choice.folder = contents.localPath(place.path);
    }

    const folder = folderName(choice.folder);
    const files = [...choice.chosen].sort((a, b) => a - b);
    const paths = files.map(index => destination(message.fileList[index] as { path: string }, folder));
    const contexts = paths.flatMap(path => this._options.open.of(path));
    const settled = await settleUnsaved(contexts, {
      client: this._client,
      trans,
      discard: trans.__('Discard and accept'),
      save: trans.__('Save, then accept')
    });
    if (!settled) return undefined;

    const { fingerprint } = message.sender ?? {};
    const work = this._client.acceptMessage({
      ...ref,
      ...(folder !== '' && { to: folder }),
      ...(message.state !== 'verified' && { trust: true, ...(fingerprint !== undefined && { fingerprint }) }),
      ...(files.length < message.fileList.length && { files })
    });
    const result = await tellWhenLong(trans.__('Accepting from %1…', senderName(message, trans)), work);
    await this._follow(paths);
    this._tell(message, result, folder);
    return result;
  }

  private async _refuse(message: MessageDetail): Promise<void> {
    const trans = this._trans;
    const name = senderName(message, trans);
    const lines = [printable(message.problem ?? stateSentence(message.state, name, trans))];
    const words = message.sender?.fingerprint;
    if (message.state === 'changed-sender') {
      if (words !== undefined) lines.push(trans.__('The words of the other key: %1.', printable(words)));
      lines.push(
        trans.__(
          'Ask %1 another way, as by phone, whether the key was changed. If it was, remove the contact of that name and open the message again: it is then asked whether the words are the same.',
          name
        )
      );
    } else if (message.state === 'altered') {
      lines.push(trans.__('Ask for it to be sent again. Nothing of it was taken over.'));
    } else {
      lines.push(
        trans.__(
          'Ask %1 to seal it for your key, which is in your own contact link. Nothing of it was taken over.',
          name
        )
      );
    }
    const body = document.createElement('div');
    body.append(
      ...lines.map(line => {
        const paragraph = document.createElement('p');
        paragraph.textContent = line;
        return paragraph;
      })
    );
    await showDialog({
      title: trans.__('It cannot be accepted: %1', stateWord(message.state, trans)),
      body: new Widget({ node: body }),
      buttons: [Dialog.okButton({ label: trans.__('Close') })]
    });
  }

  private _tell(message: MessageDetail, result: ImportResult, folder: string): void {
    const trans = this._trans;
    const name = senderName(message, trans);
    const { changes, notDeleted } = result;
    const left = leftSentence(notDeleted, name, trans);
    if (left !== undefined) {
      Notification.warning(left, { autoClose: false });
      if (changes.length === 0 && result.unchanged.length === 0) return;
    }
    if (changes.length === 0) {
      Notification.info(trans.__('All files of %1 were here already, with the same content.', name), {
        autoClose: 5000
      });
      return;
    }
    const [only] = changes;
    const text =
      changes.length === 1 && only !== undefined
        ? trans.__('Accepted %1 from %2.', printable(baseName(only.path)), name)
        : folder === ''
          ? trans.__('Accepted %1 files from %2.', changes.length, name)
          : trans.__('Accepted %1 files from %2 into %3.', changes.length, name, printable(folder));
    Notification.success(text, {
      autoClose: STAYS,
      actions: [
        ...(changes.length === 1 && only !== undefined
          ? [{ label: trans.__('Open'), callback: () => void this._options.documents.openOrReveal(only.path) }]
          : []),
        { label: trans.__('Undo'), callback: () => void this._undo(result) }
      ]
    });
  }

  private async _undo({ changes }: ImportResult): Promise<void> {
    const trans = this._trans;
    try {
      const paths = changes.map(({ path }) => path);
      const settled = await settleUnsaved(
        paths.flatMap(path => this._options.open.of(path)),
        {
          client: this._client,
          trans,
          discard: trans.__('Discard and undo'),
          save: trans.__('Save and keep those')
        }
      );
      if (!settled) return;
      const { undone, kept, failed } = await tellWhenLong(trans.__('Undoing…'), undoAccept(changes, this._client));
      await this._follow(undone);
      if (failed.length > 0) {
        const [first] = failed;
        this._report(
          trans._n('%1 file could not be put back.', '%1 files could not be put back.', failed.length),
          first?.error
        );
      }
      if (undone.length > 0) {
        Notification.success(
          trans._n('Undone: %1 file is as it was before.', 'Undone: %1 files are as they were before.', undone.length),
          { autoClose: 5000 }
        );
      }
      if (kept.length > 0) {
        Notification.info(
          trans._n(
            '%1 file was changed since it was accepted, and is left as it is.',
            '%1 files were changed since they were accepted, and are left as they are.',
            kept.length
          ),
          { autoClose: false }
        );
      }
    } catch (error) {
      this._report(trans.__('It could not be undone.'), error);
    }
  }

  /** Open documents show what is on disk now. One that cannot, as of a file that is gone again, keeps what it shows. */
  private async _follow(paths: readonly string[]): Promise<void> {
    const { open } = this._options;
    await Promise.allSettled(paths.flatMap(path => open.of(path)).map(context => open.follow(context)));
  }

  private _report(what: string, error: unknown): void {
    Notification.error(`${what} ${printable(messageOf(error, this._trans))}`, { autoClose: false });
  }

  private readonly _options: MessageAcceptor.IOptions;
  private readonly _client: SyftClient;
  private readonly _trans: TranslationBundle;
  /** What was chosen when the dialog was left for a look at a file. */
  private readonly _asides = new Map<string, AcceptChoice>();
}

export namespace MessageAcceptor {
  export interface IOptions {
    client: SyftClient;
    contents: Contents.IManager;
    documents: IDocumentManager;
    open: OpenDocuments;
    /** Shows the difference between a file of the message and what is here. */
    compare: (ref: MessageRef, file: number, folder: string) => void;
    translator: ITranslator | undefined;
    trans: TranslationBundle;
  }
}
