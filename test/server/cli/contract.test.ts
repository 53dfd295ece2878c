/** The command line and its JSON are a contract: other people's scripts break when one of these fails. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  realpath,
  rename,
  rm,
  symlink,
  unlink,
  utimes,
  writeFile
} from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine, MAIN } from './run.ts';

let dir: string;
let ws: string;
let cli: CommandLine;
const at = (...parts: string[]): string => join(ws, ...parts);
const sha = (data: string | Buffer): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'syft-cli-')));
  ws = join(dir, 'ws');
  await mkdir(ws);
  cli = new CommandLine(ws, join(dir, 'home'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

describe('capture, log, history, tree, show', () => {
  test('capture records what differs and says how much; a second one finds nothing to do', async () => {
    await mkdir(at('data'));
    await writeFile(at('data', 'a.csv'), 'x,y\n1,2\n');
    await writeFile(at('b.txt'), 'hello');
    expect(await cli.ok('capture')).toEqual([{ captured: 2, unchanged: 0, deleted: 0, bytes: 13, flagged: 0 }]);
    expect(await cli.ok('capture')).toEqual([{ captured: 0, unchanged: 2, deleted: 0, bytes: 0, flagged: 0 }]);
    await unlink(at('b.txt'));
    expect((await cli.ok('capture'))[0]).toMatchObject({ captured: 0, deleted: 1 });
  });

  test('a change has the documented shape, newest first, and history follows a move back', async () => {
    await writeFile(at('old.txt'), 'one');
    await chmod(at('old.txt'), 0o640);
    await cli.ok('capture');
    await writeFile(at('old.txt'), 'two!');
    await cli.ok('capture');
    await rename(at('old.txt'), at('new.txt'));
    await cli.ok('capture');
    const changes = await cli.ok('log');
    expect(changes.map(change => change['kind'])).toEqual(['moved', 'modified', 'created']);
    expect(changes[1]).toEqual({
      versionId: expect.stringMatching(/^[a-z2-7]{8}\.\d+$/),
      kind: 'modified',
      path: 'old.txt',
      at: expect.stringMatching(ISO),
      size: 4,
      hash: sha('two!'),
      previousHash: sha('one'),
      device: expect.stringMatching(/^[a-z2-7]{8}$/),
      mode: 0o640,
      mtime: expect.stringMatching(ISO),
      type: 'file',
      flags: []
    });
    expect(changes[0]).toMatchObject({ kind: 'moved', path: 'new.txt', from: 'old.txt', hash: sha('two!') });
    expect((await cli.ok('history', 'new.txt')).map(change => change['path'])).toEqual([
      'new.txt',
      'old.txt',
      'old.txt'
    ]);
    expect((await cli.ok('log', '--oldest-first', '--limit', '1'))[0]).toMatchObject({ kind: 'created' });
    expect(await cli.ok('log', '--kind', 'modified')).toHaveLength(1);
    expect(await cli.ok('log', '--path', 'new.*')).toHaveLength(1);
    expect(await cli.ok('log', '--since', '1h', '--until', 'now')).toHaveLength(3);
    expect(await cli.ok('log', '--until', '1h')).toHaveLength(0);
  });

  test('tree shows the workspace as it is and as it was', async () => {
    await mkdir(at('sub', 'empty'), { recursive: true });
    await writeFile(at('sub', 'f'), '1');
    await symlink('f', at('sub', 'link'));
    await cli.ok('capture');
    const before = (await cli.ok('log', '--limit', '1'))[0]?.['at'] as string;
    await writeFile(at('sub', 'f'), '22');
    await writeFile(at('later'), 'x');
    await cli.ok('capture');
    const now = await cli.ok('tree');
    expect(now.map(entry => [entry['path'], entry['type'], entry['size']])).toEqual([
      ['later', 'file', 1],
      ['sub/empty', 'directory', undefined],
      ['sub/f', 'file', 2],
      ['sub/link', 'symlink', 1]
    ]);
    expect(now[2]).toMatchObject({ hash: sha('22'), mode: expect.any(Number), versionId: expect.any(String) });
    const then = await cli.ok('tree', '--at', before);
    expect(then.map(entry => [entry['path'], entry['size']])).toEqual([
      ['sub/empty', undefined],
      ['sub/f', 1],
      ['sub/link', 1]
    ]);
  });

  test('show gives every byte back, by id, prefix, PATH@latest, PATH@-1 and PATH@T', async () => {
    const first = Buffer.from([0, 255, 10, 13, 10, 128, 0]);
    await writeFile(at('b.bin'), first);
    await cli.ok('capture');
    await writeFile(at('b.bin'), 'second');
    await cli.ok('capture');
    const [second, created] = await cli.ok('history', 'b.bin');
    const firstId = created?.['versionId'] as string;
    for (const version of [firstId, 'b.bin@-1', `b.bin@${String(created?.['at'])}`]) {
      expect((await cli.run(['show', version])).bytes).toEqual(first);
    }
    for (const version of [second?.['versionId'] as string, 'b.bin@latest', 'b.bin@now']) {
      expect((await cli.run(['show', version])).stdout).toBe('second');
    }
    expect((await cli.run(['show', firstId.slice(0, 3)])).status).not.toBe(0);
  });

  test('names that are not UTF-8, with newlines, or 255 bytes long are recorded and accepted back', async () => {
    const bad = Buffer.concat([Buffer.from(ws), Buffer.from('/bad-'), Buffer.from([0xff, 0xfe])]);
    await writeFile(bad, 'bytes');
    await writeFile(at('two\nlines'), 'newline');
    await writeFile(at('x'.repeat(255)), 'long');
    await cli.ok('capture');
    const paths = (await cli.ok('tree')).map(entry => entry['path']);
    expect(paths).toEqual(expect.arrayContaining(['bad-\\xFF\\xFE', 'two\nlines', 'x'.repeat(255)]));
    const base64 = Buffer.concat([Buffer.from('bad-'), Buffer.from([0xff, 0xfe])]).toString('base64');
    for (const name of ['bad-\\xFF\\xFE', base64]) {
      const [change] = await cli.ok('history', name);
      expect(change).toMatchObject({ path: 'bad-\\xFF\\xFE', pathBase64: base64 });
    }
    await rm(bad);
    await cli.ok('restore', 'bad-\\xFF\\xFE@latest');
    expect((await readFile(bad)).toString()).toBe('bytes');
  });
});

describe('restore', () => {
  test('puts content, mode and mtime back; what stood there is recorded first and can be brought back', async () => {
    await writeFile(at('run.sh'), '#!/bin/sh\n');
    await chmod(at('run.sh'), 0o751);
    await utimes(at('run.sh'), 1_600_000_000, 1_600_000_000.25);
    await cli.ok('capture');
    await writeFile(at('run.sh'), 'never captured before the restore');
    await chmod(at('run.sh'), 0o600);
    const [result] = await cli.ok('restore', 'run.sh@-0');
    expect(await readFile(at('run.sh'), 'utf8')).toBe('#!/bin/sh\n');
    const stats = await lstat(at('run.sh'));
    expect(stats.mode & 0o7777).toBe(0o751);
    expect(stats.mtimeMs).toBe(1_600_000_000_250);
    expect((await cli.run(['show', String(result?.['replaced'])])).stdout).toBe('never captured before the restore');
    const [latest] = await cli.ok('history', 'run.sh');
    expect(latest?.['cause']).toMatchObject({ kind: 'restore' });
    expect(await readdir(ws)).toEqual(['.syft-sync', 'run.sh']);
  });

  test('a deleted file comes back, with its directories; --to puts it elsewhere; --dry-run changes nothing', async () => {
    await mkdir(at('deep', 'er'), { recursive: true });
    await writeFile(at('deep', 'er', 'f'), 'kept');
    await cli.ok('capture');
    await rm(at('deep'), { recursive: true });
    await cli.ok('capture');
    expect((await cli.ok('restore', 'deep/er/f@latest', '--dry-run'))[0]).toMatchObject({ action: 'create' });
    expect(existsSync(at('deep'))).toBe(false);
    await cli.ok('restore', 'deep/er/f@latest');
    expect(await readFile(at('deep', 'er', 'f'), 'utf8')).toBe('kept');
    await cli.ok('restore', 'deep/er/f@latest', '--to', 'copy.txt');
    expect(await readFile(at('copy.txt'), 'utf8')).toBe('kept');
    const outside = join(dir, 'outside.txt');
    await cli.ok('restore', 'deep/er/f@latest', '--to', outside);
    expect(await readFile(outside, 'utf8')).toBe('kept');
    await writeFile(outside, 'precious');
    const refused = await cli.run(['restore', 'deep/er/f@latest', '--to', outside]);
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('[RESTORE_NOT_RECORDED]')]);
    expect(await readFile(outside, 'utf8')).toBe('precious');
    await cli.ok('restore', 'deep/er/f@latest', '--to', outside, '--force');
    expect(await readFile(outside, 'utf8')).toBe('kept');
  });

  test('a whole tree as of a time', async () => {
    await mkdir(at('a'));
    await writeFile(at('a', '1'), 'one');
    await symlink('1', at('a', 'ln'));
    await cli.ok('capture');
    const then = (await cli.ok('log', '--limit', '1'))[0]?.['at'] as string;
    await writeFile(at('a', '1'), 'changed');
    await writeFile(at('a', '2'), 'new');
    await cli.ok('capture');
    const out = join(dir, 'out');
    await cli.ok('restore', '--tree', '--at', then, '--to', out);
    expect(await readFile(join(out, 'a', '1'), 'utf8')).toBe('one');
    expect((await readdir(join(out, 'a'))).sort()).toEqual(['1', 'ln']);
    expect((await lstat(join(out, 'a', 'ln'))).isSymbolicLink()).toBe(true);
    expect(await readdir(out)).toEqual(['a']);
  });

  test('onto a directory, through a link that leads out, of a deletion: refused, nothing harmed', async () => {
    await mkdir(at('d'));
    await writeFile(at('d', 'f'), 'inside');
    await writeFile(at('x'), 'x');
    await cli.ok('capture');
    const onto = await cli.run(['restore', 'x@latest', '--to', 'd']);
    expect([onto.status, onto.stderr]).toEqual([1, expect.stringContaining('[RESTORE_ONTO_DIRECTORY]')]);
    const bait = join(dir, 'bait');
    await mkdir(bait);
    await rm(at('d'), { recursive: true });
    await symlink(bait, at('d'));
    const through = await cli.run(['restore', 'd/f@latest']);
    expect([through.status, through.stderr]).toEqual([1, expect.stringContaining('[PATH_OUTSIDE_ROOT]')]);
    expect(await readdir(bait)).toEqual([]);
    await unlink(at('x'));
    await cli.ok('capture');
    const gone = (await cli.ok('history', 'x'))[0];
    expect((await cli.run(['restore', String(gone?.['versionId'])])).stderr).toContain('[VERSION_HAS_NO_CONTENT]');
  });
});

describe('watch and those who ask it', () => {
  test('is ready, prints each change once durable, answers flush, capture, restore and stats, ends clean', async () => {
    await writeFile(at('a'), '1');
    const watch = await cli.watch();
    expect(watch.lines.find(line => line['ready'] === true)).toEqual({ ready: true, files: 1 });
    await writeFile(at('b.txt'), 'live');
    const seen = await watch.until(line => line['path'] === 'b.txt');
    expect(seen).toMatchObject({ kind: 'created', size: 4, hash: sha('live') });
    expect((await cli.ok('log', '--limit', '1'))[0]).toMatchObject({ versionId: seen['versionId'] });
    await writeFile(at('b.txt'), 'changed');
    await cli.ok('flush');
    expect((await cli.ok('history', 'b.txt'))[0]).toMatchObject({ hash: sha('changed') });
    await cli.ok('restore', String(seen['versionId']));
    expect(await readFile(at('b.txt'), 'utf8')).toBe('live');
    expect((await cli.ok('stats'))[0]).toMatchObject({
      filesCreated: 2,
      filesModified: 2,
      trackedFiles: 2,
      runtimeSeconds: expect.any(Number)
    });
    expect((await cli.ok('capture'))[0]).toMatchObject({ captured: 0 });
    await writeFile(at('last'), 'just before the end');
    expect(await watch.end('SIGINT')).toBe(0);
    expect((await cli.run(['show', 'last@latest'])).stdout).toBe('just before the end');
    expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
  });

  test('a second recorder exits 5 and names the first; after SIGKILL the next takes over at once', async () => {
    const watch = await cli.watch();
    const second = await cli.run(['--json', 'watch']);
    expect(second.status).toBe(5);
    expect(JSON.parse(second.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      error: { code: 'LOG_LOCKED', message: expect.stringContaining(String(watch.child.pid)) }
    });
    await watch.end('SIGKILL');
    const next = await cli.watch();
    await next.end();
  });

  test('log --follow shows a change of another process', async () => {
    await cli.ok('capture');
    const follow = cli.spawn(['--json', 'log', '--follow']);
    let text = '';
    follow.stdout?.on('data', (piece: Buffer) => (text += piece.toString()));
    await writeFile(at('new'), 'x');
    await cli.ok('capture');
    while (!text.includes('"path":"new"')) await new Promise(resolve => setTimeout(resolve, 20));
    follow.kill('SIGINT');
    await new Promise(resolve => follow.once('close', resolve));
    expect(follow.exitCode).toBe(130);
  });
});

describe('diff', () => {
  test('text by line, against disk with one argument', async () => {
    await writeFile(at('t.txt'), 'a\nb\nc\n');
    await cli.ok('capture');
    await writeFile(at('t.txt'), 'a\nB\nc\n');
    const done = await cli.run(['diff', 't.txt']);
    expect(done.stdout).toContain('-b\n+B\n');
    expect((await cli.ok('diff', 't.txt'))[0]).toMatchObject({ kind: 'text', to: { versionId: 'disk' } });
  });

  test('notebooks by cell', async () => {
    const notebook = (source: string): string =>
      JSON.stringify({
        cells: [{ id: 'q', cell_type: 'code', source, metadata: {}, outputs: [], execution_count: null }],
        metadata: {},
        nbformat: 4,
        nbformat_minor: 5
      });
    await writeFile(at('n.ipynb'), notebook('df.head()'));
    await cli.ok('capture');
    await writeFile(at('n.ipynb'), notebook('df.tail()'));
    await cli.ok('capture');
    const [diff] = await cli.ok('diff', 'n.ipynb@-1', 'n.ipynb@latest');
    expect(diff).toMatchObject({ kind: 'notebook', cells: [{ change: 'modified', id: 'q', parts: ['source'] }] });
  });

  test('everything else by size and hash', async () => {
    await writeFile(at('m.bin'), Buffer.from([0, 1, 2]));
    await cli.ok('capture');
    await writeFile(at('m.bin'), Buffer.from([0, 1, 2, 3]));
    expect((await cli.ok('diff', 'm.bin'))[0]).toMatchObject({ kind: 'binary', from: { size: 3 }, to: { size: 4 } });
  });
});

describe('wrong use and bad places', () => {
  test.each<[string, string[], number, string]>([
    ['no command', [], 2, 'BAD_REQUEST'],
    ['unknown command', ['frobnicate'], 2, 'BAD_REQUEST'],
    ['unknown option', ['log', '--nope'], 2, 'BAD_REQUEST'],
    ['an option of another command', ['stats', '--follow'], 2, 'BAD_REQUEST'],
    ['a time that is none', ['log', '--since', 'soonish'], 2, 'BAD_REQUEST'],
    ['a number that is none', ['log', '--limit', 'many'], 2, 'BAD_REQUEST'],
    ['a watcher that nobody knows', ['watch', '--watcher', 'frob'], 2, 'BAD_REQUEST'],
    ['too few arguments', ['show'], 2, 'BAD_REQUEST'],
    ['unknown version', ['show', 'zzzzzzzz.9'], 4, 'VERSION_NOT_FOUND'],
    ['unknown path', ['history', 'nothing-here'], 4, 'PATH_NOT_FOUND'],
    ['a path outside', ['history', '../../etc'], 1, 'PATH_OUTSIDE_ROOT']
  ])('%s', async (_, args, status, code) => {
    await writeFile(at('f'), 'x');
    await cli.ok('capture');
    const done = await cli.run(args);
    expect([done.status, done.stderr]).toEqual([status, expect.stringMatching(new RegExp(`\\[${code}\\]\\n$`))]);
    expect(done.stderr.trim().split('\n')).toHaveLength(1);
    expect(done.stdout).toBe('');
    const json = await cli.run(['--json', ...args]);
    const [line, object] = json.stderr.trim().split('\n');
    expect(line).toBe(done.stderr.trim());
    expect(JSON.parse(object ?? '')).toMatchObject({ error: { code, message: expect.any(String) } });
  });

  test('a workspace that is not there, one that is a file, and one without a log', async () => {
    const missing = await cli.run(['-C', 'nowhere', 'capture']);
    expect([missing.status, missing.stderr]).toEqual([4, expect.stringContaining('[WATCH_PATH_MISSING]')]);
    await writeFile(at('file'), '');
    expect((await cli.run(['-C', 'file', 'capture'])).stderr).toContain('[WATCH_PATH_NOT_DIRECTORY]');
    const empty = await cli.run(['log']);
    expect([empty.status, empty.stderr]).toEqual([4, expect.stringContaining('[LOG_MISSING]')]);
    const file = await cli.run(['--log', 'file', 'capture']);
    expect([file.status, file.stderr]).toEqual([1, expect.stringContaining('[LOG_PATH_NOT_DIRECTORY]')]);
  });

  test('the workspace is found from a directory below it, and paths are relative to where one stands', async () => {
    await mkdir(at('sub'));
    await writeFile(at('sub', 'f'), 'here');
    await cli.ok('capture');
    const done = await cli.run(['--json', 'history', 'f'], at('sub'));
    expect(done.json[0]).toMatchObject({ path: 'sub/f' });
    const elsewhere = await cli.run(['-C', ws, '--json', 'history', 'sub/f'], dir);
    expect(elsewhere.json[0]).toMatchObject({ path: 'sub/f' });
  });

  test('a reader that goes away does not make an error', async () => {
    for (let i = 0; i < 300; i++) await writeFile(at(`file-${i}-${'n'.repeat(150)}`), String(i));
    await cli.ok('capture');
    const script = `"$0" "$1" --json log | head -n 1`;
    const out = execFileSync('sh', ['-c', script, process.execPath, MAIN], { cwd: ws, env: cli.env, encoding: 'utf8' });
    expect(out.trim().split('\n')).toHaveLength(1);
  });

  test('help teaches every command with an example', async () => {
    const help = (await cli.run(['help'])).stdout;
    for (const command of [
      'capture',
      'watch',
      'flush',
      'log',
      'history',
      'tree',
      'show',
      'diff',
      'restore',
      'stats',
      'fsck',
      'explore',
      'serve',
      'receive'
    ]) {
      expect(help).toContain(`  ${command}`);
    }
    expect((await cli.run(['help', 'restore'])).stdout).toContain('Example:');
    expect((await cli.run(['help', 'nope'])).status).toBe(2);
  });
});

describe('damage', () => {
  test('fsck is silent on a sound log and exits 3 when a byte of a content is changed or the tail is cut', async () => {
    await writeFile(at('f'), 'some content that is worth keeping');
    await cli.ok('capture');
    expect((await cli.run(['--json', 'fsck', '--read-data'])).stdout).toBe('');
    const streams = at('.syft-sync', 'log');
    const device = (await readdir(streams))[0] ?? '';
    const segment = (await readdir(join(streams, device))).find(name => name.endsWith('.seg')) ?? '';
    const file = join(streams, device, segment);
    const good = await readFile(file);
    const bad = Buffer.from(good);
    const middle = bad.length >> 1;
    bad[middle] = (bad[middle] ?? 0) ^ 0x40;
    await writeFile(file, bad);
    const found = await cli.run(['--json', 'fsck', '--read-data']);
    expect(found.status).toBe(3);
    expect(found.json[0]).toMatchObject({
      kind: expect.any(String),
      where: expect.stringContaining(segment),
      versions: expect.any(Array)
    });
    await writeFile(file, good.subarray(0, good.length - 1));
    expect((await cli.run(['fsck'])).status).toBe(3);
    await writeFile(file, good);
    expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
    for (const name of ['format.json', join('log', device, segment)]) {
      const hidden = join(dir, 'hidden');
      await rename(at('.syft-sync', name), hidden);
      expect((await cli.run(['fsck'])).status).toBe(3);
      await rename(hidden, at('.syft-sync', name));
    }
    await rm(at('.syft-sync', 'cache'), { recursive: true, force: true });
    await rm(at('.syft-sync', 'index'), { recursive: true, force: true });
    expect((await cli.run(['fsck', '--read-data'])).status).toBe(0);
    expect((await cli.ok('capture'))[0]).toMatchObject({ captured: 0, unchanged: 1 });
  });
});
