/**
 * Path patterns as a person writes them in a shell: `*`, `?`, `[…]`, `{a,b}` within a name, `**` across directories. Unlike
 * in a shell a leading dot is nothing special: what is recorded can be found.
 */
import { parseDisplayPath, type PathName } from './path-name.ts';

const SPECIAL = /[\\^$.*+?()[\]{}|/]/;

function literal(text: string): string {
  return SPECIAL.test(text) ? `\\${text}` : text;
}

/** A class `[…]` that begins at `i`: its regular expression and where it ends; `undefined` when it is not closed. */
function characterClass(pattern: string, i: number): { source: string; next: number } | undefined {
  let at = i + 1;
  const negated = pattern[at] === '!' || pattern[at] === '^';
  if (negated) at += 1;
  const end = pattern.indexOf(']', at + 1);
  if (end < 0) return undefined;
  const body = pattern.slice(at, end).replace(/[\\[\]^&|~]/g, c => `\\${c}`);
  return { source: `(?!/)[${negated ? '^' : ''}${body}]`, next: end + 1 };
}

function translate(pattern: string): string {
  let out = '';
  let depth = 0;
  for (let i = 0; i < pattern.length;) {
    const char = String.fromCodePoint(pattern.codePointAt(i) ?? 0);
    if (char === '*') {
      let end = i;
      while (pattern[end] === '*') end += 1;
      const whole = end - i > 1 && (i === 0 || pattern[i - 1] === '/');
      if (whole && pattern[end] === '/') {
        out += '(?:.*/)?';
        end += 1;
      } else {
        out += whole && end === pattern.length ? '.*' : '[^/]*';
      }
      i = end;
      continue;
    }
    const group = char === '[' ? characterClass(pattern, i) : undefined;
    if (group !== undefined) {
      out += group.source;
      i = group.next;
      continue;
    }
    i += char.length;
    if (char === '?') out += '[^/]';
    else if (char === '{' && pattern.includes('}', i)) {
      depth += 1;
      out += '(?:';
    } else if (char === '}' && depth > 0) {
      depth -= 1;
      out += ')';
    } else if (char === ',' && depth > 0) out += '|';
    else if (char === '\\' && i < pattern.length) {
      const next = String.fromCodePoint(pattern.codePointAt(i) ?? 0);
      out += literal(next);
      i += next.length;
    } else out += literal(char);
  }
  return depth === 0 ? out : literalText(pattern);
}

function literalText(text: string): string {
  return Array.from(text, literal).join('');
}

function compile(pattern: string): (text: string) => boolean {
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:${translate(pattern)})$`, 'su');
  } catch {
    // A range that runs backwards: the pattern means itself.
    expression = new RegExp(`^${literalText(pattern)}$`, 'su');
  }
  return text => text === pattern || expression.test(text);
}

/**
 * @param glob Relative to `prefix`. Without a slash it matches names at any depth; a plain folder matches what is below it.
 *   `\xHH` stands for a byte that is not UTF-8.
 * @param prefix Workspace path of the directory it is relative to; `''` is the root.
 * @returns Whether a workspace path matches.
 */
export function pathMatcher(glob: string, prefix: PathName = ''): (path: PathName) => boolean {
  const parts = prefix === '' ? [] : prefix.split('/');
  const rest = parseDisplayPath(glob).split('/');
  while (rest[0] === '.' || rest[0] === '..' || (rest[0] === '' && rest.length > 1)) {
    if (rest.shift() === '..') parts.pop();
  }
  while (rest.length > 1 && rest.at(-1) === '') rest.pop();
  const base = parts.length === 0 ? '' : `${parts.join('/')}/`;
  const pattern = rest.join('/');
  const matches = compile(pattern);
  const below = compile(`${pattern}/**`);
  const nameOnly = rest.length === 1 && !glob.endsWith('/');
  return path => {
    if (!path.startsWith(base)) return false;
    const inner = path.slice(base.length);
    return (
      pattern === '' || matches(inner) || below(inner) || (nameOnly && matches(inner.slice(inner.lastIndexOf('/') + 1)))
    );
  };
}
