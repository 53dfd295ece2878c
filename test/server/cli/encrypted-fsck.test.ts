/** `fsck` of an encrypted log from a shell: what a user is told with the passphrase, without it, and with parts of another log. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let base: string;
let root: string;
let cli: CommandLine;
let keyed: CommandLine;

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-encrypted-fsck-'));
  root = join(base, 'work');
  mkdirSync(root);
  cli = new CommandLine(root, join(base, 'home'));
  keyed = withPassphrase('right');
  await keyed.ok('init', '--encrypt');
  writeFileSync(join(root, 'a.txt'), 'content of a');
  await keyed.ok('capture');
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

function withPassphrase(passphrase: string): CommandLine {
  const other = new CommandLine(root, join(base, 'home'));
  other.env['SYFT_SYNC_PASSPHRASE'] = passphrase;
  return other;
}

function segment(): string {
  const streams = join(root, '.syft-sync/log');
  const [device = ''] = readdirSync(streams);
  return join(streams, device, readdirSync(join(streams, device)).find(name => name.endsWith('.seg')) ?? '');
}

test('a sound log is sound with its passphrase; without it what could be checked is, and the rest is named', async () => {
  const whole = await keyed.run(['fsck', '--read-data']);
  expect([whole.status, whole.stdout, whole.stderr]).toEqual([0, 'no damage found\n', '']);
  const partly = await cli.run(['fsck', '--read-data']);
  expect([partly.status, partly.stdout]).toEqual([0, 'no damage found\n']);
  expect(partly.stderr).toMatch(
    /\[LOG_ENCRYPTED\]\n.*checked without its keys: .*Not the chain, the records and the contents/s
  );
  expect((await withPassphrase('wrong').run(['fsck'])).stderr).toMatch(/passphrase is wrong\. \[PASSPHRASE_WRONG\]/);
  expect((await cli.run(['fsck', '--repair'])).stderr).toMatch(/\[LOG_ENCRYPTED\]/);
  const bytes = readFileSync(segment());
  bytes[300] = bytes[300]! ^ 1;
  writeFileSync(segment(), bytes);
  expect((await cli.run(['fsck'])).status).toBe(3);
  expect((await keyed.run(['fsck'])).status).toBe(3);
}, 60_000);

test('a lost key file and one of another log are named as what they are, and the rest is checked', async () => {
  const key = join(root, '.syft-sync/keys/master.json');
  const sound = readFileSync(key);
  rmSync(key);
  const lost = await keyed.run(['fsck']);
  expect(lost.status).toBe(3);
  expect(lost.stdout).toMatch(/^missing {2}keys\/master\.json {2}.*Put a copy of it back\.\n1 damages found\n$/s);
  expect(lost.stderr).toMatch(/\[KEY_MISSING\]/);
  const other = join(base, 'other');
  mkdirSync(other);
  await keyed.ok('-C', other, 'init', '--encrypt');
  cpSync(join(other, '.syft-sync/keys/master.json'), key);
  const foreign = await keyed.run(['fsck']);
  expect([foreign.status, foreign.stderr]).toEqual([3, expect.stringMatching(/another log.*\[KEY_MISMATCH\]/)]);
  writeFileSync(key, sound);
  expect((await keyed.run(['fsck', '--read-data'])).status).toBe(0);
}, 60_000);
