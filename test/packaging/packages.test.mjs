// What leaves the house: the lock file, the tarball, the library and the wheel.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { buildWheel, packTarball } from '../../scripts/artifacts.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = file => readFileSync(join(root, file), 'utf8');
const manifest = JSON.parse(read('package.json'));
let scratch;

before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'syft-sync-packages-'));
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test('the lock file names no download address', () => {
  const { packages } = JSON.parse(read('package-lock.json'));
  const addressed = Object.entries(packages).filter(([, entry]) => /:\/\//.test(entry.resolved ?? ''));
  assert.deepEqual(addressed, []);
});

test('the lock file holds JupyterLab at 4.6.4', () => {
  const { packages } = JSON.parse(read('package-lock.json'));
  assert.equal(packages['node_modules/@jupyterlab/application'].version, '4.6.4');
  assert.equal(packages['node_modules/@jupyterlab/services'].version, '7.6.4');
});

// Mended by `.venv/bin/jlpm install --mode=update-lockfile`.
test('the lock file of `jupyter labextension install .` knows every dependency', () => {
  const lock = read('yarn.lock');
  assert.doesNotMatch(lock, /:\/\//);
  for (const { dependencies, devDependencies = {} } of [manifest, JSON.parse(read('server/package.json'))]) {
    for (const [name, range] of Object.entries({ ...dependencies, ...devDependencies })) {
      const held = manifest.resolutions[name] ?? range;
      assert.ok(
        [range, held].some(text => lock.includes(`${name}@npm:${text}`)),
        `${name}@${range}`
      );
    }
  }
});

test('both packages and Python have one version', () => {
  assert.equal(JSON.parse(read('server/package.json')).version, manifest.version);
  assert.match(read('pyproject.toml'), /\[tool\.hatch\.version\]\npath = "package\.json"/);
});

test('dependencies that JupyterLab shares are ranges it can meet', () => {
  for (const [name, range] of Object.entries(manifest.dependencies)) {
    if (/^@(jupyterlab|lumino)\/|^react/.test(name)) {
      assert.match(range, /^\^\d+\.\d+\.0$/, name);
    }
  }
  assert.match(manifest.dependencies['@duckdb/node-api'], /^\d/, 'a prerelease matches no range');
});

test('npm pack brings the built front end and the sidecar, and no sources', () => {
  const tarball = packTarball(scratch);
  const files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
  for (const needed of [
    'package/package.json',
    'package/LICENSE',
    'package/lib/index.js',
    'package/style/index.css',
    'package/style/index.js',
    'package/schema/history.json',
    'package/server/package.json',
    'package/server/bin/syft-sync',
    'package/server/dist/bundle/syft-sync.mjs'
  ]) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(
    files.filter(file => /\.tsx?$/.test(file) && !file.endsWith('.d.ts')),
    []
  );
});

test('the library is importable by its name and its workers by theirs', async () => {
  const library = await import('syft-sync');
  assert.equal(typeof library.SyftAppendOnlyLogWatcher, 'function');
  assert.equal(typeof library.LogStorage, 'function');
  const dist = join(root, 'server/dist');
  const files = readdirSync(dist, { recursive: true }).filter(file => /\.m?js$/.test(file));
  for (const file of files) {
    assert.doesNotMatch(readFileSync(join(dist, file), 'utf8'), /new URL\([^)]*-worker\.ts/, file);
  }
  const workers = readdirSync(join(root, 'server/src'), { recursive: true }).filter(file =>
    file.endsWith('-worker.ts')
  );
  for (const worker of workers) {
    const name = worker.replace(/.*\//, '').replace(/\.ts$/, '.mjs');
    assert.ok(files.includes(join('bundle', name)), name);
  }
});

test('the wheel brings front end, server extension, sidecar and this platform\u2019s DuckDB', () => {
  const wheel = buildWheel(scratch);
  assert.match(wheel, /syft_sync_jupyterlab-[\d.]+-py3-none-(manylinux|macosx|win)_/);
  const unpacked = join(scratch, 'wheel');
  execFileSync('python3', ['-m', 'zipfile', '-e', wheel, unpacked]);
  const files = readdirSync(unpacked, { recursive: true });
  const data = 'syft_sync_jupyterlab-0.1.0.data/data'.replace('0.1.0', manifest.version);
  for (const needed of [
    `${data}/share/jupyter/labextensions/syft-sync-jupyterlab/package.json`,
    `${data}/share/jupyter/labextensions/syft-sync-jupyterlab/install.json`,
    `${data}/etc/jupyter/jupyter_server_config.d/syft_sync.json`,
    'syft_sync/__init__.py',
    'syft_sync/sidecar/syft-sync.mjs'
  ]) {
    assert.ok(files.includes(needed), `${needed} is missing`);
  }
  assert.deepEqual(
    files.filter(file => file.startsWith('syft_sync/labextension')),
    []
  );
  const done = spawnSync(process.execPath, [join(unpacked, 'syft_sync/sidecar/syft-sync.mjs'), '--version'], {
    cwd: scratch,
    encoding: 'utf8'
  });
  assert.equal(done.status, 0, done.stderr);

  const binding = pathToFileURL(join(unpacked, 'syft_sync/sidecar/node_modules/@duckdb/node-api/lib/index.js'));
  const query = `const { DuckDBInstance } = (await import(${JSON.stringify(binding)})).default;
    const reader = await (await (await DuckDBInstance.create()).connect()).runAndReadAll('select 42');
    console.log(reader.getRows()[0][0]);`;
  const answer = spawnSync(process.execPath, ['--input-type=module', '-e', query], { cwd: scratch, encoding: 'utf8' });
  assert.equal(answer.stdout, '42\n', answer.stderr);
});
