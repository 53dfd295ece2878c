/** The command line `syft-sync`. */
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, sep } from 'node:path';
import { keepHeapSmall } from '../capture/heap.ts';
import { changeToJson, versionId, type Change, type ChangeKind } from '../core/change.ts';
import { errnoOf, exitStatus, firstError, SyftError } from '../core/errors.ts';
import { pathMatcher } from '../core/glob.ts';
import { displayPath, pathBase64, type PathName } from '../core/path-name.ts';
import { Marks, marksJson } from '../core/retention-act.ts';
import { droppedJson } from '../log/dropped-error.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { takePassphraseFromEnvironment } from '../crypto/passphrase.ts';
import { keysWith } from '../library/encryption.ts';
import { LogExplorer } from '../library/explorer.ts';
import { LogStorage } from '../library/log-storage.ts';
import { LogView, momentOf } from '../library/log-view.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { VERSION } from '../library/version.ts';
import { checkRoot, LogCounts, statsOf, trackedFiles, Workspace } from '../library/workspace.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { fsckLog } from '../log/fsck.ts';
import { repairLog } from '../log/repair.ts';
import { RewriteGuard } from '../log/rewrite-guard.ts';
import { writeError } from '../storage/durable.ts';
import {
  helpObjects,
  helpText,
  locate,
  parseCommandLine,
  wholeNumber,
  type CommandName,
  type Invocation
} from './arguments.ts';
import { recordingKeys, recordingOptions, type CommandContext } from './context.ts';
import { findControl, type Control } from './control.ts';
import { compare, diskSide, versionSide, type Side } from './diff.ts';
import { changeLine, jsonLine, marksLine, Output } from './output.ts';
import { compactCommand } from './compact.ts';
import { eraseCommand } from './erase.ts';
import { initCommand, keysCommand } from './keys.ts';
import { labelsCommand, markCommand } from './labels.ts';
import { pruneCommand } from './prune.ts';
import { proveCommand, proveHistoryCommand, verifyProofCommand } from './prove.ts';
import { restoreCommand } from './restore.ts';
import { secretFor } from './secrets.ts';
import { usageCommand } from './usage.ts';

function isCaptureSummary(
  value: unknown
): value is { captured: number; unchanged: number; deleted: number; bytes: number; flagged: number } {
  return typeof value === 'object' && value !== null && 'captured' in value;
}

async function capture(context: CommandContext): Promise<number> {
  const { output } = context;
  const started = Date.now();
  const summary = await context.withRecorder(
    async control => {
      const answer = await control.call('POST', '/api/capture');
      if (!isCaptureSummary(answer)) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer;
    },
    async workspace => {
      const result = await workspace.capture({
        signal: context.signal,
        // Only for progress are the files counted beforehand.
        ...(output.showsProgress && { onProgress: p => output.progress(p, started) })
      });
      output.endProgress();
      for (const problem of result.errors) {
        output.note(`syft-sync: ${displayPath(problem.path)}: ${problem.message} [${problem.code}]`);
      }
      return result;
    }
  );
  const { captured, unchanged, deleted, bytes, flagged } = summary;
  await output.result(
    { captured, unchanged, deleted, bytes, flagged },
    `${captured} captured (${readableSize(bytes)}), ${unchanged} unchanged, ${deleted} deleted${flagged === 0 ? '' : `, ${flagged} flagged`}`
  );
  return 0;
}

async function flush(context: CommandContext): Promise<number> {
  await context.withRecorder(
    control => control.call('POST', '/api/flush'),
    workspace => workspace.capture({ signal: context.signal })
  );
  await context.output.result({ flushed: true }, 'everything is recorded and durable');
  return 0;
}

/** `--path` as a test; relative to where one stands, as every path on the command line. */
function chosenPaths(context: CommandContext): ((path: PathName) => boolean) | undefined {
  const glob = context.invocation.values.get('path');
  if (glob === undefined) return undefined;
  const { root, cwd } = context;
  if (isAbsolute(glob)) return pathMatcher(relative(root, glob).split(sep).join('/'));
  const here = relative(root, cwd);
  const inside = here !== '..' && !here.startsWith(`..${sep}`);
  return pathMatcher(glob, inside ? here.split(sep).join('/') : '');
}

const KINDS: readonly string[] = ['created', 'modified', 'deleted', 'moved'] satisfies ChangeKind[];

async function log(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const kind = invocation.values.get('kind');
  if (kind !== undefined && !KINDS.includes(kind)) {
    throw new SyftError('BAD_REQUEST', `--kind takes one of ${KINDS.join(', ')}, not "${kind}".`);
  }
  const chosen = chosenPaths(context);
  const since = invocation.values.get('since');
  const until = invocation.values.get('until');
  const from = since === undefined ? Number.NEGATIVE_INFINITY : momentOf(since);
  const to = until === undefined ? Number.POSITIVE_INFINITY : momentOf(until);
  const limit = wholeNumber(invocation, 'limit') ?? Number.POSITIVE_INFINITY;
  const matches = (change: Change): boolean =>
    (kind === undefined || change.kind === kind) &&
    change.at >= from &&
    change.at <= to &&
    (chosen === undefined || chosen(change.path) || (change.from !== undefined && chosen(change.from)));
  const print = async (change: Change): Promise<void> => {
    const json = changeToJson(change);
    await output.result(json, changeLine(json));
  };
  await using view = await openView(context);
  const follow = invocation.flags.has('follow');
  const oldestFirst = invocation.flags.has('oldest-first') || follow;
  let found = view.changes.filter(matches);
  // The newest `limit` in either order; with --oldest-first alone, the oldest.
  if (!oldestFirst) found = found.reverse().slice(0, limit);
  else if (follow) found = limit === Number.POSITIVE_INFINITY ? found : found.slice(Math.max(0, found.length - limit));
  else found = found.slice(0, limit);
  for (const change of found) {
    if (output.gone || context.signal.aborted) break;
    await print(change);
  }
  while (follow && !output.gone && !context.signal.aborted) {
    await new Promise<void>(resolve => {
      const timer = setTimeout(done, 100);
      function done(): void {
        clearTimeout(timer);
        context.signal.removeEventListener('abort', done);
        resolve();
      }
      context.signal.addEventListener('abort', done);
    });
    for (const change of (await view.refresh()).filter(matches)) await print(change);
  }
  return 0;
}

async function history(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  await using view = await openView(context);
  const limit = wholeNumber(invocation, 'limit') ?? Number.POSITIVE_INFINITY;
  const marks = Marks.of(view.reader.acts());
  for (const change of view.history(view.pathOf(invocation.args[0] ?? '', context.cwd)).slice(0, limit)) {
    const json = { ...changeToJson(change), ...marksJson(marks, change), ...droppedJson(view.reader.dropped(change)) };
    await output.result(json, `${changeLine(json)}${marksLine(json)}`);
  }
  return 0;
}

async function tree(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const at = invocation.values.get('at');
  const chosen = chosenPaths(context);
  const moment = at === undefined ? undefined : momentOf(at);
  await using view = await openView(context);
  for (const change of [...view.tree(moment).values()].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (chosen?.(change.path) === false) continue;
    const base64 = pathBase64(change.path);
    await output.result(
      {
        path: displayPath(change.path),
        ...(base64 !== undefined && { pathBase64: base64 }),
        versionId: versionId(change),
        type: change.type,
        ...(change.size !== undefined && { size: change.size }),
        ...(change.hash !== undefined && { hash: `sha256:${change.hash}` }),
        ...(change.mode !== undefined && { mode: change.mode })
      },
      changeLine(changeToJson(change))
    );
    if (output.gone) break;
  }
  return 0;
}

async function show(context: CommandContext): Promise<number> {
  await using view = await openView(context);
  const change = view.version(context.invocation.args[0] ?? '', context.cwd);
  for await (const piece of view.reader.content(change)) {
    if (context.output.gone) break;
    await context.output.write(piece);
  }
  return 0;
}

async function diff(context: CommandContext): Promise<number> {
  const { invocation, cwd, root, output } = context;
  const [first = '', second] = invocation.args;
  await using view = await openView(context);
  const { version, path } = view.namedOrLatest(first, cwd);
  const left: Side = await versionSide(view, version);
  let right: Side;
  if (second === undefined) {
    const disk = await diskSide(root, path);
    if (disk === undefined) {
      throw new SyftError('PATH_NOT_FOUND', `${displayPath(path)} does not exist on disk.`, {
        path: displayPath(path)
      });
    }
    right = disk;
  } else {
    right = await versionSide(view, view.namedOrLatest(second, cwd).version);
  }
  const result = compare(left, right);
  if (output.json) await output.write(jsonLine(result.json));
  else if (result.text !== '') {
    // A terminal must not obey what stands in a file; a file or a pipe gets it as it is.
    const text = process.stdout.isTTY ? result.text.split('\n').map(shownLine).join('\n') : result.text;
    await output.write(`${text}\n`);
  }
  return 0;
}

function shownLine(line: string): string {
  return line.split('\t').map(printable).join('\t');
}

async function stats(context: CommandContext): Promise<number> {
  const { output } = context;
  const control = await findControl(context.logDir, context.signal);
  let result: Record<string, unknown>;
  if (control === undefined) {
    await using view = await openView(context);
    const counts = new LogCounts();
    for (const change of view.changes) counts.add(change);
    result = { ...statsOf(counts, trackedFiles(view.tree()), await view.reader.storedBytes()) };
  } else {
    result = { ...((await control.call('GET', '/api/stats')) as object) };
  }
  if (output.json) await output.write(jsonLine(result));
  else for (const [name, value] of Object.entries(result)) await output.write(`${name.padEnd(16)} ${String(value)}\n`);
  return 0;
}

/** Why a log is checked without its keys: nothing opens it here. A wrong passphrase is no such reason. */
const CHECKED_WITHOUT_KEYS: ReadonlySet<string> = new Set(['LOG_ENCRYPTED', 'KEY_MISSING', 'KEY_DAMAGED']);

/** The keys of a log that is to be checked; `undefined` where there are none to be had and the rest can be checked all the same. */
async function keysForCheck(context: CommandContext): Promise<LogKeys | undefined> {
  try {
    return await context.keysOf(context.logDir);
  } catch (error) {
    const { flags } = context.invocation;
    if (!(error instanceof SyftError) || flags.has('repair') || flags.has('accept')) throw error;
    // What format.json has to say against the log, fsck itself says.
    if (error.code === 'LOG_DAMAGED') return undefined;
    if (!CHECKED_WITHOUT_KEYS.has(error.code)) throw error;
    context.output.note(`syft-sync: ${error.message} [${error.code}]`);
    return undefined;
  }
}

async function fsck(context: CommandContext): Promise<number> {
  const { output } = context;
  const keys = await keysForCheck(context);
  await LogView.open({ dir: context.logDir, keys }, context.root).then(
    view => view.close(),
    (error: unknown) => {
      // A log that is not there is "not found"; one that cannot be read is what fsck is for.
      if (
        error instanceof SyftError &&
        (error.code === 'LOG_MISSING' || error.code === 'LOG_NEWER_FORMAT' || error.code === 'LOG_PATH_NOT_DIRECTORY')
      ) {
        throw error;
      }
    }
  );
  const { flags } = context.invocation;
  if (flags.has('repair')) {
    for (const repair of await repairLog(context.logDir, { keys })) {
      await output.result({ repaired: repair }, `${repair.did}  ${repair.where}  ${repair.why}`);
    }
  }
  if (flags.has('accept')) {
    const guard = new RewriteGuard(context.logDir, configurationDirectory(), keys);
    guard.accept();
    guard.close();
  }
  let damages = 0;
  let pruned = 0;
  const started = Date.now();
  for await (const damage of fsckLog(context.logDir, {
    readData: flags.has('read-data'),
    configDir: configurationDirectory(),
    ...(keys !== undefined && { masters: keys }),
    signal: context.signal,
    onPruned: () => (pruned += 1),
    onUnopened: message => output.note(`syft-sync: ${message}`),
    onProgress: p => output.progress(p, started, 'bytes')
  })) {
    damages += 1;
    output.endProgress();
    const versions =
      damage.versions.length === 0
        ? ''
        : `  (${damage.versions.length} versions: ${damage.versions.slice(0, 5).join(', ')}${damage.versions.length > 5 ? ', …' : ''})`;
    await output.result(damage, `${damage.kind}  ${damage.where}  ${damage.message}${versions}`);
  }
  output.endProgress();
  if (pruned > 0) {
    output.note(`syft-sync: ${pruned} versions have no content because signed records say that it was dropped`);
  }
  if (!output.json) await output.write(damages === 0 ? 'no damage found\n' : `${damages} damages found\n`);
  return damages === 0 ? 0 : 3;
}

async function prove(context: CommandContext): Promise<number> {
  await using view = await openView(context);
  return await proveCommand(context, versionId(view.version(context.invocation.args[0] ?? '', context.cwd)));
}

async function explore(context: CommandContext): Promise<number> {
  if (context.output.json) throw new SyftError('BAD_REQUEST', 'explore has no JSON; use log, tree, history or stats.');
  if (process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
    throw new SyftError('BAD_REQUEST', 'explore needs a terminal; use log, tree, history or show instead.');
  }
  await openView(context).then(view => view.close());
  await using storage = new LogStorage(context.logDir, {
    watchPath: context.root,
    keysOf: context.keysOf
  });
  const how = await new LogExplorer(storage, {
    signal: context.signal,
    restore: async (version, asCopy) => {
      const answer = await context.withRecorder(
        control => control.call('POST', '/api/restore', { versionId: version, asCopy }),
        workspace => workspace.restore({ versionId: version, asCopy })
      );
      const result = answer as { path: string; unchanged: boolean; replaced?: string };
      if (result.unchanged) return `${result.path} already has this content.`;
      return `Restored ${result.path}.${result.replaced === undefined ? '' : ` The state before is ${result.replaced}.`}`;
    }
  }).run();
  return how === 'interrupted' ? 130 : 0;
}

async function openView(context: CommandContext): Promise<LogView> {
  return LogView.open(
    {
      dir: context.logDir,
      keys: await context.keysOf(context.logDir),
      onDamage: damage => context.output.note(`syft-sync: damage: ${damage.message} (${damage.where}) [LOG_DAMAGED]`)
    },
    context.root
  );
}

/** A recorder that runs goes by what it was started with; whoever believes otherwise could record what he meant to leave out. */
function sayWhatIsNotTakenOver(
  { invocation, output }: Pick<CommandContext, 'invocation' | 'output'>,
  pid: number
): void {
  const ignored = [
    ...(invocation.exclude.length > 0 ? ['--exclude'] : []),
    ...(invocation.values.has('max-content') ? ['--max-content'] : [])
  ];
  if (ignored.length === 0) return;
  output.note(
    `syft-sync: ${ignored.join(' and ')} changed nothing: process ${pid} records this log, with what it was started with; a .syftignore file holds for all`
  );
}

/** Asks the recorder that holds the log, or opens the workspace for as long as the work takes. */
async function withRecorder<T>(
  context: Omit<CommandContext, 'withRecorder'>,
  ask: (control: Control) => Promise<T>,
  own: (workspace: Workspace) => Promise<T>
): Promise<T> {
  // A holder that has just begun may not listen yet: both ways are tried until one works or the holder is there to stay.
  for (let attempt = 1; ; attempt++) {
    const control = await findControl(context.logDir, context.signal);
    if (control !== undefined) {
      context.output.detail(`asking the recorder, process ${control.pid}`);
      sayWhatIsNotTakenOver(context, control.pid);
      return ask(control);
    }
    try {
      const keys = await recordingKeys(context);
      await using workspace = await Workspace.open({
        ...recordingOptions(context),
        ...(keys !== undefined && { keys }),
        hints: 'none',
        holder: { command: context.invocation.command }
      });
      return await own(workspace);
    } catch (error) {
      if (!(error instanceof SyftError) || error.code !== 'LOG_LOCKED' || attempt >= 20 || context.signal.aborted) {
        throw error;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  }
}

async function run(invocation: Invocation, output: Output, signal: AbortSignal): Promise<number> {
  const cwd = await realpath(process.cwd());
  const place = locate(invocation, cwd);
  const root = await checkRoot(place.root);
  const base = {
    invocation,
    cwd,
    root,
    logDir: invocation.log === undefined ? `${root}/.syft-sync` : place.logDir,
    output,
    signal,
    keysOf: keysWith(() => secretFor(invocation, cwd, output))
  };
  const context: CommandContext = { ...base, withRecorder: (ask, own) => withRecorder(base, ask, own) };
  switch (invocation.command) {
    case 'init':
      return initCommand(context);
    case 'keys':
      return keysCommand(context);
    case 'capture':
      return capture(context);
    case 'watch':
      // What listens is loaded only when it is wanted, so that short commands start fast.
      return (await import('./watch.ts')).watchCommand(context);
    case 'flush':
      return flush(context);
    case 'log':
      return log(context);
    case 'history':
      return history(context);
    case 'tree':
      return tree(context);
    case 'show':
      return show(context);
    case 'diff':
      return diff(context);
    case 'restore':
      return restoreCommand(context);
    case 'label':
    case 'unlabel':
    case 'pin':
    case 'unpin':
      return markCommand(context, invocation.command);
    case 'labels':
      return labelsCommand(context);
    case 'erase':
      return eraseCommand(context);
    case 'compact':
      return compactCommand(context);
    case 'prune':
      return pruneCommand(context);
    case 'usage':
      return usageCommand(context);
    case 'sql':
      return (await import('./sql.ts')).sqlCommand(context);
    case 'stats':
      return stats(context);
    case 'fsck':
      return fsck(context);
    case 'prove':
      return prove(context);
    case 'prove-history':
      return proveHistoryCommand(context);
    case 'verify-proof':
      return verifyProofCommand(context);
    case 'export':
      return (await import('./messages.ts')).exportCommand(context);
    case 'verify':
      return (await import('./messages.ts')).verifyCommand(context);
    case 'import':
      return (await import('./messages.ts')).importCommand(context);
    case 'send':
      return (await import('./send.ts')).sendCommand(context);
    case 'inbox':
      return (await import('./inbox.ts')).inboxCommand(context);
    case 'contacts':
      return (await import('./contacts.ts')).contactsCommand(context);
    case 'permissions':
      return (await import('./permissions.ts')).permissionsCommand(context);
    case 'changeset':
      return (await import('./changesets.ts')).changesetCommand(context);
    case 'explore':
      return explore(context);
    case 'serve':
      return (await import('./serve.ts')).serveCommand(context);
    case 'receive':
      return (await import('./receive.ts')).receiveCommand(context);
    case 'help':
      return 0;
  }
}

/** These have something to bring to an end when they are stopped; all others only read, and stop where they are. */
const ENDS_ITSELF: ReadonlySet<CommandName> = new Set([
  'capture',
  'watch',
  'flush',
  'restore',
  'label',
  'unlabel',
  'pin',
  'unpin',
  'prune',
  'compact',
  'erase',
  'export',
  'import',
  'send',
  'inbox',
  'permissions',
  'changeset',
  'init',
  'keys',
  'explore',
  'sql',
  'serve',
  'receive'
] as const);
/** These run until they are told to stop: being told twice is no reason to hurry. */
const RUNS_ON: ReadonlySet<CommandName> = new Set(['watch', 'serve', 'receive'] as const);

/** What a disk answers wherever it is asked, and no fault of ours. */
const DISK_TROUBLE: ReadonlySet<string> = new Set(['EIO', 'ENOSPC', 'EDQUOT', 'EROFS']);

/** Runs one command line; resolves with the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  takePassphraseFromEnvironment();
  const output = new Output({ json: argv.includes('--json'), quiet: false });
  let command: CommandName | undefined;
  /** A receiver's one pass may be cut off at any moment: the next one goes on with it. */
  let once = false;
  const controller = new AbortController();
  const stop = (): void => {
    const waits = command !== undefined && ENDS_ITSELF.has(command) && !once;
    if (waits && (!controller.signal.aborted || RUNS_ON.has(command as CommandName))) {
      controller.abort();
      return;
    }
    output.error(new SyftError('CANCELLED', 'Stopped.'));
    process.exit(130);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    const parsed = parseCommandLine(argv);
    output.configure(parsed);
    if ('show' in parsed) {
      if (parsed.show === 'version') await output.result({ version: VERSION }, VERSION);
      else if (!parsed.json) await output.write(helpText(parsed.topic));
      else for (const object of helpObjects(parsed.topic)) await output.write(jsonLine(object));
      return 0;
    }
    command = parsed.command;
    once = parsed.flags.has('once');
    // What lives on beside the user's own work must be small; what ends soon may be quick.
    if (RUNS_ON.has(command)) keepHeapSmall();
    // Whoever starts a recorder with nohup wants it to live on; only what holds a terminal must give it back.
    if (command === 'explore') process.on('SIGHUP', stop);
    const status = await run(parsed, output, controller.signal);
    await output.finish();
    if (output.failure === undefined) return status;
    throw new SyftError(
      errnoOf(output.failure) === 'ENOSPC' ? 'DISK_FULL' : 'DISK_ERROR',
      `The output cannot be written: ${output.failure.message}.`,
      { cause: output.failure }
    );
  } catch (thrown) {
    const error = firstError(thrown);
    if (error instanceof SyftError) {
      output.error(error);
      return exitStatus(error.code);
    }
    const message = error instanceof Error ? error.message : String(error);
    output.error(
      DISK_TROUBLE.has(errnoOf(error) ?? '')
        ? writeError(error, message)
        : new SyftError('INTERNAL', `Something unexpected went wrong: ${message}`, { cause: error })
    );
    if (process.env['SYFT_SYNC_DEBUG'] !== undefined) console.error(error);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
// Nothing of ours is left to do; a handle that was forgotten must not keep the caller waiting.
setTimeout(() => process.exit(), 2000).unref();
