/** Who may do what, by `syft.pub.yaml`: a rule that is read more widely than it was meant shows a file to somebody it was kept from. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { literalPattern, patternMatcher, specificity } from '../../../server/src/syftbox/pattern.ts';
import { editPermissions, parsePermissions } from '../../../server/src/syftbox/permission-file.ts';
import { datasiteOf, Permissions } from '../../../server/src/syftbox/permissions.ts';
import { ownPlace } from '../library/place.ts';

const at = ownPlace('work');
const OWNER = 'ana@example.org';
let root: string;

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
const level = (path: string, user: string): string => new Permissions(root).grantOf(path, user).level;
const rules = (...list: string[]): string => `rules:\n${list.join('')}`;
const rule = (pattern: string, access: string): string => `  - pattern: "${pattern}"\n    access: {${access}}\n`;

beforeEach(() => {
  root = at('SyftBox', 'datasites', OWNER);
  mkdirSync(root, { recursive: true });
});

describe('patterns', () => {
  test.each([
    ['**', 'a/b/.c', true],
    ['**', '', true],
    ['*', '', false],
    ['a/**', 'a', true],
    ['*', 'a', true],
    ['*', '.hidden', true],
    ['*', 'a/b', false],
    ['**/*.csv', 'a.csv', true],
    ['**/*.csv', 'x/y/a.csv', true],
    ['x/**', 'x/y/z', true],
    ['x/**/z', 'x/z', true],
    ['x**', 'xy/z', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['a?c', 'a\u{1f600}c', true],
    ['[a-c].txt', 'b.txt', true],
    ['[!a-c].txt', 'b.txt', false],
    ['[^a-c].txt', 'd.txt', true],
    ['{a,b/c}.tx?', 'b/c.txt', true],
    ['{a,b}.txt', '{a,b}.txt', true],
    ['{a,b}.txt', 'a.txt', false],
    ['\\*x?', '*xy', true],
    ['\\*x?', 'axy', false],
    ['a.txt', 'a.txt', true],
    ['a.txt', 'b/a.txt', false],
    ['é.txt', 'é.txt', true]
  ])('%s on %s: %s', (pattern, path, expected) => {
    expect(patternMatcher(pattern)(path, 'bob@example.org')).toBe(expected);
  });

  test.each([
    '',
    '[a',
    '[z-a]*',
    '*{a',
    '*a}',
    '*\\',
    '{{.Secret}}/*',
    '{{.UserEmail',
    'x'.repeat(1001),
    '*{a,b}'.repeat(8)
  ])('none: %s', pattern => {
    if (pattern === '{{.UserEmail') expect(patternMatcher(pattern)('{{.UserEmail', 'bob')).toBe(true);
    else expect(() => patternMatcher(pattern)).toThrow(SyntaxError);
  });

  test('a pattern made to take for ever does not', () => {
    const started = Date.now();
    const matches = patternMatcher(`${'**/'.repeat(200)}${'*a'.repeat(100)}b`);
    expect(matches(`${'x/'.repeat(500)}${'a'.repeat(2000)}`, 'bob')).toBe(false);
    expect(Date.now() - started).toBeLessThan(5000);
  });

  test('templates stand for who asks, and widen nothing', () => {
    const now = new Date('2026-03-04T23:00:00Z');
    expect(patternMatcher('{{.UserEmail}}/*')('bob@example.org/a', 'bob@example.org')).toBe(true);
    expect(patternMatcher('{{.UserEmail}}/*')('eve@example.org/a', '*')).toBe(false);
    expect(patternMatcher('{{.UserEmail}}')('eve@example.org', '*')).toBe(false);
    expect(patternMatcher('{{ .Year }}-{{.Month}}-{{.Date}}/*')('2026-03-04/a', 'bob', now)).toBe(true);
    expect(patternMatcher('{{upper .UserEmail}}')('BOB@X', 'bob@x')).toBe(true);
    // First 16 digits of sha256("bob@example.org"), as `sha256sum` prints them.
    expect(patternMatcher('{{.UserHash}}/**')('686b5e4cf4f963ad/a', 'bob@example.org')).toBe(true);
    expect(patternMatcher('{{sha2 .UserEmail 8}}')('686b5e4c', 'bob@example.org')).toBe(true);
  });

  test('the narrower of two counts, by the numbers of SyftBox', () => {
    const narrow = ['a/b/c.txt', 'a/{{.UserEmail}}/*', 'a/b/*', '*.csv', '*', '**/*', '**'];
    const ranks = narrow.map(specificity);
    expect(ranks[0]).toBe(9 * 2 + 2 * 10);
    expect(specificity('*')).toBe(-18);
    expect(specificity('{{.UserEmail}}/*')).toBe(16 * 2 + 10 + 50 - 10 - 2 * 2);
    expect([...ranks].sort((a, b) => b - a).at(-1)).toBe(-100);
    expect(patternMatcher(literalPattern('a[1]*.txt'))('a[1]*.txt', 'bob')).toBe(true);
    expect(patternMatcher(literalPattern('a[1]*.txt'))('a1.txt', 'bob')).toBe(false);
  });
});

describe('who may', () => {
  test('the nearest file counts, alone, and nothing below a terminal one', () => {
    put('syft.pub.yaml', rules(rule('**', 'read: ["*"]'), rule('secret/**', 'admin: [bob@example.org]')));
    put('sub/syft.pub.yaml', rules(rule('*.csv', 'write: ["*@lab.org"]')));
    expect(level('a.txt', 'eve@evil.org')).toBe('read');
    expect(level('secret/a', 'eve@evil.org')).toBe('none');
    expect(level('secret/a', 'bob@example.org')).toBe('admin');
    expect(level('sub/a.csv', 'cleo@lab.org')).toBe('write');
    expect(level('sub/a.csv', 'cleo@lab.org.evil.org')).toBe('none');
    // What the nearer file does not name is the owner's, though the one above gives it to everybody.
    expect(level('sub/a.txt', 'eve@evil.org')).toBe('none');
    put('syft.pub.yaml', `terminal: true\n${rules(rule('**', 'read: ["*"]'))}`);
    expect(level('sub/a.txt', 'eve@evil.org')).toBe('read');
  });

  test('the owner is who the folder is named after, to the letter', () => {
    put('syft.pub.yaml', '');
    expect(level('a.txt', OWNER)).toBe('owner');
    for (const other of [
      'ana@example.or',
      'ana@example.org.evil.org',
      'Ana@example.org',
      'ana',
      '',
      'a',
      '*',
      'USER'
    ]) {
      expect(level('a.txt', other)).toBe('none');
    }
    expect(datasiteOf(at('SyftBox_ana@x', 'ana@x', 'job'))).toEqual({
      dir: at('SyftBox_ana@x', 'ana@x'),
      owner: 'ana@x'
    });
    expect(datasiteOf(at('work', 'ana@x'))).toBeUndefined();
  });

  test('a name that looks like an entry of a list is not taken for it', () => {
    put('syft.pub.yaml', rules(rule('**', 'write: ["*@lab.org", USER@lab.org]')));
    for (const user of ['*@lab.org', '?@lab.org', '[a]@lab.org', 'a b@lab.org', 'a/b@lab.org']) {
      expect(level('a.txt', user)).toBe('none');
    }
    put('syft.pub.yaml', rules(rule('**', 'read: [USER]')));
    expect(level('a.txt', 'bob@example.org')).toBe('read');
    expect(level('a.txt', 'USER')).toBe('none');
  });

  test('who may write may not say who may', () => {
    put('syft.pub.yaml', rules(rule('**', 'write: [bob@example.org], admin: [cleo@example.org]')));
    const permissions = new Permissions(root);
    expect(permissions.mayWrite('a.txt', 'bob@example.org')).toBe(true);
    expect(permissions.mayWrite('syft.pub.yaml', 'bob@example.org')).toBe(false);
    expect(permissions.mayWrite('new/syft.pub.yaml', 'bob@example.org')).toBe(false);
    expect(permissions.mayWrite('Syft.PUB.yaml', 'bob@example.org')).toBe(false);
    expect(permissions.mayWrite('syft.pub.yaml', 'cleo@example.org')).toBe(true);
    expect(permissions.mayWrite('syft.pub.yaml', OWNER)).toBe(true);
  });

  test('files above the workspace count, up to the datasite', () => {
    put('syft.pub.yaml', rules(rule('project/**', 'read: [bob@example.org]')));
    put('project/deep/a.txt', 'a');
    writeFileSync(at('SyftBox', 'datasites', 'syft.pub.yaml'), rules(rule('**', 'write: ["*"]')));
    const inner = new Permissions(join(root, 'project', 'deep'));
    expect(inner.grantOf('a.txt', 'bob@example.org').level).toBe('read');
    expect(inner.grantOf('a.txt', 'eve@example.org').level).toBe('none');
  });
});

describe('a file that is not understood gives nobody anything', () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`;
  const bad: [string, string][] = [
    ['aliases that stand for too much', bomb],
    ['larger than may be', `# ${'x'.repeat(32 * 1024)}\nrules: []\n`],
    ['as many keys as fit', Array.from({ length: 3500 }, (_, i) => `k${i}: [`).join('\n')],
    ['brackets without end', '['.repeat(30_000)],
    ['dashes without end', '- '.repeat(15_000)],
    ['a key twice', 'terminal: true\nterminal: false\n'],
    ['no map', '- a\n'],
    ['two documents', 'rules: []\n---\nrules: []\n'],
    ['a rule that is a text', 'rules: [a]\n'],
    ['a rule without access', 'rules: [{pattern: "**"}]\n'],
    ['a pattern that is none', rules(rule('secret/[', 'read: []'))],
    ['a list that is a text', rules(rule('**', 'read: "*"'))],
    ['a user that is a number', rules(rule('**', 'read: [1]'))],
    ['a bare star, which YAML takes for an alias', 'rules: [{pattern: "**", access: {read: [*]}}]\n'],
    ['a terminal that is neither', 'terminal: maybe\n'],
    ['rules that are none', 'rules: 3\n'],
    ['a tag that would make an object', 'rules: !!js/function "x"\n'],
    ['more rules than may be', rules(...Array.from({ length: 1001 }, () => '  - {pattern: a, access: {}}\n'))]
  ];
  test.each(bad)('%s', (_, text) => {
    // Above it everybody may write.
    put('syft.pub.yaml', rules(rule('**', 'write: ["*"]')));
    put('sub/syft.pub.yaml', text);
    const started = Date.now();
    const permissions = new Permissions(root);
    expect(() => permissions.grantOf('sub/a.txt', 'bob@example.org')).toThrow(
      expect.objectContaining({ code: 'PERMISSIONS_INVALID' })
    );
    expect(permissions.grantOf('sub/a.txt', OWNER).level).toBe('owner');
    expect(permissions.grantOf('a.txt', 'bob@example.org').level).toBe('write');
    expect(() => editPermissions(text, { pattern: '**', access: { read: ['*'] } })).toThrow(
      expect.objectContaining({ code: 'PERMISSIONS_INVALID' })
    );
    expect(Date.now() - started).toBeLessThan(10_000);
  });

  test('a link, a folder, bytes that are no text', () => {
    put('syft.pub.yaml', rules(rule('**', 'write: ["*"]')));
    mkdirSync(join(root, 'dir', 'syft.pub.yaml'), { recursive: true });
    mkdirSync(join(root, 'link'));
    symlinkSync(join(root, 'syft.pub.yaml'), join(root, 'link', 'syft.pub.yaml'));
    mkdirSync(join(root, 'bytes'));
    writeFileSync(join(root, 'bytes', 'syft.pub.yaml'), Buffer.from([0xff, 0xfe]));
    for (const path of ['dir/a', 'link/a', 'bytes/a']) {
      expect(() => level(path, 'bob@example.org')).toThrow(expect.objectContaining({ code: 'PERMISSIONS_INVALID' }));
    }
  });
});

describe('a file that is changed', () => {
  const text = `# ours
x-owner: the lab   # kept
terminal: no
rules:
  # everybody
  - pattern: "**"
    access:
      read: ["*"] # all
      x-note: [keep]
    limits: {maxFileSize: 10}
  - pattern: data/a.csv
    access: &who
      write: [bob@example.org]
  - pattern: data/b.csv
    access: *who
`;
  test('keeps its comments, and what is not understood', () => {
    const edited = editPermissions(text, { pattern: '**', access: { read: ['eve@example.org'], admin: [] } });
    for (const kept of [
      '# ours',
      'x-owner: the lab',
      '# kept',
      '# everybody',
      'x-note',
      'maxFileSize: 10',
      'terminal: no'
    ]) {
      expect(edited).toContain(kept);
    }
    const { rules: after, terminal } = parsePermissions(edited);
    expect(terminal).toBe(false);
    expect(after.find(({ pattern }) => pattern === '**')?.access).toEqual({
      read: ['eve@example.org'],
      write: [],
      admin: []
    });
    expect(after.find(({ pattern }) => pattern === 'data/b.csv')?.access.write).toEqual(['bob@example.org']);
  });

  test('changes only the rule that is meant, where two share an access', () => {
    const { rules: after } = parsePermissions(editPermissions(text, { pattern: 'data/b.csv', access: { write: [] } }));
    expect(after.find(({ pattern }) => pattern === 'data/a.csv')?.access.write).toEqual(['bob@example.org']);
    expect(after.find(({ pattern }) => pattern === 'data/b.csv')?.access.write).toEqual([]);
  });

  test('is made where there is none, and read by both', () => {
    const made = editPermissions(undefined, {
      pattern: '**',
      access: { read: ['*', '*'], write: ['*@lab.org'] },
      terminal: true
    });
    expect(made).toBe(
      'rules:\n  - pattern: "**"\n    access:\n      admin: []\n      write:\n        - "*@lab.org"\n      read:\n        - "*"\nterminal: true\n'
    );
    expect(parsePermissions(made).terminal).toBe(true);
  });

  test.each(['bob', 'bob@', 'a b@x.org', 'bob@x.org,eve@x.org', '*@*', '**', '-', '{a,b}@x.org'])(
    '%s is no user',
    user => {
      expect(() => editPermissions(undefined, { pattern: '**', access: { read: [user] } })).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST' })
      );
    }
  );
});
