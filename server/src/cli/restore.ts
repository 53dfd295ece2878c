/** `restore`: one version, one path as of a time, or a whole tree into a directory. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve, sep } from 'node:path';
import type { RestoreResult } from '../api/contract.ts';
import { versionId, type Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { displayPath, joinPath, type PathName } from '../core/path-name.ts';
import { LogView, momentOf, workspacePath } from '../library/log-view.ts';
import { diskError, restoreVersion, type RecordingBeforeRestore } from '../library/restore.ts';
import type { CommandContext } from './context.ts';
import { diskSide } from './diff.ts';

/** Records nothing: for directories outside the workspace. */
const OUTSIDE: RecordingBeforeRestore = {
  tree: new Map(),
  captureNow: () => Promise.resolve([]),
  expect: () => undefined
};

function isRestoreResult(value: unknown): value is RestoreResult {
  return typeof value === 'object' && value !== null && 'versionId' in value && 'unchanged' in value;
}

/** The version that a restore of one path means. */
function chosenVersion(context: CommandContext, view: LogView): Change {
  const { invocation, cwd } = context;
  const what = invocation.args[0];
  if (what === undefined) {
    throw new SyftError('BAD_REQUEST', 'Say what to restore: a version, a path with --at, or --tree.');
  }
  const at = invocation.values.get('at');
  return at === undefined ? view.version(what, cwd) : view.version(`${what}@${at}`, cwd);
}

/** The workspace path of `--to`, or `undefined` when it lies outside. */
function insideTarget(context: CommandContext, to: string): PathName | undefined {
  const path = resolve(context.cwd, to);
  const rel = relative(context.root, path);
  return rel === '' || rel === '..' || rel.startsWith(`..${sep}`) ? undefined : workspacePath(context.root, path, '/');
}

export async function restoreCommand(context: CommandContext): Promise<number> {
  const { invocation, root, logDir } = context;
  await using view = await LogView.open({ dir: logDir }, root);
  if (invocation.flags.has('tree')) return restoreTree(context, view);
  const version = chosenVersion(context, view);
  const toText = invocation.values.get('to');
  const dryRun = invocation.flags.has('dry-run');
  const force = invocation.flags.has('force');
  const to = toText === undefined ? version.path : insideTarget(context, toText);
  if (to === undefined) {
    const outcome = await restoreVersion(
      { root, log: view.reader, recorder: OUTSIDE, stagingDir: tmpdir(), logDir },
      version,
      {
        toAbsolute: resolve(context.cwd, toText ?? ''),
        force,
        dryRun
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
    await report(context, await planned(root, version, to), true);
    return 0;
  }
  const result = await context.withRecorder(
    async control => {
      const answer = await control.call('POST', '/api/restore', {
        versionId: versionId(version),
        to: displayPath(to),
        force
      });
      if (!isRestoreResult(answer)) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer;
    },
    workspace => workspace.restore({ versionId: versionId(version), to: displayPath(to), force })
  );
  await report(context, result, false);
  return 0;
}

/** What a restore would do, from the disk as it is. */
async function planned(root: string, version: Change, to: PathName): Promise<RestoreResult> {
  const disk = await diskSide(root, to).catch((error: unknown) => {
    if (error instanceof SyftError && error.code === 'PATH_INVALID' && version.type !== 'directory') {
      throw new SyftError(
        'RESTORE_ONTO_DIRECTORY',
        `${displayPath(to)} is a directory; a file cannot be restored onto it.`,
        { path: displayPath(to) }
      );
    }
    throw error;
  });
  return {
    path: displayPath(to),
    versionId: versionId(version),
    unchanged: disk !== undefined && disk.hash === version.hash,
    created: disk === undefined
  };
}

async function report(context: CommandContext, result: RestoreResult, dryRun: boolean): Promise<void> {
  const did = result.unchanged ? 'already has this content' : result.created ? 'created' : 'replaced';
  const action = result.unchanged ? 'unchanged' : result.created ? 'create' : 'replace';
  const undo = result.replaced === undefined ? '' : `  (undo: syft-sync restore ${result.replaced})`;
  await context.output.result(
    { ...(dryRun ? { wouldRestore: result.path } : { restored: result.path }), action, ...result },
    dryRun
      ? `would ${action} ${result.path} from ${result.versionId}`
      : `${result.path}: ${did}${result.unchanged ? '' : ` from ${result.versionId}`}${undo}`
  );
}

/** The tree as of a moment, into a directory. Inside the workspace what stands there is recorded first. */
async function restoreTree(context: CommandContext, view: LogView): Promise<number> {
  const { invocation, output } = context;
  const at = invocation.values.get('at');
  const toText = invocation.values.get('to');
  if (at === undefined || toText === undefined || invocation.args.length > 0) {
    throw new SyftError('BAD_REQUEST', 'Usage: syft-sync restore --tree --at T --to DIR');
  }
  const target = resolve(context.cwd, toText);
  const tree = view.tree(momentOf(at));
  const dryRun = invocation.flags.has('dry-run');
  const prefix = relative(context.root, target);
  const inside = prefix !== '..' && !prefix.startsWith(`..${sep}`);
  const work = async (restoreOne: (version: Change) => Promise<RestoreResult>): Promise<number> => {
    let done = 0;
    let bytes = 0;
    let failed = 0;
    const started = Date.now();
    const counts = { create: 0, replace: 0, unchanged: 0 };
    for (const version of [...tree.values()].sort((a, b) => (a.path < b.path ? -1 : 1))) {
      if (context.signal.aborted) throw new SyftError('CANCELLED', 'Stopped; what was restored so far is whole.');
      try {
        const result = await restoreOne(version);
        counts[result.unchanged ? 'unchanged' : result.created ? 'create' : 'replace'] += 1;
        if (dryRun || output.json || invocation.verbose) await report(context, result, dryRun);
      } catch (error) {
        if (!(error instanceof SyftError) || error.code === 'DISK_FULL' || error.code === 'DISK_READ_ONLY') throw error;
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
      const place = { root: target, log: view.reader, recorder: await assumeRecorded(target, tree), stagingDir };
      return await work(async version => {
        const { path, unchanged, created } = await restoreVersion(place, version, { force, dryRun });
        return { path: displayPath(path), versionId: versionId(version), unchanged, created };
      });
    } finally {
      if (!dryRun) await rm(stagingDir, { recursive: true, force: true });
    }
  }
  const below = prefix.split(sep).join('/');
  const request = (version: Change): { versionId: string; to: string; force: boolean } => ({
    versionId: versionId(version),
    to: displayPath(below === '' ? version.path : joinPath(below, version.path)),
    force
  });
  return context.withRecorder(
    control =>
      work(async version => {
        const answer = await control.call('POST', '/api/restore', request(version));
        if (!isRestoreResult(answer)) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
        return answer;
      }),
    workspace => work(version => workspace.restore(request(version)))
  );
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

/** Outside the workspace only what already equals the version counts as recorded; anything else in the way needs --force. */
async function assumeRecorded(target: string, tree: ReadonlyMap<PathName, Change>): Promise<RecordingBeforeRestore> {
  const present = new Map<PathName, Change>();
  for (const [path, version] of tree) {
    if (version.type === 'directory') continue;
    const disk = await diskSide(target, path).catch(() => undefined);
    if (disk !== undefined && disk.hash === version.hash) present.set(path, version);
  }
  return { ...OUTSIDE, tree: present };
}
