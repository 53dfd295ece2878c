/** What only a storage in a directory can get wrong. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStorage } from '../../../server/src/storage/fs.ts';

let base: string;
let storage: FsStorage;
const at = (...parts: string[]): string => join(base, ...parts);

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'syft-storage-'));
  storage = new FsStorage(at('place'));
});
afterEach(() => rmSync(base, { recursive: true }));

test('others on the machine cannot read what is stored', async () => {
  await storage.put('a/b', Buffer.from('x'));
  await storage.put('a/c', Buffer.from('x'), { ifAbsent: true });
  for (const dir of ['place', 'place/a']) expect(statSync(at(dir)).mode & 0o777).toBe(0o700);
  for (const file of ['place/a/b', 'place/a/c']) expect(statSync(at(file)).mode & 0o777).toBe(0o600);
  expect(readdirSync(at('place/a'))).toEqual(['b', 'c']);
});

test('nothing is read, written, listed or removed through a link', async () => {
  mkdirSync(at('outside'));
  writeFileSync(at('outside/secret'), 'secret');
  await storage.put('a', Buffer.from('x'));
  symlinkSync(at('outside'), at('place/dir'));
  symlinkSync(at('outside/secret'), at('place/file'));
  await expect(storage.put('dir/new/x', Buffer.from('x'))).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
  await expect(storage.put('dir/secret', Buffer.from('x'))).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
  await expect(storage.read('dir/secret', { offset: 0, length: 9 })).rejects.toMatchObject({
    code: 'PATH_OUTSIDE_ROOT'
  });
  await expect(storage.read('file', { offset: 0, length: 9 })).rejects.toMatchObject({ code: 'PATH_INVALID' });
  await expect(storage.append('file', 6, Buffer.from('x'))).rejects.toMatchObject({ code: 'PATH_INVALID' });
  await expect(storage.delete('dir/secret')).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
  expect(await storage.stat('file')).toBeUndefined();
  await storage.delete('file');
  await expect(storage.list('dir/')).rejects.toMatchObject({ code: 'PATH_OUTSIDE_ROOT' });
  expect((await storage.list('')).objects.map(({ name }) => name)).toEqual(['a']);
  expect(readFileSync(at('outside/secret'), 'utf8')).toBe('secret');
  expect(readdirSync(at('outside'))).toEqual(['secret']);
  // A link in the way of an object gives way; what it leads to stays.
  await storage.put('file', Buffer.from('own'));
  expect(readFileSync(at('outside/secret'), 'utf8')).toBe('secret');
});

test('what a put that crashed has left is never listed, and is removed once nobody can be writing it', async () => {
  mkdirSync(at('place'));
  const old = at('place', `a.${'0'.repeat(16)}.tmp`);
  const young = at('place', `a.${'1'.repeat(16)}.tmp`);
  const foreign = at('place', 'a.tmp');
  for (const path of [old, young, foreign]) writeFileSync(path, 'half');
  for (const path of [old, foreign]) utimesSync(path, 1, 1);
  expect(await storage.list('')).toEqual({ objects: [] });
  await storage.put('b', Buffer.from('x'));
  expect([old, young, foreign].map(path => existsSync(path))).toEqual([false, true, true]);
});

test('a pipe in the place of an object does not hold anybody up', async () => {
  const { execFileSync } = await import('node:child_process');
  mkdirSync(at('place'));
  execFileSync('mkfifo', [at('place/pipe')]);
  await expect(storage.read('pipe', { offset: 0, length: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect(await storage.list('')).toEqual({ objects: [] });
});

test('a directory in the way of an object says so, and stays', async () => {
  await storage.put('a/b', Buffer.from('x'));
  await expect(storage.put('a', Buffer.from('y'))).rejects.toMatchObject({ code: 'PATH_INVALID' });
  await expect(storage.put('a/b/c', Buffer.from('y'))).rejects.toMatchObject({ code: 'PATH_INVALID' });
  expect(readdirSync(at('place/a'))).toEqual(['b']);
});
