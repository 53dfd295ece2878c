/** `serve`: records and answers the HTTP API until told to stop. */
import { rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { runSidecar } from '../api/sidecar.ts';
import { SyftError } from '../core/errors.ts';
import { wholeNumber } from './arguments.ts';
import { recordingKeys, recordingOptions, type CommandContext } from './context.ts';
import { removeStalePlaces } from './control-place.ts';
import { identityFile } from './secrets.ts';

/** Records and serves the HTTP API until told to stop. */
export async function serveCommand(context: CommandContext): Promise<number> {
  const { invocation } = context;
  const port = wholeNumber(invocation, 'port');
  const socket = invocation.values.get('socket');
  if ((port === undefined) === (socket === undefined)) {
    throw new SyftError('BAD_REQUEST', 'Say where to listen: --socket PATH, or --port N (0 takes a free one).');
  }
  if (port !== undefined && port > 65_535) throw new SyftError('BAD_REQUEST', `${port} is not a port.`);
  const stdinLifeLine = invocation.flags.has('stdin-lifeline');
  void removeStalePlaces();
  await runSidecar({
    ...recordingOptions(context),
    ...(socket === undefined ? { port: port ?? 0 } : { socketPath: resolve(context.cwd, socket) }),
    secretEnv: 'SYFT_SYNC_SECRET',
    openKeys: () => recordingKeys(context),
    identityFile: identityFile(context),
    stdinLifeLine,
    logLevel: invocation.verbose ? 'debug' : invocation.quiet ? 'warn' : 'info'
  });
  // A parent that was killed cannot take away the private directory that it made for the socket.
  if (stdinLifeLine && socket !== undefined) await rmdir(dirname(resolve(context.cwd, socket))).catch(() => undefined);
  return 0;
}
