/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';
import fc from 'fast-check';

import {
  dayLabel,
  gone,
  goneWord,
  difference,
  happened,
  hasContent,
  kindWord,
  printable,
  saidOf,
  sentence,
  shortAgo,
  shorten,
  size,
  sizeChange,
  splitName,
  versionName,
  warning
} from '../../../labextension/history/words';
import { change } from '../http-server';

const trans = nullTranslator.load('syft_sync');
const at = (...date: [number, number, number, number?, number?]): string => new Date(...date).toISOString();
/** In the language of whoever runs the tests. */
const local = (year: number, month: number, day: number, style: Intl.DateTimeFormatOptions): string =>
  new Date(year, month, day).toLocaleDateString(undefined, style);
const NOW = new Date(2026, 10, 24, 14, 30).getTime();

describe('sizes', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_949, '99.9 kB'],
    [99_950, '100 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [20e9, '20.0 GB'],
    [Number.MAX_SAFE_INTEGER, '9.0 PB']
  ])('%d bytes are %s', (bytes, text) => expect(size(bytes)).toBe(text));

  test('never more than three digits before the unit, and within 6 % of the truth', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), bytes => {
        const [number, unit] = size(bytes).split(' ') as [string, string];
        expect(number).toMatch(/^\d{1,3}(\.\d)?$/);
        const value = Number(number) * 1000 ** ['B', 'kB', 'MB', 'GB', 'TB', 'PB'].indexOf(unit);
        expect(Math.abs(value - bytes)).toBeLessThanOrEqual(bytes * 0.06);
      })
    );
  });

  test('a change has a sign, and none is said too', () => {
    expect([sizeChange(1234), sizeChange(-40_000), sizeChange(0)]).toEqual(['+1.2 kB', '−40.0 kB', '±0 B']);
  });

  test('a new file, or one whose size before is unknown, is compared with nothing', () => {
    expect(difference(change(1, { kind: 'created' }))).toBeUndefined();
    expect(difference(change(1, { size: 70, previousSize: 100 }))).toBe(-30);
    expect(difference(change(1, { kind: 'deleted', previousSize: 100 }))).toBe(-100);
    expect(difference(change(1, { type: 'directory' }))).toBeUndefined();
  });
});

describe('times', () => {
  test.each([
    [at(2026, 10, 24, 14, 31), 'now'],
    [new Date(NOW - 9_000).toISOString(), 'now'],
    [new Date(NOW - 40_000).toISOString(), '40 s'],
    [new Date(NOW - 61_000).toISOString(), '1 min'],
    [at(2026, 10, 24, 12, 30), '2 h'],
    [at(2026, 10, 22, 12), local(2026, 10, 22, { weekday: 'short' })],
    [at(2026, 9, 3, 12), local(2026, 9, 3, { day: 'numeric', month: 'short' })]
  ])('%s is %s', (when, text) => expect(shortAgo(when, NOW, trans)).toBe(text));

  test('days are called as people call them', () => {
    const label = (...date: [number, number, number]): string => dayLabel(at(...date, 12), NOW, trans);
    expect(label(2026, 10, 24)).toBe('Today');
    expect(label(2026, 10, 23)).toBe('Yesterday');
    expect(label(2026, 10, 19)).toBe(local(2026, 10, 19, { weekday: 'long' }));
    expect(label(2026, 10, 17)).toBe(local(2026, 10, 17, { day: 'numeric', month: 'long' }));
    expect(label(2025, 10, 17)).toBe(local(2025, 10, 17, { day: 'numeric', month: 'long', year: 'numeric' }));
  });

  test('yesterday stays yesterday on the days that have 23 or 25 hours', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 800 }), fc.nat(23), fc.nat(23), (day, hour, before) => {
        const now = new Date(2026, 0, 1 + day, hour).getTime();
        expect(dayLabel(at(2026, 0, day, before), now, trans)).toBe('Yesterday');
        expect(dayLabel(at(2026, 0, 1 + day, before), now, trans)).toBe('Today');
      })
    );
  });
});

describe('names', () => {
  test('cut in two they are whole, and never cut within a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), name => {
        const [start, end] = splitName(name);
        expect(start + end).toBe(name);
        expect([start, end].every(part => part.isWellFormed())).toBe(true);
      })
    );
  });

  test('the end keeps the extension and a little of what is before it', () => {
    expect(splitName('analysis-of-the-counts.ipynb')).toEqual(['analysis-of-the-coun', 'ts.ipynb']);
    expect(splitName('🚲🚲🚲🚲.csv')[1]).toBe('🚲🚲.csv');
    expect(splitName('README')[1]).toBe('ME');
    expect(splitName('x')).toEqual(['x', '']);
    expect(splitName('')).toEqual(['', '']);
  });

  test('shortened they fit, keep the extension, and are left alone when they fit already', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), fc.integer({ min: 20, max: 60 }), (stem, length) => {
        const name = `${stem}.parquet`;
        const short = shorten(name, length);
        expect(Array.from(short).length).toBeLessThanOrEqual(length);
        expect(short.endsWith('.parquet')).toBe(true);
        if (Array.from(name).length <= length) expect(short).toBe(name);
      })
    );
  });

  test('no name breaks a row or turns the writing round, and other letters stay', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), name => {
        expect(printable(name)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      })
    );
    expect(printable('ünï 数据.csv')).toBe('ünï 数据.csv');
    expect(printable('a\nb\u202ecsv')).toBe('a␊b\ufffdcsv');
  });

  test('the tab of a version is no path and keeps the extension', () => {
    expect(versionName(change(1, { path: 'x/a.b.ipynb' }))).toMatch(/^a\.b \([^/]+\)\.ipynb$/);
    expect(versionName(change(1, { path: '.bashrc' }))).toMatch(/^\.bashrc \(/);
  });
});

describe('what happened', () => {
  test.each([
    [{ kind: 'created' }, 'created', 'new'],
    [{ kind: 'modified' }, 'modified', ''],
    [{ kind: 'modified', cause: { kind: 'jupyter-save' } }, 'saved', ''],
    [{ kind: 'deleted' }, 'deleted', 'deleted'],
    [{ kind: 'moved', path: 'd/new.txt', from: 'd/old.txt' }, 'renamed from old.txt', 'renamed'],
    [{ kind: 'moved', path: 'd/a.txt', from: 'e/a.txt' }, 'moved from e/a.txt', 'moved'],
    [{ kind: 'modified', cause: { kind: 'restore', version: 'dev.1' } }, 'restored from Monday 11:20', 'restored'],
    [{ kind: 'modified', cause: { kind: 'restore', version: 'dev.9' } }, 'restored', 'restored'],
    [{ kind: 'created', cause: { kind: 'received', workspace: 'w', version: 'v' } }, 'received', 'received'],
    [{ kind: 'created', cause: { kind: 'message', message: 'msg_1' } }, 'from a message', 'message']
  ] as const)('%j', (row, long, short) => {
    const timeOf = (id: string): string | undefined => (id === 'dev.1' ? 'Monday 11:20' : undefined);
    expect(happened(change(2, row), trans, timeOf)).toBe(long);
    expect(kindWord(change(2, row), trans)).toBe(short);
  });

  test('a screen reader hears what, how, when, how much, and what is wrong', () => {
    const row = change(1, { at: at(2026, 10, 24, 14, 5), size: 1200, previousSize: 200, flags: ['torn'] });
    expect(sentence(row, NOW, trans)).toBe(`a.txt, modified, Today 14:05, 1.2 kB, +1.0 kB, ${warning(row, trans)}`);
    expect(warning(change(1), trans)).toBeUndefined();
  });
});

describe('what was said of a version since', () => {
  const pinned = change(1, { pinned: true, labels: ['v1', 'the \u202eone'] });
  const erased = change(2, { dropped: { act: 'erase', at: '2026-11-20T10:00:00.000000Z', versionId: 'abc.9' } });
  const pruned = change(3, { dropped: { act: 'prune', at: '2026-11-20T10:00:00.000000Z', versionId: 'abc.9' } });

  test('pins and labels are said, and cannot turn the text around', () => {
    expect(saidOf(pinned, trans)).toEqual(['pinned', 'label v1', 'label the \ufffdone']);
    expect(sentence(pinned, NOW, trans)).toContain('pinned, label v1');
    expect(saidOf(change(4), trans)).toEqual([]);
  });

  test('what was pruned or erased says when, and offers no content', () => {
    expect([goneWord(erased, trans), goneWord(pruned, trans), goneWord(pinned, trans)]).toEqual([
      'erased',
      'pruned',
      undefined
    ]);
    expect(gone(pruned, trans)).toMatch(/^Its content was pruned on .*2026.*; only the record of it is kept\.$/);
    expect(sentence(erased, NOW, trans)).toContain('Its content was erased on');
    expect([hasContent(erased), hasContent(pruned), hasContent(pinned)]).toEqual([false, false, true]);
  });
});
