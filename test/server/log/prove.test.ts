/** A proof is shown to somebody who has nothing but the proof. It must not hold for a version that was never recorded. */
import { expect, test } from '@jest/globals';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { versionId } from '../../../server/src/core/change.ts';
import { decodeProof, encodeProof, inclusionProof, verifyInclusionProof } from '../../../server/src/log/prove.ts';
import { all, Scratch, version } from './scratch.ts';

test('every version of a closed log can be proven without the log, tiles or not', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  await log.append(Array.from({ length: 300 }, (_, i) => version(log, `f${i}`, String(i))));
  await log.append([version(log, 'last', 'last')]);
  expect(() => inclusionProof(scratch.dir, `${log.device}.1`)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  await log.close();
  const reader = await scratch.reader();
  for (const tiles of [true, false]) {
    if (!tiles) rmSync(join(scratch.segment(), '..', 'tile'), { recursive: true });
    for (const change of (await all(reader)).filter((_, i) => i % 43 === 0 || i > 298)) {
      const proof = inclusionProof(scratch.dir, versionId(change));
      const proven = verifyInclusionProof(decodeProof(encodeProof(proof)));
      expect(proven?.change).toEqual(change);
      expect(proven?.checkpoint.size).toBe(301);
      expect(proven?.workspace).toBe(reader.workspaceId);
    }
  }
  await reader.close();
  expect(() => inclusionProof(scratch.dir, `${log.device}.302`)).toThrow(
    expect.objectContaining({ code: 'VERSION_NOT_FOUND' })
  );
});

test('no byte of a proof can change', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  await log.append([version(log, 'a', 'one'), version(log, 'b', 'two'), version(log, 'c', 'three')]);
  await log.close();
  const text = Buffer.from(encodeProof(inclusionProof(scratch.dir, `${log.device}.2`)));
  const believed: string[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const changed = Buffer.from(text);
    changed[at] = changed[at]! ^ 1;
    try {
      if (verifyInclusionProof(decodeProof(changed.toString())) !== undefined) believed.push(changed.toString());
    } catch (error) {
      expect(error).toMatchObject({ code: 'ARCHIVE_INVALID' });
    }
  }
  expect(believed).toEqual([]);
});
