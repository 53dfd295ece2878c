/**
 * A sheet of an Excel workbook as a table of DuckDB. Read in the process of the query, a row at a time, and bounded: by what the
 * archive says before anything of it is unpacked, and by the cells that there are.
 *
 * Cells come as texts into a table, and a view gives them the types that all of a column's have: DuckDB has no way to change its mind
 * about a column, and a workbook says nothing about columns.
 */
import type * as DuckdbApi from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api';
import { readFile } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import { SyftError } from '../../core/errors.ts';
import type { ContentFile } from './protocol.ts';
import { zipDirectory, type ZipEntry } from './zip-directory.ts';

/** Bytes of a workbook, which is read whole. */
const LARGEST_FILE = 256 << 20;
/** Bytes that a sheet, which is read as it comes, may become, and any other part, which is read whole. */
const LARGEST_SHEET = 2 * 2 ** 30;
const LARGEST_PART = 128 << 20;
const MOST_ENTRIES = 10_000;
/** Columns of a table; DuckDB takes room for 2048 rows of each. */
const MOST_COLUMNS = 4096;
/** Cells of a table, the empty ones between others too. */
const MOST_CELLS = 20_000_000;
/** Cells that go into DuckDB at a time, and rows that DuckDB takes at most. */
const CELLS_AT_ONCE = 1 << 17;
const ROWS_AT_ONCE = 2048;

/** How a compound file of OLE begins. */
const COMPOUND_FILE = Buffer.from('d0cf11e0', 'hex');

const DAY = 86_400_000;
/** The day of a cell that holds a time of day only, where days are counted from 1900, and from 1904. */
const TIMES_ONLY = new Set([Date.UTC(1899, 11, 31), Date.UTC(1904, 0, 1)]);
/** What a formula gives that has gone wrong: no value. */
const FAULTS = /^#(?:NULL!|DIV\/0!|VALUE!|REF!|NAME\?|NUM!|N\/A|GETTING_DATA|SPILL!|CALC!)$/;

type Cell = string | number | boolean | Date;

/** What the values of a column are, so far. */
class Column {
  readonly name: string;
  #kind: Kind | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** The value as text, which can be cast to the type of the column whichever that becomes. */
  text(value: Cell): string {
    const kind = kindOf(value);
    if (this.#kind === undefined) this.#kind = kind;
    else if (this.#kind !== kind) this.#kind = together(this.#kind, kind);
    if (value instanceof Date) return value.toISOString().slice(0, -1);
    return String(value);
  }

  /** The column of the view over the column of texts. */
  sql(texts: string): string {
    const kind = this.#kind ?? 'VARCHAR';
    // Of a moment its day, and its time; of what is no moment always, the moment as it is.
    const value = kind === 'DATE' || kind === 'TIME' ? `CAST(${texts} AS TIMESTAMP)` : texts;
    return `CAST(${value} AS ${kind}) AS ${quoted(this.name)}`;
  }
}

type Kind = 'BIGINT' | 'DOUBLE' | 'BOOLEAN' | 'DATE' | 'TIME' | 'TIMESTAMP' | 'VARCHAR';

function kindOf(value: Cell): Kind {
  if (typeof value === 'string') return 'VARCHAR';
  if (typeof value === 'boolean') return 'BOOLEAN';
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 'BIGINT' : 'DOUBLE';
  const ms = value.getTime();
  const day = Math.floor(ms / DAY) * DAY;
  if (TIMES_ONLY.has(day)) return 'TIME';
  return day === ms ? 'DATE' : 'TIMESTAMP';
}

const MOMENTS: ReadonlySet<Kind> = new Set(['DATE', 'TIME', 'TIMESTAMP']);
const NUMBERS: ReadonlySet<Kind> = new Set(['BIGINT', 'DOUBLE']);

/** The type that values of two others have in common. */
function together(a: Kind, b: Kind): Kind {
  if (NUMBERS.has(a) && NUMBERS.has(b)) return 'DOUBLE';
  return MOMENTS.has(a) && MOMENTS.has(b) ? 'TIMESTAMP' : 'VARCHAR';
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/**
 * Makes a table of a sheet.
 *
 * The first row that is not empty has the names when all that stands in it is text; else columns are called as Excel calls them. Rows
 * without a value are left out.
 *
 * @param sheet Its name; `undefined`: the first.
 * @returns The name of the table, as SQL writes it.
 * @throws SyftError SQL_INVALID when it is no workbook, has no such sheet, or is too large.
 */
export async function tableOfSheet(
  own: DuckDBConnection,
  { file, size, path, versionId }: ContentFile,
  sheet?: string
): Promise<string> {
  const wrong = (why: string, cause?: unknown): SyftError =>
    new SyftError('SQL_INVALID', `${path} (version ${versionId}) ${why}`, {
      path,
      ...(cause !== undefined && { cause })
    });
  if (size > LARGEST_FILE) throw wrong('is a workbook of more than 256 MiB, which is not read.');
  // Whole, whether it lies on a disk or comes through a pipe, once; of an encrypted log it is in memory only.
  const archive = await readFile(file);
  // The older format, and a workbook with a password, which is kept in it.
  if (archive.subarray(0, 4).equals(COMPOUND_FILE)) {
    throw wrong('is protected by a password, or a workbook of the older format of Excel (.xls); neither is read.');
  }
  const entries = zipDirectory(archive, MOST_ENTRIES);
  if (entries === undefined) throw wrong('is no workbook of Excel, or a damaged one.');
  const large = entries.find(isTooLarge);
  if (large !== undefined) throw wrong(`would become too large when it is unpacked: ${large.name}.`);
  const names = sheetNames(archive, entries);
  if (sheet !== undefined && names !== undefined && !names.includes(sheet)) {
    throw wrong(`has no sheet ${sheet}. It has: ${names.join(', ')}.`);
  }

  const table = new SheetTable(own, `syft_sheet ${file.replace(/^.*[\\/]/, '')} ${sheet ?? ''}`);
  try {
    const { streamXlsxRows } = await import('hucre/xlsx');
    await table.begin();
    for await (const { values } of streamXlsxRows(archive, sheet === undefined ? {} : { sheet })) {
      await table.append(values);
    }
    if (await table.end()) return table.sql;
  } catch (error) {
    if (error instanceof TooLarge) throw wrong(`has a sheet of more than ${error.message}, which is not read.`);
    if (isNotRead(error)) throw wrong(`cannot be read as a workbook: ${error.message}`, error);
    throw error;
  }
  throw wrong(`has nothing in ${sheet === undefined ? 'its first sheet' : `its sheet ${sheet}`}, and is no table.`);
}

/** What the reader says against a workbook; other errors are DuckDB's, or ours. */
function isNotRead(error: unknown): error is Error {
  return (
    error instanceof Error &&
    /^(Defter|Hucre|Parse|Zip|Xml|EncryptedFile|UnsupportedFormat|Range)Error$/.test(error.name)
  );
}

function isTooLarge({ name, size, packed, method }: ZipEntry): boolean {
  // One that hides its size is unpacked without a bound.
  if (method !== 0 && size === 0 && packed > 2) return true;
  return size > (/(^|\/)worksheets\/[^/]+\.xml$/i.test(name) ? LARGEST_SHEET : LARGEST_PART);
}

/** Names of the sheets; undefined where they are not where every program puts them. */
function sheetNames(archive: Buffer, entries: readonly ZipEntry[]): string[] | undefined {
  const entry = entries.find(({ name }) => name === 'xl/workbook.xml');
  if (entry === undefined || entry.at + 30 > archive.length) return undefined;
  const start = entry.at + 30 + archive.readUInt16LE(entry.at + 26) + archive.readUInt16LE(entry.at + 28);
  const packed = archive.subarray(start, start + entry.packed);
  try {
    const text = (entry.method === 0 ? packed : inflateRawSync(packed, { maxOutputLength: LARGEST_PART })).toString(
      'utf8'
    );
    return [...text.matchAll(/<(?:\w+:)?sheet\s[^>]*?\bname="([^"]*)"/g)].map(([, name]) => unescaped(name ?? ''));
  } catch {
    // The reader will say what is wrong with it.
    return undefined;
  }
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (all, decimal: string, hex: string, name: string) => {
    if (name !== undefined) return ENTITIES[name] ?? all;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}

class TooLarge extends Error {}

/** Rows of a sheet on their way into DuckDB. */
class SheetTable {
  readonly #own: DuckDBConnection;
  readonly #name: string;
  readonly #names = new Names();
  #api!: typeof DuckdbApi;
  #columns: Column[] | undefined;
  /** Columns that the table of texts has; none yet, there is no table. */
  #width = 0;
  #rows: (string | null)[][] = [];
  #cells = 0;

  constructor(own: DuckDBConnection, name: string) {
    this.#own = own;
    this.#name = name;
  }

  get sql(): string {
    return quoted(this.#name);
  }

  get #texts(): string {
    return quoted(`${this.#name} texts`);
  }

  async begin(): Promise<void> {
    this.#api = await import('@duckdb/node-api');
    // The same version may be asked for twice.
    await this.#own.run(`DROP VIEW IF EXISTS ${this.sql}`);
    await this.#own.run(`DROP TABLE IF EXISTS ${this.#texts}`);
  }

  async append(given: readonly (Cell | null)[]): Promise<void> {
    this.#cells += Math.max(1, given.length);
    if (this.#cells > MOST_CELLS) throw new TooLarge(`${MOST_CELLS / 1e6} million cells`);
    // What is behind the last value of a row, such as a colour, is no column.
    const filled = given.findLastIndex(value => value !== null && value !== '') + 1;
    if (filled === 0) return;
    if (filled > MOST_COLUMNS) throw new TooLarge(`${MOST_COLUMNS} columns`);
    const values = given
      .slice(0, filled)
      .map(value => (typeof value === 'string' && FAULTS.test(value) ? null : value));
    if (this.#columns === undefined) {
      const isHeading = values.every(value => value === null || typeof value === 'string');
      this.#columns = values.map((value, i) => this.#names.column(i, isHeading && value !== null ? String(value) : ''));
      if (isHeading) return;
    }
    const columns = this.#columns;
    while (columns.length < values.length) columns.push(this.#names.column(columns.length, ''));
    this.#rows.push(values.map((value, i) => (value === null ? null : (columns[i]?.text(value) ?? null))));
    if (this.#rows.length >= Math.min(ROWS_AT_ONCE, Math.ceil(CELLS_AT_ONCE / columns.length))) await this.#flush();
  }

  /** @returns false when there was nothing. */
  async end(): Promise<boolean> {
    const columns = this.#columns;
    if (columns === undefined || columns.length === 0) return false;
    await this.#flush();
    const list = columns.map((column, i) => column.sql(`c${i}`)).join(', ');
    await this.#own.run(`CREATE VIEW ${this.sql} AS SELECT ${list} FROM ${this.#texts}`);
    return true;
  }

  /** A row that is longer than those before: some columns more than it needs, so that not each such row makes the table anew. */
  async #widen(needed: number): Promise<void> {
    const column = (i: number): string => `c${i} VARCHAR`;
    if (this.#width === 0) {
      const all = Array.from({ length: needed }, (_, i) => column(i)).join(', ');
      await this.#own.run(`CREATE TABLE ${this.#texts} (${all})`);
      this.#width = needed;
      return;
    }
    const width = Math.max(needed, Math.min(2 * this.#width, MOST_COLUMNS));
    for (; this.#width < width; this.#width++) {
      await this.#own.run(`ALTER TABLE ${this.#texts} ADD COLUMN ${column(this.#width)}`);
    }
  }

  async #flush(): Promise<void> {
    const needed = this.#columns?.length ?? 0;
    if (needed > this.#width) await this.#widen(needed);
    const rows = this.#rows;
    if (rows.length === 0) return;
    this.#rows = [];
    const { VARCHAR, DuckDBDataChunk } = this.#api;
    const types = Array.from({ length: this.#width }, () => VARCHAR);
    const chunk = DuckDBDataChunk.create(types, rows.length);
    for (let i = 0; i < this.#width; i++) {
      chunk.setColumnValues(
        i,
        rows.map((row): DuckDBValue => row[i] ?? null)
      );
    }
    const appender = await this.#own.createAppender(`${this.#name} texts`);
    try {
      appender.appendDataChunk(chunk);
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }
}

/** Names of columns: one without is called as Excel calls it, one whose name is taken gets a number. */
class Names {
  /** In lower case: SQL does not tell it from upper. With the number that comes next. */
  readonly #taken = new Map<string, number>();

  column(index: number, heading: string): Column {
    const name = heading.trim() === '' ? letters(index) : heading.trim();
    let made = name;
    for (;;) {
      const next = this.#taken.get(made.toLowerCase());
      if (next === undefined) break;
      made = `${name}_${this.#taken.get(name.toLowerCase()) ?? next}`;
      this.#taken.set(name.toLowerCase(), (this.#taken.get(name.toLowerCase()) ?? 1) + 1);
    }
    this.#taken.set(made.toLowerCase(), 1);
    return new Column(made);
  }
}

/** A, B, …, Z, AA, … */
function letters(column: number): string {
  let name = '';
  for (let left = column + 1; left > 0; left = Math.floor((left - 1) / 26)) {
    name = String.fromCharCode(65 + ((left - 1) % 26)) + name;
  }
  return name;
}
