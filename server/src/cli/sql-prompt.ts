/** The prompt of `sql`: statements end with `;`, the arrow keys bring back earlier ones, Tab completes. */
import { once } from 'node:events';
import { appendFileSync, mkdirSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clearLine, createInterface, cursorTo } from 'node:readline';
import { errnoOf, SyftError, type TextPosition } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import type { Format } from '../index/sql/protocol.ts';
import { sqlSchema } from '../index/sql/tables.ts';
import { words } from '../index/sql/words.ts';
import { printable } from '../library/terminal-text.ts';
import { readText } from '../storage/read-text.ts';
import type { CommandContext } from './context.ts';
import type { Ask } from './sql.ts';

const HISTORY_FILE = 'sql-history';
const HISTORY_LENGTH = 500;
const KEYWORDS: readonly string[] =
  'SELECT FROM WHERE GROUP BY ORDER BY LIMIT JOIN LEFT USING WITH AS COUNT SUM MIN MAX DISTINCT DESC HAVING BETWEEN LIKE INTERVAL DESCRIBE SUMMARIZE EXPLAIN'.split(
    ' '
  );
const HELP = `Ends with ;   \\d tables   \\d TABLE columns   \\q quit   (docs/sql.md)\n`;

/** Words that can stand where the cursor is: of a table after a dot, else all. Each begins with what is typed. */
export function completions(line: string): [string[], string] {
  const typed = /[\w.]*$/.exec(line)?.[0] ?? '';
  const { tables, macros } = sqlSchema();
  const dot = typed.lastIndexOf('.');
  const table = [...tables, ...macros].find(each => each.name === typed.slice(0, dot).toLowerCase());
  const all =
    dot >= 0
      ? (table?.columns ?? []).map(column => `${typed.slice(0, dot + 1)}${column.name}`)
      : [
          ...tables.map(({ name }) => name),
          ...macros.map(({ name }) => `${name}(`),
          ...new Set(tables.flatMap(({ columns }) => columns.map(({ name }) => name))),
          ...(typed === typed.toLowerCase() ? KEYWORDS.map(word => word.toLowerCase()) : KEYWORDS)
        ];
  const found = all.filter(word => word.toLowerCase().startsWith(typed.toLowerCase()));
  // SQL does not mind how they are written, and the line editor takes away what differs.
  return [[...new Set(found)].map(word => typed + word.slice(typed.length)), typed];
}

/** What is typed of a text between quotes that is not closed yet: as it stands there, and as it is meant. */
export function openQuote(text: string): { typed: string; meant: string } | undefined {
  const last = [...words(text)].at(-1);
  if (last?.end !== text.length || !last.text.startsWith("'")) return undefined;
  const typed = last.text.slice(1);
  if (typed.replaceAll("''", '').includes("'")) return undefined;
  return { typed, meant: typed.replaceAll("''", "'") };
}

/** The next step of each path that begins with $1: up to the folder, or to its end. */
const PATHS = `SELECT DISTINCT CASE WHEN slash = 0 THEN path ELSE left(path, length($1) + slash) END AS step, slash = 0 AS whole
FROM (SELECT path, strpos(substr(path, length($1) + 1), '/') AS slash FROM files WHERE starts_with(path, $1))
ORDER BY step LIMIT 200`;
const PATHS_TIMEOUT = 5000;

/** Paths that go on where the quote is open, as words of SQL; the quote is closed where there is only one. */
async function pathCompletions(ask: Ask, { typed, meant }: { typed: string; meant: string }): Promise<string[]> {
  const pieces: Uint8Array[] = [];
  const asked = ask(PATHS, 'json', AbortSignal.timeout(PATHS_TIMEOUT), {
    parameters: [meant],
    timeoutMs: PATHS_TIMEOUT
  });
  for await (const piece of asked) pieces.push(piece);
  const steps = JSON.parse(Buffer.concat(pieces).toString('utf8')) as { step: string; whole: boolean }[];
  // What a terminal would obey, or the line editor could not show, is not offered.
  const safe = steps.filter(({ step }) => printable(step) === step);
  return safe.map(
    ({ step, whole }) =>
      `${typed}${step.slice(meant.length).replaceAll("'", "''")}${whole && safe.length === 1 ? "'" : ''}`
  );
}

/** The statement that a text ends, or `undefined` when it goes on. */
export function finished(text: string): string | undefined {
  const all = [...words(text)];
  if (all.at(-1)?.text !== ';') return undefined;
  const end = all.findLast(word => word.text !== ';')?.end ?? 0;
  return text.slice(0, end).trim();
}

/** The line of the query that is wrong, and a mark below the place. */
function marked(query: string, { line, column }: TextPosition): string {
  const text = printable((query.split('\n')[line - 1] ?? '').replaceAll('\t', ' '));
  return `${text}\n${' '.repeat(Math.max(0, column - 1))}^\n`;
}

function historyFile(): string {
  return join(configurationDirectory(), HISTORY_FILE);
}

/** Oldest first. */
function loadHistory(): string[] {
  try {
    return readText(historyFile()).split('\n').filter(Boolean);
  } catch {
    // None yet, or not to be read: the prompt works without.
    return [];
  }
}

/** A query on one line, its comments left out; undefined when it cannot be: a text in it goes over lines. */
export function onOneLine(query: string): string | undefined {
  let out = '';
  let end = 0;
  for (const word of words(query)) {
    if (/[\r\n]/.test(word.text)) return undefined;
    out += (word.start > end && out !== '' ? ' ' : '') + word.text;
    end = word.end;
  }
  return out;
}

/** Keeps a query for the next session at once: a terminal that is closed gives no time for it later. */
function remember(query: string): void {
  const line = onOneLine(query);
  if (line === undefined) return;
  try {
    mkdirSync(configurationDirectory(), { recursive: true, mode: 0o700 });
    appendFileSync(historyFile(), `${line};\n`, { mode: 0o600 });
  } catch {
    // A history that cannot be kept is no reason to fail.
  }
}

/** Leaves out what is too old, when there is much of it. Another session may add to it meanwhile, and loses a line. */
async function trimHistory(all: readonly string[]): Promise<void> {
  if (all.length < 2 * HISTORY_LENGTH) return;
  try {
    const staged = `${historyFile()}.${process.pid}`;
    await writeFile(staged, `${all.slice(-HISTORY_LENGTH).join('\n')}\n`, { mode: 0o600, flag: 'wx' });
    await rename(staged, historyFile());
  } catch {
    // As above.
  }
}

/** What a meta command asks instead. */
function metaQuery(command: string): string | undefined {
  const [, table] = /^\\d\s*(\w*)\s*;?$/.exec(command) ?? [];
  if (table === undefined) return undefined;
  return table === '' ? 'SHOW TABLES' : `SELECT column_name, column_type FROM (DESCRIBE ${table})`;
}

/** Whoever was asked has gone; the prompt stays, for the next question may be answered again. */
const GONE: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT']);

function saidOf(error: unknown): SyftError {
  if (error instanceof SyftError) return error;
  if (!GONE.has(errnoOf(error) ?? '')) throw error;
  return new SyftError('NOT_RUNNING', 'The recorder ended before it had answered; try again.', { cause: error });
}

/** Asks until the terminal is closed. */
export async function runPrompt(context: CommandContext, ask: Ask, format: Format): Promise<number> {
  const { output, signal } = context;
  const history = loadHistory();
  await trimHistory(history);
  /** What was typed of a query, up to the line under the cursor. */
  let text = '';
  /** Queries that wait, as those of pasted text do. */
  let queue: string[] = [];
  let running: AbortController | undefined;
  const prompt = createInterface({
    input: process.stdin,
    output: process.stdout,
    historySize: HISTORY_LENGTH,
    history: history.slice(-HISTORY_LENGTH).reverse(),
    removeHistoryDuplicates: true,
    completer: (line: string, done: (error: null, found: [string[], string]) => void) => {
      const quote = running === undefined ? openQuote(text + line) : undefined;
      if (quote === undefined) done(null, running === undefined ? completions(line) : [[], line]);
      else {
        pathCompletions(ask, quote).then(
          found => done(null, [found, quote.typed]),
          // Nothing is offered, and what was typed stays: the query itself will say what is wrong.
          () => done(null, [[], quote.typed])
        );
      }
    },
    prompt: 'sql> '
  });
  const askOne = async (query: string): Promise<void> => {
    const controller = (running = new AbortController());
    // Of pasted lines the prompt for the next is there already.
    if (process.stdout.isTTY === true) {
      cursorTo(process.stdout, 0);
      clearLine(process.stdout, 1);
    }
    try {
      for await (const piece of ask(query, format, AbortSignal.any([controller.signal, signal]))) {
        await output.write(piece);
      }
    } catch (thrown) {
      if (controller.signal.aborted) {
        output.note('Cancelled.');
        return;
      }
      const error = saidOf(thrown);
      if (error.position !== undefined) process.stderr.write(marked(query, error.position));
      output.error(error);
    } finally {
      running = undefined;
    }
  };
  const invite = (): void => {
    prompt.setPrompt(text === '' ? 'sql> ' : '...> ');
    prompt.prompt();
  };
  /** Takes a line at once, so that Ctrl-C behind it finds it taken; the queries in it are asked one after the other. */
  let answering: Promise<void> | undefined;
  const failed = Promise.withResolvers<never>();
  const answerAll = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && !signal.aborted; next = queue.shift()) await askOne(next);
    answering = undefined;
    if (!signal.aborted) invite();
  };
  prompt.on('line', line => {
    if (text === '' && /^\\q|^(quit|exit);?$/i.test(line.trim())) {
      prompt.close();
      return;
    }
    const meta = text === '' ? metaQuery(line.trim()) : undefined;
    text = meta === undefined ? `${text}${line}\n` : '';
    const query = meta ?? finished(text);
    if (query !== undefined || text.trim() === '') text = '';
    if (query !== undefined && query !== '') {
      if (meta === undefined) remember(query);
      queue.push(query);
      answering ??= answerAll().catch(failed.reject);
    } else if (answering === undefined) invite();
  });
  // Ctrl-C stops the query and those that wait, else takes back what was typed.
  prompt.on('SIGINT', () => {
    queue = [];
    if (running !== undefined) {
      running.abort();
      return;
    }
    text = '';
    process.stdout.write('^C\n');
    prompt.setPrompt('sql> ');
    prompt.write(null, { ctrl: true, name: 'e' });
    prompt.write(null, { ctrl: true, name: 'u' });
    invite();
  });
  // Told to end from elsewhere: the terminal is given back as a shell needs it.
  const end = (): void => prompt.close();
  signal.addEventListener('abort', end);
  const closed = once(prompt, 'close');
  process.stdout.write(HELP);
  invite();
  if (signal.aborted) end();
  try {
    await Promise.race([closed, failed.promise]);
    // What was asked before the end is answered.
    await Promise.race([answering, failed.promise]);
  } finally {
    signal.removeEventListener('abort', end);
    prompt.close();
  }
  if (signal.aborted) throw new SyftError('CANCELLED', 'Stopped.');
  return 0;
}
