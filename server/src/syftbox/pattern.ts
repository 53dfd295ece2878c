/**
 * Patterns of permission rules as SyftBox understands them (github.com/bmatcuk/doublestar/v4): `*`, `?`, `[…]` and `{a,b}` within a name,
 * `**` as a whole name for any number of directories, `\` before a character that means itself. Without `*`, `?` and `[` a pattern is the
 * path itself. Nothing here takes more than pattern × path steps, whoever wrote the pattern.
 */
import { createHash } from 'node:crypto';

/** Code units of a pattern, and patterns that `{…}` may stand for. */
const PATTERN_LENGTH = 1000;
const ALTERNATIVES = 100;

/** One character of a name: which ones fit. `undefined`: any number of any. */
type Token = ((char: string) => boolean) | undefined;
/** A name. `undefined`: `**`. */
type Segment = readonly Token[] | undefined;

/** Whether a sequence fits, where `undefined` stands for any number of its items. */
function fits<P, T>(
  pattern: readonly (P | undefined)[],
  items: readonly T[],
  one: (part: P, item: T) => boolean
): boolean {
  let p = 0;
  let i = 0;
  let star = -1;
  let from = 0;
  while (i < items.length) {
    const part = pattern[p];
    if (p < pattern.length && part === undefined) {
      star = p;
      from = i;
      p += 1;
    } else if (part !== undefined && one(part, items[i] as T)) {
      p += 1;
      i += 1;
    } else if (star >= 0) {
      // What stands behind the last one that took anything decides; earlier ones need not take more.
      from += 1;
      i = from;
      p = star + 1;
    } else return false;
  }
  while (p < pattern.length && pattern[p] === undefined) p += 1;
  return p === pattern.length;
}

/** `[a-z]` from behind its bracket: what fits, and where it ends. Throws SyntaxError. */
function characterClass(chars: readonly string[], start: number): { token: Token; next: number } {
  let at = start;
  const negated = chars[at] === '!' || chars[at] === '^';
  if (negated) at += 1;
  const ranges: [number, number][] = [];
  const one = (): number => {
    if (chars[at] === '\\') at += 1;
    const char = chars[at];
    if (char === undefined) throw new SyntaxError('a [ is not closed');
    at += 1;
    return char.codePointAt(0) ?? 0;
  };
  for (let first = true; first || chars[at] !== ']'; first = false) {
    const low = one();
    if (chars[at] !== '-' || chars[at + 1] === ']') {
      ranges.push([low, low]);
      continue;
    }
    at += 1;
    const high = one();
    if (high < low) throw new SyntaxError('a range runs backwards');
    ranges.push([low, high]);
  }
  const token = (char: string): boolean => {
    const code = char.codePointAt(0) ?? 0;
    return ranges.some(([low, high]) => code >= low && code <= high) !== negated;
  };
  return { token, next: at + 1 };
}

function segmentOf(text: string): Segment {
  if (text === '**') return undefined;
  const chars = Array.from(text);
  const tokens: Token[] = [];
  for (let i = 0; i < chars.length;) {
    const char = chars[i] as string;
    i += 1;
    if (char === '*') tokens.push(undefined);
    else if (char === '?') tokens.push(() => true);
    else if (char === '[') {
      const { token, next } = characterClass(chars, i);
      tokens.push(token);
      i = next;
    } else {
      const means = char === '\\' ? chars[i++] : char;
      if (means === undefined) throw new SyntaxError('it ends in a backslash');
      tokens.push(other => other === means);
    }
  }
  return tokens;
}

/** `{a,b}` written out. Throws SyntaxError. */
function alternatives(pattern: string): string[] {
  let start = -1;
  let depth = 0;
  const cuts: number[] = [];
  for (let i = 0; i < pattern.length; i += 1) {
    const char = pattern[i];
    if (char === '\\') i += 1;
    else if (char === '[') {
      // What stands in a class is no brace.
      for (i += 1; i < pattern.length && pattern[i] !== ']'; i += 1) if (pattern[i] === '\\') i += 1;
    } else if (char === '{') {
      if (depth === 0) start = i;
      depth += 1;
    } else if (char === ',' && depth === 1) cuts.push(i);
    else if (char === '}') {
      depth -= 1;
      if (depth < 0) throw new SyntaxError('a } is not opened');
      if (depth > 0) continue;
      const ends = [...cuts, i];
      const before = pattern.slice(0, start);
      const after = pattern.slice(i + 1);
      const all: string[] = [];
      for (const [n, end] of ends.entries()) {
        const from = n === 0 ? start + 1 : (ends[n - 1] as number) + 1;
        all.push(...alternatives(before + pattern.slice(from, end) + after));
        if (all.length > ALTERNATIVES) throw new SyntaxError(`it stands for more than ${ALTERNATIVES} patterns`);
      }
      return all;
    }
  }
  if (depth > 0) throw new SyntaxError('a { is not closed');
  return [pattern];
}

const hasGlob = (text: string): boolean => /[*?[]/.test(text);

/** A glob → whether a `/`-separated path fits it. Throws SyntaxError. */
function globMatcher(pattern: string): (path: string) => boolean {
  const all = alternatives(pattern).map(one => one.split('/').map(segmentOf));
  return path => {
    // The folder of the file itself is no name below it.
    const names = path === '' ? [] : path.split('/').map(name => Array.from(name));
    return all.some(segments =>
      fits(segments, names, (segment, name) => fits(segment, name, (token, char) => token(char)))
    );
  };
}

const FIELD = '\\.(UserEmail|UserHash|Year|Month|Date)';
const TEMPLATE = new RegExp(`\\{\\{\\s*(?:(?:(upper|lower|sha2)\\s+)?${FIELD}(?:\\s+(\\d{1,3}))?)\\s*\\}\\}`, 'g');

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What a template stands for. @param now In UTC. */
function valueOf(field: string, user: string, now: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  switch (field) {
    case 'UserEmail':
      return user;
    case 'UserHash':
      return sha256(user).slice(0, 16);
    case 'Year':
      return String(now.getUTCFullYear()).padStart(4, '0');
    case 'Month':
      return two(now.getUTCMonth() + 1);
    default:
      return two(now.getUTCDate());
  }
}

function applied(name: string | undefined, value: string, length: string | undefined): string {
  if (name === 'upper') return value.toUpperCase();
  if (name === 'lower') return value.toLowerCase();
  if (name !== 'sha2') return value;
  const digits = length === undefined ? 64 : Math.min(Number(length), 64);
  return sha256(value).slice(0, digits === 0 ? 16 : digits);
}

/** Whether a pattern has `{{…}}` in it. */
export function isTemplate(pattern: string): boolean {
  return pattern.includes('{{') && pattern.includes('}}');
}

/**
 * A pattern → whether a path fits it, for a user and at a time where it says so. A user's name stands for itself: whatever characters are
 * in it, it widens nothing.
 *
 * @throws SyntaxError saying why it is none.
 */
export function patternMatcher(pattern: string): (path: string, user: string, now?: Date) => boolean {
  if (pattern === '') throw new SyntaxError('it is empty');
  if (pattern.length > PATTERN_LENGTH) throw new SyntaxError(`it is longer than ${PATTERN_LENGTH} characters`);
  if (!isTemplate(pattern)) {
    if (!hasGlob(pattern)) return path => path === pattern;
    const matches = globMatcher(pattern);
    return path => matches(path);
  }
  const rest = pattern.replace(TEMPLATE, 'x');
  if (/\{\{|\}\}/.test(rest)) throw new SyntaxError('it has a template that is not known here');
  const glob = hasGlob(rest);
  if (glob) globMatcher(rest);
  return (path, user, now = new Date()) => {
    const resolved = pattern.replace(TEMPLATE, (_, name: string | undefined, field: string, length?: string) => {
      const value = applied(name, valueOf(field, user, now), length);
      return glob ? value.replace(/[\\*?[\]{},]/g, char => `\\${char}`) : value;
    });
    return glob ? globMatcher(resolved)(path) : resolved === path;
  };
}

/** How narrow a pattern is: of several rules that fit, the one of the highest counts. The numbers are SyftBox's. */
export function specificity(pattern: string): number {
  if (pattern === '**') return -100;
  if (pattern === '**/*') return -99;
  let score = Buffer.byteLength(pattern) * 2 + (pattern.split('/').length - 1) * 10;
  if (isTemplate(pattern)) score += 50;
  for (const [i, char] of Array.from(pattern).entries()) {
    if (char === '*') score -= i === 0 ? 20 : 10;
    else if ('?![{'.includes(char)) score -= 2;
  }
  return score;
}

/** A name as a pattern that only it fits. */
export function literalPattern(name: string): string {
  return hasGlob(name) ? name.replace(/[\\*?[\]{},]/g, char => `\\${char}`) : name;
}
