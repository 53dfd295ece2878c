/** What is kept beside an encrypted log: whoever alters, moves, cuts or exchanges it changes nothing that is believed. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { openLines, sealLines } from '../../../server/src/crypto/sealed-lines.ts';
import { openPieces, sealPieces } from '../../../server/src/crypto/sealed-pieces.ts';

const WORKSPACE = '0123456789abcdef0123456789abcdef';
const keys = new LogKeys(WORKSPACE, new Map([[1, randomBytes(32)]]));
const others = new LogKeys(WORKSPACE, new Map([[1, randomBytes(32)]]));
const NAME = 'cache/checkpoint';

describe('pieces', () => {
  const sealed = (...parts: Buffer[]): Buffer => Buffer.concat([...sealPieces(keys, NAME, parts)]);

  test('come back as they were, whatever their sizes', () => {
    for (const sizes of [[], [0], [1], [1 << 20], [(1 << 20) + 1], [3 << 20, 0, 17, (2 << 20) - 1]]) {
      const parts = sizes.map(size => randomBytes(size));
      expect(openPieces(keys, NAME, sealed(...parts))?.equals(Buffer.concat(parts))).toBe(true);
    }
  });

  test('nothing of it can be changed, left out, doubled, exchanged or cut off', () => {
    const file = sealed(randomBytes(1 << 20), randomBytes(1 << 20), randomBytes(100));
    const large = 4 + (1 << 20) + 24;
    const [head, first, second, rest] = [
      file.subarray(0, 28),
      file.subarray(28, 28 + large),
      file.subarray(28 + large, 28 + 2 * large),
      file.subarray(28 + 2 * large)
    ] as [Buffer, Buffer, Buffer, Buffer];
    expect(openPieces(keys, NAME, Buffer.concat([head, first, second, rest]))).toBeDefined();
    for (const altered of [
      [head, second, first, rest],
      [head, first, rest],
      [head, first, second, second, rest],
      [head, first, second],
      [head, first, second, rest.subarray(0, 128)],
      [head, first, second, rest, first],
      [head, first, second, rest, Buffer.alloc(1)],
      [head],
      [sealed().subarray(0, 28), first, second, rest]
    ]) {
      expect(openPieces(keys, NAME, Buffer.concat(altered))).toBeUndefined();
    }
    for (let i = 0; i < 400; i += 1) {
      const flipped = Buffer.from(file);
      const at = i < 40 ? i : Math.floor((file.length - 1) * (i / 400));
      flipped[at] = (flipped[at] as number) ^ 1;
      expect(openPieces(keys, NAME, flipped)).toBeUndefined();
    }
    for (const length of [0, 7, 27, 28, 29, 40]) {
      expect(openPieces(keys, NAME, file.subarray(0, length))).toBeUndefined();
    }
  });

  test('belong to one log and one place', () => {
    const file = sealed(Buffer.from('x'));
    expect(openPieces(keys, 'cache/other', file)).toBeUndefined();
    expect(openPieces(others, NAME, file)).toBeUndefined();
    const elsewhere = new LogKeys('f'.repeat(32), new Map([[1, keys.master(1) as Buffer]]));
    expect(openPieces(elsewhere, NAME, file)).toBeUndefined();
  });
});

describe('lines', () => {
  test('of several writers, torn ones between them: what is whole is read', () => {
    const a = sealLines(keys, 'j', 'eins\nzwei\n');
    const b = sealLines(keys, 'j', 'drei\n');
    const torn = b.slice(0, 50);
    expect(openLines(keys, 'j', a + b)).toBe('eins\nzwei\ndrei\n');
    // The torn line takes the one that is appended to it along, and no other.
    expect(openLines(keys, 'j', a + torn + a + b)).toBe('eins\nzwei\ndrei\n');
    expect(openLines(keys, 'j', a + torn)).toBe('eins\nzwei\n');
    expect(openLines(keys, 'j', `plain\n${a}`)).toBe('eins\nzwei\n');
    expect(openLines(keys, 'k', a)).toBe('');
    expect(openLines(others, 'j', a)).toBe('');
    expect(openLines(keys, 'j', '')).toBe('');
  });

  test('a long text is sealed in portions, each of whole lines', () => {
    const text = Array.from({ length: 9000 }, (_, i) => `line ${i} ${'ä'.repeat(i % 40)}\n`).join('');
    const sealed = sealLines(keys, 'j', text);
    expect(openLines(keys, 'j', sealed)).toBe(text);
    const lines = sealed.split('\n');
    expect(lines.length).toBeGreaterThan(4);
    const without = openLines(keys, 'j', lines.toSpliced(1, 1).join('\n'));
    const known = new Set(text.split('\n'));
    expect(without.split('\n').filter(line => !known.has(line))).toEqual([]);
  });
});
