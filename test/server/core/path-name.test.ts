/** Names on disk are bytes. One that cannot be told from another, or leads out of the workspace, is a file lost or a hole. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  decodePath,
  displayPath,
  encodePath,
  normalizeRelative,
  parseDisplayPath,
  pathBase64
} from '../../../server/src/core/path-name.ts';

const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 }).map(raw => raw.map(byte => (byte === 0 ? 0x41 : byte)));

describe('a name of any bytes', () => {
  test('comes back as it was', () => {
    fc.assert(
      fc.property(bytes, raw => encodePath(decodePath(raw)).equals(Buffer.from(raw))),
      { numRuns: 2000 }
    );
  });

  test('is told from every other', () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => (decodePath(a) === decodePath(b)) === Buffer.from(a).equals(Buffer.from(b))),
      { numRuns: 2000 }
    );
  });

  test('is shown in text that leads back to it', () => {
    fc.assert(
      fc.property(bytes, raw => {
        const path = decodePath(raw);
        const exact = pathBase64(path);
        if (exact === undefined) expect(displayPath(path)).toBe(path);
        else {
          expect(Buffer.from(exact, 'base64').equals(Buffer.from(raw))).toBe(true);
          expect(displayPath(path)).toMatch(/\\x[0-9A-F]{2}/);
          expect(encodePath(parseDisplayPath(displayPath(path))).length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 1000 }
    );
  });

  test('in ordinary UTF-8 is itself', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), text => {
        expect(decodePath(Buffer.from(text))).toBe(text);
        expect(pathBase64(text)).toBeUndefined();
      })
    );
  });
});

describe('a path given by a user', () => {
  test.each([
    ['a/b', 'a/b'],
    ['./a', 'a'],
    ['a//b/', 'a/b'],
    ['a/./b', 'a/b'],
    ['..', undefined],
    ['a/../../b', undefined],
    ['/etc', undefined],
    ['a\0b', undefined]
  ])('%j is %j', (given, expected) => {
    expect(normalizeRelative(given)).toBe(expected);
  });
});
