/**
 * Applies a change set to a workspace: all of it or nothing. It is verified whole before anything is written; then each file must still be what
 * the change set begins with, and whoever it is from must have been given write access by `syft.pub.yaml`. What is replaced and deleted is
 * recorded before.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { changeToJson, versionId, type Cause, type Change, type ChangeJson } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath, joinPath, parentOf, type PathName } from '../core/path-name.ts';
import { deletesTooMuch } from '../core/reconcile.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { checkSender, stageFiles, type Placed } from '../library/import-message.ts';
import { absolute, lstatOrMissing, removeRecorded } from '../library/restore.ts';
import type { Workspace } from '../library/workspace.ts';
import { ArchiveFault } from '../messages/archive-fault.ts';
import { Contacts } from '../messages/contacts.ts';
import { inspect, type Inspected, type MessageFile } from '../messages/inspect.ts';
import { faultOfPlace } from '../messages/member-names.ts';
import { Archive, type OpenArchiveOptions } from '../messages/read-archive.ts';
import { writeError } from '../storage/durable.ts';
import { datasiteOf, Permissions } from './permissions.ts';

export interface ApplyChangesOptions extends OpenArchiveOptions {
  /** Folder of the workspace that is the datasite; default the top. */
  readonly to?: PathName | undefined;
  /** Takes it though nothing proves who it is from. */
  readonly trust?: boolean | undefined;
  /** Whose access counts; default who the message says it is from. */
  readonly as?: string | undefined;
  /** Applies what it can, and leaves what was changed here too. */
  readonly skipConflicts?: boolean | undefined;
  /** Deletes more than half of the files. */
  readonly deleteMany?: boolean | undefined;
  /** Says what it would do. */
  readonly dryRun?: boolean | undefined;
  /** Where contacts and the device key are; default the user's configuration. */
  readonly configuration?: string | undefined;
}

/** A file that is not what the change set begins with. */
export interface Conflict {
  readonly path: string;
  readonly why: string;
}

export interface AppliedChanges {
  readonly messageId: string;
  readonly sender: string;
  /** What it changed, deletions first. Empty in a dry run. */
  readonly changes: readonly ChangeJson[];
  /** What it changed, or would. */
  readonly written: readonly string[];
  readonly deleted: readonly string[];
  /** Was so already. */
  readonly unchanged: readonly string[];
  /** Left as they are. */
  readonly conflicts: readonly Conflict[];
  /** The permission files that gave access; none: nothing here says who may write. */
  readonly permissions: readonly string[];
}

/** One thing to do. */
interface Step {
  readonly path: PathName;
  /** Absent: it is deleted. */
  readonly file?: MessageFile;
  /** What has to stand there, by its hash; absent: nothing. */
  readonly previousHash?: string | undefined;
}

const MOST_NAMED = 5;

function named(paths: readonly string[]): string {
  const more = paths.length - MOST_NAMED;
  return `${paths.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function stepsOf(workspace: Workspace, { files, deletions = [] }: Inspected, to: PathName): Step[] {
  const place = (path: PathName): PathName => {
    const wanted = joinPath(to, path);
    const shown = displayPath(wanted);
    const fault = faultOfPlace(wanted);
    if (fault !== undefined) {
      throw new SyftError('PATH_INVALID', `${shown} ${fault}. Nothing was written.`, { path: shown });
    }
    return workspace.insidePath(shown);
  };
  return [
    ...deletions.map(({ path, previousHash }) => ({ path: place(path), previousHash })),
    ...files.map(file => ({ path: place(file.path), file, previousHash: file.previousHash }))
  ];
}

/** The permission files by which a sender may do all of it. Throws PERMISSION_DENIED, PERMISSIONS_INVALID. */
function checkPermissions(root: string, steps: readonly Step[], sender: string): string[] {
  const permissions = new Permissions(root);
  const files = new Set<string>();
  const denied: string[] = [];
  for (const { path } of steps) {
    const governing = permissions.governing(path);
    if (governing !== undefined) files.add(governing.file);
    // Outside of a SyftBox a folder without such a file is shared with nobody in particular.
    else if (datasiteOf(absolute(root, path).toString()) === undefined) continue;
    if (!permissions.mayWrite(path, sender)) denied.push(displayPath(path));
  }
  if (denied.length === 0) return [...files];
  throw new SyftError(
    'PERMISSION_DENIED',
    `${sender} may not write ${named(denied)}. Nothing was written. See: syft-sync permissions show --as ${sender}`,
    { path: denied[0] ?? '' }
  );
}

/** Throws PATH_INVALID when something on the way to a path is no directory; a link may lead anywhere. */
async function checkWay(root: string, path: PathName, gone: ReadonlySet<PathName>): Promise<void> {
  const parts = path.split('/');
  for (let n = 1; n < parts.length; n += 1) {
    const at = parts.slice(0, n).join('/');
    const stats = await lstat(absolute(root, at)).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
      throw error;
    });
    if (stats === undefined || (gone.has(at) && stats.isFile())) return;
    if (stats.isDirectory()) continue;
    const shown = displayPath(path);
    throw new SyftError('PATH_INVALID', `${shown} cannot be put there: ${displayPath(at)} is not a directory.`, {
      path: shown
    });
  }
}

/** Why what stands at a path is not what a step begins with; `undefined`: it is. */
function conflictOf({ file, previousHash }: Step, standing: Change | undefined, isThere: boolean): string | undefined {
  if (standing === undefined) {
    if (isThere) return 'what is here is not recorded';
    return previousHash === undefined ? undefined : 'it is not here';
  }
  if (standing.type !== 'file') return `it is a ${standing.type} here`;
  if (previousHash === undefined && file !== undefined) return 'another file is here';
  if (standing.hash === undefined || standing.flags.length > 0) return 'what is here is not recorded whole';
  return standing.hash === previousHash ? undefined : 'it was changed here';
}

const isDone = ({ file }: Step, standing: Change | undefined, isThere: boolean): boolean =>
  file === undefined
    ? !isThere
    : standing?.type === 'file' && standing.hash === file.hash && standing.flags.length === 0;

interface Judged {
  readonly todo: readonly { readonly step: Step; readonly standing: Change | undefined }[];
  readonly unchanged: readonly string[];
  readonly conflicts: readonly Conflict[];
}

/** Holds each step against what stands there, as it is recorded now. */
async function judge(workspace: Workspace, steps: readonly Step[], isDryRun: boolean): Promise<Judged> {
  const gone = new Set(steps.filter(({ file }) => file === undefined).map(({ path }) => path));
  for (const { path } of steps) await checkWay(workspace.root, path, gone);
  if (!isDryRun) await workspace.recorder.captureNow(steps.map(({ path }) => path));
  const todo: Judged['todo'][number][] = [];
  const unchanged: string[] = [];
  const conflicts: Conflict[] = [];
  for (const step of steps) {
    const standing = workspace.tree.get(step.path);
    const isThere = await lstat(absolute(workspace.root, step.path)).then(
      () => true,
      (error: unknown) => {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
        throw error;
      }
    );
    const why = conflictOf(step, standing, isThere);
    if (isDone(step, standing, isThere)) unchanged.push(displayPath(step.path));
    else if (why === undefined) todo.push({ step, standing });
    else conflicts.push({ path: displayPath(step.path), why });
  }
  return { todo, unchanged, conflicts };
}

function checkDeletions(workspace: Workspace, to: PathName, deletions: number): void {
  let tracked = 0;
  for (const [path, { type }] of workspace.tree) {
    if (type === 'file' && (to === '' || path.startsWith(`${to}/`))) tracked += 1;
  }
  if (!deletesTooMuch(deletions, tracked, 0.5)) return;
  throw new SyftError(
    'SYNC_HALTED',
    `${deletions} of ${tracked} files would be deleted. Nothing was done. If that is meant: --delete-many.`
  );
}

/** A file of the message as the version that it is placed as. */
function versionOf(path: PathName, { size, hash }: MessageFile, standing: Change | undefined): Change {
  return {
    device: 'imported',
    seq: 0,
    kind: 'created',
    path,
    at: 0,
    hlc: 0,
    type: 'file',
    size,
    hash,
    // Events know no modes: what may be run here still may.
    mode: standing?.mode ?? 0o644,
    flags: []
  };
}

/** Directories above paths that are not there yet, the deepest first. */
async function missingDirectories(root: string, paths: readonly PathName[]): Promise<PathName[]> {
  const missing = new Set<PathName>();
  for (const path of paths) {
    for (let dir = parentOf(path); dir !== '' && !missing.has(dir); dir = parentOf(dir)) {
      const isThere = await lstat(absolute(root, dir)).then(
        stats => stats.isDirectory(),
        () => false
      );
      if (isThere) break;
      missing.add(dir);
    }
  }
  return [...missing].sort((a, b) => b.length - a.length);
}

/** Takes a file of the message away that is excluded from recording, if it still is what was written. */
async function removeUnrecorded(workspace: Workspace, path: PathName, hash: string | undefined): Promise<void> {
  const target = absolute(workspace.root, path);
  const before = await lstatOrMissing(target);
  if (hash === undefined || before?.isFile() !== true) return;
  const found = createHash('sha256');
  for await (const piece of createReadStream(target)) found.update(piece as Buffer);
  if (found.digest('hex') === hash) await removeRecorded(target, before, workspace.stagingDir);
}

/** What is being done, and how it is undone. Told of before it is done: it may fail half-way. */
class Undo {
  readonly #workspace: Workspace;
  readonly #steps: { readonly path: PathName; readonly undo: () => Promise<unknown> }[] = [];

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
  }

  /** @param standing What stood there. @param file What is written there; absent: nothing. */
  add(path: PathName, standing: Change | undefined, file: MessageFile | undefined): void {
    const workspace = this.#workspace;
    const undo = async (): Promise<unknown> => {
      await workspace.recorder.captureNow([path]);
      const now = workspace.tree.get(path);
      // Only what this has done: somebody may have gone on with the file.
      if (standing === undefined && now === undefined) return removeUnrecorded(workspace, path, file?.hash);
      if (now?.hash === standing?.hash || now?.hash !== file?.hash) return undefined;
      if (standing !== undefined) return workspace.restoreTo(standing, { to: path });
      return now === undefined ? undefined : workspace.remove({ path: displayPath(path), ifVersion: versionId(now) });
    };
    this.#steps.push({ path, undo });
  }

  made(directories: readonly PathName[]): void {
    for (const path of directories.toReversed()) {
      const dir = absolute(this.#workspace.root, path);
      // One that somebody has put something into stays.
      this.#steps.push({ path, undo: () => rmdir(dir).catch(() => undefined) });
    }
  }

  /** Newest first. @returns What could not be put back. */
  async run(): Promise<string[]> {
    const left: string[] = [];
    for (const { path, undo } of this.#steps.toReversed()) {
      try {
        await undo();
      } catch {
        left.push(displayPath(path));
      }
    }
    return left;
  }
}

/**
 * The change by which a file came, of which the log had no word yet when it was put in place.
 *
 * @throws SyftError saying why the log cannot take it: what came of the message would not be known to have.
 */
async function recordedLate(workspace: Workspace, path: PathName, { hash }: MessageFile): Promise<Change> {
  await workspace.flush();
  const change = workspace.tree.get(path);
  if (change?.hash === hash) return change;
  const shown = displayPath(path);
  throw new SyftError(
    'RESTORE_NOT_RECORDED',
    `${shown} could not be recorded, so nothing of the message was kept. Is the disk of the log full?`,
    { path: shown }
  );
}

async function carryOut(
  workspace: Workspace,
  todo: Judged['todo'],
  places: ReadonlyMap<MessageFile, Placed>,
  message: string,
  signal: AbortSignal | undefined
): Promise<ChangeJson[]> {
  const cause: Cause = { kind: 'message', message };
  const changes: ChangeJson[] = [];
  const undo = new Undo(workspace);
  undo.made(
    await missingDirectories(
      workspace.root,
      todo.flatMap(({ step }) => (step.file === undefined ? [] : [step.path]))
    )
  );
  try {
    for (const { step, standing } of todo) {
      if (signal?.aborted === true) throw new SyftError('CANCELLED', 'Applying the changes was given up.');
      const { path, file } = step;
      undo.add(path, standing, file);
      if (file === undefined) {
        if (standing === undefined) continue;
        const result = await workspace.remove({ path: displayPath(path), ifVersion: versionId(standing) }, cause);
        if (result.change !== undefined) changes.push(result.change as ChangeJson);
        continue;
      }
      const outcome = await workspace.restoreContent(
        versionOf(path, file, standing),
        () => createReadStream(places.get(file)?.staged ?? ''),
        cause,
        {
          onlyIf: now => {
            if (now?.hash === standing?.hash && now?.type === standing?.type) return;
            throw new SyftError(
              'PRECONDITION_FAILED',
              `${displayPath(path)} was changed here meanwhile. Nothing was written.`,
              {
                path: displayPath(path)
              }
            );
          }
        }
      );
      if (outcome.unchanged) continue;
      const isMissing = workspace.isRecorded(path) && outcome.change?.hash !== file.hash;
      const change = isMissing ? await recordedLate(workspace, path, file) : outcome.change;
      if (change !== undefined) changes.push(changeToJson(change));
    }
    return changes;
  } catch (error) {
    const left = await undo.run();
    if (left.length === 0 || !(error instanceof SyftError)) throw error;
    throw new SyftError(
      error.code,
      `${error.message} Not put back: ${named(left)}; what stood there is in the history.`,
      { cause: error, path: left[0] ?? '' }
    );
  }
}

/**
 * Applies a change set.
 *
 * @param workspace An open workspace that records.
 * @param file `syfteventsmessagev3_*.tar.gz`, or a proposal `msgv2_*.tar.gz`.
 * @throws SyftError ARCHIVE_INVALID, SENDER_UNKNOWN, PERMISSION_DENIED, PERMISSIONS_INVALID, PRECONDITION_FAILED for conflicts, SYNC_HALTED for
 *   deletions of more than half of the files, PATH_*, RESTORE_*, DISK_*, CANCELLED; then the workspace is as it was.
 */
export async function applyChanges(
  workspace: Workspace,
  file: string,
  options: ApplyChangesOptions = {}
): Promise<AppliedChanges> {
  const { to = '', trust = false, skipConflicts = false, deleteMany = false, dryRun = false, signal } = options;
  await using archive = await Archive.open(file, options);
  let stagingDir: string | undefined;
  try {
    const inspected = await inspect(archive);
    if (inspected.form !== 'syft events') {
      throw new SyftError('BAD_REQUEST', `${basename(file)} is a SyftMessage, not a change set: import takes it.`);
    }
    const contacts = new Contacts(options.configuration ?? configurationDirectory());
    await checkSender(contacts, inspected, await contacts.standingOf(inspected.sender, []), trust);
    const sender = options.as ?? inspected.sender.name;
    const steps = stepsOf(workspace, inspected, to);
    const permissions = checkPermissions(workspace.root, steps, sender);
    const { todo, unchanged, conflicts } = await judge(workspace, steps, dryRun);
    if (conflicts.length > 0 && !skipConflicts && !dryRun) {
      throw new SyftError(
        'PRECONDITION_FAILED',
        `${conflicts.length === 1 ? '1 file was' : `${conflicts.length} files were`} changed here too: ${named(conflicts.map(({ path, why }) => `${path} (${why})`))}. Nothing was written. To apply the rest: --skip-conflicts.`,
        { path: conflicts[0]?.path ?? '' }
      );
    }
    const deletions = todo.filter(({ step }) => step.file === undefined);
    if (!deleteMany && !dryRun) checkDeletions(workspace, to, deletions.length);
    let changes: ChangeJson[] = [];
    if (!dryRun && todo.length > 0) {
      await mkdir(workspace.stagingDir, { recursive: true, mode: 0o700 });
      stagingDir = await mkdtemp(join(workspace.stagingDir, 'changes-'));
      const places = new Map<MessageFile, Placed>();
      for (const { step } of todo) {
        const { file: of, path } = step;
        if (of !== undefined) places.set(of, { file: of, path, staged: join(stagingDir, String(places.size)) });
      }
      await stageFiles(archive, inspected, [...places.values()]);
      changes = await carryOut(workspace, todo, places, inspected.id, signal);
    }
    const paths = (gone: boolean): string[] =>
      todo.flatMap(({ step }) => ((step.file === undefined) === gone ? [displayPath(step.path)] : []));
    return {
      messageId: inspected.id,
      sender,
      changes,
      written: paths(false),
      deleted: paths(true),
      unchanged,
      conflicts,
      permissions
    };
  } catch (error) {
    if (error instanceof ArchiveFault) throw archive.invalid(error.message, error);
    throw error instanceof SyftError ? error : writeError(error, basename(file));
  } finally {
    if (stagingDir !== undefined) await rm(stagingDir, { recursive: true, force: true });
  }
}
