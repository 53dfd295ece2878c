/**
 * Puts many files where nothing stands, a batch at a time: stage, one sync for all, give them their names, and with the next sync
 * the names are durable too. In no moment, and after no crash, is there anything under a file's name but all of its content.
 * A directory that is not there yet is staged with its files and gets its name as a whole.
 *
 * Only the plain case is handled: files of moderate size, below directories that are none of them links, with nothing in their
 * way. All else is handed back untouched, for `restoreVersion`, which judges it and says what is wrong.
 */
import { lstatSync, mkdirSync, renameSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import { baseName, fsPath, parentOf, type PathName } from '../core/path-name.ts';
import type { LogReader } from '../log/types.ts';
import { syncDirectory } from '../storage/durable.ts';
import { syncFileSystem, syncsFileSystems } from '../storage/sync-file-system.ts';
import { StagePool } from './stage-pool.ts';

/** Larger files are written one by one. */
const MOST_BYTES = 1024 * 1024;
/** A batch: what one sync makes durable. */
const BATCH_FILES = 16_384;
const BATCH_BYTES = 64 * 1024 * 1024;
/** What a thread is given at a time. */
const JOB_FILES = 256;
const JOB_BYTES = 1024 * 1024;
/** Files from which on threads are started. */
const THREADS_FROM = 1000;
/** After so much the disk is set to work on what is staged so far, so that the sync of the batch finds little left. */
const WRITTEN_FILES = 3072;
const WRITTEN_BYTES = 16 * 1024 * 1024;
/** Files up to which syncing each is less than syncing what others have written, too. */
const SYNCED_EACH = 64;

export interface NewFilesOptions {
  /** Where the files go; it exists. */
  readonly root: string;
  readonly log: Pick<LogReader, 'contentBytes'>;
  /** Private, empty, on the same file system as `root`. */
  readonly stagingDir: string;
  /** Nothing is restored into it. */
  readonly logDir: string;
  readonly signal: AbortSignal;
}

/** Some of the versions, each with whether it was put in place. What was is durable. */
export interface Placed {
  readonly done: readonly Change[];
  readonly left: readonly Change[];
}

/** Files for one directory, staged in one of their own. */
interface Group {
  /** Where they go. */
  readonly parent: PathName;
  /** Name of the directory below the staging directory. */
  readonly name: string;
  readonly versions: Change[];
}

interface Batch {
  readonly groups: readonly Group[];
  readonly left: readonly Change[];
  /** Where the next batch begins. */
  readonly next: number;
}

/**
 * @param versions In the order in which they should be read from the log.
 * @throws SyftError CANCELLED, DISK_ERROR; then no more files come, and those that are there are whole.
 */
export async function* placeNewFiles(versions: readonly Change[], options: NewFilesOptions): AsyncGenerator<Placed> {
  const pool = new StagePool(versions.length < THREADS_FROM ? 0 : undefined);
  const files = new NewFiles(options, pool, await realpath(options.root), await realpath(options.logDir));
  let whole = versions.length > SYNCED_EACH && syncsFileSystems();
  let staging = files.stage(versions, 0, !whole);
  try {
    let named: readonly Change[] = [];
    for (let first = true; ; first = false) {
      const { groups, left, next } = await staging;
      files.throwIfStopped();
      if (groups.length === 0 && named.length === 0) {
        yield { done: [], left };
        if (next >= versions.length) return;
        staging = files.stage(versions, next, !whole);
        continue;
      }
      const synced = whole;
      if (whole) {
        try {
          await files.syncStaged();
        } catch (error) {
          // Where it did once it is the disk that fails; else it may be that nothing here can do it, and each is synced.
          if (!first) throw error;
          whole = false;
        }
      }
      // While this batch gets its names the next one is written.
      staging = files.stage(versions, next, !whole);
      staging.catch(() => undefined);
      // This sync was that of the names of the batch before.
      yield { done: named, left };
      named = [];
      files.throwIfStopped();
      if (synced && !whole) {
        yield { done: [], left: groups.flatMap(group => group.versions) };
        continue;
      }
      const placed = await files.name(groups, !whole);
      named = placed.done;
      if (placed.left.length > 0) yield { done: [], left: placed.left };
      if (whole) continue;
      yield { done: named, left: [] };
      named = [];
    }
  } finally {
    files.stop();
    await staging.catch(() => undefined);
    await pool.close();
  }
}

class NewFiles {
  readonly #options: NewFilesOptions;
  readonly #pool: StagePool;
  readonly #root: string;
  readonly #logDir: string;
  #groups = 0;
  #stopped = false;
  /** Syncs that were begun before a batch was complete. */
  readonly #writing: Promise<void>[] = [];
  #isWriting = false;

  constructor(options: NewFilesOptions, pool: StagePool, root: string, logDir: string) {
    this.#options = options;
    this.#pool = pool;
    this.#root = root;
    this.#logDir = logDir;
  }

  stop(): void {
    this.#stopped = true;
  }

  /**
   * Makes what is staged durable, and the names that were given.
   *
   * @throws SyftError DISK_ERROR, also when what was staged before could not be written.
   */
  async syncStaged(): Promise<void> {
    const writing = this.#writing.splice(0);
    await syncFileSystem(this.#options.stagingDir);
    // An error is told to one sync only, and this may have been an earlier one.
    await Promise.all(writing);
  }

  /** Lets the disk begin with what is staged so far, unless it is at it. */
  #beginWriting(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    const writing = syncFileSystem(this.#options.stagingDir).finally(() => {
      this.#isWriting = false;
    });
    writing.catch(() => undefined);
    this.#writing.push(writing);
  }

  throwIfStopped(): void {
    if (!this.#stopped && !this.#options.signal.aborted) return;
    throw new SyftError('CANCELLED', 'Stopped; what is not restored yet was left as it was.');
  }

  /**
   * Writes the next batch of `versions`, from the one at `from` on.
   *
   * @param sync Sync each file.
   */
  async stage(versions: readonly Change[], from: number, sync: boolean): Promise<Batch> {
    const groups = new Map<PathName, Group>();
    const left: Change[] = [];
    const running = new Set<Promise<void>>();
    const absent = new Map<PathName, boolean>();
    let bytes = 0;
    let job: { version: Change; group: Group; content: Uint8Array }[] = [];
    let jobBytes = 0;
    let unwritten = 0;
    let unwrittenBytes = 0;
    const send = async (): Promise<void> => {
      const sent = job;
      const all = new Uint8Array(jobBytes);
      let at = 0;
      const files = sent.map(({ version, group, content }) => {
        all.set(content, at);
        at += content.length;
        const name = `${group.name}/${baseName(version.path)}`;
        return { name, size: content.length, mode: version.mode ?? 0o644, mtime: version.mtime };
      });
      unwritten += job.length;
      unwrittenBytes += jobBytes;
      job = [];
      jobBytes = 0;
      const { done } = await this.#pool.run({ kind: 'stage', dir: this.#options.stagingDir, sync, files, bytes: all });
      const staged = done.then(results => {
        sent.forEach(({ version, group }, i) => (results[i] === true ? group.versions : left).push(version));
        running.delete(staged);
      });
      running.add(staged);
      if (sync || (unwritten < WRITTEN_FILES && unwrittenBytes < WRITTEN_BYTES)) return;
      unwritten = 0;
      unwrittenBytes = 0;
      this.#beginWriting();
    };
    let next = from;
    try {
      for (; next < versions.length && next - from < BATCH_FILES && bytes < BATCH_BYTES; next += 1) {
        this.throwIfStopped();
        const version = versions[next] as Change;
        const content = this.#isPlain(version, absent) ? await this.#content(version) : undefined;
        if (content === undefined) {
          left.push(version);
          continue;
        }
        job.push({ version, group: this.#groupOf(version, groups), content });
        bytes += content.length;
        jobBytes += content.length;
        if (job.length >= JOB_FILES || jobBytes >= JOB_BYTES) await send();
      }
      if (job.length > 0) await send();
    } finally {
      await Promise.all(running);
    }
    // A directory gets its name before those below it.
    const inOrder = [...groups.values()].sort((a, b) => a.parent.length - b.parent.length);
    return { groups: inOrder.filter(group => group.versions.length > 0), left, next };
  }

  #groupOf(version: Change, groups: Map<PathName, Group>): Group {
    const parent = parentOf(version.path);
    let group = groups.get(parent);
    if (group === undefined) {
      this.#groups += 1;
      group = { parent, name: String(this.#groups), versions: [] };
      mkdirSync(join(this.#options.stagingDir, group.name));
      groups.set(parent, group);
    }
    return group;
  }

  /**
   * Gives staged files their names.
   *
   * @param sync Sync the directories.
   */
  async name(groups: readonly Group[], sync: boolean): Promise<Placed> {
    const done: Change[] = [];
    const left: Change[] = [];
    const sound = new Map<PathName, boolean>([['', true]]);
    const touched = new Set<PathName>();
    const jobs: Promise<void>[] = [];
    for (const group of groups) {
      const { parent, versions } = group;
      if (this.#nameDirectory(group, sound, touched)) done.push(...versions);
      else if (!this.#parent(parent, sound, touched)) left.push(...versions);
      else {
        touched.add(parent);
        const names = versions.map(({ path }) => `${group.name}/${baseName(path)}`);
        const targets = versions.map(({ path }) => join(this.#root, path));
        const { done: named } = await this.#pool.run({ kind: 'link', dir: this.#options.stagingDir, names, targets });
        jobs.push(
          named.then(results => {
            versions.forEach((version, i) => (results[i] === true ? done : left).push(version));
          })
        );
      }
    }
    await Promise.all(jobs);
    if (sync) for (const dir of touched) syncDirectory(this.#absolute(dir));
    return { done, left };
  }

  /** Gives a new directory its name, with all that is staged for it. */
  #nameDirectory({ parent, name }: Group, sound: Map<PathName, boolean>, touched: Set<PathName>): boolean {
    const above = parentOf(parent);
    if (parent === '' || sound.has(parent) || !this.#parent(above, sound, touched) || this.#isLogs(parent)) {
      return false;
    }
    const target = this.#absolute(parent);
    try {
      // A directory can only be renamed to where there is nothing, or an empty directory.
      if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) return false;
      renameSync(join(this.#options.stagingDir, name), target);
    } catch {
      return false;
    }
    sound.set(parent, true);
    touched.add(above).add(parent);
    return true;
  }

  #absolute(path: PathName): string {
    // As bytes where it is not UTF-8: what node:fs takes for a string it takes for bytes as well.
    return fsPath(path === '' ? this.#root : this.#root + sep + path) as string;
  }

  /** @param absent Directories, and whether nothing at all is there. */
  #isPlain(version: Change, absent: Map<PathName, boolean>): boolean {
    if (version.type !== 'file' || version.hash === undefined || version.flags.includes('no-content')) return false;
    if (version.kind === 'deleted' || (version.size ?? Infinity) > MOST_BYTES) return false;
    const { path } = version;
    const parent = parentOf(path);
    try {
      let free = absent.get(parent);
      if (free === undefined) {
        free = parent !== '' && lstatSync(this.#absolute(parent), { throwIfNoEntry: false }) === undefined;
        absent.set(parent, free);
      }
      if (path.split('/').some(part => part.toLowerCase() === LOG_DIR_NAME)) return false;
      return free || lstatSync(this.#absolute(path), { throwIfNoEntry: false }) === undefined;
    } catch {
      return false;
    }
  }

  async #content(version: Change): Promise<Uint8Array | undefined> {
    try {
      return await this.#options.log.contentBytes(version);
    } catch (error) {
      if (error instanceof SyftError) return undefined;
      throw error;
    }
  }

  #isLogs(dir: PathName): boolean {
    const real = this.#root + sep + dir;
    return real === this.#logDir || real.startsWith(this.#logDir + sep);
  }

  /** Makes a directory and those above it. False: there is something else, or a link, or it is the log's. */
  #parent(dir: PathName, sound: Map<PathName, boolean>, touched: Set<PathName>): boolean {
    const known = sound.get(dir);
    if (known !== undefined) return known;
    const ok = this.#parent(parentOf(dir), sound, touched) && !this.#isLogs(dir) && this.#directory(dir, touched);
    sound.set(dir, ok);
    return ok;
  }

  #directory(dir: PathName, touched: Set<PathName>): boolean {
    const path = this.#absolute(dir);
    try {
      mkdirSync(path);
      touched.add(parentOf(dir));
      return true;
    } catch (error) {
      return errnoOf(error) === 'EEXIST' && lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
    }
  }
}
