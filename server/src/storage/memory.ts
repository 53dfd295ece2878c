/** A storage that lasts as long as the process: for tests, and for those who need none that stays. */
import { randomUUID } from 'node:crypto';
import {
  bodySize,
  checkLimit,
  checkName,
  checkPrefix,
  checkRange,
  checkSignal,
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

interface Held {
  readonly bytes: Uint8Array;
  readonly etag: string;
}

async function gather(body: Body, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of piecesOf(body, signal)) parts.push(Uint8Array.from(piece));
  return Buffer.concat(parts);
}

export class MemoryStorage implements Storage {
  readonly location = `memory:${randomUUID()}`;
  readonly listing = 'strong';
  readonly maxObjectSize: number;
  readonly append?: (name: string, offset: number, body: Body, options?: Cancellable) => Promise<ObjectInfo>;
  readonly #objects = new Map<string, Held>();
  #puts = 0;

  /** @param options `growing`: objects can be appended to; `maxObjectSize`: bytes, default 256 MiB. */
  constructor(options: { readonly growing?: boolean; readonly maxObjectSize?: number } = {}) {
    this.maxObjectSize = options.maxObjectSize ?? 256 * 2 ** 20;
    if (options.growing === true) this.append = (...all) => this.#append(...all);
  }

  async stat(name: string, options: Cancellable = {}): Promise<ObjectInfo | undefined> {
    checkName(name);
    await Promise.resolve();
    checkSignal(options.signal);
    const held = this.#objects.get(name);
    return held === undefined ? undefined : { name, size: held.bytes.length, etag: held.etag };
  }

  async read(name: string, options: ReadOptions): Promise<ObjectRange> {
    checkName(name);
    checkRange(options);
    await Promise.resolve();
    checkSignal(options.signal);
    const held = this.#objects.get(name) ?? notFound(name);
    if (options.etag !== undefined && options.etag !== held.etag) preconditionFailed(name, 'is another object now');
    const bytes = held.bytes.slice(options.offset, options.offset + options.length);
    return { name, size: held.bytes.length, etag: held.etag, bytes: Uint8Array.from(bytes) };
  }

  async put(name: string, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    checkName(name);
    bodySize(body, this.maxObjectSize);
    const bytes = await gather(body, options.signal);
    if (options.ifAbsent === true && this.#objects.has(name)) preconditionFailed(name, 'is there already');
    return this.#set(name, bytes);
  }

  async #append(name: string, offset: number, body: Body, options: Cancellable = {}): Promise<ObjectInfo> {
    checkName(name);
    bodySize(body, this.maxObjectSize - offset);
    const bytes = await gather(body, options.signal);
    const held = this.#objects.get(name) ?? notFound(name);
    if (held.bytes.length !== offset) preconditionFailed(name, `ends at ${held.bytes.length}, not at ${offset}`);
    return this.#set(name, Buffer.concat([held.bytes, bytes]));
  }

  #set(name: string, bytes: Uint8Array): ObjectInfo {
    this.#puts += 1;
    const etag = String(this.#puts);
    this.#objects.set(name, { bytes, etag });
    return { name, size: bytes.length, etag };
  }

  async list(prefix: string, options: ListOptions = {}): Promise<Page> {
    checkPrefix(prefix);
    const limit = options.limit ?? MAX_PAGE;
    checkLimit(limit);
    await Promise.resolve();
    checkSignal(options.signal);
    const { after = '' } = options;
    const names = [...this.#objects.keys()].filter(name => name.startsWith(prefix) && name > after).sort();
    const objects = names.slice(0, limit).map(name => {
      const { bytes, etag } = this.#objects.get(name) as Held;
      return { name, size: bytes.length, etag };
    });
    const last = objects.at(-1);
    return { objects, ...(names.length > limit && last !== undefined && { next: last.name }) };
  }

  async delete(name: string, options: Cancellable = {}): Promise<void> {
    checkName(name);
    await Promise.resolve();
    checkSignal(options.signal);
    this.#objects.delete(name);
  }
}
