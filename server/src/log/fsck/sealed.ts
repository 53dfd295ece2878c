/** Opens what is sealed in an encrypted log, from docs/format.md alone ("What is sealed"). */
import { createDecipheriv, createHmac, hkdfSync } from 'node:crypto';

/** What a part is sealed for; each has its own key. */
export type SealedFor = 'records' | 'block-table' | 'block';

/** Counter in front of a sealed part, and tag behind it. */
const COUNTER = 8;
const TAG = 16;
export const SEALED_MORE = COUNTER + TAG;
const SESSIONS = 64;

/** Where sealed parts stand. */
export interface SealedPlace {
  /** Of the segment; `undefined` where its header cannot be read: then each is tried. */
  readonly epoch: number | undefined;
  readonly session: Buffer;
  /** Workspace, device, segment and chain value of the frame. */
  readonly frame: Buffer;
}

/** The associated data of all parts of a frame begin with this. */
export function frameAssociated(workspace: Buffer, device: string, segment: string, chain: Uint8Array): Buffer {
  const out = Buffer.alloc(68);
  workspace.copy(out, 0);
  out.write(device, 16, 8, 'latin1');
  out.writeBigUInt64LE(BigInt(segment.slice(0, 20)), 24);
  out.writeUInt32LE(Number(segment.slice(21, 27)), 32);
  out.set(chain, 36);
  return out;
}

/** HKDF-SHA-256 of a master key. */
export function derived(master: Uint8Array, workspace: string, label: string, salt: Uint8Array, length = 32): Buffer {
  return Buffer.from(hkdfSync('sha256', master, salt, `syft-sync/1/${label}/${workspace}`, length));
}

/** Master keys of an encrypted log. */
export interface MasterKeys {
  readonly workspace: string;
  /** From 1, without gaps. */
  readonly epochs: readonly number[];
  master(epoch: number): Uint8Array | undefined;
}

export class Opener {
  readonly #masters: MasterKeys;
  readonly #keys = new Map<string, Buffer>();
  readonly #ids: Buffer;

  constructor(masters: MasterKeys) {
    this.#masters = masters;
    this.#ids = derived(masters.master(1) ?? new Uint8Array(32), masters.workspace, 'chunk-ids', new Uint8Array(0));
  }

  /** The id under which a chunk stands in a table. */
  id(hash: Uint8Array): string {
    return createHmac('sha256', this.#ids).update(hash).digest('hex');
  }

  /** Opens a part; `undefined` when it is not what was sealed at this place. */
  open({ epoch, session }: SealedPlace, use: SealedFor, associated: Uint8Array, part: Buffer): Buffer | undefined {
    if (part.length < SEALED_MORE) return undefined;
    for (const candidate of epoch === undefined ? this.#masters.epochs : [epoch]) {
      const plain = this.#openWith(candidate, session, use, associated, part);
      if (plain !== undefined) return plain;
    }
    return undefined;
  }

  #openWith(epoch: number, session: Buffer, use: SealedFor, associated: Uint8Array, part: Buffer): Buffer | undefined {
    const master = this.#masters.master(epoch);
    if (master === undefined) return undefined;
    const name = `${epoch} ${use} ${session.toString('hex')}`;
    let key = this.#keys.get(name);
    if (key === undefined) {
      key = derived(master, this.#masters.workspace, `seal/${use}`, session);
      for (const oldest of this.#keys.keys()) {
        if (this.#keys.size < SESSIONS) break;
        this.#keys.delete(oldest);
      }
      this.#keys.set(name, key);
    }
    const nonce = Buffer.concat([Buffer.alloc(4), part.subarray(0, COUNTER)]);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG });
    decipher.setAAD(associated);
    decipher.setAuthTag(part.subarray(-TAG));
    const plain = decipher.update(part.subarray(COUNTER, -TAG));
    try {
      decipher.final();
      return plain;
    } catch {
      return undefined;
    }
  }
}
