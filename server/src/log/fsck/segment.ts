/** The segments of a stream, frame by frame, record by record. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, zstdDecompressSync } from 'node:zlib';
import { SyftError } from '../../core/errors.ts';
import type { Damage } from '../types.ts';
import { checkBlocks } from './blocks.ts';
import { checkSealedBlocks } from './sealed-blocks.ts';
import { bytesAt, LARGEST, MEBI, MOST_LOST, sha256 } from './bytes.ts';
import type { CheckedLog } from './checked-log.ts';
import { DICTIONARY } from './dictionary.ts';
import { contentOf, isDrop, recordProblem } from './records.ts';
import { frameAssociated, type SealedPlace } from './sealed.ts';
import type { LeafList } from './tree.ts';

/** How far a stream has been read, and what must come next. */
export interface StreamState {
  chain: Buffer | undefined;
  seq: number;
  hlc: number;
  /** Bytes of the last segment that hold sound frames. */
  length: number;
  readonly leaves: LeafList;
  /** Records that stand there and could not be opened for want of keys. */
  unopened: number;
}

/** Bytes of a record that do not compress: what `salt` is made of. */
const SALT = 16;

interface FoundFrame {
  readonly header: Buffer;
  readonly records: number;
  readonly chunks: number;
  readonly length: number;
}

/**
 * Checks one segment.
 *
 * @param vouched Bytes of it that `head.json` says are durable: a torn tail lies behind them.
 */
export function* checkSegment(
  log: CheckedLog,
  device: string,
  name: string,
  isLast: boolean,
  vouched: number,
  deviceFile: Buffer | undefined,
  state: StreamState
): Generator<Damage | undefined> {
  const where = `log/${device}/${name}`;
  const fd = openSync(join(log.dir, where), 'r');
  try {
    const size = fstatSync(fd).size;
    const bad = (kind: string, offset: number, message: string, versions: string[] = []): Damage => ({
      kind,
      where: `${where}:${offset}`,
      versions,
      message
    });
    const header = bytesAt(fd, 0, 128);
    let epoch: number | undefined;
    if (size < 128 && isLast && vouched === 0) return;
    if (
      header.length < 128 ||
      header.toString('latin1', 0, 8) !== 'SYFTSEG1' ||
      header.readUInt32LE(124) !== crc32(header.subarray(0, 124))
    ) {
      yield bad('checksum', 0, 'The header of the segment is damaged.');
      state.chain = undefined;
    } else {
      if (header.readUInt16LE(8) !== 1 || header.readUInt16LE(10) !== 128 || header.readUInt32LE(12) !== 0) {
        throw new SyftError(
          'LOG_NEWER_FORMAT',
          `${where} is of a newer format than this program knows. Update syft-sync.`
        );
      }
      epoch = header.readUInt32LE(120);
      if (epoch > 0 !== log.sealed) {
        yield bad(
          'sealed',
          0,
          log.sealed ? 'A segment of an encrypted log is not.' : 'The segment is of an encrypted log.'
        );
      } else if (log.epochs > 0 && epoch > log.epochs) {
        yield bad('missing', 0, `The key file has no keys of epoch ${epoch}. Put a newer copy of it back.`);
      }
      const first = Number(header.readBigUInt64LE(40));
      if (
        header.toString('hex', 16, 32) !== log.workspace ||
        header.toString('latin1', 32, 40) !== device ||
        first !== Number(name.slice(0, 20))
      ) {
        yield bad('config', 0, 'The segment belongs to another log, device or place.');
      }
      if (deviceFile !== undefined && !sha256(log.format, deviceFile).equals(header.subarray(88, 120))) {
        yield bad('config', 0, 'format.json or device.json is not what it was when the segment began.');
      }
      if (state.chain !== undefined && !state.chain.equals(header.subarray(56, 88))) {
        yield bad('missing', 0, 'What came before this segment is missing or altered.');
      }
      state.chain = Buffer.from(header.subarray(56, 88));
    }
    // The header says whose frames these are, even where format.json can no longer say it.
    const owner = header.length === 128 && state.chain !== undefined ? header.subarray(16, 32) : undefined;
    const workspace = owner ?? Buffer.from(log.workspace, 'hex');
    const seed = crc32(Buffer.concat([workspace, Buffer.from(device, 'latin1')]));
    let offset = 128;
    while (offset < size) {
      const frame = frameAt(fd, offset, size, seed);
      if (frame === undefined) {
        const next = nextFrame(fd, offset + 1, size, seed, state.seq);
        if (next === undefined && isLast && offset >= vouched) break;
        yield bad(
          next === undefined ? 'truncated' : 'checksum',
          offset,
          `${(next ?? size) - offset} bytes cannot be read.`
        );
        state.chain = undefined;
        offset = next ?? size;
        continue;
      }
      const tail = isLast && offset >= vouched && offset + frame.length >= size;
      const before = {
        ...state,
        contents: log.contents.length,
        drops: log.drops.length,
        leafCount: state.leaves.length
      };
      const place = {
        epoch,
        session: Buffer.from(frame.header.subarray(76, 92)),
        frame: frameAssociated(workspace, device, name, frame.header.subarray(44, 76))
      };
      const found = [...frameDamage(log, fd, device, where, offset, frame, state, place)];
      if (found.length > 0 && tail) {
        // A frame whose sync never came back may be torn inside; nobody was told that it is there.
        log.contents.truncate(before.contents);
        log.drops.length = before.drops;
        state.leaves.length = before.leafCount;
        state.chain = before.chain;
        state.seq = before.seq;
        state.hlc = before.hlc;
        break;
      }
      yield* found;
      offset += frame.length;
      log.tick(frame.length);
      yield undefined;
    }
    state.length = offset;
  } finally {
    closeSync(fd);
  }
}

function frameAt(fd: number, offset: number, size: number, seed: number): FoundFrame | undefined {
  const header = bytesAt(fd, offset, 96);
  if (
    header.length < 96 ||
    header.toString('latin1', 0, 4) !== 'SYFR' ||
    header.readUInt32LE(92) !== crc32(header.subarray(0, 92), seed)
  ) {
    return undefined;
  }
  if ((header.readUInt16LE(4) & ~(1 | 2 | 4 | 8 | 16 | 32)) !== 0) {
    throw new SyftError('LOG_NEWER_FORMAT', 'The log holds what this program does not know. Update syft-sync.');
  }
  const records = header.readUInt32LE(32);
  const chunks = header.readUInt32LE(36);
  const length = 96 + records + chunks;
  return records > LARGEST || chunks > LARGEST || offset + length > size
    ? undefined
    : { header, records, chunks, length };
}

function nextFrame(fd: number, from: number, size: number, seed: number, seq: number): number | undefined {
  for (let at = from; at < size; at += MEBI) {
    const window = bytesAt(fd, at, Math.min(MEBI + 96, size - at));
    for (let i = window.indexOf('SYFR', 0, 'latin1'); i >= 0; i = window.indexOf('SYFR', i + 1, 'latin1')) {
      // A lower number than is due: a copy of this log, kept as a content.
      const frame = frameAt(fd, at + i, size, seed);
      if (frame !== undefined && Number(frame.header.readBigUInt64LE(8)) >= seq) return at + i;
    }
  }
  return undefined;
}

function* frameDamage(
  log: CheckedLog,
  fd: number,
  device: string,
  where: string,
  offset: number,
  frame: FoundFrame,
  state: StreamState,
  place: SealedPlace
): Generator<Damage> {
  const { header } = frame;
  const spot = `${where}:${offset}`;
  const first = Number(header.readBigUInt64LE(8));
  const count = header.readUInt32LE(16);
  const ids = (from: number, n: number): string[] =>
    Array.from({ length: Math.min(1000, n) }, (_, i) => `${device}.${from + i}`);
  if (first !== state.seq) {
    yield {
      kind: 'sequence',
      where: spot,
      versions: ids(state.seq, Math.max(0, first - state.seq)),
      message: `${device}.${state.seq} was expected, ${device}.${first} stands there.`
    };
  }
  // A number that no stream can have reached is an invention; what follows is judged without it.
  if (first - 1 - state.leaves.known - state.unopened > MOST_LOST) {
    state.chain = Buffer.from(header.subarray(44, 76));
    return;
  }
  state.seq = first + count;
  const flags = header.readUInt16LE(4);
  if (((flags & 2) !== 0) !== log.sealed) {
    yield {
      kind: 'sealed',
      where: spot,
      versions: ids(first, count),
      message: log.sealed
        ? 'A frame in the clear stands in an encrypted log: somebody without the keys put it there.'
        : 'The frame is of an encrypted log.'
    };
    state.chain = Buffer.from(header.subarray(44, 76));
    return;
  }
  const stored = bytesAt(fd, offset + 96, frame.records);
  let raw: Buffer | undefined;
  const sound = crc32(stored) === header.readUInt32LE(40);
  const unopened = log.sealed && log.opener === undefined;
  const compressed =
    !log.sealed || count === 0
      ? stored
      : log.opener?.open(place, 'records', Buffer.concat([place.frame, header.subarray(4, 32)]), stored);
  if (sound && compressed !== undefined) {
    try {
      raw =
        (flags & 1) === 0
          ? compressed
          : zstdDecompressSync(compressed, {
              maxOutputLength: Math.max(1, header.readUInt32LE(20)),
              ...((flags & 16) !== 0 && { dictionary: DICTIONARY })
            });
    } catch {
      raw = undefined;
    }
  }
  if (sound && unopened && count * SALT <= stored.length) {
    // Its checksum holds, and so many records can stand there; more cannot be said.
    state.unopened += count;
  } else if (sound && compressed === undefined) {
    yield {
      kind: 'sealed',
      where: spot,
      versions: ids(first, count),
      message: `The records of ${device}.${first} to ${device}.${first + count - 1} were altered, or do not belong there.`
    };
  } else if (raw?.length !== header.readUInt32LE(20)) {
    yield {
      kind: 'checksum',
      where: spot,
      versions: ids(first, count),
      message: `The records of ${device}.${first} to ${device}.${first + count - 1} are damaged.`
    };
  } else {
    const fields = Buffer.from(header.subarray(4, 32));
    fields.writeUInt16LE(fields.readUInt16LE(0) & ~(1 | 16 | 32), 0);
    const chain = state.chain === undefined ? undefined : sha256(state.chain, fields, sha256(raw));
    if (chain !== undefined && !chain.equals(header.subarray(44, 76))) {
      yield {
        kind: 'chain',
        where: spot,
        versions: ids(first, count),
        message: 'The frame does not follow from the one before it.'
      };
    }
    yield* checkRecords(log, raw, device, spot, first, count, state);
  }
  state.chain = Buffer.from(header.subarray(44, 76));
  const deltas = (flags & 32) !== 0;
  const blocks = { from: offset + 96 + frame.records, end: offset + frame.length };
  if (log.sealed) yield* checkSealedBlocks(log, fd, where, { ...blocks, frame: offset }, deltas, place);
  else yield* checkBlocks(log, fd, where, blocks.from, blocks.end, deltas);
}

function* checkRecords(
  log: CheckedLog,
  raw: Buffer,
  device: string,
  where: string,
  first: number,
  count: number,
  state: StreamState
): Generator<Damage> {
  const lines = raw.toString('utf8').split('\n');
  if (lines.pop() !== '' || lines.length !== count) {
    yield {
      kind: 'record',
      where,
      versions: [],
      message: `${count} records were expected, ${lines.length} stand there.`
    };
    return;
  }
  state.leaves.add(first, raw, lines.length);
  for (const [i, line] of lines.entries()) {
    const version = `${device}.${first + i}`;
    let problem: string | undefined = 'it is not JSON';
    try {
      const record = JSON.parse(line) as Record<string, unknown>;
      problem = record['seq'] !== first + i ? 'its number is wrong' : recordProblem(record, log.sealed);
      const hlc = Number(record['hlc'] ?? record['at']);
      if (problem === undefined && hlc <= state.hlc) problem = 'its clock runs backwards';
      if (problem === undefined) {
        state.hlc = hlc;
        const content = contentOf(record, { hlc, device, seq: first + i }, where);
        if (content !== undefined) log.contents.push(content);
        if (content !== undefined && isDrop(record)) log.drops.push(content);
      }
    } catch {
      // `problem` says it.
    }
    if (problem !== undefined) {
      yield { kind: 'record', where, versions: [version], message: `The record of ${version} is wrong: ${problem}.` };
    }
  }
}
