/**
 * Writes a log while one system call after the other is counted, and does to one of them what the test asks:
 * `node fault-child.ts LOG KEYS MODE K [SCENARIO]`. Prints `calls N` at the end, and for each acknowledged change its number and hash.
 *
 * SCENARIO: `write` (the default) writes two sessions, `encrypted` does so to a log with the passphrase `fault`; `prune` and `erase`
 * drop contents from a log that holds some, and append; `compact` packs what two segments hold, and appends; `tiles` goes on with a log that has a file for each tile. With
 * SYFT_FAULT_TRANSCRIPT, a file, all that is given to the disk to be appended is noted there, each piece behind its length.
 *
 * MODE: `kill` dies before call K, `tear` in the middle of the Kth that writes, `fail` makes call K report EIO, after half of it when
 * it writes; `count` does nothing.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import type { Change, ContentRef } from '../../../server/src/core/change.ts';
import type { LogKeys } from '../../../server/src/crypto/log-keys.ts';
import type { LogWriter } from '../../../server/src/log/types.ts';

const [dir = '', keyDir = '', mode = 'count', k = '0', scenario = 'write'] = process.argv.slice(2);
const real = { ...fs };
let calls = 0;
let writes = 0;
let armed = scenario === 'write' || scenario === 'encrypted';
const { SYFT_FAULT_TRANSCRIPT } = process.env;
const transcript = SYFT_FAULT_TRANSCRIPT === undefined ? undefined : real.openSync(SYFT_FAULT_TRANSCRIPT, 'w', 0o600);

function note(bytes: Uint8Array): void {
  if (transcript === undefined) return;
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  real.writeSync(transcript, Buffer.concat([length, bytes]));
}

const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing may happen meanwhile.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
};

/** What becomes of the call that comes now. */
function fate(path: unknown, bytes = false): 'pass' | 'kill' | 'tear' | 'fail' {
  if (!armed || (typeof path === 'string' && !path.startsWith(dir))) return 'pass';
  calls += 1;
  if (bytes) writes += 1;
  if (mode === 'tear') return bytes && writes === Number(k) ? 'tear' : 'pass';
  return mode !== 'count' && calls === Number(k) ? (mode as 'kill' | 'fail') : 'pass';
}

const eio = (): NodeJS.ErrnoException => Object.assign(new Error('EIO: i/o error'), { code: 'EIO', errno: -5 });

const plain = ['mkdirSync', 'renameSync', 'rmSync', 'openSync', 'ftruncateSync', 'fsyncSync', 'writeFileSync'] as const;
for (const name of plain) {
  const call = real[name] as (...args: unknown[]) => unknown;
  (fs as unknown as Record<string, unknown>)[name] = (...args: unknown[]): unknown => {
    // Opening to read changes nothing.
    if (name === 'openSync' && args[1] === 'r') return call(...args);
    const what = fate(args[0], name === 'writeFileSync');
    if (what === 'kill') die();
    if (what === 'fail') throw eio();
    if (what === 'tear' && name === 'writeFileSync') {
      call(args[0], String(args[1]).slice(0, String(args[1]).length / 2), args[2]);
      die();
    }
    return call(...args);
  };
}

fs.writeSync = ((fd: number, bytes: Buffer, offset: number, length: number, position: number): number => {
  const what = fate(undefined, true);
  if (what === 'kill') die();
  if (what === 'pass') return real.writeSync(fd, bytes, offset, length, position);
  real.writeSync(fd, bytes, offset, length >> 1, position);
  if (what === 'tear') die();
  throw eio();
}) as typeof fs.writeSync;

type Done = (error: Error | null, n?: number) => void;
fs.write = ((fd: number, bytes: Buffer, offset: number, length: number, position: number, done: Done): void => {
  note(bytes.subarray(offset, offset + length));
  const what = fate(undefined, true);
  if (what === 'kill') die();
  if (what === 'pass') {
    real.write(fd, bytes, offset, length, position, done);
    return;
  }
  real.writeSync(fd, bytes, offset, length >> 1, position);
  if (what === 'tear') die();
  done(eio());
}) as typeof fs.write;
fs.writev = ((fd: number, parts: readonly Buffer[], position: number, done: Done): void => {
  note(Buffer.concat(parts));
  const what = fate(undefined, true);
  if (what === 'kill') die();
  if (what === 'pass') {
    real.writev(fd, parts, position, done);
    return;
  }
  const bytes = Buffer.concat(parts);
  real.writeSync(fd, bytes, 0, bytes.length >> 1, position);
  if (what === 'tear') die();
  done(eio());
}) as typeof fs.writev;
for (const call of [fs.write, fs.writev]) {
  Object.assign(call, { [Symbol.for('nodejs.util.promisify.custom')]: undefined });
}

for (const name of ['fdatasync', 'fsync'] as const) {
  fs[name] = ((fd: number, done: Done): void => {
    const what = fate(undefined);
    if (what === 'kill') die();
    if (what === 'fail') {
      done(eio());
      return;
    }
    real[name](fd, done);
  }) as typeof fs.fsync;
}
syncBuiltinESMExports();

const { openLogWriter } = await import('../../../server/src/log/log.ts');
const { version } = await import('./scratch.ts');
const say = (line: string): void => void real.writeSync(1, `${line}\n`);

/** A user tries again, and so does the recorder. */
async function twice<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    say(`refused ${(error as { code?: string }).code ?? String(error)}`);
    return work();
  }
}

const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const passphrase = 'fault';

/** The keys of the log; makes it when it is not there. */
async function keysOf(): Promise<LogKeys | undefined> {
  if (scenario !== 'encrypted') return undefined;
  const { createEncryptedLog, isEncryptedLog, unlockLog } = await import('../../../server/src/log/encryption.ts');
  if (isEncryptedLog(dir)) return unlockLog(dir, { passphrase });
  return createEncryptedLog(dir, { passphrase, recipients: [], cost: { memory: 8192, passes: 1, lanes: 1 } });
}

async function write(): Promise<void> {
  for (let session = 0; session < 2; session += 1) {
    const log = await twice(async () => openLogWriter({ dir, keyDir, keys: await keysOf() }));
    for (let i = session; i < 2; i += 1) {
      const bytes = Buffer.from(`${session} ${i} `.repeat(400 + i * 90_000));
      const changes = await twice(() =>
        log.append([version(log, `file-${session}-${i}`, bytes), version(log, `again-${session}-${i}`, bytes)])
      );
      const hash = hashOf(bytes);
      for (const change of changes) say(`acknowledged ${change.seq} ${change.path} ${hash}`);
    }
    // Several at once: the second frame is prepared while the first is being written, and leans on what that holds.
    const large = (seed: string): Buffer =>
      createHash('shake256', { outputLength: 1_100_000 }).update(`${session}${seed}`).digest();
    const [one, two] = [large('one'), large('two')];
    await Promise.all(
      [one, two, one].map(async (bytes, n) => {
        const changes = await twice(() => log.append([version(log, `burst-${session}-${n}`, bytes)]));
        const hash = hashOf(bytes);
        for (const change of changes) say(`acknowledged ${change.seq} ${change.path} ${hash}`);
      })
    );
    await log.close().catch((error: unknown) => say(`refused ${(error as { code?: string }).code ?? String(error)}`));
  }
}

/**
 * Three versions of a file; a policy leaves the last of them, or the second is erased, and the log goes on, in one session.
 */
async function drop(what: 'prune' | 'erase'): Promise<void> {
  const { eraseContent } = await import('../../../server/src/log/erase.ts');
  const { pruneLog } = await import('../../../server/src/log/prune.ts');
  const { parsePolicy } = await import('../../../server/src/core/retention-policy.ts');
  const log = await openLogWriter({ dir, keyDir });
  const formers = new Map<string, ContentRef>();
  const acknowledge = async (path: string, bytes: Buffer): Promise<void> => {
    const former = formers.get(path);
    const changes = await twice(() => log.append([{ ...version(log, path, bytes), ...(former && { former }) }]));
    if (changes[0]?.content !== undefined) formers.set(path, changes[0].content);
    for (const change of changes) say(`acknowledged ${change.seq} ${change.path} ${hashOf(bytes)}`);
  };
  // Alike in most, so that each is stored as a delta on the one before.
  const like = createHash('shake256', { outputLength: 30_000 }).update('like').digest();
  const bytes = (name: string): Buffer => Buffer.concat([Buffer.from(name), like]);
  for (const name of ['one', 'two', 'three']) {
    await acknowledge('a', bytes(name));
    await acknowledge(`keeps-${name}`, bytes(`${name} of another`));
  }
  armed = true;
  const policy = parsePolicy({ keepAll: '0h' }, 'test');
  if (what === 'prune') await twice(() => pruneLog(log, policy, { now: Date.now() * 1000 }));
  else await twice(() => eraseContent(log, { hash: hashOf(bytes('two')), shared: 'keep' }));
  await acknowledge('after', bytes('one'));
  await log.close().catch((error: unknown) => say(`refused ${(error as { code?: string }).code ?? String(error)}`));
}

/** Versions on one another in two segments, which are compacted while a third is begun; the log goes on, in the same session. */
async function compact(): Promise<void> {
  const { compactLog } = await import('../../../server/src/log/compact.ts');
  const { save } = await import('./scratch.ts');
  const log = await openLogWriter({ dir, keyDir });
  const latest = new Map<string, Change>();
  const acknowledge = async (path: string, i: number): Promise<void> => {
    const like = createHash('shake256', { outputLength: 20_000 }).update(path).digest();
    const bytes = Buffer.concat([Buffer.from(`${i} `), like, Buffer.from(` ${i}`)]);
    const change = await twice(() => save(log, path, bytes, latest.get(path)));
    latest.set(path, change);
    say(`acknowledged ${change.seq} ${change.path} ${hashOf(bytes)}`);
  };
  for (let i = 0; i < 3; i += 1) {
    for (const path of ['a', 'b']) await acknowledge(path, i);
    if (i > 0) continue;
    await log.exclusively(async inside => {
      await inside.seal();
      await inside.begin();
    });
  }
  armed = true;
  await twice(() => compactLog(log, { all: true }));
  await acknowledge('a', 3);
  await log.close().catch((error: unknown) => say(`refused ${(error as { code?: string }).code ?? String(error)}`));
}

/** Two sessions on an older log: its tiles go into few files, and the tree grows on in those. */
async function tiles(): Promise<void> {
  const { splitTiles } = await import('./single-tiles.ts');
  const acknowledge = async (log: LogWriter, prefix: string, count: number): Promise<void> => {
    const bytes = Buffer.from(prefix);
    const batch = Array.from({ length: count }, (_, i) => version(log, `${prefix}-${i}`, bytes));
    for (const change of await twice(() => log.append(batch))) {
      say(`acknowledged ${change.seq} ${change.path} ${hashOf(bytes)}`);
    }
  };
  const older = await openLogWriter({ dir, keyDir });
  await acknowledge(older, 'older', 300);
  await older.close();
  splitTiles(join(dir, 'log', older.device));
  armed = true;
  for (const [name, count] of [
    ['one', 1],
    ['many', 300]
  ] as const) {
    const log = await twice(() => openLogWriter({ dir, keyDir }));
    await acknowledge(log, name, count);
    await log.close().catch((error: unknown) => say(`refused ${(error as { code?: string }).code ?? String(error)}`));
  }
}

const scenarios: Record<string, () => Promise<void>> = {
  write,
  encrypted: write,
  prune: () => drop('prune'),
  erase: () => drop('erase'),
  compact,
  tiles
};
await scenarios[scenario]?.();
armed = false;
say(`calls ${calls} ${writes}`);
