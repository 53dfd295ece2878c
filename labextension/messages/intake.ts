/** Takes `.syft` files into the inbox: of the workspace by their path, of this computer by their bytes. */
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { MessageSummary } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { messageOf } from '../client/errors';
import { baseName, printable } from '../history/words';
import { isArchive } from './drop';
import { tellWhenLong } from './tell-when-long';

export class MessageIntake {
  constructor(options: MessageIntake.IOptions) {
    this._options = options;
  }

  /** @param paths - of the workspace */
  paths(paths: readonly string[]): Promise<void> {
    return this._takeAll(
      paths.map(path => ({ name: baseName(path), take: () => this._options.client.receiveMessage(path) }))
    );
  }

  /** Files of another kind are left out, and that is said. */
  async files(files: readonly File[]): Promise<void> {
    const { client, trans } = this._options;
    const archives = files.filter(({ name }) => isArchive(name));
    await this._takeAll(archives.map(file => ({ name: file.name, take: () => client.uploadMessage(file) })));
    const others = files.length - archives.length;
    if (others > 0) {
      Notification.info(
        trans._n(
          '%1 file is no .syft file and was not taken in. To work with it, drop it onto the file browser.',
          '%1 files are no .syft files and were not taken in. To work with them, drop them onto the file browser.',
          others
        ),
        { autoClose: 8000 }
      );
    }
  }

  /** Opens the browser's own dialog for files of this computer. */
  choose(): void {
    const input = document.createElement('input');
    input.type = 'file';
    input.multiple = true;
    input.accept = '.syft';
    input.addEventListener('change', () => void this.files([...(input.files ?? [])]));
    input.click();
  }

  private async _takeAll(archives: readonly { name: string; take: () => Promise<MessageSummary> }[]): Promise<void> {
    const { trans } = this._options;
    const taken: MessageSummary[] = [];
    // One after the other: each is verified whole, and the sidecar has one disk.
    for (const { name, take } of archives) {
      try {
        taken.push(await tellWhenLong(trans.__('Taking in %1…', printable(name)), take()));
      } catch (error) {
        const what = trans.__('%1 was not taken in.', printable(name));
        Notification.error(`${what} ${printable(messageOf(error, trans))}`, { autoClose: false });
      }
    }
    if (taken.length > 0) this._options.taken(taken);
  }

  private readonly _options: MessageIntake.IOptions;
}

export namespace MessageIntake {
  export interface IOptions {
    client: SyftClient;
    /** They are in the inbox now. */
    taken: (messages: readonly MessageSummary[]) => void;
    trans: TranslationBundle;
  }
}
