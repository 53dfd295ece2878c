/** All that is said of a message: from whom, in which state, what of it is proven, which files; or why nothing of it is shown. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { MessageDetail } from '../../server/src/api/contract';
import type { StateActions } from '../history/states';
import { Skeleton, StateView, takesPanel } from '../history/states';
import { useLasting, useSignals } from '../history/use-signal';
import { absolute, atMinute, printable, shorten, size } from '../history/words';
import { canWrite } from '../messages/section';
import { StateMark } from '../messages/state-mark';
import { acceptable, recipientName, senderName, stateSentence, stateWord, who } from '../messages/words';
import { Failed } from './failed';
import type { FailureActions } from './failed';
import { FileList } from './files';
import { Proof } from './proof';
import type { MessageViewModel } from './view-model';

/** Characters of a name, and of a note, that are shown. */
const LONGEST_NAME = 80;
const LONGEST_NOTE = 20_000;
const MOST_RECIPIENTS = 20;

export interface AboutActions extends FailureActions {
  accept: () => void;
  /** Undefined where nothing can be sent from. */
  reply: (() => void) | undefined;
  /** Takes the file into the inbox; undefined of a message that is in a box. */
  receive: (() => void) | undefined;
  compare: (file: number) => void;
  /** The address of the `.syft` file. */
  archiveUrl: () => Promise<string>;
  fileUrl: (file: number) => string | undefined;
  /** Shows the contact link of this installation. */
  openContacts: (() => void) | undefined;
  state: StateActions;
}

export interface AboutProps {
  model: MessageViewModel;
  actions: AboutActions;
  trans: TranslationBundle;
}

export function About(props: AboutProps): JSX.Element {
  const { model, actions, trans } = props;
  const { connection } = model;
  useSignals(model.changed, connection.stateChanged);
  const { state } = model;
  const slow = useLasting(state.kind === 'loading', 150);
  if (state.kind !== 'message' && takesPanel(connection)) {
    return <StateView connection={connection} actions={actions.state} trans={trans} />;
  }
  return (
    <>
      {connection.state.kind === 'disconnected' ? (
        <StateView connection={connection} actions={actions.state} trans={trans} />
      ) : null}
      {state.kind === 'message' ? (
        <Whole {...props} message={state.message} />
      ) : state.kind === 'failed' ? (
        <Failed {...props} failure={state.failure} error={state.error} />
      ) : slow ? (
        <Skeleton label={trans.__('Checking the message')} />
      ) : null}
    </>
  );
}

function noteText(note: string): string {
  const shown = note.length > LONGEST_NOTE ? `${note.slice(0, LONGEST_NOTE)}…` : note;
  return shown
    .split(/\r?\n/)
    .map(line => printable(line))
    .join('\n');
}

/** What is called a message and is none, or not all of one: the sidecar's sentences for it. */
export function isNoMessage({ state, problem }: Pick<MessageDetail, 'state' | 'problem'>): boolean {
  return state === 'altered' && /\bit is not (a whole archive|a SyftMessage)\b/.test(problem ?? '');
}

function Whole(props: AboutProps & { message: MessageDetail }): JSX.Element {
  const { message, model, actions, trans } = props;
  const shown = message.state !== 'altered' && message.state !== 'locked';
  // Whoever made it chose the name, and how long it is.
  const name = shorten(senderName(message, trans), LONGEST_NAME);
  const outbox = message.box === 'outbox';
  const title = outbox
    ? who(message, trans)
    : shown
      ? trans.__('From %1', name)
      : isNoMessage(message)
        ? trans.__('Not a message')
        : message.state === 'locked'
          ? trans.__('A sealed message')
          : trans.__('An altered message');
  return (
    <article className="jp-SyftSync-docAbout" aria-label={title}>
      <h1>{title}</h1>
      {outbox ? null : (
        <div
          className={`jp-SyftSync-docState jp-SyftSync-mod-${message.state}`}
          role={message.state === 'altered' || message.state === 'changed-sender' ? 'alert' : undefined}
        >
          <StateMark state={message.state} />
          <p>
            <strong>{isNoMessage(message) ? trans.__('cannot be read') : stateWord(message.state, trans)}</strong>{' '}
            {isNoMessage(message)
              ? trans.__('It is called a message, and is none, or not all of one.')
              : stateSentence(message.state, name, trans)}
          </p>
        </div>
      )}
      {message.problem === undefined ? null : <p className="jp-SyftSync-docProblem">{printable(message.problem)}</p>}
      {message.state === 'altered' ? <AlteredAdvice noMessage={isNoMessage(message)} trans={trans} /> : null}
      {message.state === 'locked' ? <LockedAdvice {...props} /> : null}
      {message.note === undefined || message.note === '' ? null : (
        <blockquote className="jp-SyftSync-docNote" aria-label={trans.__('Note')} tabIndex={0}>
          {noteText(message.note)}
        </blockquote>
      )}
      <Buttons {...props} />
      <Facts message={message} trans={trans} />
      {shown && message.fileList.length > 0 ? (
        <section>
          <h2>
            {trans._n('%1 file', '%1 files', message.files)}
            <span className="jp-SyftSync-docMuted"> {size(message.bytes)}</span>
          </h2>
          <FileList
            files={message.fileList}
            chosen={model.chosen}
            onChoose={index => {
              model.chosen = index;
            }}
            compared={!outbox}
            actions={{ compare: outbox ? undefined : actions.compare, downloadUrl: actions.fileUrl }}
            trans={trans}
          />
          {message.files > message.fileList.length ? (
            <p className="jp-SyftSync-docMuted">
              {trans.__('The first %1 files are listed; all are accepted.', message.fileList.length.toLocaleString())}
            </p>
          ) : null}
        </section>
      ) : null}
      {shown && !outbox ? <Proof message={message} trans={trans} /> : null}
    </article>
  );
}

function AlteredAdvice({ noMessage, trans }: { noMessage: boolean; trans: TranslationBundle }): JSX.Element {
  return (
    <p>
      {noMessage
        ? trans.__(
            'It may have been cut off on its way, or be a file of another kind. Have it sent again, or download it to look into it.'
          )
        : trans.__(
            'Nothing of it is shown, since nothing of it can be relied on. Have it sent again, on another way if need be.'
          )}
    </p>
  );
}

function LockedAdvice(props: AboutProps): JSX.Element {
  const { model, actions, trans } = props;
  const { client } = model.connection;
  const [mine, setMine] = React.useState<string>();
  React.useEffect(() => {
    const abort = new AbortController();
    client.contacts(abort.signal).then(
      ({ me }) => setMine(me.recipient),
      () => undefined
    );
    return () => abort.abort();
  }, [client]);
  return (
    <>
      <p>
        {trans.__(
          'Only those that it was sealed for can open it; who they are does not stand on it. Nothing of it can be seen or accepted here.'
        )}
      </p>
      <p>
        {mine === undefined
          ? trans.__(
              'To be sent sealed messages, this installation needs an age identity. Then give the sender your contact link.'
            )
          : trans.__('Here messages are opened that are sealed for:')}
      </p>
      {mine === undefined ? null : <p className="jp-SyftSync-path">{printable(mine)}</p>}
      {mine === undefined ? null : <p>{trans.__('Have the sender seal it for that, and send it again.')}</p>}
      {actions.openContacts === undefined ? null : (
        <p className="jp-SyftSync-buttons">
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={actions.openContacts}>
            {trans.__('Your contact link…')}
          </button>
        </p>
      )}
    </>
  );
}

function Buttons(props: AboutProps & { message: MessageDetail }): JSX.Element {
  const { message, model, actions, trans } = props;
  const [url, setUrl] = React.useState<string>();
  React.useEffect(() => {
    let gone = false;
    actions.archiveUrl().then(
      found => {
        if (!gone) setUrl(found);
      },
      () => undefined
    );
    return () => {
      gone = true;
    };
  }, [message.id]);
  const inbox = message.box === 'inbox';
  const writes = canWrite(model.connection);
  const reason = !inbox
    ? undefined
    : !acceptable(message)
      ? message.state === 'changed-sender'
        ? trans.__('It cannot be accepted while the key is another than before. “Accept…” says what can be done.')
        : undefined
      : writes
        ? undefined
        : model.connection.state.kind === 'connected'
          ? trans.__('It cannot be accepted: the history here is open for reading only.')
          : trans.__('It cannot be accepted while there is no connection.');
  const id = React.useId();
  const opened = message.state !== 'altered' && message.state !== 'locked';
  return (
    <div>
      <div className="jp-SyftSync-docButtons">
        {inbox && opened ? (
          <button
            type="button"
            className="jp-mod-styled jp-mod-accept"
            disabled={!writes}
            aria-describedby={reason === undefined ? undefined : id}
            onClick={actions.accept}
          >
            {message.accepted === undefined ? trans.__('Accept…') : trans.__('Accept again…')}
          </button>
        ) : null}
        {inbox && opened && message.sender?.own === false ? (
          <button
            type="button"
            className="jp-mod-styled jp-mod-reject"
            disabled={!writes || actions.reply === undefined}
            title={actions.reply === undefined ? trans.__('Sharing is switched off') : undefined}
            onClick={actions.reply}
          >
            {trans.__('Reply…')}
          </button>
        ) : null}
        {actions.receive === undefined || message.state === 'altered' ? null : (
          <button type="button" className="jp-mod-styled jp-mod-reject" disabled={!writes} onClick={actions.receive}>
            {trans.__('Take into Messages')}
          </button>
        )}
        {url === undefined ? null : (
          <a className="jp-mod-styled jp-mod-reject jp-SyftSync-docDownload" href={url} download>
            {trans.__('Download')}
          </a>
        )}
      </div>
      {reason === undefined ? null : (
        <p id={id} className="jp-SyftSync-docMuted">
          {reason}
        </p>
      )}
    </div>
  );
}

function Facts({ message, trans }: { message: MessageDetail; trans: TranslationBundle }): JSX.Element {
  const { sender, recipients, accepted, delivered } = message;
  const facts: [name: string, value: React.ReactNode][] = [];
  if (message.box === 'inbox' && sender?.fingerprint !== undefined) {
    facts.push([
      trans.__('Words of the key'),
      <span className="jp-SyftSync-docWords">{printable(sender.fingerprint)}</span>
    ]);
  }
  if (message.at !== undefined) facts.push([trans.__('Recorded'), <Time at={message.at} />]);
  facts.push([
    message.box === 'outbox'
      ? trans.__('Sent')
      : message.source === 'file'
        ? trans.__('File from')
        : trans.__('Received'),
    <Time at={message.receivedAt} />
  ]);
  if (recipients.length > 0) {
    const names = recipients
      .slice(0, MOST_RECIPIENTS)
      .map(name => printable(shorten(recipientName(name), LONGEST_NAME)));
    const more = recipients.length - names.length;
    facts.push([trans.__('For'), more === 0 ? names.join(', ') : trans.__('%1 and %2 more', names.join(', '), more)]);
  }
  if (message.replyTo !== undefined) {
    facts.push([
      trans.__('Answer to'),
      <span className="jp-SyftSync-path">{printable(shorten(message.replyTo, LONGEST_NAME))}</span>
    ]);
  }
  if (accepted !== undefined) {
    facts.push([
      trans.__('Accepted'),
      accepted.to === undefined
        ? atMinute(accepted.at)
        : trans.__('%1, into %2', atMinute(accepted.at), printable(accepted.to))
    ]);
  }
  if (delivered?.path !== undefined) facts.push([trans.__('Saved as'), printable(delivered.path)]);
  if (delivered?.contact !== undefined) facts.push([trans.__('Mailbox'), printable(delivered.contact)]);
  facts.push([
    trans.__('Archive'),
    [
      size(message.size),
      ...(message.sealed ? [trans.__('sealed')] : []),
      ...(message.form === undefined || message.form === 'syft-sync' ? [] : [message.form])
    ].join(', ')
  ]);
  return (
    <dl className="jp-SyftSync-docFacts">
      {facts.map(([name, value]) => (
        <React.Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}

/** The day and the minute; the rest in the tooltip. */
function Time({ at }: { at: string }): JSX.Element {
  return (
    <time dateTime={at} title={absolute(at)}>
      {atMinute(at)}
    </time>
  );
}
