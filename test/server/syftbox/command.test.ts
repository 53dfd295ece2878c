/** `permissions` and `changeset`, as a shell calls them. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommandLine } from '../cli/run.ts';

const OWNER = 'ana@example.org';
let base: string;
let site: string;
let ana: CommandLine;

async function failed(cli: CommandLine, ...args: string[]): Promise<[number | null, string | undefined]> {
  const { status, stderr } = await cli.run(['--json', ...args]);
  return [status, /"code":"([A-Z_]+)"/.exec(stderr)?.[1]];
}

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'syft-sync-syftbox-')));
  site = join(base, 'datasites', OWNER);
  mkdirSync(join(site, 'data'), { recursive: true });
  writeFileSync(join(site, 'data', 'a.csv'), 'x\n1\n');
  writeFileSync(join(site, 'data', 'b.csv'), 'x\n2\n');
  ana = new CommandLine(site, join(base, 'home'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

describe('permissions', () => {
  test('who may what is written, read back, and asked for', async () => {
    const file = join(site, 'data', 'syft.pub.yaml');
    const [none] = await ana.ok('permissions', 'show', 'data');
    expect(none).toEqual({ path: 'data', owner: OWNER });
    const [made] = await ana.ok(
      'permissions',
      'set',
      'data',
      '--read',
      '*',
      '--write',
      'bob@lab.org',
      '--write',
      '*@x.org'
    );
    expect(made).toMatchObject({
      file,
      pattern: '**',
      changed: true,
      access: { read: ['*'], write: ['bob@lab.org', '*@x.org'] }
    });
    expect(statSync(file).mode & 0o777).toBe(0o644);
    // A rule for one file goes to where the others are, so that they go on to hold.
    const [one] = await ana.ok('permissions', 'set', 'data/a.csv', '--read', '');
    expect(one).toMatchObject({ file, pattern: 'a.csv', access: { read: [] } });
    const asked = await ana.ok('permissions', 'show', 'data', '--as', 'eve@evil.org');
    expect(asked.map(({ path, access, pattern }) => [path, access, pattern])).toEqual([
      ['data/a.csv', 'none', 'a.csv'],
      ['data/b.csv', 'read', '**'],
      ['data/syft.pub.yaml', 'read', '**']
    ]);
    expect((await ana.ok('permissions', 'show', 'data/b.csv', '--as', OWNER))[0]).toMatchObject({ access: 'owner' });
    // Nothing was recorded for it: a log is begun by who wants one.
    expect(() => statSync(join(site, '.syft-sync'))).toThrow();
    const text = readFileSync(file, 'utf8');
    expect((await ana.ok('permissions', 'set', 'data/a.csv', '--read', ''))[0]).toMatchObject({ changed: false });
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect((await ana.run(['permissions', 'show', 'data'])).stdout).toBe(
      `owner  ${OWNER}\n${file}\n  a.csv  nobody but the owner\n  **  write bob@lab.org, *@x.org · read *\n`
    );
    await ana.ok('permissions', 'set', '.', '--read', '*', '--terminal', 'yes');
    const below = await ana.run(['permissions', 'set', 'data', '--pattern', '*.csv', '--read', 'bob@lab.org']);
    expect([below.status, below.stderr]).toEqual([0, expect.stringContaining('is terminal')]);
  });

  test('what is wrong is said, and nothing is written', async () => {
    const file = join(site, 'syft.pub.yaml');
    expect(await failed(ana, 'permissions', 'set', '.')).toEqual([2, 'BAD_REQUEST']);
    expect(await failed(ana, 'permissions', 'set', '.', '--read', 'everybody')).toEqual([2, 'BAD_REQUEST']);
    expect(await failed(ana, 'permissions', 'set', '.', '--read', '*', '--pattern', 'a[')).toEqual([2, 'BAD_REQUEST']);
    expect(await failed(ana, 'permissions', 'set', '..', '--read', '*')).toEqual([1, 'PATH_OUTSIDE_ROOT']);
    expect(await failed(ana, 'permissions', 'show', 'nothing')).toEqual([4, 'PATH_NOT_FOUND']);
    expect(await failed(ana, 'permissions', 'forget')).toEqual([2, 'BAD_REQUEST']);
    expect(() => statSync(file)).toThrow();
    writeFileSync(file, 'rules: [{pattern: "**", access: {read: [*]}}]\n');
    expect(await failed(ana, 'permissions', 'show')).toEqual([3, 'PERMISSIONS_INVALID']);
    expect(await failed(ana, 'permissions', 'set', '.', '--read', '*')).toEqual([3, 'PERMISSIONS_INVALID']);
    expect(readFileSync(file, 'utf8')).toBe('rules: [{pattern: "**", access: {read: [*]}}]\n');
  });
});
