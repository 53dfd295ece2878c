/** `watch`: records until told to stop, and answers those who ask over the control socket. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { apiOnDemand } from '../api/on-demand.ts';
import { listen } from '../api/listen.ts';
import type { ApiLogger } from '../api/server.ts';
import { changeToJson } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { ChangeIndex } from '../index/change-index.ts';
import { SqlEngine } from '../index/sql/engine.ts';
import { Workspace } from '../library/workspace.ts';
import { recordingKeys, recordingOptions, type CommandContext } from './context.ts';
import { makeControlPlace, removeStalePlaces } from './control-place.ts';
import { changeLine } from './output.ts';

const SILENT: ApiLogger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined
};

/** Resolves when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Records until SIGINT or SIGTERM, then makes all durable. */
export async function watchCommand(context: CommandContext): Promise<number> {
  const { output, signal, invocation } = context;
  const place = makeControlPlace();
  void removeStalePlaces();
  try {
    const keys = await recordingKeys(context);
    await using workspace = await Workspace.open({
      ...recordingOptions(context),
      ...(keys !== undefined && { keys }),
      startsAtOnce: true,
      holder: { command: 'watch', socket: place.socket, secret: place.secret }
    });
    await using index = ChangeIndex.open({
      dir: join(context.logDir, 'index'),
      log: workspace.log,
      ...(workspace.keys !== undefined && { keys: workspace.keys })
    });
    await using sql = new SqlEngine({
      index,
      log: () => workspace.log,
      logDir: () => workspace.logDir,
      keys: () => workspace.keys,
      marks: async () => (await workspace.said()).marks,
      dir: () => join(workspace.logDir, 'index')
    });
    const api = apiOnDemand({ service: workspace, index, sql, secret: place.secret, logger: SILENT });
    const listening = await listen(api, { socketPath: place.socket });
    try {
      let ready = false;
      workspace.on('problem', problem =>
        output.note(
          `syft-sync: ${problem.path === undefined ? '' : `${problem.path}: `}${problem.message} [${problem.code}]`
        )
      );
      let trouble: string | undefined;
      workspace.on('status', () => {
        const { error } = workspace.recorder.status;
        if (error?.code === trouble) return;
        trouble = error?.code;
        output.note(error === undefined ? 'syft-sync: recording again' : `syft-sync: ${error.message} [${error.code}]`);
      });
      workspace.on('change', change => {
        index.add(change);
        const json = changeToJson(change);
        // What the first pass records is the present, not news; with -v it is listed too.
        if (ready || invocation.verbose) output.together(json, () => changeLine(json));
      });
      await Promise.race([workspace.start(), aborted(signal)]);
      if (!signal.aborted) {
        ready = true;
        const files = workspace.recorder.countFiles();
        await output.result({ ready: true, files }, `recording ${files} files; Ctrl-C stops`);
        await aborted(signal);
        await workspace.flush().catch((error: unknown) => {
          if (!(error instanceof SyftError)) throw error;
          output.error(error);
        });
      }
    } finally {
      await listening.close();
    }
    return 0;
  } finally {
    rmSync(place.dir, { recursive: true, force: true });
  }
}
