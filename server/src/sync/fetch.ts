/**
 * Brings a log from a storage into a directory of this machine, by what has changed. What vouches for something is read before it and
 * written after it, so the copy is a log without damage wherever a fetch was cut off, and however far its writer was just then.
 *
 * The copy may be the last that has what the storage has lost. It never gives up a frame but for one that has the same records:
 * a storage that no longer has what was fetched from it is refused.
 */
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { open, readdir, rename, rm, statfs, truncate } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HASH_SIZE, type TilePlace } from '../core/merkle.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { epochsIn, KEY_FILE, MAX_KEY_FILE } from '../crypto/key-file.ts';
import { GITIGNORE, readFormatFile } from '../log/format-file.ts';
import { encodeHead, parseHead, readHead, type Head } from '../log/head.ts';
import {
  decodeSegmentHeader,
  FRAME_HEADER,
  MAX_SECTION,
  parseSegmentName,
  SEGMENT_HEADER,
  SEGMENT_SIZE
} from '../log/layout.ts';
import { WriterLock } from '../log/lock.ts';
import { frameEnd, lastFrame } from '../log/segment-frames.ts';
import { segmentKey, storedBytes, storedSegment, type StoredSegment } from '../log/stored-segment.ts';
import { isTileOf, parseSingleTilePath, singleTilePath } from '../log/single-tiles.ts';
import { FULL_TILE_FILE, isTileFileOf } from '../log/tile-files.ts';
import { contentOf, makePrivateDirectory, replaceFile, sizeOf, syncDirectory } from '../storage/durable.ts';
import type { Cancellable, ObjectInfo, Storage } from '../storage/storage.ts';
import { FetchState } from './fetch-state.ts';
import { listStreams, listTiles, readNote, type ListedStream } from './stored-log.ts';

/** A frame may begin right before a segment is full, and has two sections. */
const MAX_SEGMENT = SEGMENT_SIZE + FRAME_HEADER + 2 * MAX_SECTION;
/** Of a segment that grows so much is compared with what is there, bytes. */
const TAIL = 16 * 1024;
/** So many bytes are made durable at once: no more is fetched twice after a crash. */
const SYNC_EACH = 16 * 2 ** 20;
/** Bytes of the disk that no fetch takes. */
const KEPT_FREE = 256 * 2 ** 20;
/** How often objects may change under a fetch that gets no further. */
const ATTEMPTS = 3;
/** Chain value before the first frame of a stream, hex. */
const NO_CHAIN = '0'.repeat(64);
/** In this order they are read: each vouches for those behind it, and its writer wrote it after them. */
const NOTES = ['head.json', 'seen', 'checkpoint'] as const;
const DEVICE = /^[a-z2-7]{8}$/;

export interface FetchOptions extends Cancellable {
  /** Take the storage as it is, though it lacks what was fetched from it, or has other changes. */
  readonly force?: boolean;
}

type Notes = ReadonlyMap<(typeof NOTES)[number], Buffer | undefined>;

/** A segment that was fetched anew. */
interface Rewritten {
  readonly name: string;
  /** Path of the new file. */
  readonly fresh: string;
  readonly stored: StoredSegment;
}

/** A log in a storage, and its copy here. One call at a time; `close` at the end. */
export class FetchedLog {
  readonly #storage: Storage;
  readonly #dir: string;
  #lock: WriterLock | undefined;
  #state: FetchState | undefined;
  /** Keys of streams as they were when they were last brought. */
  readonly #brought = new Map<string, string>();
  /** What is to be put in place once the notes are. */
  #rewrites: Rewritten[] = [];
  /** Streams whose head said more than there was, with what it said. */
  readonly #ahead = new Map<string, string>();

  /**
   * @param storage Where the log is.
   * @param dir A directory of this machine for nothing else. It may be deleted while nobody fetches, and is then fetched anew.
   */
  constructor(storage: Storage, dir: string) {
    this.#storage = storage;
    this.#dir = dir;
  }

  /**
   * Brings what has changed.
   *
   * @returns False when there was nothing.
   * @throws SyftError LOG_MISSING when there is no log there; LOG_REWRITTEN when the storage lacks what was fetched from it or has other
   *   changes; LOG_DAMAGED when it holds what no log can; LOG_LOCKED; DISK_FULL when what it lists does not fit; what the storage says; system errors of the disk. The copy is whole
   *   whatever is thrown, and the next call goes on.
   */
  async fetch(options: FetchOptions = {}): Promise<boolean> {
    const { location, listing } = this.#storage;
    const format = await readNote(this.#storage, 'format.json', options);
    if (format === undefined) {
      throw new SyftError('LOG_MISSING', `There is no log at ${location}.`, { path: location });
    }
    await this.#begin(format, options);

    const listed = await listStreams(this.#storage, options);
    const changed = [...listed].flatMap(([device, { key }]) => (this.#brought.get(device) === key ? [] : [device]));
    if (listing === 'strong') await this.#checkGone(listed, options);
    if (changed.length === 0) return false;
    await this.#checkRoom(listed);

    this.#rewrites = [];
    // All notes come before all segments: a note `seen` says what another stream had.
    const notes = new Map<string, Notes>();
    for (const device of changed) notes.set(device, await this.#notes(device, options));
    const now = await listStreams(this.#storage, options);
    // Behind the listing: a segment of a new epoch is begun when its key is in the file.
    await this.#fetchKeys(options);
    for (const device of changed) {
      await this.#fetchStream(device, now.get(device), notes.get(device) ?? new Map(), options);
    }
    for (const device of changed) {
      const own = notes.get(device) ?? new Map();
      if (!this.#holdsHead(device, own.get('head.json'), listed.get(device)?.key)) continue;
      for (const name of ['checkpoint', 'seen', 'head.json'] as const) {
        await this.#replace(`log/${device}/${name}`, own.get(name));
      }
      for (const rewritten of this.#rewrites) {
        if (rewritten.name.startsWith(`log/${device}/`)) await this.#place(rewritten);
      }
      this.#brought.set(device, listed.get(device)?.key ?? '');
    }
    return true;
  }

  /** Lets others fetch into the directory. */
  close(): void {
    this.#lock?.release();
    this.#lock = undefined;
    this.#state = undefined;
    this.#brought.clear();
  }

  /** Makes the copy what a log begins with, and takes it for this process. */
  async #begin(format: Buffer, options: FetchOptions): Promise<void> {
    const { force } = options;
    makePrivateDirectory(this.#dir);
    this.#lock ??= await WriterLock.acquire(this.#dir, { command: 'receive' }).catch((error: unknown) => {
      if (!(error instanceof SyftError && error.code === 'LOG_LOCKED')) throw error;
      throw new SyftError(
        'LOG_LOCKED',
        `Another receiver fetches ${this.#storage.location} for the same place. Stop it first. (${error.message})`,
        { path: this.#dir, cause: error }
      );
    });
    const present = await contentOf(join(this.#dir, 'format.json'));
    if (present?.equals(format) === false) {
      if (force !== true) throw this.#rewritten('format.json', 'It holds another log than the one that was fetched.');
      for (const name of ['log', 'cache', 'format.json']) {
        await rm(join(this.#dir, name), { recursive: true, force: true });
      }
      this.#brought.clear();
      this.#state = undefined;
    }
    makePrivateDirectory(join(this.#dir, 'log'));
    await this.#replace('.gitignore', GITIGNORE);
    await this.#replace('format.json', format);
    await this.#fetchKeys(options);
    this.#state ??= await FetchState.open(join(this.#dir, 'cache', 'fetched.json'));
  }

  /** The key file of an encrypted log. One that was put back to an older state must not cost the copy the newer keys. */
  async #fetchKeys(options: FetchOptions): Promise<void> {
    if (readFormatFile(this.#dir).keyId === undefined) return;
    const file = await readNote(this.#storage, KEY_FILE, options, MAX_KEY_FILE);
    const present = await contentOf(join(this.#dir, KEY_FILE));
    if (file === undefined || (present !== undefined && epochsIn(present) > epochsIn(file) && options.force !== true)) {
      return;
    }
    await this.#replace(KEY_FILE, file);
  }

  /** Whoever writes to the storage must not fill the disk of those who follow it. */
  async #checkRoom(listed: ReadonlyMap<string, ListedStream>): Promise<void> {
    let more = 0;
    for (const [device, { bytes, segments }] of listed) {
      const present = [...segments.keys()].reduce((sum, name) => sum + (sizeOf(join(this.#dir, name)) ?? 0), 0);
      more += DEVICE.test(device) ? Math.max(0, bytes - present) : 0;
    }
    const { bavail, bsize } = await statfs(this.#dir);
    if (more <= Math.max(0, bavail * bsize - KEPT_FREE)) return;
    throw new SyftError(
      'DISK_FULL',
      `${this.#storage.location} lists ${more} bytes that are not here yet, and of the ${bavail * bsize} that are free at ${this.#dir} ` +
        `${KEPT_FREE} stay so. Nothing was fetched: free some space, or look who writes there.`,
      { path: this.#dir }
    );
  }

  async #notes(device: string, options: FetchOptions): Promise<Notes> {
    const notes = new Map<(typeof NOTES)[number], Buffer | undefined>();
    for (const name of NOTES) notes.set(name, await readNote(this.#storage, `log/${device}/${name}`, options));
    return notes;
  }

  /** A stream that was fetched and is there no more. */
  async #checkGone(listed: ReadonlyMap<string, ListedStream>, options: FetchOptions): Promise<void> {
    for (const device of await readdir(join(this.#dir, 'log'))) {
      if (!DEVICE.test(device) || listed.has(device)) continue;
      await this.#dropSegments(device, new Map(), options);
      await rm(join(this.#dir, 'log', device), { recursive: true });
      this.#brought.delete(device);
    }
  }

  async #fetchStream(
    device: string,
    listed: ListedStream | undefined,
    notes: Notes,
    options: FetchOptions
  ): Promise<void> {
    // It went just now; the next call says so.
    if (listed === undefined) return;
    const stream = `log/${device}`;
    const dir = join(this.#dir, stream);
    makePrivateDirectory(dir);
    const own = await readNote(this.#storage, `${stream}/device.json`, options);
    const present = await contentOf(join(dir, 'device.json'));
    if (own !== undefined && present?.equals(own) === false && options.force !== true) {
      throw this.#rewritten(`${stream}/device.json`, 'It is of another device than before.');
    }
    await this.#replace(`${stream}/device.json`, own);
    const names = new Map(listed.segments);
    // A listing may be behind what the head names.
    const head = headIn(notes);
    const named = head === undefined || parseSegmentName(head.segment) === undefined ? undefined : head.segment;
    if (named !== undefined && !names.has(`${stream}/${named}`)) names.set(`${stream}/${named}`, '');
    if (this.#storage.listing === 'strong') await this.#dropSegments(device, names, options);
    for (const name of [...names.keys()].sort()) {
      // What is between them has not come yet; without it the copy would look damaged.
      if (!(await this.#follows(name, options))) return;
      await this.#fetchGrowing(name, names.get(name) ?? '', options);
    }
    await this.#fetchTiles(stream, notes.get('checkpoint'), options);
  }

  /** Whether a segment, where listings lag behind, goes on where the one before it ends here. */
  async #follows(name: string, options: Cancellable): Promise<boolean> {
    if (this.#storage.listing === 'strong' || sizeOf(join(this.#dir, name)) !== undefined) return true;
    const stored = await storedSegment(this.#storage, name, options);
    if (stored === undefined) return true;
    const end = Math.min(SEGMENT_HEADER, stored.size);
    const bytes = Buffer.concat(await Array.fromAsync(storedBytes(this.#storage, stored, 0, end, options)));
    const header = decodeSegmentHeader(bytes);
    // Whatever it is, it is not for here to judge.
    if (header === undefined || header === 'newer') return true;
    const dir = join(this.#dir, dirname(name));
    const before = (await readdir(dir))
      .filter(segment => parseSegmentName(segment) !== undefined && segment < basename(name))
      .sort()
      .at(-1);
    const chain = before === undefined ? undefined : (await lastFrame(join(dir, before)))?.chain;
    return (chain ?? NO_CHAIN) === header.previousChain.toString('hex');
  }

  /** Gives up segments that the storage does not have, last one first: those without a frame, or all by force. */
  async #dropSegments(device: string, listed: ReadonlyMap<string, string>, options: FetchOptions): Promise<void> {
    const stream = `log/${device}`;
    const present = (await readdir(join(this.#dir, stream))).filter(name => parseSegmentName(name) !== undefined);
    for (const segment of present.sort().reverse()) {
      const name = `${stream}/${segment}`;
      if (listed.has(name) || (await storedSegment(this.#storage, name, options)) !== undefined) continue;
      if ((await lastFrame(join(this.#dir, name))) !== undefined) {
        if (options.force !== true) throw this.#rewritten(name, 'It is gone, with changes that were fetched from it.');
        await this.#forgetNotes(stream);
      }
      this.#state?.set(name, undefined);
      await rm(join(this.#dir, name), { force: true });
    }
  }

  /** Goes on with a segment, or a file of tiles, until nothing changes under it. */
  async #fetchGrowing(name: string, key: string, options: FetchOptions): Promise<void> {
    const known = this.#state?.of(name);
    if (known !== undefined && key !== '' && known.key === key && known.length === sizeOf(join(this.#dir, name))) {
      return;
    }
    for (let attempt = 1, reached = -1; ; attempt += 1) {
      try {
        await this.#bring(name, options);
        return;
      } catch (error) {
        const moving = error instanceof SyftError && ['NOT_FOUND', 'PRECONDITION_FAILED'].includes(error.code);
        if (!moving) throw error;
        const length = this.#state?.of(name)?.length ?? 0;
        if (length > reached) attempt = 1;
        reached = length;
        if (attempt < ATTEMPTS) continue;
        throw new SyftError('UNAVAILABLE', `${name} at ${this.#storage.location} changes while it is read.`, {
          path: name,
          cause: error
        });
      }
    }
  }

  async #bring(name: string, options: FetchOptions): Promise<void> {
    const stored = await storedSegment(this.#storage, name, options);
    if (stored === undefined) return;
    const tiles = name.endsWith('.tiles');
    const most = tiles ? FULL_TILE_FILE : MAX_SEGMENT;
    if (stored.size > most) {
      const { location } = this.#storage;
      throw new SyftError(
        'LOG_DAMAGED',
        `${name} at ${location} has ${stored.size} bytes; it can have no more than ${most}. Nothing more is taken from it.`,
        { path: location }
      );
    }
    const length = await this.#durable(name);
    if (length === 0 || (length <= stored.size && (await this.#sameTail(name, stored, length, options)))) {
      await this.#grow(name, stored, length, options);
    } else if (length > stored.size && this.#storage.listing === 'eventual') {
      // What is missing has not come yet, unless it is another file: without dropped contents a segment is shorter.
      if (tiles || (await this.#sameTail(name, stored, stored.size, options))) return;
      await this.#rewrite(name, stored, length, options).catch((error: unknown) => {
        // Of that one, too, not all may be listed.
        if (!(error instanceof SyftError && error.code === 'LOG_REWRITTEN')) throw error;
      });
    } else if (tiles) {
      await this.#replaceTiles(name, stored, options);
    } else {
      await this.#rewrite(name, stored, length, options);
    }
  }

  /** What no checkpoint covers may be written over; what one does is the same in the new file. */
  async #replaceTiles(name: string, stored: StoredSegment, options: Cancellable): Promise<void> {
    const path = join(this.#dir, name);
    await rm(`${path}.tmp`, { force: true });
    await this.#write(`${path}.tmp`, stored, 0, options, () => undefined);
    await rename(`${path}.tmp`, path);
    syncDirectory(dirname(path));
    this.#state?.set(name, { length: stored.size, key: stored.key });
  }

  /** Bytes of a segment here that are known to be on disk. */
  async #durable(name: string): Promise<number> {
    const path = join(this.#dir, name);
    const size = sizeOf(path);
    if (size === undefined) return 0;
    const known = this.#state?.of(name);
    if (known !== undefined && known.length <= size) return known.length;
    // Tiles do not show how far they are right: they are compared with what is there.
    return name.endsWith('.tiles') ? size : ((await lastFrame(path))?.end ?? 0);
  }

  async #sameTail(name: string, stored: StoredSegment, length: number, options: Cancellable): Promise<boolean> {
    const start = Math.max(0, length - TAIL);
    const there = Buffer.concat(await Array.fromAsync(storedBytes(this.#storage, stored, start, length, options)));
    const handle = await open(join(this.#dir, name), 'r');
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length - start), 0, length - start, start);
      return buffer.subarray(0, bytesRead).equals(there);
    } finally {
      await handle.close();
    }
  }

  async #grow(name: string, stored: StoredSegment, length: number, options: Cancellable): Promise<void> {
    const path = join(this.#dir, name);
    makePrivateDirectory(dirname(path));
    const size = sizeOf(path);
    // What was not synced before a crash, or when a sync failed, may be anything. Its frames would not show it: only their headers are
    // looked at. So the state knows a segment before there is anything of it.
    if (size === undefined) this.#state?.set(name, { length: 0, key: '' });
    else if (size > length) await truncate(path, length);
    await this.#write(path, stored, length, options, at => {
      if (size === undefined) syncDirectory(dirname(path));
      this.#state?.set(name, { length: at, key: at === stored.size ? stored.key : '' });
    });
  }

  /** Writes a segment from an offset on. `onSynced` is told how far it is durable, also when it could not go on. */
  async #write(
    path: string,
    stored: StoredSegment,
    from: number,
    options: Cancellable,
    onSynced: (at: number) => void
  ): Promise<void> {
    const sink = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
    let at = from;
    let synced = from;
    const sync = async (): Promise<void> => {
      await sink.sync();
      synced = at;
      onSynced(at);
    };
    try {
      try {
        for await (const piece of storedBytes(this.#storage, stored, from, stored.size, options)) {
          for (let done = 0; done < piece.length;) {
            done += (await sink.write(piece, done, piece.length - done, at + done)).bytesWritten;
          }
          at += piece.length;
          if (at - synced >= SYNC_EACH && at < stored.size) await sync();
        }
      } finally {
        if (at > synced || from === stored.size) await sync();
      }
    } finally {
      await sink.close();
    }
  }

  /** Puts another file in place of a segment when it has all the frames that are here: it was rewritten without dropped contents. */
  async #rewrite(name: string, stored: StoredSegment, length: number, options: FetchOptions): Promise<void> {
    const path = join(this.#dir, name);
    const fresh = `${path}.tmp`;
    await rm(fresh, { force: true });
    try {
      await this.#write(fresh, stored, 0, options, () => undefined);
      const last = await lastFrame(path, length);
      const rest = last === undefined ? undefined : await frameEnd(fresh, last.chain);
      if (last !== undefined && rest !== undefined) {
        // The old one, made to have all frames, stays until there is the act by which contents went, and a checkpoint that covers it.
        await this.#append(name, last.end, fresh, rest);
        this.#rewrites.push({ name, fresh, stored });
        return;
      }
      if (last !== undefined) {
        if (options.force !== true) {
          throw this.#rewritten(name, 'It has less than, or other changes than, what was fetched from it.');
        }
        await this.#forgetNotes(dirname(name));
      }
      await this.#place({ name, fresh, stored });
    } catch (error) {
      await rm(fresh, { force: true });
      throw error;
    }
  }

  /** Puts the frames of another file, from an offset on, behind those that a segment has up to `end`. */
  async #append(name: string, end: number, from: string, offset: number): Promise<void> {
    const path = join(this.#dir, name);
    this.#state?.set(name, { length: end, key: '' });
    await truncate(path, end);
    await pipeline(
      createReadStream(from, { start: offset }),
      createWriteStream(path, { flags: 'r+', start: end, flush: true })
    );
    this.#state?.set(name, { length: sizeOf(path) ?? 0, key: '' });
  }

  /** Puts the new file of a segment in place of the old one. */
  async #place({ name, fresh, stored }: Rewritten): Promise<void> {
    const path = join(this.#dir, name);
    await this.#shortenHead(dirname(name), name, fresh);
    await rename(fresh, path);
    syncDirectory(dirname(path));
    this.#state?.set(name, { length: stored.size, key: stored.key });
  }

  /** A head may be behind its segment, never ahead of it. */
  async #shortenHead(stream: string, name: string, fresh: string): Promise<void> {
    const head = readHead(join(this.#dir, stream));
    if (head === undefined || head === 'damaged' || `${stream}/${head.segment}` !== name) return;
    const end = await frameEnd(fresh, head.chain);
    if (end !== undefined && end < head.length) {
      await this.#replace(`${stream}/head.json`, encodeHead({ ...head, length: end }));
    }
  }

  /** What vouches for what is given up goes first. */
  async #forgetNotes(stream: string): Promise<void> {
    for (const name of NOTES) await rm(join(this.#dir, stream, name), { force: true });
    syncDirectory(join(this.#dir, stream));
  }

  /** Whether a head vouches for no more than is here. One that goes on to do so, and nothing comes, is taken as it is: a damage. */
  #holdsHead(device: string, note: Buffer | undefined, key: string | undefined): boolean {
    const head = note === undefined ? undefined : parseHead(note.toString('utf8'));
    if (head === undefined || head === 'damaged' || parseSegmentName(head.segment) === undefined) return true;
    const length = sizeOf(join(this.#dir, 'log', device, head.segment)) ?? 0;
    const said = `${head.chain} ${head.length} ${key ?? ''}`;
    if (head.length <= length || (this.#storage.listing === 'strong' && this.#ahead.get(device) === said)) {
      this.#ahead.delete(device);
      return true;
    }
    this.#ahead.set(device, said);
    return false;
  }

  /** The tiles of a checkpoint that are not here yet. */
  async #fetchTiles(stream: string, checkpoint: Buffer | undefined, options: FetchOptions): Promise<void> {
    const size = Number(/^[^\n]*\n(\d{1,16})\n/.exec(checkpoint?.toString('utf8') ?? '')?.[1] ?? 0);
    const present = await contentOf(join(this.#dir, stream, 'checkpoint'));
    if (checkpoint === undefined || present?.equals(checkpoint) === true) return;
    const files = new Map<string, ObjectInfo[]>();
    for await (const info of listTiles(this.#storage, stream, options)) {
      const { name } = info;
      const path = name.slice(stream.length + 1);
      const file = path.replace(/\.parts\/\d{16}$/, '');
      if (isTileFileOf(size, file)) {
        const objects = files.get(file) ?? [];
        objects.push(info);
        files.set(file, objects);
        continue;
      }
      const place = parseSingleTilePath(path);
      if (place === undefined || !isTileOf(size, place)) continue;
      const length = place.width * HASH_SIZE;
      if (sizeOf(join(this.#dir, name)) === length && options.force !== true) continue;
      const tile = await readNote(this.#storage, name, options, length);
      await this.#replace(name, tile);
      if (tile !== undefined) await this.#removePartial(stream, place);
    }
    for (const [file, objects] of files) await this.#fetchGrowing(`${stream}/${file}`, segmentKey(objects), options);
  }

  /** Partial tiles that this one stands for. */
  async #removePartial(stream: string, { level, index, width }: TilePlace): Promise<void> {
    const directory = dirname(join(this.#dir, stream, singleTilePath({ level, index, width: 1 })));
    const widths = await readdir(directory).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return [];
      throw error;
    });
    for (const name of widths) if (Number(name) < width) await rm(join(directory, name), { force: true });
  }

  /** Gives a small file this content, atomically, when it has another. */
  async #replace(name: string, content: Buffer | undefined): Promise<void> {
    const path = join(this.#dir, name);
    if (content === undefined || (await contentOf(path))?.equals(content) === true) return;
    makePrivateDirectory(dirname(path));
    replaceFile(path, content);
  }

  #rewritten(name: string, what: string): SyftError {
    const { location } = this.#storage;
    return new SyftError(
      'LOG_REWRITTEN',
      `The log at ${location} is not the one that was seen before (${name}): ${what} Nothing is taken from it until you say so with ` +
        `force; all that was fetched is at ${this.#dir}.`,
      { path: location }
    );
  }
}

function headIn(notes: Notes): Head | undefined {
  const head = parseHead(notes.get('head.json')?.toString('utf8') ?? '');
  return head === 'damaged' ? undefined : head;
}
