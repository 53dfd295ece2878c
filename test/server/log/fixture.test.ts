/** Who comes back after years must be able to read what was written today: logs of format 1, frozen as they were (F-11). */
import { expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { changeToJson, versionId } from '../../../server/src/core/change.ts';
import { decodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { all, Scratch, sha256, version } from './scratch.ts';

const FIXTURES = fileURLToPath(new URL('../../fixtures/', import.meta.url));

/** The frozen log, unpacked into the test's folder. */
function unpack(scratch: Scratch, name = 'log-v1'): string {
  execFileSync('tar', ['-xf', join(FIXTURES, `${name}.tar`), '-C', scratch.base]);
  return join(scratch.base, name);
}

test.each(['log-v1', 'log-v1-delta', 'log-v1-compact'])(
  'every change and content of %s is read as it was written',
  async name => {
    using scratch = new Scratch();
    const dir = unpack(scratch, name);
    const { openLogReader } = await import('../../../server/src/log/log.ts');
    const log = await openLogReader({ dir, onDamage: damage => expect(damage).toBeUndefined() });
    const listed = [];
    for (const change of await all(log)) {
      const content = change.content === undefined ? undefined : await log.contentBytes(change);
      listed.push({ ...changeToJson(change), ...(content !== undefined && { contentHash: sha256(content) }) });
    }
    await log.close();
    expect(listed).toEqual(JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8')));
    expect(await scratch.fsck(true, dir)).toEqual([]);
  }
);

test.each(['log-v1', 'log-v1-delta', 'log-v1-compact'])('%s is gone on with, and what it held stays', async name => {
  using scratch = new Scratch();
  const dir = unpack(scratch, name);
  const log = await scratch.writer({ dir });
  const before = (await all(log)).map(change => changeToJson(change).versionId);
  await log.append([version(log, 'new', 'written by this version')]);
  const after = (await all(log)).map(change => changeToJson(change).versionId);
  expect(after.slice(0, -1)).toEqual(before);
  await log.close();
  expect(await scratch.fsck(true, dir)).toEqual([]);
});

test('a frozen log with its tree: sound, and what was proven with it is proven still', async () => {
  using scratch = new Scratch();
  const dir = unpack(scratch, 'log-v1-tree');
  expect(await scratch.fsck(true, dir)).toEqual([]);
  const proofs = JSON.parse(readFileSync(join(FIXTURES, 'log-v1-tree.json'), 'utf8')) as Record<string, string>;
  expect(Object.keys(proofs)).toHaveLength(6);
  for (const [id, text] of Object.entries(proofs)) {
    const proven = verifyInclusionProof(decodeProof(text));
    expect(proven === undefined ? undefined : versionId(proven.change)).toBe(id);
    // The log has grown since some of them were made; each version is proven by its newest checkpoint too.
    expect(verifyInclusionProof(inclusionProof(dir, id))?.change).toEqual(proven?.change);
  }
});
