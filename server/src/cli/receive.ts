/** `receive`: applies the changes of other logs to a directory. */
import { resolve } from 'node:path';
import { SyftError } from '../core/errors.ts';
import { runReceive } from '../sync/receiver.ts';
import type { CommandContext } from './context.ts';
import { jsonLine } from './output.ts';

export async function receiveCommand(context: CommandContext): Promise<number> {
  const { invocation, cwd, output, signal } = context;
  const mode = invocation.values.get('mode') ?? 'latest';
  if (mode !== 'latest' && mode !== 'all_versions') {
    throw new SyftError('BAD_REQUEST', `--mode takes latest or all_versions, not "${mode}".`);
  }
  const paths = invocation.args.map(path => resolve(cwd, path));
  const out = paths.pop() ?? '';
  return runReceive({
    logs: paths,
    out,
    mode,
    once: invocation.flags.has('once'),
    dryRun: invocation.flags.has('dry-run'),
    force: invocation.flags.has('force'),
    excludePatterns: invocation.exclude,
    ...(invocation.log !== undefined && { ownLog: context.logDir }),
    signal,
    onEvent: event => {
      if (output.json) void output.write(jsonLine(event));
      else if ('message' in event && typeof event.message === 'string') output.note(event.message);
      else if ('path' in event && typeof event.path === 'string') output.note(`applied ${event.path}`);
    }
  });
}
