/**
 * Chooses the stream that a writer goes on with. One that has less, or other, records than a checkpoint of it that was ever
 * seen must not be gone on with: a number would be given twice (format F-3, F-14). Then the writer takes its next key and is
 * a new device.
 */
import { join } from 'node:path';
import { TileMissing, TileTree } from '../core/merkle.ts';
import { deviceId, deviceKey, type DeviceKey } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { readCheckpoint, type Checkpoint } from './checkpoint.ts';
import { placeOf, Remembered, type Memory } from './remembered.ts';
import { Stream } from './stream.ts';
import { StreamTree } from './stream-tree.ts';
import { DiskTiles } from './disk-tiles.ts';
import type { Damage } from './types.ts';

export interface OwnStream {
  readonly key: DeviceKey;
  readonly device: string;
  readonly tiles: DiskTiles;
  /** The tree as far as it is known; what is behind it in the stream is read later. */
  readonly tree: TileTree;
  /** The checkpoint in the log, when its tree is `tree`. */
  readonly checkpoint: Checkpoint | undefined;
  readonly remembered: Remembered;
  /** Streams of earlier keys, which are not gone on with. */
  readonly earlier: readonly string[];
  /** Why streams of earlier keys were passed over. */
  readonly damages: readonly Damage[];
}

/** True when the tree has what a checkpoint says, and its tiles can show it. */
export function holds(tree: TileTree, claim: Checkpoint): boolean {
  try {
    return claim.size <= tree.size && tree.root(claim.size).equals(claim.root);
  } catch (error) {
    if (error instanceof TileMissing) return false;
    throw error;
  }
}

/** The damage that `claim`, seen at this very place, shows; the name is the one that docs/format.md gives it. */
export function rewritten(
  device: string,
  claim: Checkpoint,
  size: number,
  present: Checkpoint | undefined,
  more = ''
): Damage {
  const versions =
    claim.size > size
      ? Array.from({ length: Math.min(1000, claim.size - size) }, (_, i) => `${device}.${size + 1 + i}`)
      : [];
  const base = { where: `log/${device}`, versions };
  if (claim.size > size) {
    return present !== undefined && present.size > size
      ? {
          ...base,
          kind: 'truncated',
          message: `The stream ends at ${device}.${size}, but its own checkpoint covers ${device}.${present.size}.${more}`
        }
      : {
          ...base,
          kind: 'rollback',
          message: `The stream ends at ${device}.${size}, but ${device}.${claim.size} was seen here: the log was put back to an older state.${more}`
        };
  }
  return present === undefined
    ? { ...base, kind: 'edited', message: `The first ${claim.size} records are not those that were signed.${more}` }
    : {
        ...base,
        kind: 'fork',
        message: `The device has signed two histories: the first ${claim.size} records are not those that were seen here.${more}`
      };
}

/**
 * Takes the first key whose stream may be gone on with; makes one when there is none.
 *
 * @param logDir The log.
 * @param keyDir The user's configuration.
 * @param workspace 32 hex digits.
 * @param keys Of an encrypted log.
 */
export function chooseOwnStream(
  logDir: string,
  keyDir: string,
  workspace: string,
  keys: LogKeys | undefined
): OwnStream {
  const remembered = new Remembered(keyDir, workspace);
  const memories = remembered.all();
  const place = placeOf(logDir);
  const damages: Damage[] = [];
  const earlier: string[] = [];
  for (let number = 1; ; number += 1) {
    const key = deviceKey(keyDir, join(logDir, 'keys'), number);
    const device = deviceId(key.publicKey, workspace);
    const streamDir = join(logDir, 'log', device);
    // What was seen at this very place first: of several contradictions it is the one to be told.
    const own = memories
      .filter(memory => memory.device === device)
      .sort((a, b) => Number(b.place === place) - Number(a.place === place));
    const looked = look(streamDir, workspace, device, key, own, keys);
    if (looked.broken === undefined) {
      const { tiles, tree, checkpoint } = looked;
      return { key, device, tiles, tree, checkpoint, remembered, earlier, damages };
    }
    earlier.push(device);
    // A copy whose original has grown, and what the user has accepted, is no damage; the stream ends here all the same.
    const { broken, signed, tree } = looked;
    if (broken === own.find(memory => memory.place === place)?.checkpoint || broken === signed) {
      const speaks = signed !== undefined && (signed.size > tree.size || holds(tree, signed));
      damages.push(
        rewritten(device, broken, tree.size, speaks ? signed : undefined, ' Recording goes on as a new device.')
      );
    }
  }
}

interface Looked {
  readonly tiles: DiskTiles;
  readonly tree: TileTree;
  readonly checkpoint: Checkpoint | undefined;
  /** The checkpoint in the log, whether or not the tree is that of it. */
  readonly signed: Checkpoint | undefined;
  /** A checkpoint that the stream does not follow from. */
  readonly broken: Checkpoint | undefined;
}

function look(
  streamDir: string,
  workspace: string,
  device: string,
  key: DeviceKey,
  memories: readonly Memory[],
  keys: LogKeys | undefined
): Looked {
  const signed = readCheckpoint(streamDir, workspace, device, key.publicKey);
  const claims = [
    ...memories.flatMap(({ checkpoint }) => checkpoint ?? []),
    ...(signed === undefined ? [] : [signed]),
    ...memories.flatMap(({ accepted }) => accepted)
  ];
  const tiles = new DiskTiles(streamDir);
  const resumed = signed === undefined ? undefined : tiles.resume(signed.size);
  if (resumed !== undefined && claims.every(claim => holds(resumed, claim))) {
    return { tiles, tree: resumed, checkpoint: signed, signed, broken: undefined };
  }
  // The tiles alone do not show it; the records do, as far as any checkpoint reaches. What is behind that may be torn.
  const fresh = new DiskTiles(streamDir);
  const tree = new TileTree(fresh.options);
  const until = Math.max(0, ...claims.map(({ size }) => size));
  if (until > 0) {
    const stream = new Stream(streamDir, device, {
      workspace,
      config: () => undefined,
      nextNumber: () => 0,
      onDamage: () => undefined,
      keys
    });
    try {
      stream.discover();
      new StreamTree(stream, tree).advance({ until });
    } finally {
      stream.close();
    }
  }
  return { tiles: fresh, tree, checkpoint: undefined, signed, broken: claims.find(claim => !holds(tree, claim)) };
}
