/** What DuckDB says of a query → an error that names the place in the text, and what to do. */
import { SyftError, type ErrorCode, type TextPosition } from '../../core/errors.ts';

/** What {@link sqlError} must know of the query. */
export interface QueryText {
  /** As the person wrote it. */
  readonly written: string;
  /** As DuckDB was given it. */
  readonly run: string;
  /** A place of `run` → the place of `written`; UTF-16 code units. */
  readonly place: (offset: number) => number;
}

/** A query that DuckDB was given as it was written. */
export function asWritten(text: string): QueryText {
  return { written: text, run: text, place: offset => offset };
}

/** A place in a text with its line and column. */
export function positionIn(text: string, offset: number): TextPosition {
  const at = Math.min(Math.max(0, offset), text.length);
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { offset: at, line: before.split('\n').length, column: at - lineStart + 1 };
}

/** A place as DuckDB counts, in bytes of UTF-8, → UTF-16 code units. */
export function fromByteOffset(text: string, bytes: number): number {
  const encoded = Buffer.from(text, 'utf8');
  return encoded.subarray(0, Math.min(bytes, encoded.length)).toString('utf8').length;
}

const REFUSED =
  /^Permission Error|Cannot write to database|attached in read-only mode|configuration has been locked|Cannot change configuration|file system operations are disabled|is disabled (by|through) configuration/i;

function codeOf(message: string): ErrorCode {
  if (/^Parser Error/.test(message)) return 'SQL_SYNTAX';
  if (/^Out of Memory Error|bad_alloc|failed to allocate|could not allocate block/i.test(message)) return 'SQL_MEMORY';
  if (REFUSED.test(message)) return 'SQL_FORBIDDEN';
  return 'SQL_INVALID';
}

/** A place as DuckDB's parser counts, in code points, → UTF-16 code units. */
export function fromCodePoints(text: string, points: number): number {
  let offset = 0;
  let seen = 0;
  for (const character of text) {
    if (seen === points) break;
    seen += 1;
    offset += character.length;
  }
  return offset;
}

const TWICE_AS_WIDE =
  /\p{Extended_Pictographic}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** A place as a terminal counts, in columns, → UTF-16 code units. */
function fromColumns(text: string, columns: number): number {
  let offset = 0;
  let seen = 0;
  for (const character of text) {
    if (seen >= columns) break;
    seen += /\p{M}/u.test(character) ? 0 : character > '\u00ff' && TWICE_AS_WIDE.test(character) ? 2 : 1;
    offset += character.length;
  }
  return offset;
}

/** Drawn below the message: the line of the query, cut to fit, and a mark under the place. */
const MARKED = /\n\nLINE (\d+): (.*)\n( *)\^/;

function markedOffset(message: string, text: string): number | undefined {
  const match = MARKED.exec(message);
  if (match === null) return undefined;
  const [, line = '1', shown = '', spaces = ''] = match;
  const lines = text.split('\n');
  const written = lines[Number(line) - 1];
  if (written === undefined) return undefined;
  const start = lines.slice(0, Number(line) - 1).reduce((sum, each) => sum + each.length + 1, 0);
  const cutLeft = shown.startsWith('...');
  const bare = shown.slice(cutLeft ? 3 : 0, shown.endsWith('...') ? -3 : undefined);
  const column = spaces.length - `LINE ${line}: `.length - (cutLeft ? 3 : 0);
  // Tabs and control characters are drawn as blanks.
  const found = written.replace(/[\t\r]/g, ' ').indexOf(bare.replace(/[\t\r]/g, ' '));
  return found < 0 || column < 0 ? undefined : start + found + fromColumns(bare, column);
}

/** Sentences of DuckDB that say nothing to people here, in other words. */
function sentence(code: ErrorCode, message: string): string {
  if (code === 'SQL_MEMORY') {
    return 'The query needs more memory than it may take. Ask for less, or allow more with memoryMb (--memory).';
  }
  const text = message
    .replace(MARKED, '')
    .replace(/\n\nLINE \d+:[\s\S]*$/, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
  if (code === 'SQL_FORBIDDEN') return `Queries here only read the change log: ${text}`;
  return text;
}

/**
 * @param error What DuckDB threw.
 * @returns SQL_SYNTAX, SQL_INVALID, SQL_FORBIDDEN or SQL_MEMORY, with the position where DuckDB gives one.
 */
export function sqlError(error: unknown, query: QueryText): SyftError {
  if (error instanceof SyftError) return error;
  const message =
    typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
  const code = codeOf(message);
  const offset = markedOffset(message, query.run);
  return new SyftError(code, sentence(code, message).slice(0, 2000), {
    cause: error,
    ...(offset !== undefined && { position: positionIn(query.written, query.place(offset)) })
  });
}
