/** Erasing one content from a log: a secret that got into it. Its record, and all that proves it, stays; every copy here goes. */
import { SyftError } from '../core/errors.ts';
import { dropChunks, segmentNames } from './drop-chunks.ts';
import { announceDrop, carryOut, closedSegments, dropSet, finishDrops, type DropSet } from './drops.ts';
import { Inventory } from './inventory.ts';
import { removeCopies } from './loose-copies.ts';
import { lostVersion, whoIsThere, type LostVersion } from './prune.ts';
import type { OpenWriter } from './types.ts';

export interface EraseOptions {
  /** SHA-256 of the content, hex. */
  readonly hash: string;
  /** What becomes of chunks that other contents need: `with` erases these contents too, `keep` leaves the chunks. */
  readonly shared?: 'with' | 'keep' | undefined;
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
}

export interface Erased {
  readonly hash: string;
  /** Every version that has the content. */
  readonly versions: readonly LostVersion[];
  /** Versions with other contents that share chunks with it. */
  readonly sharing: readonly LostVersion[];
  readonly freedBytes: number;
  /** Copies in the log directory that were removed, relative to it. */
  readonly copies: readonly string[];
  /** Copies of sealed segments in the log directory, which may still have it, relative to it. */
  readonly unreadCopies: readonly string[];
  /** Devices whose streams were rewritten, and who may bring their own copy back. */
  readonly otherDevices: readonly string[];
  readonly act?: string;
}

interface ErasePlan {
  readonly drop: DropSet;
  readonly versions: readonly LostVersion[];
  readonly sharing: readonly LostVersion[];
}

function planOf(inventory: Inventory, { hash, shared }: EraseOptions, ahead: Iterable<string>): ErasePlan {
  const targets = new Set(inventory.withHash(hash));
  const chunks = new Uint8Array(inventory.chunks);
  for (const content of targets) for (const chunk of inventory.chunksOf(content)) chunks[chunk] = 1;
  const sharers = new Set<number>();
  for (let content = 0; content < inventory.contents; content += 1) {
    if (targets.has(content) || !inventory.isHeld(content)) continue;
    if (inventory.chunksOf(content).some(chunk => chunks[chunk] === 1)) sharers.add(content);
  }
  const versions: LostVersion[] = [];
  const sharing: LostVersion[] = [];
  for (const version of inventory.order()) {
    const content = inventory.versionContent.at(version);
    if (targets.has(content)) versions.push(lostVersion(inventory, version));
    else if (sharers.has(content)) sharing.push(lostVersion(inventory, version));
  }
  const hashes = new Set([hash]);
  if (shared === 'with') for (const content of sharers) hashes.add(inventory.hash(content));
  return { drop: dropSet(inventory, hashes, () => true, ahead), versions, sharing };
}

function refuseShared(plan: ErasePlan, shared: EraseOptions['shared']): void {
  if (plan.sharing.length === 0 || shared !== undefined) return;
  throw new SyftError(
    'CONTENT_SHARED',
    `${plan.sharing.length} versions with other contents share parts of this one, and nobody but you can tell whether the secret is in them. Erase them too (--with-shared), or keep what they need (--keep-shared).`
  );
}

/**
 * Erases a content from every stream of a log.
 *
 * @throws SyftError VERSION_NOT_FOUND when no version has it; CONTENT_SHARED when others share parts of it and `shared` does not
 *   say what becomes of them; DISK_*, CANCELLED, LOG_CLOSED. Once the act is written, the rest is done when the log is next opened.
 */
export async function eraseContent(log: OpenWriter, options: EraseOptions): Promise<Erased> {
  const { hash, shared, signal, onProgress } = options;
  if (options.dryRun !== true) await finishDrops(log, signal);
  const inventory = await Inventory.read(log.dir, { signal, end: () => log.durableEnd, keys: log.keys });
  try {
    const devices = inventory.devices();
    const own = new Set([log.device, ...log.earlierDevices]);
    const otherDevices = devices.filter(device => !own.has(device));
    let plan = planOf(inventory, options, []);
    if (plan.versions.length === 0) {
      throw new SyftError('VERSION_NOT_FOUND', `No version has a content with the hash ${hash}.`);
    }
    if (options.dryRun === true) {
      const { freedBytes } = await dropChunks({
        logDir: log.dir,
        workspace: log.workspaceId,
        keys: log.keys,
        segments: new Map(devices.map(device => [device, segmentNames(log.dir, device)])),
        isDropped: id => plan.drop.chunks.has(id),
        chunkBytes: id => inventory.bytesOf(id),
        damagedToo: true,
        dryRun: true,
        signal
      });
      return {
        hash,
        versions: plan.versions,
        sharing: plan.sharing,
        freedBytes,
        copies: [],
        unreadCopies: [],
        otherDevices
      };
    }
    const announced = await log.exclusively(async inside => {
      await inventory.advance();
      plan = planOf(inventory, options, inside.ahead);
      refuseShared(plan, shared);
      const act = { act: 'erase' as const, ...whoIsThere(), hash, contents: plan.drop.hashes.length };
      const change = await announceDrop(log, inside, act, plan.drop, true);
      return { act: `${change.device}.${change.seq}`, segments: closedSegments(log, inventory.devices()) };
    });
    const copies = await removeCopies(log.dir, plan.drop);
    const { freedBytes } = await carryOut(log, inventory, plan.drop, announced.segments, {
      signal,
      damagedToo: true,
      ...(onProgress && { onProgress })
    });
    return {
      hash,
      versions: plan.versions,
      sharing: plan.sharing,
      freedBytes,
      copies: copies.removed,
      unreadCopies: copies.unread,
      otherDevices,
      act: announced.act
    };
  } finally {
    inventory.close();
  }
}
