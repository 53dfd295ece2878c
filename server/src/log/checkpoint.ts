/** Checkpoints (https://c2sp.org/tlog-checkpoint): the size and root of a stream's tree, signed by its device. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { HASH_SIZE } from '../core/merkle.ts';
import { errnoOf } from '../core/errors.ts';
import { deviceId, type DeviceKey } from '../crypto/device-key.ts';
import { openNote, signNote } from '../crypto/signed-note.ts';
import { readText } from '../storage/read-text.ts';

export interface Checkpoint {
  /** Number of records it covers: those with sequence numbers 1…size. */
  readonly size: number;
  readonly root: Buffer;
  /** The signed note, as it is stored. */
  readonly note: string;
}

/** What a note says of another stream of the same log. */
export interface SeenStream {
  readonly device: string;
  readonly size: number;
  readonly root: Buffer;
}

export const CHECKPOINT_FILE = 'checkpoint';
export const SEEN_FILE = 'seen';

/** First line of a stream's checkpoints, and the name under which the device key signs them. */
export function originOf(workspace: string, device: string): string {
  return `syft-sync/${workspace}/${device}`;
}

const WHOLE = /^(?:0|[1-9]\d{0,15})$/;

function rootOf(base64: string | undefined): Buffer | undefined {
  const root = Buffer.from(base64 ?? '', 'base64');
  return root.length === HASH_SIZE && root.toString('base64') === base64 ? root : undefined;
}

export function signCheckpoint(
  workspace: string,
  device: string,
  size: number,
  root: Buffer,
  key: DeviceKey
): Checkpoint {
  const origin = originOf(workspace, device);
  return { size, root, note: signNote(`${origin}\n${size}\n${root.toString('base64')}\n`, origin, key) };
}

/** A checkpoint of this stream, its signature verified; `undefined` when it is none. */
export function openCheckpoint(
  note: string,
  workspace: string,
  device: string,
  publicKey: Uint8Array
): Checkpoint | undefined {
  const origin = originOf(workspace, device);
  const [first, size = '', base64, ...rest] = openNote(note, origin, publicKey)?.split('\n') ?? [];
  const root = rootOf(base64);
  if (first !== origin || !WHOLE.test(size) || root === undefined || rest.join() !== '') return undefined;
  return { size: Number(size), root, note };
}

/** Signs which other streams the log held, and how far, when the device last looked. */
export function signSeen(workspace: string, device: string, seen: readonly SeenStream[], key: DeviceKey): string {
  const name = `${originOf(workspace, device)}/seen`;
  const lines = seen.map(({ device, size, root }) => `${device} ${size} ${root.toString('base64')}\n`);
  return signNote(`${name}\n${lines.join('')}`, name, key);
}

/** Inverse of {@link signSeen}; `undefined` when it is no such note of this device. */
export function openSeen(
  note: string,
  workspace: string,
  device: string,
  publicKey: Uint8Array
): SeenStream[] | undefined {
  const name = `${originOf(workspace, device)}/seen`;
  const [first, ...lines] = openNote(note, name, publicKey)?.split('\n') ?? [];
  if (first !== name || lines.pop() !== '') return undefined;
  const seen: SeenStream[] = [];
  for (const line of lines) {
    const [other = '', size = '', base64, ...rest] = line.split(' ');
    const root = rootOf(base64);
    if (!/^[a-z2-7]{8}$/.test(other) || !WHOLE.test(size) || root === undefined || rest.length > 0) return undefined;
    seen.push({ device: other, size: Number(size), root });
  }
  return seen;
}

/** More is not read: in a foreign log anything may stand there. */
const MAX_FILE = 64 * 1024;

/** Text of a small file of a stream; `undefined` when there is none or it cannot be read. */
export function streamFile(streamDir: string, name: string): string | undefined {
  try {
    const path = join(streamDir, name);
    return statSync(path).size > MAX_FILE ? undefined : readText(path);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** The public key in a stream's device.json, when it is the one its device id stands for. */
export function streamKey(streamDir: string, workspace: string, device: string): Buffer | undefined {
  try {
    const { publicKey } = JSON.parse(streamFile(streamDir, 'device.json') ?? '') as Record<string, unknown>;
    const key = Buffer.from(String(publicKey), 'base64');
    return key.length === 32 && deviceId(key, workspace) === device ? key : undefined;
  } catch {
    return undefined;
  }
}

/** The checkpoint that stands in a stream, verified; `undefined` when there is none that holds. */
export function readCheckpoint(
  streamDir: string,
  workspace: string,
  device: string,
  publicKey: Uint8Array
): Checkpoint | undefined {
  const note = streamFile(streamDir, CHECKPOINT_FILE);
  return note === undefined ? undefined : openCheckpoint(note, workspace, device, publicKey);
}
