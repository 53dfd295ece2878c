/**
 * Made `log-v1-encrypted.tar` and `log-v1-encrypted.json`, once: an encrypted log of two epochs with a delta, a list of chunks and a
 * move. Its passphrase is `golden`. Frozen: every later version must read it. Not to be run again.
 *
 *   node test/server/log/make-encrypted-fixture.ts
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { changeToJson, type ContentRef } from '../../../server/src/core/change.ts';
import { addEpoch, readKeyFile, writeKeyFile } from '../../../server/src/crypto/key-file.ts';
import { createEncryptedLog } from '../../../server/src/log/encryption.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { sha256, version } from './scratch.ts';

const here = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const base = mkdtempSync(join(tmpdir(), 'syft-sync-fixture-'));
const dir = join(base, 'log-v1-encrypted');
const keyDir = join(base, 'device');
const wrapping = { passphrase: 'golden', recipients: [], cost: { memory: 8192, passes: 1, lanes: 1 } };
const noise = createHash('shake256', { outputLength: 20_000 }).update('fixture').digest();

const first = await createEncryptedLog(dir, wrapping);
const log = await openLogWriter({ dir, keyDir, keys: first });
let former: ContentRef | undefined;
for (const text of ['one', 'two', 'three']) {
  const bytes = Buffer.concat([Buffer.from(text), noise]);
  const [change] = await log.append([{ ...version(log, 'analysis.ipynb', bytes), ...(former && { former }) }]);
  former = change?.content;
}
const pieces = Array.from({ length: 9 }, (_, i) => Buffer.from(`piece ${i}`));
const parts = pieces.map(piece => version(log, '', piece));
const { ref, chunks } = log.contentRef(parts.map(part => part.draft.hash ?? ''));
const whole = version(log, 'data/list.bin', Buffer.concat(pieces));
await log.append([
  { draft: { ...whole.draft, content: ref }, chunks: [...parts.flatMap(part => part.chunks), ...chunks] }
]);
await log.close();
const { file, keys } = await addEpoch(readKeyFile(dir, first.workspace), first, wrapping);
writeKeyFile(dir, file);
const again = await openLogWriter({ dir, keyDir, keys });
await again.append([
  { draft: { kind: 'moved', path: 'data/moved.bin', from: 'data/list.bin', type: 'file', flags: [] }, chunks: [] },
  version(again, 'after', 'the rotation')
]);
await again.close();

const listed = [];
const reader = await openLogReader({ dir, keys });
for await (const change of reader.changes()) {
  const content = change.content === undefined ? undefined : await reader.contentBytes(change);
  listed.push({ ...changeToJson(change), ...(content !== undefined && { contentHash: sha256(content) }) });
}
await reader.close();
writeFileSync(join(here, 'log-v1-encrypted.json'), `${JSON.stringify(listed, null, 1)}\n`);
rmSync(join(dir, 'locks'), { recursive: true, force: true });
execFileSync('tar', ['-cf', join(here, 'log-v1-encrypted.tar'), '-C', base, 'log-v1-encrypted']);
rmSync(base, { recursive: true, force: true });
