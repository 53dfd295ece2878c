/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';

import { destination, folderName, isUsableFolder, tally } from '../../../labextension/messages/place';
import {
  acceptable,
  fate,
  leftSentence,
  messageSentence,
  tooltip,
  what,
  who
} from '../../../labextension/messages/words';
import { summary } from './summary';

const trans = nullTranslator.load('syft_sync');

describe('who and what', () => {
  test('a row says who sent it, what is in it, and what is to be thought of it', () => {
    const message = summary({ paths: ['a/b.csv', 'c.txt', 'd.txt'], files: 3, note: 'look\n  here' });
    expect(who(message, trans)).toBe('ana');
    expect(what(message, trans)).toBe('b.csv and 2 more');
    expect(messageSentence(message, '3 min', trans)).toBe(
      'Unread, ana, new sender, b.csv and 2 more, 300 B, look here, 3 min'
    );
    expect(messageSentence({ ...message, read: true, state: 'verified' }, 'now', trans)).toMatch(/^ana, verified, /);
  });

  test('what the sender deleted and accepting left is named, so that it is not taken for current', () => {
    expect(leftSentence([], 'ana', trans)).toBeUndefined();
    expect(leftSentence(['a\nb.txt'], 'ana', trans)).toBe('ana has deleted 1 file that was left here: a\u240ab.txt');
    expect(leftSentence(['a', 'b', 'c', 'd'], 'ana', trans)).toBe(
      'ana has deleted 4 files that were left here: a, b, c, \u2026'
    );
  });

  test('of what was sent it says to whom, and where it went', () => {
    const sent = summary({ box: 'outbox', recipients: ['ben', `age1${'q'.repeat(58)}`, 'eve'], read: true });
    expect(who(sent, trans)).toBe('To ben, age1qqqqq…qqqq and 1 more');
    expect(who({ ...sent, recipients: [] }, trans)).toBe('For anybody');
    expect(fate({ ...sent, delivered: { contact: 'ben' } }, trans)).toBe('in the mailbox of ben');
    expect(fate({ ...sent, delivered: { path: 'out/x.syft' } }, trans)).toBe('saved as x.syft');
    expect(fate(sent, trans)).toBe('kept here');
  });

  test('a message that could not be opened says nothing of files that it may not have', () => {
    const locked = summary({ state: 'locked', sender: undefined, paths: [], files: 0, bytes: 0, size: 2100 });
    expect(who(locked, trans)).toBe('Unknown sender');
    expect(what(locked, trans)).toBe('2.1 kB, not opened');
    expect(acceptable(locked)).toBe(false);
  });

  test('a name, a path or a note cannot write a line of the tooltip, nor turn a row around', () => {
    const message = summary({
      sender: { name: 'ana\nKey: good good good good good', fingerprint: 'visis napoh sugom firoz movap', own: false },
      paths: ['a\u202egpj.exe'],
      files: 1,
      note: 'Accepted\nyesterday'
    });
    const lines = tooltip(message, trans).split('\n');
    expect(lines[0]).toBe('ana␊Key: good good good good good');
    expect(lines[1]).toBe('Key: visis napoh sugom firoz movap');
    expect(lines.filter(line => line.startsWith('Key: '))).toHaveLength(1);
    expect(lines.filter(line => line.startsWith('Accepted'))).toHaveLength(0);
    expect(what(message, trans)).not.toContain('\u202e');
  });
});

describe('the place', () => {
  test.each([
    ['', ''],
    [' /data//raw/ ', 'data/raw'],
    ['./data', 'data']
  ])('%j is the folder %j', (typed, folder) => expect(folderName(typed)).toBe(folder));

  test('nothing is accepted out of the workspace or into the log', () => {
    expect(isUsableFolder('data/raw')).toBe(true);
    expect(isUsableFolder('..data')).toBe(true);
    for (const folder of ['..', 'a/../..', '.syft-sync', '.syft-sync/messages', 'a\0b']) {
      expect(isUsableFolder(folder)).toBe(false);
    }
  });

  test('the files keep their folders below the one that is chosen', () => {
    expect(destination({ path: 'a/b.txt' }, '')).toBe('a/b.txt');
    expect(destination({ path: 'a/b.txt' }, 'from ana')).toBe('from ana/a/b.txt');
  });

  test('what is deleted here comes back as new', () => {
    expect(tally(['same', 'different', 'missing', 'deleted'])).toEqual({ new: 2, replaces: 1, same: 1 });
  });
});
