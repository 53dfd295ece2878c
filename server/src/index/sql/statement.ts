/**
 * What a query is, from DuckDB's own parser: exactly one statement that reads, with table functions from a list. DuckDB itself
 * refuses everything else too, when it runs (session.ts); here it is refused first, with words and a place.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import { SyftError } from '../../core/errors.ts';
import { asWritten, fromByteOffset, fromCodePoints, positionIn, sqlError, type QueryText } from './errors.ts';
import { CONTENT_MACROS, MACRO_SPECS } from './tables.ts';
import { quoteAt, words } from './words.ts';

/** Functions that may stand behind FROM. None reads a file, opens a connection or changes anything. */
const TABLE_FUNCTIONS: ReadonlySet<string> = new Set([
  ...MACRO_SPECS.map(macro => macro.name),
  ...CONTENT_MACROS.map(macro => macro.name),
  ...['range', 'generate_series', 'unnest', 'repeat', 'json_each', 'json_tree', 'test_all_types'],
  ...['duckdb_columns', 'duckdb_functions', 'duckdb_keywords', 'duckdb_tables', 'duckdb_types', 'duckdb_views'],
  ...['pragma_table_info', 'pragma_version', 'pg_timezone_names', 'sql_auto_complete']
]);
/** Functions in expressions that would read outside of the tables, or have an effect. */
const REFUSED_FUNCTIONS: ReadonlySet<string> = new Set([
  ...['getenv', 'getvariable', 'nextval', 'currval', 'write_log', 'parse_duckdb_log_message', 'setseed']
]);

const READS_ONLY =
  'Only one statement that reads may be run: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.';

/** A node of DuckDB's syntax tree, as far as it is looked at. */
export type AstNode = { readonly [key: string]: unknown };

/** A call of one of {@link CONTENT_MACROS}. */
export interface ContentCall {
  readonly name: string;
  readonly node: AstNode;
  /** Place of the name in `run` of the query, UTF-16 code units; `undefined` where the parser gives none. */
  readonly location: number | undefined;
}

export interface Statement {
  readonly query: QueryText;
  readonly explain: boolean;
  /** Every name in it, in lower case: of tables, columns, functions, aliases. */
  readonly names: ReadonlySet<string>;
  /** It may look at columns that it does not name. */
  readonly star: boolean;
  readonly contentCalls: readonly ContentCall[];
  readonly ast: AstNode;
}

interface Parsed {
  readonly error: boolean;
  readonly error_type?: string;
  readonly error_message?: string;
  readonly position?: string;
  readonly statements?: readonly { readonly node: AstNode }[];
}

async function parse(connection: DuckDBConnection, text: string): Promise<Parsed> {
  const reader = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [text]);
  return JSON.parse(String(reader.getRowsJS()[0]?.[0])) as Parsed;
}

/**
 * Reads a query with DuckDB's parser.
 *
 * @param connection Any; nothing of the query is run.
 * @throws SyftError SQL_SYNTAX, SQL_FORBIDDEN, SQL_INVALID, with the position.
 */
export async function readStatement(connection: DuckDBConnection, text: string): Promise<Statement> {
  if (text.includes('\0')) {
    throw new SyftError('SQL_SYNTAX', 'The query holds a character of value zero.', {
      position: positionIn(text, text.indexOf('\0'))
    });
  }
  let query = asWritten(text.toWellFormed());
  let { rest, explain } = splitExplain(query.run);
  let parsed: Parsed;
  try {
    parsed = await parse(connection, rest);
    if (parsed.error && parsed.error_type === 'parser') {
      const quoted = quoteAt(query.run);
      const again = splitExplain(quoted.text);
      const second = quoted.text === query.run ? parsed : await parse(connection, again.rest);
      if (!second.error || second.error_type !== 'parser') {
        parsed = second;
        query = { written: query.written, run: quoted.text, place: quoted.place };
        ({ rest, explain } = again);
      }
    }
  } catch (error) {
    throw sqlError(error, query);
  }
  const skipped = query.run.length - rest.length;
  const refuse = (code: 'SQL_SYNTAX' | 'SQL_FORBIDDEN' | 'SQL_INVALID', message: string, at?: number): SyftError =>
    new SyftError(code, message, {
      ...(at !== undefined && { position: positionIn(query.written, query.place(skipped + at)) })
    });
  if (parsed.error) {
    const message = parsed.error_message ?? 'The query cannot be read.';
    if (parsed.error_type === 'parser') {
      const at = parsed.position === undefined ? undefined : fromCodePoints(rest, Number(parsed.position));
      throw refuse('SQL_SYNTAX', `The query cannot be read: ${message}.`, at);
    }
    if (message.startsWith('Only SELECT')) throw refuse('SQL_FORBIDDEN', READS_ONLY, 0);
    throw refuse('SQL_INVALID', `The query cannot be run: ${message}.`);
  }
  const [statement, ...more] = parsed.statements ?? [];
  if (statement === undefined) throw refuse('SQL_SYNTAX', 'The query is empty.');
  if (more.length > 0) throw refuse('SQL_FORBIDDEN', READS_ONLY, 0);

  const names = new Set<string>();
  const contentCalls: ContentCall[] = [];
  let star = false;
  const relations = new Set<string>();
  const references = new Set<string>();
  for (const { key, value } of walk(statement.node)) {
    if (typeof value === 'string') names.add(value.toLowerCase());
    if (!isNode(value)) continue;
    const type = value['type'];
    if (type === 'STAR' || type === 'SHOW_REF' || type === 'PIVOT' || value['ref_type'] === 'NATURAL') star = true;
    // A relation's name in an expression is a whole row of it.
    const columns = value['column_names'];
    if (Array.isArray(columns) && columns.length === 1) references.add(String(columns[0]).toLowerCase());
    if (key !== 'function' && value['class'] === undefined) {
      for (const relation of [value['table_name'], value['alias']]) {
        if (typeof relation === 'string') relations.add(relation.toLowerCase());
      }
    }
    const name = String(value['function_name'] ?? '').toLowerCase();
    if (key === 'function') relations.add(name);
    if (key === 'function' && name !== '') {
      const location = locationOf(value, rest);
      if (!TABLE_FUNCTIONS.has(name)) {
        throw refuse(
          'SQL_FORBIDDEN',
          `${name}() cannot stand behind FROM here: queries read the change log, and no files.`,
          location
        );
      }
      if (CONTENT_MACROS.some(macro => macro.name === name)) {
        contentCalls.push({ name, node: value, location: location === undefined ? undefined : skipped + location });
      }
    } else if (REFUSED_FUNCTIONS.has(name)) {
      throw refuse('SQL_FORBIDDEN', `${name}() cannot be called here.`, locationOf(value, rest));
    }
  }
  if (!star) star = [...references].some(reference => relations.has(reference));
  return { query, explain, names, star, contentCalls, ast: statement.node };
}

function locationOf(node: AstNode, text: string): number | undefined {
  const at = Number(node['query_location']);
  return Number.isSafeInteger(at) ? fromByteOffset(text, at) : undefined;
}

function isNode(value: unknown): value is AstNode {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Every value of a tree, without recursion: its depth is the query's. */
function* walk(root: unknown): Generator<{ key: string; value: unknown }> {
  const waiting: { key: string; value: unknown }[] = [{ key: '', value: root }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    yield next;
    const { key, value } = next;
    if (Array.isArray(value)) for (const item of value) waiting.push({ key, value: item });
    else if (isNode(value)) for (const [name, item] of Object.entries(value)) waiting.push({ key: name, value: item });
  }
}

/** What is explained is judged like any other query. */
function splitExplain(text: string): { rest: string; explain: boolean } {
  const [first, second] = words(text);
  if (first === undefined || !/^explain$/i.test(first.text)) return { rest: text, explain: false };
  const begin = /^analyze$/i.test(second?.text ?? '') ? (second?.end ?? first.end) : first.end;
  return { rest: text.slice(begin), explain: true };
}
