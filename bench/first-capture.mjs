/**
 * First capture of many small files, durable at the end, beside the limit (`bench/limit.mjs`) and `restic backup`, `borg create` and
 * `git add` + `git commit` on the same files in the same run.
 *
 *   node bench/first-capture.mjs [--files 100000] [--bytes 4096] [--runs 3]
 *
 * Method: files are made once and read once (warm cache); then the commands take turns, each on a fresh target; a run is the
 * whole process as seen from outside. git runs as it is installed, and once more with loose objects synced
 * (`core.fsync=loose-object`), which is what syft-sync and restic promise. What was made is removed at the end only: a file
 * system that has just freed a hundred thousand inodes makes whoever comes next wait. Medians; the ratio is peer ÷ syft-sync.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { describeMachine, inTurn, makeFiles, peers, printRatios, syftSync, time, workDirectory } from './harness.mjs';

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
  RESTIC_CACHE_DIR: join(dir, 'restic-cache'),
  BORG_BASE_DIR: join(dir, 'borg')
};
const limit = fileURLToPath(new URL('limit.mjs', import.meta.url));
const present = peers({
  restic: ['restic', ['version']],
  borg: ['borg', ['--version'], 'borgbackup'],
  git: ['git', ['--version']]
});

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
  return (
    time('git', [...options, 'add', '-A'], { env, cwd: data }) +
    time('git', [...options, 'commit', '-qm', 'b'], { env, cwd: data })
  );
}

const contestants = {
  'syft-sync capture': () => time(syftSync, ['-C', data, '--log', fresh('log'), '-q', 'capture'], { env }),
  'the limit': () => time(process.execPath, [limit, data, fresh('limit')]),
  ...(present.restic && {
    'restic backup': () => {
      const repo = fresh('restic');
      time('restic', ['-r', repo, 'init', '-q'], { env });
      return time('restic', ['-r', repo, 'backup', '-q', data], { env });
    }
  }),
  ...(present.borg && {
    'borg create': () => {
      const repo = fresh('borg');
      time('borg', ['init', '-e', 'none', repo], { env });
      return time('borg', ['create', `${repo}::a`, '.'], { env, cwd: data });
    }
  }),
  ...(present.git && {
    'git add + commit': () => git([]),
    'git add + commit, synced': () => git(['core.fsync=loose-object', 'core.fsyncMethod=fsync'])
  })
};
printRatios(inTurn(contestants, Number(values.runs)));
