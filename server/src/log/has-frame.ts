/** Looks for a frame in a segment by its chain value, which stands for all that came before it, however it is stored. */
import { open } from 'node:fs/promises';
import {
  decodeFrameHeader,
  decodeSegmentHeader,
  FRAME_HEADER,
  frameLength,
  frameSeed,
  SEGMENT_HEADER
} from './layout.ts';

/**
 * @param path A segment.
 * @param chain Chain value of the frame, hex.
 * @returns False too where the segment cannot be read up to there.
 */
export async function hasFrame(path: string, chain: string): Promise<boolean> {
  const handle = await open(path, 'r');
  try {
    const first = await handle.read(Buffer.alloc(SEGMENT_HEADER), 0, SEGMENT_HEADER, 0);
    const segment = decodeSegmentHeader(first.buffer);
    if (segment === undefined || segment === 'newer') return false;
    const seed = frameSeed(segment.workspace, segment.device);
    const buffer = Buffer.alloc(FRAME_HEADER);
    for (let offset = SEGMENT_HEADER; ;) {
      const { bytesRead } = await handle.read(buffer, 0, FRAME_HEADER, offset);
      const header = bytesRead === FRAME_HEADER ? decodeFrameHeader(buffer, seed) : undefined;
      if (header === undefined || header === 'newer') return false;
      if (header.chain.toString('hex') === chain) return true;
      offset += frameLength(header);
    }
  } finally {
    await handle.close();
  }
}
