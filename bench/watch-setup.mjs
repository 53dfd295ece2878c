/**
 * Watchers against each other on one tree, in one run, each in a process of its own: the time until changes are hinted at,
 * resident memory, the time from a write to its hint, and how many of many creations by other processes are told of while the
 * main thread is blocked. As many files in a tenth as many directories, and no recorder: this measures the watchers alone.
 *
 *   node bench/watch-setup.mjs [--files 100000] [--rounds 3] [--watchers fs-watch,chokidar,parcel,polling] [--creations 120000]
 *
 * The peer is chokidar as it comes, watching the root in the main thread.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median, percentile, workDirectory, describeMachine } from './harness.mjs';

const self = fileURLToPath(import.meta.url);
const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '3' },
    creations: { type: 'string', default: '120000' },
    watchers: { type: 'string', default: 'fs-watch,chokidar,parcel,chokidar-as-it-comes' },
    measure: { type: 'string' },
    root: { type: 'string' }
  }
});

const megabytes = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const bare = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

/** chokidar as its documentation shows it, behind the same interface. */
async function asItComes() {
  const { watch } = await import('chokidar');
  let watcher;
  return {
    async start({ root }, sink) {
      watcher = watch(root, { ignoreInitial: true });
      watcher.on('all', (_event, path) => sink.paths([path.slice(root.length + 1)]));
      await new Promise(resolve => watcher.once('ready', resolve));
    },
    stop: () => watcher.close()
  };
}

/** In a process of its own: one watcher, one tree. */
async function measure(name, root) {
  const before = bare();
  const source =
    name === 'chokidar-as-it-comes'
      ? await asItComes()
      : await (await import('../server/dist/capture/hints/registry.js')).createHintSource(name, root);
  const told = new Set();
  let lost = 0;
  let wake = () => undefined;
  // There from the start: what is compared is how a watched directory bears a storm, not how a new one is found.
  for (let p = 0; p < 4; p++) mkdirSync(join(root, `burst-${p}`));
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  await source.start(
    { root, excludePatterns: [], include: undefined, logPath: undefined },
    {
      paths: paths => {
        for (const path of paths) told.add(path);
        wake();
      },
      directories: () => undefined,
      lost: () => (lost += 1),
      health: () => undefined
    }
  );
  const setup = performance.now() - started;
  const spent = process.cpuUsage(cpuBefore);
  const cpu = (spent.user + spent.system) / 1000;
  const memory = megabytes();
  const latencies = [];
  for (let i = 0; i < 100; i++) {
    const path = `d${i}/e${i}/f0.txt`;
    told.delete(path);
    const written = performance.now();
    const heard = new Promise(resolve => {
      wake = () => told.has(path) && resolve();
      setTimeout(resolve, 2000);
    });
    writeFileSync(join(root, path), 'written');
    await heard;
    latencies.push(performance.now() - written);
    await sleep(10);
  }
  wake = () => undefined;
  const each = Number(values.creations) / 4;
  const script = `const [,root,p,n]=process.argv;for(let i=0;i<n;i++)fs.writeFileSync(root+'/burst-'+p+'/f'+i,'')`;
  const writers = [0, 1, 2, 3].map(p => spawn(process.execPath, ['-e', script, root, String(p), String(each)]));
  const done = Promise.all(writers.map(writer => new Promise(resolve => writer.once('exit', resolve))));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
  await done;
  for (let seen = -1; seen !== told.size; await sleep(1000)) seen = told.size;
  const found = [...told].filter(path => /^burst-\d\/f/.test(path)).length;
  await source.stop();
  for (let p = 0; p < 4; p++) rmSync(join(root, `burst-${p}`), { recursive: true });
  console.log(
    JSON.stringify({
      setup,
      cpu,
      memory,
      before,
      p50: percentile(latencies, 50),
      p95: percentile(latencies, 95),
      found,
      lost
    })
  );
  process.exit(0);
}

async function compare() {
  const dir = workDirectory('watch-setup');
  const files = Number(values.files);
  for (let i = 0; i < files; i += 10) {
    const sub = join(dir, `d${(i / 10) % 100}`, `e${i / 10}`);
    mkdirSync(sub, { recursive: true });
    for (let k = 0; k < 10; k++) writeFileSync(join(sub, `f${k}.txt`), 'x'.repeat(100));
  }
  describeMachine();
  console.log(
    `${files} files in ${files / 10} directories, ${values.creations} creations; load at the start ${loadavg()[0].toFixed(1)} on ${cpus().length} cores`
  );
  const names = values.watchers.split(',');
  const results = new Map(names.map(name => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of names) {
      const child = spawn(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          self,
          '--measure',
          name,
          '--root',
          dir,
          '--creations',
          values.creations
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] }
      );
      let text = '';
      child.stdout.on('data', piece => (text += piece));
      await new Promise(resolve => child.once('close', resolve));
      results.get(name).push(JSON.parse(text));
    }
  }
  const of = (name, key) => median(results.get(name).map(result => result[key]));
  const base = of(names[0], 'setup');
  for (const name of names) {
    const counts = results.get(name).map(({ found, lost }) => `${found}${lost > 0 ? ` and ${lost} × "lost"` : ''}`);
    console.log(
      `${name}: up in ${of(name, 'setup').toFixed(0)} ms (${(of(name, 'setup') / base).toFixed(2)} × ${names[0]}), ${of(name, 'cpu').toFixed(0)} ms of processor, ` +
        `${of(name, 'memory').toFixed(0)} MB (${of(name, 'before').toFixed(0)} before), ` +
        `hint after ${of(name, 'p50').toFixed(1)} ms, p95 ${of(name, 'p95').toFixed(1)} ms; told of ${counts.join(', ')}`
    );
  }
  console.log(`load at the end ${loadavg()[0].toFixed(1)}`);
}

if (values.measure === undefined) await compare();
else await measure(values.measure, values.root);
