/**
 * In which order the chunks of a segment are packed: those of a file behind one another, version by version, files in the order of
 * their names. What is alike is then close together, and what is read together too.
 */
import { displayPath } from '../core/path-name.ts';
import type { Inventory } from './inventory.ts';
import type { Segment } from './stream.ts';

/** What a version brings into a segment. */
export interface PackStep {
  /** Numbers of chunks that no step before has. */
  readonly fresh: readonly number[];
  /** Its content, and that of the version before it of the same path. */
  readonly content: number;
  readonly former: number | undefined;
}

/** Versions looked at before others get their turn. */
const PORTION = 8192;

/** The versions of a log by path, those of one path in the order of the log: 4 bytes for each. */
export class PackOrder {
  readonly #inventory: Inventory;
  readonly #versions: Uint32Array;

  /** @param inventory Must not advance while this is used. */
  constructor(inventory: Inventory) {
    this.#inventory = inventory;
    const names = inventory.paths.map(path => displayPath(path));
    const sorted = names.map((_, path) => path).sort((a, b) => ((names[a] as string) < (names[b] as string) ? -1 : 1));
    // Where the next version of each path goes: first how many it has, then where the first of them stands.
    const next = new Uint32Array(names.length);
    for (const path of inventory.versionPath.values) next[path] = (next[path] as number) + 1;
    let start = 0;
    for (const path of sorted) {
      const count = next[path] as number;
      next[path] = start;
      start += count;
    }
    this.#versions = new Uint32Array(start);
    for (const version of inventory.order()) {
      const path = inventory.versionPath.at(version);
      const place = next[path] as number;
      this.#versions[place] = version;
      next[path] = place + 1;
    }
  }

  /** What the versions bring into one segment. */
  async *stepsOf({ where }: Pick<Segment, 'where'>): AsyncGenerator<PackStep> {
    const inventory = this.#inventory;
    const seen = new Uint8Array(inventory.chunks);
    let path = -1;
    let former: number | undefined;
    for (const [i, version] of this.#versions.entries()) {
      if (i % PORTION === PORTION - 1) await new Promise(resolve => setImmediate(resolve));
      if (inventory.versionPath.at(version) !== path) former = undefined;
      path = inventory.versionPath.at(version);
      const content = inventory.versionContent.at(version);
      const fresh: number[] = [];
      for (const chunk of inventory.chunksOf(content)) {
        if (seen[chunk] === 1) continue;
        seen[chunk] = 1;
        if (inventory.segmentOf(chunk)?.where === where) fresh.push(chunk);
      }
      if (fresh.length > 0) yield { fresh, content, former };
      former = content;
    }
  }
}

/** Chunks that the former version of a step has and its own has not: what was altered is most like those. */
export function goneIn(inventory: Inventory, { content, former }: PackStep): number[] {
  if (former === undefined) return [];
  const now = new Set(inventory.chunksOf(content));
  return [...inventory.chunksOf(former)].filter(chunk => !now.has(chunk));
}
