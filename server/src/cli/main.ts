/** The command line `syft-sync`. */
import { realpath } from 'node:fs/promises';
import { changeToJson, versionId, type Change, type ChangeKind } from '../core/change.ts';
import { exitStatus, SyftError } from '../core/errors.ts';
import { displayPath, pathBase64 } from '../core/path-name.ts';
import { LogExplorer, readableSize } from '../library/explorer.ts';
import { LogStorage } from '../library/log-storage.ts';
import { LogView, matchesPath, momentOf } from '../library/log-view.ts';
import { VERSION } from '../library/version.ts';
import { checkRoot, LogCounts, statsOf, trackedFiles, Workspace } from '../library/workspace.ts';
import { fsckLog } from '../log/fsck.ts';
import { helpText, locate, parseCommandLine, wholeNumber, type Invocation } from './arguments.ts';
import { recordingOptions, type CommandContext } from './context.ts';
import { findControl, type Control } from './control.ts';
import { compare, diskSide, versionSide, type Side } from './diff.ts';
import { changeLine, Output } from './output.ts';
import { restoreCommand } from './restore.ts';

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
      const result = await workspace.capture({ signal: context.signal, onProgress: p => output.progress(p, started) });
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

const KINDS: readonly string[] = ['created', 'modified', 'deleted', 'moved'] satisfies ChangeKind[];

async function log(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const kind = invocation.values.get('kind');
  if (kind !== undefined && !KINDS.includes(kind)) {
    throw new SyftError('BAD_REQUEST', `--kind takes one of ${KINDS.join(', ')}, not "${kind}".`);
  }
  const glob = invocation.values.get('path');
  const since = invocation.values.get('since');
  const until = invocation.values.get('until');
  const from = since === undefined ? Number.NEGATIVE_INFINITY : momentOf(since);
  const to = until === undefined ? Number.POSITIVE_INFINITY : momentOf(until);
  const limit = wholeNumber(invocation, 'limit') ?? Number.POSITIVE_INFINITY;
  const matches = (change: Change): boolean =>
    (kind === undefined || change.kind === kind) &&
    change.at >= from &&
    change.at <= to &&
    (glob === undefined ||
      matchesPath(change.path, glob) ||
      (change.from !== undefined && matchesPath(change.from, glob)));
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
  return context.signal.aborted && !follow ? 130 : 0;
}

async function history(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  await using view = await openView(context);
  const limit = wholeNumber(invocation, 'limit') ?? Number.POSITIVE_INFINITY;
  for (const change of view.history(view.pathOf(invocation.args[0] ?? '', context.cwd)).slice(0, limit)) {
    const json = changeToJson(change);
    await output.result(json, changeLine(json));
  }
  return 0;
}

async function tree(context: CommandContext): Promise<number> {
  const { invocation, output } = context;
  const at = invocation.values.get('at');
  const glob = invocation.values.get('path');
  const moment = at === undefined ? undefined : momentOf(at);
  await using view = await openView(context);
  for (const change of [...view.tree(moment).values()].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (glob !== undefined && !matchesPath(change.path, glob)) continue;
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
  const version = (text: string): Change => {
    try {
      return view.version(text, cwd);
    } catch (error) {
      if (!(error instanceof SyftError) || error.code !== 'VERSION_NOT_FOUND' || text.includes('@')) throw error;
      const path = view.pathOf(text, cwd);
      if (!view.knows(path)) throw error;
      return view.version(`${text}@latest`, cwd);
    }
  };
  const a = version(first);
  const left: Side = await versionSide(view, a);
  let right: Side;
  if (second === undefined) {
    const disk = await diskSide(root, a.path);
    if (disk === undefined) {
      throw new SyftError('PATH_NOT_FOUND', `${displayPath(a.path)} does not exist on disk.`, {
        path: displayPath(a.path)
      });
    }
    right = disk;
  } else {
    right = await versionSide(view, version(second));
  }
  const result = compare(left, right);
  if (output.json) await output.write(`${JSON.stringify(result.json)}\n`);
  else if (result.text !== '') await output.write(`${result.text}\n`);
  return 0;
}

async function stats(context: CommandContext): Promise<number> {
  const { output } = context;
  const control = await findControl(context.logDir);
  let result: Record<string, unknown>;
  if (control === undefined) {
    await using view = await openView(context);
    const counts = new LogCounts();
    for (const change of view.changes) counts.add(change);
    result = { ...statsOf(counts, trackedFiles(view.tree()), await view.reader.storedBytes()) };
  } else {
    result = { ...((await control.call('GET', '/api/stats')) as object) };
  }
  if (output.json) await output.write(`${JSON.stringify(result)}\n`);
  else for (const [name, value] of Object.entries(result)) await output.write(`${name.padEnd(16)} ${String(value)}\n`);
  return 0;
}

async function fsck(context: CommandContext): Promise<number> {
  const { output } = context;
  await LogView.open({ dir: context.logDir }, context.root).then(
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
  let damages = 0;
  const started = Date.now();
  for await (const damage of fsckLog(context.logDir, {
    readData: context.invocation.flags.has('read-data'),
    signal: context.signal,
    onProgress: p => output.progress(p, started)
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
  if (!output.json) output.note(damages === 0 ? 'no damage found' : `${damages} damages found`);
  return damages === 0 ? 0 : 3;
}

async function explore(context: CommandContext): Promise<number> {
  await openView(context).then(view => view.close());
  await using storage = new LogStorage(context.logDir, { watchPath: context.root });
  await new LogExplorer(storage, {
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
  return 0;
}

async function openView(context: CommandContext): Promise<LogView> {
  return LogView.open(
    {
      dir: context.logDir,
      onDamage: damage => context.output.note(`syft-sync: damage: ${damage.message} (${damage.where}) [LOG_DAMAGED]`)
    },
    context.root
  );
}

/** Asks the recorder that holds the log, or opens the workspace for as long as the work takes. */
async function withRecorder<T>(
  context: Pick<CommandContext, 'invocation' | 'root' | 'logDir'>,
  ask: (control: Control) => Promise<T>,
  own: (workspace: Workspace) => Promise<T>
): Promise<T> {
  // A holder that has just begun may not listen yet: both ways are tried until one works or the holder is there to stay.
  for (let attempt = 1; ; attempt++) {
    const control = await findControl(context.logDir);
    if (control !== undefined) return ask(control);
    try {
      await using workspace = await Workspace.open({
        ...recordingOptions(context),
        hints: 'none',
        holder: { command: context.invocation.command }
      });
      return await own(workspace);
    } catch (error) {
      if (!(error instanceof SyftError) || error.code !== 'LOG_LOCKED' || attempt >= 20) throw error;
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
    signal
  };
  const context: CommandContext = { ...base, withRecorder: (ask, own) => withRecorder(base, ask, own) };
  switch (invocation.command) {
    case 'capture':
      return capture(context);
    case 'watch':
      // What listens needs express and more: loaded only when it is wanted, so that short commands start fast.
      return (await import('./serve.ts')).watchCommand(context);
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
    case 'stats':
      return stats(context);
    case 'fsck':
      return fsck(context);
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

/** Runs one command line; resolves with the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  let output = new Output({ json, quiet: false });
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    const parsed = parseCommandLine(argv);
    if ('show' in parsed) {
      await output.write(parsed.show === 'version' ? `${VERSION}\n` : helpText(parsed.topic));
      return 0;
    }
    output = new Output(parsed);
    return await run(parsed, output, controller.signal);
  } catch (error) {
    if (error instanceof SyftError) {
      output.error(error);
      return exitStatus(error.code);
    }
    const message = error instanceof Error ? error.message : String(error);
    output.error(new SyftError('INTERNAL', `Something unexpected went wrong: ${message}`, { cause: error }));
    if (process.env['SYFT_SYNC_DEBUG'] !== undefined) console.error(error);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
// Nothing of ours is left to do; a handle that was forgotten must not keep the caller waiting.
setTimeout(() => process.exit(), 2000).unref();
