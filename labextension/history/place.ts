/** Where a version belongs now: what a file was before it was moved is put back under the name that it has. */
import type { ChangeRow, History } from '../../server/src/api/contract';

interface PlacedRow extends ChangeRow {
  place?: string;
}

/** The versions of a history; each from before a move knows where the file is now. */
export function placed({ changes, exists, path }: History): ChangeRow[] {
  return exists ? changes.map((row): PlacedRow => (row.path === path ? row : { ...row, place: path })) : changes;
}

/** The path that a version is put back to. */
export function placeOf(row: PlacedRow): string {
  return row.place ?? row.path;
}
