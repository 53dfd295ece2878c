/**
 * Broadcast: keeps a copy of a log in a storage. What is copied was written in that order to the log, so a mirror is
 * at every moment a readable log; one that was away catches up by what it lacks. A mirror never loses what it has.
 */
import { EventEmitter } from 'node:events';
import { lstat, open, readdir, readFile, type FileHandle } from 'node:fs/promises';
import { join, relative as pathBelow, sep } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { GITIGNORE, refuseStrangers } from '../log/format-file.ts';
import { hasFrame } from '../log/has-frame.ts';
import { parseHead } from '../log/head.ts';
import { partName, storedBytes, storedSegment, type StoredSegment } from '../log/stored-segment.ts';
import { FULL_TILE_FILE } from '../log/tile-files.ts';
import { FsStorage } from '../storage/fs.ts';
import { isLegalName, MAX_READ, readSmall, type Body, type Storage } from '../storage/storage.ts';

const PIECE = 1 << 20;
const RETRY_MS = 2000;
/** Where objects do not grow, so many parts of a segment are made one object. */
const MAX_PARTS = 64;

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

/** The files with tiles, relative to the stream's directory. */
async function tileFiles(streamDir: string): Promise<string[]> {
  const dir = join(streamDir, 'tile');
  try {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    return entries
      .filter(entry => entry.isFile())
      .map(entry => pathBelow(streamDir, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
      .sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** One mirror of one log. `wake` after each commit; `stop` makes it equal a last time. */
export class LogMirror extends EventEmitter<MirrorEvents> {
  readonly #from: string;
  readonly #to: Storage;
  #running: Promise<void> | undefined;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #failing = false;
  #stopped = false;

  /**
   * @param from Directory of the log.
   * @param to Where the copy lies: a directory, or any storage.
   */
  constructor(from: string, to: string | Storage) {
    super();
    this.#from = from;
    this.#to = typeof to === 'string' ? new FsStorage(to) : to;
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
            path: this.#to.location,
            message: `The copy of the log at ${this.#to.location} is behind: ${message}`
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
    await this.#replace('.gitignore', GITIGNORE);
    await this.#replace('format.json', await readFile(join(this.#from, 'format.json')));
    // A stream that may not be copied does not keep back the others: after a rollback the recorder goes on in a new one.
    let refused: Error | undefined;
    for (const device of await readdir(join(this.#from, 'log'))) {
      await this.#copyStream(`log/${device}`).catch((error: unknown) => {
        refused ??= error instanceof Error ? error : new SyftError('DISK_ERROR', String(error), { cause: error });
      });
    }
    if (refused !== undefined) throw refused;
  }

  async #copyStream(stream: string): Promise<void> {
    await this.#checkStream(stream);
    // What the head says of the segments must be there before it: it is read first and written last.
    const head = await contentOf(join(this.#from, stream, 'head.json'));
    const notes = new Map<string, Buffer | undefined>();
    for (const name of ['checkpoint', 'seen']) notes.set(name, await contentOf(join(this.#from, stream, name)));
    const segments = (await readdir(join(this.#from, stream))).filter(name => name.endsWith('.seg')).sort();
    await this.#replace(`${stream}/device.json`, await contentOf(join(this.#from, stream, 'device.json')));
    for (const name of segments) await this.#extend(`${stream}/${name}`, name !== segments.at(-1));
    await this.#copyTree(stream, notes);
    await this.#replace(`${stream}/head.json`, head);
  }

  /** A checkpoint comes behind the tiles that it needs, and only a new one brings new tiles. */
  async #copyTree(stream: string, notes: ReadonlyMap<string, Buffer | undefined>): Promise<void> {
    const checkpoint = notes.get('checkpoint');
    const copied = await readSmall(this.#to, `${stream}/checkpoint`, MAX_READ);
    if (checkpoint !== undefined && copied?.equals(checkpoint) !== true) {
      for (const file of await tileFiles(join(this.#from, stream))) {
        const name = `${stream}/${file}`;
        if (!isLegalName(name)) continue;
        // One that several tiles share grows as a segment does, and grows no more when it is full.
        if (name.endsWith('.tiles'))
          await this.#extend(name, (await sizeOf(join(this.#from, name))) === FULL_TILE_FILE);
        else if ((await this.#to.stat(name))?.size !== (await sizeOf(join(this.#from, name)))) {
          await this.#replace(name, await contentOf(join(this.#from, name)));
        }
      }
    }
    for (const [name, note] of notes) await this.#replace(`${stream}/${name}`, note);
  }

  /** Another log, or a folder of somebody else, is not to be written over. */
  async #checkPlace(): Promise<void> {
    const { location } = this.#to;
    const format = await readSmall(this.#to, 'format.json', MAX_READ);
    if (format === undefined) {
      // A folder may hold names that no storage lists.
      if (this.#to instanceof FsStorage) refuseStrangers(location);
      else {
        const { objects } = await this.#to.list('', { limit: 10 });
        const stranger = objects.find(({ name }) => name !== '.gitignore');
        if (stranger !== undefined) {
          throw new SyftError(
            'LOG_PATH_NOT_DIRECTORY',
            `${location} is not empty and holds no log (${stranger.name}); choose another place for the copy.`,
            { path: location }
          );
        }
      }
    } else if (!format.equals(await readFile(join(this.#from, 'format.json')))) {
      throw new SyftError('LOG_PATH_NOT_DIRECTORY', `${location} holds another log; choose another directory.`, {
        path: location
      });
    }
  }

  /** A copy that holds what the log has lost (put back from an older backup) may be all there is of it. */
  async #checkStream(stream: string): Promise<void> {
    const text = await readSmall(this.#to, `${stream}/head.json`, MAX_READ);
    const head = text === undefined ? undefined : parseHead(text.toString('utf8'));
    if (head === undefined || head === 'damaged') return;
    const segment = `${stream}/${head.segment}`;
    const present = await sizeOf(join(this.#from, segment));
    const copied = await storedSegment(this.#to, segment);
    if (copied === undefined || copied.size < head.length) return;
    if (present !== undefined && present >= head.length && (await this.#sameTail(segment, copied, head.length))) return;
    // A segment that was rewritten without dropped contents is shorter, and has the same frames still.
    if (present !== undefined && (await hasFrame(join(this.#from, segment), head.chain))) return;
    throw new SyftError(
      'LOG_DAMAGED',
      `The copy holds more of ${stream} than the log itself, or other changes; it is left as it is.`,
      { path: this.#to.location }
    );
  }

  /** Gives a small file this content, atomically, when it has another. */
  async #replace(name: string, content: Buffer | undefined): Promise<void> {
    if (content === undefined || (await readSmall(this.#to, name, MAX_READ))?.equals(content) === true) return;
    await this.#to.put(name, content);
  }

  /**
   * Brings the copy of a segment what it lacks; one whose tail is not the log's (cut off there after a crash) is replaced.
   *
   * @param sealed The segment grows no more.
   */
  async #extend(name: string, sealed: boolean): Promise<void> {
    const target = (await sizeOf(join(this.#from, name))) ?? 0;
    // An empty part would stand in the place of the first one.
    if (target === 0) return;
    const stored = await storedSegment(this.#to, name);
    const same = stored !== undefined && stored.size <= target && (await this.#sameTail(name, stored, stored.size));
    const keep = same ? stored.size : 0;
    const merged = (stored?.parts.length ?? 0) === 0;
    if (keep === target && stored !== undefined && (merged || !sealed)) return;
    if (this.#to.append !== undefined && keep > 0 && merged) {
      await this.#to.append(name, keep, this.#body(name, keep, target));
    } else if (
      this.#to.append === undefined &&
      !sealed &&
      (same || stored === undefined) &&
      (stored?.parts.length ?? 0) < MAX_PARTS
    ) {
      await this.#to.put(partName(name, keep), this.#body(name, keep, target), { ifAbsent: true });
    } else {
      await this.#to.put(name, this.#body(name, 0, target));
      for (const part of stored?.parts ?? []) await this.#to.delete(part);
    }
  }

  /** The bytes of a file of the log from `offset` to `end`. */
  #body(name: string, offset: number, end: number): Body {
    const path = join(this.#from, name);
    return {
      size: end - offset,
      async *pieces() {
        const source = await open(path, 'r');
        try {
          for (let at = offset; at < end;) {
            const piece = await readAt(source, at, Math.min(PIECE, end - at));
            if (piece.length === 0) return;
            yield piece;
            at += piece.length;
          }
        } finally {
          await source.close();
        }
      }
    };
  }

  async #sameTail(name: string, stored: StoredSegment, length: number): Promise<boolean> {
    const start = Math.max(0, length - 4096);
    const copied = Buffer.concat(await Array.fromAsync(storedBytes(this.#to, stored, start, length)));
    const source = await open(join(this.#from, name), 'r');
    try {
      return (await readAt(source, start, length - start)).equals(copied);
    } finally {
      await source.close();
    }
  }
}
