/**
 * A storage in a directory: each object is a file. Also for folders that a program keeps in step elsewhere.
 *
 * Links are not followed below the root. Node has no `openat`, so a directory that somebody turns into a link in the moment
 * between the look and the opening is not noticed: whoever can do that can write to the folder anyway.
 */
import { randomBytes } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { link, lstat, mkdir, open, readdir, realpath, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory } from './durable.ts';
import {
  bodySize,
  checkLimit,
  checkName,
  checkPrefix,
  checkRange,
  checkSignal,
  isLegalName,
  MAX_PAGE,
  notFound,
  piecesOf,
  preconditionFailed,
  type Body,
  type Cancellable,
  type ListOptions,
  type ObjectInfo,
  type ObjectRange,
  type Page,
  type PutOptions,
  type ReadOptions,
  type Storage
} from './storage.ts';

const { O_NOFOLLOW, O_RDONLY, O_RDWR, O_DIRECTORY, O_NONBLOCK } = constants;
/** What a put that crashed has left is removed after this time without a write, milliseconds. */
const ABANDONED_MS = 3_600_000;

let lastTime = 0;

/**
 * Seconds, at least a microsecond more at each call: the clock of a file system ticks too slowly to tell two contents
 * from each other that follow at once in one inode.
 */
function uniqueTime(): number {
  lastTime = Math.max(lastTime + 1, Date.now() * 1000);
  return lastTime / 1e6;
}

function infoOf(name: string, stats: BigIntStats): ObjectInfo {
  return { name, size: Number(stats.size), etag: `${stats.ino}-${stats.size}-${stats.mtimeNs}` };
}

function failure(error: unknown, location: string, name: string): SyftError {
  if (error instanceof SyftError) return error;
  const errno = errnoOf(error);
  const more = { cause: error, path: name };
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new SyftError('DISK_FULL', `There is no space left at ${location}.`, more);
    case 'EACCES':
    case 'EPERM':
      return new SyftError('FORBIDDEN', `No permission for ${join(location, name)}.`, more);
    case 'EROFS':
      return new SyftError('DISK_READ_ONLY', `${location} cannot be written to.`, more);
    case 'EAGAIN':
    case 'EBUSY':
    case 'EMFILE':
    case 'ENFILE':
    case 'ESTALE':
    case 'ETIMEDOUT':
    case 'EHOSTDOWN':
      return new SyftError('UNAVAILABLE', `${location} does not answer just now (${errno}).`, more);
    case 'ELOOP':
    case 'EISDIR':
    case 'ENOTDIR':
    case 'EEXIST':
      return new SyftError(
        'PATH_INVALID',
        `Something that is no object is in the way of ${join(location, name)}.`,
        more
      );
    default:
      return new SyftError('DISK_ERROR', `${join(location, name)}: ${errno ?? String(error)}.`, more);
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, O_RDONLY | O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeBody(handle: FileHandle, body: Body, at: number, signal: AbortSignal | undefined): Promise<void> {
  let position = at;
  for await (const piece of piecesOf(body, signal)) {
    for (let done = 0; done < piece.length;) {
      const { bytesWritten } = await handle.write(piece, done, piece.length - done, position + done);
      done += bytesWritten;
    }
    position += piece.length;
  }
}

/** Lets those read a file who may write to its directory. */
async function shareLike(directory: string, handle: FileHandle): Promise<void> {
  const { mode } = await lstat(directory);
  const readable = ((mode & 0o020) << 1) | ((mode & 0o002) << 1);
  if (readable === 0) return;
  try {
    await handle.chmod(0o600 | readable);
  } catch (error) {
    // Where a file system has no modes, they keep nobody out.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
  }
}

export class FsStorage implements Storage {
  readonly location: string;
  readonly listing = 'strong';
  readonly maxObjectSize = Number.MAX_SAFE_INTEGER;
  readonly #swept = new Set<string>();
  readonly #shared: boolean;

  /**
   * @param root Directory; made by the first put when it is missing. It may be a link, nothing below it may.
   * @param options `shared`: what is put can be read by whoever may write to its directory, and not only by who has put it.
   */
  constructor(root: string, options: { readonly shared?: boolean } = {}) {
    this.location = resolve(root);
    this.#shared = options.shared ?? false;
  }

  async #attempt<T>(name: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    checkSignal(signal);
    try {
      return await work();
    } catch (error) {
      throw failure(error, this.location, name);
    }
  }

  /** The path of an object. @throws SyftError PATH_OUTSIDE_ROOT when a link leads elsewhere; ENOENT as system error. */
  async #path(name: string): Promise<string> {
    const path = join(this.location, name);
    const [root, directory] = await Promise.all([realpath(this.location), realpath(dirname(path))]);
    if (directory === dirname(join(root, name))) return join(root, name);
    throw new SyftError('PATH_OUTSIDE_ROOT', `A link leads away from ${path}; it is not followed.`, { path: name });
  }

  /** Makes what is missing of the directories of an object, one by one: `recursive` would make them behind a link too. */
  async #makeDirectories(name: string): Promise<void> {
    makePrivateDirectory(this.location);
    let above = this.location;
    for (const part of name.split('/').slice(0, -1)) {
      const directory = join(above, part);
      const found = await lstat(directory).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      });
      if (found?.isSymbolicLink() === true) {
        throw new SyftError('PATH_OUTSIDE_ROOT', `${directory} is a link; it is not followed.`, { path: name });
      }
      if (found === undefined) {
        try {
          await mkdir(directory, { mode: 0o700 });
        } catch (error) {
          if (errnoOf(error) !== 'EEXIST') throw error;
        }
        await syncDirectory(above);
      }
      above = directory;
    }
  }

  async #open(name: string, flags: number): Promise<FileHandle> {
    let handle: FileHandle;
    try {
      handle = await open(await this.#path(name), flags | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT' || errno === 'ENOTDIR') notFound(name, error);
      throw error;
    }
    try {
      if ((await handle.stat()).isFile()) return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return notFound(name);
  }

  stat(name: string, options: Cancellable = {}): Promise<ObjectInfo | undefined> {
    return this.#attempt(name, options.signal, async () => {
      checkName(name);
      try {
        const stats = await lstat(await this.#path(name), { bigint: true });
        return stats.isFile() ? infoOf(name, stats) : undefined;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      }
    });
  }

  read(name: string, options: ReadOptions): Promise<ObjectRange> {
    return this.#attempt(name, options.signal, async () => {
      checkName(name);
      checkRange(options);
      const handle = await this.#open(name, O_RDONLY);
      try {
        const info = infoOf(name, await handle.stat({ bigint: true }));
        if (options.etag !== undefined && options.etag !== info.etag) {
          preconditionFailed(name, 'is another object now');
        }
        const bytes = new Uint8Array(Math.max(0, Math.min(options.length, info.size - options.offset)));
        let done = 0;
        while (done < bytes.length) {
          checkSignal(options.signal);
          const { bytesRead } = await handle.read(bytes, done, bytes.length - done, options.offset + done);
          if (bytesRead === 0) break;
          done += bytesRead;
        }
        if (done < bytes.length) {
          throw new SyftError('UNAVAILABLE', `${name} became shorter while it was read.`, { path: name });
        }
        return { ...info, bytes };
      } finally {
        await handle.close();
      }
    });
  }

  put(name: string, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    return this.#attempt(name, options.signal, async () => {
      checkName(name);
      bodySize(body, this.maxObjectSize);
      await this.#makeDirectories(name);
      const path = await this.#path(name);
      const directory = dirname(path);
      await this.#sweep(directory);
      const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
      try {
        const handle = await open(temporary, 'wx', 0o600);
        let info: ObjectInfo;
        try {
          if (this.#shared) await shareLike(directory, handle);
          await writeBody(handle, body, 0, options.signal);
          const time = uniqueTime();
          await handle.utimes(time, time);
          await handle.sync();
          checkSignal(options.signal);
          info = infoOf(name, await handle.stat({ bigint: true }));
        } finally {
          await handle.close();
        }
        if (options.ifAbsent === true) {
          try {
            await link(temporary, path);
          } catch (error) {
            if (errnoOf(error) === 'EEXIST') preconditionFailed(name, 'is there already', error);
            throw error;
          }
          await rm(temporary);
        } else {
          await rename(temporary, path);
        }
        await syncDirectory(directory);
        return info;
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw error;
      }
    });
  }

  append(name: string, offset: number, body: Body, options: Cancellable = {}): Promise<ObjectInfo> {
    return this.#attempt(name, options.signal, async () => {
      checkName(name);
      bodySize(body, this.maxObjectSize - offset);
      const handle = await this.#open(name, O_RDWR);
      try {
        const { size } = await handle.stat();
        if (size !== offset) preconditionFailed(name, `ends at ${size}, not at ${offset}`);
        try {
          await writeBody(handle, body, offset, options.signal);
          await handle.sync();
        } catch (error) {
          await handle.truncate(offset).catch(() => undefined);
          throw error;
        }
        return infoOf(name, await handle.stat({ bigint: true }));
      } finally {
        await handle.close();
      }
    });
  }

  list(prefix: string, options: ListOptions = {}): Promise<Page> {
    return this.#attempt(prefix, options.signal, async () => {
      checkPrefix(prefix);
      const limit = options.limit ?? MAX_PAGE;
      checkLimit(limit);
      const objects: ObjectInfo[] = [];
      for await (const name of this.#names(prefix.slice(0, prefix.lastIndexOf('/') + 1), prefix, options.after ?? '')) {
        checkSignal(options.signal);
        const stats = await lstat(join(this.location, name), { bigint: true }).catch((error: unknown) => {
          // Removed since the directory was read.
          if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
          throw error;
        });
        if (stats?.isFile() !== true) continue;
        if (objects.length === limit) return { objects, next: (objects.at(-1) as ObjectInfo).name };
        objects.push(infoOf(name, stats));
      }
      return { objects };
    });
  }

  /** Names in order; holds one directory's entries for each level. */
  async *#names(directory: string, prefix: string, after: string): AsyncGenerator<string> {
    let entries;
    try {
      if (directory !== '') await this.#path(`${directory}x`);
      entries = await readdir(join(this.location, directory), { withFileTypes: true });
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return;
      throw error;
    }
    const names = entries
      // A directory stands where the first of its names does: behind `a.b`, before `a0`.
      .flatMap(entry => {
        if (!isLegalName(directory + entry.name)) return [];
        return entry.isDirectory() ? [`${directory}${entry.name}/`] : entry.isFile() ? [directory + entry.name] : [];
      })
      .sort();
    for (const name of names) {
      if (name.endsWith('/')) {
        const reached = name > after || after.startsWith(name);
        if (reached && (name.startsWith(prefix) || prefix.startsWith(name))) yield* this.#names(name, prefix, after);
      } else if (name > after && name.startsWith(prefix)) {
        yield name;
      }
    }
  }

  delete(name: string, options: Cancellable = {}): Promise<void> {
    return this.#attempt(name, options.signal, async () => {
      checkName(name);
      try {
        const path = await this.#path(name);
        if (!(await lstat(path)).isFile()) return;
        await rm(path);
        await syncDirectory(dirname(path));
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
      }
    });
  }

  /** Removes what puts that crashed have left; once for each directory, before its first put. */
  async #sweep(directory: string): Promise<void> {
    if (this.#swept.has(directory)) return;
    for (const name of await readdir(directory)) {
      if (!/\.[0-9a-f]{16}\.tmp$/.test(name)) continue;
      const stats = await lstat(join(directory, name)).catch(() => undefined);
      if (stats !== undefined && Date.now() - stats.mtimeMs > ABANDONED_MS) {
        // In a directory that several share, what another has left may not be ours to remove.
        await rm(join(directory, name), { force: true }).catch(() => undefined);
      }
    }
    this.#swept.add(directory);
  }
}
