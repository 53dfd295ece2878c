/**
 * Broadcast: keeps another directory byte-equal to a log. Only durable bytes leave the log, in the order in which they
 * became durable, so a mirror is at every moment a readable log; one that was away catches up by what it lacks.
 */
import { EventEmitter } from 'node:events';
import { constants } from 'node:fs';
import { copyFile, lstat, mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../core/errors.ts';

const PIECE = 1 << 20;
const RETRY_MS = 2000;

interface MirrorEvents {
  problem: [{ path?: string; code: string; message: string }];
  synced: [];
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** One mirror of one log. `wake` after each commit; `stop` makes it equal a last time. */
export class LogMirror extends EventEmitter<MirrorEvents> {
  readonly #from: string;
  readonly #to: string;
  #running: Promise<void> | undefined;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #failing = false;
  #stopped = false;

  constructor(from: string, to: string) {
    super();
    this.#from = from;
    this.#to = to;
  }

  /** The log has grown. Cheap to call often. */
  wake(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#running ??= this.#loop().finally(() => (this.#running = undefined));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#running;
    this.#again = true;
    await this.#loop();
  }

  async #loop(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      try {
        await this.#copy();
        this.#failing = false;
        this.emit('synced');
      } catch (error) {
        if (!this.#failing) {
          const message = error instanceof Error ? error.message : String(error);
          this.emit('problem', {
            code: 'DISK_ERROR',
            path: this.#to,
            message: `The copy of the log at ${this.#to} is behind: ${message}`
          });
        }
        this.#failing = true;
        if (!this.#stopped) this.#retry = setTimeout(() => this.wake(), RETRY_MS).unref();
        return;
      }
    }
  }

  async #copy(): Promise<void> {
    await mkdir(this.#to, { recursive: true, mode: 0o700 });
    await this.#replace('format.json');
    for (const device of await readdir(join(this.#from, 'log'))) {
      const relative = join('log', device);
      await mkdir(join(this.#to, relative), { recursive: true, mode: 0o700 });
      const names = (await readdir(join(this.#from, relative))).sort();
      await this.#replace(join(relative, 'device.json'));
      for (const name of names.filter(name => name.endsWith('.seg'))) await this.#extend(join(relative, name));
      // The head says how much is there: it must not run ahead of the segments.
      await this.#replace(join(relative, 'head.json'));
    }
  }

  /** Copies a small file whole, atomically, when it differs. */
  async #replace(relative: string): Promise<void> {
    const from = join(this.#from, relative);
    const to = join(this.#to, relative);
    if ((await sizeOf(from)) === undefined) return;
    const temporary = `${to}.tmp`;
    await rm(temporary, { force: true });
    await copyFile(from, temporary, constants.COPYFILE_EXCL);
    const handle = await open(temporary, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, to);
  }

  /** Appends to the mirror's segment what it lacks; a tail that is not the log's (cut off there after a crash) is replaced. */
  async #extend(relative: string): Promise<void> {
    const from = join(this.#from, relative);
    const to = join(this.#to, relative);
    const target = (await sizeOf(from)) ?? 0;
    const present = await sizeOf(to);
    if (present === target && present !== undefined && (await this.#sameTail(from, to, present))) return;
    const keep = present !== undefined && present <= target && (await this.#sameTail(from, to, present)) ? present : 0;
    const source = await open(from, 'r');
    const sink = await open(to, keep > 0 ? 'r+' : 'w', 0o600);
    try {
      let position = keep;
      while (position < target) {
        const piece = await readAt(source, position, Math.min(PIECE, target - position));
        if (piece.length === 0) break;
        await sink.write(piece, 0, piece.length, position);
        position += piece.length;
      }
      await sink.sync();
    } finally {
      await source.close();
      await sink.close();
    }
  }

  async #sameTail(from: string, to: string, length: number): Promise<boolean> {
    const size = Math.min(4096, length);
    const [a, b] = await Promise.all([open(from, 'r'), open(to, 'r')]);
    try {
      const [left, right] = await Promise.all([readAt(a, length - size, size), readAt(b, length - size, size)]);
      return left.equals(right);
    } finally {
      await Promise.all([a.close(), b.close()]);
    }
  }
}
