/** How the panel says things: times, sizes, names. Pure; every word through the translator. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChangeRow } from '../../server/src/api/contract';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `1.2 kB`: decimal units, at most three digits that count. */
export function size(bytes: number): string {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `+1.2 kB`, `−40 kB`, `±0 B`; with the true minus sign. */
export function sizeChange(bytes: number): string {
  if (bytes === 0) return '±0 B';
  return `${bytes > 0 ? '+' : '−'}${size(bytes)}`;
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** All but the last part; empty at the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

/** Cuts a name in two so that a style can put the ellipsis between: the end keeps the extension and what is before it. */
export function splitName(name: string): [start: string, end: string] {
  // Never between the halves of a character.
  const characters = Array.from(name);
  const dot = characters.lastIndexOf('.');
  const extension = dot > 0 && characters.length - dot <= 10 ? characters.length - dot : 0;
  const tail = Math.min(characters.length - 1, extension + 2);
  if (tail <= 0) return [name, ''];
  return [characters.slice(0, -tail).join(''), characters.slice(-tail).join('')];
}

/** At most `length` characters, with an ellipsis in the middle; the end stays whole, see {@link splitName}. */
export function shorten(name: string, length: number): string {
  const characters = Array.from(name);
  if (characters.length <= length) return name;
  const end = Array.from(splitName(name)[1]);
  const start = Math.max(0, length - 1 - end.length);
  return `${characters.slice(0, start).join('')}…${end.join('')}`;
}

/** Names for humans: a newline or a control character in a name would break a row, or lie in it. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, sign => {
    const code = sign.codePointAt(0) ?? 0;
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : '\ufffd';
  });
}

const DAY = 86_400_000;

function startOfDay(time: number): number {
  const date = new Date(time);
  date.setHours(0, 0, 0, 0);
  return date.getTime();
}

/** A key that two times of one local day share. */
export function dayKey(at: string): number {
  return startOfDay(Date.parse(at));
}

/** `Today`, `Yesterday`, `Monday`, `12 March`, `12 March 2024`. */
export function dayLabel(at: string, now: number, trans: TranslationBundle): string {
  const day = dayKey(at);
  const today = startOfDay(now);
  if (day === today) return trans.__('Today');
  // A day has 23 or 25 hours twice a year: round.
  const days = Math.round((today - day) / DAY);
  if (days === 1) return trans.__('Yesterday');
  const date = new Date(day);
  if (days > 1 && days < 7) return date.toLocaleDateString(undefined, { weekday: 'long' });
  const year = date.getFullYear() === new Date(now).getFullYear() ? {} : ({ year: 'numeric' } as const);
  return date.toLocaleDateString(undefined, { day: 'numeric', month: 'long', ...year });
}

/** `14:05`. */
export function clock(at: string): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/** `14:05` today, `Yesterday 14:05`, `12 March 14:05`. */
export function moment(at: string, now: number, trans: TranslationBundle): string {
  return dayKey(at) === startOfDay(now) ? clock(at) : `${dayLabel(at, now, trans)} ${clock(at)}`;
}

/** `analysis (24 Nov 14:05).ipynb`: a name that tells versions apart and keeps the extension. */
export function versionName(row: ChangeRow): string {
  const name = printable(baseName(row.path));
  const at = new Date(row.at).toLocaleString(undefined, {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23'
  });
  const dot = name.lastIndexOf('.');
  const end = dot > 0 ? dot : name.length;
  return `${name.slice(0, end)} (${at.replaceAll('/', '-')})${name.slice(end)}`;
}

/** For tooltips: date and time to the second. */
export function absolute(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'medium', hourCycle: 'h23' });
}

/** `12 March 2024, 14:05`: for what is looked at alone. */
export function atMinute(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'short', hourCycle: 'h23' });
}

/** `now`, `40 s`, `3 min`, `2 h`; from a day on `Yesterday`, `Monday`, `12 Mar`. */
export function shortAgo(at: string, now: number, trans: TranslationBundle): string {
  const seconds = Math.max(0, (now - Date.parse(at)) / 1000);
  if (seconds < 10) return trans.__('now');
  if (seconds < 60) return trans.__('%1 s', Math.floor(seconds));
  if (seconds < 3600) return trans.__('%1 min', Math.floor(seconds / 60));
  if (seconds < 86_400) return trans.__('%1 h', Math.floor(seconds / 3600));
  const days = Math.round((startOfDay(now) - dayKey(at)) / DAY);
  const style = days < 7 ? ({ weekday: 'short' } as const) : ({ day: 'numeric', month: 'short' } as const);
  return new Date(at).toLocaleDateString(undefined, style);
}

/** What happened, in the shortest word; nothing for the most frequent, a modification. */
export function kindWord(row: ChangeRow, trans: TranslationBundle): string {
  if (row.cause?.kind === 'restore') return trans.__('restored');
  if (row.cause?.kind === 'received') return trans.__('received');
  if (row.cause?.kind === 'message') return trans.__('message');
  switch (row.kind) {
    case 'created':
      return trans.__('new');
    case 'deleted':
      return trans.__('deleted');
    case 'moved':
      return row.from !== undefined && folderOf(row.from) === folderOf(row.path)
        ? trans.__('renamed')
        : trans.__('moved');
    case 'modified':
      return '';
  }
}

/** How a version came about, in a word or two. `timeOf` says when another version was, when it is known. */
export function happened(
  row: ChangeRow,
  trans: TranslationBundle,
  timeOf?: (versionId: string) => string | undefined
): string {
  if (row.cause?.kind === 'restore') {
    const at = timeOf?.(row.cause.version);
    return at === undefined ? trans.__('restored') : trans.__('restored from %1', at);
  }
  if (row.cause?.kind === 'received') return trans.__('received');
  if (row.cause?.kind === 'message') return trans.__('from a message');
  switch (row.kind) {
    case 'created':
      return trans.__('created');
    case 'deleted':
      return trans.__('deleted');
    case 'moved':
      if (row.from === undefined) return trans.__('moved');
      return folderOf(row.from) === folderOf(row.path)
        ? trans.__('renamed from %1', printable(baseName(row.from)))
        : trans.__('moved from %1', printable(row.from));
    case 'modified':
      return row.cause?.kind === 'jupyter-save' ? trans.__('saved') : trans.__('modified');
  }
}

/** What a flag means to the reader; undefined when there is none. */
export function warning(row: ChangeRow, trans: TranslationBundle): string | undefined {
  if (row.flags.includes('torn')) {
    return trans.__('The file was being written while it was recorded; the content may be incomplete.');
  }
  if (row.flags.includes('unreadable')) return trans.__('The file could not be read; its content is not recorded.');
  if (row.flags.includes('no-content')) {
    return trans.__('Only name, size and fingerprint are recorded, not the content.');
  }
  return undefined;
}

/** What is said of the version: that it is pinned, and its labels. */
export function saidOf(row: ChangeRow, trans: TranslationBundle): string[] {
  return [
    ...(row.pinned === true ? [trans.__('pinned')] : []),
    ...(row.labels ?? []).map(label => trans.__('label %1', printable(label)))
  ];
}

/** Why the content of a version is gone; undefined when it is not. */
export function gone(row: ChangeRow, trans: TranslationBundle): string | undefined {
  if (row.dropped === undefined) return undefined;
  const day = new Date(row.dropped.at).toLocaleDateString(undefined, { dateStyle: 'long' });
  return row.dropped.act === 'erase'
    ? trans.__('Its content was erased on %1; only the record of it is kept.', day)
    : trans.__('Its content was pruned on %1; only the record of it is kept.', day);
}

/** The same in one word, for a row. */
export function goneWord(row: ChangeRow, trans: TranslationBundle): string | undefined {
  if (row.dropped === undefined) return undefined;
  return row.dropped.act === 'erase' ? trans.__('erased') : trans.__('pruned');
}

/** The change in size that the row made, in bytes; undefined where there is nothing to compare with, as for a new file. */
export function difference(row: ChangeRow): number | undefined {
  if (row.type !== 'file') return undefined;
  if (row.kind === 'deleted') return row.previousSize === undefined ? undefined : -row.previousSize;
  if (row.size === undefined) return undefined;
  if (row.kind === 'created') return undefined;
  return row.size - (row.previousSize ?? row.size);
}

/** True when there is content that can be looked at and put back. */
export function hasContent(row: ChangeRow): boolean {
  return (
    row.kind !== 'deleted' &&
    row.type === 'file' &&
    row.dropped === undefined &&
    !row.flags.includes('no-content') &&
    !row.flags.includes('unreadable')
  );
}

/** One sentence for screen readers. */
export function sentence(
  row: ChangeRow,
  now: number,
  trans: TranslationBundle,
  timeOf?: (versionId: string) => string | undefined
): string {
  const parts = [printable(row.path), happened(row, trans, timeOf), `${dayLabel(row.at, now, trans)} ${clock(row.at)}`];
  if (row.size !== undefined) parts.push(size(row.size));
  const change = difference(row);
  if (change !== undefined && change !== 0) parts.push(sizeChange(change));
  parts.push(...saidOf(row, trans));
  for (const remark of [warning(row, trans), gone(row, trans)]) if (remark !== undefined) parts.push(remark);
  return parts.join(', ');
}
