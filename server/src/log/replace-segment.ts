/** Puts another file in place of a segment: one with the same frames, the chunks of which were dropped or stored anew. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { replaceFile, syncDirectory } from '../storage/durable.ts';
import { encodeHead, readHead } from './head.ts';
import type { Relocation } from './relocation.ts';
import { SegmentSink } from './segment-sink.ts';
import { Stream, type Segment } from './stream.ts';

export interface ReplaceSegmentOptions {
  /** 32 hex digits. */
  readonly workspace: string;
  /** Of an encrypted log. */
  readonly keys: LogKeys | undefined;
  /** Only count. */
  readonly dryRun?: boolean | undefined;
  /** Whether a file of so many bytes is to be put in place; default always. */
  readonly isWanted?: (length: number) => boolean;
  /** Looks at the new file before it is put in place. Throws what keeps it from being so. */
  readonly verify?: (copy: Stream, written: Segment) => Promise<void>;
  /** A segment was replaced. Called before anything else can happen. */
  readonly onReplaced?: ((device: string, segment: string, relocation: Relocation) => void) | undefined;
}

/**
 * Writes a segment anew beside the old one, syncs it, compares the frames of both and renames it into place. After a crash the old or
 * the new one stands there, whole, and perhaps `<name>.tmp` beside it.
 *
 * @param write Writes the segment as it will be, and returns where its frames went.
 * @returns Bytes of the segment as it is, or would be, afterwards; `undefined` when it is not wanted.
 * @throws SyftError INTERNAL when the new file does not hold the frames of the old one; system errors; the old one stays then.
 */
export async function replaceSegment(
  stream: Stream,
  segment: Segment,
  write: (sink: SegmentSink) => Promise<Relocation>,
  options: ReplaceSegmentOptions
): Promise<number | undefined> {
  const temporary = options.dryRun === true ? undefined : `${segment.path}.tmp`;
  const sink = new SegmentSink(temporary);
  let relocation: Relocation;
  try {
    try {
      relocation = await write(sink);
      sink.sync();
    } finally {
      sink.close();
    }
    const isWanted = options.isWanted?.(sink.length) !== false;
    if (temporary === undefined) return isWanted ? sink.length : undefined;
    if (!isWanted) {
      rmSync(temporary, { force: true });
      return undefined;
    }
    await check(stream, segment, temporary, options);
    shortenHead(stream, segment, relocation);
    renameSync(temporary, segment.path);
  } catch (error) {
    if (temporary !== undefined) rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(stream.dir);
  options.onReplaced?.(stream.device, segment.name, relocation);
  return sink.length;
}

/** The new file has the frames of the old one. */
async function check(stream: Stream, segment: Segment, path: string, options: ReplaceSegmentOptions): Promise<void> {
  const copy = new Stream(stream.dir, stream.device, {
    workspace: options.workspace,
    config: () => undefined,
    nextNumber: () => 0,
    onDamage: () => undefined,
    keys: options.keys
  });
  try {
    const written: Segment = { ...segment, path, fd: undefined, relocations: [] };
    copy.segments.push(written);
    const left = copy.framesOf(written);
    for (const { header } of stream.framesOf(segment)) {
      const found = left.next();
      if (found.done === true || !found.value.header.chain.equals(header.chain)) {
        throw new SyftError('INTERNAL', `${segment.where} could not be written anew; nothing was changed.`);
      }
    }
    await options.verify?.(copy, written);
  } finally {
    copy.close();
  }
}

/** A head may be behind its segment, never ahead: so it is shortened first, where it names this one. */
function shortenHead(stream: Stream, segment: Segment, relocation: Relocation): void {
  const head = readHead(stream.dir);
  if (head === undefined || head === 'damaged' || head.segment !== segment.name) return;
  replaceFile(join(stream.dir, 'head.json'), encodeHead({ ...head, length: relocation.of(head.length) }));
}
