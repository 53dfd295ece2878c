/**
 * Made `log-v1-tree.tar` and `log-v1-tree.json`, once: a log with tiles, partial tiles, checkpoints and notes of what was seen, by
 * two devices. The two files are frozen: every later version must read them. Kept to show what is in them, not to be run again.
 *
 *   node test/server/log/make-tree-fixture.ts
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { versionId } from '../../../server/src/core/change.ts';
import { encodeProof, inclusionProof } from '../../../server/src/log/prove.ts';
import { Scratch, version } from './scratch.ts';

const here = fileURLToPath(new URL('../../fixtures/', import.meta.url));
using scratch = new Scratch();
const dir = join(scratch.base, 'log-v1-tree');
const proofs: Record<string, string> = {};
for (const [who, count] of [
  ['device-1', 100],
  ['device-2', 3],
  ['device-1', 170]
] as const) {
  const log = await scratch.writer({ dir, keyDir: join(scratch.base, who) });
  const changes = await log.append(
    Array.from({ length: count }, (_, i) => version(log, `${who}/file-${i}.csv`, `a,b\n${i},${count}\n`))
  );
  await log.close();
  for (const change of [changes[0]!, changes.at(-1)!]) {
    proofs[versionId(change)] = encodeProof(inclusionProof(dir, versionId(change)));
  }
}
rmSync(join(dir, 'locks'), { recursive: true });
writeFileSync(join(here, 'log-v1-tree.json'), `${JSON.stringify(proofs, null, 2)}\n`);
const args = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '-cf', join(here, 'log-v1-tree.tar')];
execFileSync('tar', [...args, 'log-v1-tree'], { cwd: scratch.base });
