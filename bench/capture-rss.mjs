/**
 * Measures recording of 100,000 files of 4,096 bytes in 1,000 directories: time of the first pass and of one without
 * changes, memory while recording with the watcher up, and the time from a write to its durable change.
 *
 *   node bench/capture-rss.mjs [files] [directory to work in]
 *
 * Prints one JSON object. Memory is the resident set of this process, the watcher thread included; the sources run by
 * type stripping, which costs about 40 MB more than the built bundle (`base` shows what the process takes before it starts).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepHeapSmall } from '../server/src/capture/heap.ts';
import { Recorder } from '../server/src/capture/recorder.ts';
import { openLogWriter } from '../server/src/log/log.ts';

keepHeapSmall();
const files = Number(process.argv[2] ?? 100_000);
const base = mkdtempSync(join(process.argv[3] ?? tmpdir(), 'capture-rss-'));
const root = join(base, 'root');
const megabytes = () => Math.round(process.memoryUsage().rss / 1e6);

try {
  for (let i = 0; i < files; i += 1) {
    if (i % 100 === 0) mkdirSync(join(root, `dir${i / 100}`), { recursive: true });
    writeFileSync(join(root, `dir${Math.floor(i / 100)}`, `file${i}.txt`), randomBytes(2048).toString('hex'));
  }
  const figures = {
    machine: `${cpus()[0]?.model}, ${availableParallelism()} cpus`,
    node: process.version,
    files,
    baseMB: megabytes()
  };
  const open = async () => {
    const log = await openLogWriter({ dir: join(base, 'log'), keyDir: join(base, 'keys') });
    const recorder = await Recorder.open({ root, log, logDir: join(base, 'log'), cacheDir: join(base, 'cache') });
    return { log, recorder };
  };
  let longest = 0;
  let last = performance.now();
  setInterval(() => {
    longest = Math.max(longest, performance.now() - last - 5);
    last = performance.now();
  }, 5).unref();
  const timed = async work => {
    longest = 0;
    last = performance.now();
    const started = performance.now();
    const result = await work();
    return { ms: Math.round(performance.now() - started), stallMs: Math.round(longest), result };
  };

  let { log, recorder } = await open();
  const first = await timed(() => recorder.capture());
  Object.assign(figures, {
    firstMs: first.ms,
    firstStallMs: first.stallMs,
    captured: first.result.captured,
    afterFirstMB: megabytes()
  });
  const again = await timed(() => recorder.capture());
  Object.assign(figures, { unchangedMs: again.ms, unchangedStallMs: again.stallMs, recaptured: again.result.captured });
  await recorder.stop();
  await log.close();

  const reopened = await timed(open);
  ({ log, recorder } = reopened.result);
  const start = await timed(() => recorder.start());
  await sleep(1000);
  Object.assign(figures, {
    openMs: reopened.ms,
    startMs: start.ms,
    startStallMs: start.stallMs,
    recordingMB: megabytes(),
    watcher: recorder.status.watcher.detail
  });

  const latencies = [];
  for (let i = 0; i < 40; i += 1) {
    const seen = new Promise(resolve => recorder.once('change', resolve));
    const started = performance.now();
    writeFileSync(join(root, `dir${i}`, 'new'), String(i));
    await seen;
    latencies.push(performance.now() - started);
    await sleep(50);
  }
  latencies.sort((a, b) => a - b);
  const scan = await timed(() => recorder.flush());
  Object.assign(figures, {
    latencyP50Ms: Math.round(latencies[20]),
    latencyMaxMs: Math.round(latencies[39]),
    flushMs: scan.ms,
    flushStallMs: scan.stallMs,
    endMB: megabytes()
  });
  await recorder.stop();
  await log.close();
  console.log(JSON.stringify(figures, undefined, 1));
} finally {
  rmSync(base, { recursive: true, force: true });
}
