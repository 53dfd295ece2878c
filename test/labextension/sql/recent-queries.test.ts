/** Which queries are found again. */
import { expect, test } from '@jest/globals';

import { oneLine, recentOf, remembered } from '../../../labextension/sql/recent-queries';

test('a query that is run again moves to the front and stands there once', () => {
  let recent: readonly string[] = [];
  for (const query of ['SELECT 1', 'SELECT 2', ' SELECT 1\n']) recent = remembered(recent, query);
  expect(recent).toEqual(['SELECT 1', 'SELECT 2']);
});

test('the oldest go, and what is far too long is not kept at all', () => {
  let recent: readonly string[] = [];
  for (let i = 0; i < 60; i++) recent = remembered(recent, `SELECT ${i}`);
  expect(recent).toHaveLength(50);
  expect(recent[0]).toBe('SELECT 59');
  expect(remembered(recent, `SELECT '${'x'.repeat(20_000)}'`)).toBe(recent);
});

test('what was stored by something else does no harm', () => {
  expect(recentOf(undefined)).toEqual([]);
  expect(recentOf({ 0: 'SELECT 1' })).toEqual([]);
  expect(recentOf(['SELECT 1', 5, null, ' '])).toEqual(['SELECT 1']);
});

test('a menu shows a query in one line, without what is commented out', () => {
  expect(oneLine('SELECT *\n  FROM files -- all of them\n')).toBe('SELECT * FROM files');
  expect(oneLine('x'.repeat(100), 10)).toBe('xxxxxxxxx…');
});
