/** Messages as a person receives them: what is shown of them, what is asked, and that nothing of the workspace is lost by them. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Locator, Page } from '@playwright/test';

import { Correspondent, alter } from './archives';
import { expect, test } from './lab';
import { axe, execute, onDisk, openPanel, panel, toast, workspace } from './syft';

const inbox = (page: Page): Locator => page.getByRole('grid', { name: 'Inbox', exact: true });
const message = (page: Page, text: string | RegExp): Locator => inbox(page).getByRole('row', { name: text });
const dialog = (page: Page): Locator => page.getByRole('dialog');
const filter = (page: Page): Locator => page.getByRole('searchbox', { name: /^Filter messages/ });

let ana: Correspondent;

test.beforeEach(async ({ page }) => {
  // Each test has a sender of its own, so that none is known from the one before.
  ana = new Correspondent(`ana${Date.now()}@lab`);
  await openPanel(page);
  await execute(page, 'syft-sync:show-messages');
});
test.afterEach(async ({ page }) => {
  ana.forget();
  const answer = await page.request.get('/syft-sync/api/messages?limit=1000');
  const { messages } = (await answer.json()) as { messages: { id: string }[] };
  for (const { id } of messages) {
    await page.request.delete(`/syft-sync/api/messages/${id}`, { headers: { 'X-Syft-Sync-Request': '1' } });
  }
});

/** Takes an archive in as another program would, not through the panel. */
async function receive(page: Page, archive: Buffer): Promise<string> {
  const answer = await page.request.post('/syft-sync/api/messages/receive', {
    data: archive,
    headers: { 'Content-Type': 'application/x-syft', 'X-Syft-Sync-Request': '1' }
  });
  expect(answer.ok()).toBe(true);
  return ((await answer.json()) as { id: string }).id;
}

test('a message is accepted after its words were compared, and the undo brings back what was there', async ({
  page,
  tmpPath
}) => {
  await expect(panel(page)).toContainText('Versions of files that others send you come as .syft files');
  writeFileSync(join(workspace, 'results.txt'), 'mine\n');
  await receive(
    page,
    readFileSync(ana.message({ 'results.txt': 'hers\n', 'new.txt': 'new\n' }, { note: 'look here' }))
  );
  const row = message(page, /^Unread, ana\d+@lab, new sender, .* look here/);
  await row.focus();
  await page.keyboard.press('a');
  await expect(dialog(page)).toContainText('Replaces 1 file of yours; 1 file is new here.');
  for (const word of ana.card.fingerprint.split(/\W+/)) await expect(dialog(page)).toContainText(word);
  const accept = dialog(page).getByRole('button', { name: 'Trust and accept' });
  await expect(accept).toBeDisabled();
  await dialog(page).getByLabel('Into the folder').press('Enter');
  await expect(dialog(page)).toBeVisible();
  expect(await axe(page, '.jp-Dialog')).toEqual([]);

  // The place is looked at again: below another folder nothing is replaced.
  await dialog(page).getByLabel('Into the folder').fill(`${tmpPath}/from ana`);
  await expect(dialog(page)).toContainText('2 files are new here.');
  await dialog(page).getByLabel('Into the folder').fill('');
  await dialog(page).getByRole('checkbox', { name: 'new.txt' }).uncheck();
  await dialog(page)
    .getByRole('checkbox', { name: /has the same words/ })
    .check();
  await accept.click();
  await expect(toast(page, /^Accepted results.txt from ana/)).toBeVisible();
  expect(onDisk('results.txt')).toBe('hers\n');
  expect(existsSync(join(workspace, 'new.txt'))).toBe(false);
  await expect(message(page, /ana\d+@lab, verified, .*accepted/)).toBeVisible();
  await toast(page, /^Accepted/)
    .getByRole('button', { name: 'Undo' })
    .click();
  await expect(toast(page, 'Undone: 1 file is as it was before.')).toBeVisible();
  expect(onDisk('results.txt')).toBe('mine\n');
});

test('what is altered, sealed for others, or of another key than before is said and cannot be accepted', async ({
  page
}) => {
  await receive(page, alter(ana.message({ 'a.txt': 'what she wrote' }), 'what she wrote', 'what she WROTE'));
  const stranger = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';
  await receive(page, readFileSync(ana.message({ 'b.txt': 'secret' }, { to: [stranger] })));
  await expect(message(page, /altered/)).toBeVisible();
  await expect(message(page, /locked/)).toBeVisible();
  const altered = await message(page, /altered/).getAttribute('data-message');
  await execute(page, 'syft-sync:accept-message', { id: altered }, false);
  await expect(dialog(page)).toContainText('It cannot be accepted: altered');
  await expect(dialog(page)).toContainText('Nothing of it was taken over.');
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  await message(page, /locked/).focus();
  await page.keyboard.press('a');
  await expect(dialog(page)).toHaveCount(0);
  expect(existsSync(join(workspace, 'a.txt'))).toBe(false);

  const id = await receive(page, readFileSync(ana.message({ 'first.txt': '1' })));
  await execute(page, 'syft-sync:accept-message', { id }, false);
  await dialog(page)
    .getByRole('checkbox', { name: /has the same words/ })
    .check();
  await dialog(page).getByRole('button', { name: 'Trust and accept' }).click();
  await expect(toast(page, /^Accepted/)).toBeVisible();
  const somebody = new Correspondent(ana.name);
  await receive(page, readFileSync(somebody.message({ 'second.txt': '2' })));
  const row = message(page, /other key than before/);
  await expect(row).toBeVisible();
  await execute(page, 'syft-sync:accept-message', { id: await row.getAttribute('data-message') }, false);
  await expect(dialog(page)).toContainText('The words of the other key');
  await expect(dialog(page)).toContainText(somebody.card.fingerprint);
  await dialog(page).getByRole('button', { name: 'Close' }).click();
  expect(existsSync(join(workspace, 'second.txt'))).toBe(false);
  somebody.forget();
});

test('a text and a notebook are compared with what is here before they are accepted', async ({ page }) => {
  const book = (cells: string[]): string =>
    JSON.stringify({
      nbformat: 4,
      nbformat_minor: 5,
      metadata: {},
      cells: cells.map((source, index) => ({
        cell_type: 'code',
        id: `cell${index}`,
        source,
        metadata: {},
        outputs: [],
        execution_count: null
      }))
    });
  writeFileSync(join(workspace, 'compared.ipynb'), book(['import this', 'x = 1', 'print(x)']));
  writeFileSync(join(workspace, 'compared.txt'), 'one\ntwo\nthree\n');
  const archive = ana.message({
    'compared.ipynb': book(['import this', 'x = 2', 'print(x)', 'x.plot()']),
    'compared.txt': 'one\nTWO\nthree\n'
  });
  const id = await receive(page, readFileSync(archive));
  await execute(page, 'syft-sync:accept-message', { id }, false);
  await dialog(page).getByRole('button', { name: 'Compare compared.ipynb with yours' }).click();
  const tab = page.getByRole('region', { name: 'Differences of compared.ipynb' });
  await expect(tab).toContainText('1 cell changed, 1 added');
  await expect(tab).toContainText('x = 1');
  await expect(tab).toContainText('x.plot()');
  await expect(tab).not.toContainText('import this');
  // From there the dialog comes back.
  await tab.getByRole('button', { name: 'Accept…' }).click();
  await dialog(page).getByRole('button', { name: 'Compare compared.txt with yours' }).click();
  const text = page.getByRole('region', { name: 'Differences of compared.txt' });
  await expect(text.getByRole('textbox', { name: /^Yours/ })).toContainText('two');
  await expect(text.getByRole('textbox', { name: /^From ana/ })).toContainText('TWO');
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark']) {
    await page.theme.setTheme(theme);
    expect([theme, ...(await axe(page, '#syft-sync-compare'))]).toEqual([theme]);
    expect([theme, ...(await axe(page, '#syft-sync-panel'))]).toEqual([theme]);
  }
});

test('by keyboard: to a message, away with it, and back', async ({ page }) => {
  for (const name of ['one', 'two', 'three']) {
    await receive(page, readFileSync(ana.message({ [`${name}.txt`]: name })));
  }
  await expect(inbox(page).getByRole('row')).toHaveCount(3);
  await filter(page).focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Home');
  await expect(message(page, /three\.txt/)).toBeFocused();
  await page.keyboard.press('ArrowDown');
  await expect(message(page, /two\.txt/)).toBeFocused();
  await page.keyboard.press('Delete');
  await expect(message(page, /two\.txt/)).toHaveCount(0);
  await expect(message(page, /one\.txt/)).toBeFocused();
  await toast(page, /^Removed the message/)
    .getByRole('button', { name: 'Undo' })
    .click();
  await expect(message(page, /two\.txt/)).toBeVisible();
  await message(page, /two\.txt/).focus();
  await page.keyboard.press('Delete');
  await expect(message(page, /two\.txt/)).toHaveCount(0);

  await page.keyboard.press('/');
  await expect(filter(page)).toBeFocused();
  await filter(page).fill('ONE.txt');
  await expect(inbox(page).getByRole('row')).toHaveCount(1);
  await filter(page).fill('no such thing');
  await expect(panel(page)).toContainText('No message in the inbox with “no such thing” in its sender, files or note.');
  await filter(page).press('Escape');
  await expect(inbox(page).getByRole('row')).toHaveCount(2);
  // Only when nobody wants it back any more is it gone.
  await expect
    .poll(async () => {
      const answer = await page.request.get('/syft-sync/api/messages?box=inbox');
      return ((await answer.json()) as { total: number }).total;
    })
    .toBe(2);
});

test('.syft files are dragged in from the file browser, chosen, and dropped from this computer', async ({
  page,
  tmpPath
}) => {
  mkdirSync(join(workspace, tmpPath), { recursive: true });
  copyFileSync(ana.message({ 'dragged.txt': 'x' }), join(workspace, tmpPath, 'dragged.syft'));
  await page.sidebar.moveTabToRight('filebrowser');
  await page.sidebar.openTab('filebrowser');
  await page.filebrowser.refresh();
  await openPanel(page);
  const item = page.locator('.jp-DirListing-item', { hasText: 'dragged.syft' });
  const from = (await item.boundingBox())!;
  const to = (await panel(page).boundingBox())!;
  await page.mouse.move(from.x + 20, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(to.x + to.width / 2, to.y + to.height / 2, { steps: 8 });
  await expect(panel(page)).toContainText('Take into Messages');
  await page.mouse.up();
  await expect(message(page, /dragged\.txt/)).toBeVisible();

  const chooser = page.waitForEvent('filechooser');
  await panel(page).getByRole('button', { name: 'Add a .syft file…' }).first().click();
  await (await chooser).setFiles(ana.message({ 'chosen.txt': 'x' }));
  await expect(message(page, /chosen\.txt/)).toBeVisible();

  const bytes = [...readFileSync(ana.message({ 'dropped.txt': 'x' }))];
  const transfer = await page.evaluateHandle(content => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(content)], 'dropped.syft'));
    data.items.add(new File(['no message'], 'picture.png'));
    return data;
  }, bytes);
  await panel(page).dispatchEvent('dragenter', { dataTransfer: transfer });
  await expect(panel(page)).toContainText('Take into Messages');
  await panel(page).dispatchEvent('drop', { dataTransfer: transfer });
  await expect(message(page, /dropped\.txt/)).toBeVisible();
  await expect(toast(page, /^1 file is no .syft file/)).toBeVisible();
});

test('a message is answered to its sender, and a file that is dragged in is shared', async ({ page, tmpPath }) => {
  await receive(page, readFileSync(ana.message({ 'asked.txt': 'x' })));
  await message(page, /asked\.txt/).click({ button: 'right' });
  await page.getByRole('menuitem', { name: 'Reply…' }).click();
  await expect(dialog(page).getByText('Reply', { exact: true })).toBeVisible();
  await expect(dialog(page).getByRole('button', { name: `Remove ${ana.name}` })).toBeVisible();
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();

  mkdirSync(join(workspace, tmpPath), { recursive: true });
  writeFileSync(join(workspace, tmpPath, 'results.txt'), 'what is shared\n');
  await page.sidebar.moveTabToRight('filebrowser');
  await page.sidebar.openTab('filebrowser');
  await page.filebrowser.refresh();
  await openPanel(page);
  const item = page.locator('.jp-DirListing-item', { hasText: 'results.txt' });
  const from = (await item.boundingBox())!;
  const to = (await panel(page).boundingBox())!;
  await page.mouse.move(from.x + 20, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(to.x + to.width / 2, to.y + to.height / 2, { steps: 8 });
  await page.mouse.up();
  await expect(dialog(page).getByText('Share as .syft', { exact: true })).toBeVisible();
  await expect(dialog(page)).toContainText('results.txt');
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
});

test('who is added by a link is known from then on, and who is removed is a new sender again', async ({ page }) => {
  await receive(page, readFileSync(ana.message({ 'known.txt': 'x' })));
  await expect(message(page, /new sender/)).toBeVisible();
  await panel(page).getByRole('button', { name: 'Contacts…' }).click();
  await expect(dialog(page).getByRole('img', { name: 'Your link as a QR code' })).toBeVisible();
  const link = dialog(page).getByRole('textbox', { name: 'Link of a contact' });
  await link.fill('syft-sync:contact?name=nobody');
  await link.press('Enter');
  await expect(dialog(page).getByRole('alert')).not.toBeEmpty();
  const { fingerprint, link: address } = ana.card;
  await link.fill(address);
  await link.press('Enter');
  await expect(dialog(page).getByRole('status')).toContainText(`Added ${ana.name}.`);
  for (const word of fingerprint.split('-')) await expect(dialog(page).getByRole('status')).toContainText(word);
  expect(await axe(page, '.jp-Dialog')).toEqual([]);
  await dialog(page).getByRole('button', { name: 'Close', exact: true }).click();
  await message(page, /verified/).focus();
  await page.keyboard.press('a');
  await expect(dialog(page).getByRole('button', { name: 'Accept', exact: true })).toBeEnabled();
  await expect(dialog(page).getByRole('checkbox')).toHaveCount(0);
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  await panel(page).getByRole('button', { name: 'Contacts…' }).click();
  await dialog(page)
    .getByRole('button', { name: `Remove ${ana.name}` })
    .click();
  await expect(message(page, /new sender/)).toHaveCount(1);
  await dialog(page).getByRole('button', { name: 'Close', exact: true }).click();
});
