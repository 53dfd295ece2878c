import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { makeControlPlace, removeStalePlaces } from '../../../server/src/cli/control-place.ts';

let base: string;
const before = { XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'], TMPDIR: process.env['TMPDIR'] };
beforeEach(() => {
  // Short: a socket's path must fit into 108 bytes.
  base = mkdtempSync('/tmp/ssp-');
  Object.assign(process.env, { XDG_RUNTIME_DIR: base, TMPDIR: base });
});
afterEach(() => {
  delete process.env['XDG_RUNTIME_DIR'];
  delete process.env['TMPDIR'];
  for (const [name, value] of Object.entries(before)) if (value !== undefined) process.env[name] = value;
  rmSync(base, { recursive: true, force: true });
});

/** A process that listens at a socket and is killed, which leaves the socket where it is. */
async function leftBehind(socket: string): Promise<void> {
  const child = spawn(
    process.execPath,
    ['-e', `require('net').createServer().listen(process.argv[1], () => console.log('up'))`, socket],
    { stdio: ['ignore', 'pipe', 'inherit'] }
  );
  await new Promise(resolve => child.stdout.once('data', resolve));
  const gone = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

test('what killed recorders left goes; what listens, is young, or is anything else stays', async () => {
  const stale = makeControlPlace();
  await leftBehind(stale.socket);
  expect(existsSync(stale.socket)).toBe(true);
  const empty = makeControlPlace();
  const alive = makeControlPlace();
  const server = createServer();
  await new Promise<void>(resolve => server.listen(alive.socket, resolve));
  const file = makeControlPlace();
  writeFileSync(join(file.dir, 'control.sock'), 'somebody’s file');
  const more = makeControlPlace();
  await leftBehind(more.socket);
  writeFileSync(join(more.dir, 'notes'), 'somebody’s file');
  const open = makeControlPlace();
  chmodSync(open.dir, 0o755);
  mkdirSync(join(base, 'syft-sync-notes-of-mine'));
  symlinkSync(empty.dir, join(base, 'syft-sync-abcdef'));

  expect(await removeStalePlaces(Date.now(), [base])).toEqual([]);
  const later = Date.now() + 120_000;
  const removed = (await removeStalePlaces(later, [base])).sort();
  server.close();
  expect(removed).toEqual([stale.dir, empty.dir].sort());
  expect(
    readdirSync(base)
      .map(name => join(base, name))
      .sort()
  ).toEqual(
    [
      alive.dir,
      file.dir,
      more.dir,
      open.dir,
      join(base, 'syft-sync-notes-of-mine'),
      join(base, 'syft-sync-abcdef')
    ].sort()
  );
});
