/**
 * Dropping contents from a log, step by step (docs/rfcs/0004-retention.md): what is to go is written down as an act and signed
 * before the first byte goes, and what a crash leaves undone is done when the log is next opened to be written.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { hash as hashOnce } from 'node:crypto';
import type { Change } from '../core/change.ts';
import { actDraft, Drops, encodeHashes, isDrop, type RetentionAct } from '../core/retention-act.ts';
import { errnoOf } from '../core/errors.ts';
import { readText } from '../storage/read-text.ts';
import { replaceFile, syncDirectory, writeError } from '../storage/durable.ts';
import {
  dropChunks,
  removeLeftOvers,
  segmentNames,
  type DroppedChunks,
  type DropChunksOptions
} from './drop-chunks.ts';
import { Inventory } from './inventory.ts';
import { removeCopies } from './loose-copies.ts';
import { MAX_CHUNK } from './layout.ts';
import type { Segment } from './stream.ts';
import type { Append, ChunkInput, HeldLog, OpenWriter } from './types.ts';

/** Stands in the log while contents are being dropped. */
export const UNFINISHED_FILE = 'unfinished.json';

/** What is to go. */
export interface DropSet {
  /** Hashes of the contents that lose something, in rising order. */
  readonly hashes: readonly string[];
  /** Ids of the chunks that nothing else needs. */
  readonly chunks: ReadonlySet<string>;
  /** The same with those that are gone already. */
  readonly gone: ReadonlySet<string>;
}

/** The acts of an inventory that have dropped contents. */
export function dropsOf(inventory: Inventory): Drops {
  const drops = new Drops();
  for (const act of inventory.acts) {
    if (isDrop(act)) drops.add(act, inventory.listOf(act) ?? []);
  }
  return drops;
}

/**
 * The chunks that go when some contents do, besides what earlier acts have dropped.
 *
 * @param hashes Contents to drop now.
 * @param isRewritten Whether a segment will be written anew. What blocks of others are based on stays.
 * @param ahead Chunks stored for changes that are still to come.
 */
export function dropSet(
  inventory: Inventory,
  hashes: ReadonlySet<string>,
  isRewritten: (segment: Pick<Segment, 'name' | 'where'>) => boolean,
  ahead: Iterable<string> = []
): DropSet {
  const drops = dropsOf(inventory);
  // A content stays when one version of it is left that no act takes: it was recorded after them all.
  const stays = new Uint8Array(inventory.contents);
  for (let version = 0; version < inventory.versions; version += 1) {
    const content = inventory.versionContent.at(version);
    if (stays[content] === 1) continue;
    const hash = inventory.hash(content);
    if (!hashes.has(hash) && drops.of({ ...inventory.place(version), hash }) === undefined) stays[content] = 1;
  }
  const needed = new Uint8Array(inventory.chunks);
  for (let content = 0; content < inventory.contents; content += 1) {
    if (stays[content] === 1) for (const chunk of inventory.chunksOf(content)) needed[chunk] = 1;
  }
  for (const chunk of inventory.actChunks()) needed[chunk] = 1;
  for (const chunk of inventory.basesIn(segment => !isRewritten(segment))) needed[chunk] = 1;
  for (const id of ahead) {
    const chunk = inventory.chunkNumber(id);
    if (chunk !== undefined) needed[chunk] = 1;
  }
  const chunks = new Set<string>();
  const gone = new Set<string>();
  for (let content = 0; content < inventory.contents; content += 1) {
    if (stays[content] === 1) continue;
    for (const chunk of inventory.chunksOf(content)) {
      if (needed[chunk] !== 0) continue;
      gone.add(inventory.chunkId(chunk));
      if (inventory.isChunkHeld(chunk)) chunks.add(inventory.chunkId(chunk));
    }
  }
  return { hashes: [...hashes].sort(), chunks, gone };
}

/** Whether a segment is of one of these streams. */
export function isOf(devices: Iterable<string>): (segment: Pick<Segment, 'where'>) => boolean {
  const wanted = new Set(devices);
  return ({ where }) => wanted.has(where.split('/')[1] ?? '');
}

/** The segments of some streams; of the writer's own stream all but the one it appends to. */
export function closedSegments(log: OpenWriter, devices: readonly string[]): Map<string, readonly string[]> {
  return new Map(
    devices.map(device => {
      const names = segmentNames(log.dir, device);
      return [device, device === log.device ? names.slice(0, -1) : names];
    })
  );
}

/** An act that lists hashes, ready to be appended. */
function listing(log: OpenWriter, act: RetentionAct, hashes: readonly string[]): Append {
  const bytes = encodeHashes(hashes);
  const chunks: ChunkInput[] = [];
  for (let at = 0; at < bytes.length; at += MAX_CHUNK) {
    const part = bytes.subarray(at, at + MAX_CHUNK);
    chunks.push({ id: hashOnce('sha256', part, 'hex'), bytes: part });
  }
  const { ref, chunks: more } = log.contentRef(chunks.map(({ id }) => id));
  const content = { size: bytes.length, hash: hashOnce('sha256', bytes, 'hex'), content: ref };
  return { draft: actDraft(act, content), chunks: [...chunks, ...more] };
}

/**
 * Writes down what goes, durable and signed, and makes the log count its chunks as gone.
 *
 * @param all Streams of other devices are rewritten too.
 * @returns The act.
 */
export async function announceDrop(
  log: OpenWriter,
  inside: HeldLog,
  act: RetentionAct,
  drop: DropSet,
  all: boolean
): Promise<Change> {
  // First: after a crash it says that there may be something to finish. Without an act there is not.
  replaceFile(join(log.dir, UNFINISHED_FILE), Buffer.from(`${JSON.stringify({ all })}\n`));
  // What is to be rewritten must not be appended to; the act already stands in the segment behind.
  await inside.seal();
  const [change] = await inside.append([listing(log, act, drop.hashes)]);
  // At once: what is recorded from here on must bring these chunks itself, whatever fails below (format F-2).
  inside.forget(drop.chunks);
  await inside.sign();
  return change as Change;
}

/** Carries out what was announced. `inventory`: the log as it is before. */
export async function carryOut(
  log: OpenWriter,
  inventory: Inventory,
  drop: DropSet,
  segments: ReadonlyMap<string, readonly string[]>,
  options: Pick<DropChunksOptions, 'signal' | 'onProgress' | 'damagedToo'>
): Promise<DroppedChunks> {
  const done = await dropChunks({
    logDir: log.dir,
    workspace: log.workspaceId,
    keys: log.keys,
    segments,
    isDropped: id => drop.chunks.has(id),
    chunkBytes: id => inventory.bytesOf(id),
    onReplaced: (device, segment, relocation) => log.relocated(device, segment, relocation),
    ...options
  });
  try {
    rmSync(join(log.dir, UNFINISHED_FILE), { force: true });
    syncDirectory(log.dir);
  } catch (error) {
    throw writeError(error, `${UNFINISHED_FILE} could not be removed`);
  }
  return done;
}

/**
 * Finishes what a crash, or a failure, has left undone.
 *
 * @returns What was freed; `undefined` when there was nothing to finish.
 * @throws SyftError DISK_*, CANCELLED: the log is whole, and the next call goes on.
 */
export async function finishDrops(log: OpenWriter, signal?: AbortSignal): Promise<DroppedChunks | undefined> {
  let all: boolean;
  try {
    all = (JSON.parse(readText(join(log.dir, UNFINISHED_FILE))) as { all?: unknown }).all === true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    // Whatever stands there: the acts say what is to be done, and that more is rewritten than must be does no harm.
    all = false;
  }
  const inventory = await Inventory.read(log.dir, { signal, end: () => log.durableEnd, keys: log.keys });
  try {
    const { drop, devices, segments } = await log.exclusively(async inside => {
      await inventory.advance();
      const devices = all ? inventory.devices() : [log.device, ...log.earlierDevices];
      const segments = closedSegments(log, devices);
      const isRewritten = ({ name, where }: Pick<Segment, 'name' | 'where'>): boolean =>
        segments.get(where.split('/')[1] ?? '')?.includes(name) === true;
      const drop = dropSet(inventory, new Set(), isRewritten, inside.ahead);
      // Whoever announced it may have failed before either: nothing goes that is not signed for, or that an append could lean on.
      if (drop.chunks.size > 0) await inside.sign();
      inside.forget(drop.chunks);
      return { drop, devices, segments };
    });
    for (const device of devices) removeLeftOvers(log.dir, device);
    if (all) {
      const erased = inventory.acts.filter(isDrop).filter(({ retention }) => retention.act === 'erase');
      await removeCopies(log.dir, { hashes: erased.flatMap(act => inventory.listOf(act) ?? []), gone: drop.gone });
    }
    return await carryOut(log, inventory, drop, segments, { signal, damagedToo: all });
  } finally {
    inventory.close();
  }
}
