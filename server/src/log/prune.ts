/** Pruning: contents that a policy does not keep are dropped; their records, and all that proves them, stay. */
import { userInfo } from 'node:os';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Marks } from '../core/retention-act.ts';
import { planRetention, type RetentionPlan } from '../core/retention.ts';
import { policyText, type RetentionPolicy } from '../core/retention-policy.ts';
import { dropChunks, segmentNames } from './drop-chunks.ts';
import { announceDrop, carryOut, closedSegments, dropSet, dropsOf, finishDrops, isOf, type DropSet } from './drops.ts';
import { Inventory } from './inventory.ts';
import type { OpenWriter } from './types.ts';

/** A version that loses its content. */
export interface LostVersion {
  readonly versionId: string;
  readonly path: string;
  /** When it was recorded, microseconds since the epoch. */
  readonly at: number;
  readonly size: number;
}

export interface Pruned {
  readonly lost: readonly LostVersion[];
  readonly contents: number;
  /** Bytes of the segments that were, or would be, freed: to the byte, as long as nothing is recorded meanwhile. */
  readonly freedBytes: number;
  /** Bytes of all segments afterwards. */
  readonly storedBytes: number;
  readonly budget?: { readonly limit: number; readonly met: boolean };
  /** The record that says so; absent in a dry run, and where there was nothing to do. */
  readonly act?: string;
}

export interface PruneOptions {
  /** The present, microseconds since the epoch. */
  readonly now: number;
  /** Change nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
}

/** Who is at the machine, for the record. */
export function whoIsThere(): { by?: string } {
  try {
    return { by: userInfo().username };
  } catch {
    // An account without an entry in the user database has no name.
    return {};
  }
}

/** Bytes of all segments of a log. */
export function segmentBytes(logDir: string, devices: readonly string[]): number {
  let bytes = 0;
  for (const device of devices) {
    for (const name of segmentNames(logDir, device)) bytes += statSync(join(logDir, 'log', device, name)).size;
  }
  return bytes;
}

/** A version as those that lose their content are listed. */
export function lostVersion(inventory: Inventory, version: number): LostVersion {
  return {
    versionId: inventory.versionId(version),
    path: inventory.path(version),
    at: inventory.versionAt.at(version),
    size: inventory.contentSize.at(inventory.versionContent.at(version))
  };
}

/** At most what the act itself takes: a frame that seals, a segment that begins, a frame with a record and its list of hashes. */
function actBytes({ hashes }: DropSet): number {
  return hashes.length === 0 ? 0 : 2048 + 33 * hashes.length;
}

interface Plan {
  readonly drop: DropSet;
  readonly lost: readonly LostVersion[];
  readonly budget: RetentionPlan['budget'];
}

/** What a policy drops from a log as an inventory has it. */
function planOf(
  inventory: Inventory,
  policy: RetentionPolicy,
  now: number,
  own: ReadonlySet<string>,
  ahead: Iterable<string>
): Plan {
  const marks = Marks.of(inventory.acts);
  const held = new Uint8Array(inventory.contents);
  for (let content = 0; content < inventory.contents; content += 1) held[content] = Number(inventory.isHeld(content));
  const drops = dropsOf(inventory);
  // What an act has dropped stands for nothing any more, though what others share may make it whole.
  const order = inventory.order().filter(version => {
    const content = inventory.versionContent.at(version);
    if (held[content] === 0) return false;
    return drops.size === 0 || drops.of({ ...inventory.place(version), hash: inventory.hash(content) }) === undefined;
  });
  let chunkBytes = 0;
  for (let chunk = 0; chunk < inventory.chunks; chunk += 1) chunkBytes += inventory.chunkBytes.at(chunk);
  const plan = planRetention(
    {
      length: order.length,
      path: order.map(version => inventory.versionPath.at(version)),
      paths: inventory.paths.length,
      at: Float64Array.from(order, version => inventory.versionAt.at(version)),
      content: order.map(version => inventory.versionContent.at(version)),
      contents: inventory.contents,
      // What another device has recorded is its own to prune.
      held: order.map(version =>
        Number(!own.has(inventory.device(version)) || marks.holds(inventory.versionId(version)))
      )
    },
    policy,
    now,
    {
      chunksOf: content => inventory.chunksOf(content),
      chunkBytes: inventory.chunkBytes.values,
      fixedBytes: Math.max(0, segmentBytes(inventory.dir, inventory.devices()) - chunkBytes)
    }
  );
  const gone = (content: number): boolean => plan.dropped[content] === 1;
  const candidates = new Set<string>();
  for (const version of order) {
    const content = inventory.versionContent.at(version);
    const hash = gone(content) ? inventory.hash(content) : undefined;
    // Made of chunks in two ways it is two contents here, and one in the act.
    if (hash !== undefined && inventory.withHash(hash).every(each => gone(each) || held[each] === 0)) {
      candidates.add(hash);
    }
  }
  const lost = Array.from(order)
    .filter(version => candidates.has(inventory.hash(inventory.versionContent.at(version))))
    .map(version => lostVersion(inventory, version));
  return { drop: dropSet(inventory, candidates, isOf(own), ahead), lost, budget: plan.budget };
}

/**
 * Drops what a policy does not keep.
 *
 * @throws SyftError DISK_*, CANCELLED, LOG_CLOSED. When the act is written and the rest fails, the rest is done when the log is
 *   next opened.
 */
export async function pruneLog(log: OpenWriter, policy: RetentionPolicy, options: PruneOptions): Promise<Pruned> {
  const { now, signal, onProgress } = options;
  const devices = [log.device, ...log.earlierDevices];
  const own = new Set(devices);
  // What an earlier run has announced and could not carry out comes first.
  if (options.dryRun !== true) await finishDrops(log, signal);
  const inventory = await Inventory.read(log.dir, { signal, end: () => log.durableEnd, keys: log.keys });
  try {
    const total = (): number => segmentBytes(log.dir, inventory.devices());
    const segments = new Map(devices.map(device => [device, segmentNames(log.dir, device)]));
    const measure = (drop: DropSet): Promise<{ freedBytes: number }> =>
      dropChunks({
        logDir: log.dir,
        workspace: log.workspaceId,
        keys: log.keys,
        segments,
        isDropped: id => drop.chunks.has(id),
        chunkBytes: id => inventory.bytesOf(id),
        dryRun: true,
        signal
      });
    let tried = policy;
    let plan = planOf(inventory, tried, now, own, []);
    let freedBytes = plan.drop.chunks.size === 0 ? 0 : (await measure(plan.drop)).freedBytes;
    // Shares of chunks in a compressed block are estimates: where they were too good, a little more must go.
    for (let round = 0; round < 8 && policy.budget !== undefined && plan.budget?.met === true; round += 1) {
      const over = total() - freedBytes + actBytes(plan.drop) - policy.budget;
      if (over <= 0) break;
      tried = { ...tried, budget: Math.max(0, (tried.budget ?? 0) - Math.max(over, 512)) };
      plan = planOf(inventory, tried, now, own, []);
      freedBytes = (await measure(plan.drop)).freedBytes;
    }
    const report = (freed: number, stored: number, act?: string): Pruned => ({
      lost: plan.lost,
      contents: plan.drop.hashes.length,
      freedBytes: freed,
      storedBytes: stored,
      ...(policy.budget !== undefined && { budget: { limit: policy.budget, met: stored <= policy.budget } }),
      ...(act !== undefined && { act })
    });
    if (options.dryRun === true) return report(freedBytes, total() - freedBytes);
    if (plan.drop.hashes.length === 0) return report(0, total());
    const announced = await log.exclusively(async inside => {
      // What was recorded, pinned or labelled since counts.
      await inventory.advance();
      plan = planOf(inventory, tried, now, own, inside.ahead);
      if (plan.drop.hashes.length === 0) return undefined;
      const change = await announceDrop(
        log,
        inside,
        { act: 'prune', ...whoIsThere(), policy: policyText(policy), contents: plan.drop.hashes.length },
        plan.drop,
        false
      );
      return { act: `${change.device}.${change.seq}`, segments: closedSegments(log, devices) };
    });
    if (announced === undefined) return report(0, total());
    const done = await carryOut(log, inventory, plan.drop, announced.segments, {
      signal,
      ...(onProgress && { onProgress })
    });
    return report(done.freedBytes, total(), announced.act);
  } finally {
    inventory.close();
  }
}
