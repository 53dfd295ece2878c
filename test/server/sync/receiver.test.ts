/** Receiving into a folder: what a user finds there, and what never happens to what was there. */
import { describe, expect, test } from '@jest/globals';
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import type { AppliedEvent, ConflictEvent, HaltEvent, ProblemEvent } from '../../../server/src/sync/receiving.ts';
import { eventually, seen, World, type HandLog } from './worlds.ts';

interface Told {
  applied: AppliedEvent[];
  conflicts: ConflictEvent[];
  halts: HaltEvent[];
  problems: ProblemEvent[];
}

function receiver(
  log: HandLog | HandLog[],
  out: string,
  more: Partial<ConstructorParameters<typeof SyftLogReceiver>[0]> = {}
): [SyftLogReceiver, Told] {
  const logPath = Array.isArray(log) ? log.map(each => each.dir) : log.dir;
  const made = new SyftLogReceiver({ logPath, outputPath: out, ...more });
  const told: Told = { applied: [], conflicts: [], halts: [], problems: [] };
  made.on('applied', event => told.applied.push(event));
  made.on('conflict', event => told.conflicts.push(event));
  made.on('halted', event => told.halts.push(event));
  made.on('problem', event => told.problems.push(event));
  return [made, told];
}

/** Receives once with a receiver of its own, as a new process would. */
async function once(
  log: HandLog | HandLog[],
  out: string,
  more: Partial<ConstructorParameters<typeof SyftLogReceiver>[0]> = {}
): Promise<Told> {
  const [made, told] = receiver(log, out, more);
  await using _stop = made;
  await made.runOnce();
  return told;
}

describe('latest', () => {
  test.each([
    ['beside a recorder that never saw them', true],
    ['without a recorder', false]
  ])('what both sides had removed and one made again is received again, %s', async (_name, recorded) => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    if (recorded) await world.log('out/.syft-sync');
    await log.mkdir('dir');
    await log.write('file', 'same');
    await once(log, out);
    await rm(join(out, 'dir'), { recursive: true });
    await rm(join(out, 'file'));
    await log.append([{ draft: { kind: 'deleted', path: 'dir', type: 'directory' } }]);
    await log.remove('file');
    await once(log, out);
    await log.mkdir('dir');
    await log.write('file', 'same');
    await once(log, out);
    expect(await seen(out)).toMatchObject({ dir: '/', file: 'same' });
  });

  test('the output becomes the tree of the log: directories, links, modes, times, empty directories', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    await log.write('a.txt', 'one');
    await log.write('deep/er/b.bin', Buffer.from([0, 255, 13, 10]), { mode: 0o755 });
    await log.write('other/b.bin', 'not the same b');
    await log.write('empty', '');
    await log.mkdir('hollow');
    await log.link('deep/link', 'er/b.bin');
    const out = world.path('out');
    const told = await once(log, out);
    expect(told.problems).toEqual([]);
    expect(await seen(out)).toEqual({
      'a.txt': 'one',
      'deep/er/b.bin': '\x00\xff\r\n',
      'deep/link': '-> er/b.bin',
      empty: '',
      hollow: '/',
      'other/b.bin': 'not the same b'
    });
    const stats = await lstat(join(out, 'deep/er/b.bin'));
    expect(stats.mode & 0o777).toBe(0o755);
    expect(stats.mtimeMs).toBe(1_700_000_000_000);
    expect(told.applied.map(event => event.change.path).sort()).toEqual([
      'a.txt',
      'deep/er/b.bin',
      'deep/link',
      'empty',
      'hollow',
      'other/b.bin'
    ]);
    // Again: nothing is done twice.
    expect((await once(log, out)).applied).toEqual([]);
  });

  test('edits, deletions and moves follow; a moved file is renamed, not copied', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('a', '1');
    await log.write('d/b', '2');
    await log.write('d/c', '3');
    await once(log, out);
    const inode = (await lstat(join(out, 'd/b'))).ino;
    await log.write('a', '1a', { kind: 'modified' });
    await log.move('d/b', 'e/f/b2', '2');
    await log.remove('d/c');
    const told = await once(log, out);
    expect(told.applied.map(event => `${event.do} ${event.path}`).sort()).toEqual([
      'move e/f/b2',
      'put a',
      'remove d/c'
    ]);
    expect(await seen(out)).toEqual({ a: '1a', 'e/f/b2': '2' });
    expect((await lstat(join(out, 'e/f/b2'))).ino).toBe(inode);
  });

  test('two files that swapped names, and a file that became a directory and back', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('a', 'A');
    await log.write('b', 'B');
    await log.write('x', 'file');
    await once(log, out);
    const at = Date.now() * 1000;
    await log.append([
      { draft: { kind: 'moved', path: 'b', from: 'a', type: 'file', at }, content: 'A' },
      { draft: { kind: 'moved', path: 'a', from: 'b', type: 'file', at }, content: 'B' },
      { draft: { kind: 'deleted', path: 'x', type: 'file' } },
      { draft: { kind: 'created', path: 'x/y/z', type: 'file' }, content: 'below' }
    ]);
    await once(log, out);
    expect(await seen(out)).toEqual({ a: 'B', b: 'A', 'x/y/z': 'below' });
    await log.remove('x/y/z');
    await log.write('x', 'file again');
    await once(log, out);
    expect(await seen(out)).toEqual({ a: 'B', b: 'A', x: 'file again' });
  });

  test('a name that is not UTF-8 arrives byte for byte', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    await log.write('caf\udce9/na\udcefve', 'x');
    const out = world.path('out');
    await once(log, out);
    const [dir] = await readdir(Buffer.from(out), { encoding: 'buffer' }).then(names =>
      names.filter(name => name[0] === 0x63)
    );
    expect(dir).toEqual(Buffer.from([0x63, 0x61, 0x66, 0xe9]));
  });

  test('only the last of many quick versions is written, and excluded paths are not', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    for (let i = 0; i < 20; i += 1) {
      await log.write('a', `v${i}`);
    }
    await log.write('cache/x.tmp', 'no');
    await log.write('.git/hooks/post-checkout', 'no');
    const out = world.path('out');
    const told = await once(log, out, { excludePatterns: ['*.tmp'] });
    expect(await seen(out)).toEqual({ a: 'v19' });
    expect(told.applied).toHaveLength(1);
  });

  test('a version without content is skipped and named, the rest arrives', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    await log.append([
      { draft: { kind: 'created', path: 'huge', type: 'file', size: 5, hash: 'a'.repeat(64), flags: ['no-content'] } }
    ]);
    await log.append([{ draft: { kind: 'created', path: 'secret', type: 'file', flags: ['unreadable'] } }]);
    await log.write('fine', 'x');
    const out = world.path('out');
    const told = await once(log, out);
    expect(await seen(out)).toEqual({ fine: 'x' });
    expect(told.problems.map(problem => problem.path).sort()).toEqual(['huge', 'secret']);
  });

  test('follows live within a second, and several logs at once', async () => {
    await using world = await World.make();
    const [one, two] = [await world.log('one'), await world.log('two')];
    const out = world.path('out');
    const [live, told] = receiver([one, two], out);
    await using _stop = live;
    await live.start();
    const started = performance.now();
    await one.write('from-one', '1');
    await eventually(async () => expect(await seen(out)).toEqual({ 'from-one': '1' }));
    expect(performance.now() - started).toBeLessThan(5000);
    await two.write('from-two', '2');
    await one.remove('from-one');
    await eventually(async () => expect(await seen(out)).toEqual({ 'from-two': '2' }));
    expect(told.problems).toEqual([]);
    // The file is there before the work that it was counts as done.
    await eventually(() =>
      expect(live.getSyncStatus()).toMatchObject({ state: 'running', filesTracked: 1, syncMode: 'latest', pending: 0 })
    );
  });

  test('a log that is away does not stop the others, and is caught up with when it comes', async () => {
    await using world = await World.make();
    const here = await world.log('here');
    const out = world.path('out');
    const live = new SyftLogReceiver({ logPath: [world.path('there'), here.dir], outputPath: out });
    const problems: ProblemEvent[] = [];
    live.on('problem', problem => problems.push(problem));
    await using _stop = live;
    await live.start();
    await here.write('a', '1');
    await eventually(async () => expect(await seen(out)).toEqual({ a: '1' }));
    expect(problems.map(problem => problem.code)).toEqual(['LOG_MISSING']);
    const there = await world.log('there');
    await there.write('b', '2');
    await eventually(async () => expect(await seen(out)).toEqual({ a: '1', b: '2' }));
  });

  test('a dry run says what it would do and touches nothing', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    await log.write('a', '1');
    const out = world.path('out');
    const [made] = receiver(log, out, { dryRun: true });
    await using _stop = made;
    const report = await made.runOnce();
    expect(report.plan?.map(step => `${step.do} ${step.path}`)).toEqual(['put a']);
    await expect(lstat(out)).rejects.toThrow('ENOENT');
  });
});

describe('what was there', () => {
  test('a local edit stays until the log changes the file too; then it is kept under the conflicts', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('d/a.txt', 'theirs 1');
    await once(log, out);
    await writeFile(join(out, 'd/a.txt'), 'mine');
    expect((await once(log, out)).applied).toEqual([]);
    await log.write('d/a.txt', 'theirs 2');
    const told = await once(log, out);
    expect(await seen(out)).toEqual({ 'd/a.txt': 'theirs 2' });
    const [conflict] = told.conflicts;
    expect(conflict).toMatchObject({ path: 'd/a.txt', winner: 'log' });
    expect(await readFile(join(out, '.syft-sync/conflicts', conflict?.kept ?? ''), 'utf8')).toBe('mine');
  });

  test('a file changed here and deleted there stays; a file deleted here and changed there comes back', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('a', '1');
    await log.write('b', '1');
    await once(log, out);
    await writeFile(join(out, 'a'), 'mine');
    await rm(join(out, 'b'));
    await log.remove('a');
    await log.write('b', '2');
    const told = await once(log, out);
    expect(await seen(out)).toEqual({ a: 'mine', b: '2' });
    expect(told.conflicts.map(conflict => `${conflict.path} ${conflict.winner}`).sort()).toEqual(['a disk', 'b log']);
  });

  test('a file that was there before with other content is kept, with equal content left alone', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await mkdir(out);
    await writeFile(join(out, 'same'), 'same');
    await writeFile(join(out, 'other'), 'mine');
    await writeFile(join(out, 'own'), 'own');
    const inode = (await lstat(join(out, 'same'))).ino;
    await chmod(join(out, 'same'), 0o644);
    await log.write('same', 'same');
    await log.write('other', 'theirs');
    const told = await once(log, out);
    expect(await seen(out)).toEqual({ same: 'same', other: 'theirs', own: 'own' });
    expect((await lstat(join(out, 'same'))).ino).toBe(inode);
    expect(told.conflicts.map(conflict => conflict.path)).toEqual(['other']);
  });

  test('a directory that still holds own files is not replaced by a file', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('x/theirs', '1');
    await once(log, out);
    await writeFile(join(out, 'x/mine'), 'mine');
    await log.remove('x/theirs');
    await log.write('x', 'a file now');
    const told = await once(log, out);
    expect(await seen(out)).toEqual({ 'x/mine': 'mine' });
    expect(told.conflicts.map(conflict => `${conflict.path} ${conflict.winner}`)).toEqual(['x disk']);
  });

  test('the state lost is no harm: what stands already is found by content', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('a', '1');
    await log.write('d/b', '2');
    await once(log, out);
    await rm(join(out, '.syft-sync'), { recursive: true });
    const told = await once(log, out);
    expect(told.applied).toEqual([]);
    expect(told.conflicts).toEqual([]);
  });
});

describe('logs that mean harm', () => {
  test('nothing is written outside the output, through no path and no link', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const bait = world.path('bait');
    await mkdir(bait);
    await writeFile(join(bait, 'file'), 'untouched');
    const drafts: [string, string][] = [
      ['../bait/file', 'evil'],
      ['../escaped', 'evil'],
      [`${bait}/file`, 'evil'],
      ['a/../../bait/file', 'evil'],
      ['.syft-sync/receive/x', 'evil'],
      ['.SYFT-SYNC/config', 'evil'],
      ['d/.syft-sync/log/x', 'evil'],
      ['nul\0byte', 'evil']
    ];
    for (const [path, content] of drafts) {
      await log.write(path, content).catch(() => undefined);
    }
    await log.link('way', bait);
    await log.write('way/file', 'evil');
    await log.link('up', '..');
    await log.write('up/bait/file', 'evil');
    await log
      .append([{ draft: { kind: 'moved', path: 'stolen', from: '../bait/file', type: 'file' }, content: 'untouched' }])
      .catch(() => undefined);
    await log.write('suid', 'x', { mode: 0o6755 });
    await log.write('good', 'fine');
    await once(log, out);
    expect(await seen(bait)).toEqual({ file: 'untouched' });
    expect((await readdir(world.dir)).sort()).toEqual(['bait', 'log', 'log-key', 'out']);
    const after = await seen(out);
    expect(after['good']).toBe('fine');
    expect(after['way']).toBe(`-> ${bait}`);
    expect(
      Object.keys(after).filter(path => path.includes('evil') || path.toLowerCase().includes('.syft-sync'))
    ).toEqual([]);
    expect((await lstat(join(out, 'suid'))).mode & 0o7777).toBe(0o755);
  });

  test('a link the user made is not followed either', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const bait = world.path('bait');
    await mkdir(bait);
    await log.write('d/x', '1');
    await once(log, out);
    await rename(join(out, 'd'), world.path('d-elsewhere'));
    await symlink(bait, join(out, 'd'));
    await log.write('d/x', '2');
    await once(log, out);
    expect(await readdir(bait)).toEqual([]);
  });
});

describe('safety halts', () => {
  test('more than half of the files would be deleted: nothing is, until told so', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    for (let i = 0; i < 12; i += 1) {
      await log.write(`f${i}`, `${i}`);
    }
    await once(log, out);
    for (let i = 0; i < 8; i += 1) {
      await log.remove(`f${i}`);
    }
    await log.write('new', 'x');
    const [made, told] = receiver(log, out);
    await using _stop = made;
    const report = await made.runOnce();
    expect(report.halted?.reason).toBe('too-many-deletes');
    expect(told.halts).toHaveLength(1);
    expect(Object.keys(await seen(out))).toHaveLength(12);
    expect(made.getSyncStatus().state).toBe('halted');
    await made.runOnce({ force: true });
    expect(Object.keys(await seen(out)).sort()).toEqual(['f10', 'f11', 'f8', 'f9', 'new']);
    expect(made.getSyncStatus().halted).toBeUndefined();
  });

  test('a log that vanished or was emptied deletes nothing', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    for (let i = 0; i < 12; i += 1) {
      await log.write(`f${i}`, `${i}`);
    }
    const [live, told] = receiver(log, out);
    await using _stop = live;
    await live.start();
    await rename(log.dir, world.path('log-away'));
    await eventually(() => expect(told.problems.map(problem => problem.code)).toContain('LOG_MISSING'));
    expect(Object.keys(await seen(out))).toHaveLength(12);
    await rename(world.path('log-away'), log.dir);
    await log.write('more', 'x');
    await eventually(async () => expect(Object.keys(await seen(out))).toHaveLength(13));
  });

  test('an output that vanished is not made anew and filled while the disk is unplugged', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    await log.write('a', '1');
    const [live, told] = receiver(log, out);
    await using _stop = live;
    await live.start();
    await rename(out, world.path('unplugged'));
    await log.write('b', '2');
    await eventually(() => expect(told.halts.map(halt => halt.reason)).toEqual(['output-missing']));
    await expect(lstat(out)).rejects.toThrow('ENOENT');
    await rename(world.path('unplugged'), out);
    await eventually(async () => expect(await seen(out)).toEqual({ a: '1', b: '2' }));
  });

  test('wrong uses are refused by name', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    await writeFile(world.path('file'), '');
    await expect(once(log, world.path('file'))).rejects.toMatchObject({ code: 'WATCH_PATH_NOT_DIRECTORY' });
    await expect(once(log, join(log.dir, 'inside'))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(() => receiver(log, world.path('out'), { ownLog: log.dir })).toThrow('own log');
    const [first] = receiver(log, world.path('out'));
    await using _stop = first;
    await first.start();
    await expect(once(log, world.path('out'))).rejects.toMatchObject({ code: 'LOG_LOCKED' });
  });
});

describe('all versions', () => {
  test('every version is a file of its own in the tree; deletion and moving away leave them; nothing is written twice', async () => {
    await using world = await World.make();
    const log = await world.log('log');
    const out = world.path('out');
    const one = await log.write('d/a.txt', '1');
    const two = await log.write('d/a.txt', '2', { kind: 'modified' });
    await log.remove('d/a.txt');
    const bare = await log.write('.profile', 'x');
    const long = await log.write(`${'é'.repeat(125)}.txt`, 'long');
    await log.mkdir('hollow');
    const told = await once(log, out, { syncMode: 'all_versions' });
    expect(told.problems).toEqual([]);
    const id = (change: { device: string; seq: number }): string => `${change.device}.${change.seq}`;
    const files = await seen(out);
    const longName = Object.keys(files).find(name => name.startsWith('é')) ?? '';
    expect(Buffer.byteLength(longName)).toBeLessThanOrEqual(255);
    expect(longName).toMatch(new RegExp(`^é+~[0-9a-f]{8}\\.${id(long)}\\.txt$`));
    expect(files).toEqual({
      [`d/a.${id(one)}.txt`]: '1',
      [`d/a.${id(two)}.txt`]: '2',
      [`.profile.${id(bare)}`]: 'x',
      [longName]: 'long',
      hollow: '/'
    });
    const three = await log.write('d/a.txt', '3');
    await writeFile(join(out, `d/a.${id(one)}.txt`), 'mine now');
    const again = await once(log, out, { syncMode: 'all_versions' });
    expect(again.applied.map(event => event.path)).toEqual([`d/a.${id(three)}.txt`]);
    expect((await seen(out))[`d/a.${id(one)}.txt`]).toBe('mine now');
  });
});
