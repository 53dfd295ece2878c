/** The chunk section of a frame. */
import { crc32 } from 'node:zlib';
import type { Damage } from '../types.ts';
import { bytesAt, LARGEST, MOST_BASES } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import type { CheckedBlock } from './contents.ts';

/**
 * Notes the chunks of a frame, block by block.
 *
 * @param deltas Whether the frame says that it has blocks on other blocks.
 */
export function* checkBlocks(
  log: CheckedLog,
  fd: number,
  where: string,
  from: number,
  end: number,
  deltas: boolean
): Generator<Damage> {
  let offset = from;
  while (offset < end) {
    const header = bytesAt(fd, offset, Math.min(24, end - offset));
    const n = header.length === 24 ? header.readUInt32LE(4) : 0;
    const raw = header.length === 24 ? header.readUInt32LE(8) : 0;
    const storedLength = header.length === 24 ? header.readUInt32LE(12) : 0;
    const codec = header.length === 24 ? header.readUInt32LE(16) : 3;
    const length = 24 + 36 * n + storedLength;
    if (
      header.toString('latin1', 0, 4) !== 'SYBK' ||
      codec > (deltas ? 2 : 1) ||
      raw > LARGEST ||
      n > LARGEST / 36 ||
      offset + length > end
    ) {
      yield {
        kind: 'checksum',
        where: `${where}:${offset}`,
        versions: [],
        message: `${end - offset} bytes of contents cannot be read.`
      };
      return;
    }
    const body = bytesAt(fd, offset + 24, length - 24);
    if (crc32(body, crc32(header.subarray(0, 20))) !== header.readUInt32LE(20)) {
      // The chunks in it are not noted: the versions that need them are named below.
      yield {
        kind: 'checksum',
        where: `${where}:${offset}`,
        versions: [],
        message: 'A block of contents is damaged.'
      };
    } else {
      const bases = codec === 2 ? basesOf(body.subarray(36 * n)) : [];
      if (bases === undefined) {
        yield {
          kind: 'checksum',
          where: `${where}:${offset}`,
          versions: [],
          message: 'A block names no chunks that it could be based on.'
        };
        offset += length;
        continue;
      }
      const skipped = codec === 2 ? 4 + 32 * bases.length : 0;
      const block: CheckedBlock = {
        file: where,
        offset: offset + 24 + 36 * n + skipped,
        length: storedLength - skipped,
        raw,
        zstd: codec !== 0,
        bases
      };
      let start = 0;
      for (let i = 0; i < n; i++) {
        const id = body.toString('hex', i * 36, i * 36 + 32);
        const size = body.readUInt32LE(i * 36 + 32);
        if (!log.chunks.has(id)) {
          log.chunks.add(id, { block, start, size });
        }
        start += size;
      }
      if (start !== raw) {
        yield {
          kind: 'checksum',
          where: `${where}:${offset}`,
          versions: [],
          message: 'The lengths in a block do not add up.'
        };
      }
    }
    offset += length;
  }
}

/** The ids with which the stored bytes of a block on others begin. */
export function basesOf(stored: Buffer): string[] | undefined {
  const n = stored.length < 4 ? 0 : stored.readUInt32LE(0);
  if (n === 0 || n > MOST_BASES || 4 + 32 * n > stored.length) return undefined;
  return Array.from({ length: n }, (_, i) => stored.toString('hex', 4 + 32 * i, 36 + 32 * i));
}
