/** The prompt of `sql`: statements end with `;`, the arrow keys bring back earlier ones, Tab completes. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { SyftError, type TextPosition } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import type { Format } from '../index/sql/protocol.ts';
import { sqlSchema } from '../index/sql/tables.ts';
import { words } from '../index/sql/words.ts';
import { readText } from '../storage/read-text.ts';
import type { CommandContext } from './context.ts';
import type { Ask } from './sql.ts';

const HISTORY_FILE = 'sql-history';
const HISTORY_LENGTH = 500;
const KEYWORDS =
  'SELECT FROM WHERE GROUP BY ORDER BY LIMIT JOIN LEFT USING WITH AS COUNT SUM MIN MAX DISTINCT DESC HAVING BETWEEN LIKE INTERVAL DESCRIBE SUMMARIZE EXPLAIN'.split(
    ' '
  );
const HELP = `Ends with ;   \\d tables   \\d TABLE columns   \\q quit   (docs/sql.md)\n`;

/** Words that can stand where the cursor is: of a table after a dot, else all. */
export function completions(line: string): [string[], string] {
  const typed = /[\w.]*$/.exec(line)?.[0] ?? '';
  const { tables, macros } = sqlSchema();
  const dot = typed.lastIndexOf('.');
  if (dot >= 0) {
    const table = [...tables, ...macros].find(each => each.name === typed.slice(0, dot).toLowerCase());
    const columns = (table?.columns ?? []).map(column => `${typed.slice(0, dot + 1)}${column.name}`);
    return [columns.filter(name => name.startsWith(typed)), typed];
  }
  const all = [
    ...tables.map(table => table.name),
    ...macros.map(macro => `${macro.name}(`),
    ...new Set(tables.flatMap(table => table.columns.map(column => column.name))),
    ...KEYWORDS
  ];
  return [all.filter(word => word.toLowerCase().startsWith(typed.toLowerCase())), typed];
}

/** The statement that a text ends, or `undefined` when it goes on. */
export function finished(text: string): string | undefined {
  const all = [...words(text)];
  if (all.at(-1)?.text !== ';') return undefined;
  const end = all.findLast(word => word.text !== ';')?.end ?? 0;
  return text.slice(0, end).trim();
}

function marked(query: string, { line, column }: TextPosition): string {
  return `${query.split('\n')[line - 1] ?? ''}\n${' '.repeat(Math.max(0, column - 1))}^\n`;
}

function historyFile(): string {
  return join(configurationDirectory(), HISTORY_FILE);
}

function loadHistory(): string[] {
  try {
    return readText(historyFile()).split('\n').filter(Boolean).reverse();
  } catch {
    // None yet, or not to be read: the prompt works without.
    return [];
  }
}

/** What a meta command asks instead. */
function metaQuery(command: string): string | undefined {
  const [, table] = /^\\d\s*(\w*)\s*;?$/.exec(command) ?? [];
  if (table === undefined) return undefined;
  return table === '' ? 'SHOW TABLES' : `SELECT column_name, column_type FROM (DESCRIBE ${table})`;
}

/** Asks until the terminal is closed. */
export async function runPrompt(context: CommandContext, ask: Ask, format: Format): Promise<number> {
  const { output } = context;
  const prompt = createInterface({
    input: process.stdin,
    output: process.stdout,
    historySize: HISTORY_LENGTH,
    history: loadHistory(),
    removeHistoryDuplicates: true,
    completer: completions,
    prompt: 'sql> '
  });
  let text = '';
  let running: AbortController | undefined;
  const asked: string[] = [];
  const answer = async (query: string): Promise<void> => {
    running = new AbortController();
    try {
      for await (const piece of ask(query, format, running.signal)) await output.write(piece);
    } catch (error) {
      if (!(error instanceof SyftError)) throw error;
      if (error.position !== undefined) process.stderr.write(marked(query, error.position));
      output.error(error);
    } finally {
      running = undefined;
    }
  };
  // Ctrl-C stops the query, else clears the line.
  prompt.on('SIGINT', () => {
    if (running !== undefined) running.abort();
    else {
      text = '';
      process.stdout.write('\n');
      prompt.setPrompt('sql> ');
      prompt.prompt();
    }
  });
  process.stdout.write(HELP);
  prompt.prompt();
  for await (const line of prompt) {
    if (text === '' && /^\\q|^(quit|exit);?$/i.test(line.trim())) break;
    const meta = text === '' ? metaQuery(line.trim()) : undefined;
    text = meta === undefined ? `${text}${line}\n` : '';
    const query = meta ?? finished(text);
    if (query !== undefined) {
      text = '';
      if (meta === undefined && query !== '') asked.push(query.replaceAll('\n', ' '));
      if (query !== '') await answer(query);
    } else if (text.trim() === '') text = '';
    prompt.setPrompt(text === '' ? 'sql> ' : '...> ');
    prompt.prompt();
  }
  prompt.close();
  await saveHistory(asked);
  return 0;
}

async function saveHistory(asked: readonly string[]): Promise<void> {
  if (asked.length === 0) return;
  try {
    const all = [...loadHistory().reverse(), ...asked].slice(-HISTORY_LENGTH);
    await mkdir(configurationDirectory(), { recursive: true, mode: 0o700 });
    await writeFile(historyFile(), `${all.join('\n')}\n`, { mode: 0o600 });
  } catch {
    // A history that cannot be kept is no reason to fail.
  }
}
