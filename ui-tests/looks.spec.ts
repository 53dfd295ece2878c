/** For everyone: by axe in every theme, at every width, with the pointer and without. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { IJupyterLabPageFixture } from '@jupyterlab/galata';

import { expect, test } from './lab';
import { axe, bar, deletedFiles, execute, panel, rowOf, rows, showHistory, versions, workspace } from './syft';

/** A second attempt has the same folder, and needs a file without a past. */
const fileName = (): string => `full${test.info().retry === 0 ? '' : `-${test.info().retry}`}.txt`;

/** The panel with all it can show at once: versions, changes, deleted files; and a version beside it. */
async function full(page: IJupyterLabPageFixture, tmpPath: string): Promise<void> {
  const file = join(workspace, tmpPath, fileName());
  await showHistory(page, `${tmpPath}/${fileName()}`);
  writeFileSync(file, 'one\n');
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(file, 'one\ntwo\n');
  await expect(rows(versions(page))).toHaveCount(2);
  writeFileSync(file, 'o\n');
  await expect(rows(versions(page))).toHaveCount(3);
  const versionId = await rows(versions(page)).first().getAttribute('data-version');
  await execute(page, 'syft-sync:pin-version', { versionId });
  for (const name of ['a label that is longer than the row has room for', 'another']) {
    await execute(page, 'syft-sync:label-version', { versionId, name });
  }
  await expect(rows(versions(page)).first()).toContainText('+1');
  await execute(page, 'syft-sync:recover-deleted');
  await rows(versions(page)).last().click();
  await expect(bar(page)).toBeVisible();
}

test('axe finds nothing in the light, the dark and the high contrast theme', async ({ page, tmpPath }) => {
  await full(page, tmpPath);
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark', 'JupyterLab Dark High Contrast']) {
    await page.theme.setTheme(theme);
    for (const part of ['#syft-sync-panel', '.jp-SyftSync-bar', '.jp-SyftSync-statusItem']) {
      expect([theme, part, ...(await axe(page, part))]).toEqual([theme, part]);
    }
  }
});

test('at 240 pixels nothing is cut but names', async ({ page, tmpPath }) => {
  await full(page, tmpPath);
  await page.evaluate(() => {
    const split = document.querySelector('#jp-main-split-panel') as HTMLElement;
    split.dispatchEvent(new Event('resize'));
  });
  const handle = page.locator('#jp-main-split-panel > .lm-SplitPanel-handle').first();
  const box = (await handle.boundingBox())!;
  const left = (await panel(page).boundingBox())!.x;
  await page.mouse.move(box.x + box.width / 2, box.y + 200);
  await page.mouse.down();
  await page.mouse.move(left + 240, box.y + 200, { steps: 5 });
  await page.mouse.up();
  expect((await panel(page).boundingBox())!.width).toBeLessThanOrEqual(250);
  const row = rows(versions(page)).first();
  for (const part of ['.jp-SyftSync-time', '.jp-SyftSync-what', '.jp-SyftSync-delta']) {
    const cut = await row.locator(part).evaluate(node => node.scrollWidth > node.clientWidth + 1);
    expect(`${part} ${cut}`).toBe(`${part} false`);
    await expect(row.locator(part)).toBeInViewport({ ratio: 1 });
  }
  expect(await axe(page, '#syft-sync-panel')).toEqual([]);
});

test('the focus is always visible, and Tab goes through a list in one step', async ({ page, tmpPath }) => {
  await full(page, tmpPath);
  await rows(versions(page)).first().focus();
  await page.keyboard.press('ArrowDown');
  const focused = page.locator('#syft-sync-panel [role="row"]:focus');
  await expect(focused).toHaveCount(1);
  const border = await focused.evaluate(row => getComputedStyle(row).borderTopColor);
  expect(border).not.toMatch(/rgba\(.*, 0\)/);
  await page.keyboard.press('Tab');
  await expect(page.locator('[aria-label^="Versions of"] :focus')).toHaveCount(0);
  await page.keyboard.press('Shift+Tab');
  await expect(focused).toHaveCount(1);
});

test('the deleted files are kept apart from those that came back', async ({ page, tmpPath }) => {
  await full(page, tmpPath);
  await expect(rowOf(deletedFiles(page), `${tmpPath}/${fileName()}`)).toHaveCount(0);
});
