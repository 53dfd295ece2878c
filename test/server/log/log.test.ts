/** The log as those see it who write and read it: what was acknowledged is there, once, in order, and never changes. */
import { describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { SyftError } from '../../../server/src/core/errors.ts';
import { all, Scratch, sha256, version } from './scratch.ts';

const code = (wanted: string): Partial<SyftError> => expect.objectContaining({ code: wanted }) as Partial<SyftError>;

describe('what is appended', () => {
  test('is read back, in order, byte for byte, by the writer and by a reader that was open before', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const reader = await scratch.reader();
    expect(await all(reader)).toEqual([]);
    const appended = await log.append([version(log, 'a', 'one'), version(log, 'b/c', Buffer.alloc(300_000, 'x'))]);
    expect(appended.map(change => change.seq)).toEqual([1, 2]);
    expect(await reader.refresh()).toEqual(appended);
    for (const source of [log, reader]) {
      expect((await source.contentBytes(appended[0]!)).toString()).toBe('one');
      expect(sha256(await source.contentBytes(appended[1]!))).toBe(appended[1]!.hash);
    }
    await reader.close();
    await log.close();
  });

  test('while a reader is in the middle of reading is whole for it too, contents included', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    await log.append([version(log, 'first', 'one')]);
    await log.append([version(log, 'second', 'two')]);
    const reader = await scratch.reader(damage => expect(damage).toBeUndefined());
    const contents: string[] = [];
    for await (const change of reader.changes()) {
      if (change.path === 'first') await log.append([version(log, 'third', 'three')]);
      contents.push((await reader.contentBytes(change)).toString());
    }
    expect(contents).toEqual(['one', 'two', 'three']);
    await reader.close();
    await log.close();
  });

  test('by many callers at once has sequence numbers without gaps, each caller’s in a row', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 30 }), async sizes => {
        using scratch = new Scratch();
        const log = await scratch.writer();
        const batches = await Promise.all(
          sizes.map((size, i) =>
            log.append(Array.from({ length: size }, (_unused, j) => version(log, `${i}/${j}`, `${i} ${j}`)))
          )
        );
        for (const batch of batches) {
          batch.forEach((change, i) => expect(change.seq).toBe(batch[0]!.seq + i));
        }
        await log.close();
        const reader = await scratch.reader();
        const changes = await all(reader);
        expect(changes.map(change => change.seq)).toEqual(changes.map((_change, i) => i + 1));
        expect(changes).toHaveLength(sizes.reduce((a, b) => a + b, 0));
        for (let i = 1; i < changes.length; i += 1) expect(changes[i]!.hlc).toBeGreaterThan(changes[i - 1]!.hlc);
        await reader.close();
        expect(await scratch.fsck()).toEqual([]);
      }),
      { numRuns: 12 }
    );
  });

  test('without contents, however much of it waits, goes into frames that a reader can hold', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const drafts = Array.from({ length: 30_000 }, (_unused, i) => ({
      draft: { kind: 'created' as const, path: `d/${i}`, type: 'directory' as const, flags: [] },
      chunks: []
    }));
    await Promise.all([log.append(drafts), log.append(drafts), log.append(drafts)]);
    await log.close();
    let frames = 0;
    for (const bytes of scratch.segments().map(path => readFileSync(path))) {
      for (let at = bytes.indexOf('SYFR'); at >= 0; at = bytes.indexOf('SYFR', at + 1)) frames += 1;
    }
    // The last one says that the log was closed.
    expect(frames).toBeGreaterThan(2);
    const reader = await scratch.reader();
    expect(await all(reader)).toHaveLength(90_000);
    await reader.close();
  });

  test('stays where it is: nothing before the durable end is written again, over any number of sessions', async () => {
    using scratch = new Scratch();
    let before = Buffer.alloc(0);
    for (let session = 0; session < 5; session += 1) {
      const log = await scratch.writer();
      await log.append([version(log, 'a', `session ${session}`)]);
      await log.close();
      const now = Buffer.concat(scratch.segments().map(path => readFileSync(path)));
      expect(now.subarray(0, before.length).equals(before)).toBe(true);
      before = now;
    }
    const reader = await scratch.reader();
    expect((await all(reader)).map(change => change.seq)).toEqual([1, 2, 3, 4, 5]);
    await reader.close();
  });

  test('is stored once however often it comes', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const text = Buffer.from(Array.from({ length: 200_000 }, (_unused, i) => (i * i) % 251));
    await log.append([version(log, 'first', text)]);
    const once = await log.storedBytes();
    for (let i = 0; i < 20; i += 1) await log.append([version(log, `copy-${i}`, text)]);
    expect((await log.storedBytes()) - once).toBeLessThan(20 * 1024);
    await log.close();
    expect(await scratch.fsck()).toEqual([]);
  });

  test('goes on in a new segment when one is full, and both are read', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const block = Buffer.alloc(3_000_000);
    for (let i = 0; i < 30; i += 1) {
      for (let at = 0; at < block.length; at += 32) Buffer.from(sha256(`${i}:${at}`), 'hex').copy(block, at);
      await log.append([version(log, `f${i}`, block)]);
    }
    await log.close();
    expect(scratch.segments().length).toBeGreaterThanOrEqual(2);
    const reader = await scratch.reader();
    const changes = await all(reader);
    expect(changes).toHaveLength(30);
    for (const change of changes) expect(sha256(await reader.contentBytes(change))).toBe(change.hash);
    await reader.close();
    expect(await scratch.fsck()).toEqual([]);
  });

  test('with a clock that was set back still orders after all that was seen', async () => {
    using scratch = new Scratch();
    const log = await scratch.writer();
    const future = (Date.now() + 3_600_000) * 1000;
    const [first] = await log.append([version(log, 'a', 'x', { at: future })]);
    const [second] = await log.append([version(log, 'a', 'y')]);
    expect(second!.at).toBeLessThan(first!.at);
    expect(second!.hlc).toBeGreaterThan(first!.hlc);
    await log.close();
    const again = await scratch.writer();
    const [third] = await again.append([version(again, 'a', 'z')]);
    expect(third!.hlc).toBeGreaterThan(second!.hlc);
    await again.close();
  });
});

describe('a log that cannot be opened', () => {
  test('of a newer format is left alone, and both versions are named', async () => {
    using scratch = new Scratch();
    await (await scratch.writer()).close();
    const path = join(scratch.dir, 'format.json');
    const body = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    writeFileSync(path, JSON.stringify({ ...body, version: 7 }));
    const before = scratch.files();
    await expect(scratch.writer()).rejects.toEqual(code('LOG_NEWER_FORMAT'));
    await expect(scratch.writer()).rejects.toThrow(/format 7.*knows format 1/);
    await expect(scratch.reader()).rejects.toEqual(code('LOG_NEWER_FORMAT'));
    writeFileSync(path, JSON.stringify({ ...body, requires: ['packs'] }));
    await expect(scratch.writer()).rejects.toThrow(/needs packs/);
    expect(scratch.files()).toEqual(before);
  });

  test('is a file, or lies below one', async () => {
    using scratch = new Scratch();
    writeFileSync(scratch.dir, 'a file of the user\n');
    await expect(scratch.writer()).rejects.toEqual(code('LOG_PATH_NOT_DIRECTORY'));
    await expect(scratch.writer({ dir: join(scratch.dir, 'below') })).rejects.toEqual(code('LOG_PATH_NOT_DIRECTORY'));
    expect(readFileSync(scratch.dir, 'utf8')).toBe('a file of the user\n');
  });

  test('is a folder of somebody else: nothing is put there', async () => {
    using scratch = new Scratch();
    mkdirSync(scratch.dir);
    writeFileSync(join(scratch.dir, 'thesis.tex'), 'mine');
    await expect(scratch.writer()).rejects.toThrow(/thesis\.tex/);
    await expect(scratch.writer()).rejects.toEqual(code('LOG_PATH_NOT_DIRECTORY'));
    expect(readdirSync(scratch.dir)).toEqual(['thesis.tex']);
  });

  test('is not there', async () => {
    using scratch = new Scratch();
    await expect(scratch.reader()).rejects.toEqual(code('LOG_MISSING'));
    await expect(scratch.writer({ create: false })).rejects.toEqual(code('LOG_MISSING'));
    expect(readdirSync(scratch.base)).toEqual([]);
  });
});

test('what the log holds can be read by its owner only', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  await log.append([version(log, 'secret', 's')]);
  await log.close();
  expect(statSync(scratch.dir).mode & 0o777).toBe(0o700);
  for (const file of scratch.files()) {
    expect(`${file} ${(statSync(join(scratch.dir, file)).mode & 0o777).toString(8)}`).toBe(`${file} 600`);
  }
  const open = execFileSync('find', [scratch.dir, '-type', 'd', '-perm', '/077'], { encoding: 'utf8' });
  expect(open).toBe('');
});

test('a closed log says so when it is used', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  const append = version(log, 'a', 'x');
  await log.close();
  await expect(log.append([append])).rejects.toEqual(code('LOG_CLOSED'));
  rmSync(scratch.dir, { recursive: true });
});
