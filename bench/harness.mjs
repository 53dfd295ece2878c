/**
 * What every benchmark shares: data made the same way each time, commands timed from outside as whole processes, medians
 * and ratios against peers of the same run, and a description of the machine.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository = dirname(dirname(fileURLToPath(import.meta.url)));
export const syftSync = join(repository, 'node_modules', '.bin', 'syft-sync');

/** A private directory that is removed at exit. */
export function workDirectory(name) {
  const dir = mkdtempSync(join(tmpdir(), `syft-bench-${name}-`));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
  return dir;
}

const WORDS =
  'the of model data value train test mean table figure plot index column row sample rate error loss epoch batch'.split(
    ' '
  );

/** Deterministic text, compressible like text is. */
export function textFile(seed, bytes) {
  let out = '';
  let state = createHash('sha256').update(String(seed)).digest();
  while (out.length < bytes) {
    state = createHash('sha256').update(state).digest();
    for (const byte of state) out += byte < 40 ? `${byte * 7919},` : `${WORDS[byte % WORDS.length]} `;
    out += '\n';
  }
  return out.slice(0, bytes);
}

/** `count` files of `bytes` bytes in directories of a hundred. */
export function makeFiles(dir, count, bytes) {
  for (let i = 0; i < count; i++) {
    const sub = join(dir, `d${Math.floor(i / 100)}`);
    if (i % 100 === 0) mkdirSync(sub, { recursive: true });
    writeFileSync(join(sub, `f${i}.txt`), textFile(i, bytes));
  }
}

/** Seconds a command takes; throws when it fails. */
export function time(command, args, options = {}) {
  const started = process.hrtime.bigint();
  const done = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], maxBuffer: 1 << 26, ...options });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (done.error !== undefined) throw done.error;
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${String(done.stderr).slice(-2000)}`);
  return seconds;
}

/** First line of what a command prints about its version, or `undefined` when it is not installed. */
export function versionOf(command, args = ['--version']) {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  return done.status === 0 ? done.stdout.trim().split('\n')[0] : undefined;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))];
}

/** Resident memory of a process and all below it, in MB, from /proc. */
export function residentMegabytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

export function describeMachine() {
  const cpu = cpus()[0]?.model ?? 'unknown processor';
  console.log(`machine: ${cpus().length} × ${cpu}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`);
  console.log(`versions: syft-sync ${versionOf(syftSync)}, node ${process.version}`);
}

/** Starts a long-running command; resolves with it when `ready` finds what it waits for on stdout. */
export function startUntil(command, args, ready, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    let text = '';
    child.stdout.setEncoding('utf8');
    const look = piece => {
      // What is waited for is short and may be split over two pieces.
      text = text.slice(-1000) + piece;
      const match = ready.exec(text);
      if (match === null) return;
      child.stdout.off('data', look);
      child.stdout.resume();
      resolve({ child, match });
    };
    child.stdout.on('data', look);
    child.on('error', reject);
    child.on('exit', code => reject(new Error(`${command} ended with ${code} before it was ready`)));
  });
}
