/**
 * The writer's lock. Node has no flock, so it is files in `<log>/locks/`: each process first announces itself (`want.*`), then
 * looks who else is there. Of two that look, at least one sees the other, and only who sees nobody becomes the holder
 * (`held.*`). What a dead process left behind is recognised by pid, start time and boot id, and cleared away.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { makePrivateDirectory } from '../storage/durable.ts';
import { readText } from '../storage/read-text.ts';

/** Who holds a lock. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  readonly command: string;
  /** ISO 8601. */
  readonly since: string;
  /** Control socket and its secret, when the holder can be asked. */
  readonly socket?: string;
  readonly secret?: string;
}

interface LockFile extends LockHolder {
  readonly boot: string;
  readonly started: string;
}

const HEARTBEAT_MS = 10_000;
const STALE_MS = 60_000;

function bootId(): string {
  try {
    return readText('/proc/sys/kernel/random/boot_id').trim();
  } catch {
    return '';
  }
}

/** When a process began, as the kernel counts; tells a pid from the same number used again. `''` where unknown. */
function startTime(pid: number): string {
  try {
    const stat = readText(`/proc/${pid}/stat`);
    // The name in parentheses may hold anything; the fields after its last parenthesis are numbers.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function isAlive(lock: LockFile, path: string): boolean {
  if (lock.host !== hostname()) {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats !== undefined && Date.now() - stats.mtimeMs < STALE_MS;
  }
  if (lock.boot !== bootId()) return false;
  try {
    process.kill(lock.pid, 0);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return false;
  }
  const started = startTime(lock.pid);
  return lock.started === '' || started === '' || lock.started === started;
}

interface Present {
  readonly name: string;
  readonly lock: LockFile;
}

/** Everyone alive in the lock directory; what the dead left is removed. */
function present(dir: string, except?: string): Present[] {
  const found: Present[] = [];
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  }
  for (const name of names) {
    const path = join(dir, name);
    if (
      name.startsWith('draft.') &&
      Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > STALE_MS
    ) {
      rmSync(path, { force: true });
    }
    if (!/^(want|held)\.[0-9a-f]{16}$/.test(name) || name.slice(5) === except) continue;
    let lock: LockFile;
    try {
      lock = JSON.parse(readText(path)) as LockFile;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') {
        // Renamed or gone since it was listed: look again, for it may be the holder now.
        return present(dir, except);
      }
      rmSync(path, { force: true });
      continue;
    }
    if (isAlive(lock, path)) found.push({ name, lock });
    else rmSync(path, { force: true });
  }
  return found;
}

/** The live holder of a log's lock, or `undefined`. Reads only what this user may read. */
export function readLockHolder(logDir: string): Promise<LockHolder | undefined> {
  const holder = present(join(logDir, 'locks')).find(({ name }) => name.startsWith('held.'));
  return Promise.resolve(holder?.lock);
}

/** A lock file that stays would keep everyone out for as long as this process lives. */
function removeForSure(path: string): void {
  for (let tries = 1; ; tries += 1) {
    try {
      rmSync(path, { force: true });
      return;
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}

/** A held lock; `release` gives it back. */
export class WriterLock {
  readonly #path: string;
  readonly #heartbeat: NodeJS.Timeout;

  private constructor(path: string) {
    this.#path = path;
    this.#heartbeat = setInterval(() => {
      try {
        const now = new Date();
        utimesSync(path, now, now);
      } catch {
        // Gone with its directory: nothing is left to guard.
      }
    }, HEARTBEAT_MS).unref();
  }

  /**
   * Takes the lock or throws LOG_LOCKED naming the holder.
   */
  static async acquire(
    logDir: string,
    who: { command: string; socket?: string; secret?: string }
  ): Promise<WriterLock> {
    const dir = join(logDir, 'locks');
    makePrivateDirectory(dir);
    const body: LockFile = {
      pid: process.pid,
      host: hostname(),
      command: who.command,
      since: new Date().toISOString(),
      ...(who.socket !== undefined && { socket: who.socket }),
      ...(who.secret !== undefined && { secret: who.secret }),
      boot: bootId(),
      started: startTime(process.pid)
    };
    for (;;) {
      const nonce = randomBytes(8).toString('hex');
      const want = join(dir, `want.${nonce}`);
      // Written aside first: nobody must find a lock file that is not whole, and take its owner for dead.
      const draft = join(dir, `draft.${nonce}`);
      try {
        writeFileSync(draft, JSON.stringify(body), { mode: 0o600, flag: 'wx' });
        renameSync(draft, want);
        if (await WriterLock.#wait(logDir, dir, nonce)) {
          const held = join(dir, `held.${nonce}`);
          renameSync(want, held);
          return new WriterLock(held);
        }
      } catch (error) {
        // This process lives on: what it leaves here would keep everybody out, itself included.
        for (const path of [draft, want]) removeForSure(path);
        throw error;
      }
      removeForSure(want);
      await new Promise(resolve => setTimeout(resolve, 5 + Math.random() * 20));
    }
  }

  /** True when nobody else is there; false when another who wants it goes first. Throws LOG_LOCKED. */
  static async #wait(logDir: string, dir: string, nonce: string): Promise<boolean> {
    for (;;) {
      const others = present(dir, nonce);
      const holder = others.find(({ name }) => name.startsWith('held.'));
      if (holder !== undefined) {
        const { pid, command, host } = holder.lock;
        const where = host === hostname() ? '' : ` on ${host}`;
        throw new SyftError(
          'LOG_LOCKED',
          `The log is in use by process ${pid} (${command})${where}; one recorder a log. Stop it first.`,
          { path: logDir }
        );
      }
      if (others.length === 0) return true;
      if (others.some(({ name }) => name.slice(5) < nonce)) return false;
      await new Promise(resolve => setTimeout(resolve, 5 + Math.random() * 20));
    }
  }

  release(): void {
    clearInterval(this.#heartbeat);
    removeForSure(this.#path);
  }
}
