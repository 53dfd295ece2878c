/**
 * A reading thread: reads the files it is told of, one stable read each, and answers with their bytes in blocks that are
 * ready for the log. It decides nothing: whatever is not a plain file at rest is left to the main thread, which looks again.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { constants as zlibConstants, zstdCompressSync } from 'node:zlib';
import { chunkContent, CHUNKING } from '../core/chunking.ts';
import { fsPath, type PathName } from '../core/path-name.ts';
import { BLOCK_SIZE } from '../log/layout.ts';
import { readyBlock } from '../log/ready-blocks.ts';
import { dropYoungGarbage, keepHeapSmall } from './heap.ts';
import { STAT_FIELDS, type PoolOptions, type ReadAnswer, type ReadRequest, type SentBlock } from './read-pool.ts';
import { isNotebook, readSmall } from './stable-read.ts';

const port = parentPort;
if (port === null) throw new Error('this file is a worker');
const { root, slabs, taken, small } = workerData as PoolOptions;

if (small) keepHeapSmall();

port.on('message', ({ job, paths }: ReadRequest) => {
  readAll(job, paths.split('\0'));
});

/** Waits until the main thread has given a slab back; there is nothing else to do meanwhile. */
function nextSlab(): number {
  for (;;) {
    const givenBack = Atomics.load(taken, slabs.length);
    for (let slab = 0; slab < slabs.length; slab += 1) {
      if (Atomics.compareExchange(taken, slab, 0, 1) === 0) return slab;
    }
    Atomics.wait(taken, slabs.length, givenBack);
  }
}

function readAll(job: number, paths: readonly PathName[]): void {
  for (let from = 0; from < paths.length;) {
    const filling = new Filling(nextSlab(), paths.length - from);
    let at = from;
    while (at < paths.length && filling.add(paths[at] ?? '')) at += 1;
    filling.send(job, from);
    dropYoungGarbage();
    from = at;
  }
}

/** One slab being filled. */
class Filling {
  readonly #number: number;
  readonly #slab: Buffer;
  readonly #stats: Float64Array;
  readonly #hashes: Buffer;
  readonly #cut: [number, string[]][] = [];
  /** Ids of the chunks, 32 bytes each, and their lengths. */
  #ids: Buffer;
  readonly #lengths: number[] = [];
  #used = 0;
  #count = 0;

  constructor(slab: number, most: number) {
    this.#number = slab;
    this.#slab = Buffer.from(slabs[slab] ?? new SharedArrayBuffer(0));
    this.#stats = new Float64Array(most * STAT_FIELDS);
    this.#hashes = Buffer.from(new ArrayBuffer(most * 32));
    this.#ids = Buffer.allocUnsafeSlow(most * 32);
  }

  /** Reads one file. False: there is no room for it any more. */
  add(path: PathName): boolean {
    // Room for the largest file, or for none: its size is known only once it is open.
    let full = false;
    const result = readSmall(fsPath(`${root}/${path}`), path, size => {
      full = this.#used + size > this.#slab.length;
      return this.#slab.subarray(this.#used, full ? this.#used : this.#used + size);
    });
    if (full && this.#count > 0) return false;
    const at = this.#count * STAT_FIELDS;
    this.#count += 1;
    if (full || result.kind !== 'content' || result.moved || result.broken) {
      this.#stats[at] = NaN;
      return true;
    }
    const { stats, bytes } = result;
    this.#stats[at] = stats.dev;
    this.#stats[at + 1] = stats.ino;
    this.#stats[at + 2] = stats.size;
    this.#stats[at + 3] = stats.mtimeMs;
    this.#stats[at + 4] = stats.ctimeMs;
    this.#stats[at + 5] = stats.birthtimeMs;
    this.#stats[at + 6] = stats.mode;
    this.#stats[at + 7] = result.readAt;
    this.#hashes.write(result.hash, (this.#count - 1) * 32, 32, 'hex');
    if (bytes.length > 0 && bytes.length <= CHUNKING.whole) this.#addChunk(result.hash, bytes.length);
    else this.#addChunks(path, bytes, result.hash);
    this.#used += bytes.length;
    return true;
  }

  #addChunks(path: PathName, bytes: Buffer, hash: string): void {
    const chunks = chunkContent(bytes, { notebook: isNotebook(path), contentHash: hash });
    if (chunks.length > 1 || chunks[0]?.id !== hash) {
      this.#cut.push([this.#count - 1, chunks.map(chunk => chunk.id)]);
    }
    for (const chunk of chunks) this.#addChunk(chunk.id, chunk.bytes.length);
  }

  #addChunk(id: string, length: number): void {
    const at = this.#lengths.length * 32;
    if (at === this.#ids.length) this.#ids = Buffer.concat([this.#ids], at * 2);
    this.#ids.write(id, at, 32, 'hex');
    this.#lengths.push(length);
  }

  send(job: number, from: number): void {
    const answer: ReadAnswer = {
      job,
      from,
      count: this.#count,
      stats: this.#stats,
      hashes: this.#hashes,
      cut: this.#cut,
      blocks: this.#blocks(),
      bytes: this.#used,
      slab: this.#number
    };
    port?.postMessage(answer, [this.#stats.buffer as ArrayBuffer, this.#hashes.buffer as ArrayBuffer]);
  }

  #blocks(): SentBlock[] {
    const blocks: SentBlock[] = [];
    let start = 0;
    let end = 0;
    let first = 0;
    const close = (next: number): void => {
      if (next > first) blocks.push(this.#block(first, next, start, end));
      first = next;
      start = end;
    };
    this.#lengths.forEach((length, i) => {
      if (end - start + length > BLOCK_SIZE) close(i);
      end += length;
    });
    close(this.#lengths.length);
    return blocks;
  }

  /** The chunks from `first` to `next` lie one behind the other in the slab, from `start` to `end`. */
  #block(first: number, next: number, start: number, end: number): SentBlock {
    const ids = this.#ids.subarray(first * 32, next * 32);
    const raw = this.#slab.subarray(start, end);
    const { head, stored } = readyBlock(ids, this.#lengths.slice(first, next), raw, compress(raw));
    return { head, start, end, ...(stored !== raw && { stored }) };
  }
}

/** The lowest level: on a first pass time counts, and what the next one would save is a few in a hundred. */
function compress(raw: Uint8Array): Buffer {
  return zstdCompressSync(raw, {
    params: { [zlibConstants.ZSTD_c_compressionLevel]: 1 },
    pledgedSrcSize: raw.length,
    // Smaller than what the allocator maps anew each time.
    chunkSize: 64 * 1024
  });
}
