/**
 * Large files that are sealed in pieces, as they are written: neither side needs the file twice in memory. Each piece says which
 * it is and whether it is the last, so that none can be left out, exchanged or cut off (docs/format.md, "Encryption").
 */
import { SyftError } from '../core/errors.ts';
import { SESSION_LENGTH, type LogKeys } from './log-keys.ts';
import { openSealed, SEAL_OVERHEAD, SealingSession } from './seal.ts';

const MAGIC = Buffer.from('SYFTENC2', 'latin1');
const HEADER = MAGIC.length + 4 + SESSION_LENGTH;
/** Bytes of a piece, before it is sealed. */
const PIECE = 1 << 20;

function associatedWith(keys: LogKeys, name: string, header: Uint8Array, index: number, last: boolean): Buffer {
  const place = Buffer.alloc(5);
  place.writeUInt32LE(index, 0);
  place.writeUInt8(last ? 1 : 0, 4);
  return Buffer.concat([header, Buffer.from(keys.workspace, 'hex'), place, Buffer.from(name)]);
}

/** One sealed file in the making: its header, and its pieces in their order. */
function sealer(keys: LogKeys, name: string): { header: Buffer; piece: (plain: Uint8Array, last: boolean) => Buffer } {
  const session = new SealingSession(keys);
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header, 0);
  header.writeUInt32LE(session.epoch, MAGIC.length);
  session.id.copy(header, MAGIC.length + 4);
  let index = 0;
  const piece = (plain: Uint8Array, last: boolean): Buffer => {
    const length = Buffer.alloc(4);
    const sealed = session.seal('file', associatedWith(keys, name, header, index, last), plain);
    length.writeUInt32LE(sealed.length);
    index += 1;
    return Buffer.concat([length, sealed]);
  };
  return { header, piece };
}

/**
 * Seals a file as it is written.
 *
 * @param name Its place below the log directory: put elsewhere, it does not open.
 * @param parts What stands in it, one behind the other.
 * @yields What is to be written, one behind the other.
 */
export function* sealPieces(keys: LogKeys, name: string, parts: Iterable<Uint8Array>): Generator<Buffer> {
  const { header, piece } = sealer(keys, name);
  yield header;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE) yield piece(part.subarray(at, at + PIECE), false);
  }
  yield piece(new Uint8Array(0), true);
}

/**
 * Opens what {@link sealPieces} made.
 *
 * @returns `undefined` when anything of it was altered, is missing, or belongs elsewhere.
 */
export function openPieces(keys: LogKeys, name: string, bytes: Uint8Array): Buffer | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < HEADER || !file.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const header = file.subarray(0, HEADER);
  const origin = { epoch: header.readUInt32LE(MAGIC.length), session: header.subarray(MAGIC.length + 4) };
  const plain = Buffer.allocUnsafe(file.length - HEADER);
  let done = 0;
  let at = HEADER;
  for (let index = 0; at + 4 <= file.length; index += 1) {
    const end = at + 4 + file.readUInt32LE(at);
    if (end > file.length) return undefined;
    const sealed = file.subarray(at + 4, end);
    const last = sealed.length === SEAL_OVERHEAD;
    const opened = openSealed(keys, origin, 'file', associatedWith(keys, name, header, index, last), sealed);
    if (opened === undefined) return undefined;
    done += opened.copy(plain, done);
    at = end;
    if (last) return at === file.length ? plain.subarray(0, done) : undefined;
  }
  return undefined;
}

/** {@link sealPieces} of what comes bit by bit. */
export async function* sealStream(
  keys: LogKeys,
  name: string,
  parts: AsyncIterable<Uint8Array>
): AsyncGenerator<Buffer> {
  const { header, piece } = sealer(keys, name);
  yield header;
  for await (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE) yield piece(part.subarray(at, at + PIECE), false);
  }
  yield piece(new Uint8Array(0), true);
}

/** Cuts a stream of bytes: each `next(length)` answers so many of them; it is done when there are no more so many. */
async function* sections(parts: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, undefined, number> {
  let held = Buffer.alloc(0);
  let wanted = yield Buffer.alloc(0);
  for await (const part of parts) {
    held = Buffer.concat([held, part]);
    while (held.length >= wanted) {
      const section = held.subarray(0, wanted);
      held = held.subarray(wanted);
      wanted = yield section;
    }
  }
  return undefined;
}

/**
 * Opens what {@link sealPieces} or {@link sealStream} made, piece by piece: each that is yielded is as it was sealed.
 *
 * @throws SyftError LOG_DAMAGED where something was altered, is missing, or belongs elsewhere.
 */
export async function* openStream(
  keys: LogKeys,
  name: string,
  parts: AsyncIterable<Uint8Array>
): AsyncGenerator<Buffer> {
  const damaged = new SyftError('LOG_DAMAGED', `${name} was altered, cut off, or does not belong where it stands.`, {
    path: name
  });
  const reader = sections(parts);
  try {
    await reader.next();
    const next = async (length: number): Promise<Buffer> => {
      const { value } = await reader.next(length);
      if (value === undefined) throw damaged;
      return value;
    };
    const header = await next(HEADER);
    if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged;
    const origin = { epoch: header.readUInt32LE(MAGIC.length), session: header.subarray(MAGIC.length + 4) };
    for (let index = 0; ; index += 1) {
      const length = (await next(4)).readUInt32LE(0);
      if (length < SEAL_OVERHEAD || length > PIECE + SEAL_OVERHEAD) throw damaged;
      const last = length === SEAL_OVERHEAD;
      const sealed = await next(length);
      const opened = openSealed(keys, origin, 'file', associatedWith(keys, name, header, index, last), sealed);
      if (opened === undefined) throw damaged;
      if (last) return;
      yield opened;
    }
  } finally {
    await reader.return(undefined);
  }
}
