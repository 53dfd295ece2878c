/**
 * The tables and macros of SQL over the change log: their names, columns and words, and what they are over the narrow tables
 * of the index (../schema.ts). Names and types here are public and stable; docs/sql.md is held to them by a test.
 */
import { hashTextOf, keyOf, KINDS, LAST_ROW, TYPES } from '../schema.ts';
import { treeAt } from '../tree-at.ts';

/** One column as people are told of it. */
export interface SqlColumn {
  readonly name: string;
  readonly type: string;
  readonly description: string;
}

export interface SqlTable {
  readonly name: string;
  readonly description: string;
  readonly columns: readonly SqlColumn[];
}

export interface SqlMacro extends SqlTable {
  readonly signature: string;
  readonly example: string;
}

/** A column and the expression that makes it, with the joins that the expression needs. */
interface Source {
  readonly type: string;
  readonly sql: string;
  readonly joins?: readonly Join[];
  readonly description: string;
}

type Join = 'path' | 'hash' | 'previous_hash' | 'device' | 'from' | 'previous' | 'previous_device';

const JOINS: Readonly<Record<Join, (catalog: string) => string>> = {
  path: c => `JOIN ${c}.paths p ON p.id = c.path`,
  hash: c => `LEFT JOIN ${c}.hashes h ON h.id = c.hash`,
  device: c => `JOIN ${c}.devices d ON d.id = c.device`,
  from: c => `LEFT JOIN ${c}.paths f ON f.id = c.from_path`,
  previous: c => `LEFT JOIN ${c}.change_rows b ON b.id = c.previous`,
  previous_hash: c => `LEFT JOIN ${c}.hashes g ON g.id = coalesce(c.previous_hash, b.hash)`,
  previous_device: c => `LEFT JOIN ${c}.devices e ON e.id = b.device`
};

function named(column: string, names: readonly string[]): string {
  return `CASE ${column} ${names.map((name, code) => `WHEN ${code} THEN '${name}'`).join(' ')} END`;
}

const folderOf = (path: string): string =>
  `CASE WHEN contains(${path}, '/') THEN regexp_replace(${path}, '/[^/]*$', '') ELSE '' END`;
const nameOf = (path: string): string => `regexp_replace(${path}, '^.*/', '')`;
const extensionOf = (path: string): string => `lower(regexp_extract(${path}, '[^/](\\.[^./]+)$', 1))`;
const hashText = (alias: string): string => `'sha256:' || ${hashTextOf(alias)}`;

const CHANGE: Readonly<Record<string, Source>> = {
  version_id: {
    type: 'VARCHAR',
    sql: "d.name || '.' || c.seq",
    joins: ['device'],
    description: 'Name of this version: `<device>.<number>`. Every command takes it.'
  },
  kind: { type: 'VARCHAR', sql: named('c.kind', KINDS), description: '`created`, `modified`, `deleted` or `moved`.' },
  path: {
    type: 'VARCHAR',
    sql: 'p.display',
    joins: ['path'],
    description: 'Relative to the workspace, with `/`. Bytes that are not UTF-8 stand as `\\xHH`.'
  },
  at: { type: 'TIMESTAMP WITH TIME ZONE', sql: 'c.moment', description: 'When it was recorded.' },
  day: {
    type: 'DATE',
    sql: 'c.day',
    description: 'The day of `at` in UTC. Grouping by it is faster than by `date_trunc`.'
  },
  size: { type: 'BIGINT', sql: 'c.size', description: 'Bytes of the content; none for deletions and directories.' },
  hash: {
    type: 'VARCHAR',
    sql: hashText('h'),
    joins: ['hash'],
    description: '`sha256:` and 64 hex digits, of the content.'
  },
  previous_hash: {
    type: 'VARCHAR',
    sql: hashText('g'),
    joins: ['previous', 'previous_hash'],
    description: 'The hash of what was there before.'
  },
  previous_size: {
    type: 'BIGINT',
    sql: 'b.size',
    joins: ['previous'],
    description: 'The size of what was there before.'
  },
  previous_version_id: {
    type: 'VARCHAR',
    sql: "e.name || '.' || b.seq",
    joins: ['previous', 'previous_device'],
    description: 'The version that was there before.'
  },
  device: { type: 'VARCHAR', sql: 'd.name', joins: ['device'], description: 'The installation that recorded it.' },
  mode: { type: 'INTEGER', sql: 'c.mode', description: 'Permission bits of the file.' },
  mtime: {
    type: 'TIMESTAMP WITH TIME ZONE',
    sql: 'make_timestamptz(c.mtime)',
    description: 'Modification time of the file.'
  },
  type: { type: 'VARCHAR', sql: named('c.type', TYPES), description: '`file`, `symlink` or `directory`.' },
  flags: {
    type: 'VARCHAR[]',
    sql: "coalesce(string_split(c.flags, ','), []::VARCHAR[])",
    description: '`torn`, `no-content`, `unreadable`; mostly empty.'
  },
  from_path: {
    type: 'VARCHAR',
    sql: 'f.display',
    joins: ['from'],
    description: 'Where a `moved` file was before.'
  },
  folder: {
    type: 'VARCHAR',
    sql: folderOf('p.display'),
    joins: ['path'],
    description: 'The folder of `path`; empty at the top.'
  },
  name: { type: 'VARCHAR', sql: nameOf('p.display'), joins: ['path'], description: 'The last part of `path`.' },
  extension: {
    type: 'VARCHAR',
    sql: extensionOf('p.display'),
    joins: ['path'],
    description: 'Such as `.csv`, in lower case; empty without one.'
  },
  cause: { type: 'JSON', sql: 'c.cause::JSON', description: 'How it came about, as far as it is known.' },
  cause_kind: {
    type: 'VARCHAR',
    sql: "c.cause::JSON ->> '$.kind'",
    description: '`jupyter-save`, `restore`, `received`, `message`; none: seen on disk, nothing more is known.'
  },
  cause_user: {
    type: 'VARCHAR',
    sql: "c.cause::JSON ->> '$.user'",
    description: 'Who saved it in JupyterLab.'
  },
  cause_version_id: {
    type: 'VARCHAR',
    sql: "c.cause::JSON ->> '$.version'",
    description: 'The version that was restored, received or sent.'
  },
  number: {
    type: 'BIGINT',
    sql: 'c.id::BIGINT',
    description: 'Position in the order of all changes, from 1: what comes later has a higher one.'
  }
};

function columnsOf(names: readonly string[], renamed: Readonly<Record<string, string>> = {}): SqlColumn[] {
  return names.map(name => {
    const { type, description } = CHANGE[renamed[name] ?? name] as Source;
    return { name, type, description };
  });
}

const CHANGE_NAMES = Object.keys(CHANGE);
const VERSION_NAMES = CHANGE_NAMES.filter(name => name !== 'number');
const FILE_NAMES = [
  ...[
    'path',
    'folder',
    'name',
    'extension',
    'type',
    'size',
    'hash',
    'mode',
    'mtime',
    'version_id',
    'changed_at',
    'device'
  ],
  'flags'
] as const;
const FILE_SOURCE: Readonly<Record<string, string>> = { changed_at: 'at' };
const FILE_COLUMNS = columnsOf(FILE_NAMES, FILE_SOURCE).map(column =>
  column.name === 'changed_at' ? { ...column, description: 'When its latest version was recorded.' } : column
);

/** Says of a column whether somebody may look at it. */
export type Wanted = (column: string) => boolean;

/**
 * The public columns over rows of the index.
 *
 * @param rows What stands behind FROM; has the columns of `change_rows`.
 * @param wanted Columns nobody looks at are left without their joins, and empty: DuckDB does not leave out a join by itself.
 */
function changesOver(
  catalog: string,
  rows: string,
  names: readonly string[],
  wanted: Wanted,
  renamed: Readonly<Record<string, string>> = {}
): string {
  const joins = new Set<Join>();
  const columns = names.map(name => {
    const { sql, type, joins: needed = [] } = CHANGE[renamed[name] ?? name] as Source;
    if (needed.length > 0 && !wanted(name)) return `NULL::${type} AS "${name}"`;
    for (const join of needed) joins.add(join);
    return `${sql} AS "${name}"`;
  });
  const order = (Object.keys(JOINS) as Join[]).filter(join => joins.has(join));
  return `SELECT ${columns.join(', ')} FROM ${rows} c ${order.map(join => JOINS[join](catalog)).join(' ')}`;
}

const KIND = (kind: (typeof KINDS)[number]): number => KINDS.indexOf(kind);
const DIRECTORY = TYPES.indexOf('directory');
const HAS_CONTENT = `c.kind <> ${KIND('deleted')} AND c.type <> ${DIRECTORY}`;

/** The lives of a file under its names, from the last back across moves. */
function livesOf(catalog: string, path: string, workedOut: boolean): string {
  const moves = `FROM ${catalog}.moved_rows m WHERE m.path`;
  const named = `FROM ${catalog}.paths p`;
  const chosen = `WHERE p.key = ${keyOf(path)} AND p.display = ${path}`;
  const lives = workedOut
    ? `SELECT coalesce(l.path, p.id) AS path, coalesce(l.low, 0) AS low, coalesce(l.high, ${LAST_ROW}) AS high
       ${named} LEFT JOIN extra.lives l ON l.of = p.id ${chosen}`
    : `WITH RECURSIVE back(path, high, low, before) AS (
      SELECT p.id, ${LAST_ROW}, coalesce((SELECT max(m.id) ${moves} = p.id), 0), (SELECT arg_max(m.from_path, m.id) ${moves} = p.id)
      ${named} ${chosen}
      UNION ALL
      SELECT b.before, b.low - 1,
        coalesce((SELECT max(m.id) ${moves} = b.before AND m.id < b.low), 0),
        (SELECT arg_max(m.from_path, m.id) ${moves} = b.before AND m.id < b.low)
      FROM back b WHERE b.before IS NOT NULL)
      SELECT path, high, low FROM back`;
  // Known before the rows are looked for, so that the path alone decides which are read further.
  return `
    WITH lives AS MATERIALIZED (${lives})
    SELECT r.* FROM ${catalog}.change_rows r JOIN lives l ON r.path = l.path WHERE r.id BETWEEN l.low AND l.high`;
}

interface TableSpec extends SqlTable {
  readonly sql: (catalog: string, wanted: Wanted, workspaceId: string) => string;
}

interface MacroSpec extends SqlMacro {
  readonly parameters: readonly string[];
  /** @param livesWorkedOut `extra.lives` is filled. */
  readonly sql: (catalog: string, wanted: Wanted, livesWorkedOut: boolean) => string;
}

/** Tables that the index does not have: filled from elsewhere, when a query names them. */
export type ExtraTable = 'labels' | 'chunks' | 'storage_rows';

/** All of them: the lives of files are worked out from the index. */
export type FilledTable = ExtraTable | 'lives';

/** Columns of these tables, as they are created. */
export const EXTRA_TABLES: Readonly<Record<FilledTable, string>> = {
  labels: 'version_id VARCHAR, label VARCHAR, pinned BOOLEAN',
  chunks: 'chunk VARCHAR, stored_bytes BIGINT, contents BIGINT',
  storage_rows:
    'path VARCHAR, versions BIGINT, content_bytes BIGINT, stored_bytes BIGINT, freed_bytes BIGINT, shared_bytes BIGINT',
  lives: 'of BIGINT, path BIGINT, low BIGINT, high BIGINT'
};

const STORAGE_COLUMNS: readonly SqlColumn[] = [
  { name: 'path', type: 'VARCHAR', description: 'The file.' },
  { name: 'versions', type: 'BIGINT', description: 'Versions whose content is there.' },
  { name: 'content_bytes', type: 'BIGINT', description: 'Bytes of these contents, each content once.' },
  {
    name: 'stored_bytes',
    type: 'BIGINT',
    description: 'Its fair part of what the log takes for contents: they add up to the whole.'
  },
  { name: 'freed_bytes', type: 'BIGINT', description: 'What would be freed if this file’s history alone went.' },
  { name: 'shared_bytes', type: 'BIGINT', description: 'What it shares with others.' }
];

export const TABLE_SPECS: readonly TableSpec[] = [
  {
    name: 'changes',
    description: 'Every change that was recorded: one row for each event on one path.',
    columns: columnsOf(CHANGE_NAMES),
    sql: (catalog, wanted) => changesOver(catalog, `${catalog}.change_rows`, CHANGE_NAMES, wanted)
  },
  {
    name: 'versions',
    description: 'The changes that carry a content: every state a file was ever seen in.',
    columns: columnsOf(VERSION_NAMES),
    sql: (catalog, wanted) =>
      `${changesOver(catalog, `${catalog}.change_rows`, VERSION_NAMES, wanted)} WHERE ${HAS_CONTENT}`
  },
  {
    name: 'files',
    description: 'The files as they are in the log now.',
    columns: FILE_COLUMNS,
    sql: (catalog, wanted) =>
      changesOver(
        catalog,
        `(SELECT * FROM ${catalog}.change_rows WHERE ended IS NULL AND type <> ${DIRECTORY})`,
        FILE_NAMES,
        wanted,
        FILE_SOURCE
      )
  },
  {
    name: 'devices',
    description: 'The installations that recorded something here.',
    columns: [
      { name: 'device', type: 'VARCHAR', description: 'Its id, as in `changes.device`.' },
      { name: 'changes', type: 'BIGINT', description: 'How many changes it recorded.' },
      { name: 'first_change_at', type: 'TIMESTAMP WITH TIME ZONE', description: 'When it recorded the first.' },
      { name: 'last_change_at', type: 'TIMESTAMP WITH TIME ZONE', description: 'When it recorded the last.' }
    ],
    sql: catalog => `SELECT any_value(d.name) AS device, count(*) AS changes, min(c.moment) AS first_change_at,
      max(c.moment) AS last_change_at FROM ${catalog}.change_rows c JOIN ${catalog}.devices d ON d.id = c.device GROUP BY d.id`
  },
  {
    name: 'runs',
    description:
      'Executions of notebook cells. None is recorded by this version: the table is there, and empty. What is known of a change’s cause is in `changes.cause`.',
    columns: [
      { name: 'run_id', type: 'VARCHAR', description: 'Name of the run.' },
      { name: 'notebook', type: 'VARCHAR', description: 'Path of the notebook.' },
      { name: 'cell_id', type: 'VARCHAR', description: 'Id of the cell.' },
      { name: 'execution_count', type: 'INTEGER', description: 'The number in brackets beside the cell.' },
      { name: 'started_at', type: 'TIMESTAMP WITH TIME ZONE', description: 'When it began.' },
      { name: 'ended_at', type: 'TIMESTAMP WITH TIME ZONE', description: 'When it was done.' },
      { name: 'user', type: 'VARCHAR', description: 'Who ran it.' }
    ],
    sql: () => `SELECT NULL::VARCHAR AS run_id, NULL::VARCHAR AS notebook, NULL::VARCHAR AS cell_id,
      NULL::INTEGER AS execution_count, NULL::TIMESTAMPTZ AS started_at, NULL::TIMESTAMPTZ AS ended_at,
      NULL::VARCHAR AS "user" WHERE FALSE`
  },
  {
    name: 'messages',
    description: 'The SyftMessage that each version is when it is exported: one for each version with a content.',
    columns: [
      { name: 'message_id', type: 'VARCHAR', description: 'Its id, the same whenever and wherever it is exported.' },
      ...columnsOf(['version_id', 'path', 'kind', 'at', 'size', 'hash', 'device'])
    ],
    sql: (catalog, wanted, workspaceId) => `
      SELECT ${wanted('message_id') ? `'msg_' || strftime(make_timestamp(epoch_us("at")), '%Y%m%d_%H%M%S') || '_' || substr(sha256('${workspaceId} ' || version_id), 1, 8)` : 'NULL::VARCHAR'} AS message_id,
        version_id, path, kind, "at", size, hash, device
      FROM (${changesOver(
        catalog,
        `(SELECT * FROM ${catalog}.change_rows c WHERE ${HAS_CONTENT})`,
        ['version_id', 'path', 'kind', 'at', 'size', 'hash', 'device'],
        column => wanted(column) || (column === 'version_id' && wanted('message_id'))
      )})`
  },
  {
    name: 'labels',
    description: 'The names that were given to versions, and the versions that are pinned.',
    columns: [
      { name: 'version_id', type: 'VARCHAR', description: 'The version.' },
      { name: 'label', type: 'VARCHAR', description: 'Its name; none where it is only pinned.' },
      { name: 'pinned', type: 'BOOLEAN', description: 'Whether its content is kept whatever is pruned by a pin.' }
    ],
    sql: () => 'SELECT version_id, label, pinned FROM extra.labels'
  },
  {
    name: 'chunks',
    description: 'The pieces that contents are stored in. Each is there once, however many contents need it.',
    columns: [
      { name: 'chunk', type: 'VARCHAR', description: 'Name of the chunk in the log, 64 hex digits.' },
      { name: 'stored_bytes', type: 'BIGINT', description: 'What it takes in the log, compressed.' },
      { name: 'contents', type: 'BIGINT', description: 'How many different contents need it.' }
    ],
    sql: () => 'SELECT chunk, stored_bytes, contents FROM extra.chunks'
  }
];

export const MACRO_SPECS: readonly MacroSpec[] = [
  {
    name: 'files_at',
    signature: 'files_at(ts)',
    description: 'The files as they were at a moment.',
    example: "SELECT path, size FROM files_at('2026-11-01 14:32')",
    columns: FILE_COLUMNS,
    parameters: ['ts'],
    sql: (catalog, wanted) =>
      changesOver(
        catalog,
        `(SELECT * FROM (${treeAt('ts::TIMESTAMPTZ', `${catalog}.`)}) WHERE type <> ${DIRECTORY})`,
        FILE_NAMES,
        wanted,
        FILE_SOURCE
      )
  },
  {
    name: 'history',
    signature: 'history(path)',
    description: 'The changes of one file, followed back across moves.',
    example: `SELECT version_id, kind, "at", size FROM history('data/sales.csv') ORDER BY "at" DESC`,
    columns: columnsOf(CHANGE_NAMES),
    parameters: ['file'],
    sql: (catalog, wanted, livesWorkedOut) =>
      changesOver(catalog, `(${livesOf(catalog, 'file', livesWorkedOut)})`, CHANGE_NAMES, wanted)
  },
  {
    name: 'changed_between',
    signature: 'changed_between(a, b)',
    description: 'The changes after the moment `a`, up to the moment `b`.',
    example: `SELECT * FROM changed_between('2026-11-01', now())`,
    columns: columnsOf(CHANGE_NAMES),
    parameters: ['a', 'b'],
    sql: (catalog, wanted) =>
      `${changesOver(catalog, `${catalog}.change_rows`, CHANGE_NAMES, wanted)}
       WHERE c.moment > a::TIMESTAMPTZ AND c.moment <= b::TIMESTAMPTZ`
  },
  {
    name: 'storage_report',
    signature: 'storage_report()',
    description: 'What the history of each file takes in the log.',
    example: 'SELECT path, versions, freed_bytes FROM storage_report() ORDER BY freed_bytes DESC LIMIT 20',
    columns: STORAGE_COLUMNS,
    parameters: [],
    sql: () => `SELECT ${STORAGE_COLUMNS.map(column => column.name).join(', ')} FROM extra.storage_rows`
  }
];

/** Macros that are made when they are used, out of the contents of versions (contents.ts). */
export const CONTENT_MACROS: readonly SqlMacro[] = [
  {
    name: 'version_of',
    signature: 'version_of(path, when, sheet)',
    description:
      'A file as a table, as it was: CSV, TSV, Parquet, JSON, NDJSON or Excel (.xlsx). `when` is a moment or a version id; without it, the latest. `sheet` names one of a workbook; without it, the first.',
    example: "SELECT * FROM version_of('data/sales.csv', '2026-11-01 14:32')",
    columns: []
  },
  {
    name: 'cells_of',
    signature: 'cells_of(path, when)',
    description: 'The cells of a notebook as it was, one row for each.',
    example: "SELECT cell, source FROM cells_of('analysis.ipynb') WHERE type = 'code'",
    columns: [
      { name: 'cell', type: 'INTEGER', description: 'Position from 1.' },
      { name: 'cell_id', type: 'VARCHAR', description: 'Id of the cell; none in old notebooks.' },
      { name: 'type', type: 'VARCHAR', description: '`code`, `markdown` or `raw`.' },
      { name: 'source', type: 'VARCHAR', description: 'What stands in it.' },
      { name: 'execution_count', type: 'INTEGER', description: 'The number in brackets beside it.' },
      { name: 'outputs', type: 'INTEGER', description: 'How many outputs it has.' },
      { name: 'output_types', type: 'VARCHAR[]', description: 'Such as `stream`, `error`, `image/png`.' },
      { name: 'output_text', type: 'VARCHAR', description: 'The beginning of its text outputs.' }
    ]
  },
  {
    name: 'data_diff',
    signature: 'data_diff(path, a, b, key)',
    description:
      'What differs between two versions of a table: rows added, removed, changed, and columns. `key` names the column, or a list of columns, by which rows are told apart; without it whole rows are compared.',
    example: "SELECT * FROM data_diff('data/sales.csv', '2026-11-01', now(), 'id')",
    columns: [
      {
        name: 'change',
        type: 'VARCHAR',
        description: '`added`, `removed`, `changed`; `column added`, `column removed`, `column type`.'
      },
      { name: 'key', type: 'JSON', description: 'The key of the row; the column’s name where a column changed.' },
      { name: 'columns', type: 'VARCHAR[]', description: 'Which columns changed.' },
      { name: 'before', type: 'JSON', description: 'The row, or the column’s type, in the first version.' },
      { name: 'after', type: 'JSON', description: 'The same in the second.' }
    ]
  }
];

const EVERY: Wanted = () => true;

export interface Definition {
  readonly name: string;
  readonly sql: string;
}

export interface DefinitionOptions {
  /** Where the tables of the index are. */
  readonly catalog: string;
  readonly workspaceId: string;
  /** For this connection only. */
  readonly temporary?: boolean;
  readonly wanted?: Wanted;
  /** `extra.lives` is filled: `history` need not follow moves by itself. */
  readonly livesWorkedOut?: boolean;
}

/** Statements that define tables and macros. */
export function definitions({
  catalog,
  workspaceId,
  temporary = false,
  wanted = EVERY,
  livesWorkedOut = false
}: DefinitionOptions): Definition[] {
  if (!/^[0-9a-f]{32}$/.test(workspaceId)) throw new TypeError('not a workspace id');
  const create = temporary ? 'CREATE TEMP' : 'CREATE';
  return [
    ...TABLE_SPECS.map(({ name, sql }) => ({
      name,
      sql: `${create} VIEW ${name} AS ${sql(catalog, wanted, workspaceId)}`
    })),
    ...MACRO_SPECS.map(({ name, parameters, sql }) => ({
      name,
      sql: `${create} MACRO ${name}(${parameters.join(', ')}) AS TABLE ${sql(catalog, wanted, livesWorkedOut)}`
    }))
  ];
}

/** What GET /api/sql/schema answers. */
export function sqlSchema(): { tables: SqlTable[]; macros: SqlMacro[] } {
  const table = ({ name, description, columns }: SqlTable): SqlTable => ({ name, description, columns });
  return {
    tables: TABLE_SPECS.map(table),
    macros: [...MACRO_SPECS, ...CONTENT_MACROS].map(macro => ({
      ...table(macro),
      signature: macro.signature,
      example: macro.example
    }))
  };
}
