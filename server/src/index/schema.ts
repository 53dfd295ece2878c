/**
 * The tables of the index. Narrow: paths, hashes and devices are written once and referred to by small numbers; rows are
 * numbered in the order of changes, so that "newest first" is the order of the number.
 */

/** Raised with every change of the tables or of what is in them; an index of another version is built anew. */
export const SCHEMA_VERSION = 1;

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

export const SCHEMA = `
CREATE TABLE meta (
  schema INTEGER NOT NULL,
  workspace VARCHAR NOT NULL,
  changes BIGINT NOT NULL,        -- applied: the first so many of the log, in order
  fingerprint VARCHAR NOT NULL    -- over exactly these
);
CREATE TABLE devices (id USMALLINT NOT NULL, name VARCHAR NOT NULL, seq BIGINT NOT NULL);
CREATE TABLE paths (id INTEGER NOT NULL, name BLOB NOT NULL, display VARCHAR NOT NULL, folded VARCHAR NOT NULL);
CREATE TABLE hashes (id INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE change_rows (
  id INTEGER NOT NULL,
  device USMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  kind UTINYINT NOT NULL,
  path INTEGER NOT NULL,
  moment TIMESTAMPTZ NOT NULL,    -- "at" of the change; AT is a word of the SQL dialect
  hlc BIGINT NOT NULL,            -- microseconds
  type UTINYINT NOT NULL,
  size BIGINT,
  hash INTEGER,
  previous_hash INTEGER,
  mode INTEGER,
  mtime BIGINT,                   -- microseconds since the epoch
  flags VARCHAR,                  -- comma-separated; null when there is none
  from_path INTEGER,
  content_kind UTINYINT,
  content BLOB,
  content_count BIGINT,
  cause VARCHAR,                  -- JSON
  previous INTEGER                -- row of the state before
);
CREATE TABLE tree_rows (path INTEGER NOT NULL, change INTEGER NOT NULL, moment BIGINT NOT NULL, device USMALLINT NOT NULL, type UTINYINT NOT NULL);
`;

/** Columns of `change_rows` in order. */
export const CHANGE_COLUMNS = 20;
