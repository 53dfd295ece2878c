/**
 * Two projects. `ui`: every spec against one JupyterLab from .venv, on a copy of examples/, the real sidecar recording; the
 * specs look at the newest of what is recorded, so one runs after the other, and only halves of them side by side.
 * `install`: the specs named install*.spec.ts, which install the extension in both ways and start their own.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { defineConfig } from '@playwright/test';

const root = resolve(__dirname, '..');
const install = process.env.SYFT_UI_PROJECT === 'install';

function chromium(): string {
  const named = process.env.SYFT_SYNC_CHROMIUM;
  const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  const found = named ?? known.find(file => existsSync(file));
  if (found === undefined) {
    throw new Error('No Chromium: run `npm test`, which installs it, or set SYFT_SYNC_CHROMIUM.');
  }
  return found;
}

function freePort(): string {
  const script =
    'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})';
  return execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).trim();
}

// This file is read by the runner and again by each worker, which inherits what the runner chose.
if (process.env.SYFT_UI_ROOT === undefined) {
  const scratch = mkdtempSync(join(tmpdir(), 'syft-sync-ui-'));
  process.env.SYFT_UI_ROOT = join(scratch, 'workspace');
  process.env.SYFT_UI_HOME = join(scratch, 'jupyter');
  process.env.SYFT_UI_PORT = freePort();
  mkdirSync(process.env.SYFT_UI_HOME);
  cpSync(join(root, 'examples'), process.env.SYFT_UI_ROOT, { recursive: true });
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
}
const workspace = process.env.SYFT_UI_ROOT;
const home = process.env.SYFT_UI_HOME ?? '';
const baseURL = `http://localhost:${process.env.SYFT_UI_PORT}`;
const python = join(root, '.venv', process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');

const server = {
  command: `"${python}" -m jupyterlab --config="${join(__dirname, 'jupyter_server_test_config.py')}"`,
  cwd: root,
  url: `${baseURL}/lab`,
  timeout: 120_000,
  reuseExistingServer: false,
  gracefulShutdown: { signal: 'SIGTERM' as const, timeout: 10_000 },
  stdout: 'ignore' as const,
  stderr: 'ignore' as const,
  env: {
    ...(process.env as Record<string, string>),
    JUPYTERLAB_GALATA_ROOT_DIR: workspace,
    // Keys and contacts of the tests are not those of whoever runs them.
    SYFT_SYNC_HOME: join(home, 'syft-sync'),
    JUPYTER_CONFIG_DIR: join(home, 'config'),
    JUPYTER_DATA_DIR: join(home, 'data'),
    JUPYTERLAB_SETTINGS_DIR: join(home, 'settings'),
    JUPYTERLAB_WORKSPACES_DIR: join(home, 'workspaces')
  }
};

export default defineConfig({
  testDir: __dirname,
  outputDir: join(root, 'test-results', process.env.SYFT_UI_PART ?? 'by-hand'),
  fullyParallel: false,
  workers: 1,
  retries: process.env.CI ? 1 : 0,
  forbidOnly: Boolean(process.env.CI),
  // Limits against hanging, not measures of speed.
  timeout: 120_000,
  expect: { timeout: 20_000 },
  reporter: [['list']],
  use: {
    baseURL,
    viewport: { width: 1280, height: 800 },
    trace: 'retain-on-failure',
    video: 'off',
    launchOptions: { executablePath: chromium(), args: ['--no-sandbox', '--disable-lcd-text', '--disable-webgl'] }
  },
  projects: [
    install
      ? { name: 'install', testMatch: /install.*\.spec\.ts/, timeout: 1_200_000 }
      : { name: 'ui', testMatch: /\.spec\.ts/, testIgnore: /install.*\.spec\.ts/ }
  ],
  ...(install ? {} : { webServer: server })
});
