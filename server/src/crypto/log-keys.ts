/** All keys of one encrypted log, derived from its master keys with HKDF-SHA-256 (docs/format.md, "Encryption"). */
import { createHmac, hkdfSync } from 'node:crypto';

/** What a key is for. Each purpose has its own key: what is sealed for one cannot be opened as another. */
export type SealPurpose = 'records' | 'block-table' | 'block' | 'file';

/** Bytes of a master key, of a session key, of the key of chunk ids. */
export const KEY_LENGTH = 32;
/** Bytes of a session id. */
export const SESSION_LENGTH = 16;

/** Keys of foreign sessions that are kept; each opening of the writer is one. */
const KEPT_SESSIONS = 256;

export class LogKeys {
  /** 32 hex digits. */
  readonly workspace: string;
  /** The epoch under which is written, from 1. */
  readonly newest: number;
  readonly #masters: ReadonlyMap<number, Buffer>;
  readonly #sessions = new Map<string, Buffer>();
  #idKey: Buffer | undefined;

  /**
   * @param masters Master keys (32 bytes) by their epochs. Not empty.
   */
  constructor(workspace: string, masters: ReadonlyMap<number, Buffer>) {
    this.workspace = workspace;
    this.#masters = masters;
    this.newest = Math.max(...masters.keys());
  }

  get epochs(): readonly number[] {
    return [...this.#masters.keys()].sort((a, b) => a - b);
  }

  /** The master key of an epoch; `undefined` when the key file did not have it. */
  master(epoch: number): Buffer | undefined {
    return this.#masters.get(epoch);
  }

  #derive(epoch: number, label: string, salt: Uint8Array, length = KEY_LENGTH): Buffer | undefined {
    const master = this.#masters.get(epoch);
    if (master === undefined) return undefined;
    return deriveKey(master, this.workspace, label, salt, length);
  }

  /** The key for one purpose of one session; `undefined` when its epoch is not known. */
  session(epoch: number, session: Uint8Array, purpose: SealPurpose): Buffer | undefined {
    const name = `${epoch} ${purpose} ${Buffer.from(session).toString('latin1')}`;
    let key = this.#sessions.get(name);
    if (key === undefined) {
      key = this.#derive(epoch, `seal/${purpose}`, session);
      if (key === undefined) return undefined;
      if (this.#sessions.size >= KEPT_SESSIONS) this.#sessions.delete(this.#sessions.keys().next().value as string);
      this.#sessions.set(name, key);
    }
    return key;
  }

  /**
   * Id of a chunk in an encrypted log: HMAC-SHA-256 of its SHA-256. The key is of the first epoch for ever: ids stand in sealed
   * tables only, so whoever has but an old key sees none of the new ones, and after a rotation no content is stored again.
   *
   * @param plain SHA-256 of the chunk, 32 bytes.
   */
  chunkId(plain: Uint8Array): Buffer {
    this.#idKey ??= this.#derive(1, 'chunk-ids', Buffer.alloc(0)) as Buffer;
    return createHmac('sha256', this.#idKey).update(plain).digest();
  }

  /** What names the log's first master key without telling it: stands in `format.json`. 32 hex digits. */
  get keyId(): string {
    return keyId(this.#masters.get(1) as Buffer, this.workspace);
  }
}

/** HKDF-SHA-256 with the workspace and a label as info. */
export function deriveKey(
  master: Uint8Array,
  workspace: string,
  label: string,
  salt: Uint8Array,
  length = KEY_LENGTH
): Buffer {
  return Buffer.from(hkdfSync('sha256', master, salt, Buffer.from(`syft-sync/1/${label}/${workspace}`), length));
}

/** Names a master key without telling it. 32 hex digits. */
export function keyId(master: Uint8Array, workspace: string): string {
  return deriveKey(master, workspace, 'key-id', Buffer.alloc(0), 16).toString('hex');
}
