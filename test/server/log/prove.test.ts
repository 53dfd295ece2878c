/** A proof is shown to somebody who has nothing but the proof. It must not hold for a version that was never recorded. */
import { expect, test } from '@jest/globals';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { versionId } from '../../../server/src/core/change.ts';
import {
  decodeHistoryProof,
  decodeProof,
  encodeHistoryProof,
  encodeProof,
  historyProof,
  inclusionProof,
  inclusionProofs,
  verifyHistoryProof,
  verifyInclusionProof
} from '../../../server/src/log/prove.ts';
import { all, Scratch, version } from './scratch.ts';

test('every version of a closed log can be proven without the log, tiles or not', async () => {
  using scratch = new Scratch();
  const log = await scratch.writer();
  await log.append(Array.from({ length: 300 }, (_, i) => version(log, `f${i}`, String(i))));
  await log.append([version(log, 'last', 'last')]);
  expect(() => inclusionProof(scratch.dir, `${log.device}.1`)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  expect(await inclusionProofs(scratch.dir, [`${log.device}.301`, `${log.device}.1`])).toEqual([undefined, undefined]);
  await log.close();
  const reader = await scratch.reader();
  for (const tiles of [true, false]) {
    if (!tiles) rmSync(join(scratch.segment(), '..', 'tile'), { recursive: true });
    const changes = (await all(reader)).filter((_, i) => i % 43 === 0 || i > 298);
    // All at once, in any order, are what each by itself is.
    const ids = changes.map(versionId).reverse();
    expect(await inclusionProofs(scratch.dir, [...ids, ...ids])).toEqual(
      [...ids, ...ids].map(id => inclusionProof(scratch.dir, id))
    );
    for (const change of changes) {
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
  await expect(inclusionProofs(scratch.dir, [`${log.device}.1`, `${log.device}.302`])).rejects.toMatchObject({
    code: 'VERSION_NOT_FOUND'
  });
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

test('whoever has an old proof can be shown that the log still has all it had, and is not shown so when it has not', async () => {
  using scratch = new Scratch();
  const write = async (...texts: string[]): Promise<string> => {
    const log = await scratch.writer();
    await log.append(texts.map(text => version(log, 'a', text)));
    await log.close();
    return log.device;
  };
  const device = await write('1', '2', '3');
  const { publicKey, ...first } = inclusionProof(scratch.dir, `${device}.2`);
  const earlier = verifyInclusionProof({ publicKey, ...first })!;
  cpSync(scratch.dir, join(scratch.base, 'then'), { recursive: true });
  // At once, and after the stream has grown, over tiles that are there or not.
  for (const size of [3, 300]) {
    if (size > 3) await write(...Array.from({ length: size - 3 }, (_, i) => String(i)));
    for (const tiles of [true, false]) {
      if (!tiles) rmSync(join(scratch.segment(), '..', 'tile'), { recursive: true });
      const proof = historyProof(scratch.dir, earlier);
      expect(verifyHistoryProof(decodeHistoryProof(encodeHistoryProof(proof)), earlier, publicKey)?.size).toBe(size);
    }
  }
  const text = Buffer.from(encodeHistoryProof(historyProof(scratch.dir, earlier)));
  for (let at = 0; at < text.length; at += 1) {
    const changed = Buffer.from(text);
    changed[at] = changed[at]! ^ 1;
    let believed: unknown;
    try {
      believed = verifyHistoryProof(decodeHistoryProof(changed.toString()), earlier, publicKey);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ARCHIVE_INVALID' });
    }
    expect(believed).toBeUndefined();
  }
  // The log as it was then does not have what the newest proof shows.
  const newest = verifyInclusionProof(inclusionProof(scratch.dir, `${device}.300`))!;
  expect(() => historyProof(join(scratch.base, 'then'), newest)).toThrow(
    expect.objectContaining({ code: 'LOG_REWRITTEN' })
  );
});
