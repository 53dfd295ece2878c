/**
 * After a start, directories of which all is known are looked at by several threads, and those whose own times are as they were are
 * not even listed. Whatever happened to the files while nobody recorded must be found all the same: nothing looks for it later.
 */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { KnownTree } from '../../../server/src/capture/known.ts';
import { statValues } from '../../../server/src/capture/stat-columns.ts';
import { openLogWriter } from '../../../server/src/log/log.ts';
import { differences, inTree, onDisk } from './disk.ts';
import { Workspace } from './workspace.ts';

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
  // What was written less than a minute ago may still change without a trace, and is looked at with more care.
  const clock = jest.spyOn(Date, 'now');
  clock.mockImplementation(() => Math.floor(performance.timeOrigin + performance.now()) + 60_000);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await w.close();
});

/** Records all, twice: only what is known is listed with its directory. Ends the recorder. */
async function recordAndEnd(): Promise<void> {
  await w.open();
  await w.recorder.capture();
  await w.recorder.capture();
  await w.recorder.stop();
  await w.log.close();
}

/** Starts anew. What the first look missed, the scan after it would find. */
async function startAgain(): Promise<void> {
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
  await w.open();
  await w.recorder.capture();
  expect(differences(onDisk(w.root), inTree(w.recorder.tree))).toEqual([]);
  expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
}

const CHANGES: readonly ((dir: string, name: string) => void)[] = [
  function rewriteInPlaceAndPutTheTimesBack(dir, name) {
    const { atime, mtime, size } = lstatSync(join(dir, name));
    writeFileSync(join(dir, name), 'x'.repeat(size));
    utimesSync(join(dir, name), atime, mtime);
  },
  function replaceByRename(dir, name) {
    writeFileSync(join(dir, 'new'), readFileSync(join(dir, name), 'utf8').toUpperCase());
    renameSync(join(dir, 'new'), join(dir, name));
  },
  (dir, name) => chmodSync(join(dir, name), 0o700),
  (dir, name) => unlinkSync(join(dir, name)),
  (dir, name) => renameSync(join(dir, name), join(dir, `${name} as well`)),
  (dir, name) => writeFileSync(join(dir, `${name}.more`), 'more'),
  function linkInstead(dir, name) {
    unlinkSync(join(dir, name));
    symlinkSync('nowhere', join(dir, name));
  },
  function directoryInstead(dir, name) {
    unlinkSync(join(dir, name));
    mkdirSync(join(dir, name));
  },
  (dir, name) => mkdirSync(join(dir, `${name} d`, 'e'), { recursive: true }),
  dir => rmSync(dir, { recursive: true }),
  dir => renameSync(dir, `${dir} moved`),
  function fileInsteadOfDirectory(dir) {
    rmSync(dir, { recursive: true });
    writeFileSync(dir, 'a file');
  },
  function linkToTheSameFiles(dir) {
    renameSync(dir, join(w.base, 'aside'));
    symlinkSync(join(w.base, 'aside'), dir);
  },
  function emptied(dir) {
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
  }
];

test('whatever changed while nothing was recorded is found at the next start', async () => {
  const dirs = ['a', 'a/b', 'a/b/c', 'été', 'full'];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(dirs.length - 1), fc.nat(CHANGES.length - 1)), { minLength: 1, maxLength: 3 }),
      async steps => {
        await w.close();
        w = new Workspace();
        for (const dir of dirs) for (let i = 0; i < 3; i += 1) w.write(`${dir}/f${i}`, `${dir} ${i}`);
        mkdirSync(w.path('a/empty'));
        await recordAndEnd();
        for (const [at, change] of steps) {
          const dir = w.path(dirs[at] ?? '');
          if (!existsSync(dir) || !lstatSync(dir).isDirectory()) continue;
          const name = readdirSync(dir, { withFileTypes: true }).find(entry => entry.isFile())?.name;
          if (name !== undefined && !existsSync(join(w.base, 'aside'))) CHANGES[change]?.(dir, name);
        }
        await startAgain();
      }
    ),
    { numRuns: 40 }
  );
});

test('so it is by several threads, with directories of all sizes', async () => {
  for (let i = 0; i < 3000; i += 1) w.write(`d${i % 7}/e${i % 211}/f${i}`, `content ${i}`);
  for (let i = 0; i < 1200; i += 1) w.write(`large/f${i}`, `content ${i}`);
  await recordAndEnd();
  writeFileSync(w.path('large/f700'), 'content 007');
  writeFileSync(w.path('d3/e3/f3'), 'content 9');
  writeFileSync(w.path('d4/e4/new'), 'new');
  rmSync(w.path('d5/e5'), { recursive: true });
  renameSync(w.path('d6/e6/f6'), w.path('large/from elsewhere'));
  await startAgain();
  expect(w.taken().slice(4200).sort()).toEqual([
    'created d4/e4/new',
    ...['f1482', 'f2959', 'f5'].map(name => `deleted d5/e5/${name}`),
    'modified d3/e3/f3',
    'modified large/f700',
    'moved d6/e6/f6 -> large/from elsewhere'
  ]);
});

test('a directory that changed just before it was listed is listed again: its times may not show the next change', () => {
  const known = new KnownTree();
  known.add('d/f', 'file');
  w.write('d/f');
  const stats = statValues(lstatSync(w.path('d')));
  const node = known.dir('d');
  if (node === undefined) throw new Error('no directory');
  known.listed(node, stats);
  expect(node.own).toMatchObject({ ino: stats.ino, ctimeMs: stats.ctimeMs });
  jest.restoreAllMocks();
  known.listed(node, stats);
  expect(node.own).toBeUndefined();
});
