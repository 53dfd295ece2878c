/** One stream: whose it is, how far it says it goes, and its segments in order. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import type { Damage } from '../types.ts';
import { fileBytes, listing, sha256, whole } from './bytes.ts';
import type { CheckedHead, CheckedLog } from './checked-log.ts';
import { checkSegment, type StreamState } from './segment.ts';
import { LeafList } from './tree.ts';

const FILES = ['device.json', 'head.json', 'checkpoint', 'seen', 'tile'];

/** Reads one stream; its tree is checked when all are read. */
export function* checkStream(log: CheckedLog, device: string): Generator<Damage | undefined> {
  const dir = join(log.dir, 'log', device);
  const at = (name: string): string => `log/${device}/${name}`;
  const names = listing(dir);
  const pattern = /^(\d{20})-(\d{6})\.seg$/;
  for (const name of names) {
    if (pattern.test(name) || FILES.includes(name) || name.endsWith('.tmp')) continue;
    yield { kind: 'unknown-file', where: at(name), versions: [], message: `${at(name)} does not belong to a log.` };
  }
  const deviceFile = fileBytes(join(dir, 'device.json'));
  if (deviceFile === undefined) {
    yield { kind: 'missing', where: at('device.json'), versions: [], message: 'device.json is missing.' };
  }
  const publicKey = deviceFile === undefined ? undefined : yield* checkDevice(log, device, deviceFile);
  const head = yield* checkHead(device, dir, names);
  const segments = names.filter(name => pattern.test(name));
  const state: StreamState = {
    chain: Buffer.alloc(32),
    seq: 1,
    hlc: -1,
    length: 0,
    leaves: new LeafList(),
    unopened: 0
  };
  if (segments.length === 0 && head !== undefined) {
    yield {
      kind: 'missing',
      where: at(head.segment),
      versions: [],
      message: 'All segments of the stream are missing.'
    };
  }
  // What lies beyond the head was written after it was made; there, and only there, a tail may be torn.
  for (const [i, name] of segments.entries()) {
    const vouched =
      head === undefined ? 0 : head.segment === name ? head.length : head.segment > name ? Number.POSITIVE_INFINITY : 0;
    yield* checkSegment(log, device, name, i === segments.length - 1, vouched, deviceFile, state);
  }
  const told = new Set<string>();
  if (head !== undefined && segments.length > 0) {
    for (const damage of againstHead(log, device, head, segments, state)) {
      told.add(damage.kind);
      yield damage;
    }
  }
  log.streams.set(device, {
    device,
    publicKey,
    head,
    names,
    leaves: state.leaves,
    size: state.seq - 1,
    told,
    checkpoint: undefined,
    agrees: false
  });
  log.tick((deviceFile?.length ?? 0) + 1);
}

function* checkDevice(log: CheckedLog, device: string, bytes: Buffer): Generator<Damage, Buffer | undefined> {
  const where = `log/${device}/device.json`;
  try {
    const body = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const key = Buffer.from(String(body['publicKey']), 'base64');
    const digest = sha256(key, Buffer.from(log.workspace, 'hex'));
    let bits = digest.readUIntBE(0, 5);
    let id = '';
    for (let i = 0; i < 8; i++) {
      id = ('abcdefghijklmnopqrstuvwxyz234567'[bits % 32] ?? '') + id;
      bits = Math.floor(bits / 32);
    }
    if (body['device'] !== device || key.length !== 32 || id !== device) throw new Error();
    return key;
  } catch {
    yield { kind: 'config', where, versions: [], message: 'device.json does not belong to this stream.' };
    return undefined;
  }
}

function* checkHead(device: string, dir: string, names: readonly string[]): Generator<Damage, CheckedHead | undefined> {
  const where = `log/${device}/head.json`;
  const bytes = fileBytes(join(dir, 'head.json'));
  if (bytes === undefined) {
    // A stream that is younger than two seconds has none yet; a cleanly closed one always has.
    if (closedCleanly(dir, names)) {
      yield { kind: 'missing', where, versions: [], message: 'head.json is missing.' };
    }
    return undefined;
  }
  try {
    const { segment, length, seq, chain, closed, tree, others, sum } = JSON.parse(bytes.toString()) as Record<
      string,
      unknown
    >;
    const found = sha256(
      Buffer.from(
        JSON.stringify([segment, length, seq, chain, closed, ...[tree, others].filter(value => value !== undefined)])
      )
    ).toString('hex');
    const text = `${JSON.stringify({ segment, length, seq, chain, closed, tree, others, sum: found })}\n`;
    if (sum !== found || text !== bytes.toString() || typeof segment !== 'string' || !whole(length) || !whole(seq)) {
      throw new Error();
    }
    return {
      segment,
      length,
      seq,
      chain: String(chain),
      closed: closed === true,
      tree: whole(tree) ? tree : undefined,
      others: whole(others) ? others : undefined
    };
  } catch {
    yield { kind: 'checksum', where, versions: [], message: 'head.json is damaged.' };
    return undefined;
  }
}

function closedCleanly(dir: string, names: readonly string[]): boolean {
  const segments = names.filter(name => name.endsWith('.seg'));
  if (segments.length > 1) return true;
  const last = segments.at(-1);
  const bytes = last === undefined ? undefined : fileBytes(join(dir, last), Number.POSITIVE_INFINITY);
  if (bytes === undefined || bytes.length < 128 + 96) return false;
  const tail = bytes.subarray(bytes.length - 96);
  return tail.subarray(0, 4).toString('latin1') === 'SYFR' && (tail.readUInt16LE(4) & 8) !== 0;
}

function* againstHead(
  log: CheckedLog,
  device: string,
  head: CheckedHead,
  segments: readonly string[],
  state: StreamState
): Generator<Damage> {
  const where = `log/${device}/${head.segment}`;
  const lost = Array.from(
    { length: Math.min(1000, Math.max(0, head.seq - state.seq + 1)) },
    (_, i) => `${device}.${state.seq + i}`
  );
  const last = segments.at(-1);
  const size = lstatSync(join(log.dir, where), { throwIfNoEntry: false })?.size;
  if (size === undefined) {
    yield { kind: 'missing', where, versions: lost, message: 'The last segment of the stream is missing.' };
  } else if (size < head.length || state.seq - 1 < head.seq) {
    yield {
      kind: 'truncated',
      where: `${where}:${size}`,
      versions: lost,
      message: `The stream ends before what was durable: ${head.length - size} bytes are gone.`
    };
  } else if (
    head.closed &&
    last === head.segment &&
    state.length === head.length &&
    state.chain !== undefined &&
    state.chain.toString('hex') !== head.chain
  ) {
    yield { kind: 'chain', where, versions: [], message: 'The stream is not the one that was closed.' };
  }
}
