/** A result as a table for a terminal. */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBDataChunk } from '@duckdb/node-api';

import type { SqlRows } from './result-stream.ts';
import { plainWriter, written } from './written.ts';

type Api = typeof DuckdbApi;

/** Rows that are drawn; who wants more wants another format. */
export const TABLE_ROWS = 1000;
/** Columns of a terminal that one value may take. */
const WIDEST = 80;

/** Nothing of a name or a content may be a command to the terminal. */
function shown(text: string): string {
  const safe = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, c =>
    c === '\n' ? '↵' : c === '\t' ? ' ' : `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  );
  const characters = [...safe];
  return characters.length <= WIDEST ? safe : `${characters.slice(0, WIDEST - 1).join('')}…`;
}

const width = (text: string): number => [...text].length;

export async function* encodeTable(
  api: Api,
  result: SqlRows,
  chunks: AsyncIterable<DuckDBDataChunk>,
  counts: { readonly rows: number; readonly truncated: boolean }
): AsyncGenerator<string> {
  const { DuckDBTypeId: id } = api;
  const writers = result.types.map(type => plainWriter(api, type));
  const right = result.types.map(type =>
    [
      id.TINYINT,
      id.SMALLINT,
      id.INTEGER,
      id.BIGINT,
      id.HUGEINT,
      id.DOUBLE,
      id.FLOAT,
      id.DECIMAL,
      id.UBIGINT,
      id.UINTEGER
    ].includes(type.typeId)
  );
  const rows: string[][] = [];
  for await (const chunk of chunks) {
    const columns = written(chunk, writers);
    for (let row = 0; row < chunk.rowCount; row++) rows.push(columns.map(column => shown(column[row] ?? '')));
  }
  const names = result.names.map(shown);
  const widths = names.map((name, i) => rows.reduce((most, row) => Math.max(most, width(row[i] ?? '')), width(name)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const blank = ' '.repeat(Math.max(0, (widths[i] ?? 0) - width(cell)));
        return right[i] === true ? blank + cell : cell + blank;
      })
      .join('  ')
      .trimEnd();
  yield `${line(names)}\n${widths.map(each => '─'.repeat(each)).join('  ')}\n`;
  for (const row of rows) yield `${line(row)}\n`;
  yield `(${counts.rows}${counts.truncated ? '+' : ''} ${counts.rows === 1 ? 'row' : 'rows'})\n`;
}
