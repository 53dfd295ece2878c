/** @jest-environment node */
import { describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';

import {
  archivePath,
  freePath,
  names,
  placeFault,
  proposedPath,
  recipientFault,
  recipientsIn,
  sealingOf
} from '../../../labextension/share/words';

const trans = nullTranslator.load('syft_sync');
const KEY = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';

describe('the name that is proposed', () => {
  test.each([
    [['data/analysis.ipynb'], 'data/analysis.syft'],
    [['results'], 'results.syft'],
    [['data/.hidden'], 'data/.hidden.syft'],
    [['data/model.tar.gz'], 'data/model.tar.syft'],
    [[''], 'workspace.syft'],
    [['data/a.txt', 'data/b.txt'], 'data/data.syft'],
    [['data/a.txt', 'dates/b.txt'], 'files.syft'],
    [['a/b/c.txt', 'a/d.txt'], 'a/a.syft'],
    [[], 'message.syft']
  ])('%j is %s', (paths, proposed) => expect(proposedPath(paths)).toBe(proposed));

  test('is not that of a file that is there', () => {
    const taken = new Set(['a.syft', 'a-2.syft']);
    expect(freePath('data/a.syft', name => taken.has(name))).toBe('data/a-3.syft');
    expect(freePath('b.syft', name => taken.has(name))).toBe('b.syft');
  });

  test('ends as a message does, whatever was typed', () => {
    expect(archivePath(' data/a ')).toBe('data/a.syft');
    expect(archivePath('data/a.SYFT')).toBe('data/a.SYFT');
    expect(placeFault(archivePath('data/'), trans)).toMatch(/Name the file/);
    for (const outside of ['../a', '/a', 'a/../../b', 'a\0']) {
      expect(placeFault(archivePath(outside), trans)).toBeDefined();
    }
    expect(placeFault('.syft-sync/a.syft', trans)).toMatch(/log/);
    expect(placeFault('data/a..b.syft', trans)).toBeUndefined();
  });
});

describe('whether it is encrypted', () => {
  const of = (recipients: string[], unsealable: string[]): string =>
    sealingOf(recipients, { sealed: recipients.length > 0 && unsealable.length === 0, unsealable }).kind;

  test('is never promised where one of them could not open it', () => {
    expect(of([], [])).toBe('nobody');
    expect(of(['Ana'], [])).toBe('sealed');
    expect(of(['Ana'], ['Ana'])).toBe('open');
    expect(of(['Ana', 'Ben'], ['Ben'])).toBe('mixed');
  });

  test('a secret key, and half a key, are taken for no name', () => {
    expect(recipientFault('AGE-SECRET-KEY-1QQQ', trans)).toMatch(/secret/);
    expect(recipientFault(KEY.slice(0, 40), trans)).toMatch(/not a whole/);
    expect(recipientFault(KEY, trans)).toBeUndefined();
    expect(recipientFault('Agent Smith', trans)).toBeUndefined();
  });

  test('several are told apart, and named', () => {
    expect(recipientsIn(` Ana Lovelace, ${KEY};\nBen, `)).toEqual(['Ana Lovelace', KEY, 'Ben']);
    expect(names(['Ana', 'Ben', 'Cem', KEY], trans)).toBe('Ana, Ben and 2 more');
    expect(names([KEY], trans)).toBe('age1ql3z7…ac8p');
  });
});
