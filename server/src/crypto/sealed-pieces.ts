/**
 * Large files that are sealed in pieces, as they are written: neither side needs the file twice in memory. Each piece says which
 * it is and whether it is the last, so that none can be left out, exchanged or cut off (docs/format.md, "Encryption").
 */
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

/**
 * Seals a file as it is written.
 *
 * @param name Its place below the log directory: put elsewhere, it does not open.
 * @param parts What stands in it, one behind the other.
 * @yields What is to be written, one behind the other.
 */
export function* sealPieces(keys: LogKeys, name: string, parts: Iterable<Uint8Array>): Generator<Buffer> {
  const session = new SealingSession(keys);
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header, 0);
  header.writeUInt32LE(session.epoch, MAGIC.length);
  session.id.copy(header, MAGIC.length + 4);
  yield header;
  let index = 0;
  const piece = (plain: Uint8Array, last: boolean): Buffer => {
    const length = Buffer.alloc(4);
    const sealed = session.seal('file', associatedWith(keys, name, header, index, last), plain);
    length.writeUInt32LE(sealed.length);
    index += 1;
    return Buffer.concat([length, sealed]);
  };
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
