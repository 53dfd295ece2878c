/** Which of DuckDB's readers makes a table of a file, by the file's name. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { stat } from 'node:fs/promises';
import { SyftError } from '../../core/errors.ts';
import type { ContentFile } from './protocol.ts';

/** Bytes of one JSON value, at most: what DuckDB takes for it, it takes several times. */
const JSON_VALUE = 64 << 20;

const READERS: readonly (readonly [ending: RegExp, reader: (file: string) => string])[] = [
  [/\.csv(\.gz|\.zst)?$/i, file => `read_csv(${file})`],
  [/\.(tsv|tab)(\.gz|\.zst)?$/i, file => `read_csv(${file}, delim = '\\t')`],
  [/\.(parquet|pq)$/i, file => `read_parquet(${file})`],
  [
    /\.(ndjson|jsonl)(\.gz|\.zst)?$/i,
    file => `read_json(${file}, format = 'newline_delimited', maximum_object_size = ${JSON_VALUE})`
  ],
  [/\.json(\.gz|\.zst)?$/i, file => `read_json(${file}, maximum_object_size = ${JSON_VALUE})`]
];

const WORKBOOK = /\.(xlsx|xlsm)$/i;

/** What a file of this name is read by must be told from its name alone: the ending that its copy needs. */
export function endingOf(path: string): string {
  return /(\.[a-z0-9]{1,8}){1,2}$/i.exec(path)?.[0].toLowerCase() ?? '';
}

/**
 * A table over a content: a table function, or the name of a table that is made.
 *
 * @param sheet Of a workbook; `undefined`: its first.
 * @throws SyftError SQL_INVALID when files of this kind cannot be read as a table.
 */
export async function tableOver(own: DuckDBConnection, content: ContentFile, sheet?: string): Promise<string> {
  const { file, path, versionId } = content;
  const isWorkbook = WORKBOOK.test(path);
  if (sheet !== undefined && !isWorkbook) {
    throw new SyftError('SQL_INVALID', `${path} is no workbook of Excel, and has no sheets.`, { path });
  }
  const found = READERS.find(([ending]) => ending.test(path));
  if (found === undefined && !isWorkbook) {
    const hint = /\.ipynb$/i.test(path) ? ' Of a notebook, ask cells_of.' : '';
    throw new SyftError(
      'SQL_INVALID',
      `${path} cannot be read as a table: that can CSV, TSV, Parquet, JSON, NDJSON and Excel (.xlsx) files.${hint}`,
      { path }
    );
  }
  // A pipe has no size.
  const { size, isPipe } = await stat(file).then(found => ({ size: found.size, isPipe: found.isFIFO() }));
  if (size === 0 && !isPipe) {
    throw new SyftError('SQL_INVALID', `${path} (version ${versionId}) is empty, and no table.`, { path });
  }
  if (found === undefined) return (await import('./excel.ts')).tableOfSheet(own, content, sheet);
  return found[1](`'${file.replaceAll("'", "''")}'`);
}
