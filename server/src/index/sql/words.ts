/** The words of an SQL text, as far as they must be told from strings, quoted names and comments. */

export interface Word {
  readonly text: string;
  /** UTF-16 code units. */
  readonly start: number;
  readonly end: number;
}

// In this order: what a quote or a comment holds is no word. An unclosed one reaches to the end.
const TOKEN =
  /--[^\n]*|\/\*|'(?:[^']|'')*(?:'|$)|"(?:[^"]|"")*(?:"|$)|\$([A-Za-z_]*)\$|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|[0-9][\w.]*|\s+|[^]/gu;

/** Words and marks of a text, without blanks and comments. Quoted names and strings are one word each, with their quotes. */
export function* words(text: string): Generator<Word> {
  TOKEN.lastIndex = 0;
  const token = new RegExp(TOKEN);
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const start = match.index;
    const [found] = match;
    if (/^e$/i.test(found) && text[token.lastIndex] === "'") {
      // An escape string: a backslash takes the next character with it.
      const end = /'(?:[^'\\]|\\[^]|'')*(?:'|$)/y;
      end.lastIndex = token.lastIndex;
      token.lastIndex += end.exec(text)?.[0].length ?? 0;
    } else if (found === '/*') {
      token.lastIndex = endOfComment(text, token.lastIndex);
      continue;
    } else if (match[1] !== undefined) {
      const end = text.indexOf(found, token.lastIndex);
      token.lastIndex = end < 0 ? text.length : end + found.length;
    } else if (found.startsWith('--') || /^\s/.test(found)) {
      continue;
    }
    yield { text: text.slice(start, token.lastIndex), start, end: token.lastIndex };
  }
}

/** Comments nest. */
function endOfComment(text: string, from: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = from;
  let depth = 1;
  for (let match = mark.exec(text); match !== null; match = mark.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return text.length;
}

/** Parts of a text put in the place of others; `place` leads back. */
export interface Replaced {
  readonly text: string;
  readonly place: (offset: number) => number;
}

/** @param parts In order, not overlapping. */
export function replaceParts(
  text: string,
  parts: readonly { readonly start: number; readonly end: number; readonly by: string }[]
): Replaced {
  let out = '';
  let done = 0;
  /** Where each piece begins: in the new text, in the old, and how far places in it go along. */
  const pieces: { to: number; from: number; length: number }[] = [];
  for (const { start, end, by } of parts) {
    pieces.push({ to: out.length, from: done, length: start - done });
    out += text.slice(done, start);
    pieces.push({ to: out.length, from: start, length: 0 });
    out += by;
    done = end;
  }
  pieces.push({ to: out.length, from: done, length: text.length - done });
  out += text.slice(done);
  return {
    text: out,
    place: offset => {
      const piece = pieces.findLast(each => each.to <= offset);
      return piece === undefined ? offset : piece.from + Math.min(offset - piece.to, piece.length);
    }
  };
}

/**
 * `at` is a column here and a word of DuckDB's grammar: quotes it wherever it is neither `AT TIME ZONE` nor `AT (…)`.
 */
export function quoteAt(text: string): Replaced {
  const all = [...words(text)];
  const parts = all.flatMap(({ text: word, start, end }, i) => {
    if (!/^at$/i.test(word)) return [];
    const next = all[i + 1]?.text ?? '';
    if (next === '(' || (/^time$/i.test(next) && /^zone$/i.test(all[i + 2]?.text ?? ''))) return [];
    return [{ start, end, by: '"at"' }];
  });
  return replaceParts(text, parts);
}
