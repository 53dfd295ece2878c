/**
 * The tables of the index. Narrow: paths, hashes and devices are written once and referred to by small numbers; rows are
 * numbered in the order of changes, so that "newest first" is the order of the number.
 *
 * Nothing has an index of DuckDB's: at ten million rows one takes more than all the tables. Numbers rise, so that the bounds DuckDB
 * keeps for each block find a row by its number; a path is found by a column of short keys.
 */
import type { ColumnType } from './columns.ts';

/** Raised with every change of the tables or of what is in them; an index of another version is built anew. */
export const SCHEMA_VERSION = 3;

/** Kinds and types as stored: the position in these lists. Append only. */
export const KINDS = ['created', 'modified', 'deleted', 'moved'] as const;
export const TYPES = ['file', 'symlink', 'directory'] as const;

/** How `content` of a row is to be read. */
export const CONTENT = {
  /** One chunk whose id is the hash of the content. */
  own: 1,
  /** Chunk ids in order, 32 bytes each. */
  chunks: 2,
  /** Id of the chunk that lists `content_count` ids. */
  list: 3
} as const;

/** `previous_hash` of a change that names none. */
export const NO_HASH = 0;
/** Above every row. */
export const LAST_ROW = 2_147_483_647;

export const SCHEMA = `
CREATE TABLE meta (
  schema INTEGER NOT NULL,
  workspace VARCHAR NOT NULL,
  changes BIGINT NOT NULL,        -- applied: the first so many of the log, in order
  fingerprint VARCHAR NOT NULL    -- over exactly these
);
CREATE TABLE devices (id USMALLINT NOT NULL, name VARCHAR NOT NULL, seq BIGINT NOT NULL);
CREATE TABLE paths (
  id INTEGER NOT NULL,
  key UINTEGER NOT NULL,          -- of display: what a path is looked for by
  name BLOB,                      -- bytes of the path; null when they are those of display
  display VARCHAR NOT NULL,
  folded VARCHAR,                 -- as compared with what is searched for; null when it is display
  row INTEGER                     -- what is there now; null when nothing is
);
CREATE TABLE hashes (
  id INTEGER NOT NULL,            -- a hash may have several
  h0 UBIGINT NOT NULL,            -- 16 hex digits each, the first ones first: without the length that a BLOB has
  h1 UBIGINT NOT NULL,
  h2 UBIGINT NOT NULL,
  h3 UBIGINT NOT NULL
);
CREATE TABLE change_rows (
  id INTEGER NOT NULL,
  device USMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  kind UTINYINT NOT NULL,
  path INTEGER NOT NULL,
  moment TIMESTAMPTZ NOT NULL,    -- "at" of the change; AT is a word of the SQL dialect
  day DATE NOT NULL,              -- of moment, in UTC: worked out from it for each row, it takes longer than all else in a question by day
  hlc BIGINT NOT NULL,            -- microseconds
  type UTINYINT NOT NULL,
  size BIGINT,
  hash INTEGER,
  previous_hash INTEGER,          -- 0: none; null: that of the row before, as it should be
  mode INTEGER,
  mtime BIGINT,                   -- microseconds since the epoch
  flags VARCHAR,                  -- comma-separated; null when there is none
  from_path INTEGER,
  content_kind UTINYINT,
  content BLOB,
  content_count BIGINT,
  cause VARCHAR,                  -- JSON
  previous INTEGER,               -- row of the state before
  ended INTEGER                   -- row that took this state out of the tree: itself for a deletion; null while it stands
);
CREATE TABLE moved_rows (id INTEGER NOT NULL, path INTEGER NOT NULL, from_path INTEGER NOT NULL);
-- Moments, from low up to before high, up to which the changes are not the first so many: a clock was put back, or two differ.
CREATE TABLE disorder (low TIMESTAMPTZ NOT NULL, high TIMESTAMPTZ NOT NULL);
`;

/** Columns of `change_rows` in order. */
export const CHANGE_COLUMNS = {
  id: 'INTEGER',
  device: 'USMALLINT',
  seq: 'BIGINT',
  kind: 'UTINYINT',
  path: 'INTEGER',
  moment: 'TIMESTAMPTZ',
  day: 'DATE',
  hlc: 'BIGINT',
  type: 'UTINYINT',
  size: 'BIGINT',
  hash: 'INTEGER',
  previous_hash: 'INTEGER',
  mode: 'INTEGER',
  mtime: 'BIGINT',
  flags: 'VARCHAR',
  from_path: 'INTEGER',
  content_kind: 'UTINYINT',
  content: 'BLOB',
  content_count: 'BIGINT',
  cause: 'VARCHAR',
  previous: 'INTEGER',
  ended: 'INTEGER'
} as const satisfies Readonly<Record<string, ColumnType>>;

/** Columns of `hashes` in order. */
export const HASH_COLUMNS = {
  id: 'INTEGER',
  h0: 'UBIGINT',
  h1: 'UBIGINT',
  h2: 'UBIGINT',
  h3: 'UBIGINT'
} as const satisfies Readonly<Record<string, ColumnType>>;

/** The key of a path as displayed. */
export function keyOf(display: string): string {
  return `(md5_number_lower(${display}) & 4294967295)::UINTEGER`;
}

/** The bytes of a row of `paths`. */
export function nameOf(alias: string): string {
  return `coalesce(${alias}.name, encode(${alias}.display))`;
}

/** The 64 hex digits of a row of `hashes`. */
export function hashTextOf(alias: string): string {
  return `(${[0, 1, 2, 3].map(i => `lpad(lower(hex(${alias}.h${i})), 16, '0')`).join(' || ')})`;
}
