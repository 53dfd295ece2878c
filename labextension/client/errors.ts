/** What can go wrong between the panel and the sidecar, with a code that the front end branches on. */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ErrorDto } from '../../server/src/api/contract';

/** A place in a query. */
export type TextPosition = NonNullable<ErrorDto['error']['position']>;

/**
 * Codes of the sidecar's own errors are those of the HTTP API (`NOT_FOUND`, `LOCKED`, `DISK_FULL` …); these are added on
 * the way:
 *
 * - `UNREACHABLE`: nothing answered; the Jupyter server or the network is away.
 * - `ENDED`: the live stream broke off or fell silent; it is opened again.
 * - `NO_EXTENSION`: the Jupyter server answers, and knows nothing of Syft Sync.
 * - `NOT_RUNNING`: the server extension is there, the sidecar does not run.
 * - `LOGGED_OUT`: Jupyter wants a login or refuses this user.
 * - `BAD_ANSWER`: what came is not what the contract says.
 */
export class ClientError extends Error {
  constructor(
    message: string,
    readonly code: string,
    options?: ErrorOptions & { path?: string; position?: TextPosition }
  ) {
    super(message, options);
    this.name = 'ClientError';
    this.path = options?.path;
    this.position = options?.position;
  }

  /** The file the error is about, when it is about one. */
  readonly path: string | undefined;
  /** The place in a query that the error is about, when it is about one. */
  readonly position: TextPosition | undefined;
}

/** What an error says to the user; the sidecar's own sentences are shown as they come. */
export function explain(code: string, message: string, trans: TranslationBundle): string {
  switch (code) {
    case 'UNREACHABLE':
      return trans.__('The Jupyter server does not answer.');
    case 'ENDED':
      return trans.__('The connection to the sidecar ended.');
    case 'NO_EXTENSION':
      return trans.__('This Jupyter server knows nothing of Syft Sync.');
    case 'NOT_RUNNING':
      return trans.__('The sidecar does not answer.');
    case 'LOGGED_OUT':
      return trans.__('Jupyter asks for a login, or does not let this user in.');
    default:
      return message;
  }
}

/** {@link explain} for whatever was thrown. */
export function messageOf(error: unknown, trans: TranslationBundle): string {
  if (error instanceof ClientError) return explain(error.code, error.message, trans);
  return error instanceof Error ? error.message : String(error);
}
