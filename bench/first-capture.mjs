/**
 * First capture of many small files, durable at the end, against `git add` + `git commit` and `restic backup` on the same
 * files in the same run.
 *
 *   node bench/first-capture.mjs [--files 100000] [--bytes 4096] [--runs 3]
 *
 * Method: files are made once and read once (warm cache); then the commands take turns, each on a fresh target; a run is the
 * whole process as seen from outside. git runs as it is installed, and once more with loose objects synced
 * (`core.fsync=loose-object`), which is what syft-sync and restic promise. Medians; the ratio is peer ÷ syft-sync.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, makeFiles, median, syftSync, time, versionOf, workDirectory } from './harness.mjs';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    bytes: { type: 'string', default: '4096' },
    runs: { type: 'string', default: '3' }
  }
});
const dir = workDirectory('capture');
const data = join(dir, 'data');
mkdirSync(data);
makeFiles(data, Number(values.files), Number(values.bytes));
time('find', [data, '-type', 'f', '-exec', 'cat', '{}', '+']);

describeMachine();
console.log(`data: ${values.files} files of ${values.bytes} bytes of text, warm cache, ${values.runs} runs, medians`);

let turn = 0;
const fresh = name => join(dir, `${name}-${turn++}`);
const password = join(dir, 'password');
writeFileSync(password, 'bench\n');
const home = join(dir, 'home');
mkdirSync(home);
const env = {
  ...process.env,
  HOME: home,
  SYFT_SYNC_HOME: home,
  RESTIC_PASSWORD_FILE: password,
  RESTIC_CACHE_DIR: join(dir, 'restic-cache')
};

function git(config) {
  const gitDir = fresh('git');
  time('git', ['init', '-q', '--bare', gitDir], { env });
  const options = [
    '--git-dir',
    gitDir,
    '--work-tree',
    data,
    ...config.flatMap(item => ['-c', item]),
    '-c',
    'user.name=b',
    '-c',
    'user.email=b@b',
    '-c',
    'gc.auto=0'
  ];
  const seconds =
    time('git', [...options, 'add', '-A'], { env, cwd: data }) +
    time('git', [...options, 'commit', '-qm', 'b'], { env, cwd: data });
  rmSync(gitDir, { recursive: true, force: true });
  return seconds;
}

const contestants = {
  'syft-sync capture': () => {
    const log = fresh('log');
    const seconds = time(syftSync, ['-C', data, '--log', log, '-q', 'capture'], { env });
    rmSync(log, { recursive: true, force: true });
    return seconds;
  },
  ...(versionOf('restic', ['version']) !== undefined && {
    'restic backup': () => {
      const repo = fresh('restic');
      time('restic', ['-r', repo, 'init', '-q'], { env });
      const seconds = time('restic', ['-r', repo, 'backup', '-q', data], { env });
      rmSync(repo, { recursive: true, force: true });
      return seconds;
    }
  }),
  'git add + commit': () => git([]),
  'git add + commit, synced': () => git(['core.fsync=loose-object', 'core.fsyncMethod=fsync'])
};
if (!('restic backup' in contestants)) console.log('restic is not installed: left out (apt-get install restic)');
else console.log(`peers: ${versionOf('restic', ['version'])}; ${versionOf('git')}`);

const seconds = Object.fromEntries(Object.keys(contestants).map(name => [name, []]));
for (let run = 0; run < Number(values.runs); run++) {
  for (const [name, contest] of Object.entries(contestants)) seconds[name].push(contest());
}
const own = median(seconds['syft-sync capture']);
for (const [name, list] of Object.entries(seconds)) {
  const middle = median(list);
  console.log(
    `${name.padEnd(26)} ${middle.toFixed(2).padStart(7)} s   (${list.map(s => s.toFixed(2)).join(', ')})   ratio ${(middle / own).toFixed(2)}`
  );
}
