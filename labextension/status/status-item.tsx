/** The item in the status bar: one word on what Syft Sync does, a click to the panel. */
import { ReactWidget } from '@jupyterlab/apputils';
import { TextItem } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Connection } from '../client/connection';
import { explain } from '../client/errors';
import { useLasting, useSignals } from '../history/use-signal';
import { absolute, printable, size } from '../history/words';
import { Mark } from './mark';
import type { MarkKind } from './mark';

export interface StatusView {
  /** Chooses the mark before the text. */
  kind: MarkKind;
  text: string;
  tooltip: string;
}

/** What the item says. Pure, but for the translator. */
export function statusView(connection: Pick<Connection, 'state' | 'status'>, trans: TranslationBundle): StatusView {
  const { state, status } = connection;
  if (state.kind === 'missing') return { kind: 'error', text: trans.__('Not recording'), tooltip: state.message };
  if (state.kind === 'disconnected') {
    return { kind: 'off', text: trans.__('Not connected'), tooltip: explain(state.code, state.message, trans) };
  }
  if (status === undefined) return { kind: 'off', text: trans.__('Connecting…'), tooltip: trans.__('Syft Sync') };

  const files = trans._n('%1 file', '%1 files', status.files);
  const versions = trans._n('%1 version', '%1 versions', status.versions);
  const tooltip = [
    trans.__('Syft Sync records %1', printable(status.root)),
    trans.__('%1, %2, %3 on disk', files, versions, size(status.storedBytes)),
    trans.__('Kept in %1', printable(status.logDir)),
    trans.__('Since %1', absolute(status.startedAt))
  ].join('\n');
  switch (status.state) {
    case 'error':
      return {
        kind: 'error',
        text:
          status.error?.code === 'DISK_FULL'
            ? trans.__('Disk full')
            : status.error?.code === 'LOG_ENCRYPTED' || status.error?.code === 'PASSPHRASE_WRONG'
              ? trans.__('Passphrase needed')
              : trans.__('Not recording'),
        tooltip: printable(status.error?.message ?? tooltip)
      };
    case 'paused':
      return { kind: 'paused', text: trans.__('Paused'), tooltip };
    case 'setup-needed':
      return { kind: 'off', text: trans.__('Choose folders'), tooltip: trans.__('Nothing is recorded yet') };
    case 'read-only':
      return { kind: 'off', text: trans.__('Reading only'), tooltip: printable(status.error?.message ?? tooltip) };
    case 'stopped':
      return { kind: 'off', text: trans.__('Stopped'), tooltip };
    case 'starting':
      return { kind: 'saving', text: trans.__('First look…'), tooltip };
    case 'recording':
      return status.pending > 0
        ? { kind: 'saving', text: trans._n('Saving %1 change…', 'Saving %1 changes…', status.pending), tooltip }
        : { kind: 'recording', text: trans.__('Recording'), tooltip };
  }
}

function Item(props: { connection: Connection; trans: TranslationBundle; onClick: () => void }): JSX.Element {
  const { connection, trans } = props;
  useSignals(connection.stateChanged);
  const view = statusView(connection, trans);
  // What takes a moment is not worth a flicker.
  const saving = useLasting(view.kind === 'saving', 500);
  const quiet = view.kind === 'saving' && !saving && connection.status?.state === 'recording';
  const kind = quiet ? 'recording' : view.kind;
  const text = quiet ? trans.__('Recording') : view.text;
  return (
    <button type="button" className="jp-SyftSync-status" data-kind={kind} title={view.tooltip} onClick={props.onClick}>
      <Mark kind={kind} />
      <TextItem source={text} />
    </button>
  );
}

export class StatusItem extends ReactWidget {
  constructor(options: StatusItem.IOptions) {
    super();
    this._options = options;
    this.addClass('jp-SyftSync-statusItem');
  }

  protected override render(): JSX.Element {
    return <Item {...this._options} />;
  }

  private readonly _options: StatusItem.IOptions;
}

export namespace StatusItem {
  export interface IOptions {
    connection: Connection;
    trans: TranslationBundle;
    onClick: () => void;
  }
}
