/** The first capture of many files, which other threads read: whatever it missed or mixed up would be gone with the next save. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { linkSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ReadPool } from '../../../server/src/capture/read-pool.ts';
import { until, Workspace } from './workspace.ts';

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
});
afterEach(async () => {
  await w.close();
});

const sha = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** Every file of the workspace that lies below its directories d0, d1 …, by name. */
function onDisk(): string[] {
  return readdirSync(w.root)
    .filter(dir => /^d\d+$/.test(dir))
    .flatMap(dir => readdirSync(w.path(dir)).map(name => `${dir}/${name}`));
}

async function expectEqual(path: string): Promise<void> {
  const change = w.recorder.tree.get(path);
  const bytes = readFileSync(w.path(path));
  expect([path, change?.hash, change?.flags]).toEqual([path, sha(bytes), []]);
  expect((await w.content(change!)).equals(bytes)).toBe(true);
}

test('many files of every kind are recorded byte for byte', async () => {
  const line = (n: number): string =>
    JSON.stringify({ png: createHash('sha256').update(`${n}`).digest('hex').repeat(100) });
  for (let i = 0; i < 3000; i += 1) {
    const path = `d${i % 7}/f${i}`;
    if (i % 10 === 0) w.write(`${path}.ipynb`, `{\n "cells": [\n${[i, i + 1, i + 2].map(line).join(',\n')}\n]}\n`);
    else if (i % 10 === 1) w.write(path, '');
    else if (i % 10 === 2) w.write(path, `the same in many ${i % 3}`);
    else w.write(path, `file ${i} `.repeat(i % 400));
  }
  w.write('d0/large', Buffer.alloc(2_500_000, 'large '));
  w.write('d0/just under', Buffer.alloc(1024 * 1024, 'x1y2'));
  w.write('d1/a name\nof two lines', 'n');
  w.write('d1/\u{1F600} été', 'u');
  writeFileSync(Buffer.concat([Buffer.from(w.path('d2/')), Buffer.from([0x66, 0xff])]), 'not UTF-8');
  linkSync(w.path('d3/f3'), w.path('d3/second name'));
  symlinkSync('f3', w.path('d3/link'));
  execFileSync('mkfifo', [w.path('d4/fifo')]);
  w.write('d5/.syftignore', 'f5*\n');
  const recorder = await w.open();
  const summary = await recorder.capture();
  expect(summary.errors).toEqual([]);
  const plain = onDisk().filter(path => !/^d5\/f5|fifo|link$|\uFFFD/.test(path));
  expect(plain.length).toBeGreaterThan(2900);
  for (const path of plain) await expectEqual(path);
  expect(recorder.tree.get('d3/link')).toMatchObject({ type: 'symlink' });
  expect(recorder.tree.has('d4/fifo')).toBe(false);
  expect(recorder.tree.has('d5/f5')).toBe(false);
  const strange = [...recorder.tree.values()].filter(change => change.size === 9 && change.path.startsWith('d2/'));
  expect(strange).toHaveLength(1);
  expect((await w.content(strange[0]!)).toString()).toBe('not UTF-8');
  // One version each, and a second look finds nothing to do.
  expect(new Set(w.changes.map(change => change.path)).size).toBe(w.changes.length);
  expect(await recorder.capture()).toMatchObject({ captured: 0, deleted: 0 });
});

test('files that are replaced, grown and renamed meanwhile are recorded as they were in the end', async () => {
  for (let i = 0; i < 4000; i += 1) w.write(`d${i % 5}/f${i}`, `before ${i}`);
  const script = `
    const fs = require('fs'); console.log('up');
    for (let i = 0; i < 4000; i += 3) {
      const path = process.argv[1] + '/d' + (i % 5) + '/f' + i;
      if (i % 2) { fs.writeFileSync(path + '.new', 'after ' + i); fs.renameSync(path + '.new', path); }
      else if (i % 4) fs.appendFileSync(path, ' and more');
      else fs.renameSync(path, path + '.moved');
    }`;
  const child = spawn(process.execPath, ['-e', script, w.root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  const recorder = await w.open();
  await recorder.capture();
  expect(await ended).toEqual([0, null]);
  await recorder.capture();
  const paths = onDisk();
  expect(paths).toHaveLength(4000);
  for (const path of paths) await expectEqual(path);
  expect([...recorder.tree.values()].filter(change => change.type === 'file')).toHaveLength(4000);
  for (const change of w.changes) {
    if (change.type === 'file' && change.kind !== 'deleted') expect(sha(await w.content(change))).toBe(change.hash);
  }
});

test('what a thread that fails has not read is left to the main thread', async () => {
  w.write('a', 'a');
  const failing = join(w.root, 'failing.mjs');
  writeFileSync(
    failing,
    "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('bait'); });"
  );
  const pool = new ReadPool(w.root, 2, pathToFileURL(failing));
  try {
    for (const path of ['a', 'b', 'c']) pool.read([path]);
    const left: unknown[] = [await pool.take(), await pool.take(), await pool.take()];
    expect(left).toEqual([['a'], ['b'], ['c']]);
    expect(await pool.take()).toBeUndefined();
    await until(() => {
      // With both threads gone there is nobody to ask.
      pool.read(['d']);
      return true;
    }, 'a read without threads');
    expect(await pool.take()).toEqual(['d']);
  } finally {
    await pool.close();
  }
});

test('a pool that is closed while files are on their way answers all of them', async () => {
  for (let i = 0; i < 50; i += 1) w.write(`f${i}`, Buffer.alloc(500_000, `${i}`));
  const names = Array.from({ length: 50 }, (_, i) => `f${i}`);
  const pool = new ReadPool(w.root, 1);
  pool.read(names);
  const first = await pool.take();
  const read = first !== undefined && 'answer' in first ? first.answer.count : 0;
  expect(read).toBeGreaterThan(0);
  await pool.close();
  const rest: string[] = [];
  for (let next = await pool.take(); next !== undefined; next = await pool.take()) {
    rest.push(...('answer' in next ? next.paths : next));
  }
  expect(rest).toEqual(names.slice(read));
});
