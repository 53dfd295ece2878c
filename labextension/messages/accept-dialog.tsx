/** What is asked before files of a message are taken into the workspace: which, where to, and whether the sender is believed. */
import { Dialog, ReactWidget } from '@jupyterlab/apputils';
import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { MessageDetail, MessageFileDto } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { useLasting } from '../history/use-signal';
import { folderOf, printable, size, splitName } from '../history/words';
import { BodyDialog } from './body-dialog';
import { destination, folderName, isUsableFolder, tally } from './place';
import { hereWord, senderName } from './words';

/** Pixels; the style sheet has the same number. */
const FILE_HEIGHT = 28;
const OVERSCAN = 6;
/** Milliseconds after the last letter at which the place is looked at. */
const SETTLED = 300;

/** What has been chosen so far; it outlives the dialog, which closes for a look at a file and comes again. */
export class AcceptChoice {
  constructor(readonly message: MessageDetail) {
    this.chosen = new Set(message.fileList.map((_file, index) => index));
  }

  /** Folder of the workspace, as it is typed. */
  folder = '';
  /** Places in `fileList`. */
  chosen: Set<number>;
  /** The words were compared with the sender, or it is known that nobody signed. */
  believed = false;
  /** What is wanted instead of an answer. */
  aside: { kind: 'browse' } | { kind: 'compare'; file: number } | undefined;
}

type Here = MessageFileDto['here'];

export interface AcceptDialogOptions {
  choice: AcceptChoice;
  /** What stands at the places of the files, in their order, below a folder. */
  lookAround: (folder: string, signal: AbortSignal) => Promise<readonly Here[]>;
  contents: Contents.IManager;
  trans: TranslationBundle;
}

/** @returns whether it is to be accepted; what of it, and whereto, is in the choice */
export async function askToAccept(options: AcceptDialogOptions): Promise<boolean> {
  const { choice, trans } = options;
  const { message } = choice;
  const trusting = message.state === 'new-sender';
  const body = new AcceptBody(options);
  const dialog = new BodyDialog<AcceptChoice>({
    title: trans.__('Accept from %1', senderName(message, trans)),
    body,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      trusting
        ? Dialog.okButton({ label: trans.__('Trust and accept') })
        : Dialog.okButton({ label: trans.__('Accept') })
    ],
    focusNodeSelector: '.jp-SyftSync-acceptFolder input'
  });
  dialog.addClass('jp-SyftSync-acceptDialog');
  choice.aside = undefined;
  body.aside.connect(() => dialog.reject());
  const { button } = await dialog.launch();
  return button.accept && choice.aside === undefined && isComplete(choice);
}

/** Whoever is to be believed is: whatever way the dialog was left by. */
export function isComplete({ message, believed, chosen, folder }: AcceptChoice): boolean {
  return (message.state === 'verified' || believed) && chosen.size > 0 && isUsableFolder(folderName(folder));
}

class AcceptBody extends ReactWidget {
  constructor(private readonly _options: AcceptDialogOptions) {
    super();
    this.addClass('jp-SyftSync-accept');
  }

  /** Something else is wanted first. */
  readonly aside = new Signal<this, void>(this);

  getValue(): AcceptChoice {
    return this._options.choice;
  }

  protected render(): JSX.Element {
    return (
      <Accept
        {...this._options}
        onAside={() => this.aside.emit()}
        onValidity={() => {
          // JupyterLab's dialog looks for what is invalid after every input; what is looked up comes later.
          requestAnimationFrame(() => this.node.dispatchEvent(new Event('input', { bubbles: true })));
        }}
      />
    );
  }
}

function Accept(props: AcceptDialogOptions & { onAside: () => void; onValidity: () => void }): JSX.Element {
  const { choice, contents, lookAround, trans, onValidity } = props;
  const { message } = choice;
  const name = senderName(message, trans);
  const [folder, setFolder] = React.useState(choice.folder);
  const [chosen, setChosen] = React.useState<ReadonlySet<number>>(choice.chosen);
  const [believed, setBelieved] = React.useState(choice.believed);
  const place = folderName(folder);
  const usable = isUsableFolder(place);
  const around = useAround(usable ? place : '', lookAround);
  const slow = useLasting(around.here === undefined && around.error === undefined, 150);

  choice.folder = folder;
  choice.chosen = new Set(chosen);
  choice.believed = believed;
  const nothing = chosen.size === 0;
  React.useEffect(onValidity, [nothing, usable, believed, onValidity]);

  const aside = (kind: AcceptChoice['aside']): void => {
    choice.aside = kind;
    props.onAside();
  };
  const counts = around.here && tally(around.here.filter((_here, index) => chosen.has(index)));
  return (
    <>
      {message.state === 'new-sender' ? (
        <Trust message={message} name={name} believed={believed} onBelieved={setBelieved} trans={trans} />
      ) : null}
      {message.state === 'unsigned' ? (
        <section className="jp-SyftSync-trust jp-SyftSync-mod-warning">
          <p>
            {trans.__(
              'Nobody signed this message. Its contents are whole, but anybody can have made it, also under the name %1.',
              name
            )}
          </p>
          <Believe checked={believed} onChange={setBelieved}>
            {trans.__('I know where it comes from.')}
          </Believe>
        </section>
      ) : null}
      <label className="jp-SyftSync-acceptFolder">
        <span>{trans.__('Into the folder')}</span>
        <span className="jp-SyftSync-acceptPlace">
          <Folder value={folder} onChange={setFolder} contents={contents} trans={trans} invalid={!usable} />
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => aside({ kind: 'browse' })}>
            {trans.__('Browse…')}
          </button>
        </span>
      </label>
      {usable ? null : (
        <p className="jp-mod-error jp-SyftSync-acceptError" role="alert">
          {trans.__('Choose a folder of the workspace, and not the one that Syft Sync keeps its log in.')}
        </p>
      )}
      <p className="jp-SyftSync-acceptSummary" role="status">
        {around.error !== undefined
          ? trans.__('What stands there could not be looked at. %1', printable(messageOf(around.error, trans)))
          : counts === undefined
            ? slow
              ? trans.__('Looking what stands there…')
              : ' '
            : summary(counts, trans)}
      </p>
      <Files
        message={message}
        folder={place}
        here={around.here}
        chosen={chosen}
        onChosen={setChosen}
        onCompare={file => aside({ kind: 'compare', file })}
        trans={trans}
      />
      {message.files > message.fileList.length ? (
        <p className="jp-SyftSync-acceptNote">
          {trans.__(
            'Of %1 files the first %2 are listed. As long as all of these are chosen, the others are accepted as well.',
            message.files.toLocaleString(),
            message.fileList.length.toLocaleString()
          )}
        </p>
      ) : null}
      {nothing ? (
        <p className="jp-mod-error jp-SyftSync-acceptError" role="alert">
          {trans.__('Choose a file at least.')}
        </p>
      ) : null}
      <p className="jp-SyftSync-acceptNote">
        {trans.__('What stands there now stays a version: it can be brought back, and accepting can be undone.')}
      </p>
    </>
  );
}

/** The words, as large as matters here, and how they are to be compared. */
function Trust(props: {
  message: MessageDetail;
  name: string;
  believed: boolean;
  onBelieved: (believed: boolean) => void;
  trans: TranslationBundle;
}): JSX.Element {
  const { message, name, trans } = props;
  const words = message.sender?.fingerprint?.split(/[\s-]+/) ?? [];
  return (
    <section className="jp-SyftSync-trust" aria-label={trans.__('Who sent this')}>
      <p>
        {trans.__(
          'This is the first message with this key. Ask %1 for these words another way, as by phone or face to face:',
          name
        )}
      </p>
      <p className="jp-SyftSync-fingerprint" aria-label={trans.__('Words of the key: %1', words.join(' '))}>
        {words.map((word, index) => (
          <span key={index}>{printable(word)}</span>
        ))}
      </p>
      <Believe checked={props.believed} onChange={props.onBelieved}>
        {trans.__('%1 has the same words.', name)}
      </Believe>
      <p className="jp-SyftSync-acceptNote">
        {trans.__(
          'From then on messages of %1 are known by this key, and another key under this name is refused.',
          name
        )}
      </p>
    </section>
  );
}

function Believe(props: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  children: React.ReactNode;
}): JSX.Element {
  return (
    <label className="jp-SyftSync-believe">
      {/* While it is required and not checked, the dialog does not let itself be accepted. */}
      <input
        type="checkbox"
        required
        checked={props.checked}
        onChange={event => props.onChange(event.currentTarget.checked)}
      />
      <span>{props.children}</span>
    </label>
  );
}

/** What stands at the places; of the latest folder only. */
function useAround(
  folder: string,
  lookAround: AcceptDialogOptions['lookAround']
): { here: readonly Here[] | undefined; error: unknown } {
  const [around, setAround] = React.useState<{ folder: string; here?: readonly Here[]; error?: unknown }>();
  React.useEffect(() => {
    const abort = new AbortController();
    const look = (): void => {
      lookAround(folder, abort.signal).then(
        here => abort.signal.aborted || setAround({ folder, here }),
        (error: unknown) => abort.signal.aborted || setAround({ folder, error })
      );
    };
    const timer = setTimeout(look, folder === '' ? 0 : SETTLED);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [folder, lookAround]);
  return around?.folder === folder ? { here: around.here, error: around.error } : { here: undefined, error: undefined };
}

function summary(counts: ReturnType<typeof tally>, trans: TranslationBundle): string {
  const parts: string[] = [];
  if (counts.replaces > 0) {
    parts.push(trans._n('replaces %1 file of yours', 'replaces %1 files of yours', counts.replaces));
  }
  if (counts.new > 0) parts.push(trans._n('%1 file is new here', '%1 files are new here', counts.new));
  if (counts.same > 0) {
    parts.push(trans._n('%1 is the same already', '%1 are the same already', counts.same));
  }
  const text = parts.join(trans.__('; '));
  return text === '' ? ' ' : `${text[0]?.toLocaleUpperCase() ?? ''}${text.slice(1)}.`;
}

/** A field for a folder that completes the folders there are. */
function Folder(props: {
  value: string;
  onChange: (value: string) => void;
  contents: Contents.IManager;
  trans: TranslationBundle;
  invalid: boolean;
}): JSX.Element {
  const { value, contents, trans } = props;
  const parent = folderOf(value);
  const [folders, setFolders] = React.useState<readonly string[]>([]);
  const id = React.useId();
  React.useEffect(() => {
    let current = true;
    contents.get(folderName(parent), { content: true, type: 'directory' }).then(
      ({ content }) => {
        if (!current) return;
        const entries = content as readonly Contents.IModel[];
        setFolders(entries.filter(({ type }) => type === 'directory').map(({ path }) => path));
      },
      // A folder that is not there yet has no folders either; it is made when something is accepted into it.
      () => current && setFolders([])
    );
    return () => {
      current = false;
    };
  }, [parent, contents]);
  return (
    <>
      <input
        className="jp-mod-styled"
        list={id}
        value={value}
        placeholder={trans.__('top of the workspace')}
        aria-invalid={props.invalid}
        spellCheck={false}
        onChange={event => props.onChange(event.currentTarget.value)}
      />
      <datalist id={id}>
        {folders.slice(0, 200).map(folder => (
          <option key={folder} value={folder} />
        ))}
      </datalist>
    </>
  );
}

/** The files, windowed: a message may have thousands. */
function Files(props: {
  message: MessageDetail;
  folder: string;
  here: readonly Here[] | undefined;
  chosen: ReadonlySet<number>;
  onChosen: (chosen: ReadonlySet<number>) => void;
  onCompare: (file: number) => void;
  trans: TranslationBundle;
}): JSX.Element {
  const { message, here, chosen, trans } = props;
  const { fileList } = message;
  const [top, setTop] = React.useState(0);
  const height = Math.min(7, fileList.length) * FILE_HEIGHT;
  const start = Math.max(0, Math.floor(top / FILE_HEIGHT) - OVERSCAN);
  const end = Math.min(fileList.length, Math.ceil((top + height) / FILE_HEIGHT) + OVERSCAN);
  const all = chosen.size === fileList.length;
  return (
    <fieldset className="jp-SyftSync-acceptFiles">
      <legend>
        {fileList.length > 1 ? (
          <label>
            <input
              type="checkbox"
              checked={all}
              ref={box => {
                if (box !== null) box.indeterminate = !all && chosen.size > 0;
              }}
              onChange={() => props.onChosen(all ? new Set() : new Set(fileList.keys()))}
            />
            {trans.__('%1 of %2 files', chosen.size, fileList.length)}
          </label>
        ) : (
          trans.__('File')
        )}
      </legend>
      <div
        className="jp-SyftSync-acceptList"
        style={{ height }}
        onScroll={event => setTop(event.currentTarget.scrollTop)}
      >
        <ul style={{ height: fileList.length * FILE_HEIGHT }}>
          {fileList.slice(start, end).map((file, offset) => {
            const index = start + offset;
            return (
              <FileLine
                key={index}
                file={file}
                top={index * FILE_HEIGHT}
                only={fileList.length === 1}
                here={here?.[index]}
                to={destination(file, props.folder)}
                chosen={chosen.has(index)}
                trans={trans}
                onChosen={on => {
                  const next = new Set(chosen);
                  if (on) next.add(index);
                  else next.delete(index);
                  props.onChosen(next);
                }}
                onCompare={() => props.onCompare(index)}
              />
            );
          })}
        </ul>
      </div>
    </fieldset>
  );
}

function FileLine(props: {
  file: MessageFileDto;
  top: number;
  only: boolean;
  here: Here | undefined;
  to: string;
  chosen: boolean;
  trans: TranslationBundle;
  onChosen: (on: boolean) => void;
  onCompare: () => void;
}): JSX.Element {
  const { file, here, trans } = props;
  const path = printable(file.path);
  const [start, end] = splitName(path);
  const name = (
    <>
      <span className="jp-SyftSync-name">
        <span className="jp-SyftSync-nameStart">{start}</span>
        <span className="jp-SyftSync-nameEnd">{end}</span>
      </span>
    </>
  );
  return (
    <li style={{ transform: `translateY(${props.top}px)` }} title={printable(props.to)}>
      {props.only ? (
        <span className="jp-SyftSync-acceptName">{name}</span>
      ) : (
        <label className="jp-SyftSync-acceptName">
          <input
            type="checkbox"
            checked={props.chosen}
            // The name beside it is cut in two for the eye.
            aria-label={path}
            onChange={event => props.onChosen(event.currentTarget.checked)}
          />
          {name}
        </label>
      )}
      <span className="jp-SyftSync-size">{size(file.size)}</span>
      <span className="jp-SyftSync-here" data-here={here}>
        {here === undefined ? '' : hereWord(here, trans)}
      </span>
      <button
        type="button"
        className="jp-SyftSync-link"
        disabled={here !== 'different'}
        aria-label={trans.__('Compare %1 with yours', path)}
        onClick={props.onCompare}
      >
        {trans.__('Compare')}
      </button>
    </li>
  );
}
