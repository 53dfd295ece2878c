/** The panel as a user finds it: by names and roles, not by classes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from '@playwright/test';
import type { Locator, Page } from '@playwright/test';

/** The folder that the JupyterLab of the `ui` project serves. */
export const workspace = process.env.SYFT_UI_ROOT ?? '';

export const panel = (page: Page): Locator => page.getByRole('region', { name: 'Syft Sync', exact: true });
export const changes = (page: Page): Locator => page.getByRole('grid', { name: 'Changes in the workspace' });
export const versions = (page: Page): Locator => page.getByRole('grid', { name: /^Versions of/ });
export const deletedFiles = (page: Page): Locator => page.getByRole('grid', { name: 'Deleted files' });
/** Rows of a list that stand for a version. */
export const rows = (grid: Locator): Locator => grid.locator('[role="row"][data-version]');
export const rowOf = (grid: Locator, path: string): Locator => grid.locator(`[role="row"][data-path="${path}"]`);
export const bar = (page: Page): Locator => page.getByRole('toolbar', { name: /^Version of/ });
export const toast = (page: Page, text: string | RegExp): Locator =>
  page.locator('.Toastify__toast', { hasText: text });

/** Brings the panel to the front of its side bar. */
export async function openPanel(page: Page): Promise<void> {
  if (!(await panel(page).isVisible())) {
    await page.locator('.jp-SideBar [data-id="syft-sync-panel"]').click();
  }
  await expect(panel(page)).toBeVisible();
}

/** Runs a command of JupyterLab, to its end unless told. */
export function execute(
  page: Page,
  command: string,
  args: Record<string, unknown> = {},
  toEnd = true
): Promise<unknown> {
  return page.evaluate(
    ([id, given, wait]) => {
      interface Lab {
        commands: { execute(id: string, args: unknown): Promise<unknown> };
      }
      const lab = (window as unknown as { jupyterapp?: Lab; jupyterlab?: Lab }).jupyterapp;
      // What a command returns may be a widget, which cannot leave the browser.
      const done = lab?.commands.execute(id, given).then(() => undefined);
      return wait ? done : undefined;
    },
    [command, args, toEnd] as const
  );
}

/** Shows the history of a path and waits until it is loaded. */
export async function showHistory(page: Page, path: string, isFolder = false): Promise<void> {
  await execute(page, 'syft-sync:show-history', { path, isFolder });
  await expect(panel(page)).toBeVisible();
}

/** A recorded version's content, from the sidecar. */
export async function content(page: Page, versionId: string, base = '/'): Promise<string> {
  const response = await page.request.get(`${base}syft-sync/api/versions/${versionId}/content`);
  expect(response.ok()).toBe(true);
  return response.text();
}

/** What is on disk. */
export const onDisk = (path: string): string => readFileSync(join(workspace, path), 'utf8');

/** Injects axe and returns what it holds against a part of the page. */
export async function axe(page: Page, selector: string): Promise<string[]> {
  await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  return page.evaluate(async part => {
    interface Violation {
      id: string;
      help: string;
      nodes: { html: string; failureSummary: string }[];
    }
    const { axe: checker } = window as unknown as {
      axe: { run(part: string, options: unknown): Promise<{ violations: Violation[] }> };
    };
    const { violations } = await checker.run(part, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']
    });
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map(node => `${id}: ${help}\n${node.html.slice(0, 300)}\n${node.failureSummary}`)
    );
  }, selector);
}
