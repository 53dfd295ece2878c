/**
 * Checks a log from docs/format.md alone. Shares no code with the writer or the reader but SHA-256, CRC-32 and zstd, so that
 * what one of them misunderstands the other does not. Never writes.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, lstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, zstdDecompressSync } from 'node:zlib';
import { SyftError } from '../core/errors.ts';
import type { Damage } from './types.ts';

export interface FsckOptions {
  /** Decompress and hash every content too. */
  readonly readData: boolean;
  /** `done` and `bytes` of `total` segment bytes. */
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
  readonly signal?: AbortSignal;
}

const MEBI = 1024 * 1024;
const LARGEST = 256 * MEBI;
const SAFE = ['index', 'cache', 'locks', 'keys', 'conflicts', 'receive', '.gitignore'];

interface Content {
  readonly version: string;
  readonly hash: string | undefined;
  readonly size: number | undefined;
  readonly ids: readonly string[];
  readonly list: { readonly id: string; readonly count: number } | undefined;
  readonly where: string;
}

interface ChunkSpot {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
  readonly raw: number;
  readonly zstd: boolean;
  readonly start: number;
  readonly size: number;
}

function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function bytesAt(fd: number, offset: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  let got = 0;
  while (got < length) {
    const n = readSync(fd, out, got, length - got, offset + got);
    if (n === 0) break;
    got += n;
  }
  return out.subarray(0, got);
}

function listing(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

function fileBytes(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function validPath(path: unknown, base64: unknown): boolean {
  if (typeof path !== 'string') return false;
  const exact =
    base64 === undefined ? path : typeof base64 === 'string' ? Buffer.from(base64, 'base64').toString('latin1') : '';
  return (
    exact !== '' &&
    !exact.includes('\0') &&
    exact.split('/').every(part => part !== '' && part !== '.' && part !== '..')
  );
}

const HEX = /^[0-9a-f]{64}$/;
const whole = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value);

/** What is wrong with a record, or `undefined`. */
function recordProblem(record: Record<string, unknown>): string | undefined {
  const { kind, type, path, path64, at, hlc, size, hash, previous, mode, mtime, flags, from, from64, content } = record;
  if (!['created', 'modified', 'deleted', 'moved'].includes(String(kind))) return 'its kind is unknown';
  if (!['file', 'symlink', 'directory'].includes(String(type))) return 'its type is unknown';
  if (!validPath(path, path64)) return 'its path does not name a file inside the workspace';
  if ((kind === 'moved') !== (from !== undefined) || (from !== undefined && !validPath(from, from64))) {
    return 'its origin is wrong';
  }
  if (!whole(at) || (hlc !== undefined && !whole(hlc))) return 'its time is wrong';
  if (size !== undefined && (!whole(size) || size < 0)) return 'its size is wrong';
  if (mode !== undefined && !whole(mode)) return 'its mode is wrong';
  if (mtime !== undefined && !whole(mtime)) return 'its modification time is wrong';
  if ([hash, previous].some(value => value !== undefined && !HEX.test(String(value)))) return 'a hash is wrong';
  if (
    flags !== undefined &&
    !(Array.isArray(flags) && flags.every(flag => ['torn', 'no-content', 'unreadable'].includes(String(flag))))
  ) {
    return 'its flags are unknown';
  }
  if (content === undefined || (content === true && hash !== undefined)) return undefined;
  const { chunks, list, count } = content as Record<string, unknown>;
  if (Array.isArray(chunks) && chunks.every(id => HEX.test(String(id)))) return undefined;
  return HEX.test(String(list)) && whole(count) && count > 0 ? undefined : 'its content is not understood';
}

function contentOf(record: Record<string, unknown>, version: string, where: string): Content | undefined {
  const { content } = record;
  if (content === undefined) return undefined;
  const hash = record['hash'] as string | undefined;
  const size = record['size'] as number | undefined;
  if (content === true) return { version, hash, size, ids: [hash ?? ''], list: undefined, where };
  const { chunks, list, count } = content as { chunks?: string[]; list?: string; count?: number };
  return {
    version,
    hash,
    size,
    ids: chunks ?? [],
    list: list === undefined ? undefined : { id: list, count: count ?? 0 },
    where
  };
}

/** One check of one log. */
class Check {
  readonly #dir: string;
  readonly #options: FsckOptions;
  readonly #chunks = new Map<string, ChunkSpot>();
  readonly #contents: Content[] = [];
  #workspace = '';
  #format: Buffer = Buffer.alloc(0);
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(dir: string, options: FsckOptions) {
    this.#dir = dir;
    this.#options = options;
  }

  /** Yields damage, and `undefined` now and then so that the caller can let others run. */
  *run(): Generator<Damage | undefined> {
    yield* this.#layout();
    const devices = listing(join(this.#dir, 'log')).filter(name => /^[a-z2-7]{8}$/.test(name));
    for (const device of devices) {
      for (const name of listing(join(this.#dir, 'log', device))) {
        this.#totalBytes += lstatSync(join(this.#dir, 'log', device, name), { throwIfNoEntry: false })?.size ?? 0;
      }
    }
    for (const device of devices) yield* this.#stream(device);
    yield* this.#resolve();
  }

  #tick(bytes: number): void {
    if (this.#options.signal?.aborted === true) throw new SyftError('CANCELLED', 'The check was stopped.');
    this.#doneBytes += bytes;
    this.#options.onProgress?.({ done: this.#doneBytes, total: this.#totalBytes, bytes: this.#doneBytes });
  }

  *#layout(): Generator<Damage> {
    const bad = (kind: string, where: string, message: string): Damage => ({ kind, where, versions: [], message });
    const format = fileBytes(join(this.#dir, 'format.json'));
    if (format === undefined) {
      yield bad('missing', 'format.json', 'format.json is missing.');
    } else {
      this.#format = format;
      try {
        const body = JSON.parse(format.toString()) as Record<string, unknown>;
        this.#workspace = String(body['workspace']);
        if (body['format'] !== 'syft-sync-log' || !/^[0-9a-f]{32}$/.test(this.#workspace)) throw new Error();
      } catch {
        yield bad('config', 'format.json', 'format.json does not describe a log.');
      }
    }
    const names = listing(this.#dir);
    if (!names.includes('log')) yield bad('missing', 'log', 'The directory of the streams is missing.');
    if (fileBytes(join(this.#dir, '.gitignore'))?.toString() !== '*\n') {
      yield bad(
        'missing',
        '.gitignore',
        '.gitignore is missing or altered: a repository around the log would take it in.'
      );
    }
    for (const name of names) {
      if (name === 'format.json' || name === 'log' || SAFE.includes(name) || name.endsWith('.tmp')) continue;
      yield bad('unknown-file', name, `${name} does not belong to a log.`);
    }
    const devices = listing(join(this.#dir, 'log'));
    if (names.includes('log') && devices.length === 0) yield bad('missing', 'log', 'All streams are missing.');
    for (const name of devices) {
      if (!/^[a-z2-7]{8}$/.test(name)) {
        yield bad('unknown-file', `log/${name}`, `log/${name} does not belong to a log.`);
      }
    }
  }

  *#stream(device: string): Generator<Damage | undefined> {
    const dir = join(this.#dir, 'log', device);
    const at = (name: string): string => `log/${device}/${name}`;
    const names = listing(dir);
    const pattern = /^(\d{20})-(\d{6})\.seg$/;
    for (const name of names) {
      if (pattern.test(name) || ['device.json', 'head.json'].includes(name) || name.endsWith('.tmp')) continue;
      yield { kind: 'unknown-file', where: at(name), versions: [], message: `${at(name)} does not belong to a log.` };
    }
    const deviceFile = fileBytes(join(dir, 'device.json'));
    if (deviceFile === undefined) {
      yield { kind: 'missing', where: at('device.json'), versions: [], message: 'device.json is missing.' };
    } else {
      yield* this.#device(device, deviceFile);
    }
    const head = yield* this.#head(device, dir, names);
    const segments = names.filter(name => pattern.test(name));
    const state = { chain: Buffer.alloc(32) as Buffer | undefined, seq: 1, hlc: -1, length: 0 };
    if (segments.length === 0 && head !== undefined) {
      yield {
        kind: 'missing',
        where: at(head.segment),
        versions: [],
        message: 'All segments of the stream are missing.'
      };
    }
    // What lies beyond the head was written after it was made; there, and only there, a tail may be torn.
    for (const [i, name] of segments.entries()) {
      const vouched =
        head === undefined
          ? 0
          : head.segment === name
            ? head.length
            : head.segment > name
              ? Number.POSITIVE_INFINITY
              : 0;
      yield* this.#segment(device, name, i === segments.length - 1, vouched, deviceFile, state);
    }
    if (head !== undefined && segments.length > 0) yield* this.#againstHead(device, head, segments, state);
    this.#tick((deviceFile?.length ?? 0) + 1);
  }

  *#device(device: string, bytes: Buffer): Generator<Damage> {
    const where = `log/${device}/device.json`;
    try {
      const body = JSON.parse(bytes.toString()) as Record<string, unknown>;
      const key = Buffer.from(String(body['publicKey']), 'base64');
      const digest = sha256(key, Buffer.from(this.#workspace, 'hex'));
      let bits = digest.readUIntBE(0, 5);
      let id = '';
      for (let i = 0; i < 8; i++) {
        id = ('abcdefghijklmnopqrstuvwxyz234567'[bits % 32] ?? '') + id;
        bits = Math.floor(bits / 32);
      }
      if (body['device'] !== device || key.length !== 32 || id !== device) throw new Error();
    } catch {
      yield { kind: 'config', where, versions: [], message: 'device.json does not belong to this stream.' };
    }
  }

  *#head(
    device: string,
    dir: string,
    names: readonly string[]
  ): Generator<Damage, { segment: string; length: number; seq: number; chain: string; closed: boolean } | undefined> {
    const where = `log/${device}/head.json`;
    const bytes = fileBytes(join(dir, 'head.json'));
    if (bytes === undefined) {
      // A stream that is younger than two seconds has none yet; a cleanly closed one always has.
      if (this.#closedCleanly(dir, names)) {
        yield { kind: 'missing', where, versions: [], message: 'head.json is missing.' };
      }
      return undefined;
    }
    try {
      const { segment, length, seq, chain, closed, sum } = JSON.parse(bytes.toString()) as Record<string, unknown>;
      const found = sha256(Buffer.from(JSON.stringify([segment, length, seq, chain, closed]))).toString('hex');
      const text = `${JSON.stringify({ segment, length, seq, chain, closed, sum: found })}\n`;
      if (sum !== found || text !== bytes.toString() || typeof segment !== 'string' || !whole(length) || !whole(seq)) {
        throw new Error();
      }
      return { segment, length, seq, chain: String(chain), closed: closed === true };
    } catch {
      yield { kind: 'checksum', where, versions: [], message: 'head.json is damaged.' };
      return undefined;
    }
  }

  #closedCleanly(dir: string, names: readonly string[]): boolean {
    const segments = names.filter(name => name.endsWith('.seg'));
    if (segments.length > 1) return true;
    const last = segments.at(-1);
    const bytes = last === undefined ? undefined : fileBytes(join(dir, last));
    if (bytes === undefined || bytes.length < 128 + 96) return false;
    const tail = bytes.subarray(bytes.length - 96);
    return tail.subarray(0, 4).toString('latin1') === 'SYFR' && (tail.readUInt16LE(4) & 8) !== 0;
  }

  *#againstHead(
    device: string,
    head: { segment: string; length: number; seq: number; chain: string; closed: boolean },
    segments: readonly string[],
    state: { chain: Buffer | undefined; seq: number; length: number }
  ): Generator<Damage> {
    const where = `log/${device}/${head.segment}`;
    const lost = Array.from(
      { length: Math.min(1000, Math.max(0, head.seq - state.seq + 1)) },
      (_, i) => `${device}.${state.seq + i}`
    );
    const last = segments.at(-1);
    const size = lstatSync(join(this.#dir, where), { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      yield { kind: 'missing', where, versions: lost, message: 'The last segment of the stream is missing.' };
    } else if (size < head.length || state.seq - 1 < head.seq) {
      yield {
        kind: 'truncated',
        where: `${where}:${size}`,
        versions: lost,
        message: `The stream ends before what was durable: ${head.length - size} bytes are gone.`
      };
    } else if (
      head.closed &&
      last === head.segment &&
      state.length === head.length &&
      state.chain !== undefined &&
      state.chain.toString('hex') !== head.chain
    ) {
      yield { kind: 'chain', where, versions: [], message: 'The stream is not the one that was closed.' };
    }
  }

  *#segment(
    device: string,
    name: string,
    isLast: boolean,
    vouched: number,
    deviceFile: Buffer | undefined,
    state: { chain: Buffer | undefined; seq: number; hlc: number; length: number }
  ): Generator<Damage | undefined> {
    const where = `log/${device}/${name}`;
    const fd = openSync(join(this.#dir, where), 'r');
    try {
      const size = fstatSync(fd).size;
      const bad = (kind: string, offset: number, message: string, versions: string[] = []): Damage => ({
        kind,
        where: `${where}:${offset}`,
        versions,
        message
      });
      const header = bytesAt(fd, 0, 128);
      if (size < 128 && isLast && vouched === 0) return;
      if (
        header.length < 128 ||
        header.toString('latin1', 0, 8) !== 'SYFTSEG1' ||
        header.readUInt32LE(124) !== crc32(header.subarray(0, 124))
      ) {
        yield bad('checksum', 0, 'The header of the segment is damaged.');
        state.chain = undefined;
      } else {
        if (
          header.readUInt16LE(8) !== 1 ||
          header.readUInt16LE(10) !== 128 ||
          header.readUInt32LE(12) !== 0 ||
          header.readUInt32LE(120) !== 0
        ) {
          throw new SyftError(
            'LOG_NEWER_FORMAT',
            `${where} is of a newer format than this program knows. Update syft-sync.`
          );
        }
        const first = Number(header.readBigUInt64LE(40));
        if (
          header.toString('hex', 16, 32) !== this.#workspace ||
          header.toString('latin1', 32, 40) !== device ||
          first !== Number(name.slice(0, 20))
        ) {
          yield bad('config', 0, 'The segment belongs to another log, device or place.');
        }
        if (deviceFile !== undefined && !sha256(this.#format, deviceFile).equals(header.subarray(88, 120))) {
          yield bad('config', 0, 'format.json or device.json is not what it was when the segment began.');
        }
        if (state.chain !== undefined && !state.chain.equals(header.subarray(56, 88))) {
          yield bad('missing', 0, 'What came before this segment is missing or altered.');
        }
        state.chain = Buffer.from(header.subarray(56, 88));
      }
      // The header says whose frames these are, even where format.json can no longer say it.
      const owner = header.length === 128 && state.chain !== undefined ? header.subarray(16, 32) : undefined;
      const workspace = owner ?? Buffer.from(this.#workspace, 'hex');
      const seed = crc32(Buffer.concat([workspace, Buffer.from(device, 'latin1')]));
      let offset = 128;
      while (offset < size) {
        const frame = this.#frame(fd, offset, size, seed);
        if (frame === undefined) {
          const next = this.#nextFrame(fd, offset + 1, size, seed, state.seq);
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
        const found = [...this.#frameDamage(fd, device, where, offset, frame, state)];
        // A frame whose sync never came back may be torn inside; nobody was told that it is there.
        if (found.length > 0 && tail) break;
        yield* found;
        offset += frame.length;
        this.#tick(frame.length);
        yield undefined;
      }
      state.length = offset;
    } finally {
      closeSync(fd);
    }
  }

  #frame(
    fd: number,
    offset: number,
    size: number,
    seed: number
  ): { header: Buffer; records: number; chunks: number; length: number } | undefined {
    const header = bytesAt(fd, offset, 96);
    if (
      header.length < 96 ||
      header.toString('latin1', 0, 4) !== 'SYFR' ||
      header.readUInt32LE(92) !== crc32(header.subarray(0, 92), seed)
    ) {
      return undefined;
    }
    if ((header.readUInt16LE(4) & ~(1 | 4 | 8)) !== 0) {
      throw new SyftError('LOG_NEWER_FORMAT', 'The log holds what this program does not know. Update syft-sync.');
    }
    const records = header.readUInt32LE(32);
    const chunks = header.readUInt32LE(36);
    const length = 96 + records + chunks;
    return records > LARGEST || chunks > LARGEST || offset + length > size
      ? undefined
      : { header, records, chunks, length };
  }

  #nextFrame(fd: number, from: number, size: number, seed: number, seq: number): number | undefined {
    for (let at = from; at < size; at += MEBI) {
      const window = bytesAt(fd, at, Math.min(MEBI + 96, size - at));
      for (let i = window.indexOf('SYFR', 0, 'latin1'); i >= 0; i = window.indexOf('SYFR', i + 1, 'latin1')) {
        // A lower number than is due: a copy of this log, kept as a content.
        const frame = this.#frame(fd, at + i, size, seed);
        if (frame !== undefined && Number(frame.header.readBigUInt64LE(8)) >= seq) return at + i;
      }
    }
    return undefined;
  }

  *#frameDamage(
    fd: number,
    device: string,
    where: string,
    offset: number,
    frame: { header: Buffer; records: number; chunks: number; length: number },
    state: { chain: Buffer | undefined; seq: number; hlc: number }
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
    state.seq = first + count;
    const stored = bytesAt(fd, offset + 96, frame.records);
    let raw: Buffer | undefined;
    if (crc32(stored) === header.readUInt32LE(40)) {
      try {
        raw =
          (header.readUInt16LE(4) & 1) === 0
            ? stored
            : zstdDecompressSync(stored, { maxOutputLength: Math.max(1, header.readUInt32LE(20)) });
      } catch {
        raw = undefined;
      }
    }
    if (raw?.length !== header.readUInt32LE(20)) {
      yield {
        kind: 'checksum',
        where: spot,
        versions: ids(first, count),
        message: `The records of ${device}.${first} to ${device}.${first + count - 1} are damaged.`
      };
    } else {
      const fields = Buffer.from(header.subarray(4, 32));
      fields.writeUInt16LE(fields.readUInt16LE(0) & ~1, 0);
      const chain = state.chain === undefined ? undefined : sha256(state.chain, fields, sha256(raw));
      if (chain !== undefined && !chain.equals(header.subarray(44, 76))) {
        yield {
          kind: 'chain',
          where: spot,
          versions: ids(first, count),
          message: 'The frame does not follow from the one before it.'
        };
      }
      yield* this.#records(raw, device, spot, first, count, state);
    }
    state.chain = Buffer.from(header.subarray(44, 76));
    yield* this.#blocks(fd, where, offset + 96 + frame.records, offset + frame.length);
  }

  *#records(
    raw: Buffer,
    device: string,
    where: string,
    first: number,
    count: number,
    state: { hlc: number }
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
    for (const [i, line] of lines.entries()) {
      const version = `${device}.${first + i}`;
      let problem: string | undefined = 'it is not JSON';
      try {
        const record = JSON.parse(line) as Record<string, unknown>;
        problem = record['seq'] !== first + i ? 'its number is wrong' : recordProblem(record);
        const hlc = Number(record['hlc'] ?? record['at']);
        if (problem === undefined && hlc <= state.hlc) problem = 'its clock runs backwards';
        if (problem === undefined) {
          state.hlc = hlc;
          const content = contentOf(record, version, where);
          if (content !== undefined) this.#contents.push(content);
        }
      } catch {
        // `problem` says it.
      }
      if (problem !== undefined) {
        yield { kind: 'record', where, versions: [version], message: `The record of ${version} is wrong: ${problem}.` };
      }
    }
  }

  *#blocks(fd: number, where: string, from: number, end: number): Generator<Damage> {
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
          if (!this.#chunks.has(id)) {
            this.#chunks.set(id, {
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

  /** Every content: are its chunks there, and with `readData`, are they what they should be. */
  *#resolve(): Generator<Damage | undefined> {
    const read = new BlockReader(this.#dir);
    try {
      for (const [i, content] of this.#contents.entries()) {
        if (i % 256 === 0) yield undefined;
        this.#tick(0);
        const damage = (why: string): Damage => ({
          kind: 'content',
          where: content.where,
          versions: [content.version],
          message: `The content of ${content.version} is damaged: ${why}.`
        });
        let { ids } = content;
        if (content.list !== undefined) {
          const spot = this.#chunks.get(content.list.id);
          const bytes = spot === undefined ? undefined : read.chunk(spot);
          if (bytes?.length !== content.list.count * 32 || sha256(bytes).toString('hex') !== content.list.id) {
            yield damage('its list of chunks is missing or altered');
            continue;
          }
          ids = Array.from({ length: content.list.count }, (_, i) => bytes.toString('hex', i * 32, i * 32 + 32));
        }
        const missing = ids.find(id => !this.#chunks.has(id));
        if (missing !== undefined) {
          yield damage(`chunk ${missing.slice(0, 12)} is missing`);
          continue;
        }
        const size = ids.reduce((sum, id) => sum + (this.#chunks.get(id)?.size ?? 0), 0);
        if (content.size !== undefined && size !== content.size) {
          yield damage(`it has ${size} bytes instead of ${content.size}`);
          continue;
        }
        if (!this.#options.readData) continue;
        const whole = createHash('sha256');
        let altered: string | undefined;
        for (const id of ids) {
          const bytes = read.chunk(this.#chunks.get(id) as ChunkSpot);
          if (bytes === undefined || sha256(bytes).toString('hex') !== id) altered ??= id;
          else whole.update(bytes);
        }
        if (altered !== undefined) yield damage(`chunk ${altered.slice(0, 12)} is altered`);
        else if (content.hash !== undefined && whole.digest('hex') !== content.hash) {
          yield damage('it does not have the recorded hash');
        }
      }
    } finally {
      read.close();
    }
  }
}

/** Reads chunks; keeps the last few blocks, for neighbours are asked for one after the other. */
class BlockReader {
  readonly #dir: string;
  readonly #files = new Map<string, number>();
  readonly #blocks = new Map<string, Buffer | undefined>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  chunk(spot: ChunkSpot): Buffer | undefined {
    const key = `${spot.file}:${spot.offset}`;
    if (!this.#blocks.has(key)) {
      let fd = this.#files.get(spot.file);
      if (fd === undefined) this.#files.set(spot.file, (fd = openSync(join(this.#dir, spot.file), 'r')));
      const stored = bytesAt(fd, spot.offset, spot.length);
      let raw: Buffer | undefined = stored;
      try {
        if (spot.zstd) raw = zstdDecompressSync(stored, { maxOutputLength: Math.max(1, spot.raw) });
      } catch {
        raw = undefined;
      }
      if (this.#blocks.size >= 16) this.#blocks.delete(this.#blocks.keys().next().value as string);
      this.#blocks.set(key, raw?.length === spot.raw ? raw : undefined);
    }
    return this.#blocks.get(key)?.subarray(spot.start, spot.start + spot.size);
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
  }
}

/**
 * Checks a log.
 *
 * @param dir Log directory.
 * @param options `readData`: verify contents too, not only that they are there.
 * @returns Each damage as it is found; nothing when the log is sound.
 * @throws SyftError LOG_NEWER_FORMAT, CANCELLED.
 */
export async function* fsckLog(dir: string, options: FsckOptions): AsyncIterable<Damage> {
  for (const damage of new Check(dir, options).run()) {
    if (damage === undefined) await new Promise(resolve => setImmediate(resolve));
    else yield damage;
  }
}
