/**
 * `node scripts/screenshot.mjs`: makes docs/images/panel.png anew. Lets the command line record two days of work on the
 * examples, on a clock that was put back, then opens the real JupyterLab on them.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { chromium, fail, root, run, say, setUp, start, stop, venvPython } from './setup.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const view = { width: 960, height: 640 };
const picture = join(root, 'docs', 'images', 'panel.png');

/** Runs the command line as it would have run `ago` milliseconds before now. */
function syftSync(workspace, ago, ...args) {
  const clock = `const now = Date.now.bind(Date); Date.now = () => now() - ${ago};`;
  run(join(root, 'server', 'bin', 'syft-sync'), ['-C', workspace, ...args], {
    quiet: true,
    cwd: workspace,
    env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(clock)}` }
  });
}

function recordHistory(workspace) {
  const at = (...parts) => join(workspace, ...parts);
  const capture = ago => syftSync(workspace, ago, 'capture');
  cpSync(join(root, 'examples'), workspace, { recursive: true });
  const clean = readFileSync(at('1-clean.ipynb'), 'utf8');
  const model = readFileSync(at('2-model.ipynb'), 'utf8');
  const plot = readFileSync(at('results', 'model.png'));
  const table = readFileSync(at('data', 'clean.parquet'));
  const effects = readFileSync(at('results', 'effects.csv'));
  const firstCells = count => {
    const notebook = JSON.parse(clean);
    notebook.cells.splice(count);
    return `${JSON.stringify(notebook, null, 1)}\n`;
  };
  for (const path of ['2-model.ipynb', 'results', 'data/clean.parquet']) rmSync(at(path), { recursive: true });

  writeFileSync(at('1-clean.ipynb'), firstCells(2));
  capture(24.2 * HOUR);
  writeFileSync(at('1-clean.ipynb'), firstCells(3));
  writeFileSync(at('notes.txt'), 'ask Ana about the zeros\n');
  capture(23.4 * HOUR);
  writeFileSync(at('1-clean.ipynb'), clean.replaceAll('weekend', 'sunday'));
  writeFileSync(at('data', 'clean.parquet'), table.subarray(0, 9000));
  capture(22.7 * HOUR);
  writeFileSync(at('1-clean.ipynb'), clean);
  writeFileSync(at('data', 'clean.parquet'), table);
  capture(5.3 * HOUR);
  mkdirSync(at('data', 'stations'));
  for (let station = 1; station <= 24; station++) {
    const days = '2024-01-01,1201\n'.repeat(20 + station);
    writeFileSync(at('data', 'stations', `station-${station}.csv`), `date,count\n${days}`);
  }
  capture(3.6 * HOUR);
  mkdirSync(at('results'));
  writeFileSync(at('2-model.ipynb'), model.replaceAll('viridis', 'magma'));
  writeFileSync(at('results', 'model.png'), plot.subarray(0, 31_000));
  capture(2.4 * HOUR);
  writeFileSync(at('results', 'effects.csv'), effects);
  renameSync(at('data', 'stations', 'station-7.csv'), at('data', 'bridge.csv'));
  capture(1.6 * HOUR);
  // An accident, and back.
  writeFileSync(at('1-clean.ipynb'), firstCells(4));
  rmSync(at('notes.txt'));
  capture(41 * MINUTE);
  syftSync(workspace, 33 * MINUTE, 'restore', '1-clean.ipynb@-1');
  writeFileSync(at('1-clean.ipynb'), clean.replaceAll('One year at the bridge', 'A year at the bridge'));
  capture(14 * MINUTE);
  writeFileSync(at('2-model.ipynb'), model);
  writeFileSync(at('results', 'model.png'), plot);
  capture(3 * MINUTE);
}

/** The time zone in which it is afternoon: whenever it is made, the picture shows a day's work and the day before. */
function afternoon() {
  const offset = ((15 - new Date().getUTCHours() + 36) % 24) - 12;
  return `Etc/GMT${offset > 0 ? '-' : '+'}${Math.abs(offset)}`;
}

async function announced(child, runtime) {
  while (child.exitCode === null) {
    try {
      return JSON.parse(readFileSync(join(runtime, `jpserver-${child.pid}.json`), 'utf8')).url;
    } catch {
      // Not yet, or being written.
    }
    await new Promise(done => setTimeout(done, 100));
  }
  throw new Error('JupyterLab did not start.');
}

async function photograph(url) {
  const { chromium: playwright } = await import('@playwright/test');
  const browser = await playwright.launch({ executablePath: chromium(), args: ['--no-sandbox', '--disable-lcd-text'] });
  try {
    const page = await browser.newPage({
      viewport: view,
      deviceScaleFactor: 2,
      timezoneId: afternoon(),
      locale: 'en-US'
    });
    await page.goto(`${url}lab/tree/1-clean.ipynb`);
    await page.locator('.jp-NotebookPanel .jp-OutputArea-output').first().waitFor();
    await page.locator('.jp-SideBar [data-id="syft-sync-panel"]').click();
    const versions = page.getByRole('grid', { name: 'Versions of 1-clean.ipynb' }).locator('[data-version]');
    await versions.first().waitFor();
    const handle = await page.locator('#jp-main-split-panel > .lm-SplitPanel-handle').first().boundingBox();
    await page.mouse.move(handle.x + 2, 300);
    await page.mouse.down();
    await page.mouse.move(handle.x + 42, 300, { steps: 4 });
    await page.mouse.up();
    await page.getByText('| Idle').waitFor();
    // The marks of focus and pointer are about whoever takes the picture.
    await page.locator(':focus').blur();
    await page.mouse.move(view.width / 2, 5);
    await page.screenshot({ path: picture, animations: 'disabled' });
  } finally {
    await browser.close();
  }
}

async function main() {
  setUp();
  const scratch = mkdtempSync(join(tmpdir(), 'syft-sync-screenshot-'));
  const [workspace, runtime, settings] = ['bicycles', 'runtime', 'settings'].map(name => join(scratch, name));
  let child;
  try {
    recordHistory(workspace);
    const silent = join(settings, '@jupyterlab', 'apputils-extension');
    mkdirSync(silent, { recursive: true });
    writeFileSync(
      join(silent, 'notification.jupyterlab-settings'),
      JSON.stringify({ fetchNews: 'false', checkForUpdates: false })
    );
    mkdirSync(runtime, { mode: 0o700 });
    const options = ['--no-browser', '--allow-root', '--ServerApp.port=0', '--IdentityProvider.token='];
    child = start(
      venvPython,
      ['-m', 'jupyterlab', ...options, `--ServerApp.root_dir=${workspace}`, '--log-level=ERROR'],
      {
        stdio: 'ignore',
        env: {
          JUPYTER_RUNTIME_DIR: runtime,
          JUPYTER_CONFIG_DIR: join(scratch, 'config'),
          JUPYTER_DATA_DIR: join(scratch, 'data'),
          JUPYTERLAB_SETTINGS_DIR: settings,
          JUPYTERLAB_WORKSPACES_DIR: join(scratch, 'workspaces')
        }
      }
    );
    mkdirSync(join(root, 'docs', 'images'), { recursive: true });
    await photograph(await announced(child, runtime));
    say(`Made ${picture}`);
  } finally {
    if (child !== undefined) await stop(child);
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

main().catch(fail);
