/**
 * Proofs that a version was recorded: its record, the audit path to a signed checkpoint, and the checkpoint. They are checked
 * without the log, and written as C2SP tlog-proof (https://c2sp.org/tlog-proof).
 */
import { join } from 'node:path';
import { HASH_SIZE, leafHash, rootFromInclusion, TileMissing, TileTree } from '../core/merkle.ts';
import { parseVersionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { decodeRecord } from '../core/record.ts';
import { deviceId } from '../crypto/device-key.ts';
import { openCheckpoint, readCheckpoint, streamKey, type Checkpoint } from './checkpoint.ts';
import { readFormatFile } from './format-file.ts';
import { holds } from './own-stream.ts';
import { Stream } from './stream.ts';
import { StreamTree } from './stream-tree.ts';
import { DiskTiles } from './tile-files.ts';

export interface InclusionProof {
  /** The record as it stands in the log, without its line feed: the bytes of the leaf. */
  readonly leaf: Buffer;
  /** Place of the leaf, from 0. */
  readonly index: number;
  /** Leaves of the tree of the checkpoint. */
  readonly size: number;
  /** Audit path, lowest first, 32 bytes each. */
  readonly hashes: readonly Buffer[];
  /** The signed note. */
  readonly checkpoint: string;
  /** Ed25519, 32 bytes: whose signature it is. */
  readonly publicKey: Buffer;
}

/** What a proof shows, when it does. */
export interface Proven {
  readonly change: Change;
  readonly workspace: string;
  readonly checkpoint: Checkpoint;
}

const FORMAT = 'c2sp.org/tlog-proof@v1';

/** The bytes of one record; `undefined` when it is not there. */
function recordBytes(stream: Stream, seq: number): Buffer | undefined {
  stream.discover();
  const index = stream.segments.findLastIndex(segment => segment.firstSeq <= seq);
  const first = stream.segments.findIndex(segment => segment.firstSeq === stream.segments[index]?.firstSeq);
  const position = { index: Math.max(0, first), offset: 0, chain: undefined, nextSeq: 1 };
  for (const frame of stream.walk(position)) {
    const { firstSeq, count } = frame.header;
    if (firstSeq > seq) return undefined;
    if (firstSeq + count <= seq) continue;
    const raw = stream.rawRecords(frame);
    let start = 0;
    for (let i = firstSeq; raw !== undefined && i < seq; i += 1) start = raw.indexOf('\n', start) + 1;
    return raw?.subarray(start, raw.indexOf('\n', start));
  }
  return undefined;
}

/**
 * Proves that a version was recorded.
 *
 * @param logDir The log.
 * @param version A whole version id.
 * @throws SyftError VERSION_NOT_FOUND; NOT_FOUND when no checkpoint covers it yet; LOG_DAMAGED when its record or tree is.
 */
export function inclusionProof(logDir: string, version: string): InclusionProof {
  const { workspace } = readFormatFile(logDir);
  const wanted = parseVersionId(version);
  if (wanted === undefined) throw new SyftError('VERSION_NOT_FOUND', `There is no version ${version}.`);
  const { device, seq } = wanted;
  const dir = join(logDir, 'log', device);
  const publicKey = streamKey(dir, workspace, device);
  if (publicKey === undefined) throw new SyftError('VERSION_NOT_FOUND', `There is no version ${version}.`);
  const stream = new Stream(dir, device, {
    workspace,
    config: () => undefined,
    nextNumber: () => 0,
    onDamage: () => undefined
  });
  try {
    const leaf = recordBytes(stream, seq);
    if (leaf === undefined) throw new SyftError('VERSION_NOT_FOUND', `There is no version ${version}.`);
    const signed = readCheckpoint(dir, workspace, device, publicKey);
    if (signed === undefined || signed.size < seq) {
      throw new SyftError(
        'NOT_FOUND',
        `No signed checkpoint covers ${version} yet; one is written within seconds while recording, and at its end.`
      );
    }
    let tree = new DiskTiles(dir).resume(signed.size);
    let hashes: Buffer[] | undefined;
    try {
      if (tree !== undefined && holds(tree, signed)) hashes = tree.inclusion(seq - 1, signed.size);
    } catch (error) {
      if (!(error instanceof TileMissing)) throw error;
    }
    if (hashes === undefined) {
      // Tiles that are missing can be grown from the records.
      tree = new TileTree();
      new StreamTree(stream, tree).advance({ until: signed.size });
      if (holds(tree, signed)) hashes = tree.inclusion(seq - 1, signed.size);
    }
    const proof = {
      leaf: Buffer.from(leaf),
      index: seq - 1,
      size: signed.size,
      hashes: hashes ?? [],
      checkpoint: signed.note,
      publicKey
    };
    if (rootFromInclusion(leafHash(leaf), proof.index, proof.size, proof.hashes)?.equals(signed.root) !== true) {
      throw new SyftError(
        'LOG_DAMAGED',
        `${version} cannot be proven: its record is not the one that was signed. Run fsck.`
      );
    }
    return proof;
  } finally {
    stream.close();
  }
}

/**
 * Checks a proof, without the log.
 *
 * @returns What it shows; `undefined` when it shows nothing. That the key is who one thinks it is, is for the caller to know.
 */
export function verifyInclusionProof(proof: InclusionProof): Proven | undefined {
  const [, workspace = '', device = ''] = (proof.checkpoint.split('\n', 1)[0] ?? '').split('/');
  if (proof.publicKey.length !== 32 || !/^[0-9a-f]{32}$/.test(workspace)) return undefined;
  if (deviceId(proof.publicKey, workspace) !== device) return undefined;
  const checkpoint = openCheckpoint(proof.checkpoint, workspace, device, proof.publicKey);
  if (checkpoint?.size !== proof.size) return undefined;
  const root = rootFromInclusion(leafHash(proof.leaf), proof.index, proof.size, proof.hashes);
  if (root?.equals(checkpoint.root) !== true) return undefined;
  try {
    const change = decodeRecord(proof.leaf.toString('utf8'), device);
    return change.seq === proof.index + 1 ? { change, workspace, checkpoint } : undefined;
  } catch {
    return undefined;
  }
}

/** A proof as the text of a `.tlog-proof` file. The record and the key travel in its `extra` line. */
export function encodeProof(proof: InclusionProof): string {
  const extra = JSON.stringify({
    record: proof.leaf.toString('utf8'),
    publicKey: proof.publicKey.toString('base64')
  });
  return [
    FORMAT,
    `extra ${Buffer.from(extra).toString('base64')}`,
    `index ${proof.index}`,
    ...proof.hashes.map(hash => hash.toString('base64')),
    '',
    proof.checkpoint
  ].join('\n');
}

/** Inverse of {@link encodeProof}. Throws ARCHIVE_INVALID when the text is no such file. */
export function decodeProof(text: string): InclusionProof {
  const invalid = (): SyftError => new SyftError('ARCHIVE_INVALID', 'This is not a proof that syft-sync has written.');
  const end = text.indexOf('\n\n');
  const [format, extra = '', place = '', ...hashes] = text.slice(0, end).split('\n');
  const index = /^index (0|[1-9]\d{0,15})$/.exec(place)?.[1];
  if (end < 0 || format !== FORMAT || !extra.startsWith('extra ') || index === undefined) throw invalid();
  const path = hashes.map(hash => Buffer.from(hash, 'base64'));
  if (path.some((hash, i) => hash.length !== HASH_SIZE || hash.toString('base64') !== hashes[i])) throw invalid();
  let body: Record<string, unknown>;
  try {
    body = JSON.parse(Buffer.from(extra.slice(6), 'base64').toString('utf8')) as Record<string, unknown>;
  } catch {
    throw invalid();
  }
  const { record, publicKey } = body;
  if (typeof record !== 'string' || typeof publicKey !== 'string') throw invalid();
  const checkpoint = text.slice(end + 2);
  const proof = {
    leaf: Buffer.from(record),
    index: Number(index),
    size: Number(checkpoint.split('\n', 2)[1]),
    hashes: path,
    checkpoint,
    publicKey: Buffer.from(publicKey, 'base64')
  };
  // Written otherwise than we write it, it could differ where nobody looks.
  if (encodeProof(proof) !== text) throw invalid();
  return proof;
}
