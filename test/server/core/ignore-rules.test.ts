import { describe, expect, test } from '@jest/globals';
import { IgnoreRules } from '../../../server/src/core/ignore-rules.ts';

function rules(
  files: Record<string, string> = {},
  options: { excludePatterns?: string[]; include?: string[]; logPath?: string } = {}
): IgnoreRules {
  return new IgnoreRules({ ...options, readIgnoreFile: dir => files[dir] });
}

describe('what is not recorded', () => {
  test('other tools’ bookkeeping is left out unless asked for, the user’s files never are', () => {
    const r = rules();
    for (const dir of ['.git', 'a/.git', '.ipynb_checkpoints', 'a/__pycache__']) {
      expect([dir, r.excludes(dir, true)]).toEqual([dir, true]);
    }
    for (const file of [
      '.~nb.ipynb',
      'a/.DS_Store',
      '.jupyter_ystore.db',
      '.jupyter_ystore.db-wal',
      '.syft-sync-tmp-1'
    ]) {
      expect([file, r.excludes(file, false)]).toEqual([file, true]);
    }
    for (const file of ['nb.ipynb', '.gitignore', 'a/.syftignore', 'git', '__pycache__x', '.hidden']) {
      expect([file, r.excludes(file, false)]).toEqual([file, false]);
    }
    expect(r.excludes('.git', false)).toBe(false);
  });

  test('a pattern of the user can bring a default back', () => {
    expect(rules({ '': '!__pycache__/\n' }).excludes('__pycache__', true)).toBe(false);
    expect(rules({}, { excludePatterns: ['!.DS_Store'] }).excludes('.DS_Store', false)).toBe(false);
  });

  test('nothing brings the log back: recording itself would never end', () => {
    const r = rules({ '': '!.syft-sync/\n!data/log/\n' }, { logPath: 'data/log' });
    expect(r.excludes('.syft-sync', true)).toBe(true);
    expect(r.excludes('deep/below/.syft-sync', true)).toBe(true);
    expect(r.excludes('data/log', true)).toBe(true);
  });

  test.each([
    // [files, path, is directory, excluded]
    [{ '': '*.csv' }, 'a/b.csv', false, true],
    [{ '': '*.csv', a: '!b.csv' }, 'a/b.csv', false, false],
    [{ '': '*.csv', a: '!b.csv' }, 'b.csv', false, true],
    [{ a: '/b' }, 'a/b', false, true],
    [{ a: '/b' }, 'a/c/b', false, false],
    [{ a: 'b' }, 'a/c/b', false, true],
    [{ a: 'b' }, 'b', false, false],
    [{ a: 'x\n', 'a/c': '!x\n' }, 'a/c/x', false, false],
    [{ '': 'build/' }, 'build', false, false],
    [{ '': 'build/' }, 'x/build', true, true],
    [{ '': '**/tmp/*.log' }, 'q/tmp/1.log', false, true],
    [{ '': 'a b\n#c\n\\#d' }, '#d', false, true],
    [{ '': '*.TMP' }, 'a.tmp', false, false]
  ] as [Record<string, string>, string, boolean, boolean][])('%j: %s', (files, path, isDirectory, excluded) => {
    expect(rules(files).excludes(path, isDirectory)).toBe(excluded);
  });

  test('what lies below an excluded directory is excluded with it', () => {
    expect(rules({ '': 'data/\n!data/keep.txt\n' }).excludesDeep('data/keep.txt', false)).toBe(true);
  });

  test('with chosen folders, all else stays unrecorded', () => {
    const r = rules({}, { include: ['work/a', './notes/'] });
    expect(r.excludes('work', true)).toBe(false);
    expect(r.excludes('work/b', true)).toBe(true);
    expect(r.excludes('work/a', true)).toBe(false);
    expect(r.excludesDeep('work/a/x.txt', false)).toBe(false);
    expect(r.excludes('work/x.txt', false)).toBe(true);
    expect(r.excludesDeep('notes/n.md', false)).toBe(false);
    expect(r.excludes('top.txt', false)).toBe(true);
  });

  test('a changed pattern file counts once it is read again', () => {
    const files: Record<string, string> = { '': '*.csv' };
    const r = rules(files);
    expect(r.excludes('a.csv', false)).toBe(true);
    files[''] = '*.tsv';
    expect(r.reload('')).toBe(true);
    expect(r.reload('')).toBe(false);
    expect(r.excludes('a.csv', false)).toBe(false);
  });
});
