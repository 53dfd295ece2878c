/**
 * Brings a checkout to the state that starting and testing need: packages, build, virtual environment, Chromium.
 * Plain JavaScript on Node >= 20 and nothing else, because it runs before anything is installed. Each step leaves a stamp
 * and is skipped while the stamp fits.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const cache = join(root, '.cache');
const windows = process.platform === 'win32';
const venv = join(root, '.venv');
const venvBin = join(venv, windows ? 'Scripts' : 'bin');
export const venvPython = join(venvBin, windows ? 'python.exe' : 'python');

/** A failure with a message for people; printed without a stack. */
export class SetupError extends Error {}

/** Prints the message of a SetupError, throws on anything else. */
export function fail(error) {
  if (!(error instanceof SetupError)) {
    throw error;
  }
  console.error(`\n${error.message}`);
  process.exit(1);
}

export function say(text) {
  console.log(`\u2022 ${text}`);
}

/** The pinned Node once it is installed. */
export function pinnedNode() {
  const pinned = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');
  return existsSync(pinned) ? pinned : process.execPath;
}

/** Environment of every child: the pinned tools and the virtual environment first on PATH. */
export function environment(extra = {}) {
  const path = [join(root, 'node_modules', '.bin'), venvBin, process.env.PATH ?? ''].join(delimiter);
  return { ...process.env, PATH: path, PIP_DISABLE_PIP_VERSION_CHECK: '1', ...extra };
}

/** Runs a command to its end; its output is shown as it comes. */
export function run(command, args, { what, env = {}, cwd = root, quiet = false } = {}) {
  const done = spawnSync(command, args, {
    cwd,
    env: environment(env),
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28
  });
  if (done.error) {
    throw new SetupError(`${what ?? command}: ${done.error.message}`);
  }
  if (done.status !== 0) {
    const output = quiet ? `\n${done.stdout}${done.stderr}` : '';
    throw new SetupError(
      `${what ?? [command, ...args].join(' ')} failed (exit ${done.status ?? done.signal})${output}`
    );
  }
  return done.stdout ?? '';
}

function digest(parts) {
  const hash = createHash('sha256');
  for (const part of parts) {
    hash.update(part).update('\0');
  }
  return hash.digest('hex');
}

function contents(files) {
  return digest(files.flatMap(file => [file, existsSync(join(root, file)) ? readFileSync(join(root, file)) : '']));
}

/** Names, sizes and times of all files below the given ones: changes when any of them is edited. */
function listing(paths) {
  const lines = [];
  const visit = path => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory()) {
      for (const name of readdirSync(path).sort()) {
        if (!['node_modules', 'dist', '__pycache__'].includes(name)) {
          visit(join(path, name));
        }
      }
    } else if (stat) {
      lines.push(`${path} ${stat.size} ${stat.mtimeMs}`);
    }
  };
  paths.forEach(path => visit(join(root, path)));
  return digest(lines);
}

function stamped(file, value) {
  return existsSync(file) && readFileSync(file, 'utf8') === value;
}

function stamp(file, value) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, value);
}

/** A Node outside of node_modules: `npm ci` deletes the one inside while it runs. */
function outerNode() {
  const inside = join(root, 'node_modules');
  if (!process.execPath.startsWith(inside)) {
    return process.execPath;
  }
  const name = windows ? 'node.exe' : 'node';
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .filter(dir => dir && !dir.startsWith(inside))
    .map(dir => join(dir, name))
    .find(file => existsSync(file));
  return found ?? process.execPath;
}

export function installPackages() {
  const modules = join(root, 'node_modules');
  const file = join(modules, '.syft-sync-stamp');
  const value = contents(['package.json', 'package-lock.json', 'server/package.json']);
  const lock = statSync(join(modules, '.package-lock.json'), { throwIfNoEntry: false });
  if (stamped(file, value)) {
    return;
  }
  const byHand =
    lock !== undefined &&
    !existsSync(file) &&
    ['package.json', 'package-lock.json'].every(name => statSync(join(root, name)).mtimeMs <= lock.mtimeMs);
  if (!byHand) {
    say('Installing the npm packages (about a minute)');
    const node = outerNode();
    const npm = process.env.npm_execpath;
    const args = [lock ? 'install' : 'ci', '--no-audit', '--no-fund', '--loglevel=error'];
    // npm, `npm ci` too, writes a yarn.lock that it finds anew, in a format of its own; it is Yarn's, for JupyterLab's build.
    const yarnLock = join(root, 'yarn.lock');
    const before = readFileSync(yarnLock);
    if (npm?.endsWith('.js') && existsSync(npm)) {
      run(node, [npm, ...args], { what: 'npm', env: { PATH: `${dirname(node)}${delimiter}${process.env.PATH}` } });
    } else {
      run(windows ? 'npm.cmd' : 'npm', args, { what: 'npm' });
    }
    if (!readFileSync(yarnLock).equals(before)) {
      writeFileSync(yarnLock, before);
    }
  }
  stamp(file, contents(['package.json', 'package-lock.json', 'server/package.json']));
}

/** Runs one tool of node_modules on the pinned Node. */
export function tool(path, args, options = {}) {
  return run(pinnedNode(), [join(root, 'node_modules', path), ...args], options);
}

const TYPES = ['tsconfig.json', 'tsconfig.base.json', 'package-lock.json'];

/** The command line and sidecar; the library and its types too when asked. */
export function buildServer({ library = false } = {}) {
  const file = join(cache, library ? 'server.stamp' : 'bundle.stamp');
  const sources = ['server/src', 'server/build.mjs', 'server/package.json', 'server/tsconfig.json', ...TYPES];
  const value = listing(sources);
  if (stamped(file, value) && existsSync(join(root, 'server/dist/bundle/syft-sync.mjs'))) {
    return;
  }
  say('Building the server');
  run(pinnedNode(), ['server/build.mjs', ...(library ? [] : ['--bundle-only'])], { what: 'The build of the server' });
  stamp(file, value);
}

export function buildLabextension() {
  const file = join(cache, 'labextension.stamp');
  const output = join(root, 'syft_sync/labextension');
  const value = listing(['labextension', 'server/src/api/contract.ts', 'style', 'schema', 'package.json', ...TYPES]);
  if (stamped(file, value) && existsSync(join(output, 'package.json'))) {
    return;
  }
  say('Building the front end');
  tool('typescript/bin/tsc', ['-b', 'labextension'], { what: 'The compilation of the front end' });
  const core = 'node_modules/@jupyterlab/core-meta/core.package.json';
  tool('@jupyter/builder/lib/build-labextension.js', ['--core-package-file', core, '.'], {
    what: 'The build of the front end',
    quiet: true
  });
  stamp(file, value);
}

/** The first Python >= 3.10 on PATH. */
function findPython() {
  const probe = 'import sys; print("%d.%d" % sys.version_info[:2])';
  const seen = [];
  const named = process.env.PYTHON ? [process.env.PYTHON] : [];
  for (const name of [...named, 'python3', 'python', ...[14, 13, 12, 11, 10].map(minor => `python3.${minor}`)]) {
    const done = spawnSync(name, ['-c', probe], { encoding: 'utf8' });
    const version = done.status === 0 ? done.stdout.trim() : undefined;
    if (version === undefined) {
      continue;
    }
    const [major, minor] = version.split('.').map(Number);
    if (major === 3 && minor >= 10) {
      return name;
    }
    seen.push(`${name} is ${version}`);
  }
  const why = seen.length > 0 ? ` (${seen.join(', ')})` : '';
  throw new SetupError(`Python >= 3.10 is needed and none was found on PATH${why}. Install it, or set PYTHON to it.`);
}

function makeVenv() {
  const python = findPython();
  const modules = spawnSync(python, ['-c', 'import venv, ensurepip'], { encoding: 'utf8' });
  if (modules.status !== 0) {
    const hint = process.platform === 'linux' ? ' On Debian and Ubuntu: apt-get install python3-venv.' : '';
    throw new SetupError(`${python} lacks its modules venv and ensurepip, which make a virtual environment.${hint}`);
  }
  rmSync(venv, { recursive: true, force: true });
  run(python, ['-m', 'venv', venv], { what: 'python -m venv' });
}

/** The virtual environment with the packages of others; needs nothing from npm. */
export function installPythonPackages() {
  const requirements = join(venv, '.requirements');
  const wanted = contents(['scripts/requirements.txt']);
  const works = spawnSync(venvPython, ['-c', ''], { stdio: 'ignore' }).status === 0;
  if (!works || !stamped(requirements, wanted)) {
    if (!works) {
      makeVenv();
    }
    say('Installing JupyterLab and the Python packages into .venv (once, about a minute)');
    run(venvPython, ['-m', 'pip', 'install', '--quiet', '-r', 'scripts/requirements.txt'], { what: 'pip install' });
    stamp(requirements, wanted);
  }
}

export function installPython() {
  installPythonPackages();
  const own = join(venv, '.syft-sync');
  const packaging =
    contents(['pyproject.toml', 'hatch_build.py', 'package.json', 'install.json']) + listing(['jupyter-config']);
  if (stamped(own, packaging)) {
    return;
  }
  say('Linking our Python package into .venv');
  // JupyterLab reads the front end straight from the build's output; what pip puts there must not come into it.
  const shared = join(venv, 'share/jupyter/labextensions/syft-sync-jupyterlab');
  rmSync(shared, { recursive: true, force: true });
  run(venvPython, ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation', '--editable', '.'], {
    what: 'pip install --editable'
  });
  rmSync(shared, { recursive: true, force: true });
  mkdirSync(dirname(shared), { recursive: true });
  symlinkSync(join(root, 'syft_sync/labextension'), shared, windows ? 'junction' : 'dir');
  stamp(own, packaging);
}

/** All that `npm start` needs. */
export function setUp() {
  installPackages();
  buildServer();
  buildLabextension();
  installPython();
}

const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];

function findOnPath(names) {
  const dirs = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return names.flatMap(name => dirs.map(dir => join(dir, name))).find(file => existsSync(file));
}

/** Installs from the system's packages where we may, as root or by sudo without a password. False where we may not. */
function installSystemPackages(what, packages) {
  const apt = findOnPath(['apt-get']);
  const isRoot = process.getuid?.() === 0;
  const sudo = findOnPath(['sudo']);
  const prefix = isRoot ? [] : sudo && spawnSync(sudo, ['-n', 'true']).status === 0 ? [sudo, '-n'] : undefined;
  if (!apt || !prefix) {
    return false;
  }
  say(`Installing ${what} from the system\u2019s packages`);
  const command = [...prefix, apt];
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  run(command[0], [...command.slice(1), '-qq', 'update'], { what: 'apt-get update', env, quiet: true });
  const install = ['-qq', 'install', '-y', '--no-install-recommends', ...packages];
  run(command[0], [...command.slice(1), ...install], { what: `apt-get install ${packages[0]}`, env, quiet: true });
  return true;
}

/** System Chromium; installed from the system's packages when there is none and we may. */
export function chromium() {
  const found = process.env.SYFT_SYNC_CHROMIUM ?? findOnPath(BROWSERS);
  if (found) {
    return found;
  }
  if (installSystemPackages('Chromium', ['chromium', 'fonts-dejavu-core'])) {
    const installed = findOnPath(BROWSERS);
    if (installed) {
      return installed;
    }
  }
  throw new SetupError(
    'The UI tests need Chromium and none was found. Install it (Debian: apt-get install chromium), or set SYFT_SYNC_CHROMIUM to it.'
  );
}

/** Programs of others that some tests need; installed like Chromium. Without one those tests are skipped, and say so. */
const TEST_PROGRAMS = {
  strace: 'system calls are not made to fail in this run',
  age: 'what we seal is not opened with age in this run'
};

export function testPrograms() {
  if (process.platform !== 'linux') {
    return;
  }
  const missing = Object.keys(TEST_PROGRAMS).filter(program => !findOnPath([program]));
  if (missing.length === 0) {
    return;
  }
  try {
    installSystemPackages(missing.join(' and '), missing);
  } catch (error) {
    if (!(error instanceof SetupError)) {
      throw error;
    }
    say(error.message);
  }
  for (const program of missing.filter(program => !findOnPath([program]))) {
    say(`There is no ${program}: ${TEST_PROGRAMS[program]} (Debian: apt-get install ${program})`);
  }
}

/** Starts a long-running child in its own process group, so that a terminal's Ctrl-C reaches only us. */
export function start(command, args, { env = {}, cwd = root, stdio = ['ignore', 'inherit', 'inherit'] } = {}) {
  return spawn(command, args, { cwd, env: environment(env), stdio, detached: !windows });
}

/** Ends a child of `start` and what it started: asks, waits, insists. Resolves when it is gone. */
export async function stop(child, graceMs = 10_000) {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const gone = new Promise(done => child.once('exit', done));
  const signal = name => {
    try {
      process.kill(windows ? child.pid : name === 'SIGKILL' ? -child.pid : child.pid, name);
    } catch (error) {
      if (error.code !== 'ESRCH') {
        throw error;
      }
    }
  };
  signal('SIGTERM');
  const timer = setTimeout(() => signal('SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
}
