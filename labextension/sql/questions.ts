/** Questions worth asking, which run as they stand; and what a result is good for beyond being looked at. */
import type { TranslationBundle } from '@jupyterlab/translation';

export interface Question {
  readonly title: string;
  readonly query: string;
}

/** What a new tab offers. */
export function questions(trans: TranslationBundle): readonly Question[] {
  return [
    {
      title: trans.__('What changed in the last day?'),
      query: `SELECT at, kind, path, size, version_id\nFROM changes\nWHERE at > now() - INTERVAL 1 DAY\nORDER BY at DESC`
    },
    {
      title: trans.__('Which files grow fastest?'),
      query: `SELECT path, count(*) AS versions, min(size) AS smallest, max(size) AS largest,\n  max(size) - min(size) AS grown\nFROM versions\nGROUP BY path\nORDER BY grown DESC\nLIMIT 20`
    },
    {
      title: trans.__('How much happened on each day?'),
      query: `SELECT day, count(*) AS changes, count(DISTINCT path) AS files\nFROM changes\nGROUP BY day\nORDER BY day`
    },
    {
      title: trans.__('What was deleted, and what was there before?'),
      query: `SELECT at, path, previous_size, previous_version_id\nFROM changes\nWHERE kind = 'deleted'\nORDER BY at DESC`
    },
    {
      title: trans.__('What takes the space?'),
      query: `FROM storage_report()\nORDER BY stored_bytes DESC\nLIMIT 20`
    }
  ];
}

/** What a cell of a column leads to. */
export type Lead = 'path' | 'version' | undefined;

/** By its name: columns of these names hold paths or version ids in every table and macro. */
export function leadOf(column: string): Lead {
  const name = column.toLowerCase();
  if (/(^|_)version_id$/.test(name)) return 'version';
  if (/(^|_)path$/.test(name)) return 'path';
  return undefined;
}

/** A notebook cell, in Python, that gives the result of a query as a DataFrame. */
export function notebookCell(query: string): string {
  const text = query.trim();
  // A raw string says most queries as they are; it can end neither in a quote nor in a backslash.
  const raw = !text.includes('"""') && !/["\\]$/.test(text);
  const literal = raw
    ? `${text.includes('\\') ? 'r' : ''}"""\n${text}\n"""`
    : `"""\n${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}\n"""`;
  return `import syft_sync\n\nsyft_sync.sql(${literal})`;
}
