/** A watcher that gets up before the recorder is there must serve it as one that the recorder starts. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdirSync, realpathSync } from 'node:fs';
import { Recorder } from '../../../../server/src/capture/recorder.ts';
import { openLogWriter } from '../../../../server/src/log/log.ts';
import { join } from 'node:path';
import { until, Workspace } from '../workspace.ts';

let w: Workspace;
beforeEach(async () => {
  w = new Workspace();
  w.log = await openLogWriter({ dir: w.logDir, keyDir: join(w.base, 'keys') });
});
afterEach(() => w.close());

const ahead = (): ReturnType<typeof Recorder.watchAhead> =>
  Recorder.watchAhead({ root: realpathSync(w.root), logDir: w.logDir, hints: 'fs-watch' });

test('what changes between its start and the recorder’s is found, and what changes later is hinted at', async () => {
  const hints = await ahead();
  mkdirSync(w.path('d'));
  w.write('d/before');
  // No scan comes to help.
  await w.open({ hints, scanIntervalMs: 3_600_000 });
  await w.recorder.start();
  expect(w.taken()).toEqual(['created d/before']);
  expect(w.recorder.status.watcher).toMatchObject({
    kind: 'fs-watch',
    healthy: true,
    detail: expect.stringMatching(/^\d/)
  });
  w.write('d/after');
  await until(() => w.recorder.tree.has('d/after'), 'the hint of d/after');
});

test('it ends with a recorder that never began, and by itself', async () => {
  const hints = await ahead();
  await w.open({ hints });
  await w.recorder.stop();
  await expect(
    hints?.start(
      { root: w.root, excludePatterns: [], include: undefined, logPath: undefined },
      {
        paths: () => undefined,
        directories: () => undefined,
        lost: () => undefined,
        health: () => undefined
      }
    )
  ).resolves.toBeUndefined();
  await (await ahead())?.stop();
});
