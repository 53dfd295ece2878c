/** Whom a message is for: contacts by their names, others by an age key or any name. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { printable } from '../history/words';
import type { ShareForm } from './form';
import { recipientName } from './words';

export function Recipients(props: {
  form: ShareForm;
  trans: TranslationBundle;
  children: React.ReactNode;
}): JSX.Element {
  const { form, trans } = props;
  const id = React.useId();
  const input = React.useRef<HTMLInputElement>(null);
  const known = [...new Set((form.contacts ?? []).map(({ name }) => name))].filter(
    name => !form.recipients.includes(name)
  );
  const invalid = form.problem?.field === 'recipients';
  return (
    <div className="jp-SyftSync-recipients" data-field="recipients">
      <label htmlFor={`${id}-input`}>{trans.__('For')}</label>
      {/* A click beside the names is meant for what is typed. */}
      <div
        className="jp-SyftSync-recipientField"
        onClick={event => event.target === event.currentTarget && input.current?.focus()}
      >
        {form.recipients.length === 0 ? null : (
          <ul aria-label={trans.__('Recipients')}>
            {form.recipients.map(recipient => (
              <li key={recipient} title={printable(recipient)}>
                <span>{printable(recipientName(recipient))}</span>
                <button
                  type="button"
                  aria-label={trans.__('Remove %1', printable(recipientName(recipient)))}
                  disabled={form.busy}
                  onClick={() => {
                    form.removeRecipient(recipient);
                    input.current?.focus();
                  }}
                >
                  <closeIcon.react tag="span" />
                </button>
              </li>
            ))}
          </ul>
        )}
        <input
          id={`${id}-input`}
          ref={input}
          className="jp-SyftSync-shareTyped"
          list={`${id}-known`}
          value={form.typed}
          placeholder={form.recipients.length === 0 ? trans.__('anybody; or names, age1…') : ''}
          aria-invalid={invalid}
          aria-describedby={invalid ? 'jp-SyftSync-error-recipients' : undefined}
          spellCheck={false}
          autoComplete="off"
          disabled={form.busy}
          onChange={event => {
            const { value } = event.currentTarget;
            form.set({ typed: value });
            // A name that was chosen from the list is whole.
            if (value.endsWith(',') || known.includes(value)) form.addTyped();
          }}
          onBlur={() => form.typed.trim() !== '' && form.addTyped()}
          onKeyDown={event => {
            const last = form.recipients.at(-1);
            if (event.key === 'Backspace' && form.typed === '' && last !== undefined) form.removeRecipient(last);
          }}
        />
        <datalist id={`${id}-known`}>
          {known.slice(0, 200).map(name => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </div>
      {props.children}
    </div>
  );
}
