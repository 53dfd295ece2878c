/** The files of what is shared, windowed: a folder may have thousands. Each can be left out, or go as an older version. */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { useLasting } from '../history/use-signal';
import { absolute, moment, printable, size, splitName } from '../history/words';
import type { ShareForm, SharedFile } from './form';
import { commonFolder } from './words';

/** Pixels; the style sheet has the same number. */
const FILE_HEIGHT = 28;
const OVERSCAN = 6;
/** Lines before the list is scrolled. */
const SHOWN = 6;

interface FileChoiceProps {
  form: ShareForm;
  trans: TranslationBundle;
  onBrowse: () => void;
}

export function FileChoice(props: FileChoiceProps & { children: React.ReactNode }): JSX.Element {
  const { form, trans } = props;
  const { files, chosen } = form;
  const slow = useLasting(form.state === 'planning', 150);
  const all = chosen.length === files.length;
  const bytes = size(chosen.reduce((sum, file) => sum + file.size, 0));
  return (
    <fieldset className="jp-SyftSync-shareFiles" data-field="files" disabled={form.busy}>
      <legend>
        {files.length > 1 ? (
          <label>
            <input
              type="checkbox"
              checked={all}
              aria-invalid={form.problem?.field === 'files'}
              ref={box => {
                if (box !== null) box.indeterminate = !all && chosen.length > 0;
              }}
              onChange={() => form.choose(files.keys(), !all)}
            />
            {all
              ? trans.__('%1 files, %2', files.length, bytes)
              : trans.__('%1 of %2 files, %3', chosen.length, files.length, bytes)}
          </label>
        ) : files.length === 1 ? (
          trans.__('File')
        ) : form.state === 'planning' ? (
          slow ? (
            trans.__('Looking what there is…')
          ) : (
            ' '
          )
        ) : (
          trans.__('No files yet')
        )}
      </legend>
      <button
        type="button"
        className="jp-SyftSync-link jp-SyftSync-addFiles"
        aria-invalid={form.problem?.field === 'files' && files.length === 0}
        onClick={props.onBrowse}
      >
        {trans.__('Add files…')}
      </button>
      {files.length === 0 ? null : <Lines {...props} />}
      {props.children}
    </fieldset>
  );
}

function Lines({ form, trans }: FileChoiceProps): JSX.Element {
  const { files } = form;
  const folder = React.useMemo(() => commonFolder(files.map(({ path }) => path)), [files]);
  const [top, setTop] = React.useState(0);
  const height = Math.min(SHOWN, files.length) * FILE_HEIGHT;
  const start = Math.max(0, Math.floor(top / FILE_HEIGHT) - OVERSCAN);
  const end = Math.min(files.length, Math.ceil((top + height) / FILE_HEIGHT) + OVERSCAN);
  return (
    <div
      className="jp-SyftSync-acceptList"
      style={{ height }}
      onScroll={event => setTop(event.currentTarget.scrollTop)}
    >
      <ul style={{ height: files.length * FILE_HEIGHT }}>
        {files.slice(start, end).map((file, offset) => (
          <Line
            key={file.path}
            form={form}
            file={file}
            folder={folder}
            index={start + offset}
            only={files.length === 1}
            trans={trans}
          />
        ))}
      </ul>
    </div>
  );
}

function Line(props: {
  form: ShareForm;
  file: SharedFile;
  /** That all of them are in; it is not said in every line. */
  folder: string;
  index: number;
  only: boolean;
  trans: TranslationBundle;
}): JSX.Element {
  const { form, file, folder, index, only, trans } = props;
  const path = printable(file.path);
  const [start, end] = splitName(printable(folder === '' ? file.path : file.path.slice(folder.length + 1)));
  const name = (
    <span className="jp-SyftSync-name">
      <span className="jp-SyftSync-nameStart">{start}</span>
      <span className="jp-SyftSync-nameEnd">{end}</span>
    </span>
  );
  return (
    <li style={{ transform: `translateY(${index * FILE_HEIGHT}px)` }} title={path}>
      {only ? (
        <span className="jp-SyftSync-acceptName">{name}</span>
      ) : (
        <label className="jp-SyftSync-acceptName">
          <input
            type="checkbox"
            aria-label={path}
            checked={file.chosen}
            onChange={event => form.choose([index], event.currentTarget.checked)}
          />
          {name}
        </label>
      )}
      <span className="jp-SyftSync-size">{size(file.size)}</span>
      <Version form={form} file={file} index={index} trans={trans} />
    </li>
  );
}

/** Which version goes: a button that says it, and a list of the others once it was pressed. */
function Version(props: { form: ShareForm; file: SharedFile; index: number; trans: TranslationBundle }): JSX.Element {
  const { form, file, index, trans } = props;
  const [rows, setRows] = React.useState<readonly ChangeRow[]>();
  const [loading, setLoading] = React.useState(false);
  const [error, setError] = React.useState<string>();
  const path = printable(file.path);
  const now = Date.now();
  if (rows === undefined) {
    const load = async (): Promise<void> => {
      setLoading(true);
      try {
        setRows(await form.versionsOf(file));
      } catch (cause) {
        setError(messageOf(cause, trans));
      } finally {
        setLoading(false);
      }
    };
    const word = file.newest
      ? trans.__('newest')
      : file.at === undefined
        ? trans.__('as chosen')
        : moment(file.at, now, trans);
    return (
      <button
        type="button"
        className="jp-SyftSync-link jp-SyftSync-version"
        disabled={loading}
        title={error === undefined ? trans.__('Choose another version') : printable(error)}
        aria-label={trans.__('Version of %1: %2. Choose another', path, word)}
        onClick={() => void load()}
      >
        {error === undefined ? word : trans.__('no versions')} <span aria-hidden="true">▾</span>
      </button>
    );
  }
  const chosen = rows.findIndex(({ versionId }) => versionId === file.versionId);
  return (
    <select
      className="jp-SyftSync-version"
      aria-label={trans.__('Version of %1', path)}
      // It stands where the button was that had the focus.
      autoFocus
      value={chosen}
      onChange={event => {
        const place = Number(event.currentTarget.value);
        const row = rows[place];
        if (row !== undefined) form.chooseVersion(index, row, place === 0);
      }}
    >
      {chosen < 0 ? <option value={-1}>{trans.__('as chosen')}</option> : null}
      {rows.map((row, place) => {
        const [label] = row.labels ?? [];
        const when = moment(row.at, now, trans);
        return (
          <option key={row.versionId} value={place} title={absolute(row.at)}>
            {[
              place === 0 ? trans.__('newest, %1', when) : when,
              size(row.size ?? 0),
              label === undefined ? '' : printable(label)
            ]
              .filter(part => part !== '')
              .join(' · ')}
          </option>
        );
      })}
    </select>
  );
}
