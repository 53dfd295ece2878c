/**
 * The packages of OpenMined that the interop tests have read what we write, and write what we read: each from PyPI, in a virtual environment of its
 * own below .cache/interop. Of what they need only that is installed which reading and writing needs; the rest signs in to Google.
 * What cannot be had is no failure: `missing` says why, and its tests are skipped for that reason.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { cache, environment, venvPython } from './setup.mjs';

const windows = process.platform === 'win32';

/** name, the requirement itself, what it needs of others, how its module is called, and the oldest Python that can load it. */
export const PEERS = [
  { name: 'syft-sync-0.1.0', own: ['syft-sync==0.1.0'], others: ['watchdog'], module: 'syft_sync', python: [3, 10] },
  { name: 'syft-client-0.1.87', own: ['syft-client==0.1.87'], others: [], module: 'syft_client', python: [3, 12] },
  {
    name: 'syft-client-0.1.117',
    own: ['syft-client==0.1.117'],
    others: ['pydantic'],
    module: 'syft_client',
    python: [3, 10]
  },
  {
    name: 'syft-0.10',
    own: ['syft>=0.10,<0.11', 'syft-permissions==0.1.15'],
    others: ['pydantic', 'pyyaml', 'wcmatch'],
    module: 'syft',
    python: [3, 10]
  }
];

/** Commands that may be a Python: by name, what uv knows of, what pyenv has. */
function candidates([major, minor]) {
  const named = process.env.PYTHON ? [process.env.PYTHON] : [];
  const names = [venvPython, ...named, 'python3', 'python', ...[14, 13, 12, 11, 10].map(n => `python3.${n}`)];
  const uv = spawnSync('uv', ['python', 'find', '--offline', `>=${major}.${minor}`], { encoding: 'utf8' });
  const found = uv.status === 0 ? [uv.stdout.trim()] : [];
  const pyenv = join(process.env.PYENV_ROOT ?? join(homedir(), '.pyenv'), 'versions');
  const versions = existsSync(pyenv) ? readdirSync(pyenv).map(version => join(pyenv, version, 'bin', 'python')) : [];
  return [...names, ...found, ...versions];
}

/** The first Python that is new enough; `undefined`: there is none. */
function pythonFor(wanted) {
  const probe = 'import sys; print(*sys.version_info[:2]); print(sys.executable)';
  for (const command of candidates(wanted)) {
    const done = spawnSync(command, ['-c', probe], { encoding: 'utf8' });
    if (done.status !== 0) continue;
    const [version, executable] = done.stdout.trim().split(/\r?\n/);
    const [major, minor] = version.split(' ').map(Number);
    if (major === wanted[0] && minor >= wanted[1]) return executable;
  }
  return undefined;
}

function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? '';
}

function pip(python, args) {
  const options = ['--quiet', '--disable-pip-version-check', '--timeout=20', '--retries=1'];
  return spawnSync(venvPython, ['-m', 'pip', `--python=${python}`, 'install', ...options, ...args], {
    env: environment(),
    encoding: 'utf8',
    timeout: 180_000
  });
}

const UNREACHABLE = 'PyPI is not reachable';

/** Makes the environment of a package when it is not there. */
function install({ own, others, python: wanted }, dir) {
  const python = pythonFor(wanted);
  if (python === undefined) {
    return `it needs Python >= ${wanted.join('.')}, and none was found on PATH, with uv or with pyenv`;
  }
  rmSync(dir, { recursive: true, force: true });
  const made = spawnSync(python, ['-m', 'venv', '--without-pip', dir], { encoding: 'utf8' });
  if (made.status !== 0) return `python -m venv: ${lastLine(made.stderr)}`;
  const inside = pythonIn(dir);
  for (const args of [['--no-deps', ...own], others]) {
    if (args.length === 0) continue;
    const done = pip(inside, args);
    if (done.status === 0) continue;
    if (/Retrying|Max retries|NewConnectionError|timed out/i.test(done.stderr ?? '')) return UNREACHABLE;
    return `pip install ${args.join(' ')}: ${lastLine(done.stderr ?? '') || 'took too long'}`;
  }
  return undefined;
}

/** Why a package is not to be had; asked again after a day. */
function knownMissing(dir) {
  const file = `${dir}.missing`;
  const age = Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return age < 86_400_000 ? readFileSync(file, 'utf8') : undefined;
}

function pythonIn(dir) {
  return join(dir, windows ? 'Scripts/python.exe' : 'bin/python');
}

/**
 * Each package with the Python that has it, or with the reason why it is not there. Needs the virtual environment of the
 * checkout, whose pip it uses. What failed is tried again at the next call.
 */
export function interopEnvironments() {
  let unreachable = false;
  return PEERS.map(peer => {
    const dir = join(cache, 'interop', peer.name);
    const stamp = join(dir, 'stamp');
    const value = JSON.stringify(peer);
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === value) return { ...peer, command: pythonIn(dir) };
    if (unreachable) return { ...peer, missing: UNREACHABLE };
    mkdirSync(join(cache, 'interop'), { recursive: true });
    const since = Date.now();
    const missing = knownMissing(dir) ?? install(peer, dir);
    if (missing?.includes('No matching distribution') && knownMissing(dir) === undefined) {
      writeFileSync(`${dir}.missing`, missing);
    }
    unreachable = missing === UNREACHABLE;
    if (missing !== undefined) return { ...peer, missing };
    writeFileSync(stamp, value);
    console.log(`\u2022 ${peer.name} for the interop tests (${((Date.now() - since) / 1000).toFixed(1)} s)`);
    return { ...peer, command: pythonIn(dir) };
  });
}
