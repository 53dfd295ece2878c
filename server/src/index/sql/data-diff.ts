/** What differs between two tables, as a query over both. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { SyftError } from '../../core/errors.ts';

const name = (column: string): string => `"${column.replaceAll('"', '""')}"`;
const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

async function columnsOf(own: DuckDBConnection, table: string): Promise<Map<string, string>> {
  const reader = await own.runAndReadAll(`DESCRIBE SELECT * FROM ${table}`);
  return new Map(reader.getRowsJS().map(row => [String(row[0]), String(row[1])]));
}

/** The names of `wanted` as the table writes them: SQL does not tell upper case from lower. */
function keyColumns(
  wanted: readonly string[],
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>
): string[] {
  return wanted.map(key => {
    const found = [...before.keys()].find(column => column.toLowerCase() === key.toLowerCase());
    if (found !== undefined && after.has(found)) return found;
    const both = [...before.keys()].filter(column => after.has(column));
    throw new SyftError('SQL_INVALID', `There is no column ${key} in both versions. Both have: ${both.join(', ')}.`);
  });
}

async function checkUnique(
  own: DuckDBConnection,
  table: string,
  keys: readonly string[],
  which: string
): Promise<void> {
  const list = keys.map(name).join(', ');
  const reader = await own.runAndReadAll(
    `SELECT to_json({${keys.map(key => `${text(key)}: ${name(key)}`).join(', ')}}) FROM ${table} GROUP BY ${list} HAVING count(*) > 1 LIMIT 1`
  );
  const [row] = reader.getRowsJS();
  if (row === undefined) return;
  throw new SyftError(
    'SQL_INVALID',
    `${keys.join(', ')} does not tell rows apart: ${String(row[0])} is there more than once in the ${which} version. Name more columns, or none.`
  );
}

/**
 * The query of `data_diff`: change, key, columns, before, after.
 *
 * @param before Table functions.
 * @param key Columns by which rows are told apart; `undefined`: whole rows are compared.
 * @throws SyftError SQL_INVALID when the key is none.
 */
export async function dataDiff(
  own: DuckDBConnection,
  before: string,
  after: string,
  key: readonly string[] | undefined
): Promise<string> {
  const old = await columnsOf(own, before);
  const now = await columnsOf(own, after);
  const common = [...old.keys()].filter(column => now.has(column));
  const schema = [
    ...[...now]
      .filter(([column]) => !old.has(column))
      .map(([column, type]) => schemaRow('column added', column, undefined, type)),
    ...[...old]
      .filter(([column]) => !now.has(column))
      .map(([column, type]) => schemaRow('column removed', column, type, undefined)),
    ...common
      .filter(column => old.get(column) !== now.get(column))
      .map(column => schemaRow('column type', column, old.get(column), now.get(column)))
  ];
  // Of two types there is one text to compare.
  const compared = (alias: string, column: string): string =>
    old.get(column) === now.get(column) ? `${alias}.${name(column)}` : `${alias}.${name(column)}::VARCHAR`;
  const none = '[]::VARCHAR[]';
  let rows: string;
  if (key === undefined) {
    if (common.length === 0) throw new SyftError('SQL_INVALID', 'The two versions have no column in common.');
    const side = (table: string): string =>
      `SELECT ${common.map(column => `${compared('t', column)} AS ${name(column)}`).join(', ')} FROM ${table} t`;
    rows = `
      SELECT 'removed' AS change, NULL::JSON AS key, ${none} AS columns, to_json(r) AS before, NULL::JSON AS after
      FROM (${side(before)} EXCEPT ALL ${side(after)}) r
      UNION ALL
      SELECT 'added', NULL::JSON, ${none}, NULL::JSON, to_json(r) FROM (${side(after)} EXCEPT ALL ${side(before)}) r`;
  } else {
    const keys = keyColumns(key, old, now);
    await checkUnique(own, before, keys, 'first');
    await checkUnique(own, after, keys, 'second');
    const others = common.filter(column => !keys.includes(column));
    const changed = `list_filter([${others
      .map(
        column =>
          `CASE WHEN ${compared('a', column)} IS DISTINCT FROM ${compared('b', column)} THEN ${text(column)} END`
      )
      .join(', ')}]::VARCHAR[], x -> x IS NOT NULL)`;
    const same = keys
      .map(column => `${compared('a', column)} IS NOT DISTINCT FROM ${compared('b', column)}`)
      .join(' AND ');
    const keyJson = (alias: string): string =>
      keys.length === 1
        ? `to_json(${alias}.${name(keys[0] ?? '')})`
        : `to_json({${keys.map(column => `${text(column)}: ${alias}.${name(column)}`).join(', ')}})`;
    rows = `
      SELECT change, key, columns, before, after FROM (
        SELECT CASE WHEN a.there IS NULL THEN 'added' WHEN b.there IS NULL THEN 'removed' ELSE 'changed' END AS change,
          CASE WHEN a.there IS NULL THEN ${keyJson('b')} ELSE ${keyJson('a')} END AS key,
          CASE WHEN a.there IS NULL OR b.there IS NULL THEN ${none} ELSE ${changed} END AS columns,
          CASE WHEN a.there IS NOT NULL THEN a.whole END AS before,
          CASE WHEN b.there IS NOT NULL THEN b.whole END AS after
        FROM (SELECT *, TRUE AS there, to_json(t) AS whole FROM ${before} t) a
        FULL JOIN (SELECT *, TRUE AS there, to_json(t) AS whole FROM ${after} t) b ON ${same})
      WHERE change <> 'changed' OR len(columns) > 0`;
  }
  return [...schema, rows].join('\nUNION ALL\n');
}

function schemaRow(change: string, column: string, before: string | undefined, after: string | undefined): string {
  const json = (value: string | undefined): string => (value === undefined ? 'NULL::JSON' : `to_json(${text(value)})`);
  return `SELECT ${text(change)} AS change, to_json(${text(column)}) AS key, [${text(column)}] AS columns, ${json(before)} AS before, ${json(after)} AS after`;
}
