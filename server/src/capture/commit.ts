/**
 * Hands changes to the log in batches and, once they are durable, makes them what is known: the tree, the stat values,
 * the listeners. Until then they count as pending, and what is asked about a path takes them into account.
 */
import type { Cause, Change, ChangeDraft } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import { causeOf } from '../core/received.ts';
import { applyChange, type Tree } from '../core/tree.ts';
import type { ReadyBlock } from '../log/ready-blocks.ts';
import type { Append, ChunkInput, LogWriter } from '../log/types.ts';
import type { KnownTree } from './known.ts';
import type { StatValues } from './stat-columns.ts';
import type { AnnouncedIntent } from './received.ts';
import { ReadSlab } from './stable-read.ts';

/** Changes in one append. */
const BATCH_CHANGES = 1000;
const BATCH_BYTES = ReadSlab.BYTES;
/** Content on its way to the log above which reading waits. */
const MAX_PENDING_BYTES = 32 * 1024 * 1024;
const KEPT_SLABS = MAX_PENDING_BYTES / ReadSlab.BYTES;

/** The latest version of a path as far as deciding needs it. */
export type Latest = Pick<Change, 'type' | 'flags'> &
  Partial<Pick<Change, 'hash' | 'size' | 'mode' | 'mtime' | 'content' | 'kind' | 'at'>>;

/** A change on its way to the log, with the stat values that go with it. */
export interface Item extends Append {
  readonly stats: StatValues | undefined;
  readonly sure: boolean;
}

export interface CommitterOptions {
  readonly log: LogWriter;
  readonly tree: Tree;
  readonly known: KnownTree;
  /** After the changes of one append are durable and applied. */
  readonly onDurable: (changes: readonly Change[]) => void;
  readonly onFailure: (error: SyftError) => void;
  /** New announcements of receivers, oldest first. */
  readonly announced?: () => readonly AnnouncedIntent[];
}

export class Committer {
  readonly #options: CommitterOptions;
  readonly #pending = new Map<PathName, ChangeDraft>();
  readonly #expected = new Map<PathName, { hash: string | undefined; cause: Cause }[]>();
  readonly #attached = new Set<{ readonly concerns: (path: PathName) => boolean; readonly cause: Cause }>();
  #batch: Item[] = [];
  #batchBytes = 0;
  #slabs: ReadSlab[] = [];
  #free: ReadSlab[] = [];
  #inFlight = new Set<Promise<void>>();
  #inFlightBytes = 0;
  #inFlightChanges = 0;
  #tail: Promise<void> = Promise.resolve();
  #lastAt = 0;
  #failure: SyftError | undefined;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** Changes handed over and not yet durable. */
  get pending(): number {
    return this.#inFlightChanges + this.#batch.length;
  }

  /** A time for changes that were seen together: now, and later than the time before. Microseconds. */
  nextAt(): number {
    this.#lastAt = Math.max(Date.now() * 1000, this.#lastAt + 1);
    return this.#lastAt;
  }

  /** The latest version of a path, those on their way to the log included. */
  latest(path: PathName): Latest | undefined {
    const pending = this.#pending.get(path);
    if (pending !== undefined) return pending.kind === 'deleted' ? undefined : pending;
    return this.#options.tree.get(path);
  }

  /** Whether {@link latest} has an answer; for very many paths that are new. */
  isKnown(path: PathName): boolean {
    const pending = this.#pending.size === 0 ? undefined : this.#pending.get(path);
    return pending === undefined ? this.#options.tree.has(path) : pending.kind !== 'deleted';
  }

  /** The next change of `path` with this content carries `cause`. Returns what takes that back, if it has not come yet. */
  expect(path: PathName, hash: string | undefined, cause: Cause): () => void {
    const entry = { hash, cause };
    const list = this.#expected.get(path) ?? [];
    list.push(entry);
    if (list.length > 8) list.shift();
    this.#expected.set(path, list);
    return () => {
      const left = this.#expected.get(path)?.filter(other => other !== entry);
      if (left === undefined) return;
      if (left.length === 0) this.#expected.delete(path);
      else this.#expected.set(path, left);
    };
  }

  /** A receiver has said that it deletes `path`, and no deletion was recorded since. */
  expectsDeletion(path: PathName): boolean {
    return this.#expected.get(path)?.some(entry => entry.hash === undefined) === true;
  }

  /**
   * Takes up what receivers of other processes have announced. Called after the disk has been looked at: whatever a receiver
   * put there was announced before.
   */
  takeAnnounced(): void {
    for (const intent of this.#options.announced?.() ?? []) {
      // An old announcement of what is recorded already must not name a later change.
      const latest = this.latest(intent.path);
      if (latest?.hash === intent.hash) continue;
      if (intent.earlier && latest?.at !== undefined && latest.at >= intent.at * 1000) continue;
      this.expect(intent.path, intent.hash, causeOf(intent));
    }
  }

  /** Attaches `cause` to changes of paths that `concerns` names, until the answer is called. */
  attach(concerns: (path: PathName) => boolean, cause: Cause): () => void {
    const entry = { concerns, cause };
    this.#attached.add(entry);
    return () => {
      this.#attached.delete(entry);
    };
  }

  /** Room for `size` bytes of content that go into the present batch. */
  readonly room = (size: number): Buffer => {
    if (size > ReadSlab.BYTES / 2) return Buffer.allocUnsafeSlow(size);
    let slab = this.#slabs[this.#slabs.length - 1];
    let room = slab?.take(size);
    if (room === undefined) {
      slab = this.#free.pop() ?? new ReadSlab();
      this.#slabs.push(slab);
      room = slab.take(size) ?? Buffer.allocUnsafeSlow(size);
    }
    return room;
  };

  /** Keeps `bytes`, which lie in the room given last. */
  keep(bytes: Buffer): void {
    const slab = this.#slabs[this.#slabs.length - 1];
    if (slab?.holds(bytes) === true) slab.keep(bytes.length);
  }

  /**
   * Adds a change to the present batch.
   *
   * @param stats Stat values that go with it; `undefined` when they are not known.
   * @param sure Whether equal stat values will mean equal content.
   */
  add(draft: ChangeDraft, chunks: readonly ChunkInput[], stats: StatValues | undefined, sure: boolean): void {
    const placed = this.#withCause(draft);
    const former = placed.kind === 'modified' && chunks.length > 0 ? this.latest(placed.path)?.content : undefined;
    this.#batch.push({ draft: placed, chunks, stats, sure, ...(former !== undefined && { former }) });
    for (const chunk of chunks) this.#batchBytes += chunk.bytes.length;
    if (placed.kind === 'moved' && placed.from !== undefined) {
      const source = this.#pending.get(placed.from);
      const filledTogether = source !== undefined && source.kind !== 'deleted' && source.at === placed.at;
      if (!filledTogether) {
        this.#pending.set(placed.from, {
          kind: 'deleted',
          path: placed.from,
          type: placed.type,
          flags: [],
          ...(placed.at !== undefined && { at: placed.at })
        });
      }
    }
    this.#pending.set(placed.path, placed);
    if (this.#batch.length >= BATCH_CHANGES || this.#batchBytes >= BATCH_BYTES) this.send();
  }

  /**
   * Adds changes whose chunks lie in blocks that are ready for the log. They are one append: were they two, one could be
   * refused and take the chunks of the other with it.
   *
   * @param bytes Content in the blocks.
   * @param release Called when the log does not need the blocks any more.
   */
  addTogether(items: readonly Item[], blocks: readonly ReadyBlock[], bytes: number, release: () => void): void {
    this.send();
    const placed = items.map(item => {
      const draft = this.#withCause(item.draft);
      this.#pending.set(draft.path, draft);
      return draft === item.draft ? item : { ...item, draft };
    });
    if (placed.length === 0) release();
    else this.#dispatch(placed, bytes, [], blocks, release);
  }

  /** Gives the present batch to the log. */
  send(): void {
    const items = this.#batch;
    const slabs = this.#slabs;
    if (items.length === 0) {
      for (const slab of slabs) slab.clear();
      return;
    }
    const bytes = this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#slabs = [];
    this.#dispatch(items, bytes, slabs, [], () => undefined);
  }

  #dispatch(
    items: readonly Item[],
    bytes: number,
    slabs: readonly ReadSlab[],
    blocks: readonly ReadyBlock[],
    release: () => void
  ): void {
    this.#inFlightBytes += bytes;
    this.#inFlightChanges += items.length;
    const appended = this.#options.log.append(items, blocks);
    // Listeners hear of changes in the order of the log, so each batch waits for the one before.
    const before = this.#tail;
    const done = appended.then(
      async changes => {
        await before;
        release();
        this.#finish(items, bytes, slabs);
        this.#apply(items, changes);
      },
      async (error: unknown) => {
        await before;
        release();
        this.#finish(items, bytes, slabs);
        this.#failure = asLogError(error);
        this.#options.onFailure(this.#failure);
      }
    );
    this.#tail = done;
    this.#inFlight.add(done);
    void done.finally(() => this.#inFlight.delete(done));
  }

  /** Waits while too much is on its way. Throws when the log refused something. */
  async hold(): Promise<void> {
    this.#throwFailure();
    while (this.#inFlightBytes > MAX_PENDING_BYTES) {
      await Promise.race(this.#inFlight);
      this.#throwFailure();
    }
  }

  /** True when {@link hold} would wait or throw. */
  mustHold(): boolean {
    return this.#failure !== undefined || this.#inFlightBytes > MAX_PENDING_BYTES;
  }

  /** Resolves when all that was added is durable. Throws when the log refused something. */
  async settle(): Promise<void> {
    this.send();
    await Promise.all(this.#inFlight);
    if (this.#inFlight.size === 0) this.#free.length = Math.min(this.#free.length, 1);
    this.#throwFailure();
  }

  #throwFailure(): void {
    const failure = this.#failure;
    if (failure === undefined) return;
    this.#failure = undefined;
    throw failure;
  }

  #finish(items: readonly Item[], bytes: number, slabs: readonly ReadSlab[]): void {
    this.#inFlightBytes -= bytes;
    this.#inFlightChanges -= items.length;
    for (const slab of slabs) {
      slab.clear();
      if (this.#free.length < KEPT_SLABS) this.#free.push(slab);
    }
    for (const { draft } of items) {
      if (this.#pending.get(draft.path) === draft) this.#pending.delete(draft.path);
      if (draft.kind === 'moved' && draft.from !== undefined) {
        const source = this.#pending.get(draft.from);
        if (source?.kind === 'deleted' && source.at === draft.at) this.#pending.delete(draft.from);
      }
    }
  }

  #apply(items: readonly Item[], changes: readonly Change[]): void {
    const { tree, known } = this.#options;
    changes.forEach((change, i) => {
      applyChange(tree, change);
      if (change.kind === 'deleted') {
        known.remove(change.path);
        return;
      }
      if (change.kind === 'moved' && change.from !== undefined && !tree.has(change.from)) known.remove(change.from);
      const slot = known.add(change.path, change.type);
      const item = items[i];
      if (item?.stats !== undefined) known.set(slot, item.stats, item.sure);
      else known.forget(slot);
    });
    this.#options.onDurable(changes);
  }

  #withCause(draft: ChangeDraft): ChangeDraft {
    if (this.#expected.size === 0 && this.#attached.size === 0) return draft;
    if (draft.kind === 'moved' && draft.from !== undefined) this.#forgetDeletion(draft.from);
    const list = this.#expected.get(draft.path);
    if (list === undefined) {
      for (const { concerns, cause } of this.#attached) if (concerns(draft.path)) return { ...draft, cause };
      return draft;
    }
    const i = list.findIndex(entry => entry.hash === draft.hash);
    const found = list[i];
    if (found === undefined) {
      for (const { concerns, cause } of this.#attached) if (concerns(draft.path)) return { ...draft, cause };
      return draft;
    }
    list.splice(0, i + 1);
    if (list.length === 0) this.#expected.delete(draft.path);
    return { ...draft, cause: found.cause };
  }

  /** The move that was recorded is how the announced deletion came about. */
  #forgetDeletion(path: PathName): void {
    const list = this.#expected.get(path)?.filter(entry => entry.hash !== undefined);
    if (list === undefined) return;
    if (list.length === 0) this.#expected.delete(path);
    else this.#expected.set(path, list);
  }
}

function asLogError(error: unknown): SyftError {
  if (error instanceof SyftError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new SyftError('DISK_ERROR', `The log could not be written: ${message}`, { cause: error });
}
