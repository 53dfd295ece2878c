/** The example of `docs/library.md`: a watcher of the integrator's own. */
import { expect, test } from '@jest/globals';
import { EventEmitter } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppendOnlyLogWatcher, registerWatcher, type HintSource } from '../../../server/src/index.ts';

test('a registered watcher gives the hints, and is closed with the recorder', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'syft-own-'));
  process.env['SYFT_SYNC_HOME'] = join(dir, 'home');
  await mkdir(join(dir, 'data'));
  const feed = new EventEmitter();
  let closed = false;
  registerWatcher('feed', (): HintSource => ({
    kind: 'feed',
    start: (_options, sink) => {
      feed.on('change', (path: string) => {
        sink.paths([path]);
      });
      feed.on('gap', () => {
        sink.lost('the feed has a gap');
      });
      return Promise.resolve();
    },
    rulesChanged: () => Promise.resolve(),
    stop: () => {
      closed = true;
      return Promise.resolve();
    }
  }));
  try {
    await using watcher = new AppendOnlyLogWatcher({
      watchPath: join(dir, 'data'),
      watcher: 'feed',
      scanIntervalMs: 3_600_000
    });
    const seen: string[] = [];
    watcher.on('event', ({ srcPath }) => seen.push(srcPath));
    await watcher.start();
    for (const [path, event] of [
      ['named', 'change'],
      ['in-a-gap', 'gap']
    ] as const) {
      await writeFile(join(dir, 'data', path), '1');
      feed.emit(event, path);
      while (!seen.includes(join(dir, 'data', path))) await new Promise(resolve => setTimeout(resolve, 10));
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  expect(closed).toBe(true);
});
