/**
 * What is eating a history: the bytes that contents take in the segments, by whatever the versions are grouped by. Chunks are
 * shared, so three numbers are given: what would be freed if this group alone went, what it shares with others, and its fair part
 * of all, in which a chunk is split between the groups that need it.
 */
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

export interface Usage {
  /** The largest part first. */
  readonly rows: readonly UsageRow[];
  /** Bytes that contents take, each chunk once. */
  readonly storedBytes: number;
  /** Records, headers, and chunks that no version needs. */
  readonly otherBytes: number;
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

/**
 * @param keyOf What a version is counted under.
 */
export function usageOf(inventory: Inventory, keyOf: (version: number) => string): Usage {
  const numbers = new Map<string, number>();
  const groups = new Uint32Array(inventory.versions);
  for (let version = 0; version < groups.length; version += 1) {
    const key = keyOf(version);
    let group = numbers.get(key);
    if (group === undefined) numbers.set(key, (group = numbers.size));
    groups[version] = group;
  }
  const order = grouped(inventory, groups);
  const sharers = new Uint32Array(inventory.chunks);
  eachChunk(inventory, order, groups, (_, chunk) => {
    sharers[chunk] = (sharers[chunk] as number) + 1;
  });
  const sums = { stored: 0, alone: 0, shared: 0, versions: 0, content: 0 };
  const rows = [...numbers.keys()].map(key => ({ key, ...sums }));
  eachChunk(inventory, order, groups, (group, chunk) => {
    const bytes = inventory.chunkBytes.at(chunk);
    const row = rows[group] as (typeof rows)[number];
    const by = sharers[chunk] as number;
    row.stored += bytes / by;
    if (by === 1) row.alone += bytes;
    else row.shared += bytes;
  });
  const met = new Int32Array(inventory.contents).fill(-1);
  for (const version of order) {
    const group = groups[version] as number;
    const row = rows[group] as (typeof rows)[number];
    const content = inventory.versionContent.at(version);
    row.versions += 1;
    if (met[content] !== group) row.content += inventory.contentSize.at(content);
    met[content] = group;
  }
  let stored = 0;
  let unneeded = 0;
  for (let chunk = 0; chunk < inventory.chunks; chunk += 1) {
    if (sharers[chunk] === 0) unneeded += inventory.chunkBytes.at(chunk);
    else stored += inventory.chunkBytes.at(chunk);
  }
  return {
    rows: rows
      .filter(row => row.versions > 0)
      .map(row => ({
        key: row.key,
        versions: row.versions,
        contentBytes: row.content,
        storedBytes: Math.round(row.stored),
        aloneBytes: Math.round(row.alone),
        sharedBytes: Math.round(row.shared)
      }))
      .sort((a, b) => b.storedBytes - a.storedBytes || (a.key < b.key ? -1 : 1)),
    storedBytes: Math.round(stored),
    otherBytes: Math.round(unneeded + inventory.fixedBytes)
  };
}
