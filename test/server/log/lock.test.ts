/** Two writers of one log would write over each other. There is one, always, and never none that could be. */
import { expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { COMPILED, program } from '../program.ts';
import { Scratch } from './scratch.ts';

const CHILD = program('lock-child');

interface Contender {
  readonly process: ChildProcess;
  readonly said: Promise<string>;
}

function contend(scratch: Scratch): Contender {
  const process_ = spawn(process.execPath, [CHILD, scratch.dir, scratch.keys], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: COMPILED }
  });
  const said = (async () => {
    let text = '';
    for await (const piece of process_.stdout) {
      text += String(piece);
      if (text.includes('\n')) break;
    }
    return text.trim();
  })();
  return { process: process_, said };
}

async function end(contender: Contender, how: 'close' | 'kill'): Promise<void> {
  const { process: child } = contender;
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (how === 'kill') child.kill('SIGKILL');
  else child.stdin?.end();
  await exited;
}

test('of many that want it at once one gets it, and the others are told its pid', async () => {
  using scratch = new Scratch();
  for (let round = 0; round < 4; round += 1) {
    const all = Array.from({ length: 8 }, () => contend(scratch));
    const said = await Promise.all(all.map(each => each.said));
    const winners = all.filter((_each, i) => said[i] === 'held');
    expect(winners).toHaveLength(1);
    for (const text of said.filter(each => each !== 'held')) {
      expect(text).toMatch(/^LOG_LOCKED /);
      // Who withdrew before the winner had it names nobody; who came later names the winner.
      if (/process \d+|pid \d+/.test(text)) expect(text).toContain(String(winners[0]!.process.pid));
    }
    await Promise.all(all.map(each => end(each, round % 2 === 0 ? 'kill' : 'close')));
  }
}, 120_000);

test('who comes while it is held is told by whom', async () => {
  using scratch = new Scratch();
  const holder = contend(scratch);
  expect(await holder.said).toBe('held');
  const late = contend(scratch);
  expect(await late.said).toMatch(new RegExp(`^LOG_LOCKED .*${holder.process.pid}`));
  await end(late, 'kill');
  await end(holder, 'close');
});

test('a holder that was killed leaves it free, however often', async () => {
  using scratch = new Scratch();
  for (let i = 0; i < 12; i += 1) {
    const holder = contend(scratch);
    expect(await holder.said).toBe('held');
    await end(holder, 'kill');
  }
  const last = contend(scratch);
  expect(await last.said).toBe('held');
  await end(last, 'close');
  expect(readdirSync(join(scratch.dir, 'locks'))).toEqual([]);
}, 120_000);

test('a holder that is stopped, not dead, keeps it', async () => {
  using scratch = new Scratch();
  const holder = contend(scratch);
  expect(await holder.said).toBe('held');
  holder.process.kill('SIGSTOP');
  const late = contend(scratch);
  expect(await late.said).toMatch(/^LOG_LOCKED /);
  await end(late, 'kill');
  holder.process.kill('SIGCONT');
  await end(holder, 'close');
});
