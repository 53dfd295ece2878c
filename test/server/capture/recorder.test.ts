import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { SyftError } from '../../../server/src/core/errors.ts';
import { displayPath } from '../../../server/src/core/path-name.ts';
import { MemoryLog } from './memory-log.ts';
import { until, Workspace } from './workspace.ts';

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
});
afterEach(async () => {
  await w.close();
});

const sha = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

describe('a pass', () => {
  test('records every file, byte for byte, with mode and time', async () => {
    w.write('a.txt', 'hello');
    w.write('empty', '');
    w.write('d/e/f.bin', Buffer.from([0, 255, 10]));
    w.write('big.bin', Buffer.alloc(5_000_000, 'x1y2z3'));
    chmodSync(w.path('a.txt'), 0o640);
    utimesSync(w.path('a.txt'), 1_700_000_000.123456, 1_700_000_000.123456);
    const recorder = await w.open();
    const summary = await recorder.capture();
    expect(summary).toMatchObject({ captured: 4, unchanged: 0, deleted: 0, flagged: 0, bytes: 5_000_008, errors: [] });
    for (const name of ['a.txt', 'empty', 'd/e/f.bin', 'big.bin']) {
      const change = recorder.tree.get(name);
      const bytes = readFileSync(w.path(name));
      expect(change).toMatchObject({ kind: 'created', type: 'file', size: bytes.length, hash: sha(bytes), flags: [] });
      expect((await w.content(change!)).equals(bytes)).toBe(true);
    }
    expect(recorder.tree.get('a.txt')).toMatchObject({ mode: 0o640 });
    expect(Math.abs((recorder.tree.get('a.txt')?.mtime ?? 0) - 1_700_000_000_123_456)).toBeLessThanOrEqual(1);
  });

  test('stores of a file that was saved again what is new in it', async () => {
    const rows = Array.from({ length: 2000 }, (_, i) => sha(`row ${i}`));
    w.write('table.csv', rows.join('\n'));
    const recorder = await w.open();
    await recorder.capture();
    const before = await w.log.storedBytes();
    for (let i = 0; i < 10; i += 1) {
      rows[i * 150] = `saved ${i}`;
      w.write('table.csv', rows.join('\n'));
      expect(await recorder.capture()).toMatchObject({ captured: 1 });
    }
    // Half a kilobyte a save is its frame and its record; the table has 130.
    expect((await w.log.storedBytes()) - before).toBeLessThan(10 * 1500);
    expect((await w.content(recorder.tree.get('table.csv')!)).toString()).toBe(rows.join('\n'));
  });

  test('a second one adds nothing, nor does one of a new recorder, with or without its checkpoint', async () => {
    w.write('a.txt');
    w.write('d/b.ipynb', '{"cells":[]}');
    mkdirSync(w.path('empty'));
    symlinkSync('a.txt', w.path('link'));
    await (await w.open()).capture();
    expect(w.taken()).toHaveLength(4);
    expect(await w.recorder.capture()).toMatchObject({ captured: 0, unchanged: 4 });
    await w.recorder.stop();
    expect(await (await w.open()).capture()).toMatchObject({ captured: 0, unchanged: 4 });
    await w.recorder.stop();
    rmSync(w.cacheDir, { recursive: true });
    expect(await (await w.open()).capture()).toMatchObject({ captured: 0, unchanged: 4 });
    await w.recorder.stop();
    const cache = join(w.cacheDir, readdirSync(w.cacheDir)[0]!);
    const bytes = readFileSync(cache);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(cache, bytes);
    expect(await (await w.open()).capture()).toMatchObject({ captured: 0, unchanged: 4 });
    expect(w.taken()).toEqual([]);
  });

  test('changes made while nothing ran are found', async () => {
    w.write('keep', '1');
    w.write('edit', '1');
    w.write('gone', '1');
    w.write('dir/old', '1');
    await (await w.open()).capture();
    await w.recorder.capture();
    w.taken();
    await w.recorder.stop();
    w.write('edit', '22');
    unlinkSync(w.path('gone'));
    w.write('new', 'n');
    renameSync(w.path('dir'), w.path('folder'));
    await (await w.open()).capture();
    expect(w.taken().sort()).toEqual(['created new', 'deleted gone', 'modified edit', 'moved dir/old -> folder/old']);
    expect(w.recorder.tree.get('edit')).toMatchObject({ previousHash: sha('1'), hash: sha('22') });
  });

  test('same size and same times do not hide a change', async () => {
    w.write('a', 'one');
    const { atime, mtime } = statSync(w.path('a'));
    await (await w.open()).capture();
    w.write('a', 'two');
    utimesSync(w.path('a'), atime, mtime);
    await w.recorder.capture();
    expect(w.recorder.tree.get('a')?.hash).toBe(sha('two'));
  });

  test('a change within the clock’s grain of the read is found by the next pass', async () => {
    await w.open();
    for (let i = 0; i < 200; i += 1) {
      w.write('a', String(1000 + i));
      await w.recorder.capture();
      w.write('a', String(5000 + i));
      await w.recorder.capture();
      expect(w.recorder.tree.get('a')?.hash).toBe(sha(String(5000 + i)));
    }
  });

  test('a touch is no version, a change of mode is one', async () => {
    w.write('a', '1');
    await (await w.open()).capture();
    w.taken();
    utimesSync(w.path('a'), 5, 5);
    await w.recorder.capture();
    expect(w.taken()).toEqual([]);
    chmodSync(w.path('a'), 0o600);
    await w.recorder.capture();
    expect(w.taken()).toEqual(['modified a']);
    expect(w.recorder.tree.get('a')).toMatchObject({ mode: 0o600, hash: sha('1'), previousHash: sha('1') });
  });

  test('can be stopped: what is recorded stays, the next pass does the rest', async () => {
    for (let i = 0; i < 3000; i += 1) w.write(`d${i % 10}/${i}`, `${i}`);
    const stop = new AbortController();
    const log = new MemoryLog();
    const append = log.append.bind(log);
    // Called with the first batch, of a thousand changes at most, when the rest is still to do.
    log.append = appends => {
      stop.abort();
      return append(appends);
    };
    await w.open({ log });
    await expect(w.recorder.capture({ signal: stop.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    // What was handed to the log becomes durable, and is told.
    await until(() => w.changes.length > 0, 'the first batch');
    const first = w.changes.length;
    expect(first).toBeLessThan(3000);
    await w.recorder.capture();
    expect(w.recorder.tree.size).toBe(3000);
    expect(w.changes).toHaveLength(3000);
  });

  test('tells how far it is', async () => {
    for (let i = 0; i < 500; i += 1) w.write(`${i}`, `${i}`);
    const seen: { done: number; total: number }[] = [];
    await (await w.open()).capture({ onProgress: p => seen.push(p) });
    expect(seen.at(-1)).toMatchObject({ done: 500, total: 500 });
  });
});

describe('moves', () => {
  /** Each: files before, what is done, changes after. */
  const table: [string, string[], () => void, string[]][] = [
    ['rename', ['a'], () => renameSync(w.path('a'), w.path('b')), ['moved a -> b']],
    [
      'rename of a directory moves all below it',
      ['d/1', 'd/x/2', 'd/x/y/3'],
      () => renameSync(w.path('d'), w.path('e')),
      ['moved d/1 -> e/1', 'moved d/x/2 -> e/x/2', 'moved d/x/y/3 -> e/x/y/3']
    ],
    [
      'swap',
      ['a', 'b'],
      () => {
        renameSync(w.path('a'), w.path('t'));
        renameSync(w.path('b'), w.path('a'));
        renameSync(w.path('t'), w.path('b'));
      },
      ['moved a -> b', 'moved b -> a']
    ],
    [
      'swap of directories',
      ['a/1', 'b/1', 'b/2'],
      () => {
        renameSync(w.path('a'), w.path('t'));
        renameSync(w.path('b'), w.path('a'));
        renameSync(w.path('t'), w.path('b'));
      },
      ['moved a/1 -> b/1', 'moved b/1 -> a/1', 'moved b/2 -> a/2']
    ],
    [
      'chain',
      ['a', 'b'],
      () => {
        renameSync(w.path('b'), w.path('c'));
        renameSync(w.path('a'), w.path('b'));
      },
      ['moved a -> b', 'moved b -> c']
    ],
    [
      'rename onto a recorded file',
      ['a', 'b'],
      () => renameSync(w.path('a'), w.path('b')),
      ['deleted a', 'modified b']
    ],
    [
      'save by temporary and rename',
      ['f'],
      () => {
        w.write('tmp', 'new');
        renameSync(w.path('tmp'), w.path('f'));
      },
      ['modified f']
    ],
    [
      'renamed away and written anew',
      ['f'],
      () => {
        renameSync(w.path('f'), w.path('f~'));
        w.write('f', 'new');
      },
      ['created f~', 'modified f']
    ],
    [
      'renamed and edited',
      ['a'],
      () => {
        renameSync(w.path('a'), w.path('b'));
        w.write('b', 'edited');
      },
      ['modified b', 'moved a -> b']
    ],
    [
      'into a directory of its own name',
      ['a'],
      () => {
        renameSync(w.path('a'), w.path('t'));
        mkdirSync(w.path('a'));
        renameSync(w.path('t'), w.path('a/a'));
      },
      ['moved a -> a/a']
    ],
    ['a hard link is a file of its own', ['a'], () => linkSync(w.path('a'), w.path('b')), ['created b']],
    [
      'a deleted file and a new one are no move',
      ['a'],
      () => {
        unlinkSync(w.path('a'));
        w.write('b', 'other');
      },
      ['created b', 'deleted a']
    ]
  ];

  test.each(table)('%s', async (_name, files, act, expected) => {
    for (const file of files) w.write(file);
    await (await w.open()).capture();
    await w.recorder.capture();
    w.taken();
    act();
    await w.recorder.capture();
    expect(w.taken().sort()).toEqual(expected);
    await expectTreeOnDisk();
    expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
  });

  test('a moved file keeps content, and names what it was', async () => {
    w.write('a', 'content');
    await (await w.open()).capture();
    renameSync(w.path('a'), w.path('b'));
    await w.recorder.capture();
    const moved = w.recorder.tree.get('b');
    expect(moved).toMatchObject({
      kind: 'moved',
      from: 'a',
      hash: sha('content'),
      previousHash: sha('content'),
      size: 7
    });
    expect((await w.content(moved!)).toString()).toBe('content');
  });

  test('an empty directory and a link move as well', async () => {
    mkdirSync(w.path('e'));
    symlinkSync('x', w.path('l'));
    await (await w.open()).capture();
    w.taken();
    renameSync(w.path('e'), w.path('e2'));
    renameSync(w.path('l'), w.path('l2'));
    await w.recorder.capture();
    expect(w.taken().sort()).toEqual(['moved e -> e2 (directory)', 'moved l -> l2 (symlink)']);
  });
});

describe('kinds of entries', () => {
  test('what was deleted and came back equal is two changes when its absence was seen, none when not', async () => {
    w.write('a', 'same');
    await (await w.open()).capture();
    w.taken();
    unlinkSync(w.path('a'));
    w.write('a', 'same');
    await w.recorder.capture();
    expect(w.taken()).toEqual([]);
    unlinkSync(w.path('a'));
    await w.recorder.capture();
    expect(w.changes.at(-1)).toMatchObject({ kind: 'deleted', previousHash: sha('same') });
    w.write('a', 'same');
    await w.recorder.capture();
    expect(w.taken()).toEqual(['deleted a', 'created a']);
  });

  test('a path that changes its kind is recorded as what it is now', async () => {
    w.write('p', 'file');
    await (await w.open()).capture();
    const steps: [() => void, string[]][] = [
      [() => symlinkSync('else', w.path('p')), ['modified p (symlink)']],
      [() => mkdirSync(w.path('p')), ['modified p (directory)']],
      [() => w.write('p', 'file'), ['modified p']],
      [() => w.write('p/below', 'x'), ['created p/below', 'deleted p']],
      [() => w.write('p', 'again'), ['created p', 'deleted p/below']]
    ];
    for (const [make, expected] of steps) {
      w.taken();
      rmSync(w.path('p'), { recursive: true });
      make();
      await w.recorder.capture();
      expect(w.taken().sort()).toEqual(expected);
      await expectTreeOnDisk();
    }
  });

  test('an empty directory is recorded, and its end; one that holds something is implied', async () => {
    mkdirSync(w.path('a/b/c'), { recursive: true });
    await (await w.open()).capture();
    expect(w.taken()).toEqual(['created a/b/c (directory)']);
    w.write('a/b/c/file');
    await w.recorder.capture();
    expect(w.taken()).toEqual(['created a/b/c/file']);
    w.write('d/file');
    await w.recorder.capture();
    unlinkSync(w.path('d/file'));
    w.taken();
    await w.recorder.capture();
    expect(w.taken()).toEqual(['deleted d/file', 'created d (directory)']);
    rmSync(w.path('d'), { recursive: true });
    await w.recorder.capture();
    expect(w.taken()).toEqual(['deleted d (directory)']);
  });

  test('links are recorded, never followed, loops and outside included', async () => {
    mkdirSync(join(w.base, 'outside'));
    writeFileSync(join(w.base, 'outside', 'secret'), 'x');
    symlinkSync('../outside', w.path('out'));
    symlinkSync('.', w.path('loop'));
    symlinkSync('nowhere', w.path('broken'));
    await (await w.open()).capture();
    expect(w.taken().sort()).toEqual(['created broken (symlink)', 'created loop (symlink)', 'created out (symlink)']);
    expect((await w.content(w.recorder.tree.get('out')!)).toString()).toBe('../outside');
  });

  test('FIFOs and sockets are skipped and counted; waiting for them would stop recording', async () => {
    execFileSync('mkfifo', [w.path('pipe')]);
    const server = createServer().listen(w.path('sock'));
    await new Promise(resolve => server.once('listening', resolve));
    w.write('a');
    const summary = await (await w.open()).capture();
    expect(summary).toMatchObject({ captured: 1, skipped: { fifo: 1, socket: 1 } });
    expect(w.recorder.status.skipped).toEqual({ fifo: 1, socket: 1 });
    await new Promise(resolve => server.close(resolve));
  });

  test('strange names', async () => {
    const bad = Buffer.concat([Buffer.from(`${w.root}/bad`), Buffer.from([0xff, 0xfe])]);
    const badDir = Buffer.concat([Buffer.from(`${w.root}/dir`), Buffer.from([0xe9])]);
    writeFileSync(bad, 'bytes');
    mkdirSync(badDir);
    writeFileSync(Buffer.concat([badDir, Buffer.from('/in')]), 'inside');
    const names = [
      'n'.repeat(255),
      'é'.repeat(127),
      'two\nlines',
      ' space ',
      '*?[x]',
      '-rf',
      'back\\slash',
      'quote"\'',
      'emoji🎈',
      '\u{FFFD}',
      '__proto__'
    ];
    for (const name of names) w.write(name, name);
    const summary = await (await w.open()).capture();
    expect(summary.errors).toEqual([]);
    const recorded = [...w.recorder.tree.keys()].map(displayPath).sort();
    expect(recorded).toEqual([...names, 'bad\\xFF\\xFE', 'dir\\xE9/in'].sort());
    unlinkSync(bad);
    rmSync(badDir, { recursive: true });
    for (const name of names) unlinkSync(w.path(name));
    await w.recorder.capture();
    expect(w.recorder.tree.size).toBe(0);
    expect(w.changes).toHaveLength(26);
  });

  test('a tree deeper than the system’s longest path is recorded as far as paths go, and the rest of the workspace with it', async () => {
    // Made from inside: no path this long can be given to the system.
    execFileSync(
      process.execPath,
      [
        '-e',
        `for (let i = 0; i < 1000; i++) { fs.mkdirSync('deepdeep'); process.chdir('deepdeep'); fs.writeFileSync('f', String(i)); }`
      ],
      { cwd: w.root }
    );
    w.write('z', 'after');
    const summary = await (await w.open()).capture();
    expect(w.recorder.tree.has('z')).toBe(true);
    expect(summary.captured).toBeGreaterThan(400);
    expect(summary.errors.map(e => e.code)).toContain('ENAMETOOLONG');
    expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
    execFileSync('rm', ['-rf', 'deepdeep'], { cwd: w.root });
  });

  test('1,000 levels with short names are recorded whole', async () => {
    w.write(`${'d/'.repeat(1000)}f`, 'x');
    await (await w.open()).capture();
    expect(w.recorder.tree.size).toBe(1);
    renameSync(w.path('d'), w.path('e'));
    await w.recorder.capture();
    expect([...w.recorder.tree.values()][0]).toMatchObject({ kind: 'moved', path: `e/${'d/'.repeat(999)}f` });
    execFileSync('rm', ['-rf', 'e'], { cwd: w.root });
  });
});

describe('content', () => {
  test('a notebook that is no JSON is kept, flagged, and others do not wait for it', async () => {
    w.write('bad.ipynb', '{"cells": [');
    for (let i = 0; i < 20; i += 1) w.write(`ok${i}`);
    await w.open();
    let atBad = 0;
    w.recorder.on('change', change => {
      if (change.path === 'bad.ipynb') atBad = w.changes.length;
    });
    const summary = await w.recorder.capture();
    expect(summary).toMatchObject({ captured: 21, flagged: 1 });
    expect(atBad).toBe(21);
    expect(w.recorder.tree.get('bad.ipynb')).toMatchObject({ flags: ['torn'], hash: sha('{"cells": [') });
    expect(await w.recorder.capture()).toMatchObject({ captured: 0 });
    w.write('bad.ipynb', '{"cells": []}');
    await w.recorder.capture();
    expect(w.recorder.tree.get('bad.ipynb')).toMatchObject({ kind: 'modified', flags: [] });
  });

  test('a large notebook is checked too', async () => {
    const large = JSON.stringify({ cells: [{ output: 'x'.repeat(3_000_000) }] });
    w.write('large.ipynb', large);
    w.write('cut.ipynb', large.slice(0, -2));
    await (await w.open()).capture();
    expect(w.recorder.tree.get('large.ipynb')).toMatchObject({ flags: [], hash: sha(large) });
    expect(w.recorder.tree.get('cut.ipynb')).toMatchObject({ flags: ['torn'], hash: sha(large.slice(0, -2)) });
  });

  test('a file over the limit is recorded by name, size and hash', async () => {
    w.write('small', 'x'.repeat(1000));
    w.write('large', 'y'.repeat(3_000_000));
    await (await w.open({ maxContentBytes: 2_000_000 })).capture();
    expect(w.recorder.tree.get('large')).toMatchObject({
      flags: ['no-content'],
      size: 3_000_000,
      hash: sha('y'.repeat(3_000_000))
    });
    expect(w.recorder.tree.get('large')?.content).toBeUndefined();
    expect(w.recorder.tree.get('small')?.flags).toEqual([]);
    expect(await w.recorder.capture()).toMatchObject({ captured: 0 });
  });

  test('a file that never rests is kept all the same, flagged', async () => {
    w.write('growing', '');
    const writer = execWriter(
      `const fs=require('fs');const fd=fs.openSync(process.argv[1],'a');const end=Date.now()+15000;process.stdout.write('up');const b=Buffer.alloc(3000000,'g');while(Date.now()<end){fs.writeSync(fd,b);fs.ftruncateSync(fd,0);fs.writeSync(fd,b)}`,
      w.path('growing')
    );
    await writer.up;
    const summary = await (await w.open()).capture();
    writer.stop();
    expect(w.recorder.tree.has('growing')).toBe(true);
    expect(summary.captured).toBeGreaterThanOrEqual(1);
  });
});

describe('restore and the receiver can say why a file changed', () => {
  const cause = { kind: 'restore', version: 'aaaaaaaa.1' } as const;

  test('captureNow records the present state, with the cause', async () => {
    w.write('a', '1');
    w.write('d/b', '1');
    w.write('other', '1');
    await w.open();
    const changes = await w.recorder.captureNow(['a', 'd'], cause);
    expect(changes.map(c => [c.path, c.cause])).toEqual([
      ['a', cause],
      ['d/b', cause]
    ]);
    expect(w.recorder.tree.has('other')).toBe(false);
    expect(await w.recorder.captureNow(['a', 'd'], cause)).toEqual([]);
    unlinkSync(w.path('a'));
    expect(await w.recorder.captureNow(['a'])).toMatchObject([{ kind: 'deleted', path: 'a' }]);
  });

  test('an excluded file can be recorded on demand, the log never', async () => {
    w.write('.~x', '1');
    w.write('.syft-sync/x', '1');
    await w.open();
    expect(await w.recorder.captureNow(['.~x', '.syft-sync/x'])).toMatchObject([{ path: '.~x' }]);
  });

  test('an expected content carries its cause once', async () => {
    await w.open();
    w.recorder.expect('a', sha('received'), cause);
    w.write('a', 'other');
    await w.recorder.capture();
    w.write('a', 'received');
    await w.recorder.capture();
    w.write('a', 'third');
    await w.recorder.capture();
    expect(w.changes.map(c => c.cause)).toEqual([undefined, cause, undefined]);
  });
});

describe('excluded', () => {
  test('a path that becomes excluded is left alone in the log', async () => {
    w.write('a.csv', '1');
    w.write('d/b', '1');
    await (await w.open()).capture();
    w.taken();
    w.write('.syftignore', '*.csv\nd/\n');
    w.write('a.csv', '2');
    w.write('d/b', '2');
    await w.recorder.capture();
    expect(w.taken()).toEqual(['created .syftignore']);
    unlinkSync(w.path('a.csv'));
    rmSync(w.path('d'), { recursive: true });
    await w.recorder.capture();
    expect(w.taken()).toEqual([]);
    expect(w.recorder.tree.has('a.csv') && w.recorder.tree.has('d/b')).toBe(true);
    unlinkSync(w.path('.syftignore'));
    await w.recorder.capture();
    expect(w.taken().sort()).toEqual(['deleted .syftignore', 'deleted a.csv', 'deleted d/b']);
  });

  test('a log inside the root is never recorded, whatever its name', async () => {
    w.write('my log/x', '1');
    w.write('a', '1');
    await (await w.open({ logDir: w.path('my log') })).capture();
    expect(w.taken()).toEqual(['created a']);
  });

  test('only the chosen folders', async () => {
    w.write('work/a', '1');
    w.write('else/b', '1');
    w.write('c', '1');
    await (await w.open({ include: ['work'] })).capture();
    expect(w.taken()).toEqual(['created work/a']);
  });
});

describe('refusals', () => {
  test('a root that is missing or no directory', async () => {
    await expect(w.open({ root: w.path('nope') })).rejects.toMatchObject({ code: 'WATCH_PATH_MISSING' });
    w.write('file');
    await expect(w.open({ root: w.path('file') })).rejects.toMatchObject({ code: 'WATCH_PATH_NOT_DIRECTORY' });
  });

  test('a root with more files than allowed: nothing of it is recorded before the user has chosen', async () => {
    for (let i = 0; i < 30; i += 1) w.write(`${i}`, '1');
    await w.open({ maxFiles: 20 });
    await expect(w.recorder.capture()).rejects.toMatchObject({ code: 'SETUP_NEEDED' });
    expect(w.changes).toEqual([]);
    await w.recorder.stop();
    await (await w.open({ maxFiles: 30 })).capture();
    expect(w.changes).toHaveLength(30);
  });

  test('a log that refuses: the pass says so, and the next one records all', async () => {
    for (let i = 0; i < 50; i += 1) w.write(`${i}`, `${i}`);
    const log = new MemoryLog();
    await w.open({ log });
    log.refuse = new SyftError('DISK_FULL', 'no space');
    await expect(w.recorder.capture()).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect(w.recorder.status).toMatchObject({ state: 'error', error: { code: 'DISK_FULL' } });
    expect(w.recorder.tree.size).toBe(0);
    log.refuse = undefined;
    await w.recorder.capture();
    expect(w.recorder.tree.size).toBe(50);
    expect(w.recorder.status.error).toBeUndefined();
  });

  const asUser = process.getuid?.() === 0 ? 65534 : undefined;

  test('an unreadable file is recorded as such once, and as usual when it can be read again', async () => {
    w.write('secret', 'x');
    w.write('ok', 'x');
    chmodSync(w.path('secret'), 0);
    chmodSync(w.root, 0o777);
    const run = (): string[] => {
      // Root may read everything, so the pass runs as somebody else.
      const script = `
        import { Recorder } from ${JSON.stringify(new URL('../../../server/src/capture/recorder.ts', import.meta.url).href)};
        import { MemoryLog } from ${JSON.stringify(new URL('./memory-log.ts', import.meta.url).href)};
        import { chmodSync } from 'node:fs';
        const out = [];
        const r = await Recorder.open({ root: ${JSON.stringify(w.root)}, log: new MemoryLog(), logDir: '/nonexistent', cacheDir: '/nonexistent', hints: 'none' });
        r.on('change', c => out.push(c.kind + ' ' + c.path + ' ' + c.flags.join()));
        await r.capture();
        await r.capture();
        console.log(JSON.stringify(out));`;
      return JSON.parse(
        execFileSync(process.execPath, ['--input-type=module-typescript', '--no-warnings', '-e', script], {
          encoding: 'utf8',
          ...(asUser !== undefined && { uid: asUser, gid: asUser })
        })
      ) as string[];
    };
    chmodSync(w.base, 0o755);
    expect(run().sort()).toEqual(['created ok ', 'created secret unreadable']);
    chmodSync(w.path('secret'), 0o644);
    expect(run().sort()).toEqual(['created ok ', 'created secret ']);
  });

  test('a root that was emptied by another disk’s absence is no deletion', async () => {
    w.write('a');
    await (await w.open()).capture();
    await w.recorder.capture();
    renameSync(w.root, `${w.root}.away`);
    mkdirSync(w.root);
    await expect(w.recorder.capture()).rejects.toMatchObject({ code: 'WATCH_PATH_MISSING' });
    await w.recorder.stop();
    await expect((await w.open()).capture()).rejects.toMatchObject({ code: 'WATCH_PATH_MISSING' });
    rmSync(w.root, { recursive: true });
    renameSync(`${w.root}.away`, w.root);
    expect(await w.recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
    unlinkSync(w.path('a'));
    expect(await w.recorder.capture()).toMatchObject({ deleted: 1 });
  });
});

/** Runs a script in another process; `up` resolves at its first output. */
function execWriter(script: string, ...args: string[]): { up: Promise<void>; stop: () => void } {
  const child = spawn(process.execPath, ['-e', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    up: new Promise(resolve => {
      child.stdout.once('data', () => {
        resolve();
      });
    }),
    stop: () => {
      child.kill();
    }
  };
}

/** The tree is what is on disk. */
async function expectTreeOnDisk(): Promise<void> {
  for (const [path, change] of w.recorder.tree) {
    const stats = lstatSync(w.path(path));
    if (change.type === 'directory') expect(stats.isDirectory()).toBe(true);
    else if (change.type === 'symlink') expect((await w.content(change)).toString()).toBe(readlinkSync(w.path(path)));
    else expect((await w.content(change)).equals(readFileSync(w.path(path)))).toBe(true);
  }
}
