/**
 * The limit that no recorder written for Node can pass: read every file, hash it, append it, fsync. No compression, no records, no names kept; each
 * thread goes through its share of the directories and appends to a file of its own.
 *
 *   node bench/limit.mjs DATA OUT [--threads 2]
 */
import { createHash } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

/** As many as the recorder reads with, see server/src/capture/read-pool.ts. */
const threadsOfTheRecorder = Math.min(4, availableParallelism());
const SYNC_EVERY = 16 * 2 ** 20;

function take({ data, out, share, shares }) {
  const directories = [data, ...readdirSync(data).map(name => join(data, name))];
  const log = openSync(join(out, `${share}`), 'wx', 0o600);
  const room = Buffer.allocUnsafe(2 ** 20);
  let used = 0;
  let unsynced = 0;
  const append = () => {
    writeSync(log, room, 0, used);
    unsynced += used;
    used = 0;
    if (unsynced < SYNC_EVERY) return;
    fdatasyncSync(log);
    unsynced = 0;
  };
  for (let i = share; i < directories.length; i += shares) {
    for (const entry of readdirSync(directories[i], { withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const fd = openSync(join(directories[i], entry.name));
      const { size } = fstatSync(fd);
      if (used + size + 32 > room.length) append();
      readSync(fd, room, used, size);
      closeSync(fd);
      createHash('sha256')
        .update(room.subarray(used, used + size))
        .digest()
        .copy(room, used + size);
      used += size + 32;
    }
  }
  append();
  fdatasyncSync(log);
  closeSync(log);
}

if (isMainThread) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { threads: { type: 'string', default: String(threadsOfTheRecorder) } }
  });
  const [data, out] = positionals;
  mkdirSync(out);
  const shares = Number(values.threads);
  for (let share = 1; share < shares; share++) {
    new Worker(new URL(import.meta.url), { workerData: { data, out, share, shares } });
  }
  take({ data, out, share: 0, shares });
} else take(workerData);
