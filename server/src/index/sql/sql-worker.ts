/**
 * The process that runs queries of people, one at a time. It is expendable: whoever waits kills it when it does not stop, it
 * ends itself when it takes too much memory, and the system ends it before others when memory is short.
 */
import * as api from '@duckdb/node-api';
import { writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { constants, setPriority } from 'node:os';
import { SyftError } from '../../core/errors.ts';
import { overContents, resolveCalls, type ResolvedCall } from './contents.ts';
import { encodeRows } from './encode.ts';
import type { ContentFile, FromWorker, RunRequest, ToWorker, WireError } from './protocol.ts';
import type { SqlRows } from './result-stream.ts';
import { SqlSession, type ExtraRows, type SqlSessionOptions } from './session.ts';
import type { Statement } from './statement.ts';
import type { ExtraTable } from './tables.ts';

/** The pipe for rows; see process.ts. */
const ROWS_FD = 4;
/** Milliseconds between looks at the memory. */
const MEMORY_WATCH = 50;
/** Megabytes beyond DuckDB's own limit: this process itself, and what DuckDB does not count. */
const MEMORY_SLACK = 448;
/** A process that has become so large, against what it may, is not kept: not all that a query took comes back. */
const SPENT = 0.6;
/** Bytes of rows, and milliseconds, that are waited for before the first row leaves. */
const HELD_BACK_BYTES = 64 << 10;
const HELD_BACK_MS = 100;

const rows = new Socket({ fd: ROWS_FD, readable: false, writable: true });
let session: { readonly key: string; readonly session: SqlSession } | undefined;
/** An index that is carried here: what was told of it was done, or why not. */
let carried: { readonly session: SqlSession } | { readonly error: unknown } | undefined;
let running: { readonly id: number; readonly controller: AbortController; timedOut: boolean } | undefined;
let pulled: ((message: Extract<ToWorker, { kind: 'piece' }>) => void) | undefined;
let given: ((message: Extract<ToWorker, { kind: 'give' | 'refuse' }>) => void) | undefined;

function say(message: FromWorker): void {
  process.send?.(message);
}

function wire(error: unknown): WireError {
  if (error instanceof SyftError) {
    return {
      code: error.code,
      message: error.message,
      ...(error.path !== undefined && { path: error.path }),
      ...(error.position !== undefined && { position: error.position })
    };
  }
  return {
    code: 'INTERNAL',
    message: `The query failed inside: ${error instanceof Error ? error.message : String(error)}`
  };
}

/** Sends bytes, counts them, and waits until there is room for more. What is counted is on its way, whatever comes. */
function send(bytes: Uint8Array | string, signal: AbortSignal, counts: Counts): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new SyftError('CANCELLED', 'The query was cancelled.'));
    if (signal.aborted) {
      gone();
      return;
    }
    counts.bytes += typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.byteLength;
    if (rows.write(bytes)) {
      resolve();
      return;
    }
    const drained = (): void => {
      signal.removeEventListener('abort', aborted);
      resolve();
    };
    const aborted = (): void => {
      rows.off('drain', drained);
      gone();
    };
    rows.once('drain', drained);
    signal.addEventListener('abort', aborted, { once: true });
  });
}

/** Sessions are kept: opening one takes longer than most queries. What reads contents gets one of its own. */
async function sessionFor(request: RunRequest): Promise<SqlSession> {
  if (request.database === undefined) {
    if (carried === undefined) throw new SyftError('INTERNAL', 'There is no index here.');
    if ('error' in carried) throw carried.error;
    await carried.session.seal();
    return carried.session;
  }
  const key = JSON.stringify([request.database, request.memoryMb]);
  if (session?.key === key) return session.session;
  session?.session.close();
  session = undefined;
  const opened = await SqlSession.open(api, request.database, request);
  session = { key, session: opened };
  return opened;
}

const EXTRAS: readonly (readonly [name: string, table: ExtraTable])[] = [
  ['labels', 'labels'],
  ['chunks', 'chunks'],
  ['storage_report', 'storage_rows']
];

/** Asks for what the statement names and the index does not have. */
async function gather(
  request: RunRequest,
  statement: Statement,
  calls: readonly ResolvedCall[]
): Promise<{ extras: readonly ExtraRows[]; contents: readonly ContentFile[] }> {
  const extras = EXTRAS.filter(([name]) => statement.names.has(name)).map(([, table]) => table);
  const contents = calls.flatMap(call => call.contents);
  if (extras.length === 0 && contents.length === 0) return { extras: [], contents: [] };
  const answer = new Promise<Extract<ToWorker, { kind: 'give' | 'refuse' }>>(resolve => (given = resolve));
  say({ kind: 'need', id: request.id, extras, contents });
  const message = await answer;
  given = undefined;
  if (message.kind === 'refuse') {
    throw fromWire(message.error);
  }
  return message;
}

interface Counts {
  bytes: number;
  rows: number;
  truncated: boolean;
}

/** Does what is told of an index that is carried here. A failure is told with the next query. */
async function carry(message: Extract<ToWorker, { kind: 'index' | 'empty' | 'rows' }>): Promise<void> {
  try {
    if (message.kind === 'index') {
      if (carried !== undefined && 'session' in carried) carried.session.close();
      carried = undefined;
      carried = { session: await SqlSession.inMemory(api, message) };
    } else if (carried !== undefined && 'session' in carried) {
      if (message.kind === 'empty') await carried.session.empty(message.table);
      else await carried.session.take(message.table, message);
    }
  } catch (error) {
    carried = { error };
  }
}

/** The bytes of a content that is in no file, asked for piece by piece. */
async function* pull(id: number, content: number): AsyncGenerator<Uint8Array> {
  for (;;) {
    const next = new Promise<Extract<ToWorker, { kind: 'piece' }>>(resolve => (pulled = resolve));
    say({ kind: 'pull', id, content });
    const { bytes, error } = await next;
    pulled = undefined;
    if (error !== undefined) throw fromWire(error);
    if (bytes === undefined) return;
    yield bytes;
  }
}

function fromWire({ code, message, ...more }: WireError): SyftError {
  return new SyftError(code, message, more);
}

async function answer(request: RunRequest, signal: AbortSignal, counts: Counts): Promise<void> {
  const common = await sessionFor(request);
  const statement = await common.read(request.query);
  const calls = await resolveCalls(api, common, statement, request.parameters, signal);
  const { extras, contents } = await gather(request, statement, calls);
  if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.');
  const output = async (own: SqlSession, query: Statement): Promise<void> => {
    for (const table of extras) await own.fill(table);
    await own.run(query, request.parameters, signal, rows => sendRows(request, rows, signal, counts), {
      lenient: calls.length > 0,
      maxRows: request.maxRows
    });
  };
  if (calls.length === 0) await output(common, statement);
  else {
    const { database, sealed, id } = request;
    const bytes = sealed ? (content: number) => pull(id, content) : undefined;
    const open = (options: SqlSessionOptions): Promise<SqlSession> =>
      database === undefined ? common.beside(options, statement) : SqlSession.open(api, database, options);
    await overContents(api, open, request, statement, { calls, files: contents, bytes, signal }, output);
  }
}

/**
 * Sends rows while the next are worked out. The first are held back for a moment: a query that fails soon is answered with an error,
 * and not with rows that break off.
 */
async function sendRows(request: RunRequest, result: SqlRows, signal: AbortSignal, counts: Counts): Promise<void> {
  const { format, maxRows, scratch, sealed, memoryMb } = request;
  const pieces = encodeRows(api, result, { format, maxRows, scratch, sealed, memoryMb, counts });
  let held: (Uint8Array | string)[] | undefined = [];
  let size = 0;
  let sooner: NodeJS.Timeout | undefined;
  const letGo = async (): Promise<void> => {
    if (held === undefined) return;
    clearTimeout(sooner);
    const first = held;
    held = undefined;
    say({ kind: 'begin', id: request.id });
    for (const piece of first) await send(piece, signal, counts);
  };
  try {
    let next = pieces.next();
    for (;;) {
      const late = Promise.withResolvers<'late'>();
      if (held !== undefined && size > 0) {
        sooner = setTimeout(() => late.resolve('late'), HELD_BACK_MS);
        if ((await Promise.race([next, late.promise])) === 'late') await letGo();
        clearTimeout(sooner);
      }
      const { done, value } = await next;
      if (done === true) break;
      next = pieces.next();
      // It fails at the next turn, and not while nobody looks.
      next.catch(() => undefined);
      size += value.length;
      if (held === undefined) await send(value, signal, counts);
      else {
        held.push(value);
        if (size >= HELD_BACK_BYTES) await letGo();
      }
    }
    await letGo();
  } finally {
    await pieces.return(undefined);
  }
}

async function run(request: RunRequest): Promise<void> {
  const controller = new AbortController();
  const current = { id: request.id, controller, timedOut: false };
  running = current;
  const counts: Counts = { bytes: 0, rows: 0, truncated: false };
  const indexMb = (): number => (carried !== undefined && 'session' in carried ? carried.session.indexMb : 0);
  const most = (): number => ((request.memoryMb + indexMb()) * 1.25 + MEMORY_SLACK) * 1e6;
  let error: WireError | undefined;
  const timer = setTimeout(() => {
    current.timedOut = true;
    controller.abort();
  }, request.timeoutMs);
  const watch = setInterval(() => {
    if (process.memoryUsage.rss() <= most()) return;
    globalThis.gc?.();
    if (process.memoryUsage.rss() <= most()) return;
    // DuckDB does not count all that it takes, and gives nothing back while it runs: this process goes, at once.
    const message = `The query needs more memory than the ${request.memoryMb} MB it may take.`;
    process.send?.({ kind: 'end', id: request.id, ...counts, last: true, error: { code: 'SQL_MEMORY', message } }, () =>
      process.exit(1)
    );
  }, MEMORY_WATCH);
  try {
    await answer(request, controller.signal, counts);
  } catch (thrown) {
    error = current.timedOut
      ? {
          code: 'SQL_TIMEOUT',
          message: `The query took longer than the ${request.timeoutMs / 1000} s it may take. Ask for less, or allow more with timeoutMs (--timeout).`
        }
      : wire(thrown);
  } finally {
    clearTimeout(timer);
    clearInterval(watch);
    given = undefined;
    running = undefined;
  }
  const large = process.memoryUsage.rss() - indexMb() * 1e6 > (most() - indexMb() * 1.25e6) * SPENT;
  // An index that could not be taken in is brought again, to another process.
  const spent = large || (carried !== undefined && 'error' in carried);
  say({ kind: 'end', id: request.id, ...counts, ...(spent && { last: true }), ...(error !== undefined && { error }) });
}

/** What is told of an index is done in order, and before the query that comes after it. */
let last: Promise<void> = Promise.resolve();

process.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'run':
      last = last.then(() => run(message));
      break;
    case 'index':
    case 'empty':
    case 'rows':
      last = last.then(() => carry(message));
      break;
    case 'piece':
      pulled?.(message);
      break;
    case 'cancel':
      if (running?.id === message.id) running.controller.abort();
      // Whoever waits for rows to be asked for must not wait for ever.
      given?.({ kind: 'refuse', id: message.id, error: { code: 'CANCELLED', message: 'The query was cancelled.' } });
      pulled?.({ kind: 'piece', id: message.id, error: { code: 'CANCELLED', message: 'The query was cancelled.' } });
      break;
    case 'give':
    case 'refuse':
      given?.(message);
      break;
  }
});
// Nobody is there any more to read an answer.
process.on('disconnect', () => process.exit(0));
rows.on('error', () => process.exit(0));

try {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
} catch {
  // Not everywhere may a process give way to others.
}
// Linux: when memory runs out, this process goes first. Elsewhere there is no such file.
await writeFile('/proc/self/oom_score_adj', '1000').catch(() => undefined);
say({ kind: 'ready' });
