/**
 * Broadcast: keeps a copy of a log in a storage. What is copied was written in that order to the log, so a mirror is
 * at every moment a readable log; one that was away catches up by what it lacks. A mirror never loses what it has. Of an encrypted
 * log it is the sealed bytes as they are, with the key file: nothing is opened, and no key is needed.
 */
import { EventEmitter } from 'node:events';
import { lstat, open, readdir, readFile, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, relative as pathBelow, sep } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { epochsIn, KEY_FILE } from '../crypto/key-file.ts';
import { GITIGNORE, refuseStrangers } from '../log/format-file.ts';
import { frameEnd } from '../log/segment-frames.ts';
import { encodeHead, parseHead, type Head } from '../log/head.ts';
import { partName, storedBytes, storedSegment, type StoredSegment } from '../log/stored-segment.ts';
import { FULL_TILE_FILE } from '../log/tile-files.ts';
import { contentOf } from '../storage/durable.ts';
import { FsStorage } from '../storage/fs.ts';
import { isLegalName, MAX_READ, readSmall, type Body, type Storage } from '../storage/storage.ts';

const PIECE = 1 << 20;
const RETRY_MS = 2000;
/** Where objects do not grow, so many parts of a segment are made one object. */
const MAX_PARTS = 64;
/** After this time the whole copy is looked at again, milliseconds: somebody else may have touched it. */
const CHECK_MS = 600_000;

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

/** A small file of the log, and what it was like right before it was read. */
interface Small {
  readonly print: string;
  /** Absent where the copy is known to have it. */
  readonly content?: Buffer;
}

/** Differs when a file was replaced or written to. */
async function printOf(path: string): Promise<{ readonly print: string; readonly size: number } | undefined> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await lstat(path, { bigint: true });
    return { print: [dev, ino, size, mtimeNs, ctimeNs].join(':'), size: Number(size) };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
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
  /** Files of the log as they were when the copy was found, or made, equal to them. */
  readonly #known = new Map<string, string>();
  #checked = -Infinity;
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
    this.#known.clear();
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
        this.#known.clear();
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
    if (performance.now() - this.#checked > CHECK_MS) {
      this.#known.clear();
      this.#checked = performance.now();
    }
    await this.#checkPlace();
    await this.#replace('.gitignore', { print: '', content: GITIGNORE });
    await this.#copyKeys();
    await this.#replace('format.json', await this.#small('format.json'));
    // A stream that may not be copied does not keep back the others: after a rollback the recorder goes on in a new one.
    let refused: Error | undefined;
    const attempt = async (work: () => Promise<void>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (error) {
        refused ??= error instanceof Error ? error : new SyftError('DISK_ERROR', String(error), { cause: error });
        return false;
      }
    };
    // What the notes of any stream say of segments must be there before them: they are read before all and written after all.
    const streams = (await readdir(join(this.#from, 'log'))).map(device => `log/${device}`);
    const notes = new Map<string, ReadonlyMap<string, Small | undefined>>();
    for (const stream of streams) {
      const own = new Map<string, Small | undefined>();
      for (const name of ['head.json', 'seen', 'checkpoint']) own.set(name, await this.#small(`${stream}/${name}`));
      notes.set(stream, own);
    }
    const copied: { readonly stream: string; readonly rewritten: string[] }[] = [];
    for (const stream of streams) {
      const rewritten: string[] = [];
      if (await attempt(() => this.#copyStream(stream, notes.get(stream)?.get('checkpoint'), rewritten))) {
        copied.push({ stream, rewritten });
      }
    }
    for (const { stream } of copied) {
      for (const name of ['seen', 'head.json']) {
        await attempt(() => this.#replace(`${stream}/${name}`, notes.get(stream)?.get(name)));
      }
    }
    // The act by which contents go is there now, and the checkpoint that covers it.
    for (const name of copied.flatMap(({ rewritten }) => rewritten)) await attempt(() => this.#put(name));
    if (refused !== undefined) throw refused;
  }

  /** @param rewritten Takes up the segments that are to be put in place of the copy's at the end. */
  async #copyStream(stream: string, checkpoint: Small | undefined, rewritten: string[]): Promise<void> {
    if (!this.#known.has(`${stream}/head.json`)) await this.#checkStream(stream);
    const segments = (await readdir(join(this.#from, stream))).filter(name => name.endsWith('.seg')).sort();
    // After they were listed: a segment of a new epoch is begun when its key is in the file.
    await this.#copyKeys();
    await this.#replace(`${stream}/device.json`, await this.#small(`${stream}/device.json`));
    for (const name of segments) {
      if (!(await this.#extend(`${stream}/${name}`, name !== segments.at(-1)))) rewritten.push(`${stream}/${name}`);
    }
    await this.#copyTree(stream, checkpoint);
  }

  /** The key file of an encrypted log. One that was put back to an older state must not cost the copy the newer keys. */
  async #copyKeys(): Promise<void> {
    const small = await this.#small(KEY_FILE);
    if (small?.content === undefined || this.#known.get(KEY_FILE) === small.print) return;
    const own = small.content;
    const copied = await readSmall(this.#to, KEY_FILE, MAX_READ);
    if (copied !== undefined && !copied.equals(own) && epochsIn(copied) > epochsIn(own)) {
      throw new SyftError(
        'KEY_MISMATCH',
        `The copy has a newer key file than the log; put ${KEY_FILE} of the copy back into the log.`,
        { path: this.#to.location }
      );
    }
    await this.#replace(KEY_FILE, small);
  }

  /** A checkpoint comes behind the tiles that it needs, and only a new one brings new tiles. */
  async #copyTree(stream: string, checkpoint: Small | undefined): Promise<void> {
    if (checkpoint?.content === undefined) return;
    const copied = await readSmall(this.#to, `${stream}/checkpoint`, MAX_READ);
    if (copied?.equals(checkpoint.content) !== true) {
      for (const file of await tileFiles(join(this.#from, stream))) {
        const name = `${stream}/${file}`;
        if (!isLegalName(name)) continue;
        const size = await sizeOf(join(this.#from, name));
        if (name.endsWith('.tiles')) {
          // One that several tiles share grows as a segment does, and grows no more when it is full.
          await this.#extend(name, size === FULL_TILE_FILE);
          continue;
        }
        if (this.#known.get(name) === String(size)) continue;
        if ((await this.#to.stat(name))?.size !== size) {
          const content = await contentOf(join(this.#from, name));
          if (content !== undefined) await this.#to.put(name, content);
        }
        this.#known.set(name, String(size));
      }
    }
    await this.#replace(`${stream}/checkpoint`, checkpoint);
  }

  /** A small file of the log, which is not read when the copy is known to have it. */
  async #small(name: string): Promise<Small | undefined> {
    const found = await printOf(join(this.#from, name));
    if (found === undefined || this.#known.get(name) === found.print) return found;
    const content = await contentOf(join(this.#from, name));
    return content === undefined ? undefined : { print: found.print, content };
  }

  /** Another log, or a folder of somebody else, is not to be written over. */
  async #checkPlace(): Promise<void> {
    const { location } = this.#to;
    const format = await readSmall(this.#to, 'format.json', MAX_READ);
    if (format === undefined) {
      this.#known.clear();
      // A folder may hold names that no storage lists.
      if (this.#to instanceof FsStorage) refuseStrangers(location, true);
      else {
        const { objects } = await this.#to.list('', { limit: 10 });
        const stranger = objects.find(({ name }) => name !== '.gitignore' && name !== KEY_FILE);
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
    const head = await this.#copiedHead(stream);
    if (head === undefined) return;
    const segment = `${stream}/${head.segment}`;
    const present = await sizeOf(join(this.#from, segment));
    const copied = await storedSegment(this.#to, segment);
    if (copied === undefined || copied.size < head.length) return;
    if (present !== undefined && present >= head.length && (await this.#sameTail(segment, copied, head.length))) return;
    // A segment that was rewritten without dropped contents is shorter, and has the same frames still.
    if (present !== undefined && (await frameEnd(join(this.#from, segment), head.chain)) !== undefined) return;
    throw new SyftError(
      'LOG_DAMAGED',
      `The copy holds more of ${stream} than the log itself, or other changes; it is left as it is.`,
      { path: this.#to.location }
    );
  }

  /** Gives a small file the content that it has in the log, atomically, when it has another. */
  async #replace(name: string, small: Small | undefined): Promise<void> {
    if (small?.content === undefined || this.#known.get(name) === small.print) return;
    if ((await readSmall(this.#to, name, MAX_READ))?.equals(small.content) !== true) {
      await this.#to.put(name, small.content);
    }
    this.#known.set(name, small.print);
  }

  /**
   * Brings the copy of a segment, or of a file of tiles, what it lacks; one whose tail is not the log's (cut off there after a crash) is replaced.
   *
   * @param sealed The segment grows no more.
   * @returns False when the copy has all frames, but more of them than the log: it was rewritten without dropped contents.
   */
  async #extend(name: string, sealed: boolean): Promise<boolean> {
    const found = await printOf(join(this.#from, name));
    // An empty part would stand in the place of the first one.
    if (found === undefined || found.size === 0) return true;
    const print = `${found.print} ${sealed}`;
    if (this.#known.get(name) === print) return true;
    const target = found.size;
    const stored = await storedSegment(this.#to, name);
    const same = stored !== undefined && stored.size <= target && (await this.#sameTail(name, stored, stored.size));
    const keep = same ? stored.size : 0;
    const merged = (stored?.parts.length ?? 0) === 0;
    if (keep === target && stored !== undefined && (merged || !sealed)) {
      // It is as it should be.
    } else if (this.#to.append !== undefined && keep > 0 && merged) {
      await this.#to.append(name, keep, this.#body(name, keep, target));
    } else if (
      this.#to.append === undefined &&
      !sealed &&
      (same || stored === undefined) &&
      (stored?.parts.length ?? 0) < MAX_PARTS
    ) {
      await this.#to.put(partName(name, keep), this.#body(name, keep, target), { ifAbsent: true });
    } else if (name.endsWith('.seg') && stored !== undefined && !same && (await this.#complete(name, stored, target))) {
      return false;
    } else {
      await this.#put(name);
    }
    this.#known.set(name, print);
    return true;
  }

  /** Gives the copy of a segment that was rewritten the frames that it lacks. False when it cannot be told which. */
  async #complete(name: string, stored: StoredSegment, target: number): Promise<boolean> {
    const head = await this.#copiedHead(dirname(name));
    if (head === undefined || basename(name) > head.segment) return false;
    if (basename(name) < head.segment) return true;
    const rest = head.length === stored.size ? await frameEnd(join(this.#from, name), head.chain) : undefined;
    if (rest === undefined) return false;
    if (rest === target) return true;
    const body = this.#body(name, rest, target);
    if (this.#to.append !== undefined && stored.parts.length === 0) await this.#to.append(name, stored.size, body);
    else await this.#to.put(partName(name, stored.size), body, { ifAbsent: true });
    return true;
  }

  async #copiedHead(stream: string): Promise<Head | undefined> {
    const text = await readSmall(this.#to, `${stream}/head.json`, MAX_READ);
    const head = text === undefined ? undefined : parseHead(text.toString('utf8'));
    return head === 'damaged' ? undefined : head;
  }

  /** Puts a whole segment in place of what the copy has of it. A head may be behind its segment, never ahead: it is shortened first. */
  async #put(name: string): Promise<void> {
    const path = join(this.#from, name);
    const target = await sizeOf(path);
    if (target === undefined) return;
    const stream = dirname(name);
    const head = await this.#copiedHead(stream);
    const end = head?.segment === basename(name) ? await frameEnd(path, head.chain) : undefined;
    if (head !== undefined && end !== undefined && end < head.length) {
      this.#known.delete(`${stream}/head.json`);
      await this.#to.put(`${stream}/head.json`, encodeHead({ ...head, length: end }));
    }
    const before = await storedSegment(this.#to, name);
    await this.#to.put(name, this.#body(name, 0, target));
    for (const part of before?.parts ?? []) await this.#to.delete(part);
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
