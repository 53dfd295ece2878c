/** What a check remembers of a log must be what it met: a chunk mixed up with another would pass for one that is there. */
import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { ChunkMap } from '../../../server/src/log/fsck/chunk-map.ts';
import { ContentList } from '../../../server/src/log/fsck/content-list.ts';
import type { CheckedBlock, ChunkSpot } from '../../../server/src/log/fsck/contents.ts';
import type { Content } from '../../../server/src/log/fsck/records.ts';

const sha = (n: number): string => createHash('sha256').update(String(n)).digest('hex');

test('each chunk is found where it lies, and none that is not there', () => {
  const map = new ChunkMap();
  const spots = new Map<string, ChunkSpot>();
  let block: CheckedBlock | undefined;
  for (let i = 0; i < 5000; i += 1) {
    if (block === undefined || i % 16 === 0) {
      block = { file: 'f', offset: i, length: 1, raw: 1, zstd: false, bases: [] };
    }
    spots.set(sha(i), { block, start: i * 3, size: i });
    map.add(sha(i), { block, start: i * 3, size: i });
  }
  for (const [id, spot] of spots) {
    expect(map.get(id)).toEqual(spot);
    expect(map.get(id)?.block).toBe(spot.block);
  }
  for (const id of [sha(5000), '', 'zz'.repeat(32), `${sha(1)}aa`]) expect(map.has(id)).toBe(false);
});

test('contents of every make come back as they were, and those of a torn frame are forgotten', () => {
  const list = new ContentList();
  const all: Content[] = [];
  for (let i = 0; i < 500; i += 1) {
    const device = i % 7 === 0 ? 'aaaaaaaa' : 'bbbbbbbb';
    const hash = i % 5 === 0 ? undefined : sha(i);
    const content: Content = {
      version: `${device}.${i}`,
      place: { hlc: i * 10, device, seq: i },
      hash,
      size: i % 3 === 0 ? undefined : i,
      ids: i % 11 === 0 ? [sha(1), sha(2)] : [hash ?? ''],
      list: i % 13 === 0 ? { id: sha(9), count: 3 } : undefined,
      where: `log/x:${i >> 3}`
    };
    list.push(content);
    all.push(content);
    if (i % 100 !== 99) continue;
    list.truncate(list.length - 10);
    all.length -= 10;
  }
  expect(Array.from({ length: list.length }, (_, i) => list.at(i))).toEqual(all);
});
