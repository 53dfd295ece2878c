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

describe('changeset', () => {
  let bob: CommandLine;
  const theirs = (path: string): string => join(base, 'bob', 'from ana', path);
  beforeEach(() => {
    mkdirSync(join(base, 'bob', 'from ana'), { recursive: true });
    bob = new CommandLine(join(base, 'bob'), join(base, 'bob-home'));
  });
  const out = (): string => join(base, 'out');

  /** The one message that an export wrote. */
  function only(result: Record<string, unknown> | undefined): string {
    const messages = result!['messages'] as { file: string }[];
    expect(messages).toHaveLength(1);
    expect(messages[0]!.file).toMatch(/syfteventsmessagev3_\d+\.\d+_[0-9a-f-]{36}\.tar\.gz$/);
    return messages[0]!.file;
  }

  test('goes from one folder to the other, from where the last one ended', async () => {
    await ana.ok('capture');
    const [first] = await ana.ok('changeset', 'export', '.', '-o', out());
    const file = only(first);
    expect(await failed(bob, 'changeset', 'apply', file)).toEqual([3, 'SENDER_UNKNOWN']);
    expect(() => statSync(join(base, 'bob', '.syft-sync'))).toThrow();
    const plan = await bob.run(['changeset', 'apply', file, '--to', 'from ana', '--trust', '--dry-run']);
    expect([plan.status, plan.stdout]).toEqual([
      0,
      'would write   from ana/data/a.csv\nwould write   from ana/data/b.csv\n'
    ]);
    const lines = await bob.ok('changeset', 'apply', file, '--to', 'from ana', '--trust');
    expect(lines.at(-1)).toMatchObject({
      applied: { sender: OWNER, written: ['from ana/data/a.csv', 'from ana/data/b.csv'] }
    });
    expect(readFileSync(theirs('data/a.csv'), 'utf8')).toBe('x\n1\n');

    writeFileSync(join(site, 'data', 'a.csv'), 'x\n3\n');
    rmSync(join(site, 'data', 'b.csv'));
    await ana.ok('capture');
    const [second] = await ana.ok('changeset', 'export', '.', '-o', out(), '--since', String(first!['upTo']));
    const update = only(second);
    expect(second).toMatchObject({ changes: [{ kind: 'deleted' }, { kind: 'modified' }] });
    const [nothing] = await ana.ok('changeset', 'export', '.', '-o', out(), '--since', String(second!['upTo']));
    expect(nothing).toMatchObject({ messages: [], upTo: second!['upTo'] });

    // What bob made of it is not overwritten.
    writeFileSync(theirs('data/a.csv'), 'mine');
    expect(await failed(bob, 'changeset', 'apply', update, '--to', 'from ana', '--trust')).toEqual([
      1,
      'PRECONDITION_FAILED'
    ]);
    expect([readFileSync(theirs('data/a.csv'), 'utf8'), readFileSync(theirs('data/b.csv'), 'utf8')]).toEqual([
      'mine',
      'x\n2\n'
    ]);
    const rest = await bob.run([
      '--json',
      'changeset',
      'apply',
      update,
      '--to',
      'from ana',
      '--trust',
      '--skip-conflicts'
    ]);
    expect([rest.status, rest.json.at(-1)]).toMatchObject([
      1,
      { applied: { deleted: ['from ana/data/b.csv'], written: [] } }
    ]);
    expect(() => statSync(theirs('data/b.csv'))).toThrow();
  });

  test('beside a recorder, the recorder applies; permissions count there too', async () => {
    await ana.ok('capture');
    const file = only((await ana.ok('changeset', 'export', '.', '-o', out()))[0]);
    writeFileSync(theirs('syft.pub.yaml'), 'rules:\n  - pattern: data/*\n    access: {write: [ana@example.org]}\n');
    const recorder = await bob.watch();
    const apply = ['changeset', 'apply', file, '--to', 'from ana', '--trust'];
    expect(await failed(bob, ...apply, '--as', 'eve@evil.org')).toEqual([3, 'PERMISSION_DENIED']);
    const lines = await bob.ok(...apply);
    expect(lines[0]).toMatchObject({ path: 'from ana/data/a.csv', cause: { kind: 'message' } });
    expect(await recorder.until(object => object['path'] === 'from ana/data/a.csv')).toMatchObject({
      versionId: lines[0]!['versionId']
    });
    expect(await failed(bob, 'changeset', 'apply', file, '--to', '.syft-sync', '--trust')).toEqual([2, 'PATH_INVALID']);
    expect(await recorder.end()).toBe(0);
  });

  test('killed on the way, it is finished by the same command, and what was there is in the history', async () => {
    const COUNT = 150;
    const name = (i: number): string => `data/f${String(i).padStart(3, '0')}.txt`;
    const fill = (text: string): void => {
      for (let i = 0; i < COUNT; i += 1) writeFileSync(join(site, name(i)), `${text} ${i}`);
    };
    fill('old');
    await ana.ok('capture');
    const [first] = await ana.ok('changeset', 'export', '.', '-o', out());
    await bob.ok('changeset', 'apply', only(first), '--to', 'from ana', '--trust');
    fill('new');
    await ana.ok('capture');
    const update = only((await ana.ok('changeset', 'export', '.', '-o', out(), '--since', String(first!['upTo'])))[0]);
    const apply = ['changeset', 'apply', update, '--to', 'from ana', '--trust'];
    const now = (): string[] => Array.from({ length: COUNT }, (_, i) => readFileSync(theirs(name(i)), 'utf8'));
    const killed = bob.spawn(['--json', ...apply]);
    const ended = new Promise(resolve => killed.on('close', (_, signal) => resolve(signal)));
    while (!now().some(text => text.startsWith('new')) && killed.exitCode === null) {
      await new Promise(resolve => setTimeout(resolve, 1));
    }
    killed.kill('SIGKILL');
    expect(await ended).toBe('SIGKILL');
    const between = now();
    expect(between.every((text, i) => text === `old ${i}` || text === `new ${i}`)).toBe(true);
    expect(between.filter(text => text.startsWith('old')).length).toBeGreaterThan(0);
    const applied = (await bob.ok(...apply)).at(-1)!['applied'] as { written: string[]; unchanged: string[] };
    expect(applied.unchanged.length).toBeGreaterThan(0);
    expect(applied.written.length + applied.unchanged.length).toBe(COUNT);
    expect(now().every((text, i) => text === `new ${i}`)).toBe(true);
    expect((await bob.run(['show', `from ana/${name(0)}@-1`])).stdout).toBe('old 0');
    expect((await bob.run(['fsck', '--read-data'])).status).toBe(0);
  });

  test('what is wrong is said', async () => {
    expect(await failed(ana, 'changeset', 'export', '.', '-o', out())).toEqual([4, 'LOG_MISSING']);
    await ana.ok('capture');
    expect(await failed(ana, 'changeset', 'export', '.')).toEqual([2, 'BAD_REQUEST']);
    expect(await failed(ana, 'changeset', 'export', '.', '-o', out(), '--since', 'sometime')).toEqual([
      2,
      'BAD_REQUEST'
    ]);
    expect(await failed(ana, 'changeset', 'merge', '.')).toEqual([2, 'BAD_REQUEST']);
    expect(await failed(bob, 'changeset', 'apply', 'none', '--trust')).toEqual([4, 'PATH_NOT_FOUND']);
    await ana.ok('export', 'data/a.csv@latest', '-o', join(base, 'm.syft'));
    expect(await failed(bob, 'changeset', 'apply', join(base, 'm.syft'), '--trust')).toEqual([2, 'BAD_REQUEST']);
  });
});
