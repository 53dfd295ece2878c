/** Streams against what others remember of them: other devices in the log, and this installation outside of it. */
import { realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Damage } from '../types.ts';
import { DEVICE, fileBytes, listing, sha256 } from './bytes.ts';
import type { CheckedLog, CheckedStream } from './checked-log.ts';
import { checkpointIn, seenIn } from './notes.ts';
import { rootsAt, type SignedTree } from './tree.ts';

/** A tree that a stream once had, and who says so. */
interface Claim extends SignedTree {
  readonly device: string;
  readonly who: string;
  /** Seen in this very log directory: then less is a loss, and not a copy that lags behind. */
  readonly here: boolean;
}

function versionsAfter(device: string, from: number, to: number): string[] {
  return Array.from({ length: Math.min(1000, Math.max(0, to - from)) }, (_, i) => `${device}.${from + 1 + i}`);
}

/** Names of other streams in the notes of each device. */
function* seenByDevices(log: CheckedLog): Generator<Damage, Claim[]> {
  const claims: Claim[] = [];
  for (const { device, publicKey, head } of log.streams.values()) {
    const where = `log/${device}/seen`;
    const note = fileBytes(join(log.dir, where));
    if (note === undefined) {
      if ((head?.others ?? 0) > 0) {
        yield { kind: 'missing', where, versions: [], message: 'What the device saw of other streams is missing.' };
      }
      continue;
    }
    if (publicKey === undefined) continue;
    const seen = seenIn(note, log.workspace, device, publicKey);
    if (seen === undefined) {
      yield { kind: 'signature', where, versions: [], message: 'The note is not signed by the device of the stream.' };
      continue;
    }
    if (seen.length < (head?.others ?? 0)) {
      yield { kind: 'rollback', where, versions: [], message: 'The note is an older one than stood there.' };
    }
    for (const stream of seen) claims.push({ ...stream, who: `device ${device}`, here: true });
  }
  return claims;
}

interface MemoryFile {
  readonly publicKey?: string;
  readonly checkpoint?: string;
  readonly accepted?: readonly string[];
}

/** What this installation remembers, with what the user has given up left out. */
function remembered(log: CheckedLog, configDir: string): Claim[] {
  const dir = join(configDir, 'seen', log.workspace);
  let path = resolve(log.dir);
  try {
    path = realpathSync(path);
  } catch {
    // Then it is not there, and nothing was seen at it.
  }
  const place = sha256(Buffer.from(path)).toString('hex', 0, 8);
  const claims: Claim[] = [];
  const givenUp = new Set<string>();
  for (const name of listing(dir)) {
    const device = name.slice(0, 8);
    if (!DEVICE.test(device) || !/^.{8}-[0-9a-f]{16}\.json$/.test(name)) continue;
    const here = name.slice(9, 25) === place;
    try {
      const body = JSON.parse(String(fileBytes(join(dir, name)))) as MemoryFile;
      const key = Buffer.from(body.publicKey ?? '', 'base64');
      const tree = checkpointIn(Buffer.from(body.checkpoint ?? ''), log.workspace, device, key);
      if (tree !== undefined) claims.push({ ...tree, device, who: 'this installation', here });
      if (!here) continue;
      for (const note of body.accepted ?? []) {
        const old = checkpointIn(Buffer.from(note), log.workspace, device, key);
        if (old !== undefined) givenUp.add(`${device} ${old.size} ${old.root.toString('hex')}`);
      }
    } catch {
      // A memory that is damaged says nothing about the log.
    }
  }
  return claims.filter(({ device, size, root }) => !givenUp.has(`${device} ${size} ${root.toString('hex')}`));
}

function* judge(device: string, stream: CheckedStream | undefined, claims: readonly Claim[]): Generator<Damage> {
  const where = `log/${device}`;
  if (stream === undefined) {
    const claim = claims.find(({ here }) => here);
    if (claim === undefined) return;
    yield {
      kind: 'missing',
      where,
      versions: versionsAfter(device, 0, claim.size),
      message: `The stream of device ${device} is missing: ${claim.who} has seen ${claim.size} records of it.`
    };
    return;
  }
  const { size, told, leaves } = stream;
  const roots = rootsAt(
    i => leaves.at(i) ?? Buffer.alloc(32),
    claims.map(claim => claim.size).filter(claimed => claimed <= size)
  );
  for (const claim of claims) {
    let kind: string | undefined;
    let message = '';
    if (claim.size > size) {
      if (!claim.here) continue;
      kind = told.has('truncated') ? 'truncated' : 'rollback';
      message = `The stream ends at ${device}.${size}, but ${claim.who} has seen ${device}.${claim.size}: the log was put back to an older state.`;
    } else if (roots.get(claim.size)?.equals(claim.root) !== true) {
      // Where records cannot be read, which is told already, there is nothing to compare.
      if (!leaves.whole(claim.size)) continue;
      kind = stream.agrees ? 'fork' : 'edited';
      message = stream.agrees
        ? `The device has signed two histories: the first ${claim.size} records are not those that ${claim.who} has seen.`
        : `The first ${claim.size} records are not those that ${claim.who} has seen.`;
    }
    if (kind === undefined || told.has(kind)) continue;
    told.add(kind);
    yield { kind, where, versions: versionsAfter(device, size, claim.size), message };
  }
}

/**
 * Compares all streams with what is remembered of them.
 *
 * @param configDir The user's configuration; without it only what stands in the log is asked.
 */
export function* checkMemory(log: CheckedLog, configDir: string | undefined): Generator<Damage> {
  const claims = [...(yield* seenByDevices(log)), ...(configDir === undefined ? [] : remembered(log, configDir))];
  for (const device of [...new Set(claims.map(claim => claim.device))].sort()) {
    yield* judge(
      device,
      log.streams.get(device),
      claims.filter(claim => claim.device === device)
    );
  }
}
