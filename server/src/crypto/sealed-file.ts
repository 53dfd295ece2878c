/** Whole files that are sealed: what is kept beside the segments of an encrypted log and would tell names or contents. */
import { SyftError } from '../core/errors.ts';
import { SESSION_LENGTH, type LogKeys } from './log-keys.ts';
import { openSealed, SealingSession } from './seal.ts';

const MAGIC = Buffer.from('SYFTENC1', 'latin1');
const HEADER = MAGIC.length + 4 + SESSION_LENGTH;

function associatedWith(keys: LogKeys, name: string, header: Uint8Array): Buffer {
  return Buffer.concat([header, Buffer.from(keys.workspace, 'hex'), Buffer.from(name)]);
}

/**
 * Seals a file. Each file has a session of its own.
 *
 * @param name Its place below the log directory: put elsewhere, it does not open.
 */
export function sealFile(keys: LogKeys, name: string, plain: Uint8Array): Buffer {
  const session = new SealingSession(keys);
  const header = Buffer.alloc(HEADER);
  MAGIC.copy(header, 0);
  header.writeUInt32LE(session.epoch, MAGIC.length);
  session.id.copy(header, MAGIC.length + 4);
  return Buffer.concat([header, session.seal('file', associatedWith(keys, name, header), plain)]);
}

/** Whether bytes begin as a sealed file does. */
export function isSealedFile(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length));
}

/**
 * Opens what {@link sealFile} made.
 *
 * @throws SyftError LOG_DAMAGED when it was altered, cut, moved, or is of another log.
 */
export function openSealedFile(keys: LogKeys, name: string, bytes: Uint8Array): Buffer {
  const header = Buffer.from(bytes.subarray(0, HEADER));
  const plain =
    header.length < HEADER || !isSealedFile(header)
      ? undefined
      : openSealed(
          keys,
          { epoch: header.readUInt32LE(MAGIC.length), session: header.subarray(MAGIC.length + 4) },
          'file',
          associatedWith(keys, name, header),
          bytes.subarray(HEADER)
        );
  if (plain === undefined) {
    throw new SyftError('LOG_DAMAGED', `${name} was altered, or does not belong where it stands.`, { path: name });
  }
  return plain;
}
