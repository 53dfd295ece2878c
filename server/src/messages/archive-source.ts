/** Where the bytes of a message come from: a file as it is, or one that is sealed as long as it lies here. */
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';

const PIECE = 256 * 1024;

/** An archive that can be gone through as often as is needed, and is the same file each time. */
export interface ArchiveSource extends AsyncDisposable {
  /** As it is called where it is told of. */
  readonly name: string;
  /** Of the file, where it is one that whoever asked has named. */
  readonly path?: string;
  /** Bytes of the archive. */
  readonly size: number;
  /** From the beginning. Throws UNREADABLE. */
  bytes(): AsyncIterable<Buffer>;
}

/** A file, opened once: whatever is put in its place meanwhile is not read. */
export class FileSource implements ArchiveSource {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;

  private constructor(path: string, name: string, handle: FileHandle, size: number) {
    this.path = path;
    this.name = name;
    this.#handle = handle;
    this.size = size;
  }

  /**
   * @param name As it is to be told of; default its name in the directory.
   * @throws SyftError PATH_NOT_FOUND, UNREADABLE.
   */
  static async open(path: string, name = basename(path)): Promise<FileSource> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') throw new SyftError('PATH_NOT_FOUND', `There is no file ${path}.`, { path });
      throw new SyftError('UNREADABLE', `${path} cannot be read.`, { path, cause: error });
    }
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new SyftError('PATH_NOT_FOUND', `${path} is not a file.`, { path });
      return new FileSource(path, name, handle, stats.size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async *bytes(): AsyncGenerator<Buffer> {
    for (let done = 0; ;) {
      const piece = Buffer.allocUnsafe(PIECE);
      const { bytesRead } = await this.#handle.read(piece, 0, piece.length, done).catch((error: unknown) => {
        throw new SyftError('UNREADABLE', `${this.path} cannot be read.`, { path: this.path, cause: error });
      });
      if (bytesRead === 0) return;
      done += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
