/** fsck is whom a user asks whether their only copy is whole. It must not say yes to a log in which a byte has changed. */
import { expect, test } from '@jest/globals';
import { appendFileSync, cpSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quickDirectory, Scratch, version } from './scratch.ts';

/** A closed log with a little of everything, small enough to be changed at every byte. */
async function small(scratch: Scratch): Promise<void> {
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one'), version(log, 'b', 'two '.repeat(30))]);
  await log.append([
    version(log, 'a', 'three', { kind: 'modified' }),
    { draft: { kind: 'moved', path: 'c', from: 'b', type: 'file', flags: [] }, chunks: [] },
    { draft: { kind: 'deleted', path: 'a', type: 'file', flags: [] }, chunks: [] }
  ]);
  await log.close();
}

test('no byte of a closed log can change without being named', async () => {
  using scratch = new Scratch(quickDirectory());
  await small(scratch);
  expect(await scratch.fsck()).toEqual([]);
  const guarded = scratch
    .files()
    // Not part of what is kept.
    .filter(file => !/^(index|cache|locks)\//.test(file));
  expect(guarded.map(file => file.replace(/^log\/[^/]+\//, '')).sort()).toEqual([
    '.gitignore',
    '00000000000000000001-000000.seg',
    'checkpoint',
    'device.json',
    'format.json',
    'head.json',
    'tile/0/000000.tiles'
  ]);
  const unnoticed: string[] = [];
  for (const file of guarded) {
    const path = join(scratch.dir, file);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      // One bit of each byte, every bit in its turn.
      changed[at] = changed[at]! ^ (1 << (at % 8));
      writeFileSync(path, changed);
      const found = await scratch.fsck().catch((error: unknown) => [error]);
      if (found.length === 0) unnoticed.push(`${file}:${at}`);
    }
    writeFileSync(path, bytes);
  }
  expect(unnoticed).toEqual([]);
  expect(await scratch.fsck()).toEqual([]);
});

test('a segment that is missing, shorter, renamed or another’s is named, with its file', async () => {
  using scratch = new Scratch();
  await small(scratch);
  const segment = scratch.segment();
  const name = segment.slice(scratch.dir.length + 1);
  const bytes = readFileSync(segment);
  const found = async (): Promise<string> => {
    const damages = await scratch.fsck();
    writeFileSync(segment, bytes);
    return damages.map(damage => `${damage.kind} ${damage.where}`).join('; ');
  };

  rmSync(segment);
  expect(await found()).toContain('missing');
  writeFileSync(segment, bytes.subarray(0, bytes.length - 1));
  expect(await found()).toContain(name);
  // Longer it is what a crash of the next session leaves, which is no damage and is cut off (F-8).
  appendFileSync(segment, 'x');
  expect(await found()).toBe('');
  renameSync(segment, segment.replace('1-000000', '2-000000'));
  expect(await found()).not.toBe('');
  rmSync(segment.replace('1-000000', '2-000000'));

  using other = new Scratch();
  await small(other);
  cpSync(other.segment(), segment);
  expect(await found()).toContain(name);
  expect(await scratch.fsck()).toEqual([]);
});

test('any file of a closed log that is gone is named, and so is the whole stream', async () => {
  using scratch = new Scratch();
  await small(scratch);
  for (const file of scratch.files().filter(file => !/^(index|cache|locks)\//.test(file))) {
    const path = join(scratch.dir, file);
    renameSync(path, join(scratch.base, 'gone'));
    expect((await scratch.fsck()).map(damage => damage.where).join()).toContain(file);
    renameSync(join(scratch.base, 'gone'), path);
  }
  const stream = join(scratch.segment(), '..');
  renameSync(stream, join(scratch.base, 'stream'));
  expect(await scratch.fsck()).toMatchObject([{ kind: 'missing', where: 'log' }]);
  renameSync(join(scratch.base, 'stream'), stream);
  expect(await scratch.fsck()).toEqual([]);
});

test('a frame taken out of the middle breaks the chain, though every frame is whole', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  const ends: number[] = [];
  for (const text of ['one', 'two', 'three']) {
    await log.append([version(log, 'a', text)]);
    ends.push(statSync(scratch.segment()).size);
  }
  await log.close();
  const bytes = readFileSync(scratch.segment());
  writeFileSync(scratch.segment(), Buffer.concat([bytes.subarray(0, ends[0]), bytes.subarray(ends[1])]));
  expect((await scratch.fsck()).length).toBeGreaterThan(0);
});

test('a file that does not belong there is named, and left alone', async () => {
  using scratch = new Scratch();
  await small(scratch);
  writeFileSync(join(scratch.dir, 'notes.txt'), 'mine');
  expect((await scratch.fsck()).map(damage => `${damage.kind} ${damage.where}`)).toEqual(['unknown-file notes.txt']);
  expect(readFileSync(join(scratch.dir, 'notes.txt'), 'utf8')).toBe('mine');
});

test('checking writes nothing', async () => {
  using scratch = new Scratch();
  await small(scratch);
  const state = (): string[] => scratch.files().map(file => `${file} ${statSync(join(scratch.dir, file)).mtimeMs}`);
  const before = state();
  await scratch.fsck();
  expect(state()).toEqual(before);
});
