/**
 * A large file, captured, restored, checked, shown and compared: the peak memory of each process, which must not grow with the file.
 *
 *   node bench/large-file.mjs [--gib 5]
 *
 * The file cannot be compressed (random bytes), so the log takes as much again, and so does what is restored: 3 × the size is
 * needed below TMPDIR. Peak: VmHWM of the process, read every 100 ms from /proc.
 */
import { createHash, randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  createReadStream,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync
} from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, syftSync, workDirectory } from './harness.mjs';

const { values } = parseArgs({ options: { gib: { type: 'string', default: '5' } } });
const size = Math.round(Number(values.gib) * 2 ** 30);
const dir = workDirectory('large-file');
const data = join(dir, 'data');
const out = join(dir, 'out');
const home = join(dir, 'home');
const log = join(dir, 'log');
for (const each of [data, out, home]) mkdirSync(each);
const env = { ...process.env, HOME: home, SYFT_SYNC_HOME: home };

const fd = openSync(join(data, 'large.bin'), 'w');
const written = createHash('sha256');
for (let at = 0; at < size;) {
  const piece = randomBytes(Math.min(2 ** 24, size - at));
  written.update(piece);
  writeSync(fd, piece);
  at += piece.length;
}
closeSync(fd);

/** Runs a command; its output, seconds, and peak of resident memory in MiB. `counted`: only how much it prints. */
function run(args, counted = false) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(syftSync, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let peak = 0;
    const look = setInterval(() => {
      try {
        const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
        peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
      } catch {
        // It has just ended.
      }
    }, 100);
    let output = '';
    let bytes = 0;
    child.stdout.on('data', piece => {
      bytes += piece.length;
      if (!counted) output += piece;
    });
    child.on('error', reject);
    child.on('close', code => {
      clearInterval(look);
      if (code === 0) resolve({ output, bytes, peak, seconds: (performance.now() - started) / 1000 });
      else reject(new Error(`${args.join(' ')}: exit status ${code}`));
    });
  });
}

async function hashOf(path) {
  const read = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 2 ** 22 })) read.update(piece);
  return read.digest('hex');
}

try {
  describeMachine();
  console.log(`a file of ${values.gib} GiB`);
  const shared = ['-C', data, '--log', log];
  const line = (what, { seconds, peak }) =>
    console.log(
      `${what}: ${seconds.toFixed(1)} s, ${(size / 2 ** 20 / seconds).toFixed(0)} MiB/s, peak ${peak.toFixed(0)} MiB`
    );
  line('capture', await run([...shared, '-q', '--max-content', String(size), 'capture']));
  const history = await run([...shared, '--json', 'history', 'large.bin']);
  const { versionId } = JSON.parse(history.output.trim().split('\n')[0]);
  const to = join(out, 'large.bin');
  line('restore', await run([...shared, '-q', 'restore', versionId, '--to', to]));
  if (statSync(to).size !== size || (await hashOf(to)) !== written.digest('hex')) {
    throw new Error('what was restored differs');
  }
  line('fsck --read-data', await run([...shared, '-q', 'fsck', '--read-data']));
  const shown = await run([...shared, 'show', versionId], true);
  if (shown.bytes !== size) throw new Error(`show printed ${shown.bytes} bytes`);
  line('show', shown);
  line('diff with the file', await run([...shared, '-q', 'diff', versionId], true));
  const segments = readdirSync(join(log, 'log'), { recursive: true }).filter(name => name.endsWith('.seg'));
  console.log(`the log: ${segments.length} segments; what was restored is equal`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
