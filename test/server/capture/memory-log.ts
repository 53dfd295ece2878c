/** A log in memory, for what a real one cannot be made to do at will: refuse. */
import type { Change } from '../../../server/src/core/change.ts';
import type { SyftError } from '../../../server/src/core/errors.ts';
import { chunkCount, chunksOf, type ReadyBlock } from '../../../server/src/log/ready-blocks.ts';
import type { Append, ChunkInput, LogWriter } from '../../../server/src/log/types.ts';

export class MemoryLog implements LogWriter {
  readonly dir = '';
  readonly workspaceId = '0123456789abcdef0123456789abcdef';
  readonly device = 'aaaaaaaa';
  readonly pendingBytes = 0;
  readonly damages = [];
  readonly list: Change[] = [];
  readonly #chunks = new Map<string, Buffer>();
  /** When set, appends are refused with it. */
  refuse: SyftError | undefined;

  async *changes(): AsyncIterable<Change> {
    yield* this.list;
  }

  marks(): undefined {
    return undefined;
  }

  changesAfter(): undefined {
    return undefined;
  }

  refresh(): Promise<Change[]> {
    return Promise.resolve([]);
  }

  async *content(change: Change): AsyncIterable<Uint8Array> {
    yield await this.contentBytes(change);
  }

  contentBytes(change: Change): Promise<Buffer> {
    const ids = change.content !== undefined && 'chunks' in change.content ? change.content.chunks : [];
    return Promise.resolve(Buffer.concat(ids.map(id => this.#chunks.get(id) ?? Buffer.from('missing'))));
  }

  hasChunk(id: string): boolean {
    return this.#chunks.has(id);
  }

  storedBytes(): Promise<number> {
    return Promise.resolve(0);
  }

  async append(appends: readonly Append[], ready: readonly ReadyBlock[] = []): Promise<Change[]> {
    await new Promise(resolve => setTimeout(resolve, 1));
    if (this.refuse !== undefined) throw this.refuse;
    for (const block of ready) {
      const all = Array.from({ length: chunkCount(block) }, (_, i) => i);
      for (const chunk of chunksOf(block, all)) this.#chunks.set(chunk.id, Buffer.from(chunk.bytes));
    }
    return appends.map(({ draft, chunks }) => {
      for (const chunk of chunks) this.#chunks.set(chunk.id, Buffer.from(chunk.bytes));
      const seq = this.list.length + 1;
      const change: Change = { ...draft, device: this.device, seq, at: draft.at ?? Date.now() * 1000, hlc: seq };
      this.list.push(change);
      return change;
    });
  }

  putChunks(chunks: readonly ChunkInput[]): Promise<void> {
    for (const chunk of chunks) this.#chunks.set(chunk.id, Buffer.from(chunk.bytes));
    return Promise.resolve();
  }

  contentRef(ids: readonly string[]): { ref: { chunks: readonly string[] }; chunks: ChunkInput[] } {
    return { ref: { chunks: [...ids] }, chunks: [] };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
