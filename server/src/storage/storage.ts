/**
 * Where copies of logs lie: what each backend must offer (docs/rfcs/0005-storage.md). It is what file systems, S3 and plain
 * HTTP servers can all do honestly: whole objects that appear at once, ranges, listing in order, creation only where nothing is.
 * There is no renaming, and nothing is written into the middle of an object.
 */
import { SyftError } from '../core/errors.ts';

/** No read asks for more at once, bytes. */
export const MAX_READ = 8 * 2 ** 20;
/** No page of a listing holds more objects. */
export const MAX_PAGE = 1000;
/** Longest name, characters, and longest part of one. */
const MAX_NAME = 512;
const MAX_PART = 128;

export interface ObjectInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Differs whenever the content does; otherwise it says nothing. */
  readonly etag: string;
}

export interface ObjectRange extends ObjectInfo {
  /** The bytes asked for, the caller's own; fewer only where the object ends. */
  readonly bytes: Uint8Array;
}

/**
 * What is to be stored. Of a body in pieces `pieces` begins at the first byte at each call, so that a backend can try again;
 * a piece is the backend's only until it asks for the next one.
 */
export type Body = Uint8Array | { readonly size: number; readonly pieces: () => AsyncIterable<Uint8Array> };

export interface Cancellable {
  readonly signal?: AbortSignal;
}

export interface ReadOptions extends Cancellable {
  readonly offset: number;
  /** Bytes, {@link MAX_READ} at most. */
  readonly length: number;
  /** Fail when the object is no longer this one. */
  readonly etag?: string;
}

export interface PutOptions extends Cancellable {
  /** Fail when there is an object by this name. Of several who try at once exactly one succeeds. */
  readonly ifAbsent?: boolean;
}

export interface ListOptions extends Cancellable {
  /** Only names behind this one. */
  readonly after?: string;
  /** Objects a page, {@link MAX_PAGE} at most, which is the default. */
  readonly limit?: number;
}

export interface Page {
  readonly objects: readonly ObjectInfo[];
  /** There may be more: go on with this as `after`. */
  readonly next?: string;
}

/**
 * One place for objects. Names are as {@link checkName} wants them, and no name is the directory of another (`a` beside `a/b`).
 * What a method has resolved is durable. Failures are `SyftError`:
 *
 * | code | |
 * |---|---|
 * | `NOT_FOUND` | there is no such object |
 * | `PRECONDITION_FAILED` | `ifAbsent`, `etag` or the offset of an append did not hold; nothing was changed |
 * | `UNAVAILABLE` | not now: trying again later may succeed (network, throttling) |
 * | `DISK_FULL`, `FORBIDDEN`, `DISK_READ_ONLY` | no space, no permission, not writable |
 * | `CANCELLED` | by the signal |
 * | `PATH_INVALID`, `BAD_REQUEST` | a name or a size that is not allowed; said before anything is read or stored |
 * | `DISK_ERROR` | anything else |
 *
 * A `put` that fails, but for UNAVAILABLE, has left what was there; after UNAVAILABLE the old or the new object is there, whole.
 */
export interface Storage {
  /** What to call it in messages; an address without secrets. */
  readonly location: string;
  /** `strong`: whoever lists sees every put and delete that was resolved before. `eventual`: that takes a while. */
  readonly listing: 'strong' | 'eventual';
  /** Largest object, bytes. */
  readonly maxObjectSize: number;

  /** `undefined` when there is no such object. */
  stat(name: string, options?: Cancellable): Promise<ObjectInfo | undefined>;

  /** Part of an object; of one that ends before `offset` no bytes. */
  read(name: string, options: ReadOptions): Promise<ObjectRange>;

  /** Stores an object, in place of the old one unless `ifAbsent`. Nobody ever sees a part of it. */
  put(name: string, body: Body, options?: PutOptions): Promise<ObjectInfo>;

  /**
   * Only where objects can grow. Adds to one that ends at `offset`, and fails with PRECONDITION_FAILED elsewhere. Has one writer.
   * Not atomic: when it fails, or the machine stops, the object may have grown by a part.
   */
  append?(name: string, offset: number, body: Body, options?: Cancellable): Promise<ObjectInfo>;

  /** Objects whose names begin with `prefix`, ordered by their bytes. Those that come and go meanwhile may be there or not. */
  list(prefix: string, options?: ListOptions): Promise<Page>;

  /** Removes an object; one that is not there is no failure. */
  delete(name: string, options?: Cancellable): Promise<void>;
}

/** What Windows takes for devices, with and without an ending. */
const DEVICE_NAME = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/;

/** Whether a name is legal in every storage. */
export function isLegalName(name: string): boolean {
  if (name.length === 0 || name.length > MAX_NAME || name.endsWith('.tmp')) return false;
  return name
    .split('/')
    .every(
      part =>
        part.length <= MAX_PART &&
        /^[a-z0-9._-]*[a-z0-9_-]$/.test(part) &&
        !/\.tmp$/.test(part) &&
        !DEVICE_NAME.test(part)
    );
}

/**
 * Refuses what some storage could not hold, or might confuse: a name is made of parts with `/` between them, each of lower-case ASCII letters,
 * digits and `._-`, not ended by a dot, not by `.tmp`, at most 128 characters, 512 in all. So case and Unicode never make two names
 * one, and no name leads out of its root.
 *
 * @throws SyftError PATH_INVALID.
 */
export function checkName(name: string): void {
  if (isLegalName(name)) return;
  throw new SyftError(
    'PATH_INVALID',
    `${JSON.stringify(name.slice(0, MAX_NAME))} is no legal name of a stored object.`
  );
}

/** As {@link checkName}, for the beginning of names; `''` is the beginning of all. */
export function checkPrefix(prefix: string): void {
  // With a letter behind it a beginning is a name.
  if (prefix === '' || isLegalName(`${prefix}x`)) return;
  throw new SyftError('PATH_INVALID', `${JSON.stringify(prefix.slice(0, MAX_NAME))} begins no legal name.`);
}

/** @throws SyftError BAD_REQUEST when a range is none, or asks for more than {@link MAX_READ}. */
export function checkRange({ offset, length }: ReadOptions): void {
  if (
    Number.isSafeInteger(offset) &&
    offset >= 0 &&
    Number.isSafeInteger(length) &&
    length >= 0 &&
    length <= MAX_READ
  ) {
    return;
  }
  throw new SyftError(
    'BAD_REQUEST',
    `A read of ${length} bytes at ${offset} is not possible; ${MAX_READ} is the most.`
  );
}

/** @throws SyftError BAD_REQUEST when a page is to hold none, or more than {@link MAX_PAGE}. */
export function checkLimit(limit: number): void {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return;
  throw new SyftError('BAD_REQUEST', `A page holds 1 to ${MAX_PAGE} objects, not ${limit}.`);
}

/** @throws SyftError CANCELLED. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new SyftError('CANCELLED', 'Cancelled.', { cause: signal.reason });
}

/** Bytes of a body. @throws SyftError BAD_REQUEST when they are more than `most`. */
export function bodySize(body: Body, most: number): number {
  const size = body instanceof Uint8Array ? body.length : body.size;
  if (Number.isSafeInteger(size) && size >= 0 && size <= most) return size;
  throw new SyftError('BAD_REQUEST', `An object of ${size} bytes cannot be stored here; ${most} is the most.`);
}

/** The pieces of a body, which are together as long as it says, until the signal. @throws SyftError BAD_REQUEST, CANCELLED. */
export async function* piecesOf(body: Body, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  checkSignal(signal);
  if (body instanceof Uint8Array) {
    yield body;
    return;
  }
  let rest = body.size;
  for await (const piece of body.pieces()) {
    checkSignal(signal);
    rest -= piece.length;
    if (rest < 0) break;
    yield piece;
  }
  checkSignal(signal);
  if (rest !== 0) {
    throw new SyftError('BAD_REQUEST', `The content is not of the ${body.size} bytes that it was said to be.`);
  }
}

/** @throws SyftError NOT_FOUND. */
export function notFound(name: string, cause?: unknown): never {
  throw new SyftError('NOT_FOUND', `There is no object ${name}.`, { path: name, cause });
}

/** @throws SyftError PRECONDITION_FAILED. */
export function preconditionFailed(name: string, what: string, cause?: unknown): never {
  throw new SyftError('PRECONDITION_FAILED', `${name} ${what}; nothing was changed.`, { path: name, cause });
}

/** A whole small object; `undefined` when there is none. @throws SyftError BAD_REQUEST when it has more than `most` bytes. */
export async function readSmall(
  storage: Storage,
  name: string,
  most: number,
  options: Cancellable = {}
): Promise<Buffer | undefined> {
  try {
    const { bytes, size } = await storage.read(name, { ...options, offset: 0, length: most });
    if (size > most) {
      throw new SyftError('BAD_REQUEST', `${name} has ${size} bytes; ${most} is the most.`, { path: name });
    }
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    if (error instanceof SyftError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Every object whose name begins with `prefix`, in order, page by page. */
export async function* listAll(
  storage: Storage,
  prefix: string,
  options: Cancellable = {}
): AsyncGenerator<ObjectInfo> {
  for (let after: string | undefined; ;) {
    const page = await storage.list(prefix, { ...options, ...(after !== undefined && { after }) });
    yield* page.objects;
    if (page.next === undefined) return;
    after = page.next;
  }
}
