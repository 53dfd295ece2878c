/** A receiver for the command line: until a signal, or once, with what it does as lines of JSON. */
import { changeToJson, type ChangeJson } from '../core/change.ts';
import { displayPath } from '../core/path-name.ts';
import type { Step } from '../core/reconcile.ts';
import type { Storage } from '../storage/storage.ts';
import type { HaltReason, ReceiverOptions } from './receiving.ts';
import { SyftLogReceiver } from './receiver.ts';

export interface RunReceiveOptions {
  readonly logs: readonly (string | Storage)[];
  readonly out: string;
  readonly mode: 'latest' | 'all_versions';
  /** Apply what there is, and end. */
  readonly once: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly excludePatterns?: readonly string[];
  readonly ownLog?: string;
  readonly keysOf?: ReceiverOptions['keysOf'];
  readonly signal: AbortSignal;
  readonly onEvent: (event: ReceiveEvent) => void;
}

/** What `receive --json` prints, one a line. */
export type ReceiveEvent =
  | { readonly ready: true }
  | (ChangeJson & { readonly applied: Step['do']; readonly writtenTo?: string })
  | { readonly planned: Step['do']; readonly path: string; readonly from?: string }
  | {
      readonly conflict: 'disk' | 'log';
      readonly path: string;
      readonly versionId?: string;
      readonly kept?: string;
      readonly message: string;
    }
  | { readonly halted: HaltReason; readonly message: string }
  | { readonly problem: string; readonly path?: string; readonly message: string };

/**
 * Runs a receiver for the command line until the signal, or once.
 *
 * @returns Exit status: 0; with `once` 1 when halted or something could not be applied, 3 when a log was refused for being
 *   rewritten, 4 when no log was there.
 */
export async function runReceive(options: RunReceiveOptions): Promise<number> {
  const receiver = new SyftLogReceiver({
    logPath: options.logs,
    outputPath: options.out,
    syncMode: options.mode,
    signal: options.signal,
    ...(options.dryRun !== undefined && { dryRun: options.dryRun }),
    ...(options.force !== undefined && { force: options.force }),
    ...(options.excludePatterns !== undefined && { excludePatterns: options.excludePatterns }),
    ...(options.ownLog !== undefined && { ownLog: options.ownLog }),
    ...(options.keysOf !== undefined && { keysOf: options.keysOf })
  });
  const { onEvent } = options;
  receiver.on('applied', event => {
    const to = displayPath(event.path);
    onEvent({
      ...changeToJson(event.change),
      applied: event.do,
      ...(to !== displayPath(event.change.path) && { writtenTo: to })
    });
  });
  receiver.on('planned', step =>
    onEvent({
      planned: step.do,
      path: displayPath(step.path),
      ...(step.do === 'move' && { from: displayPath(step.from) })
    })
  );
  receiver.on('conflict', ({ path, winner, version, kept, keptIn = 'conflicts' }) =>
    onEvent({
      conflict: winner,
      path: displayPath(path),
      ...(version !== undefined && { versionId: version }),
      ...(kept !== undefined && { kept }),
      message:
        winner === 'disk'
          ? `Both sides changed ${displayPath(path)}: yours stands, the other one is in its log.`
          : `Both sides changed ${displayPath(path)}: the received one stands${kept === undefined ? '' : `, yours is kept as ${keptIn}/${kept}`}.`
    })
  );
  receiver.on('halted', ({ reason, message }) => onEvent({ halted: reason, message }));
  receiver.on('problem', ({ code, path, message }) =>
    onEvent({ problem: code, ...(path !== undefined && { path }), message })
  );
  try {
    if (options.once) {
      const report = await receiver.runOnce();
      const { sources } = receiver.getSyncStatus();
      if (sources.some(source => source.refused)) {
        return 3;
      }
      if (sources.every(source => !source.reachable)) {
        return 4;
      }
      onEvent({ ready: true });
      return report.halted !== undefined || report.problems > 0 ? 1 : 0;
    }
    await receiver.start();
    if (options.signal.aborted) return 0;
    onEvent({ ready: true });
    await new Promise<void>(done => options.signal.addEventListener('abort', () => done(), { once: true }));
    return 0;
  } finally {
    await receiver.stop();
  }
}
