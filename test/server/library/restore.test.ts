/** What a restore must never cost: something written in the last moment, a file outside, the log. */
import { expect, test } from '@jest/globals';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { versionId } from '../../../server/src/core/change.ts';
import { removeRecorded, replaceRecorded, restoreVersion } from '../../../server/src/library/restore.ts';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { ownPlace } from './place.ts';

const at = ownPlace('ws');

test('a file that was written to between the last check and the swap is put back, not lost', async () => {
  writeFileSync(at('target'), 'recorded');
  writeFileSync(at('staged'), 'restored');
  const before = lstatSync(at('target'), { bigint: true });
  expect(await replaceRecorded(at('staged'), at('target'), at('guard'), before)).toBe(true);
  expect(readFileSync(at('target'), 'utf8')).toBe('restored');

  const recorded = lstatSync(at('target'), { bigint: true });
  writeFileSync(at('target'), 'written in the last moment');
  writeFileSync(at('staged'), 'restored again');
  expect(await replaceRecorded(at('staged'), at('target'), at('guard'), recorded)).toBe(false);
  expect(readFileSync(at('target'), 'utf8')).toBe('written in the last moment');

  expect(await removeRecorded(at('target'), recorded, at('staging'))).toBe(false);
  expect(readFileSync(at('target'), 'utf8')).toBe('written in the last moment');
  expect(await removeRecorded(at('target'), lstatSync(at('target'), { bigint: true }), at('staging'))).toBe(true);
  expect(readdirSync(at()).sort()).toEqual(['staging', 'ws']);
  expect(readdirSync(at('staging'))).toEqual([]);
});

test('through a link: inside the workspace what stood there is recorded first; outside of it and into a log, refused', async () => {
  mkdirSync(at('ws/real'));
  mkdirSync(at('outside'));
  writeFileSync(at('outside/a'), 'not ours');
  writeFileSync(at('ws/a'), 'old');
  writeFileSync(at('ws/real/a'), 'stood there');
  symlinkSync('real', at('ws/link'));
  symlinkSync('../outside', at('ws/out'));
  symlinkSync('.syft-sync/log', at('ws/log'));
  await using workspace = await Workspace.open({ root: at('ws'), hints: 'none' });
  await workspace.capture();
  const version = workspace.tree.get('a');
  if (version === undefined) throw new Error('not recorded');
  const request = { versionId: versionId(version) };

  const outcome = await workspace.restore({ ...request, to: 'link/a' });
  expect(readFileSync(at('ws/real/a'), 'utf8')).toBe('old');
  const replaced = await workspace.findVersion(outcome.replaced ?? '');
  expect((await workspace.log.contentBytes(replaced)).toString()).toBe('stood there');

  await expect(workspace.restore({ ...request, to: 'out/a', force: true })).rejects.toMatchObject({
    code: 'PATH_OUTSIDE_ROOT'
  });
  expect(readFileSync(at('outside/a'), 'utf8')).toBe('not ours');
  for (const to of ['.syft-sync/x', 'log/x', 'log/forged/x', '.SYFT-SYNC/x', 'other/.syft-sync/log/x']) {
    await expect(workspace.restore({ ...request, to, force: true })).rejects.toMatchObject({ code: 'PATH_INVALID' });
  }
  expect(readdirSync(at('ws/.syft-sync/log'))).toEqual([workspace.log.device]);
  expect(readdirSync(at('ws')).sort()).toEqual(['.syft-sync', 'a', 'link', 'log', 'out', 'real']);
});

test('what a killed restore left behind is gone at the next start, but no file of the user that was on its way out', async () => {
  writeFileSync(at('ws/a'), 'recorded');
  await Workspace.open({ root: at('ws'), hints: 'none' }).then(workspace => workspace.close());
  const staging = at('ws/.syft-sync/cache/staging');
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, '.syft-sync-tmp-0123456789abcdef01'), 'half of a secr');
  writeFileSync(join(staging, 'old-0123456789abcdef01'), 'written in the last moment');
  await using workspace = await Workspace.open({ root: at('ws'), hints: 'none' });
  expect(workspace.stagingDir).toBe(staging);
  expect(readdirSync(staging)).toEqual(['old-0123456789abcdef01']);
});

test('what is restored is announced before it is there, so that nothing records it as an edit; and not at all when it fails', async () => {
  writeFileSync(at('ws/a'), 'old');
  await using workspace = await Workspace.open({ root: at('ws'), hints: 'none' });
  await workspace.capture();
  const version = workspace.tree.get('a');
  if (version === undefined) throw new Error('not recorded');
  writeFileSync(at('ws/a'), 'new');
  await workspace.capture();
  const { recorder, log, root, logDir } = workspace;
  let stood = '';
  const place = {
    ...{ root, log, logDir },
    recorder: {
      tree: workspace.tree,
      captureNow: recorder.captureNow.bind(recorder),
      expect: (...announced: Parameters<typeof recorder.expect>) => {
        stood = readFileSync(at('ws/a'), 'utf8');
        return recorder.expect(...announced);
      }
    }
  };
  const stopped = AbortSignal.abort(new Error('stopped on the way'));
  await expect(restoreVersion(place, version, { signal: stopped })).rejects.toThrow();
  writeFileSync(at('ws/a'), 'old');
  expect((await recorder.captureNow(['a'])).map(({ cause }) => cause)).toEqual([undefined]);
  writeFileSync(at('ws/a'), 'new');
  await workspace.capture();

  const { change } = await restoreVersion(place, version);
  expect(stood).toBe('new');
  expect(change?.cause).toEqual({ kind: 'restore', version: versionId(version) });
});
