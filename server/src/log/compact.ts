/**
 * Compaction: the contents of a segment that is not appended to any more are stored anew, all versions of a file behind one another,
 * in its last frame (docs/rfcs/0002-bytes.md). Records, chain, tree and the names of segments stay as they are.
 *
 * Each segment is replaced at once, so what a crash leaves is some of them done and some not: the next call goes on.
 */
import { closeSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { writeError } from '../storage/durable.ts';
import { finishDrops } from './drops.ts';
import { Inventory } from './inventory.ts';
import { PackOrder } from './pack-order.ts';
import { segmentBytes } from './prune.ts';
import { replaceSegment } from './replace-segment.ts';
import { SegmentPacker, segmentShape, type SegmentPart } from './segment-packer.ts';
import { Stream, type Segment } from './stream.ts';
import type { OpenWriter } from './types.ts';

/** The segment that is being written is ended for it from this size on, bytes: a log must not become many small files. */
const ENDED_FROM = 8 * 2 ** 20;

export interface CompactOptions {
  /** What was recorded last too, however little it is: its segment ends, and a new one begins. */
  readonly all?: boolean | undefined;
  /** Change nothing. */
  readonly dryRun?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
}

export interface Compacted {
  /** Segments that were, or would be, written anew. */
  readonly segments: number;
  /** Bytes by which they became, or would become, smaller. */
  readonly freedBytes: number;
  /** Bytes of all segments afterwards. */
  readonly storedBytes: number;
  /** Segments that were left as they are because something in them cannot be read, relative to the log. */
  readonly damaged: readonly string[];
}

function streamOf(log: OpenWriter, device: string): Stream {
  const stream = new Stream(join(log.dir, 'log', device), device, {
    workspace: log.workspaceId,
    config: () => undefined,
    nextNumber: () => 0,
    // Who checks the log tells of damage; here a segment that has any is left alone.
    onDamage: () => undefined,
    keys: log.keys
  });
  stream.discover();
  return stream;
}

/** Of each stream of this installation all segments but the last, and of the present one that too where it is to be ended. */
function candidates(log: OpenWriter, streams: readonly Stream[], lastToo: boolean): SegmentPart[] {
  const found: SegmentPart[] = [];
  const end = log.durableEnd;
  for (const stream of streams) {
    const last = stream.segments.at(-1);
    for (const segment of stream.segments) {
      const present = stream.device === end?.device && segment.name === end.segment;
      if (segment === last && !(lastToo && present)) continue;
      found.push({ stream, segment, end: present ? end.length : statSync(segment.path).size });
    }
  }
  return found;
}

/** Whether the segment that is being written is to be ended. */
async function isEnded(log: OpenWriter, all: boolean): Promise<boolean> {
  const end = log.durableEnd;
  if (end === undefined || (!all && end.length < ENDED_FROM)) return false;
  const stream = streamOf(log, end.device);
  try {
    const segment = stream.segments.find(({ name }) => name === end.segment);
    return segment !== undefined && (await segmentShape({ stream, segment, end: end.length })) === 'to be packed';
  } finally {
    stream.close();
  }
}

/**
 * Stores the contents of a log anew, so that they take less room.
 *
 * @throws SyftError DISK_*, CANCELLED, LOG_CLOSED. What was done is done, the log is whole, and the next call goes on.
 */
export async function compactLog(log: OpenWriter, options: CompactOptions = {}): Promise<Compacted> {
  const { all = false, dryRun = false, signal } = options;
  // What is to go must not be packed first.
  if (!dryRun) await finishDrops(log, signal);
  const inventory = await Inventory.read(log.dir, { signal, end: () => log.durableEnd, keys: log.keys });
  const streams: Stream[] = [];
  try {
    const found = await log.exclusively(async inside => {
      const ends = await isEnded(log, all);
      if (ends && !dryRun) {
        await inside.seal();
        await inside.begin();
        // head.json names the new segment before the old one is replaced.
        await inside.sign();
      }
      await inventory.advance();
      streams.push(...[log.device, ...log.earlierDevices].map(device => streamOf(log, device)));
      return candidates(log, streams, ends && dryRun);
    });
    return await compactSegments(log, inventory, found, options);
  } catch (error) {
    throw writeError(error, 'a segment of the log could not be stored anew');
  } finally {
    inventory.close();
    for (const stream of streams) stream.close();
  }
}

async function compactSegments(
  log: OpenWriter,
  inventory: Inventory,
  found: readonly SegmentPart[],
  options: CompactOptions
): Promise<Compacted> {
  const spread: SegmentPart[] = [];
  const damaged: string[] = [];
  for (const part of found) {
    const shape = await segmentShape(part);
    if (shape === 'damaged') damaged.push(part.segment.where);
    if (shape === 'to be packed') spread.push(part);
    close(part.segment);
  }
  const order = new PackOrder(inventory);
  const total = spread.reduce((sum, { end }) => sum + end, 0);
  let done = 0;
  let freedBytes = 0;
  let segments = 0;
  for (const part of spread) {
    const { stream, segment, end } = part;
    const packer = new SegmentPacker(inventory, part, order.stepsOf(segment), {
      workspace: log.workspaceId,
      keys: log.keys,
      signal: options.signal
    });
    let length: number | undefined;
    try {
      length = await replaceSegment(stream, segment, sink => packer.write(sink), {
        workspace: log.workspaceId,
        keys: log.keys,
        dryRun: options.dryRun,
        isWanted: bytes => bytes < end,
        verify: (copy, written) => packer.verify(copy, written),
        onReplaced: (device, name, relocation) => {
          log.relocated(device, name, relocation);
          // Later segments may be based on it, and the room of the old one is free.
          inventory.relocated(device, name, relocation);
        }
      });
    } catch (error) {
      if (!(error instanceof SyftError && error.code === 'LOG_DAMAGED')) throw error;
      damaged.push(segment.where);
    }
    if (length !== undefined) {
      freedBytes += end - length;
      segments += 1;
    }
    close(segment);
    done += end;
    options.onProgress?.({ done, total, bytes: done });
  }
  const stored = segmentBytes(log.dir, inventory.devices());
  return { segments, freedBytes, storedBytes: stored - (options.dryRun === true ? freedBytes : 0), damaged };
}

function close(segment: Segment): void {
  if (segment.fd !== undefined) closeSync(segment.fd);
  segment.fd = undefined;
}
