/** A message in the output of a cell: what the notebook says of it, drawn as that, and a way to the message itself. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { absolute, printable, size, splitName } from '../history/words';
import { stateWord } from '../messages/words';
import { whereabouts } from './claims';
import type { Claims } from './claims';

export interface MessageOutputProps {
  /** Undefined: the output has not the form of one. */
  claims: Claims | undefined;
  /** Opens the message itself; undefined when nothing can. */
  open: ((where: { path: string } | { id: string }) => void) | undefined;
  trans: TranslationBundle;
}

export function MessageOutput({ claims, open, trans }: MessageOutputProps): JSX.Element {
  if (claims === undefined) {
    return (
      <p className="jp-SyftSync-messageOutput">
        {trans.__('This output says that it is a SyftMessage, and has not the form of one.')}
      </p>
    );
  }
  const { sender, note, files, count, at, recipients } = claims;
  const where = whereabouts(claims);
  const name = sender === undefined ? trans.__('an unknown sender') : printable(sender.name) || trans.__('nobody');
  const facts: [string, string][] = [];
  if (sender?.fingerprint !== undefined) facts.push([trans.__('Key'), printable(sender.fingerprint)]);
  if (recipients.length > 0) facts.push([trans.__('For'), recipients.map(printable).join(', ')]);
  if (at !== undefined && !Number.isNaN(Date.parse(at))) facts.push([trans.__('Recorded'), absolute(at)]);
  if (claims.sealed) facts.push([trans.__('Encrypted'), trans.__('for its recipients')]);
  return (
    <section className="jp-SyftSync-messageOutput" aria-label={trans.__('SyftMessage, as the notebook says')}>
      <header>
        <strong>{trans.__('SyftMessage from %1', name)}</strong>
        {where === undefined || open === undefined ? null : (
          <button type="button" className="jp-SyftSync-outputButton" onClick={() => open(where)}>
            {trans.__('Open')}
          </button>
        )}
      </header>
      <p className="jp-SyftSync-outputClaim">
        {trans.__('“%1”, as the notebook says.', stateWord(claims.state, trans))}{' '}
        {where === undefined || open === undefined
          ? trans.__('It was not checked here.')
          : trans.__('It was not checked here; open it to check.')}
      </p>
      {claims.problem === undefined ? null : <p>{printable(claims.problem)}</p>}
      {note === undefined ? null : <blockquote>{note.split('\n').map(printable).join('\n')}</blockquote>}
      {facts.length === 0 ? null : (
        <dl>
          {facts.map(([fact, text]) => (
            <div key={fact}>
              <dt>{fact}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      )}
      {count === 0 ? null : (
        <p className="jp-SyftSync-outputCount">
          {trans._n('%1 file', '%1 files', count)}, {size(claims.bytes)}
        </p>
      )}
      {files.length === 0 ? null : (
        <ul tabIndex={0} aria-label={trans.__('Files')}>
          {files.map((file, index) => {
            const [start, end] = splitName(printable(file.path));
            return (
              <li key={index} title={printable(file.path)}>
                <span className="jp-SyftSync-name">
                  <span className="jp-SyftSync-nameStart">{start}</span>
                  <span className="jp-SyftSync-nameEnd">{end}</span>
                </span>
                <span className="jp-SyftSync-size">{size(file.size)}</span>
              </li>
            );
          })}
          {count > files.length ? <li>{trans.__('and %1 more', count - files.length)}</li> : null}
        </ul>
      )}
    </section>
  );
}
