/** The renderer of JupyterLab for outputs that hold a message. */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { MESSAGE_MIME_TYPE, claimsOf } from './claims';
import type { Claims } from './claims';
import { MessageOutput } from './output';
import type { MessageOutputProps } from './output';

export class MessageRenderer extends ReactWidget implements IRenderMime.IRenderer {
  constructor(private readonly _options: MessageRenderer.IOptions) {
    super();
    this.addClass('jp-SyftSync-outputWidget');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._claims = claimsOf(model.data[MESSAGE_MIME_TYPE]);
    this.update();
    await this.renderPromise;
  }

  protected render(): JSX.Element {
    const { open, trans } = this._options;
    return <MessageOutput claims={this._claims} open={open()} trans={trans} />;
  }

  private _claims: Claims | undefined;
}

export namespace MessageRenderer {
  export interface IOptions {
    /** What shows a message; undefined while nothing does. */
    open: () => MessageOutputProps['open'];
    trans: TranslationBundle;
  }
}
