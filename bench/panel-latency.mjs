/**
 * From a write on disk to the row in the panel: JupyterLab as `npm start` runs it, its panel open in Chromium, another process
 * that writes one file at a time.
 *
 *   node bench/panel-latency.mjs [--writes 120] [--files 0]
 *
 * Method: the page notes the moment at which a row with the new file's name enters the document (a MutationObserver, before it
 * is painted); the writer notes the moment before it opens the file. Both read the clock of this machine. Writes come at random
 * times 300 to 700 ms apart, with a rest after every eighth. `--files`: so many files of 4,096 bytes are there already.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { chromium } from '@playwright/test';
import { chromium as systemChromium } from '../scripts/setup.mjs';
import { describeMachine, makeFiles, percentile, repository, startUntil, workDirectory } from './harness.mjs';

const { values } = parseArgs({
  options: { writes: { type: 'string', default: '120' }, files: { type: 'string', default: '0' } }
});
const dir = workDirectory('latency');
const data = join(dir, 'data');
mkdirSync(data);
makeFiles(data, Number(values.files), 4096);
describeMachine();

// Nothing of the user's own JupyterLab: neither its layout nor its settings.
const env = {
  ...process.env,
  JUPYTER_RUNTIME_DIR: join(dir, 'runtime'),
  JUPYTER_CONFIG_DIR: join(dir, 'config'),
  JUPYTER_DATA_DIR: join(dir, 'share'),
  JUPYTERLAB_SETTINGS_DIR: join(dir, 'settings'),
  JUPYTERLAB_WORKSPACES_DIR: join(dir, 'workspaces'),
  SYFT_SYNC_HOME: join(dir, 'home')
};
const script = join(repository, 'scripts', 'start.mjs');
const { child, match } = await startUntil(
  process.execPath,
  [script, data, '--no-browser', '--port', '0'],
  /(http:\/\/\S+\/lab\S*)/,
  { env }
);
child.stdout.resume();
const browser = await chromium.launch({ executablePath: systemChromium(), args: ['--no-sandbox'] });
try {
  console.log(`browser: Chromium ${browser.version()}`);
  const page = await browser.newPage();
  await page.goto(match[1]);
  await page.locator('.jp-SideBar [data-id="syft-sync-panel"]').click({ timeout: 60_000 });
  const list = page.getByRole('grid', { name: 'Changes in the workspace' });
  const first = join(data, 'first.txt');
  writeFileSync(first, 'x');
  await list.locator('[data-path="first.txt"]').waitFor({ timeout: 120_000 });
  await page.evaluate(() => {
    globalThis.seen = {};
    new globalThis.MutationObserver(() => {
      const now = performance.timeOrigin + performance.now();
      for (const row of globalThis.document.querySelectorAll('[role="row"][data-path^="measured-"]')) {
        globalThis.seen[row.dataset.path] ??= now;
      }
    }).observe(globalThis.document.body, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ['data-path']
    });
  });
  const written = {};
  for (let i = 0; i < Number(values.writes); i += 1) {
    const name = `measured-${i}.csv`;
    written[name] = performance.timeOrigin + performance.now();
    writeFileSync(join(data, name), `a,b\n${i},2\n`);
    // The panel folds ten changes and more that follow each other within two seconds.
    await sleep(i % 8 === 7 ? 2_200 : 300 + Math.random() * 400);
  }
  await list.locator(`[data-path="measured-${Number(values.writes) - 1}.csv"]`).waitFor({ timeout: 30_000 });
  const seen = await page.evaluate(() => globalThis.seen);
  const taken = Object.keys(written).map(name => (seen[name] ?? Number.POSITIVE_INFINITY) - written[name]);
  const at = p => `${percentile(taken, p).toFixed(0)} ms`;
  console.log(`${taken.length} writes, ${values.files} files there before: from the write to the row in the panel`);
  console.log(`p50 ${at(50)}, p95 ${at(95)}, p99 ${at(99)}, longest ${Math.max(...taken).toFixed(0)} ms`);
} finally {
  await browser.close();
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  await new Promise(done => child.once('exit', done));
}
