/** What is asked before versions of files are shared: which, to whom, where to. It stays open until the message is made. */
import { Dialog, ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { ShareMessageResult } from '../../server/src/api/contract';
import { useLasting, useSignals } from '../history/use-signal';
import { printable, size } from '../history/words';
import { StateMark } from '../messages/state-mark';
import { FileChoice } from './file-choice';
import type { Field, ShareForm, Whereto } from './form';
import { Recipients } from './recipients';
import { sealingSentence, withMailbox } from './words';

/** Of what is left out, so much is listed. */
const LISTED = 200;

/** How the dialog ended. */
export type Answer = { kind: 'shared'; result: ShareMessageResult } | { kind: 'browse' } | { kind: 'cancelled' };

export async function askToShare(form: ShareForm, trans: TranslationBundle): Promise<Answer> {
  const dialog = new ShareDialog(form, trans);
  await dialog.launch();
  return dialog.answer;
}

class ShareDialog extends Dialog<unknown> {
  constructor(form: ShareForm, trans: TranslationBundle) {
    super({
      title: form.replyTo === undefined ? trans.__('Share as .syft') : trans.__('Reply'),
      body: new ShareBody(form, trans, () => this._leave({ kind: 'browse' })),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: form.replyTo === undefined ? trans.__('Share') : trans.__('Send reply') })
      ],
      focusNodeSelector: '.jp-SyftSync-shareTyped'
    });
    this._form = form;
    this.addClass('jp-SyftSync-shareDialog');
    form.changed.connect(this._onChanged, this);
    this._onChanged();
  }

  answer: Answer = { kind: 'cancelled' };

  override dispose(): void {
    if (!this.isDisposed) this._form.changed.disconnect(this._onChanged, this);
    super.dispose();
  }

  /** Accepting makes the message first: what is in its way is said at its field, and nothing typed is lost. */
  override resolve(index?: number): void {
    if (index === 0) this.reject();
    else void this._share();
  }

  override reject(): void {
    this._form.cancel();
    super.reject();
  }

  override handleEvent(event: Event): void {
    // The dialog would take Enter for itself, whatever has the focus.
    if (event instanceof KeyboardEvent && event.key === 'Enter' && event.target instanceof Element) {
      const { target } = event;
      const own =
        target instanceof HTMLButtonElement || target instanceof HTMLSelectElement || target.tagName === 'SUMMARY';
      if (own && target.closest('.jp-Dialog-body') !== null) return;
      if (target.matches('.jp-SyftSync-shareTyped') && this._form.typed.trim() !== '') {
        event.preventDefault();
        event.stopPropagation();
        this._form.addTyped();
        return;
      }
    }
    super.handleEvent(event);
  }

  private async _share(): Promise<void> {
    const result = await this._form.share();
    if (this.isDisposed) return;
    if (result !== undefined) this._leave({ kind: 'shared', result });
    else this._focusProblem();
  }

  private _leave(answer: Answer): void {
    this.answer = answer;
    super.reject();
  }

  private _focusProblem(): void {
    const { problem } = this._form;
    if (problem === undefined) return;
    requestAnimationFrame(() => {
      this.node.querySelector<HTMLElement>(`[data-field="${problem.field}"] [aria-invalid="true"]`)?.focus();
    });
  }

  private _onChanged(): void {
    const accept = this.node.querySelector<HTMLButtonElement>('.jp-Dialog-footer .jp-mod-accept');
    if (accept !== null) accept.disabled = this._form.busy || this._form.state === 'planning';
  }

  private readonly _form: ShareForm;
}

class ShareBody extends ReactWidget {
  constructor(
    private readonly _form: ShareForm,
    private readonly _trans: TranslationBundle,
    private readonly _onBrowse: () => void
  ) {
    super();
    this.addClass('jp-SyftSync-share');
  }

  protected render(): JSX.Element {
    return <Share form={this._form} trans={this._trans} onBrowse={this._onBrowse} />;
  }
}

interface ShareProps {
  form: ShareForm;
  trans: TranslationBundle;
  /** Files are to be chosen in JupyterLab's own dialog. */
  onBrowse: () => void;
}

function Share(props: ShareProps): JSX.Element {
  const { form, trans } = props;
  useSignals(form.changed);
  const making = useLasting(form.busy, 300);
  return (
    <>
      <FileChoice {...props}>
        <FieldError form={form} field="files" />
      </FileChoice>
      <LeftOut form={form} trans={trans} />
      <Recipients form={form} trans={trans}>
        <FieldError form={form} field="recipients" />
      </Recipients>
      <Seal form={form} trans={trans} />
      <label className="jp-SyftSync-shareNote">
        <span>{trans.__('Note')}</span>
        <textarea
          className="jp-mod-styled"
          rows={2}
          value={form.note}
          disabled={form.busy}
          onChange={event => form.set({ note: event.currentTarget.value })}
        />
      </label>
      <Destination form={form} trans={trans} />
      <FieldError form={form} field="whole" />
      <div className="jp-SyftSync-shareProgress" role="status">
        {making ? (
          <>
            <progress aria-label={trans.__('Making the message')} />
            {trans.__('Signing %1…', size(sum(form)))}
          </>
        ) : null}
      </div>
    </>
  );
}

function FieldError(props: { form: ShareForm; field: Field }): JSX.Element | null {
  const { problem } = props.form;
  if (problem?.field !== props.field || problem.text === '') return null;
  return (
    <p className="jp-SyftSync-fieldError" role="alert" id={`jp-SyftSync-error-${props.field}`}>
      {printable(problem.text)}
    </p>
  );
}

/** What is not sent, and why. */
function LeftOut({ form, trans }: { form: ShareForm; trans: TranslationBundle }): JSX.Element | null {
  const { refused } = form;
  if (refused.length === 0) return null;
  const more = refused.length - LISTED;
  return (
    <details className="jp-SyftSync-leftOut" open={form.files.length === 0 && form.state === 'ready'}>
      <summary>{trans._n('%1 file is left out', '%1 files are left out', refused.length)}</summary>
      <ul tabIndex={0} aria-label={trans.__('Left out')}>
        {refused.slice(0, LISTED).map(({ path, reason }) => (
          <li key={path}>
            <span>{printable(path)}</span> {printable(reason)}
          </li>
        ))}
        {more > 0 ? <li>{trans.__('and %1 more', more)}</li> : null}
      </ul>
    </details>
  );
}

function Seal({ form, trans }: { form: ShareForm; trans: TranslationBundle }): JSX.Element {
  const { sealing, problem } = form;
  const slow = useLasting(sealing === undefined, 150);
  const bad = (sealing?.kind === 'mixed' && form.encrypt) || (problem?.field === 'recipients' && problem.text === '');
  return (
    <>
      {form.canEncrypt ? (
        <label className="jp-SyftSync-choice">
          <input
            type="checkbox"
            checked={form.encrypt}
            disabled={form.busy}
            onChange={event => form.set({ encrypt: event.currentTarget.checked })}
          />
          {trans.__('Encrypt for the recipients')}
        </label>
      ) : null}
      <p
        className={`jp-SyftSync-shareSeal ${bad ? 'jp-SyftSync-fieldError' : ''}`}
        role={bad ? 'alert' : 'status'}
        data-sealing={form.encrypt || !form.canEncrypt ? sealing?.kind : 'declined'}
      >
        {sealing?.kind === 'sealed' && form.encrypt ? <StateMark state="sealed" /> : null}
        <span>
          {sealing === undefined
            ? slow
              ? trans.__('Looking for their keys…')
              : ' '
            : sealingSentence(sealing, form.addressees, trans, form.encrypt)}
        </span>
      </p>
    </>
  );
}

/** Where the message goes. */
function Destination({ form, trans }: { form: ShareForm; trans: TranslationBundle }): JSX.Element {
  const id = React.useId();
  const owners = withMailbox(form.contacts ?? []);
  const choice = (whereto: Whereto, label: string): JSX.Element => (
    <label>
      <input
        type="radio"
        name={id}
        checked={form.whereto === whereto}
        disabled={form.busy}
        onChange={() => {
          const [owner] = owners;
          const first = form.mailbox === '' && owners.length === 1 && owner !== undefined ? { mailbox: owner } : {};
          form.set({ whereto, ...(whereto === 'mailbox' && first) });
        }}
      />
      {label}
    </label>
  );
  const invalid = (field: Field): boolean => form.problem?.field === field;
  return (
    <fieldset className="jp-SyftSync-whereto">
      <legend>{trans.__('Where to')}</legend>
      <div className="jp-SyftSync-choice" data-field="place">
        {choice('workspace', trans.__('A file in the workspace'))}
        <input
          className="jp-mod-styled"
          aria-label={trans.__('Path of the file')}
          aria-invalid={invalid('place')}
          aria-describedby={invalid('place') ? 'jp-SyftSync-error-place' : undefined}
          value={form.place}
          spellCheck={false}
          disabled={form.busy}
          onFocus={() => form.whereto !== 'workspace' && form.set({ whereto: 'workspace' })}
          onChange={event => form.set({ place: event.currentTarget.value })}
        />
      </div>
      <FieldError form={form} field="place" />
      <div className="jp-SyftSync-choice">{choice('download', trans.__('Download with the browser'))}</div>
      {owners.length === 0 ? null : (
        <div className="jp-SyftSync-choice" data-field="mailbox">
          {choice('mailbox', trans.__('The mailbox of'))}
          <select
            className="jp-mod-styled"
            aria-label={trans.__('Whose mailbox')}
            aria-invalid={invalid('mailbox')}
            value={form.mailbox}
            disabled={form.busy}
            onChange={event => form.set({ whereto: 'mailbox', mailbox: event.currentTarget.value })}
          >
            <option value="">{trans.__('Choose…')}</option>
            {owners.map(name => (
              <option key={name} value={name}>
                {printable(name)}
              </option>
            ))}
          </select>
        </div>
      )}
      <FieldError form={form} field="mailbox" />
    </fieldset>
  );
}

function sum({ chosen }: ShareForm): number {
  return chosen.reduce((bytes, file) => bytes + file.size, 0);
}
