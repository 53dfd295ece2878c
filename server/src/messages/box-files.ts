/** The files of the message box: private, each whole or not there, sealed where the log is encrypted. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { isSealedFile, openSealedFile, sealFile } from '../crypto/sealed-file.ts';
import { openStream, sealStream } from '../crypto/sealed-pieces.ts';
import { syncDirectory } from '../storage/durable.ts';
import { FileSource, type ArchiveSource } from './archive-source.ts';

/** More is not read of a small file: anything may stand there. */
const MOST_READ = 64 * 2 ** 20;
/** What the sealed archives of a box are bound to: they open in no other place of a log. */
const SEALED_ARCHIVE = 'messages/archive';

/** Writes a file that is not there yet, and syncs it. Its name is durable when the directory was synced. */
export async function writeNew(path: string, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    for await (const piece of pieces) {
      for (let done = 0; done < piece.length;) {
        done += (await handle.write(piece, done, piece.length - done)).bytesWritten;
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Small texts and archives below `messages/` of one log. */
export class BoxFiles {
  readonly dir: string;
  readonly #keys: LogKeys | undefined;

  /**
   * @param dir `<log>/messages`.
   * @param keys Of an encrypted log: then all that is written is sealed, and only what is sealed is believed.
   */
  constructor(dir: string, keys: LogKeys | undefined) {
    this.dir = dir;
    this.#keys = keys;
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** @param place Where it will stand, below `messages/`: put elsewhere, it does not open. */
  encode(place: string, value: unknown): Buffer {
    const plain = Buffer.from(`${JSON.stringify(value)}\n`);
    return this.#keys === undefined ? plain : sealFile(this.#keys, `messages/${place}`, plain);
  }

  /** Writes a text into a directory that is still being made. */
  async writeText(path: string, place: string, value: unknown): Promise<void> {
    await writeNew(path, [this.encode(place, value)]);
  }

  /** Puts a text in place of what stands there, durably. Several processes may do so at once: the last one stays. */
  async replaceText(place: string, value: unknown): Promise<void> {
    const path = this.path(place);
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await this.writeText(temporary, place, value);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    syncDirectory(dirname(path));
  }

  /** What a text says; `undefined` when there is none, or it is not one of ours. Throws other system errors. */
  async readText(place: string): Promise<unknown> {
    const bytes = await readSome(this.path(place));
    if (bytes === undefined) return undefined;
    try {
      if ((this.#keys === undefined) === isSealedFile(bytes)) return undefined;
      const plain = this.#keys === undefined ? bytes : openSealedFile(this.#keys, `messages/${place}`, bytes);
      return JSON.parse(plain.toString('utf8'));
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof SyftError) return undefined;
      throw error;
    }
  }

  /** The bytes of an archive as they are to lie here. */
  archiveBytes(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    return this.#keys === undefined ? pieces : sealStream(this.#keys, SEALED_ARCHIVE, pieces);
  }

  /**
   * An archive that lies here.
   *
   * @param size Bytes of it, as it came.
   * @throws SyftError PATH_NOT_FOUND, UNREADABLE; LOG_DAMAGED while it is read, when what seals it here was altered.
   */
  async openArchive(path: string, size: number): Promise<ArchiveSource> {
    const file = await FileSource.open(path, 'The message');
    const keys = this.#keys;
    if (keys === undefined) return file;
    return {
      name: file.name,
      size,
      bytes: () => openStream(keys, SEALED_ARCHIVE, file.bytes()),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]()
    };
  }
}

/** A file that is no link and not too large; `undefined`: there is none. */
async function readSome(path: string): Promise<Buffer | undefined> {
  let handle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const stats = await handle.stat();
    return stats.isFile() && stats.size <= MOST_READ ? await handle.readFile() : undefined;
  } finally {
    await handle.close();
  }
}
