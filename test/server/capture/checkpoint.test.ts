/**
 * A start from the checkpoint must be the start from the whole log, only sooner: what it got wrong would be recorded wrongly, or
 * not at all.
 */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { loadCheckpoint } from '../../../server/src/capture/checkpoint.ts';
import { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { LogCounts } from '../../../server/src/library/workspace.ts';
import { openLogWriter } from '../../../server/src/log/log.ts';
import type { Change } from '../../../server/src/core/change.ts';
import { Workspace } from './workspace.ts';

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await w.close();
});

const file = (): string => join(w.cacheDir, 'checkpoint');
const entries = (): [string, Change][] => [...w.recorder.tree].sort(([a], [b]) => (a < b ? -1 : 1));

/** Ends the recorder and its log, and begins with them anew. */
async function reopen(): Promise<LogCounts> {
  await w.recorder.stop();
  await w.log.close();
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
  const counts = new LogCounts();
  await w.open({ fold: counts });
  w.recorder.on('change', change => counts.add(change));
  return counts;
}

/** What a start from the whole log finds. */
async function withoutCheckpoint(): Promise<{ tree: [string, Change][]; counts: string }> {
  const aside = `${file()}.aside`;
  await w.recorder.stop();
  renameSync(file(), aside);
  const counts = await reopen();
  const found = { tree: entries(), counts: counts.text() };
  await w.recorder.stop();
  renameSync(aside, file());
  return found;
}

test('after any history, with the checkpoint of any moment of it, the tree is that of the log and nothing is recorded anew', async () => {
  const name = fc.constantFrom('a', 'b', 'dir/a', 'dir/deep/b', 'dir/été');
  const step = fc.oneof(
    fc.record({ does: fc.constant('write' as const), name, text: fc.string({ maxLength: 9 }) }),
    fc.record({ does: fc.constant('remove' as const), name }),
    fc.record({ does: fc.constant('rename' as const), name, to: name })
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { maxLength: 5 }), { minLength: 1, maxLength: 4 }),
      fc.nat(3),
      async (rounds, kept) => {
        await w.close();
        w = new Workspace();
        await w.open();
        await w.recorder.capture();
        const old = join(w.base, 'old');
        for (const [round, steps] of rounds.entries()) {
          for (const one of steps) {
            if (one.does === 'write') w.write(one.name, one.text);
            else if (one.does === 'remove') rmSync(w.path(one.name), { force: true });
            else if (existsSync(w.path(one.name)) && existsSync(w.path(join(one.to, '..')))) {
              renameSync(w.path(one.name), w.path(one.to));
            }
          }
          await w.recorder.capture();
          const counts = await reopen();
          expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
          if (round === kept && existsSync(file())) cpSync(file(), old);
          expect(counts.changes).toBe((await Array.fromAsync(w.log.changes())).length);
        }
        if (existsSync(old)) {
          // As after a kill: the checkpoint is older than the log.
          await w.recorder.stop();
          cpSync(old, file());
        }
        const counts = await reopen();
        const tree = entries();
        const text = counts.text();
        expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
        const whole = await withoutCheckpoint();
        expect(tree).toEqual(whole.tree);
        expect(text).toBe(whole.counts);
      }
    ),
    { numRuns: 25 }
  );
});

test('files are not read again, but for those that changed, and those of changes it does not know', async () => {
  for (let i = 0; i < 20; i += 1) w.write(`d/f${i}`, `content ${i}`);
  await (await w.open({ fold: new LogCounts() })).capture();
  // What was written less than a minute ago may still change without a trace, and is read again in any case.
  const clock = jest.spyOn(Date, 'now');
  clock.mockImplementation(() => Math.floor(performance.timeOrigin + performance.now()) + 60_000);
  await w.recorder.capture();
  await reopen();
  let read = 0;
  const onProgress = ({ bytes }: { bytes: number }): void => void (read = bytes);
  expect(await w.recorder.capture({ onProgress })).toMatchObject({ captured: 0, unchanged: 20 });
  expect(read).toBe(0);
  clock.mockRestore();
  w.write('d/f3', 'something else');
  await reopen();
  expect(await w.recorder.capture()).toMatchObject({ captured: 1, unchanged: 19 });
  await reopen();
  const before = statSync(file()).mtimeMs;
  await reopen();
  await w.recorder.stop();
  // Nothing new: it is not written again.
  expect(statSync(file()).mtimeMs).toBe(before);
});

test('damage of any byte, a cut, and a checksum that is right over nonsense cost a replay and nothing else', async () => {
  for (let i = 0; i < 5; i += 1) w.write(`d/f${i}`, `content ${i}`);
  await (await w.open()).capture();
  await w.recorder.stop();
  const whole = readFileSync(file());
  const tree = entries();
  const sealed = (bytes: Buffer): Buffer => {
    bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
    return bytes;
  };
  const headEnd = 13 + whole.readUInt32LE(9);
  const damaged: Buffer[] = [Buffer.alloc(0), Buffer.from('x'), whole.subarray(0, 12), whole.subarray(0, -1)];
  for (let at = 0; at < whole.length; at += 997) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ 0x41;
    damaged.push(bytes);
  }
  for (const change of [
    (text: string) => text.replace('"capacity":1024', '"capacity":1000'),
    (text: string) => text.replace('"size":5', '"size":6'),
    (text: string) => text.replace(/"frame":\d+/, '"frame":-5'),
    (text: string) => text.replace(/"frame":\d+/, '"frame":1e9'),
    (text: string) => text.replace(/"known":\d+/, '"known":99999'),
    (text: string) => text.replace('{', '[')
  ]) {
    const text = Buffer.from(change(whole.subarray(13, headEnd).toString('utf8')));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    damaged.push(sealed(Buffer.concat([whole.subarray(0, 9), length, text, whole.subarray(headEnd)])));
  }
  // Every offset of a row beyond its block.
  const rows = Buffer.from(whole);
  rows.fill(0x7f, headEnd + 4096, headEnd + 8192);
  damaged.push(sealed(rows));
  for (const bytes of damaged) {
    await w.recorder.stop();
    writeFileSync(file(), bytes);
    await w.open();
    expect(entries()).toEqual(tree);
  }
  expect(await w.recorder.capture()).toMatchObject({ captured: 0, unchanged: 5 });
});

test('a log that was put back from a copy is not taken for what the checkpoint goes with', async () => {
  w.write('a', 'one');
  await (await w.open()).capture();
  await w.recorder.stop();
  await w.log.close();
  cpSync(w.logDir, join(w.base, 'copy'), { recursive: true });
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
  await w.open();
  w.write('a', 'two, longer');
  await w.recorder.capture();
  await w.recorder.stop();
  await w.log.close();
  rmSync(w.logDir, { recursive: true });
  renameSync(join(w.base, 'copy'), w.logDir);
  // Its own memory of what it signed would make it a new device; here only the checkpoint is in question.
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'other keys') });
  await w.open();
  expect(w.recorder.tree.get('a')?.size).toBe(3);
  expect(await w.recorder.capture()).toMatchObject({ captured: 1 });
  expect(w.recorder.tree.get('a')?.size).toBe(11);
});

test('a stream of another device that came with older changes is folded in at its place', async () => {
  w.write('a', 'mine');
  await (await w.open()).capture();
  await w.recorder.stop();
  await w.log.close();
  const other = join(w.base, 'other');
  cpSync(w.logDir, other, { recursive: true });
  // The other device goes on from a copy: its change is older than the next one here, and arrives after it.
  const theirs = await openLogWriter({ dir: other, keyDir: join(w.base, 'their keys') });
  const log = theirs.contentRef([]);
  await theirs.append([
    {
      draft: { kind: 'modified', path: 'a', type: 'file', size: 0, flags: [], content: log.ref, hash: '0'.repeat(64) },
      chunks: []
    }
  ]);
  await theirs.close();
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
  await w.open();
  w.write('a', 'mine again');
  await w.recorder.capture();
  await w.recorder.stop();
  await w.log.close();
  cpSync(join(other, 'log', theirs.device), join(w.logDir, 'log', theirs.device), { recursive: true });
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
  const counts = new LogCounts();
  await w.open({ fold: counts });
  expect(counts.changes).toBe(3);
  expect(counts.devices.size).toBe(2);
  expect(w.recorder.tree.get('a')?.size).toBe('mine again'.length);
});

test('that of an encrypted log has no name in it, resumes as any other, and with other keys, moved, or in the clear is none', async () => {
  const masters = new Map([[1, Buffer.alloc(32, 1)]]);
  const name = 'Geheimnis-der-Firma';
  for (let i = 0; i < 5; i += 1) w.write(`${name}/Akte-${i}.txt`, `content ${i}`);
  await (await w.open()).capture();
  await w.recorder.stop();
  const clear = readFileSync(file());
  expect(clear.includes(name)).toBe(true);
  const tree = entries();
  const { workspaceId } = w.log;
  const keys = new LogKeys(workspaceId, masters);
  // One in the clear is not believed, and does not stay.
  expect(loadCheckpoint(w.cacheDir, workspaceId, keys)).toBeUndefined();
  await w.open({ keys });
  await w.recorder.capture();
  await w.recorder.stop();
  const sealed = readFileSync(file());
  for (const part of [name, 'Akte', workspaceId, w.log.device]) expect(sealed.includes(part)).toBe(false);
  expect(readdirSync(w.cacheDir)).toEqual(['checkpoint']);
  expect([...(loadCheckpoint(w.cacheDir, workspaceId, keys)?.tree ?? [])].map(([path]) => path).sort()).toEqual(
    tree.map(([path]) => path)
  );
  expect(loadCheckpoint(w.cacheDir, workspaceId)).toBeUndefined();
  const others = new LogKeys(workspaceId, new Map([[1, Buffer.alloc(32, 2)]]));
  expect(loadCheckpoint(w.cacheDir, workspaceId, others)).toBeUndefined();
  // After a rotation the old one still counts, until the next is written.
  const rotated = new LogKeys(workspaceId, new Map([...masters, [2, Buffer.alloc(32, 3)]]));
  expect(loadCheckpoint(w.cacheDir, workspaceId, rotated)?.tree.size).toBe(tree.length);
  for (let at = 0; at < sealed.length; at += 61) {
    const bytes = Buffer.from(sealed);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file(), bytes);
    expect(loadCheckpoint(w.cacheDir, workspaceId, keys)).toBeUndefined();
  }
  await w.open({ keys });
  expect(entries()).toEqual(tree);
});
