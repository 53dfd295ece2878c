/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';

import { BURST_GAP, BURST_SIZE, commonFolder, listItems } from '../../../labextension/history/rows';
import type { ChangeRow } from '../../../server/src/api/contract';
import { change } from '../http-server';

const NOON = new Date(2026, 10, 24, 12).getTime();

/** Newest first; `gaps` are the milliseconds between one and the next. */
function rowsOf(gaps: readonly number[]): ChangeRow[] {
  let at = NOON;
  return gaps.map((gap, index) => {
    at -= gap;
    return change(gaps.length - index, { path: `data/part-${index}.csv`, at: new Date(at).toISOString() });
  });
}

describe('the rows of a list', () => {
  test('folding hides no change and shows none twice, whatever is open', () => {
    const gap = fc.oneof(fc.nat(100), fc.nat(2 * BURST_GAP), fc.nat(40 * 3_600_000));
    fc.assert(
      fc.property(fc.array(gap, { maxLength: 60 }), fc.boolean(), fc.func(fc.boolean()), (gaps, fold, isOpen) => {
        const rows = rowsOf(gaps);
        const open = new Set(rows.map(row => `burst:${row.versionId}`).filter(key => isOpen(key)));
        const items = listItems(rows, { fold, open });
        const listed = items.flatMap(item =>
          item.kind === 'burst' && !item.open ? item.rows : item.kind === 'change' ? [item.row] : []
        );
        expect(listed).toEqual(rows);
        expect(new Set(items.map(item => item.key)).size).toBe(items.length);
        for (const item of items) {
          if (item.kind === 'burst') expect(item.rows.length).toBeGreaterThanOrEqual(BURST_SIZE);
        }
      })
    );
  });

  test('each day has one heading, over its first row', () => {
    const day = 24 * 3_600_000;
    const items = listItems(rowsOf([0, 1000, day, 1000, 3 * day]), { fold: true });
    expect(items.map(item => item.kind)).toEqual([
      'day',
      'change',
      'change',
      'day',
      'change',
      'change',
      'day',
      'change'
    ]);
  });

  test('a burst that was opened stays open when more files join it', () => {
    const gaps = Array.from({ length: 20 }, () => 10);
    const [burst] = listItems(rowsOf(gaps), { fold: true }).filter(item => item.kind === 'burst');
    const newer = change(99, { path: 'data/late.csv', at: new Date(NOON).toISOString() });
    const items = listItems([newer, ...rowsOf(gaps)], { fold: true, open: new Set([burst!.key]) });
    expect(items.find(item => item.kind === 'burst')).toMatchObject({ key: burst!.key, open: true, folder: 'data' });
    expect(items.filter(item => item.kind === 'change')).toHaveLength(21);
  });

  test('the folder of a burst holds all of its files, and no folder deeper does', () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', 'ab'), { minLength: 1, maxLength: 4 })
      .map(parts => parts.join('/'));
    fc.assert(
      fc.property(fc.array(path, { minLength: 1 }), paths => {
        const folder = commonFolder(paths);
        const holds = (of: string): boolean => paths.every(it => of === '' || it.startsWith(`${of}/`));
        expect(holds(folder)).toBe(true);
        const rest = paths[0]!.slice(folder === '' ? 0 : folder.length + 1).split('/');
        if (rest.length > 1) expect(holds(`${folder === '' ? '' : `${folder}/`}${rest[0]}`)).toBe(false);
      })
    );
  });
});
