/**
 * The checkpoint: what the recorder had made of the log and knew of the files when it was written, so that a start reads only
 * what came after, and no file that is as it was.
 *
 * Disposable. It is one file, written beside and renamed, with a checksum over all of it, and names the places in the log that
 * it goes with; where the log does not have them, or anything is doubtful, it is ignored: log and files are read instead, which
 * costs time and changes nothing.
 *
 * Layout: magic, length of the head (u32), head (JSON), then the parts one behind the other; CRC-32. Byte order of the machine.
 * Of an encrypted log, all that is sealed (crypto/sealed-pieces.ts): it has the names of all files.
 */
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errnoOf } from '../core/errors.ts';
import type { ChangePlace } from '../core/change.ts';
import { PackedTree, type PackedTreeHead } from '../core/packed-tree.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openPieces, sealPieces } from '../crypto/sealed-pieces.ts';
import type { StreamMark } from '../log/marks.ts';
import { KnownTree } from './known.ts';
import { TimeSlice } from './time-slice.ts';

const FILE_NAME = 'checkpoint';
/** What a sealed one is bound to: its place below the log directory. */
const SEALED_NAME = 'cache/checkpoint';
/** What an earlier version kept here. */
const FORMER_NAME = 'stat-cache';
const MAGIC = Buffer.from('SYFTCKP2\n', 'latin1');

/** Which directory the root was. */
export interface RootIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** A state of the recorder. */
export interface Checkpoint {
  readonly tree: PackedTree;
  readonly known: KnownTree;
  readonly root: RootIdentity;
  /** How far in the log this is. */
  readonly marks: readonly StreamMark[];
  /** The last change up to there. */
  readonly last: ChangePlace | undefined;
  /** What a {@link Fold} had made of the changes. */
  readonly folded: string;
}

interface Head {
  readonly workspaceId: string;
  readonly order: string;
  readonly root: RootIdentity;
  readonly marks: readonly StreamMark[];
  readonly last?: ChangePlace;
  readonly folded: string;
  readonly tree: PackedTreeHead;
  readonly known: number;
}

/**
 * Writes a checkpoint, unless the tree changes meanwhile: then there will be a better moment.
 *
 * @param keys Of an encrypted log.
 * @returns Whether it was written.
 * @throws System errors; the caller may ignore them.
 */
export async function saveCheckpoint(
  cacheDir: string,
  workspaceId: string,
  state: Checkpoint,
  keys?: LogKeys
): Promise<boolean> {
  const { tree, known, root, marks, last, folded } = state;
  const { generation } = tree;
  const image = tree.image();
  const files = await known.toImage(new TimeSlice());
  if (tree.generation !== generation) return false;
  const head: Head = {
    workspaceId,
    order: endianness(),
    root,
    marks,
    ...(last !== undefined && { last: { device: last.device, seq: last.seq, hlc: last.hlc } }),
    folded,
    tree: image.head,
    known: files.count
  };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  mkdirSync(cacheDir, { recursive: true, mode: 0o700 });
  const target = join(cacheDir, FILE_NAME);
  const staged = `${target}.new`;
  const handle = await open(staged, 'w', 0o600);
  const parts = withSum([MAGIC, length, text, ...image.parts, ...files.parts]);
  try {
    for (const part of keys === undefined ? parts : sealPieces(keys, SEALED_NAME, parts)) {
      await handle.writeFile(part);
    }
  } finally {
    await handle.close();
  }
  if (tree.generation !== generation) {
    rmSync(staged, { force: true });
    return false;
  }
  renameSync(staged, target);
  rmSync(join(cacheDir, FORMER_NAME), { force: true });
  return true;
}

function* withSum(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  let sum = 0;
  for (const part of parts) {
    sum = crc32(part, sum);
    yield part;
  }
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(sum);
  yield tail;
}

/**
 * Reads the checkpoint; `undefined` when there is none to be trusted.
 *
 * @param keys Of an encrypted log: one in the clear, or of other keys, is none.
 */
export function loadCheckpoint(cacheDir: string, workspaceId: string, keys?: LogKeys): Checkpoint | undefined {
  const file = join(cacheDir, FILE_NAME);
  let bytes: Buffer | undefined;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') rmSync(file, { force: true, recursive: true });
    return undefined;
  }
  if (keys !== undefined) bytes = openPieces(keys, SEALED_NAME, bytes);
  if (bytes === undefined) return undefined;
  return parse(bytes, workspaceId);
}

function parse(bytes: Buffer, workspaceId: string): Checkpoint | undefined {
  const end = bytes.length - 4;
  let at = MAGIC.length;
  if (end < at + 4 || !bytes.subarray(0, at).equals(MAGIC)) return undefined;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) return undefined;
  const take = (length: number): Buffer => {
    if (!(length >= 0) || at + length > end) throw new RangeError('The checkpoint is shorter than it says.');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const head = JSON.parse(take(take(4).readUInt32LE()).toString('utf8')) as Head;
  if (head.workspaceId !== workspaceId || head.order !== endianness()) return undefined;
  const tree = PackedTree.restored(head.tree, take);
  const known = KnownTree.restored(head.known, take);
  if (at !== end || known.size !== tree.size) throw new RangeError('The checkpoint does not fit together.');
  const { root, marks, last, folded } = head;
  return { tree, known, root, marks, last, folded };
}
