/** The routes of messages: inbox and outbox, what is in a message, taking it in, and sending one. */
import { open, type FileHandle } from 'node:fs/promises';
import type { Express, Request, Response } from 'express';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { attachment, sendBytes } from './content.ts';
import {
  AcceptMessageRequestSchema,
  InspectMessageRequestSchema,
  MessageContentQuerySchema,
  MessageQuerySchema,
  MessagesQuerySchema,
  PlanMessageRequestSchema,
  ReceiveMessageRequestSchema,
  ShareMessageRequestSchema
} from './contract.ts';
import { isUpload, SYFT_TYPE, UPLOAD_PATH } from './uploads.ts';
import type { MessageService } from './message-service.ts';
import { archiveName, type MessageSharing } from './message-sharing.ts';

/** What the routes are answered from. */
export interface Messages {
  readonly service: MessageService;
  readonly sharing: MessageSharing;
}

type Parse = <T extends z.ZodType>(schema: T, value: unknown, where: 'query' | 'body') => z.output<T>;

/**
 * Adds the routes.
 *
 * @param messages `undefined`: this process has no message box.
 * @param parse Validates what came in; throws BAD_REQUEST.
 */
export function addMessageRoutes(app: Express, messages: Messages | undefined, parse: Parse): void {
  const there = (): Messages => {
    if (messages !== undefined) return messages;
    throw new SyftError('NOT_RUNNING', 'This process has no message box.');
  };
  app.get('/api/messages', async (req, res) => {
    res.json(await there().service.list(parse(MessagesQuerySchema, req.query, 'query')));
  });
  app.get('/api/messages/content', async (req, res) => {
    const { id, path, file, download } = parse(MessageContentQuerySchema, req.query, 'query');
    const signal = gone(res);
    const which = id !== undefined ? { id } : { path: required(path) };
    const { file: listed, pieces } = await there().service.content(which, file, signal);
    const { path: name, size, hash } = listed;
    const asked = download !== undefined && download !== '0';
    await sendBytes({ path: name, size, hash, isFile: true, pieces: () => pieces(signal) }, req, res, asked);
  });
  app.get('/api/messages/:id', async (req, res) => {
    const { to } = parse(MessageQuerySchema, req.query, 'query');
    res.json(await there().service.get(req.params.id, to));
  });
  app.delete('/api/messages/:id', async (req, res) => {
    await there().service.remove(req.params.id);
    res.json({ removed: true });
  });
  app.get('/api/messages/:id/archive', async (req, res) => {
    await sendArchive(there(), req.params.id, req, res);
  });
  app.post('/api/messages/inspect', async (req, res) => {
    const { path, to } = parse(InspectMessageRequestSchema, req.body, 'body');
    res.json(await there().service.inspect(path, to, gone(res)));
  });
  app.post(UPLOAD_PATH, async (req, res) => {
    const signal = gone(res);
    const { service } = there();
    if (!isUpload(req)) {
      const { path } = parse(ReceiveMessageRequestSchema, req.body, 'body');
      res.json(await service.receiveFile(path, signal));
      return;
    }
    try {
      res.json(await service.receive(bodyOf(req), 'upload', signal));
    } catch (error) {
      // Whoever is still sending hears nothing before they are done, or only that the connection was cut.
      await passOver(req);
      throw error;
    }
  });
  app.post('/api/messages/accept', async (req, res) => {
    const body = parse(AcceptMessageRequestSchema, req.body, 'body');
    if (body.id === undefined) required(body.path);
    // Whoever is gone has asked for it all the same.
    res.json(await there().service.accept(body, new AbortController().signal));
  });
  app.post('/api/messages/plan', async (req, res) => {
    res.json(await there().sharing.plan(parse(PlanMessageRequestSchema, req.body, 'body'), gone(res)));
  });
  app.post('/api/messages/share', async (req, res) => {
    res.json(await there().sharing.share(parse(ShareMessageRequestSchema, req.body, 'body'), gone(res)));
  });
}

/** The body of a request, which is not cut off when the rest of it is not wanted. */
function bodyOf(req: Request): AsyncIterable<Uint8Array> {
  return req.iterator({ destroyOnReturn: false });
}

/** Resolves when the rest of a body has come, and gone. */
async function passOver(req: Request): Promise<void> {
  if (req.readableEnded || req.destroyed) return;
  await new Promise<void>(resolve => {
    for (const event of ['end', 'close', 'error']) req.once(event, () => resolve());
    req.resume();
  });
}

function required(path: string | undefined): string {
  if (path !== undefined) return path;
  throw new SyftError('BAD_REQUEST', 'Name a message by id, or a .syft file by path.');
}

/** The `.syft` file of a message. */
async function sendArchive({ service, sharing }: Messages, id: string, req: Request, res: Response): Promise<void> {
  const signal = gone(res);
  const entry = await service.box.get(id);
  const head = (size: number, name: string): void => {
    res.set({ 'Content-Type': SYFT_TYPE, 'Content-Length': String(size), 'Content-Disposition': attachment(name) });
  };
  const send = async (bytes: AsyncIterable<Uint8Array>): Promise<void> => {
    if (req.method === 'HEAD') res.end();
    else await pipeline(Readable.from(bytes, { objectMode: false }), res).catch(cutOff(res));
  };
  if (entry.box === 'inbox') {
    const { messageId, paths, files } = entry.verdict;
    await using source = await service.box.open(entry);
    head(source.size, archiveName(messageId, paths, files));
    await send(source.bytes());
    return;
  }
  const { messageId, paths, versions } = entry.record;
  await sharing.archive(entry, signal, async file => {
    await using handle = await open(file, 'r');
    head((await handle.stat()).size, archiveName(messageId, paths, versions.length));
    await send(piecesOf(handle));
  });
}

async function* piecesOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  for await (const piece of handle.createReadStream({ autoClose: false })) yield piece as Buffer;
}

/** Whoever stopped reading is gone; all else cuts the connection, for the length promised cannot be kept. */
function cutOff(res: Response) {
  return (error: unknown): void => {
    res.destroy();
    if (error instanceof SyftError) throw error;
  };
}

/** Aborted when whoever asked has gone. */
function gone(res: Response): AbortSignal {
  const controller = new AbortController();
  res.on('close', () => {
    if (!res.writableFinished) controller.abort();
  });
  return controller.signal;
}
