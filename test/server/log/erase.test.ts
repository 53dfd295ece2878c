/** Erasing a secret: its bytes are nowhere in the log directory, its record and every proof stay, and nothing else is lost unasked. */
import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Change } from '../../../server/src/core/change.ts';
import { announceDrop, dropSet, UNFINISHED_FILE } from '../../../server/src/log/drops.ts';
import { eraseContent } from '../../../server/src/log/erase.ts';
import { Inventory } from '../../../server/src/log/inventory.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import type { Append, LogWriter } from '../../../server/src/log/types.ts';
import { all, codeOf, quickDirectory, Scratch, sha256, version } from './scratch.ts';

/** Bytes that do not compress: they stand in the segments as they are. */
function noise(name: string, length = 5000): Buffer {
  return createHash('shake256', { outputLength: length }).update(name).digest();
}
const SECRET = noise('the secret');

function chunked(log: LogWriter, path: string, chunks: readonly Buffer[]): Append {
  const { ref, chunks: more } = log.contentRef(chunks.map(sha256));
  const { draft } = version(log, path, Buffer.concat(chunks), { content: ref });
  return { draft, chunks: [...chunks.map(bytes => ({ id: sha256(bytes), bytes })), ...more] };
}

/** Files of the log in which these bytes stand. */
const holding = (scratch: Scratch, bytes: Buffer): string[] =>
  scratch.files().filter(file => readFileSync(join(scratch.dir, file)).includes(bytes));

test('of every version that has it, the last of a file included, and of copies in the log directory', async () => {
  using scratch = new Scratch(quickDirectory());
  let log = await scratch.writer();
  await log.append([
    version(log, '.env', SECRET),
    version(log, 'copy of .env', SECRET),
    version(log, 'other', noise('other'))
  ]);
  await log.close();
  const proof = encodeProof(inclusionProof(scratch.dir, `${log.device}.1`));
  // What repair moved aside, what lost a conflict, and something that has nothing to do with it.
  for (const dir of ['quarantine/log', 'conflicts']) mkdirSync(join(scratch.dir, dir), { recursive: true });
  cpSync(scratch.segment(), join(scratch.dir, 'quarantine/log', basename(scratch.segment())));
  writeFileSync(join(scratch.dir, 'conflicts/.env'), SECRET);
  writeFileSync(join(scratch.dir, 'conflicts/mine'), 'my own work');

  log = await scratch.writer();
  const planned = await eraseContent(log, { hash: sha256(SECRET), dryRun: true });
  expect(holding(scratch, SECRET)).toHaveLength(3);
  const done = await eraseContent(log, { hash: sha256(SECRET) });
  expect(done.versions.map(({ path }) => path)).toEqual(['.env', 'copy of .env']);
  expect([done.freedBytes, done.sharing]).toEqual([planned.freedBytes, []]);
  expect([...done.copies].sort()).toEqual(['conflicts/.env', expect.stringMatching(/^quarantine\/log\/.*\.seg$/)]);
  expect(holding(scratch, SECRET)).toEqual([]);
  expect(existsSync(join(scratch.dir, 'conflicts/mine'))).toBe(true);

  const changes = await all(log);
  expect(await codeOf(log.contentBytes(changes[0]!))).toBe('VERSION_ERASED');
  expect(await codeOf(log.contentBytes(changes[1]!))).toBe('VERSION_ERASED');
  expect((await log.contentBytes(changes[2]!)).equals(noise('other'))).toBe(true);
  expect(log.dropped(changes[0]!)?.retention).toMatchObject({ act: 'erase', hash: sha256(SECRET) });
  await log.close();
  expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);
  expect(verifyInclusionProof(decodeProof(proof))).toBeDefined();
  expect(verifyInclusionProof(inclusionProof(scratch.dir, `${log.device}.1`))?.change.hash).toBe(sha256(SECRET));
});

test('what shares parts of it is told first; then it goes too, or keeps what it needs', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const [head, tail] = [noise('head'), noise('tail')] as [Buffer, Buffer];
  await log.append([chunked(log, 'with', [head, SECRET])]);
  await log.append([chunked(log, 'with', [head, tail])]);
  await log.append([version(log, 'apart', 'of nothing')]);
  const [first, second, third] = (await all(log)) as [Change, Change, Change];
  const hash = first.hash!;
  expect(await codeOf(eraseContent(log, { hash }))).toBe('CONTENT_SHARED');
  expect((await log.contentBytes(first)).includes(SECRET)).toBe(true);
  const planned = await eraseContent(log, { hash, dryRun: true });
  expect(planned.sharing.map(({ versionId }) => versionId)).toEqual([`${log.device}.2`]);

  await eraseContent(log, { hash, shared: 'keep' });
  expect(holding(scratch, SECRET)).toEqual([]);
  expect((await log.contentBytes(second)).equals(Buffer.concat([head, tail]))).toBe(true);
  expect(await codeOf(log.contentBytes(first))).toBe('VERSION_ERASED');

  await log.append([chunked(log, 'again', [tail, SECRET])]);
  const again = (await all(log)).at(-1)!;
  await eraseContent(log, { hash: again.hash!, shared: 'with' });
  for (const part of [SECRET, tail]) expect(holding(scratch, part)).toEqual([]);
  expect(await codeOf(log.contentBytes(second))).toBe('VERSION_ERASED');
  expect((await log.contentBytes(third)).toString()).toBe('of nothing');
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('from the streams of other devices too, which can go on', async () => {
  using scratch = new Scratch(quickDirectory());
  const elsewhere = join(scratch.base, 'other keys');
  let other = await scratch.writer({ keyDir: elsewhere });
  await other.append([version(other, '.env', SECRET), version(other, 'kept', noise('kept'))]);
  await other.close();
  const log = await scratch.writer();
  await log.append([version(log, 'copy', SECRET)]);
  const done = await eraseContent(log, { hash: sha256(SECRET) });
  expect(done.otherDevices).toEqual([other.device]);
  expect(holding(scratch, SECRET)).toEqual([]);
  await log.close();
  expect(await scratch.fsck(true, scratch.dir, scratch.keys)).toEqual([]);

  const { device } = other;
  other = await scratch.writer({ keyDir: elsewhere });
  expect([other.device, other.damages]).toEqual([device, []]);
  const [next] = (await other.append([version(other, 'next', 'goes on')])) as [Change];
  expect(next.seq).toBe(3);
  await other.close();
  expect(await scratch.fsck(true, scratch.dir, elsewhere)).toEqual([]);
});

test('what was announced and not carried out is carried out when the log is opened', async () => {
  using scratch = new Scratch(quickDirectory());
  let log = await scratch.writer();
  await log.append([version(log, '.env', SECRET)]);
  const inventory = await Inventory.read(scratch.dir);
  const drop = dropSet(inventory, new Set([sha256(SECRET)]), () => true);
  inventory.close();
  // The process dies behind the act: nothing is dropped yet.
  const act = { act: 'erase' as const, hash: sha256(SECRET), contents: 1 };
  await log.exclusively(inside => announceDrop(log, inside, act, drop, true));
  await log.close();
  expect(holding(scratch, SECRET)).toHaveLength(1);
  mkdirSync(join(scratch.dir, 'conflicts'));
  writeFileSync(join(scratch.dir, 'conflicts/.env'), SECRET);

  log = await scratch.writer();
  expect(holding(scratch, SECRET)).toEqual([]);
  expect(existsSync(join(scratch.dir, UNFINISHED_FILE))).toBe(false);
  await log.close();
  expect(await scratch.fsck()).toEqual([]);
});

test('a hash that no version has', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one')]);
  expect(await codeOf(eraseContent(log, { hash: 'ab'.repeat(32) }))).toBe('VERSION_NOT_FOUND');
  await log.close();
});
