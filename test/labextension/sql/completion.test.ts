/** @jest-environment node */
/** What is offered while a query is typed. */
import { CompletionContext } from '@codemirror/autocomplete';
import { EditorState } from '@codemirror/state';
import { describe, expect, test } from '@jest/globals';

import { namedRelations, placeIn, sqlCompletions } from '../../../labextension/sql/completion';
import type { SqlSchema } from '../../../server/src/api/contract';

const column = (name: string): SqlSchema['tables'][number]['columns'][number] => ({
  name,
  type: 'VARCHAR',
  description: `The ${name}.`
});
const schema: SqlSchema = {
  tables: [
    { name: 'files', description: 'Files.', columns: [column('path'), column('size')] },
    { name: 'changes', description: 'Changes.', columns: [column('path'), column('kind')] }
  ],
  macros: [
    { name: 'files_at', signature: 'files_at(ts)', description: 'Files then.', example: '', columns: [column('path')] }
  ]
};

/** Labels at `|`, and from where they replace; null when nothing is offered. */
async function offered(text: string, explicit = false): Promise<{ from: number; labels: string[] } | null> {
  const at = text.indexOf('|');
  const doc = text.replace('|', '');
  const source = sqlCompletions({
    schema: () => schema,
    paths: part => Promise.resolve(['data/a.csv', "it's.txt"].filter(path => path.includes(part)))
  });
  const result = await source(new CompletionContext(EditorState.create({ doc }), at, explicit));
  return result === null ? null : { from: result.from, labels: result.options.map(({ label }) => label) };
}

describe('the place of the cursor', () => {
  test.each([
    ["SELECT 'a|", { kind: 'string', from: 8 }],
    ["SELECT 'it''s|", { kind: 'string', from: 8 }],
    ["SELECT 'a' |", { kind: 'sql' }],
    ["SELECT '--' |", { kind: 'sql' }],
    ["-- it's\nSELECT |", { kind: 'sql' }],
    ['SELECT -- it|', { kind: 'comment' }],
    ["/* ' */ SELECT '|", { kind: 'string', from: 16 }],
    ['/* open |', { kind: 'comment' }],
    ['SELECT "a\'b" |', { kind: 'sql' }]
  ])('in %s', (text, place) => {
    expect(placeIn(text.replace('|', ''), text.indexOf('|'))).toEqual(place);
  });
});

test('relations are known by their names and by their aliases', () => {
  expect(
    Object.fromEntries(namedRelations("FROM files f JOIN changes AS c USING (path), files_at('x') WHERE"))
  ).toEqual({ files: 'files', f: 'files', changes: 'changes', c: 'changes' });
  expect([...namedRelations('FROM files WHERE size > 1').keys()]).toEqual(['files']);
});

test('columns of the tables in the query come with tables, macros and words', async () => {
  const found = await offered('SELECT s| FROM files');
  expect(found?.from).toBe(7);
  expect(found?.labels).toEqual(expect.arrayContaining(['path', 'size', 'files', 'changes', 'files_at', 'SELECT']));
  expect(found?.labels).not.toContain('kind');
  expect((await offered('SELECT c.k| FROM changes c'))?.labels).toEqual(['path', 'kind']);
  expect(await offered('SELECT x.| FROM changes c')).toBeNull();
});

test('paths are offered between quotes and nowhere else', async () => {
  expect(await offered("FROM files WHERE path = 'data|")).toEqual({ from: 25, labels: ['data/a.csv'] });
  expect(await offered("FROM files WHERE path = '|")).toBeNull();
  expect((await offered("FROM files WHERE path = '|", true))?.labels).toHaveLength(2);
  expect(await offered('SELECT 1 |')).toBeNull();
  expect(await offered('-- fil|')).toBeNull();
});
