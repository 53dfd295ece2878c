/** Takes messages out of their box. It can be undone for a while: only then is the sidecar told. */
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { MessageSummary } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { printable } from '../history/words';
import type { BoxesModel } from './boxes-model';
import { who } from './words';

/** Milliseconds in which it can be undone. */
const GRACE = 10_000;

export class MessageRemoval {
  constructor(options: MessageRemoval.IOptions) {
    this._model = options.model;
    this._trans = options.trans;
  }

  /** Leaves the message out of the list at once, and removes it when nobody wants it back. */
  remove(message: MessageSummary): void {
    const trans = this._trans;
    const name = who(message, trans);
    const { id } = message;
    if (this._pending.has(id)) return;
    this._pending.add(id);
    this._model.take(id);

    const settle = (removes: boolean): void => {
      if (!this._pending.delete(id)) return;
      clearTimeout(timer);
      Notification.manager.changed.disconnect(onChanged);
      Notification.dismiss(notification);
      if (removes) void this._remove(message, name);
      else this._model.putBack(id);
    };
    const onChanged = (_manager: object, { type, notification: one }: Notification.IChange): void => {
      // The button that undoes closes the notification first, and only then says so.
      if (type === 'removed' && one.id === notification) setTimeout(() => settle(true), 50);
    };
    const text =
      message.box === 'inbox'
        ? message.accepted === undefined
          ? trans.__('Removed the message of %1. Nothing of it was accepted.', name)
          : trans.__('Removed the message of %1. What was accepted of it stays.', name)
        : trans.__('Removed from the outbox. What was sent stays sent.');
    const notification = Notification.info(text, {
      autoClose: GRACE,
      actions: [{ label: trans.__('Undo'), callback: () => settle(false) }]
    });
    Notification.manager.changed.connect(onChanged);
    const timer = setTimeout(() => settle(true), GRACE);
  }

  private async _remove({ id }: MessageSummary, name: string): Promise<void> {
    try {
      await this._model.connection.client.removeMessage(id);
      await this._model.reload();
    } catch (error) {
      const why = printable(messageOf(error, this._trans));
      Notification.error(`${this._trans.__('The message of %1 was not removed.', name)} ${why}`, { autoClose: false });
    }
    this._model.putBack(id);
  }

  private readonly _model: BoxesModel;
  private readonly _trans: TranslationBundle;
  private readonly _pending = new Set<string>();
}

export namespace MessageRemoval {
  export interface IOptions {
    model: BoxesModel;
    trans: TranslationBundle;
  }
}
