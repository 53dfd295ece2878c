/**
 * What every benchmark shares: data made the same way each time, commands timed from outside as whole processes, medians
 * and ratios against peers of the same run, and a description of the machine.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/**
 * Which peers are there: their versions are printed, and of those that are not, how to get them.
 *
 * @param wanted For each name its command, the arguments that show its version, and the Debian package where that has another name.
 */
export function peers(wanted) {
  return Object.fromEntries(
    Object.entries(wanted).map(([name, [command, args, pack = name]]) => {
      const version = versionOf(command, args);
      console.log(`peer: ${version ?? `${name} is not installed and left out (apt-get install ${pack})`}`);
      return [name, version !== undefined];
    })
  );
}

/** Runs contestants in turn, so that what else the machine does meets all of them alike. Seconds of each run, by name. */
export function inTurn(contestants, runs) {
  const seconds = Object.fromEntries(Object.keys(contestants).map(name => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const [name, contest] of Object.entries(contestants)) seconds[name].push(contest());
  }
  return seconds;
}

/** Medians, every run, and the ratio of each median to that of the first. */
export function printRatios(seconds) {
  const own = median(Object.values(seconds)[0]);
  for (const [name, list] of Object.entries(seconds)) {
    const middle = median(list);
    console.log(
      `${name.padEnd(32)} ${middle.toFixed(2).padStart(7)} s   (${list.map(s => s.toFixed(2)).join(', ')})   ratio ${(middle / own).toFixed(2)}`
    );
  }
}

/** Names of all, and contents of the files, below two directories are the same; throws else. */
export function mustEqual(expected, found, ignored = []) {
  const all = dir =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .map(entry => ({ path: join(entry.parentPath, entry.name).slice(dir.length + 1), entry }))
      .filter(({ path }) => !ignored.some(name => path === name || path.startsWith(`${name}/`)))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  const [left, right] = [all(expected), all(found)];
  if (left.length !== right.length) {
    throw new Error(`${left.length} entries in ${expected}, ${right.length} in ${found}`);
  }
  left.forEach(({ path, entry }, i) => {
    if (right[i].path !== path) throw new Error(`${path} is missing in ${found}`);
    if (!entry.isFile()) return;
    const [a, b] = [join(expected, path), join(found, path)];
    if (!readFileSync(a).equals(readFileSync(b))) throw new Error(`${path} differs in ${found}`);
  });
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

/** Processor time of a process so far, all its threads. */
export function processorSeconds(pid) {
  // Behind the name, which may hold anything: from the state on, utime and stime are the 12th and 13th, in ticks of 10 ms.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
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
