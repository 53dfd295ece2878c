/**
 * A read-only drive of JupyterLab that holds every recorded version: `syft-history:<version id>/<name>`. With it each viewer
 * that JupyterLab has, for notebooks, images, tables, text, shows the past without knowing of it. The name is what the tab
 * says, time included: JupyterLab takes another title of a document's tab for a wish to rename the file.
 */
import type { Contents, ServerConnection } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { ChangeRow } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';
import { ClientError } from '../client/errors';
import { baseName, versionName } from '../history/words';

/** Contents that are kept, so that what was looked at to find a viewer is not fetched again by the viewer. */
const KEPT = 3;

export class HistoryDrive implements Contents.IDrive {
  constructor(options: HistoryDrive.IOptions) {
    this._client = options.client;
    this.serverSettings = options.client.serverSettings;
  }

  static readonly driveName = 'syft-history';

  readonly name = HistoryDrive.driveName;
  readonly serverSettings: ServerConnection.ISettings;

  get fileChanged(): ISignal<this, Contents.IChangedArgs> {
    return this._fileChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._contents.clear();
    Signal.clearData(this);
  }

  /** The path, drive included, of a version. */
  pathOf(row: ChangeRow): string {
    return `${this.name}:${row.versionId}/${versionName(row)}`;
  }

  /** The version id in a path without the drive. */
  static versionOf(localPath: string): string {
    return localPath.split('/')[0] ?? '';
  }

  /** A version's own entry; versions never change, so each is asked for once. */
  version(versionId: string): Promise<ChangeRow> {
    let row = this._versions.get(versionId);
    if (row === undefined) {
      row = this._client.version(versionId);
      this._versions.set(versionId, row);
      row.catch(() => this._versions.delete(versionId));
    }
    return row;
  }

  /** A version's bytes. */
  bytes(versionId: string): Promise<ArrayBuffer> {
    let content = this._contents.get(versionId);
    if (content === undefined) {
      content = this._client.content(versionId);
      content.catch(() => this._contents.delete(versionId));
    }
    // The order of a map is the order of insertion: the least recently used comes first.
    this._contents.delete(versionId);
    this._contents.set(versionId, content);
    for (const oldest of this._contents.keys()) {
      if (this._contents.size <= KEPT) break;
      this._contents.delete(oldest);
    }
    return content;
  }

  async get(localPath: string, options: Contents.IFetchOptions = {}): Promise<Contents.IModel> {
    const [versionId = '', name] = localPath.split('/');
    if (name === undefined) return this._folder(localPath);
    const row = await this.version(versionId);
    const model = {
      name,
      path: localPath,
      type: options.type ?? 'file',
      writable: false,
      created: row.at,
      last_modified: row.mtime ?? row.at,
      mimetype: '',
      ...(row.size !== undefined && { size: row.size }),
      ...(row.hash !== undefined && { hash: row.hash.replace(/^sha256:/, ''), hash_algorithm: 'sha256' })
    };
    if (options.content === false) return { ...model, content: null, format: null };
    const bytes = await this.bytes(versionId);
    if (options.type === 'notebook') return { ...model, format: 'json', content: notebook(bytes) };
    if (options.format === 'base64') return { ...model, format: 'base64', content: toBase64(bytes) };
    const text = textOf(bytes);
    if (text !== undefined) return { ...model, format: 'text', mimetype: 'text/plain', content: text };
    if (options.format === 'text') throw new ClientError('This version is not text in UTF-8.', 'NOT_TEXT');
    return { ...model, format: 'base64', mimetype: 'application/octet-stream', content: toBase64(bytes) };
  }

  getDownloadUrl(localPath: string): Promise<string> {
    return Promise.resolve(this._client.downloadUrl(HistoryDrive.versionOf(localPath)));
  }

  listCheckpoints(_localPath: string): Promise<Contents.ICheckpointModel[]> {
    return Promise.resolve([]);
  }

  newUntitled(_options?: Contents.ICreateOptions): Promise<Contents.IModel> {
    return refuse();
  }

  delete(_localPath: string): Promise<void> {
    return refuse();
  }

  rename(_oldLocalPath: string, _newLocalPath: string): Promise<Contents.IModel> {
    return refuse();
  }

  save(_localPath: string, _options?: Partial<Contents.IModel>): Promise<Contents.IModel> {
    return refuse();
  }

  copy(_localPath: string, _toLocalDir: string): Promise<Contents.IModel> {
    return refuse();
  }

  createCheckpoint(_localPath: string): Promise<Contents.ICheckpointModel> {
    return refuse();
  }

  restoreCheckpoint(_localPath: string, _checkpointID: string): Promise<void> {
    return refuse();
  }

  deleteCheckpoint(_localPath: string, _checkpointID: string): Promise<void> {
    return refuse();
  }

  private _folder(path: string): Contents.IModel {
    const never = new Date(0).toISOString();
    return {
      name: baseName(path),
      path,
      type: 'directory',
      writable: false,
      created: never,
      last_modified: never,
      mimetype: '',
      format: 'json',
      content: []
    };
  }

  private readonly _client: SyftClient;
  private readonly _versions = new Map<string, Promise<ChangeRow>>();
  private readonly _contents = new Map<string, Promise<ArrayBuffer>>();
  private readonly _fileChanged = new Signal<this, Contents.IChangedArgs>(this);
  private _isDisposed = false;
}

export namespace HistoryDrive {
  export interface IOptions {
    client: SyftClient;
  }
}

function refuse(): Promise<never> {
  return Promise.reject(
    new ClientError('What was recorded cannot be changed. Restore the version to go on from it.', 'READ_ONLY')
  );
}

/** Text when the bytes are UTF-8 and hold no NUL; undefined for all else. */
export function textOf(bytes: ArrayBuffer): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** @throws {ClientError} `NOT_A_NOTEBOOK` when the bytes are not a notebook of format 4. */
export function notebook(bytes: ArrayBuffer): { nbformat: number; cells: unknown[] } {
  const text = textOf(bytes);
  try {
    const content = JSON.parse(text ?? '') as { nbformat?: unknown; cells?: unknown };
    if (typeof content.nbformat === 'number' && content.nbformat >= 4 && Array.isArray(content.cells)) {
      return withJoinedLines(content as { nbformat: number; cells: unknown[] });
    }
  } catch {
    // Said below.
  }
  throw new ClientError('This version is not a complete notebook.', 'NOT_A_NOTEBOOK');
}

/**
 * On disk a text of a notebook may be a list of lines; JupyterLab's models want it whole, as Jupyter's server sends it
 * (nbformat 4, "multiline strings").
 */
function withJoinedLines<T extends { cells: unknown[] }>(content: T): T {
  const joined = (value: unknown): unknown =>
    Array.isArray(value) && value.every(line => typeof line === 'string') ? value.join('') : value;
  const bundle = (value: unknown): unknown =>
    isRecord(value)
      ? Object.fromEntries(
          Object.entries(value).map(([type, data]) => [
            type,
            /^application\/(.*\+)?json$/.test(type) ? data : joined(data)
          ])
        )
      : value;
  const output = (value: unknown): unknown =>
    isRecord(value)
      ? {
          ...value,
          ...('text' in value && { text: joined(value['text']) }),
          ...('data' in value && { data: bundle(value['data']) })
        }
      : value;
  const cell = (value: unknown): unknown => {
    if (!isRecord(value)) return value;
    const { source, outputs, attachments, metadata } = value;
    return {
      ...value,
      ...(isRecord(metadata) && { metadata: withoutTrust(metadata) }),
      source: joined(source),
      ...(Array.isArray(outputs) && { outputs: outputs.map(output) }),
      ...(isRecord(attachments) && {
        attachments: Object.fromEntries(Object.entries(attachments).map(([name, data]) => [name, bundle(data)]))
      })
    };
  };
  return { ...content, cells: content.cells.map(cell) };
}

/**
 * A cell says of itself that its output may run scripts. Jupyter's server takes that out and puts in what its own signatures say; no
 * server stands between a version and its viewer.
 */
function withoutTrust({ trusted: _said, ...metadata }: Record<string, unknown>): Record<string, unknown> {
  return metadata;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function toBase64(bytes: ArrayBuffer): string {
  const view = new Uint8Array(bytes);
  const pieces: string[] = [];
  // String.fromCharCode takes its bytes as arguments, of which there can only be so many.
  for (let at = 0; at < view.length; at += 0x8000) pieces.push(String.fromCharCode(...view.subarray(at, at + 0x8000)));
  return btoa(pieces.join(''));
}
