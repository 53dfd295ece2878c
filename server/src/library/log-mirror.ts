/**
 * Broadcast: keeps another directory byte-equal to a log. What is copied was written in that order to the log, so a mirror is
 * at every moment a readable log; one that was away catches up by what it lacks. A mirror never loses what it has.
 */
import { EventEmitter } from 'node:events';
import { lstat, mkdir, open, readdir, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join, relative as pathBelow } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { GITIGNORE, refuseStrangers } from '../log/format-file.ts';
import { readHead } from '../log/head.ts';
import { hasFrame } from '../log/has-frame.ts';
import { syncDirectory } from '../storage/durable.ts';

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

async function contentOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
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
            code: error instanceof SyftError ? error.code : 'DISK_ERROR',
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
    await this.#checkPlace();
    await mkdir(this.#to, { recursive: true, mode: 0o700 });
    await this.#replace('.gitignore', GITIGNORE);
    await this.#replace('format.json', await readFile(join(this.#from, 'format.json')));
    // A stream that may not be copied does not keep back the others: after a rollback the recorder goes on in a new one.
    let refused: Error | undefined;
    for (const device of await readdir(join(this.#from, 'log'))) {
      await this.#copyStream(join('log', device)).catch((error: unknown) => {
        refused ??= error instanceof Error ? error : new SyftError('DISK_ERROR', String(error), { cause: error });
      });
    }
    if (refused !== undefined) throw refused;
  }

  async #copyStream(relative: string): Promise<void> {
    await this.#checkStream(relative);
    // What the head says of the segments must be there before it: it is read first and written last.
    const head = await contentOf(join(this.#from, relative, 'head.json'));
    const notes = new Map<string, Buffer | undefined>();
    for (const name of ['checkpoint', 'seen']) {
      notes.set(name, await contentOf(join(this.#from, relative, name)));
    }
    await mkdir(join(this.#to, relative), { recursive: true, mode: 0o700 });
    const names = (await readdir(join(this.#from, relative))).sort();
    await this.#replace(join(relative, 'device.json'), await contentOf(join(this.#from, relative, 'device.json')));
    for (const name of names.filter(name => name.endsWith('.seg'))) await this.#extend(join(relative, name));
    await this.#copyTree(relative, notes);
    await this.#replace(join(relative, 'head.json'), head);
  }

  /** A checkpoint comes behind the tiles that it needs, and only a new one brings new tiles. */
  async #copyTree(relative: string, notes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
    const checkpoint = notes.get('checkpoint');
    const copied = await contentOf(join(this.#to, relative, 'checkpoint'));
    if (checkpoint !== undefined && copied?.equals(checkpoint) !== true) {
      const entries = await readdir(join(this.#from, relative, 'tile'), { recursive: true, withFileTypes: true });
      for (const entry of entries.filter(entry => entry.isFile() && !entry.name.endsWith('.tmp'))) {
        const tile = join(
          relative,
          'tile',
          pathBelow(join(this.#from, relative, 'tile'), entry.parentPath),
          entry.name
        );
        if ((await sizeOf(join(this.#to, tile))) === (await sizeOf(join(this.#from, tile)))) continue;
        await mkdir(dirname(join(this.#to, tile)), { recursive: true, mode: 0o700 });
        await this.#replace(tile, await contentOf(join(this.#from, tile)));
      }
    }
    for (const [name, note] of notes) await this.#replace(join(relative, name), note);
  }

  /** Another log, or a folder of somebody else, is not to be written over. */
  async #checkPlace(): Promise<void> {
    const format = await contentOf(join(this.#to, 'format.json'));
    if (format === undefined) refuseStrangers(this.#to);
    else if (!format.equals(await readFile(join(this.#from, 'format.json')))) {
      throw new SyftError('LOG_PATH_NOT_DIRECTORY', `${this.#to} holds another log; choose another directory.`, {
        path: this.#to
      });
    }
  }

  /** A copy that holds what the log has lost (put back from an older backup) may be all there is of it. */
  async #checkStream(relative: string): Promise<void> {
    const head = readHead(join(this.#to, relative));
    if (head === undefined || head === 'damaged') return;
    const from = join(this.#from, relative, head.segment);
    const to = join(this.#to, relative, head.segment);
    const [present, copied] = [await sizeOf(from), await sizeOf(to)];
    if (copied === undefined || copied < head.length) return;
    if (present !== undefined && present >= head.length && (await this.#sameTail(from, to, head.length))) return;
    // A segment that was rewritten without dropped contents is shorter, and has the same frames still.
    if (present !== undefined && (await hasFrame(from, head.chain))) return;
    throw new SyftError(
      'LOG_DAMAGED',
      `The copy holds more of ${relative} than the log itself, or other changes; it is left as it is.`,
      { path: this.#to }
    );
  }

  /** Gives a small file this content, atomically, when it has another. */
  async #replace(relative: string, content: Buffer | undefined): Promise<void> {
    const to = join(this.#to, relative);
    if (content === undefined || (await contentOf(to))?.equals(content) === true) return;
    const temporary = `${to}.tmp`;
    const handle = await open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, to);
    syncDirectory(dirname(to));
  }

  /** Appends to the mirror's segment what it lacks; one whose tail is not the log's (cut off there after a crash) is replaced. */
  async #extend(relative: string): Promise<void> {
    const from = join(this.#from, relative);
    const to = join(this.#to, relative);
    const target = (await sizeOf(from)) ?? 0;
    const present = await sizeOf(to);
    const keep = present !== undefined && present <= target && (await this.#sameTail(from, to, present)) ? present : 0;
    if (keep === target && present !== undefined) return;
    const written = keep > 0 ? to : `${to}.tmp`;
    const source = await open(from, 'r');
    try {
      const sink = await open(written, keep > 0 ? 'r+' : 'w', 0o600);
      try {
        let position = keep;
        while (position < target) {
          const piece = await readAt(source, position, Math.min(PIECE, target - position));
          if (piece.length === 0) break;
          for (let done = 0; done < piece.length;) {
            done += (await sink.write(piece, done, piece.length - done, position + done)).bytesWritten;
          }
          position += piece.length;
        }
        await sink.sync();
      } finally {
        await sink.close();
      }
    } finally {
      await source.close();
    }
    if (written === to) return;
    await rename(written, to);
    syncDirectory(dirname(to));
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
