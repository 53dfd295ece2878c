/** A message as a document: what is said of it, that nothing of a stranger's runs, and that nothing is shown that cannot be relied on. */
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { IJupyterLabPageFixture } from '@jupyterlab/galata';
import type { Locator, Page } from '@playwright/test';

import { Correspondent, alter } from './archives';
import { expect, test } from './lab';
import { axe, execute, workspace } from './syft';

const view = (page: Page, title: string | RegExp): Locator => page.getByRole('article', { name: title });
const files = (page: Page): Locator => page.getByRole('grid', { name: 'Files of the message' });
const file = (page: Page, name: string | RegExp): Locator => files(page).getByRole('row', { name });
const preview = (page: Page, name: string): Locator => page.getByRole('region', { name: `Preview of ${name}` });

const PICTURE = 'iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAIAAAACUFjqAAAAEklEQVR4nGP4z8CAB+GTG8HSALfKY52fTcuYAAAAAElFTkSuQmCC';
/** A notebook that says of itself that it may run scripts. */
const NOTEBOOK = JSON.stringify({
  nbformat: 4,
  nbformat_minor: 5,
  metadata: { language_info: { name: 'python' } },
  cells: [
    { cell_type: 'markdown', id: 'a', source: '# Without outliers', metadata: {} },
    {
      cell_type: 'code',
      id: 'b',
      source: 'df.head()',
      metadata: { trusted: true },
      execution_count: 3,
      outputs: [
        {
          output_type: 'display_data',
          metadata: {},
          data: {
            'text/html':
              '<b>harmless</b><img src="https://tracker.example/seen.png"><img src="x" onerror="window.ran = 1"><script>window.ran = 2</script>'
          }
        },
        { output_type: 'display_data', metadata: {}, data: { 'application/javascript': 'window.ran = 3' } }
      ]
    }
  ]
});

let ana: Correspondent;
let made = 0;

test.beforeEach(() => {
  ana = new Correspondent(`ana${made++}@lab`);
});
test.afterEach(() => ana.forget());

/** Puts a `.syft` file where the file browser sees it, and opens it as a person does. */
async function open(page: IJupyterLabPageFixture, tmpPath: string, name: string, archive: Buffer): Promise<string> {
  const path = `${tmpPath}/${name}`;
  writeFileSync(join(workspace, path), archive);
  await page.filebrowser.refresh();
  await page.filebrowser.open(path);
  return path;
}

test('a double click shows who sent it, what is proven, and the files, and nothing of it runs', async ({
  page,
  tmpPath
}) => {
  const asked: string[] = [];
  page.on('request', request => {
    if (request.url().includes('tracker.example')) asked.push(request.url());
    if (/\/api\/contents\/[^?]*\.syft/.test(request.url())) asked.push(`${request.method()} ${request.url()}`);
  });
  writeFileSync(join(workspace, 'thesis.ipynb'), '{}');
  const archive = ana.message(
    {
      'thesis.ipynb': NOTEBOOK,
      'figures/plot.png': Buffer.from(PICTURE, 'base64'),
      'notes.md': '# Notes\n\n*slanted* ![a](https://tracker.example/seen.png)<script>window.ran = 4</script>\n',
      'table.csv': 'name,value\n"x, y",3\n',
      'model.py': 'def f(x):\n    return x\n',
      'raw.bin': Buffer.from([0, 1, 255])
    },
    { note: 'First results.\nLook at cell 3.' }
  );
  const path = await open(page, tmpPath, 'results.syft', readFileSync(archive));
  const about = view(page, `From ${ana.name}`);
  await expect(about).toContainText('new sender');
  await expect(about).toContainText(ana.card.fingerprint);
  await expect(about.getByRole('blockquote', { name: 'Note' })).toContainText('Look at cell 3.');
  await expect(about.locator('[data-kind="proven"]')).toContainText(
    `It was signed with the key ${ana.card.fingerprint}`
  );
  await expect(about.locator('[data-kind="claimed"]')).toContainText(`It is from ${ana.name}`);
  // The browser was given none of the archive, and the server made no copy of it.
  expect(asked.filter(request => request.includes('content=1') || request.startsWith('POST'))).toEqual([]);
  // JupyterLab itself makes the folder when it asks for checkpoints.
  const copies = join(workspace, tmpPath, '.ipynb_checkpoints');
  expect(existsSync(copies) ? readdirSync(copies) : []).toEqual([]);

  await expect(file(page, /^thesis.ipynb, .* replaces yours$/)).toBeVisible();
  await expect(preview(page, 'thesis.ipynb')).toContainText('harmless');
  await file(page, /^thesis.ipynb/).focus();
  await page.keyboard.press('ArrowDown');
  await expect(file(page, /^figures\/plot.png, .* new here$/)).toBeFocused();
  await expect(preview(page, 'plot.png').getByRole('img', { name: 'plot.png' })).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await expect(preview(page, 'notes.md').locator('em')).toHaveText('slanted');
  await page.keyboard.press('ArrowDown');
  await expect(preview(page, 'table.csv').getByRole('cell', { name: 'x, y' })).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await expect(preview(page, 'model.py').getByRole('textbox')).toHaveAttribute('aria-readonly', 'true');
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark']) {
    await page.theme.setTheme(theme);
    expect([theme, ...(await axe(page, '.jp-SyftSync-document'))]).toEqual([theme]);
  }
  await page.keyboard.press('End');
  await expect(preview(page, 'raw.bin')).toContainText('no preview for its type');
  expect(asked.filter(request => request.includes('tracker.example'))).toEqual([]);
  expect(await page.evaluate(() => (window as { ran?: number }).ran)).toBeUndefined();

  const downloading = page.waitForEvent('download');
  await file(page, /^raw.bin/)
    .getByRole('link', { name: 'Download raw.bin' })
    .click();
  expect(readFileSync(await (await downloading).path())).toEqual(Buffer.from([0, 1, 255]));
  await page.keyboard.press('Home');
  await page.keyboard.press('c');
  await expect(page.getByRole('region', { name: 'Differences of thesis.ipynb' })).toBeVisible();

  // It follows what happens here: the file is gone, then back under another content.
  await execute(page, 'syft-sync:open-message', { path });
  const aside = join(workspace, `${path}.aside`);
  renameSync(join(workspace, path), aside);
  await page.request.post('/syft-sync/api/flush', { data: {}, headers: { 'X-Syft-Sync-Request': '1' } });
  await expect(page.getByRole('alert')).toContainText('results.syft is not there any more');
  await expect(page.getByRole('button', { name: 'Try again' })).toBeVisible();
  renameSync(aside, join(workspace, path));
  await expect(about).toBeVisible();
  rmSync(join(workspace, 'thesis.ipynb'));
});

test('of what cannot be relied on, or cannot be opened, nothing is shown but why', async ({ page, tmpPath }) => {
  const stranger = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';
  const altered = alter(ana.message({ 'a.txt': 'what she wrote' }), 'what she wrote', 'what she WROTE');
  await open(page, tmpPath, 'altered.syft', altered);
  const about = page.getByRole('article').filter({ visible: true });
  await expect(about).toContainText('It is not as its sender made it.');
  await expect(about).toContainText('the content of "a.txt" is not what the manifest says');
  await expect(about.getByRole('button')).toHaveCount(0);
  await expect(about.getByRole('link', { name: 'Download' })).toBeVisible();

  await open(page, tmpPath, 'locked.syft', readFileSync(ana.message({ 'b.txt': 'secret' }, { to: [stranger] })));
  await expect(about).toContainText('Only those that it was sealed for can open it');
  await expect(about.getByRole('button', { name: 'Accept…' })).toHaveCount(0);
  await expect(about).not.toContainText('b.txt');

  await open(page, tmpPath, 'none.syft', Buffer.from('just a text\n'));
  await expect(view(page, 'Not a message')).toContainText('It is called a message, and is none, or not all of one.');
  const cut = readFileSync(ana.message({ 'c.txt': 'all of it' }));
  await open(page, tmpPath, 'cut.syft', cut.subarray(0, cut.length / 2));
  await expect(view(page, 'Not a message')).toContainText('It may have been cut off on its way');
  await expect(page.getByRole('article').filter({ hasText: 'all of it' })).toHaveCount(0);
});

test('a message of the inbox opens beside its row; of many files those in sight are drawn', async ({ page }) => {
  const many = Object.fromEntries(Array.from({ length: 300 }, (_unused, i) => [`many/f${i}.txt`, `this is ${i}\n`]));
  const answer = await page.request.post('/syft-sync/api/messages/receive', {
    data: readFileSync(ana.message(many)),
    headers: { 'Content-Type': 'application/x-syft', 'X-Syft-Sync-Request': '1' }
  });
  const { id } = (await answer.json()) as { id: string };
  await execute(page, 'syft-sync:open-message', { id });
  await expect(view(page, `From ${ana.name}`)).toContainText('300 files');
  await expect(files(page)).toHaveAttribute('aria-rowcount', '300');
  expect(await files(page).getByRole('row').count()).toBeLessThan(40);
  await files(page).getByRole('row').first().focus();
  await page.keyboard.press('End');
  await expect(files(page).getByRole('row', { selected: true })).toBeFocused();
  const last = await files(page).getByRole('row', { selected: true }).getAttribute('aria-rowindex');
  expect(last).toBe('300');
  await expect(page.locator('.jp-SyftSync-filePreview:visible .cm-content')).toContainText('this is');
  // Whoever takes it out of the box sees that it is gone.
  await page.request.delete(`/syft-sync/api/messages/${id}`, { headers: { 'X-Syft-Sync-Request': '1' } });
  await expect(page.getByRole('alert')).toContainText('The message is not in its box any more');
  await page.getByRole('alert').getByRole('button', { name: 'Close' }).click();
  await expect(page.locator(`#syft-sync-message-${id}`)).toHaveCount(0);
});
