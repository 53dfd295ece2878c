/** Two people follow each other, and any of the four processes may be killed at any moment: both end with the same. */
import { expect, test } from '@jest/globals';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../../../server/src/core/errors.ts';
import { CommandLine, Watch } from '../cli/run.ts';
import { eventually, seen, World } from './worlds.ts';

/** Numbers from a seed, so that a failure can be had again. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return n => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const PATHS = ['a', 'b', 'd/a', 'd/b', 'd/e/c', 'x', 'x/y'];

test.each(process.env['SYFT_KILL_SEEDS']?.split(',').map(Number) ?? [7])(
  'edits, moves and deletions on both sides while recorders and receivers are killed: both end the same (seed %i)',
  async seed => {
    await using world = await World.make();
    const pick = random(seed);
    const roots = [world.path('ana'), world.path('ben')];
    for (const root of roots) mkdirSync(root);
    const lines = roots.map((root, i) => new CommandLine(root, world.path(`home-${i}`)));
    const running = new Map<string, Watch>();
    const start = async (i: number, kind: 'watch' | 'receive'): Promise<void> => {
      const [own = '', other = ''] = i === 0 ? roots : [...roots].reverse();
      const args = kind === 'watch' ? ['watch'] : ['receive', '--force', join(other, '.syft-sync'), own];
      const started = new Watch((lines[i] as CommandLine).spawn(['--json', ...args]));
      running.set(`${kind} ${i}`, started);
      await started.until(line => line['ready'] === true);
    };
    try {
      for (const i of [0, 1]) await start(i, 'watch');
      for (const i of [0, 1]) await start(i, 'receive');
      for (let n = 0; n < 120; n += 1) {
        const root = roots[pick(2)] ?? '';
        const path = join(root, PATHS[pick(PATHS.length)] ?? '');
        try {
          switch (pick(6)) {
            case 0:
              rmSync(path, { recursive: true });
              break;
            case 1:
            case 2:
              renameSync(path, join(root, PATHS[pick(PATHS.length)] ?? ''));
              break;
            default:
              mkdirSync(dirname(path), { recursive: true });
              writeFileSync(path, ['one', 'two', 'three', `edit ${n}`][pick(4)] ?? '');
          }
        } catch (error) {
          // What an edit runs into here is its user's to see.
          if (errnoOf(error) === undefined) throw error;
        }
        await new Promise(done => setTimeout(done, pick(40)));
        if (n % 30 === 29) {
          const kind = pick(2) === 0 ? 'watch' : 'receive';
          const i = pick(2);
          await running.get(`${kind} ${i}`)?.end('SIGKILL');
          await start(i, kind);
        }
      }
      let last = '';
      await eventually(async () => {
        for (const line of lines) await line.ok('flush');
        const [left = {}, right = {}] = await Promise.all(roots.map(seen));
        expect(right).toEqual(left);
        // At rest: the same as the last time it was looked at.
        const now = JSON.stringify(left);
        const rests = now === last;
        last = now;
        if (!rests) throw new Error('still changing');
      }, 60_000);
    } finally {
      for (const process of running.values()) await process.end();
    }
    for (const line of lines) expect((await line.run(['fsck', '--read-data'])).status).toBe(0);
  },
  180_000
);
