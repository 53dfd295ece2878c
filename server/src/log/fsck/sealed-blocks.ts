/** The chunk section of a frame in an encrypted log. */
import { crc32 } from 'node:zlib';
import type { Damage } from '../types.ts';
import { basesOf } from './blocks.ts';
import { bytesAt, LARGEST } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import { SEALED_MORE, type SealedPlace } from './sealed.ts';

const SEALED = 256;
const OWN_SESSION = 512;

/** Offsets in the file. */
interface Section {
  readonly frame: number;
  readonly from: number;
  readonly end: number;
}

/**
 * Checks sealed blocks, and notes their chunks where there are keys.
 *
 * @param deltas Whether the frame says that it has blocks on other blocks.
 */
export function* checkSealedBlocks(
  log: CheckedLog,
  fd: number,
  where: string,
  section: Section,
  deltas: boolean,
  place: SealedPlace
): Generator<Damage> {
  let offset = section.from;
  while (offset < section.end) {
    const bad = (kind: string, message: string): Damage => ({
      kind,
      where: `${where}:${offset}`,
      versions: [],
      message
    });
    const header = bytesAt(fd, offset, Math.min(24, section.end - offset));
    const word = (at: number): number => (header.length === 24 ? header.readUInt32LE(at) : LARGEST);
    const [n, storedLength, codec] = [word(4), word(12), word(16)];
    const own = (codec & OWN_SESSION) === 0 ? 0 : 16;
    const kind = codec & ~(SEALED | OWN_SESSION);
    const table = 36 * n + SEALED_MORE;
    const length = 24 + own + table + storedLength;
    if (header.toString('latin1', 0, 4) !== 'SYBK' || n > LARGEST / 36 || offset + length > section.end) {
      yield bad('checksum', `${section.end - offset} bytes of contents cannot be read.`);
      return;
    }
    if ((codec & SEALED) === 0 || kind > (deltas ? 2 : 1) || storedLength < SEALED_MORE) {
      yield bad('sealed', 'A block of contents is not sealed as those of an encrypted log are.');
      return;
    }
    const body = bytesAt(fd, offset + 24, length - 24);
    if (crc32(body, crc32(header.subarray(0, 20))) !== header.readUInt32LE(20)) {
      yield bad('checksum', 'A block of contents is damaged.');
    } else if (word(8) !== offset - section.frame) {
      yield bad('checksum', 'A block does not say where its frame begins.');
    } else if (log.opener !== undefined) {
      const session = own === 0 ? place.session : Buffer.from(body.subarray(0, own));
      const problem = noteChunks(
        log,
        { file: where, offset: offset + 24 + own + table, length: storedLength, kind },
        header,
        body.subarray(own, own + table),
        body.subarray(own + table),
        { ...place, session }
      );
      // The chunks in it are not noted: the versions that need them are named below.
      if (problem !== undefined) yield bad('sealed', problem);
    }
    offset += length;
  }
}

interface StoredBlock {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  /** 0 raw, 1 zstd, 2 delta. */
  readonly kind: number;
}

/** Opens the table of a block and notes what stands in it. Returns what is wrong. */
function noteChunks(
  log: CheckedLog,
  { file, offset, length, kind }: StoredBlock,
  header: Buffer,
  sealedTable: Buffer,
  sealedChunks: Buffer,
  place: SealedPlace
): string | undefined {
  const { opener } = log;
  const tableBelongs = Buffer.concat([place.frame, header.subarray(4, 8), header.subarray(12, 20)]);
  const table = opener?.open(place, 'block-table', tableBelongs, sealedTable);
  if (table === undefined) return 'The table of a block was altered, or does not belong there.';
  const associated = Buffer.concat([place.frame, sealedTable.subarray(-16)]);
  let bases: readonly string[] | undefined = [];
  if (kind === 2) {
    const stored = opener?.open(place, 'block', associated, sealedChunks);
    if (stored === undefined) return 'A block was altered, or does not belong there.';
    bases = basesOf(stored);
    if (bases === undefined) return 'A block names no chunks that it could be based on.';
  }
  const sizes = Array.from({ length: table.length / 36 }, (_, i) => table.readUInt32LE(i * 36 + 32));
  const raw = sizes.reduce((sum, size) => sum + size, 0);
  if (raw > LARGEST) return 'A block claims more than the format allows.';
  const skip = kind === 2 ? 4 + 32 * bases.length : 0;
  const block = { file, offset, length, raw, zstd: kind !== 0, bases, sealed: { place, associated, skip } };
  let start = 0;
  for (const [i, size] of sizes.entries()) {
    const id = table.toString('hex', i * 36, i * 36 + 32);
    if (!log.chunks.has(id)) log.chunks.add(id, { block, start, size });
    start += size;
  }
  return undefined;
}
