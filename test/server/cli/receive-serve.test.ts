/** `receive` and `serve` as a script meets them. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CommandLine, Watch } from './run.ts';

let dir: string;
let ws: string;
let cli: CommandLine;

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'syft-receive-')));
  ws = join(dir, 'ws');
  mkdirSync(join(ws, 'data'), { recursive: true });
  writeFileSync(join(ws, 'data', 'a.csv'), 'a,b\n1,2\n');
  cli = new CommandLine(ws, join(dir, 'home'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const LOG = '.syft-sync';

test('receive --once says it is ready, then each change that it applied, and ends', async () => {
  await cli.ok('capture');
  const out = join(dir, 'out');
  const [ready, ...applied] = await cli.ok('receive', LOG, out, '--once');
  expect(ready).toMatchObject({ ready: true });
  expect(applied).toEqual(expect.arrayContaining([expect.objectContaining({ path: 'data/a.csv' })]));
  expect(readFileSync(join(out, 'data', 'a.csv'), 'utf8')).toBe('a,b\n1,2\n');
});

test('receive goes on with what comes, and with --mode all_versions keeps each version', async () => {
  await cli.ok('capture');
  const out = join(dir, 'out');
  const receiver = new Watch(cli.spawn(['--json', 'receive', LOG, out, '--mode', 'all_versions']));
  await receiver.until(line => line['ready'] === true);
  writeFileSync(join(ws, 'data', 'a.csv'), 'a,b\n3,4\n');
  await cli.ok('capture');
  const line = await receiver.until(line => line['path'] === 'data/a.csv' && line['kind'] === 'modified');
  expect(line).toMatchObject({ versionId: expect.stringMatching(/^[a-z2-7]{8}\.\d+$/) });
  expect(await receiver.end()).toBe(0);
});

test('receive that is stopped before the output is where the log is does not end as if it were', async () => {
  for (let i = 0; i < 600; i++) writeFileSync(join(ws, `many-${i}.txt`), `${i}`);
  await cli.ok('capture');
  const out = join(dir, 'out');
  const receiver = cli.spawn(['receive', LOG, out]);
  let said = '';
  receiver.stderr?.on('data', (piece: Buffer) => {
    if (said === '') receiver.kill('SIGINT');
    said += piece.toString();
  });
  const [status] = (await once(receiver, 'close')) as [number];
  expect([status, said]).toEqual([130, expect.stringMatching(/Stopped on the way.*\[CANCELLED\]/)]);
  await cli.ok('receive', LOG, out, '--once');
  expect(readdirSync(out).filter(name => name.startsWith('many-'))).toHaveLength(600);
}, 60_000);

test('receive from a storage by its address, into a home of its own, and nothing from one that was put back', async () => {
  await cli.ok('capture');
  const [out, storage] = [join(dir, 'out'), join(dir, 'storage')];
  cpSync(join(ws, LOG), storage, { recursive: true });
  const address = pathToFileURL(storage).href;
  await cli.ok('receive', address, out, '--once');
  writeFileSync(join(ws, 'data', 'a.csv'), 'a,b\n3,4\n');
  await cli.ok('capture');
  const older = join(dir, 'older');
  renameSync(storage, older);
  cpSync(join(ws, LOG), storage, { recursive: true });
  await cli.ok('receive', address, out, '--once');
  expect(readFileSync(join(out, 'data', 'a.csv'), 'utf8')).toBe('a,b\n3,4\n');
  rmSync(storage, { recursive: true });
  cpSync(older, storage, { recursive: true });
  const refused = await cli.run(['receive', address, out, '--once']);
  expect([refused.status, refused.stderr]).toEqual([3, expect.stringContaining('[LOG_REWRITTEN]')]);
  const unknown = await cli.run(['receive', 'gopher://example.org/log', out, '--once']);
  expect([unknown.status, unknown.stderr]).toEqual([2, expect.stringContaining('gopher')]);
});

test('receive of a log that is not there exits 4 and makes nothing', async () => {
  const done = await cli.run(['--json', 'receive', join(dir, 'nowhere'), join(dir, 'out'), '--once']);
  expect([done.status, done.stdout]).toEqual([4, '']);
  expect(JSON.parse(done.stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({ error: { code: 'LOG_MISSING' } });
});

test('serve on a port answers who has the token, by the name of this machine, and nobody else', async () => {
  const secret = 's'.repeat(64);
  cli.env['SYFT_SYNC_SECRET'] = secret;
  const serve = new Watch(cli.spawn(['--json', 'serve', '--port', '0']));
  const { listening } = (await serve.until(line => 'listening' in line)) as { listening: string };
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(JSON.stringify(listening))?.[1]);
  const ask = async (headers: Record<string, string>): Promise<number> => {
    const req = request({ host: '127.0.0.1', port, path: '/api/status', headers }).end();
    const [response] = (await once(req, 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    return response.statusCode;
  };
  expect(await ask({ authorization: `Bearer ${secret}` })).toBe(200);
  expect(await ask({})).toBe(401);
  expect(await ask({ authorization: `Bearer ${'t'.repeat(64)}` })).toBe(401);
  expect(await ask({ authorization: `Bearer ${secret}`, host: 'evil.example' })).toBe(403);
  expect(await ask({ authorization: `Bearer ${secret}`, origin: 'http://evil.example' })).toBe(403);
  expect(await serve.end('SIGINT')).toBe(0);
});

test('a workspace that is reached through a link is the same workspace', async () => {
  await cli.ok('capture');
  const link = join(dir, 'link');
  symlinkSync(ws, link);
  const elsewhere = new CommandLine(dir, join(dir, 'home'));
  expect(await elsewhere.ok('-C', link, 'capture')).toMatchObject([{ captured: 0, unchanged: 1 }]);
  expect(await elsewhere.ok('-C', link, 'history', join(link, 'data', 'a.csv'))).toHaveLength(1);
});
