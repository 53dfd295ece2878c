/**
 * Keeps the tree of the writer's own stream: reads what has become durable back from the segments, writes tiles and then a signed
 * checkpoint, and remembers it in the user's configuration. Never in the way of an append: it runs when the writer rests, and in
 * small portions while it does not.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { EMPTY_ROOT, type TileTree } from '../core/merkle.ts';
import { replaceFile } from '../storage/durable.ts';
import {
  CHECKPOINT_FILE,
  openSeen,
  readCheckpoint,
  SEEN_FILE,
  signCheckpoint,
  signSeen,
  streamFile,
  streamKey,
  type Checkpoint,
  type SeenStream
} from './checkpoint.ts';
import type { OwnStream } from './own-stream.ts';
import type { Stream } from './stream.ts';
import { StreamTree, type SegmentLimit } from './stream-tree.ts';

/** Between two checkpoints while recording. */
const CHECKPOINT_MS = 5000;
/** Records hashed before others get their turn: a few milliseconds. */
const PORTION = 2048;
/** Pause between two portions while appends are on their way. */
const YIELD_MS = 25;
/** Full tiles, 8 KiB each, that are held back before they are written. */
const HELD_TILES = 128;

export interface TreeKeeperOptions {
  readonly logDir: string;
  readonly workspace: string;
  readonly own: OwnStream;
  readonly stream: Stream;
  /** How much of the stream is durable. */
  readonly limit: () => SegmentLimit | undefined;
  /** Appends are on their way. */
  readonly busy: () => boolean;
}

export class TreeKeeper {
  readonly #options: TreeKeeperOptions;
  readonly #dir: string;
  readonly #grower: StreamTree;
  #checkpoint: Checkpoint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> | undefined;
  #closing = false;
  #wrote = false;
  /** Streams named in the note `seen`. */
  #others = 0;

  constructor(options: TreeKeeperOptions) {
    this.#options = options;
    this.#dir = join(options.logDir, 'log', options.own.device);
    this.#checkpoint = options.own.checkpoint;
    this.#grower = new StreamTree(options.stream, options.own.tree);
    this.#others = this.#seenBefore().length;
  }

  get tree(): TileTree {
    return this.#grower.tree;
  }

  /** What `head.json` says of the tree. */
  get head(): { tree?: number; others?: number } {
    return {
      ...(this.#checkpoint !== undefined && { tree: this.#checkpoint.size }),
      ...(this.#checkpoint !== undefined && this.#others > 0 && { others: this.#others })
    };
  }

  /** A checkpoint or what was seen of others was written since this was opened. */
  get wrote(): boolean {
    return this.#wrote;
  }

  /** Something was appended, or may not be in the tree yet: a checkpoint follows within seconds. */
  wake(): void {
    if (this.#closing) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#working ??= this.#update()
        // The log is whole without it, and whoever opens it next grows what is missing; the next append tries again.
        .catch(() => undefined)
        .finally(() => (this.#working = undefined));
    }, CHECKPOINT_MS).unref();
  }

  /** Brings tree and checkpoint to the end of the stream now. Throws what the disk reports. */
  async settle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#working !== undefined) await this.#working;
    const work = this.#update();
    this.#working = work.catch(() => undefined).finally(() => (this.#working = undefined));
    await work;
  }

  /** Brings tree and checkpoint to the end of the stream. Throws what the disk reports. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    await this.#working;
    await this.#update();
  }

  async #update(): Promise<void> {
    const { own, limit, busy } = this.#options;
    while (!this.#grower.advance({ limit: limit(), budget: PORTION })) {
      if (own.tiles.pending >= HELD_TILES) await own.tiles.flush(this.tree);
      await new Promise(resolve => (busy() && !this.#closing ? setTimeout(resolve, YIELD_MS) : setImmediate(resolve)));
    }
    const { size } = this.tree;
    if (size > (this.#checkpoint?.size ?? 0)) await this.#write(size);
    if (this.#checkpoint !== undefined) this.#writeSeen();
  }

  /** In this order: after a crash there is no checkpoint whose tiles are missing, and none is remembered that is not in the log. */
  async #write(size: number): Promise<void> {
    const { own, workspace, logDir } = this.#options;
    await own.tiles.flush(this.tree, size);
    own.tiles.cut(size);
    const checkpoint = signCheckpoint(workspace, own.device, size, this.tree.root(), own.key);
    replaceFile(join(this.#dir, CHECKPOINT_FILE), Buffer.from(checkpoint.note));
    this.#checkpoint = checkpoint;
    this.#wrote = true;
    try {
      own.remembered.advance(own.device, logDir, own.key.publicKey, checkpoint);
    } catch {
      // A home that cannot be written to remembers nothing; the log itself is as good as without.
    }
    own.tiles.dropSingles(size);
  }

  #seenBefore(): SeenStream[] {
    const { own, workspace } = this.#options;
    const note = streamFile(this.#dir, SEEN_FILE);
    return note === undefined ? [] : (openSeen(note, workspace, own.device, own.key.publicKey) ?? []);
  }

  /** Signs what the log holds of other devices, so that a stream that vanishes as a whole is missed. */
  #writeSeen(): void {
    const { own, workspace, logDir } = this.#options;
    const note = streamFile(this.#dir, SEEN_FILE);
    const seen = new Map(this.#seenBefore().map(stream => [stream.device, stream]));
    for (const device of readdirSync(join(logDir, 'log'))) {
      const dir = join(logDir, 'log', device);
      const key = device === own.device ? undefined : streamKey(dir, workspace, device);
      if (key === undefined) continue;
      const { size, root } = readCheckpoint(dir, workspace, device, key) ?? { size: 0, root: EMPTY_ROOT };
      // What it was seen to be stays where less is there now.
      if (size >= (seen.get(device)?.size ?? 0)) seen.set(device, { device, size, root });
    }
    const streams: SeenStream[] = [...seen.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
    const text = streams.length === 0 ? undefined : signSeen(workspace, own.device, streams, own.key);
    if (text !== undefined && text !== note) {
      replaceFile(join(this.#dir, SEEN_FILE), Buffer.from(text));
      this.#wrote = true;
    }
    this.#others = streams.length;
  }
}
