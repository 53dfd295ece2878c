/** The view of a message: what is said of it, and beside or below it the file that is chosen. */
import { ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';
import * as React from 'react';

import type { MessageDetail, MessageFileDto } from '../../server/src/api/contract';
import { About } from './about';
import type { AboutActions } from './about';
import { FilePreview } from './preview';
import type { MessageViewModel } from './view-model';

export class MessageView extends Panel {
  constructor(options: MessageView.IOptions) {
    super();
    this.addClass('jp-SyftSync-document');
    this.model = options.model;
    const { model, actions, trans } = options;
    const about = ReactWidget.create(React.createElement(About, { model, actions, trans }));
    about.addClass('jp-SyftSync-docPane');
    this.addWidget(about);
    this._preview = new FilePreview({ ...options.preview, trans });
    this.addWidget(this._preview);
    model.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  readonly model: MessageViewModel;

  override dispose(): void {
    if (this.isDisposed) return;
    this.model.dispose();
    super.dispose();
  }

  protected override onActivateRequest(_message: Message): void {
    const first = '[role="row"][tabindex="0"], button:enabled, a[href]';
    const element = this.node.querySelector<HTMLElement>(first);
    if (element !== null) element.focus({ preventScroll: true });
    else {
      this.node.tabIndex = -1;
      this.node.focus();
    }
  }

  private _onChanged(): void {
    const { model } = this;
    const { message, chosen } = model;
    const file = message?.fileList[chosen];
    const bytes = message === undefined || file === undefined ? undefined : this._bytesOf(message, file, chosen);
    this.toggleClass('jp-SyftSync-mod-alone', bytes === undefined);
    this._preview.set(
      message === undefined || file === undefined || bytes === undefined
        ? undefined
        : { key: `${message.id} ${chosen} ${file.hash ?? ''}`, file, bytes }
    );
  }

  private _bytesOf(
    { box }: MessageDetail,
    { versionId }: MessageFileDto,
    index: number
  ): ((signal: AbortSignal) => Promise<ArrayBuffer>) | undefined {
    const { client } = this.model.connection;
    const { ref } = this.model;
    if (box === 'inbox') return signal => client.messageContent(ref, index, signal);
    // What was sent are versions of this workspace.
    return versionId === undefined ? undefined : signal => client.content(versionId, signal);
  }

  private readonly _preview: FilePreview;
}

export namespace MessageView {
  export interface IOptions {
    model: MessageViewModel;
    actions: AboutActions;
    preview: Omit<FilePreview.IOptions, 'trans'>;
    trans: TranslationBundle;
  }
}
