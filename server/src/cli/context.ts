/** What every command is given, apart from the command line itself. */
import type { Workspace, WorkspaceOptions } from '../library/workspace.ts';
import { wholeNumber, type Invocation } from './arguments.ts';
import type { Control } from './control.ts';
import type { Output } from './output.ts';

/** What every command is given. */
export interface CommandContext {
  readonly invocation: Invocation;
  readonly cwd: string;
  readonly root: string;
  readonly logDir: string;
  readonly output: Output;
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  withRecorder<T>(ask: (control: Control) => Promise<T>, own: (workspace: Workspace) => Promise<T>): Promise<T>;
}

/** Options of the commands that record. Throws BAD_REQUEST. */
export function recordingOptions(
  context: Pick<CommandContext, 'invocation' | 'root' | 'logDir'>
): Pick<WorkspaceOptions, 'root' | 'logDir' | 'excludePatterns' | 'maxContentBytes' | 'hints'> {
  const limit = wholeNumber(context.invocation, 'max-content');
  const watcher = context.invocation.values.get('watcher');
  return {
    root: context.root,
    logDir: context.logDir,
    excludePatterns: context.invocation.exclude,
    ...(limit !== undefined && { maxContentBytes: limit }),
    ...(watcher !== undefined && { hints: watcher })
  };
}
