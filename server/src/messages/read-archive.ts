/**
 * Reads a message that comes from anybody: names, kinds, sizes and number of its members are judged as they come, and nothing is
 * unpacked to where a name in it says. The file is opened once; it is gone through as often as is needed, and must be the same each time.
 */
import { createHash } from 'node:crypto';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { SyftError } from '../core/errors.ts';
import { FileSource, type ArchiveSource } from './archive-source.ts';
import { MESSAGE_LIMITS, type MessageLimits } from './limits.ts';
import { ArchiveFault } from './archive-fault.ts';
import { faultOfName } from './member-names.ts';
import { Names } from './names.ts';
import { isSealed, unseal } from './seal.ts';

export interface Member {
  readonly name: string;
  readonly kind: 'file' | 'directory';
  readonly size: number;
  /** SHA-256, hex; of a file. */
  readonly hash: string;
}

/** What is to be done with the bytes of a member; it reads all of them or throws. `undefined`: they are only hashed. */
export type Take = (name: string) => ((pieces: AsyncIterable<Buffer>) => Promise<void>) | undefined;

export interface OpenArchiveOptions {
  readonly identities?: readonly string[] | undefined;
  readonly limits?: Partial<MessageLimits> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

const REFUSED: Readonly<Record<string, string>> = {
  link: 'is a hard link',
  symlink: 'is a symbolic link',
  'character-device': 'is a device',
  'block-device': 'is a device',
  fifo: 'is a pipe'
};

function nameOf(header: Header): { name: string; kind: Member['kind'] } {
  const { type } = header;
  const name = header.name.replace(/\/$/, '');
  const shown = JSON.stringify(name.slice(0, 200));
  if (type !== 'file' && type !== 'directory') {
    throw new ArchiveFault(`${shown} ${REFUSED[type ?? ''] ?? 'is neither a file nor a directory'}`);
  }
  const fault = faultOfName(name);
  if (fault !== undefined) throw new ArchiveFault(`${shown} ${fault}`);
  return { name, kind: type };
}

/** The first bytes of an archive, at most `length`. */
async function headOf(source: ArchiveSource, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const piece of source.bytes()) {
    parts.push(piece);
    size += piece.length;
    if (size >= length) break;
  }
  return Buffer.concat(parts).subarray(0, length);
}

/** A message, opened for reading. */
export class Archive implements AsyncDisposable {
  /** Only its recipients can open it. */
  readonly sealed: boolean;
  /** Bytes of the file. */
  readonly size: number;
  readonly limits: MessageLimits;
  readonly #source: ArchiveSource;
  readonly #options: OpenArchiveOptions;

  private constructor(source: ArchiveSource, sealed: boolean, options: OpenArchiveOptions) {
    this.#source = source;
    this.size = source.size;
    this.sealed = sealed;
    this.limits = { ...MESSAGE_LIMITS, ...options.limits };
    this.#options = options;
  }

  /**
   * @param from A path, or a source, which is closed with the archive.
   * @throws SyftError PATH_NOT_FOUND, UNREADABLE.
   */
  static async open(from: string | ArchiveSource, options: OpenArchiveOptions = {}): Promise<Archive> {
    const source = typeof from === 'string' ? await FileSource.open(from) : from;
    try {
      return new Archive(source, isSealed(await headOf(source, 64)), options);
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The error that refuses this message. */
  invalid(why: string, cause?: unknown): SyftError {
    const { name, path = name } = this.#source;
    return new SyftError('ARCHIVE_INVALID', `${name} is refused: ${why}. Nothing was written.`, {
      path,
      ...(cause !== undefined && { cause })
    });
  }

  /** The bytes of the file, from its beginning. */
  #bytes(): Readable {
    const { onProgress, signal } = this.#options;
    const source = this.#source;
    const pieces = async function* (): AsyncGenerator<Buffer> {
      let done = 0;
      for await (const piece of source.bytes()) {
        if (signal?.aborted === true) throw new SyftError('CANCELLED', 'Reading the message was given up.');
        done += piece.length;
        onProgress?.({ done, total: source.size });
        yield piece;
      }
    };
    return Readable.from(pieces(), { objectMode: false, highWaterMark: 256 * 1024 });
  }

  /**
   * Goes through the whole message once.
   *
   * @returns Its members, in order.
   * @throws ArchiveFault saying why it is refused; SyftError KEY_MISSING, KEY_MISMATCH, CANCELLED.
   */
  async read(take: Take = () => undefined): Promise<Member[]> {
    const { limits } = this;
    const bytes = this.#bytes();
    const packed = this.sealed ? await unseal(bytes, this.#options.identities ?? []) : bytes;
    const gunzip = createGunzip();
    let unpacked = 0;
    const counted = new Transform({
      transform(piece: Buffer, _encoding, done) {
        unpacked += piece.length;
        if (unpacked > limits.totalBytes) done(new ArchiveFault(`it unpacks to more than ${limits.totalBytes} bytes`));
        else if (unpacked > limits.ratioFrom && unpacked > gunzip.bytesWritten * limits.ratio) {
          done(new ArchiveFault(`it unpacks to more than ${limits.ratio} times its size`));
        } else done(null, piece);
      }
    });
    const tar = extract();
    const reading = pipeline(packed, gunzip, counted, tar);
    reading.catch(() => undefined);
    const members: Member[] = [];
    try {
      const names = new Names();
      for await (const entry of tar) {
        const { name, kind } = nameOf(entry.header);
        if (members.length >= limits.members) throw new ArchiveFault(`it has more than ${limits.members} members`);
        names.add(name, kind);
        const said = entry.header.size ?? 0;
        if (said > limits.memberBytes) throw new ArchiveFault(`"${name}" is larger than ${limits.memberBytes} bytes`);
        if (kind === 'directory' && said > 0) throw new ArchiveFault(`the directory "${name}" has a content`);
        members.push({ name, kind, ...(await hashed(entry as AsyncIterable<Buffer>, take(name))) });
      }
      await reading;
      return members;
    } catch (error) {
      // The parser passes on that it was closed, the pipeline why.
      const first = await reading.then(
        () => error,
        (cause: unknown) => (error instanceof ArchiveFault || error instanceof SyftError ? error : cause)
      );
      if (first instanceof ArchiveFault || first instanceof SyftError) throw first;
      throw new ArchiveFault(`it is not a whole archive (${messageOf(first)})`, { cause: first });
    } finally {
      tar.destroy();
      bytes.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

async function hashed(pieces: AsyncIterable<Buffer>, use: ReturnType<Take>): Promise<{ size: number; hash: string }> {
  const hash = createHash('sha256');
  let size = 0;
  const passed = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      size += piece.length;
      hash.update(piece);
      yield piece;
    }
  };
  if (use !== undefined) await use(passed());
  else for await (const piece of passed()) void piece;
  return { size, hash: hash.digest('hex') };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Keeps the members of these names in memory. */
export function keeping(
  wanted: (name: string) => boolean,
  limits: MessageLimits
): { take: Take; kept: Map<string, Buffer> } {
  const kept = new Map<string, Buffer>();
  const take: Take = name =>
    wanted(name)
      ? async pieces => {
          const parts: Buffer[] = [];
          let size = 0;
          for await (const piece of pieces) {
            size += piece.length;
            if (size > limits.textBytes) throw new ArchiveFault(`"${name}" is larger than ${limits.textBytes} bytes`);
            parts.push(Buffer.from(piece));
          }
          kept.set(name, Buffer.concat(parts));
        }
      : undefined;
  return { take, kept };
}
