/**
 * Everything a disk, a user or another program can put in the way: each gives an error with a code, or a flagged record, and
 * recording of the rest goes on. Through the command line alone, and while `watch` runs.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { displayPath } from '../../../server/src/core/path-name.ts';
import { openLogReader } from '../../../server/src/log/log.ts';
import { CommandLine, type Finished, type Watch } from '../cli/run.ts';

let dir: string;
let ws: string;
let cli: CommandLine;
const watches: Watch[] = [];
const at = (...parts: string[]): string => join(ws, ...parts);

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'syft-bad-')));
  ws = join(dir, 'ws');
  mkdirSync(ws);
  cli = new CommandLine(ws, join(dir, 'home'));
});

afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.end('SIGKILL');
  // Too deep for Node, which names every file in full.
  execFileSync('rm', ['-rf', dir]);
});

async function watching(line: CommandLine, ...args: string[]): Promise<Watch> {
  const watch = await line.watch(...args);
  watches.push(watch);
  return watch;
}

/** The code of a failed command; its one line on stderr must say it too. */
async function refusal(
  line: CommandLine,
  args: readonly string[],
  cwd?: string
): Promise<[code: string, status: number]> {
  const done: Finished = await line.run(['--json', ...args], cwd);
  const last = done.stderr.trim().split('\n').at(-1) ?? '';
  const { error } = JSON.parse(last) as { error: { code: string; message: string } };
  expect(error.message).not.toMatch(/\n|at .*\.ts:/);
  expect(error.message.length).toBeGreaterThan(10);
  return [error.code, done.status ?? -1];
}

/** A user that modes apply to, which they do not to root. `undefined` where there is none to be had. */
function ordinaryUser(): { via: readonly string[]; own: (path: string) => void } | undefined {
  if (process.getuid?.() !== 0) return { via: [], own: () => undefined };
  const via = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  if (spawnSync(via[0] ?? '', [...via.slice(1), process.execPath, '--version']).status !== 0) return undefined;
  return { via, own: path => chownSync(path, 65534, 65534) };
}

/** A mount namespace of the test's own, with a shell command run in it first. `undefined` where none may be made. */
class Mounts implements AsyncDisposable {
  readonly via: readonly string[];
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess, via: readonly string[]) {
    this.#holder = holder;
    this.via = via;
  }

  static async make(command: string): Promise<Mounts | undefined> {
    const root = process.getuid?.() === 0;
    const holder = spawn(
      'unshare',
      [...(root ? [] : ['--user', '--map-root-user']), '--mount', 'sh', '-c', `${command} && echo ready && exec cat`],
      { stdio: ['pipe', 'pipe', 'ignore'] }
    );
    const answer = await new Promise<string>(resolve => {
      holder.stdout.once('data', (data: Buffer) => resolve(data.toString()));
      holder.once('close', () => resolve(''));
      holder.once('error', () => resolve(''));
    });
    if (answer !== 'ready\n') return undefined;
    const user = root ? [] : ['--user', '--preserve-credentials'];
    return new Mounts(holder, ['nsenter', ...user, '--mount', `--target=${holder.pid}`, `--wd=/`]);
  }

  /** The path of a file in the namespace, for this process. */
  inside(path: string): string {
    return `/proc/${this.#holder.pid}/root${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.stdin?.end();
    if (this.#holder.exitCode === null) await once(this.#holder, 'close');
  }
}

describe('a workspace or log that cannot be used', () => {
  test('says why, by a code, and nothing is written', async () => {
    writeFileSync(at('file'), 'x');
    const cases: [string[], string, number][] = [
      [['-C', join(dir, 'missing'), 'capture'], 'WATCH_PATH_MISSING', 4],
      [['-C', join(dir, 'missing'), 'watch'], 'WATCH_PATH_MISSING', 4],
      [['-C', at('file'), 'watch'], 'WATCH_PATH_NOT_DIRECTORY', 1],
      [['--log', at('file'), 'capture'], 'LOG_PATH_NOT_DIRECTORY', 1],
      [['--log', at('file'), 'log'], 'LOG_PATH_NOT_DIRECTORY', 1],
      [['--log', at('file/below'), 'watch'], 'LOG_PATH_NOT_DIRECTORY', 1]
    ];
    await Promise.all(
      cases.map(async ([args, code, status]) => {
        expect([args, ...(await refusal(cli, args))]).toEqual([args, code, status]);
      })
    );
    expect(readFileSync(at('file'), 'utf8')).toBe('x');
    expect(readdirSync(ws)).toEqual(['file']);
    expect(readdirSync(dir)).not.toContain('missing');
  });

  test('a log of a newer format is left as it is', async () => {
    writeFileSync(at('a'), '1');
    await cli.ok('capture');
    const format = at('.syft-sync/format.json');
    const newer = JSON.stringify({ ...(JSON.parse(readFileSync(format, 'utf8')) as object), version: 99 });
    writeFileSync(format, newer);
    writeFileSync(at('a'), '2');
    await Promise.all(
      ['capture', 'watch', 'log'].map(async command => {
        const [code] = await refusal(cli, [command]);
        expect([command, code]).toEqual([command, 'LOG_NEWER_FORMAT']);
      })
    );
    expect(readFileSync(format, 'utf8')).toBe(newer);
  });

  test('by its permissions: the root, and a directory and a file within it, which cost only themselves', async () => {
    const user = ordinaryUser();
    if (user === undefined) {
      console.warn('setpriv is not here: permissions were not tried');
      return;
    }
    for (const path of [dir, ws]) user.own(path);
    const line = new CommandLine(ws, join(dir, 'home'), user.via);
    const put = (name: string, text: string): void => {
      writeFileSync(at(name), text);
      user.own(at(name));
    };
    mkdirSync(at('closed'));
    put('closed/kept', '1');
    put('fine', '1');
    put('secret', '1');
    user.own(at('closed'));
    const watch = await watching(line);
    const recorded = (path: string, check: (line: Record<string, unknown>) => boolean): Promise<unknown> =>
      watch.until(change => change['path'] === path && check(change));
    chmodSync(at('secret'), 0);
    await recorded('secret', change => (change['flags'] as string[]).includes('unreadable'));
    chmodSync(at('closed'), 0);
    put('fine', '2');
    await line.ok('flush');
    expect((await line.run(['show', 'fine@latest'])).stdout).toBe('2');
    // A directory that cannot be looked into has lost nothing.
    expect((await line.run(['show', 'closed/kept@latest'])).stdout).toBe('1');
    expect((await line.ok('log', '--kind', 'deleted')).length).toBe(0);
    chmodSync(at('closed'), 0o700);
    put('closed/kept', '2');
    put('later', 'after');
    chmodSync(at('secret'), 0o600);
    await line.ok('flush');
    expect((await line.run(['show', 'closed/kept@latest'])).stdout).toBe('2');
    expect((await line.run(['show', 'secret@latest'])).stdout).toBe('1');
    expect(await watch.end()).toBe(0);

    chmodSync(at('secret'), 0);
    put('fine', '3');
    const [summary] = (await line.ok('capture')).slice(-1);
    expect(summary).toMatchObject({ captured: 2, flagged: 1, deleted: 0 });
    expect(await refusal(line, ['show', 'secret@latest'])).toEqual(['VERSION_HAS_NO_CONTENT', 1]);
    expect((await line.run(['show', 'secret@-1'])).stdout).toBe('1');
    expect((await line.run(['fsck', '--read-data'])).status).toBe(0);
    chmodSync(ws, 0);
    expect(await refusal(line, ['-C', ws, '--log', join(dir, 'log'), 'watch'], dir)).toEqual([
      'WATCH_PATH_UNREADABLE',
      1
    ]);
    chmodSync(ws, 0o700);
  }, 60_000);
});

describe('a disk that does not take what is written', () => {
  test('full while recording: it says so, goes on by itself when there is room, and has the last state of every file', async () => {
    const disk = join(dir, 'disk');
    mkdirSync(disk);
    await using mounts = await Mounts.make(`mount -t tmpfs -o size=12m,mode=777 tmpfs ${disk}`);
    if (mounts === undefined) {
      console.warn('mounting is not permitted here: a full disk was not tried');
      return;
    }
    const line = new CommandLine('/', join(dir, 'home'), mounts.via);
    const log = join(disk, 'log');
    const common = ['-C', ws, '--log', log];
    writeFileSync(at('first'), '1');
    const watch = await watching(line, ...common);
    expect((await line.run([...common, 'flush'])).status).toBe(0);
    const filler = mounts.inside(join(disk, 'filler'));
    for (let size = 8 * 1024 * 1024; size >= 4096; size /= 2) {
      try {
        for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    }
    const texts = new Map<string, string>();
    for (let i = 0; i < 60; i += 1) {
      texts.set(`f${i}`, randomBytes(30_000).toString('base64'));
      writeFileSync(at(`f${i}`), texts.get(`f${i}`) ?? '');
    }
    expect(await refusal(line, [...common, 'flush'])).toEqual(['DISK_FULL', 1]);
    expect(watch.exited).toBe(false);
    // What is recorded already can be read meanwhile.
    expect((await line.run([...common, 'show', at('first@latest')])).stdout).toBe('1');
    texts.set('f7', 'changed while it was full');
    writeFileSync(at('f7'), 'changed while it was full');
    unlinkSync(at('f8'));
    unlinkSync(filler);
    // By itself: nobody asks for anything.
    for (const path of texts.keys()) if (path !== 'f8') await watch.until(change => change['path'] === path);
    expect((await line.run([...common, 'flush'])).status).toBe(0);
    for (const path of ['f0', 'f7', 'f59']) {
      expect((await line.run([...common, 'show', at(`${path}@latest`)])).stdout).toBe(texts.get(path));
    }
    expect(await refusal(line, [...common, 'show', at('f8@latest')])).toEqual(['PATH_NOT_FOUND', 4]);
    expect(await watch.end()).toBe(0);
    expect((await line.run([...common, 'fsck', '--read-data'])).stdout).not.toMatch(/kind/);
  }, 90_000);

  test('read only: recording and restoring are refused by name, reading works', async () => {
    writeFileSync(at('a'), '1');
    await cli.ok('capture');
    writeFileSync(at('a'), '2');
    await using mounts = await Mounts.make(`mount --bind ${ws} ${ws} && mount -o remount,bind,ro ${ws}`);
    if (mounts === undefined) {
      console.warn('mounting is not permitted here: a read-only disk was not tried');
      return;
    }
    const line = new CommandLine('/', join(dir, 'home'), mounts.via);
    for (const command of [['capture'], ['watch'], ['restore', at('a@latest')]]) {
      expect([command, await refusal(line, ['-C', ws, ...command])]).toEqual([command, ['DISK_READ_ONLY', 1]]);
    }
    expect((await line.run(['-C', ws, 'show', at('a@latest')])).stdout).toBe('1');
    expect((await line.run(['-C', ws, 'fsck', '--read-data'])).status).toBe(0);
    // The log elsewhere, the workspace read only: that is no hindrance to recording.
    expect((await line.run(['-C', ws, '--log', join(dir, 'log'), 'capture'])).status).toBe(0);
    expect(
      await refusal(line, ['-C', ws, '--log', join(dir, 'log'), 'restore', at('a@latest'), '--to', at('b')])
    ).toEqual(['DISK_READ_ONLY', 1]);
  }, 60_000);
});

describe('what is asked for does not exist', () => {
  test.each([[false], [true]])(
    'an unknown version, a path outside, a directory in the way (recorder running: %s)',
    async running => {
      writeFileSync(at('a'), '1');
      mkdirSync(at('d'));
      writeFileSync(at('d/x'), '1');
      await cli.ok('capture');
      if (running) await watching(cli);
      const [{ versionId } = {}] = await cli.ok('history', 'a');
      const unknown = String(versionId).replace(/\.\d+$/, '.99999');
      const id = String(versionId);
      const cases: [string[], string, number][] = [
        [['show', unknown], 'VERSION_NOT_FOUND', 4],
        [['restore', unknown], 'VERSION_NOT_FOUND', 4],
        [['restore', 'nothing@latest'], 'PATH_NOT_FOUND', 4],
        [['history', '../a'], 'PATH_OUTSIDE_ROOT', 1],
        [['restore', id, '--to', 'd'], 'RESTORE_ONTO_DIRECTORY', 1],
        [['restore', id, '--to', 'a/below'], 'PATH_INVALID', 2],
        // The log is no place for the user's files.
        [['restore', id, '--to', '.syft-sync/log/new.seg'], 'PATH_INVALID', 2],
        [['restore', id, '--to', '.syft-sync/format.json', '--force'], 'PATH_INVALID', 2]
      ];
      const check = async ([args, code, status]: (typeof cases)[number]): Promise<void> =>
        expect([args, ...(await refusal(cli, args))]).toEqual([args, code, status]);
      // Without a recorder each takes the lock for itself.
      if (running) await Promise.all(cases.map(check));
      else for (const each of cases) await check(each);
      expect((await cli.run(['fsck'])).status).toBe(0);
      expect(readFileSync(at('a'), 'utf8')).toBe('1');
      expect(readFileSync(at('d/x'), 'utf8')).toBe('1');
    }
  );
});

describe('names and things of every kind', () => {
  const LONG = 'x'.repeat(255);
  const HALF = '{"cells": [{"source": "cut sho';

  /** Puts one of each into the workspace; returns what has content, by its path as it is shown. */
  function zoo(prefix: string): Map<string, string> {
    mkdirSync(at(prefix));
    const content = new Map<string, string>();
    const put = (name: string, text: string): void => {
      writeFileSync(at(prefix, name), text);
      content.set(`${prefix}/${name}`, text);
    };
    put('plain', 'plain');
    put('empty', '');
    put(LONG, 'a long name');
    put('two\nlines', 'a newline');
    put(' * ? [a] "q" \\ \t\u202e', 'a name that hurts');
    put('half.ipynb', HALF);
    put('not.ipynb', 'no JSON at all');
    writeFileSync(Buffer.concat([Buffer.from(at(prefix, 'bad-')), Buffer.from([0xff])]), 'not UTF-8');
    content.set(`${prefix}/bad-\\xFF`, 'not UTF-8');
    symlinkSync('loop-b', at(prefix, 'loop-a'));
    symlinkSync('loop-a', at(prefix, 'loop-b'));
    symlinkSync('.', at(prefix, 'self'));
    symlinkSync('..', at(prefix, 'up'));
    execFileSync('mkfifo', [at(prefix, 'fifo')]);
    mkdirSync(at(prefix, 'deep/'.repeat(60)), { recursive: true });
    put(`${'deep/'.repeat(60)}bottom`, 'sixty down');
    return content;
  }

  async function check(content: ReadonlyMap<string, string>, prefix: string): Promise<void> {
    const tree = new Map((await cli.ok('tree')).map(entry => [entry['path'], entry]));
    const log = await openLogReader({ dir: at('.syft-sync') });
    const recorded = new Map<string, string>();
    for await (const change of log.changes()) {
      if (change.type === 'file') recorded.set(displayPath(change.path), (await log.contentBytes(change)).toString());
    }
    await log.close();
    expect(Object.fromEntries(recorded)).toEqual(Object.fromEntries(content));
    for (const [path, text] of content) {
      expect([path, tree.get(path)?.['size']]).toEqual([path, Buffer.byteLength(text)]);
    }
    expect(tree.has(`${prefix}/fifo`)).toBe(false);
    expect(tree.has(`${prefix}/socket`)).toBe(false);
    for (const link of ['loop-a', 'loop-b', 'self', 'up']) expect(tree.has(`${prefix}/${link}`)).toBe(true);
    expect([...tree.keys()].filter(path => /\/(self|up)\//.test(String(path)))).toEqual([]);
    const flagged = (await cli.ok('log'))
      .filter(change => (change['flags'] as string[]).length > 0)
      .map(change => [change['path'], change['flags']]);
    expect(flagged.sort()).toEqual([
      [`${prefix}/half.ipynb`, ['torn']],
      [`${prefix}/not.ipynb`, ['torn']]
    ]);
    expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
  }

  test.each([['one pass'], ['while watching']])(
    '%s: each is recorded as it is, or passed over, and none holds up the rest',
    async how => {
      const watch = how === 'one pass' ? undefined : await watching(cli);
      const socket = createServer();
      const content = zoo('zoo');
      await new Promise<void>(done => socket.listen(at('zoo/socket'), done));
      try {
        if (watch === undefined) await cli.ok('capture');
        else await cli.ok('flush');
        await check(content, 'zoo');
      } finally {
        socket.close();
        await watch?.end();
      }
      expect((await cli.ok('capture')).at(-1)).toMatchObject({ captured: 0, deleted: 0 });
    },
    60_000
  );

  test.each([['one pass'], ['while watching']])(
    '%s: a tree too deep to be named costs what lies at its bottom, and says so',
    async how => {
      const watch = how === 'one pass' ? undefined : await watching(cli);
      const step = 'd'.repeat(200);
      // 30 × 200 bytes: longer than the longest path the system takes. Only step by step can it be made.
      execFileSync(
        process.execPath,
        [
          '-e',
          `for (let i = 0; i < 30; i++) { fs.mkdirSync('${step}'); process.chdir('${step}'); } fs.writeFileSync('bottom', 'deep')`
        ],
        {
          cwd: ws
        }
      );
      writeFileSync(at(step, 'near'), 'near');
      writeFileSync(at('other'), 'other');
      if (watch === undefined) {
        const done = await cli.run(['capture']);
        expect([done.status, done.stderr]).toEqual([0, expect.stringContaining('ENAMETOOLONG')]);
      } else {
        await cli.ok('flush');
        await watch.end();
      }
      const tree = (await cli.ok('tree')).map(entry => entry['path']);
      expect(tree).toContain('other');
      expect(tree).toContain(`${step}/near`);
      expect((await cli.run(['show', 'other@latest'])).stdout).toBe('other');
      expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
    },
    60_000
  );

  test('files that are deleted, replaced and cut short while they are read: no error, and the last state of each', async () => {
    const watch = await watching(cli);
    const churn = spawn(
      process.execPath,
      [
        '-e',
        `const root = process.argv[1], end = Date.now() + 2500;
        for (let i = 0; Date.now() < end; i++) {
          const p = root + '/c' + (i % 9);
          switch (i % 5) {
            case 0: fs.writeFileSync(p, Buffer.alloc(i % 2 ? 3000000 : 5000, i)); break;
            case 1: fs.rmSync(p, { force: true, recursive: true }); break;
            case 2: fs.writeFileSync(p + '.new', 'new ' + i); try { fs.renameSync(p + '.new', p); } catch {} break;
            case 3: try { fs.truncateSync(p, i % 100); } catch {} break;
            case 4: fs.rmSync(p, { force: true, recursive: true }); fs.mkdirSync(p); fs.writeFileSync(p + '/in', 'in ' + i);
              fs.rmSync(p, { recursive: true });
          }
        }
        for (let i = 0; i < 9; i++) { fs.rmSync(root + '/c' + i, { force: true, recursive: true }); }
        for (let i = 0; i < 9; i += 2) fs.writeFileSync(root + '/c' + i, 'last ' + i);
        for (const f of fs.readdirSync(root)) if (f.endsWith('.new')) fs.rmSync(root + '/' + f);`,
        ws
      ],
      { stdio: 'inherit' }
    );
    expect((await once(churn, 'exit'))[0]).toBe(0);
    await cli.ok('flush');
    const tree = (await cli.ok('tree')).map(entry => String(entry['path'])).sort();
    expect(tree).toEqual(['c0', 'c2', 'c4', 'c6', 'c8']);
    for (const path of tree) expect((await cli.run(['show', `${path}@latest`])).stdout).toBe(`last ${path[1] ?? ''}`);
    expect(await watch.end()).toBe(0);
    expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
    expect(existsSync(at('.syft-sync'))).toBe(true);
  }, 60_000);
});
