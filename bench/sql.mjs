/**
 * SQL over a log of many changes, on a made index: `node bench/sql.mjs [CHANGES]`, default 1,000,000. Measures how fast changes go into
 * the index and what it takes on disk, and the questions people ask most, each through the process that runs queries, as the panel asks.
 * A tenth as many paths as changes, half as many contents.
 */
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import * as api from '@duckdb/node-api';
import { describeMachine, median, workDirectory } from './harness.mjs';
import { DuckdbHistory } from '../server/src/index/duckdb-history.ts';
import { SqlProcess } from '../server/src/index/sql/process.ts';

const CHANGES = Number(process.argv[2] ?? 1_000_000);
const BATCH = 16_384;
const WORKSPACE = '0123456789abcdef0123456789abcdef';
const DAYS = 200;

const dir = workDirectory('sql');
const hashOf = n => createHash('sha256').update(`content ${n}`).digest('hex');
const pathOf = n => `project-${n % 37}/data/part-${Math.floor(n / 37) % 1000}/file-${n}.csv`;

/** Made beforehand, so that only the index is timed. */
function batch(from, count) {
  const start = 1_790_000_000_000_000;
  const step = Math.floor((DAYS * 86_400e6) / CHANGES);
  return Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const paths = Math.max(1, Math.floor(CHANGES / 10));
    const hash = hashOf(n % Math.max(1, Math.floor(CHANGES / 2)));
    const at = start + n * step;
    return {
      device: 'aaaaaaaa',
      seq: n + 1,
      kind: n < paths ? 'created' : 'modified',
      path: pathOf(n % paths),
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
let ingesting = 0;
for (let done = 0; done < CHANGES; done += BATCH) {
  const changes = batch(done, Math.min(BATCH, CHANGES - done));
  const started = performance.now();
  await history.apply(changes);
  ingesting += performance.now() - started;
  if (process.stderr.isTTY) process.stderr.write(`\r${done + changes.length} of ${CHANGES} changes`);
}
if (process.stderr.isTTY) process.stderr.write('\n');
const file = join(dir, 'copy.duckdb');
const copying = performance.now();
await history.copyTo(file);
const copied = performance.now() - copying;
await history.close();

const child = new SqlProcess();
async function ask(query, { format = 'arrow', times = 11 } = {}) {
  const taken = [];
  let bytes = 0;
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
  return { ms: median(taken), bytes };
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
console.log(`ingest                    ${Math.round(CHANGES / (ingesting / 1000))} changes/s`);
console.log(
  `index                     ${(statSync(file).size / 1e6).toFixed(1)} MB, copied in ${copied.toFixed(0)} ms`
);
for (const [name, query, options] of rows) {
  const { ms, bytes } = await ask(query, options);
  console.log(`${name.padEnd(26)}${ms.toFixed(1)} ms${bytes > 1e6 ? `, ${(bytes / 1e6).toFixed(0)} MB` : ''}`);
}
child.kill();
