/** `sql`: one question and its answer, or a prompt for many. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
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
/** Bytes of a query that is read from stdin. */
const LONGEST_QUERY = 500_000;

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
export type Ask = (query: string, format: Format, signal: AbortSignal) => AsyncIterable<Uint8Array>;

export async function sqlCommand(context: CommandContext): Promise<number> {
  const { invocation, output, cwd } = context;
  const file = invocation.values.get('output');
  const format = formatOf(context, file);
  const interactive = invocation.args[0] === undefined && process.stdin.isTTY === true;
  if (file === undefined && BINARY.has(format) && process.stdout.isTTY === true && !interactive) {
    throw new SyftError('BAD_REQUEST', `${format} is not for a terminal; give -o FILE.`);
  }
  await using asker = await openAsker(context);
  if (interactive) return runPrompt(context, asker.ask, format);
  const query = invocation.args[0] ?? (await queryFromStdin());
  const bytes = placed(asker.ask(query, format, context.signal));
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

async function queryFromStdin(): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of process.stdin) {
    pieces.push(piece as Buffer);
    length += (piece as Buffer).length;
    if (length > LONGEST_QUERY) throw new SyftError('BAD_REQUEST', 'The query on stdin is longer than 500 kB.');
  }
  const text = Buffer.concat(pieces).toString('utf8');
  if (text.trim() === '') throw new SyftError('BAD_REQUEST', 'Give a query: syft-sync sql "SELECT …", or on stdin.');
  return text;
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
      async *ask(query, format, signal) {
        const queryId = randomUUID();
        const call = await findControl(logDir, signal);
        if (call === undefined) throw new SyftError('NOT_RUNNING', 'The recorder has ended; try again.');
        const bytes = await call.stream('/api/sql', {
          query,
          format,
          timeoutMs,
          memoryMb,
          maxRows: MOST_ROWS,
          queryId
        });
        try {
          yield* bytes;
        } catch (error) {
          if (signal.aborted) throw new SyftError('CANCELLED', 'The query was cancelled.', { cause: error });
          throw whyCut(await call.call('GET', `/api/sql/queries/${queryId}`)) ?? error;
        }
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
    async *ask(query, format, signal) {
      const { bytes, ended } = await engine.query({ query, format, timeoutMs, memoryMb, maxRows: MOST_ROWS }, signal);
      yield* bytes;
      const { error } = await ended;
      if (error !== undefined) throw error;
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync()
  };
}

function whyCut(outcome: unknown): SyftError | undefined {
  const error = (outcome as { error?: { code: ErrorCode; message: string; position?: TextPosition } } | undefined)
    ?.error;
  return error === undefined ? undefined : new SyftError(error.code, error.message, error);
}
