/**
 * A small file system with the log on it is filled ten times under the real recorder. Each time the user is told with a code,
 * nothing that was said to be recorded is lost, and recording goes on by itself once there is room, also after the recorder
 * was killed while the disk was full.
 */
import { expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { changeToJson, type Change } from '../../../server/src/core/change.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import { Scratch, sha256 } from '../log/scratch.ts';
import { SmallDisk } from '../log/small-disk.ts';
import { CommandLine, type Watch } from './run.ts';

const TIMES = 10;

test(`a disk that is filled ${TIMES} times`, async () => {
  using scratch = new Scratch();
  using disk = new SmallDisk(join(scratch.base, 'disk'), 24);
  if (disk.kind === 'none') {
    console.warn('mounting is not permitted here: no disk was filled');
    return;
  }
  if (disk.kind === 'tmpfs') console.warn('there are no loop devices here: a tmpfs was filled, not a disk');
  const root = join(scratch.base, 'root');
  const dir = join(disk.dir, 'log');
  mkdirSync(root);
  const cli = new CommandLine(root, join(scratch.base, 'home'));
  const on = (...args: string[]): string[] => ['--json', '--log', dir, ...args];
  const written = new Map<string, string>();
  const write = (name: string, bytes: Buffer): string => {
    writeFileSync(join(root, name), bytes);
    written.set(name, sha256(bytes));
    return `sha256:${sha256(bytes)}`;
  };
  const acknowledged: Record<string, unknown>[] = [];
  let watch: Watch | undefined;
  const start = async (): Promise<Watch> => {
    watch = await cli.watch('-v', '--log', dir);
    return watch;
  };
  const said = (of: Watch): void => {
    acknowledged.push(...of.lines.filter(line => typeof line['versionId'] === 'string'));
  };

  write('keeps', Buffer.from('from the beginning'));
  let running = await start();
  let refused = 0;
  try {
    for (let round = 0; round < TIMES; round += 1) {
      // To the last byte by others, or with room for small things but not for what is recorded next.
      disk.fill(round % 2 === 0 ? 0 : 400_000);
      const wanted = [write('keeps', Buffer.from(`round ${round}`)), write(`big-${round}`, randomBytes(600_000))];
      const flush = await cli.run(on('flush'));
      expect([flush.status, flush.stderr]).toEqual([1, expect.stringContaining('[DISK_FULL]')]);
      refused += 1;
      // Whoever looks at the recorder itself is told as well.
      expect(running.stderr).toContain('[DISK_FULL]');
      running.stderr = '';

      if (round % 3 === 2) {
        // Killed while the disk is full, and started again while it still is.
        await running.end('SIGKILL');
        said(running);
        const again = await cli.run(on('capture'));
        expect([again.status, again.stderr]).toEqual([1, expect.stringContaining('[DISK_FULL]')]);
        disk.empty();
        running = await start();
      } else {
        disk.empty();
      }
      // By itself: nobody asks for it.
      for (const hash of wanted) await running.until(line => line['hash'] === hash);
      while (round % 3 !== 2 && !running.stderr.includes('recording again')) await sleep(10);
    }
    said(running);
    expect(await running.end()).toBe(0);
  } finally {
    await watch?.end('SIGKILL');
  }
  expect(refused).toBe(TIMES);
  expect(await cli.ok(...on('capture').slice(1))).toMatchObject([{ captured: 0, deleted: 0 }]);
  expect(await scratch.fsck(true, dir)).toEqual([]);

  const log = await openLogReader({ dir, onDamage: damage => expect(damage).toBeUndefined() });
  const found = new Map<string, Change>();
  for await (const change of log.changes()) found.set(changeToJson(change).versionId, change);
  expect(acknowledged.length).toBeGreaterThan(2 * TIMES);
  for (const line of acknowledged) {
    const change = found.get(String(line['versionId']));
    if (change === undefined) throw new Error(`was acknowledged and is not there: ${JSON.stringify(line)}`);
    expect(changeToJson(change)).toEqual(line);
    expect(sha256(await log.contentBytes(change))).toBe(change.hash);
  }
  const hashes = new Set([...found.values()].map(change => change.hash));
  for (const name of readdirSync(root)) expect(hashes.has(sha256(readFileSync(join(root, name))))).toBe(true);
  await log.close();
  rmSync(dir, { recursive: true });
}, 300_000);
