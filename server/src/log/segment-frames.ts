/** Looks for frames in a segment file by their headers alone: by its chain value a frame stands for all that came before it. */
import { open, type FileHandle } from 'node:fs/promises';
import {
  decodeFrameHeader,
  decodeSegmentHeader,
  FRAME_HEADER,
  frameLength,
  frameSeed,
  SEGMENT_HEADER
} from './layout.ts';

/** A frame of a segment: where it ends, and its chain value, hex. */
export interface FoundFrame {
  readonly chain: string;
  /** Offset behind it, bytes. */
  readonly end: number;
}

async function* framesIn(handle: FileHandle, limit: number): AsyncGenerator<FoundFrame> {
  const first = await handle.read(Buffer.alloc(SEGMENT_HEADER), 0, SEGMENT_HEADER, 0);
  const segment = decodeSegmentHeader(first.buffer);
  if (segment === undefined || segment === 'newer') return;
  const seed = frameSeed(segment.workspace, segment.device);
  const size = Math.min(limit, (await handle.stat()).size);
  const buffer = Buffer.alloc(FRAME_HEADER);
  for (let offset = SEGMENT_HEADER; ;) {
    const { bytesRead } = await handle.read(buffer, 0, FRAME_HEADER, offset);
    const header = bytesRead === FRAME_HEADER ? decodeFrameHeader(buffer, seed) : undefined;
    if (header === undefined || header === 'newer') return;
    offset += frameLength(header);
    if (offset > size) return;
    yield { chain: header.chain.toString('hex'), end: offset };
  }
}

/**
 * Where a frame ends.
 *
 * @param path A segment.
 * @param chain Chain value of the frame, hex.
 * @returns Offset, bytes; `undefined` too where the segment cannot be read up to there.
 */
export async function frameEnd(path: string, chain: string): Promise<number | undefined> {
  const handle = await open(path, 'r');
  try {
    for await (const frame of framesIn(handle, Infinity)) if (frame.chain === chain) return frame.end;
    return undefined;
  } finally {
    await handle.close();
  }
}

/**
 * The last whole frame of a segment that can be reached from its beginning.
 *
 * @param limit Only the first so many bytes count; default all.
 */
export async function lastFrame(path: string, limit = Infinity): Promise<FoundFrame | undefined> {
  const handle = await open(path, 'r');
  try {
    let last: FoundFrame | undefined;
    for await (const frame of framesIn(handle, limit)) last = frame;
    return last;
  } finally {
    await handle.close();
  }
}
