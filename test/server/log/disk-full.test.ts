/** A full disk must cost what could not be written, and nothing else: no acknowledged change, and not the log. */
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Change } from '../../../server/src/core/change.ts';
import { all, Scratch, sha256, version } from './scratch.ts';

/** A file system of a few megabytes inside the test's own folder; `real` is false where one may not mount. */
class SmallDisk implements Disposable {
  readonly real: boolean;
  readonly #dir: string;

  constructor(dir: string, size: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    let real = true;
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', dir], { stdio: 'ignore' });
    } catch {
      real = false;
    }
    this.real = real;
  }

  [Symbol.dispose](): void {
    if (this.real) execFileSync('umount', [this.#dir]);
  }
}

test('an append that does not fit is refused with its code; what was acknowledged stays, and later it goes on', async () => {
  using scratch = new Scratch();
  const disk = join(scratch.base, 'disk');
  const dir = join(disk, 'log');
  using small = new SmallDisk(disk, '8m');
  const log = await scratch.writer({ dir });
  const kept: { change: Change; hash: string }[] = [];
  const put = async (path: string, size: number): Promise<void> => {
    const bytes = randomBytes(size);
    const [change] = await log.append([version(log, path, bytes)]);
    kept.push({ change: change!, hash: sha256(bytes) });
  };
  await put('before', 100_000);
  if (small.real) {
    // Fill it by what the user does, nearly and then over the edge.
    writeFileSync(join(disk, 'users.bin'), Buffer.alloc(4_000_000));
    const refusals: string[] = [];
    for (let i = 0; i < 20; i += 1) {
      await put(`big-${i}`, 700_000).catch((error: { code?: string }) => refusals.push(error.code ?? String(error)));
    }
    expect(refusals.length).toBeGreaterThan(10);
    expect(new Set(refusals)).toEqual(new Set(['DISK_FULL']));
    // A small one may still fit; either it is there or it is refused.
    await put('small', 10).catch((error: { code?: string }) => expect(error.code).toBe('DISK_FULL'));
    rmSync(join(disk, 'users.bin'));
  } else {
    console.warn('mount is not permitted here: ENOSPC itself was not tried');
  }
  await put('after', 200_000);
  await log.close();
  const reader = await (await import('../../../server/src/log/log.ts')).openLogReader({ dir });
  const changes = await all(reader);
  expect(changes.map(change => change.seq)).toEqual(kept.map(({ change }) => change.seq));
  for (const { change, hash } of kept) expect(sha256(await reader.contentBytes(change))).toBe(hash);
  await reader.close();
  expect(await scratch.fsck(true, dir)).toEqual([]);
});

test('a disk that is read only is said to be', async () => {
  using scratch = new Scratch();
  const disk = join(scratch.base, 'disk');
  using small = new SmallDisk(disk, '2m');
  if (!small.real) {
    console.warn('mount is not permitted here: a read-only disk was not tried');
    return;
  }
  const dir = join(disk, 'log');
  const log = await scratch.writer({ dir });
  await log.append([version(log, 'a', 'x')]);
  await log.close();
  execFileSync('mount', ['-o', 'remount,ro', disk]);
  await expect(scratch.writer({ dir })).rejects.toMatchObject({ code: 'DISK_READ_ONLY' });
  const reader = await (await import('../../../server/src/log/log.ts')).openLogReader({ dir });
  expect(await all(reader)).toHaveLength(1);
  await reader.close();
});
