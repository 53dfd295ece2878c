/** Receiving into a folder whose own log is encrypted: nothing of its names and contents comes into that log in the clear. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ReceivedIntents } from '../../../server/src/capture/received.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { openLines, sealLines } from '../../../server/src/crypto/sealed-lines.ts';
import { ReceiveState } from '../../../server/src/sync/cursor.ts';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import type { ConflictEvent, ReceiverOptions } from '../../../server/src/sync/receiving.ts';
import { seen, World, type HandLog } from './worlds.ts';

const NAME = 'Geheimakte';
const CONTENT = 'streng vertraulich: ';

/** Everything in a directory that has one of these texts in it, or in its name. */
async function telling(dir: string, texts: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const bytes = entry.isFile() ? await readFile(path) : Buffer.alloc(0);
    if (texts.some(text => entry.name.includes(text) || bytes.includes(text))) found.push(path.slice(dir.length + 1));
  }
  return found.sort();
}

async function once(log: HandLog, out: string, more: Partial<ReceiverOptions>): Promise<ConflictEvent[]> {
  const conflicts: ConflictEvent[] = [];
  await using receiver = new SyftLogReceiver({ logPath: log.dir, outputPath: out, recordWaitMs: 0, ...more });
  receiver.on('conflict', event => conflicts.push(event));
  await receiver.runOnce();
  return conflicts;
}

describe('an output with an encrypted log', () => {
  test('what is remembered, announced, staged and lost in conflicts leaves nothing to read in that log', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const { log: own, keys } = await world.encryptedLog('out/.syft-sync');
    const keysOf = (dir: string): Promise<LogKeys | undefined> => Promise.resolve(dir === own.dir ? keys : undefined);
    for (let i = 0; i < 3; i += 1) await log.write(`${NAME}-${i}/file`, `${CONTENT}${i}`);
    await once(log, out, { keysOf });
    const receive = join(own.dir, 'receive', log.writer.workspaceId);
    expect((await readdir(receive)).sort()).toEqual(['ancestor.ndjson', 'cursor.json']);
    // A recorder with the keys knows what was announced; one with others knows nothing.
    expect(new ReceivedIntents(own.dir, keys).read().map(intent => intent.path)).toEqual(
      expect.arrayContaining([`${NAME}-0/file`, `${NAME}-1/file`, `${NAME}-2/file`])
    );
    expect(new ReceivedIntents(own.dir).read()).toEqual([]);
    // Both sides change one file; another is only agreed on, by what was remembered.
    await writeFile(join(out, `${NAME}-0/file`), `${CONTENT}mine`);
    await rm(join(out, `${NAME}-1`), { recursive: true });
    await log.write(`${NAME}-0/file`, `${CONTENT}theirs`);
    const [conflict] = await once(log, out, { keysOf });
    expect(conflict).toMatchObject({ winner: 'log', keptIn: '.syft-sync-conflicts' });
    expect(await readFile(join(out, '.syft-sync-conflicts', conflict?.kept ?? ''), 'utf8')).toBe(`${CONTENT}mine`);
    // What was removed here and not changed there stays removed: the memory was read back.
    expect(Object.keys(await seen(out)).filter(path => path.startsWith(NAME))).toEqual([
      `${NAME}-0/file`,
      `${NAME}-2/file`
    ]);
    expect(await telling(own.dir, [NAME, CONTENT])).toEqual([]);
    expect((await readdir(out)).filter(name => name.startsWith('.syft-sync-tmp'))).toEqual([]);
  });

  test('a memory of another log, or in the clear, counts for none, and nothing is lost by it', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const { log: own, keys } = await world.encryptedLog('out/.syft-sync');
    const keysOf = (dir: string): Promise<LogKeys | undefined> => Promise.resolve(dir === own.dir ? keys : undefined);
    await log.write('a', 'one');
    await once(log, out, { keysOf });
    const dir = join(own.dir, 'receive', log.writer.workspaceId);
    const journal = join(dir, 'ancestor.ndjson');
    const sealed = await readFile(journal, 'utf8');
    await rm(journal);
    const clear = await ReceiveState.open(dir);
    await clear.agree([['a', { key: 'f', version: 'aaaaaaaa.1', ownAt: '', n: 1 }]]);
    await clear.close();
    const others = new LogKeys(keys.workspace, new Map([[1, randomBytes(32)]]));
    const foreign = sealLines(others, `receive/${log.writer.workspaceId}/ancestor.ndjson`, 'whatever\n');
    for (const strange of [await readFile(journal, 'utf8'), foreign, `${foreign}${sealed.slice(0, 40)}`]) {
      await writeFile(journal, strange);
      expect(await once(log, out, { keysOf })).toEqual([]);
      const now = await readFile(journal, 'utf8');
      expect(now).not.toContain('"a"');
      expect(openLines(keys, `receive/${log.writer.workspaceId}/ancestor.ndjson`, now)).toContain('"a"');
    }
    expect((await seen(out)).a).toBe('one');
  });

  test('without its keys nothing is written into its directory, and the reason is said', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const own = await world.log('out/.syft-sync');
    await log.write(NAME, CONTENT);
    const before = await readdir(own.dir, { recursive: true });
    const keysOf = (dir: string): Promise<undefined> =>
      dir === own.dir
        ? Promise.reject(new SyftError('PASSPHRASE_WRONG', 'The passphrase is wrong.'))
        : Promise.resolve(undefined);
    await expect(once(log, out, { keysOf })).rejects.toMatchObject({ code: 'PASSPHRASE_WRONG' });
    expect(await readdir(own.dir, { recursive: true })).toEqual(before);
    expect(await seen(out)).not.toHaveProperty(NAME);
  });

  test('a torn line loses itself alone, and the journal goes on behind it; elsewhere it opens nothing', async () => {
    await using world = await World.make();
    const dir = world.path('receive');
    const keys = new LogKeys('ab'.repeat(16), new Map([[1, randomBytes(32)]]));
    const seal = { keys, name: 'receive/x' };
    await mkdir(dir);
    const agreed = (n: number): { key: string; version: string; ownAt: string; n: number } => ({
      key: `f ${n}`,
      version: `aaaaaaaa.${n}`,
      ownAt: '',
      n
    });
    const state = await ReceiveState.open(dir, { seal });
    await state.agree([['one', agreed(1)]]);
    const torn = (await readFile(join(dir, 'ancestor.ndjson'))).subarray(0, -9);
    await state.close();
    await writeFile(join(dir, 'ancestor.ndjson'), torn);
    const again = await ReceiveState.open(dir, { seal });
    expect([...again.agreed.keys()]).toEqual([]);
    await again.agree([['one', agreed(1)]]);
    await again.agree([['two', agreed(2)]]);
    await again.close();
    await cp(dir, `${dir}2`, { recursive: true });
    expect([...(await ReceiveState.open(dir, { seal, readOnly: true })).agreed.keys()]).toEqual(['one', 'two']);
    // Put at another place, it is of no use.
    const moved = await ReceiveState.open(`${dir}2`, { seal: { keys, name: 'receive/y' }, readOnly: true });
    expect(moved.agreed.size).toBe(0);
  });
});
