/** Grows the Merkle tree of a stream from the records that stand in it. Reads only; where tiles go is the caller's business. */
import { SyftError } from '../core/errors.ts';
import { HASH_SIZE, leafHashesOf, LOST_LEAF, TILE_WIDTH, type TileTree } from '../core/merkle.ts';
import type { Position, Segment, Stream } from './stream.ts';
import { widestTile } from './tile-files.ts';

/** Records of a stream that may be lost before it is given up: a foreign log may claim any number, and each costs a hash. */
const MOST_LOST = 2 ** 22;

/** How many bytes of a segment may be read. */
export interface SegmentLimit {
  readonly segment: Segment;
  readonly length: number;
}

/** Follows one stream with a tree. The leaf at index i is the record with sequence number i + 1. */
export class StreamTree {
  readonly tree: TileTree;
  readonly #stream: Stream;
  #position: Position | undefined;
  #lostSoFar = 0;

  /** @param tree As it is for the first records of the stream; the rest is read. */
  constructor(stream: Stream, tree: TileTree) {
    this.#stream = stream;
    this.tree = tree;
  }

  /** Before the first frame that may hold a record the tree lacks. */
  #start(): Position {
    const { segments } = this.#stream;
    let index = 0;
    for (let i = 1; i < segments.length; i += 1) {
      const [before, here] = [segments[index], segments[i]];
      if (here !== undefined && here.firstSeq <= this.tree.size + 1 && here.firstSeq !== before?.firstSeq) index = i;
    }
    const firstSeq = segments[index]?.firstSeq ?? 1;
    return { index, offset: 0, chain: index === 0 ? Buffer.alloc(32) : undefined, nextSeq: index === 0 ? 1 : firstSeq };
  }

  /**
   * Takes in whole frames.
   *
   * @param options `limit`: how much of the last segment may be read; `budget`: records after which to stop, so that a caller can
   *   let others run; `until`: size at which to stop.
   * @returns True when nothing is left to read.
   * @throws SyftError LOG_DAMAGED when more records are lost than can be believed.
   */
  advance(options: { limit?: SegmentLimit | undefined; budget?: number; until?: number } = {}): boolean {
    const { limit, budget = Number.POSITIVE_INFINITY, until = Number.POSITIVE_INFINITY } = options;
    this.#position ??= this.#start();
    let done = 0;
    for (const frame of this.#stream.walk(this.#position, limit)) {
      if (done >= budget || this.tree.size >= until) return false;
      const { firstSeq, count } = frame.header;
      done += count + 1;
      const known = this.tree.size + 1 - firstSeq;
      if (count === 0 || known >= count) continue;
      if (known < 0) this.#lost(-known);
      const raw = this.#stream.rawRecords(frame);
      const leaves = raw === undefined ? undefined : leafHashesOf(raw, count);
      if (leaves === undefined) this.#lost(count - Math.max(0, known));
      else this.tree.append(leaves.subarray(Math.max(0, known) * HASH_SIZE));
    }
    return true;
  }

  /** Records that cannot be read keep the leaves they have in tiles; what is in none counts as an empty leaf, for ever. */
  #lost(count: number): void {
    this.#lostSoFar += count;
    if (this.#lostSoFar > MOST_LOST) {
      throw new SyftError(
        'LOG_DAMAGED',
        `The stream of device ${this.#stream.device} lacks more than ${MOST_LOST} records; it is not gone on with.`,
        { path: this.#stream.dir }
      );
    }
    for (let left = count; left > 0;) {
      const { size } = this.tree;
      const at = size % TILE_WIDTH;
      const n = Math.min(left, TILE_WIDTH - at);
      const known = widestTile(this.#stream.dir, 0, Math.floor(size / TILE_WIDTH)) ?? Buffer.alloc(0);
      const leaves = known.subarray(at * HASH_SIZE, (at + n) * HASH_SIZE);
      this.tree.append(leaves);
      for (let i = leaves.length / HASH_SIZE; i < n; i += 1) this.tree.append(LOST_LEAF);
      left -= n;
    }
  }
}
