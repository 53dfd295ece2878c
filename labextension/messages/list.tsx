/**
 * A windowed list of messages: only the rows in sight are in the document, however many there are. One tab stop; arrows move
 * inside; the row with the focus stays in the document when it scrolls out of sight, so that the focus is never lost.
 */
import { ellipsesIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { MessageSummary } from '../../server/src/api/contract';
import { shortAgo, splitName } from '../history/words';
import { StateMark } from './state-mark';
import { acceptable, fate, howMuch, messageSentence, noteLine, stateWord, tooltip, what, who } from './words';

/** Pixels; the style sheet has the same number. */
export const ROW_HEIGHT = 62;
/** Rows beyond the edge of what is seen. */
const OVERSCAN = 4;

export interface MessageListProps {
  messages: readonly MessageSummary[];
  /** Messages in all, those not loaded included. */
  total: number;
  /** Name of the list for screen readers. */
  label: string;
  trans: TranslationBundle;
  /** Milliseconds since the epoch; renders the relative times. */
  now: number;
  /** Messages can be accepted and removed now. */
  canAct: boolean;
  /** The end comes into sight. */
  onEnd: () => void;
  onOpen: (message: MessageSummary) => void;
  onAccept: (message: MessageSummary) => void;
  onRemove: (message: MessageSummary) => void;
  /** The message that commands without arguments are about. */
  onSelect: (message: MessageSummary) => void;
  onEscape: () => void;
}

export function MessageList(props: MessageListProps): JSX.Element {
  const { messages, trans } = props;
  const scroller = React.useRef<HTMLDivElement>(null);
  const [view, setView] = React.useState({ top: 0, height: 400 });
  const [active, setActive] = React.useState<string | undefined>(undefined);
  const focusAfterRender = React.useRef(false);
  const lastIndex = React.useRef(0);

  const found = messages.findIndex(({ id }) => id === active);
  // A row that went away leaves the focus to the one that moves into its place.
  const activeIndex = found >= 0 ? found : Math.min(lastIndex.current, messages.length - 1);
  React.useLayoutEffect(() => {
    if (found >= 0) lastIndex.current = found;
  }, [found]);

  React.useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const measure = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const { onEnd } = props;
  const nearEnd = view.top + 2 * view.height >= messages.length * ROW_HEIGHT;
  React.useEffect(() => {
    if (nearEnd) onEnd();
  }, [nearEnd, messages.length, onEnd]);

  React.useLayoutEffect(() => {
    if (!focusAfterRender.current) return;
    focusAfterRender.current = false;
    scroller.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]')?.focus({ preventScroll: true });
  });

  const move = (to: number): void => {
    const element = scroller.current;
    const index = Math.min(messages.length - 1, Math.max(0, to));
    const message = messages[index];
    if (element === null || message === undefined) return;
    const top = index * ROW_HEIGHT;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW_HEIGHT > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + ROW_HEIGHT - element.clientHeight;
    }
    setActive(message.id);
    props.onSelect(message);
    focusAfterRender.current = true;
  };
  const remove = (message: MessageSummary): void => {
    focusAfterRender.current = true;
    props.onRemove(message);
  };

  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(view.height / ROW_HEIGHT) - 1);
    const message = messages[activeIndex];
    switch (event.key) {
      case 'ArrowDown':
        move(activeIndex + 1);
        break;
      case 'ArrowUp':
        move(activeIndex - 1);
        break;
      case 'PageDown':
        move(activeIndex + page);
        break;
      case 'PageUp':
        move(activeIndex - page);
        break;
      case 'Home':
        move(0);
        break;
      case 'End':
        move(messages.length - 1);
        break;
      case 'Enter':
        if (message !== undefined) props.onOpen(message);
        break;
      case 'a':
        if (message === undefined || !acceptable(message) || !props.canAct) return;
        props.onAccept(message);
        break;
      case 'Delete':
        if (message === undefined || !props.canAct) return;
        remove(message);
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
  const end = Math.min(messages.length, Math.ceil((view.top + view.height) / ROW_HEIGHT) + OVERSCAN);
  const shown = Array.from({ length: Math.max(0, end - start) }, (_unused, offset) => start + offset);
  if (activeIndex >= 0 && activeIndex < start) shown.unshift(activeIndex);
  else if (activeIndex >= end) shown.push(activeIndex);

  return (
    <div
      ref={scroller}
      className="jp-SyftSync-list"
      role="grid"
      aria-label={props.label}
      aria-rowcount={props.total > messages.length ? -1 : messages.length}
      aria-readonly="true"
      onScroll={event => {
        const { scrollTop, clientHeight } = event.currentTarget;
        setView({ top: scrollTop, height: clientHeight });
      }}
      onKeyDown={onKeyDown}
    >
      <div className="jp-SyftSync-listContent" role="rowgroup" style={{ height: messages.length * ROW_HEIGHT }}>
        {shown.map(index => {
          const message = messages[index] as MessageSummary;
          return (
            <MessageRow
              key={message.id}
              message={message}
              index={index}
              focusable={index === activeIndex}
              selected={index === found}
              now={props.now}
              trans={trans}
              onFocus={() => {
                if (active !== message.id) setActive(message.id);
                props.onSelect(message);
              }}
              onOpen={() => props.onOpen(message)}
            />
          );
        })}
      </div>
    </div>
  );
}

interface RowProps {
  message: MessageSummary;
  index: number;
  /** It is the one that the Tab key reaches. */
  focusable: boolean;
  selected: boolean;
  now: number;
  trans: TranslationBundle;
  onFocus: () => void;
  onOpen: () => void;
}

function MessageRow(props: RowProps): JSX.Element {
  const { message, trans } = props;
  const ago = shortAgo(message.receivedAt, props.now, trans);
  const inbox = message.box === 'inbox';
  const [start, end] = message.files === 1 ? splitName(what(message, trans)) : [what(message, trans), ''];
  const became = fate(message, trans);
  const classes = [
    'jp-SyftSync-row',
    'jp-SyftSync-message',
    `jp-SyftSync-mod-${message.state}`,
    inbox && !message.read ? 'jp-SyftSync-mod-unread' : ''
  ];
  return (
    <div
      role="row"
      className={classes.join(' ')}
      style={{ transform: `translateY(${props.index * ROW_HEIGHT}px)` }}
      tabIndex={props.focusable ? 0 : -1}
      aria-rowindex={props.index + 1}
      aria-selected={props.selected}
      aria-label={messageSentence(message, ago, trans)}
      title={tooltip(message, trans)}
      data-message={message.id}
      onFocus={props.onFocus}
      onClick={event => {
        event.currentTarget.focus();
        props.onOpen();
      }}
      onContextMenu={event => event.currentTarget.focus()}
    >
      <span role="gridcell" className="jp-SyftSync-messageLines">
        <span className="jp-SyftSync-messageLine">
          <span className="jp-SyftSync-messageWho">{who(message, trans)}</span>
          <span className="jp-SyftSync-age">{ago}</span>
        </span>
        <span className="jp-SyftSync-messageLine">
          <span className="jp-SyftSync-name">
            <span className="jp-SyftSync-nameStart">{start}</span>
            <span className="jp-SyftSync-nameEnd">{end}</span>
          </span>
          <span className="jp-SyftSync-size">{howMuch(message)}</span>
        </span>
        <span className="jp-SyftSync-messageLine jp-SyftSync-messageState">
          {inbox ? (
            <>
              <StateMark state={message.state} />
              <span className="jp-SyftSync-stateWord">{stateWord(message.state, trans)}</span>
            </>
          ) : message.sealed ? (
            <StateMark state="sealed" />
          ) : null}
          {became === undefined ? null : <span className="jp-SyftSync-stateWord">{became}</span>}
          {message.note === undefined || message.note === '' ? null : (
            <span className="jp-SyftSync-messageNote">{noteLine(message.note).slice(0, 200)}</span>
          )}
        </span>
      </span>
      <span role="gridcell" className="jp-SyftSync-actions">
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
        >
          <ellipsesIcon.react tag="span" />
        </button>
      </span>
    </div>
  );
}
