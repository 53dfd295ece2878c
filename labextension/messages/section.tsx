/** The section of the side panel with what was received and what was sent. */
import { PanelWithToolbar, ReactWidget, addIcon, refreshIcon, searchIcon, InputGroup } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { MessageBoxName, MessageSummary } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { Skeleton } from '../history/states';
import { useLasting, useNow, useSignals } from '../history/use-signal';
import { printable } from '../history/words';
import { contactsIcon } from '../icons';
import type { BoxesModel } from './boxes-model';
import { MessageList } from './list';

/** What the rows and buttons of the section set in motion. */
export interface MessageActions {
  open(message: MessageSummary): void;
  accept(message: MessageSummary): void;
  remove(message: MessageSummary): void;
  /** Chooses `.syft` files of this computer and takes them in. */
  add(): void;
  /** Looks into the mailboxes. @returns when it has looked */
  fetch(): Promise<void>;
  openContacts(): void;
  /** Back to the document. */
  leave(): void;
}

export const MESSAGES_SECTION_ID = 'syft-sync-messages';
/** Relative times are as old as this, in milliseconds. */
const CLOCK = 15_000;

export class MessagesSection extends PanelWithToolbar {
  constructor(options: MessagesSection.IOptions) {
    super();
    const { model, actions, trans } = options;
    this._model = model;
    this._trans = trans;
    this.id = MESSAGES_SECTION_ID;
    this.addClass('jp-SyftSync-section');
    this.addClass('jp-SyftSync-messages');
    const body = ReactWidget.create(<Boxes model={model} actions={actions} trans={trans} />);
    body.addClass('jp-SyftSync-sectionBody');
    this.addWidget(body);
    const buttons: [string, JSX.Element][] = [
      [
        'add',
        <ActionButton
          key="add"
          model={model}
          label={trans.__('Add a .syft file…')}
          run={() => actions.add()}
          icon={<addIcon.react tag="span" />}
        />
      ],
      [
        'fetch',
        <ActionButton
          key="fetch"
          model={model}
          label={trans.__('Look into the mailboxes')}
          run={() => actions.fetch()}
          icon={<refreshIcon.react tag="span" />}
        />
      ]
    ];
    if (options.contacts) {
      buttons.push([
        'contacts',
        <ActionButton
          key="contacts"
          model={model}
          label={trans.__('Contacts…')}
          run={() => actions.openContacts()}
          icon={<contactsIcon.react tag="span" />}
        />
      ]);
    }
    for (const [name, button] of buttons) this.toolbar.addItem(name, ReactWidget.create(button));
    model.changed.connect(this._update, this);
    this._update();
  }

  focusFilter(): void {
    this.node.querySelector<HTMLElement>('.jp-SyftSync-boxes input')?.focus();
  }

  /** Shows a box, and puts the focus on its first row as soon as there is one. */
  focusList(box?: MessageBoxName): void {
    if (box !== undefined) this._model.box = box;
    const from = document.activeElement;
    const deadline = Date.now() + 3000;
    const attempt = (): void => {
      if (this.isDisposed || Date.now() > deadline || document.activeElement !== from) return;
      const row = this.node.querySelector<HTMLElement>('[role="row"][tabindex="0"]');
      if (row === null) requestAnimationFrame(attempt);
      else row.focus();
    };
    requestAnimationFrame(attempt);
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this._model.changed.disconnect(this._update, this);
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._model.want();
  }

  private _update(): void {
    const { unread } = this._model;
    const trans = this._trans;
    this.title.label = unread === 0 ? trans.__('Messages') : trans._n('Messages · %1 new', 'Messages · %1 new', unread);
  }

  private readonly _model: BoxesModel;
  private readonly _trans: TranslationBundle;
}

export namespace MessagesSection {
  export interface IOptions {
    model: BoxesModel;
    actions: MessageActions;
    trans: TranslationBundle;
    /** There is somebody who shows the contacts. */
    contacts: boolean;
  }
}

/** True when the sidecar can write: what was received can be kept, and taken into the workspace. */
export function canWrite({ state, status }: BoxesModel['connection']): boolean {
  return (
    state.kind === 'connected' &&
    status !== undefined &&
    !['read-only', 'setup-needed', 'stopped'].includes(status.state)
  );
}

function ActionButton(props: {
  model: BoxesModel;
  label: string;
  icon: JSX.Element;
  run: () => Promise<void> | void;
}): JSX.Element {
  const { model, label } = props;
  useSignals(model.connection.stateChanged);
  const [busy, setBusy] = React.useState(false);
  return (
    <button
      type="button"
      className="jp-SyftSync-action"
      title={label}
      aria-label={label}
      disabled={busy || !canWrite(model.connection)}
      onClick={async () => {
        setBusy(true);
        try {
          await props.run();
        } finally {
          setBusy(false);
        }
      }}
    >
      {props.icon}
    </button>
  );
}

interface BoxesProps {
  model: BoxesModel;
  actions: MessageActions;
  trans: TranslationBundle;
}

function Boxes(props: BoxesProps): JSX.Element {
  const { model, actions, trans } = props;
  useSignals(model.changed, model.connection.stateChanged);
  const now = useNow(CLOCK);
  const onEnd = React.useCallback(() => void model.loadOlder(), [model]);
  const { messages } = model;
  return (
    <>
      <Heading {...props} />
      {messages.length > 0 ? (
        <MessageList
          // What is asked otherwise is another list: it begins at its top.
          key={`${model.box} ${model.filter}`}
          messages={messages}
          total={model.total}
          label={model.box === 'inbox' ? trans.__('Inbox') : trans.__('Outbox')}
          trans={trans}
          now={now}
          canAct={canWrite(model.connection)}
          onEnd={onEnd}
          onOpen={message => actions.open(message)}
          onAccept={message => actions.accept(message)}
          onRemove={message => actions.remove(message)}
          onSelect={message => {
            model.selected = message;
          }}
          onEscape={() => actions.leave()}
        />
      ) : (
        <Nothing {...props} />
      )}
    </>
  );
}

function Heading(props: BoxesProps): JSX.Element {
  const { model, trans } = props;
  const [text, setText] = React.useState(model.filter);
  React.useEffect(() => {
    const timer = setTimeout(() => {
      model.filter = text.trim();
    }, 150);
    return () => clearTimeout(timer);
  }, [text, model]);
  const box = (name: MessageBoxName, label: string): JSX.Element => (
    <button
      type="button"
      className="jp-SyftSync-box"
      aria-pressed={model.box === name}
      onClick={() => {
        model.box = name;
      }}
    >
      {label}
    </button>
  );
  return (
    <div className="jp-SyftSync-boxes">
      <span role="group" aria-label={trans.__('Box')} className="jp-SyftSync-boxSwitch">
        {box('inbox', trans.__('Inbox'))}
        {box('outbox', trans.__('Outbox'))}
      </span>
      <InputGroup
        type="search"
        rightIcon={searchIcon}
        placeholder={trans.__('Filter')}
        aria-label={trans.__('Filter messages by sender, recipient, file or note')}
        value={text}
        onChange={event => setText(event.currentTarget.value)}
        onKeyDown={event => {
          if (event.key === 'ArrowDown') {
            event.currentTarget
              .closest('.jp-SyftSync-sectionBody')
              ?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')
              ?.focus();
            event.preventDefault();
          }
          if (event.key !== 'Escape' || text === '') return;
          setText('');
          event.stopPropagation();
        }}
      />
    </div>
  );
}

/** What stands where no message is to be shown. */
function Nothing(props: BoxesProps): JSX.Element {
  const { model, actions, trans } = props;
  const slow = useLasting(model.state === 'loading', 150);
  if (model.state === 'failed') {
    return (
      <div className="jp-SyftSync-hint" tabIndex={0}>
        <p role="alert">{printable(messageOf(model.error, trans))}</p>
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => void model.reload()}>
          {trans.__('Try again')}
        </button>
      </div>
    );
  }
  if (model.state !== 'ready') return slow ? <Skeleton label={trans.__('Loading')} /> : <></>;
  // It may be longer than its section, and must then be scrolled by keyboard too.
  return (
    <div className="jp-SyftSync-hint" tabIndex={0}>
      {model.filter !== '' ? (
        model.box === 'inbox' ? (
          trans.__('No message in the inbox with “%1” in its sender, files or note.', printable(model.filter))
        ) : (
          trans.__('No message in the outbox with “%1” in its recipients, files or note.', printable(model.filter))
        )
      ) : model.box === 'outbox' ? (
        <>
          <p>{trans.__('What you send to others is listed here.')}</p>
          <p>
            {trans.__(
              'Right-click a file or folder in the file browser and choose “Share as .syft…”, or drag it here.'
            )}
          </p>
        </>
      ) : (
        <>
          <p>
            {trans.__(
              'Versions of files that others send you come as .syft files: signed, and checked before anything is taken over.'
            )}
          </p>
          <p>{trans.__('Drag one here from the file browser or from your computer, or add it.')}</p>
          <button
            type="button"
            className="jp-mod-styled jp-mod-reject"
            disabled={!canWrite(model.connection)}
            onClick={() => actions.add()}
          >
            {trans.__('Add a .syft file…')}
          </button>
        </>
      )}
    </div>
  );
}
