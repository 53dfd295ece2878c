/**
 * Made `log-v1.tar` and `log-v1.json`, once: a log of format 1 with everything a record and a content can be, by two devices.
 * The two files are frozen: every later version must read them. Kept to show what is in them, not to be run again.
 *
 *   node test/server/log/make-fixture.ts
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { changeToJson, type Change, type ChangeDraft } from '../../../server/src/core/change.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import type { Append, LogWriter } from '../../../server/src/log/types.ts';

const here = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const base = mkdtempSync(join(tmpdir(), 'syft-sync-fixture-'));
const dir = join(base, 'log-v1');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The same bytes at every run, and not to be compressed. */
function noise(length: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 32 < length; i += 1) parts.push(createHash('sha256').update(`${seed} ${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

/** @param piece Bytes of a chunk; this one's contents are cut evenly, as some other writer may. */
function put(
  log: LogWriter,
  kind: 'created' | 'modified',
  path: string,
  bytes: Buffer,
  more: Partial<ChangeDraft> = {},
  piece = 8192
): Append {
  const chunks = Array.from({ length: Math.ceil(bytes.length / piece) }, (_, i) => {
    const part = bytes.subarray(i * piece, (i + 1) * piece);
    return { id: sha256(part), bytes: part };
  });
  const { ref, chunks: lists } = log.contentRef(chunks.map(({ id }) => id));
  const draft: ChangeDraft = {
    kind,
    path,
    type: 'file',
    size: bytes.length,
    hash: sha256(bytes),
    content: ref,
    mode: 0o644,
    mtime: 1_790_000_000_123_456,
    flags: [],
    ...more
  };
  return { draft, chunks: [...chunks, ...lists] };
}

const bare = (draft: ChangeDraft): Append => ({ draft, chunks: [] });
const text = Buffer.from('a,b\n1,2\n'.repeat(200));
const notebook = Buffer.from(JSON.stringify({ cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 }, null, 1));
const large = noise(40_000, 'large');

const first = await openLogWriter({ dir, keyDir: join(base, 'device-1') });
await first.append([
  put(first, 'created', 'data/table.csv', text),
  put(first, 'created', 'analysis.ipynb', notebook),
  put(first, 'created', 'empty', Buffer.alloc(0)),
  put(first, 'created', 'data/same.csv', text)
]);
await first.append([
  put(first, 'created', 'large.bin', large, {}, 1024),
  put(first, 'modified', 'data/table.csv', Buffer.concat([text, Buffer.from('3,4\n')]), { previousHash: sha256(text) }),
  put(first, 'created', 'caf\u00e9/\u6570\u636e\nline \udcff\udcfe', Buffer.from('not UTF-8')),
  put(first, 'created', 'link', Buffer.from('data/table.csv'), { type: 'symlink', mode: 0o777 })
]);
// Chunks ahead of the change that names them, as for a large file.
const ahead = put(first, 'created', 'ahead.bin', noise(20_000, 'ahead'));
await first.putChunks(ahead.chunks);
await first.append([{ draft: ahead.draft, chunks: [] }]);
await first.append([
  bare({ kind: 'created', path: 'folder', type: 'directory', mode: 0o755, flags: [] }),
  put(first, 'modified', 'analysis.ipynb', notebook.subarray(0, 30), {
    flags: ['torn'],
    previousHash: sha256(notebook)
  }),
  bare({
    kind: 'created',
    path: 'huge.bin',
    type: 'file',
    size: 2 ** 40,
    hash: sha256(large),
    mode: 0o600,
    flags: ['no-content']
  }),
  bare({ kind: 'created', path: 'secret', type: 'file', size: 12, mode: 0, flags: ['unreadable'] })
]);
await first.append([
  bare({
    kind: 'moved',
    path: 'moved.csv',
    from: 'data/same.csv',
    type: 'file',
    size: text.length,
    hash: sha256(text),
    previousHash: sha256(text),
    content: { chunks: [sha256(text)] },
    mode: 0o644,
    flags: []
  }),
  bare({ kind: 'deleted', path: 'data/table.csv', type: 'file', flags: [] }),
  put(first, 'modified', 'analysis.ipynb', notebook, { cause: { kind: 'restore', version: `${first.device}.2` } })
]);
await first.close();

const second = await openLogWriter({ dir, keyDir: join(base, 'device-2') });
await second.append([
  put(second, 'created', 'of-another-device.txt', Buffer.from('hello\n'), {
    cause: { kind: 'received', workspace: '0123456789abcdef0123456789abcdef', version: 'abcdefgh.7' }
  })
]);
await second.close();

const reader = await openLogReader({ dir });
const changes: Change[] = [];
for await (const change of reader.changes()) changes.push(change);
const listed = [];
for (const change of changes) {
  const content = change.content === undefined ? undefined : await reader.contentBytes(change);
  listed.push({ ...changeToJson(change), ...(content !== undefined && { contentHash: sha256(content) }) });
}
await reader.close();
rmSync(join(dir, 'locks'), { recursive: true });
writeFileSync(join(here, 'log-v1.json'), `${JSON.stringify(listed, null, 2)}\n`);
execFileSync(
  'tar',
  ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '-cf', join(here, 'log-v1.tar'), 'log-v1'],
  {
    cwd: base
  }
);
rmSync(base, { recursive: true });
