// server/bin/syft-sync: finds its bundle through links, picks a fitting Node, and becomes it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const launcher = join(root, 'server/bin/syft-sync');
let scratch;
let installed;

/** A package as npm lays it out, whose bundle tells what it was started with. */
before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'syft sync launcher '));
  const home = join(scratch, 'node_modules/syft-sync');
  mkdirSync(join(home, 'bin'), { recursive: true });
  mkdirSync(join(home, 'dist/bundle'), { recursive: true });
  copyFileSync(launcher, join(home, 'bin/syft-sync'));
  writeFileSync(
    join(home, 'dist/bundle/syft-sync.mjs'),
    `console.log(JSON.stringify({ pid: process.pid, exe: process.execPath, args: process.argv.slice(2) }));
     if (process.argv[2] === 'stay') setInterval(() => {}, 1000);`
  );
  mkdirSync(join(scratch, 'node_modules/.bin'));
  installed = join(scratch, 'node_modules/.bin/syft-sync');
  symlinkSync('../syft-sync/bin/syft-sync', installed);
  mkdirSync(join(scratch, 'node_modules/node/bin'), { recursive: true });
  symlinkSync(process.execPath, join(scratch, 'node_modules/node/bin/node'));
});

after(() => rmSync(scratch, { recursive: true, force: true }));

/** A directory with a `node` that claims a version, then runs the real one. */
function claimedNode(version) {
  const dir = mkdtempSync(join(scratch, 'claimed-'));
  const script = `#!/bin/sh\n[ "$1" = --version ] && { echo ${version}; exit; }\nexec "${process.execPath}" "$@"\n`;
  writeFileSync(join(dir, 'node'), script);
  chmodSync(join(dir, 'node'), 0o755);
  return dir;
}

/** The launcher beside its bundle with no pinned Node above, as in a wheel. */
function unpinned() {
  const dir = mkdtempSync(join(scratch, '..', 'syft-sync-unpinned-'));
  copyFileSync(launcher, join(dir, 'syft-sync'));
  writeFileSync(join(dir, 'syft-sync.mjs'), 'console.log("ran");');
  return dir;
}

test('runs the bundle on the pinned Node through the link, arguments untouched', () => {
  const done = spawnSync(installed, ['log', '--path', 'a b/*', ''], { encoding: 'utf8', cwd: '/' });
  const told = JSON.parse(done.stdout);
  assert.deepEqual(told.args, ['log', '--path', 'a b/*', '']);
  assert.equal(told.exe, process.execPath);
});

test('is replaced by Node: one process, which signals reach', async () => {
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    const child = spawn(installed, ['stay'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(child.stdout, 'data');
    assert.equal(JSON.parse(line).pid, child.pid);
    child.kill(signal);
    const [code, by] = await once(child, 'exit');
    assert.deepEqual([code, by], [null, signal]);
  }
});

test('takes a Node >= 22.15 from PATH and refuses an older one', t => {
  const dir = unpinned();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const start = version =>
    spawnSync(join(dir, 'syft-sync'), [], {
      encoding: 'utf8',
      env: { PATH: `${claimedNode(version)}:/usr/bin:/bin` }
    });
  for (const version of ['v22.15.0', 'v22.20.1', 'v24.0.0', 'v30.1.2']) {
    assert.equal(start(version).stdout, 'ran\n', version);
  }
  for (const version of ['v20.20.2', 'v22.14.9']) {
    const done = start(version);
    assert.equal(done.status, 1);
    assert.match(done.stderr, /^syft-sync: Node\.js >= 22\.15 is needed, .* \[old-node\]\n$/);
  }
});

test('says so when there is no Node and when nothing is built', t => {
  const dir = unpinned();
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const tools = mkdtempSync(join(scratch, 'tools-'));
  for (const name of ['sh', 'dirname', 'readlink']) {
    symlinkSync(join('/usr/bin', name), join(tools, name));
  }
  const without = spawnSync('/bin/sh', [join(dir, 'syft-sync')], { encoding: 'utf8', env: { PATH: tools } });
  assert.equal(without.status, 1);
  assert.match(without.stderr, /\[no-node\]\n$/);

  rmSync(join(dir, 'syft-sync.mjs'));
  const unbuilt = spawnSync(join(dir, 'syft-sync'), [], { encoding: 'utf8' });
  assert.equal(unbuilt.status, 1);
  assert.match(unbuilt.stderr, /\[not-built\]\n$/);
});

test('npm install links it', () => {
  const done = spawnSync(join(root, 'node_modules/.bin/syft-sync'), ['--version'], {
    encoding: 'utf8',
    cwd: dirname(root)
  });
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /\d+\.\d+\.\d+/);
});
