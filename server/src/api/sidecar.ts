/**
 * The sidecar: listens at once, opens the workspace behind, and ends cleanly when its parent goes or a signal comes.
 * One line of JSON on stdout says where it listens; everything else it says is structured log on stderr.
 */
import { pino } from 'pino';
import type { Readable, Writable } from 'node:stream';
import { SyftError } from '../core/errors.ts';
import { join } from 'node:path';
import { SqlEngine } from '../index/sql/engine.ts';
import type { BoxLimits } from '../messages/box.ts';
import { deliver } from '../messages/mailbox.ts';
import { listen, type Listening } from './listen.ts';
import { MessageService } from './message-service.ts';
import { MessageSharing } from './message-sharing.ts';
import { createApi, type ApiLogger } from './server.ts';
import { SidecarService, type SidecarServiceOptions } from './sidecar-service.ts';

export interface SidecarOptions extends Omit<SidecarServiceOptions, 'logger'> {
  /** Unix socket to listen on, absolute; its directory is made private. */
  readonly socketPath?: string | undefined;
  /** Port of 127.0.0.1 to listen on, 0 for any free one; needs a secret. May be given beside a socket. */
  readonly port?: number | undefined;
  /** What every request must bring. */
  readonly secret?: string | undefined;
  /** Name of the environment variable that holds the secret; it is taken out of the environment. */
  readonly secretEnv?: string | undefined;
  readonly allowedOrigins?: readonly string[] | undefined;
  /** A file with age identities: messages that are sealed for them are opened. It may be made later. */
  readonly identityFile?: string | undefined;
  /** What the message box may come to; for tests. */
  readonly messageLimits?: Partial<BoxLimits> | undefined;
  /** Default: structured lines on stderr. */
  readonly logger?: ApiLogger | undefined;
  /** Level of the default logger. Default `info`. */
  readonly logLevel?: string | undefined;
}

export interface RunSidecarOptions extends SidecarOptions {
  /** End when stdin ends: the parent is gone. */
  readonly stdinLifeLine?: boolean | undefined;
  readonly stdin?: Readable | undefined;
  readonly stdout?: Writable | undefined;
}

/** A running sidecar. */
export interface Sidecar extends AsyncDisposable {
  readonly service: SidecarService;
  readonly listening: readonly Listening[];
  /** Stops answering, records what is pending, closes the log. */
  close(): Promise<void>;
}

/**
 * Starts a sidecar; resolves when it listens, before the workspace is open.
 *
 * @throws SyftError BAD_REQUEST, LOG_LOCKED when it cannot listen there.
 */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const logger = options.logger ?? stderrLogger(options.logLevel ?? 'info');
  const secret = options.secret ?? takeFromEnvironment(options.secretEnv);
  if (options.socketPath === undefined && options.port === undefined) {
    throw new SyftError('BAD_REQUEST', 'Say where to listen: a socket or a port.');
  }
  if (options.port !== undefined && secret === undefined) {
    throw new SyftError('BAD_REQUEST', `A port needs a secret; set ${options.secretEnv ?? 'one'} in the environment.`);
  }
  const service = new SidecarService({
    ...options,
    holder: options.holder ?? {
      command: 'serve',
      ...(options.socketPath !== undefined && { socket: options.socketPath }),
      ...(secret !== undefined && { secret })
    },
    logger
  });
  const sql = new SqlEngine({
    index: service.index,
    log: () => service.log,
    logDir: () => service.logDir,
    keys: () => service.keys,
    marks: async () => (await service.said()).marks,
    dir: () => join(service.logDir, 'index')
  });
  const messageService = new MessageService(service, {
    identityFile: options.identityFile,
    limits: options.messageLimits
  });
  const messages = { service: messageService, sharing: new MessageSharing(messageService, deliver) };
  const api = createApi({
    service,
    index: service.index,
    sql,
    messages,
    secret,
    allowedOrigins: options.allowedOrigins,
    logger
  });
  const listening: Listening[] = [];
  try {
    if (options.socketPath !== undefined) listening.push(await listen(api, { socketPath: options.socketPath }));
    if (options.port !== undefined) listening.push(await listen(api, { host: '127.0.0.1', port: options.port }));
  } catch (error) {
    await Promise.all(listening.map(each => each.close()));
    throw error;
  }
  void service.start();
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await Promise.all(listening.map(each => each.close()));
    await sql.close();
    await service.close();
  };
  const closeOnce = (): Promise<void> => (closing ??= close());
  return { service, listening, close: closeOnce, [Symbol.asyncDispose]: closeOnce };
}

/**
 * Runs a sidecar until stdin ends (with the life line), SIGTERM, SIGINT or SIGHUP.
 *
 * @returns When everything is recorded and closed.
 */
export async function runSidecar(options: RunSidecarOptions): Promise<void> {
  const stdin = options.stdin ?? process.stdin;
  const stdout = options.stdout ?? process.stdout;
  const ended = new Promise<void>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.once(signal, () => resolve());
    if (options.stdinLifeLine === true) {
      for (const event of ['end', 'close', 'error']) stdin.once(event, () => resolve());
      stdin.resume();
    }
  });
  // Whoever started us may have stopped listening; that is no reason to stop recording.
  stdout.on('error', () => undefined);
  // A life line that is still held would keep the process alive after its work is done.
  await using letGo = new AsyncDisposableStack();
  if (options.stdinLifeLine === true) letGo.defer(() => void stdin.destroy());
  await using sidecar = await startSidecar(options);
  stdout.write(
    `${JSON.stringify({ listening: Object.assign({}, ...sidecar.listening.map(each => each.at)) as object })}\n`
  );
  await ended;
}

function takeFromEnvironment(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const value = process.env[name];
  // Children must not inherit it.
  Reflect.deleteProperty(process.env, name);
  return value === '' ? undefined : value;
}

function stderrLogger(level: string): ApiLogger {
  return pino(
    { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true })
  );
}
