/** `sql`: one question and its answer, or a prompt for many. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { SqlOutcomeSchema, SqlRequestSchema, type SqlRequest } from '../api/contract.ts';
import { SyftError, type ErrorCode, type TextPosition } from '../core/errors.ts';
import { ChangeIndex } from '../index/change-index.ts';
import { SqlEngine } from '../index/sql/engine.ts';
import { FORMATS, type Format } from '../index/sql/protocol.ts';
import { saidIn } from '../library/said.ts';
import { openLogReader } from '../log/log.ts';
import { writeError } from '../storage/durable.ts';
import { wholeNumber } from './arguments.ts';
import type { CommandContext } from './context.ts';
import { findControl } from './control.ts';
import { runPrompt } from './sql-prompt.ts';

/** Seconds and megabytes, unless told. */
const TIMEOUT = 10;
const MEMORY = 1024;
const MOST_ROWS = 100_000_000;
/** Bytes that are read from stdin, of a query and of one with its parameters. */
const LONGEST_QUERY = 500_000;
const LONGEST_REQUEST = 32_000_000;

const ENDINGS: Readonly<Record<string, Format>> = {
  json: 'json',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  csv: 'csv',
  arrow: 'arrow',
  arrows: 'arrow',
  parquet: 'parquet',
  txt: 'table'
};
const BINARY: ReadonlySet<Format> = new Set(['arrow', 'parquet']);

/** Asks a question; the bytes of the answer, which fail when they end too early. */
export type Ask = (query: string, format: Format, signal: AbortSignal, more?: More) => AsyncIterable<Uint8Array>;

/** What can be asked beside a text, and who is told how it ended. */
interface More {
  readonly parameters?: SqlRequest['parameters'];
  readonly maxRows?: number;
  readonly timeoutMs?: number;
  readonly memoryMb?: number;
  readonly ended?: (end: { rows: number; truncated: boolean }) => void;
}

export async function sqlCommand(context: CommandContext): Promise<number> {
  const { invocation, output, cwd } = context;
  const file = invocation.values.get('output');
  const request = invocation.flags.has('request') ? await requestFromStdin(context) : undefined;
  const format = request?.format ?? formatOf(context, file);
  const interactive = request === undefined && invocation.args[0] === undefined && process.stdin.isTTY === true;
  if (file === undefined && BINARY.has(format) && process.stdout.isTTY === true && !interactive) {
    throw new SyftError('BAD_REQUEST', `${format} is not for a terminal; give -o FILE.`);
  }
  await using asker = await openAsker(context);
  if (interactive) return await runPrompt(context, asker.ask, format);
  const query = request?.query ?? invocation.args[0] ?? (await fromStdin(LONGEST_QUERY));
  if (query.trim() === '') throw new SyftError('BAD_REQUEST', 'Give a query: syft-sync sql "SELECT …", or on stdin.');
  const answer = asker.ask(query, format, context.signal, request && moreOf(request, context));
  // A program is told the place in a member of its own.
  const bytes = request === undefined ? placed(answer) : answer;
  if (file === undefined) {
    for await (const piece of bytes) {
      if (output.gone) break;
      await output.write(piece);
    }
    return 0;
  }
  await writeFileWhole(resolve(cwd, file), bytes);
  return 0;
}

function formatOf({ invocation, output }: CommandContext, file: string | undefined): Format {
  const named = invocation.values.get('format');
  if (named !== undefined) {
    const found = FORMATS.find(format => format === named);
    if (found !== undefined) return found;
    throw new SyftError('BAD_REQUEST', `--format takes one of ${FORMATS.join(', ')}, not "${named}".`);
  }
  const ending = /\.([a-z]+)$/i.exec(file ?? '')?.[1]?.toLowerCase() ?? '';
  const byName = Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending] : undefined;
  return byName ?? (output.json ? 'ndjson' : 'table');
}

async function fromStdin(longest: number): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of process.stdin) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length > longest) {
      throw new SyftError('BAD_REQUEST', `What comes on stdin is longer than ${longest / 1000} kB.`);
    }
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** For programs: their values are bound, and are not in the list of processes for all to read. */
async function requestFromStdin({ invocation }: CommandContext): Promise<SqlRequest> {
  const other = ['format', 'timeout', 'memory'].find(name => invocation.values.has(name));
  if (other !== undefined || invocation.args.length > 0) {
    throw new SyftError('BAD_REQUEST', '--request brings the query and its limits; -o is all that goes with it.');
  }
  const text = await fromStdin(LONGEST_REQUEST);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new SyftError('BAD_REQUEST', 'What comes on stdin is not JSON.', { cause: error });
  }
  const request = SqlRequestSchema.safeParse(body);
  if (request.success) return request.data;
  throw new SyftError('BAD_REQUEST', `The request is wrong: ${z.prettifyError(request.error)}`);
}

function moreOf({ parameters, maxRows, timeoutMs, memoryMb }: SqlRequest, { output }: CommandContext): More {
  return {
    ...(parameters !== undefined && { parameters }),
    maxRows,
    timeoutMs,
    memoryMb,
    ended: end => output.endOfRows(end)
  };
}

/** Says in the one line of an error where in the query it is. */
async function* placed(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    if (!(error instanceof SyftError) || error.position === undefined) throw error;
    const { line, column } = error.position;
    throw new SyftError(error.code, `${error.message} (line ${line}, column ${column})`, {
      cause: error,
      position: error.position
    });
  }
}

/** The file is there when it is whole, and not before. */
async function writeFileWhole(file: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const staged = `${file}.${randomUUID().slice(0, 8)}.part`;
  const chunks = Readable.from(bytes, { objectMode: false });
  try {
    await pipeline(chunks, createWriteStream(staged, { flags: 'wx' }));
    await rename(staged, file);
  } catch (error) {
    await rm(staged, { force: true });
    if (error instanceof SyftError) throw error;
    throw writeError(error, `The result cannot be written to ${file}.`);
  }
}

interface Asker extends AsyncDisposable {
  readonly ask: Ask;
}

/** Asks the recorder that holds the log, else the index itself. */
async function openAsker(context: CommandContext): Promise<Asker> {
  const { invocation, logDir, output } = context;
  const timeoutMs = (wholeNumber(invocation, 'timeout') ?? TIMEOUT) * 1000;
  const memoryMb = wholeNumber(invocation, 'memory') ?? MEMORY;
  if (timeoutMs < 1 || timeoutMs > 3_600_000) throw new SyftError('BAD_REQUEST', '--timeout takes 1 to 3600 seconds.');
  if (memoryMb < 32 || memoryMb > 65_536) throw new SyftError('BAD_REQUEST', '--memory takes 32 to 65536 megabytes.');
  const control = await findControl(logDir, context.signal);
  if (control !== undefined) {
    output.detail(`asking the recorder, process ${control.pid}`);
    return {
      async *ask(query, format, signal, { ended, ...more } = {}) {
        const queryId = randomUUID();
        const call = await findControl(logDir, signal);
        if (call === undefined) throw new SyftError('NOT_RUNNING', 'The recorder has ended; try again.');
        const bytes = await call.stream('/api/sql', {
          query,
          format,
          timeoutMs,
          memoryMb,
          maxRows: MOST_ROWS,
          ...more,
          queryId
        });
        try {
          yield* bytes;
        } catch (error) {
          if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.', { cause: error });
          throw whyCut(await call.call('GET', `/api/sql/queries/${queryId}`)) ?? error;
        }
        if (ended !== undefined) ended(SqlOutcomeSchema.parse(await call.call('GET', `/api/sql/queries/${queryId}`)));
      },
      [Symbol.asyncDispose]: () => Promise.resolve()
    };
  }
  await using opened = new AsyncDisposableStack();
  const keys = await context.keysOf(logDir);
  const reader = await openLogReader({ dir: logDir, keys });
  opened.defer(() => reader.close());
  const index = opened.use(
    ChangeIndex.open({ dir: join(logDir, 'index'), log: reader, ...(keys !== undefined && { keys }) })
  );
  const engine = opened.use(
    new SqlEngine({
      index,
      log: () => reader,
      logDir: () => logDir,
      keys: () => keys,
      marks: async () => (await saidIn(reader)).marks,
      dir: () => join(logDir, 'index')
    })
  );
  const kept = opened.move();
  return {
    async *ask(query, format, signal, { ended: tell, ...more } = {}) {
      const limits = { timeoutMs, memoryMb, maxRows: MOST_ROWS, ...more };
      const { bytes, ended } = await engine.query({ query, format, ...limits }, signal);
      yield* bytes;
      const end = await ended;
      if (end.error !== undefined) throw end.error;
      tell?.(end);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync()
  };
}

function whyCut(outcome: unknown): SyftError | undefined {
  const error = (outcome as { error?: { code: ErrorCode; message: string; position?: TextPosition } } | undefined)
    ?.error;
  return error === undefined ? undefined : new SyftError(error.code, error.message, error);
}
