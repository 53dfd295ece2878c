/**
 * What is eating a history: the bytes that contents take in the segments, by whatever the versions are grouped by. Chunks are
 * shared, so three numbers are given: what would be freed if this group alone went, what it shares with others, and its fair part
 * of all, in which a chunk is split between the groups that need it.
 */
import { displayPath } from '../core/path-name.ts';
import type { Inventory } from './inventory.ts';

export interface UsageRow {
  readonly key: string;
  /** Versions whose content is there. */
  readonly versions: number;
  /** Bytes of their contents, each content once. */
  readonly contentBytes: number;
  /** The fair part: over all groups they add up to what contents take. */
  readonly storedBytes: number;
  /** Needed by no other group. */
  readonly aloneBytes: number;
  /** Needed by others too. */
  readonly sharedBytes: number;
}

/** Rows that are made one by one when they are asked for: there may be as many as versions. */
export interface UsageRows extends Iterable<UsageRow> {
  readonly length: number;
}

export interface Usage {
  /** The largest part first. */
  readonly rows: UsageRows;
  /** Bytes that contents take, each chunk once. */
  readonly storedBytes: number;
  /** Records, headers, and chunks that no version needs. */
  readonly otherBytes: number;
}

/** What versions are counted under. */
export interface Grouping {
  /** The group of a version; small numbers. */
  of(version: number): number;
  key(group: number): string;
}

/** Versions of one path are a group. */
export function byPath(inventory: Inventory): Grouping {
  return {
    of: version => inventory.versionPath.at(version),
    key: path => displayPath(inventory.paths[path] ?? '')
  };
}

/** Versions with the same key are one group. */
export function groupedBy(keyOf: (version: number) => string): Grouping {
  const keys: string[] = [];
  const numbers = new Map<string, number>();
  return {
    of: version => {
      const key = keyOf(version);
      let number = numbers.get(key);
      if (number === undefined) numbers.set(key, (number = keys.push(key) - 1));
      return number;
    },
    key: group => keys[group] ?? ''
  };
}

/** Numbers of versions whose content is there, group by group. */
function grouped(inventory: Inventory, groups: Uint32Array): Uint32Array {
  const held = new Uint8Array(inventory.contents);
  for (let content = 0; content < inventory.contents; content += 1) held[content] = Number(inventory.isHeld(content));
  return Uint32Array.from({ length: inventory.versions }, (_, i) => i)
    .filter(version => held[inventory.versionContent.at(version)] === 1)
    .sort((a, b) => (groups[a] as number) - (groups[b] as number) || a - b);
}

/** Calls back for each chunk of each group once. */
function eachChunk(
  inventory: Inventory,
  order: Uint32Array,
  groups: Uint32Array,
  visit: (group: number, chunk: number) => void
): void {
  const met = new Int32Array(inventory.chunks).fill(-1);
  const metContent = new Int32Array(inventory.contents).fill(-1);
  for (const version of order) {
    const group = groups[version] as number;
    const content = inventory.versionContent.at(version);
    if (metContent[content] === group) continue;
    metContent[content] = group;
    for (const chunk of inventory.chunksOf(content)) {
      if (met[chunk] === group) continue;
      met[chunk] = group;
      visit(group, chunk);
    }
  }
}

/** Counts what the versions of each group take. Some 60 bytes a group and 20 a version and chunk, beside the inventory. */
export function usageOf(inventory: Inventory, grouping: Grouping): Usage {
  const groups = new Uint32Array(inventory.versions);
  let count = 0;
  for (let version = 0; version < groups.length; version += 1) {
    const group = grouping.of(version);
    groups[version] = group;
    count = Math.max(count, group + 1);
  }
  const order = grouped(inventory, groups);
  const sharers = new Uint32Array(inventory.chunks);
  eachChunk(inventory, order, groups, (_, chunk) => {
    sharers[chunk] = (sharers[chunk] as number) + 1;
  });
  const stored = new Float64Array(count);
  const alone = new Float64Array(count);
  const shared = new Float64Array(count);
  eachChunk(inventory, order, groups, (group, chunk) => {
    const bytes = inventory.chunkBytes.at(chunk);
    const by = sharers[chunk] as number;
    add(stored, group, bytes / by);
    add(by === 1 ? alone : shared, group, bytes);
  });
  const contentBytes = new Float64Array(count);
  const versions = new Uint32Array(count);
  const met = new Int32Array(inventory.contents).fill(-1);
  for (const version of order) {
    const group = groups[version] as number;
    const content = inventory.versionContent.at(version);
    add(versions, group, 1);
    if (met[content] !== group) add(contentBytes, group, inventory.contentSize.at(content));
    met[content] = group;
  }
  let storedBytes = 0;
  let unneeded = 0;
  for (let chunk = 0; chunk < inventory.chunks; chunk += 1) {
    if (sharers[chunk] === 0) unneeded += inventory.chunkBytes.at(chunk);
    else storedBytes += inventory.chunkBytes.at(chunk);
  }
  for (const column of [stored, alone, shared]) column.forEach((bytes, group) => (column[group] = Math.round(bytes)));
  const row = (group: number): UsageRow => ({
    key: grouping.key(group),
    versions: versions[group] as number,
    contentBytes: contentBytes[group] as number,
    storedBytes: stored[group] as number,
    aloneBytes: alone[group] as number,
    sharedBytes: shared[group] as number
  });
  const largestFirst = Uint32Array.from(versions.keys())
    .filter(group => versions[group] !== 0)
    .sort((a, b) => (stored[b] as number) - (stored[a] as number) || (grouping.key(a) < grouping.key(b) ? -1 : 1));
  return {
    rows: {
      length: largestFirst.length,
      *[Symbol.iterator]() {
        for (const group of largestFirst) yield row(group);
      }
    },
    storedBytes: Math.round(storedBytes),
    otherBytes: Math.round(unneeded + inventory.fixedBytes)
  };
}

function add(column: Float64Array | Uint32Array, group: number, amount: number): void {
  column[group] = (column[group] as number) + amount;
}
