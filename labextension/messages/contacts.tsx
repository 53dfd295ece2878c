/** Whose keys are known here, how to add one, and how to be added by others. */
import { Clipboard, Dialog, Notification, ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { AddContactRequest, ContactDto, ContactsDto } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { messageOf } from '../client/errors';
import { Skeleton } from '../history/states';
import { useLasting } from '../history/use-signal';
import { printable } from '../history/words';
import { BodyDialog } from './body-dialog';

/** Bytes of a picture; what is larger is a photograph, in which the link could hardly be found. */
const LARGEST_PICTURE = 600_000;

export interface ContactsOptions {
  client: SyftClient;
  /** Keys can be added and removed. */
  canWrite: boolean;
  trans: TranslationBundle;
}

export async function showContacts(options: ContactsOptions): Promise<void> {
  const dialog = new BodyDialog({
    title: options.trans.__('Contacts'),
    body: new ContactsBody(options),
    buttons: [Dialog.okButton({ label: options.trans.__('Close') })],
    focusNodeSelector: '.jp-SyftSync-contacts input'
  });
  dialog.addClass('jp-SyftSync-contactsDialog');
  await dialog.launch();
}

class ContactsBody extends ReactWidget {
  constructor(private readonly _options: ContactsOptions) {
    super();
    this.addClass('jp-SyftSync-contacts');
  }

  protected render(): JSX.Element {
    return <Contacts {...this._options} />;
  }
}

function Contacts(props: ContactsOptions): JSX.Element {
  const { client, trans } = props;
  const [known, setKnown] = React.useState<ContactsDto>();
  const [error, setError] = React.useState<unknown>();
  const [added, setAdded] = React.useState<ContactDto>();
  const slow = useLasting(known === undefined && error === undefined, 150);
  const load = React.useCallback(async (): Promise<void> => {
    try {
      setKnown(await client.contacts());
      setError(undefined);
    } catch (failure) {
      setError(failure);
    }
  }, [client]);
  React.useEffect(() => void load(), [load]);

  if (known === undefined) {
    if (error === undefined) return slow ? <Skeleton label={trans.__('Loading')} /> : <></>;
    return (
      <>
        <p role="alert">{printable(messageOf(error, trans))}</p>
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => void load()}>
          {trans.__('Try again')}
        </button>
      </>
    );
  }
  return (
    <>
      <Me {...props} me={known.me} changed={load} />
      <section aria-label={trans.__('Others')}>
        <h3>{trans.__('Others')}</h3>
        {props.canWrite ? (
          <Add
            {...props}
            added={async contact => {
              setAdded(contact);
              await load();
            }}
          />
        ) : null}
        {added === undefined ? null : (
          <div className="jp-SyftSync-trust" role="status">
            <p>
              {trans.__(
                'Added %1. Ask for these words another way, as by phone: if they are others, remove the contact.',
                printable(added.name)
              )}
            </p>
            <Words fingerprint={added.fingerprint} />
          </div>
        )}
        {known.contacts.length === 0 ? (
          <p className="jp-SyftSync-acceptNote">
            {trans.__(
              'Nobody yet. Whoever sends you a message is added when you accept it; or ask for a link, and add it here.'
            )}
          </p>
        ) : (
          <ul className="jp-SyftSync-contactList">
            {known.contacts.map(contact => (
              <Other
                key={contact.publicKey}
                {...props}
                contact={contact}
                changed={async () => {
                  if (added?.publicKey === contact.publicKey) setAdded(undefined);
                  await load();
                }}
              />
            ))}
          </ul>
        )}
      </section>
    </>
  );
}

function Words(props: { fingerprint: string }): JSX.Element {
  return (
    <p className="jp-SyftSync-fingerprint">
      {props.fingerprint.split(/[\s-]+/).map((word, index) => (
        <span key={index}>{printable(word)}</span>
      ))}
    </p>
  );
}

type Field = 'name' | 'recipient' | 'mailbox';

function Me(props: ContactsOptions & { me: ContactDto; changed: () => Promise<void> }): JSX.Element {
  const { me, client, canWrite, trans, changed } = props;
  const [draft, setDraft] = React.useState<Record<Field, string>>();
  const [failure, setFailure] = React.useState('');
  const [picture, setPicture] = React.useState(0);
  const fields: [Field, string, string][] = [
    ['name', trans.__('Name'), ''],
    ['recipient', trans.__('Age key'), trans.__('age1…, what others seal for you with')],
    ['mailbox', trans.__('Mailbox'), trans.__('file:///… or s3://…, where others put messages for you')]
  ];
  const save = async (): Promise<void> => {
    if (draft === undefined) return;
    try {
      await client.changeMyContact({
        ...(draft.name.trim() !== '' && { name: draft.name.trim() }),
        recipient: draft.recipient.trim(),
        mailbox: draft.mailbox.trim()
      });
      setDraft(undefined);
      setFailure('');
      setPicture(picture + 1);
      await changed();
    } catch (error) {
      setFailure(messageOf(error, trans));
    }
  };
  return (
    <section aria-label={trans.__('You')}>
      <h3>{trans.__('You')}</h3>
      <div className="jp-SyftSync-contactMe">
        <div>
          <p>
            <strong>{printable(me.name)}</strong>
          </p>
          <Words fingerprint={me.fingerprint} />
          <p className="jp-SyftSync-acceptNote">
            {trans.__('Tell others these words when they ask, and give them your link or its picture.')}
          </p>
          <p className="jp-SyftSync-buttons">
            <button
              type="button"
              className="jp-mod-styled jp-mod-reject"
              onClick={() => Clipboard.copyToSystem(me.link)}
            >
              <copyIcon.react tag="span" /> {trans.__('Copy link')}
            </button>
            <a
              className="jp-SyftSync-link"
              href={client.contactPictureUrl({ format: 'png' })}
              download="syft-sync-contact.png"
            >
              {trans.__('Save picture')}
            </a>
            {canWrite && draft === undefined ? (
              <button
                type="button"
                className="jp-SyftSync-link"
                onClick={() => setDraft({ name: me.name, recipient: me.recipient ?? '', mailbox: me.mailbox ?? '' })}
              >
                {trans.__('Change…')}
              </button>
            ) : null}
          </p>
        </div>
        <img
          // The picture of what was changed is another, at the same address.
          key={picture}
          src={`${client.contactPictureUrl()}${picture === 0 ? '' : `#${picture}`}`}
          alt={trans.__('Your link as a QR code')}
        />
      </div>
      {draft === undefined ? null : (
        <form
          className="jp-SyftSync-contactForm"
          onSubmit={event => {
            event.preventDefault();
            void save();
          }}
        >
          {fields.map(([field, label, hint]) => (
            <label key={field}>
              <span>{label}</span>
              <input
                className="jp-mod-styled"
                value={draft[field]}
                placeholder={hint}
                spellCheck={false}
                onChange={event => setDraft({ ...draft, [field]: event.currentTarget.value })}
              />
            </label>
          ))}
          {failure === '' ? null : (
            <p className="jp-SyftSync-acceptError" role="alert">
              {printable(failure)}
            </p>
          )}
          <p className="jp-SyftSync-buttons">
            <button type="submit" className="jp-mod-styled jp-mod-accept">
              {trans.__('Save')}
            </button>
            <button
              type="button"
              className="jp-mod-styled jp-mod-reject"
              onClick={() => {
                setDraft(undefined);
                setFailure('');
              }}
            >
              {trans.__('Cancel')}
            </button>
          </p>
        </form>
      )}
    </section>
  );
}

function Add(props: ContactsOptions & { added: (contact: ContactDto) => Promise<void> }): JSX.Element {
  const { client, trans } = props;
  const [link, setLink] = React.useState('');
  const [failure, setFailure] = React.useState('');
  const [busy, setBusy] = React.useState(false);
  const add = async (request: () => Promise<AddContactRequest>): Promise<void> => {
    setBusy(true);
    try {
      const contact = await client.addContact(await request());
      setLink('');
      setFailure('');
      await props.added(contact);
    } catch (error) {
      setFailure(messageOf(error, trans));
    }
    setBusy(false);
  };
  const choose = (): void => {
    const input = document.createElement('input');
    input.type = 'file';
    input.accept = 'image/png';
    input.addEventListener('change', () => {
      const [file] = input.files ?? [];
      if (file !== undefined) void add(async () => ({ picture: await pictureOf(file, trans) }));
    });
    input.click();
  };
  return (
    <form
      onSubmit={event => {
        event.preventDefault();
        if (link.trim() !== '') void add(() => Promise.resolve({ link: link.trim() }));
      }}
    >
      <div className="jp-SyftSync-acceptPlace">
        <input
          className="jp-mod-styled"
          aria-label={trans.__('Link of a contact')}
          placeholder={trans.__('syft-sync:contact?…')}
          value={link}
          spellCheck={false}
          onChange={event => setLink(event.currentTarget.value)}
        />
        <button type="submit" className="jp-mod-styled jp-mod-reject" disabled={busy || link.trim() === ''}>
          {trans.__('Add')}
        </button>
        <button type="button" className="jp-mod-styled jp-mod-reject" disabled={busy} onClick={choose}>
          {trans.__('From a picture…')}
        </button>
      </div>
      {failure === '' ? null : (
        <p className="jp-SyftSync-acceptError" role="alert">
          {printable(failure)}
        </p>
      )}
    </form>
  );
}

async function pictureOf(file: File, trans: TranslationBundle): Promise<string> {
  if (file.size > LARGEST_PICTURE) {
    throw new Error(trans.__('The picture is too large. Cut it to the code, or add the link itself.'));
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  // String.fromCharCode takes its bytes as arguments, of which there can only be so many.
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

function Other(props: ContactsOptions & { contact: ContactDto; changed: () => Promise<void> }): JSX.Element {
  const { contact, client, canWrite, trans, changed } = props;
  const name = printable(contact.name);
  const remove = async (): Promise<void> => {
    try {
      // By the words of its key: they name one, also of somebody with several devices.
      await client.removeContact(contact.fingerprint);
      await changed();
      Notification.info(trans.__('Removed %1: messages with this key are of a new sender again.', name), {
        autoClose: 8000,
        actions: [
          {
            label: trans.__('Undo'),
            callback: () => {
              const { link, recipient, mailbox } = contact;
              const request = {
                link,
                ...(recipient !== undefined && { recipient }),
                ...(mailbox !== undefined && { mailbox })
              };
              client.addContact(request).then(changed, (error: unknown) => {
                Notification.error(printable(messageOf(error, trans)), { autoClose: false });
              });
            }
          }
        ]
      });
    } catch (error) {
      Notification.error(printable(messageOf(error, trans)), { autoClose: false });
    }
  };
  return (
    <li>
      <span className="jp-SyftSync-contactName">
        <span title={name}>{name}</span>
        <span className="jp-SyftSync-acceptNote">{printable(contact.fingerprint.replaceAll('-', ' '))}</span>
      </span>
      <span className="jp-SyftSync-acceptNote">
        {[
          ...(contact.recipient === undefined ? [] : [trans.__('can be sealed for')]),
          ...(contact.mailbox === undefined ? [] : [trans.__('has a mailbox')])
        ].join(', ')}
      </span>
      {canWrite ? (
        <button
          type="button"
          className="jp-SyftSync-action"
          title={trans.__('Remove %1', name)}
          aria-label={trans.__('Remove %1', name)}
          onClick={() => void remove()}
        >
          <closeIcon.react tag="span" />
        </button>
      ) : null}
    </li>
  );
}
