/** `export`, `verify`, `import` and `contacts`, as a shell calls them: exit statuses and JSON that scripts rely on. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let base: string;
let ana: CommandLine;
let ben: CommandLine;
/** What a failed command said: its status and the code of its error. */
async function failed(cli: CommandLine, ...args: string[]): Promise<[number | null, string | undefined]> {
  const { status, stderr } = await cli.run(['--json', ...args]);
  return [status, /"code":"([A-Z_]+)"/.exec(stderr)?.[1]];
}

const message = (): string => join(base, 'm.syft');

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-messages-'));
  for (const name of ['ana', 'ben']) mkdirSync(join(base, name));
  ana = new CommandLine(join(base, 'ana'), join(base, 'ana-home'));
  ben = new CommandLine(join(base, 'ben'), join(base, 'ben-home'));
  writeFileSync(join(base, 'ana', 'a.txt'), 'one');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

test('a version goes from one to another, and both see what became of it', async () => {
  await ana.ok('capture');
  const [sent] = await ana.ok(
    'export',
    'a.txt@latest',
    '-o',
    message(),
    '--note',
    'look',
    '--to',
    'ben',
    '--to',
    'eve'
  );
  expect(sent).toMatchObject({ file: message(), bytes: 3, sealed: false, unproven: [] });
  const [verified] = await ben.ok('verify', message());
  expect(verified).toMatchObject({ ok: true, id: sent!['messageId'], recipients: ['ben', 'eve'], note: 'look' });
  expect((verified!['proven'] as { fact: string }[]).map(({ fact }) => fact)).toEqual([
    'contents',
    'signature',
    'recorded'
  ]);

  expect(await failed(ben, 'import', message())).toEqual([3, 'SENDER_UNKNOWN']);
  expect(existsSync(join(base, 'ben', '.syft-sync'))).toBe(false);
  const [change, result] = await ben.ok('import', message(), '--trust', '--to', join(base, 'ben', 'from ana'));
  expect(change).toMatchObject({
    kind: 'created',
    path: 'from ana/a.txt',
    cause: { kind: 'message', message: sent!['messageId'] }
  });
  expect(result).toMatchObject({ imported: { standing: 'new', changes: [change!['versionId']], unchanged: [] } });
  const [contact] = await ben.ok('contacts', 'list');
  const [me] = await ana.ok('contacts', 'me');
  expect(contact!['fingerprint']).toBe(me!['fingerprint']);
  expect((await ben.ok('import', message(), '--to', join(base, 'ben', 'from ana')))[0]).toMatchObject({
    imported: { standing: 'known', changes: [], unchanged: ['from ana/a.txt'] }
  });
});

test('a contact that was added before is believed at once', async () => {
  await ana.ok('capture');
  const [sent] = await ana.ok('export', 'a.txt@latest', '-o', message(), '--from', 'ana@lab');
  // SQL knows the message by the name that it was sent with.
  const [listed] = await ana.ok('sql', 'SELECT message_id FROM messages');
  expect(listed!['message_id']).toBe(sent!['messageId']);
  const [me] = await ana.ok('contacts', 'me', '--from', 'ana@lab');
  await ben.ok('contacts', 'add', String(me!['link']));
  expect(await ben.ok('import', message())).toHaveLength(2);
  await ben.ok('contacts', 'remove', 'ana@lab');
  expect(await failed(ben, 'import', message())).toEqual([3, 'SENDER_UNKNOWN']);
});

test('a folder is the newest version of each file below it, and what is left out is said', async () => {
  mkdirSync(join(base, 'ana', 'data', 'deep'), { recursive: true });
  writeFileSync(join(base, 'ana', 'data', 'one'), 'old');
  await ana.ok('capture');
  writeFileSync(join(base, 'ana', 'data', 'one'), 'new');
  writeFileSync(join(base, 'ana', 'data', 'deep', 'two'), 'two');
  symlinkSync('one', join(base, 'ana', 'data', 'link'));
  await ana.ok('capture');
  const sent = await ana.run(['--json', 'export', 'data', 'a.txt', '-o', message()]);
  expect(sent.stderr).toContain('data/link is not sent');
  expect(sent.json[0]).toMatchObject({ refused: [{ path: 'data/link' }] });
  await ben.ok('import', message(), '--trust');
  expect(readFileSync(join(base, 'ben', 'data', 'one'), 'utf8')).toBe('new');
  expect(readFileSync(join(base, 'ben', 'data', 'deep', 'two'), 'utf8')).toBe('two');
  expect(existsSync(join(base, 'ben', 'a.txt'))).toBe(true);
  const [all] = await ana.ok('export', '.', '-o', message());
  expect((all!['versions'] as string[]).length).toBe(3);
  expect(await failed(ana, 'export', 'data/none', '-o', message())).toEqual([4, 'VERSION_NOT_FOUND']);
});

test('one that was altered exits 3, and nothing is written', async () => {
  await ana.ok('capture');
  await ana.ok('export', 'a.txt@latest', '-o', message());
  const bytes = readFileSync(message());
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0x40;
  writeFileSync(message(), bytes);
  const verified = await ben.run(['--json', 'verify', message()]);
  expect([verified.status, verified.json[0]]).toMatchObject([3, { ok: false, proven: [], claimed: [] }]);
  expect(await failed(ben, 'import', message(), '--trust')).toEqual([3, 'ARCHIVE_INVALID']);
  expect(existsSync(join(base, 'ben', '.syft-sync'))).toBe(false);
});

test('what is missing or wrong is said', async () => {
  await ana.ok('capture');
  expect((await failed(ana, 'export', 'a.txt@latest'))[0]).toBe(2);
  expect((await failed(ana, 'export', 'none@latest', '-o', message()))[0]).toBe(4);
  expect((await failed(ana, 'verify', message()))[0]).toBe(4);
  expect((await failed(ana, 'import', message()))[0]).toBe(4);
  expect((await failed(ana, 'contacts', 'add', 'https://example.org'))[0]).toBe(2);
  expect((await failed(ana, 'contacts', 'everybody'))[0]).toBe(2);
  expect((await failed(ana, 'contacts', 'remove', 'nobody'))[0]).toBe(4);
  expect((await failed(ana, 'restore', 'a.txt@latest', '--to', 'x', '--to', 'y'))[0]).toBe(2);
});

test('beside a recorder, the recorder imports', async () => {
  await ana.ok('capture');
  await ana.ok('export', 'a.txt@latest', '-o', message());
  const recorder = await ben.watch();
  const [change] = await ben.ok('import', message(), '--trust');
  expect(change).toMatchObject({ path: 'a.txt', cause: { kind: 'message' } });
  expect(await recorder.until(object => object['path'] === 'a.txt')).toMatchObject({ versionId: change!['versionId'] });
  expect((await failed(ben, 'import', message(), '--to', '.syft-sync'))[0]).toBe(2);
  expect(await recorder.end()).toBe(0);
});
