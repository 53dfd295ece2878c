/** A receiver that is killed at any moment: no half-written file is ever seen, and the next run ends right. */
import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import { COMPILED, program } from '../program.ts';
import { seen, sha256, World, type HandLog } from './worlds.ts';

const CHILD = program('receive-child');
const FILES = 500;
const KILLS = 30;

/** Runs the child and kills it some time after it has printed `after`. Resolves to how far it had come. */
function runAndKill(log: string, out: string, after: string, delayMs: number): Promise<'before' | 'applying' | 'done'> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [CHILD, log, out], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILED }
    });
    let text = '';
    let armed = false;
    child.stdout.setEncoding('utf8').on('data', (data: string) => {
      text += data;
      if (!armed && text.includes(after)) {
        armed = true;
        setTimeout(() => child.kill('SIGKILL'), delayMs);
      }
    });
    child.on('error', fail);
    child.on('close', () => done(text.includes('done') ? 'done' : text.includes('applying') ? 'applying' : 'before'));
  });
}

function contentOf(i: number, round: number): string {
  return `${round} ${i} `.repeat(20 + ((i * 37) % 400));
}

test('killed 30 times while 500 files change: every file is whole at every moment, and the last run ends byte-equal', async () => {
  await using world = await World.make();
  const log: HandLog = await world.log('log');
  const out = world.path('out');
  const nameOf = (i: number, round: number): string => (i % 10 === 0 ? `moving/${round % 2}/f${i}` : `d${i % 7}/f${i}`);
  const whole = new Map<string, Set<string>>();
  const expected = new Map<string, string>();
  let midway = 0;
  for (let round = 0; round < KILLS; round += 1) {
    const appends: Parameters<HandLog['append']>[0][number][] = [];
    for (let i = 0; i < FILES; i += 1) {
      const path = nameOf(i, round);
      const before = nameOf(i, round - 1);
      const content = contentOf(i, i % 3 === 0 && round > 0 ? round - 1 : round);
      if (i % 50 === 7 && round % 2 === 1) {
        appends.push({ draft: { kind: 'deleted', path, type: 'file' } });
        expected.delete(path);
        continue;
      }
      if (round > 0 && path !== before) {
        const same = expected.get(before) ?? content;
        appends.push({ draft: { kind: 'moved', path, from: before, type: 'file', mode: 0o644 }, content: same });
        expected.delete(before);
      }
      appends.push({ draft: { kind: round === 0 ? 'created' : 'modified', path, type: 'file', mode: 0o644 }, content });
      expected.set(path, content);
      for (const each of [content, expected.get(before)]) {
        if (each !== undefined) {
          whole.set(path, (whole.get(path) ?? new Set()).add(sha256(each)));
        }
      }
    }
    await log.append(appends);
    // At every moment of a run: while it reads the log, and from its first file to about its last.
    const state =
      round % 4 === 3
        ? await runAndKill(log.dir, out, 'starting', Math.random() * 200)
        : await runAndKill(log.dir, out, 'applying', Math.random() * 250);
    midway += state === 'applying' ? 1 : 0;
    for (const entry of await readdir(out, { recursive: true, withFileTypes: true }).catch(() => [])) {
      const path = join(entry.parentPath, entry.name).slice(out.length + 1);
      if (!entry.isFile() || path.startsWith('.syft-sync/')) {
        continue;
      }
      const found = sha256(await readFile(join(out, path)));
      if (whole.get(path)?.has(found) !== true) throw new Error(`${path} is not whole in round ${round}`);
    }
  }
  await using receiver = new SyftLogReceiver({ logPath: log.dir, outputPath: out });
  const report = await receiver.runOnce({ force: true });
  expect(report.conflicts).toBe(0);
  expect(await seen(out)).toEqual(Object.fromEntries([...expected].sort()));
  await receiver.stop();
  // Nothing is left over: no staged file, no false conflict, no lock.
  await expect(lstat(join(out, '.syft-sync/conflicts'))).rejects.toThrow('ENOENT');
  const left = (await readdir(join(out, '.syft-sync'), { recursive: true })).filter(name =>
    /staging|lock|\.new/.test(name)
  );
  expect(left).toEqual([]);
  expect(midway).toBeGreaterThan(KILLS / 4);
}, 180_000);
