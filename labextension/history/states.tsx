/** What stands in the panel when it is not simply recording: why, and what one can do about it. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Status } from '../../server/src/api/contract';
import type { Connection, ConnectionState } from '../client/connection';
import { explain, messageOf } from '../client/errors';
import { useLasting, useNow, useSignals } from './use-signal';
import { printable } from './words';

export interface StateActions {
  restartProcess(): Promise<unknown>;
  resume(): Promise<unknown>;
  capture(): Promise<unknown>;
  setup(folders: string[]): Promise<unknown>;
}

export interface StateProps {
  connection: Connection;
  actions: StateActions;
  trans: TranslationBundle;
}

/** True when there is nothing sensible to list: the state takes the whole panel. */
export function takesPanel(connection: Connection): boolean {
  const { state, status } = connection;
  if (state.kind === 'missing') return true;
  if (status === undefined) return state.kind !== 'connected';
  return status.state === 'setup-needed' || isLocked(status);
}

/** The log does not open, so that each list would say the same once more. */
function isLocked({ state, error }: Status): boolean {
  return state === 'error' && (error?.code === 'LOG_ENCRYPTED' || error?.code === 'PASSPHRASE_WRONG');
}

/** The line above the lists, or the whole panel when {@link takesPanel}. Nothing when all is well. */
export function StateView(props: StateProps): JSX.Element | null {
  const { connection, trans } = props;
  useSignals(connection.stateChanged);
  const { state, status } = connection;
  const waiting = useLasting(state.kind === 'connecting', 150);
  if (state.kind === 'missing') return <Missing {...props} state={state} />;
  if (state.kind === 'disconnected') return <Disconnected {...props} state={state} />;
  if (status === undefined) return waiting ? <Skeleton label={trans.__('Connecting to Syft Sync')} /> : null;
  if (status.state === 'setup-needed') return <Setup {...props} status={status} />;
  return <Recording {...props} status={status} />;
}

/** Grey bars where rows will be. */
export function Skeleton(props: { label: string }): JSX.Element {
  return (
    <div className="jp-SyftSync-skeleton" role="status" aria-label={props.label}>
      {[70, 50, 85, 60].map(width => (
        <span key={width} style={{ width: `${width}%` }} />
      ))}
    </div>
  );
}

function explanation(reason: string, trans: TranslationBundle): { title: string; hint: string | undefined } {
  switch (reason) {
    case 'no-extension':
      return {
        title: trans.__('The Syft Sync sidecar is not running'),
        hint: trans.__(
          'Nothing is recorded. Install the server extension with “pip install syft-sync-jupyterlab”, then start JupyterLab again.'
        )
      };
    case 'version-mismatch':
      return {
        title: trans.__('The panel and the sidecar are of different versions'),
        hint: trans.__(
          'Restart the Jupyter server and reload this page, so that both are of the version installed last.'
        )
      };
    case 'disabled':
      return { title: trans.__('Syft Sync is switched off on this server'), hint: undefined };
    default:
      return { title: trans.__('The Syft Sync sidecar is not running'), hint: undefined };
  }
}

/** What is between backticks is to be typed. */
function withCode(text: string): React.ReactNode[] {
  return text.split('`').map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part));
}

function Missing(props: StateProps & { state: ConnectionState & { kind: 'missing' } }): JSX.Element {
  const { trans, state, connection, actions } = props;
  const { title, hint } = explanation(state.reason, trans);
  const canRestart = !['no-extension', 'disabled', 'version-mismatch'].includes(state.reason);
  return (
    <div className="jp-SyftSync-state" role="alert">
      <h3>{title}</h3>
      <p>{withCode(state.reason === 'no-extension' ? explain('NO_EXTENSION', state.message, trans) : state.message)}</p>
      {(state.hint ?? hint) ? <p>{withCode(state.hint ?? hint ?? '')}</p> : null}
      <p className="jp-SyftSync-buttons">
        {canRestart ? (
          <Action
            trans={trans}
            label={trans.__('Start it again')}
            primary
            run={() => actions.restartProcess().then(() => connection.retry())}
          />
        ) : null}
        <Action trans={trans} label={trans.__('Try again')} run={() => Promise.resolve(connection.retry())} />
      </p>
    </div>
  );
}

function Disconnected(props: StateProps & { state: ConnectionState & { kind: 'disconnected' } }): JSX.Element {
  const { trans, state, connection } = props;
  const now = useNow(1000);
  const seconds = Math.max(0, Math.ceil((state.retryAt - now) / 1000));
  const known = connection.status !== undefined;
  return (
    <div className="jp-SyftSync-banner jp-SyftSync-mod-warning" role="status">
      <strong>{state.code === 'LOGGED_OUT' ? trans.__('Not logged in') : trans.__('Not connected')}</strong>
      <p>
        {printable(explain(state.code, state.message, trans))}{' '}
        {known ? trans.__('What is listed is as of the last connection; nothing can be previewed or restored.') : ''}
      </p>
      <p className="jp-SyftSync-buttons">
        {/* The seconds are for the eye: a screen reader would read each of them aloud. */}
        <span aria-hidden="true">
          {seconds > 0 ? trans._n('Next try in %1 second', 'Next try in %1 seconds', seconds) : trans.__('Trying…')}
        </span>
        <Action trans={trans} label={trans.__('Try now')} run={() => Promise.resolve(connection.retry())} />
      </p>
    </div>
  );
}

function Recording(props: StateProps & { status: Status }): JSX.Element | null {
  const { status, trans, actions } = props;
  if (status.state === 'error') {
    const full = status.error?.code === 'DISK_FULL';
    return (
      <div className="jp-SyftSync-banner jp-SyftSync-mod-error" role="alert">
        <strong>
          {full
            ? trans.__('The disk is full: nothing more is recorded')
            : status.error?.code === 'LOG_ENCRYPTED'
              ? trans.__('A passphrase is needed: nothing is recorded')
              : status.error?.code === 'PASSPHRASE_WRONG'
                ? trans.__('Not the right passphrase: nothing is recorded')
                : trans.__('Recording stopped')}
        </strong>
        <p>{printable(status.error?.message ?? '')}</p>
        <p className="jp-SyftSync-buttons">
          <Action
            trans={trans}
            label={trans.__('Try again')}
            run={() => actions.resume().then(() => actions.capture())}
          />
        </p>
      </div>
    );
  }
  if (status.state === 'paused') {
    return (
      <div className="jp-SyftSync-banner jp-SyftSync-mod-warning" role="status">
        <strong>{trans.__('Recording is paused')}</strong>
        <p>{trans.__('What changes now is recorded once, as it is when you resume.')}</p>
        <p className="jp-SyftSync-buttons">
          <Action trans={trans} label={trans.__('Resume')} primary run={() => actions.resume()} />
        </p>
      </div>
    );
  }
  if (status.state === 'read-only') {
    return (
      <div className="jp-SyftSync-banner" role="status">
        <strong>{trans.__('Reading only')}</strong>
        <p>
          {printable(
            status.error?.message ?? trans.__('Another process records this folder; its history is shown here.')
          )}
        </p>
      </div>
    );
  }
  if (status.state === 'starting' && status.progress !== undefined) {
    const { done, total } = status.progress;
    return (
      <div className="jp-SyftSync-banner" role="status">
        <strong>{trans.__('First look at this folder')}</strong>
        <p>
          {total > 0
            ? trans.__('%1 of %2 files', done.toLocaleString(), total.toLocaleString())
            : trans._n('%1 file', '%1 files', done)}
        </p>
        <progress
          aria-label={trans.__('First look at this folder')}
          max={total > 0 ? total : undefined}
          value={total > 0 ? done : undefined}
        />
      </div>
    );
  }
  if (!status.index.ready && status.index.detail !== undefined) {
    return (
      <div className="jp-SyftSync-banner" role="status">
        <p>{printable(status.index.detail)}</p>
      </div>
    );
  }
  return null;
}

function Setup(props: StateProps & { status: Status }): JSX.Element {
  const { trans, actions, status } = props;
  const [chosen, setChosen] = React.useState<ReadonlySet<string>>(new Set());
  const setup = status.setup;
  const why =
    setup?.reason === 'home'
      ? trans.__('This is your home folder.')
      : setup?.reason === 'filesystem-root'
        ? trans.__('This is the root of the file system.')
        : trans.__('This folder holds %1 files.', (setup?.files ?? 0).toLocaleString());
  const toggle = (path: string): void => {
    const next = new Set(chosen);
    if (!next.delete(path)) next.add(path);
    setChosen(next);
  };
  return (
    <div className="jp-SyftSync-state">
      <h3>{trans.__('Which folders shall be recorded?')}</h3>
      <p>
        {why}{' '}
        {trans.__(
          'Every version of every file in the folders you choose is kept in .syft-sync. Nothing is recorded yet.'
        )}
      </p>
      <fieldset className="jp-SyftSync-folders">
        <legend>{trans.__('Folders')}</legend>
        {(setup?.folders ?? []).map(({ path, files }) => (
          <label key={path}>
            <input type="checkbox" checked={chosen.has(path)} onChange={() => toggle(path)} />
            <span className="jp-SyftSync-name">{printable(path)}</span>
            <span className="jp-SyftSync-size">
              {files === undefined ? '' : trans._n('%1 file', '%1 files', files)}
            </span>
          </label>
        ))}
      </fieldset>
      <p className="jp-SyftSync-buttons">
        <Action
          trans={trans}
          label={trans.__('Record these')}
          primary
          disabled={chosen.size === 0}
          run={() => actions.setup([...chosen])}
        />
        <Action trans={trans} label={trans.__('Record everything')} run={() => actions.setup(['.'])} />
      </p>
    </div>
  );
}

/** A button that is busy while what it does goes on, and says so when it fails. */
function Action(props: {
  label: string;
  trans: TranslationBundle;
  run: () => Promise<unknown>;
  primary?: boolean;
  disabled?: boolean;
}): JSX.Element {
  const [busy, setBusy] = React.useState(false);
  const [failure, setFailure] = React.useState('');
  const mounted = React.useRef(true);
  React.useEffect(() => {
    mounted.current = true;
    return () => {
      mounted.current = false;
    };
  }, []);
  const onClick = async (): Promise<void> => {
    setBusy(true);
    setFailure('');
    try {
      await props.run();
    } catch (error) {
      if (mounted.current) setFailure(messageOf(error, props.trans));
    }
    if (mounted.current) setBusy(false);
  };
  return (
    <>
      <button
        type="button"
        className={`jp-mod-styled ${props.primary === true ? 'jp-mod-accept' : 'jp-mod-reject'}`}
        disabled={busy || props.disabled === true}
        onClick={onClick}
      >
        {props.label}
      </button>
      {failure === '' ? null : <span role="alert">{printable(failure)}</span>}
    </>
  );
}
