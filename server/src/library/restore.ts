/**
 * Puts a version back: record what stands there, stage beside nothing a user sees, re-check, rename, fsync, record.
 * The file is at every moment either the old one or the new one, and the old one is in the log before it goes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  symlink,
  lutimes,
  unlink,
  type FileHandle
} from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { utimeSeconds, versionId, type Cause, type Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { LOG_DIR_NAME } from '../core/ignore-rules.ts';
import {
  baseName,
  decodePath,
  displayPath,
  encodePath,
  isEscaped,
  parentOf,
  type PathName
} from '../core/path-name.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import { droppedError } from '../log/dropped-error.ts';
import type { LogActs, LogReader } from '../log/types.ts';

/** What restoring needs of the recorder: the means to have a path's present state in the log before it is replaced. */
export interface RecordingBeforeRestore {
  /** `false`: `tree` is all that is known, nothing can be recorded first. */
  readonly recordsFirst?: false;
  readonly tree: ReadonlyTree;
  captureNow(paths: readonly PathName[], cause?: Cause): Promise<Change[]>;
  /** Returns what takes it back, if the change has not come yet. */
  expect(path: PathName, hash: string, cause: Cause): () => void;
}

/** Where the content of a version comes from: the log, or a verified file that is being imported. */
export type ContentSource = Pick<LogReader, 'content' | 'contentBytes'> & Partial<Pick<LogActs, 'dropped'>>;

export interface RestorePlace {
  /** Absolute path of the workspace. */
  readonly root: string;
  readonly log: ContentSource;
  readonly recorder: RecordingBeforeRestore;
  /** Private directory for staging; without one, or on another file system than the target, a name beside the target is used. */
  readonly stagingDir?: string;
  /** Log directory: nothing is restored into it. */
  readonly logDir?: string;
}

export interface RestoreOutcome {
  /** Workspace path written to, or the absolute path when it lies outside the workspace. */
  readonly path: PathName;
  readonly version: Change;
  readonly unchanged: boolean;
  /** Nothing stood there before. */
  readonly created: boolean;
  /** The recorded state that was replaced: restore it to undo. */
  readonly replaced?: Change;
  /** The change that this restore made; absent outside the workspace, or when nothing changed. */
  readonly change?: Change;
}

/** Names of temporaries beside a target; always excluded from capture. */
export const TEMPORARY_PREFIX = '.syft-sync-tmp-';
const ATTEMPTS = 5;

/** Absolute path for `node:fs`: a string, or bytes when the name is not UTF-8. */
export function absolute(root: string, path: PathName): string | Buffer {
  return isEscaped(path) ? Buffer.concat([Buffer.from(root + sep), encodePath(path)]) : join(root, path);
}

export async function lstatOrMissing(path: string | Buffer): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The same content as far as stat tells of a file that was given a second name, which changes its ctime. */
function sameContent(a: BigIntStats, b: BigIntStats | undefined): boolean {
  return a.ino === b?.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

function sameState(a: BigIntStats | undefined, b: BigIntStats | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Turns what the disk said into one of our codes; anything unknown stays what it was. */
export function diskError(error: unknown, path: string): unknown {
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new SyftError('DISK_FULL', `The disk is full: ${path} was not written. Free some space and try again.`, {
        cause: error,
        path
      });
    case 'EROFS':
      return new SyftError('DISK_READ_ONLY', `The disk is read-only: ${path} was not written.`, { cause: error, path });
    case 'EACCES':
    case 'EPERM':
      return new SyftError('UNREADABLE', `No permission to write ${path}.`, { cause: error, path });
    case 'ENAMETOOLONG':
      return new SyftError('PATH_INVALID', `The name ${path} is too long for this file system.`, {
        cause: error,
        path
      });
    case 'EIO':
      return new SyftError('DISK_ERROR', `The disk reported an error at ${path}.`, { cause: error, path });
    default:
      return error;
  }
}

/** Where a path leads: the nearest directory above it that exists, free of links, and the names below that. */
async function whereabouts(target: Buffer): Promise<{ dir: Buffer; below: Buffer[] }> {
  const below: Buffer[] = [];
  for (let at = target; ;) {
    const slash = at.lastIndexOf(sep);
    below.unshift(at.subarray(slash + 1));
    at = slash <= 0 ? Buffer.from(sep) : at.subarray(0, slash);
    try {
      return { dir: await realpath(at, { encoding: 'buffer' }), below };
    } catch (error) {
      if (slash <= 0 || (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR')) throw error;
    }
  }
}

/**
 * The path that is really meant: through links to directories inside the workspace, as the recorder sees it.
 *
 * @throws SyftError PATH_INVALID for a place in a log; the user's files have no business there.
 */
async function realPlace(place: RestorePlace, path: PathName, inside: boolean): Promise<PathName> {
  const { dir, below } = await whereabouts(
    inside ? Buffer.from(absolute(place.root, path)) : encodePath(resolve(path))
  );
  const real = decodePath(Buffer.concat([dir, ...below.flatMap(name => [Buffer.from(sep), name])]));
  const logDir = place.logDir === undefined ? undefined : await realpath(place.logDir).catch(() => undefined);
  const root = await realpath(place.root).catch(() => place.root);
  const local = real.startsWith(root + sep) ? real.slice(root.length + 1) : real;
  if (
    local.split(sep).some(part => part.toLowerCase() === LOG_DIR_NAME) ||
    (logDir !== undefined && (real === logDir || real.startsWith(logDir + sep)))
  ) {
    throw new SyftError('PATH_INVALID', `${displayPath(path)} lies in a log; nothing is restored there.`, {
      path: displayPath(path)
    });
  }
  return inside && local !== real ? local : path;
}

/** Makes the parent directories of `path` below `root`, and refuses when one of them leads out of it. */
async function makeParents(root: string, path: PathName): Promise<void> {
  const parent = parentOf(path);
  let here = '';
  for (const part of parent === '' ? [] : parent.split('/')) {
    here = here === '' ? part : `${here}/${part}`;
    const at = absolute(root, here);
    try {
      await mkdir(at);
      await syncDirectory(absolute(root, parentOf(here)));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw diskError(error, displayPath(here));
      const stats = await lstat(at);
      if (stats.isSymbolicLink()) {
        const real = await realpath(at).catch(() => undefined);
        const base = await realpath(root);
        if (real === undefined || (real !== base && !real.startsWith(base + sep))) {
          throw new SyftError('PATH_OUTSIDE_ROOT', `${displayPath(here)} is a link that leads out of the workspace.`, {
            path: displayPath(path)
          });
        }
      } else if (!stats.isDirectory()) {
        throw new SyftError(
          'PATH_INVALID',
          `${displayPath(here)} is a file, so ${displayPath(path)} cannot be put below it.`,
          {
            path: displayPath(path)
          }
        );
      }
    }
  }
}

async function syncDirectory(path: string | Buffer): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes the version to a new file at `staged`, verified, with its mode, durable. */
async function stageContent(
  log: ContentSource,
  version: Change,
  staged: string | Buffer,
  signal: AbortSignal | undefined
): Promise<void> {
  if (version.type === 'symlink') {
    await symlink(await log.contentBytes(version), staged);
    if (version.mtime !== undefined) await lutimes(staged, utimeSeconds(version.mtime), utimeSeconds(version.mtime));
    return;
  }
  let handle: FileHandle | undefined;
  try {
    handle = await open(
      staged,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600
    );
    const hash = createHash('sha256');
    for await (const piece of log.content(version)) {
      throwIfStopped(signal);
      hash.update(piece);
      let offset = 0;
      while (offset < piece.length) offset += (await handle.write(piece, offset)).bytesWritten;
    }
    const found = hash.digest('hex');
    if (version.hash !== undefined && found !== version.hash) {
      throw new SyftError(
        'LOG_DAMAGED',
        `The content of version ${versionId(version)} is damaged; nothing was written.`,
        {
          path: displayPath(version.path)
        }
      );
    }
    await handle.chmod(version.mode ?? 0o644);
    if (version.mtime !== undefined) await handle.utimes(utimeSeconds(version.mtime), utimeSeconds(version.mtime));
    await handle.sync();
  } finally {
    await handle?.close();
  }
}

function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new SyftError('CANCELLED', 'Stopped; what is not restored yet was left as it was.');
  }
}

function hasContent(version: Change): boolean {
  return (
    version.kind !== 'deleted' &&
    (version.type === 'directory' || (version.hash !== undefined && !version.flags.includes('no-content')))
  );
}

/** True when the state that stands at the path is in the log whole, so that replacing it loses nothing. */
function isKept(change: Change | undefined): change is Change {
  return (
    change !== undefined &&
    !change.flags.includes('unreadable') &&
    !change.flags.includes('no-content') &&
    !change.flags.includes('torn')
  );
}

/**
 * Restores one version.
 *
 * @param place Workspace, log, recorder and staging directory.
 * @param version The version to put back.
 * @param options `to`: workspace path, default the version's own; `toAbsolute`: instead, a path outside the workspace;
 *   `force`: replace even what cannot be recorded first; `dryRun`: say what would happen, write nothing; `cause`: what the
 *   resulting change says of itself, default that it is a restore of this version, `null` nothing; `signal` stops it: the
 *   target is then either restored or untouched; `onlyIf` throws when what stands there, as it is recorded just before, is not to be replaced.
 * @throws SyftError VERSION_HAS_NO_CONTENT, VERSION_PRUNED, VERSION_ERASED, RESTORE_ONTO_DIRECTORY, RESTORE_NOT_RECORDED, PATH_OUTSIDE_ROOT, DISK_FULL,
 *   DISK_READ_ONLY, LOG_DAMAGED, CANCELLED; the file that stood there is then untouched.
 */
export async function restoreVersion(
  place: RestorePlace,
  version: Change,
  options: {
    to?: PathName;
    toAbsolute?: string;
    force?: boolean;
    dryRun?: boolean;
    cause?: Cause | null;
    signal?: AbortSignal;
    onlyIf?: (standing: Change | undefined) => void;
  } = {}
): Promise<RestoreOutcome> {
  const inside = options.toAbsolute === undefined;
  const asked = options.toAbsolute ?? options.to ?? version.path;
  const shown = displayPath(asked);
  if (!hasContent(version)) {
    const why = version.kind === 'deleted' ? 'it is a deletion' : 'only its name, size and hash were kept';
    throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(version)} has no content to restore: ${why}.`, {
      path: shown
    });
  }
  // Before anything is touched, and in a dry run too.
  const dropped = place.log.dropped?.(version);
  if (dropped !== undefined) throw droppedError(version, dropped);
  const path = await realPlace(place, asked, inside);
  const target = options.toAbsolute === undefined ? absolute(place.root, path) : resolve(options.toAbsolute);

  for (let attempt = 1; ; attempt++) {
    const before = await lstatOrMissing(target);
    if (before?.isDirectory() === true) {
      if (version.type === 'directory') return { path, version, unchanged: true, created: false };
      throw new SyftError('RESTORE_ONTO_DIRECTORY', `${shown} is a directory; a file cannot be restored onto it.`, {
        path: shown
      });
    }
    let replaced: Change | undefined;
    if (before !== undefined) {
      if (inside && options.dryRun !== true) await place.recorder.captureNow([path]);
      replaced = inside ? place.recorder.tree.get(path) : undefined;
      if (
        (options.dryRun !== true || place.recorder.recordsFirst === false) &&
        options.force !== true &&
        !isKept(replaced)
      ) {
        const same = !inside && (await equals(target, before, version));
        if (!same) {
          throw new SyftError(
            'RESTORE_NOT_RECORDED',
            `${shown} holds something that is not recorded and would be lost. Move it away first, or force the restore.`,
            { path: shown }
          );
        }
      }
      if (
        isKept(replaced) &&
        replaced.hash === version.hash &&
        replaced.type === version.type &&
        replaced.mode === version.mode &&
        (version.mtime === undefined || before.mtimeNs / 1000n === BigInt(version.mtime))
      ) {
        return { path, version, unchanged: true, created: false };
      }
    }
    options.onlyIf?.(replaced);
    if (options.dryRun === true) {
      return {
        path,
        version,
        unchanged: false,
        created: before === undefined,
        ...(replaced !== undefined && { replaced })
      };
    }

    if (inside) await makeParents(place.root, path);
    else await mkdir(dirname(resolve(options.toAbsolute ?? '')), { recursive: true });
    const cause =
      options.cause === undefined
        ? ({ kind: 'restore', version: versionId(version) } as const)
        : (options.cause ?? undefined);
    const parent = inside ? absolute(place.root, parentOf(path)) : dirname(resolve(options.toAbsolute ?? ''));

    // Announced before it is there: a hint may have it recorded before this goes on.
    const withdraw =
      inside && version.hash !== undefined && cause !== undefined
        ? place.recorder.expect(path, version.hash, cause)
        : undefined;
    let isThere = false;
    try {
      if (version.type === 'directory') {
        if (before !== undefined) await rm(target);
        await mkdir(target);
        if (version.mode !== undefined) await chmod(target, version.mode);
        await syncDirectory(parent);
      } else {
        const placed = await placeFile(place, version, target, parent, before, options.signal);
        if (placed === 'changed') {
          if (attempt < ATTEMPTS) continue;
          throw new SyftError(
            'RESTORE_NOT_RECORDED',
            `${shown} keeps changing while it is being restored; try again when it is at rest.`,
            {
              path: shown
            }
          );
        }
      }
      isThere = true;
      if (!inside) return { path, version, unchanged: false, created: before === undefined };
      const changes = await place.recorder.captureNow([path], cause);
      const change = changes.findLast(candidate => candidate.path === path) ?? place.recorder.tree.get(path);
      return {
        path,
        version,
        unchanged: false,
        created: before === undefined,
        ...(replaced !== undefined && { replaced }),
        ...(change !== undefined && { change })
      };
    } finally {
      if (!isThere) withdraw?.();
    }
  }
}

/** True when the file already is the version, byte for byte: replacing it loses nothing though it is not recorded. */
async function equals(target: string | Buffer, stats: BigIntStats, version: Change): Promise<boolean> {
  if (version.type === 'symlink') {
    if (!stats.isSymbolicLink()) return false;
    return (
      createHash('sha256')
        .update(await readlink(target, 'buffer'))
        .digest('hex') === version.hash
    );
  }
  if (!stats.isFile() || Number(stats.size) !== version.size) return false;
  const handle = await open(target, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const hash = createHash('sha256');
    for await (const piece of handle.createReadStream({ autoClose: false })) hash.update(piece as Buffer);
    return hash.digest('hex') === version.hash;
  } finally {
    await handle.close();
  }
}

/** Stages, re-checks that the target still is what it was, and swaps. `changed`: it was not; nothing was done. */
async function placeFile(
  place: RestorePlace,
  version: Change,
  target: string | Buffer,
  parent: string | Buffer,
  before: BigIntStats | undefined,
  signal: AbortSignal | undefined
): Promise<'done' | 'changed'> {
  const name = `${TEMPORARY_PREFIX}${randomBytes(9).toString('hex')}`;
  const besideAs = (other: string): string | Buffer =>
    typeof parent === 'string' ? join(parent, other) : Buffer.concat([parent, Buffer.from(sep + other)]);
  const beside = besideAs(name);
  const { stagingDir } = place;
  if (stagingDir !== undefined) await mkdir(stagingDir, { recursive: true, mode: 0o700 });
  const shown = displayPath(version.path);
  const candidates: (string | Buffer)[] = stagingDir === undefined ? [beside] : [join(stagingDir, name), beside];
  for (const staged of candidates) {
    try {
      await stageContent(place.log, version, staged, signal);
      throwIfStopped(signal);
      if (!sameState(before, await lstatOrMissing(target))) return 'changed';
      try {
        // link() creates only where nothing is: a file born since the check is not overwritten.
        const guard = stagingDir === undefined ? besideAs(`${name}-old`) : join(stagingDir, `old-${name}`);
        if (before === undefined) await link(staged, target);
        else if (!(await replaceRecorded(staged, target, guard, before))) return 'changed';
      } catch (error) {
        if (errnoOf(error) === 'EXDEV' && staged !== beside) continue;
        if (errnoOf(error) === 'EEXIST') return 'changed';
        if (before === undefined && (errnoOf(error) === 'EPERM' || errnoOf(error) === 'ENOTSUP') && staged !== beside) {
          continue;
        }
        if (before === undefined && (errnoOf(error) === 'EPERM' || errnoOf(error) === 'ENOTSUP')) {
          await rename(staged, target);
        } else throw error;
      }
      await syncDirectory(parent);
      return 'done';
    } catch (error) {
      throw diskError(error, shown);
    } finally {
      await rm(staged, { force: true });
    }
  }
  throw new SyftError('DISK_ERROR', `${shown} could not be put in place.`, { path: shown });
}

/**
 * Removes what a restore that was killed has left in a staging directory: contents of the log, whole or in part. Files of the user's
 * that were on their way out stay, for they may have been written to in the last moment.
 *
 * Only for who holds the lock of the log that the directory belongs to.
 */
export async function removeLeftOverStaged(stagingDir: string): Promise<void> {
  const names = await readdir(stagingDir).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw diskError(error, stagingDir);
  });
  for (const name of names) if (name.startsWith(TEMPORARY_PREFIX)) await rm(join(stagingDir, name), { force: true });
}

/**
 * Renames `staged` over `target`. What stood there is held by a second name meanwhile: when it turns out to have been written
 * to since it was recorded, it goes back.
 *
 * @returns Whether it was done.
 */
export async function replaceRecorded(
  staged: string | Buffer,
  target: string | Buffer,
  guard: string | Buffer,
  before: BigIntStats
): Promise<boolean> {
  // Where there are no hard links, or they do not reach, the check just made has to do.
  const guarded = await link(target, guard).then(
    () => true,
    () => false
  );
  try {
    const ours = await lstat(staged, { bigint: true });
    await rename(staged, target);
    if (!guarded || sameContent(before, await lstatOrMissing(guard))) return true;
    if (sameContent(ours, await lstatOrMissing(target))) await rename(guard, target);
    return false;
  } finally {
    if (guarded) await rm(guard, { force: true });
  }
}

/**
 * Removes a file whose state `before` is recorded.
 *
 * @returns False when it was written to since; it is then left as it is.
 */
export async function removeRecorded(
  target: string | Buffer,
  before: BigIntStats,
  stagingDir: string
): Promise<boolean> {
  await mkdir(stagingDir, { recursive: true, mode: 0o700 });
  const aside = join(stagingDir, `old-${randomBytes(9).toString('hex')}`);
  try {
    await rename(target, aside);
  } catch (error) {
    if (errnoOf(error) !== 'EXDEV') throw error;
    if (!sameState(before, await lstatOrMissing(target))) return false;
    await unlink(target);
    return true;
  }
  if (sameContent(before, await lstatOrMissing(aside))) {
    await unlink(aside);
    return true;
  }
  // Only where nothing has taken its place.
  await link(aside, target);
  await unlink(aside);
  return false;
}

/**
 * A free name beside `path`, such as `a (restored 2026-11-24 14.05).csv`.
 *
 * @param moment Microseconds since the epoch: when the version was recorded; shown in local time.
 */
export async function freeCopyName(root: string, path: PathName, moment: number): Promise<PathName> {
  const base = baseName(path);
  const dot = base.lastIndexOf('.');
  const stem = dot > 0 ? base.slice(0, dot) : base;
  const extension = dot > 0 ? base.slice(dot) : '';
  const date = new Date(moment / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  const stamp = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}.${two(date.getMinutes())}`;
  for (let n = 1; ; n++) {
    const suffix = ` (restored ${stamp}${n === 1 ? '' : ` ${n}`})${extension}`;
    // Names are at most 255 bytes on common file systems; shorten the stem, never the suffix.
    let kept = stem;
    while (encodePath(kept + suffix).length > 255) kept = kept.slice(0, -1);
    const parent = parentOf(path);
    const candidate = parent === '' ? kept + suffix : `${parent}/${kept}${suffix}`;
    if ((await lstatOrMissing(absolute(root, candidate))) === undefined) return candidate;
  }
}
