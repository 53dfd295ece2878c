/** What threads made ready goes into the log once and comes out again: a lost or doubled chunk would be a version nobody can read. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { ChunkIndex } from '../../../server/src/log/chunk-index.ts';
import {
  chunkCount,
  chunksOf,
  FrameChunks,
  readyBlock,
  type ReadyBlock
} from '../../../server/src/log/ready-blocks.ts';
import { all, Scratch, sha256, version } from './scratch.ts';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => {
  scratch[Symbol.dispose]();
});

function block(contents: readonly Buffer[], packed = false): ReadyBlock {
  const raw = Buffer.concat(contents);
  const ids = Buffer.from(contents.map(sha256).join(''), 'hex');
  return readyBlock(
    ids,
    contents.map(bytes => bytes.length),
    raw,
    packed ? zstdCompressSync(raw) : undefined
  );
}

const content = fc.integer({ min: 0, max: 12 }).map(n => Buffer.from(`content ${n}`.repeat(n)));

test('a frame takes every chunk that is not held, each once, and none that is', () => {
  const blocks = fc.array(fc.array(content, { minLength: 1, maxLength: 6 }), { maxLength: 6 });
  fc.assert(
    fc.property(blocks, blocks, fc.array(content), fc.array(content), (former, given, loose, held) => {
      const index = new ChunkIndex();
      for (const bytes of held) index.add(sha256(bytes), { segment: 0, block: 0, entry: 0 });
      const before = new FrameChunks(index);
      for (const contents of former) before.addBlock(block(contents));
      const frame = new FrameChunks(index, before);
      for (const contents of given) frame.addBlock(block(contents));
      for (const bytes of loose) frame.add({ id: sha256(bytes), bytes });
      const whole = frame.whole.flatMap(one => chunksOf(one, [...Array(chunkCount(one)).keys()]));
      const taken = [...whole, ...frame.single];
      for (const { id, bytes } of taken) expect(sha256(Buffer.from(bytes))).toBe(id);
      const there = new Set([...held, ...former.flat()].map(sha256));
      const wanted = [...new Set([...given.flat(), ...loose].map(sha256))].filter(id => !there.has(id));
      expect(taken.map(({ id }) => id).sort()).toEqual(wanted.sort());
    })
  );
});

test('blocks made ready are read back, packed or not, whole or in part', async () => {
  const log = await scratch.writer();
  const texts = ['one', 'two', 'three', 'four'].map(word => Buffer.from(`${word} `.repeat(500)));
  const [one, two, three, four] = texts as [Buffer, Buffer, Buffer, Buffer];
  const named = (name: string, bytes: Buffer): ReturnType<typeof version> => ({
    ...version(log, name, bytes),
    chunks: []
  });
  await log.append([named('1', one), named('2', two)], [block([one, two], true)]);
  // The second chunk of this block is held already.
  await log.append([named('2b', two), named('3', three)], [block([two, three])]);
  await Promise.all([
    log.append([named('4', four)], [block([four])]),
    log.append([named('4b', four), named('1b', one)], [block([four, one], true)])
  ]);
  await log.close();
  const again = await scratch.writer({ dir: log.dir });
  const read = await Promise.all(
    (await all(again)).map(async change => [
      change.path,
      (await again.contentBytes(change)).toString('utf8').slice(0, 5)
    ])
  );
  expect(read).toEqual([
    ['1', 'one o'],
    ['2', 'two t'],
    ['2b', 'two t'],
    ['3', 'three'],
    ['4', 'four '],
    ['4b', 'four '],
    ['1b', 'one o']
  ]);
});
