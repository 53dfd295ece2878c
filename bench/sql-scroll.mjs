/**
 * Scrolling a result of a million rows in the SQL tab: how long the page takes from one frame to the next.
 *
 *   node bench/sql-scroll.mjs [--rows 1000000] [--profile]
 *
 * Method: JupyterLab as `npm start` runs it, in Chromium, which draws on the processor here. In the page requestAnimationFrame notes
 * the time of each frame while wheel and keys are pressed from outside, one every 16 ms or as fast as the page takes them. `still` is the
 * same without any, which is what the machine gives at best. `--profile`: where the processor time of the page goes, by function.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { chromium } from '@playwright/test';
import { chromium as systemChromium } from '../scripts/setup.mjs';
import { describeMachine, percentile, repository, startUntil, workDirectory } from './harness.mjs';

const { values } = parseArgs({
  options: { rows: { type: 'string', default: '1000000' }, profile: { type: 'boolean', default: false } }
});
const QUERY = `SELECT range AS n, 'data/folder ' || (range % 97)::VARCHAR || '/file ' || range::VARCHAR || '.csv' AS path, range * 0.37 AS share,
  TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL 1 SECOND * range::INTEGER AS at, if(range % 5 = 0, NULL, md5(range::VARCHAR)) AS hash,
  (range * 1.01)::DECIMAL(18, 2) AS amount, range % 2 = 0 AS even, ['a', 'b' || range::VARCHAR] AS flags FROM range(${Number(values.rows)})`;

const dir = workDirectory('scroll');
const data = join(dir, 'data');
mkdirSync(data);
describeMachine();
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
const options = [data, '--no-browser', '--port', '0', '--LabApp.expose_app_in_browser=True'];
const { child, match } = await startUntil(process.execPath, [script, ...options], /(http:\/\/\S+\/lab\S*)/, { env });
child.stdout.resume();
const browser = await chromium.launch({ executablePath: systemChromium(), args: ['--no-sandbox'] });
try {
  console.log(`browser: Chromium ${browser.version()}`);
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(match[1]);
  await page.waitForFunction(() => globalThis.jupyterapp?.commands.hasCommand('syft-sync:open-sql'), undefined, {
    timeout: 120_000
  });
  await page.evaluate(query => {
    void globalThis.jupyterapp.commands.execute('syft-sync:open-sql', { query, maxRows: 10_000_000, run: true });
  }, QUERY);
  const status = page.locator('.jp-SyftSync-sqlStatus');
  await status.filter({ hasText: ' rows · ' }).waitFor({ timeout: 300_000 });
  console.log(`result: ${await status.innerText()}`);
  const grid = page.getByRole('application', { name: /^Result/ });
  const box = await grid.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await grid.focus();
  await sleep(2_000);

  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Profiler.enable');
  const measure = async (name, times, step) => {
    await page.evaluate(() => {
      globalThis.frames_ = [];
      globalThis.counting = true;
      const note = now => {
        globalThis.frames_.push(now);
        if (globalThis.counting) globalThis.requestAnimationFrame(note);
      };
      globalThis.requestAnimationFrame(note);
    });
    if (values.profile) await cdp.send('Profiler.start');
    for (let i = 0; i < times; i += 1) await Promise.all([step(), sleep(16)]);
    const profile = values.profile ? (await cdp.send('Profiler.stop')).profile : undefined;
    const at = await page.evaluate(() => {
      globalThis.counting = false;
      return globalThis.frames_;
    });
    const taken = at.slice(1).map((now, i) => now - at[i]);
    const over = taken.filter(ms => ms > 50).length;
    const of = p => percentile(taken, p).toFixed(1);
    console.log(
      `${name.padEnd(28)} ${String(taken.length).padStart(5)} frames   p50 ${of(50)}, p95 ${of(95)}, p99 ${of(99)}, longest ${Math.max(...taken).toFixed(1)} ms; over 50 ms: ${over}`
    );
    if (profile !== undefined) printProfile(profile);
  };
  await measure('still', 150, () => Promise.resolve());
  await measure('wheel, a notch at a time', 200, () => page.mouse.wheel(0, 120));
  await measure('wheel, as fast as it goes', 200, () => page.mouse.wheel(0, 20_000));
  await measure('wheel, sideways', 100, () => page.mouse.wheel(60, 0));
  await measure('arrow down, held', 150, () => page.keyboard.press('ArrowDown'));
  await measure('page down, held', 150, () => page.keyboard.press('PageDown'));
  let end = false;
  await measure('end and beginning', 40, () => {
    end = !end;
    return page.keyboard.press(end ? 'Control+ArrowDown' : 'Control+ArrowUp');
  });
} finally {
  await browser.close();
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  await new Promise(done => child.once('exit', done));
}

/** The functions that took most of the time of a profile, without what they call. */
function printProfile({ nodes, samples, timeDeltas }) {
  const byId = new Map(nodes.map(node => [node.id, node]));
  const spent = new Map();
  samples.forEach((id, i) => {
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    const name = `${functionName || '(anonymous)'} ${url.replace(/^.*\/|\?.*$/g, '')}:${lineNumber}`;
    spent.set(name, (spent.get(name) ?? 0) + timeDeltas[i]);
  });
  const all = timeDeltas.reduce((sum, each) => sum + each, 0);
  for (const [name, micros] of [...spent].sort((a, b) => b[1] - a[1]).slice(0, 14)) {
    console.log(`    ${((100 * micros) / all).toFixed(1).padStart(5)} %  ${name}`);
  }
}
