/** The HTTP API: the routes of contract.ts over express. Knows no transport; see listen.ts. */
import express, { type Express, type Request, type Response } from 'express';
import type * as z from 'zod';
import { SyftError } from '../core/errors.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import { parseMoment } from '../core/time-text.ts';
import { VERSION } from '../library/version.ts';
import type { HistoryIndex } from '../index/change-index.ts';
import { resolvePath, type QueryOptions } from '../index/history-queries.ts';
import { sendContent } from './content.ts';
import {
  API_VERSION,
  ChangesQuerySchema,
  ChangeSetApplyRequestSchema,
  ContentQuerySchema,
  DeletedQuerySchema,
  EraseRequestSchema,
  ImportRequestSchema,
  EventsQuerySchema,
  HistoryQuerySchema,
  MarkRequestSchema,
  CompactRequestSchema,
  PruneRequestSchema,
  RemoveRequestSchema,
  RestoreRequestSchema,
  SetupRequestSchema,
  SqlRequestSchema,
  TreeQuerySchema,
  type Stats,
  type Status
} from './contract.ts';
import { checkForgery, checkHostAndOrigin, checkSecret, secureHeaders, type GuardOptions } from './guards.ts';
import { answerErrors } from './http-errors.ts';
import { LiveEventHub } from './live-events.ts';
import { addContactRoutes } from './contacts.ts';
import { addMessageRoutes, type Messages } from './messages.ts';
import { toPage, toRow, toTreeEntry } from './rows.ts';
import type { SqlEngine } from '../index/sql/engine.ts';
import type { WorkspaceService } from './service.ts';
import { addSqlRoutes } from './sql.ts';
import { addSyftBoxRoutes } from './syftbox.ts';
import { isUpload } from './uploads.ts';

/** What the API says about itself; pino's shape. Never secrets, never bodies. */
export interface ApiLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ApiOptions extends GuardOptions {
  readonly service: WorkspaceService;
  readonly index: HistoryIndex;
  /** Answers SQL. Absent: it is not answered here. */
  readonly sql?: SqlEngine | undefined;
  /** The message box. Absent: there is none here. */
  readonly messages?: Messages | undefined;
  readonly logger: ApiLogger;
  /** See {@link LiveEventHub}; for tests. */
  readonly heartbeatMs?: number;
  readonly maxBehind?: number;
}

/** The application and the means to end what it holds. */
export interface Api {
  readonly app: Express;
  readonly events: LiveEventHub;
  /** Ends all live streams. */
  close(): void;
}

/**
 * Builds the application over a workspace and its index.
 *
 * @param options.secret What every request must bring, in `x-syft-sync-secret` or as bearer token.
 */
export function createApi(options: ApiOptions): Api {
  const { service, index, logger } = options;
  const status = (): Status => ({ apiVersion: API_VERSION, ...service.status(), index: index.status });
  const events = new LiveEventHub({
    service,
    index,
    status,
    unread: options.messages === undefined ? undefined : () => options.messages?.service.unread() ?? Promise.resolve(0),
    logger,
    heartbeatMs: options.heartbeatMs,
    maxBehind: options.maxBehind
  });

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.set('case sensitive routing', true);
  app.use(secureHeaders, logRequests(logger), checkHostAndOrigin(options), checkSecret(options), checkForgery);
  app.use(express.json({ limit: '1mb', strict: true, type: req => !isUpload(req) }));

  /** A path from a query → a workspace path; `''` and `.` are the workspace itself where a folder is asked. */
  const folderOf = async (text: string | undefined, query: QueryOptions): Promise<PathName | undefined> =>
    text === undefined || text === '' || text === '.' ? undefined : resolvePath(index, text, query);

  app.get('/api/health', (_req, res) => {
    res.json({ ok: true, apiVersion: API_VERSION, version: VERSION });
  });
  app.get('/api/status', (_req, res) => {
    res.json(status());
  });
  app.get('/api/changes', async (req, res) => {
    const query = parse(ChangesQuerySchema, req.query, 'query');
    const signal = gone(res);
    const path = query.path === undefined ? undefined : await resolvePath(index, query.path, signal);
    const under = await folderOf(query.under, signal);
    const since = moment(query.since, 'since');
    const until = moment(query.until, 'until');
    const page = await index.changes(
      {
        limit: query.limit,
        ...(query.before !== undefined && { before: query.before }),
        ...(query.after !== undefined && { after: query.after }),
        ...(path !== undefined && { path }),
        ...(under !== undefined && { under }),
        ...(query.kind !== undefined && { kind: query.kind }),
        ...(query.q !== undefined && query.q !== '' && { q: query.q }),
        ...(since !== undefined && { since }),
        ...(until !== undefined && { until })
      },
      signal
    );
    res.json(toPage(page, await service.said()));
  });
  app.get('/api/history', async (req, res) => {
    const query = parse(HistoryQuerySchema, req.query, 'query');
    const signal = gone(res);
    const path = await resolvePath(index, query.path, signal);
    const page = await index.history(
      path,
      { limit: query.limit, ...(query.before !== undefined && { before: query.before }) },
      signal
    );
    res.json({
      ...toPage(page, await service.said()),
      path: displayPath(path),
      exists: page.exists,
      recorded: service.isRecorded?.(path) ?? true
    });
  });
  app.get('/api/tree', async (req, res) => {
    const query = parse(TreeQuerySchema, req.query, 'query');
    const signal = gone(res);
    const at = moment(query.at, 'at');
    const under = await folderOf(query.under, signal);
    const entries = await index.tree(
      { ...(at !== undefined && { at }), ...(under !== undefined && { under }) },
      signal
    );
    res.json({ entries: entries.map(toTreeEntry) });
  });
  app.get('/api/deleted', async (req, res) => {
    const query = parse(DeletedQuerySchema, req.query, 'query');
    const signal = gone(res);
    const under = await folderOf(query.under, signal);
    const files = await index.deleted(
      {
        limit: query.limit,
        ...(under !== undefined && { under }),
        ...(query.q !== undefined && query.q !== '' && { q: query.q })
      },
      signal
    );
    const said = await service.said();
    res.json({
      files: files.map(({ path, deleted, last }) => ({
        path: displayPath(path),
        deleted: toRow(deleted, said),
        last: toRow(last, said)
      }))
    });
  });
  app.get('/api/versions/:versionId', async (req, res) => {
    res.json(toRow(await index.version(req.params.versionId, gone(res)), await service.said()));
  });
  app.get('/api/versions/:versionId/content', async (req, res) => {
    const query = parse(ContentQuerySchema, req.query, 'query');
    const { change } = await index.version(req.params.versionId, gone(res));
    await sendContent(service.log, change, req, res, query.download !== undefined && query.download !== '0');
  });
  app.get('/api/stats', async (_req, res) => {
    const signal = gone(res);
    const counts = await index.counts(signal);
    const { startedAt } = service.status();
    const stats: Stats = {
      filesCreated: counts.byKind.created,
      filesModified: counts.byKind.modified,
      filesDeleted: counts.byKind.deleted,
      filesMoved: counts.byKind.moved,
      versions: counts.versions,
      trackedFiles: counts.trackedFiles,
      contentBytes: counts.contentBytes,
      storedBytes: await service.log.storedBytes(),
      runtimeSeconds: Math.max(0, (Date.now() - Date.parse(startedAt)) / 1000),
      startTime: startedAt,
      devices: counts.devices,
      changes: counts.changes
    };
    res.json(stats);
  });
  app.get('/api/events', async (req, res) => {
    const query = parse(EventsQuerySchema, req.query, 'query');
    const last = req.get('last-event-id') ?? query.lastEventId;
    await events.connect(res, last === '' ? undefined : last);
  });

  /** A version as the request names it → its whole id, which is all the workspace understands. */
  const wholeId = async (text: string): Promise<string> => {
    const { change } = await index.version(text);
    return `${change.device}.${change.seq}`;
  };
  app.post('/api/restore', async (req, res) => {
    const body = parse(RestoreRequestSchema, req.body, 'body');
    res.json(await service.restore({ ...body, versionId: await wholeId(body.versionId) }));
  });
  app.post('/api/remove', async (req, res) => {
    const body = parse(RemoveRequestSchema, req.body, 'body');
    res.json(await service.remove({ ...body, ifVersion: await wholeId(body.ifVersion) }));
  });
  app.post('/api/marks', async (req, res) => {
    const body = parse(MarkRequestSchema, req.body, 'body');
    if (service.mark === undefined) throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    res.json(await service.mark({ ...body, versionId: await wholeId(body.versionId) }));
  });
  app.post('/api/prune', async (req, res) => {
    const body = parse(PruneRequestSchema, req.body, 'body');
    if (service.prune === undefined) throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    res.json(await service.prune(body));
  });
  app.post('/api/erase', async (req, res) => {
    const body = parse(EraseRequestSchema, req.body, 'body');
    if (service.erase === undefined) throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    res.json(await service.erase(body));
  });
  addMessageRoutes(app, options.messages, parse);
  addContactRoutes(app, options.messages?.service, parse);
  addSqlRoutes(app, options.sql, body => parse(SqlRequestSchema, body, 'body'));
  addSyftBoxRoutes(app, service, body => parse(ChangeSetApplyRequestSchema, body, 'body'));
  app.post('/api/compact', async (req, res) => {
    const body = parse(CompactRequestSchema, req.body, 'body');
    if (service.compact === undefined) throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    res.json(await service.compact(body));
  });
  app.post('/api/import', async (req, res) => {
    const body = parse(ImportRequestSchema, req.body, 'body');
    if (service.importMessage === undefined) {
      throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    }
    res.json(await service.importMessage(body));
  });
  app.post('/api/flush', async (_req, res) => {
    await service.flush();
    res.json({ flushed: true });
  });
  app.post('/api/capture', async (_req, res) => {
    const { captured, unchanged, deleted, bytes, flagged } = await service.capture();
    res.json({ captured, unchanged, deleted, bytes, flagged });
  });
  app.post('/api/pause', async (_req, res) => {
    service.pause();
    res.json(status());
  });
  app.post('/api/resume', async (_req, res) => {
    service.resume();
    res.json(status());
  });
  app.post('/api/setup', async (req, res) => {
    const { folders } = parse(SetupRequestSchema, req.body, 'body');
    if (service.setup === undefined) {
      throw new SyftError('BAD_REQUEST', 'This recorder was told which folders to record when it was started.');
    }
    await service.setup(folders);
    res.json(status());
  });

  app.use((req: Request) => {
    throw new SyftError('NOT_FOUND', `There is no ${req.method} ${req.path.slice(0, 100)} here.`);
  });
  app.use(answerErrors(logger));
  return { app, events, close: () => events.close() };
}

/** Validates what came in; BAD_REQUEST names the first field that is wrong. */
function parse<T extends z.ZodType>(schema: T, value: unknown, where: 'query' | 'body'): z.output<T> {
  // A GET through a proxy may carry more keys than ours (cache busters); they are not our business.
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue === undefined || issue.path.length === 0 ? where : issue.path.map(String).join('.');
  throw new SyftError('BAD_REQUEST', `${field}: ${issue?.message ?? 'is not valid'}`);
}

/** A moment as people write it → microseconds. */
function moment(text: string | undefined, field: string): number | undefined {
  if (text === undefined) return undefined;
  const at = parseMoment(text, Date.now() * 1000);
  if (at === undefined || !Number.isFinite(at)) {
    throw new SyftError(
      'BAD_REQUEST',
      `${field}: this is not a time. Write 2026-11-01 14:32, an ISO 8601 time, 10m, 2h, 3d or yesterday.`
    );
  }
  return at;
}

/** Gives questions up when whoever asked has gone. */
function gone(res: Response): { signal: AbortSignal } {
  const controller = new AbortController();
  res.on('close', () => {
    if (!res.writableFinished) controller.abort();
  });
  return { signal: controller.signal };
}

function logRequests(logger: ApiLogger) {
  return (req: Request, res: Response, next: () => void): void => {
    const started = performance.now();
    res.on('close', () => {
      // The path of the route only: queries hold names of the user's files.
      const fields = {
        method: req.method,
        route: req.path.slice(0, 200),
        status: res.statusCode,
        ms: Math.round(performance.now() - started)
      };
      if (req.method === 'GET' || req.method === 'HEAD') logger.debug(fields, 'request');
      else logger.info(fields, 'request');
    });
    next();
  };
}
