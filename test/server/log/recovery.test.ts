/**
 * After a crash: what was acknowledged is there, what was not may be gone, and nothing else is touched. The tests stand in for
 * the crash by what it leaves: a file cut at any byte, or with anything behind it.
 */
import { describe, expect, test } from '@jest/globals';
import { appendFileSync, cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { FRAME_HEADER } from '../../../server/src/log/layout.ts';
import type { Damage } from '../../../server/src/log/types.ts';
import { all, quickDirectory, Scratch, version } from './scratch.ts';

/** A log that was not closed, and its length after each append. */
async function crashed(scratch: Scratch): Promise<{ lengths: number[]; headless: string }> {
  const log = await scratch.writer();
  const lengths: number[] = [];
  for (const text of ['one', 'two', 'three']) {
    await log.append([version(log, text, text), version(log, `${text}/more`, `${text} more`.repeat(20))]);
    lengths.push(statSync(scratch.segment()).size);
  }
  // As it is in the middle of its life: the copy is the crash.
  const headless = join(scratch.base, 'crashed');
  cpSync(scratch.dir, headless, { recursive: true });
  await log.close();
  scratch.forget();
  rmSync(join(headless, 'locks'), { recursive: true, force: true });
  return { lengths, headless };
}

/** The beginning of a large frame: header and records of the one at `at`, then content as it was given, with the end missing. */
function unfinished(segment: Buffer, at: number, content: Buffer): Buffer {
  const header = Buffer.from(segment.subarray(at, at + FRAME_HEADER));
  const records = segment.subarray(at + FRAME_HEADER, at + FRAME_HEADER + header.readUInt32LE(32));
  header.writeUInt32LE(content.length + 1000, 36);
  header.writeUInt32LE(crc32(header.subarray(0, 92), crc32(segment.subarray(16, 40))), 92);
  return Buffer.concat([header, records, content]);
}

const segmentOf = (scratch: Scratch, dir: string): string => scratch.segment().replace(scratch.dir, dir);
const headOf = (segment: string): string => join(segment, '..', 'head.json');

describe('a tail that was torn', () => {
  test('at any byte of the last frame: all before it stays, and writing goes on behind it', async () => {
    using scratch = new Scratch(quickDirectory());
    const { lengths, headless } = await crashed(scratch);
    const segment = segmentOf(scratch, headless);
    const whole = readFileSync(segment);
    for (let cut = lengths[1]!; cut < lengths[2]!; cut += 1) {
      const dir = join(scratch.base, 'cut');
      cpSync(headless, dir, { recursive: true });
      const torn = segmentOf(scratch, dir);
      truncateSync(torn, cut);
      // The crash came before a head could tell of the frame.
      rmSync(headOf(torn), { force: true });
      const damages: Damage[] = [];
      const log = await scratch.writer({ dir, onDamage: damage => damages.push(damage) });
      expect((await all(log)).map(change => change.path)).toEqual(['one', 'one/more', 'two', 'two/more']);
      const [next] = await log.append([version(log, 'after', 'the crash')]);
      expect(next!.seq).toBe(5);
      await log.close();
      expect(readFileSync(torn).subarray(0, lengths[1]).equals(whole.subarray(0, lengths[1]))).toBe(true);
      expect(await scratch.fsck(true, dir)).toEqual([]);
      rmSync(dir, { recursive: true });
      scratch.forget();
    }
  });

  test('or filled with anything at all is cut off', async () => {
    using scratch = new Scratch();
    const { headless } = await crashed(scratch);
    for (const junk of [
      Buffer.alloc(1),
      Buffer.alloc(5000),
      Buffer.from('SYFR'),
      Buffer.from('SYFR'.padEnd(200, '\xff'), 'latin1')
    ]) {
      const dir = join(scratch.base, 'junk');
      cpSync(headless, dir, { recursive: true });
      appendFileSync(segmentOf(scratch, dir), junk);
      const reader = await scratch.reader();
      await reader.close();
      const log = await scratch.writer({ dir });
      expect(await all(log)).toHaveLength(6);
      await log.append([version(log, 'after', 'the crash')]);
      await log.close();
      expect(await scratch.fsck(true, dir)).toEqual([]);
      rmSync(dir, { recursive: true });
      scratch.forget();
    }
  });

  test('of which the disk kept the length and not the content is no damage to anyone, and is cut off', async () => {
    using scratch = new Scratch();
    const { lengths, headless } = await crashed(scratch);
    const segment = segmentOf(scratch, headless);
    const whole = readFileSync(segment);
    // From the last byte on ever more of it.
    for (const lost of [1, 20, 40, 100, 300]) {
      const dir = join(scratch.base, 'lost');
      cpSync(headless, dir, { recursive: true });
      writeFileSync(segmentOf(scratch, dir), Buffer.from(whole).fill(0, lengths[2]! - lost));
      rmSync(headOf(segmentOf(scratch, dir)), { force: true });
      expect(await scratch.fsck(true, dir)).toEqual([]);
      const damages: Damage[] = [];
      const log = await scratch.writer({ dir, onDamage: damage => damages.push(damage) });
      expect(await all(log)).toHaveLength(4);
      // The same content again: it must not count on what is cut off.
      const text = 'three more'.repeat(20);
      const [next] = await log.append([version(log, 'three/more', text)]);
      expect(next!.seq).toBe(5);
      expect((await log.contentBytes(next!)).toString()).toBe(text);
      await log.close();
      expect(damages).toEqual([]);
      expect(await scratch.fsck(true, dir)).toEqual([]);
      rmSync(dir, { recursive: true });
      scratch.forget();
    }
  });

  test('behind a clean close is no damage to the stream that was closed', async () => {
    using scratch = new Scratch();
    const first = await scratch.writer();
    await first.append([version(first, 'a', 'one')]);
    await first.close();
    const closed = statSync(scratch.segment()).size;
    const log = await scratch.writer();
    await log.append([version(log, 'a', 'two', { kind: 'modified' })]);
    const dir = join(scratch.base, 'crashed');
    cpSync(scratch.dir, dir, { recursive: true });
    await log.close();
    const bytes = readFileSync(segmentOf(scratch, dir));
    // Its header is there, its records are not.
    writeFileSync(segmentOf(scratch, dir), bytes.fill(0, closed + FRAME_HEADER));
    expect(await scratch.fsck(true, dir)).toEqual([]);
  });

  test.each(['another log', 'this log itself'])(
    'in the middle of a copy of %s, which a user keeps as a file, is not taken for changes',
    async whose => {
      using scratch = new Scratch();
      const { lengths, headless } = await crashed(scratch);
      using other = new Scratch();
      const copied =
        whose === 'this log itself'
          ? readFileSync(segmentOf(scratch, headless)).subarray(0, lengths[1])
          : readFileSync((await crashed(other), other.segment()));
      // A frame whose content is stored as it is, cut off behind the copy: its header claims more than there is.
      const segment = segmentOf(scratch, headless);
      const whole = readFileSync(segment);
      const torn = Buffer.concat([whole.subarray(0, lengths[1]), unfinished(whole, lengths[1]!, copied)]);
      writeFileSync(segment, torn);
      rmSync(headOf(segment), { force: true });
      const damages: Damage[] = [];
      const log = await scratch.writer({ dir: headless, onDamage: damage => damages.push(damage) });
      expect((await all(log)).map(change => change.path)).toEqual(['one', 'one/more', 'two', 'two/more']);
      expect(damages).toEqual([]);
      const [next] = await log.append([version(log, 'after', 'the crash')]);
      expect(next!.seq).toBe(5);
      await log.close();
      expect(await scratch.fsck(true, headless)).toEqual([]);
    }
  );

  test('does not stop a reader, which changes nothing', async () => {
    using scratch = new Scratch();
    const { lengths, headless } = await crashed(scratch);
    const segment = segmentOf(scratch, headless);
    rmSync(headOf(segment), { force: true });
    truncateSync(segment, lengths[2]! - 5);
    const before = readFileSync(segment);
    const { openLogReader } = await import('../../../server/src/log/log.ts');
    const reader = await openLogReader({ dir: headless });
    expect(await all(reader)).toHaveLength(4);
    await reader.close();
    expect(readFileSync(segment).equals(before)).toBe(true);
  });
});

describe('damage that no crash explains', () => {
  test('in the middle is reported with its place, stays as it is, and what is sound is still read', async () => {
    using scratch = new Scratch();
    const { lengths } = await crashed(scratch);
    const bytes = readFileSync(scratch.segment());
    const at = lengths[0]! + 120;
    bytes[at] = bytes[at]! ^ 0xff;
    writeFileSync(scratch.segment(), bytes);
    const damages: Damage[] = [];
    const log = await scratch.writer({ onDamage: damage => damages.push(damage) });
    const paths = (await all(log)).map(change => change.path);
    expect(paths).toEqual(expect.arrayContaining(['one', 'three']));
    expect(damages.length).toBeGreaterThan(0);
    await log.append([version(log, 'after', 'the damage')]);
    await log.close();
    expect(readFileSync(scratch.segment()).subarray(0, bytes.length).equals(bytes)).toBe(true);
    expect((await scratch.fsck()).length).toBeGreaterThan(0);
  });

  test('where head.json vouched for more than there is, is reported: acknowledged changes are missing', async () => {
    using scratch = new Scratch();
    const { lengths } = await crashed(scratch);
    truncateSync(scratch.segment(), lengths[1]);
    const found = await scratch.fsck();
    expect(found.map(damage => damage.kind)).toContain('truncated');
    const damages: Damage[] = [];
    const log = await scratch.writer({ onDamage: damage => damages.push(damage) });
    expect(await all(log)).toHaveLength(4);
    await log.close();
    expect(damages.length).toBeGreaterThan(0);
  });
});

test.each(['index', 'cache', 'locks'])('the folder %s may be deleted and nothing is lost', async name => {
  using scratch = new Scratch();
  await crashed(scratch);
  rmSync(join(scratch.dir, name), { recursive: true, force: true });
  const log = await scratch.writer();
  expect(await all(log)).toHaveLength(6);
  await log.close();
});
