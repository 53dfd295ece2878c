/** Repair is asked for when something is broken already. It must never take away what could still be read. */
import { expect, test } from '@jest/globals';
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { versionId } from '../../../server/src/core/change.ts';
import { repairLog } from '../../../server/src/log/repair.ts';
import { all, Scratch, sha256, version } from './scratch.ts';

async function sample(scratch: Scratch): Promise<void> {
  for (const session of [1, 2]) {
    const log = await scratch.writer();
    await log.append(Array.from({ length: 200 }, (_, i) => version(log, `f${i}`, `${session} ${i}`)));
    await log.append([version(log, 'large', 'x'.repeat(9000 * session))]);
    await log.close();
  }
}

/** Every version whose content can be read, with its hash. */
async function readable(scratch: Scratch, dir: string): Promise<string[]> {
  const { openLogReader } = await import('../../../server/src/log/log.ts');
  const log = await openLogReader({ dir });
  const found: string[] = [];
  for (const change of await all(log)) {
    const content = await log.contentBytes(change).catch(() => undefined);
    if (content !== undefined) found.push(`${versionId(change)} ${sha256(content)}`);
  }
  await log.close();
  return found;
}

test('each file, damaged in turn: what can be derived is written anew, and nothing that was readable is lost', async () => {
  using scratch = new Scratch();
  await sample(scratch);
  const stays: string[] = [];
  for (const file of scratch.files().filter(file => !/^(index|cache|locks)\//.test(file) && file !== 'format.json')) {
    for (const harm of ['flip', 'cut', 'gone', 'empty'] as const) {
      const dir = join(scratch.base, 'harmed');
      cpSync(scratch.dir, dir, { recursive: true });
      const path = join(dir, file);
      const bytes = readFileSync(path);
      if (harm === 'flip') bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 4;
      if (harm === 'flip') writeFileSync(path, bytes);
      if (harm === 'cut') truncateSync(path, bytes.length >> 1);
      if (harm === 'empty') truncateSync(path, 0);
      if (harm === 'gone') rmSync(path);
      const before = await readable(scratch, dir);
      const files = new Set(scratch.filesOf(dir));
      await repairLog(dir, { configDir: scratch.keys });
      const after = await readable(scratch, dir);
      for (const one of before) expect(after).toContain(one);
      // Nothing is deleted: a file stands where it stood, or in quarantine.
      const present = new Set(scratch.filesOf(dir));
      for (const one of files) {
        if (one.startsWith('locks/')) continue;
        expect([one, present.has(one) || present.has(`quarantine/${one}`)]).toEqual([one, true]);
      }
      const left = await scratch.fsck(true, dir);
      if (left.length > 0) stays.push(`${file.replace(/^log\/\w+\//, '')} ${harm}`);
      const again = await repairLog(dir, { configDir: scratch.keys });
      if (left.length === 0) expect(again).toEqual([]);
      expect(await readable(scratch, dir)).toEqual(after);
      rmSync(dir, { recursive: true });
    }
  }
  // What nothing can be derived from stays damaged, and stays reported.
  expect([...new Set(stays.map(one => one.split(' ')[0]))].sort()).toEqual([
    '00000000000000000001-000000.seg',
    'device.json'
  ]);
}, 300_000);

test('records that were rewritten are not signed anew: tiles and checkpoint are the evidence', async () => {
  using scratch = new Scratch();
  await sample(scratch);
  const backup = join(scratch.base, 'backup');
  cpSync(scratch.dir, backup, { recursive: true });
  const log = await scratch.writer();
  await log.append([version(log, 'more', 'more')]);
  await log.close();
  rmSync(scratch.dir, { recursive: true });
  cpSync(backup, scratch.dir, { recursive: true });
  rmSync(join(scratch.segment(), '..', 'checkpoint'));
  await repairLog(scratch.dir, { configDir: scratch.keys });
  expect(scratch.files().some(file => file.endsWith('/checkpoint'))).toBe(false);
});

test('what does not belong there is moved aside, with the reason beside it', async () => {
  using scratch = new Scratch();
  await sample(scratch);
  writeFileSync(join(scratch.dir, 'notes.txt'), 'mine');
  expect(await repairLog(scratch.dir, { configDir: scratch.keys })).toMatchObject([
    { did: 'moved', where: 'notes.txt' }
  ]);
  expect(readFileSync(join(scratch.dir, 'quarantine/notes.txt'), 'utf8')).toBe('mine');
  expect(JSON.parse(readFileSync(join(scratch.dir, 'quarantine/notes.txt.why.json'), 'utf8'))).toMatchObject({
    file: 'notes.txt',
    why: 'notes.txt does not belong to a log.'
  });
  expect(await scratch.fsck()).toEqual([]);
  expect(await repairLog(scratch.dir, { configDir: scratch.keys })).toEqual([]);
});
