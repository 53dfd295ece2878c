/** What changes appears in the panel, whoever changed it: else a user would believe that a result was not kept. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from './lab';
import { changes, openPanel, panel, rowOf, rows, workspace } from './syft';

test.beforeEach(async ({ page }) => {
  await openPanel(page);
});

test('a save from the notebook editor appears at the top', async ({ page, tmpPath }) => {
  await page.notebook.createNew('saved.ipynb');
  await page.notebook.setCell(0, 'code', '1 + 1');
  await page.notebook.save();
  await openPanel(page);
  const row = rowOf(changes(page), `${tmpPath}/saved.ipynb`).first();
  await expect(row).toBeVisible();
  await expect(rows(changes(page)).first()).toHaveAttribute('data-path', `${tmpPath}/saved.ipynb`);
});

test('a file that a kernel writes appears', async ({ page, tmpPath }) => {
  await page.notebook.createNew('writes.ipynb');
  await page.notebook.setCell(0, 'code', 'open("from_kernel.csv", "w").write("a,b\\n1,2\\n")');
  await page.notebook.run();
  await openPanel(page);
  await expect(rowOf(changes(page), `${tmpPath}/from_kernel.csv`)).toContainText('new');
});

test('a file that a terminal writes appears', async ({ page, tmpPath }) => {
  await page.menu.clickMenuItem('File>New>Terminal');
  const terminal = page.locator('.jp-Terminal');
  await expect(terminal.locator('.xterm-screen')).toBeVisible();
  await terminal.click();
  await page.keyboard.type(`echo hello > "${join(workspace, tmpPath)}/from_terminal.txt"`);
  await page.keyboard.press('Enter');
  await expect(rowOf(changes(page), `${tmpPath}/from_terminal.txt`)).toContainText('new');
});

test('another program’s writing, moving and deleting appear as what they are', async ({ page, tmpPath }) => {
  const folder = join(workspace, tmpPath);
  execFileSync('sh', ['-c', 'printf "one\\n" > by_shell.txt'], { cwd: folder });
  const grid = changes(page);
  await expect(rowOf(grid, `${tmpPath}/by_shell.txt`).first()).toContainText('new');
  appendFileSync(join(folder, 'by_shell.txt'), 'two\n');
  await expect(rowOf(grid, `${tmpPath}/by_shell.txt`).first()).toContainText('+4 B');
  renameSync(join(folder, 'by_shell.txt'), join(folder, 'renamed.txt'));
  await expect(rowOf(grid, `${tmpPath}/renamed.txt`).first()).toContainText('renamed');
  rmSync(join(folder, 'renamed.txt'));
  const gone = rowOf(grid, `${tmpPath}/renamed.txt`).first();
  await expect(gone).toContainText('deleted');
  await expect(gone).toHaveAttribute('aria-label', new RegExp(`^${tmpPath}/renamed.txt, deleted, Today`));
});

test('many files at once are one row that opens', async ({ page, tmpPath }) => {
  const folder = join(workspace, tmpPath, 'unpacked');
  mkdirSync(folder);
  for (let i = 0; i < 40; i++) writeFileSync(join(folder, `part-${i}.txt`), `part ${i}\n`);
  const burst = changes(page)
    .getByRole('row', { name: /^4\d files/ })
    .first();
  await expect(burst).toHaveAttribute('aria-expanded', 'false');
  await burst.click();
  await expect(burst).toHaveAttribute('aria-expanded', 'true');
  await expect(rowOf(changes(page), `${tmpPath}/unpacked/part-39.txt`)).toBeVisible();
});

test('the filter leaves what has the word in its name, and says so when nothing has', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'needle.txt'), 'x');
  writeFileSync(join(workspace, tmpPath, 'haystack.txt'), 'x');
  await expect(rowOf(changes(page), `${tmpPath}/haystack.txt`)).toBeVisible();
  const filter = page.getByRole('searchbox', { name: 'Filter files by name' });
  await filter.fill('NEEDLE');
  await expect(rowOf(changes(page), `${tmpPath}/haystack.txt`)).toHaveCount(0);
  await expect(rowOf(changes(page), `${tmpPath}/needle.txt`)).toBeVisible();
  // What comes now is filtered as well.
  writeFileSync(join(workspace, tmpPath, 'late.txt'), 'x');
  writeFileSync(join(workspace, tmpPath, 'late-needle.txt'), 'x');
  await expect(rowOf(changes(page), `${tmpPath}/late-needle.txt`)).toBeVisible();
  await expect(rowOf(changes(page), `${tmpPath}/late.txt`)).toHaveCount(0);
  await filter.fill('no such thing anywhere');
  await expect(panel(page)).toContainText('No change of a file with “no such thing anywhere” in its name.');
  await filter.press('Escape');
  await expect(rowOf(changes(page), `${tmpPath}/late.txt`)).toBeVisible();
});

test('new rows do not move what is being read', async ({ page, tmpPath }) => {
  const folder = join(workspace, tmpPath);
  const filter = page.getByRole('searchbox', { name: 'Filter files by name' });
  for (let i = 0; i < 60; i++) writeFileSync(join(folder, `row-${i}.txt`), 'x');
  // With a filter bursts are not folded: many rows.
  await filter.fill(`${tmpPath}/row-`);
  await expect(rows(changes(page)).first()).toHaveAttribute('data-path', /row-/);
  await expect.poll(() => rows(changes(page)).count()).toBeGreaterThan(8);
  // All that was written before is in the list: a file seen between its creation and its content comes twice.
  const unheard = async (): Promise<number> => {
    const { pending } = (await (await page.request.get('/syft-sync/api/status')).json()) as { pending: number };
    const asked = await page.request.get(`/syft-sync/api/changes?q=${encodeURIComponent(`${tmpPath}/row-`)}&limit=1`);
    const { total } = (await asked.json()) as { total: number };
    const listed = Number(await changes(page).getAttribute('aria-rowcount'));
    return pending + Math.abs(total + 1 - listed);
  };
  await expect.poll(unheard).toBe(0);
  await changes(page).evaluate(grid => grid.scrollTo({ top: 400 }));
  const waiting = page.getByRole('button', { name: /^\d new changes?$/ });
  const seen = await changes(page).evaluate(grid => grid.scrollTop);
  writeFileSync(join(folder, 'row-new.txt'), 'x');
  await expect(waiting).toBeVisible();
  expect(await changes(page).evaluate(grid => grid.scrollTop)).toBe(seen);
  await waiting.click();
  await expect(rows(changes(page)).first()).toHaveAttribute('data-path', `${tmpPath}/row-new.txt`);
});

test('the status bar says that files are recorded, and opens the panel', async ({ page }) => {
  await page.sidebar.openTab('filebrowser');
  await expect(panel(page)).toBeHidden();
  const item = page.getByRole('button', { name: /Recording/ });
  await expect(item).toHaveAttribute('title', /Syft Sync records .*\n.*version/);
  await item.click();
  await expect(panel(page)).toBeVisible();
});

/** One that fails while recording is paused must not take the others with it. */
test.afterEach(async ({ page }) => {
  await page.request.post('/syft-sync/api/resume', { data: {}, headers: { 'X-Syft-Sync-Request': '1' } });
});

test('pausing stops recording, and what changed meanwhile is recorded when it goes on', async ({ page, tmpPath }) => {
  const menu = page.getByRole('button', { name: 'Pause, recover, settings' });
  await menu.click();
  await page.locator('.lm-Menu').getByText('Pause recording').click();
  await expect(panel(page)).toContainText('Recording is paused');
  // The sentence takes its room from the lists; none of them is pushed out of sight.
  const last = panel(page).locator('.jp-AccordionPanel-title').last();
  await expect(last).toContainText('Messages');
  const below = async (): Promise<number> => {
    const [whole, title] = [(await panel(page).boundingBox())!, (await last.boundingBox())!];
    return Math.round(whole.y + whole.height - title.y - title.height);
  };
  await expect.poll(below).toBeLessThanOrEqual(2);
  expect(await below()).toBeGreaterThanOrEqual(0);
  await expect(page.getByRole('button', { name: /Paused/ })).toBeVisible();
  writeFileSync(join(workspace, tmpPath, 'while_paused.txt'), 'x');
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await expect(rowOf(changes(page), `${tmpPath}/while_paused.txt`)).toBeVisible();
  await expect(panel(page)).not.toContainText('Recording is paused');
  await expect.poll(below).toBeLessThanOrEqual(2);
  await menu.click();
  await expect(page.locator('.lm-Menu').getByText('Pause recording')).toBeVisible();
});
