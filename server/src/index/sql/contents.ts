/**
 * `version_of`, `cells_of` and `data_diff`: a query that calls them is run by a session of its own, which has a table in the place of
 * each call. Their arguments are worked out first, the contents put into files that this session alone may read, and the calls in
 * the text replaced by the names of the tables.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { SyftError } from '../../core/errors.ts';
import { isoMicros } from '../../core/change.ts';
import { cellRows, CELL_COLUMNS } from './cells.ts';
import { dataDiff } from './data-diff.ts';
import { sqlError, type QueryText } from './errors.ts';
import type { ContentFile, ContentRequest } from './protocol.ts';
import { withFedFile } from './fed-file.ts';
import { tableOver } from './readers.ts';
import type { Parameters, SqlSession, SqlSessionOptions } from './session.ts';
import { readStatement, type Statement } from './statement.ts';
import { replaceParts, words, type Replaced, type Word } from './words.ts';

type Api = typeof DuckdbApi;

/** A call with its arguments worked out. */
export interface ResolvedCall {
  readonly name: string;
  /** The contents that it needs, in order. */
  readonly contents: readonly ContentRequest[];
  /** Of `data_diff`. */
  readonly key: readonly string[] | undefined;
  /** Of `version_of`: which of a workbook's. */
  readonly sheet: string | undefined;
  /** Where it stands in the text that is run. */
  readonly start: number;
  readonly end: number;
}

const ARGUMENTS: Readonly<Record<string, readonly [fewest: number, most: number, usage: string]>> = {
  version_of: [1, 3, 'version_of(path, when, sheet)'],
  cells_of: [1, 2, 'cells_of(path, when)'],
  data_diff: [3, 4, 'data_diff(path, a, b, key)']
};
/** Contents that one query may ask for. */
const MOST_CONTENTS = 16;

/** Where a call stands, and the texts of its arguments. */
function callAt(
  text: string,
  location: number | undefined,
  name: string
): { start: number; end: number; args: string[] } {
  const all = [...words(text)];
  const first = all.findIndex(word => word.start === location && word.text.toLowerCase() === name);
  const open = all[first + 1];
  if (first < 0 || open?.text !== '(') {
    throw new SyftError('SQL_INVALID', `Write ${name}(…) plainly, without quotes around its name.`);
  }
  const args: Word[][] = [[]];
  let depth = 0;
  for (const word of all.slice(first + 1)) {
    if (/^[([{]$/.test(word.text)) depth += 1;
    if (/^[)\]}]$/.test(word.text)) depth -= 1;
    if (depth === 0) {
      const spans = args.filter(each => each.length > 0);
      return {
        start: (all[first] as Word).start,
        end: word.end,
        args: spans.map(span => text.slice(span[0]?.start, span.at(-1)?.end))
      };
    }
    if (word.text === ',' && depth === 1) args.push([]);
    else if (word !== open) args.at(-1)?.push(word);
  }
  throw new SyftError('SQL_SYNTAX', `${name}( is not closed.`);
}

/** The value of an argument: whatever DuckDB makes of it. */
async function evaluate(
  session: SqlSession,
  text: string,
  parameters: Parameters | undefined,
  signal: AbortSignal
): Promise<DuckDBValue> {
  const statement = await session.read(`SELECT (${text})`);
  if (statement.contentCalls.length > 0) {
    throw new SyftError('SQL_INVALID', 'What a version is of cannot depend on another version’s content.');
  }
  return session.run(
    statement,
    parameters,
    signal,
    async rows => {
      let value: DuckDBValue = null;
      for await (const chunk of rows.chunks()) value = chunk.getColumnValues(0)[0] ?? null;
      return value;
    },
    { lenient: true }
  );
}

/** A moment or a version id as text. */
function whenText(api: Api, value: DuckDBValue): string | undefined {
  if (value === null) return undefined;
  if (value instanceof api.DuckDBTimestampTZValue) return isoMicros(Number(value.micros));
  // Without a zone: that of this machine, as wherever a time is written.
  if (value instanceof api.DuckDBTimestampValue) return isoMicros(Number(value.micros)).slice(0, -1);
  if (value instanceof api.DuckDBDateValue) return isoMicros(value.days * 86_400_000_000).slice(0, 10);
  return String(value);
}

/** Works out what the calls of a statement are of. */
export async function resolveCalls(
  api: Api,
  session: SqlSession,
  statement: Statement,
  parameters: Parameters | undefined,
  signal: AbortSignal
): Promise<ResolvedCall[]> {
  const { run } = statement.query;
  const out: ResolvedCall[] = [];
  for (const { name, location } of statement.contentCalls) {
    const { start, end, args } = callAt(run, location, name);
    const [fewest, most, usage] = ARGUMENTS[name] ?? [0, 0, name];
    if (args.length < fewest || args.length > most) {
      throw new SyftError('SQL_INVALID', `${name} takes other arguments: ${usage}.`);
    }
    const values: DuckDBValue[] = [];
    for (const arg of args) values.push(await evaluate(session, arg, parameters, signal));
    const [path, ...rest] = values;
    if (typeof path !== 'string') throw new SyftError('SQL_INVALID', `The path of ${name} must be a text: ${usage}.`);
    const whens = name === 'data_diff' ? rest.slice(0, 2) : [rest[0] ?? null];
    out.push({
      name,
      contents: whens.map(when => ({ path, when: whenText(api, when) })),
      key: name === 'data_diff' ? keyOf(api, rest[2] ?? null) : undefined,
      sheet: name === 'version_of' ? sheetOf(rest[1] ?? null) : undefined,
      start,
      end
    });
  }
  if (out.reduce((sum, call) => sum + call.contents.length, 0) > MOST_CONTENTS) {
    throw new SyftError('SQL_INVALID', `A query may ask for ${MOST_CONTENTS} versions at most.`);
  }
  return out.sort((a, b) => a.start - b.start);
}

function sheetOf(value: DuckDBValue): string | undefined {
  if (value === null || typeof value === 'string') return value ?? undefined;
  throw new SyftError(
    'SQL_INVALID',
    'The sheet of version_of must be a text, its name: version_of(path, when, sheet).'
  );
}

function keyOf(api: Api, value: DuckDBValue): string[] | undefined {
  if (value === null) return undefined;
  const items = value instanceof api.DuckDBListValue ? value.items : [value];
  return items.map(String);
}

/** Names of the tables that stand in the place of calls. */
const tableName = (i: number): string => `syft_content_${i + 1}`;

/** The text with a table in the place of each call. `?` gets its number: there are fewer of them now. */
function withTables(query: QueryText, calls: readonly ResolvedCall[]): Replaced {
  let mark = 0;
  const marks = [...words(query.run)].flatMap(({ text, start, end }) => {
    if (text !== '?') return [];
    mark += 1;
    return [{ start, end, by: `$${mark}` }];
  });
  const parts = [
    ...calls.map(({ start, end }, i) => ({ start, end, by: tableName(i) })),
    ...marks.filter(each => !calls.some(call => each.start >= call.start && each.end <= call.end))
  ].sort((a, b) => a.start - b.start);
  const replaced = replaceParts(query.run, parts);
  return { text: replaced.text, place: offset => query.place(replaced.place(offset)) };
}

/** The contents of the calls of a statement. */
export interface Contents {
  readonly calls: readonly ResolvedCall[];
  /** Of all calls, in order. */
  readonly files: readonly ContentFile[];
  /** Where they are in no file: the bytes of one of them, by its place in `files`; from the first, whenever it is called. */
  readonly bytes?: ((content: number) => AsyncIterable<Uint8Array>) | undefined;
  readonly signal: AbortSignal;
}

/**
 * Runs a statement over contents.
 *
 * @param open Opens the session for it.
 */
export async function overContents<T>(
  api: Api,
  open: (options: SqlSessionOptions) => Promise<SqlSession>,
  options: SqlSessionOptions,
  statement: Statement,
  { calls, files: found, bytes, signal }: Contents,
  work: (session: SqlSession, statement: Statement) => Promise<T>
): Promise<T> {
  const { written } = statement.query;
  const replaced = withTables(statement.query, calls);
  // A pipe brings one content once.
  const files = bytes === undefined ? found : found.map((each, i) => ({ ...each, file: `${each.file}-${i + 1}` }));
  const session = await open({
    ...options,
    readable: bytes === undefined ? files.map(({ file }) => file) : [],
    prepare: async own => {
      let next = 0;
      for (const [i, call] of calls.entries()) {
        const { contents } = call;
        const used = files.slice(next, next + contents.length);
        const first = next;
        next += contents.length;
        const fed = bytes && { bytes: (k: number) => bytes(first + k), signal };
        await define(api, own, tableName(i), call, used, fed);
      }
    }
  });
  try {
    const query: QueryText = { written, run: replaced.text, place: replaced.place };
    const rewritten = await readStatement(session.parser, replaced.text);
    if (rewritten.contentCalls.length > 0) throw new SyftError('INTERNAL', 'A call was not replaced.');
    return await work(session, { ...rewritten, query });
  } finally {
    session.close();
  }
}

async function define(
  api: Api,
  own: DuckDBConnection,
  table: string,
  { name, key, sheet }: ResolvedCall,
  files: readonly ContentFile[],
  fed: { readonly bytes: (content: number) => AsyncIterable<Uint8Array>; readonly signal: AbortSignal } | undefined
): Promise<void> {
  const [first, second] = files;
  if (first === undefined) throw new SyftError('INTERNAL', 'A content is missing.');
  try {
    const reading = <T>(k: number, use: (content: ContentFile) => Promise<T>): Promise<T> => {
      const content = files[k] as ContentFile;
      if (fed === undefined) return use(content);
      return withFedFile({ ...content, bytes: () => fed.bytes(k) }, fed.signal, file => use({ ...content, file }));
    };
    // What comes through a pipe comes once: a table is made of it.
    const over = async (k: number): Promise<string> => {
      if (fed === undefined) return tableOver(own, files[k] as ContentFile, sheet);
      const made = `${table}_${k + 1}`;
      await reading(k, async content =>
        own.run(`CREATE TABLE ${made} AS SELECT * FROM ${await tableOver(own, content, sheet)}`)
      );
      return made;
    };
    if (name === 'cells_of') {
      await own.run(`CREATE TABLE ${table} (${CELL_COLUMNS})`);
      await appendCells(api, own, table, await reading(0, cellRows));
      return;
    }
    const before = await over(0);
    if (name === 'version_of' || second === undefined) await own.run(`CREATE VIEW ${table} AS SELECT * FROM ${before}`);
    else await own.run(`CREATE VIEW ${table} AS ${await dataDiff(own, before, await over(1), key)}`);
  } catch (error) {
    if (error instanceof SyftError) throw error;
    const shown = files.reduce((text, each) => text.replaceAll(each.file, each.path), messageOf(error));
    const { code, message } = sqlError({ message: shown }, { written: '', run: '', place: offset => offset });
    throw new SyftError(
      code === 'SQL_MEMORY' ? code : 'SQL_INVALID',
      `${first.path} (version ${first.versionId}) cannot be read as a table: ${message}`,
      { cause: error, path: first.path }
    );
  }
}

async function appendCells(
  api: Api,
  own: DuckDBConnection,
  table: string,
  rows: readonly (readonly DuckDBValue[])[]
): Promise<void> {
  const { INTEGER, VARCHAR } = api;
  const types = [INTEGER, VARCHAR, VARCHAR, VARCHAR, INTEGER, INTEGER, api.LIST(VARCHAR), VARCHAR];
  const appender = await own.createAppender(table);
  try {
    for (let i = 0; i < rows.length; i += 2048) {
      const part = rows.slice(i, i + 2048);
      const chunk = api.DuckDBDataChunk.create(types, part.length);
      chunk.setRows(
        part.map(row => row.map(value => (Array.isArray(value) ? api.listValue(value as DuckDBValue[]) : value)))
      );
      appender.appendDataChunk(chunk);
    }
    appender.flushSync();
  } finally {
    appender.closeSync();
  }
}

function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}
