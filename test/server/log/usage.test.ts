/** The report on what a history takes: its numbers are those of the segments, and what it says would be freed is. */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { parentOf } from '../../../server/src/core/path-name.ts';
import { Inventory } from '../../../server/src/log/inventory.ts';
import { groupedBy, usageOf, type Usage, type UsageRow } from '../../../server/src/log/usage.ts';
import { quickDirectory, Scratch, sha256, version } from './scratch.ts';
import type { Append, LogWriter } from '../../../server/src/log/types.ts';

/** A version made of several chunks. */
function chunked(log: LogWriter, path: string, chunks: readonly Buffer[]): Append {
  const bytes = Buffer.concat(chunks);
  const { ref, chunks: more } = log.contentRef(chunks.map(sha256));
  const one = version(log, path, bytes, { content: ref });
  return { draft: one.draft, chunks: [...chunks.map(chunk => ({ id: sha256(chunk), bytes: chunk })), ...more] };
}

async function usage(
  scratch: Scratch,
  key: (inventory: Inventory) => (version: number) => string
): Promise<Omit<Usage, 'rows'> & { rows: UsageRow[] }> {
  const inventory = await Inventory.read(scratch.dir);
  try {
    const found = usageOf(inventory, groupedBy(key(inventory)));
    return { ...found, rows: [...found.rows] };
  } finally {
    inventory.close();
  }
}

test('alone, shared and the fair part, which add up to what is in the segments', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const [a, b, c] = [40_000, 60_000, 80_000].map(n => randomBytes(n)) as [Buffer, Buffer, Buffer];
  await log.append([chunked(log, 'x/one', [a, b])]);
  await log.append([chunked(log, 'x/two', [b, c])]);
  await log.append([version(log, 'y/three', 'small'), version(log, 'y/again', 'small', { kind: 'created' })]);
  await log.close();

  const found = await usage(scratch, inventory => v => inventory.path(v));
  const row = (key: string): UsageRow => found.rows.find(each => each.key === key)!;
  const near = (bytes: number): unknown => expect.closeTo(bytes, -3);
  expect(row('x/one')).toMatchObject({ versions: 1, contentBytes: 100_000, aloneBytes: near(40_000) });
  expect(row('x/one').sharedBytes).toEqual(near(60_000));
  expect(row('x/two').storedBytes).toEqual(near(110_000));
  expect(row('y/three')).toMatchObject({ aloneBytes: 0, storedBytes: row('y/again').storedBytes });
  expect(found.rows.map(each => each.key).slice(0, 2)).toEqual(['x/two', 'x/one']);
  const parts = found.rows.reduce((sum, each) => sum + each.storedBytes, 0);
  expect(Math.abs(parts - found.storedBytes)).toBeLessThanOrEqual(found.rows.length);

  const segments = scratch.segments().reduce((sum, path) => sum + statSync(path).size, 0);
  // Headers of segments are nobody's.
  expect(found.storedBytes + found.otherBytes).toBeLessThanOrEqual(segments);
  expect(found.storedBytes + found.otherBytes).toBeGreaterThan(segments - 2000);

  const folders = await usage(scratch, inventory => v => parentOf(inventory.path(v)));
  expect(folders.rows.map(each => [each.key, each.versions, each.sharedBytes])).toEqual([
    ['x', 2, 0],
    ['y', 2, 0]
  ]);
});

test('a content of very many chunks, whose list is a chunk of its own, is counted whole', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  const chunks = Array.from({ length: 40 }, () => randomBytes(1000));
  await log.append([chunked(log, 'large', chunks)]);
  await log.close();
  const found = await usage(scratch, inventory => v => inventory.versionId(v));
  expect(found.rows).toHaveLength(1);
  expect(found.rows[0]!.aloneBytes).toBeGreaterThan(40 * 1000 + 40 * 32);
  expect(found.rows[0]!.aloneBytes).toBe(found.storedBytes);
});

test('what was recorded meanwhile is read on, not all anew', async () => {
  using scratch = new Scratch(quickDirectory());
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one')]);
  const inventory = await Inventory.read(scratch.dir);
  await log.append([version(log, 'a', 'two')]);
  await inventory.advance();
  expect([inventory.versions, inventory.contents, inventory.chunks]).toEqual([2, 2, 2]);
  expect([0, 1].map(content => inventory.isHeld(content))).toEqual([true, true]);
  inventory.close();
  await log.close();
});
