/** A folder of the test's own with a log in it, and ways to write and read. */
import { createHash } from 'node:crypto';
import { accessSync, constants, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Change, ChangeDraft } from '../../../server/src/core/change.ts';
import { chunkContent } from '../../../server/src/core/chunking.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { fsckLog } from '../../../server/src/log/fsck.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import type { Append, Damage, LogReader, LogWriter, OpenReader, OpenWriter } from '../../../server/src/log/types.ts';

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** For tests of thousands of logs in which nothing hangs on the disk itself: where syncing costs nothing, if there is such a place. */
export function quickDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK | constants.X_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

export class Scratch implements Disposable {
  readonly base: string;
  readonly dir: string;
  readonly keys: string;

  constructor(parent = tmpdir()) {
    this.base = mkdtempSync(join(parent, 'syft-sync-log-'));
    this.dir = join(this.base, 'log');
    this.keys = join(this.base, 'keys');
  }

  writer(more: Partial<Parameters<typeof openLogWriter>[0]> = {}): Promise<OpenWriter> {
    return openLogWriter({ dir: this.dir, keyDir: this.keys, ...more });
  }

  reader(onDamage: (damage: Damage) => void = () => undefined): Promise<OpenReader> {
    return openLogReader({ dir: this.dir, onDamage });
  }

  /** As if this installation had never seen a checkpoint: what a test copies and goes on with is then no rewritten history. */
  forget(): void {
    rmSync(join(this.keys, 'seen'), { recursive: true, force: true });
  }

  /** The only segment, or the one at `index`, as an absolute path. */
  segment(index = 0): string {
    const found = this.segments()[index];
    if (found === undefined) throw new Error('no such segment');
    return found;
  }

  segments(): string[] {
    const streams = join(this.dir, 'log');
    return readdirSync(streams).flatMap(device =>
      readdirSync(join(streams, device))
        .filter(name => name.endsWith('.seg'))
        .sort()
        .map(name => join(streams, device, name))
    );
  }

  /** All files of the log, relative to it. */
  files(at = ''): string[] {
    return this.filesOf(this.dir, at);
  }

  filesOf(dir: string, at = ''): string[] {
    return readdirSync(join(dir, at))
      .map(name => (at === '' ? name : `${at}/${name}`))
      .flatMap(path => (statSync(join(dir, path)).isDirectory() ? this.filesOf(dir, path) : [path]));
  }

  /** @param configDir Where what was seen before is remembered; without it only the log is asked. */
  async fsck(readData = true, dir = this.dir, configDir?: string): Promise<Damage[]> {
    const found: Damage[] = [];
    for await (const damage of fsckLog(dir, { readData, ...(configDir !== undefined && { configDir }) })) {
      found.push(damage);
    }
    return found;
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** A new version of a file, ready to be appended. */
export function version(log: LogWriter, path: string, text: string | Buffer, more: Partial<ChangeDraft> = {}): Append {
  const bytes = Buffer.from(text);
  const hash = sha256(bytes);
  const { ref, chunks } = log.contentRef([hash]);
  return {
    draft: {
      kind: 'created',
      path,
      type: 'file',
      size: bytes.length,
      hash,
      content: ref,
      mode: 0o644,
      flags: [],
      ...more
    },
    chunks: [{ id: hash, bytes }, ...chunks]
  };
}

export async function all(log: LogReader): Promise<Change[]> {
  const found: Change[] = [];
  for await (const change of log.changes()) found.push(change);
  return found;
}

/** Records a version as a recorder does: on the one before. */
export async function save(
  log: LogWriter,
  path: string,
  bytes: Buffer,
  before?: Change,
  more: Partial<ChangeDraft> = {}
): Promise<Change> {
  const hash = sha256(bytes);
  const chunks = chunkContent(bytes, { notebook: path.endsWith('.ipynb'), contentHash: hash });
  const { ref, chunks: lists } = log.contentRef(chunks.map(({ id }) => id));
  const [change] = await log.append([
    {
      draft: {
        kind: before === undefined ? 'created' : 'modified',
        path,
        type: 'file',
        size: bytes.length,
        hash,
        content: ref,
        mode: 0o644,
        flags: [],
        ...more
      },
      chunks: [...chunks, ...lists],
      ...(before?.content !== undefined && { former: before.content })
    }
  ]);
  return change!;
}

/** The code of the error that a work ends with; `undefined` when it ends without one. */
export async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error instanceof SyftError ? error.code : String(error);
  }
}
