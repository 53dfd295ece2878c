/**
 * Memory with many files, as resident size: of the recorder after its first capture, after a change in every directory, and
 * after a restart on the finished log; and of the sidecar that JupyterLab runs, with its DuckDB index, once the panel has asked.
 *
 *   node bench/memory.mjs [--files 100000]
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { get } from 'node:http';
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

async function measure(label, work, command = ['watch'], ready = /"ready":true/) {
  const started = Date.now();
  const { child } = await startUntil(syftSync, ['-C', data, '--json', ...command], ready, { env });
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

const socket = join(dir, 'sidecar', 'socket');
mkdirSync(join(dir, 'sidecar'), { mode: 0o700 });
env.SYFT_SYNC_SECRET = 'a'.repeat(64);

/** The body of an answer of the sidecar. */
function ask(path) {
  return new Promise((resolve, reject) => {
    const headers = { 'X-Syft-Sync-Secret': env.SYFT_SYNC_SECRET };
    get({ socketPath: socket, path: `/api/${path}`, headers }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', piece => (text += piece));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${path}: ${response.statusCode} ${text}`));
      });
    }).on('error', reject);
  });
}

await measure(
  'sidecar',
  async child => {
    for (;;) {
      const { state, pending } = await ask('status');
      if (state === 'recording' && pending === 0) break;
      await sleep(200);
    }
    const { changes } = await ask('changes?limit=200');
    await ask(`history?path=${encodeURIComponent(changes[0].path)}`);
    await ask('changes?q=f99');
    console.log(`sidecar, after the panel's questions: ${residentMegabytes(child.pid).toFixed(0)} MB`);
    await sleep(10_000);
    console.log(`sidecar, ten seconds later: ${residentMegabytes(child.pid).toFixed(0)} MB`);
  },
  ['serve', '--socket', socket],
  /listening/
);
