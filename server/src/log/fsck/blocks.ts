/** The chunk section of a frame. */
import { crc32 } from 'node:zlib';
import type { Damage } from '../types.ts';
import { bytesAt, LARGEST } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';

/** Notes the chunks of a frame, block by block. */
export function* checkBlocks(log: CheckedLog, fd: number, where: string, from: number, end: number): Generator<Damage> {
  let offset = from;
  while (offset < end) {
    const header = bytesAt(fd, offset, Math.min(24, end - offset));
    const n = header.length === 24 ? header.readUInt32LE(4) : 0;
    const raw = header.length === 24 ? header.readUInt32LE(8) : 0;
    const storedLength = header.length === 24 ? header.readUInt32LE(12) : 0;
    const codec = header.length === 24 ? header.readUInt32LE(16) : 2;
    const length = 24 + 36 * n + storedLength;
    if (
      header.toString('latin1', 0, 4) !== 'SYBK' ||
      codec > 1 ||
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
      let start = 0;
      for (let i = 0; i < n; i++) {
        const id = body.toString('hex', i * 36, i * 36 + 32);
        const size = body.readUInt32LE(i * 36 + 32);
        if (!log.chunks.has(id)) {
          log.chunks.set(id, {
            file: where,
            offset: offset + 24 + 36 * n,
            length: storedLength,
            raw,
            zstd: codec === 1,
            start,
            size
          });
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
