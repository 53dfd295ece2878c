/**
 * Carries out the steps of a plan. Each step is one atomic act on the disk, done only while the target still is what the plan
 * assumed, and may be repeated: a crash at any moment leaves every file either as it was or as it shall be.
 *
 * A file the user may have touched is never unlinked or renamed over blindly: it is held by a second name in the staging
 * directory first, compared again afterwards, and kept under the conflicts when it turns out to have changed meanwhile.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, open, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, SyftError } from '../core/errors.ts';
import { baseName, decodePath, displayPath, encodePath, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import type { Node, Step } from '../core/reconcile.ts';
import { syncDirectory } from './cursor.ts';
import { absolute, lstatOrMissing, type DiskView, type Look } from './look.ts';
import type { Staging } from './stage.ts';

export type Outcome =
  | { readonly kind: 'done'; readonly kept?: string }
  /** The target is not what the plan assumed any more: plan again. */
  | { readonly kind: 'raced' }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface ApplyPlace {
  /** Absolute path of the output, free of links. */
  readonly root: string;
  readonly disk: DiskView;
  readonly staging: Staging;
  /** Where what was replaced in a conflict is kept. */
  readonly conflictsDir: string;
  /** Writes the content that shall stand at `path` into the staging directory; returns where. */
  readonly stage: (path: PathName) => Promise<string>;
  /** What was seen when the plan was made. */
  readonly looks: ReadonlyMap<PathName, Look>;
  /** The log has something in this directory, so that it stays when it becomes empty. */
  readonly implies: (dir: PathName) => boolean;
  /** A file that changed at the last moment was put aside. */
  readonly onKept: (path: PathName, kept: string) => void;
}

/** Files staged together before any of them is put in place. */
const BATCH_FILES = 64;
const PARALLEL = 4;

/** Steps in the groups in which they are carried out and made durable. */
export function* batches(steps: readonly Step[]): Generator<Step[]> {
  for (let i = 0; i < steps.length; i += BATCH_FILES) {
    yield steps.slice(i, i + BATCH_FILES);
  }
}

/** What {@link stageAll} has ready. */
export type Staged = ReadonlyMap<PathName, { readonly at: string } | { readonly error: unknown }>;

/** Stages the content of all steps that need it. A failure concerns its own path only. */
export async function stageAll(place: ApplyPlace, steps: readonly Step[]): Promise<Staged> {
  const staged = new Map<PathName, { at: string } | { error: unknown }>();
  const queue = steps.filter(step => step.do === 'put' && step.node.type !== 'directory');
  const work = async (): Promise<void> => {
    for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
      try {
        staged.set(step.path, { at: await place.stage(step.path) });
      } catch (error) {
        staged.set(step.path, { error });
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return staged;
}

/** Carries out the steps of one batch and makes them durable. */
export async function applyBatch(
  place: ApplyPlace,
  steps: readonly Step[],
  staged: Staged
): Promise<Map<Step, Outcome>> {
  const outcomes = new Map<Step, Outcome>();
  const dirty = new Set<PathName>();
  place.disk.newPass();
  for (const step of steps) {
    try {
      outcomes.set(step, await applyStep(place, step, staged, dirty));
    } catch (error) {
      const code = errnoOf(error);
      outcomes.set(
        step,
        code === 'EEXIST' || code === 'ENOENT' || code === 'ENOTDIR' ? { kind: 'raced' } : { kind: 'failed', error }
      );
    }
  }
  for (const left of staged.values()) {
    if ('at' in left) {
      await rm(left.at, { force: true });
    }
  }
  for (const dir of dirty) {
    await syncDirectory(dir === '' ? place.root : absolute(place.root, dir)).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') {
        throw error;
      }
    });
  }
  return outcomes;
}

async function applyStep(place: ApplyPlace, step: Step, staged: Staged, dirty: Set<PathName>): Promise<Outcome> {
  switch (step.do) {
    case 'move':
      return applyMove(place, step, dirty);
    case 'remove':
      return applyRemove(place, step, dirty);
    case 'put':
      return applyPut(place, step, staged, dirty);
    case 'mode':
      return applyMode(place, step);
  }
}

/** True while the path is what the plan assumed. */
async function holds(place: ApplyPlace, path: PathName, expect: Node | undefined): Promise<boolean> {
  if ((await place.disk.standing(parentOf(path))) !== 'directory') {
    return expect === undefined;
  }
  const look = place.looks.get(path);
  if (look === undefined) {
    return false;
  }
  if (expect?.type === 'directory') {
    return (await lstatOrMissing(absolute(place.root, path)))?.isDirectory() === true;
  }
  return place.disk.holds(path, look);
}

/** Makes the directories above a path. Every one of them must be a directory, not a link to one. */
async function makeParents(place: ApplyPlace, path: PathName, dirty: Set<PathName>): Promise<void> {
  const parent = parentOf(path);
  if ((await place.disk.standing(parent)) === 'directory') {
    return;
  }
  let here = '';
  for (const part of parent.split('/')) {
    const above = here;
    here = joinPath(here, part);
    try {
      await mkdir(absolute(place.root, here));
      dirty.add(above);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') {
        throw error;
      }
      const stats = await lstat(absolute(place.root, here));
      if (!stats.isDirectory()) {
        throw new SyftError(
          stats.isSymbolicLink() ? 'PATH_OUTSIDE_ROOT' : 'PATH_INVALID',
          `${displayPath(here)} is ${stats.isSymbolicLink() ? 'a link' : 'not a directory'}, so ${displayPath(path)} cannot be put below it.`,
          { path: displayPath(path), cause: error }
        );
      }
    }
  }
  place.disk.newPass();
}

/** Removes directories that became empty and that the log does not have. */
async function prune(place: ApplyPlace, path: PathName, dirty: Set<PathName>): Promise<void> {
  for (let dir = parentOf(path); dir !== '' && !place.implies(dir); dir = parentOf(dir)) {
    try {
      await rmdir(absolute(place.root, dir));
    } catch {
      return;
    }
    place.disk.newPass();
    dirty.add(parentOf(dir));
  }
}

/** Removes a directory that holds nothing but directories. Throws ENOTEMPTY when it holds more. */
async function removeEmptyTree(path: string | Buffer): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true, encoding: 'buffer' })) {
    if (entry.isDirectory()) {
      await removeEmptyTree(Buffer.concat([Buffer.from(path), Buffer.from('/'), entry.name]));
    }
  }
  await rmdir(path);
}

/** Where a replaced file is kept: its tree, its name with part of the hash; the same content once. */
function keptPath(path: PathName, node: Node | undefined): PathName {
  const tag = (node?.hash ?? randomBytes(6).toString('hex')).slice(0, 12);
  const name = encodePath(baseName(path));
  const dot = baseName(path).lastIndexOf('.');
  const extension = dot > 0 ? encodePath(baseName(path).slice(dot)) : Buffer.alloc(0);
  const plain = `.${tag}`;
  if (name.length + plain.length <= 255) {
    const stem = name.subarray(0, name.length - extension.length);
    return joinPath(parentOf(path), decodePath(Buffer.concat([stem, Buffer.from(plain), extension])));
  }
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return joinPath(
    parentOf(path),
    decodePath(Buffer.concat([name.subarray(0, 200), Buffer.from(`~${digest}${plain}`)]))
  );
}

/** Gives what stands at `at` a second name under the conflicts, durable. Returns that name. */
export async function keep(
  place: Pick<ApplyPlace, 'conflictsDir'>,
  path: PathName,
  at: string | Buffer,
  node: Node | undefined
): Promise<string> {
  const target = absolute(place.conflictsDir, keptPath(path, node));
  const dir = typeof target === 'string' ? dirname(target) : target.subarray(0, target.lastIndexOf('/'));
  await mkdir(dir, { recursive: true, mode: 0o700 });
  try {
    await link(at, target);
  } catch (error) {
    switch (errnoOf(error)) {
      case 'EEXIST':
        break;
      case 'EXDEV':
      case 'EPERM':
      case 'EMLINK':
      case 'ENOTSUP':
        await copyFile(at, target);
        break;
      default:
        throw error;
    }
  }
  const kept = await lstat(target);
  if (kept.isFile()) {
    const handle = await open(target, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => undefined);
    await handle?.sync();
    await handle?.close();
  }
  await syncDirectory(dir);
  return displayPath(keptPath(path, node));
}

/** The same file with the same content, as far as can be told when a second name has changed its ctime. */
function sameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/**
 * Takes what the plan expects away from `path`: by renaming it into the staging directory, where it is compared again. What
 * turns out to be something else goes back.
 */
async function takeAway(place: ApplyPlace, path: PathName): Promise<boolean> {
  const at = absolute(place.root, path);
  const aside = place.staging.asideName();
  try {
    await rename(at, aside);
  } catch (error) {
    if (errnoOf(error) !== 'EXDEV') {
      throw error;
    }
    await unlink(at);
    return true;
  }
  const stats = await lstatOrMissing(aside);
  const expected = place.looks.get(path)?.stats;
  if (stats !== undefined && expected !== undefined && sameFile(stats, expected)) {
    await unlink(aside);
    return true;
  }
  try {
    await link(aside, at);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') {
      throw error;
    }
    place.onKept(path, await keep(place, path, aside, undefined));
  }
  await unlink(aside);
  return false;
}

async function applyRemove(place: ApplyPlace, step: Step & { do: 'remove' }, dirty: Set<PathName>): Promise<Outcome> {
  const { path, expect } = step;
  const at = absolute(place.root, path);
  if (!(await holds(place, path, expect))) {
    return { kind: 'raced' };
  }
  if (expect.type === 'directory') {
    if (place.implies(path)) {
      return { kind: 'done' };
    }
    try {
      await rmdir(at);
      place.disk.newPass();
      dirty.add(parentOf(path));
      await prune(place, path, dirty);
    } catch (error) {
      // Not empty: it holds what is the user's own, and stays.
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') {
        throw error;
      }
    }
    return { kind: 'done' };
  }
  const kept = step.keep ? await keep(place, path, at, expect) : undefined;
  if (kept === undefined) {
    if (!(await takeAway(place, path))) {
      return { kind: 'raced' };
    }
  } else {
    await unlink(at);
  }
  place.disk.newPass();
  dirty.add(parentOf(path));
  await prune(place, path, dirty);
  return kept === undefined ? { kind: 'done' } : { kind: 'done', kept };
}

/** Gives a file a name that must be free: `link` and `unlink`, since a rename would replace what has just appeared there. */
async function placeNew(from: string | Buffer, to: string | Buffer): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EMLINK') {
      throw error;
    }
    // A file system without hard links.
    if ((await lstatOrMissing(to)) !== undefined) {
      throw Object.assign(new Error('EEXIST: file already exists'), { code: 'EEXIST', cause: error });
    }
    await rename(from, to);
    return;
  }
  await unlink(from);
}

async function applyMove(place: ApplyPlace, step: Step & { do: 'move' }, dirty: Set<PathName>): Promise<Outcome> {
  const from = absolute(place.root, step.from);
  const to = absolute(place.root, step.path);
  if (!(await holds(place, step.from, step.expect))) {
    return { kind: 'raced' };
  }
  await makeParents(place, step.path, dirty);
  if ((await lstatOrMissing(to)) !== undefined) {
    return { kind: 'raced' };
  }
  await placeNew(from, to);
  place.disk.newPass();
  dirty.add(parentOf(step.from));
  dirty.add(parentOf(step.path));
  if (step.node.type === 'file' && step.node.mode !== undefined && step.node.mode !== step.expect.mode) {
    await chmod(to, step.node.mode);
  }
  await prune(place, step.from, dirty);
  return { kind: 'done' };
}

async function applyPut(
  place: ApplyPlace,
  step: Step & { do: 'put' },
  staged: Staged,
  dirty: Set<PathName>
): Promise<Outcome> {
  const { path, expect, node } = step;
  const at = absolute(place.root, path);
  const content = staged.get(path);
  if (content !== undefined && 'error' in content) {
    return { kind: 'failed', error: content.error };
  }
  await makeParents(place, path, dirty);
  if (!(await holds(place, path, expect))) {
    return { kind: 'raced' };
  }
  const kept = step.keep ? await keep(place, path, at, expect) : undefined;
  const done: Outcome = kept === undefined ? { kind: 'done' } : { kind: 'done', kept };
  dirty.add(parentOf(path));
  if (node.type === 'directory') {
    if (expect !== undefined && expect.type !== 'directory' && !(await takeAway(place, path))) {
      return { kind: 'raced' };
    }
    await mkdir(at);
    place.disk.newPass();
    return done;
  }
  if (content === undefined) {
    return { kind: 'raced' };
  }
  if (expect?.type === 'directory') {
    try {
      await removeEmptyTree(at);
    } catch (error) {
      if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') {
        throw new SyftError(
          'PATH_INVALID',
          `${displayPath(path)} is a directory that still holds other files, so no file can be put there.`,
          {
            path: displayPath(path),
            cause: error
          }
        );
      }
      throw error;
    }
    place.disk.newPass();
  }
  if (expect === undefined || expect.type === 'directory') {
    await placeNew(content.at, at);
  } else {
    const guard = place.staging.asideName();
    const guarded = await link(at, guard).then(
      () => true,
      () => false
    );
    await rename(content.at, at);
    if (guarded) {
      const expected = place.looks.get(path)?.stats;
      const old = await lstatOrMissing(guard);
      if (old !== undefined && expected !== undefined && !sameFile(old, expected)) {
        place.onKept(path, await keep(place, path, guard, undefined));
      }
      await unlink(guard);
    }
  }
  if (node.type === 'file' && node.hash !== undefined) {
    const stats = await lstatOrMissing(at);
    if (stats !== undefined) {
      place.disk.remember(path, stats, node.hash);
    }
  }
  return done;
}

async function applyMode(place: ApplyPlace, step: Step & { do: 'mode' }): Promise<Outcome> {
  if (step.node.mode === undefined || !(await holds(place, step.path, step.expect))) {
    return { kind: 'raced' };
  }
  const handle = await open(
    absolute(place.root, step.path),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  );
  try {
    await handle.chmod(step.node.mode & 0o777);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { kind: 'done' };
}

/** Where the conflicts of an output are kept, relative to its private directory. */
export function conflictsOf(privateDir: string): string {
  return join(privateDir, 'conflicts');
}
