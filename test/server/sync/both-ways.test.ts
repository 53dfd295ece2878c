/** Two people, each with a recorded folder, each following the other's log: both end with the same, and it comes to rest. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { rmSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Workspace } from '../../../server/src/library/workspace.ts';
import { SyftLogReceiver } from '../../../server/src/sync/receiver.ts';
import type { ConflictEvent, ProblemEvent } from '../../../server/src/sync/receiving.ts';
import { eventually, seen, World } from './worlds.ts';

/** One of the two: a recorded folder and the receiver that fills it. */
class Person implements AsyncDisposable {
  readonly root: string;
  readonly workspace: Workspace;
  receiver: SyftLogReceiver | undefined;
  readonly conflicts: ConflictEvent[] = [];
  readonly problems: ProblemEvent[] = [];

  private constructor(root: string, workspace: Workspace) {
    this.root = root;
    this.workspace = workspace;
  }

  static async make(root: string): Promise<Person> {
    await mkdir(root, { recursive: true });
    const workspace = await Workspace.open({ root });
    await workspace.recorder.start();
    return new Person(root, workspace);
  }

  /** @param told Whether the recorder is told in this process what is received, or has to find out by itself. */
  async follow(other: Person, told: boolean): Promise<void> {
    const receiver = new SyftLogReceiver({
      logPath: other.workspace.logDir,
      outputPath: this.root,
      ...(told && { recorder: this.workspace.recorder })
    });
    receiver.on('conflict', event => this.conflicts.push(event));
    receiver.on('problem', event => this.problems.push(event));
    this.receiver = receiver;
    await receiver.start();
  }

  async write(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.receiver?.stop();
    await this.workspace.close();
  }
}

/** Waits until both folders are equal and neither log grows any more. Returns what both hold. */
async function atRest(a: Person, b: Person, restMs = 700): Promise<Record<string, string>> {
  let last = '';
  let since = Date.now();
  let result: Record<string, string> = {};
  await eventually(async () => {
    await a.workspace.flush();
    await b.workspace.flush();
    const [left, right] = [await seen(a.root), await seen(b.root)];
    const now = JSON.stringify([left, a.workspace.counts.changes, b.workspace.counts.changes]);
    if (now !== last) {
      last = now;
      since = Date.now();
    }
    expect(right).toEqual(left);
    result = left;
    if (Date.now() - since < restMs) {
      throw new Error('still changing');
    }
  }, 25_000);
  return result;
}

let keys: World;
const home = process.env['SYFT_SYNC_HOME'];
beforeAll(async () => {
  keys = await World.make();
  process.env['SYFT_SYNC_HOME'] = keys.dir;
});
afterAll(async () => {
  if (home === undefined) {
    delete process.env['SYFT_SYNC_HOME'];
  } else {
    process.env['SYFT_SYNC_HOME'] = home;
  }
  await keys[Symbol.asyncDispose]();
});

describe('a recorder that begins again', () => {
  const pathOf = (person: Person, name: string): string => join(person.root, name);
  const causes = async (workspace: Workspace): Promise<(string | undefined)[]> =>
    (await Array.fromAsync(workspace.log.changes())).map(change => change.cause?.kind);

  test('knows what was received, though the process that received it recorded nothing any more', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await ana.write('a.txt', 'from ana');
    await ana.workspace.flush();
    await mkdir(world.path('ben'));
    const ben = await Workspace.open({ root: world.path('ben') });
    await ben.recorder.start();
    const { recorder } = ben;
    // It tells this recorder, which is gone before it has looked.
    const receiver = new SyftLogReceiver({ logPath: ana.workspace.logDir, outputPath: world.path('ben'), recorder });
    await ben.close();
    expect((await receiver.runOnce()).applied).toBe(1);
    await receiver.stop();
    await using again = await Workspace.open({ root: world.path('ben') });
    await again.recorder.start();
    await again.flush();
    expect(await causes(again)).toEqual(['received']);
  });

  test('does not take what a user does for what was received long ago', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await ana.write('a.txt', 'from ana');
    await ana.workspace.flush();
    const ben = await Person.make(world.path('ben'));
    const receiver = new SyftLogReceiver({ logPath: ana.workspace.logDir, outputPath: ben.root });
    await receiver.runOnce();
    await receiver.stop();
    await ben.workspace.flush();
    await writeFile(pathOf(ben, 'a.txt'), 'by ben');
    await ben.workspace.flush();
    await ben.workspace.close();
    await using again = await Workspace.open({ root: ben.root });
    await again.recorder.start();
    await writeFile(pathOf(ben, 'a.txt'), 'from ana');
    await again.flush();
    expect(await causes(again)).toEqual(['received', undefined, undefined]);
  });
});

describe.each([
  ['the recorder is told what is received', true],
  ['the recorder reads what another process announces', false]
])('both ways, %s', (_name, told) => {
  test('what one does the other gets, once, and nothing comes back', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await using ben = await Person.make(world.path('ben'));
    await ana.write('shared/a.txt', 'from ana');
    await ben.write('b.txt', 'from ben');
    await ana.follow(ben, told);
    await ben.follow(ana, told);
    expect(await atRest(ana, ben)).toEqual({ 'b.txt': 'from ben', 'shared/a.txt': 'from ana' });
    await ana.write('shared/a.txt', 'edited');
    await ben.write('new/deep/c', 'c');
    expect(await atRest(ana, ben)).toEqual({ 'b.txt': 'from ben', 'new/deep/c': 'c', 'shared/a.txt': 'edited' });
    await rename(join(ana.root, 'b.txt'), join(ana.root, 'renamed.txt'));
    await rm(join(ben.root, 'shared'), { recursive: true });
    expect(await atRest(ana, ben)).toEqual({ 'new/deep/c': 'c', 'renamed.txt': 'from ben' });
    // Every edit is in each log exactly once: no echo.
    const kinds = async (person: Person): Promise<string[]> =>
      (await Array.fromAsync(person.workspace.log.changes()))
        .filter(change => change.path === 'shared/a.txt')
        .map(change => change.kind);
    expect(await kinds(ana)).toEqual(['created', 'modified', 'deleted']);
    expect(await kinds(ben)).toEqual(['created', 'modified', 'deleted']);
    if (told) {
      const received = (await Array.fromAsync(ben.workspace.log.changes())).filter(
        change => change.cause?.kind === 'received'
      );
      expect(received.map(change => change.path)).toContain('shared/a.txt');
    }
    expect([...ana.conflicts, ...ben.conflicts, ...ana.problems, ...ben.problems]).toEqual([]);
  }, 90_000);

  test('quick edits on one side are not taken back by the other, which is late', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await using ben = await Person.make(world.path('ben'));
    await ana.follow(ben, told);
    await ben.follow(ana, told);
    for (let i = 0; i < 60; i += 1) {
      await ana.write('busy', i % 3 === 2 ? 'again' : `edit ${i}`);
      await new Promise(done => setTimeout(done, i % 7 === 0 ? 120 : 15));
    }
    await ana.write('busy', 'last word');
    expect(await atRest(ana, ben)).toEqual({ busy: 'last word' });
    expect([...ana.conflicts, ...ben.conflicts]).toEqual([]);
  }, 90_000);

  test('both edit one file while apart: the same one wins on both sides, and the other is kept', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await using ben = await Person.make(world.path('ben'));
    await ana.write('plan', 'start');
    await ana.follow(ben, told);
    await ben.follow(ana, told);
    await atRest(ana, ben);
    await ana.receiver?.stop();
    await ben.receiver?.stop();
    await ana.write('plan', 'ana says');
    await ana.workspace.flush();
    await ben.write('plan', 'ben says, later');
    await ben.workspace.flush();
    await ana.follow(ben, told);
    await ben.follow(ana, told);
    expect(await atRest(ana, ben)).toEqual({ plan: 'ben says, later' });
    expect(ana.conflicts).toMatchObject([{ path: 'plan', winner: 'log' }]);
    const contents = (await Array.fromAsync(ana.workspace.log.changes())).map(change => change.size);
    expect(contents).toContain('ana says'.length);
    expect(await seen(join(ana.workspace.logDir, 'conflicts'))).toEqual({ [ana.conflicts[0]?.kept ?? '']: 'ana says' });
  }, 90_000);

  test('a file deleted before the recorder saw it arrive does not leave the two apart', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await using ben = await Person.make(world.path('ben'));
    await ana.follow(ben, told);
    const files: Record<string, string> = {};
    for (let n = 0, early = false; !early; n += 1) {
      const name = `brief ${n}`;
      const removed = new Promise<void>(done => {
        ana.receiver?.once('applied', () => {
          // On a busy machine the recorder may have been there first; then it is a deletion like any other, and ben keeps his.
          early = !ana.workspace.tree.has(name);
          if (early) rmSync(join(ana.root, name));
          done();
        });
      });
      await ben.write(name, 'x');
      await removed;
      files[name] = 'x';
    }
    expect(await atRest(ana, ben)).toEqual(files);
  }, 60_000);

  test('a file written anew, as it was, under the name that the other’s move has just emptied, stays on both sides', async () => {
    await using world = await World.make();
    await using ana = await Person.make(world.path('ana'));
    await using ben = await Person.make(world.path('ben'));
    await ana.follow(ben, told);
    await ben.follow(ana, told);
    await ana.write('x/y', 'three');
    await atRest(ana, ben);
    // Right after the name was emptied, before the recorder of that side has looked.
    const emptied = new Promise<void>(done => {
      ben.receiver?.on('applied', event => {
        if (event.path === 'a') done();
      });
    });
    await rename(join(ana.root, 'x/y'), join(ana.root, 'a'));
    await emptied;
    await ben.write('x/y', 'three');
    expect(await atRest(ana, ben)).toEqual({ a: 'three', 'x/y': 'three' });
  }, 60_000);

  test('random edits on both sides at once: both end the same and come to rest', async () => {
    const path = fc.constantFrom('a', 'b', 'd/a', 'd/b', 'd/e/c', 'x', 'x/y');
    const edit = fc.record({
      who: fc.boolean(),
      what: fc.constantFrom('write', 'write', 'write', 'remove', 'move'),
      path,
      to: path,
      text: fc.constantFrom('one', 'two', 'three', 'four'),
      pause: fc.constantFrom(0, 5, 30, 150)
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 8, maxLength: 30 }), async edits => {
        await using world = await World.make();
        await using ana = await Person.make(world.path('ana'));
        await using ben = await Person.make(world.path('ben'));
        await ana.follow(ben, told);
        await ben.follow(ana, told);
        for (const { who, what, path: at, to, text, pause } of edits) {
          const person = who ? ana : ben;
          // What a user's edit may run into here (a directory where a file was) is theirs to see, not ours to judge.
          try {
            if (what === 'write') {
              await person.write(at, text);
            } else if (what === 'remove') {
              await rm(join(person.root, at), { recursive: true });
            } else {
              await rename(join(person.root, at), join(person.root, to));
            }
          } catch (error) {
            if (!/ENOENT|ENOTDIR|EISDIR|ENOTEMPTY|EEXIST|EINVAL/.test(String(error))) {
              throw error;
            }
          }
          await new Promise(done => setTimeout(done, pause));
        }
        await atRest(ana, ben);
      }),
      { numRuns: 6, endOnFailure: true }
    );
  }, 300_000);
});
