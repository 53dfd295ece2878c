/**
 * Content on its way from a log to the disk: written in a directory nobody looks at, verified, made durable. Nothing here is
 * visible to the user; what is left over from a crash is removed at the next start.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lutimes, mkdir, open, readdir, rm, rmdir, symlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { utimeSeconds, versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import type { LogReader } from '../log/types.ts';

/** What staging needs of a log. */
export type ContentSource = Pick<LogReader, 'content' | 'contentBytes'>;

const MAX_LINK_TARGET = 4096;
const ASIDE = 'old-';

export class Staging {
  readonly dir: string;
  /** Files taken away from the user's tree by a run that did not end: whoever opens must judge each. */
  readonly leftOver: readonly string[];
  #next = 0;

  private constructor(dir: string, leftOver: readonly string[]) {
    this.dir = dir;
    this.leftOver = leftOver;
  }

  /** Makes the directory, and removes what a crash left half staged. It must lie on the file system of the output. */
  static async open(dir: string): Promise<Staging> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const leftOver: string[] = [];
    for (const name of await readdir(dir)) {
      if (name.startsWith(ASIDE)) {
        leftOver.push(join(dir, name));
      } else {
        await rm(join(dir, name), { recursive: true, force: true });
      }
    }
    return new Staging(dir, leftOver);
  }

  /** A free name for content on its way in. */
  name(): string {
    this.#next += 1;
    return join(this.dir, `new-${process.pid}-${this.#next}`);
  }

  /** A free name for what is taken away from the user's tree; survives a crash. */
  asideName(): string {
    this.#next += 1;
    return join(this.dir, `${ASIDE}${process.pid}-${Date.now().toString(36)}-${this.#next}`);
  }

  /**
   * Writes a version to a new file, verified, with its permission bits and modification time, durable.
   *
   * @returns The path of the staged file or link.
   * @throws SyftError VERSION_HAS_NO_CONTENT, LOG_DAMAGED; system errors of the disk.
   */
  async stage(source: ContentSource, version: Change): Promise<string> {
    const staged = this.name();
    try {
      await (version.type === 'symlink' ? stageLink(source, version, staged) : stageFile(source, version, staged));
      return staged;
    } catch (error) {
      await rm(staged, { force: true });
      throw error;
    }
  }

  /** Removes the directory when nothing is left in it. */
  async close(): Promise<void> {
    await rmdir(this.dir).catch(() => undefined);
  }
}

function damaged(version: Change): SyftError {
  const path = displayPath(version.path);
  return new SyftError(
    'LOG_DAMAGED',
    `The content of version ${versionId(version)} of ${path} is damaged in the log; nothing was written.`,
    {
      path
    }
  );
}

async function stageLink(source: ContentSource, version: Change, staged: string): Promise<void> {
  const target = await source.contentBytes(version);
  if (createHash('sha256').update(target).digest('hex') !== version.hash) {
    throw damaged(version);
  }
  if (target.length === 0 || target.length > MAX_LINK_TARGET || target.includes(0)) {
    throw new SyftError('PATH_INVALID', `Version ${versionId(version)} is not a link that can be made.`, {
      path: displayPath(version.path)
    });
  }
  await symlink(target, staged);
  if (version.mtime !== undefined) {
    await lutimes(staged, utimeSeconds(version.mtime), utimeSeconds(version.mtime));
  }
}

async function stageFile(source: ContentSource, version: Change, staged: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(
      staged,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600
    );
    const hash = createHash('sha256');
    for await (const piece of source.content(version)) {
      hash.update(piece);
      for (let offset = 0; offset < piece.length;) {
        offset += (await handle.write(piece, offset)).bytesWritten;
      }
    }
    if (hash.digest('hex') !== version.hash) {
      throw damaged(version);
    }
    // Never set-user-id and its kin: those are not for another machine to give.
    await handle.chmod((version.mode ?? 0o644) & 0o777);
    if (version.mtime !== undefined) {
      await handle.utimes(utimeSeconds(version.mtime), utimeSeconds(version.mtime));
    }
    await handle.sync();
  } finally {
    await handle?.close();
  }
}
