/**
 * Memory of the sidecar with many files: resident size after the first capture, after a change in every directory, and after
 * a restart on the finished log.
 *
 *   node bench/memory.mjs [--files 100000]
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  makeFiles,
  residentMegabytes,
  startUntil,
  syftSync,
  time,
  workDirectory
} from './harness.mjs';

const { values } = parseArgs({ options: { files: { type: 'string', default: '100000' } } });
const dir = workDirectory('memory');
const data = join(dir, 'data');
mkdirSync(data);
makeFiles(data, Number(values.files), 4096);
const env = { ...process.env, SYFT_SYNC_HOME: join(dir, 'home') };
describeMachine();

async function measure(label, work) {
  const started = Date.now();
  const { child } = await startUntil(syftSync, ['-C', data, '--json', 'watch'], /"ready":true/, { env });
  child.stdout.resume();
  console.log(
    `${label}: ready after ${((Date.now() - started) / 1000).toFixed(2)} s, ${residentMegabytes(child.pid).toFixed(0)} MB`
  );
  await sleep(2000);
  console.log(`${label}: two seconds later ${residentMegabytes(child.pid).toFixed(0)} MB`);
  await work?.(child);
  child.kill('SIGTERM');
  await once(child, 'exit');
}

await measure('first capture', async child => {
  for (let i = 0; i < Number(values.files); i += 100) appendFileSync(join(data, `d${i / 100}`, `f${i}.txt`), 'x');
  time(syftSync, ['-C', data, 'flush'], { env });
  console.log(`after ${Number(values.files) / 100} changes: ${residentMegabytes(child.pid).toFixed(0)} MB`);
});
await measure('restart');
