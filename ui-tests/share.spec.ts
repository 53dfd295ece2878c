/** Sharing as a person does it: what goes is what was shown, it can be verified, and what is in the way is said where it is. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Locator, Page } from '@playwright/test';

import { repository } from './jupyter';
import { expect, test } from './lab';
import { axe, execute, openPanel, rows, showHistory, toast, versions, workspace } from './syft';

const PROGRAM = join(repository, 'server', 'dist', 'bundle', 'syft-sync.mjs');
const dialog = (page: Page): Locator => page.getByRole('dialog');
const share = (page: Page): Locator => dialog(page).getByRole('button', { name: 'Share', exact: true });
const place = (page: Page): Locator => dialog(page).getByLabel('Path of the file');

interface Verified {
  ok: boolean;
  note?: string;
  sealed: boolean;
  sender: { name: string; publicKey?: string };
  files: { path: string; size: number }[];
}

/** What the command line says of a file, without the workspace's keys. */
function verify(file: string): Verified {
  const output = execFileSync(process.execPath, [PROGRAM, '--json', 'verify', file], { encoding: 'utf8' });
  return JSON.parse(output) as Verified;
}

const flushed = (page: Page): Promise<unknown> =>
  page.request.post('/syft-sync/api/flush', { data: {}, headers: { 'X-Syft-Sync-Request': '1' } });

test.afterEach(async ({ page }) => {
  const answer = await page.request.get('/syft-sync/api/messages?limit=1000');
  const { messages } = (await answer.json()) as { messages: { id: string }[] };
  for (const { id } of messages) {
    await page.request.delete(`/syft-sync/api/messages/${id}`, { headers: { 'X-Syft-Sync-Request': '1' } });
  }
});

test('by keyboard, from the file browser to a file that the command line verifies', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'analysis.txt'), 'what is shared\n');
  writeFileSync(join(workspace, tmpPath, 'analysis.syft'), 'of something else\n');
  await page.filebrowser.openDirectory(tmpPath);
  await page.filebrowser.refresh();
  await page.locator('.jp-DirListing-item', { hasText: 'analysis.txt' }).click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Share as .syft…' }).waitFor();
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('ArrowDown');
    if (await page.locator('.lm-Menu-item.lm-mod-active', { hasText: 'Share as .syft…' }).isVisible()) break;
  }
  await page.keyboard.press('Enter');
  await expect(dialog(page)).toContainText('analysis.txt');
  // The name beside it is taken.
  await expect(place(page)).toHaveValue(`${tmpPath}/analysis-2.syft`);
  await expect(dialog(page).getByRole('combobox', { name: 'For' })).toBeFocused();
  await page.keyboard.type('Ben');
  await page.keyboard.press('Enter');
  await expect(dialog(page)).toContainText('Not encrypted, since no age key is known of Ben');
  await page.keyboard.press('Tab');
  await page.keyboard.type('for the meeting');
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark']) {
    await page.theme.setTheme(theme);
    expect([theme, ...(await axe(page, '.jp-Dialog'))]).toEqual([theme]);
  }
  await place(page).focus();
  await page.keyboard.press('Enter');
  await expect(toast(page, `Saved as ${tmpPath}/analysis-2.syft.`)).toBeVisible();
  const found = verify(join(workspace, tmpPath, 'analysis-2.syft'));
  expect(found).toMatchObject({ ok: true, note: 'for the meeting', sealed: false });
  expect(found.sender.publicKey).toBeDefined();
  expect(found.files).toMatchObject([{ path: `${tmpPath}/analysis.txt`, size: 15 }]);
});

test('of a folder what was shown and chosen goes, an older version too, and what cannot is said', async ({
  page,
  tmpPath
}) => {
  const folder = `${tmpPath}/results`;
  mkdirSync(join(workspace, folder, '__pycache__'), { recursive: true });
  writeFileSync(join(workspace, folder, '__pycache__', 'x.pyc'), 'compiled');
  writeFileSync(join(workspace, folder, 'a.txt'), 'older\n');
  writeFileSync(join(workspace, folder, 'secret.txt'), 'not for others\n');
  await flushed(page);
  writeFileSync(join(workspace, folder, 'a.txt'), 'newer, and longer\n');
  void execute(page, 'syft-sync:share', { paths: [folder] });
  await expect(dialog(page)).toContainText('2 files');
  await dialog(page).getByRole('checkbox', { name: 'secret.txt' }).uncheck();
  await expect(dialog(page)).toContainText('1 of 2 files, 18 B');
  await dialog(page)
    .getByRole('button', { name: /^Version of .*a\.txt: newest/ })
    .click();
  await dialog(page)
    .getByRole('combobox', { name: /^Version of .*a\.txt/ })
    .selectOption({ index: 1 });
  await expect(dialog(page)).toContainText('1 of 2 files, 6 B');
  await dialog(page)
    .getByText(/is left out|are left out/)
    .click();
  await expect(dialog(page).getByRole('list', { name: 'Left out' })).toContainText('__pycache__');
  // Written while the dialog is open: not what was shown.
  writeFileSync(join(workspace, folder, 'later.txt'), 'later\n');
  await share(page).click();
  await expect(toast(page, `Saved as ${tmpPath}/results.syft.`)).toBeVisible();
  expect(verify(join(workspace, `${folder}.syft`)).files).toMatchObject([{ path: `${folder}/a.txt`, size: 6 }]);
});

test('what is refused is said at its field, and what was typed stays', async ({ page, tmpPath }) => {
  writeFileSync(join(workspace, tmpPath, 'a.txt'), 'a\n');
  writeFileSync(join(workspace, tmpPath, 'taken.syft'), 'precious\n');
  await flushed(page);
  void execute(page, 'syft-sync:share', { paths: [`${tmpPath}/a.txt`], recipients: ['Ben'] });
  await place(page).fill(`${tmpPath}/taken`);
  await share(page).click();
  await expect(dialog(page).getByRole('alert')).toContainText('There is a file');
  await expect(place(page)).toBeFocused();
  await place(page).fill('../out.syft');
  await share(page).click();
  await expect(dialog(page).getByRole('alert')).toContainText('Choose a place in the workspace');
  await place(page).fill(`${tmpPath}/no such folder/a.syft`);
  await share(page).click();
  await expect(dialog(page).getByRole('alert')).toContainText('There is no folder');
  // Of one of two no key is known: it is sealed for both or for none.
  await dialog(page)
    .getByRole('combobox', { name: 'For' })
    .fill('age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p,');
  await expect(dialog(page).getByRole('alert')).toContainText('no age key is known of Ben');
  await place(page).fill(`${tmpPath}/sealed.syft`);
  await share(page).click();
  expect(existsSync(join(workspace, tmpPath, 'sealed.syft'))).toBe(false);
  const encrypt = dialog(page).getByRole('checkbox', { name: 'Encrypt for the recipients' });
  await encrypt.uncheck();
  await expect(dialog(page)).toContainText(
    'Not encrypted: whoever gets the file can read it, and not only Ben and age1ql3z7'
  );
  await encrypt.check();
  await expect(dialog(page).getByRole('alert')).toContainText('no age key is known of Ben');
  await dialog(page).getByRole('button', { name: 'Remove Ben' }).click();
  await expect(dialog(page)).toContainText('Encrypted: only age1ql3z7…ac8p can open it');
  await share(page).click();
  await expect(toast(page, `Saved as ${tmpPath}/sealed.syft. Encrypted`)).toBeVisible();
  const outbox = await (await page.request.get('/syft-sync/api/messages?box=outbox')).json();
  expect(outbox).toMatchObject({ messages: [{ sealed: true, delivered: { path: `${tmpPath}/sealed.syft` } }] });
});

test('a version of the history is shared by its row, and saved by the browser', async ({ page, tmpPath }) => {
  const path = `${tmpPath}/history.txt`;
  writeFileSync(join(workspace, path), 'the one that is meant\n');
  await openPanel(page);
  await showHistory(page, path);
  await expect(rows(versions(page))).toHaveCount(1);
  writeFileSync(join(workspace, path), 'now\n');
  await expect(rows(versions(page))).toHaveCount(2);
  await rows(versions(page)).last().click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Share as .syft…' }).click();
  await expect(dialog(page)).toContainText('22 B');
  await dialog(page).getByRole('radio', { name: 'Download with the browser' }).check();
  const saved = page.waitForEvent('download');
  await share(page).click();
  const file = await (await saved).path();
  expect(verify(file).files).toMatchObject([{ path, size: 22 }]);
});

test('what a notebook of a stranger says of a message is shown as that, runs nothing and passes for nothing', async ({
  page,
  tmpPath
}) => {
  const attack = '<img src=x onerror="window.attacked=1">\u202e';
  const claims = {
    form: 1,
    path: '../../etc/secret.syft',
    state: 'verified',
    sender: { name: `Ana ${attack}`, fingerprint: 'five words of a key' },
    recipients: [],
    note: attack,
    sealed: false,
    count: 5000,
    bytes: 10_000_000,
    files: Array.from({ length: 100 }, (_one, index) => ({ path: `data/${index} ${attack}.csv`, size: 100 }))
  };
  const output = (data: unknown): unknown => ({
    output_type: 'display_data',
    metadata: {},
    data: {
      'application/vnd.syft.message+json': data,
      'text/html': '<script>window.attacked=2</script>',
      'text/plain': 'a message'
    }
  });
  const notebook = {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec: { name: 'python3', display_name: 'Python 3' } },
    cells: [
      {
        id: 'first',
        cell_type: 'code',
        source: '',
        metadata: {},
        execution_count: 1,
        outputs: [output(claims), output({ ...claims, files: 'no list' })]
      }
    ]
  };
  writeFileSync(join(workspace, tmpPath, 'stranger.ipynb'), JSON.stringify(notebook));
  await page.notebook.openByPath(`${tmpPath}/stranger.ipynb`);
  const shown = page.getByRole('region', { name: 'SyftMessage, as the notebook says' });
  await expect(shown).toContainText('“verified”, as the notebook says. It was not checked here.');
  await expect(shown).toContainText('<img src=x onerror="window.attacked=1">');
  await expect(shown).toContainText('and 4900 more');
  await expect(shown).not.toContainText('\u202e');
  // A path that leads out of the workspace is nothing to open.
  await expect(shown.getByRole('button', { name: 'Open' })).toHaveCount(0);
  await expect(page.locator('.jp-OutputArea')).toContainText('has not the form of one');
  expect(await page.evaluate(() => (window as { attacked?: number }).attacked)).toBeUndefined();
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark']) {
    await page.theme.setTheme(theme);
    expect([theme, ...(await axe(page, '.jp-SyftSync-messageOutput'))]).toEqual([theme]);
  }
});
