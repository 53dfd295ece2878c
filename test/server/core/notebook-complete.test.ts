import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isWholeJsonObject } from '../../../server/src/core/notebook-complete.ts';

const whole = (text: string): boolean => isWholeJsonObject(Buffer.from(text));

describe('a notebook is taken as whole', () => {
  test('whatever JSON object it holds, however it is laid out', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        expect(whole(`${JSON.stringify(value, undefined, indent)}\n`)).toBe(true);
      })
    );
  });

  test('never when it is cut short: a half-written notebook would be restored as if it were whole', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(), (value, at) => {
        const bytes = Buffer.from(JSON.stringify(value, undefined, 1));
        expect(isWholeJsonObject(bytes.subarray(0, at % bytes.length))).toBe(false);
      })
    );
  });

  test('NaN and a byte order mark are what Python and Windows write', () => {
    expect(whole('\uFEFF{"a": [NaN, -Infinity, 1e5, -0.5]}')).toBe(true);
  });

  test.each([
    '',
    ' ',
    '[]',
    '"x"',
    '{',
    '{}}',
    '{"a":1,}',
    '{"a" 1}',
    '{a:1}',
    '{"a":[1,]}',
    '{"a":}',
    '{"a":1}{"b":2}',
    '{"a":1 2}',
    '{"a":"\0"}',
    '{"a":tru}',
    '{"a":"\\"}',
    '{"a":01}'
  ])('not %j', text => {
    expect(whole(text)).toBe(false);
  });

  test('100,000 levels deep without overflowing the stack', () => {
    expect(whole(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)).toBe(true);
  });
});
