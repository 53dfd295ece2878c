/**
 * Continuous capture: a running recorder, several processes that create, modify, move and delete files as fast as they can, and the time until all of it is
 * recorded and durable (`flush`). Beside it the same writers without a recorder, and the limit: read, hash, append and fsync what they leave.
 *
 *   node bench/continuous.mjs [--operations 200000] [--writers 4] [--bytes 1000] [--runs 3]
 *
 * One operation is one file created, rewritten, moved or deleted. States that a file had for less than a look at it are not recorded, which is promised
 * nowhere; its last state is: at the end the recorded tree is compared, path by path and hash by hash, with the disk. Each run has a fresh directory and log.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, median, repository, startUntil, syftSync, time, workDirectory } from './harness.mjs';

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '200000' },
    writers: { type: 'string', default: '4' },
    bytes: { type: 'string', default: '1000' },
    runs: { type: 'string', default: '3' }
  }
});
const operations = Number(values.operations);
const writers = Number(values.writers);
const dir = workDirectory('continuous');
const home = join(dir, 'home');
mkdirSync(home);
const env = { ...process.env, HOME: home, SYFT_SYNC_HOME: home };
let turn = 0;

/** Of ten operations five create, three rewrite, one moves, one deletes. */
const writing = `
const fs = require('node:fs');
const [, root, writer, count, bytes] = process.argv;
const text = 'the row of the table and the loss of the model '.repeat(1 + bytes / 47).slice(0, bytes - 12);
let made = 0;
let kept = 0;
const dir = i => root + '/w' + writer + '/d' + Math.floor(i / 100);
for (let n = 0; n < count; n++) {
  const step = n % 10;
  if (step < 5) {
    if (made % 100 === 0) fs.mkdirSync(dir(made), { recursive: true });
    fs.writeFileSync(dir(made) + '/f' + made, String(n).padStart(12) + text);
    made++;
  } else if (step < 8) fs.writeFileSync(dir(made - step + 4) + '/f' + (made - step + 4), String(n).padStart(12) + text);
  else if (step === 8) fs.renameSync(dir(made - 1) + '/f' + (made - 1), dir(made - 1) + '/moved' + (made - 1));
  else fs.unlinkSync(dir(made - 5) + '/f' + (made - 5));
}
`;
async function write(root) {
  const share = Math.floor(operations / writers);
  const children = Array.from({ length: writers }, (_, i) => {
    const count = i === 0 ? operations - share * (writers - 1) : share;
    return spawn(process.execPath, ['-e', writing, root, String(i), String(count), values.bytes], {
      stdio: ['ignore', 'ignore', 'inherit']
    });
  });
  const codes = await Promise.all(children.map(child => once(child, 'exit')));
  if (codes.some(([code]) => code !== 0)) throw new Error('a writer failed');
}
const secondsSince = started => (performance.now() - started) / 1000;

function filesOf(root) {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name));
}

/** What is recorded is what is on disk, each path and each hash; throws else. */
function mustBeRecorded(root, log) {
  const listed = spawnSync(syftSync, ['-C', root, '--log', log, '--json', 'tree'], {
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 30
  });
  const recorded = new Map(
    listed.stdout.split('\n').flatMap(line => {
      const entry = line === '' ? undefined : JSON.parse(line);
      return entry?.hash === undefined ? [] : [[entry.path, entry.hash]];
    })
  );
  const files = filesOf(root);
  if (recorded.size !== files.length) throw new Error(`${recorded.size} files are recorded, ${files.length} are there`);
  for (const file of files) {
    const hash = `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`;
    if (recorded.get(file.slice(root.length + 1)) !== hash) throw new Error(`${file} is not recorded as it is`);
  }
  return files.length;
}

async function recorded() {
  const root = join(dir, `data-${turn++}`);
  const log = join(dir, `log-${turn}`);
  mkdirSync(root);
  const { child } = await startUntil(syftSync, ['-C', root, '--log', log, '--json', '-q', 'watch'], /"ready":true/, {
    env
  });
  const started = performance.now();
  await write(root);
  const written = secondsSince(started);
  time(syftSync, ['-C', root, '--log', log, '-q', 'flush'], { env });
  const durable = secondsSince(started);
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  await once(child, 'exit');
  const files = mustBeRecorded(root, log);
  const { versions } = JSON.parse(
    spawnSync(syftSync, ['-C', root, '--log', log, '--json', 'stats'], { env, encoding: 'utf8' }).stdout
  );
  return { written, durable, files, versions, root };
}
async function alone() {
  const root = join(dir, `data-${turn++}`);
  mkdirSync(root);
  const started = performance.now();
  await write(root);
  return secondsSince(started);
}

describeMachine();
console.log(
  `${operations} operations by ${writers} processes, files of ${values.bytes} bytes, ${values.runs} runs, medians`
);
const limit = join(repository, 'bench', 'limit.mjs');
const runs = [];
for (let run = 0; run < Number(values.runs); run++) {
  const ours = await recorded();
  const without = await alone();
  const left = join(ours.root, 'w0');
  const share = filesOf(left).length / ours.files;
  runs.push({ ...ours, without, limit: time(process.execPath, [limit, left, join(dir, `limit-${run}`)]) / share });
}
const of = key => median(runs.map(run => run[key]));
const all = (key, digits = 2) => runs.map(run => run[key].toFixed(digits)).join(', ');
const rate = seconds => Math.round(operations / seconds).toLocaleString('en');
console.log(
  `recorded and durable        ${rate(of('durable'))} operations a second   (${all('durable')} s; writers done after ${all('written')} s)`
);
console.log(
  `the writers, no recorder    ${rate(of('without'))} operations a second   (${all('without')} s)   ratio ${(of('without') / of('durable')).toFixed(2)}`
);
console.log(
  `the limit: ${of('files')} files left at the end, read, hashed, appended, synced in ${of('limit').toFixed(2)} s`
);
console.log(`versions recorded: ${all('versions', 0)}; every file left is recorded as it is`);
