/** The recorder decides by this tree what is new: a change that comes out other than it went in would be recorded wrongly. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Change } from '../../../server/src/core/change.ts';
import { DeviceNumbers, packChange, unpackChange } from '../../../server/src/core/packed-change.ts';
import { PackedTree } from '../../../server/src/core/packed-tree.ts';
import { decodePath, type PathName } from '../../../server/src/core/path-name.ts';
import { applyChange } from '../../../server/src/core/tree.ts';

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytes => Buffer.from(bytes).toString('hex'));
const name = fc
  .uint8Array({ minLength: 1, maxLength: 12 })
  .map(bytes => decodePath(bytes.map(byte => (byte === 0 || byte === 0x2f ? 0x61 : byte))));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map(parts => parts.join('/'));
const micros = fc.integer({ min: 0, max: 4e15 });
const change: fc.Arbitrary<Change> = fc
  .record(
    {
      device: fc.constantFrom('abcdefgh', 'bcdefghi', 'cdefghij'),
      kind: fc.constantFrom('created' as const, 'modified' as const, 'deleted' as const),
      path,
      seq: fc.integer({ min: 1, max: 2 ** 50 }),
      at: micros,
      hlc: micros,
      type: fc.constantFrom('file' as const, 'symlink' as const, 'directory' as const),
      size: fc.maxSafeNat(),
      hash,
      previousHash: hash,
      mode: fc.integer({ min: 0, max: 0o7777 }),
      mtime: fc.integer({ min: -4e15, max: 4e15 }),
      content: fc.oneof(
        fc.record({ chunks: fc.array(hash, { maxLength: 5 }) }),
        fc.record({ list: hash, count: fc.integer({ min: 1, max: 1e9 }) })
      ),
      flags: fc.uniqueArray(fc.constantFrom('torn' as const, 'no-content' as const, 'unreadable' as const)),
      cause: fc.oneof(
        fc.record({ kind: fc.constant('restore' as const), version: fc.string() }),
        fc.record({ kind: fc.constant('received' as const), workspace: fc.string(), version: fc.string() }),
        fc.constant({ kind: 'jupyter-save' as const })
      )
    },
    { requiredKeys: ['device', 'kind', 'path', 'seq', 'at', 'hlc', 'type', 'flags'] }
  )
  .map(({ flags, ...rest }) => ({
    ...rest,
    flags: ['torn' as const, 'no-content' as const, 'unreadable' as const].filter(flag => flags.includes(flag))
  }));
const any: fc.Arbitrary<Change> = fc
  .tuple(change, fc.option(path, { nil: undefined }), fc.boolean())
  .map(([some, from, plain]) => ({
    ...some,
    ...(from !== undefined && { kind: 'moved' as const, from }),
    ...(plain && some.hash !== undefined && { content: { chunks: [some.hash] } })
  }));

describe('a packed change', () => {
  test('comes out as it went in', () => {
    fc.assert(
      fc.property(fc.array(any, { minLength: 1, maxLength: 4 }), changes => {
        const devices = new DeviceNumbers();
        for (const some of changes) {
          expect(unpackChange(Buffer.from(packChange(some, devices)), 0, devices)).toEqual(some);
        }
      }),
      { numRuns: 500 }
    );
  });

  test('may be larger than any buffer made so far', () => {
    const devices = new DeviceNumbers();
    const chunks = Array.from({ length: 5000 }, (_, i) => i.toString(16).padStart(64, '0'));
    const some: Change = {
      device: 'abcdefgh',
      seq: 1,
      kind: 'moved',
      path: 'a/'.repeat(3000) + 'a',
      from: 'b/'.repeat(9000) + 'b',
      at: 5,
      hlc: 5,
      type: 'file',
      flags: [],
      content: { chunks }
    };
    expect(unpackChange(Buffer.from(packChange(some, devices)), 0, devices)).toEqual(some);
  });
});

/** What a user would see of a tree. */
function sorted(entries: Iterable<[PathName, Change]>): [PathName, Change][] {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
}

describe('a packed tree', () => {
  test('holds what a map would hold, after any changes', () => {
    const paths = fc.constantFrom('a', 'b', 'a/b', 'é', decodePath(Uint8Array.of(0x66, 0xff)), 'c/d/e', 'x', 'y');
    const steps = fc.array(
      fc
        .tuple(any, paths, paths)
        .map(([some, at, from]) => ({ ...some, path: at, ...(some.kind === 'moved' && { from }) })),
      { maxLength: 60 }
    );
    fc.assert(
      fc.property(steps, changes => {
        const packed = new PackedTree();
        const map = new Map<PathName, Change>();
        for (const some of changes) {
          applyChange(packed, some);
          applyChange(map, some);
          expect(packed.size).toBe(map.size);
          expect(packed.get(some.path)).toEqual(map.get(some.path));
        }
        expect(sorted(packed)).toEqual(sorted(map));
        expect([...packed.keys()].sort()).toEqual([...map.keys()].sort());
        expect(packed.countFiles()).toBe([...map.values()].filter(({ type }) => type !== 'directory').length);
        for (const some of changes) {
          const found = packed.findVersion(some.device, some.seq);
          expect(found === undefined ? undefined : map.get(found.path)).toEqual(found);
          expect(found !== undefined).toBe(
            [...map.values()].some(({ device, seq }) => device === some.device && seq === some.seq)
          );
        }
        for (const [at, { device, seq, hash: hex }] of map) {
          const hashPrefix = hex === undefined ? 0 : parseInt(hex.slice(0, 8), 16);
          expect(packed.mark(at)).toEqual({ device, seq, hashPrefix });
          expect(packed.devices).toContain(device);
        }
        expect(packed.mark('elsewhere')).toBeUndefined();
        expect(new Map(packed.types())).toEqual(new Map([...map].map(([at, { type }]) => [at, type])));
      })
    );
  });

  test('survives growing, removing and rewriting, with rows longer than a block among them', () => {
    const packed = new PackedTree();
    const map = new Map<PathName, Change>();
    const long = Array.from({ length: 40_000 }, (_, i) => i.toString(16).padStart(64, '0'));
    for (let seq = 1; seq <= 60_000; seq += 1) {
      const at = `d${seq % 97}/f${(seq * 7919) % 6007}`;
      const some: Change = {
        device: 'abcdefgh',
        seq,
        kind: seq % 11 === 0 ? 'deleted' : 'modified',
        path: at,
        at: seq,
        hlc: seq,
        type: 'file',
        hash: seq.toString(16).padStart(64, '0'),
        flags: [],
        content: { chunks: seq % 20_000 === 1 ? long : [seq.toString(16).padStart(64, '0')] }
      };
      applyChange(packed, some);
      applyChange(map, some);
    }
    expect(packed.size).toBe(map.size);
    for (const [at, some] of map) expect(packed.get(at)).toEqual(some);
    for (const at of map.keys()) expect(packed.delete(at)).toBe(true);
    expect(packed.size).toBe(0);
    expect([...packed]).toEqual([]);
    packed.clear();
    expect(packed.has('d1/f1')).toBe(false);
  });
});

test('a tree comes back from its image, and one of any other bytes is refused or is a tree', () => {
  fc.assert(
    fc.property(fc.array(any, { maxLength: 30 }), fc.array(path, { maxLength: 5 }), (changes, gone) => {
      const tree = new PackedTree();
      for (const change of changes) tree.set(change.path, change);
      for (const path of gone) tree.delete(path);
      const { head, parts } = tree.image();
      const bytes = Buffer.concat(parts);
      let at = 0;
      const take = (n: number): Buffer => bytes.subarray(at, (at += n));
      const again = PackedTree.restored(structuredClone(head), take);
      expect(at).toBe(bytes.length);
      expect(new Map(again)).toEqual(new Map(tree));
      for (const change of changes) again.set(change.path, change);
      for (const change of changes) tree.set(change.path, change);
      expect(new Map(again)).toEqual(new Map(tree));
    })
  );
});
