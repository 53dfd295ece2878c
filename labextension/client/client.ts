/**
 * The routes of the sidecar, typed by the contract, over Jupyter's own connection: its authentication, its XSRF token, its
 * `base_url`. Nothing here keeps state.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type {
  AcceptMessageRequest,
  AddContactRequest,
  ChangeMyContactRequest,
  ChangeRow,
  ChangesPage,
  ChangesQuery,
  ContactDto,
  ContactsDto,
  Deleted,
  ErrorDto,
  FetchMessagesResult,
  History,
  ImportResult,
  MarkRequest,
  MarkResult,
  MessageDetail,
  MessageSummary,
  MessagesPage,
  MessagesQuery,
  PlanMessageRequest,
  PlanMessageResult,
  RemoveMessageResult,
  RemoveRequest,
  RemoveResult,
  RestoreRequest,
  RestoreResult,
  ShareMessageRequest,
  ShareMessageResult,
  SqlFormat,
  SqlOutcome,
  SqlRequest,
  SqlSchema,
  Stats,
  Status
} from '../../server/src/api/contract';
import { ClientError } from './errors';
import type { TextPosition } from './errors';

/** What the server extension says about the process itself, whether it runs or not. */
export interface ProcessStatus {
  running: boolean;
  restarts: number;
  /** Why it does not run: `node-missing`, `disabled`, `crashed` …; absent when it runs. */
  reason?: string;
  /** One sentence. */
  message?: string;
  /** What the user can do. */
  hint?: string;
}

/** A message of a box by its id, or a `.syft` file of the workspace by its path. */
export type MessageRef = { id: string } | { path: string };

type Query = Record<string, string | number | boolean | undefined>;

/** A query and its limits, those that are left out as the sidecar sets them. */
export type SqlQuery = Pick<SqlRequest, 'query'> & Partial<Omit<SqlRequest, 'query' | 'format'>>;

const SQL_TYPES: Readonly<Record<SqlFormat, string>> = {
  arrow: 'application/vnd.apache.arrow.stream',
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv',
  parquet: 'application/vnd.apache.parquet',
  table: 'text/plain'
};

/** Where everything of ours lives, below Jupyter's `base_url`. */
const PREFIX = 'syft-sync';

export class SyftClient {
  constructor(options: SyftClient.IOptions) {
    this.serverSettings = options.serverSettings;
  }

  readonly serverSettings: ServerConnection.ISettings;

  /** @throws {ClientError} as every method here, see its codes. */
  status(signal?: AbortSignal): Promise<Status> {
    return this._get('api/status', {}, signal);
  }

  /** A page of all changes, newest first. */
  changes(query: ChangesQuery, signal?: AbortSignal): Promise<ChangesPage> {
    return this._get('api/changes', query as Query, signal);
  }

  /** Versions of one path, newest first, followed back across moves. */
  history(path: string, page: { limit?: number; before?: string } = {}, signal?: AbortSignal): Promise<History> {
    return this._get('api/history', { path, ...page }, signal);
  }

  /** Files that are gone now, newest deletion first. */
  deleted(query: { under?: string; q?: string; limit?: number }, signal?: AbortSignal): Promise<Deleted> {
    return this._get('api/deleted', query, signal);
  }

  version(versionId: string, signal?: AbortSignal): Promise<ChangeRow> {
    return this._get(`api/versions/${encodeURIComponent(versionId)}`, {}, signal);
  }

  /** The bytes of a version. */
  async content(versionId: string, signal?: AbortSignal): Promise<ArrayBuffer> {
    const response = await this._request(
      `api/versions/${encodeURIComponent(versionId)}/content`,
      {},
      { ...(signal && { signal }) }
    );
    return response.arrayBuffer();
  }

  /** An address that a browser saves as a file; authentication is the browser's cookie. */
  downloadUrl(versionId: string): string {
    return this._url(`api/versions/${encodeURIComponent(versionId)}/content`, { download: 1 });
  }

  restore(request: RestoreRequest): Promise<RestoreResult> {
    return this._post('api/restore', request);
  }

  /** Labels or pins a version, or takes it back. The event stream says `reset` behind it. */
  mark(request: MarkRequest): Promise<MarkResult> {
    return this._post('api/marks', request);
  }

  /** Undo of a restore that made a new file. */
  remove(request: RemoveRequest): Promise<RemoveResult> {
    return this._post('api/remove', request);
  }

  /** Resolves when all that was seen to change is durable. */
  flush(): Promise<unknown> {
    return this._post('api/flush', {});
  }

  pause(): Promise<Status> {
    return this._post('api/pause', {});
  }

  resume(): Promise<Status> {
    return this._post('api/resume', {});
  }

  /** Looks at every file once. */
  capture(): Promise<{ captured: number; deleted: number }> {
    return this._post('api/capture', {});
  }

  /** @param folders - relative to the root, `.` for all of it. */
  setup(folders: string[]): Promise<Status> {
    return this._post('api/setup', { folders });
  }

  stats(): Promise<Stats> {
    return this._get('api/stats', {});
  }

  /**
   * Runs a query; its rows come as an Arrow IPC stream, to be read as it comes.
   *
   * The stream may end early without an error: {@link sqlOutcome} of `queryId` says whether it was all.
   *
   * @param signal - cancels the query when it is aborted
   * @throws {ClientError} codes `SQL_…`, with the position; errors that are found before the first row
   */
  async sql(request: SqlQuery & { queryId: string }, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const response = await this._sql(request, 'arrow', signal);
    if (response.body === null) throw new ClientError('The answer has no body.', 'BAD_ANSWER');
    return response.body;
  }

  /**
   * The whole result of a query as a file of one of the formats.
   *
   * @param progress - is told how many bytes have come
   */
  async sqlFile(
    request: SqlQuery,
    format: SqlFormat,
    signal: AbortSignal,
    progress?: (bytes: number) => void
  ): Promise<Blob> {
    const response = await this._sql(request, format, signal);
    if (progress === undefined || response.body === null) return response.blob();
    let bytes = 0;
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          bytes += piece.byteLength;
          progress(bytes);
          controller.enqueue(piece);
        }
      })
    );
    return new Response(counted, { headers: { 'Content-Type': SQL_TYPES[format] } }).blob();
  }

  /** Tables, columns and macros that a query may name. */
  sqlSchema(): Promise<SqlSchema> {
    return this._get('api/sql/schema', {});
  }

  /** What became of a query; kept for the last hundred. */
  sqlOutcome(queryId: string): Promise<SqlOutcome> {
    return this._get(`api/sql/queries/${encodeURIComponent(queryId)}`, {});
  }

  private _sql(request: SqlQuery, format: SqlFormat, signal: AbortSignal): Promise<Response> {
    const headers = { 'Content-Type': 'application/json', 'X-Syft-Sync-Request': '1', Accept: SQL_TYPES[format] };
    const body = JSON.stringify({ ...request, format });
    return this._request('api/sql', {}, { method: 'POST', headers, body, signal });
  }

  /** A page of messages, newest first. */
  messages(query: MessagesQuery, signal?: AbortSignal): Promise<MessagesPage> {
    return this._get('api/messages', query as Query, signal);
  }

  /**
   * All that is known of a message; one of a box is read from then on, a file is not taken in by that.
   *
   * @param options.to - folder of the workspace that its files are compared with; default the top
   */
  message(ref: MessageRef, options: { to?: string; signal?: AbortSignal } = {}): Promise<MessageDetail> {
    const place = options.to === undefined || options.to === '' ? {} : { to: options.to };
    if ('id' in ref) return this._get(`api/messages/${encodeURIComponent(ref.id)}`, place, options.signal);
    return this._post('api/messages/inspect', { ...ref, ...place }, options.signal);
  }

  /** Takes a message out of its box; nothing of the workspace changes. */
  removeMessage(id: string): Promise<RemoveMessageResult> {
    return this._send('DELETE', `api/messages/${encodeURIComponent(id)}`);
  }

  /** Takes a `.syft` file of the workspace into the inbox. The same one twice is one message. */
  receiveMessage(path: string): Promise<MessageSummary> {
    return this._post('api/messages/receive', { path });
  }

  /** Takes the bytes of a `.syft` file into the inbox. */
  uploadMessage(archive: Blob, signal?: AbortSignal): Promise<MessageSummary> {
    const headers = { 'Content-Type': 'application/x-syft', 'X-Syft-Sync-Request': '1' };
    return this._json(
      'api/messages/receive',
      {},
      { method: 'POST', headers, body: archive, ...(signal && { signal }) }
    );
  }

  /** The bytes of a file of a message. @param file - its place in `fileList`, from 0 */
  async messageContent(ref: MessageRef, file: number, signal?: AbortSignal): Promise<ArrayBuffer> {
    const response = await this._request('api/messages/content', { ...ref, file }, { ...(signal && { signal }) });
    return response.arrayBuffer();
  }

  /** An address that a browser saves the file of a message from. */
  messageContentUrl(ref: MessageRef, file: number): string {
    return this._url('api/messages/content', { ...ref, file, download: 1 });
  }

  /** An address that a browser saves the `.syft` file of a message from. */
  messageArchiveUrl(id: string): string {
    return this._url(`api/messages/${encodeURIComponent(id)}/archive`, {});
  }

  /** Takes files of a message into the workspace; what stood at their places is a version before. */
  acceptMessage(request: AcceptMessageRequest): Promise<ImportResult> {
    return this._post('api/messages/accept', request);
  }

  /** What {@link shareMessage} would send. */
  planMessage(request: PlanMessageRequest, signal?: AbortSignal): Promise<PlanMessageResult> {
    return this._post('api/messages/plan', request, signal);
  }

  /** @param signal - breaks off what is being made; what was made whole already stays */
  shareMessage(request: ShareMessageRequest, signal?: AbortSignal): Promise<ShareMessageResult> {
    return this._post('api/messages/share', request, signal);
  }

  /** Looks into this installation's own mailboxes. */
  fetchMessages(): Promise<FetchMessagesResult> {
    return this._post('api/messages/fetch', {});
  }

  contacts(signal?: AbortSignal): Promise<ContactsDto> {
    return this._get('api/contacts', {}, signal);
  }

  /** Pins the key that a link, or a picture of one, names. */
  addContact(request: AddContactRequest): Promise<ContactDto> {
    return this._post('api/contacts', request);
  }

  /** @param fingerprint - the words of the key */
  removeContact(fingerprint: string): Promise<ContactDto> {
    return this._send('DELETE', `api/contacts/${encodeURIComponent(fingerprint)}`);
  }

  changeMyContact(request: ChangeMyContactRequest): Promise<ContactDto> {
    return this._send('PATCH', 'api/contacts/me', request);
  }

  /** The address of the picture of a contact's link; of this installation's own when no name is given. */
  contactPictureUrl(query: { name?: string; format?: 'svg' | 'png' } = {}): string {
    return this._url('api/contacts/qr', query);
  }

  /** The live stream; its body is to be read as it comes. */
  async events(lastEventId: string | undefined, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (lastEventId !== undefined) headers['Last-Event-ID'] = lastEventId;
    const response = await this._request('api/events', {}, { headers, signal });
    if (response.body === null) throw new ClientError('The event stream is empty.', 'BAD_ANSWER');
    return response.body;
  }

  /** What the server extension knows of the process. `NO_EXTENSION` when there is no server extension. */
  processStatus(): Promise<ProcessStatus> {
    return this._get('status', {});
  }

  /** Starts the sidecar again at once; answers when it runs, or after some seconds when it does not. */
  restartProcess(): Promise<ProcessStatus> {
    return this._post('restart', {});
  }

  private _get<T>(route: string, query: Query, signal?: AbortSignal): Promise<T> {
    return this._json(route, query, signal ? { signal } : {});
  }

  private _post<T>(route: string, body: unknown, signal?: AbortSignal): Promise<T> {
    return this._send('POST', route, body, signal);
  }

  private _send<T>(
    method: 'POST' | 'PATCH' | 'DELETE',
    route: string,
    body?: unknown,
    signal?: AbortSignal
  ): Promise<T> {
    const headers: Record<string, string> = { 'X-Syft-Sync-Request': '1' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    return this._json(
      route,
      {},
      { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }), ...(signal && { signal }) }
    );
  }

  private _url(route: string, query: Query): string {
    const given = Object.entries(query).filter(
      (pair): pair is [string, string | number | boolean] => pair[1] !== undefined
    );
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return URLExt.join(this.serverSettings.baseUrl, PREFIX, route) + (search === '' ? '' : `?${search}`);
  }

  private async _json<T>(route: string, query: Query, init: RequestInit): Promise<T> {
    const response = await this._request(route, query, init);
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw new ClientError('The answer is not JSON.', 'BAD_ANSWER', { cause });
    }
  }

  private async _request(route: string, query: Query, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(this._url(route, query), init, this.serverSettings);
    } catch (cause) {
      if (init.signal?.aborted === true) throw cause;
      throw new ClientError('The Jupyter server does not answer.', 'UNREACHABLE', { cause });
    }
    if (response.redirected && !response.url.includes(`/${PREFIX}/`)) {
      throw new ClientError('Jupyter asks for a login.', 'LOGGED_OUT');
    }
    if (response.ok) return response;

    const error = await errorOf(response);
    if (error !== undefined) {
      throw new ClientError(error.message, error.code, {
        ...(error.path !== undefined && { path: error.path }),
        ...(error.position !== undefined && { position: error.position })
      });
    }
    switch (response.status) {
      case 401:
      case 403:
        throw new ClientError('Jupyter does not let this user in.', 'LOGGED_OUT');
      case 404:
        throw new ClientError('This Jupyter server knows nothing of Syft Sync.', 'NO_EXTENSION');
      case 502:
      case 503:
      case 504:
        throw new ClientError('The sidecar does not answer.', 'NOT_RUNNING');
      default:
        throw new ClientError(`The server answered ${response.status} ${response.statusText}.`, 'BAD_ANSWER');
    }
  }
}

export namespace SyftClient {
  export interface IOptions {
    /** Jupyter's connection, as `app.serviceManager.serverSettings` has it. */
    serverSettings: ServerConnection.ISettings;
  }
}

/** The error in an answer's body, when it has the form of the contract. */
async function errorOf(response: Response): Promise<ErrorDto['error'] | undefined> {
  try {
    const { error } = (await response.json()) as { error?: { [name in keyof ErrorDto['error']]: unknown } };
    if (typeof error?.code !== 'string' || typeof error.message !== 'string') return undefined;
    return {
      code: error.code,
      message: error.message,
      ...(typeof error.path === 'string' && { path: error.path }),
      ...(isPosition(error.position) && { position: error.position })
    };
  } catch {
    return undefined;
  }
}

function isPosition(value: unknown): value is TextPosition {
  if (typeof value !== 'object' || value === null) return false;
  const { offset, line, column } = value as Partial<TextPosition>;
  return Number.isInteger(offset) && Number.isInteger(line) && Number.isInteger(column);
}
