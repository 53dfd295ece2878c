/** Starts and stops a JupyterLab of a spec's own: with a token, under a base_url, from another app dir or environment. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const repository = resolve(__dirname, '..');

/** The virtual environment of the checkout. */
export const venvPython = join(repository, '.venv', process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');

export interface JupyterOptions {
  /** Folder that JupyterLab serves; a new empty one that `stop` removes when absent. */
  root?: string;
  /** Taken when it is free; any other when absent. */
  port?: number;
  /** Starts and ends with `/`; `/` when absent. */
  baseUrl?: string;
  /** With a token, XSRF is checked too, as in real life. Without one, anybody may come in and no XSRF is checked. */
  token?: string;
  /** JupyterLab application directory, as `jupyter labextension install --app-dir` filled it. */
  appDir?: string;
  /** The Python whose JupyterLab runs; the checkout's `.venv` when absent. */
  python?: string;
  env?: Record<string, string>;
  /** Further options of `jupyter lab`. */
  args?: string[];
}

export interface Jupyter {
  /** With base_url and a final `/`. */
  url: string;
  /** `url` + `lab`, the token included: what a user opens. */
  labUrl: string;
  token: string;
  root: string;
  process: ChildProcess;
  /** All that the server and the sidecar printed. */
  output(): string;
  /** SIGTERM, then SIGKILL to the whole group after 10 s. */
  stop(): Promise<void>;
}

/** Resolves when the server answers; rejects with its output when it does not within 60 s. */
export async function startJupyter(options: JupyterOptions = {}): Promise<Jupyter> {
  const scratch = mkdtempSync(join(tmpdir(), 'syft-sync-jupyter-'));
  const root = options.root ?? join(scratch, 'workspace');
  const runtime = join(scratch, 'runtime');
  mkdirSync(root, { recursive: true });
  mkdirSync(runtime, { mode: 0o700 });

  const token = options.token ?? '';
  const args = [
    '-m',
    'jupyterlab',
    '--no-browser',
    '--allow-root',
    `--ServerApp.port=${options.port ?? 0}`,
    `--ServerApp.root_dir=${root}`,
    `--ServerApp.base_url=${options.baseUrl ?? '/'}`,
    `--IdentityProvider.token=${token}`,
    `--ServerApp.disable_check_xsrf=${token === '' ? 'True' : 'False'}`,
    '--LabApp.expose_app_in_browser=True',
    ...(options.appDir === undefined ? [] : [`--app-dir=${options.appDir}`]),
    ...(options.args ?? [])
  ];

  let text = '';
  const child = spawn(options.python ?? venvPython, args, {
    cwd: scratch,
    detached: process.platform !== 'win32',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      JUPYTER_RUNTIME_DIR: runtime,
      JUPYTER_CONFIG_DIR: join(scratch, 'config'),
      JUPYTER_DATA_DIR: join(scratch, 'data'),
      JUPYTERLAB_SETTINGS_DIR: join(scratch, 'settings'),
      JUPYTERLAB_WORKSPACES_DIR: join(scratch, 'workspaces'),
      ...options.env
    }
  });
  const collect = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);

  const exited = new Promise<void>(done => child.once('exit', () => done()));
  const kill = (signal: NodeJS.Signals, group: boolean): void => {
    try {
      if (child.pid !== undefined) process.kill(group && process.platform !== 'win32' ? -child.pid : child.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      kill('SIGTERM', false);
      const timer = setTimeout(() => kill('SIGKILL', true), 10_000);
      await exited;
      clearTimeout(timer);
    }
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };

  const file = join(runtime, `jpserver-${child.pid}.json`);
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline && child.exitCode === null && child.signalCode === null) {
    const url = announced(file);
    if (url !== undefined && (await fetch(`${url}api`).catch(() => undefined))?.ok) {
      const labUrl = `${url}lab${token === '' ? '' : `?token=${token}`}`;
      return { url, labUrl, token, root, process: child, output: () => text, stop };
    }
    await new Promise(done => setTimeout(done, 100));
  }
  await stop();
  throw new Error(`JupyterLab did not start:\n${text}`);
}

/** The address that Jupyter wrote down; undefined until it is all there. */
function announced(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { url: string }).url;
  } catch {
    return undefined;
  }
}
