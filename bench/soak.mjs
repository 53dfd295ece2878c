/**
 * A recorder under a steady, low load, for as long as one likes: prints resident size, JavaScript heap, open descriptors,
 * threads and handles of the process every ten seconds, then whether they grew. At the end everything is checked: the log
 * with `fsck --read-data`, and that its tree is what is on disk.
 *
 *   node bench/soak.mjs [MINUTES] [--command serve|watch] [--files 500] [--edits 8] [--every 10]
 *
 * MINUTES: 60 unless told. `serve` is the sidecar that JupyterLab runs, with its index, asked for its status and its changes
 * every ten seconds, and with a panel that listens; `watch` is the command line. `--edits`: changes of files a second: CSVs
 * and a notebook written in place, atomic saves, renames, deletions, new folders, and now and then a large file.
 * Ends with status 1 when the log is not sound.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  makeFiles,
  median,
  repository,
  residentMegabytes,
  syftSync,
  textFile,
  workDirectory
} from './harness.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    command: { type: 'string', default: 'serve' },
    files: { type: 'string', default: '500' },
    edits: { type: 'string', default: '8' },
    every: { type: 'string', default: '10' }
  }
});
const minutes = Number(positionals[0] ?? 60);
const everyMs = Number(values.every) * 1000;
const dir = workDirectory('soak');
const data = join(dir, 'data');
mkdirSync(data);
makeFiles(data, Number(values.files), 4096);
const env = { ...process.env, SYFT_SYNC_HOME: join(dir, 'home'), SYFT_SYNC_SECRET: 'a'.repeat(64) };
const socketPath = join(dir, 'private', 'socket');
mkdirSync(join(dir, 'private'), { mode: 0o700 });
describeMachine();
console.log(`load: ${values.command}, ${values.files} files, ${values.edits} edits a second, ${minutes} minutes`);

const child = spawn(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    '--import',
    join(repository, 'bench', 'soak-probe.mjs'),
    join(repository, 'server', 'dist', 'bundle', 'syft-sync.mjs'),
    '-C',
    data,
    ...(values.command === 'serve' ? ['-q', 'serve', '--socket', socketPath] : ['--json', 'watch'])
  ],
  { env, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] }
);
child.stdout.resume();

/** The body of an answer of the sidecar; `undefined` while it does not answer. */
function ask(path) {
  return new Promise(resolve => {
    get({ socketPath, path: `/api/${path}`, headers: { 'X-Syft-Sync-Secret': env.SYFT_SYNC_SECRET } }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', piece => (text += piece));
      response.on('end', () => resolve(response.statusCode === 200 ? JSON.parse(text) : undefined));
    }).on('error', () => resolve(undefined));
  });
}

async function probe() {
  child.send('how');
  const [answer] = await once(child, 'message');
  return answer;
}

let edits = 0;
const hot = Array.from({ length: 40 }, (_, i) => join(data, 'd0', `f${i}.txt`));

/** One edit, of the kinds a day with notebooks has. */
function edit() {
  edits += 1;
  const file = hot[edits % hot.length];
  switch (edits % 10) {
    case 0:
      writeFileSync(`${file}.tmp`, textFile(edits, 6000));
      renameSync(`${file}.tmp`, file);
      break;
    case 1: {
      const output = { output_type: 'display_data', data: { 'image/png': randomBytes(3000).toString('base64') } };
      const cells = [{ cell_type: 'code', source: [`run ${edits}`], outputs: [output], metadata: {} }];
      writeFileSync(
        join(data, 'analysis.ipynb'),
        JSON.stringify({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 })
      );
      break;
    }
    case 2: {
      const folder = join(data, 'runs', String(Math.floor(edits / 10) % 50));
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, 'metrics.json'), JSON.stringify({ edits }));
      break;
    }
    case 3:
      renameSync(file, `${file}.moved`);
      renameSync(`${file}.moved`, file);
      break;
    case 4:
      rmSync(join(data, 'brief.txt'), { force: true });
      break;
    case 5:
      writeFileSync(join(data, 'brief.txt'), String(edits));
      break;
    default:
      appendFileSync(file, `${edits}\n`);
  }
  if (edits % 2000 === 0) writeFileSync(join(data, 'model.bin'), randomBytes(4_000_000));
}

const samples = [];

async function sample(started) {
  const of = await probe();
  const status = values.command === 'serve' ? await ask('status') : undefined;
  if (status !== undefined) await ask('changes?limit=200');
  const row = {
    seconds: Math.round((Date.now() - started) / 1000),
    rss: residentMegabytes(child.pid),
    heap: of.heapUsed / 2 ** 20,
    external: of.external / 2 ** 20,
    fds: readdirSync(`/proc/${child.pid}/fd`).length,
    threads: readdirSync(`/proc/${child.pid}/task`).length,
    handles: Object.values(of.handles).reduce((sum, n) => sum + n, 0)
  };
  samples.push(row);
  const kinds = Object.entries(of.handles).map(([kind, n]) => `${kind} ${n}`);
  console.log(
    `${String(row.seconds).padStart(5)} s  rss ${row.rss.toFixed(0)} MB  heap ${row.heap.toFixed(1)} MB  external ${row.external.toFixed(1)} MB  ` +
      `fds ${row.fds}  threads ${row.threads}  handles ${row.handles} (${kinds.join(', ')})  edits ${edits}` +
      (status === undefined ? '' : `  versions ${status.versions}  pending ${status.pending}  ${status.state}`)
  );
}

/** Medians of the first and the last quarter after the first tenth, when all is warm. */
function judge() {
  const warm = samples.slice(Math.ceil(samples.length / 10));
  const quarter = Math.max(1, Math.floor(warm.length / 4));
  for (const what of ['rss', 'heap', 'external', 'fds', 'threads', 'handles']) {
    const first = median(warm.slice(0, quarter).map(row => row[what]));
    const last = median(warm.slice(-quarter).map(row => row[what]));
    console.log(
      `${what}: first quarter ${first.toFixed(1)}, last quarter ${last.toFixed(1)}, ratio ${(last / first).toFixed(2)}`
    );
  }
}

/** Every file on disk, with its hash. */
function disk(at = '') {
  return readdirSync(join(data, at), { withFileTypes: true }).flatMap(entry => {
    const path = at === '' ? entry.name : `${at}/${entry.name}`;
    if (path === '.syft-sync') return [];
    if (entry.isDirectory()) return disk(path);
    return [
      `${path} sha256:${createHash('sha256')
        .update(readFileSync(join(data, path)))
        .digest('hex')}`
    ];
  });
}

let failed = false;
child.on('exit', (code, signal) => {
  if (code === 0) return;
  console.error(`the recorder ended with ${code ?? signal}`);
  process.exit(1);
});
while (values.command === 'serve' && (await ask('status'))?.state !== 'recording') await sleep(100);
if (values.command === 'serve') {
  // A panel that listens.
  const headers = { 'X-Syft-Sync-Secret': env.SYFT_SYNC_SECRET };
  get({ socketPath, path: '/api/events', headers }, response => response.resume()).on('error', () => undefined);
}
const started = Date.now();
const end = started + minutes * 60_000;
let next = started;
while (Date.now() < end) {
  if (Date.now() >= next) {
    await sample(started);
    next += everyMs;
  }
  edit();
  await sleep(1000 / Number(values.edits));
}
await sample(started);
judge();
child.kill('SIGTERM');
await once(child, 'exit');

const run = args => spawnSync(syftSync, ['-C', data, '--json', ...args], { env, encoding: 'utf8', maxBuffer: 1 << 28 });
const check = run(['fsck', '--read-data']);
failed ||= check.status !== 0;
console.log(`fsck --read-data: exit ${check.status}${check.stdout}${check.stderr}`);
const tree = run(['tree'])
  .stdout.split('\n')
  .filter(line => line !== '')
  .map(line => JSON.parse(line))
  .filter(entry => entry.hash !== undefined)
  .map(entry => `${entry.path} ${entry.hash}`);
const same = JSON.stringify(tree.sort()) === JSON.stringify(disk().sort());
failed ||= !same;
console.log(`the tree of the log ${same ? 'is' : 'is NOT'} what is on disk: ${tree.length} files, ${edits} edits`);
process.exit(failed ? 1 : 0);
