/** A proof that says yes where it should say no would let a rewritten history pass for the one that was recorded. */
import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  EMPTY_ROOT,
  leafHash,
  leafHashesOf,
  LOST_LEAF,
  nodeHash,
  partialTiles,
  TileTree,
  verifyConsistency,
  verifyInclusion
} from '../../../server/src/core/merkle.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** The eight leaves, the roots and the proofs with which Certificate Transparency logs have been tested since RFC 6962. */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(
  hex
);
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'
].map(hex);
const INCLUSION: [index: number, size: number, path: string[]][] = [
  [0, 1, []],
  [
    0,
    8,
    [
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4'
    ]
  ],
  [
    5,
    8,
    [
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'
    ]
  ],
  [2, 3, ['fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125']],
  [
    1,
    5,
    [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b'
    ]
  ]
];
const CONSISTENCY: [first: number, second: number, proof: string[]][] = [
  [1, 1, []],
  [1, 8, INCLUSION[1]![2]],
  [
    6,
    8,
    [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'
    ]
  ],
  [
    2,
    5,
    [
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b'
    ]
  ],
  [
    6,
    7,
    [
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7'
    ]
  ]
];

const known = new TileTree();
for (const leaf of LEAVES) known.append(leafHash(leaf));

test('hashes, roots and proofs are those of the published vectors', () => {
  expect(EMPTY_ROOT.toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  expect(LOST_LEAF).toEqual(ROOTS[0]);
  expect(leafHash(Buffer.from('L123456')).toString('hex')).toBe(
    '395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56'
  );
  ROOTS.forEach((root, i) => expect(known.root(i + 1)).toEqual(root));
  for (const [index, size, path] of INCLUSION) expect(known.inclusion(index, size)).toEqual(path.map(hex));
  for (const [first, second, proof] of CONSISTENCY) expect(known.consistency(first, second)).toEqual(proof.map(hex));
});

const other = hex('abacaba000000000000000000000000000000000000000000060061e00123456');
const flipped = (hash: Buffer): Buffer => Buffer.from(hash.map((byte, i) => (i === 0 ? byte ^ 8 : byte)));

test('the published proofs hold, and none that was tampered with does', () => {
  for (const [index, size, hexes] of INCLUSION) {
    const path = hexes.map(hex);
    const leaf = leafHash(LEAVES[index]!);
    const root = ROOTS[size - 1]!;
    expect(verifyInclusion(leaf, index, size, path, root)).toBe(true);
    const wrong: [Buffer, number, number, Buffer[], Buffer][] = [
      [leaf, index - 1, size, path, root],
      [leaf, index + 1, size, path, root],
      [leaf, index ^ 2, size, path, root],
      [leaf, index, size * 2, path, root],
      [leaf, index, Math.floor(size / 2), path, root],
      [Buffer.from('WrongLeaf'), index, size, path, root],
      [leaf, index, size, path, EMPTY_ROOT],
      [leaf, index, size, path, other],
      [leaf, index, size, [...path, Buffer.alloc(0)], root],
      [leaf, index, size, [...path, root], root],
      [leaf, index, size, [root, ...path], root],
      [leaf, index, size, [Buffer.alloc(0), ...path], root],
      ...path.map((_, i): [Buffer, number, number, Buffer[], Buffer] => [
        leaf,
        index,
        size,
        path.with(i, flipped(path[i]!)),
        root
      ]),
      ...(path.length > 0
        ? [[leaf, index, size, path.slice(0, -1), root] as [Buffer, number, number, Buffer[], Buffer]]
        : [])
    ];
    for (const probe of wrong) expect(verifyInclusion(...probe)).toBe(false);
  }
  for (const [first, second, hexes] of CONSISTENCY) {
    const proof = hexes.map(hex);
    const older = { size: first, root: ROOTS[first - 1]! };
    const newer = { size: second, root: ROOTS[second - 1]! };
    expect(verifyConsistency(older, newer, proof)).toBe(true);
    if (proof.length === 0) continue;
    const wrong: Parameters<typeof verifyConsistency>[] = [
      [{ ...older, size: first - 1 }, newer, proof],
      [{ ...older, size: first + 1 }, newer, proof],
      [{ ...older, size: first ^ 2 }, newer, proof],
      [older, { ...newer, size: second * 2 }, proof],
      [older, { ...newer, size: Math.floor(second / 2) }, proof],
      [{ ...older, root: other }, newer, proof],
      [older, { ...newer, root: other }, proof],
      [{ ...older, root: newer.root }, { ...newer, root: older.root }, proof],
      [older, newer, []],
      [older, newer, [...proof, Buffer.alloc(0)]],
      [older, newer, [...proof, older.root]],
      [older, newer, [newer.root, ...proof]],
      [older, newer, [proof[0]!, ...proof]],
      [older, newer, proof.slice(0, -1)],
      ...proof.map((_, i): Parameters<typeof verifyConsistency> => [older, newer, proof.with(i, flipped(proof[i]!))])
    ];
    for (const probe of wrong) expect(verifyConsistency(...probe)).toBe(false);
  }
});

test('sizes that say nothing and sizes that go back', () => {
  const one = { size: 1, root: ROOTS[0]! };
  const none = { size: 0, root: EMPTY_ROOT };
  expect(verifyConsistency(none, none, [])).toBe(true);
  expect(verifyConsistency(none, one, [])).toBe(true);
  expect(verifyConsistency(none, one, [EMPTY_ROOT])).toBe(false);
  expect(verifyConsistency(one, one, [EMPTY_ROOT])).toBe(false);
  expect(verifyConsistency(one, none, [])).toBe(false);
  expect(verifyConsistency(one, { size: 2, root: ROOTS[1]! }, [])).toBe(false);
  for (const [index, size] of [
    [0, 0],
    [1, 0],
    [2, 1]
  ] as const) {
    expect(verifyInclusion(other, index, size, [], other)).toBe(false);
  }
});

/** Section 2.1 of RFC 6962, word by word. */
function definition(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return createHash('sha256').digest();
  if (leaves.length === 1) return leaves[0]!;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(definition(leaves.slice(0, k)), definition(leaves.slice(k)));
}

const leavesOf = (n: number): Buffer[] => Array.from({ length: n }, (_, i) => leafHash(Buffer.from(`record ${i}`)));
/** Sizes around what a tile, and a tile of tiles, holds, as likely as small ones. */
const aSize = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(255, 256, 257, 511, 512, 513, 700));

test('the root is that of the definition, in whatever portions the leaves came', () => {
  fc.assert(
    fc.property(aSize, fc.integer({ min: 1, max: 300 }), (size, portion) => {
      const leaves = leavesOf(size);
      const tree = new TileTree();
      for (let i = 0; i < size; i += portion) tree.append(Buffer.concat(leaves.slice(i, i + portion)));
      expect(tree.size).toBe(size);
      expect(tree.root()).toEqual(definition(leaves));
    }),
    { numRuns: 60 }
  );
});

test('every leaf and every older tree can be proven, and the proof holds for nothing else', () => {
  fc.assert(
    fc.property(aSize, fc.nat(), fc.nat(), fc.nat(), (grown, a, b, c) => {
      const leaves = leavesOf(grown);
      const tree = new TileTree();
      tree.append(Buffer.concat(leaves));
      const size = 1 + (a % grown);
      const first = 1 + (b % size);
      const index = c % size;
      const root = tree.root(size);
      expect(root).toEqual(definition(leaves.slice(0, size)));
      const path = tree.inclusion(index, size);
      expect(verifyInclusion(leaves[index]!, index, size, path, root)).toBe(true);
      if (size > 1) expect(verifyInclusion(leaves[(index + 1) % size]!, index, size, path, root)).toBe(false);
      const proof = tree.consistency(first, size);
      expect(verifyConsistency({ size: first, root: tree.root(first) }, { size, root }, proof)).toBe(true);
      expect(verifyConsistency({ size: first, root: leafHash(root) }, { size, root }, proof)).toBe(false);
    }),
    { numRuns: 150 }
  );
});

test('a tree is gone on with from its partial tiles and the full ones that were given away', () => {
  const leaves = leavesOf(256 * 256 + 700);
  const given = new Map<string, Buffer>();
  const options = {
    load: (level: number, index: number) => given.get(`${level}/${index}`),
    onFull: (level: number, index: number, tile: Buffer) => void given.set(`${level}/${index}`, tile)
  };
  const before = new TileTree(options);
  before.append(Buffer.concat(leaves.slice(0, 65_900)));
  expect(partialTiles(65_900)).toEqual([
    { level: 0, index: 257, width: 108 },
    { level: 1, index: 1, width: 1 },
    { level: 2, index: 0, width: 1 }
  ]);
  const after = TileTree.resume(65_900, place => before.tile(place), options)!;
  after.append(Buffer.concat(leaves.slice(65_900)));
  expect(after.root()).toEqual(definition(leaves));
  expect(after.root(300)).toEqual(definition(leaves.slice(0, 300)));
  expect(after.leaf(65_536)).toEqual(leaves[65_536]);
  expect(TileTree.resume(65_900, () => undefined, options)).toBeUndefined();
  given.delete('0/3');
  expect(() => after.inclusion(3 * 256)).toThrow('tile 0/3');
});

test('the hashes of a frame are those of its lines', () => {
  const lines = ['{"seq":1}', '{"seq":2,"path":"caf\u00e9"}', 'x'];
  const raw = Buffer.from(lines.map(line => `${line}\n`).join(''));
  const before = Buffer.from(raw);
  expect(leafHashesOf(raw, 3)).toEqual(Buffer.concat(lines.map(line => leafHash(Buffer.from(line)))));
  expect(raw).toEqual(before);
  expect(leafHashesOf(raw, 2)).toBeUndefined();
  expect(leafHashesOf(raw, 4)).toBeUndefined();
  expect(leafHashesOf(raw.subarray(0, -1), 3)).toBeUndefined();
  expect(leafHashesOf(Buffer.alloc(0), 0)).toEqual(Buffer.alloc(0));
});
