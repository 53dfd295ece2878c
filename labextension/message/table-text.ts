/** Rows of a table that is text (RFC 4180), as many as are looked at. Pure. */

export interface TableText {
  rows: string[][];
  /** There are rows behind these. */
  more: boolean;
}

/**
 * @param separator - `,` or a tab
 * @param limit - rows at most, the first of which are the names of the columns
 */
export function readTable(text: string, separator: string, limit: number): TableText {
  const rows: string[][] = [];
  // A byte order mark belongs to no name.
  let at = text.startsWith('\ufeff') ? 1 : 0;
  while (at < text.length && rows.length < limit) {
    const row: string[] = [];
    for (;;) {
      let field: string;
      if (text[at] === '"') [field, at] = readQuoted(text, at + 1);
      else field = '';
      const end = endOfField(text, at, separator);
      // What follows a closing quote is kept: nothing of a file is left out because it is written badly.
      row.push(field + text.slice(at, end));
      at = end;
      if (text[at] !== separator) break;
      at++;
    }
    rows.push(row);
    if (text[at] === '\r') at++;
    if (text[at] === '\n') at++;
  }
  return { rows, more: at < text.length };
}

/** The field from behind its opening quote, and the place behind the closing one. */
function readQuoted(text: string, from: number): [field: string, end: number] {
  const parts: string[] = [];
  let at = from;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return [parts.join('') + text.slice(at), text.length];
    parts.push(text.slice(at, quote));
    if (text[quote + 1] !== '"') return [parts.join(''), quote + 1];
    parts.push('"');
    at = quote + 2;
  }
}

function endOfField(text: string, from: number, separator: string): number {
  let at = from;
  while (at < text.length && text[at] !== separator && text[at] !== '\n' && text[at] !== '\r') at++;
  return at;
}
