// What we write is read by the packages of OpenMined themselves, and what they write by us: byte for byte, both ways.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { interopEnvironments } from '../../scripts/interop.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'server/dist/bundle/syft-sync.mjs');
const peerProgram = fileURLToPath(new URL('peer.py', import.meta.url));
const peers = new Map(interopEnvironments().map(peer => [peer.name, peer]));
const MODERN = ['syft-client-0.1.117', 'syft-0.10'];
const OWNER = 'ana@example.org';

let scratch;
before(() => (scratch = mkdtempSync(join(tmpdir(), 'syft interop '))));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** A folder of the test's own. */
let count = 0;
function place() {
  const dir = join(scratch, String((count += 1)));
  mkdirSync(dir);
  return dir;
}

function write(dir, files) {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
}

/** All files of a folder, but those of logs. */
function read(dir) {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  const paths = files.map(entry => join(entry.parentPath, entry.name)).filter(path => !path.includes('.syft-sync'));
  return Object.fromEntries(
    paths.sort().map(path => [path.slice(dir.length + 1), readFileSync(path).toString('base64')])
  );
}
const same = files =>
  Object.fromEntries(
    Object.entries(files)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, content]) => [path, Buffer.from(content).toString('base64')])
  );

function syftSync(cwd, ...args) {
  const env = { ...process.env, SYFT_SYNC_HOME: join(scratch, 'home'), NODE_OPTIONS: '' };
  const done = spawnSync(process.execPath, [main, '--json', ...args], { cwd, env, encoding: 'utf8' });
  assert.equal(done.status, 0, `${args.join(' ')}: ${done.stderr}`);
  return done.stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line));
}

function ask(peer, command, ...args) {
  const env = { ...process.env, PYTHONUTF8: '1' };
  const done = spawnSync(peer.command, [peerProgram, peer.module, command, ...args], {
    cwd: scratch,
    env,
    encoding: 'utf8'
  });
  assert.equal(done.status, 0, `${peer.name} ${command}: ${done.stderr}${done.stdout}`);
  return JSON.parse(done.stdout.trim().split('\n').at(-1));
}

/** A test for a package, skipped with the reason where that is not to be had. */
function withPeer(name, title, run) {
  const peer = peers.get(name);
  test(`${name} ${title}`, { skip: peer.missing === undefined ? false : `not run: ${peer.missing}` }, () => run(peer));
}

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) % 256));
const FILES = {
  'plain.txt': 'one\n',
  'empty.txt': '',
  'crlf.csv': 'x,y\r\n1,2\r\n',
  'zero.txt': 'a\0b',
  'bom.txt': '\ufeffwith a mark',
  'model.bin': BYTES,
  'deep/er/folder/\u00e4\u00f6\u00fc \u65e5\u672c\u8a9e.txt': 'na\u00efve \u{1f600}',
  'analysis.ipynb': JSON.stringify({ cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 })
};
const AFTER = {
  'plain.txt': 'two\n',
  'crlf.csv': 'x,y\r\n1,2\r\n',
  'zero.txt': BYTES,
  'model.bin': 'now text',
  'moved/bom.txt': '\ufeffwith a mark',
  'deep/er/folder/\u00e4\u00f6\u00fc \u65e5\u672c\u8a9e.txt': 'na\u00efve \u{1f600}',
  'analysis.ipynb': JSON.stringify({ cells: [{}], metadata: {}, nbformat: 4, nbformat_minor: 5 }),
  'new/x': ''
};

/** A workspace with these files, recorded. */
function recorded(files) {
  const dir = place();
  write(dir, files);
  syftSync(dir, 'capture');
  return dir;
}

/** Messages of ours: of one file, of all, of an empty one, an answer to one. */
function messages() {
  const dir = recorded(FILES);
  const out = place();
  const make = (name, paths, ...options) => {
    const file = join(out, `${name}.syft`);
    const [{ messageId }] = syftSync(dir, 'export', ...paths, '-o', file, '--from', OWNER, ...options);
    return { name, file, messageId, files: Object.fromEntries(paths.map(path => [path, FILES[path]])) };
  };
  const plain = make('plain', ['plain.txt']);
  return [
    plain,
    make('empty', ['empty.txt']),
    make('binary', ['model.bin']),
    make('named', ['deep/er/folder/\u00e4\u00f6\u00fc \u65e5\u672c\u8a9e.txt']),
    make('all', Object.keys(FILES), '--note', 'all of it'),
    make('reply', ['crlf.csv'], '--reply-to', plain.messageId, '--to', 'bob@example.org')
  ];
}
let ours;
before(() => (ours = messages()));

/** Files that the package is to have changed. */
function twoFolders() {
  const [from, to] = [place(), place()];
  write(from, FILES);
  write(to, AFTER);
  return [from, to];
}

describe('what we write', () => {
  for (const name of MODERN) {
    withPeer(name, 'reads our messages', peer => {
      for (const { name: which, file, files } of ours) {
        const out = place();
        const { events } = ask(peer, 'read_events', file, out);
        assert.deepEqual(read(out), same(files), which);
        assert.equal(events.length, Object.keys(files).length);
        assert.ok(events.every(event => event.owner === OWNER && !event.deleted));
      }
    });

    withPeer(name, 'does what our change sets say', peer => {
      const dir = recorded(FILES);
      const out = place();
      const [first] = syftSync(dir, 'changeset', 'export', '.', '-o', out, '--from', OWNER);
      rmSync(join(dir, 'empty.txt'));
      rmSync(join(dir, 'bom.txt'));
      write(dir, AFTER);
      syftSync(dir, 'capture');
      const [second] = syftSync(dir, 'changeset', 'export', '.', '-o', out, '--from', OWNER, '--since', first.upTo);
      const disk = place();
      for (const { messages: written } of [first, second]) {
        const told = ask(peer, 'read_events', written[0].file, disk);
        assert.equal(told.name, basename(written[0].file));
      }
      assert.deepEqual(read(disk), same(AFTER));
    });
  }

  withPeer('syft-client-0.1.87', 'finds our messages in its inbox', peer => {
    for (const { name: which, file, messageId, files } of ours) {
      const out = place();
      const { messages: got } = ask(peer, 'inbox', file, out);
      assert.equal(got.length, 1, which);
      assert.deepEqual([got[0].metadata.message_id, got[0].metadata.sender], [messageId, OWNER]);
      // It unpacks the whole archive there: what belongs to the other readers stays behind.
      const LITTER = ['proposed_file_changes.json', 'syft-sync-manifest', 'syft-sync-signature'];
      const there = Object.entries(read(out)).filter(
        ([path]) => !path.startsWith('.syft_sync/') && !LITTER.includes(path)
      );
      assert.deepEqual(Object.fromEntries(there), same(files), which);
    }
  });

  withPeer('syft-sync-0.1.0', 'reads our messages', () => {
    assert.fail('It is on PyPI now: write what it is to do here.');
  });

  withPeer('syft-0.10', 'decides as we do who may what', peer => {
    const dir = join(place(), 'datasites', OWNER);
    const rule = (pattern, access) => `  - pattern: "${pattern}"\n    access: ${JSON.stringify(access)}\n`;
    write(dir, {
      'syft.pub.yaml': `rules:\n${rule('**', { read: ['*@lab.org'] })}${rule('public/*.csv', { read: ['*'], write: ['bob@lab.org'] })}${rule('boxes/{{.UserEmail}}/*', { write: ['USER'] })}`,
      'public/a.csv': 'a',
      'public/a.txt': 'a',
      'public/deep/a.csv': 'a',
      'boxes/bob@lab.org/a': 'a',
      'boxes/eve@evil.org/a': 'a',
      'closed/syft.pub.yaml': `terminal: true\nrules:\n${rule('**', { admin: ['bob@lab.org'] })}`,
      'closed/in/syft.pub.yaml': `rules:\n${rule('**', { read: ['*'] })}`,
      'closed/in/a': 'a',
      'private/syft.pub.yaml': '',
      'private/a': 'a'
    });
    // Ours is what syft-sync writes; they must agree on that as well.
    syftSync(dir, 'permissions', 'set', 'public/a.txt', '--read', '*', '--write', 'cleo@lab.org');
    const paths = Object.keys(read(dir)).filter(path => !path.endsWith('.yaml'));
    const users = ['bob@lab.org', 'cleo@lab.org', 'eve@evil.org', OWNER, 'ana@example.or'];
    const theirs = ask(peer, 'permissions', dir, OWNER, JSON.stringify(paths), JSON.stringify(users));
    for (const user of users) {
      const here = syftSync(dir, 'permissions', 'show', '--as', user).filter(({ path }) => paths.includes(path));
      const expected = Object.fromEntries(paths.map(path => [path, theirs[path][user]]));
      const access = here.map(({ path, access: level }) => [path, level === 'owner' ? 'admin' : level]);
      assert.deepEqual(Object.fromEntries(access), expected, user);
    }
  });
});

describe('what they write', () => {
  for (const name of MODERN) {
    withPeer(name, 'writes messages that we verify and import', peer => {
      const empty = place();
      const [all] = twoFolders();
      const { file } = ask(peer, 'write_events', empty, all, OWNER, place());
      const dir = place();
      const [verified] = syftSync(dir, 'verify', file);
      assert.deepEqual([verified.ok, verified.form, verified.sender.name], [true, 'syft events', OWNER]);
      assert.equal(verified.files.length, Object.keys(FILES).length);
      syftSync(dir, 'import', file, '--trust');
      assert.deepEqual(read(dir), same(FILES));
    });

    withPeer(name, 'writes change sets that we apply, and proposals', peer => {
      const [from, to] = twoFolders();
      for (const command of ['write_events', 'write_proposal']) {
        const { file } = ask(peer, command, from, to, OWNER, place());
        const dir = recorded(FILES);
        // More than half may go: nothing else is meant here.
        const lines = syftSync(dir, 'changeset', 'apply', file, '--trust', '--delete-many');
        assert.deepEqual(read(dir), same(AFTER), command);
        assert.deepEqual([lines.at(-1).applied.sender, lines.at(-1).applied.conflicts], [OWNER, []]);
        assert.deepEqual([...lines.at(-1).applied.deleted].sort(), ['bom.txt', 'empty.txt']);
        const conflicting = place();
        write(conflicting, { ...FILES, 'plain.txt': 'my own' });
        const refused = spawnSync(process.execPath, [main, 'changeset', 'apply', file, '--trust'], {
          cwd: conflicting,
          env: { ...process.env, SYFT_SYNC_HOME: join(scratch, 'home') },
          encoding: 'utf8'
        });
        assert.match(refused.stderr, /PRECONDITION_FAILED/);
        assert.deepEqual(read(conflicting), same({ ...FILES, 'plain.txt': 'my own' }));
      }
    });
  }

  withPeer('syft-client-0.1.87', 'writes messages that we verify and import', peer => {
    const [all] = twoFolders();
    const { file, id } = ask(peer, 'write_message', OWNER, 'bob@example.org', all, place());
    const dir = place();
    const [verified] = syftSync(dir, 'verify', file);
    assert.deepEqual(
      [verified.ok, verified.form, verified.id, verified.sender.name],
      [true, 'SyftMessage v1', id, OWNER]
    );
    syftSync(dir, 'import', file, '--trust');
    assert.deepEqual(read(dir), same(FILES));
  });
});
