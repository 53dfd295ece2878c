import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isoMicros } from '../../../server/src/core/change.ts';
import { parseMoment } from '../../../server/src/core/time-text.ts';

const NOW = Date.UTC(2026, 10, 24, 12, 0, 0) * 1000;

describe('moments as people write them', () => {
  test.each([
    ['10m', NOW - 600e6],
    ['2h', NOW - 7200e6],
    ['3d ago', NOW - 3 * 86_400e6],
    ['1.5h', NOW - 5400e6],
    ['yesterday', NOW - 86_400e6],
    ['now', NOW],
    ['2026-11-01T14:32:05.120334Z', Date.UTC(2026, 10, 1, 14, 32, 5) * 1000 + 120_334],
    ['2026-11-01T14:32+02:00', Date.UTC(2026, 10, 1, 12, 32) * 1000],
    ['2026-11-01 14:32', new Date(2026, 10, 1, 14, 32).getTime() * 1000],
    ['2026-11-01', new Date(2026, 10, 1).getTime() * 1000]
  ])('%s', (text, expected) => {
    expect(parseMoment(text, NOW)).toBe(expected);
  });

  test.each([
    '',
    'soon',
    '10',
    '10x',
    '-5m',
    '2026-02-30',
    '2026-13-01',
    '2026-11-01 25:00',
    '2026-11-01Tgarbage',
    '1; drop table'
  ])('a text that is no time is refused, not guessed: %p', text => {
    expect(parseMoment(text, NOW)).toBeUndefined();
  });

  test('every time we print is read back to the microsecond', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000_000_000 }), us => {
        expect(parseMoment(isoMicros(us), NOW)).toBe(us);
      })
    );
  });
});
