/** Another log as a source. A folder kept in step by a synchronising program must be followed like one on the same disk. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cpSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { FollowedLog } from '../../../server/src/sync/source.ts';
import { Scratch, version } from '../log/scratch.ts';

const home = process.env['SYFT_SYNC_HOME'];
let scratch: Scratch;

beforeEach(() => {
  scratch = new Scratch();
  process.env['SYFT_SYNC_HOME'] = join(scratch.base, 'receiver');
});

afterEach(() => {
  if (home === undefined) delete process.env['SYFT_SYNC_HOME'];
  else process.env['SYFT_SYNC_HOME'] = home;
  scratch[Symbol.dispose]();
});

test('a log whose files are replaced by grown ones goes on, and one put back is refused while it is followed', async () => {
  const write = async (text: string): Promise<void> => {
    const log = await scratch.writer();
    await log.append([version(log, 'a', text)]);
    await log.close();
  };
  const copy = join(scratch.base, 'copy');
  const bring = (): void => {
    const fresh = join(scratch.base, 'fresh');
    cpSync(scratch.dir, fresh, { recursive: true });
    try {
      renameSync(copy, join(scratch.base, `old-${Date.now()}-${Math.random()}`));
    } catch {
      // The first time there is none.
    }
    renameSync(fresh, copy);
  };
  await write('one');
  bring();
  cpSync(copy, join(scratch.base, 'backup'), { recursive: true });
  const followed = new FollowedLog(copy, { onHint: () => undefined, onDamage: () => undefined, guarded: true });
  expect(await followed.next()).toHaveLength(1);
  await write('two');
  bring();
  expect((await followed.next()).map(change => change.seq)).toContain(2);
  renameSync(copy, join(scratch.base, 'newest'));
  renameSync(join(scratch.base, 'backup'), copy);
  await expect(followed.next()).rejects.toMatchObject({ code: 'LOG_REWRITTEN' });
  await followed.close();
});
