/** Private directories for control sockets: one is made for each recorder, and those that killed ones left are taken away. */
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';

/** Where a recorder can be reached. */
export interface ControlPlace {
  readonly dir: string;
  readonly socket: string;
  readonly secret: string;
}

/** Made by us or by the Jupyter server extension: the prefix, and what `mkdtemp` adds. */
const NAME = /^syft-sync-[A-Za-z0-9_]{6,8}$/;
/** What is younger may belong to a recorder that does not listen yet. Milliseconds. */
const YOUNG_MS = 60_000;

/** Unix socket paths are short, workspaces may be deep. */
function parents(): string[] {
  const candidates = [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp'];
  const short = candidates.filter(parent => parent !== undefined && parent !== '' && parent.length <= 70);
  return [...new Set(short as string[])];
}

/** Makes a private directory for a socket. Throws DISK_READ_ONLY when there is no place for one. */
export function makeControlPlace(): ControlPlace {
  for (const parent of parents()) {
    try {
      const dir = mkdtempSync(join(parent, 'syft-sync-'));
      return { dir, socket: join(dir, 'control.sock'), secret: randomBytes(32).toString('hex') };
    } catch {
      // Not writable: the next place.
    }
  }
  throw new SyftError(
    'DISK_READ_ONLY',
    'No directory for the control socket can be made; set XDG_RUNTIME_DIR or TMPDIR.'
  );
}

/**
 * Takes away what recorders of this user left that were killed: private directories of our name with nothing in them, or
 * with one socket at which nobody listens. Anything else in such a directory, and it is left alone.
 *
 * @returns The directories removed.
 */
export async function removeStalePlaces(now = Date.now(), places = parents()): Promise<string[]> {
  const removed: string[] = [];
  for (const parent of places) {
    let names: string[];
    try {
      names = readdirSync(parent);
    } catch {
      continue;
    }
    for (const name of names) {
      const dir = join(parent, name);
      if (NAME.test(name) && (await removeStale(dir, now))) removed.push(dir);
    }
  }
  return removed;
}

async function removeStale(dir: string, now: number): Promise<boolean> {
  try {
    const stats = lstatSync(dir);
    if (!stats.isDirectory() || stats.uid !== process.getuid?.() || (stats.mode & 0o077) !== 0) return false;
    if (now - stats.mtimeMs < YOUNG_MS) return false;
    const entries = readdirSync(dir, { withFileTypes: true });
    const [entry] = entries;
    if (entries.length > 1 || entry?.isSocket() === false) return false;
    if (entry !== undefined) {
      const socket = join(dir, entry.name);
      if (!(await refuses(socket))) return false;
      rmSync(socket, { force: true });
    }
    rmdirSync(dir);
    return true;
  } catch {
    // Gone meanwhile, or not ours after all: nothing depends on it.
    return false;
  }
}

/** Whether nobody listens at a socket. One that is stopped or busy is somebody. */
function refuses(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path);
    const timer = setTimeout(() => {
      done(false);
    }, 1000);
    const done = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => {
      done(false);
    });
    socket.once('error', error => {
      done(errnoOf(error) === 'ECONNREFUSED');
    });
  });
}
