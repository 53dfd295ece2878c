/** The line above a version: what one looks at, and what can be done with it. */
import { ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { caretLeftIcon, caretRightIcon, downloadIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import { restoreIcon } from '../icons';
import { Mark } from '../status/mark';
import { absolute, baseName, happened, moment, printable, size, warning } from '../history/words';

export interface BarActions {
  restore(row: ChangeRow): void;
  restoreCopy(row: ChangeRow): void;
  download(row: ChangeRow): void;
  /** Keeps the tab. */
  keep(): void;
  /** Shows the next older or newer version in this tab. */
  step(row: ChangeRow, direction: 'older' | 'newer'): void;
}

export interface BarProps {
  row: ChangeRow;
  older: boolean;
  newer: boolean;
  kept: boolean;
  actions: BarActions;
  trans: TranslationBundle;
}

export function Bar(props: BarProps): JSX.Element {
  const { row, actions, trans } = props;
  const flag = warning(row, trans);
  const name = printable(baseName(row.path));
  return (
    <div className="jp-SyftSync-bar" role="toolbar" aria-label={trans.__('Version of %1', name)}>
      <span className="jp-SyftSync-barText" title={`${printable(row.path)}\n${absolute(row.at)}`}>
        <strong>{moment(row.at, Date.now(), trans)}</strong> · {happened(row, trans)}
        {row.size === undefined ? '' : ` · ${size(row.size)}`} · {trans.__('read-only')}
        {flag === undefined ? null : (
          <span className="jp-SyftSync-flag" title={flag}>
            {' · '}
            <Mark kind="error" /> {flag}
          </span>
        )}
      </span>
      <span className="jp-SyftSync-barButtons">
        <IconButton
          label={trans.__('Older version')}
          disabled={!props.older}
          onClick={() => actions.step(row, 'older')}
          icon={<caretLeftIcon.react tag="span" />}
        />
        <IconButton
          label={trans.__('Newer version')}
          disabled={!props.newer}
          onClick={() => actions.step(row, 'newer')}
          icon={<caretRightIcon.react tag="span" />}
        />
        <button type="button" className="jp-mod-styled jp-mod-accept" onClick={() => actions.restore(row)}>
          <restoreIcon.react tag="span" className="jp-SyftSync-buttonIcon" /> {trans.__('Restore')}
        </button>
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => actions.restoreCopy(row)}>
          {trans.__('Restore as copy')}
        </button>
        <IconButton
          label={trans.__('Download')}
          onClick={() => actions.download(row)}
          icon={<downloadIcon.react tag="span" />}
        />
        {props.kept ? null : (
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => actions.keep()}>
            {trans.__('Keep open')}
          </button>
        )}
      </span>
    </div>
  );
}

function IconButton(props: { label: string; icon: JSX.Element; onClick: () => void; disabled?: boolean }): JSX.Element {
  return (
    <button
      type="button"
      className="jp-SyftSync-action"
      title={props.label}
      aria-label={props.label}
      disabled={props.disabled === true}
      onClick={props.onClick}
    >
      {props.icon}
    </button>
  );
}

/** The bar as a widget; it renders again when its properties are set. */
export class BarWidget extends ReactWidget {
  constructor(props: BarProps) {
    super();
    this._props = props;
    this.addClass('jp-SyftSync-barWidget');
  }

  get row(): ChangeRow {
    return this._props.row;
  }

  set(props: Partial<BarProps>): void {
    this._props = { ...this._props, ...props };
    this.update();
  }

  protected override render(): JSX.Element {
    return <Bar {...this._props} />;
  }

  private _props: BarProps;
}
