/**
 * Whether bytes are one whole JSON object: the guard against recording a notebook that is being rewritten in place.
 *
 * Jupyter truncates a notebook and writes it again piece by piece, so what can be met is a prefix of a document, or one
 * with a hole of NUL bytes. The check is a full pass over the grammar of RFC 8259 except for the inside of strings (escapes
 * are not checked, NUL bytes are): it needs no memory besides the nesting stack and runs at the speed of `indexOf`
 * in what fills big notebooks, long strings.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** True when `bytes` hold exactly one JSON object, with white space around it at most. A byte order mark is allowed. */
export function isWholeJsonObject(bytes: Buffer): boolean {
  let end = bytes.length;
  while (end > 0 && isSpace(bytes[end - 1] ?? 0)) end -= 1;
  let i = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (i < end && isSpace(bytes[i] ?? 0)) i += 1;
  if (i >= end || bytes[i] !== OPEN || bytes[end - 1] !== CLOSE || bytes.indexOf(0) >= 0) return false;

  // What may come next: a value, a value or `]`, a key, a key or `}`, what follows a value.
  type Expect = 'value' | 'first-value' | 'key' | 'first-key' | 'after';
  let expect: Expect = 'value';
  const lists: boolean[] = [];
  for (;;) {
    while (i < end && isSpace(bytes[i] ?? 0)) i += 1;
    if (i >= end) return expect === 'after' && lists.length === 0;
    const byte = bytes[i] ?? 0;
    switch (expect) {
      case 'after': {
        const inList = lists[lists.length - 1];
        if (inList === undefined) return false;
        if (byte === COMMA) expect = inList ? 'value' : 'key';
        else if (byte === (inList ? CLOSE_LIST : CLOSE)) lists.pop();
        else return false;
        i += 1;
        break;
      }
      case 'key':
      case 'first-key': {
        if (byte === CLOSE && expect === 'first-key') {
          lists.pop();
          expect = 'after';
          i += 1;
          break;
        }
        if (byte !== QUOTE) return false;
        i = stringEnd(bytes, i, end);
        if (i < 0) return false;
        while (i < end && isSpace(bytes[i] ?? 0)) i += 1;
        if (bytes[i] !== COLON) return false;
        i += 1;
        expect = 'value';
        break;
      }
      default: {
        if (byte === CLOSE_LIST && expect === 'first-value') {
          lists.pop();
          expect = 'after';
          i += 1;
        } else if (byte === OPEN) {
          lists.push(false);
          expect = 'first-key';
          i += 1;
        } else if (byte === OPEN_LIST) {
          lists.push(true);
          expect = 'first-value';
          i += 1;
        } else {
          i = byte === QUOTE ? stringEnd(bytes, i, end) : scalarEnd(bytes, i, end);
          if (i < 0) return false;
          expect = 'after';
        }
      }
    }
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Index after the closing quote of the string that opens at `start`, or -1. */
function stringEnd(bytes: Buffer, start: number, end: number): number {
  let i = start + 1;
  for (;;) {
    const quote = bytes.indexOf(QUOTE, i);
    if (quote < 0 || quote >= end) return -1;
    let slash = quote - 1;
    while (slash > start && bytes[slash] === BACKSLASH) slash -= 1;
    if ((quote - slash) % 2 === 1) return quote + 1;
    i = quote + 1;
  }
}

const SCALAR = /^(?:true|false|null|NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/;

/** Index after a number or a literal, or -1. Python writes NaN and Infinity, so they are allowed. */
function scalarEnd(bytes: Buffer, start: number, end: number): number {
  let i = start;
  while (i < end && i - start < 400) {
    const byte = bytes[i] ?? 0;
    if (isSpace(byte) || byte === COMMA || byte === CLOSE || byte === CLOSE_LIST) break;
    i += 1;
  }
  return SCALAR.test(bytes.toString('latin1', start, i)) ? i : -1;
}
