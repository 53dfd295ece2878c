/** Labels and pins: what somebody said of a version is there for ever, and no reader takes it for a change of a file. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from './run.ts';

let base: string;
let root: string;
let cli: CommandLine;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-sync-labels-'));
  root = join(base, 'work');
  mkdirSync(root);
  cli = new CommandLine(root, join(base, 'home'));
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

async function twoVersions(): Promise<[string, string]> {
  for (const text of ['one', 'two']) {
    writeFileSync(join(root, 'a.txt'), text);
    await cli.ok('capture');
  }
  const [second, first] = await cli.ok('history', 'a.txt');
  return [String(first!['versionId']), String(second!['versionId'])];
}

test('a label and a pin are shown in the history, and can be taken back', async () => {
  const [first, second] = await twoVersions();
  expect(await cli.ok('label', first, 'sent to Ana')).toEqual([
    { versionId: first, labels: ['sent to Ana'], pinned: false, changed: true }
  ]);
  expect((await cli.ok('label', first, 'sent to Ana'))[0]).toMatchObject({ changed: false });
  await cli.ok('label', first, 'final');
  await cli.ok('pin', 'a.txt@latest');
  const history = await cli.ok('history', 'a.txt');
  expect(history.map(({ versionId, labels, pinned }) => ({ versionId, labels, pinned }))).toEqual([
    { versionId: second, labels: undefined, pinned: true },
    { versionId: first, labels: ['sent to Ana', 'final'], pinned: undefined }
  ]);
  expect((await cli.ok('labels')).map(({ versionId }) => versionId)).toEqual([first, second]);
  expect((await cli.run(['history', 'a.txt'])).stdout).toMatch(/ {2}pinned\n.* {2}"sent to Ana" {2}"final"\n$/);

  await cli.ok('unlabel', first, 'final');
  await cli.ok('unpin', second);
  expect(await cli.ok('labels')).toMatchObject([{ versionId: first, labels: ['sent to Ana'], pinned: false }]);
  // They are no changes of files, and the log is sound.
  expect((await cli.ok('log')).length).toBe(2);
  expect((await cli.ok('tree')).map(({ path }) => path)).toEqual(['a.txt']);
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});

test('with a recorder that runs, which goes on recording and finds all its own again', async () => {
  const [first] = await twoVersions();
  const watch = await cli.watch();
  try {
    await cli.ok('label', first, 'before');
    writeFileSync(join(root, 'a.txt'), 'three');
    await watch.until(line => line['kind'] === 'modified');
    await cli.ok('pin', first);
    writeFileSync(join(root, 'b.txt'), 'new');
    await watch.until(line => line['path'] === 'b.txt');
    expect(await cli.ok('labels')).toMatchObject([{ versionId: first, labels: ['before'], pinned: true }]);
    expect(await cli.ok('stats')).toMatchObject([{ versions: 4, trackedFiles: 2 }]);
  } finally {
    await watch.end();
  }
  expect((await cli.ok('capture'))[0]).toMatchObject({ captured: 0, unchanged: 2 });
  expect(await cli.ok('fsck', '--read-data')).toEqual([]);
});

test('what is no label, and versions that are not there, are refused', async () => {
  const [first] = await twoVersions();
  for (const [args, status, code] of [
    [['label', first, 'two\nlines'], 2, 'BAD_REQUEST'],
    [['unlabel', first, 'never given'], 4, 'NOT_FOUND'],
    [['label', 'a.txt', 'which version?'], 4, 'VERSION_NOT_FOUND']
  ] as const) {
    const done = await cli.run(args);
    expect([done.status, done.stderr]).toEqual([status, expect.stringContaining(`[${code}]`)]);
  }
  expect(await cli.ok('labels')).toEqual([]);
});

test('a receiver has nothing to do for them', async () => {
  const [first] = await twoVersions();
  await cli.ok('label', first, 'sent to Ana');
  const out = join(base, 'out');
  await cli.ok('receive', '--once', join(root, '.syft-sync'), out);
  expect((await cli.run(['receive', '--once', join(root, '.syft-sync'), out])).stderr).toBe('');
});
