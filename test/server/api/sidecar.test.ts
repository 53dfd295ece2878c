/** The sidecar over real directories, logs and processes: it answers from the first moment, and never loses its place. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChangesPage, History, RestoreResult, Stats, Status } from '../../../server/src/api/contract.ts';
import { listen } from '../../../server/src/api/listen.ts';
import { createApi } from '../../../server/src/api/server.ts';
import { startSidecar, type Sidecar, type SidecarOptions } from '../../../server/src/api/sidecar.ts';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { ask, ListedService, SECRET, silent, type Answer } from './listed-service.ts';
import { ChangeIndex } from '../../../server/src/index/change-index.ts';

const here = dirname(fileURLToPath(import.meta.url));
let base: string;
let root: string;
let socketPath: string;
let open: { close(): Promise<void> }[];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'syft-side-'));
  root = join(base, 'work');
  socketPath = join(base, 'run', 's');
  await mkdir(root);
  open = [];
  process.env['SYFT_SYNC_HOME'] = join(base, 'config');
});
afterEach(async () => {
  for (const each of open.reverse()) await each.close();
  await rm(base, { recursive: true, force: true });
});

async function start(more: Partial<SidecarOptions> = {}): Promise<Sidecar> {
  const sidecar = await startSidecar({
    root,
    socketPath,
    secret: SECRET,
    logger: silent,
    pollMs: 30,
    retryMs: 50,
    ...more
  });
  open.push(sidecar);
  return sidecar;
}

const get = (path: string): Promise<Answer> => ask({ socketPath }, path);
const post = (path: string, body: unknown = {}): Promise<Answer> => ask({ socketPath }, path, { method: 'POST', body });
const status = async (): Promise<Status> => (await get('/api/status')).json as Status;
const changes = async (query = ''): Promise<ChangesPage> => (await get(`/api/changes${query}`)).json as ChangesPage;

async function until<T>(look: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await look();
    if (good(value)) return value;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
const untilState = (state: Status['state']): Promise<Status> => until(status, s => s.state === state);

describe('recording', () => {
  test('a file is listed, shown, restored and undone', async () => {
    await writeFile(join(root, 'a.txt'), 'first');
    await start();
    await untilState('recording');
    await writeFile(join(root, 'a.txt'), 'second, longer');
    await post('/api/flush');
    const history = (await get('/api/history?path=a.txt')).json as History;
    expect(history.changes.map(row => [row.kind, row.size, row.previousSize])).toEqual([
      ['modified', 14, 5],
      ['created', 5, undefined]
    ]);
    const [second, first] = history.changes;
    const content = await get(`/api/versions/${first!.versionId}/content?download=1`);
    expect(content.body.toString()).toBe('first');
    expect(content.headers.etag).toBe(`"sha256-${first!.hash!.slice(7)}"`);
    const restored = (await post('/api/restore', { versionId: first!.versionId })).json as RestoreResult;
    expect(restored).toMatchObject({ path: 'a.txt', replaced: second!.versionId, created: false });
    expect(await readFile(join(root, 'a.txt'), 'utf8')).toBe('first');
    await post('/api/restore', { versionId: restored.replaced });
    expect(await readFile(join(root, 'a.txt'), 'utf8')).toBe('second, longer');
    expect((await changes('?path=a.txt')).changes[1]).toMatchObject({
      cause: { kind: 'restore', version: first!.versionId }
    });
    expect((await get('/api/stats')).json as Stats).toMatchObject({ trackedFiles: 1, versions: 4, devices: 1 });
    expect((await status()).index).toEqual({ ready: true });
  });

  test('rows tell what was said of a version since, and readers of live changes are told to look again', async () => {
    await writeFile(join(root, 'a.txt'), 'to be erased');
    const sidecar = await start();
    await untilState('recording');
    await writeFile(join(root, 'a.txt'), 'kept');
    await post('/api/flush');
    const history = async (): Promise<History> => (await get('/api/history?path=a.txt')).json as History;
    const [second, first] = (await history()).changes;
    let said = 0;
    sidecar.service.on('said', () => (said += 1));
    await post('/api/marks', { versionId: second!.versionId, act: 'pin' });
    await post('/api/marks', { versionId: second!.versionId, act: 'label', name: 'v1' });
    // Nothing new is said.
    await post('/api/marks', { versionId: second!.versionId, act: 'pin' });
    expect(said).toBe(2);
    expect((await history()).changes[0]).toMatchObject({ pinned: true, labels: ['v1'] });
    await post('/api/erase', { hash: first!.hash!.slice(7) });
    expect(said).toBe(3);
    const erased = (await history()).changes[1];
    expect(erased).toMatchObject({ versionId: first!.versionId, dropped: { act: 'erase' } });
    expect((await get(`/api/versions/${first!.versionId}`)).json).toEqual(erased);
    expect((await get(`/api/versions/${first!.versionId}/content`)).status).toBe(410);
  });

  test('large content comes whole, and in parts', async () => {
    const large = Buffer.alloc(9_000_001, 'syft sync, every version of every file ');
    large.write('middle', 5_000_000);
    await writeFile(join(root, 'large.bin'), large);
    await start();
    await untilState('recording');
    const [row] = (await changes('?path=large.bin')).changes;
    const whole = await get(`/api/versions/${row!.versionId}/content`);
    expect(whole.body.equals(large)).toBe(true);
    const part = await ask({ socketPath }, `/api/versions/${row!.versionId}/content`, {
      headers: { range: 'bytes=5000000-5000005' }
    });
    expect([part.status, part.body.toString()]).toEqual([206, 'middle']);
  });

  test('paths that are excluded are told from paths nothing is recorded of', async () => {
    await writeFile(join(root, '.syftignore'), '*.tmp\n');
    await writeFile(join(root, 'x.tmp'), 'x');
    await start();
    await untilState('recording');
    expect((await get('/api/history?path=x.tmp')).json).toMatchObject({ total: 0, recorded: false });
    expect((await get('/api/history?path=y.txt')).json).toMatchObject({ total: 0, recorded: true });
  });

  test('paused means not recorded; resumed catches up', async () => {
    await start();
    await untilState('recording');
    expect(((await post('/api/pause')).json as Status).state).toBe('paused');
    await writeFile(join(root, 'later.txt'), 'x');
    expect((await changes()).total).toBe(0);
    await post('/api/resume');
    await post('/api/flush');
    expect((await changes()).total).toBe(1);
  });

  test('a restart with an index that was deleted, damaged or cut short gives the same answers', async () => {
    for (let i = 0; i < 30; i++) await writeFile(join(root, `f${i}.txt`), `content ${i}`);
    const first = await start();
    await untilState('recording');
    const before = await changes('?limit=500');
    expect(before.total).toBe(30);
    await first.close();
    const file = join(root, '.syft-sync', 'index', 'changes.duckdb');
    const whole = await readFile(file);
    for (const spoil of [
      () => rm(dirname(file), { recursive: true }),
      () => writeFile(file, whole.subarray(0, whole.length >> 1)),
      () => writeFile(file, Buffer.from(whole.map((byte, i) => (i % 997 === 3 ? byte ^ 0xff : byte)))),
      () => writeFile(file, '')
    ]) {
      await spoil();
      const again = await start();
      await untilState('recording');
      expect(await changes('?limit=500')).toEqual(before);
      await until(status, s => s.index.ready);
      await again.close();
    }
  }, 60_000);

  test('the directory and the socket are private to this user', async () => {
    await start();
    await untilState('recording');
    await changes();
    const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
    expect(await mode(dirname(socketPath))).toBe(0o700);
    expect(await mode(socketPath)).toBe(0o600);
    expect(await mode(join(root, '.syft-sync', 'index'))).toBe(0o700);
    expect(await mode(join(root, '.syft-sync', 'index', 'changes.duckdb'))).toBe(0o600);
  });
});

describe('when it cannot record', () => {
  test('a log that another process records is answered from, live, and taken over when it is free', async () => {
    await writeFile(join(root, 'a.txt'), 'one');
    const other = await Workspace.open({ root, hints: 'none' });
    await other.start();
    await start();
    const locked = await untilState('read-only');
    expect(locked.error).toMatchObject({ code: 'LOG_LOCKED' });
    expect(locked.error!.message).toContain(String(process.pid));
    expect(locked.files).toBe(1);
    await writeFile(join(root, 'b.txt'), 'two');
    await other.flush();
    const page = await until(changes, p => p.total === 2);
    expect((await get(`/api/versions/${page.changes[0]!.versionId}/content`)).body.toString()).toBe('two');
    const sql = async (query: string): Promise<unknown> => (await post('/api/sql', { query })).json;
    expect(await sql('SELECT kind, path FROM changes ORDER BY number')).toEqual([
      { kind: 'created', path: 'a.txt' },
      { kind: 'created', path: 'b.txt' }
    ]);
    await writeFile(join(root, 'b.csv'), 'n\n1\n41\n');
    await other.flush();
    await until(changes, p => p.total === 3);
    expect(await sql(`SELECT sum(n)::INT AS total FROM version_of('b.csv')`)).toEqual([{ total: 42 }]);
    const refused = await post('/api/restore', { versionId: page.changes[0]!.versionId });
    expect([refused.status, refused.json]).toMatchObject([423, { error: { code: 'LOG_LOCKED' } }]);
    await other.close();
    await untilState('recording');
    await writeFile(join(root, 'c.txt'), 'three');
    await post('/api/flush');
    expect((await changes()).total).toBe(4);
    expect(await sql('SELECT count(*) AS n FROM changes')).toEqual([{ n: 4 }]);
  });

  test('a root that is missing is said, waited for, and recorded when it comes', async () => {
    await rm(root, { recursive: true });
    await start();
    const state = await untilState('error');
    expect(state.error).toMatchObject({ code: 'WATCH_PATH_MISSING' });
    expect(((await get('/api/changes')).json as { error: { code: string } }).error.code).toBe('WATCH_PATH_MISSING');
    await mkdir(root);
    await untilState('recording');
  });

  test('a log of a newer format is said, not touched', async () => {
    await start().then(s => untilState('recording').then(() => s.close()));
    const file = join(root, '.syft-sync', 'format.json');
    const newer = (await readFile(file, 'utf8')).replace(/"version"\s*:\s*\d+/, '"version": 99');
    await writeFile(file, newer);
    await start();
    expect((await untilState('error')).error).toMatchObject({
      code: expect.stringMatching(/LOG_NEWER_FORMAT|LOG_DAMAGED/)
    });
    expect(await readFile(file, 'utf8')).toBe(newer);
  });
});

describe('what is too much to record unasked', () => {
  const folders = async (): Promise<void> => {
    for (const dir of ['data', 'notes', '.hidden']) {
      await mkdir(join(root, dir));
      for (let i = 0; i < 4; i++) await writeFile(join(root, dir, `${i}.txt`), `${dir} ${i}`);
    }
  };

  test('more files than the limit: it asks first, writes nothing, and remembers what was chosen', async () => {
    await folders();
    const first = await start({ maxFiles: 6 });
    const asked = await until(status, s => s.setup?.folders.every(f => f.files !== undefined) === true);
    expect(asked).toMatchObject({
      state: 'setup-needed',
      setup: {
        reason: 'too-many-files',
        folders: [
          { path: 'data', files: 4 },
          { path: 'notes', files: 4 }
        ]
      }
    });
    expect(await readdir(root)).not.toContain('.syft-sync');
    const refused = await get('/api/changes');
    expect([refused.status, refused.json]).toMatchObject([503, { error: { code: 'SETUP_NEEDED' } }]);
    expect((await post('/api/flush')).status).toBe(503);

    await symlink(tmpdir(), join(root, 'out'));
    for (const [bad, code] of [
      ['../x', 'PATH_OUTSIDE_ROOT'],
      ['/etc', 'PATH_OUTSIDE_ROOT'],
      ['out', 'PATH_OUTSIDE_ROOT'],
      ['nothing', 'PATH_NOT_FOUND'],
      ['data/0.txt', 'PATH_NOT_FOUND']
    ]) {
      expect([
        bad,
        ((await post('/api/setup', { folders: [bad] })).json as { error: { code: string } }).error.code
      ]).toEqual([bad, code]);
    }
    expect((await post('/api/setup', { folders: ['data'] })).status).toBe(200);
    const recording = await untilState('recording');
    expect(recording.include).toEqual(['data']);
    expect((await changes()).changes.map(row => row.path).sort()).toEqual([
      'data/0.txt',
      'data/1.txt',
      'data/2.txt',
      'data/3.txt'
    ]);
    expect((await get('/api/history?path=notes/0.txt')).json).toMatchObject({ recorded: false });
    await first.close();

    const config = join(base, 'config', 'folders');
    for (const name of await readdir(config)) expect((await stat(join(config, name))).mode & 0o777).toBe(0o600);
    await start({ maxFiles: 6 });
    expect((await untilState('recording')).include).toEqual(['data']);
    await post('/api/setup', { folders: ['.'] });
    await until(changes, p => p.changes.some(row => row.path === 'notes/0.txt'));
    expect((await status()).include).toBeUndefined();
  });

  test('a workspace that has grown beyond the limit asks at its next start, and shows its history meanwhile', async () => {
    await folders();
    await start({ maxFiles: 100 }).then(s => untilState('recording').then(() => s.close()));
    await start({ maxFiles: 6 });
    expect((await untilState('setup-needed')).setup).toMatchObject({ reason: 'too-many-files' });
    expect((await changes()).total).toBe(12);
  });
});

describe('where it listens', () => {
  test('not in a directory others can enter, not over another file, not over a living socket; over a dead one', async () => {
    const service = new ListedService();
    const index = ChangeIndex.open({ dir: join(base, 'index'), log: service.list });
    const api = createApi({ service, index, secret: SECRET, logger: silent });
    const shared = join(base, 'shared');
    await mkdir(shared);
    await chmod(shared, 0o755);
    await expect(listen(api, { socketPath: join(shared, 's') })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await chmod(shared, 0o700);
    await writeFile(join(shared, 'file'), 'mine');
    await expect(listen(api, { socketPath: join(shared, 'file') })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(await readFile(join(shared, 'file'), 'utf8')).toBe('mine');
    await expect(listen(api, { socketPath: join(shared, 'x'.repeat(200)) })).rejects.toMatchObject({
      code: 'BAD_REQUEST'
    });
    const living = await listen(api, { socketPath: join(shared, 's') });
    await expect(listen(api, { socketPath: join(shared, 's') })).rejects.toMatchObject({ code: 'LOG_LOCKED' });
    // What a killed process leaves behind.
    await rename(join(shared, 's'), join(shared, 'kept'));
    await living.close();
    const after = await listen(api, { socketPath: join(shared, 'kept') });
    expect((await ask({ socketPath: join(shared, 'kept') }, '/api/health')).status).toBe(200);
    await after.close();
    api.close();
  });

  test('a port without a secret is refused', async () => {
    await expect(startSidecar({ root, port: 0, logger: silent })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('as a process', () => {
  const script = `
    import { runSidecar } from ${JSON.stringify(join(here, '../../../server/src/api/sidecar.ts'))};
    await runSidecar({ root: process.argv[1], socketPath: process.argv[2], port: 0, secretEnv: 'SYFT_SYNC_SECRET', stdinLifeLine: true });
    if (process.env.SYFT_SYNC_SECRET !== undefined) process.exit(9);
    process.stderr.write('clean\\n');
  `;
  let children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children) child.kill('SIGKILL');
    children = [];
  });

  async function run(env: Record<string, string> = {}): Promise<{
    child: ChildProcess;
    line: { listening: { socket: string; url: string } };
    errors: () => string;
    ended: Promise<number | null>;
  }> {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, root, socketPath],
      {
        env: { ...process.env, NODE_OPTIONS: '', SYFT_SYNC_SECRET: SECRET, ...env },
        stdio: ['pipe', 'pipe', 'pipe']
      }
    );
    children.push(child);
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const ended = new Promise<number | null>(resolve => child.on('close', code => resolve(code)));
    const line = await new Promise<string>((resolve, reject) => {
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text;
        if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')));
      });
      void ended.then(code => reject(new Error(`ended with ${code}: ${errors}`)));
    });
    return {
      child,
      line: JSON.parse(line) as { listening: { socket: string; url: string } },
      errors: () => errors,
      ended
    };
  }

  test.each(['stdin', 'SIGTERM', 'SIGINT'] as const)(
    'says where it listens, and ends cleanly on %s',
    async how => {
      await cp(here, join(root, 'some'), { recursive: true });
      const { child, line, errors, ended } = await run();
      expect(line.listening.socket).toBe(socketPath);
      const port = Number(new URL(line.listening.url).port);
      expect(
        (await ask({ port }, '/api/health', { secret: null, headers: { authorization: `Bearer ${SECRET}` } })).status
      ).toBe(200);
      await untilState('recording');
      await writeFile(join(root, 'last.txt'), 'just before the end');
      if (how === 'stdin') child.stdin!.end();
      else child.kill(how);
      expect(await ended).toBe(0);
      expect(errors()).toContain('clean');
      expect(errors()).not.toContain(SECRET);
      expect(await readdir(dirname(socketPath))).toEqual([]);
      // Everything is in the log, and the log is free.
      await using workspace = await Workspace.open({ root, hints: 'none' });
      expect(workspace.tree.get('last.txt')?.size).toBe(19);
    },
    30_000
  );

  test('the home directory is asked about whatever it holds', async () => {
    await writeFile(join(root, 'a.txt'), 'x');
    const { child, ended } = await run({ HOME: root });
    expect((await untilState('setup-needed')).setup).toMatchObject({ reason: 'home' });
    expect(await readdir(root)).toEqual(['a.txt']);
    child.stdin!.end();
    expect(await ended).toBe(0);
  }, 30_000);

  test('after SIGKILL the next one takes the socket and the log', async () => {
    const first = await run();
    await untilState('recording');
    first.child.kill('SIGKILL');
    await first.ended;
    await run();
    await untilState('recording');
  }, 30_000);
});
