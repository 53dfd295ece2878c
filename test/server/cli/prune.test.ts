/** `prune` as people use it: it says what goes, then that it is gone, and everything else goes on. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let base: string;
let root: string;
let cli: CommandLine;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-prune-'));
  root = join(base, 'work');
  mkdirSync(root);
  cli = new CommandLine(root, join(base, 'home'));
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

test('a saved policy: dry run, prune, and what every command says of a pruned version', async () => {
  for (const text of ['one', 'two', 'three']) {
    writeFileSync(join(root, 'a.txt'), text);
    await cli.ok('capture');
  }
  await cli.ok('label', 'a.txt@-1', 'sent to Ana');
  const [, , first] = (await cli.ok('history', 'a.txt')).map(change => String(change['versionId']));

  const planned = await cli.ok('prune', '--keep-all', '0h', '--save', '--dry-run');
  expect(planned).toMatchObject([
    { versionId: first, path: 'a.txt', size: 3, dryRun: true },
    { pruned: { dryRun: true, versions: 1, policy: { keepAll: '0h', timeZone: 'UTC' } } }
  ]);
  expect((await cli.run(['show', first!])).stdout).toBe('one');
  const done = await cli.run(['prune']);
  expect([done.status, done.stdout]).toEqual([
    0,
    expect.stringMatching(
      /^.* {2}a\.txt\n1 versions have lost their content, .* were freed, .* stay; recorded as \w+\.5\n$/
    )
  ]);

  const shown = await cli.run(['show', first!]);
  expect([shown.status, shown.stdout]).toEqual([1, '']);
  expect(shown.stderr).toMatch(/was pruned on \d{4}-\d\d-\d\d .* UTC by the policy keep-all 0h; .* \[VERSION_PRUNED\]/);
  expect((await cli.run(['restore', '--dry-run', first!])).stderr).toContain('[VERSION_PRUNED]');
  expect(readFileSync(join(root, 'a.txt'), 'utf8')).toBe('three');
  const history = await cli.ok('history', 'a.txt');
  expect(history.map(change => [change['labels'], (change['dropped'] as { act?: string } | undefined)?.act])).toEqual([
    [undefined, undefined],
    [['sent to Ana'], undefined],
    [undefined, 'prune']
  ]);
  const checked = await cli.run(['fsck', '--read-data']);
  expect([checked.status, checked.stderr]).toEqual([0, expect.stringContaining('1 versions have no content')]);
  // A receiver that wants every version writes those that are there.
  const out = join(base, 'out');
  const received = await cli.run(['receive', '--once', '--mode', 'all_versions', join(root, '.syft-sync'), out]);
  expect([received.status, received.stderr]).toEqual([0, expect.stringContaining('[VERSION_PRUNED]')]);
  expect(readdirSync(out).filter(name => name.startsWith('a.')).length).toBe(2);
});

test('compact takes room and nothing else: every version is shown as before', async () => {
  const text = (i: number): string => `${i}\n${'the same line again and again\n'.repeat(50)}${i}`;
  for (let i = 0; i < 4; i += 1) {
    writeFileSync(join(root, 'a.txt'), text(i));
    await cli.ok('capture');
  }
  const history = await cli.ok('history', 'a.txt');
  const planned = await cli.run(['compact', '--all', '--dry-run']);
  expect([planned.status, planned.stdout]).toEqual([0, expect.stringMatching(/^1 segments would be stored anew, /)]);
  const [done] = await cli.ok('compact', '--all');
  expect(done).toMatchObject({ compacted: { dryRun: false, segments: 1, damaged: [] } });
  expect((done?.['compacted'] as { freedBytes: number }).freedBytes).toBeGreaterThan(0);
  expect(await cli.ok('history', 'a.txt')).toEqual(history);
  for (const [i, change] of history.toReversed().entries()) {
    expect((await cli.run(['show', String(change['versionId'])])).stdout).toBe(text(i));
  }
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});

test('beside a recorder that runs', async () => {
  writeFileSync(join(root, 'a.txt'), 'one');
  const watch = await cli.watch();
  try {
    for (const text of ['two', 'three']) {
      writeFileSync(join(root, 'a.txt'), text);
      await watch.until(line => line['kind'] === 'modified' && line['size'] === text.length);
    }
    const [, done] = (await cli.ok('prune', '--keep-all', '0h')).slice(-2);
    expect(done).toMatchObject({ pruned: { versions: 2, dryRun: false } });
    // The versions that are left are packed, by the process that records.
    const said = await cli.ok('compact', '--all', '--dry-run');
    expect(said).toMatchObject([{ compacted: { dryRun: true, damaged: [] } }]);
    expect(await cli.ok('compact', '--all')).toMatchObject([{ compacted: { dryRun: false, damaged: [] } }]);
    writeFileSync(join(root, 'b.txt'), 'one');
    await watch.until(line => line['path'] === 'b.txt');
    expect((await cli.run(['show', 'b.txt@latest'])).stdout).toBe('one');
  } finally {
    await watch.end();
  }
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});

test('without a policy nothing is pruned, and a wrong one is refused with its place', async () => {
  writeFileSync(join(root, 'a.txt'), 'one');
  await cli.ok('capture');
  const none = await cli.run(['prune']);
  expect([none.status, none.stderr]).toEqual([2, expect.stringContaining('Everything is kept')]);
  const wrong = await cli.run(['prune', '--hourly', 'often']);
  expect([wrong.status, wrong.stderr]).toEqual([
    2,
    expect.stringContaining('the command line, --hourly: takes a time')
  ]);
  writeFileSync(join(root, '.syft-sync', 'retention.json'), '{"daily":"1y","dayly":"1d"}');
  const file = await cli.run(['prune']);
  expect([file.status, file.stderr]).toEqual([2, expect.stringMatching(/retention\.json: there is no rule "dayly"/)]);
});

test('erase: shown first, only with --yes, and it says what it cannot reach', async () => {
  const secret = randomBytes(3000);
  for (const bytes of [secret, 'nothing to see']) {
    writeFileSync(join(root, '.env'), bytes);
    await cli.ok('capture');
  }
  const asked = await cli.run(['erase', '.env@-1']);
  expect([asked.status, asked.stdout]).toEqual([
    2,
    expect.stringMatching(/^These versions have this content:\n.* {2}\.env\n/)
  ]);
  const done = await cli.run(['erase', '.env@-1', '--yes']);
  expect([done.status, done.stderr]).toEqual([0, expect.stringMatching(/^Not reached: backups and copies/)]);
  expect((await cli.run(['show', '.env@-1'])).stderr).toContain('[VERSION_ERASED]');
  expect((await cli.run(['show', '.env@latest'])).stdout).toBe('nothing to see');
  for (const entry of readdirSync(join(root, '.syft-sync'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) expect(readFileSync(join(entry.parentPath, entry.name)).includes(secret)).toBe(false);
  }
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});
