/**
 * Two devices, each recording a folder and receiving the other's log, under faults that a seed decides:
 * `node simulation-child.ts SEED DIR`. Everything random comes from the seed (keys and ids too), one thing happens after the
 * other, and faults are counted in system calls, so that a seed is one history and has it again.
 *
 * Prints what happens, a line a step; `digest <hash>` of all lines at the end. Ends with an error when a promise is broken.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join, resolve } from 'node:path';
import type { Change } from '../../../server/src/core/change.ts';

const [seedText = '1', base = ''] = process.argv.slice(2);
const STEPS = 60;
const ROUNDS = 30;

/** Mulberry32. */
let state = Number(seedText) >>> 0;
function random(below: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
}
const one = <T>(items: readonly T[]): T => items[random(items.length)] as T;

let nonce = 0;
const seeded = (size: number): Buffer =>
  crypto
    .createHash('sha512')
    .update(`${seedText} ${(nonce += 1)}`)
    .digest()
    .subarray(0, size);
(crypto as { randomBytes: unknown }).randomBytes = seeded;

/** What becomes of one device's disk. */
class Disk {
  readonly root: string;
  /** A fault comes at the call that brings this to zero. */
  countdown = 0;
  fault: Fault = 'EIO';
  /** Its process is gone: what it still tries reaches nothing. */
  dead = false;

  constructor(root: string) {
    this.root = root;
  }
}
type Fault = 'EIO' | 'ENOSPC' | 'crash' | 'torn';

const disks = ['ana', 'ben'].map(name => new Disk(join(resolve(base), name)));
const real = { ...fs };
const opened = new Map<number, Disk>();
const diskOf = (path: unknown): Disk | undefined =>
  typeof path === 'string' ? disks.find(disk => path === disk.root || path.startsWith(`${disk.root}/`)) : undefined;

const broken = (code: string): NodeJS.ErrnoException => Object.assign(new Error(`${code}: simulated`), { code });

/** Passes a call on, or throws what becomes of it. `half`: does the first half of a write. */
function guard(disk: Disk | undefined, half?: () => void): void {
  if (disk === undefined) return;
  if (disk.dead) throw broken('EIO');
  if (disk.countdown === 0) return;
  disk.countdown -= 1;
  if (disk.countdown > 0) return;
  if (disk.fault === 'torn') half?.();
  if (disk.fault === 'crash' || disk.fault === 'torn') disk.dead = true;
  throw broken(disk.fault === 'ENOSPC' ? 'ENOSPC' : 'EIO');
}

const patched = fs as unknown as Record<string, unknown>;
for (const name of ['mkdirSync', 'renameSync', 'rmSync', 'writeFileSync', 'linkSync'] as const) {
  const call = real[name] as (...args: unknown[]) => unknown;
  patched[name] = (...args: unknown[]): unknown => {
    guard(diskOf(args[0]));
    return call(...args);
  };
}
fs.openSync = ((path: string, flags?: string | number, mode?: number): number => {
  const reads = flags === undefined || flags === 'r' || (typeof flags === 'number' && (flags & 3) === 0);
  if (!reads) guard(diskOf(path));
  const fd = real.openSync(path, flags as string, mode);
  const disk = diskOf(path);
  if (disk === undefined) opened.delete(fd);
  else opened.set(fd, disk);
  return fd;
}) as typeof fs.openSync;
for (const name of ['ftruncateSync', 'fsyncSync'] as const) {
  const call = real[name] as (...args: unknown[]) => unknown;
  patched[name] = (...args: unknown[]): unknown => {
    guard(opened.get(args[0] as number));
    return call(...args);
  };
}
fs.writeSync = ((fd: number, bytes: Buffer, offset: number, length: number, position: number): number => {
  guard(opened.get(fd), () => real.writeSync(fd, bytes, offset, length >> 1, position));
  return real.writeSync(fd, bytes, offset, length, position);
}) as typeof fs.writeSync;
type Done = (error: Error | null, n?: number) => void;
fs.write = ((fd: number, bytes: Buffer, offset: number, length: number, position: number, done: Done): void => {
  try {
    guard(opened.get(fd), () => real.writeSync(fd, bytes, offset, length >> 1, position));
  } catch (error) {
    done(error as Error);
    return;
  }
  real.write(fd, bytes, offset, length, position, done);
}) as typeof fs.write;
Object.assign(fs.write, { [Symbol.for('nodejs.util.promisify.custom')]: undefined });
fs.fdatasync = ((fd: number, done: Done): void => {
  try {
    guard(opened.get(fd));
  } catch (error) {
    done(error as Error);
    return;
  }
  real.fdatasync(fd, done);
}) as typeof fs.fdatasync;
const later = promises as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
for (const name of ['rename', 'link', 'mkdir', 'rm', 'rmdir', 'unlink', 'writeFile', 'appendFile', 'symlink', 'open']) {
  const call = later[name] as (...args: unknown[]) => Promise<unknown>;
  later[name] = async (...args: unknown[]): Promise<unknown> => {
    const at = name === 'link' || name === 'symlink' ? args[1] : args[0];
    const reads = name === 'open' && (args[1] === undefined || args[1] === 'r' || (Number(args[1]) & 3) === 0);
    if (!reads) guard(diskOf(at));
    return call(...args);
  };
}
syncBuiltinESMExports();

const { Workspace } = await import('../../../server/src/library/workspace.ts');
const { SyftLogReceiver } = await import('../../../server/src/sync/receiver.ts');
const { fsckLog } = await import('../../../server/src/log/fsck.ts');
const { openLogReader } = await import('../../../server/src/log/log.ts');
const { seen } = await import('./worlds.ts');
type OpenWorkspace = Awaited<ReturnType<typeof Workspace.open>>;

const lines: string[] = [];
const say = (line: string): void => {
  lines.push(line);
  real.writeSync(1, `${line}\n`);
};
function insist(holds: boolean, promise: string): asserts holds {
  if (!holds) throw new Error(`seed ${seedText}: ${promise}`);
}
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

class Device {
  readonly name: string;
  readonly disk: Disk;
  readonly home: string;
  workspace!: OpenWorkspace;
  /** What it has said is recorded, by sequence number. */
  readonly acknowledged = new Map<number, string>();

  constructor(name: string, disk: Disk) {
    this.name = name;
    this.disk = disk;
    this.home = join(resolve(base), `${name}-home`);
    real.mkdirSync(disk.root, { recursive: true });
    real.mkdirSync(this.home);
    // RFC 8410: the prefix and 32 bytes are a private key.
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seeded(32)]);
    const key = crypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    real.writeFileSync(join(this.home, 'device-key.pem'), key.export({ type: 'pkcs8', format: 'pem' }));
  }

  get logDir(): string {
    return join(this.disk.root, '.syft-sync');
  }

  async open(): Promise<void> {
    for (;;) {
      process.env['SYFT_SYNC_HOME'] = this.home;
      try {
        this.workspace = await Workspace.open({ root: this.disk.root, hints: 'none' });
        break;
      } catch (error) {
        say(`${this.name} cannot open: ${codeOf(error)}`);
        this.#bury();
      }
    }
    this.workspace.on('change', change => {
      // The dead say nothing.
      if (this.disk.dead) return;
      this.acknowledged.set(change.seq, describe(change));
    });
  }

  /** The locks of a dead process count for nothing; in a simulation it is this very process that lives on. */
  #bury(): void {
    this.disk.dead = false;
    real.rmSync(join(this.logDir, 'locks'), { recursive: true, force: true });
    const receive = join(this.logDir, 'receive');
    for (const name of real.existsSync(receive) ? real.readdirSync(receive) : []) {
      real.rmSync(join(receive, name, 'lock'), { force: true });
    }
  }

  async restart(crash: boolean): Promise<void> {
    if (crash) this.disk.dead = true;
    await this.workspace.close().catch((error: unknown) => say(`${this.name} ends with ${codeOf(error)}`));
    this.#bury();
    await this.open();
    // A recorder that starts looks at everything.
    await this.record();
  }

  /** Something this device does; what goes wrong is part of the story, and after a crash it starts again. */
  async does(what: string, work: () => Promise<string>): Promise<void> {
    let outcome: string;
    try {
      outcome = await work();
    } catch (error) {
      outcome = `fails with ${codeOf(error)}`;
    }
    say(`${this.name} ${what}: ${outcome}${this.disk.dead ? ', dies' : ''}`);
    if (this.disk.dead) await this.restart(true);
  }

  record(): Promise<void> {
    return this.does('records', async () => {
      await this.workspace.flush();
      return `${this.acknowledged.size} known`;
    });
  }

  receive(other: Device): Promise<void> {
    return this.does('receives', async () => {
      const receiver = new SyftLogReceiver({
        logPath: other.logDir,
        outputPath: this.disk.root,
        recordWaitMs: 50
      });
      const problems: string[] = [];
      receiver.on('problem', problem => problems.push(problem.code));
      try {
        const report = await receiver.runOnce({ force: true });
        // A recorder that watches sees at once what has arrived.
        await this.workspace.flush();
        return `${report.applied} applied, ${report.conflicts} conflicts, ${[...new Set(problems)].join() || 'no'} problems`;
      } finally {
        await receiver.stop().catch(() => undefined);
      }
    });
  }

  /** What it promised. */
  async keepsItsWord(): Promise<void> {
    for await (const damage of fsckLog(this.logDir, { readData: true })) {
      insist(false, `${this.name}: ${damage.message}`);
    }
    const reader = await openLogReader({ dir: this.logDir });
    const found = new Map<number, Change>();
    for await (const change of reader.changes()) found.set(change.seq, change);
    for (const [seq, what] of this.acknowledged) {
      const change = found.get(seq);
      insist(change !== undefined && describe(change) === what, `${this.name} forgot ${seq}: ${what}`);
      if (change.content === undefined) continue;
      const hash = crypto
        .createHash('sha256')
        .update(await reader.contentBytes(change))
        .digest('hex');
      insist(hash === change.hash, `${this.name} altered ${seq}: ${what}`);
    }
    await reader.close();
  }
}

const describe = (change: Change): string =>
  `${change.kind} ${change.from ?? ''} ${change.path} ${change.hash?.slice(0, 12) ?? ''}`;

const PATHS = ['a', 'b', 'c', 'd/a', 'd/b', 'd/e/c'];

/** A user's edit; what it runs into is theirs to see. */
function edit(device: Device, n: number): void {
  const path = join(device.disk.root, one(PATHS));
  const to = join(device.disk.root, one(PATHS));
  // No content comes twice: what a user puts back before the recorder saw it gone is no change to anyone.
  const text = one([`edit ${n}`, `edit ${n} `.repeat(3000)]);
  const what = one(['write', 'write', 'write', 'remove', 'move'] as const);
  try {
    if (what === 'write') {
      real.mkdirSync(join(path, '..'), { recursive: true });
      real.writeFileSync(path, text);
    } else if (what === 'remove') real.rmSync(path, { recursive: true });
    else real.renameSync(path, to);
    say(`${device.name} user ${what}: ${path.slice(device.disk.root.length + 1)}`);
  } catch (error) {
    if (!/ENOENT|ENOTDIR|EISDIR|ENOTEMPTY|EEXIST|EINVAL/.test(codeOf(error))) throw error;
    say(`${device.name} user ${what}: ${codeOf(error)}`);
  }
}

const devices = [new Device('ana', disks[0] as Disk), new Device('ben', disks[1] as Disk)] as const;
for (const device of devices) await device.open();
for (let n = 0; n < STEPS; n += 1) {
  const i = random(2);
  const [device, other] = i === 0 ? devices : [devices[1], devices[0]];
  const what = random(12);
  if (what < 5) edit(device, n);
  else if (what < 8) await device.record();
  else if (what < 10) await device.receive(other);
  else if (what < 11) {
    device.disk.fault = one<Fault>(['EIO', 'ENOSPC', 'crash', 'torn']);
    device.disk.countdown = 1 + random(25);
    say(`${device.name} fault: ${device.disk.fault} in ${device.disk.countdown} calls`);
  } else {
    const crash = random(2) === 0;
    say(`${device.name} ${crash ? 'crashes' : 'restarts'}`);
    await device.restart(crash);
  }
}

// The faults are over: both come to rest, with the same.
for (const { disk } of devices) disk.countdown = 0;
for (let round = 0, last = ''; ; round += 1) {
  insist(round < ROUNDS, 'the two do not come to rest');
  for (const [device, other] of [devices, [devices[1], devices[0]] as const]) {
    await device.record();
    await device.receive(other);
  }
  const folders = await Promise.all(devices.map(device => seen(device.disk.root)));
  const now = JSON.stringify([folders, devices.map(device => device.acknowledged.size)]);
  if (now === last) {
    insist(JSON.stringify(folders[0]) === JSON.stringify(folders[1]), `the two are not the same: ${now.slice(0, 500)}`);
    break;
  }
  last = now;
}
for (const device of devices) {
  await device.workspace.close();
  await device.keepsItsWord();
  for (const [seq, what] of device.acknowledged) say(`${device.name}.${seq} ${what}`);
}
say(`digest ${crypto.createHash('sha256').update(lines.join('\n')).digest('hex')}`);
process.exit(0);
