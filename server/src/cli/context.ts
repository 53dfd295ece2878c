/** What every command is given, apart from the command line itself. */
import { SyftError } from '../core/errors.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { isLogDirectory } from '../log/format-file.ts';
import type { Workspace, WorkspaceOptions } from '../library/workspace.ts';
import { initEncrypted } from './keys.ts';
import { wholeNumber, type Invocation } from './arguments.ts';
import type { Control } from './control.ts';
import type { KeysOf } from '../library/encryption.ts';
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
  /** Keys of the log, when it is encrypted: asks for what opens it, once. */
  readonly keysOf: KeysOf;
  withRecorder<T>(ask: (control: Control) => Promise<T>, own: (workspace: Workspace) => Promise<T>): Promise<T>;
}

/** The keys with which a command records: of the log that is there, or with `--encrypt` of the one that it begins. */
export async function recordingKeys(context: Omit<CommandContext, 'withRecorder'>): Promise<LogKeys | undefined> {
  if (!context.invocation.flags.has('encrypt')) {
    if (context.invocation.recipients.length === 0) return context.keysOf(context.logDir);
    throw new SyftError('BAD_REQUEST', '--recipient belongs to --encrypt.');
  }
  if (!isLogDirectory(context.logDir)) return initEncrypted(context);
  const keys = await context.keysOf(context.logDir);
  if (keys !== undefined) return keys;
  throw new SyftError(
    'KEY_MISMATCH',
    `The log at ${context.logDir} is not encrypted, and --encrypt was given. A log is encrypted from its beginning or never: choose another directory.`,
    { path: context.logDir }
  );
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
