/**
 * Marks: how far a reader had come in each stream, in a form that outlives the process. Whoever kept what it had made of the
 * changes up to there need not read them again. The chain value at a mark stands for every record before it, so a log that was
 * put back, cut or rewritten does not have it.
 */
import { decodeFrameHeader, FRAME_HEADER, frameLength } from './layout.ts';
import { readUpTo } from './read-up-to.ts';
import type { Position, Stream } from './stream.ts';

/** A place behind a frame of a stream. */
export interface StreamMark {
  readonly device: string;
  /** Name of the segment that holds the frame. */
  readonly segment: string;
  /** Offset of the frame, bytes. */
  readonly frame: number;
  /** Number of the last change up to there. */
  readonly seq: number;
  /** Chain value of the frame, hexadecimal. */
  readonly chain: string;
}

/** The mark of a position; `undefined` at the beginning of a stream, and behind damage. */
export function markOf(stream: Stream, position: Position): StreamMark | undefined {
  const { last, chain, nextSeq } = position;
  if (last === undefined || chain === undefined) return undefined;
  return {
    device: stream.device,
    segment: last.segment.name,
    frame: last.offset,
    seq: nextSeq - 1,
    chain: chain.toString('hex')
  };
}

/** Where reading goes on behind a mark; `undefined` when the stream does not have it. */
export function positionBehind(stream: Stream, mark: StreamMark, seed: number): Position | undefined {
  const index = stream.segments.findIndex(segment => segment.name === mark.segment);
  const segment = stream.segments[index];
  if (segment === undefined || !Number.isSafeInteger(mark.frame) || mark.frame < 0) return undefined;
  const header = decodeFrameHeader(readUpTo(stream.open(segment), mark.frame, FRAME_HEADER), seed);
  if (header === undefined || header === 'newer') return undefined;
  const nextSeq = header.firstSeq + header.count;
  if (header.chain.toString('hex') !== mark.chain || nextSeq - 1 !== mark.seq) return undefined;
  return {
    index,
    offset: mark.frame + frameLength(header),
    chain: header.chain,
    nextSeq,
    last: { segment, offset: mark.frame }
  };
}
