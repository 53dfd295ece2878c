/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';

import { claimsOf, whereabouts } from '../../../labextension/message-output/claims';

const claims = {
  form: 1,
  path: 'data/a.syft',
  state: 'verified',
  sender: { name: 'Ana', fingerprint: 'five words' },
  recipients: ['Ben'],
  note: 'look',
  at: '2026-11-01T10:00:00.000000Z',
  sealed: false,
  count: 1,
  bytes: 3,
  files: [{ path: 'a.txt', size: 3 }]
};

describe('what a notebook says of a message', () => {
  test('is read as Python puts it out', () => {
    expect(claimsOf(claims)).toEqual(claims);
    const { path: _path, sender: _sender, note: _note, at: _at, ...least } = claims;
    expect(claimsOf(least)).toEqual(least);
  });

  test.each([
    ['another form', { form: 2 }],
    ['a state that there is not', { state: 'certified' }],
    ['a name that is an object', { sender: { name: { toString: 'Ana' } } }],
    ['more files than are drawn', { files: Array.from({ length: 101 }, () => claims.files[0]) }],
    ['a note without end', { note: 'x'.repeat(2001) }],
    ['a size that is none', { bytes: -1 }],
    ['a number that is none', { count: Number.NaN }]
  ])('is refused with %s', (_what, change) => expect(claimsOf({ ...claims, ...change })).toBeUndefined());

  test('is refused when it is no object', () => {
    for (const data of [undefined, null, 'text', 1, []]) expect(claimsOf(data)).toBeUndefined();
  });

  test('leads to a message of the workspace and to nothing else', () => {
    expect(whereabouts({ path: 'data/a.syft' })).toEqual({ path: 'data/a.syft' });
    expect(whereabouts({ id: '0'.repeat(32) })).toEqual({ id: '0'.repeat(32) });
    for (const path of ['/etc/a.syft', '../a.syft', 'a/../../b.syft', 'notebook.ipynb', '']) {
      expect(whereabouts({ path })).toBeUndefined();
    }
    expect(whereabouts({ id: '../contacts' })).toBeUndefined();
    expect(whereabouts({})).toBeUndefined();
  });
});
