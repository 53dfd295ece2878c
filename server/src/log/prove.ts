/**
 * Proofs that are checked without the log. That a version was recorded: its record, the audit path to a signed checkpoint, and the
 * checkpoint, written as C2SP tlog-proof (https://c2sp.org/tlog-proof). That a stream still begins with what it was at an earlier
 * checkpoint: the consistency proof to a later one, written as witnesses take it (https://c2sp.org/tlog-witness, add-checkpoint).
 */
import { join } from 'node:path';
import { HASH_SIZE, leafHash, rootFromInclusion, TileMissing, TileTree, verifyConsistency } from '../core/merkle.ts';
import { parseVersionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { decodeRecord } from '../core/record.ts';
import { deviceId } from '../crypto/device-key.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openCheckpoint, readCheckpoint, streamKey, type Checkpoint } from './checkpoint.ts';
import { checkKeys, readFormatFile } from './format-file.ts';
import { holds } from './own-stream.ts';
import { Stream } from './stream.ts';
import { StreamTree } from './stream-tree.ts';
import { DiskTiles } from './disk-tiles.ts';

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

/** Milliseconds after which others get their turn. */
const TURN_MS = 10;

/**
 * The bytes of records; one that is not there is missing.
 *
 * @param seqs In ascending order: each segment that has some of them is gone through once.
 * @yields Now and then, so that the caller can let others run.
 */
function* recordBytes(stream: Stream, seqs: readonly number[]): Generator<undefined, Map<number, Buffer>> {
  const found = new Map<number, Buffer>();
  const segmentOf = (seq: number): number => stream.segments.findLastIndex(segment => segment.firstSeq <= seq);
  for (let next = 0; next < seqs.length;) {
    const index = segmentOf(seqs[next] as number);
    const first = stream.segments.findIndex(segment => segment.firstSeq === stream.segments[index]?.firstSeq);
    const position = { index: Math.max(0, first), offset: 0, chain: undefined, nextSeq: 1 };
    const here = next;
    for (const frame of stream.walk(position)) {
      const { firstSeq, count } = frame.header;
      // What is not between two frames is nowhere.
      while (next < seqs.length && (seqs[next] as number) < firstSeq) next += 1;
      if (next >= seqs.length || segmentOf(seqs[next] as number) > index) break;
      if (firstSeq + count <= (seqs[next] as number)) continue;
      const raw = stream.rawRecords(frame);
      let start = 0;
      for (let i = firstSeq; raw !== undefined && i < firstSeq + count; i += 1) {
        const end = raw.indexOf('\n', start);
        if (i === seqs[next]) {
          found.set(i, raw.subarray(start, end));
          next += 1;
        }
        start = end + 1;
      }
      while (next < seqs.length && (seqs[next] as number) < firstSeq + count) next += 1;
      yield undefined;
    }
    if (next === here) next += 1;
  }
  return found;
}

/**
 * Asks the tree of a checkpoint, from its tiles or, where what they give does not hold, from the records; `undefined`: neither has it.
 */
function treeOf(
  stream: Stream,
  signed: Checkpoint
): (ask: (tree: TileTree) => Buffer[], valid: (hashes: readonly Buffer[]) => boolean) => Buffer[] | undefined {
  const onDisk = new DiskTiles(stream.dir).resume(signed.size);
  let grown: TileTree | undefined;
  return (ask, valid) => {
    try {
      const hashes = onDisk === undefined ? [] : ask(onDisk);
      if (onDisk !== undefined && valid(hashes)) return hashes;
    } catch (error) {
      if (!(error instanceof TileMissing)) throw error;
    }
    if (grown === undefined) {
      grown = new TileTree();
      new StreamTree(stream, grown).advance({ until: signed.size });
    }
    return holds(grown, signed) ? ask(grown) : undefined;
  };
}

function openStream(dir: string, device: string, workspace: string, keys: LogKeys | undefined): Stream {
  const stream = new Stream(dir, device, {
    workspace,
    config: () => undefined,
    nextNumber: () => 0,
    onDamage: () => undefined,
    keys
  });
  stream.discover();
  return stream;
}

/**
 * Proves that a version was recorded.
 *
 * @param logDir The log.
 * @param version A whole version id.
 * @param given Keys of an encrypted log. The proof shows the record in the clear.
 * @throws SyftError VERSION_NOT_FOUND; NOT_FOUND when no checkpoint covers it yet; LOG_DAMAGED when its record or tree is;
 *   LOG_ENCRYPTED, KEY_MISMATCH.
 */
export function inclusionProof(logDir: string, version: string, given?: LogKeys): InclusionProof {
  for (const found of proofs(logDir, [version], given)) if (found !== undefined) return found[1];
  throw new SyftError(
    'NOT_FOUND',
    `No signed checkpoint covers ${version} yet; one is written within seconds while recording, and at its end.`
  );
}

/**
 * {@link inclusionProof} of many versions: the log is gone through once.
 *
 * @returns In the order given; `undefined` where no checkpoint covers a version yet.
 */
export async function inclusionProofs(
  logDir: string,
  versions: readonly string[],
  given?: LogKeys
): Promise<(InclusionProof | undefined)[]> {
  const found = new Map<string, InclusionProof>();
  let since = performance.now();
  for (const one of proofs(logDir, versions, given)) {
    if (one !== undefined) found.set(...one);
    if (performance.now() - since < TURN_MS) continue;
    await new Promise(resolve => setImmediate(resolve));
    since = performance.now();
  }
  return versions.map(version => found.get(version));
}

type ProofOf = readonly [version: string, proof: InclusionProof];

/** Proofs of versions that a checkpoint covers, stream by stream, and `undefined` now and then so that the caller can let others run. */
function* proofs(
  logDir: string,
  versions: readonly string[],
  given: LogKeys | undefined
): Generator<ProofOf | undefined> {
  const format = readFormatFile(logDir);
  const keys = checkKeys(logDir, format, given);
  const wanted = new Map<string, Set<number>>();
  for (const version of versions) {
    const place = parseVersionId(version);
    if (place === undefined) throw notThere(version);
    wanted.set(place.device, (wanted.get(place.device) ?? new Set()).add(place.seq));
  }
  for (const [device, seqs] of wanted) {
    yield* proofsOf(
      logDir,
      format.workspace,
      device,
      [...seqs].sort((a, b) => a - b),
      keys
    );
  }
}

function notThere(version: string): SyftError {
  return new SyftError('VERSION_NOT_FOUND', `There is no version ${version}.`);
}

/** @param seqs In ascending order. */
function* proofsOf(
  logDir: string,
  workspace: string,
  device: string,
  seqs: readonly number[],
  keys: LogKeys | undefined
): Generator<ProofOf | undefined> {
  const dir = join(logDir, 'log', device);
  const publicKey = streamKey(dir, workspace, device);
  if (publicKey === undefined) throw notThere(`${device}.${seqs[0] ?? 0}`);
  const stream = openStream(dir, device, workspace, keys);
  try {
    const leaves = yield* recordBytes(stream, seqs);
    const signed = readCheckpoint(dir, workspace, device, publicKey);
    const asked = signed === undefined ? undefined : treeOf(stream, signed);
    for (const seq of seqs) {
      const leaf = leaves.get(seq);
      if (leaf === undefined) throw notThere(`${device}.${seq}`);
      if (signed === undefined || asked === undefined || signed.size < seq) continue;
      const leads = (hashes: readonly Buffer[]): boolean =>
        rootFromInclusion(leafHash(leaf), seq - 1, signed.size, hashes)?.equals(signed.root) === true;
      const hashes = asked(tree => tree.inclusion(seq - 1, signed.size), leads) ?? [];
      if (!leads(hashes)) {
        throw new SyftError(
          'LOG_DAMAGED',
          `${device}.${seq} cannot be proven: its record is not the one that was signed. Run fsck.`
        );
      }
      const proof = {
        leaf: Buffer.from(leaf),
        index: seq - 1,
        size: signed.size,
        hashes,
        checkpoint: signed.note,
        publicKey
      };
      yield [`${device}.${seq}`, proof];
    }
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

export interface HistoryProof {
  /** Size of the earlier tree. */
  readonly old: number;
  /** Consistency proof, 32 bytes each (RFC 6962, 2.1.2). */
  readonly hashes: readonly Buffer[];
  /** The signed note of the later tree. */
  readonly checkpoint: string;
}

/**
 * Proves that a stream still begins with all that it was at an earlier checkpoint.
 *
 * @param logDir The log.
 * @param earlier What an earlier proof showed.
 * @param given Keys of an encrypted log.
 * @throws SyftError NOT_FOUND when the log has no such stream; LOG_REWRITTEN when the stream is not what it was; LOG_ENCRYPTED,
 *   KEY_MISMATCH.
 */
export function historyProof(logDir: string, earlier: Proven, given?: LogKeys): HistoryProof {
  const format = readFormatFile(logDir);
  const keys = checkKeys(logDir, format, given);
  const { workspace } = format;
  const { device } = earlier.change;
  const dir = join(logDir, 'log', device);
  const publicKey = streamKey(dir, workspace, device);
  const signed = publicKey === undefined ? undefined : readCheckpoint(dir, workspace, device, publicKey);
  if (earlier.workspace !== workspace || signed === undefined) {
    throw new SyftError('NOT_FOUND', `The log holds no stream of device ${device} with a checkpoint.`, {
      path: logDir
    });
  }
  const { size, root } = earlier.checkpoint;
  const stream = openStream(dir, device, workspace, keys);
  try {
    const leads = (hashes: readonly Buffer[]): boolean => verifyConsistency({ size, root }, signed, hashes);
    const hashes =
      size > signed.size ? undefined : treeOf(stream, signed)(tree => tree.consistency(size, signed.size), leads);
    if (hashes === undefined || !leads(hashes)) {
      throw new SyftError(
        'LOG_REWRITTEN',
        `The stream of device ${device} does not begin with the ${size} records of that proof. Run fsck.`,
        { path: dir }
      );
    }
    return { old: size, hashes, checkpoint: signed.note };
  } finally {
    stream.close();
  }
}

/**
 * Checks a proof of history, without the log.
 *
 * @param earlier What the earlier proof showed.
 * @param publicKey Of the earlier proof: both must be signed by one key.
 * @returns The later checkpoint; `undefined` when nothing is shown.
 */
export function verifyHistoryProof(proof: HistoryProof, earlier: Proven, publicKey: Buffer): Checkpoint | undefined {
  const later = openCheckpoint(proof.checkpoint, earlier.workspace, earlier.change.device, publicKey);
  if (later === undefined || proof.old !== earlier.checkpoint.size) return undefined;
  return verifyConsistency(earlier.checkpoint, later, proof.hashes) ? later : undefined;
}

/** A proof of history as the body of a witness's add-checkpoint request. */
export function encodeHistoryProof(proof: HistoryProof): string {
  return [`old ${proof.old}`, ...proof.hashes.map(hash => hash.toString('base64')), '', proof.checkpoint].join('\n');
}

/** Inverse of {@link encodeHistoryProof}. Throws ARCHIVE_INVALID when the text is no such file. */
export function decodeHistoryProof(text: string): HistoryProof {
  const end = text.indexOf('\n\n');
  const [first = '', ...hashes] = text.slice(0, Math.max(0, end)).split('\n');
  const old = /^old (0|[1-9]\d{0,15})$/.exec(first)?.[1];
  const proof = {
    old: Number(old),
    hashes: hashes.map(hash => Buffer.from(hash, 'base64')),
    checkpoint: text.slice(end + 2)
  };
  if (old === undefined || encodeHistoryProof(proof) !== text) {
    throw new SyftError('ARCHIVE_INVALID', 'This is not a proof of history that syft-sync has written.');
  }
  return proof;
}
