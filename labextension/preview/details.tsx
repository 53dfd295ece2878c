/** For versions that no viewer can show: what is known of them. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import { absolute, happened, printable, size, warning } from '../history/words';

export type WhyNot = 'binary' | 'too-large' | 'no-content' | 'symlink' | 'no-notebook';

export function Details(props: { row: ChangeRow; why: WhyNot; trans: TranslationBundle }): JSX.Element {
  const { row, why, trans } = props;
  const reasons: Record<WhyNot, string> = {
    binary: trans.__('There is no viewer for this type of file. It can be restored or downloaded.'),
    'too-large': trans.__('This version is too large to be shown here. It can be restored or downloaded.'),
    'no-content': trans.__('The content of this version was not recorded.'),
    symlink: trans.__('This version is a symbolic link.'),
    'no-notebook': trans.__('This version is not a complete notebook. It can be restored or downloaded.')
  };
  const facts: [string, string][] = [
    [trans.__('File'), printable(row.path)],
    [trans.__('When'), absolute(row.at)],
    [trans.__('How'), happened(row, trans)]
  ];
  if (row.size !== undefined) facts.push([trans.__('Size'), `${size(row.size)} (${row.size.toLocaleString()} B)`]);
  if (row.hash !== undefined) facts.push([trans.__('Fingerprint'), row.hash]);
  const flag = warning(row, trans);
  if (flag !== undefined) facts.push([trans.__('Note'), flag]);
  return (
    <div className="jp-SyftSync-details" tabIndex={0} role="region" aria-label={trans.__('About this version')}>
      <p>{reasons[why]}</p>
      <dl>
        {facts.map(([name, value]) => (
          <React.Fragment key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </React.Fragment>
        ))}
      </dl>
    </div>
  );
}
