/** The prompt of `sql` in a real terminal: what was typed is neither lost nor changed, and a query that goes on is no trap. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { completions, onOneLine, openQuote } from '../../../server/src/cli/sql-prompt.ts';
import { CommandLine, type Watch } from './run.ts';
import { Terminal } from './terminal.ts';

let dir: string;
let cli: CommandLine;
let recorder: Watch;
const open: Terminal[] = [];

beforeAll(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-sql-prompt-')));
  const ws = join(dir, 'ws');
  await mkdir(join(ws, 'data', "Ana's"), { recursive: true });
  for (const name of ['data/sales.csv', 'data/sales-old.csv', "data/Ana's/x.csv", 'notes.md', 'evil\u001b[2J.csv']) {
    await writeFile(join(ws, name), 'n\n1\n');
  }
  cli = new CommandLine(ws, join(dir, 'home'));
  recorder = await cli.watch();
}, 60_000);
afterEach(() => {
  for (const one of open.splice(0)) if (one.child.exitCode === null) one.child.kill('SIGKILL');
});
afterAll(async () => {
  await recorder.end();
  await rm(dir, { recursive: true, force: true });
});

/** A prompt that waits for its first query. */
async function prompt(...args: string[]): Promise<Terminal> {
  const tty = new Terminal(cli, ['sql', ...args], { columns: 120 });
  open.push(tty);
  await shown(tty, 'sql> ');
  return tty;
}

/** What is on the terminal since the last time, as a person reads it, once it shows the text. */
async function shown(tty: Terminal, text: string | RegExp): Promise<string> {
  const said = (): string => stripVTControlCharacters(tty.raw).replaceAll('\r', '');
  const there = (): boolean => (typeof text === 'string' ? said().includes(text) : text.test(said()));
  const deadline = Date.now() + 30_000;
  while (!there()) {
    if (tty.child.exitCode !== null || tty.child.signalCode !== null || Date.now() > deadline) {
      throw new Error(`without ${String(text)}: ${JSON.stringify(tty.raw)}`);
    }
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  const all = said();
  tty.raw = '';
  return all;
}

/** Twice, as fingers do it: keys that come together are taken for pasted text. */
async function tabTwice(tty: Terminal): Promise<void> {
  tty.type('\t');
  await new Promise(resolve => setTimeout(resolve, 400));
  tty.type('\t');
}

test('Tab completes tables, columns and words as they are typed, and paths folder by folder', async () => {
  const tty = await prompt();
  tty.type('sel\t');
  await shown(tty, 'select');
  tty.type(' path from fil\t');
  await shown(tty, 'files');
  tty.type(" where path = 'da\t");
  await shown(tty, "'data/");
  tty.type('sa\t');
  await shown(tty, 'sales');
  // Two paths go on from here; a second Tab says which.
  tty.type('\t');
  await shown(tty, /sales-old\.csv +.*data\/sales\.csv|sales\.csv +.*sales-old\.csv/);
  tty.type('-');
  tty.type('\t');
  await shown(tty, "-old.csv'");
  tty.type(';\r');
  expect(await shown(tty, '(1 row)')).toContain('data/sales-old.csv');
  tty.type("select path from files where path = 'data/An\t");
  await shown(tty, "Ana''s/");
  tty.type('\t');
  await shown(tty, "x.csv'");
  tty.type(';\r');
  expect(await shown(tty, '(1 row)')).toContain("data/Ana's/x.csv");
  // Over lines too; and no name of a file is a command to the terminal.
  tty.type("select path from files\rwhere path = 'no\t");
  await shown(tty, "'notes.md'");
  tty.type(" or path = 'ev");
  await tabTwice(tty);
  await new Promise(resolve => setTimeout(resolve, 300));
  expect(tty.raw).not.toContain('\u001b[2J');
  tty.type('\u0003\u0004');
  expect(await tty.end()).toBe(0);
});

test('Arrow-up brings back the queries of the last session, and of one whose terminal was closed', async () => {
  const first = await prompt();
  first.type('select \'one\' -- not two\rAS "first";\r');
  await shown(first, '(1 row)');
  first.type('\u0004');
  expect(await first.end()).toBe(0);
  const second = await prompt();
  second.type('select 3 as third;\r');
  await shown(second, '(1 row)');
  second.child.kill('SIGKILL');
  await second.end();
  const third = await prompt();
  third.type('\u001b[A');
  await shown(third, 'select 3 as third;');
  third.type('\u001b[A');
  await shown(third, 'select \'one\' AS "first";');
  third.type('\r');
  expect(await shown(third, '(1 row)')).toMatch(/first\n─+\none/);
  third.type('\\q\r');
  expect(await third.end()).toBe(0);
  const file = join(dir, 'home', 'sql-history');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await readFile(file, 'utf8')).split('\n')).toContain('select 3 as third;');
});

test('Ctrl-C stops the query and not the prompt, and takes back what was typed', async () => {
  const tty = await prompt('--timeout', '600');
  tty.type('select count(*) from range(100000000) a, range(100000000) b;\r');
  await shown(tty, 'range(100000000) b;');
  await new Promise(resolve => setTimeout(resolve, 500));
  tty.type('\u0003');
  expect(await shown(tty, 'sql> ')).toContain('Cancelled.');
  tty.type('select 1 +\rnonsense\u001b[D\u0003');
  await shown(tty, '^C\nsql> ');
  tty.type('select 40 + 2 as answer;\r');
  expect(await shown(tty, '(1 row)')).toMatch(/answer\n─+\n +42/);
  tty.type('\u0004');
  expect(await tty.end()).toBe(0);
  expect(tty.left).toBe('cooked');
  // It was cancelled in the recorder too: two queries run at a time, and these would wait for it.
  expect(await cli.ok('sql', 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('an error is shown at its place, and the prompt goes on', async () => {
  const tty = await prompt();
  tty.type('select path,\r    nosuch from files;\r');
  const said = await shown(tty, /\[SQL_INVALID\]\nsql> /);
  expect(said).toMatch(/\n( *)nosuch from files\n\1\^\nsyft-sync: .*nosuch/);
  tty.type('drop table files;\r');
  await shown(tty, '[SQL_FORBIDDEN]\nsql> ');
  tty.type('\\d labels\r');
  await shown(tty, 'label ');
  tty.type('quit\r');
  expect(await tty.end()).toBe(0);
});

test('told to end it gives the terminal back, also in the middle of a query', async () => {
  const tty = await prompt('--timeout', '600');
  tty.type('select count(*) from range(100000000) a, range(100000000) b;\r');
  await shown(tty, 'range(100000000) b;');
  await new Promise(resolve => setTimeout(resolve, 300));
  tty.child.kill('SIGUSR1');
  expect(await tty.end()).toBe(130);
  expect(tty.left).toBe('cooked');
});

test('a completion never takes back a letter', () => {
  for (const typed of ['s', 'S', 'c', 'Chan', 'changes.p', 'files_', '']) {
    const [found, on] = completions(`SELECT ${typed}`);
    expect(on).toBe(typed);
    expect(found.length).toBeGreaterThan(0);
    for (const word of found) expect(word.startsWith(typed)).toBe(true);
  }
  expect(completions('from CHANGES.PA')[0]).toEqual(['CHANGES.PAth']);
  expect(completions('nosuch.p')[0]).toEqual([]);
});

test('a quote is known to be open', () => {
  expect(openQuote("a = 'it''s")).toEqual({ typed: "it''s", meant: "it's" });
  expect(openQuote("a = '")).toEqual({ typed: '', meant: '' });
  for (const closed of ["a = 'x'", "'x' ", '"x', "-- don't", '']) expect(openQuote(closed)).toBeUndefined();
});

test('a query over lines is kept on one, and means the same', () => {
  expect(onOneLine("SELECT 1 -- one\n  , 'a  b' /* two\n lines */ FROM x")).toBe("SELECT 1 , 'a  b' FROM x");
  expect(onOneLine("SELECT 'a\nb'")).toBeUndefined();
});
