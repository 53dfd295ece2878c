/** An encrypted log of a test's own, and what is sealed in it as its bytes show, read apart from the program. */
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import { createEncryptedLog, unlockLog } from '../../../server/src/log/encryption.ts';
import type { openLogWriter } from '../../../server/src/log/log.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import type { Damage, OpenReader, OpenWriter } from '../../../server/src/log/types.ts';
import { Scratch } from './scratch.ts';

/** The least that a key file may ask for: the tests are not about how long guessing takes. */
export const CHEAP = { memory: 8 * 1024, passes: 1, lanes: 1 };
export const PASSPHRASE = 'correct horse battery staple';

export class EncryptedScratch extends Scratch {
  logKeys!: LogKeys;

  static async make(parent?: string): Promise<EncryptedScratch> {
    const scratch = new EncryptedScratch(parent);
    scratch.logKeys = await createEncryptedLog(scratch.dir, { passphrase: PASSPHRASE, recipients: [], cost: CHEAP });
    return scratch;
  }

  override writer(more: Partial<Parameters<typeof openLogWriter>[0]> = {}): Promise<OpenWriter> {
    return super.writer({ keys: this.logKeys, ...more });
  }

  override reader(onDamage: (damage: Damage) => void = () => undefined): Promise<OpenReader> {
    return openLogReader({ dir: this.dir, onDamage, keys: this.logKeys });
  }

  /** As another process would. */
  async unlock(passphrase = PASSPHRASE): Promise<LogKeys> {
    return (await unlockLog(this.dir, { passphrase })) as LogKeys;
  }
}

/** A sealed part, by its place in the bytes it was found in. */
export interface FoundPart {
  readonly purpose: 'records' | 'block-table' | 'block';
  /** Session id, hex. */
  readonly session: string;
  /** Counter, hex. */
  readonly counter: string;
  readonly offset: number;
  readonly length: number;
}

/** The sealed parts of the frame at an offset, as far as it is there, and where it ends. */
export function partsOfFrame(bytes: Buffer, at: number): { parts: FoundPart[]; end: number } {
  if (bytes.toString('latin1', at, at + 4) !== 'SYFR') throw new Error(`no frame at ${at}`);
  const stored = bytes.readUInt32LE(at + 32);
  const end = at + 96 + stored + bytes.readUInt32LE(at + 36);
  const session = bytes.toString('hex', at + 76, at + 92);
  const parts: FoundPart[] = [];
  const add = (purpose: FoundPart['purpose'], of: string, offset: number, length: number): void => {
    if (offset + 8 > bytes.length) return;
    parts.push({ purpose, session: of, counter: bytes.toString('hex', offset, offset + 8), offset, length });
  };
  if (stored > 0) add('records', session, at + 96, stored);
  for (let block = at + 96 + stored; block < end && block + 24 <= bytes.length;) {
    const own = (bytes.readUInt32LE(block + 16) & 0x200) !== 0;
    const table = block + 24 + (own ? 16 : 0);
    const of = own ? bytes.toString('hex', block + 24, table) : session;
    const tableLength = 36 * bytes.readUInt32LE(block + 4) + 24;
    const length = bytes.readUInt32LE(block + 12);
    add('block-table', of, table, tableLength);
    add('block', of, table + tableLength, length);
    block = table + tableLength + length;
  }
  return { parts, end };
}

/** All sealed parts of a segment. */
export function partsOfSegment(path: string): FoundPart[] {
  const bytes = readFileSync(path);
  const found: FoundPart[] = [];
  for (let at = 128; at < bytes.length;) {
    const { parts, end } = partsOfFrame(bytes, at);
    found.push(...parts);
    at = end;
  }
  return found;
}

/** What one key may see once only. */
export const nonceOf = ({ session, counter }: FoundPart): string => `${session} ${counter}`;

/** Makes every checksum of a segment right again, as anybody can who alters it: none of them keeps a secret. */
export function mendChecksums(bytes: Buffer, workspace: string, device: string): Buffer {
  const seed = crc32(Buffer.concat([Buffer.from(workspace, 'hex'), Buffer.from(device, 'latin1')]));
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 124)), 124);
  for (let at = 128; at < bytes.length;) {
    const stored = bytes.readUInt32LE(at + 32);
    const end = at + 96 + stored + bytes.readUInt32LE(at + 36);
    bytes.writeUInt32LE(crc32(bytes.subarray(at + 96, at + 96 + stored)), at + 40);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 92), seed), at + 92);
    for (let block = at + 96 + stored; block < end;) {
      const own = (bytes.readUInt32LE(block + 16) & 0x200) !== 0 ? 16 : 0;
      const next = block + 24 + own + 36 * bytes.readUInt32LE(block + 4) + 24 + bytes.readUInt32LE(block + 12);
      const sum = crc32(bytes.subarray(block + 24, next), crc32(bytes.subarray(block, block + 20)));
      bytes.writeUInt32LE(sum, block + 20);
      block = next;
    }
    at = end;
  }
  return bytes;
}
