// `npm start`, once everything is installed and built.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const script = join(root, 'scripts/start.mjs');
let folder;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'syft-sync start '));
  writeFileSync(join(folder, 'notes.txt'), 'here\n');
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** Starts it without a display; resolves when it has said how to stop. */
async function start(...args) {
  const { DISPLAY: _display, WAYLAND_DISPLAY: _wayland, ...env } = process.env;
  const since = Date.now();
  const child = spawn(process.execPath, [script, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const ready = new Promise((done, failed) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', chunk => {
        output += chunk;
        if (output.includes('Press Ctrl-C to stop.')) {
          done();
        }
      });
    }
    child.once('exit', code => failed(new Error(`exit ${code}: ${output}`)));
  });
  await ready;
  return { child, output: () => output, seconds: (Date.now() - since) / 1000 };
}

async function stop(child, signal) {
  child.removeAllListeners('exit');
  child.kill(signal);
  const [code] = await once(child, 'exit');
  return code;
}

test('opens the given folder on the given port, prints the URL and how to stop, and is up in seconds', async t => {
  const port = await freePort();
  const { child, output, seconds } = await start(folder, '--port', String(port), '--no-browser');
  t.after(() => child.kill('SIGKILL'));
  assert.ok(seconds < 20, `${seconds} s`);
  assert.match(output(), /recording .*syft-sync start /);
  const url = /http:\/\/\S+/.exec(output())[0];
  assert.equal(new URL(url).port, String(port));

  const lab = await fetch(url);
  assert.equal(lab.status, 200);
  const contents = await fetch(url.replace('/lab?', '/api/contents?'));
  assert.ok((await contents.json()).content.some(entry => entry.name === 'notes.txt'));
  const stranger = await fetch(`${new URL(url).origin}/api/contents`);
  assert.equal(stranger.status, 403);

  assert.equal(await stop(child, 'SIGINT'), 0);
  await assert.rejects(fetch(url));
  const left = spawnSync('pgrep', ['-f', folder], { encoding: 'utf8' });
  assert.equal(left.stdout, '', 'nothing that it started is left');
});

test('says as root that it runs as root', { skip: process.getuid?.() !== 0 }, async t => {
  const { child, output } = await start(folder, `--port=${await freePort()}`);
  t.after(() => child.kill('SIGKILL'));
  assert.match(output(), /root.*--allow-root/);
  assert.equal(await stop(child, 'SIGTERM'), 0);
});

test('refuses a folder that is none', () => {
  const done = spawnSync(process.execPath, [script, join(folder, 'absent')], { encoding: 'utf8' });
  assert.equal(done.status, 1);
  assert.match(done.stderr, /absent is not a folder/);
  assert.doesNotMatch(done.stderr, /\bat \S+:\d+/, 'no stack');
});
