/** Putting versions back: nothing a user has, saved or not, may be lost by it. */
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { IJupyterLabPageFixture } from '@jupyterlab/galata';

import { expect, test } from './lab';
import {
  bar,
  deletedFiles,
  execute,
  onDisk,
  openPanel,
  panel,
  rowOf,
  rows,
  showHistory,
  toast,
  versions,
  workspace
} from './syft';

/** Writes a file twice and shows its two versions, the older one last. */
async function twoVersions(page: IJupyterLabPageFixture, path: string, older: string, newer: string): Promise<void> {
  writeFileSync(join(workspace, path), older);
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(join(workspace, path), newer);
  await expect(rows(versions(page))).toHaveCount(2);
}

async function edit(page: IJupyterLabPageFixture, text: string): Promise<void> {
  await page.locator('.jp-FileEditor:visible .cm-content').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type(text);
}

const editor = (page: IJupyterLabPageFixture): ReturnType<IJupyterLabPageFixture['locator']> =>
  page.locator('.jp-FileEditor:visible .cm-content');

test('restore puts a version back, the open tab follows, and Undo brings back what was there', async ({
  page,
  tmpPath
}) => {
  const path = `${tmpPath}/there-and-back.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await execute(page, 'docmanager:open', { path, factory: 'Editor' });
  await expect(editor(page)).toContainText('newer, and longer');
  await rows(versions(page)).last().hover();
  await rows(versions(page)).last().getByRole('button', { name: 'Restore this version' }).click();
  await expect(toast(page, 'Restored there-and-back.txt')).toBeVisible();
  expect(onDisk(path)).toBe('older\n');
  await expect(editor(page)).toContainText('older');
  await expect(rows(versions(page)).first()).toContainText('restored from');
  // As wide as JupyterLab makes its side bar, the row still tells from when.
  await page.mouse.move(800, 400);
  const words = rows(versions(page)).first().locator('.jp-SyftSync-what');
  await expect.poll(() => words.evaluate(text => text.scrollWidth - text.clientWidth)).toBeLessThanOrEqual(0);

  await toast(page, 'Restored there-and-back.txt').getByRole('button', { name: 'Undo' }).click();
  await expect(toast(page, 'Undone')).toBeVisible();
  expect(onDisk(path)).toBe('newer, and longer\n');
  await expect(editor(page)).toContainText('newer, and longer');
  // What was before, the restore and the undoing are all versions.
  await expect(rows(versions(page))).toHaveCount(4);
});

test('an open notebook follows a restore', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/follows.ipynb`;
  await page.notebook.createNew('follows.ipynb');
  await page.notebook.setCell(0, 'code', 'print("first")');
  await page.notebook.save();
  await showHistory(page, path);
  await expect(rows(versions(page)).first()).toBeVisible();
  const before = await rows(versions(page)).count();
  await page.notebook.setCell(0, 'code', 'print("second, and longer")');
  await page.notebook.save();
  await expect(rows(versions(page))).toHaveCount(before + 1);
  await rows(versions(page)).nth(1).focus();
  await page.keyboard.press('r');
  await expect(toast(page, 'Restored follows.ipynb')).toBeVisible();
  await expect(page.locator('.jp-NotebookPanel:visible .jp-Cell').first()).toContainText('print("first")');
  expect(onDisk(path)).toContain('first');
});

test('a tab follows a restore to an empty file', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/was-empty.txt`;
  await twoVersions(page, path, '', 'something\n');
  await execute(page, 'docmanager:open', { path, factory: 'Editor' });
  await expect(editor(page)).toContainText('something');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  await expect(toast(page, 'Restored was-empty.txt')).toBeVisible();
  expect(onDisk(path)).toBe('');
  await expect(editor(page)).not.toContainText('something');
});

test('unsaved edits are never overwritten unasked: cancel leaves all as it is', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/unsaved.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await execute(page, 'docmanager:open', { path, factory: 'Editor' });
  await edit(page, 'unsaved words');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('unsaved.txt has unsaved edits');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  expect(onDisk(path)).toBe('newer, and longer\n');
  await expect(editor(page)).toContainText('unsaved words');
});

test('unsaved edits can be saved first: they become a version of their own', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/save-first.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await execute(page, 'docmanager:open', { path, factory: 'Editor' });
  await edit(page, 'unsaved words');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  await page.getByRole('dialog').getByRole('button', { name: 'Save, then restore' }).click();
  await expect(toast(page, 'Restored save-first.txt')).toBeVisible();
  expect(onDisk(path)).toBe('older\n');
  await expect(rows(versions(page))).toHaveCount(4);
  const saved = await rows(versions(page)).nth(1).getAttribute('data-version');
  const kept = await page.request.get(`/syft-sync/api/versions/${saved}/content`);
  expect(await kept.text()).toContain('unsaved words');
});

test('unsaved edits can be discarded, when the user says so', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/discard.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await execute(page, 'docmanager:open', { path, factory: 'Editor' });
  await edit(page, 'unsaved words');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  await page.getByRole('dialog').getByRole('button', { name: 'Discard and restore' }).click();
  await expect(toast(page, 'Restored discard.txt')).toBeVisible();
  await expect(editor(page)).toContainText('older');
  await expect(editor(page)).not.toContainText('unsaved words');
  // There is nothing left to save, and nothing to ask about next time.
  await expect(panel(page)).not.toContainText('Unsaved edits');
  await rows(versions(page)).nth(1).focus();
  await page.keyboard.press('r');
  await expect(editor(page)).toContainText('newer, and longer');
});

test('a notebook with unsaved edits is never overwritten unasked', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/unsaved.ipynb`;
  await page.notebook.createNew('unsaved.ipynb');
  await page.notebook.setCell(0, 'code', 'kept = 1');
  await page.notebook.save();
  await showHistory(page, path);
  await expect(rows(versions(page)).first()).toContainText('modified');
  const before = await rows(versions(page)).count();
  await page.notebook.setCell(0, 'code', 'kept = 2  # and longer');
  await page.notebook.save();
  await expect(rows(versions(page))).toHaveCount(before + 1);
  await page.notebook.setCell(0, 'code', 'not_saved_yet = 3');
  await rows(versions(page)).nth(1).focus();
  await page.keyboard.press('r');
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('unsaved.ipynb has unsaved edits');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.locator('.jp-NotebookPanel:visible .jp-Cell').first()).toContainText('not_saved_yet = 3');
  expect(onDisk(path)).toContain('kept = 2');
});

test('a copy is put beside the file, can be opened, and undone', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/copied.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await rows(versions(page)).last().click();
  await bar(page).getByRole('button', { name: 'Restore as copy' }).click();
  const note = toast(page, 'Restored as copied');
  await expect(note).toBeVisible();
  expect(onDisk(path)).toBe('newer, and longer\n');
  const [copy] = readdirSync(join(workspace, tmpPath)).filter(name => name !== 'copied.txt');
  expect(copy).toMatch(/^copied .*\.txt$/);
  expect(onDisk(`${tmpPath}/${copy}`)).toBe('older\n');
  await note.getByRole('button', { name: 'Undo' }).click();
  await expect.poll(() => existsSync(join(workspace, tmpPath, copy!))).toBe(false);
});

test('a download is the version, byte for byte', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/bytes.bin`;
  const bytes = Buffer.from(Array.from({ length: 4096 }, (_unused, i) => (i * 7) % 256));
  writeFileSync(join(workspace, path), bytes);
  await showHistory(page, path);
  await rows(versions(page)).first().click();
  const downloading = page.waitForEvent('download');
  await bar(page).getByRole('button', { name: 'Download' }).click();
  const download = await downloading;
  expect(download.suggestedFilename()).toBe('bytes.bin');
  expect(readFileSync(await download.path())).toEqual(bytes);
});

test('deleted files are listed, can be looked at, and come back', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/precious.txt`;
  writeFileSync(join(workspace, path), 'the only copy\n');
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  rmSync(join(workspace, path));
  await expect(rows(versions(page))).toHaveCount(2);
  await execute(page, 'syft-sync:recover-deleted');
  const row = rowOf(deletedFiles(page), path);
  await expect(row).toBeVisible();
  await row.click();
  await expect(editor(page)).toContainText('the only copy');
  await row.hover();
  await row.getByRole('button', { name: 'Restore this version' }).click();
  await expect(toast(page, 'Restored precious.txt')).toBeVisible();
  expect(onDisk(path)).toBe('the only copy\n');
  await expect(rowOf(deletedFiles(page), path)).toHaveCount(0);
  await toast(page, 'Restored precious.txt').getByRole('button', { name: 'Undo' }).click();
  await expect.poll(() => existsSync(join(workspace, path))).toBe(false);
});

test('the context menu of a version offers what can be done with it', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/menu.txt`;
  await twoVersions(page, path, 'older\n', 'newer, and longer\n');
  await openPanel(page);
  await rows(versions(page)).last().click({ button: 'right' });
  const menu = page.locator('.lm-Menu');
  for (const label of [
    'Preview',
    'Restore',
    'Restore as copy',
    'Download',
    'Pin',
    'Label…',
    'Open the file as it is now',
    'Copy version id'
  ]) {
    await expect(menu.getByText(label, { exact: true })).toBeVisible();
  }
  await menu.getByText('Restore', { exact: true }).click();
  await expect(toast(page, 'Restored menu.txt')).toBeVisible();
  expect(onDisk(path)).toBe('older\n');
});

test('what cannot be restored says why, and nothing is touched', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/blocked`;
  writeFileSync(join(workspace, path), 'a file\n');
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  rmSync(join(workspace, path));
  await expect(rows(versions(page))).toHaveCount(2);
  // A folder stands where the file was.
  await page.contents.createDirectory(path);
  writeFileSync(join(workspace, path, 'inside.txt'), 'stays\n');
  await rows(versions(page)).last().focus();
  await page.keyboard.press('r');
  await expect(toast(page, 'blocked was not restored.')).toBeVisible();
  expect(onDisk(`${path}/inside.txt`)).toBe('stays\n');
});
