/**
 * Made `log-v1-compact.tar` and `log-v1-compact.json`, once: a log of three segments of which two are compacted, the second on the
 * first, and the third goes on upon both. Frozen: every later version must read it. Not to be run again.
 *
 *   node test/server/log/make-compact-fixture.ts
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { changeToJson, type Change } from '../../../server/src/core/change.ts';
import { compactLog } from '../../../server/src/log/compact.ts';
import { openLogReader, openLogWriter } from '../../../server/src/log/log.ts';
import { save, sha256 } from './scratch.ts';

const here = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const base = mkdtempSync(join(tmpdir(), 'syft-sync-fixture-'));
const dir = join(base, 'log-v1-compact');
const noise = (bytes: number, seed: string): string =>
  Array.from({ length: Math.ceil(bytes / 64) }, (_, i) => sha256(`${seed} ${i}`)).join('');

const log = await openLogWriter({ dir, keyDir: join(base, 'device') });
const latest = new Map<string, Change>();

async function record(path: string, text: string): Promise<void> {
  const before = latest.get(path);
  const more = { mtime: 1_790_000_000_123_456, ...(before?.hash !== undefined && { previousHash: before.hash }) };
  latest.set(path, await save(log, path, Buffer.from(text), before, more));
}

const cells = Array.from({ length: 6 }, (_, i) => [
  `  "source": "x = ${i}",`,
  `  "image/png": "${noise(5000, `plot ${i}`)}",`
]).flat();
const table = Array.from({ length: 400 }, (_, i) => `${i},${sha256(String(i)).slice(0, 16)}`);
for (let i = 0; i < 12; i += 1) {
  cells[(i % 6) * 2] = `  "source": "x = ${i} + ${i * i}",`;
  if (i % 4 === 3) cells[1] = `  "image/png": "${noise(5000, `plot again ${i}`)}",`;
  await record('analysis.ipynb', ['{"cells": [', ...cells, ']}'].join('\n'));
  table[i * 31] = `${i},changed`;
  await record('data/table.csv', table.join('\n'));
  if (i === 4 || i === 9) await compactLog(log, { all: true });
}
await log.close();

const listed = [];
const reader = await openLogReader({ dir });
for await (const change of reader.changes()) {
  listed.push({ ...changeToJson(change), contentHash: sha256(await reader.contentBytes(change)) });
}
await reader.close();
writeFileSync(join(here, 'log-v1-compact.json'), `${JSON.stringify(listed, null, 1)}\n`);
rmSync(join(dir, 'locks'), { recursive: true, force: true });
execFileSync('tar', ['-cf', join(here, 'log-v1-compact.tar'), '-C', base, 'log-v1-compact']);
rmSync(base, { recursive: true, force: true });
