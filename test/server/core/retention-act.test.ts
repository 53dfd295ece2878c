/** Acts in the log: what was said of a version is read back, and whoever does not know acts meets nothing that harms. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Change } from '../../../server/src/core/change.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { decodeRecord, encodeRecord } from '../../../server/src/core/record.ts';
import {
  actDraft,
  checkLabel,
  decodeHashes,
  Drops,
  encodeHashes,
  Marks,
  type ActChange,
  type DropAct,
  type RetentionAct
} from '../../../server/src/core/retention-act.ts';

const DEVICE = 'abcdefgh';
const HASH = 'ab'.repeat(32);

function record(retention: RetentionAct, seq = 1): ActChange {
  return { ...actDraft(retention), device: DEVICE, seq, at: seq, hlc: seq, retention };
}

const ACTS: RetentionAct[] = [
  { act: 'label', version: 'abcdefgh.12', name: 'sent to Ana' },
  { act: 'unlabel', version: 'abcdefgh.12', name: 'sent to Ana' },
  { act: 'pin', version: 'abcdefgh.12' },
  { act: 'unpin', version: 'abcdefgh.12' },
  { act: 'prune', by: 'ana', policy: { keepAll: '7d', timeZone: 'UTC' }, contents: 3 },
  { act: 'erase', by: 'ana', hash: HASH, contents: 1 }
];

test.each(ACTS)('%j is read back', act => {
  expect(decodeRecord(encodeRecord(record(act)), DEVICE)).toEqual(record(act));
});

test('for a reader that knows no acts it is the deletion of a directory that nobody can have', () => {
  for (const act of ACTS) {
    const { retention: _, ...known } = JSON.parse(encodeRecord(record(act))) as Record<string, unknown>;
    expect(known).toEqual({ seq: 1, kind: 'deleted', path: '.syft-sync', at: 1, type: 'directory' });
  }
});

test('an act of a later version is an act all the same, and the member on another record is nothing', () => {
  for (const act of [
    '{"act":"seal"}',
    '{"act":"label"}',
    '{"act":"erase","hash":"x","contents":1}',
    'null',
    '7',
    '[]'
  ]) {
    const line = `{"seq":1,"kind":"deleted","path":".syft-sync","at":1,"type":"directory","retention":${act}}`;
    expect(decodeRecord(line, DEVICE).retention).toEqual({ act: 'other' });
  }
  const line =
    '{"seq":1,"kind":"deleted","path":"a","at":1,"type":"file","retention":{"act":"pin","version":"abcdefgh.1"}}';
  expect(decodeRecord(line, DEVICE)).not.toHaveProperty('retention');
});

test('what a label may be', () => {
  expect(checkLabel(' sent to Ana ★ ')).toBe('sent to Ana ★');
  for (const name of ['', '  ', 'a\nb', '\u001b[2J', 'x'.repeat(201), '\ud800']) {
    expect(() => checkLabel(name)).toThrow(SyftError);
  }
});

test('marks stand as the last act in the order of the log left them, in whatever order they come', () => {
  const acts = fc.array(
    fc.record({
      act: fc.constantFrom('label', 'unlabel', 'pin', 'unpin'),
      version: fc.constantFrom('abcdefgh.1', 'abcdefgh.2'),
      name: fc.constantFrom('x', 'y')
    }),
    { maxLength: 12 }
  );
  fc.assert(
    fc.property(acts, fc.infiniteStream(fc.nat()), (list, random) => {
      const records = list.map((act, i) => record(act as RetentionAct, i + 1));
      const shuffled = records.map(act => ({ act, key: random.next().value as number })).sort((a, b) => a.key - b.key);
      const marks = Marks.of(shuffled.map(({ act }) => act));
      for (const version of ['abcdefgh.1', 'abcdefgh.2']) {
        const of = list.filter(act => act.version === version);
        const labels = ['x', 'y'].filter(
          name => of.findLast(act => act.act.endsWith('label') && act.name === name)?.act === 'label'
        );
        const pinned = of.findLast(act => act.act.endsWith('pin'))?.act === 'pin';
        expect([...(marks.of(version)?.labels ?? [])].sort()).toEqual(labels);
        expect(marks.of(version)?.pinned ?? false).toBe(pinned);
        expect(marks.holds(version)).toBe(labels.length > 0 || pinned);
      }
    })
  );
});

test('a content counts as dropped for the versions before the act, not for one that was recorded after it', () => {
  const drops = new Drops();
  const act = record({ act: 'prune', policy: {}, contents: 1 }, 10) as DropAct;
  drops.add(act, [HASH]);
  const version = (seq: number): Change => ({ ...record({ act: 'other' }, seq), hash: HASH });
  expect(drops.of(version(9))).toBe(act);
  expect(drops.of(version(11))).toBeUndefined();
  expect(drops.of({ ...version(9), hash: 'cd'.repeat(32) })).toBeUndefined();
});

test('lists of hashes are read back, each once and in order', () => {
  const hashes = ['cd', 'ab', 'cd'].map(pair => pair.repeat(32));
  expect(decodeHashes(encodeHashes(hashes))).toEqual(['ab', 'cd'].map(pair => pair.repeat(32)));
  expect(decodeHashes(Buffer.alloc(33))).toBeUndefined();
});
