/** The questions of docs/sql.md, asked of a made workspace as they stand there: who copies one gets an answer, and the right one. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ChangeDraft } from '../../../../server/src/core/change.ts';
import { versionId } from '../../../../server/src/core/change.ts';
import { actDraft } from '../../../../server/src/core/retention-act.ts';
import { ChangeIndex } from '../../../../server/src/index/change-index.ts';
import { SqlEngine } from '../../../../server/src/index/sql/engine.ts';
import { sqlSchema } from '../../../../server/src/index/sql/tables.ts';
import { saidIn } from '../../../../server/src/library/said.ts';
import { openLogReader } from '../../../../server/src/log/log.ts';
import type { OpenReader } from '../../../../server/src/log/types.ts';
import { Scratch, version } from '../../log/scratch.ts';

const DOCUMENT = readFileSync(new URL('../../../../docs/sql.md', import.meta.url), 'utf8');
const QUESTIONS = [...DOCUMENT.matchAll(/^### (\d+)\. (.+)\n\n```sql\n([^`]+)```/gm)].map(
  ([, number = '', question = '', query = '']) => ({ number: Number(number), question, query })
);

const notebook = (cells: readonly (readonly [id: string, source: string, outputs: object[]])[]): string =>
  JSON.stringify({
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {},
    cells: cells.map(([id, source, outputs], i) => ({
      id,
      cell_type: 'code',
      source: [source],
      execution_count: i + 1,
      metadata: {},
      outputs
    }))
  });

let scratch: Scratch;
let reader: OpenReader;
let index: ChangeIndex;
let engine: SqlEngine;
let firstId: string;

/** Microseconds of a time of this machine, as the document's are. */
const at = (text: string): number => new Date(text).getTime() * 1000;
const ana: Partial<ChangeDraft> = { cause: { kind: 'jupyter-save', user: 'ana' } };

beforeAll(async () => {
  scratch = new Scratch();
  const log = await scratch.writer();
  const put = async (when: string, path: string, text: string, more: Partial<ChangeDraft> = {}): Promise<string> => {
    const [change] = await log.append([version(log, path, text, { at: at(when), ...more })]);
    if (change === undefined) throw new Error('nothing was appended');
    return versionId(change);
  };
  firstId = await put('2026-11-01T10:00', 'data/sales.csv', 'id,region,amount\n1,north,10.5\n2,south,20\n');
  await put('2026-11-01T10:05', 'data/old.csv', 'a\n1\n');
  await put(
    '2026-11-01T10:06',
    'analysis.ipynb',
    notebook([
      ['c1', 'import pandas', []],
      ['c2', 'df.sum()', []]
    ]),
    ana
  );
  await put('2026-11-01T10:07', 'copy.csv', 'id,region,amount\n1,north,11.5\n3,west,5\n');
  await put('2026-11-02T19:00', 'data/sales.csv', 'id,region,amount\n1,north,11.5\n3,west,5\n', { kind: 'modified' });
  await put(
    '2026-11-02T19:30',
    'analysis.ipynb',
    notebook([
      ['c1', 'import pandas', []],
      ['c2', 'df.mean()', [{ output_type: 'error', ename: 'NameError', evalue: 'df', traceback: [] }]]
    ]),
    { kind: 'modified', ...ana }
  );
  await put('2026-11-02T20:00', 'model.pkl', 'weights', { cause: { kind: 'restore', version: firstId } });
  await log.append([
    {
      draft: { kind: 'deleted', path: 'data/old.csv', type: 'file', flags: [], at: at('2026-11-03T08:00') },
      chunks: []
    }
  ]);
  await put('2026-11-03T12:00', 'data/copy.csv', 'id,region,amount\n1,north,11.5\n3,west,5\n', {
    kind: 'moved',
    from: 'copy.csv'
  });
  await log.append([{ draft: actDraft({ act: 'label', version: firstId, name: 'as delivered' }), chunks: [] }]);
  await log.close();
  reader = await openLogReader({ dir: scratch.dir });
  index = ChangeIndex.open({ dir: join(scratch.dir, 'index'), log: reader });
  engine = new SqlEngine({
    index,
    log: () => reader,
    logDir: () => scratch.dir,
    keys: () => undefined,
    marks: async () => (await saidIn(reader)).marks,
    dir: () => join(scratch.dir, 'index')
  });
}, 30_000);
afterAll(async () => {
  await engine.close();
  await index.close();
  await reader.close();
  scratch[Symbol.dispose]();
});

async function rows(query: string): Promise<Record<string, unknown>[]> {
  const { bytes, ended } = await engine.query(
    { query, format: 'json', maxRows: 1000, timeoutMs: 20_000, memoryMb: 256 },
    new AbortController().signal
  );
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) pieces.push(piece);
  const { error } = await ended;
  if (error !== undefined) throw error;
  return JSON.parse(Buffer.concat(pieces).toString()) as Record<string, unknown>[];
}

/** What each question answers here, as far as it says the same on every machine and at every time. */
const ANSWERS: Readonly<Record<number, (found: Record<string, unknown>[]) => void>> = {
  1: found =>
    expect(found.map(row => [row['kind'], row['path']])).toEqual([
      ['modified', 'data/sales.csv'],
      ['modified', 'analysis.ipynb'],
      ['created', 'model.pkl'],
      ['deleted', 'data/old.csv']
    ]),
  2: found =>
    expect(found.slice(0, 2)).toEqual([
      { path: 'analysis.ipynb', versions: 2 },
      { path: 'data/sales.csv', versions: 2 }
    ]),
  3: found => expect(found.map(row => row['path'])).toEqual(['analysis.ipynb']),
  4: found => expect(found).toEqual([expect.objectContaining({ changes: 5, files: 3 })]),
  5: found =>
    expect(found).toEqual([
      expect.objectContaining({ path: 'data/old.csv', previous_version_id: expect.stringMatching(/\.2$/) })
    ]),
  6: found =>
    expect(found.map(row => row['path'])).toEqual(['analysis.ipynb', 'copy.csv', 'data/old.csv', 'data/sales.csv']),
  7: found => expect(found.map(row => row['path'])).toEqual(['data/copy.csv', 'model.pkl']),
  8: found => expect(found.reduce((sum, row) => sum + Number(row['changes']), 0)).toBe(9),
  9: found => {
    expect(found.map(row => row['path']).sort()).toEqual(
      expect.arrayContaining(['analysis.ipynb', 'data/sales.csv', 'model.pkl'])
    );
    expect(Number(found[0]?.['freed_bytes'])).toBeGreaterThan(0);
  },
  10: found => expect(found).toEqual([expect.objectContaining({ cause_kind: 'restore', cause_user: null })]),
  11: found => expect(found).toEqual([{ cause_user: 'ana', path: 'analysis.ipynb', saves: 2 }]),
  12: found =>
    expect(found).toEqual([
      { id: 1, region: 'north', amount: 10.5 },
      { id: 2, region: 'south', amount: 20 }
    ]),
  13: found =>
    expect(found).toEqual([
      { change: 'added', key: 3, columns: [], after: { id: 3, region: 'west', amount: 5 } },
      { change: 'changed', key: 1, columns: ['amount'], after: { id: 1, region: 'north', amount: 11.5 } },
      { change: 'removed', key: 2, columns: [], after: null }
    ]),
  14: found => expect(found).toEqual([{ before: 30.5, after: 16.5 }]),
  15: found => expect(found).toEqual([{ cell: 2, before: 'df.sum()', after: 'df.mean()' }]),
  16: found => expect(found).toEqual([{ cell: 2, output_text: 'NameError: df' }]),
  17: found => expect(found.map(row => row['paths'])).toEqual([['data/copy.csv', 'data/sales.csv']]),
  18: found => expect(found).toEqual([expect.objectContaining({ from_path: 'copy.csv', path: 'data/copy.csv' })]),
  19: found => expect(found).toEqual([]),
  20: found => expect(found).toEqual([expect.objectContaining({ label: 'as delivered', path: 'data/sales.csv' })])
};

describe('docs/sql.md', () => {
  test('asks twenty questions', () => {
    expect(QUESTIONS.map(({ number }) => number)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(Object.keys(ANSWERS).map(Number)).toEqual(QUESTIONS.map(({ number }) => number));
  });

  test.each(QUESTIONS.map(({ number, question, query }) => [`${number}. ${question}`, number, query] as const))(
    '%s',
    async (_, number, query) => {
      const check = ANSWERS[number];
      if (check === undefined) throw new Error('no answer is known');
      check(await rows(query));
    }
  );

  test('names every table, column and macro', () => {
    const { tables, macros } = sqlSchema();
    for (const { name } of [...tables, ...macros]) expect(DOCUMENT).toMatch(new RegExp(`\`${name}[\`(]`));
    for (const { name, columns } of tables.filter(({ name: table }) => ['changes', 'files'].includes(table))) {
      for (const column of columns) {
        expect([name, column.name, DOCUMENT.includes(`\`${column.name}\``)]).toEqual([name, column.name, true]);
      }
    }
    for (const { columns } of macros) for (const column of columns) expect(DOCUMENT).toContain(`\`${column.name}\``);
  });
});
