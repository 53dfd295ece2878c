/** `restore`: one version, one path as of a time, or a whole tree into a directory. */
import type { Stats } from 'node:fs';
import { lstat, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import type { RestoreRequest, RestoreResult } from '../api/contract.ts';
import { versionId, type Change } from '../core/change.ts';
import { errnoOf, SyftError, type ErrorCode } from '../core/errors.ts';
import { displayPath, encodePath, joinPath, parseDisplayPath, type PathName } from '../core/path-name.ts';
import { LogView, momentOf, type NamedVersion } from '../library/log-view.ts';
import { placeNewFiles, type NewFilesOptions } from '../library/new-files.ts';
import {
  absolute,
  diskError,
  restoreVersion,
  type ContentSource,
  type RecordingBeforeRestore
} from '../library/restore.ts';
import { belongsToLog, type Workspace } from '../library/workspace.ts';
import { droppedError } from '../log/dropped-error.ts';
import type { OpenReader } from '../log/types.ts';
import type { CommandContext } from './context.ts';
import { diskSide } from './diff.ts';

/** Records nothing: for directories outside the workspace. */
const OUTSIDE: RecordingBeforeRestore = {
  recordsFirst: false,
  tree: new Map(),
  captureNow: () => Promise.resolve([]),
  expect: () => () => undefined
};

function isRestoreResult(value: unknown): value is RestoreResult {
  return typeof value === 'object' && value !== null && 'versionId' in value && 'unchanged' in value;
}

/** The version that a restore of one path means, and the path to put it back to. */
function chosenVersion(context: CommandContext, view: LogView): NamedVersion {
  const { invocation, cwd } = context;
  const what = invocation.args[0];
  if (what === undefined) {
    throw new SyftError('BAD_REQUEST', 'Say what to restore: a version, a path with --at, or --tree.');
  }
  const at = invocation.values.get('at');
  return at === undefined ? view.named(what, cwd) : view.namedAt(what, at, cwd);
}

/** The workspace path of `--to`, or `undefined` when it lies outside. Throws PATH_INVALID for what belongs to the log. */
function insideTarget(context: CommandContext, view: LogView, to: string): PathName | undefined {
  const target = resolve(context.cwd, to);
  refuseLog(context, target);
  let path: PathName;
  try {
    path = view.pathOf(target, context.cwd);
  } catch (error) {
    if (error instanceof SyftError && error.code === 'PATH_OUTSIDE_ROOT') return undefined;
    throw error;
  }
  refuseLog(context, join(context.root, path));
  return view.knows(path) ? path : parseDisplayPath(path);
}

function refuseLog(context: CommandContext, target: string): void {
  if (!belongsToLog(target, context.logDir)) return;
  throw new SyftError('PATH_INVALID', `${target} belongs to the log; restore to another place.`, { path: target });
}

/** The request to the recorder for one version; without `to` when that is the version's own path. */
function requestOf(version: Change, to: PathName, force: boolean): RestoreRequest {
  return {
    versionId: versionId(version),
    ...(to !== version.path && { to: displayPath(to), toBase64: encodePath(to).toString('base64') }),
    force
  };
}

export async function restoreCommand(context: CommandContext): Promise<number> {
  const { invocation, root, logDir, signal } = context;
  await using view = await LogView.open({ dir: logDir, keys: await context.keysOf(logDir) }, root);
  if (invocation.flags.has('tree')) return await restoreTree(context, view);
  const { version, path } = chosenVersion(context, view);
  const toText = invocation.values.get('to');
  const dryRun = invocation.flags.has('dry-run');
  const force = invocation.flags.has('force');
  const to = toText === undefined ? path : insideTarget(context, view, toText);
  if (to === undefined) {
    const outcome = await restoreVersion(
      { root, log: view.reader, recorder: OUTSIDE, logDir, ...stagedFor(view.reader) },
      version,
      {
        toAbsolute: resolve(context.cwd, toText ?? ''),
        force,
        dryRun,
        signal
      }
    );
    await report(
      context,
      { path: outcome.path, versionId: versionId(version), unchanged: outcome.unchanged, created: outcome.created },
      dryRun
    );
    return 0;
  }
  if (dryRun) {
    const dropped = view.reader.dropped(version);
    if (dropped !== undefined) throw droppedError(version, dropped);
    await report(context, await planned(root, version, to), true);
    return 0;
  }
  const request = requestOf(version, to, force);
  const result = await context.withRecorder(
    async control => asRestoreResult(await control.call('POST', '/api/restore', request)),
    workspace => workspace.restore(request, { signal })
  );
  await report(context, result, false);
  return 0;
}

/** Contents of an encrypted log go nowhere but to where they were asked for. */
function stagedFor({ keys }: Pick<OpenReader, 'keys'>): { readonly stagingDir?: string } {
  return keys === undefined ? { stagingDir: tmpdir() } : {};
}

/** What a restore would do, from the disk as it is. */
async function planned(root: string, version: Change, to: PathName): Promise<RestoreResult> {
  const present = new Map<PathName, Change>();
  const stats = await lstat(absolute(root, to)).catch(() => undefined);
  if (stats !== undefined && !stats.isDirectory() && version.type !== 'directory') {
    const disk = await diskSide(root, to);
    const type = stats.isSymbolicLink() ? 'symlink' : 'file';
    if (disk !== undefined) {
      present.set(to, { ...version, path: to, type, hash: disk.hash, mode: modeOf(stats, version) });
    }
  }
  const recorder = { ...OUTSIDE, tree: present };
  const place = { root, log: NO_CONTENT, recorder };
  const { unchanged, created } = await restoreVersion(place, version, { to, dryRun: true });
  return { path: displayPath(to), versionId: versionId(version), unchanged, created };
}

/** A dry run reads no content. */
const NO_CONTENT: ContentSource = {
  content: () => {
    throw new SyftError('INTERNAL', 'A dry run reads no content.');
  },
  contentBytes: () => Promise.reject(new SyftError('INTERNAL', 'A dry run reads no content.'))
};

/** Permission bits on disk; a link has none worth comparing. */
function modeOf(stats: Stats, version: Change): number {
  return stats.isSymbolicLink() ? (version.mode ?? 0o777) : stats.mode & 0o7777;
}

function asRestoreResult(answer: unknown): RestoreResult {
  if (!isRestoreResult(answer)) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
  return answer;
}

async function report(context: CommandContext, result: RestoreResult, dryRun: boolean): Promise<void> {
  const did = result.unchanged ? 'already has this content' : result.created ? 'created' : 'replaced';
  const action = result.unchanged ? 'unchanged' : result.created ? 'create' : 'replace';
  const undo = result.replaced === undefined ? '' : `  (undo: syft-sync restore ${result.replaced})`;
  await context.output.result(
    { ...(dryRun ? { wouldRestore: result.path } : { restored: result.path }), action, ...result },
    dryRun
      ? `would ${result.unchanged ? 'leave' : action} ${result.path}${result.unchanged ? ' as it is' : ` from ${result.versionId}`}`
      : `${result.path}: ${did}${result.unchanged ? '' : ` from ${result.versionId}`}${undo}`
  );
}

/** What concerns every file that is still to come. */
const ENDS_TREE: ReadonlySet<ErrorCode> = new Set([
  'DISK_FULL',
  'DISK_READ_ONLY',
  'CANCELLED',
  'LOG_LOCKED',
  'LOG_CLOSED',
  'NOT_RUNNING'
] as const);

/** The tree as of a moment, into a directory. Inside the workspace what stands there is recorded first. */
async function restoreTree(context: CommandContext, view: LogView): Promise<number> {
  const { invocation, output, logDir } = context;
  const at = invocation.values.get('at');
  const toText = invocation.values.get('to');
  if (at === undefined || toText === undefined || invocation.args.length > 0) {
    throw new SyftError('BAD_REQUEST', 'Usage: syft-sync restore --tree --at T --to DIR');
  }
  const target = resolve(context.cwd, toText);
  refuseLog(context, target);
  const tree = view.tree(momentOf(at));
  const dryRun = invocation.flags.has('dry-run');
  const prefix = relative(context.root, target);
  const inside = prefix !== '..' && !prefix.startsWith(`..${sep}`);
  const work = async (
    restoreOne: (version: Change) => Promise<RestoreResult>,
    restored: (versions: readonly Change[]) => AsyncIterable<TreeItem> | readonly TreeItem[] = eachAlone
  ): Promise<number> => {
    let done = 0;
    let bytes = 0;
    let failed = 0;
    const started = Date.now();
    const counts = { create: 0, replace: 0, unchanged: 0 };
    for await (const { version, there } of restored([...tree.values()].sort(inLogOrder))) {
      if (context.signal.aborted) throw new SyftError('CANCELLED', 'Stopped; what was restored so far is whole.');
      try {
        const result = there ?? (await restoreOne(version));
        counts[result.unchanged ? 'unchanged' : result.created ? 'create' : 'replace'] += 1;
        if (dryRun || output.json || invocation.verbose) await report(context, result, dryRun);
      } catch (error) {
        if (!(error instanceof SyftError) || ENDS_TREE.has(error.code)) throw error;
        failed += 1;
        output.error(error);
      }
      done += 1;
      bytes += version.size ?? 0;
      output.progress({ done, total: tree.size, bytes }, started);
    }
    output.endProgress();
    await output.result(
      {
        restoredTree: at,
        files: tree.size,
        created: counts.create,
        replaced: counts.replace,
        unchanged: counts.unchanged,
        failed,
        dryRun
      },
      `${dryRun ? 'would restore' : 'restored'} ${tree.size} paths: ${counts.create} created, ${counts.replace} replaced, ${counts.unchanged} unchanged${failed === 0 ? '' : `, ${failed} failed`}`
    );
    return failed === 0 ? 0 : 1;
  };
  const force = invocation.flags.has('force');
  if (!inside || dryRun) {
    if (!dryRun) await makeTarget(target);
    const stagingDir = dryRun ? tmpdir() : await mkdtemp(join(target, '.syft-sync-tmp-'));
    try {
      const recorder = { ...OUTSIDE, tree: new Map<PathName, Change>() };
      const place = { root: target, log: view.reader, recorder, stagingDir };
      const restoreOne = async (version: Change): Promise<RestoreResult> => {
        await assumeRecorded(recorder.tree, target, version, inside);
        const options = { force, dryRun, signal: context.signal };
        const { path, unchanged, created } = await restoreVersion(place, version, options);
        return { path: displayPath(path), versionId: versionId(version), unchanged, created };
      };
      if (dryRun) return await work(restoreOne);
      const { signal } = context;
      return await work(restoreOne, versions =>
        newFilesFirst(versions, { root: target, log: view.reader, stagingDir, logDir, signal })
      );
    } finally {
      if (!dryRun) await rm(stagingDir, { recursive: true, force: true });
    }
  }
  const below = prefix.split(sep).join('/');
  const placeOf = ({ path }: Change): PathName => (below === '' ? path : joinPath(below, path));
  const request = (version: Change): RestoreRequest => requestOf(version, placeOf(version), force);
  return context.withRecorder(
    control => work(async version => asRestoreResult(await control.call('POST', '/api/restore', request(version)))),
    workspace =>
      work(
        version => workspace.restore(request(version), { signal: context.signal }),
        versions => newInWorkspaceFirst(workspace, versions, placeOf, context.signal)
      )
  );
}

/** As {@link newFilesFirst}, in the workspace: what was put in place is recorded. */
async function* newInWorkspaceFirst(
  workspace: Workspace,
  versions: readonly Change[],
  placeOf: (version: Change) => PathName,
  signal: AbortSignal
): AsyncGenerator<TreeItem> {
  const byId = new Map(versions.map(version => [versionId(version), version]));
  const original = (id: string): Change => byId.get(id) as Change;
  const placed = versions.map(version => ({ ...version, path: placeOf(version) }));
  for await (const { done, left } of workspace.restoreNew(placed, { signal })) {
    for (const there of done) yield { version: original(there.versionId), there };
    yield* eachAlone(left.map(version => original(versionId(version))));
  }
}

async function makeTarget(target: string): Promise<void> {
  try {
    await mkdir(target, { recursive: true });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' || errnoOf(error) === 'ENOTDIR') {
      throw new SyftError('PATH_INVALID', `${target} is a file, not a directory.`, { cause: error, path: target });
    }
    throw diskError(error, target);
  }
}

/** A version of the tree; `there`: it is in place already. */
interface TreeItem {
  readonly version: Change;
  readonly there?: RestoreResult;
}

function eachAlone(versions: readonly Change[]): readonly TreeItem[] {
  return versions.map(version => ({ version }));
}

/** Where nothing stands, many are put in place together; the others are left to be restored one by one. */
async function* newFilesFirst(versions: readonly Change[], options: NewFilesOptions): AsyncGenerator<TreeItem> {
  for await (const { done, left } of placeNewFiles(versions, options)) {
    for (const version of done) {
      const path = displayPath(version.path);
      yield { version, there: { path, versionId: versionId(version), unchanged: false, created: true } };
    }
    yield* eachAlone(left);
  }
}

/** So that each block of contents is read once. */
function inLogOrder(a: Change, b: Change): number {
  return a.device === b.device ? a.seq - b.seq : a.device < b.device ? -1 : 1;
}

/**
 * Outside the workspace only what already equals the version counts as recorded; anything else in the way needs --force.
 * Inside (a dry run) everything will be recorded first.
 */
async function assumeRecorded(
  present: Map<PathName, Change>,
  target: string,
  version: Change,
  inside: boolean
): Promise<void> {
  if (version.type === 'directory') return;
  const { path } = version;
  const stats = await lstat(absolute(target, path)).catch(() => undefined);
  if (stats === undefined || (stats.isFile() && stats.size !== version.size && !inside)) return;
  const disk = await diskSide(target, path).catch(() => undefined);
  if (disk === undefined || (!inside && disk.hash !== version.hash)) return;
  const type = stats.isSymbolicLink() ? 'symlink' : 'file';
  present.set(path, { ...version, type, hash: disk.hash, mode: modeOf(stats, version) });
}
