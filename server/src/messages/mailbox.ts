/**
 * A mailbox: a storage that its owner has chosen, and that others can write to. Nobody who writes there, and not whoever keeps it, is
 * believed anything: a message is taken for what its own signature says. What they can do is to drop messages, to bring old ones again,
 * to fill it, and to read what is not sealed (docs/security.md).
 *
 *     syft-sync-mailbox.json           says that it is one: put there by its owner, and looked for before anything is delivered or fetched
 *     m-<sha256>.syft                  a message; the hash is that of the archive
 *     m-<sha256>-<16 hex digits>.syft  the same, where something else has its name
 *
 * A name that says what the content must be can be taken by no other message, makes a second attempt to deliver the same file find the
 * first, and shows what is not whole. A storage shows no part of an object; a folder that a program keeps in step may, and then the
 * content does not have its hash yet.
 */
import { createHash, randomBytes } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { storageAt } from '../storage/address.ts';
import {
  checkSignal,
  MAX_READ,
  preconditionFailed,
  type Body,
  type Cancellable,
  type ObjectInfo,
  type Storage
} from '../storage/storage.ts';
import { BOX_LIMITS, boxId } from './box.ts';

const MARKER = 'syft-sync-mailbox.json';
const MARKER_TEXT = `${JSON.stringify({ format: 'syft-sync.mailbox/1' })}\n`;
const PREFIX = 'm-';
const NAME = /^m-([0-9a-f]{64})(?:-[0-9a-f]{16})?\.syft$/;
const PIECE = 256 * 1024;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 250;
/** Problems that are told one by one; the rest is counted. */
const TOLD = 20;

/** What one look into a mailbox may cost, whatever lies there. */
export interface MailboxLimits {
  /** Names that are looked at. */
  readonly objects: number;
  /** Messages that are taken, or turn out to be none. */
  readonly messages: number;
  /** Bytes of one. */
  readonly messageBytes: number;
  /** Bytes that are read, of messages and of what turns out to be none. */
  readonly totalBytes: number;
}

export const MAILBOX_LIMITS: MailboxLimits = {
  objects: 100_000,
  messages: 1000,
  messageBytes: BOX_LIMITS.archiveBytes,
  totalBytes: 16 * 2 ** 30
};

/** The storage at the address of a mailbox. @throws SyftError BAD_REQUEST. */
function mailboxAt(address: string): Storage {
  const storage = storageAt(address, { shared: true });
  if (storage !== undefined) return storage;
  throw new SyftError('BAD_REQUEST', `A mailbox has an address, such as file:///mnt/shared/ana; ${address} is a path.`);
}

/**
 * Makes a mailbox of a storage; one that is there already stays as it is.
 *
 * @throws SyftError BAD_REQUEST, and what the storage throws.
 */
export async function makeMailbox(address: string, options: Cancellable = {}): Promise<void> {
  const storage = mailboxAt(address);
  try {
    await storage.put(MARKER, Buffer.from(MARKER_TEXT), { ...options, ifAbsent: true });
  } catch (error) {
    if (!(error instanceof SyftError) || error.code !== 'PRECONDITION_FAILED') throw error;
  }
}

/**
 * A place that nobody has made a mailbox is none: an address in a link is somebody else's word, and where a volume is not mounted its
 * directory takes files all the same, which nobody then finds.
 */
async function checkMailbox(storage: Storage, options: Cancellable): Promise<void> {
  if ((await storage.stat(MARKER, options)) !== undefined) return;
  throw new SyftError(
    'NOT_FOUND',
    `There is no mailbox at ${storage.location}. If it is on another machine, it may not be mounted; its owner makes it with: syft-sync contacts me --mailbox ADDRESS.`
  );
}

// ---- delivering -------------------------------------------------------------------------------------------------------

export interface DeliverOptions extends Cancellable {
  readonly onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
  /** Default: the one at the address. */
  readonly storage?: Storage;
}

export interface Delivered {
  /** Of the object. */
  readonly name: string;
  /** Bytes of the archive. */
  readonly size: number;
  /** It lay there before: an earlier attempt had come through. */
  readonly already: boolean;
}

/**
 * Puts a message into a mailbox. When it has resolved the message is there, whole and durable; nobody sees a part of it before. The same
 * file delivered again is one message.
 *
 * @param address Of the mailbox.
 * @param file The `.syft` file.
 * @param messageId To tell of it.
 * @throws SyftError NOT_FOUND when there is no mailbox, BAD_REQUEST when the message is larger than is taken there, PATH_NOT_FOUND,
 *   UNREADABLE, CANCELLED, and what the storage throws. After UNAVAILABLE it may lie there: deliver it again.
 */
export async function deliver(
  address: string,
  file: string,
  messageId: string,
  options: DeliverOptions = {}
): Promise<Delivered> {
  const { signal, onProgress } = options;
  const cancellable = signal === undefined ? {} : { signal };
  const storage = options.storage ?? mailboxAt(address);
  await checkMailbox(storage, cancellable);
  await using handle = await openArchive(file);
  const { size } = await handle.stat();
  const most = Math.min(storage.maxObjectSize, MAILBOX_LIMITS.messageBytes);
  if (size > most) {
    throw new SyftError(
      'BAD_REQUEST',
      `${messageId} has ${size} bytes, and ${storage.location} takes ${most} at most.`
    );
  }
  const sha256 = await hashOf(handle, file, cancellable);
  const body: Body = { size, pieces: () => unchanged(handle, file, sha256, size, onProgress) };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return { ...(await put(storage, sha256, body, cancellable)), size };
    } catch (error) {
      if (!(error instanceof SyftError) || error.code !== 'UNAVAILABLE' || attempt === ATTEMPTS) throw error;
      await pause(FIRST_WAIT_MS * 2 ** (attempt - 1), signal);
    }
  }
}

async function openArchive(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') throw new SyftError('PATH_NOT_FOUND', `There is no file ${file}.`, { path: file });
    throw new SyftError('UNREADABLE', `${file} cannot be read.`, { path: file, cause: error });
  }
}

async function* piecesOf(handle: FileHandle, file: string): AsyncGenerator<Buffer> {
  for (let done = 0; ;) {
    const piece = Buffer.allocUnsafe(PIECE);
    const { bytesRead } = await handle.read(piece, 0, piece.length, done).catch((error: unknown) => {
      throw new SyftError('UNREADABLE', `${file} cannot be read.`, { path: file, cause: error });
    });
    if (bytesRead === 0) return;
    done += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

async function hashOf(handle: FileHandle, file: string, { signal }: Cancellable): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of piecesOf(handle, file)) {
    checkSignal(signal);
    hash.update(piece);
  }
  return hash.digest('hex');
}

/** The file as it was hashed; what changes on the way is not delivered under the hash of something else. */
async function* unchanged(
  handle: FileHandle,
  file: string,
  sha256: string,
  total: number,
  onProgress: DeliverOptions['onProgress']
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let done = 0;
  let held: Buffer | undefined;
  for await (const piece of piecesOf(handle, file)) {
    hash.update(piece);
    done += piece.length;
    onProgress?.({ done, total });
    if (held !== undefined) yield held;
    held = piece;
  }
  // The last piece goes only when all is as it was: without it no storage takes the object.
  if (hash.digest('hex') !== sha256) {
    throw new SyftError('UNREADABLE', `${basename(file)} changed while it was being delivered; it was not.`, {
      path: file
    });
  }
  if (held !== undefined) yield held;
}

async function put(
  storage: Storage,
  sha256: string,
  body: Body,
  options: Cancellable
): Promise<{ name: string; already: boolean }> {
  const name = `${PREFIX}${sha256}.syft`;
  const other = `${PREFIX}${sha256}-${randomBytes(8).toString('hex')}.syft`;
  try {
    await storage.put(name, body, { ...options, ifAbsent: true });
    return { name, already: false };
  } catch (error) {
    if (!(error instanceof SyftError) || error.code !== 'PRECONDITION_FAILED') throw error;
  }
  if (await holds(storage, name, sha256, body, options)) return { name, already: true };
  // Somebody has put something else there, who knew the message: it goes beside it.
  await storage.put(other, body, { ...options, ifAbsent: true });
  return { name: other, already: false };
}

/** Whether an object is this content. */
async function holds(
  storage: Storage,
  name: string,
  sha256: string,
  { length, size = length }: { readonly length?: number; readonly size?: number },
  options: Cancellable
): Promise<boolean> {
  const info = await storage.stat(name, options);
  if (info === undefined || info.size !== size) return false;
  try {
    for await (const _ of contentOf(storage, info, sha256, options));
    return true;
  } catch (error) {
    if (error instanceof SyftError && ['PRECONDITION_FAILED', 'NOT_FOUND'].includes(error.code)) return false;
    throw error;
  }
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new SyftError('CANCELLED', 'Cancelled.', { cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted === true) stop();
  });
}

/**
 * An object from its beginning, held to the hash that its name says.
 *
 * @throws SyftError PRECONDITION_FAILED, before its end, when it is another object now or not this content.
 */
async function* contentOf(
  storage: Storage,
  { name, size, etag }: ObjectInfo,
  sha256: string,
  options: Cancellable
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for (let offset = 0; offset < size;) {
    const { bytes } = await storage.read(name, { ...options, offset, length: Math.min(MAX_READ, size - offset), etag });
    if (bytes.length === 0) preconditionFailed(name, 'became shorter');
    hash.update(bytes);
    offset += bytes.length;
    if (offset === size && hash.digest('hex') !== sha256) preconditionFailed(name, 'is not what its name says');
    yield bytes;
  }
}

// ---- fetching ---------------------------------------------------------------------------------------------------------

/** A message that lies in a mailbox. */
export interface Mail {
  /** What the box will call it. */
  readonly id: string;
  /** Bytes of the archive. */
  readonly size: number;
}

/**
 * Takes a message in. When it has resolved the message is durable. It reads `bytes` to their end, which is where they fail when they are
 * not the message; then nothing of it is to stay.
 */
export type TakeIn = (bytes: AsyncIterable<Uint8Array>, mail: Mail) => Promise<void>;

export interface FetchOptions extends Cancellable {
  readonly limits?: Partial<MailboxLimits>;
  /** What was taken is removed from the mailbox once it is durable here, also what was seen before. Default: it stays. */
  readonly remove?: boolean;
  /** Default: the one at the address. */
  readonly storage?: Storage;
}

/** What came of a look into a mailbox. */
export interface Fetched {
  /** Messages that were taken in. */
  readonly received: number;
  /** Ids of messages that lie there still, and need not be looked at again. */
  readonly left: readonly string[];
  /** Every name was looked at. */
  readonly complete: boolean;
  /** Sentences. */
  readonly problems: readonly string[];
}

/** Failures to read that are about one message; those behind it may fare better. */
const READ_OF_ONE: ReadonlySet<string> = new Set(['PRECONDITION_FAILED', 'FORBIDDEN', 'DISK_ERROR', 'PATH_INVALID']);
/** The same of taking one in: it is not liked, and not that there is no room. */
const TAKE_OF_ONE: ReadonlySet<string> = new Set(['BAD_REQUEST', 'ARCHIVE_INVALID']);

/**
 * Takes what is new out of a mailbox, message by message. It begins at a random name: whoever fills the mailbox cannot choose names that
 * keep the messages of others behind the limits each time.
 *
 * @param seen Whether a message need not be taken, by its id.
 * @throws SyftError NOT_FOUND when there is no mailbox, CANCELLED, and what the storage throws when it cannot be listed.
 */
export async function fetchMailbox(
  address: string,
  seen: (id: string) => boolean | Promise<boolean>,
  into: TakeIn,
  options: FetchOptions = {}
): Promise<Fetched> {
  const { signal, remove = false } = options;
  const limits = { ...MAILBOX_LIMITS, ...options.limits };
  const cancellable = signal === undefined ? {} : { signal };
  const storage = options.storage ?? mailboxAt(address);
  await checkMailbox(storage, cancellable);
  const problems = new Problems();
  const left: string[] = [];
  let [looked, tried, received, bytesRead] = [0, 0, 0, 0];
  const done = (complete: boolean): Fetched => ({ received, left, complete, problems: problems.told() });

  const discard = async (name: string, id: string): Promise<void> => {
    if (!remove) {
      left.push(id);
      return;
    }
    try {
      await storage.delete(name, cancellable);
    } catch (error) {
      checkSignal(signal);
      left.push(id);
      problems.add(`A message that was taken cannot be removed from ${storage.location}: ${sentenceOf(error)}`);
    }
  };

  for await (const info of fromTheMiddle(storage, cancellable)) {
    checkSignal(signal);
    looked += 1;
    if (looked > limits.objects) {
      problems.add(`There are more than ${limits.objects} objects in ${storage.location}; the rest was not looked at.`);
      return done(false);
    }
    const sha256 = NAME.exec(info.name)?.[1];
    if (sha256 === undefined) continue;
    const id = boxId(sha256);
    if (await seen(id)) {
      await discard(info.name, id);
      continue;
    }
    if (info.size === 0) continue;
    if (info.size > limits.messageBytes) {
      problems.add(`${info.name} has ${info.size} bytes and is not taken; ${limits.messageBytes} is the most.`);
      continue;
    }
    if (tried >= limits.messages || bytesRead + info.size > limits.totalBytes) {
      problems.add('There is more to fetch; do it again.');
      return done(false);
    }
    tried += 1;
    const reading = new Reading(contentOf(storage, info, sha256, cancellable));
    try {
      await into(reading, { id, size: info.size });
      received += 1;
    } catch (error) {
      checkSignal(signal);
      const failed = reading.failed ?? error;
      // Somebody took it out meanwhile.
      if (reading.failed instanceof SyftError && reading.failed.code === 'NOT_FOUND') continue;
      problems.add(`${info.name} was not taken: ${sentenceOf(failed)}`);
      const ofOne = reading.failed === undefined ? TAKE_OF_ONE : READ_OF_ONE;
      if (failed instanceof SyftError && ofOne.has(failed.code)) continue;
      return done(false);
    } finally {
      bytesRead += reading.bytes;
    }
    await discard(info.name, id);
  }
  return done(true);
}

/** Every object that may be a message, in order, from a random one on and then those before it. */
async function* fromTheMiddle(storage: Storage, options: Cancellable): AsyncGenerator<ObjectInfo> {
  const middle = `${PREFIX}${randomBytes(8).toString('hex')}`;
  for (const before of [false, true]) {
    for (let after = before ? undefined : middle; ;) {
      const page = await storage.list(PREFIX, { ...options, ...(after !== undefined && { after }) });
      for (const info of page.objects) {
        if (before && info.name > middle) return;
        yield info;
      }
      if (page.next === undefined) break;
      after = page.next;
    }
  }
}

/** The bytes of a message, with what became of reading them: whoever takes them in may tell of it otherwise. */
class Reading implements AsyncIterable<Uint8Array> {
  bytes = 0;
  failed: unknown;
  readonly #source: AsyncIterable<Uint8Array>;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of this.#source) {
        this.bytes += piece.length;
        yield piece;
      }
    } catch (error) {
      this.failed = error;
      throw error;
    }
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Sentences for a person, however many things go wrong. */
class Problems {
  readonly #told: string[] = [];
  #more = 0;

  add(sentence: string): void {
    if (this.#told.length < TOLD) this.#told.push(sentence);
    else this.#more += 1;
  }

  told(): readonly string[] {
    return this.#more === 0 ? this.#told : [...this.#told, `${this.#more} more of the kind.`];
  }
}
