/** Why there is no message to show, and what one can do about it. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { messageOf } from '../client/errors';
import { baseName, printable } from '../history/words';
import type { FailureKind, MessageViewModel } from './view-model';

export interface FailureActions {
  close: () => void;
  /** Takes a `.syft` file of this computer into the inbox. */
  addFile: (() => void) | undefined;
}

export function Failed(props: {
  failure: FailureKind;
  error: unknown;
  model: MessageViewModel;
  actions: FailureActions;
  trans: TranslationBundle;
}): JSX.Element {
  const { failure, error, model, actions, trans } = props;
  const { ref } = model;
  const name = 'path' in ref ? printable(baseName(ref.path)) : undefined;
  const said = printable(messageOf(error, trans));
  const root = model.connection.status?.root;
  const words: Record<FailureKind, { title: string; text: string }> = {
    gone:
      name === undefined
        ? { title: trans.__('The message is not in its box any more'), text: trans.__('It was removed.') }
        : {
            title: trans.__('%1 is not there any more', name),
            text: trans.__(
              'The file was deleted, moved or renamed. If it was recorded, it is under “Recover deleted files…”.'
            )
          },
    outside: {
      title: trans.__('%1 is not in the recorded folder', name ?? ''),
      text:
        root === undefined
          ? trans.__(
              'Messages are opened from the folder that is recorded. Copy the file there, or take it into Messages.'
            )
          : trans.__(
              'Messages are opened from the folder that is recorded, %1. Copy the file there, or take it into Messages.',
              printable(root)
            )
    },
    away: { title: trans.__('The message cannot be checked now'), text: said },
    other: { title: trans.__('The message cannot be shown'), text: said }
  };
  const { title, text } = words[failure];
  return (
    <div className="jp-SyftSync-docFailed" role="alert">
      <h1>{title}</h1>
      <p>{text}</p>
      <p className="jp-SyftSync-docButtons">
        <button type="button" className="jp-mod-styled jp-mod-accept" onClick={() => void model.retry()}>
          {trans.__('Try again')}
        </button>
        {failure === 'outside' && actions.addFile !== undefined ? (
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={actions.addFile}>
            {trans.__('Add a .syft file…')}
          </button>
        ) : null}
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={actions.close}>
          {trans.__('Close')}
        </button>
      </p>
    </div>
  );
}
