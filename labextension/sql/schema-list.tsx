/** Tables, macros and their columns, beside the query: a click puts a name into it. */
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { SqlSchema } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { Skeleton } from '../history/states';
import { useLasting } from '../history/use-signal';
import { printable } from '../history/words';

/** What of the schema is known. */
export type SchemaState =
  | { readonly kind: 'loading' }
  | { readonly kind: 'known'; readonly schema: SqlSchema }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface SchemaListProps {
  state: SchemaState;
  trans: TranslationBundle;
  insert(text: string): void;
  reload(): void;
}

interface Row {
  readonly key: string;
  readonly level: 1 | 2;
  readonly name: string;
  readonly detail: string;
  readonly about: string;
  readonly inserts: string;
  /** Undefined for what has nothing below it. */
  readonly open?: boolean;
  readonly parent?: string;
}

function rowsOf({ tables, macros }: SqlSchema, open: ReadonlySet<string>): Row[] {
  const rows: Row[] = [];
  const relations = [
    ...tables.map(table => ({ ...table, inserts: table.name, detail: '' })),
    ...macros.map(macro => ({ ...macro, inserts: `${macro.name}(`, detail: macro.signature.slice(macro.name.length) }))
  ];
  for (const { name, description, columns, inserts, detail } of relations) {
    const isOpen = open.has(name);
    rows.push({
      key: name,
      level: 1,
      name,
      detail,
      about: description,
      inserts,
      ...(columns.length > 0 && { open: isOpen })
    });
    if (!isOpen) continue;
    for (const column of columns) {
      rows.push({
        key: `${name}.${column.name}`,
        level: 2,
        name: column.name,
        detail: column.type.toLowerCase().replace('timestamp with time zone', 'time'),
        about: column.description,
        inserts: column.name,
        parent: name
      });
    }
  }
  return rows;
}

export function SchemaList(props: SchemaListProps): JSX.Element {
  const { state, trans, insert } = props;
  const slow = useLasting(state.kind === 'loading', 150);
  const [open, setOpen] = React.useState<ReadonlySet<string>>(new Set());
  const [focused, setFocused] = React.useState<string>();
  const list = React.useRef<HTMLUListElement>(null);
  const schema = state.kind === 'known' ? state.schema : undefined;
  const rows = React.useMemo(() => (schema === undefined ? [] : rowsOf(schema, open)), [schema, open]);

  if (state.kind === 'failed') {
    return (
      <div className="jp-SyftSync-hint">
        <p role="alert">{printable(messageOf(state.error, trans))}</p>
        <button type="button" className="jp-mod-styled jp-mod-reject" onClick={() => props.reload()}>
          {trans.__('Try again')}
        </button>
      </div>
    );
  }
  if (schema === undefined) return slow ? <Skeleton label={trans.__('Loading')} /> : <></>;

  const toggle = (key: string): void => {
    const next = new Set(open);
    if (!next.delete(key)) next.add(key);
    setOpen(next);
  };
  const focus = (key: string | undefined): void => {
    if (key === undefined) return;
    setFocused(key);
    list.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent, row: Row, index: number): void => {
    switch (event.key) {
      case 'ArrowDown':
        focus(rows[index + 1]?.key);
        break;
      case 'ArrowUp':
        focus(rows[index - 1]?.key);
        break;
      case 'Home':
        focus(rows[0]?.key);
        break;
      case 'End':
        focus(rows.at(-1)?.key);
        break;
      case 'ArrowRight':
        if (row.open === false) toggle(row.key);
        else if (row.open === true) focus(rows[index + 1]?.key);
        break;
      case 'ArrowLeft':
        if (row.open === true) toggle(row.key);
        else focus(row.parent);
        break;
      case 'Enter':
      case ' ':
        insert(row.inserts);
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const stop = rows.some(row => row.key === focused) ? focused : rows[0]?.key;
  return (
    <ul ref={list} className="jp-SyftSync-sqlSchema" role="tree" aria-label={trans.__('Tables and columns')}>
      {rows.map((row, index) => (
        <li
          key={row.key}
          role="treeitem"
          data-key={row.key}
          aria-level={row.level}
          aria-expanded={row.open}
          aria-selected={false}
          aria-label={`${row.name} ${row.detail}`}
          aria-description={row.about.replaceAll('`', '')}
          title={`${row.name} ${row.detail}\n${row.about.replaceAll('`', '')}`}
          tabIndex={row.key === stop ? 0 : -1}
          className={`jp-SyftSync-sqlName jp-SyftSync-mod-level${row.level}`}
          onFocus={() => setFocused(row.key)}
          onKeyDown={event => onKeyDown(event, row, index)}
          onClick={() => insert(row.inserts)}
        >
          {row.open === undefined ? (
            <span className="jp-SyftSync-caret" />
          ) : (
            <span
              className="jp-SyftSync-caret"
              onClick={event => {
                event.stopPropagation();
                toggle(row.key);
              }}
            >
              {row.open ? <caretDownIcon.react tag="span" /> : <caretRightIcon.react tag="span" />}
            </span>
          )}
          <span className="jp-SyftSync-sqlNameText">{row.name}</span>
          <span className="jp-SyftSync-sqlDetail">{row.detail}</span>
        </li>
      ))}
    </ul>
  );
}
