import { describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';

import { statusView } from '../../../labextension/status/status-item';
import type { Status } from '../../../server/src/api/contract';
import { status } from '../http-server';

const trans = nullTranslator.load('syft_sync');
const view = (more: Partial<Status>): ReturnType<typeof statusView> =>
  statusView({ state: { kind: 'connected' }, status: status(more) }, trans);

describe('the status bar never says that files are kept when they are not', () => {
  test.each([
    [{ state: 'recording' }, 'recording', 'Recording'],
    [{ state: 'recording', pending: 1 }, 'saving', 'Saving 1 change…'],
    [{ state: 'recording', pending: 214 }, 'saving', 'Saving 214 changes…'],
    [{ state: 'starting' }, 'saving', 'First look…'],
    [{ state: 'paused' }, 'paused', 'Paused'],
    [{ state: 'error', error: { code: 'DISK_FULL', message: 'No space.' } }, 'error', 'Disk full'],
    [{ state: 'error', error: { code: 'IO', message: 'Broken.' } }, 'error', 'Not recording'],
    [{ state: 'setup-needed' }, 'off', 'Choose folders'],
    [{ state: 'read-only' }, 'off', 'Reading only'],
    [{ state: 'stopped' }, 'off', 'Stopped']
  ] as const)('%j', (more, kind, text) => expect(view(more)).toMatchObject({ kind, text }));

  test('an error is explained by the tooltip; else it says what is recorded, where, how much, since when', () => {
    expect(view({ state: 'error', error: { code: 'DISK_FULL', message: 'No space.' } }).tooltip).toBe('No space.');
    const lines = view({}).tooltip.split('\n');
    expect(lines.slice(0, 3)).toEqual([
      'Syft Sync records /home/ana/analysis',
      '2 files, 3 versions, 200 B on disk',
      'Kept in /home/ana/analysis/.syft-sync'
    ]);
    expect(lines[3]).toMatch(/^Since .*2026/);
  });

  test('what was known before the connection broke is not shown as if it were so', () => {
    const retryAt = 0;
    const broken = { kind: 'disconnected', code: 'ENDED', message: 'ended', retryAt } as const;
    expect(statusView({ state: broken, status: status() }, trans)).toMatchObject({
      kind: 'off',
      text: 'Not connected'
    });
    const missing = { kind: 'missing', reason: 'crashed', message: 'It ended.', hint: undefined, retryAt } as const;
    expect(statusView({ state: missing, status: status() }, trans)).toMatchObject({
      kind: 'error',
      text: 'Not recording'
    });
    expect(statusView({ state: { kind: 'connecting' }, status: undefined }, trans).kind).toBe('off');
  });
});
