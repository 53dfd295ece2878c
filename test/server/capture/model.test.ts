import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs';
import { errnoOf } from '../../../server/src/core/errors.ts';
import { applyChange, type Tree } from '../../../server/src/core/tree.ts';
import { Workspace } from './workspace.ts';

const names = fc.constantFrom('a', 'b', 'c', 'a/x', 'a/y', 'b/x', 'b/y', 'c/x/z', 'd', 'a/x/q.ipynb');
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      to: names,
      text: fc.constantFrom('{}', '{"1":1}', '', 'x'.repeat(40_000))
    })
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('rename' as const), from: names, to: names }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), to: names }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('mkdir' as const), to: names }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('link' as const),
      to: names,
      text: fc.constantFrom('target', 'a', '.', '../b')
    })
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('chmod' as const), to: names }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('pass' as const, 'now' as const), to: names }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const) }) }
);

/** Does a step where it can be done; what a user or a program tries may fail as well. */
function act(w: Workspace, s: { op: string; to?: string; from?: string; text?: string }): void {
  const to = w.path(s.to ?? '');
  try {
    if (s.op === 'write') writeFileSync(to, s.text ?? '');
    else if (s.op === 'rename') renameSync(w.path(s.from ?? ''), to);
    else if (s.op === 'remove') rmSync(to, { recursive: true });
    else if (s.op === 'mkdir') mkdirSync(to, { recursive: true });
    else if (s.op === 'link') symlinkSync(s.text ?? 'target', to);
    else if (s.op === 'chmod') chmodSync(to, 0o700);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** path → what a tree must say about it. */
function disk(w: Workspace, dir = ''): Map<string, string> {
  const out = new Map<string, string>();
  const entries = readdirSync(w.path(dir));
  if (entries.length === 0 && dir !== '') out.set(dir, 'directory');
  for (const name of entries) {
    const path = dir === '' ? name : `${dir}/${name}`;
    const stats = lstatSync(w.path(path));
    if (stats.isDirectory()) for (const [p, v] of disk(w, path)) out.set(p, v);
    else if (stats.isSymbolicLink()) out.set(path, `symlink ${readlinkSync(w.path(path))}`);
    else out.set(path, `file ${stats.mode & 0o7777} ${readFileSync(w.path(path)).toString('hex')}`);
  }
  return out;
}

async function recorded(w: Workspace): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const [path, change] of w.recorder.tree) {
    const content = change.type === 'directory' ? Buffer.alloc(0) : await w.content(change);
    if (change.type === 'directory') {
      // A directory recorded when it was empty stays recorded when it fills; it is implied then.
      if (readdirSync(w.path(path)).length === 0) out.set(path, 'directory');
      else expect(lstatSync(w.path(path)).isDirectory()).toBe(true);
    } else if (change.type === 'symlink') out.set(path, `symlink ${content.toString()}`);
    else out.set(path, `file ${change.mode} ${content.toString('hex')}`);
  }
  return out;
}

const runs = Number(process.env.SYFT_MODEL_RUNS ?? 100);

test('whatever is done to the files, after a pass the tree is the disk, byte for byte, and so is a replay of the log', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async steps => {
      const w = new Workspace();
      try {
        await w.open();
        for (const s of steps) {
          if (s.op === 'pass') await w.recorder.flush();
          else if (s.op === 'now') await w.recorder.captureNow([s.to]);
          else if (s.op === 'restart') {
            await w.recorder.stop();
            await w.open();
          } else act(w, s);
        }
        await w.recorder.flush();
        expect(sorted(await recorded(w))).toEqual(sorted(disk(w)));
        const replay: Tree = new Map();
        for await (const change of w.log.changes()) applyChange(replay, change);
        expect([...replay.keys()].sort()).toEqual([...w.recorder.tree.keys()].sort());
        const before = w.changes.length;
        await w.recorder.flush();
        expect(w.changes.slice(before)).toEqual([]);
      } finally {
        await w.close();
      }
    }),
    { numRuns: runs }
  );
}, 600_000);

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
