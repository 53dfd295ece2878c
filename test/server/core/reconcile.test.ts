/** The plan of a receiver: table cases over tiny trees, then the laws that keep a user's files safe. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  above,
  deletesTooMuch,
  keyOf,
  nodeOf,
  reconcile,
  sameContent,
  type Node,
  type Nodes,
  type Plan
} from '../../../server/src/core/reconcile.ts';

const file = (hash: string, mode?: number): Node => ({ type: 'file', hash, ...(mode !== undefined && { mode }) });
const A = file('a');
const B = file('b');
const C = file('c');
const DIR: Node = { type: 'directory' };
const LINK: Node = { type: 'symlink', hash: 'l' };

function tree(entries: Record<string, Node>): Map<string, Node> {
  return new Map(Object.entries(entries));
}

function steps(plan: Plan): string[] {
  return plan.steps.map(step => {
    const kept = 'keep' in step && step.keep ? ' keep' : '';
    return step.do === 'move' ? `move ${step.from} ${step.path}` : `${step.do} ${step.path}${kept}`;
  });
}

type Trees = [ancestor: Record<string, Node>, disk: Record<string, Node>, log: Record<string, Node>];

const table: [name: string, trees: Trees, steps: string[], winners?: string[]][] = [
  ['nothing anywhere', [{}, {}, {}], []],
  ['created in the log', [{}, {}, { x: A }], ['put x']],
  ['created below a directory', [{}, {}, { 'd/x': A }], ['put d/x']],
  ['modified in the log', [{ x: A }, { x: A }, { x: B }], ['put x']],
  ['deleted in the log', [{ x: A }, { x: A }, {}], ['remove x']],
  ['created on disk', [{}, { x: A }, {}], []],
  ['modified on disk', [{ x: A }, { x: B }, { x: A }], []],
  ['deleted on disk', [{ x: A }, {}, { x: A }], []],
  ['both created the same', [{}, { x: A }, { x: A }], []],
  ['both modified the same', [{ x: A }, { x: B }, { x: B }], []],
  ['both deleted', [{ x: A }, {}, {}], []],
  ['both modified, log newer', [{ x: A }, { x: B }, { x: C }], ['put x keep'], ['x log']],
  ['both created, log newer', [{}, { x: B }, { x: C }], ['put x keep'], ['x log']],
  ['modified on disk, deleted in the log', [{ x: A }, { x: B }, {}], [], ['x disk']],
  ['deleted on disk, modified in the log', [{ x: A }, {}, { x: B }], ['put x'], ['x log']],
  ['empty directory created', [{}, {}, { d: DIR }], ['put d']],
  ['empty directory removed', [{ d: DIR }, { d: DIR }, {}], ['remove d']],
  ['empty directory there already', [{}, { d: DIR }, { d: DIR }], []],
  ['a link becomes a file', [{ x: LINK }, { x: LINK }, { x: A }], ['put x']],
  ['a file becomes a link', [{ x: A }, { x: A }, { x: LINK }], ['put x']],
  ['a file becomes a directory', [{ x: A }, { x: A }, { 'x/y': B }], ['remove x', 'put x/y']],
  ['a directory becomes a file', [{ 'x/y': A }, { x: DIR, 'x/y': A }, { x: B }], ['remove x/y', 'put x']],
  [
    'a directory with own files does not become a file',
    [{ 'x/y': A }, { x: DIR, 'x/y': A, 'x/own': C }, { x: B }],
    ['remove x/y'],
    ['x disk']
  ],
  ['an own file yields to a directory', [{}, { x: C }, { 'x/y': A }], ['remove x keep', 'put x/y'], ['x log']],
  ['what cannot be read is left alone', [{ x: A }, { x: { type: 'other' } }, { x: B }], []],
  ['nothing is written below a link of the log', [{}, {}, { x: LINK, 'x/y': A }], ['put x']],
  [
    'permission bits changed in the log',
    [{ x: file('a', 0o644) }, { x: file('a', 0o644) }, { x: file('a', 0o755) }],
    ['mode x']
  ],
  ['permission bits changed on disk', [{ x: file('a', 0o644) }, { x: file('a', 0o755) }, { x: file('a', 0o644) }], []]
];

describe('what a receiver plans', () => {
  test.each(table)('%s', (_name, [ancestor, disk, log], expected, winners = []) => {
    const plan = reconcile({ ancestor: tree(ancestor), disk: tree(disk), log: tree(log) });
    expect(steps(plan)).toEqual(expected);
    expect(plan.conflicts.map(conflict => `${conflict.path} ${conflict.winner}`)).toEqual(winners);
  });

  test('the newer side wins a conflict, and a losing log state needs no step', () => {
    const plan = reconcile({
      ancestor: tree({ x: A }),
      disk: tree({ x: B }),
      log: tree({ x: C }),
      newer: () => 'disk'
    });
    expect(plan.steps).toEqual([]);
    expect(plan.settled).toEqual(['x']);
    expect(plan.conflicts).toMatchObject([{ path: 'x', winner: 'disk' }]);
  });

  test('a move is one rename, so that a large file is not copied', () => {
    const input = { ancestor: tree({ x: A }), disk: tree({ x: A }), log: tree({ y: A }) };
    expect(steps(reconcile({ ...input, moves: new Map([['y', 'x']]) }))).toEqual(['move x y']);
    expect(steps(reconcile(input))).toEqual(['remove x', 'put y']);
  });

  test('a move whose source was edited here leaves the edit where it is', () => {
    const plan = reconcile({
      ancestor: tree({ x: A }),
      disk: tree({ x: B }),
      log: tree({ y: A }),
      moves: new Map([['y', 'x']])
    });
    expect(steps(plan)).toEqual(['put y']);
    expect(plan.conflicts).toMatchObject([{ path: 'x', winner: 'disk' }]);
  });

  test('mass deletion is told from tidying up', () => {
    expect(deletesTooMuch(9, 9, 0.5)).toBe(false);
    expect(deletesTooMuch(5, 10, 0.5)).toBe(false);
    expect(deletesTooMuch(6, 10, 0.5)).toBe(true);
  });

  test('state names can be read back', () => {
    for (const node of [undefined, A, file('00ff', 0o755), LINK, DIR]) {
      expect(nodeOf(keyOf(node))).toEqual(node);
    }
  });
});

// Laws over random small trees. Paths are few, so that trees meet in every way.

const NAMES = ['x', 'y', 'x/a', 'x/b', 'x/a/q', 'z', 'z/a'];
const leaf = fc.constantFrom(B, C, LINK, file('a', 0o755), file('a', 0o644));

/** A tree as a file system can hold it: what is above something is a directory. `withDirs`: as a look at the disk gives it. */
function trees(withDirs: boolean): fc.Arbitrary<Map<string, Node>> {
  return fc.dictionary(fc.constantFrom(...NAMES), leaf, { maxKeys: 5 }).map(record => {
    const result = new Map<string, Node>();
    for (const path of Object.keys(record).sort((a, b) => b.length - a.length)) {
      const node = record[path];
      if (node !== undefined && ![...result.keys()].some(other => other.startsWith(`${path}/`))) {
        result.set(path, node);
      }
    }
    if (withDirs) {
      for (const path of [...result.keys()]) {
        for (const dir of above(path)) {
          result.set(dir, DIR);
        }
      }
    }
    return result;
  });
}

/** Carries a plan out on trees the way the executor does on disk. */
function carryOut(
  plan: Plan,
  input: { ancestor: Nodes; disk: Nodes; log: Nodes }
): { ancestor: Map<string, Node>; disk: Map<string, Node>; lost: Node[] } {
  const disk = new Map(input.disk);
  const ancestor = new Map(input.ancestor);
  const lost: Node[] = [];
  const agree = (path: string): void => {
    const node = input.log.get(path);
    if (node === undefined) {
      ancestor.delete(path);
    } else {
      ancestor.set(path, node);
    }
  };
  const prune = (path: string): void => {
    for (const dir of above(path)) {
      if ([...disk.keys()].some(other => other.startsWith(`${dir}/`))) {
        return;
      }
      if (disk.get(dir)?.type === 'directory') {
        disk.delete(dir);
      }
    }
  };
  const parents = (path: string): void => {
    for (const dir of above(path)) {
      expect(disk.get(dir)?.type ?? 'directory').toBe('directory');
      disk.set(dir, DIR);
    }
  };
  for (const step of plan.steps) {
    agree(step.path);
    switch (step.do) {
      case 'move':
        agree(step.from);
        disk.delete(step.from);
        parents(step.path);
        disk.set(step.path, step.node);
        prune(step.from);
        break;
      case 'remove':
        if (step.expect.type === 'directory') {
          if (![...disk.keys()].some(other => other.startsWith(`${step.path}/`))) {
            disk.delete(step.path);
          }
          break;
        }
        if (!step.keep) {
          lost.push(step.expect);
        }
        disk.delete(step.path);
        prune(step.path);
        break;
      case 'put':
        if (step.expect?.type === 'directory') {
          for (const below of [...disk.keys()].filter(other => other.startsWith(`${step.path}/`))) {
            expect(disk.get(below)?.type).toBe('directory');
            disk.delete(below);
          }
        } else if (step.expect !== undefined && !step.keep) {
          lost.push(step.expect);
        }
        parents(step.path);
        disk.set(step.path, step.node);
        break;
      case 'mode':
        disk.set(step.path, step.node);
        break;
    }
  }
  plan.settled.forEach(agree);
  return { ancestor, disk, lost };
}

const files = (nodes: Nodes): Map<string, Node> =>
  new Map([...nodes].filter(([, node]) => node.type !== 'directory').sort());

describe('laws of the plan', () => {
  const input = fc.record({ ancestor: trees(false), disk: trees(true), log: trees(false) });
  const newer = fc.constantFrom<'disk' | 'log'>('disk', 'log');

  test('carrying it out and asking again finds nothing to do', () => {
    fc.assert(
      fc.property(input, newer, (given, side) => {
        const plan = reconcile({ ...given, newer: () => side });
        const after = carryOut(plan, given);
        const again = reconcile({ ...given, ...after, newer: () => side });
        expect(steps(again)).toEqual([]);
      }),
      { numRuns: 3000 }
    );
  });

  test('with no changes on disk the output becomes the tree of the log', () => {
    fc.assert(
      fc.property(trees(true), trees(false), (disk, log) => {
        const given = { ancestor: files(disk), disk, log };
        expect(files(carryOut(reconcile(given), given).disk)).toEqual(new Map([...log].sort()));
      }),
      { numRuns: 3000 }
    );
  });

  test('what the user changed is never removed or replaced without being kept', () => {
    fc.assert(
      fc.property(input, newer, (given, side) => {
        const plan = reconcile({ ...given, newer: () => side });
        for (const step of plan.steps) {
          if (step.do === 'mode' || step.expect === undefined || step.expect.type === 'directory') {
            continue;
          }
          const path = step.do === 'move' ? step.from : step.path;
          expect(given.disk.get(path)).toBe(step.expect);
          if (!('keep' in step && step.keep)) {
            expect(sameContent(given.ancestor.get(path), step.expect)).toBe(true);
          }
        }
      }),
      { numRuns: 3000 }
    );
  });

  test('moves change how it is done, not what comes out', () => {
    const moves = fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom(...NAMES), { maxKeys: 3 });
    fc.assert(
      fc.property(input, moves, (given, record) => {
        const plain = carryOut(reconcile(given), given);
        const moved = carryOut(reconcile({ ...given, moves: new Map(Object.entries(record)) }), given);
        expect(files(moved.disk)).toEqual(files(plain.disk));
      }),
      { numRuns: 3000 }
    );
  });
});
