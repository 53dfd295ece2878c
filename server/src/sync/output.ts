/** The directory that receives: whether it is the one it was, and may be written to. */
import { mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import type { HaltEvent } from './receiving.ts';

/** From so many files on, a directory in which nothing is left was not emptied by what was received. */
const MANY_FILES = 10;

export class Output {
  /** As it was given, absolute. */
  readonly path: string;
  #root = '';
  #id: { dev: bigint; ino: bigint } | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Its path, free of links; empty until it was looked at. */
  get root(): string {
    return this.#root;
  }

  /** The next look takes whatever is there. */
  forget(): void {
    this.#root = '';
    this.#id = undefined;
  }

  /**
   * Makes it when it is missing and was never received into, else looks whether it still is what it was.
   *
   * @param options `tracked`: files that were received; `force`: take it as it is; `dryRun`: make nothing.
   * @returns Why it is not safe to write there.
   */
  async check(options: { tracked: number; force: boolean; dryRun: boolean }): Promise<HaltEvent | undefined> {
    const { tracked, force, dryRun } = options;
    let stats = await stat(this.path, { bigint: true }).catch(() => undefined);
    if (stats === undefined && tracked === 0 && this.#id === undefined) {
      if (dryRun) {
        this.#root = this.path;
        return undefined;
      }
      await mkdir(this.path, { recursive: true });
      stats = await stat(this.path, { bigint: true });
    }
    if (stats?.isDirectory() !== true) {
      return {
        reason: 'output-missing',
        message: `${this.path} is missing; nothing is written until it is back.`
      };
    }
    if (this.#id !== undefined && (stats.dev !== this.#id.dev || stats.ino !== this.#id.ino) && !force) {
      return {
        reason: 'output-replaced',
        message: `${this.path} is not the directory it was; start again with force when that is intended.`
      };
    }
    if (this.#id === undefined || force) {
      this.#id = { dev: stats.dev, ino: stats.ino };
      this.#root = await realpath(this.path);
    }
    if (tracked >= MANY_FILES && !force) {
      const names = (await readdir(this.#root)).filter(name => name !== LOG_DIR_NAME);
      if (names.length === 0) {
        return {
          reason: 'output-emptied',
          message: `Everything in ${this.path} is gone; nothing is written until you say so with force.`
        };
      }
    }
    return undefined;
  }

  /**
   * A directory for contents on their way: on the file system of the output, and not in an encrypted log.
   *
   * @param dir What is remembered of the log received from.
   */
  async stagingFor(dir: string, workspaceId: string, encrypted: boolean): Promise<string> {
    const staging = join(dir, 'staging');
    const inOutput = join(this.#root, `.syft-sync-tmp-${workspaceId.slice(0, 16)}`);
    if (encrypted) return inOutput;
    await mkdir(staging, { recursive: true, mode: 0o700 });
    if ((await stat(staging)).dev === (await stat(this.#root)).dev) return staging;
    // A rename does not reach over file systems: stage in the output, under a name that is never recorded.
    await rm(staging, { recursive: true, force: true });
    return inOutput;
  }
}
