/**
 * The files of a message: one row each, however many there are; only those in sight are in the document. One tab stop; arrows move, and
 * what they come to is previewed.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { downloadIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { MessageFileDto } from '../../server/src/api/contract';
import { folderOf, baseName, printable, size, splitName } from '../history/words';
import { hereWord } from '../messages/words';

/** Pixels; the style sheet has the same number. */
const ROW_HEIGHT = 30;
/** Rows that are seen at once at most. */
const MOST_SEEN = 10;
const OVERSCAN = 4;

export interface FileActions {
  /** Undefined where it cannot be compared. */
  compare: ((index: number) => void) | undefined;
  downloadUrl: (index: number) => string | undefined;
}

export function FileList(props: {
  files: readonly MessageFileDto[];
  chosen: number;
  onChoose: (index: number) => void;
  /** What stands at the same places here is of interest. */
  compared: boolean;
  actions: FileActions;
  trans: TranslationBundle;
}): JSX.Element {
  const { files, chosen, trans, actions } = props;
  const scroller = React.useRef<HTMLDivElement>(null);
  const [top, setTop] = React.useState(0);
  const focusAfterRender = React.useRef(false);
  React.useLayoutEffect(() => {
    if (!focusAfterRender.current) return;
    focusAfterRender.current = false;
    scroller.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')?.focus({ preventScroll: true });
  });

  const seen = Math.min(files.length, MOST_SEEN);
  const start = Math.max(0, Math.floor(top / ROW_HEIGHT) - OVERSCAN);
  const end = Math.min(files.length, start + seen + 2 * OVERSCAN);
  const indices = Array.from({ length: end - start }, (_unused, offset) => start + offset);
  // The row with the focus stays in the document when it scrolls out of sight.
  if (chosen < start) indices.unshift(chosen);
  else if (chosen >= end) indices.push(chosen);

  const canCompare = (index: number): boolean => {
    const here = files[index]?.here;
    return actions.compare !== undefined && (here === 'different' || here === 'same');
  };
  const move = (to: number): void => {
    const index = Math.min(files.length - 1, Math.max(0, to));
    const element = scroller.current;
    if (element !== null) {
      const at = index * ROW_HEIGHT;
      if (at < element.scrollTop) element.scrollTop = at;
      else if (at + ROW_HEIGHT > element.scrollTop + element.clientHeight) {
        element.scrollTop = at + ROW_HEIGHT - element.clientHeight;
      }
    }
    focusAfterRender.current = true;
    props.onChoose(index);
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps: Record<string, number> = {
      ArrowDown: chosen + 1,
      ArrowUp: chosen - 1,
      PageDown: chosen + MOST_SEEN - 1,
      PageUp: chosen - MOST_SEEN + 1,
      Home: 0,
      End: files.length - 1
    };
    const to = steps[event.key];
    if (to !== undefined) move(to);
    else if (event.key === 'c' && canCompare(chosen)) actions.compare?.(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      ref={scroller}
      className="jp-SyftSync-docFiles"
      role="grid"
      aria-label={trans.__('Files of the message')}
      aria-rowcount={files.length}
      style={{ height: seen * ROW_HEIGHT + 2 }}
      onScroll={event => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div role="presentation" style={{ height: files.length * ROW_HEIGHT }}>
        {indices.map(index => {
          const file = files[index];
          return file === undefined ? null : (
            <FileRow
              key={index}
              file={file}
              index={index}
              chosen={index === chosen}
              compared={props.compared}
              canCompare={canCompare(index)}
              actions={actions}
              onChoose={() => {
                focusAfterRender.current = true;
                props.onChoose(index);
              }}
              trans={trans}
            />
          );
        })}
      </div>
    </div>
  );
}

function FileRow(props: {
  file: MessageFileDto;
  index: number;
  chosen: boolean;
  compared: boolean;
  canCompare: boolean;
  actions: FileActions;
  onChoose: () => void;
  trans: TranslationBundle;
}): JSX.Element {
  const { file, index, chosen, compared, canCompare, actions, trans } = props;
  const path = printable(file.path);
  const [start, end] = splitName(baseName(path));
  const folder = folderOf(path);
  const here = hereWord(file.here, trans);
  const url = actions.downloadUrl(index);
  const tab = chosen ? 0 : -1;
  return (
    <div
      className="jp-SyftSync-docFile"
      role="row"
      aria-rowindex={index + 1}
      aria-selected={chosen}
      aria-label={[path, size(file.size), ...(compared ? [here] : [])].join(', ')}
      tabIndex={tab}
      title={path}
      style={{ transform: `translateY(${index * ROW_HEIGHT}px)` }}
      onClick={props.onChoose}
    >
      <span role="gridcell" className="jp-SyftSync-docFileName">
        <span className="jp-SyftSync-name">
          <span className="jp-SyftSync-nameStart">{start}</span>
          <span className="jp-SyftSync-nameEnd">{end}</span>
        </span>
        {folder === '' ? null : <span className="jp-SyftSync-docFolder">{folder}</span>}
      </span>
      <span role="gridcell" className="jp-SyftSync-docSize">
        {size(file.size)}
      </span>
      {compared ? (
        <span role="gridcell" className="jp-SyftSync-here" data-here={file.here}>
          {here}
        </span>
      ) : null}
      <span role="gridcell" className="jp-SyftSync-docFileActions">
        {compared ? (
          <button
            type="button"
            className="jp-SyftSync-link"
            tabIndex={tab}
            disabled={!canCompare}
            aria-label={trans.__('Compare %1 with yours', path)}
            onClick={event => {
              event.stopPropagation();
              actions.compare?.(index);
            }}
          >
            {trans.__('Compare')}
          </button>
        ) : null}
        {url === undefined ? null : (
          <a
            className="jp-SyftSync-action"
            tabIndex={tab}
            href={url}
            download
            title={trans.__('Download')}
            aria-label={trans.__('Download %1', path)}
            onClick={event => event.stopPropagation()}
          >
            <downloadIcon.react tag="span" />
          </a>
        )}
      </span>
    </div>
  );
}
