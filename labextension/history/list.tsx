/**
 * A windowed list of changes: only the rows in sight are in the document, however many there are. One tab stop; arrows move
 * inside; the row with the focus stays in the document when it scrolls out of sight, so that the focus is never lost.
 */
import { pinIcon, restoreIcon } from '../icons';
import { Mark } from '../status/mark';
import { ellipsesIcon, caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { ChangeRow } from '../../server/src/api/contract';
import type { ListItem } from './rows';
import {
  absolute,
  baseName,
  clock,
  dayLabel,
  difference,
  folderOf,
  gone,
  goneWord,
  happened,
  hasContent,
  kindWord,
  printable,
  saidOf,
  sentence,
  shortAgo,
  size,
  sizeChange,
  splitName,
  warning
} from './words';

/** Pixels; the style sheet has the same number. */
export const ROW_HEIGHT = 28;
/** Rows beyond the edge of what is seen. */
const OVERSCAN = 8;

export interface ChangeListProps {
  items: readonly ListItem[];
  /** Rows in all, those not loaded included. */
  total: number;
  /** Name of the list for screen readers. */
  label: string;
  trans: TranslationBundle;
  /** Milliseconds since the epoch; renders the relative times. */
  now: number;
  /** `version` rows begin with the time and say what happened; `file` rows begin with the name. */
  rows: 'version' | 'file';
  /** The version that is on disk now; its row is marked. */
  current?: string | undefined;
  /** When another version of the list was, in words. */
  timeOf?: (versionId: string) => string | undefined;
  /** The reader looks at the top, or is further down. */
  onTop?: (atTop: boolean) => void;
  /** The end comes into sight. */
  onEnd?: () => void;
  onPreview: (row: ChangeRow, pin: boolean) => void;
  onRestore: (row: ChangeRow) => void;
  /** The row that commands without arguments are about. */
  onSelect: (row: ChangeRow) => void;
  onToggle?: (key: string) => void;
  onEscape: () => void;
}

/** What a row can be looked at by: itself, or, when it says that the file went away, what was there before. */
export function lookable(row: ChangeRow): boolean {
  return hasContent(row) || (row.kind === 'deleted' && row.type === 'file' && row.previousVersionId !== undefined);
}

export function ChangeList(props: ChangeListProps): JSX.Element {
  const { items, trans } = props;
  const scroller = React.useRef<HTMLDivElement>(null);
  const [view, setView] = React.useState({ top: 0, height: 400 });
  const [active, setActive] = React.useState<string | undefined>(undefined);
  const focusAfterRender = React.useRef(false);

  const indexOf = React.useMemo(() => new Map(items.map((item, index) => [item.key, index])), [items]);
  const firstRow = items.findIndex(item => item.kind !== 'day');
  const found = active === undefined ? undefined : indexOf.get(active);
  const activeIndex = found ?? firstRow;

  React.useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const measure = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const { onTop, onEnd } = props;
  const atTop = view.top < ROW_HEIGHT / 2;
  React.useEffect(() => onTop?.(atTop), [atTop, onTop]);
  const nearEnd = view.top + 2 * view.height >= items.length * ROW_HEIGHT;
  React.useEffect(() => {
    if (nearEnd) onEnd?.();
  }, [nearEnd, items.length, onEnd]);

  React.useLayoutEffect(() => {
    if (!focusAfterRender.current) return;
    focusAfterRender.current = false;
    scroller.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')?.focus({ preventScroll: true });
  });

  const move = (index: number): void => {
    const element = scroller.current;
    const item = items[index];
    if (element === null || item === undefined) return;
    const top = index * ROW_HEIGHT;
    // The heading above the first row comes into sight with it.
    const least = index <= firstRow ? 0 : top;
    if (least < element.scrollTop) element.scrollTop = least;
    else if (top + ROW_HEIGHT > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + ROW_HEIGHT - element.clientHeight;
    }
    setActive(item.key);
    if (item.kind === 'change') props.onSelect(item.row);
    focusAfterRender.current = true;
  };
  const step = (from: number, by: number): void => {
    let index = Math.min(items.length - 1, Math.max(0, from + by));
    while (items[index]?.kind === 'day') {
      const next = index + (by < 0 ? -1 : 1);
      if (next < 0 || next >= items.length) return move(firstRow);
      index = next;
    }
    move(index);
  };

  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(view.height / ROW_HEIGHT) - 1);
    const item = items[activeIndex];
    switch (event.key) {
      case 'ArrowDown':
        step(activeIndex, 1);
        break;
      case 'ArrowUp':
        step(activeIndex, -1);
        break;
      case 'PageDown':
        step(activeIndex, page);
        break;
      case 'PageUp':
        step(activeIndex, -page);
        break;
      case 'Home':
        move(firstRow);
        break;
      case 'End':
        step(items.length - 1, 0);
        break;
      case 'ArrowRight':
        if (item?.kind !== 'burst' || item.open) return;
        props.onToggle?.(item.key);
        break;
      case 'ArrowLeft':
        if (item?.kind !== 'burst' || !item.open) return;
        props.onToggle?.(item.key);
        break;
      case 'Enter':
        if (item?.kind === 'burst') props.onToggle?.(item.key);
        else if (item?.kind === 'change' && lookable(item.row)) props.onPreview(item.row, event.shiftKey);
        break;
      case 'r':
        if (item?.kind !== 'change' || !lookable(item.row)) return;
        props.onRestore(item.row);
        break;
      case 'Escape':
        props.onEscape();
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const start = Math.max(0, Math.floor(view.top / ROW_HEIGHT) - OVERSCAN);
  const end = Math.min(items.length, Math.ceil((view.top + view.height) / ROW_HEIGHT) + OVERSCAN);
  const shown = Array.from({ length: Math.max(0, end - start) }, (_unused, offset) => start + offset);
  if (activeIndex >= 0 && activeIndex < start) shown.unshift(activeIndex);
  else if (activeIndex >= end) shown.push(activeIndex);

  return (
    <div
      ref={scroller}
      className="jp-SyftSync-list"
      role="grid"
      aria-label={props.label}
      aria-rowcount={props.total > items.length ? -1 : items.length}
      aria-readonly="true"
      onScroll={event => {
        const { scrollTop, clientHeight } = event.currentTarget;
        setView({ top: scrollTop, height: clientHeight });
      }}
      onKeyDown={onKeyDown}
    >
      <div className="jp-SyftSync-listContent" role="rowgroup" style={{ height: items.length * ROW_HEIGHT }}>
        {shown.map(index => {
          const item = items[index] as ListItem;
          const style = { transform: `translateY(${index * ROW_HEIGHT}px)` };
          const place = { style, 'aria-rowindex': index + 1 };
          if (item.kind === 'day') {
            return (
              <div key={item.key} role="row" className="jp-SyftSync-day" {...place}>
                <span role="gridcell">{dayLabel(item.at, props.now, trans)}</span>
              </div>
            );
          }
          const shared = {
            ...place,
            tabIndex: index === activeIndex ? 0 : -1,
            // A row that only the Tab key would reach looks like any other.
            'aria-selected': index === found,
            onFocus: () => {
              if (active !== item.key) setActive(item.key);
              if (item.kind === 'change') props.onSelect(item.row);
            }
          };
          return item.kind === 'burst' ? (
            <BurstRow key={item.key} item={item} shared={shared} list={props} />
          ) : (
            <ChangeItem key={item.key} item={item} shared={shared} list={props} />
          );
        })}
      </div>
    </div>
  );
}

interface Shared {
  style: React.CSSProperties;
  'aria-rowindex': number;
  tabIndex: number;
  'aria-selected': boolean;
  onFocus: () => void;
}

function Name(props: { text: string; className: string }): JSX.Element {
  const [start, end] = splitName(printable(props.text));
  return (
    <span className={props.className}>
      <span className="jp-SyftSync-nameStart">{start}</span>
      <span className="jp-SyftSync-nameEnd">{end}</span>
    </span>
  );
}

/** For the eye: pin, labels where there is room, and that the content is gone. The row's label and its tooltip say all. */
function Said(props: { row: ChangeRow; labels: boolean; trans: TranslationBundle }): JSX.Element {
  const { row, trans } = props;
  const word = goneWord(row, trans);
  const [label, ...more] = props.labels ? (row.labels ?? []) : [];
  return (
    <>
      {row.pinned === true ? <pinIcon.react tag="span" className="jp-SyftSync-pinned" /> : null}
      {label === undefined ? null : <span className="jp-SyftSync-label">{printable(label)}</span>}
      {more.length === 0 ? null : <span className="jp-SyftSync-moreLabels">+{more.length}</span>}
      {word === undefined ? null : <span className="jp-SyftSync-gone">{word}</span>}
    </>
  );
}

function ChangeItem(props: {
  item: ListItem & { kind: 'change' };
  shared: Shared;
  list: ChangeListProps;
}): JSX.Element {
  const { list, item } = props;
  const { row } = item;
  const { trans, now } = list;
  const change = difference(row);
  const flag = warning(row, trans);
  const can = lookable(row);
  const isCurrent = row.versionId === list.current;
  const what = happened(row, trans, list.timeOf);
  const classes = [
    'jp-SyftSync-row',
    `jp-SyftSync-mod-${row.kind}`,
    isCurrent ? 'jp-SyftSync-mod-current' : '',
    item.inBurst === true ? 'jp-SyftSync-mod-inBurst' : '',
    can ? 'jp-SyftSync-mod-content' : '',
    row.pinned === true ? 'jp-SyftSync-mod-pinned' : '',
    row.labels === undefined ? '' : 'jp-SyftSync-mod-labelled',
    row.dropped === undefined ? '' : 'jp-SyftSync-mod-dropped'
  ];
  const tooltip = [printable(row.path), `${what}, ${absolute(row.at)}`];
  if (row.size !== undefined) tooltip.push(size(row.size));
  const lost = gone(row, trans);
  tooltip.push(...saidOf(row, trans));
  for (const remark of [flag, lost]) if (remark !== undefined) tooltip.push(remark);
  const whole = row.size === undefined ? '' : size(row.size);
  const changed = change !== undefined && (change !== 0 || row.kind === 'modified');
  // Where nothing is to be compared, how much it is stands in the place of how much it changed.
  const delta = changed ? (
    <span className={change < 0 ? 'jp-SyftSync-less' : change > 0 ? 'jp-SyftSync-more' : ''}>{sizeChange(change)}</span>
  ) : (
    whole
  );
  const folder = folderOf(row.path);

  return (
    <div
      {...props.shared}
      role="row"
      className={classes.join(' ')}
      data-version={row.versionId}
      data-path={row.path}
      aria-label={sentence(row, now, trans, list.timeOf)}
      title={tooltip.join('\n')}
      onClick={event => {
        event.currentTarget.focus();
        if (can) list.onPreview(row, false);
      }}
      onDoubleClick={() => can && list.onPreview(row, true)}
      onContextMenu={event => event.currentTarget.focus()}
    >
      {list.rows === 'version' ? (
        <span role="gridcell" className="jp-SyftSync-cells">
          <span className="jp-SyftSync-mark" aria-hidden="true" />
          <span className="jp-SyftSync-time">{clock(row.at)}</span>
          <span className="jp-SyftSync-what">{what}</span>
          <Said row={row} labels trans={trans} />
          {flag === undefined ? null : <Mark kind="error" />}
          {changed ? <span className="jp-SyftSync-size">{whole}</span> : null}
          <span className="jp-SyftSync-delta">{delta}</span>
        </span>
      ) : (
        <span role="gridcell" className="jp-SyftSync-cells">
          <span className="jp-SyftSync-where">
            <Name className="jp-SyftSync-name" text={baseName(row.path)} />
            <span className="jp-SyftSync-folder">{printable(folder)}</span>
          </span>
          <Said row={row} labels={false} trans={trans} />
          {flag === undefined ? null : <Mark kind="error" />}
          <span className="jp-SyftSync-kind">{kindWord(row, trans)}</span>
          <span className="jp-SyftSync-delta">{delta}</span>
          <span className="jp-SyftSync-age">{shortAgo(row.at, now, trans)}</span>
        </span>
      )}
      <span role="gridcell" className="jp-SyftSync-actions">
        {can && !isCurrent ? (
          <button
            type="button"
            tabIndex={-1}
            className="jp-SyftSync-action"
            title={trans.__('Restore this version (r)')}
            aria-label={trans.__('Restore this version')}
            onClick={event => {
              event.stopPropagation();
              list.onRestore(row);
            }}
            onDoubleClick={event => event.stopPropagation()}
          >
            <restoreIcon.react tag="span" />
          </button>
        ) : null}
        <button
          type="button"
          tabIndex={-1}
          className="jp-SyftSync-action"
          title={trans.__('More')}
          aria-label={trans.__('More')}
          aria-haspopup="menu"
          onClick={event => {
            event.stopPropagation();
            const button = event.currentTarget;
            button.closest<HTMLElement>('[role="row"]')?.focus();
            const { left, bottom } = button.getBoundingClientRect();
            const init = { bubbles: true, cancelable: true, clientX: left, clientY: bottom };
            // The same menu as by the right mouse button, where other extensions may add to it.
            button.dispatchEvent(new MouseEvent('contextmenu', init));
          }}
          onDoubleClick={event => event.stopPropagation()}
        >
          <ellipsesIcon.react tag="span" />
        </button>
      </span>
    </div>
  );
}

function BurstRow(props: { item: ListItem & { kind: 'burst' }; shared: Shared; list: ChangeListProps }): JSX.Element {
  const { item, list } = props;
  const { trans, now } = list;
  const newest = item.rows[0] as ChangeRow;
  const files = new Set(item.rows.map(row => row.path)).size;
  const count = trans._n('%1 file', '%1 files', files);
  const where = item.folder === '' ? '' : trans.__('in %1', printable(item.folder));
  const kinds = new Set(item.rows.map(row => row.kind));
  const what =
    kinds.size === 1 && newest.kind !== 'moved'
      ? happened({ ...newest, cause: undefined }, trans)
      : trans.__('changed');
  const Caret = item.open ? caretDownIcon : caretRightIcon;
  return (
    <div
      {...props.shared}
      role="row"
      className="jp-SyftSync-row jp-SyftSync-mod-burst"
      aria-expanded={item.open}
      aria-label={[count, what, where, `${dayLabel(newest.at, now, trans)} ${clock(newest.at)}`]
        .filter(Boolean)
        .join(', ')}
      title={`${count} ${what} ${where}\n${absolute(newest.at)}`}
      onClick={event => {
        event.currentTarget.focus();
        list.onToggle?.(item.key);
      }}
    >
      <span role="gridcell" className="jp-SyftSync-cells">
        <Caret.react tag="span" className="jp-SyftSync-caret" />
        <span className="jp-SyftSync-name">{count}</span>
        <span className="jp-SyftSync-folder">{where}</span>
        <span className="jp-SyftSync-kind">{what}</span>
        <span className="jp-SyftSync-age">{shortAgo(newest.at, now, trans)}</span>
      </span>
    </div>
  );
}
