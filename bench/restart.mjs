/**
 * Restart on files that are recorded: from the start of the process to `{"ready":true}`, from where on every change will be recorded;
 * processor time until then, and resident memory. Beside it the limit, one process that only lists the directories and looks at
 * each file, and `git status` on the same files.
 *
 *   node bench/restart.mjs [--files 100000] [--runs 5]
 *
 * As many files in a tenth as many directories, none changed since they were recorded, nor shortly before; they take turns. Set-up and memory of the watch alone:
 * `bench/watch-setup.mjs`.
 */
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  median,
  peers,
  printRatios,
  processorSeconds,
  residentMegabytes,
  startUntil,
  syftSync,
  time,
  workDirectory
} from './harness.mjs';

const { values } = parseArgs({
  options: { files: { type: 'string', default: '100000' }, runs: { type: 'string', default: '5' } }
});
const files = Number(values.files);
const dir = workDirectory('restart');
const data = join(dir, 'data');
for (let i = 0; i < files; i += 10) {
  const sub = join(data, `d${(i / 10) % 100}`, `e${i / 10}`);
  mkdirSync(sub, { recursive: true });
  for (let k = 0; k < 10; k++) writeFileSync(join(sub, `f${k}.txt`), `${i + k} `.repeat(20));
}
const home = join(dir, 'home');
mkdirSync(home);
const env = { ...process.env, HOME: home, SYFT_SYNC_HOME: home };
const log = join(dir, 'log');

describeMachine();
const present = peers({ git: ['git', ['--version']] });
console.log(`${files} files in ${files / 10} directories, ${values.runs} runs, medians`);

const megabytes = [];
const processor = [];
async function restart() {
  const started = performance.now();
  const { child, match } = await startUntil(
    syftSync,
    ['-C', data, '--log', log, '--json', '-q', 'watch'],
    /"ready":true,"files":(\d+)/,
    { env }
  );
  const seconds = (performance.now() - started) / 1000;
  processor.push(processorSeconds(child.pid));
  if (Number(match[1]) !== files) throw new Error(`${match[1]} files are recorded, not ${files}`);
  await sleep(500);
  megabytes.push(residentMegabytes(child.pid));
  child.removeAllListeners('exit');
  child.kill('SIGTERM');
  await once(child, 'exit');
  return seconds;
}
const looking = `
const { lstatSync, readdirSync } = require('node:fs');
let n = 0;
const walk = dir => {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) walk(dir + '/' + entry.name);
    else n += lstatSync(dir + '/' + entry.name).size > 0 ? 1 : 0;
  }
};
walk(${JSON.stringify(data)});
if (n !== ${files}) process.exit(1);
`;
const git = ['--git-dir', join(dir, 'git'), '--work-tree', data];
if (present.git) {
  time('git', ['init', '-q', '--bare', join(dir, 'git')], { env });
  time('git', [...git, 'add', '-A'], { env, cwd: data });
}
// The first start records. A file recorded less than 40 s after its last change is read once more (a write through a memory map may have left no
// trace): the second start does that, so that the third finds files that have been there for a while.
await restart();
await sleep(45_000);
await restart();
megabytes.length = processor.length = 0;
const contestants = {
  'syft-sync watch, ready': restart,
  'the limit: look at each file': () => time(process.execPath, ['-e', looking]),
  ...(present.git && {
    'git status': () => time('git', [...git, 'status', '--porcelain', '-uall'], { env, cwd: data })
  })
};
const seconds = Object.fromEntries(Object.keys(contestants).map(name => [name, []]));
for (let run = 0; run < Number(values.runs); run++) {
  for (const [name, contest] of Object.entries(contestants)) seconds[name].push(await contest());
}
printRatios(seconds);
console.log(`processor time until ready, all threads: ${median(processor).toFixed(2)} s`);
console.log(`resident half a second after ready: ${median(megabytes).toFixed(0)} MB`);
