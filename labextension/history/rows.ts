/** From changes, newest first, to what a list shows: days as headings, bursts folded. Pure. */
import type { ChangeRow } from '../../server/src/api/contract';
import { dayKey, folderOf } from './words';

export type ListItem =
  | { kind: 'day'; key: string; at: string }
  | { kind: 'change'; key: string; row: ChangeRow; inBurst?: boolean }
  /** Many changes that happened together; `folder` is what all of them lie in, empty for the root. */
  | { kind: 'burst'; key: string; rows: readonly ChangeRow[]; folder: string; open: boolean };

/** Changes that follow each other within this many milliseconds belong together. */
export const BURST_GAP = 2000;
/** Fewer are shown one by one. */
export const BURST_SIZE = 10;

/** The deepest folder that holds all paths. */
export function commonFolder(paths: readonly string[]): string {
  let common = folderOf(paths[0] ?? '');
  for (const path of paths) {
    while (common !== '' && !path.startsWith(`${common}/`)) common = folderOf(common);
    if (common === '') return '';
  }
  return common;
}

/**
 * @param changes - newest first
 * @param options.fold - whether bursts are folded
 * @param options.open - keys of the bursts that are unfolded
 */
export function listItems(
  changes: readonly ChangeRow[],
  options: { fold: boolean; open?: ReadonlySet<string> }
): ListItem[] {
  const items: ListItem[] = [];
  let day: number | undefined;
  for (let start = 0; start < changes.length;) {
    const row = changes[start] as ChangeRow;
    const itsDay = dayKey(row.at);
    if (itsDay !== day) {
      day = itsDay;
      items.push({ kind: 'day', key: `day:${itsDay}`, at: row.at });
    }
    const end = options.fold ? burstEnd(changes, start, itsDay) : start + 1;
    if (end - start < BURST_SIZE) {
      items.push({ kind: 'change', key: row.versionId, row });
      start++;
      continue;
    }
    const rows = changes.slice(start, end);
    // Named by its oldest change: what comes later joins it without closing it.
    const key = `burst:${(rows.at(-1) as ChangeRow).versionId}`;
    const open = options.open?.has(key) ?? false;
    items.push({ kind: 'burst', key, rows, folder: commonFolder(rows.map(({ path }) => path)), open });
    if (open) items.push(...rows.map(row => ({ kind: 'change' as const, key: row.versionId, row, inBurst: true })));
    start = end;
  }
  return items;
}

function burstEnd(changes: readonly ChangeRow[], start: number, day: number): number {
  let end = start + 1;
  while (end < changes.length) {
    const [newer, older] = [changes[end - 1] as ChangeRow, changes[end] as ChangeRow];
    if (Date.parse(newer.at) - Date.parse(older.at) > BURST_GAP || dayKey(older.at) !== day) break;
    end++;
  }
  return end;
}
