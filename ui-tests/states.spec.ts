/** When all is not well the panel says so, why, and what to do: a user must never believe that files are kept when they are not. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Page } from '@playwright/test';

import { startJupyter } from './jupyter';
import type { Jupyter, JupyterOptions } from './jupyter';
import { expect, plainTest as test } from './lab';
import { axe, changes, openPanel, panel, rowOf, rows, versions } from './syft';

const running: Jupyter[] = [];
const ports: number[] = [];
const homes: string[] = [];

async function start(options: JupyterOptions): Promise<Jupyter> {
  // On the ports of the test before, where the browser has all of JupyterLab already.
  const jupyter = await startJupyter({ port: ports[running.length] ?? 0, ...options });
  ports[running.length] = Number(new URL(jupyter.url).port);
  running.push(jupyter);
  return jupyter;
}

test.afterEach(async () => {
  await Promise.all(running.splice(0).map(jupyter => jupyter.stop()));
  for (const home of homes.splice(0)) rmSync(home, { recursive: true, force: true });
});

async function open(page: Page, jupyter: Jupyter): Promise<void> {
  await page.goto(jupyter.labUrl);
  await page.locator('.jp-SideBar [data-id="syft-sync-panel"]').waitFor({ timeout: 60_000 });
  await openPanel(page);
}

async function accessible(page: Page): Promise<void> {
  expect(await axe(page, '#syft-sync-panel')).toEqual([]);
}

interface ProcessStatus {
  pid?: number;
  running: boolean;
}

async function processOf(jupyter: Jupyter): Promise<ProcessStatus> {
  const response = await fetch(`${jupyter.url}syft-sync/status`, {
    headers: { Authorization: `token ${jupyter.token}` }
  });
  return (await response.json()) as ProcessStatus;
}

test('under a base_url, with a token and XSRF, everything works', async ({ page }) => {
  const jupyter = await start({ baseUrl: '/user/ana%40lab/', token: 'a-token' });
  writeFileSync(join(jupyter.root, 'notes.txt'), 'older\n');
  await open(page, jupyter);
  await expect(rowOf(changes(page), 'notes.txt')).toBeVisible();
  writeFileSync(join(jupyter.root, 'notes.txt'), 'newer, and longer\n');
  await expect(rowOf(changes(page), 'notes.txt')).toHaveCount(2);
  await rowOf(changes(page), 'notes.txt').last().click();
  await expect(page.locator('.jp-FileEditor:visible .cm-content')).toContainText('older');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  await expect(page.locator('.Toastify__toast', { hasText: 'Restored notes.txt' })).toBeVisible();
  await expect(rows(versions(page))).toHaveCount(3);
});

test('a new folder: nothing has changed yet, and what will be kept where is said', async ({ page }) => {
  const jupyter = await start({});
  await open(page, jupyter);
  await expect(panel(page)).toContainText('Nothing has changed yet.');
  await expect(panel(page)).toContainText(jupyter.root);
  await expect(panel(page)).toContainText('.syft-sync');
  await accessible(page);
});

test('without the server extension the panel says that nothing is recorded, and what to install', async ({ page }) => {
  const off = "{'syft_sync': False, 'jupyter_server_proxy': False}";
  const jupyter = await start({ args: [`--ServerApp.jpserver_extensions=${off}`] });
  await open(page, jupyter);
  await expect(panel(page)).toContainText('The Syft Sync sidecar is not running');
  await expect(panel(page)).toContainText('pip install syft-sync-jupyterlab');
  await expect(page.getByRole('button', { name: /Not recording/ })).toBeVisible();
  await accessible(page);
});

test('without Node the panel says so, and how to get it', async ({ page }) => {
  const jupyter = await start({ args: ['--SyftSync.node=/no/such/node'] });
  await open(page, jupyter);
  await expect(panel(page)).toContainText('Node.js');
  await expect(panel(page)).toContainText('/no/such/node cannot be run');
  await expect(page.getByRole('button', { name: 'Start it again' })).toBeVisible();
  await accessible(page);
});

test('an encrypted log: without the right passphrase the panel says so, and goes on by itself when it is there', async ({
  page
}) => {
  const base = mkdtempSync(join(tmpdir(), 'syft-sync-encrypted-'));
  homes.push(base);
  const root = join(base, 'work');
  mkdirSync(root);
  const file = join(base, 'passphrase');
  writeFileSync(file, 'correct horse battery staple\n', { mode: 0o600 });
  const args = ['--SyftSync.encrypt=True', `--SyftSync.passphrase_file=${file}`];
  writeFileSync(join(root, 'a-plan-of-ours.txt'), 'nobody else should read this\n');
  const first = await start({ root, args });
  await open(page, first);
  await expect(rowOf(changes(page), 'a-plan-of-ours.txt')).toBeVisible();
  await first.stop();
  for (const entry of readdirSync(join(root, '.syft-sync'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    expect(`${entry.name} ${bytes.includes('a-plan-of-ours')} ${bytes.includes('nobody else')}`).toBe(
      `${entry.name} false false`
    );
  }

  writeFileSync(file, 'another one\n', { mode: 0o600 });
  const second = await start({ root, args });
  await open(page, second);
  // Said once, with one way out of it.
  await expect(panel(page).getByRole('alert')).toHaveCount(1);
  await expect(panel(page).getByRole('alert')).toContainText('Not the right passphrase: nothing is recorded');
  await expect(panel(page).getByRole('alert')).toContainText('correct the passphrase file');
  await expect(panel(page).getByRole('button', { name: 'Try again' })).toHaveCount(1);
  await expect(rowOf(changes(page), 'a-plan-of-ours.txt')).toHaveCount(0);
  await accessible(page);
  writeFileSync(file, 'correct horse battery staple\n', { mode: 0o600 });
  await expect(rowOf(changes(page), 'a-plan-of-ours.txt')).toBeVisible({ timeout: 30_000 });
  await rowOf(changes(page), 'a-plan-of-ours.txt').click();
  await expect(page.locator('.jp-FileEditor:visible .cm-content')).toContainText('nobody else should read this');
});

test('when the sidecar is killed the panel says so, and goes on by itself when it is back', async ({ page }) => {
  const jupyter = await start({ token: 'a-token' });
  await open(page, jupyter);
  writeFileSync(join(jupyter.root, 'before.txt'), 'x');
  await expect(rowOf(changes(page), 'before.txt')).toBeVisible();
  const { pid } = await processOf(jupyter);
  process.kill(pid!, 'SIGKILL');
  writeFileSync(join(jupyter.root, 'meanwhile.txt'), 'x');
  await expect(rowOf(changes(page), 'meanwhile.txt')).toBeVisible({ timeout: 30_000 });
  await expect(rowOf(changes(page), 'before.txt')).toHaveCount(1);
  expect((await processOf(jupyter)).pid).not.toBe(pid);
});

test('when Jupyter is gone, what was listed stays, and it is said when it is tried again', async ({ page }) => {
  const jupyter = await start({ token: 'a-token' });
  await open(page, jupyter);
  writeFileSync(join(jupyter.root, 'before.txt'), 'x');
  await expect(rowOf(changes(page), 'before.txt')).toBeVisible();
  jupyter.process.kill('SIGKILL');
  await expect(panel(page)).toContainText('Not connected');
  await expect(panel(page)).toContainText(/Next try in \d+ second|Trying/);
  await expect(page.getByRole('button', { name: 'Try now' })).toBeVisible();
  await expect(rowOf(changes(page), 'before.txt')).toBeVisible();
  await expect(page.getByRole('button', { name: /Not connected/ })).toBeVisible();
  await accessible(page);
});

test('in the home folder nothing is recorded before the user has chosen what', async ({ page }) => {
  const home = mkdtempSync(join(tmpdir(), 'syft-sync-home-'));
  homes.push(home);
  mkdirSync(join(home, 'project'), { recursive: true });
  mkdirSync(join(home, 'private'));
  writeFileSync(join(home, 'project', 'a.txt'), 'a');
  writeFileSync(join(home, 'private', 'secret.txt'), 's');
  const second = await start({ root: home, env: { HOME: home } });
  await open(page, second);
  await expect(panel(page)).toContainText('Which folders shall be recorded?');
  await expect(panel(page)).toContainText('This is your home folder.');
  await expect(page.getByRole('button', { name: 'Record these' })).toBeDisabled();
  await accessible(page);
  await page.getByRole('checkbox', { name: /^project/ }).check();
  await page.getByRole('button', { name: 'Record these' }).click();
  await expect(rowOf(changes(page), 'project/a.txt')).toBeVisible();
  writeFileSync(join(home, 'private', 'secret.txt'), 'more');
  writeFileSync(join(home, 'project', 'b.txt'), 'b');
  await expect(rowOf(changes(page), 'project/b.txt')).toBeVisible();
  await expect(rowOf(changes(page), 'private/secret.txt')).toHaveCount(0);
});

test('a second JupyterLab on the same folder reads, and says who records', async ({ page }) => {
  const first = await start({});
  writeFileSync(join(first.root, 'shared.txt'), 'x');
  await expect.poll(async () => (await processOf(first)).running).toBe(true);
  const second = await start({ root: first.root });
  await open(page, second);
  await expect(panel(page)).toContainText(/Reading only/);
  await expect(rowOf(changes(page), 'shared.txt')).toBeVisible();
  await accessible(page);
});

test('a long list stays quick: of 10,000 changes only those in sight are in the document', async ({ page }) => {
  test.setTimeout(240_000);
  const jupyter = await start({});
  await open(page, jupyter);
  const folder = join(jupyter.root, 'many');
  mkdirSync(folder);
  for (let i = 0; i < 10_000; i++) writeFileSync(join(folder, `file-${String(i).padStart(5, '0')}.txt`), `${i}`);
  const filter = page.getByRole('searchbox', { name: 'Filter files by name' });
  const ask = async <T>(path: string): Promise<T> =>
    (await (await fetch(`${jupyter.url}syft-sync/api/${path}`)).json()) as T;
  // A file that is seen between its creation and its content has two versions: there may be more than 10,000.
  let total = 0;
  await expect
    .poll(
      async () => {
        const before = total;
        ({ total } = await ask<{ total: number }>('changes?q=many/file-&limit=1'));
        const { pending } = await ask<{ pending: number }>('status');
        return total >= 10_000 && total === before && pending === 0;
      },
      { timeout: 90_000, intervals: [1000] }
    )
    .toBe(true);
  await filter.fill('many/file-');
  await expect(rows(changes(page)).first()).toBeVisible();
  // To the very end, page by page, as a user drags the scroll bar. A heading comes first, and each row has its place.
  await expect
    .poll(
      async () => {
        await changes(page).evaluate(grid => grid.scrollTo({ top: grid.scrollHeight }));
        return rows(changes(page)).last().getAttribute('aria-rowindex');
      },
      { timeout: 90_000 }
    )
    .toBe(String(total + 1));
  await expect(rows(changes(page)).last()).toHaveAttribute('data-path', /^many\/file-/);
  expect(await changes(page).locator('[role="row"]').count()).toBeLessThan(80);
});

test('names of any kind and length leave the rows in order', async ({ page }) => {
  const jupyter = await start({});
  await open(page, jupyter);
  const long = `${'a-very-long-name-'.repeat(14)}.parquet`;
  const names = [
    long,
    'line\nbreak.txt',
    'right\u202eto-left.txt',
    '<img src=x onerror=alert(1)>.txt',
    'ünï—cødé 数据.csv'
  ];
  for (const name of names) writeFileSync(join(jupyter.root, name), 'x');
  writeFileSync(Buffer.concat([Buffer.from(`${jupyter.root}/not-utf8-`), Buffer.from([0xff, 0xfe])]), 'x');
  await expect(rows(changes(page))).toHaveCount(names.length + 1);
  const tall = await rows(changes(page)).evaluateAll(all => all.map(row => row.getBoundingClientRect().height));
  expect(new Set(tall)).toEqual(new Set([28]));
  // The end of a long name, which tells what it is, can be read.
  const end = rows(changes(page)).locator('.jp-SyftSync-nameEnd', { hasText: '.parquet' });
  await expect(end).toBeInViewport({ ratio: 1 });
  await expect(panel(page)).toContainText('line␊break.txt');
  await expect(panel(page)).toContainText('not-utf8-\\xFF\\xFE');
  await expect(panel(page).locator('img')).toHaveCount(0);
});
