/** What can go wrong between the panel and the sidecar, with a code that the front end branches on. */

/**
 * Codes of the sidecar's own errors are those of the HTTP API (`NOT_FOUND`, `LOCKED`, `DISK_FULL` …); these are added on
 * the way:
 *
 * - `UNREACHABLE`: nothing answered; the Jupyter server or the network is away.
 * - `NO_EXTENSION`: the Jupyter server answers, and knows nothing of Syft Sync.
 * - `NOT_RUNNING`: the server extension is there, the sidecar does not run.
 * - `LOGGED_OUT`: Jupyter wants a login or refuses this user.
 * - `BAD_ANSWER`: what came is not what the contract says.
 */
export class ClientError extends Error {
  constructor(
    message: string,
    readonly code: string,
    options?: ErrorOptions & { path?: string }
  ) {
    super(message, options);
    this.name = 'ClientError';
    this.path = options?.path;
  }

  /** The file the error is about, when it is about one. */
  readonly path: string | undefined;
}
