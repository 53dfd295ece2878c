/** Saves a result as a file, where the browser saves files, and says how far it is. */
import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { SqlFormat } from '../../server/src/api/contract';
import { messageOf } from '../client/errors';
import { printable, size } from '../history/words';
import type { SqlModel } from './model';

/** Formats that a result can be saved in; the end of the file's name, and what it is called. */
export const EXPORTS = {
  csv: { end: '.csv', name: 'CSV' },
  parquet: { end: '.parquet', name: 'Parquet' },
  arrow: { end: '.arrows', name: 'Arrow' },
  json: { end: '.json', name: 'JSON' }
} as const satisfies Partial<Record<SqlFormat, { end: string; name: string }>>;
export type ExportFormat = keyof typeof EXPORTS;

/** Milliseconds before anything is said: most results are saved at once. */
const AT_ONCE = 150;
/** Milliseconds between two times that it is said how far it is. */
const SAID_AGAIN = 250;
/** Milliseconds that it is said that it is done. */
const READ = 3000;

/** Resolves when it is saved, was cancelled, or failed and that was said. */
export async function saveResult(model: SqlModel, format: ExportFormat, trans: TranslationBundle): Promise<void> {
  const { end, name } = EXPORTS[format];
  const abort = new AbortController();
  const { table, state } = model;
  const held = model.isHeld(format);
  const shown = table?.rowCount ?? 0;
  const fileName = `${nameOf(model.ran ?? model.query)}${end}`;
  const notice = new Notice(trans, () => abort.abort());
  notice.say(held ? trans.__('Exporting as %1', name) : trans.__('Exporting as %1: the query runs again', name));
  try {
    const { file, rows } = await model.export(format, {
      signal: abort.signal,
      progress: done => {
        if ('rows' in done) {
          const [some, all] = [done.rows.toLocaleString(), done.total.toLocaleString()];
          notice.say(trans.__('Exporting as %1: %2 of %3 rows', name, some, all));
        } else notice.say(trans.__('Exporting as %1: the query runs again, %2 so far', name, size(done.bytes)));
      }
    });
    download(file, fileName);
    notice.end('success', exported(name, rows, { held, shown, state }, trans));
  } catch (error) {
    if (abort.signal.aborted) notice.end('info', trans.__('The export was cancelled.'));
    else notice.end('error', trans.__('It could not be exported: %1', printable(messageOf(error, trans))));
  }
}

/** What is in the file, where that is not simply all. */
function exported(
  name: string,
  rows: number,
  was: { held: boolean; shown: number; state: SqlModel['state'] },
  trans: TranslationBundle
): string {
  const counted = trans._n('%1 row', '%1 rows', rows).replace(String(rows), rows.toLocaleString());
  const { held, shown, state } = was;
  if (held && state.kind === 'done' && state.cut === 'rows') {
    return trans.__('Exported as %1: the first %2, as shown. There are more.', name, counted);
  }
  if (held && state.kind !== 'done') {
    return trans.__('Exported as %1: the %2 that had come, as shown. It is not all.', name, counted);
  }
  if (!held && rows !== shown) {
    return trans.__('Exported as %1: %2. The query ran again; %3 are shown.', name, counted, shown.toLocaleString());
  }
  return trans.__('Exported as %1: %2.', name, counted);
}

function download(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser takes the address when it begins to save.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** A name for what a query gives: its first table, and the day. */
function nameOf(query: string): string {
  const table = /\bfrom\s+(\w+)/i.exec(query)?.[1] ?? 'result';
  return `${table}-${new Date().toISOString().slice(0, 10)}`;
}

/** One notification, from the first word to the last. */
class Notice {
  constructor(
    private readonly _trans: TranslationBundle,
    private readonly _cancel: () => void
  ) {
    this._timer = setTimeout(() => this._show(), AT_ONCE);
  }

  say(message: string): void {
    this._message = message;
    if (this._id !== undefined && performance.now() - this._said > SAID_AGAIN) this._show();
  }

  end(type: 'success' | 'info' | 'error', message: string): void {
    clearTimeout(this._timer);
    const autoClose = type === 'error' ? false : READ;
    const id = this._id;
    // Who closed it meanwhile is told all the same.
    if (id !== undefined && Notification.update({ id, message, type, autoClose, actions: [] })) return;
    Notification.emit(message, type, { autoClose });
  }

  private _show(): void {
    this._said = performance.now();
    const message = this._message;
    const actions = [{ label: this._trans.__('Cancel'), callback: this._cancel }];
    if (this._id === undefined) this._id = Notification.emit(message, 'in-progress', { autoClose: false, actions });
    else Notification.update({ id: this._id, message });
  }

  private readonly _timer: ReturnType<typeof setTimeout>;
  private _id: string | undefined;
  private _message = '';
  private _said = 0;
}
