/**
 * SQL over a log of many changes, on a made index: `node bench/sql.mjs [CHANGES]`, default 1,000,000. Measures how fast changes go into
 * the index and what it takes on disk, and the questions people ask most, each through the process that runs queries, as the panel asks.
 * A tenth as many paths as changes, half as many contents. `--scattered`: paths come in no order, as do the times between changes.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as api from '@duckdb/node-api';
import { describeMachine, median, processorSeconds, workDirectory } from './harness.mjs';
import { DuckdbHistory } from '../server/src/index/duckdb-history.ts';
import { SqlProcess } from '../server/src/index/sql/process.ts';

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { scattered: { type: 'boolean', default: false } }
});
const CHANGES = Number(positionals[0] ?? 1_000_000);
const BATCH = 16_384;
const LIVE = 20;
const WORKSPACE = '0123456789abcdef0123456789abcdef';
const DAYS = 200;

const dir = workDirectory('sql');
const hashOf = n => createHash('sha256').update(`content ${n}`).digest('hex');
const pathOf = n => `project-${n % 37}/data/part-${Math.floor(n / 37) % 1000}/file-${n}.csv`;
const scattered = n => (Math.imul(n ^ (n >>> 15), 0x2c1b3c6d) ^ Math.imul(n >>> 3, 0x297a2d39)) >>> 0;

/** Made beforehand, so that only the index is timed. */
function batch(from, count) {
  const start = 1_790_000_000_000_000;
  const step = Math.floor((DAYS * 86_400e6) / CHANGES);
  return Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const paths = Math.max(1, Math.floor(CHANGES / 10));
    const hash = hashOf(n % Math.max(1, Math.floor(CHANGES / 2)));
    const at = start + n * step + (flags.scattered ? scattered(n) % step : 0);
    const path = flags.scattered && n >= paths ? scattered(n) % paths : n % paths;
    return {
      device: 'aaaaaaaa',
      seq: n + 1,
      kind: n < paths ? 'created' : 'modified',
      path: pathOf(path),
      at,
      hlc: at,
      type: 'file',
      size: 1000 + (n % 5000),
      hash,
      content: { chunks: [hash] },
      mode: 0o644,
      mtime: at,
      flags: []
    };
  });
}

const history = await DuckdbHistory.open(api, { dir, workspaceId: WORKSPACE, memory: 40, memoryMost: 2048 });
const taken = { wall: 0, cpu: 0 };
async function timed(work) {
  const started = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  taken.wall += (performance.now() - started) / 1000;
  taken.cpu += (user + system) / 1e6;
}

// As the index of a log that has none yet.
const bulk = await history.fill();
let most = 0;
for (let done = 0; done < CHANGES; done += BATCH) {
  const changes = batch(done, Math.min(BATCH, CHANGES - done));
  await timed(async () => {
    for (const change of changes) if (bulk.add(change)) await bulk.write();
  });
  most = Math.max(most, process.memoryUsage.rss());
  if (process.stderr.isTTY) process.stderr.write(`\r${done + changes.length} of ${CHANGES} changes`);
}
await timed(() => history.filled(bulk));
most = Math.max(most, process.memoryUsage.rss());
if (process.stderr.isTTY) process.stderr.write('\n');
const file = join(dir, 'copy.duckdb');
const copying = performance.now();
await history.copyTo(file);
const copied = performance.now() - copying;

/** What a save costs: a few changes on an index that is there. */
const saves = [];
for (let i = 0; i < 11; i++) {
  const changes = batch(CHANGES + i * LIVE, LIVE);
  const started = performance.now();
  await history.apply(changes);
  saves.push(performance.now() - started);
}

/** What the panel asks, of the index that is being written: the newest versions of a file, with what stood before each. */
const pages = [];
const asked = pathOf(Math.floor(CHANGES / 25));
for (let i = 0; i < 11; i++) {
  const started = performance.now();
  const { records } = await history.history(asked, { limit: 50 });
  if (records.length === 0) throw new Error('a file without a history');
  pages.push(performance.now() - started);
}
await history.close();

const child = new SqlProcess();
/** The process that runs queries. */
const worker = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ')[0];
async function ask(query, { format = 'arrow', times = 11 } = {}) {
  const taken = [];
  let bytes = 0;
  const before = processorSeconds(worker());
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    const run = child.run(
      {
        ...{ database: file, workspaceId: WORKSPACE, timeZone: 'UTC', scratch: dir, format },
        ...{ query, maxRows: 100_000_000, timeoutMs: 600_000, memoryMb: 2048 }
      },
      async () => ({ extras: [], contents: [] })
    );
    await run.begun;
    bytes = 0;
    for await (const piece of run.bytes) bytes += piece.length;
    const { error } = await run.ended;
    if (error !== undefined) throw error;
    taken.push(performance.now() - started);
  }
  const cpu = ((processorSeconds(worker()) - before) * 1000) / times;
  return { ms: median(taken), least: Math.min(...taken), cpu, bytes };
}

const one = pathOf(Math.floor(CHANGES / 25));
const then = new Date((1_790_000_000_000_000 + (DAYS / 2) * 86_400e6) / 1000).toISOString();
await ask('SELECT 1', { times: 3 });
const rows = [
  ['history of one path', `SELECT version_id, kind, "at", size, hash FROM history('${one}') ORDER BY "at" DESC`],
  ['changes of one path', `SELECT kind, "at", size FROM changes WHERE path = '${one}'`],
  ['tree as of a moment', `SELECT count(*), sum(size) FROM files_at('${then}')`],
  ['changes by day', 'SELECT day, count(*), sum(size) FROM changes GROUP BY day ORDER BY day'],
  ['busiest paths', 'SELECT path, count(*) AS n FROM changes GROUP BY path ORDER BY n DESC LIMIT 10'],
  ['a million rows as Arrow', `SELECT "at", path, size, kind FROM changes LIMIT 1000000`, { times: 3 }]
];
describeMachine();
console.log(`${CHANGES} changes, ${Math.floor(CHANGES / 10)} paths`);
console.log(
  `ingest                    ${Math.round(CHANGES / taken.wall)} changes/s, ${Math.round(CHANGES / taken.cpu)} per second of processor; ${taken.wall.toFixed(1)} s, up to ${(most / 1e6).toFixed(0)} MB`
);
console.log(`${LIVE} more                   ${median(saves).toFixed(1)} ms`);
console.log(
  `index                     ${(statSync(file).size / 1e6).toFixed(1)} MB, copied in ${copied.toFixed(0)} ms`
);
console.log(`history in the panel      ${median(pages).toFixed(1)} ms (least ${Math.min(...pages).toFixed(1)})`);
for (const [name, query, options] of rows) {
  const { ms, least, cpu, bytes } = await ask(query, options);
  const size = bytes > 1e6 ? `, ${(bytes / 1e6).toFixed(0)} MB` : '';
  console.log(`${name.padEnd(26)}${ms.toFixed(1)} ms (least ${least.toFixed(1)}, processor ${cpu.toFixed(0)})${size}`);
}
child.kill();
