/**
 * Restore of a whole tree as of a moment, against `restic restore`, `borg extract` and `git worktree add` of the same files in the same run.
 *
 *   node bench/restore.mjs [--files 10000] [--bytes 4096] [--runs 5]
 *
 * Method: the files are recorded by all, then half of them are changed and recorded again, so that the moment is not the last
 * one. The commands take turns, each into a fresh directory; a run is the whole process as seen from outside. What was restored is compared, byte for
 * byte, with a copy of the files. syft-sync is the only one that promises the files to be on disk when it returns; `+ sync` is the peer and `sync -f`
 * behind it. What was made is removed at the end only. Medians; the ratio is peer ÷ syft-sync.
 */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  describeMachine,
  inTurn,
  makeFiles,
  mustEqual,
  peers,
  printRatios,
  syftSync,
  textFile,
  time,
  workDirectory
} from './harness.mjs';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '10000' },
    bytes: { type: 'string', default: '4096' },
    runs: { type: 'string', default: '5' }
  }
});
const dir = workDirectory('restore');
const data = join(dir, 'data');
const copy = join(dir, 'copy');
mkdirSync(data);
makeFiles(data, Number(values.files), Number(values.bytes));
cpSync(data, copy, { recursive: true });

describeMachine();
const present = peers({
  restic: ['restic', ['version']],
  borg: ['borg', ['--version'], 'borgbackup'],
  git: ['git', ['--version']]
});
console.log(`data: ${values.files} files of ${values.bytes} bytes of text, ${values.runs} runs, medians`);

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
  BORG_BASE_DIR: join(dir, 'borg-base')
};
const log = join(dir, 'log');
const restic = join(dir, 'restic');
const borg = join(dir, 'borg');
const gitDir = join(dir, 'git');
const git = ['--git-dir', gitDir, '-c', 'user.name=b', '-c', 'user.email=b@b', '-c', 'gc.auto=0'];

const record = name => {
  time(syftSync, ['-C', data, '--log', log, '-q', 'capture'], { env });
  if (present.restic) time('restic', ['-r', restic, 'backup', '-q', '--tag', name, '.'], { env, cwd: data });
  if (present.borg) time('borg', ['create', `${borg}::${name}`, '.'], { env, cwd: data });
  if (!present.git) return;
  time('git', [...git, '--work-tree', data, 'add', '-A'], { env, cwd: data });
  time('git', [...git, '--work-tree', data, 'commit', '-qm', name], { env, cwd: data });
  time('git', [...git, 'tag', name], { env });
};
if (present.restic) time('restic', ['-r', restic, 'init', '-q'], { env });
if (present.borg) time('borg', ['init', '-e', 'none', borg], { env });
if (present.git) time('git', ['init', '-q', '--bare', gitDir], { env });
record('before');
await sleep(1000);
const moment = new Date().toISOString();
await sleep(1000);
readdirSync(data).forEach((sub, i) => {
  if (i % 2 === 1) return;
  for (const name of readdirSync(join(data, sub))) {
    writeFileSync(join(data, sub, name), textFile(`${sub}/${name} changed`, Number(values.bytes)));
  }
});
record('after');

let turn = 0;
const made = [];
function into(restore, ignored) {
  const target = join(dir, `out-${turn++}`);
  const seconds = restore(target);
  made.push({ target, ignored });
  return seconds;
}
const withSync = (restore, target) => restore(target) + time('sync', ['-f', dir]);
const resticRestore = target =>
  time('restic', ['-r', restic, 'restore', '--tag', 'before', 'latest', '--target', target], { env });
const borgExtract = target => {
  mkdirSync(target);
  return time('borg', ['extract', `${borg}::before`], { env, cwd: target });
};
const gitWorktree = target => time('git', [...git, 'worktree', 'add', '-q', '--detach', target, 'before'], { env });

const contestants = {
  'syft-sync restore --tree': () =>
    into(target =>
      time(syftSync, ['-C', data, '--log', log, '-q', 'restore', '--tree', '--at', moment, '--to', target], { env })
    ),
  ...(present.restic && {
    'restic restore': () => into(resticRestore),
    'restic restore + sync': () => into(target => withSync(resticRestore, target))
  }),
  ...(present.borg && {
    'borg extract': () => into(borgExtract),
    'borg extract + sync': () => into(target => withSync(borgExtract, target))
  }),
  ...(present.git && {
    'git worktree add': () => into(gitWorktree, ['.git']),
    'git worktree add + sync': () => into(target => withSync(gitWorktree, target), ['.git'])
  })
};
const seconds = inTurn(contestants, Number(values.runs));
for (const { target, ignored } of made) mustEqual(copy, target, ignored);
console.log(`all ${made.length} restored trees are equal to what was recorded`);
printRatios(seconds);
