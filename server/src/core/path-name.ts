/**
 * Workspace paths: relative, `/`-separated, and able to hold names that are not UTF-8.
 *
 * POSIX names are bytes. Inside the program a path is a JavaScript string in which every byte that is not part
 * of valid UTF-8 stands as the lone surrogate U+DC80…U+DCFF (Python's `surrogateescape`, PEP 383), so that
 * distinct names stay distinct and valid names are plain strings. At every edge (JSON, terminal, SQL) the
 * display form is used: the bad byte as `\xHH`, with the whole path in base64 beside it.
 */

/** A workspace path in its internal form. `''` is the workspace root. */
export type PathName = string;

const LONE = /[\uDC80-\uDCFF]/;
// A lone escape is one not preceded by a high surrogate (which would make it half of a valid pair).
const LONE_ALL = /(?<![\uD800-\uDBFF])[\uDC80-\uDCFF]/g;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** True when the path holds bytes that are not UTF-8. */
export function isEscaped(path: PathName): boolean {
  return LONE.test(path) && path.search(LONE_ALL) >= 0;
}

/** Length of the valid UTF-8 sequence that starts at `i`, or 0. Rejects overlong forms, surrogates and > U+10FFFF. */
function sequenceLength(bytes: Uint8Array, i: number): number {
  const a = bytes[i] ?? 0;
  const cont = (k: number): number => {
    const b = bytes[i + k] ?? 0;
    return (b & 0xc0) === 0x80 ? b : -1;
  };
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return cont(1) < 0 ? 0 : 2;
  if (a >= 0xe0 && a <= 0xef) {
    const b = cont(1);
    if (b < 0 || cont(2) < 0 || (a === 0xe0 && b < 0xa0) || (a === 0xed && b > 0x9f)) return 0;
    return 3;
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const b = cont(1);
    if (b < 0 || cont(2) < 0 || cont(3) < 0 || (a === 0xf0 && b < 0x90) || (a === 0xf4 && b > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

/** Bytes of a name or path → internal form. Inverse of {@link encodePath}. */
export function decodePath(bytes: Uint8Array): PathName {
  try {
    return strict.decode(bytes);
  } catch {
    let out = '';
    let start = 0;
    let i = 0;
    while (i < bytes.length) {
      const n = sequenceLength(bytes, i);
      if (n > 0) {
        i += n;
        continue;
      }
      out += strict.decode(bytes.subarray(start, i)) + String.fromCharCode(0xdc00 + (bytes[i] ?? 0));
      i += 1;
      start = i;
    }
    return out + strict.decode(bytes.subarray(start));
  }
}

/** Internal form → bytes. */
export function encodePath(path: PathName): Buffer {
  if (!isEscaped(path)) return Buffer.from(path, 'utf8');
  const parts: Buffer[] = [];
  let last = 0;
  for (const match of path.matchAll(LONE_ALL)) {
    parts.push(Buffer.from(path.slice(last, match.index), 'utf8'), Buffer.of(path.charCodeAt(match.index) - 0xdc00));
    last = match.index + 1;
  }
  parts.push(Buffer.from(path.slice(last), 'utf8'));
  return Buffer.concat(parts);
}

/** What `node:fs` is given for this path: the string itself, or bytes when it is not UTF-8. */
export function fsPath(path: PathName): string | Buffer {
  return isEscaped(path) ? encodePath(path) : path;
}

/** The display form: bad bytes as `\xHH`. Lossy on purpose; {@link pathBase64} carries the exact name. */
export function displayPath(path: PathName): string {
  return isEscaped(path)
    ? path.replace(LONE_ALL, c => `\\x${(c.charCodeAt(0) - 0xdc00).toString(16).toUpperCase().padStart(2, '0')}`)
    : path;
}

/** Base64 of the exact bytes when the path is not UTF-8, else `undefined`. */
export function pathBase64(path: PathName): string | undefined {
  return isEscaped(path) ? encodePath(path).toString('base64') : undefined;
}

/** Reads the display form of a name that may hold `\xHH` escapes (≥ 0x80); a candidate beside the literal reading. */
export function parseDisplayPath(text: string): PathName {
  return text.replace(/\\x([89A-Fa-f][0-9A-Fa-f])/g, (_, hex: string) =>
    String.fromCharCode(0xdc00 + parseInt(hex, 16))
  );
}

/**
 * Checks that a path names something strictly inside the workspace: relative, no empty, `.` or `..` part, no NUL.
 * Returns `undefined` when it does not.
 */
export function normalizeRelative(path: string): PathName | undefined {
  if (path.includes('\0') || path.startsWith('/')) return undefined;
  const parts = path.split('/').filter(part => part !== '' && part !== '.');
  if (parts.length === 0 || parts.includes('..')) return undefined;
  return parts.join('/');
}

/** The parent of a path; `''` for a path at the top. */
export function parentOf(path: PathName): PathName {
  const i = path.lastIndexOf('/');
  return i < 0 ? '' : path.slice(0, i);
}

/** The last part of a path. */
export function baseName(path: PathName): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** `dir` joined with `name`, where `dir` may be the root `''`. */
export function joinPath(dir: PathName, name: string): PathName {
  return dir === '' ? name : `${dir}/${name}`;
}
