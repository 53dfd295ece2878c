/** What follows from the bytes of a message, and what it only says: side by side, so that one is not taken for the other. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { MessageDetail, MessageFact } from '../../server/src/api/contract';
import { printable } from '../history/words';

/** Facts about single files that are listed at most, once they are asked for. */
const MOST_OF_FILES = 500;
/** Characters of a fact; a note, which is shown whole above, is one. */
const LONGEST = 300;

export function Proof({ message, trans }: { message: MessageDetail; trans: TranslationBundle }): JSX.Element {
  return (
    <section>
      <h2>{trans.__('Proof')}</h2>
      <div className="jp-SyftSync-docProof">
        <FactList
          kind="proven"
          title={trans.__('Proven')}
          hint={trans.__('It follows from the message itself; nobody has to be believed.')}
          none={trans.__('Nothing: it is not signed.')}
          facts={message.proven}
          trans={trans}
        />
        <FactList
          kind="claimed"
          title={trans.__('Only claimed')}
          hint={trans.__('The message says so. It is as true as its sender is honest.')}
          none={trans.__('Nothing.')}
          facts={message.claimed}
          trans={trans}
        />
      </div>
    </section>
  );
}

function FactList(props: {
  kind: 'proven' | 'claimed';
  title: string;
  hint: string;
  none: string;
  facts: readonly MessageFact[];
  trans: TranslationBundle;
}): JSX.Element {
  const { facts, trans } = props;
  const [all, setAll] = React.useState(false);
  const general = facts.filter(({ path }) => path === undefined);
  const ofFiles = facts.filter(({ path }) => path !== undefined);
  const listed = all ? [...general, ...ofFiles.slice(0, MOST_OF_FILES)] : general;
  return (
    <div className="jp-SyftSync-docFactList" data-kind={props.kind}>
      <h3>{props.title}</h3>
      <p className="jp-SyftSync-docMuted">{props.hint}</p>
      {facts.length === 0 ? <p>{props.none}</p> : null}
      <ul>
        {listed.map(({ text }, index) => (
          <li key={index}>{sentence(text)}</li>
        ))}
      </ul>
      {ofFiles.length === 0 ? null : (
        <button type="button" className="jp-SyftSync-link" aria-expanded={all} onClick={() => setAll(!all)}>
          {all
            ? trans.__('Hide what is said of single files')
            : trans._n('%1 more about single files', '%1 more about single files', ofFiles.length)}
        </button>
      )}
      {all && ofFiles.length > MOST_OF_FILES ? (
        <p className="jp-SyftSync-docMuted">{trans.__('The first %1 are listed.', MOST_OF_FILES)}</p>
      ) : null}
    </div>
  );
}

/** The sidecar's words begin small, for they also stand behind others. */
function sentence(text: string): string {
  const [first = '', ...rest] = Array.from(printable(text.replace(/\s+/g, ' ').trim()));
  const whole = [first.toLocaleUpperCase(), ...rest];
  return whole.length <= LONGEST ? whole.join('') : `${whole.slice(0, LONGEST - 1).join('')}…`;
}
