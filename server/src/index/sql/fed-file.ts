/**
 * A content that is read as a file, and never is one: a pipe with a name in a private directory. What goes through it is in the
 * memory of this process alone; the directory and its entry are all that a disk has of it. It is read once, from its beginning.
 */
import { execFile } from 'node:child_process';
import { close, constants, open } from 'node:fs';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { errnoOf, SyftError } from '../../core/errors.ts';
import type { ContentFile } from './protocol.ts';

const openFd = promisify(open);
const closeFd = promisify(close);

/** Milliseconds between looks whether somebody reads. */
const LOOK = 2;

export interface FedContent extends ContentFile {
  /** The bytes, from the first; called once. */
  readonly bytes: () => AsyncIterable<Uint8Array>;
}

/** Kinds that are read from the beginning to the end, and need not be a file for it. A workbook is read whole, into memory. */
const IN_ORDER = /\.(?:(csv|tsv|tab|json|ndjson|jsonl|ipynb)(\.gz|\.zst)?|xlsx|xlsm)$/i;
/** Bytes of a notebook, which is parsed whole. */
const LARGEST_NOTEBOOK = 256 << 20;

/**
 * Lets `use` read a content under the name of a file. Compressed ones come out as they were before.
 *
 * @param content Its `file` is the name of the pipe: absolute, not there yet, and gone after.
 * @throws SyftError SQL_INVALID when it cannot be read in order; what `use` and `bytes` throw.
 */
export async function withFedFile<T>(
  { file: name, path, versionId, size, bytes }: FedContent,
  signal: AbortSignal,
  use: (file: string) => Promise<T>
): Promise<T> {
  const wrong = (why: string): SyftError =>
    new SyftError('SQL_INVALID', `${path} (version ${versionId}) ${why}`, { path });
  if (!IN_ORDER.test(path)) {
    throw wrong(
      'cannot be queried: of an encrypted log nothing is written to a disk in the clear, and only CSV, TSV, JSON, NDJSON, Excel and notebooks are read without a file. syft-sync show writes it where you want it.'
    );
  }
  if (size === 0) throw wrong('is empty, and no table.');
  if (/\.ipynb/i.test(path) && size > LARGEST_NOTEBOOK) throw wrong('is too large to be read by cell.');
  await makePipe(name);
  const over = new AbortController();
  let failure: unknown;
  const feeding = feed(name, inClear(path, bytes), over.signal, signal).catch((error: unknown) => (failure = error));
  const fed = async (): Promise<void> => {
    over.abort();
    await feeding;
    if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.');
    // Of a content that breaks off half a table may have been made.
    if (failure instanceof Error) throw failure;
  };
  try {
    const made = await use(name);
    await fed();
    return made;
  } catch (error) {
    // Why it breaks off says more than what was made of its half.
    await fed();
    throw error;
  } finally {
    await rm(name, { force: true });
  }
}

/**
 * Makes a pipe with a name, for this user alone.
 *
 * @throws SyftError SQL_UNAVAILABLE.
 */
export async function makePipe(name: string): Promise<void> {
  try {
    await promisify(execFile)('mkfifo', ['-m', '600', name]);
  } catch (error) {
    throw new SyftError(
      'SQL_UNAVAILABLE',
      'What is read of an encrypted log goes through a named pipe, which this system does not make.',
      { cause: error }
    );
  }
}

/**
 * Writes the content to the first who reads, and nothing to those who come after: they find its end, and do not wait for ever.
 *
 * @param over Nobody will read any more.
 * @param signal The content is not wanted any more; who reads it finds its end.
 */
async function feed(name: string, content: () => Readable, over: AbortSignal, signal: AbortSignal): Promise<void> {
  let fed = false;
  let failure: unknown;
  while (!over.aborted) {
    const fd = await openForReader(name);
    if (fd !== undefined && !fed && !signal.aborted) {
      fed = true;
      try {
        await pipeline(content(), new Socket({ fd, readable: false, writable: true }), { signal });
      } catch (error) {
        // Whoever reads has seen enough; or it is given up, which others know.
        if (errnoOf(error) !== 'EPIPE' && !signal.aborted) failure = error;
      }
    } else if (fd !== undefined) await closeFd(fd);
    await new Promise(resolve => setTimeout(resolve, LOOK));
  }
  if (failure instanceof Error) throw failure;
}

/** The pipe, to be written to; `undefined`: nobody reads it now. */
async function openForReader(name: string): Promise<number | undefined> {
  try {
    // Without waiting: a thread that waits here for a reader that never comes would be lost.
    return await openFd(name, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENXIO') return undefined;
    throw error;
  }
}

/** A content as it was before it was compressed. */
function inClear(path: string, bytes: () => AsyncIterable<Uint8Array>): () => Readable {
  return () => {
    const content = Readable.from(bytes(), { objectMode: false });
    const decompress = /\.gz$/i.test(path) ? createGunzip() : /\.zst$/i.test(path) ? createZstdDecompress() : undefined;
    if (decompress === undefined) return content;
    content.on('error', error => decompress.destroy(error));
    return content.pipe(decompress);
  };
}
