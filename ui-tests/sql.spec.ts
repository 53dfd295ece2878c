/** SQL over the history, in JupyterLab, against the real sidecar: from the first question to a million rows. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { IJupyterLabPageFixture } from '@jupyterlab/galata';
import type { Locator } from '@playwright/test';
import { tableFromIPC } from 'apache-arrow';

import { expect, test } from './lab';
import { axe, bar, execute, panel, rows, showHistory, toast, versions, workspace } from './syft';

const tab = (page: IJupyterLabPageFixture): Locator => page.locator('.jp-SyftSync-sql:visible');
const editor = (page: IJupyterLabPageFixture): Locator => tab(page).getByRole('textbox', { name: /^Query in SQL/ });
const status = (page: IJupyterLabPageFixture): Locator => tab(page).locator('.jp-SyftSync-sqlStatus');
const grid = (page: IJupyterLabPageFixture): Locator => tab(page).getByRole('application', { name: /^Result/ });
const button = (page: IJupyterLabPageFixture, name: string): Locator =>
  tab(page).locator(`[data-jp-item-name="${name}"]`);
/** What the cursor of the grid is on, as it is read aloud. */
const cell = (page: IJupyterLabPageFixture): Locator => tab(page).locator('.jp-SyftSync-sqlCell');

async function ask(page: IJupyterLabPageFixture, query: string, run = true): Promise<void> {
  await execute(page, 'syft-sync:open-sql', { query });
  await expect(editor(page)).toBeVisible();
  if (run) await editor(page).press('Shift+Enter');
}

test('SQL: a first tab offers questions that run as they stand, and its result can be drawn and explained', async ({
  page
}) => {
  await execute(page, 'syft-sync:open-sql');
  const questions = tab(page).getByRole('region', { name: 'Questions worth asking' }).getByRole('button');
  await expect(questions).toHaveCount(5);
  for (let i = 0; i < 5; i++) {
    const query = (await questions.nth(i).getAttribute('title')) ?? '';
    const answer = await page.request.post('/syft-sync/api/sql', {
      data: { query },
      headers: { 'X-Syft-Sync-Request': '1' }
    });
    expect(answer.status(), `${query}\n${await answer.text()}`).toBe(200);
  }
  await questions.filter({ hasText: 'How much happened on each day?' }).click();
  await expect(status(page)).toContainText(/\d+ rows? · /);
  await tab(page).getByRole('tab', { name: 'Chart' }).click();
  await expect(
    tab(page).getByRole('img', { name: 'Chart of the result' }).locator('canvas, svg').first()
  ).toBeVisible();
  await tab(page).getByRole('tab', { name: 'Plan' }).click();
  await expect(tab(page).locator('pre')).toContainText(/AGGREGATE|GROUP_BY/);
});

test('SQL: all by keyboard, from completion to the history of a file', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/by-keyboard.csv`;
  writeFileSync(join(workspace, path), 'a,b\n1,2\n');
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  await ask(page, '', false);
  await page.keyboard.type('SELECT path, version_id FROM fil');
  await expect(page.locator('.cm-tooltip-autocomplete')).toContainText('files');
  await page.keyboard.press('Enter');
  await page.keyboard.type(" WHERE path = '");
  await page.keyboard.type('by-keyb');
  await expect(page.locator('.cm-tooltip-autocomplete')).toContainText(path);
  await page.keyboard.press('Enter');
  await expect(editor(page)).toContainText(`FROM files WHERE path = '${path}'`);
  await page.keyboard.press('Shift+Enter');
  await expect(status(page)).toContainText('1 row ·');
  await page.keyboard.press('Escape');
  await expect(grid(page)).toBeFocused();
  await expect(cell(page)).toContainText(`Row 1, path (text): ${path}`);
  await page.keyboard.press('ArrowRight');
  await expect(cell(page)).toContainText(/Row 1, version_id \(text\): .+\.\d+/);
  await page.keyboard.press('Enter');
  await expect(bar(page)).toContainText('read-only');
});

test('SQL: an error stands at its place in the query', async ({ page }) => {
  await ask(page, 'SELECT path,\n  nonsense\nFROM files');
  const fault = tab(page).locator('.jp-SyftSync-sqlFault');
  await expect(fault).toHaveText('nonsense');
  await expect(tab(page).getByRole('alert')).toContainText('nonsense');
  await expect(tab(page).getByRole('button', { name: 'Line 2, column 3' })).toBeVisible();
  await editor(page).press('Delete');
  await expect(fault).toHaveCount(0);
});

test('SQL: a query is stopped, and the tab is there for the next one', async ({ page }) => {
  await ask(page, 'SELECT count(*) FROM range(100000000) a, range(100000) b');
  await expect(status(page)).toContainText('Running');
  await button(page, 'stop').click();
  await expect(status(page)).toContainText('Cancelled');
  await expect(tab(page)).toContainText('The query was cancelled.');
  // The command ends with the query.
  const running = execute(page, 'syft-sync:run-sql');
  await expect(status(page)).toContainText('Running');
  await execute(page, 'syft-sync:stop-sql');
  await expect(status(page)).toContainText('Cancelled');
  await running;
});

test('SQL: a million rows come, scroll to their end, and a limit is said', async ({ page }) => {
  test.slow();
  await ask(page, "SELECT range AS n, 'row ' || range AS name FROM range(1000000)");
  // A limit against hanging, on a machine that does other things too.
  await expect(status(page)).toContainText('1,000,000 rows ·', { timeout: 100_000 });
  await grid(page).focus();
  await page.keyboard.press('Control+ArrowDown');
  await expect(cell(page)).toContainText('Row 1,000,000, n (int64): 999999');
  await tab(page).getByRole('combobox', { name: 'Rows at most' }).selectOption({ label: '1,000 rows' });
  await editor(page).press('Shift+Enter');
  await expect(status(page)).toContainText('First 1,000 rows, there are more');
});

test('SQL: a double click on a path shows its history; a result is exported', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/double.txt`;
  writeFileSync(join(workspace, path), 'one\n');
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  rmSync(join(workspace, path));
  await expect(rows(versions(page))).toHaveCount(2);
  await showHistory(page, 'README.md');
  await ask(page, `SELECT path, kind FROM changes WHERE path = '${path}'`);
  await expect(status(page)).toContainText('2 rows ·');
  await grid(page).dblclick({ position: { x: 100, y: 40 } });
  await expect(panel(page)).toBeVisible();
  await expect(versions(page)).toHaveAttribute('aria-label', `Versions of ${path}`);
  const download = page.waitForEvent('download');
  await execute(page, 'syft-sync:export-sql', { format: 'csv' });
  expect((await download).suggestedFilename()).toMatch(/^changes-20\d\d-\d\d-\d\d\.csv$/);
});

test('SQL: the launcher has a card, in whose place the tab opens by keyboard', async ({ page }) => {
  await page.menu.clickMenuItem('File>New Launcher');
  const card = page.locator('.jp-LauncherCard:visible', { hasText: /^SQL$/ });
  await expect(card).toHaveAttribute('title', /Ask the history/);
  await card.focus();
  await page.keyboard.press('Enter');
  await expect(editor(page)).toBeFocused();
  await expect(page.locator('.jp-Launcher:visible')).toHaveCount(0);
});

test('SQL: a result without rows says so, to the eye and to a screen reader', async ({ page }) => {
  await ask(page, "SELECT path, size FROM files WHERE path = 'nobody has this'");
  await expect(status(page)).toHaveText(/^No rows · \d+(\.\d)? m?s$/);
  await expect(tab(page).getByText(/^No rows: nothing fits the query\. It took \d/)).toBeVisible();
  await expect(grid(page)).toHaveAccessibleDescription(/^No rows/);
  await tab(page).getByRole('tab', { name: 'Chart' }).click();
  await expect(tab(page)).toContainText('A result with rows can be drawn here.');
  await tab(page).getByRole('tab', { name: 'Grid' }).click();
  await editor(page).fill('SELECT 1 AS one');
  await editor(page).press('Shift+Enter');
  await expect(status(page)).toContainText('1 row ·');
  await expect(grid(page)).not.toHaveAttribute('aria-describedby');
  await expect(tab(page).getByText(/^No rows/)).toHaveCount(0);
});

/** One of each type that a query may give, with nulls, borders and what files have to quote. */
const EVERY_TYPE = `SELECT * FROM (VALUES
  (1::TINYINT, 9007199254740993::BIGINT, 170141183460469231731687303715884105727::HUGEINT, 0.1::FLOAT, -0.0::DOUBLE, 12.30::DECIMAL(9, 2),
   true, ' a "b", c' || chr(10), ''::VARCHAR, '{"a": [1, null]}'::JSON, DATE '2024-02-29', TIME '01:02:03.5',
   TIMESTAMP '2024-02-29 01:02:03.000004', TIMESTAMPTZ '1969-12-31 23:59:59.999999+00', TIMESTAMP_NS '2024-02-29 01:02:03.000000005',
   INTERVAL '1 year 2 months 3 days 4 hours', '\\x00\\xFF'::BLOB, [1, NULL, 3], {'x': 1, 'y z': 'q"'}, MAP {'k': 1.5}, 'u'::ENUM ('u', 'v'),
   'd5fd5cf0-0000-4000-8000-000000000001'::UUID),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) AS t(tiny, big, huge, "float", "double", "decimal", yes, "text, quoted", empty, json, day, time, stamp, moment, nano, span, bytes, list,
  struct, map, enum, uuid), range(3000) r(n)`;

test('SQL: what is exported is what is shown, as the sidecar would write it, and can be cancelled', async ({
  page
}) => {
  await ask(page, EVERY_TYPE);
  await expect(status(page)).toContainText('6,000 rows ·');
  const asked: string[] = [];
  page.on('request', request => {
    if (request.url().includes('/api/sql')) asked.push(request.url());
  });
  const exported = async (format: string): Promise<Buffer> => {
    const download = page.waitForEvent('download');
    await execute(page, 'syft-sync:export-sql', { format });
    const file = await (await download).path();
    return readFileSync(file);
  };
  const written = async (format: string): Promise<Buffer> => {
    const data = { query: EVERY_TYPE, format };
    const answer = await page.request.post('/syft-sync/api/sql', { data, headers: { 'X-Syft-Sync-Request': '1' } });
    expect(answer.status()).toBe(200);
    return answer.body();
  };
  for (const format of ['csv', 'json'] as const) {
    expect((await exported(format)).toString(), format).toBe((await written(format)).toString());
  }
  const whole = (bytes: Buffer): string =>
    JSON.stringify(tableFromIPC(bytes).toArray(), (_, value: unknown) => String(value));
  expect(whole(await exported('arrow'))).toBe(whole(await written('arrow')));
  expect(asked).toEqual([]);
  const parquet = await exported('parquet');
  expect(parquet.subarray(0, 4).toString()).toBe('PAR1');
  expect(asked).toHaveLength(2);
  await expect(toast(page, 'Exported as Parquet: 6,000 rows.')).toBeVisible();

  // Long enough to be cancelled.
  await button(page, 'export').click();
  await expect(page.getByRole('menuitem', { name: 'Parquet, by running the query again' })).toBeVisible();
  await page.keyboard.press('Escape');
  await ask(page, "SELECT range AS n, 'row ' || range AS name FROM range(1000000)");
  await expect(status(page)).toContainText('1,000,000 rows ·', { timeout: 100_000 });
  await execute(page, 'syft-sync:export-sql', { format: 'json' }, false);
  await toast(page, 'Exporting as JSON').getByRole('button', { name: 'Cancel' }).click();
  await expect(toast(page, 'The export was cancelled.')).toBeVisible();
});

test('SQL: for everyone, in every theme and at 320 pixels', async ({ page }) => {
  await ask(page, "SELECT at, path, size, NULL AS nothing, ['a', 'b'] AS list FROM changes ORDER BY at LIMIT 200");
  await expect(status(page)).toContainText(/rows? ·/);
  for (const theme of ['Light', 'Dark', 'High contrast']) {
    if (theme === 'Light') await page.theme.setLightTheme();
    else if (theme === 'Dark') await page.theme.setDarkTheme();
    else await page.theme.setTheme('JupyterLab Dark High Contrast');
    const found = await axe(page, '.jp-SyftSync-sql');
    // JupyterLab's own toolbar says of each of its buttons whether it is pressed, on an element that axe does not know as one.
    expect(
      found.filter(text => !/^aria-allowed-attr.*\n<jp-button /.test(text)),
      theme
    ).toEqual([]);
  }
  await page.theme.setLightTheme();
  await page.sidebar.close('left');
  const list = tab(page).getByRole('tree');
  const part = async (): Promise<number> =>
    ((await list.boundingBox())?.width ?? 0) / ((await tab(page).boundingBox())?.width ?? 1);
  const wide = await part();
  expect(wide).toBeGreaterThan(0.1);
  const size = page.viewportSize() ?? { width: 1280, height: 720 };
  await page.setViewportSize({ width: 420, height: 700 });
  await expect(list).toBeHidden();
  await page.setViewportSize(size);
  // As wide as before: people make their windows narrow for a moment.
  await expect.poll(part).toBeCloseTo(wide, 1);
  await page.setViewportSize({ width: 420, height: 700 });
  await expect(list).toBeHidden();
  for (const name of ['Grid', 'Chart', 'Plan']) {
    await expect(tab(page).getByRole('tab', { name })).toBeInViewport({ ratio: 1 });
  }
  await expect(grid(page)).toBeInViewport();
  await expect(button(page, 'run')).toBeInViewport({ ratio: 1 });
});
