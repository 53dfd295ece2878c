/**
 * The content of a version as an answer: streamed in constant memory, never called whole before it was verified.
 * The log verifies content when it has been read to its end; so the last piece is held back until then, and what fails
 * leaves the reader with a cut connection instead of a full length of wrong bytes.
 */
import type { Request, Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { baseName, displayPath, type PathName } from '../core/path-name.ts';
import type { LogReader } from '../log/types.ts';

/** What a browser may show by itself; everything else is bytes. None of them can run. */
const TYPES: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  txt: 'text/plain; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  json: 'application/json',
  ipynb: 'application/x-ipynb+json',
  pdf: 'application/pdf'
};

/** `Content-Disposition` after RFC 6266: a plain name for all, the exact one for those who read `filename*`. */
export function attachment(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${exact}`;
}

/** One byte range of a `Range` header: `[first, last]`, `unsatisfiable`, or `undefined` when all is to be sent. */
export function parseRange(header: string | undefined, size: number): [number, number] | 'unsatisfiable' | undefined {
  const match = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header ?? '');
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : [size - length, size - 1];
  }
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < start) return undefined;
  return start >= size ? 'unsatisfiable' : [start, end];
}

/** Yields each piece only when the next has been read, or the end was reached without an error. */
async function* held(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array | undefined;
  for await (const piece of pieces) {
    if (waiting !== undefined) yield waiting;
    waiting = piece;
  }
  if (waiting !== undefined) yield waiting;
}

/** Fails when the pieces are not `size` bytes: more than was promised would be taken for the next answer. */
async function* exactly(pieces: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const piece of pieces) {
    length += piece.length;
    if (length > size) break;
    yield piece;
  }
  if (length !== size) {
    throw new SyftError('LOG_DAMAGED', 'The content is not of the size that was recorded.');
  }
}

async function* slice(pieces: AsyncIterable<Uint8Array>, first: number, last: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const piece of pieces) {
    const from = Math.max(0, first - at);
    const to = Math.min(piece.length, last + 1 - at);
    at += piece.length;
    if (from < to) yield piece.subarray(from, to);
    if (at > last) return;
  }
}

/** Bytes that are answered with. */
export interface Answered {
  readonly path: PathName;
  readonly size: number;
  /** SHA-256, hex. */
  readonly hash: string;
  /** A file, whose name may say how it is shown. */
  readonly isFile: boolean;
  /** Fails before its end when the bytes are not those of the hash. */
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

/**
 * Answers with the content of a version: `ETag`, `Content-Length`, one byte range, `?download=1` as an attachment.
 *
 * @throws SyftError VERSION_HAS_NO_CONTENT, LOG_DAMAGED when it fails before the first byte is sent.
 */
export async function sendContent(
  log: Pick<LogReader, 'content'>,
  change: Change,
  req: Request,
  res: Response,
  download: boolean
): Promise<void> {
  const { path, hash, size = 0 } = change;
  if (change.content === undefined || hash === undefined) {
    throw new SyftError('VERSION_HAS_NO_CONTENT', `This version of ${displayPath(path)} has no content to show.`, {
      path: displayPath(path)
    });
  }
  const isFile = change.type === 'file';
  await sendBytes({ path, size, hash, isFile, pieces: () => log.content(change) }, req, res, download);
}

/** As {@link sendContent}, of any bytes whose hash is known. */
export async function sendBytes(
  { path, size, hash, isFile, pieces: all }: Answered,
  req: Request,
  res: Response,
  download: boolean
): Promise<void> {
  const etag = `"sha256-${hash}"`;
  const extension = /\.([A-Za-z0-9]{1,8})$/.exec(baseName(path))?.[1]?.toLowerCase() ?? '';
  res.set({
    ETag: etag,
    'Accept-Ranges': 'bytes',
    'Content-Type': (isFile ? TYPES[extension] : undefined) ?? 'application/octet-stream'
  });
  if (download) res.set('Content-Disposition', attachment(displayPath(baseName(path))));
  if ((req.get('if-none-match') ?? '').split(',').some(tag => tag.trim().replace(/^W\//, '') === etag)) {
    res.status(304).end();
    return;
  }
  const ifRange = req.get('if-range');
  const range = ifRange === undefined || ifRange === etag ? parseRange(req.get('range'), size) : undefined;
  if (range === 'unsatisfiable') {
    res.status(416).set('Content-Range', `bytes */${size}`).end();
    return;
  }
  const [first, last] = range ?? [0, size - 1];
  if (range !== undefined) res.status(206).set('Content-Range', `bytes ${first}-${last}/${size}`);
  res.set('Content-Length', String(last - first + 1));
  if (req.method === 'HEAD') {
    res.end();
    return;
  }
  const whole = held(exactly(all(), size));
  const pieces = range === undefined ? whole : slice(whole, first, last);
  // The first piece before the headers: damage found here is still an answer.
  const begin = await pieces.next();
  if (begin.done === true) {
    res.end();
    return;
  }
  const rest = async function* (): AsyncGenerator<Uint8Array> {
    yield begin.value;
    yield* pieces;
  };
  try {
    await pipeline(Readable.from(rest(), { objectMode: false, highWaterMark: 1 }), res);
  } catch (error) {
    // Whoever stopped reading is gone; all else cuts the connection, for the length promised cannot be kept.
    res.destroy();
    if (error instanceof SyftError) throw error;
  }
}
