/**
 * Messages made to harm whoever opens them. Each is refused with ARCHIVE_INVALID by import, `verify` says that it does not hold, and nothing
 * is there afterwards that was not there before: not in the workspace, not beside it, not in the log.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { deviceKey } from '../../../server/src/crypto/device-key.ts';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { importMessage } from '../../../server/src/library/import-message.ts';
import { verifyMessage } from '../../../server/src/messages/inspect.ts';
import type { MessageLimits } from '../../../server/src/messages/limits.ts';
import type { Manifest, ManifestFile } from '../../../server/src/messages/manifest.ts';
import { archive, END, file, ID, manifestOf, member, newKey, pax, sha256, signedMembers, type Entry } from './forge.ts';

const key = newKey();
const BODY = Buffer.from('bait\n');
const data = (name: string): string => `${ID}/data/${name}`;

/** A message whose signature holds: only the names, or what else is said, are evil. */
function signed(
  files: readonly ManifestFile[],
  contents: readonly (Entry | Buffer)[] = files.map(({ member: name }) => ({ name: data(name), body: BODY })),
  more: Partial<Manifest> = {}
): Buffer {
  return archive(signedMembers(key, manifestOf(key, files, more), contents));
}

/** A file that the manifest puts at one place, under a harmless name in the archive. */
const placed = (path: string): Buffer => signed([file('a.txt', BODY, { path })], [{ name: data('a.txt'), body: BODY }]);
/** A SyftMessage v1, as anybody can make one. */
function version1(name: string | Buffer, more: Partial<Entry> = {}, before: readonly (Entry | Buffer)[] = []): Buffer {
  const description = Buffer.from(JSON.stringify({ message_id: ID, sender: 'm', hash: sha256(BODY) }));
  return archive([
    { name: `${ID}/` },
    ...before,
    { name, body: BODY, ...more },
    { name: `${ID}/${ID}.json`, body: description }
  ]);
}
const event = (path: unknown, more: object = {}): Buffer =>
  archive([
    {
      name: 'proposed_file_changes.json',
      body: Buffer.from(
        JSON.stringify({
          events: [
            {
              path_in_datasite: path,
              content: 'bait\n',
              content_type: 'text',
              new_hash: sha256(BODY),
              is_deleted: false,
              ...more
            }
          ]
        })
      )
    }
  ]);

function unpacksTo(bytes: Buffer, content: Buffer): boolean {
  try {
    return gunzipSync(bytes).equals(content);
  } catch {
    return false;
  }
}

interface Case {
  readonly name: string;
  readonly bytes: Buffer;
  readonly limits?: Partial<MessageLimits>;
}
const cases: Case[] = [];
const add = (name: string, bytes: Buffer, limits?: Partial<MessageLimits>): void => {
  cases.push({ name, bytes, ...(limits !== undefined && { limits }) });
};

const LEADS_OUT = [
  ...[
    '/bait',
    '//bait',
    '../bait',
    '../../bait',
    'a/../../bait',
    'a/..',
    '..',
    '.',
    './bait',
    'a/./b',
    'a//b',
    '/',
    ''
  ],
  ...['C:/bait', 'c:bait', 'C:\\bait', 'a\\b', '..\\bait', '\\\\server\\bait', '\\bait', '//server/share/bait']
];
const NO_NAMES = [
  ...['bait\0', 'a\0/b', 'a\nb', 'a\rb', 'a\tb', '\x1b[31mbait', 'bait\x7f', 'bait ', 'bait.', 'a /b', 'a./b', '...'],
  ...[
    'con',
    'CON',
    'Con.txt',
    'prn',
    'aux',
    'AUX.py',
    'nul',
    'nul.tar.gz',
    'com1',
    'COM9.csv',
    'lpt1',
    'a/lpt9',
    'conin$',
    'com\u00b9'
  ],
  ...['a\u202egnp.exe', 'a\u200bb', '\ufeffbait', 'a\u2066b', 'a\u200fb', 'bait\ufffd'],
  ...['x'.repeat(256), `a/${'y'.repeat(300)}/b`, `${'d/'.repeat(200)}bait`, `${'long/'.repeat(1000)}bait`]
];
const PROTECTED = [
  ...['.syft-sync/format.json', '.syft-sync/log/bait', 'a/.syft-sync/bait', '.SYFT-SYNC/bait', '.Syft-Sync/bait'],
  ...['.git/hooks/pre-commit', '.GIT/config', 'a/.git/config', 'git~1/config', '.hg/hgrc', '.svn/entries', '.git']
];

for (const name of [...LEADS_OUT, ...NO_NAMES]) {
  const shown = JSON.stringify(name.slice(0, 40));
  add(`signed, placed at ${shown}`, placed(name));
  if (!name.includes('\0') && Buffer.byteLength(name) < 60 && name !== '') {
    add(`a member of version 1 called ${shown}`, version1(data(name).replace(/\/$/, '/x/')));
  }
  add(`an event on ${shown}`, event(name));
}
for (const name of PROTECTED) {
  add(`signed, placed at ${name}`, placed(name));
  add(`version 1, placed at ${name}`, version1(data(name)));
  add(`an event on ${name}`, event(name));
}
for (const name of [
  '/bait',
  '../bait',
  '../../bait',
  'bait',
  `${ID}/../../bait`,
  '/etc/bait',
  `${ID}/data/../../../bait`
]) {
  add(`a member outside of the message: ${name}`, version1(data('a.txt'), {}, [{ name, body: BODY }]));
  add(
    `a member outside, by its pax name: ${name}`,
    version1(data('a.txt'), {}, [pax({ path: name }), { name: 'x', body: BODY }])
  );
  add(
    `a member outside, by its long name: ${name}`,
    version1(data('a.txt'), {}, [
      member({ name: '././@LongLink', type: 'L', body: Buffer.from(`${name}\0`) }),
      { name: 'x', body: BODY }
    ])
  );
}
for (const [type, what] of [
  ['1', 'hard link'],
  ['2', 'symbolic link'],
  ['3', 'character device'],
  ['4', 'block device'],
  ['6', 'pipe'],
  ['7', 'contiguous file'],
  ['D', 'GNU directory'],
  ['S', 'sparse file'],
  ['Z', 'unknown kind']
] as const) {
  const link: Entry = { name: data('l'), type, linkname: '../../../bait' };
  add(`a ${what}`, version1(data('a.txt'), {}, [link]));
  add(`a ${what} that is signed for`, signed([file('a.txt', BODY)], [link, { name: data('a.txt'), body: BODY }]));
  add(`a file through a ${what}`, version1(data('l/a.txt'), {}, [link]));
}
const two = (a: string, b: string): Buffer => signed([file(a, BODY), file(b, BODY, { versionId: 'aaaaaaaa.2' })]);
for (const [a, b] of [
  ['a.txt', 'a.txt'],
  ['a.txt', 'A.TXT'],
  ['d/a', 'D/b'],
  ['d', 'd/a'],
  ['d/a', 'd'],
  ['d', 'D/a'],
  ['caf\u00e9', 'cafe\u0301'],
  ['stra\u00dfe', 'stra\u1e9ee'],
  ['\ufb01le', 'file'],
  ['a', '\u00aa']
] as const) {
  add(`${JSON.stringify(a)} beside ${JSON.stringify(b)}`, two(a, b));
  add(
    `two paths, ${JSON.stringify(a)} and ${JSON.stringify(b)}`,
    signed(
      [file('1', BODY, { path: a }), file('2', BODY, { path: b, versionId: 'aaaaaaaa.2' })],
      [
        { name: data('1'), body: BODY },
        { name: data('2'), body: BODY }
      ]
    )
  );
}
add(
  'one content for two files',
  signed([file('a', BODY), file('a', BODY, { path: 'b' })], [{ name: data('a'), body: BODY }])
);
add('a directory that has a content', version1(data('a.txt'), {}, [{ name: data('d/'), body: BODY }]));
add('a directory that is no part of it', version1(data('a.txt'), {}, [{ name: 'elsewhere/' }]));
add(
  'a member that the manifest does not list',
  signed(
    [file('a', BODY)],
    [
      { name: data('a'), body: BODY },
      { name: data('b'), body: BODY }
    ]
  )
);
add(
  'a member beside that the manifest does not list',
  signed(
    [file('a', BODY)],
    [
      { name: data('a'), body: BODY },
      { name: 'run.sh', body: BODY }
    ]
  )
);
add(
  'a file without its content',
  signed([file('a', BODY), file('b', BODY, { versionId: 'aaaaaaaa.2' })], [{ name: data('a'), body: BODY }])
);
add('another content than was signed', signed([file('a', BODY)], [{ name: data('a'), body: Buffer.from('evil\n') }]));
add('another size than was signed', signed([file('a', BODY, { size: 4 })]));
add('another hash than was signed', signed([file('a', BODY, { hash: '0'.repeat(64) })]));
add('a proof that is none', signed([file('a', BODY, { proof: 'c2sp.org/tlog-proof@v1\nindex 0\n\nx' })]));
add(
  'a path that is not that of its bytes',
  signed([file('a', BODY, { path: 'a', pathBase64: Buffer.from([0x62, 0xff]).toString('base64') })])
);
add(
  'a path in bytes that leads out',
  signed([file('a', BODY, { path: '../\\xFF', pathBase64: Buffer.from([0x2e, 0x2e, 0x2f, 0xff]).toString('base64') })])
);
{
  const files = [file('a', BODY)];
  const good = signedMembers(key, manifestOf(key, files), [{ name: data('a'), body: BODY }]);
  const other = newKey();
  const wrong = signedMembers(other, manifestOf(key, files), [{ name: data('a'), body: BODY }]);
  const [, , , manifest, signature] = good as Entry[];
  add('signed with another key', archive(wrong));
  add('a manifest without a signature', archive(good.slice(0, -1)));
  add('a signature without a manifest', archive(good.filter(entry => entry !== manifest)));
  add(
    'a manifest that was altered',
    archive([
      ...good.slice(0, 3),
      { ...(manifest as Entry), body: Buffer.from(String(manifest?.body).replace('mallory', 'alice')) },
      signature as Entry
    ])
  );
  add(
    'a manifest with a space more',
    archive([
      ...good.slice(0, 3),
      { ...(manifest as Entry), body: Buffer.concat([manifest?.body ?? BODY, Buffer.from(' ')]) },
      signature as Entry
    ])
  );
  add(
    'a manifest that is not UTF-8',
    archive([
      ...good.slice(0, 3),
      { ...(manifest as Entry), body: Buffer.from([0x7b, 0xff, 0x7d]) },
      signature as Entry
    ])
  );
  add(
    'a manifest that is no object',
    archive([...good.slice(0, 3), { ...(manifest as Entry), body: Buffer.from('[]') }, signature as Entry])
  );
  add('two manifests', archive([...good, manifest as Entry]));
  for (const [name, more] of Object.entries({
    'of a later format': { format: 'syft-sync.message/2' as Manifest['format'] },
    'with an id that leads out': { id: '../msg' },
    'with no files': { files: [] },
    'with a field nobody knows': { evil: 1 } as Partial<Manifest>,
    'of another device': { sender: { ...manifestOf(key, files).sender, device: 'aaaaaaaa' } },
    'of a key that is none': { sender: { ...manifestOf(key, files).sender, publicKey: 'AAAA' } },
    'with members that are not there': { members: [{ name: 'x', size: 1, hash: '0'.repeat(64) }] },
    'with a note without end': { note: 'x'.repeat(100_001) }
  })) {
    add(
      `a manifest ${name}`,
      archive(
        signedMembers(key, manifestOf(key, files, more), [{ name: data('a'), body: BODY }]).filter(
          entry => name !== 'with an id that leads out' || !(entry as Entry).name.toString().startsWith('../msg')
        )
      )
    );
  }
  add(
    'events with other contents than the message',
    (() => {
      const body = Buffer.from(
        JSON.stringify({
          events: [
            {
              path_in_datasite: 'a',
              content: 'evil',
              content_type: 'text',
              new_hash: sha256(Buffer.from('evil')),
              is_deleted: false
            }
          ]
        })
      );
      const members = [{ name: 'proposed_file_changes.json', size: body.length, hash: sha256(body) }];
      return archive(
        signedMembers(key, manifestOf(key, files, { members }), [
          { name: data('a'), body: BODY },
          { name: 'proposed_file_changes.json', body }
        ])
      );
    })()
  );
}
add('events that are not what their hash says', event('a', { new_hash: '0'.repeat(64) }));
add('an event without a path', event(undefined));
add('an event with a path that is no text', event(['a']));
add('an event without a content', event('a', { content: null }));
add('an event with a content that is no base64', event('a', { content: '!!', content_type: 'binary' }));
add('events that are none', archive([{ name: 'proposed_file_changes.json', body: Buffer.from('{"events":[1]}') }]));
add('no events', archive([{ name: 'proposed_file_changes.json', body: Buffer.from('{}') }]));
add(
  'a description that is nested without end',
  archive([{ name: `${ID}/${ID}.json`, body: Buffer.from(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`) }])
);
add('a description that is no JSON', archive([{ name: `${ID}/${ID}.json`, body: Buffer.from('{') }]));
add(
  'a description that is not what it describes',
  archive([
    { name: `${ID}/${ID}.json`, body: Buffer.from(JSON.stringify({ hash: '0'.repeat(64) })) },
    { name: data('a'), body: BODY }
  ])
);
add(
  'two messages in one',
  archive([
    { name: `${ID}/${ID}.json`, body: Buffer.from('{}') },
    { name: 'msg_b/msg_b.json', body: Buffer.from('{}') }
  ])
);
add('nothing', archive([]));
add('no archive', Buffer.from('this is no archive'));
add('an empty file', Buffer.alloc(0));
add('a plain tar', Buffer.concat([member({ name: data('a'), body: BODY }), END]));
add('gzip of something else', gzipSync('no tar at all, but long enough'.repeat(100)));
add('a wrong checksum', version1(data('a.txt'), { badChecksum: true }));
add('a size that is larger than what comes', version1(data('a.txt'), { size: 1 << 20 }));
add('a negative size by pax', version1(data('a.txt'), {}, [pax({ size: '-1' })]));
add('a size by pax that is no number', version1(data('a.txt'), {}, [pax({ size: 'x' })]));
add('a pax header larger than any', version1(data('a.txt'), {}, [member({ name: 'p', type: 'x', size: 2 ** 31 })]));
add('a global pax name', version1(data('a.txt'), {}, [pax({ path: '../bait' }, 'g'), pax({ comment: 'x' })]));
{
  const whole = version1(data('a.txt'));
  for (const part of [0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) {
    add(`cut off at ${part}`, whole.subarray(0, Math.floor(whole.length * part)));
  }
  for (let i = 12; i < whole.length; i += Math.ceil(whole.length / 12)) {
    const flipped = Buffer.from(whole);
    flipped[i] = (flipped[i] ?? 0) ^ 0x10;
    // Deflate can say the same in two ways.
    if (!unpacksTo(flipped, gunzipSync(whole))) add(`byte ${i} flipped`, flipped);
  }
}
add(
  'more members than may be',
  version1(
    data('a.txt'),
    {},
    Array.from({ length: 30 }, (_, i) => ({ name: data(`f${i}`), body: BODY }))
  ),
  { members: 20 }
);
add('a member larger than may be', version1(data('a.txt'), {}, [{ name: data('b'), body: Buffer.alloc(5000) }]), {
  memberBytes: 1000
});
add('more in all than may be', version1(data('a.txt'), {}, [{ name: data('b'), body: Buffer.alloc(5000) }]), {
  totalBytes: 3000
});
add('a bomb', version1(data('a.txt'), {}, [{ name: data('b'), body: Buffer.alloc(4 << 20) }]), {
  ratio: 50,
  ratioFrom: 1 << 20
});
add(
  'a bomb that lies of its size',
  version1(data('a.txt'), {}, [{ name: data('b'), size: 0, body: Buffer.alloc(4 << 20) }]),
  { ratio: 50, ratioFrom: 1 << 20 }
);
add(
  'a description larger than may be',
  archive([{ name: `${ID}/${ID}.json`, body: Buffer.from(`{"a":"${'x'.repeat(5000)}"}`) }]),
  { textBytes: 1000 }
);

let dir: string;
let workspace: Workspace;
const at = (...parts: string[]): string => join(dir, ...parts);

/** Everything below the test's directory, but what the log itself writes. */
async function all(): Promise<string[]> {
  const names = await readdir(dir, { recursive: true });
  return names.filter(name => !/^work\/\.syft-sync\/(?!tmp|staging)/.test(name)).sort();
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-hostile-'));
  await mkdir(at('work', 'inside'), { recursive: true });
  await mkdir(at('outside'));
  await writeFile(at('outside', 'bait'), 'as it was');
  await symlink(at('outside'), at('work', 'link'));
  await writeFile(at('work', 'inside', 'a.txt'), 'as it was');
  workspace = await Workspace.open({ root: at('work'), logDir: at('work', '.syft-sync'), hints: 'none' });
  await workspace.start();
  // The key of this installation is made by the first import that asks for it.
  deviceKey(at('configuration'), at('configuration'));
});

afterAll(async () => {
  await workspace.close();
  await rm(dir, { recursive: true, force: true });
});

test('there are at least two hundred of them', () => {
  expect(cases.length).toBeGreaterThanOrEqual(200);
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});

describe('is refused, and leaves nothing', () => {
  test.each(cases.map(({ name, ...rest }) => [name, rest] as const))('%s', async (_, { bytes, limits }) => {
    const path = at('message.syft');
    await writeFile(path, bytes);
    const before = await all();
    const options = { limits, trust: true, configuration: at('configuration') };
    await expect(importMessage(workspace, path, options)).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    const verified = await verifyMessage(path, { limits });
    expect(verified).toMatchObject({ ok: false, proven: [], claimed: [], files: [] });
    expect(verified.failed).toMatch(/\S/);
    expect(await all()).toEqual(before);
    expect(await readFile(at('outside', 'bait'), 'utf8')).toBe('as it was');
    expect(await readFile(at('work', 'inside', 'a.txt'), 'utf8')).toBe('as it was');
  });
});

test('what is well made is taken: the corpus is refused for what is wrong with it, not for how it is made', async () => {
  await writeFile(at('message.syft'), two('inside/a.txt', 'inside/b.txt'));
  const options = { trust: true, configuration: at('configuration') };
  const { changes } = await importMessage(workspace, at('message.syft'), options);
  expect(changes.map(({ path }) => path)).toEqual(['inside/a.txt', 'inside/b.txt']);
  await writeFile(at('message.syft'), version1(data('v1.txt')));
  expect((await importMessage(workspace, at('message.syft'), options)).changes.map(({ path }) => path)).toEqual([
    'v1.txt'
  ]);
  await writeFile(at('message.syft'), event('e.txt'));
  expect((await importMessage(workspace, at('message.syft'), options)).changes.map(({ path }) => path)).toEqual([
    'e.txt'
  ]);
});

test('a link in the workspace leads no file of a message outside', async () => {
  await writeFile(at('message.syft'), signed([file('link/bait', BODY)]));
  const options = { trust: true, configuration: at('configuration') };
  await expect(importMessage(workspace, at('message.syft'), options)).rejects.toMatchObject({
    code: expect.stringMatching(/^PATH_/)
  });
  expect(await readFile(at('outside', 'bait'), 'utf8')).toBe('as it was');
});
