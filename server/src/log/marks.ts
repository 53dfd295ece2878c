/**
 * Marks: how far a reader had come in each stream, in a form that outlives the process. Whoever kept what it had made of the
 * changes up to there need not read them again. The chain value at a mark stands for every record before it, so a log that was
 * put back, cut or rewritten does not have it.
 */
import { decodeFrameHeader, FRAME_HEADER, frameLength, SEGMENT_HEADER, type FrameHeader } from './layout.ts';
import { readUpTo } from './read-up-to.ts';
import { presentOffset } from './relocation.ts';
import type { Position, Segment, Stream } from './stream.ts';

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
    frame: presentOffset(last.segment, last.offset, last.generation),
    seq: nextSeq - 1,
    chain: chain.toString('hex')
  };
}

function frameAt(stream: Stream, segment: Segment, offset: number, seed: number): FrameHeader | undefined {
  const header = decodeFrameHeader(readUpTo(stream.open(segment), offset, FRAME_HEADER), seed);
  return header === 'newer' ? undefined : header;
}

/** The frame of a mark and where it is: a segment that was rewritten without some chunks holds it at another place. */
function* candidates(
  stream: Stream,
  segment: Segment,
  mark: StreamMark,
  seed: number
): Generator<{ offset: number; header: FrameHeader }> {
  const there = frameAt(stream, segment, mark.frame, seed);
  if (there !== undefined) yield { offset: mark.frame, header: there };
  for (let offset = SEGMENT_HEADER; ;) {
    const header = frameAt(stream, segment, offset, seed);
    if (header === undefined) return;
    yield { offset, header };
    offset += frameLength(header);
  }
}

/** Where reading goes on behind a mark; `undefined` when the stream does not have it. */
export function positionBehind(stream: Stream, mark: StreamMark, seed: number): Position | undefined {
  const index = stream.segments.findIndex(segment => segment.name === mark.segment);
  const segment = stream.segments[index];
  if (segment === undefined || !Number.isSafeInteger(mark.frame) || mark.frame < 0) return undefined;
  for (const { offset, header } of candidates(stream, segment, mark, seed)) {
    const nextSeq = header.firstSeq + header.count;
    if (nextSeq - 1 > mark.seq && offset !== mark.frame) return undefined;
    if (header.chain.toString('hex') !== mark.chain || nextSeq - 1 !== mark.seq) continue;
    const generation = segment.relocations.length;
    return {
      index,
      offset: offset + frameLength(header),
      generation,
      chain: header.chain,
      nextSeq,
      last: { segment, offset, generation }
    };
  }
  return undefined;
}
