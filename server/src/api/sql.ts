/** The routes of SQL: rows as they come, in the format that was asked for, and what became of a query. */
import type { Express, Request, Response } from 'express';
import { SyftError } from '../core/errors.ts';
import type { SqlEngine } from '../index/sql/engine.ts';
import { sqlSchema } from '../index/sql/tables.ts';
import { SqlRequestSchema, type SqlFormat, type SqlOutcome, type SqlRequest } from './contract.ts';
import { errorBody, toSyftError } from './http-errors.ts';

/** The best first: what an `Accept` of anything gets. */
const TYPES: readonly (readonly [format: SqlFormat, type: string])[] = [
  ['json', 'application/json'],
  ['arrow', 'application/vnd.apache.arrow.stream'],
  ['ndjson', 'application/x-ndjson'],
  ['csv', 'text/csv'],
  ['parquet', 'application/vnd.apache.parquet'],
  ['table', 'text/plain']
];
const TEXTS: ReadonlySet<SqlFormat> = new Set(['csv', 'table']);
const KEPT_OUTCOMES = 100;

type Parse = (body: unknown) => SqlRequest;

/**
 * Adds the routes.
 *
 * @param engine `undefined`: this process has no index that could be queried.
 * @param parse Validates a body; throws BAD_REQUEST.
 */
export function addSqlRoutes(app: Express, engine: SqlEngine | undefined, parse: Parse): void {
  const outcomes = new Outcomes();
  app.get('/api/sql/schema', (_req, res) => {
    res.json(sqlSchema());
  });
  app.get('/api/sql/queries/:queryId', (req, res) => {
    const { queryId } = req.params;
    if (!SqlRequestSchema.shape.queryId.safeParse(queryId).success) {
      throw new SyftError('BAD_REQUEST', 'queryId: take 1 to 64 letters, digits, _ and -');
    }
    const outcome = outcomes.get(queryId);
    if (outcome === undefined) throw new SyftError('NOT_FOUND', 'Nothing is known of a query of this name any more.');
    res.json(outcome);
  });
  app.post('/api/sql', async (req, res) => {
    const body = parse(req.body);
    if (engine === undefined) {
      throw new SyftError('SQL_UNAVAILABLE', 'This process has no index that could be queried.');
    }
    await answer(engine, body, formatOf(body, req), res, outcomes.begin(body.queryId));
  });
}

function formatOf(body: SqlRequest, req: Request): SqlFormat {
  if (body.format !== undefined) return body.format;
  const type = req.accepts(TYPES.map(([, name]) => name));
  const found = TYPES.find(([, name]) => name === type);
  if (found !== undefined) return found[0];
  throw new SyftError('BAD_REQUEST', `Accept: results come as ${TYPES.map(([, name]) => name).join(', ')}.`);
}

async function answer(
  engine: SqlEngine,
  { queryId: _, ...query }: SqlRequest,
  format: SqlFormat,
  res: Response,
  outcome: Outcome
): Promise<void> {
  const controller = new AbortController();
  // Whoever closes the connection has no use for the rest.
  res.on('close', () => controller.abort());
  try {
    const { bytes, ended } = await engine.query({ ...query, format }, controller.signal);
    const type = TYPES.find(([name]) => name === format)?.[1] ?? 'application/octet-stream';
    res.status(200).set({
      'Content-Type': TEXTS.has(format) ? `${type}; charset=utf-8` : type,
      // A proxy that collects first would keep rows back.
      'X-Accel-Buffering': 'no'
    });
    // Whoever does not read is not waited for when the query has failed, by its time for one.
    const failed = new AbortController();
    void ended.then(end => end.error !== undefined && failed.abort());
    const over = AbortSignal.any([controller.signal, failed.signal]);
    for await (const piece of bytes) {
      if (over.aborted) break;
      if (!res.write(piece)) await drained(res, over);
    }
    const end = await ended;
    outcome.end(end);
    if (end.error === undefined) res.end();
    // A whole answer would say that these were all rows.
    else res.destroy();
  } catch (error) {
    const known = toSyftError(error);
    outcome.end({ rows: 0, truncated: false, error: known });
    if (!controller.signal.aborted) throw error;
  }
}

/** Resolves when there is room again, or nobody reads any more. */
function drained(res: Response, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      res.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    res.on('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

interface Outcome {
  end(end: { readonly rows: number; readonly truncated: boolean; readonly error?: SyftError }): void;
}

/** What became of the last queries that were given a name. */
class Outcomes {
  readonly #all = new Map<string, SqlOutcome & { readonly startedAt: number }>();

  begin(queryId: string | undefined): Outcome {
    if (queryId === undefined) return { end: () => undefined };
    const startedAt = performance.now();
    const entry = { queryId, startedAt, state: 'running' as const, rows: 0, truncated: false, elapsedMs: 0 };
    this.#all.delete(queryId);
    this.#all.set(queryId, entry);
    for (const [oldest] of this.#all) {
      if (this.#all.size <= KEPT_OUTCOMES) break;
      this.#all.delete(oldest);
    }
    return {
      end: ({ rows, truncated, error }) => {
        // Another of the same name has begun since.
        if (this.#all.get(queryId) !== entry) return;
        this.#all.set(queryId, {
          queryId,
          startedAt,
          state: error === undefined ? 'done' : error.code === 'CANCELLED' ? 'cancelled' : 'failed',
          rows,
          truncated,
          elapsedMs: Math.round(performance.now() - startedAt),
          ...(error !== undefined && { error: errorBody(error).error })
        });
      }
    };
  }

  get(queryId: string): SqlOutcome | undefined {
    const found = this.#all.get(queryId);
    if (found === undefined) return undefined;
    const { startedAt, ...outcome } = found;
    if (outcome.state !== 'running') return outcome;
    return { ...outcome, elapsedMs: Math.round(performance.now() - startedAt) };
  }
}
