/** What JupyterLab offers and keeps: commands found by name, a layout that is there again after a reload. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from './lab';
import { bar, execute, openPanel, panel, rows, showHistory, versions, workspace } from './syft';

test('every command says what it does and what it takes, for menus, shortcuts and assistants', async ({ page }) => {
  const commands = await page.evaluate(async () => {
    interface Registry {
      listCommands(): string[];
      label(id: string): string;
      describedBy(id: string): Promise<{ args: { type?: unknown; properties?: unknown } | null }>;
    }
    const { commands: registry } = (window as unknown as { jupyterapp: { commands: Registry } }).jupyterapp;
    const ours = registry.listCommands().filter(id => id.startsWith('syft-sync:'));
    return Promise.all(
      ours.map(async id => ({ id, label: registry.label(id), args: (await registry.describedBy(id)).args }))
    );
  });
  expect(commands.length).toBeGreaterThanOrEqual(14);
  for (const { id, label, args } of commands) {
    expect(label, id).not.toBe('');
    expect(args, id).toMatchObject({ type: 'object' });
    expect(args?.properties, id).toBeDefined();
  }
});

test('the command palette finds what the panel can do', async ({ page }) => {
  await execute(page, 'apputils:activate-command-palette');
  const palette = page.locator('.lm-CommandPalette:visible');
  await palette.locator('input').fill('Syft Sync');
  for (const label of ['Show Syft Sync', 'Recover deleted files…', 'Look at every file now', 'Pause recording']) {
    await expect(palette.getByText(label, { exact: true })).toBeVisible();
  }
  await palette.getByText('Show Syft Sync', { exact: true }).click();
  await expect(panel(page)).toBeVisible();
});

test('after a reload the panel and the versions that were kept open are there again', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/stays.txt`;
  writeFileSync(join(workspace, path), 'the older state\n');
  await openPanel(page);
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(join(workspace, path), 'now\n');
  await expect(rows(versions(page))).toHaveCount(2);
  // JupyterLab saves the layout a moment after it changed.
  const saved = page.waitForRequest(
    request => request.method() === 'PUT' && (request.postData() ?? '').includes('syft-history:')
  );
  await rows(versions(page)).last().dblclick();
  await expect(bar(page)).toContainText('read-only');
  await saved;
  // As the browser does it: galata's own reload waits for an empty launcher.
  await page.evaluate(() => location.reload());
  // All of JupyterLab starts anew, which takes a slow machine a while.
  await expect(panel(page)).toBeVisible({ timeout: 30_000 });
  await expect(page.locator('.jp-FileEditor:visible .cm-content')).toContainText('the older state');
  await expect(bar(page)).toContainText('read-only');
  await expect(bar(page).getByRole('button', { name: 'Restore', exact: true })).toBeVisible();
});
