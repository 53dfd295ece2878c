/** Writes files under names nobody looks at, and gives them theirs. Synchronous: on threads of its own this is all that is done. */
import { closeSync, constants, fchmodSync, fsyncSync, futimesSync, linkSync, openSync, unlinkSync } from 'node:fs';
import { sep } from 'node:path';
import { utimeSeconds } from '../core/change.ts';
import { fsPath, type PathName } from '../core/path-name.ts';
import { writeFully } from '../storage/durable.ts';

/** One file to be staged. Its content is the next `size` bytes of the job. */
export interface StagedFile {
  /** Its path below the staging directory. */
  readonly name: PathName;
  readonly size: number;
  readonly mode: number;
  /** Microseconds since the epoch. */
  readonly mtime: number | undefined;
}

/** Files to be written. */
export interface StageJob {
  readonly kind: 'stage';
  readonly dir: string;
  /** Sync each: where the whole file system is not synced afterwards. */
  readonly sync: boolean;
  readonly files: readonly StagedFile[];
  /** Contents one behind the other. */
  readonly bytes: Uint8Array;
}

/** Staged files to be given their names, each only where nothing is. */
export interface LinkJob {
  readonly kind: 'link';
  readonly dir: string;
  /** Their paths below the staging directory. */
  readonly names: readonly PathName[];
  /** Absolute, internal form. */
  readonly targets: readonly PathName[];
}

/** Does a job. For each file whether it was done; what was not is left to whoever can say why. */
export function stageFiles(job: StageJob | LinkJob): boolean[] {
  if (job.kind === 'link') return job.names.map((name, i) => give(fsPath(job.dir + sep + name), job.targets[i] ?? ''));
  let offset = 0;
  return job.files.map(file => {
    const bytes = job.bytes.subarray(offset, offset + file.size);
    offset += file.size;
    return write(fsPath(job.dir + sep + file.name), file, bytes, job.sync);
  });
}

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

function write(path: string | Buffer, { mode, mtime }: StagedFile, bytes: Uint8Array, sync: boolean): boolean {
  try {
    const fd = openSync(path, NEW_FILE, 0o600);
    try {
      writeFully(fd, bytes, 0);
      fchmodSync(fd, mode);
      if (mtime !== undefined) futimesSync(fd, utimeSeconds(mtime), utimeSeconds(mtime));
      if (sync) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    return true;
  } catch {
    remove(path);
    return false;
  }
}

function give(staged: string | Buffer, target: PathName): boolean {
  try {
    // link() creates only where nothing is.
    linkSync(staged, fsPath(target));
    return true;
  } catch {
    return false;
  } finally {
    remove(staged);
  }
}

/** What stays of the staging directory goes with it. */
function remove(staged: string | Buffer): void {
  try {
    unlinkSync(staged);
  } catch {
    return;
  }
}
