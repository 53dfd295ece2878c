/** Restoring many files at once: all of them, whole, and over nothing that is not theirs, whatever the disk says on the way. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { CommandLine } from './run.ts';

let dir: string;
let ws: string;
let out: string;
let cli: CommandLine;

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'syft-restore-tree-')));
  ws = join(dir, 'ws');
  out = join(dir, 'out');
  cli = new CommandLine(ws, join(dir, 'home'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const contentOf = (i: number): string => `${i} `.repeat(1 + (i % 700));
const nameOf = (i: number): string => `d${Math.floor(i / 100)}${i % 100 < 10 ? '' : '/sub'}/f${i}`;

async function recordFiles(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const path = join(ws, nameOf(i));
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, contentOf(i));
    chmodSync(path, i % 3 === 0 ? 0o600 : 0o755);
    utimesSync(path, 1_600_000_000 + i, 1_600_000_000 + i);
  }
  await cli.ok('capture');
}

/** What is below the target, without what is being staged. */
function found(): Map<string, string> {
  const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  const paths = files.map(entry => join(entry.parentPath, entry.name).slice(out.length + 1));
  return new Map(
    paths.filter(path => !path.startsWith('.syft-sync-tmp-')).map(path => [path, readFileSync(join(out, path), 'utf8')])
  );
}

const restore = (...more: string[]): string[] => [
  'restore',
  '--tree',
  '--at',
  new Date().toISOString(),
  '--to',
  out,
  ...more
];

/** Puts a `sync` before that of the system. `$REAL` is that one, `$CALLS` a file that counts. */
function syncIs(script: string): void {
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  const real = (process.env['PATH'] ?? '')
    .split(delimiter)
    .find(place => statSync(join(place, 'sync'), { throwIfNoEntry: false }));
  writeFileSync(
    join(bin, 'sync'),
    `#!/bin/sh\nCALLS=${join(dir, 'calls')}\nREAL=${join(real ?? '/bin', 'sync')}\n${script}\n`,
    { mode: 0o755 }
  );
  cli.env['PATH'] = `${bin}${delimiter}${process.env['PATH'] ?? ''}`;
}

test('many files, more than one sync takes, come back with content, permissions and time; nothing else stays', async () => {
  const count = 1_500;
  const larger = 80;
  // More than is synced at once.
  for (let i = 0; i < larger; i += 1) {
    mkdirSync(join(ws, `larger${i % 2}`), { recursive: true });
    writeFileSync(join(ws, `larger${i % 2}`, `${i}`), `${i} `.repeat(330_000));
  }
  await recordFiles(count);
  writeFileSync(join(ws, 'large'), 'l'.repeat(3 * 1024 * 1024));
  const odd = Buffer.concat([Buffer.from(`${ws}/d0/`), Buffer.from([0x62, 0xff])]);
  writeFileSync(odd, 'odd');
  await cli.ok('capture');
  const lines = await cli.ok(...restore());
  expect(lines.at(-1)).toMatchObject({ created: count + larger + 2, replaced: 0, unchanged: 0, failed: 0 });
  expect(lines.filter(line => line['action'] === 'create')).toHaveLength(count + larger + 2);
  const restored = Buffer.concat([Buffer.from(`${out}/d0/`), Buffer.from([0x62, 0xff])]);
  expect(readFileSync(restored, 'utf8')).toBe('odd');
  rmSync(restored);
  const files = found();
  expect(files.get('large')).toHaveLength(3 * 1024 * 1024);
  for (let i = 0; i < larger; i += 1) {
    if (files.get(`larger${i % 2}/${i}`) !== `${i} `.repeat(330_000)) {
      throw new Error(`larger/${i} is not what was recorded`);
    }
  }
  for (let i = 0; i < count; i += 1) {
    if (files.get(nameOf(i)) !== contentOf(i)) throw new Error(`${nameOf(i)} is not what was recorded`);
    const { mode, mtimeMs } = statSync(join(out, nameOf(i)));
    expect([mode & 0o777, mtimeMs]).toEqual([i % 3 === 0 ? 0o600 : 0o755, (1_600_000_000 + i) * 1000]);
  }
  expect(readdirSync(out).filter(name => !/^d\d+$|^large/.test(name))).toEqual([]);
  const again = await cli.ok(...restore());
  expect(again.at(-1)).toMatchObject({ created: 1, replaced: 0, unchanged: count + larger + 1 });
});

test('what stands in the way stays, and a link leads nowhere', async () => {
  await recordFiles(300);
  const bait = join(dir, 'bait');
  mkdirSync(bait);
  mkdirSync(join(out, 'd0', 'sub'), { recursive: true });
  writeFileSync(join(out, 'd0', 'sub', 'f50'), 'mine');
  symlinkSync(bait, join(out, 'd1'));
  writeFileSync(join(out, 'd2'), 'a file where a directory should be');
  const done = await cli.run(restore());
  expect(done.status).toBe(1);
  expect(done.stderr).toContain('[RESTORE_NOT_RECORDED]');
  expect(done.stderr).toContain('[PATH_OUTSIDE_ROOT]');
  expect(readdirSync(bait)).toEqual([]);
  const files = found();
  expect([files.get('d0/sub/f50'), files.get('d2')]).toEqual(['mine', 'a file where a directory should be']);
  // All of the first directory but that one, nothing of the other two.
  expect(files.size).toBe(99 + 1 + 1);
  expect(files.get('d0/sub/f51')).toBe(contentOf(51));
});

test('into the workspace itself: what is missing comes back and is recorded with where it is from, what stands there is recorded first', async () => {
  await recordFiles(300);
  const moment = new Date().toISOString();
  rmSync(join(ws, 'd0'), { recursive: true });
  rmSync(join(ws, nameOf(150)));
  await cli.ok('capture');
  writeFileSync(join(ws, nameOf(151)), 'not recorded yet');
  const done = await cli.ok('restore', '--tree', '--at', moment, '--to', ws);
  expect(done.at(-1)).toMatchObject({ created: 101, replaced: 1, unchanged: 198, failed: 0 });
  for (let i = 0; i < 300; i += 1) expect(readFileSync(join(ws, nameOf(i)), 'utf8')).toBe(contentOf(i));
  expect(statSync(join(ws, nameOf(42))).mtimeMs).toBe((1_600_000_000 + 42) * 1000);
  expect(readdirSync(ws).filter(name => name.startsWith('.syft-sync-tmp-'))).toEqual([]);
  const [version, gone, first] = await cli.ok('history', nameOf(42));
  expect([version, gone, first]).toMatchObject([
    { kind: 'created', cause: { kind: 'restore', version: first?.['versionId'] } },
    { kind: 'deleted' },
    { kind: 'created' }
  ]);
  expect((await cli.run(['show', `${nameOf(151)}@-1`])).stdout).toBe('not recorded yet');
  expect(await cli.ok('capture')).toMatchObject([{ captured: 0, deleted: 0 }]);
}, 60_000);

test('no file has its name before its content is on disk', async () => {
  await recordFiles(300);
  syncIs(`find '${out}' -type f -not -path '*/.syft-sync-tmp-*' | wc -l >> "$CALLS"; exec "$REAL" "$@"`);
  await cli.ok(...restore());
  const named = readFileSync(join(dir, 'calls'), 'utf8').trim().split('\n').map(Number);
  // The first sync is that of the contents, the last one that of the names.
  expect([named[0], named.at(-1)]).toEqual([0, 300]);
});

test('where the file system cannot be synced as a whole each file is', async () => {
  await recordFiles(300);
  syncIs('echo "sync: unrecognized option" >&2; exit 1');
  const lines = await cli.ok(...restore());
  expect(lines.at(-1)).toMatchObject({ created: 300, failed: 0 });
  expect(found().get(nameOf(299))).toBe(contentOf(299));
});

test('a disk that fails meanwhile is told of, and what is there is whole', async () => {
  await recordFiles(300);
  syncIs(
    'echo >> "$CALLS"; [ "$(wc -l < "$CALLS")" = 1 ] && exec "$REAL" "$@"; echo "sync: Input/output error" >&2; exit 1'
  );
  const done = await cli.run(restore());
  expect([done.status, done.stderr]).toEqual([1, expect.stringMatching(/Input\/output error.*\[DISK_ERROR\]\n$/)]);
  for (const [path, content] of found()) expect(content).toBe(contentOf(Number(path.slice(path.lastIndexOf('f') + 1))));
  expect(readdirSync(out).filter(name => name.startsWith('.'))).toEqual([]);
});
