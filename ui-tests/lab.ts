/**
 * All tests open JupyterLab in one browser profile: its megabytes of code are fetched and compiled once, not in each test. For that
 * nothing may be intercepted, so what galata would keep in memory is kept by the server, as for a user: settings and layout are put
 * back before each test, what runs is ended after it.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { galata, test as galataTest } from '@jupyterlab/galata';
import { chromium, test as playwrightTest } from '@playwright/test';
import type { APIRequestContext, BrowserContext, LaunchOptions } from '@playwright/test';

export { expect } from '@playwright/test';

type Use<T> = (value: T) => Promise<void>;

/** On disk, since only such a profile keeps compiled code. */
const profile = async (
  { launchOptions, headless }: { launchOptions: LaunchOptions; headless: boolean },
  use: Use<BrowserContext>
): Promise<void> => {
  const context = await chromium.launchPersistentContext('', {
    ...launchOptions,
    headless,
    viewport: { width: 1280, height: 800 },
    baseURL: `http://localhost:${process.env.SYFT_UI_PORT}`
  });
  await use(context);
  await context.close();
};

const context = async ({ profile }: { profile: BrowserContext }, use: Use<BrowserContext>): Promise<void> => {
  // One page stays, or the browser would end.
  const [resting] = profile.pages();
  await use(profile);
  for (const page of profile.pages()) if (page !== resting) await page.close();
  await profile.clearCookies();
};

/** For a JupyterLab that a test starts itself. */
export const plainTest = playwrightTest.extend<object, { profile: BrowserContext }>({
  profile: [profile, { scope: 'worker' }],
  context
});

/** As a user who has never chosen anything finds it, but for galata's settings, which ask for no news. */
function untouched(): void {
  const home = process.env.SYFT_UI_HOME ?? '';
  for (const name of ['settings', 'workspaces']) rmSync(join(home, name), { recursive: true, force: true });
  for (const [plugin, settings] of Object.entries(galata.DEFAULT_SETTINGS)) {
    const file = join(home, 'settings', `${plugin.replace(':', '/')}.jupyterlab-settings`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(settings));
  }
}

async function endWhatRuns(request: APIRequestContext): Promise<void> {
  for (const [kind, key] of [
    ['sessions', 'id'],
    ['kernels', 'id'],
    ['terminals', 'name']
  ] as const) {
    const running = (await (await request.get(`/api/${kind}`)).json()) as Record<string, string>[];
    for (const one of running) await request.delete(`/api/${kind}/${one[key]}`);
  }
}

/** JupyterLab opened in a folder of the test's own. */
export const test = galataTest.extend<object, { profile: BrowserContext }>({
  profile: [profile, { scope: 'worker' }],
  context: async ({ profile, request }, use) => {
    untouched();
    await context({ profile }, use);
    await endWhatRuns(request);
  },
  mockConfig: false,
  mockSettings: false,
  mockState: false,
  mockUser: false,
  kernels: async ({ context: _ }, use) => use(null),
  sessions: async ({ context: _ }, use) => use(null),
  terminals: async ({ context: _ }, use) => use(null)
});
