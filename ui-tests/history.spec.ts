/** The versions of a file and what they were: else a user could not find the state to go back to. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { repository } from './jupyter';
import { expect, test } from './lab';
import { axe, bar, execute, onDisk, openPanel, panel, rowOf, rows, showHistory, versions, workspace } from './syft';

test('“Show history” in the file browser shows how each version came about, and its size', async ({
  page,
  tmpPath
}) => {
  const file = join(workspace, tmpPath, 'life.txt');
  writeFileSync(file, 'one\n');
  await openPanel(page);
  await page.filebrowser.refresh();
  await page.sidebar.openTab('filebrowser');
  const menu = await page.menu.openContextMenuLocator('.jp-DirListing-item:has-text("life.txt")');
  await menu.getByText('Show history').click();
  const list = versions(page);
  await expect(rows(list)).toHaveCount(1);
  await expect(rows(list).first()).toContainText(/created.*4 B/s);

  writeFileSync(file, 'one\ntwo\n');
  await expect(rows(list)).toHaveCount(2);
  await expect(rows(list).first()).toContainText(/modified.*8 B.*\+4 B/s);
  rmSync(file);
  await expect(rows(list)).toHaveCount(3);
  await expect(rows(list).first()).toContainText(/deleted/);
  await expect(rows(list).first()).toHaveAttribute('title', /life\.txt\ndeleted, .*20\d\d/);
});

test('the history follows a file through moves', async ({ page, tmpPath }) => {
  const folder = join(workspace, tmpPath);
  writeFileSync(join(folder, 'before.txt'), 'a content of its own\n');
  await showHistory(page, `${tmpPath}/before.txt`);
  await expect(rows(versions(page))).toHaveCount(1);
  renameSync(join(folder, 'before.txt'), join(folder, 'after.txt'));
  await showHistory(page, `${tmpPath}/after.txt`);
  await expect(rows(versions(page))).toHaveCount(2);
  await expect(rows(versions(page)).first()).toContainText('renamed from before.txt');
  // What it was under the old name is put back under the name that it has.
  writeFileSync(join(folder, 'after.txt'), 'changed since\n');
  await expect(rows(versions(page))).toHaveCount(3);
  await rows(versions(page)).last().click();
  await bar(page).getByRole('button', { name: 'Restore', exact: true }).click();
  await expect(rows(versions(page))).toHaveCount(4);
  expect(onDisk(`${tmpPath}/after.txt`)).toBe('a content of its own\n');
  expect(readdirSync(folder)).toEqual(['after.txt']);
});

test('a folder’s history is what happened below it', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'inside.txt'), 'x');
  await showHistory(page, tmpPath, true);
  await expect(rowOf(versions(page), `${tmpPath}/inside.txt`)).toBeVisible();
  await expect(rows(versions(page)).locator(':not([data-path^="x"])').first()).toBeVisible();
  for (const path of await rows(versions(page)).evaluateAll(all =>
    all.map(row => row.getAttribute('data-path') ?? '')
  )) {
    expect(path.startsWith(tmpPath)).toBe(true);
  }
});

test('the panel follows the active tab, until it is pinned', async ({ page, tmpPath }) => {
  for (const name of ['first.txt', 'second.txt']) writeFileSync(join(workspace, tmpPath, name), `${name}\n`);
  await openPanel(page);
  await execute(page, 'docmanager:open', { path: `${tmpPath}/first.txt` });
  await expect(versions(page)).toHaveAttribute('aria-label', `Versions of ${tmpPath}/first.txt`);
  await execute(page, 'docmanager:open', { path: `${tmpPath}/second.txt` });
  await expect(versions(page)).toHaveAttribute('aria-label', `Versions of ${tmpPath}/second.txt`);
  const pin = page.getByRole('button', { name: 'Keep showing this file' });
  await pin.click();
  await page.getByRole('tab', { name: 'first.txt' }).click();
  await expect(page.getByRole('button', { name: 'Follow the active tab again' })).toHaveAttribute(
    'aria-pressed',
    'true'
  );
  await expect(versions(page)).toHaveAttribute('aria-label', `Versions of ${tmpPath}/second.txt`);
});

test('unsaved edits are shown as what is not kept yet', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'edited.txt'), 'x\n');
  await openPanel(page);
  await execute(page, 'docmanager:open', { path: `${tmpPath}/edited.txt`, factory: 'Editor' });
  await page.locator('.jp-FileEditor .cm-content').click();
  await page.keyboard.type('more');
  await expect(panel(page)).toContainText('Unsaved edits: save to keep them');
  await page.keyboard.press('Control+s');
  await expect(panel(page)).not.toContainText('Unsaved edits');
  await expect(rows(versions(page))).toHaveCount(2);
});

test('a version of a notebook opens read-only, with its outputs and without a kernel', async ({ page, tmpPath }) => {
  const file = join(workspace, tmpPath, 'analysis.ipynb');
  copyFileSync(join(repository, 'examples', '1-clean.ipynb'), file);
  await showHistory(page, `${tmpPath}/analysis.ipynb`);
  await rows(versions(page)).first().click();
  await expect(bar(page)).toContainText('read-only');
  const notebook = page.locator('.jp-NotebookPanel:visible');
  await expect(notebook).toContainText('1. Clean the counts');
  await expect(notebook.locator('.jp-OutputArea-output table').first()).toBeVisible();
  // Lists of lines are put together as Jupyter's server does it.
  await expect(notebook.locator('.jp-OutputArea-output').first()).not.toContainText(',,');
  await expect(notebook).toContainText('No Kernel');
  const sessions = await page.request.get('/api/sessions');
  expect(JSON.stringify(await sessions.json())).not.toContain('syft-history');
});

test('a version of a picture, a table, a text and a Parquet file opens in the viewer of its type', async ({ page }) => {
  for (const [name, selector] of [
    ['results/model.png', '.jp-ImageViewer img'],
    ['data/counts.csv', '.jp-CSVViewer'],
    ['README.md', '.jp-MarkdownViewer h1, .jp-FileEditor .cm-content'],
    ['data/clean.parquet', '.jp-SyftSync-details']
  ] as const) {
    await showHistory(page, name);
    await expect(versions(page)).toHaveAttribute('aria-label', `Versions of ${name}`);
    await rows(versions(page)).first().click();
    await expect(page.getByRole('toolbar', { name: `Version of ${basename(name)}` })).toBeVisible();
    await expect(page.locator(`:is(${selector}):visible`).first()).toBeVisible();
  }
});

test('looking at versions uses one tab; a double click keeps one', async ({ page, tmpPath }) => {
  const file = join(workspace, tmpPath, 'tabs.txt');
  await showHistory(page, `${tmpPath}/tabs.txt`);
  for (const text of ['first\n', 'second\n', 'third\n']) {
    writeFileSync(file, text);
    await expect(rows(versions(page)).first()).toBeVisible();
    await expect
      .poll(async () =>
        (await page.request.get('/syft-sync/api/history', { params: { path: `${tmpPath}/tabs.txt` } })).text()
      )
      .toContain(`"size":${text.length}`);
  }
  await expect(rows(versions(page))).toHaveCount(3);
  const tabs = page.getByRole('tab', { name: /^tabs \(/ });
  const shown = page.locator('.jp-FileEditor:visible .cm-content');
  await rows(versions(page)).nth(2).click();
  await expect(shown).toContainText('first');
  await rows(versions(page)).nth(1).click();
  await expect(shown).toContainText('second');
  await expect(tabs).toHaveCount(1);
  // The focus stays in the list.
  await expect(rows(versions(page)).nth(1)).toBeFocused();
  await bar(page).getByRole('button', { name: 'Older version' }).click();
  await expect(shown).toContainText('first');
  await expect(tabs).toHaveCount(1);
  await rows(versions(page)).nth(0).dblclick();
  await expect(shown).toContainText('third');
  await expect(bar(page).getByRole('button', { name: 'Keep open' })).toHaveCount(0);
  await rows(versions(page)).nth(1).click();
  await expect(shown).toContainText('second');
  await expect(tabs).toHaveCount(2);
});

test('a file that is called a notebook and is none is shown as text', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'broken.ipynb'), 'not a notebook at all\n');
  await showHistory(page, `${tmpPath}/broken.ipynb`);
  await rows(versions(page)).first().click();
  await expect(page.locator('.jp-FileEditor:visible .cm-content')).toContainText('not a notebook at all');
});

test('an excluded file says why it has no history', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'scratch.tmp'), 'x');
  await showHistory(page, '.syft-sync');
  await expect(panel(page)).toContainText('This file is not recorded');
});

test('everything works by keyboard: move, look, restore, back', async ({ page, tmpPath }) => {
  const file = join(workspace, tmpPath, 'keys.txt');
  writeFileSync(file, 'first\n');
  await execute(page, 'docmanager:open', { path: `${tmpPath}/keys.txt` });
  await showHistory(page, `${tmpPath}/keys.txt`);
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(file, 'second, longer\n');
  await expect(rows(versions(page))).toHaveCount(2);
  await rows(versions(page)).first().focus();
  await page.keyboard.press('ArrowDown');
  await expect(rows(versions(page)).nth(1)).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(bar(page)).toContainText('created');
  await expect(rows(versions(page)).nth(1)).toBeFocused();
  await page.keyboard.press('r');
  await expect(rows(versions(page))).toHaveCount(3);
  await expect(rows(versions(page)).first()).toContainText('restored');
  await page.keyboard.press('Home');
  await expect(rows(versions(page)).first()).toBeFocused();
  await page.keyboard.press('End');
  await expect(rows(versions(page)).last()).toBeFocused();
  await page.keyboard.press('/');
  await expect(page.getByRole('searchbox', { name: 'Filter files by name' })).toBeFocused();
  await rows(versions(page)).last().focus();
  await page.keyboard.press('Escape');
  await expect(page.locator('#jp-main-dock-panel :focus')).toHaveCount(1);
  expect(readdirSync(join(workspace, tmpPath)).filter(name => !name.startsWith('.'))).toEqual(['keys.txt']);
});

test('a version is pinned and labelled, and one whose content is gone says so', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/secret.txt`;
  writeFileSync(join(workspace, path), 'a password, written by mistake\n');
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(join(workspace, path), 'without it\n');
  await expect(rows(versions(page))).toHaveCount(2);
  const [newest, oldest] = [rows(versions(page)).first(), rows(versions(page)).last()];
  const choose = async (row: typeof newest, label: string): Promise<void> => {
    await row.click({ button: 'right' });
    await page.locator('.lm-Menu').getByText(label, { exact: true }).click();
  };

  await choose(newest, 'Pin');
  await expect(newest.locator('.jp-SyftSync-pinned')).toBeVisible();
  await expect(newest).toHaveAccessibleName(/pinned/);
  await choose(newest, 'Label…');
  await page.getByRole('dialog').getByRole('textbox').fill('submitted');
  await page.getByRole('dialog').getByRole('button', { name: 'Label' }).click();
  await expect(newest).toContainText('submitted');
  await expect(newest).toHaveAccessibleName(/label submitted/);

  // Another program erases what must not be kept; the row says so, and offers nothing that could only fail.
  const id = (await oldest.getAttribute('data-version'))!;
  const program = join(repository, 'server/dist/bundle/syft-sync.mjs');
  execFileSync(process.execPath, [program, '-C', workspace, '--json', 'erase', id, '--yes', '--keep-shared']);
  await expect(oldest).toContainText('erased');
  await expect(oldest).toHaveAccessibleName(/Its content was erased on/);
  expect(await axe(page, '#syft-sync-panel')).toEqual([]);
  await oldest.click({ button: 'right' });
  await expect(page.locator('.lm-Menu').getByText('Copy version id', { exact: true })).toBeVisible();
  await expect(page.locator('.lm-Menu').getByText('Restore', { exact: true })).toBeHidden();
  await page.keyboard.press('Escape');

  await choose(newest, 'Unpin');
  await expect(newest.locator('.jp-SyftSync-pinned')).toHaveCount(0);
  await choose(newest, 'Remove label…');
  await expect(newest).not.toContainText('submitted');
});
