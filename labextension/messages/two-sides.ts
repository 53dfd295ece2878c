/** Fetches a file of a message and what stands at its place, and says in which way the two can be compared. */
import { ServerConnection } from '@jupyterlab/services';
import type { Contents } from '@jupyterlab/services';

import type { MessageDetail, MessageFileDto } from '../../server/src/api/contract';
import type { MessageRef, SyftClient } from '../client/client';
import { ClientError } from '../client/errors';
import { textOf } from '../preview/drive';
import { pairCells, readNotebook } from './cells';
import type { CellPair } from './cells';
import { destination } from './place';

/** Bytes; what is larger is compared by its size and fingerprint. */
const LARGEST_TEXT = 4e6;
const LARGEST_IMAGE = 20e6;

/** Types that a browser shows as a picture and runs nothing of. */
const IMAGES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  bmp: 'image/bmp',
  svg: 'image/svg+xml'
};

export type Comparison =
  | { kind: 'text'; mine: string; theirs: string }
  | { kind: 'notebook'; pairs: CellPair[]; language: string | undefined }
  | { kind: 'image'; mine: Blob; theirs: Blob }
  | { kind: 'facts'; why: 'binary' | 'large'; mine: Facts; theirs: Facts }
  /** Nothing stands there. */
  | { kind: 'missing' };

export interface Facts {
  size: number;
  /** `sha256:` and 64 hex digits; undefined when it was not computed. */
  hash: string | undefined;
}

export interface TwoSides {
  message: MessageDetail;
  file: MessageFileDto;
  /** Path of what is here. */
  path: string;
  same: boolean;
  comparison: Comparison;
}

/** @throws {ClientError} when the message, its file or what is here cannot be had */
export async function fetchTwoSides(
  options: { of: MessageRef; file: number; folder: string; client: SyftClient; contents: Contents.IManager },
  signal: AbortSignal
): Promise<TwoSides> {
  const { client, contents } = options;
  const message = await client.message(options.of, { to: options.folder, signal });
  const file = message.fileList[options.file];
  if (file === undefined) throw new ClientError('The message holds no such file.', 'NOT_FOUND');
  const path = destination(file, options.folder);
  const sides = { message, file, path };
  const here = await factsOf(path, contents);
  if (here === undefined) return { ...sides, same: false, comparison: { kind: 'missing' } };
  const theirs: Facts = { size: file.size, hash: file.hash };
  const same = here.hash !== undefined && here.hash === file.hash;
  const image = IMAGES[file.path.slice(file.path.lastIndexOf('.') + 1).toLowerCase()];
  const largest = Math.max(here.size, file.size);
  if (largest > (image === undefined ? LARGEST_TEXT : LARGEST_IMAGE)) {
    return { ...sides, same, comparison: { kind: 'facts', why: 'large', mine: here, theirs } };
  }
  const [mineBytes, theirBytes] = await Promise.all([
    bytesOf(path, contents, client.serverSettings, signal),
    client.messageContent(options.of, options.file, signal)
  ]);
  if (image !== undefined) {
    const [mine, theirs] = [mineBytes, theirBytes].map(bytes => new Blob([bytes], { type: image })) as [Blob, Blob];
    return { ...sides, same, comparison: { kind: 'image', mine, theirs } };
  }
  const [mineText, theirText] = [textOf(mineBytes), textOf(theirBytes)];
  if (mineText === undefined || theirText === undefined) {
    return { ...sides, same, comparison: { kind: 'facts', why: 'binary', mine: here, theirs } };
  }
  if (/\.ipynb$/i.test(file.path)) {
    const [mineBook, theirBook] = [readNotebook(mineText), readNotebook(theirText)];
    if (mineBook !== undefined && theirBook !== undefined) {
      const pairs = pairCells(mineBook.cells, theirBook.cells);
      return {
        ...sides,
        same,
        comparison: { kind: 'notebook', pairs, language: theirBook.language ?? mineBook.language }
      };
    }
  }
  return { ...sides, same, comparison: { kind: 'text', mine: mineText, theirs: theirText } };
}

async function factsOf(path: string, contents: Contents.IManager): Promise<Facts | undefined> {
  try {
    const model = await contents.get(path, { content: false, hash: true });
    const hash = model.hash_algorithm === 'sha256' && model.hash ? `sha256:${model.hash}` : undefined;
    return { size: model.size ?? 0, hash };
  } catch (error) {
    if (error instanceof ServerConnection.ResponseError && error.response.status === 404) return undefined;
    throw error;
  }
}

async function bytesOf(
  path: string,
  contents: Contents.IManager,
  settings: ServerConnection.ISettings,
  signal: AbortSignal
): Promise<ArrayBuffer> {
  const url = await contents.getDownloadUrl(path);
  const response = await ServerConnection.makeRequest(url, { signal }, settings);
  if (!response.ok) {
    throw new ClientError(`Your file could not be read: ${response.status} ${response.statusText}.`, 'BAD_ANSWER');
  }
  return response.arrayBuffer();
}
