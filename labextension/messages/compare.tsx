/** A tab that shows how a file of a message differs from the one here. */
import { MainAreaWidget, ReactWidget } from '@jupyterlab/apputils';
import type { IEditorLanguageRegistry, IEditorThemeRegistry } from '@jupyterlab/codemirror';
import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretUpIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { MessageRef, SyftClient } from '../client/client';
import { messageOf } from '../client/errors';
import { Skeleton } from '../history/states';
import { useLasting } from '../history/use-signal';
import { absolute, baseName, moment, printable, size } from '../history/words';
import { historyIcon } from '../icons';
import { countCells } from './cells';
import type { CellPair } from './cells';
import { TextDifference } from './text-difference';
import type { TextDifferenceOptions } from './text-difference';
import { fetchTwoSides } from './two-sides';
import type { Facts, TwoSides } from './two-sides';
import { acceptable, senderName } from './words';

/** Pixels from which both sides have room. */
const WIDE = 720;
/** Cells that are drawn as editors; of a notebook with more changes, the rest is plain text. */
const MOST_EDITORS = 150;

export interface CompareOptions {
  of: MessageRef;
  /** Its place in `fileList`, from 0. */
  file: number;
  /** Folder of the workspace that it would go to; empty at the top. */
  folder: string;
  client: SyftClient;
  contents: Contents.IManager;
  languages: IEditorLanguageRegistry;
  themes: IEditorThemeRegistry;
  trans: TranslationBundle;
  /** Asks to accept the message, whereto it was compared with. */
  accept: (of: MessageRef, folder: string) => void;
}

/** One comparison at a time is shown; the next takes its tab over. */
export class CompareTab extends MainAreaWidget<CompareBody> {
  constructor(options: CompareOptions) {
    super({ content: new CompareBody(options) });
    this.id = 'syft-sync-compare';
    this.title.icon = historyIcon;
    this.title.closable = true;
    this.title.label = options.trans.__('Compare');
    // Nothing is in it: it would be an empty stripe.
    this.toolbar.hide();
    this.content.onLoaded = sides => {
      this.title.label = printable(baseName(sides.file.path));
      this.title.caption = options.trans.__(
        '%1: yours and that of %2',
        printable(sides.path),
        senderName(sides.message, options.trans)
      );
    };
  }

  /** Shows another comparison. */
  set(options: CompareOptions): void {
    this.content.set(options);
  }
}

export class CompareBody extends ReactWidget {
  constructor(private _shown: CompareOptions) {
    super();
    this.addClass('jp-SyftSync-compareWidget');
  }

  onLoaded: (sides: TwoSides) => void = () => undefined;

  set(options: CompareOptions): void {
    this._shown = options;
    this.update();
  }

  protected render(): JSX.Element {
    const { of, file, folder } = this._shown;
    const key = JSON.stringify([of, file, folder]);
    return <Compare key={key} {...this._shown} onLoaded={this.onLoaded} />;
  }

  protected override onActivateRequest(_message: Message): void {
    this.node.querySelector<HTMLElement>('button:enabled, [tabindex="0"]')?.focus();
  }
}

type CompareProps = CompareOptions & { onLoaded: (sides: TwoSides) => void };

function Compare(props: CompareProps): JSX.Element {
  const { of, file, folder, client, contents, trans, onLoaded } = props;
  const [sides, setSides] = React.useState<TwoSides>();
  const [error, setError] = React.useState<unknown>();
  const [attempt, setAttempt] = React.useState(0);
  const slow = useLasting(sides === undefined && error === undefined, 150);
  React.useEffect(() => {
    const abort = new AbortController();
    setError(undefined);
    fetchTwoSides({ of, file, folder, client, contents }, abort.signal).then(
      found => {
        if (abort.signal.aborted) return;
        setSides(found);
        onLoaded(found);
      },
      (failure: unknown) => {
        if (!abort.signal.aborted) setError(failure);
      }
    );
    return () => abort.abort();
    // What is compared does not change while this is shown: the key is another then.
  }, [attempt]);

  if (error !== undefined) {
    return (
      <div className="jp-SyftSync-details">
        <p role="alert">{printable(messageOf(error, trans))}</p>
        <p className="jp-SyftSync-buttons">
          <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => setAttempt(attempt + 1)}>
            {trans.__('Try again')}
          </button>
        </p>
      </div>
    );
  }
  if (sides === undefined) return slow ? <Skeleton label={trans.__('Loading')} /> : <></>;
  return <Loaded {...props} sides={sides} />;
}

function Loaded(props: CompareProps & { sides: TwoSides }): JSX.Element {
  const { sides, trans } = props;
  const { message, comparison } = sides;
  const name = senderName(message, trans);
  const body = React.useRef<HTMLDivElement>(null);
  const wide = useWide(body);
  const shownText = React.useRef<TextDifference>();
  const step = (direction: 'next' | 'previous'): void => {
    if (shownText.current !== undefined) shownText.current.step(direction);
    else if (body.current !== null) stepCells(body.current, direction);
  };
  const [changes, setChanges] = React.useState<number>();
  const [fold, setFold] = React.useState(true);
  const steps = comparison.kind === 'text' || comparison.kind === 'notebook';
  const labels = {
    mine: trans.__('Yours: %1', printable(sides.path)),
    theirs: trans.__('From %1: %2', name, printable(sides.file.path)),
    folded: trans.__('$ equal lines')
  };
  return (
    <div
      className="jp-SyftSync-compare"
      role="region"
      aria-label={trans.__('Differences of %1', printable(sides.path))}
    >
      <div className="jp-SyftSync-bar" role="toolbar" aria-label={trans.__('Comparison')}>
        <span className="jp-SyftSync-barText" title={printable(sides.path)}>
          {verdict(sides, changes, trans)}
        </span>
        <span className="jp-SyftSync-barButtons">
          {steps && !sides.same ? (
            <>
              {comparison.kind === 'text' ? (
                <button
                  type="button"
                  className="jp-mod-styled jp-mod-reject"
                  aria-pressed={!fold}
                  onClick={() => setFold(!fold)}
                >
                  {trans.__('Show equal lines')}
                </button>
              ) : null}
              <Step label={trans.__('Previous change')} run={() => step('previous')}>
                <caretUpIcon.react tag="span" />
              </Step>
              <Step label={trans.__('Next change')} run={() => step('next')}>
                <caretDownIcon.react tag="span" />
              </Step>
            </>
          ) : null}
          {acceptable(message) || ('path' in props.of && message.state !== 'altered') ? (
            <button
              type="button"
              className="jp-mod-styled jp-mod-accept"
              onClick={() => props.accept(props.of, props.folder)}
            >
              {trans.__('Accept…')}
            </button>
          ) : null}
        </span>
      </div>
      <div className={`jp-SyftSync-compareSides ${wide ? 'jp-SyftSync-mod-wide' : ''}`}>
        <div>
          <strong>{trans.__('Yours')}</strong> <span>{printable(sides.path)}</span>
        </div>
        <div>
          <strong>{trans.__('From %1', name)}</strong>{' '}
          {message.at === undefined ? null : (
            <span title={absolute(message.at)}>{moment(message.at, Date.now(), trans)}</span>
          )}
        </div>
      </div>
      <div ref={body} className="jp-SyftSync-compareBody" tabIndex={-1}>
        {comparison.kind === 'text' ? (
          <TextSides
            {...props}
            mine={comparison.mine}
            theirs={comparison.theirs}
            wide={wide}
            labels={labels}
            language={{ file: baseName(sides.file.path) }}
            fold={fold}
            onShown={shown => {
              shownText.current = shown;
              if (shown !== undefined) setChanges(shown.changes);
            }}
          />
        ) : comparison.kind === 'notebook' ? (
          <CellSides {...props} pairs={comparison.pairs} language={comparison.language} wide={wide} labels={labels} />
        ) : comparison.kind === 'image' ? (
          <ImageSides mine={comparison.mine} theirs={comparison.theirs} labels={labels} />
        ) : comparison.kind === 'facts' ? (
          <FactSides mine={comparison.mine} theirs={comparison.theirs} why={comparison.why} name={name} trans={trans} />
        ) : (
          <div className="jp-SyftSync-details">
            <p>{trans.__('Nothing stands at %1: accepting makes a new file.', printable(sides.path))}</p>
          </div>
        )}
      </div>
    </div>
  );
}

function verdict({ same, comparison }: TwoSides, changes: number | undefined, trans: TranslationBundle): string {
  if (same) return trans.__('Both are the same.');
  switch (comparison.kind) {
    case 'missing':
      return trans.__('There is no such file here.');
    case 'notebook': {
      const { added, removed, changed, outputs } = countCells(comparison.pairs);
      const parts = [
        ...(changed > 0 ? [trans._n('%1 cell changed', '%1 cells changed', changed)] : []),
        ...(added > 0 ? [trans._n('%1 added', '%1 added', added)] : []),
        ...(removed > 0 ? [trans._n('%1 removed', '%1 removed', removed)] : []),
        ...(outputs > 0 ? [trans._n('%1 output differs', '%1 outputs differ', outputs)] : [])
      ];
      return parts.length === 0 ? trans.__('All cells are the same; something else differs.') : parts.join(', ');
    }
    case 'text':
      if (comparison.mine === comparison.theirs) return trans.__('Both are the same.');
      return changes === undefined ? trans.__('They differ.') : trans._n('%1 change', '%1 changes', changes);
    default:
      return trans.__('They differ.');
  }
}

function Step(props: { label: string; run: () => void; children: React.ReactNode }): JSX.Element {
  return (
    <button
      type="button"
      className="jp-SyftSync-action"
      title={props.label}
      aria-label={props.label}
      onClick={props.run}
    >
      {props.children}
    </button>
  );
}

/** Whether both sides have room. */
function useWide(ref: React.RefObject<HTMLElement>): boolean {
  const [wide, setWide] = React.useState(true);
  React.useLayoutEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const measure = (): void => setWide(element.clientWidth === 0 || element.clientWidth >= WIDE);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [ref]);
  return wide;
}

/** Scrolls to the cell that differs, behind or before the middle of what is seen. */
function stepCells(body: HTMLElement, direction: 'next' | 'previous'): void {
  const cells = [...body.querySelectorAll<HTMLElement>('.jp-SyftSync-cellPair')];
  const at = cells.findIndex(cell => cell === document.activeElement || cell.contains(document.activeElement));
  const next = direction === 'next' ? cells[at + 1] : at < 0 ? cells.at(-1) : cells[at - 1];
  next?.scrollIntoView({ block: 'center' });
  next?.focus({ preventScroll: true });
}

type Labels = TextDifferenceOptions['labels'];

interface TextProps {
  mine: string;
  theirs: string;
  wide: boolean;
  labels: Labels;
  languages: IEditorLanguageRegistry;
  themes: IEditorThemeRegistry;
  language: { name?: string | undefined; file?: string };
  fold: boolean;
  onShown?: (shown: TextDifference | undefined) => void;
}

function TextSides(props: TextProps): JSX.Element {
  const { mine, theirs, wide, onShown } = props;
  const host = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const parent = host.current;
    if (parent === null) return;
    let shown: TextDifference | undefined;
    let gone = false;
    void TextDifference.create({ ...props, parent }).then(difference => {
      if (gone) return difference.dispose();
      shown = difference;
      onShown?.(difference);
    });
    return () => {
      gone = true;
      onShown?.(undefined);
      shown?.dispose();
      parent.replaceChildren();
    };
    // The rest is the same as long as this is shown.
  }, [mine, theirs, wide, props.fold]);
  return <div ref={host} className="jp-SyftSync-textSides" />;
}

function CellSides(props: {
  pairs: readonly CellPair[];
  language: string | undefined;
  wide: boolean;
  labels: Labels;
  languages: IEditorLanguageRegistry;
  themes: IEditorThemeRegistry;
  trans: TranslationBundle;
}): JSX.Element {
  const { pairs, trans } = props;
  const shown: JSX.Element[] = [];
  let equal = 0;
  let editors = 0;
  const fold = (key: number): void => {
    if (equal > 0) {
      shown.push(
        <p key={`equal${key}`} className="jp-SyftSync-equalCells">
          {trans._n('%1 cell is the same', '%1 cells are the same', equal)}
        </p>
      );
    }
    equal = 0;
  };
  for (const [index, pair] of pairs.entries()) {
    if (pair.kind === 'same') {
      equal++;
      continue;
    }
    fold(index);
    shown.push(<Cell key={index} {...props} pair={pair} plain={++editors > MOST_EDITORS} />);
  }
  fold(pairs.length);
  return <div className="jp-SyftSync-cellSides">{shown}</div>;
}

function Cell(props: {
  pair: CellPair;
  plain: boolean;
  language: string | undefined;
  wide: boolean;
  labels: Labels;
  languages: IEditorLanguageRegistry;
  themes: IEditorThemeRegistry;
  trans: TranslationBundle;
}): JSX.Element {
  const { pair, plain, trans } = props;
  const titles: Record<CellPair['kind'], string> = {
    same: '',
    outputs: trans.__('Output differs'),
    changed: trans.__('Changed'),
    added: trans.__('Added'),
    removed: trans.__('Removed')
  };
  const cell = pair.kind === 'removed' ? pair.mine : pair.theirs;
  const mine = pair.kind === 'added' ? '' : pair.mine.source;
  const theirs = pair.kind === 'removed' ? '' : pair.theirs.source;
  const type =
    cell.type === 'code' ? trans.__('code') : cell.type === 'markdown' ? trans.__('Markdown') : printable(cell.type);
  const name =
    cell.type === 'markdown' ? 'ipythongfm' : cell.type === 'code' ? (props.language ?? 'python') : undefined;
  return (
    <section className={`jp-SyftSync-cellPair jp-SyftSync-mod-${pair.kind}`} tabIndex={-1}>
      <h3>
        {titles[pair.kind]} <span>{type}</span>
      </h3>
      {pair.kind === 'outputs' || plain ? (
        <pre tabIndex={0}>{pair.kind === 'changed' ? `${mine}\n———\n${theirs}` : theirs || mine}</pre>
      ) : (
        <TextSides {...props} mine={mine} theirs={theirs} language={{ name }} fold />
      )}
    </section>
  );
}

function ImageSides(props: { mine: Blob; theirs: Blob; labels: Labels }): JSX.Element {
  const { mine, theirs, labels } = props;
  return (
    <div className="jp-SyftSync-imageSides">
      <Picture blob={mine} label={labels.mine} />
      <Picture blob={theirs} label={labels.theirs} />
    </div>
  );
}

function Picture(props: { blob: Blob; label: string }): JSX.Element {
  const { blob, label } = props;
  const [url, setUrl] = React.useState<string>();
  const [pixels, setPixels] = React.useState('');
  React.useEffect(() => {
    const made = URL.createObjectURL(blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  return (
    <figure>
      {url === undefined ? null : (
        <img
          src={url}
          alt={label}
          onLoad={event => {
            const { naturalWidth, naturalHeight } = event.currentTarget;
            setPixels(`${naturalWidth} × ${naturalHeight}, `);
          }}
        />
      )}
      <figcaption>
        {pixels}
        {size(blob.size)}
      </figcaption>
    </figure>
  );
}

function FactSides(props: {
  mine: Facts;
  theirs: Facts;
  why: 'binary' | 'large';
  name: string;
  trans: TranslationBundle;
}): JSX.Element {
  const { mine, theirs, trans } = props;
  const bytes = (facts: Facts): string => `${size(facts.size)} (${facts.size.toLocaleString()} B)`;
  return (
    <div className="jp-SyftSync-details">
      <p>
        {props.why === 'binary'
          ? trans.__('They are not text: what can be compared is how large they are and their fingerprints.')
          : trans.__('They are too large to be compared line by line here.')}
      </p>
      <table className="jp-SyftSync-factSides">
        <thead>
          <tr>
            <td />
            <th scope="col">{trans.__('Yours')}</th>
            <th scope="col">{trans.__('From %1', props.name)}</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">{trans.__('Size')}</th>
            <td>{bytes(mine)}</td>
            <td>{bytes(theirs)}</td>
          </tr>
          <tr>
            <th scope="row">{trans.__('SHA-256')}</th>
            <td className="jp-SyftSync-path">{mine.hash?.replace('sha256:', '') ?? trans.__('not known')}</td>
            <td className="jp-SyftSync-path">{theirs.hash?.replace('sha256:', '') ?? trans.__('not known')}</td>
          </tr>
        </tbody>
      </table>
    </div>
  );
}
