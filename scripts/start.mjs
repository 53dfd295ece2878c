/**
 * `npm start [-- [FOLDER] [--port N] [--no-browser] [--any-jupyter-option=…]]`: JupyterLab with Syft Sync on the examples,
 * or on FOLDER. Installs and builds what is missing first.
 */
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { SetupError, fail, root, run, say, setUp, start, stop, venvPython } from './setup.mjs';

function parse(argv) {
  const passed = [];
  let folder;
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i];
    if (arg === '--port') {
      passed.push(`--port=${argv[++i]}`);
    } else if (arg.startsWith('-')) {
      passed.push(arg);
    } else if (folder === undefined) {
      folder = resolve(process.env.INIT_CWD ?? process.cwd(), arg);
    } else {
      throw new SetupError(`One folder, please: ${folder} or ${arg}?`);
    }
  }
  if (folder !== undefined && !statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new SetupError(`${folder} is not a folder.`);
  }
  return { folder, passed };
}

/** A copy of the examples that git ignores: recording in examples/ itself would change the checkout. */
function sampleWorkspace() {
  const sample = join(root, '.sample-workspace');
  if (!existsSync(sample)) {
    cpSync(join(root, 'examples'), sample, { recursive: true });
  }
  return sample;
}

/** What Jupyter writes about a running server: its url, with port and base_url, and its token. */
async function announcement(child, runtimeDir) {
  const file = join(runtimeDir, `jpserver-${child.pid}.json`);
  while (child.exitCode === null && child.signalCode === null) {
    if (existsSync(file)) {
      try {
        return JSON.parse(readFileSync(file, 'utf8'));
      } catch {
        // Being written.
      }
    }
    await new Promise(done => setTimeout(done, 50));
  }
  return undefined;
}

async function main() {
  const { folder, passed } = parse(process.argv.slice(2));
  setUp();
  const workspace = folder ?? sampleWorkspace();
  const options = [`--ServerApp.root_dir=${workspace}`, '--log-level=WARN', ...passed];

  if (process.getuid?.() === 0) {
    say('Running as root, as containers do: JupyterLab is started with --allow-root.');
    options.push('--allow-root');
  }
  const display = process.env.DISPLAY ?? process.env.WAYLAND_DISPLAY;
  if (process.platform === 'linux' && !display && !passed.includes('--no-browser')) {
    options.push('--no-browser');
  }
  const runtimeDir = run(venvPython, ['-c', 'from jupyter_core.paths import jupyter_runtime_dir as d; print(d())'], {
    quiet: true
  }).trim();
  mkdirSync(runtimeDir, { recursive: true, mode: 0o700 });

  // A token of ours: Jupyter logs a long notice about one that it makes itself.
  const env = { JUPYTER_TOKEN: process.env.JUPYTER_TOKEN ?? randomBytes(24).toString('hex') };
  const child = start(venvPython, ['-m', 'jupyterlab', ...options], { env });
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (!stopping) {
        stopping = true;
        console.log('\nStopping\u2026');
        void stop(child);
      }
    });
  }
  child.on('exit', (code, signal) => {
    rmSync(join(runtimeDir, `jpserver-${child.pid}.json`), { force: true });
    process.exit(stopping ? 0 : (code ?? (signal ? 1 : 0)));
  });

  const server = await announcement(child, runtimeDir);
  if (server) {
    const token = server.token ? `?token=${server.token}` : '';
    console.log(`\nJupyterLab with Syft Sync, recording ${workspace}\n\n    ${server.url}lab${token}\n`);
    console.log('Press Ctrl-C to stop.');
  }
}

main().catch(fail);
