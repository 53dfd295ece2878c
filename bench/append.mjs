/**
 * Appending many small records in batches, durable: through the log's own writer, beside the limit (the same records as lines, hashed, written
 * and fdatasynced by one loop) and SQLite (write-ahead log, synchronous=FULL, one transaction a batch).
 *
 *   node bench/append.mjs [--records 300000] [--batch 10000] [--content 0] [--runs 5]
 *
 * `--content N`: each record brings a content of N bytes of its own; 0: records alone. Contestants take turns, each on a fresh place. The clock runs from the
 * first append to the last answer; opening and closing are not in it. What was appended is read back and counted. The last line says of how many
 * files a log of so many records consists.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, readdirSync, writeSync } from 'node:fs';
import { extname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { openLogReader, openLogWriter } from '../server/dist/log/log.js';
import { describeMachine, median, workDirectory } from './harness.mjs';

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '300000' },
    batch: { type: 'string', default: '10000' },
    content: { type: 'string', default: '0' },
    runs: { type: 'string', default: '5' }
  }
});
const records = Number(values.records);
const size = Number(values.content);
const dir = workDirectory('append');
let turn = 0;
const fresh = name => join(dir, `${name}-${turn++}`);

/** As the recorder hands them over. */
function appendOf(i) {
  const bytes = size === 0 ? undefined : randomBytes(size);
  const hash = createHash('sha256')
    .update(bytes ?? String(i))
    .digest('hex');
  return {
    draft: {
      kind: 'created',
      path: `data/d${i % 100}/f${i}.txt`,
      type: 'file',
      size: size === 0 ? 100 : size,
      hash,
      mode: 0o644,
      mtime: 1_700_000_000_000_000 + i,
      flags: size === 0 ? ['no-content'] : [],
      ...(bytes !== undefined && { content: { chunks: [hash] } })
    },
    chunks: bytes === undefined ? [] : [{ id: hash, bytes }]
  };
}
const batches = [];
for (let from = 0; from < records; from += Number(values.batch)) {
  const length = Math.min(Number(values.batch), records - from);
  batches.push(Array.from({ length }, (_, k) => appendOf(from + k)));
}
/** Files of the last log, by the end of their names. */
const files = new Map();
function countFiles(place) {
  files.clear();
  for (const entry of readdirSync(place, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const kind = extname(entry.name) || entry.name;
    files.set(kind, (files.get(kind) ?? 0) + 1);
  }
}
const seconds = since => (performance.now() - since) / 1000;

async function ours(waitForEach) {
  const place = fresh('log');
  const log = await openLogWriter({ dir: place, keyDir: join(dir, 'keys') });
  const started = performance.now();
  if (waitForEach) for (const batch of batches) await log.append(batch);
  else await Promise.all(batches.map(batch => log.append(batch)));
  const took = seconds(started);
  await log.close();
  countFiles(place);
  const reader = await openLogReader({ dir: place });
  let count = 0;
  for await (const change of reader.changes()) count += change.seq > 0 ? 1 : 0;
  await reader.close();
  if (count !== records) throw new Error(`${count} records are in the log, not ${records}`);
  return took;
}

function limit() {
  const fd = openSync(fresh('limit'), 'wx', 0o600);
  const started = performance.now();
  for (const batch of batches) {
    let lines = '';
    for (const { draft } of batch) lines += `${JSON.stringify(draft)}\n`;
    const bytes = Buffer.concat([
      Buffer.from(lines),
      ...batch.flatMap(({ chunks }) => chunks.map(chunk => chunk.bytes))
    ]);
    createHash('sha256').update(bytes).digest();
    writeSync(fd, bytes);
    fdatasyncSync(fd);
  }
  const took = seconds(started);
  closeSync(fd);
  return took;
}

function sqlite() {
  const db = new DatabaseSync(fresh('sqlite'));
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL');
  db.exec(
    'CREATE TABLE changes (seq INTEGER PRIMARY KEY, kind TEXT, path TEXT, size INTEGER, hash TEXT, mode INTEGER, mtime INTEGER, content BLOB)'
  );
  const insert = db.prepare(
    'INSERT INTO changes (kind, path, size, hash, mode, mtime, content) VALUES (?, ?, ?, ?, ?, ?, ?)'
  );
  const started = performance.now();
  for (const batch of batches) {
    db.exec('BEGIN');
    for (const { draft, chunks } of batch) {
      insert.run(draft.kind, draft.path, draft.size, draft.hash, draft.mode, draft.mtime, chunks[0]?.bytes ?? null);
    }
    db.exec('COMMIT');
  }
  const took = seconds(started);
  db.close();
  return took;
}

describeMachine();
console.log(`peer: SQLite ${process.versions.sqlite}`);
console.log(
  `${records} records in batches of ${values.batch}, ${size === 0 ? 'no contents' : `a content of ${size} bytes each`}`
);
const contestants = {
  'syft-sync log, all batches at once': () => ours(false),
  'syft-sync log, one after another': () => ours(true),
  'the limit': limit,
  'SQLite, WAL, FULL': sqlite
};
const taken = Object.fromEntries(Object.keys(contestants).map(name => [name, []]));
for (let run = 0; run < Number(values.runs); run++) {
  for (const [name, contest] of Object.entries(contestants)) taken[name].push(await contest());
}
const own = median(taken['syft-sync log, all batches at once']);
for (const [name, list] of Object.entries(taken)) {
  const rates = list.map(took => Math.round(records / took));
  console.log(
    `${name.padEnd(36)} ${Math.round(records / median(list)).toLocaleString('en')} records a second   (${rates.join(', ')})   time ÷ ours ${(median(list) / own).toFixed(2)}`
  );
}
const total = [...files.values()].reduce((sum, count) => sum + count, 0);
const kinds = [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${count} ${kind}`);
console.log(`files of a log of ${records.toLocaleString('en')} records: ${total} (${kinds.join(', ')})`);
