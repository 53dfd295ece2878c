/**
 * A file system of a few megabytes inside a test's own folder: ext4 on a loop device, where there are none a tmpfs, and where
 * one may not mount at all none.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../../server/src/core/errors.ts';

export class SmallDisk implements Disposable {
  readonly kind: 'ext4' | 'tmpfs' | 'none';
  readonly dir: string;
  readonly #image: string;

  /** @param dir Mount point; made. @param megabytes Size. */
  constructor(dir: string, megabytes: number) {
    this.dir = dir;
    this.#image = `${dir}.image`;
    mkdirSync(dir, { recursive: true });
    this.kind = this.#loop(megabytes) ? 'ext4' : this.#tmpfs(megabytes) ? 'tmpfs' : 'none';
  }

  #loop(megabytes: number): boolean {
    try {
      writeFileSync(this.#image, '');
      truncateSync(this.#image, megabytes * 2 ** 20);
      execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', '-O', '^has_journal', this.#image], { stdio: 'ignore' });
      execFileSync('mount', ['-o', 'loop', this.#image, this.dir], { stdio: 'ignore' });
      return true;
    } catch {
      rmSync(this.#image, { force: true });
      return false;
    }
  }

  #tmpfs(megabytes: number): boolean {
    try {
      const size = `size=${megabytes}m,mode=700`;
      execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', this.dir], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }

  /** Takes all the room there is, then gives back `free` bytes. */
  fill(free = 0): void {
    const path = join(this.dir, 'ballast');
    const fd = openSync(path, 'w');
    let size = 0;
    try {
      for (let piece = Buffer.alloc(2 ** 16, 7); piece.length > 0;) {
        try {
          size += writeSync(fd, piece);
        } catch (error) {
          if (errnoOf(error) !== 'ENOSPC') throw error;
          piece = piece.subarray(0, piece.length >> 1);
        }
      }
      // A file system that gives out room late says so here.
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (free > 0) truncateSync(path, Math.max(0, size - free));
  }

  /** Gives back all that {@link fill} took. */
  empty(): void {
    rmSync(join(this.dir, 'ballast'), { force: true });
  }

  [Symbol.dispose](): void {
    if (this.kind !== 'none') execFileSync('umount', [this.dir]);
    rmSync(this.#image, { force: true });
  }
}
