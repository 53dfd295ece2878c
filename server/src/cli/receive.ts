/** `receive`: applies the changes of other logs to a directory. */
import { resolve } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { storageAt } from '../storage/address.ts';
import { runReceive, type ReceiveEvent } from '../sync/run-receive.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

export async function receiveCommand(context: CommandContext): Promise<number> {
  const { invocation, cwd, output, signal } = context;
  const mode = invocation.values.get('mode') ?? 'latest';
  if (mode !== 'latest' && mode !== 'all_versions') {
    throw new SyftError('BAD_REQUEST', `--mode takes latest or all_versions, not "${mode}".`);
  }
  const out = resolve(cwd, invocation.args.at(-1) ?? '');
  const logs = invocation.args.slice(0, -1).map(log => storageAt(log) ?? resolve(cwd, log));
  const once = invocation.flags.has('once');
  // `ready` comes first and means that the output is where the logs are; what the first pass did is printed behind it.
  let held: ReceiveEvent[] | undefined = [];
  let missing: string | undefined;
  let ready = false;
  const print = (event: ReceiveEvent): void => {
    if ('ready' in event) ready = true;
    if ('problem' in event && event.problem === 'LOG_MISSING' && once) {
      missing = event.message;
    } else if ('problem' in event || 'halted' in event) {
      output.note(`syft-sync: ${event.message} [${'problem' in event ? event.problem : event.halted}]`);
    } else if (!output.json) {
      if ('message' in event) output.note(event.message);
      else if ('path' in event) output.note(`${'planned' in event ? 'would apply' : 'applied'} ${event.path}`);
    } else if ('ready' in event) {
      void output.write(jsonLine(event));
      for (const earlier of held ?? []) void output.write(jsonLine(earlier));
      held = undefined;
    } else if (held === undefined) {
      void output.write(jsonLine(event));
    } else {
      held.push(event);
    }
  };
  const status = await runReceive({
    logs,
    out,
    mode,
    once,
    dryRun: invocation.flags.has('dry-run'),
    force: invocation.flags.has('force'),
    excludePatterns: invocation.exclude,
    ...(invocation.log !== undefined && { ownLog: context.logDir }),
    keysOf: context.keysOf,
    signal,
    onEvent: print
  });
  if (missing !== undefined && status === 4) throw new SyftError('LOG_MISSING', missing);
  if (missing !== undefined) output.note(`syft-sync: ${missing} [LOG_MISSING]`);
  // To stop it is how receiving ends, but not before the output has been once where the logs are.
  if (signal.aborted && !ready && status === 0) {
    throw new SyftError('CANCELLED', 'Stopped on the way; starting it again goes on from here.');
  }
  return status;
}
