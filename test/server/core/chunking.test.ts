/** Chunks put together must be the content; and what two versions share must be stored once, or disks fill up. */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { chunkContent, CHUNKING, StreamChunker } from '../../../server/src/core/chunking.ts';

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that look random and are the same every time. */
function noise(length: number, seed: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(String(seed)).digest();
}

const ids = (bytes: Uint8Array, notebook = false): Set<string> =>
  new Set(chunkContent(bytes, { notebook }).map(chunk => chunk.id));

describe('chunks', () => {
  test('put together are the content, each named by its hash, none too large', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 700_000 }), fc.nat(), fc.boolean(), (length, seed, notebook) => {
        const bytes = noise(length, seed);
        const chunks = chunkContent(bytes, { notebook });
        expect(Buffer.concat(chunks.map(chunk => chunk.bytes)).equals(bytes)).toBe(true);
        for (const { id, bytes: part } of chunks) {
          expect(id).toBe(sha(part));
          expect(part.length).toBeLessThanOrEqual(4 * 1024 * 1024);
        }
      }),
      { numRuns: 40 }
    );
  });

  test('are the same when the content comes in pieces of any size', () => {
    const bytes = noise(3_000_000, 7);
    const whole = chunkContent(bytes, { notebook: false }).map(chunk => chunk.id);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 500_000 }), { maxLength: 20 }), some => {
        // Small pieces alone would be millions.
        const sizes = [...some, 100_000];
        const chunker = new StreamChunker(bytes.length);
        const found: string[] = [];
        for (let at = 0, i = 0; at < bytes.length; i += 1) {
          const next = Math.min(bytes.length, at + (sizes[i % sizes.length] as number));
          found.push(...chunker.push(bytes.subarray(at, next)).map(chunk => chunk.id));
          at = next;
        }
        found.push(...chunker.end().map(chunk => chunk.id));
        expect(found).toEqual(whole);
      }),
      { numRuns: 15 }
    );
  });

  test('an insertion changes only the chunks around it', () => {
    const before = noise(8_000_000, 1);
    const after = Buffer.concat([before.subarray(0, 3_000_000), Buffer.from('inserted'), before.subarray(3_000_000)]);
    const old = ids(before);
    const fresh = [...ids(after)].filter(id => !old.has(id));
    expect(old.size).toBeGreaterThan(40);
    expect(fresh.length).toBeLessThanOrEqual(3);
  });

  test('a plot in a notebook is stored once, wherever it moves', () => {
    const plot = noise(120_000, 3).toString('base64');
    const notebook = (order: readonly string[]): Buffer =>
      Buffer.from(
        JSON.stringify(
          { cells: order.map(data => ({ outputs: [{ data: { 'image/png': data } }] })), nbformat: 4 },
          null,
          1
        )
      );
    const other = noise(90_000, 4).toString('base64');
    const stored = ids(notebook([plot, other]), true);
    const moved = chunkContent(notebook([other, 'a new short output', plot]), { notebook: true });
    const fresh = moved.filter(chunk => !stored.has(chunk.id));
    expect(fresh.reduce((sum, chunk) => sum + chunk.bytes.length, 0)).toBeLessThan(CHUNKING.general.min);
  });

  test('content of nothing is whole too', () => {
    expect(Buffer.concat(chunkContent(Buffer.alloc(0), { notebook: false }).map(chunk => chunk.bytes)).length).toBe(0);
  });
});
