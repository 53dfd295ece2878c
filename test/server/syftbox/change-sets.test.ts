/** Change sets: what one folder tells another is all of it or nothing, and overwrites nothing that it does not know of. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from 'node:fs';
import { dirname, join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { LogView } from '../../../server/src/library/log-view.ts';
import { importMessage } from '../../../server/src/library/import-message.ts';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { verifyMessage } from '../../../server/src/messages/inspect.ts';
import {
  applyChanges,
  type AppliedChanges,
  type ApplyChangesOptions
} from '../../../server/src/syftbox/apply-changes.ts';
import {
  exportChanges,
  type ExportChangesOptions,
  type ExportedChanges
} from '../../../server/src/syftbox/export-changes.ts';
import { versionId } from '../../../server/src/core/change.ts';
import { archive, eventsArchive, fileEvent, sha256 } from '../messages/forge.ts';
import { ownPlace } from '../library/place.ts';
import { SmallDisk } from '../log/small-disk.ts';

let workspace: Workspace;
// Before the folder goes.
afterEach(() => workspace.close());
const at = ownPlace('work');

const put = (path: string, body: string | Buffer): void => {
  mkdirSync(dirname(at('work', path)), { recursive: true });
  writeFileSync(at('work', path), body);
};
const text = (path: string): string | undefined =>
  existsSync(at('work', path)) ? readFileSync(at('work', path), 'utf8') : undefined;

async function open(): Promise<Workspace> {
  return Workspace.open({ root: at('work'), logDir: at('log'), hints: 'none' });
}
beforeEach(async () => {
  workspace = await open();
});

async function exported(options: Partial<ExportChangesOptions> = {}, out = at('out')): Promise<ExportedChanges> {
  await workspace.capture();
  await using view = await LogView.open({ dir: at('log') }, at('work'));
  return await exportChanges(view, out, { folder: '', owner: 'ana@example.org', ...options });
}

/** Applies to a workspace of its own, which has what `files` says. */
async function appliedElsewhere(
  file: string,
  files: Record<string, string>,
  options: ApplyChangesOptions = {}
): Promise<[AppliedChanges, Record<string, string>]> {
  const root = at('other');
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root);
  for (const [path, body] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), body);
  }
  await using other = await Workspace.open({ root, logDir: at('other-log'), hints: 'none' });
  const result = await applyChanges(other, file, { trust: true, ...options });
  const there = readdirSync(root, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  const all = there.map(entry => join(entry.parentPath, entry.name));
  return [result, Object.fromEntries(all.map(path => [path.slice(root.length + 1), readFileSync(path, 'utf8')]))];
}

function events(file: string): Record<string, unknown>[] {
  const tar = gunzipSync(readFileSync(file));
  const size = parseInt(tar.toString('latin1', 124, 136), 8);
  expect(tar.toString('latin1', 0, 100).replace(/\0+$/, '')).toBe('proposed_file_changes.json');
  expect(tar.length).toBe(512 + Math.ceil(size / 512) * 512 + 1024);
  return (JSON.parse(tar.toString('utf8', 512, 512 + size)) as { events: Record<string, unknown>[] }).events;
}

describe('what is exported', () => {
  test('is what became of each file since, and makes another folder the same', async () => {
    put('kept.txt', 'kept');
    put('changed.txt', 'one');
    put('gone.txt', 'gone');
    put('sub/moved.txt', 'moved');
    put('was-a-file', 'x');
    const first = await exported();
    expect(first.messages).toHaveLength(1);
    expect(first.changes.map(({ kind }) => kind)).toEqual(['created', 'created', 'created', 'created', 'created']);
    const since = first.upTo;

    put('changed.txt', 'two');
    await workspace.capture();
    put('changed.txt', 'three');
    unlinkSync(at('work', 'gone.txt'));
    rmSync(at('work', 'sub'), { recursive: true });
    put('new/moved.txt', 'moved');
    put('empty', '');
    put('bytes', Buffer.from([0xff, 0x00, 0x80]));
    put('ä/\u65e5\u672c.txt', 'é\r\n\u0000');
    unlinkSync(at('work', 'was-a-file'));
    put('was-a-file/inside', 'y');
    put('briefly', 'z');
    await workspace.capture();
    unlinkSync(at('work', 'briefly'));
    const index = await (async () => {
      await using view = await LogView.open({ dir: at('log') }, at('work'));
      return view.changes.findIndex(change => versionId(change) === since);
    })();
    const second = await exported({ since: (_, i) => i <= index });
    const byPath = new Map(events(second.messages[0]!.file).map(event => [event['path_in_datasite'], event]));
    expect([...byPath.keys()].sort()).toEqual(
      [
        'bytes',
        'changed.txt',
        'empty',
        'gone.txt',
        'new/moved.txt',
        'sub/moved.txt',
        'was-a-file',
        'was-a-file/inside',
        'ä/\u65e5\u672c.txt'
      ].sort()
    );
    const hash = (body: string): string => sha256(Buffer.from(body));
    expect(byPath.get('changed.txt')).toMatchObject({
      datasite_email: 'ana@example.org',
      content: 'three',
      content_type: 'text',
      old_hash: hash('one'),
      new_hash: hash('three'),
      is_deleted: false
    });
    expect(byPath.get('gone.txt')).toMatchObject({
      content: null,
      new_hash: null,
      old_hash: hash('gone'),
      is_deleted: true
    });
    expect(byPath.get('bytes')).toMatchObject({ content: '/wCA', content_type: 'binary' });

    const [result, files] = await appliedElsewhere(second.messages[0]!.file, {
      'kept.txt': 'kept',
      'changed.txt': 'one',
      'gone.txt': 'gone',
      'sub/moved.txt': 'moved',
      'was-a-file': 'x'
    });
    expect(files).toEqual({
      'kept.txt': 'kept',
      'changed.txt': 'three',
      'new/moved.txt': 'moved',
      empty: '',
      bytes: Buffer.from([0xff, 0x00, 0x80]).toString('utf8'),
      'ä/\u65e5\u672c.txt': 'é\r\n\u0000',
      'was-a-file/inside': 'y'
    });
    expect([...result.deleted].sort()).toEqual(['gone.txt', 'sub/moved.txt', 'was-a-file']);
    expect(new Set(result.changes.map(({ cause }) => cause?.kind))).toEqual(new Set(['message']));
  });

  test('is the same bytes each time, and split where one message would be too much', async () => {
    put('a.bin', Buffer.alloc(900, 1));
    put('b.bin', Buffer.alloc(900, 2));
    const options = { messageBytes: 1000 };
    const once = await exported(options);
    expect(once.messages.map(message => message.events)).toEqual([1, 1]);
    const bytes = once.messages.map(({ file }) => readFileSync(file));
    const again = await exported(options, at('again'));
    expect(again.messages.map(({ id }) => id)).toEqual(once.messages.map(({ id }) => id));
    expect(again.messages.map(({ file }) => readFileSync(file).equals(bytes.shift()!))).toEqual([true, true]);
    const times = once.messages.map(({ file }) => Number(file.split('_')[1]));
    expect(times[0]!).toBeLessThan(times[1]!);
    await expect(exported(options, at('one.tar.gz'))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect(existsSync(at('one.tar.gz'))).toBe(false);
    expect(statSync(once.messages[0]!.file).mode & 0o777).toBe(0o600);
  });

  test('has only what its reader may read, and says what it has not', async () => {
    put('syft.pub.yaml', 'rules:\n  - pattern: "open/**"\n    access: {read: ["*"]}\n');
    put('open/a.txt', 'a');
    put('secret.txt', 's');
    symlinkSync('open/a.txt', at('work', 'link'));
    writeFileSync(Buffer.concat([Buffer.from(at('work', 'x')), Buffer.from([0xff])]), 'x');
    const { changes, leftOut, messages } = await exported({ reader: 'bob@example.org' });
    expect(changes.map(({ path }) => path)).toEqual(['open/a.txt']);
    expect(events(messages[0]!.file)).toHaveLength(1);
    expect(new Map(leftOut.map(({ path, why }) => [path, why]))).toEqual(
      new Map([
        ['link', 'it is a link'],
        ['x\\xFF', 'its name is not UTF-8'],
        ['secret.txt', 'bob@example.org may not read it'],
        ['syft.pub.yaml', 'bob@example.org may not read it']
      ])
    );
  });

  test('of a folder it is relative to that', async () => {
    put('datasites/ana@example.org/a.txt', 'a');
    put('elsewhere.txt', 'b');
    const { messages } = await exported({ folder: 'datasites/ana@example.org', owner: undefined });
    expect(events(messages[0]!.file)).toMatchObject([{ path_in_datasite: 'a.txt', datasite_email: 'ana@example.org' }]);
  });
});

const set = (...list: object[]): string => {
  writeFileSync(at('set.tar.gz'), eventsArchive(list));
  return at('set.tar.gz');
};
const B = (body: string): Buffer => Buffer.from(body);
const old = (body: string): { old_hash: string } => ({ old_hash: sha256(B(body)) });
const apply = (file: string, options: ApplyChangesOptions = {}): Promise<AppliedChanges> =>
  applyChanges(workspace, file, { trust: true, ...options });

describe('what is applied', () => {
  test('leaves what was changed here too, and says so; none of the rest is done unless asked', async () => {
    put('same.txt', 'one');
    put('mine.txt', 'my work');
    put('taken.txt', 'my own');
    put('del.txt', 'my edit');
    put('done.txt', 'new');
    const file = set(
      fileEvent('same.txt', B('two'), old('one')),
      fileEvent('mine.txt', B('theirs'), old('one')),
      fileEvent('taken.txt', B('theirs')),
      fileEvent('missing.txt', B('theirs'), old('one')),
      fileEvent('del.txt', undefined, old('one')),
      fileEvent('gone.txt', undefined, old('one')),
      fileEvent('done.txt', B('new'), old('one'))
    );
    await expect(apply(file)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    expect(['same.txt', 'mine.txt', 'taken.txt', 'del.txt'].map(text)).toEqual(['one', 'my work', 'my own', 'my edit']);
    const plan = await apply(file, { dryRun: true });
    expect([plan.written, plan.changes, plan.conflicts.length, text('same.txt')]).toEqual([['same.txt'], [], 4, 'one']);
    const result = await apply(file, { skipConflicts: true });
    expect(['same.txt', 'mine.txt', 'taken.txt', 'del.txt'].map(text)).toEqual(['two', 'my work', 'my own', 'my edit']);
    expect(result.written).toEqual(['same.txt']);
    expect([...result.unchanged].sort()).toEqual(['done.txt', 'gone.txt']);
    expect(result.conflicts).toEqual([
      { path: 'del.txt', why: 'it was changed here' },
      { path: 'mine.txt', why: 'it was changed here' },
      { path: 'taken.txt', why: 'another file is here' },
      { path: 'missing.txt', why: 'it is not here' }
    ]);
    expect(result.changes).toMatchObject([{ path: 'same.txt', cause: { kind: 'message' } }]);
  });

  test('what it replaces and deletes is in the history, under what it came by', async () => {
    put('a.sh', 'one');
    chmodSync(at('work', 'a.sh'), 0o755);
    put('b.txt', 'two');
    const result = await apply(set(fileEvent('a.sh', B('new'), old('one')), fileEvent('b.txt', undefined, old('two'))));
    expect(result.changes.map(({ kind, path, cause }) => [kind, path, cause?.kind])).toEqual([
      ['deleted', 'b.txt', 'message'],
      ['modified', 'a.sh', 'message']
    ]);
    expect(statSync(at('work', 'a.sh')).mode & 0o777).toBe(0o755);
    await using view = await LogView.open({ dir: at('log') }, at('work'));
    for (const [path, body] of [
      ['a.sh', 'one'],
      ['b.txt', 'two']
    ] as const) {
      const before = view.history(path).find(change => change.cause === undefined);
      expect(Buffer.from(await view.reader.contentBytes(before!)).toString()).toBe(body);
    }
  });

  test('several changes of one file are the first before and the last after', async () => {
    put('a.txt', 'one');
    const again = { id: '5b0e1f5c-8f0e-4f43-9f29-3f6c2f1f0009' };
    await apply(
      set(
        fileEvent('a.txt', B('two'), old('one')),
        fileEvent('a.txt', undefined, { ...old('two'), ...again }),
        fileEvent('a.txt', B('three'), again)
      )
    );
    expect(text('a.txt')).toBe('three');
  });

  test('is not believed without --trust, nor without access; who says who may is asked of administrators', async () => {
    put('syft.pub.yaml', 'rules:\n  - pattern: "drop/**"\n    access: {write: ["*@example.org"]}\n');
    await workspace.capture();
    const file = set(fileEvent('drop/a.txt', B('a')));
    await expect(apply(file, { trust: false })).rejects.toMatchObject({ code: 'SENDER_UNKNOWN' });
    await expect(apply(file, { as: 'eve@evil.org' })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await expect(apply(set(fileEvent('drop/a.txt', B('a')), fileEvent('b.txt', B('b'))))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining('b.txt')
    });
    await expect(
      apply(set(fileEvent('drop/syft.pub.yaml', B('rules: [{pattern: "**", access: {admin: ["*"]}}]\n'))))
    ).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(existsSync(at('work', 'drop'))).toBe(false);
    const result = await apply(set(fileEvent('drop/a.txt', B('a'))));
    expect(result).toMatchObject({ sender: 'mallory@example.org', permissions: [at('work', 'syft.pub.yaml')] });
    put('syft.pub.yaml', 'rules: [');
    await expect(apply(set(fileEvent('drop/b.txt', B('b'))))).rejects.toMatchObject({ code: 'PERMISSIONS_INVALID' });
  });

  test('in a datasite without such a file only the owner writes', async () => {
    mkdirSync(at('work', 'datasites', 'ana@x.org'), { recursive: true });
    const to = 'datasites/ana@x.org';
    await expect(apply(set(fileEvent('a.txt', B('a'))), { to })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await apply(set(fileEvent('a.txt', B('a'))), { to, as: 'ana@x.org' });
    expect(text(`${to}/a.txt`)).toBe('a');
  });

  test('does not delete most of a folder unless that is said', async () => {
    for (let i = 0; i < 12; i += 1) put(`f${i}.txt`, 'x');
    await workspace.capture();
    const file = set(...Array.from({ length: 8 }, (_, i) => fileEvent(`f${i}.txt`, undefined, old('x'))));
    await expect(apply(file)).rejects.toMatchObject({ code: 'SYNC_HALTED' });
    expect(readdirSync(at('work'))).toHaveLength(12);
    expect((await apply(file, { deleteMany: true })).deleted).toHaveLength(8);
    expect(readdirSync(at('work'))).toHaveLength(4);
  });

  test('that fails half-way leaves everything as it was', async () => {
    put('a.txt', 'one');
    put('b.txt', 'two');
    put('ro/c.txt', 'three');
    await workspace.capture();
    const before = (readdirSync(at('work'), { recursive: true }) as string[]).sort();
    put('.syftignore', 'not-recorded\n');
    await workspace.capture();
    before.push('.syftignore');
    before.sort();
    const file = set(
      fileEvent('not-recorded/y.txt', B('y')),
      fileEvent('b.txt', undefined, old('two')),
      fileEvent('a.txt', B('new'), old('one')),
      fileEvent('new/deep/x.txt', B('x')),
      fileEvent('ro/c.txt', B('new'), old('three'))
    );
    // Somebody saves the last file after it was looked at.
    const controller = new AbortController();
    const restore = workspace.restoreContent.bind(workspace);
    let n = 0;
    workspace.restoreContent = async (...args) => {
      n += 1;
      if (n === 4) put('ro/c.txt', 'saved meanwhile');
      return restore(...args);
    };
    await expect(apply(file)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    expect([text('a.txt'), text('b.txt'), text('ro/c.txt')]).toEqual(['one', 'two', 'saved meanwhile']);
    expect(readdirSync(at('work'), { recursive: true }).sort()).toEqual(before);
    // Stopped on the way.
    n = 0;
    put('ro/c.txt', 'three');
    workspace.restoreContent = async (...args) => {
      n += 1;
      if (n === 3) controller.abort();
      return restore(...args);
    };
    await expect(apply(file, { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect([text('a.txt'), text('b.txt'), text('ro/c.txt')]).toEqual(['one', 'two', 'three']);
    expect(readdirSync(at('work'), { recursive: true }).sort()).toEqual(before);
    workspace.restoreContent = restore;
    await apply(file);
    expect([text('a.txt'), text('b.txt'), text('ro/c.txt'), text('new/deep/x.txt')]).toEqual([
      'new',
      undefined,
      'new',
      'x'
    ]);
  });

  test('on a disk that gets full, everything is as it was, and goes on when there is room', async () => {
    using disk = new SmallDisk(at('disk'), 24);
    if (disk.kind === 'none') {
      console.warn('mounting is not permitted here: no disk was filled');
      return;
    }
    const root = join(disk.dir, 'ws');
    mkdirSync(root);
    for (const name of ['a', 'b', 'c']) writeFileSync(join(root, name), name);
    const big = randomBytes(4 * 2 ** 20);
    const file = set(
      fileEvent('c', undefined, old('c')),
      fileEvent('a', B('new'), old('a')),
      fileEvent('new/big', big),
      fileEvent('b', B('new'), old('b'))
    );
    const names = (): string[] =>
      (readdirSync(root, { recursive: true }) as string[]).filter(name => !name.startsWith('.syft-sync')).sort();
    // Without room to stage it; to place it; to record it.
    for (const room of [1, 6, 10].map(mib => mib * 2 ** 20)) {
      await using small = await Workspace.open({ root, logDir: join(root, '.syft-sync'), hints: 'none' });
      await small.capture();
      disk.fill(room);
      await expect(applyChanges(small, file, { trust: true })).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:DISK_FULL|RESTORE_NOT_RECORDED)$/)
      });
      disk.empty();
      // What could not be written down while it was full is by now.
      await small.flush();
      expect(names()).toEqual(['a', 'b', 'c']);
      expect(['a', 'b', 'c'].map(name => readFileSync(join(root, name), 'utf8'))).toEqual(['a', 'b', 'c']);
    }
    await using small = await Workspace.open({ root, logDir: join(root, '.syft-sync'), hints: 'none' });
    await applyChanges(small, file, { trust: true });
    expect(names()).toEqual(['a', 'b', 'new', 'new/big']);
    expect(readFileSync(join(root, 'new/big')).equals(big)).toBe(true);
  });

  test('imported, its deletions are not lost: they are told of', async () => {
    put('a.txt', 'one');
    await workspace.capture();
    const file = set(fileEvent('a.txt', undefined, old('one')), fileEvent('b.txt', B('b')));
    const verified = await verifyMessage(file);
    expect(verified.claimed).toContainEqual(expect.objectContaining({ fact: 'deletion', path: 'a.txt' }));
    expect(await importMessage(workspace, file, { trust: true })).toMatchObject({ notDeleted: ['a.txt'] });
    expect([text('a.txt'), text('b.txt')]).toEqual(['one', 'b']);
  });

  test('a deletion whose mark 0.1.117 lost is one all the same', async () => {
    put('a.txt', 'one');
    await apply(set(fileEvent('a.txt', undefined, { ...old('one'), is_deleted: false })));
    expect(text('a.txt')).toBeUndefined();
  });
});

describe('is refused, and leaves nothing', () => {
  const bad: [string, () => Buffer, string?][] = [
    ['a path that leads out', () => eventsArchive([fileEvent('../x', B('x'))])],
    ['an absolute path', () => eventsArchive([fileEvent('/etc/x', B('x'))])],
    ['a deletion that leads out', () => eventsArchive([fileEvent('../bait', undefined, old('bait'))])],
    ['a deletion of an absolute path', () => eventsArchive([fileEvent('/etc/passwd', undefined)])],
    ['a deletion in the log', () => eventsArchive([fileEvent('.syft-sync/format.json', undefined)])],
    ['a file in .git', () => eventsArchive([fileEvent('.git/hooks/post-checkout', B('x'))])],
    ['a deletion in .git', () => eventsArchive([fileEvent('.git/HEAD', undefined)])],
    ['a path that is a number', () => eventsArchive([fileEvent('a', B('x'), { path_in_datasite: 7 })])],
    [
      'a hash that is not that of the content',
      () => eventsArchive([fileEvent('a', B('x'), { new_hash: sha256(B('y')) })])
    ],
    ['a hash that is none', () => eventsArchive([fileEvent('a', B('x'), { old_hash: 'abc' })])],
    ['a hash that is a number', () => eventsArchive([fileEvent('a', B('x'), { old_hash: 12 })])],
    ['no content, and yet a hash', () => eventsArchive([fileEvent('a', B('x'), { content: null })])],
    ['content that is not base64', () => eventsArchive([fileEvent('a', B('x'), { content: '?' })])],
    ['an event that is none', () => eventsArchive([null])],
    ['no events', () => eventsArchive([], { events: 'many' })],
    ['two names that one system takes for one', () => eventsArchive([fileEvent('a', B('x')), fileEvent('A', B('x'))])],
    ['a file and a folder of one name', () => eventsArchive([fileEvent('a', B('x')), fileEvent('a/b', B('x'))])],
    [
      'another member beside the events',
      () =>
        archive([
          { name: 'proposed_file_changes.json', body: B('{"events":[]}') },
          { name: 'x', body: B('x') }
        ])
    ],
    ['cut off', () => eventsArchive([fileEvent('a', B('x'))]).subarray(0, 100)],
    ['not JSON', () => archive([{ name: 'proposed_file_changes.json', body: B('{') }])],
    [
      'nested without end',
      () => archive([{ name: 'proposed_file_changes.json', body: B(`{"events":${'['.repeat(5000)}`) }])
    ],
    ['below a link that leads out', () => eventsArchive([fileEvent('link/bait', B('x'))]), 'PATH_INVALID'],
    ['a deletion below a link', () => eventsArchive([fileEvent('link/bait', undefined, old('bait'))]), 'PATH_INVALID'],
    ['below a file', () => eventsArchive([fileEvent('here.txt/x', B('x'))]), 'PATH_INVALID'],
    ['in place of a folder', () => eventsArchive([fileEvent('folder', B('x'))]), 'PRECONDITION_FAILED'],
    ['a deletion of a folder', () => eventsArchive([fileEvent('folder', undefined, old('x'))]), 'PRECONDITION_FAILED'],
    ['in place of a link', () => eventsArchive([fileEvent('link', B('x'), old('x'))]), 'PRECONDITION_FAILED'],
    ['a deletion that says not of what', () => eventsArchive([fileEvent('here.txt', undefined)]), 'PRECONDITION_FAILED']
  ];
  test.each(bad)('%s', async (_, bytes, code = 'ARCHIVE_INVALID') => {
    mkdirSync(at('outside'));
    writeFileSync(at('outside', 'bait'), 'bait');
    writeFileSync(at('bait'), 'bait');
    symlinkSync(at('outside'), at('work', 'link'));
    put('here.txt', 'here');
    put('folder/f.txt', 'f');
    writeFileSync(at('set.tar.gz'), bytes());
    const before = readdirSync(at('work'), { recursive: true }).sort();
    await expect(apply(at('set.tar.gz'), { skipConflicts: false })).rejects.toMatchObject({ code });
    expect(readdirSync(at('work'), { recursive: true }).sort()).toEqual(before);
    expect([text('here.txt'), text('folder/f.txt')]).toEqual(['here', 'f']);
    expect([readFileSync(at('outside', 'bait'), 'utf8'), readFileSync(at('bait'), 'utf8')]).toEqual(['bait', 'bait']);
    expect(readdirSync(at('log')).filter(name => name.startsWith('changes-'))).toEqual([]);
  });
});
