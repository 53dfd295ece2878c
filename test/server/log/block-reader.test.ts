/** What a reader remembers of the log stays in its bounds: a recorder that runs for weeks must not grow with every save. */
import { expect, test } from '@jest/globals';
import { zstdCompressSync } from 'node:zlib';
import { BlockReader } from '../../../server/src/log/block-reader.ts';
import { CODEC_ZSTD, type BlockHeader } from '../../../server/src/log/layout.ts';
import { sha256 } from './scratch.ts';

test('a small block is remembered in as much memory as it is long', () => {
  const contents = [10, 3_000, 30_000, 200_000].map(length => Buffer.from('small '.repeat(length)).subarray(0, length));
  const ids = contents.map(content => sha256(content));
  const blocks = new BlockReader({
    place: id => ({ segment: 0, block: ids.indexOf(id), entry: 0 }),
    stored: ({ block }) => {
      const content = contents[block]!;
      const stored = zstdCompressSync(content);
      const header = {
        codec: CODEC_ZSTD,
        count: 1,
        rawLength: content.length,
        storedLength: stored.length
      } as BlockHeader;
      return { header, table: [{ id: ids[block]!, length: content.length }], stored };
    },
    idOf: id => id
  });
  for (const [i, content] of contents.entries()) {
    const found = blocks.chunk(ids[i]!)!;
    expect(found.bytes.equals(content)).toBe(true);
    expect(found.bytes.buffer.byteLength).toBeLessThanOrEqual(2 * content.length);
  }
});
