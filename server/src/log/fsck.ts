/**
 * Checks a log from docs/format.md alone. Shares no code with the writer or the reader but SHA-256, CRC-32, zstd, HKDF, HMAC,
 * AES-GCM and the verification of Ed25519 signatures, so that what one of them misunderstands the other does not. Never writes.
 */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { DEVICE, listing } from './fsck/bytes.ts';
import type { CheckedLog } from './fsck/checked-log.ts';
import { ChunkMap } from './fsck/chunk-map.ts';
import { ContentList } from './fsck/content-list.ts';
import { checkContents } from './fsck/contents.ts';
import { checkLayout } from './fsck/layout.ts';
import { checkMemory } from './fsck/memory.ts';
import type { MasterKeys } from './fsck/sealed.ts';
import { checkStream } from './fsck/stream.ts';
import { checkTree } from './fsck/tree.ts';
import type { Damage } from './types.ts';

export interface FsckOptions {
  /** Decompress and hash every content too. */
  readonly readData: boolean;
  /** Master keys of an encrypted log. Without them its records and contents are not opened. */
  readonly masters?: MasterKeys;
  /** Called when the log is encrypted and there are no keys: what that leaves unchecked. */
  readonly onUnopened?: (message: string) => void;
  /** The user's configuration, where checkpoints seen before are remembered; without it they are not asked. */
  readonly configDir?: string;
  /** `done` and `bytes` of `total` segment bytes. */
  readonly onProgress?: (progress: { done: number; total: number; bytes: number }) => void;
  /** Called for each version whose content is gone because a signed act says so: that is no damage. */
  readonly onPruned?: (version: string) => void;
  readonly signal?: AbortSignal;
}

const UNOPENED =
  'The log is encrypted and was checked without its keys: lengths, checksums, numbers, signatures and the tree, as far as its ' +
  'tiles show it. Not the chain, the records and the contents, nor that nothing was put in place of them.';

/** Yields damage, and `undefined` now and then so that the caller can let others run. */
function* check(dir: string, options: FsckOptions): Generator<Damage | undefined> {
  const devices = listing(join(dir, 'log')).filter(name => DEVICE.test(name));
  let done = 0;
  let total = 0;
  for (const device of devices) {
    for (const name of listing(join(dir, 'log', device))) {
      total += lstatSync(join(dir, 'log', device, name), { throwIfNoEntry: false })?.size ?? 0;
    }
  }
  const log: CheckedLog = {
    dir,
    readData: options.readData,
    workspace: '',
    format: Buffer.alloc(0),
    sealed: options.masters !== undefined,
    epochs: 0,
    opener: undefined,
    chunks: new ChunkMap(),
    contents: new ContentList(),
    drops: [],
    streams: new Map(),
    pruned: version => options.onPruned?.(version),
    tick: bytes => {
      if (options.signal?.aborted === true) throw new SyftError('CANCELLED', 'The check was stopped.');
      done += bytes;
      options.onProgress?.({ done, total, bytes: done });
    }
  };
  yield* checkLayout(log, options.masters);
  if (log.sealed && log.opener === undefined) options.onUnopened?.(UNOPENED);
  for (const device of devices) yield* checkStream(log, device);
  for (const stream of log.streams.values()) {
    yield* checkTree(log, stream);
    yield undefined;
  }
  yield* checkMemory(log, options.configDir);
  yield* checkContents(log);
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
  for (const damage of check(dir, options)) {
    if (damage === undefined) await new Promise(resolve => setImmediate(resolve));
    else yield damage;
  }
}
