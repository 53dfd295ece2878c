/**
 * Much at once, with no scan but for a reason: each test ends when what is recorded is what is on disk, and nothing asks for it.
 * `SYFT_SCALE=20` does twenty times as much (120,000 creations, branches of 15,000 files); `SYFT_WATCHER` names another watcher.
 */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { untilRecorded } from './disk.ts';
import { until, Workspace } from './workspace.ts';

const SCALE = Number(process.env['SYFT_SCALE'] ?? 1);
const WATCHER = process.env['SYFT_WATCHER'] ?? 'fs-watch';
const PATIENCE = 60_000 * Math.max(1, SCALE / 2);
jest.setTimeout(3 * PATIENCE);
const options = { hints: WATCHER, scanIntervalMs: 3_600_000 };

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
});
afterEach(async () => {
  await w.close();
});

async function recorded(what: string, skip?: (path: string) => boolean): Promise<void> {
  // To compare is to read every file; that is put off while there is something to do.
  let seen = -1;
  for (let end = Date.now() + PATIENCE; Date.now() < end;) {
    if (seen === w.changes.length && w.recorder.status.pending === 0) break;
    seen = w.changes.length;
    await new Promise(resolve => setTimeout(resolve, 150));
  }
  await untilRecorded(w.root, () => w.recorder.tree, what, PATIENCE, skip);
}

/** Runs a script in a process of its own; its arguments are `process.argv` from 1 on. */
function script(text: string, ...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', text, ...args], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', code => {
      if (code === 0) resolve();
      else reject(new Error(`ended with ${code}`));
    });
  });
}

function git(...args: string[]): void {
  const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.org', '-c', 'init.defaultBranch=main'];
  execFileSync('git', ['-C', w.root, ...identity, '-c', 'gc.auto=0', ...args], { stdio: 'ignore' });
}

describe('bursts', () => {
  test('creations from four processes while the main thread is blocked for three seconds', async () => {
    await (await w.open(options)).start();
    const each = 1500 * SCALE;
    const writers = [0, 1, 2, 3].map(p =>
      script(
        `const [,root,p,n]=process.argv;for(let i=0;i<n;i++){const d=root+'/p'+p+'/d'+(i%50);if(i<50)fs.mkdirSync(d,{recursive:true});fs.writeFileSync(d+'/f'+i,p+' '+i)}`,
        w.root,
        String(p),
        String(each)
      )
    );
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    await Promise.all(writers);
    await recorded('all creations');
    expect(w.recorder.countFiles()).toBe(4 * each);
  });

  test('a storm of renames: files, directories, and directories that change places', async () => {
    for (let i = 0; i < 200; i += 1) w.write(`d${i % 20}/f${i}`, `${i}`);
    await (await w.open(options)).start();
    await script(
      `const [,root,n]=process.argv;let seed=7;const r=k=>(seed=(seed*1103515245+12345)&0x7fffffff)%k;
       const mv=(a,b)=>{try{fs.renameSync(root+'/'+a,root+'/'+b)}catch(e){if(!['ENOENT','ENOTEMPTY','EINVAL','EISDIR','ENOTDIR','EEXIST'].includes(e.code))throw e}};
       for(let i=0;i<n;i++){const a=r(20),b=r(20),k=r(4);
         if(k===0)mv('d'+a+'/f'+r(200),'d'+b+'/f'+r(200));
         else if(k===1){mv('d'+a,'swap');mv('d'+b,'d'+a);mv('swap','d'+b)}
         else if(k===2)mv('d'+a,'d'+b+'/in'+r(3));
         else mv('d'+b+'/in'+r(3),'d'+r(40));}`,
      w.root,
      String(1500 * SCALE)
    );
    await recorded('the last names');
    // Recorded under its last name, and watched under it.
    for (const path of [...w.recorder.tree.keys()].slice(0, 20)) w.write(path, 'after the storm');
    await recorded('written after the storm');
  });

  test('nested trees that come, are replaced under their names, and go', async () => {
    await (await w.open(options)).start();
    await script(
      `const [,root,n]=process.argv;for(let i=0;i<n;i++){const t=root+'/t'+(i%7);const d=t+'/u'+(i%3)+'/v'+i+'/w/x';fs.mkdirSync(d,{recursive:true});
       fs.writeFileSync(d+'/f','1 '+i);fs.writeFileSync(t+'/g'+i,'2 '+i);if(i%41===40)fs.rmSync(root+'/t'+((i+3)%7),{recursive:true,force:true})}`,
      w.root,
      String(500 * SCALE)
    );
    await recorded('the trees that stayed');
    for (const path of [...w.recorder.tree.keys()].filter(name => name.endsWith('/f')).slice(-30)) {
      w.write(path, 'later');
    }
    await recorded('written later');
  });

  test('rapid rewrites of many files by four processes', async () => {
    await (await w.open(options)).start();
    const writers = [0, 1, 2, 3].map(p =>
      script(
        `const [,root,p,ms]=process.argv;fs.mkdirSync(root+'/'+p);const end=Date.now()+Number(ms);for(let i=0;Date.now()<end;i++)fs.writeFileSync(root+'/'+p+'/f'+(i%25),String.fromCharCode(97+i%26).repeat(20000)+i)`,
        w.root,
        String(p),
        String(1000 * Math.min(SCALE, 10))
      )
    );
    await Promise.all(writers);
    await recorded('the last state of each');
    expect(w.recorder.countFiles()).toBe(100);
  });
});

describe('what people do', () => {
  test('git checkout back and forth between large branches', async () => {
    const n = 750 * SCALE;
    git('init', '-q');
    for (let i = 0; i < n; i += 1) w.write(`src/p${i % 60}/m${i}.py`, `one ${i}`);
    git('add', '.');
    git('commit', '-qm', 'one');
    git('checkout', '-qb', 'two');
    rmSync(w.path('src/p3'), { recursive: true });
    for (let i = 0; i < n; i += 1) if (i % 3 === 0) w.write(`src/p${i % 60}/m${i}.py`, `two ${i}`);
    for (let i = 0; i < n; i += 1) w.write(`lib/q${i % 80}/n${i}.py`, `two ${i}`);
    git('add', '-A', '.');
    git('commit', '-qm', 'two');
    await (await w.open(options)).start();
    const inGit = (path: string): boolean => path === '.git';
    for (const branch of ['main', 'two', 'main']) {
      git('checkout', '-q', branch);
      await recorded(`branch ${branch}`, inGit);
    }
    // Without a rest between them, too.
    for (const branch of ['two', 'main', 'two']) git('checkout', '-q', branch);
    await recorded('the last of three', inGit);
  });

  test('tar x', async () => {
    const packed = join(w.base, 'packed');
    for (let i = 0; i < 1000 * SCALE; i += 1) {
      const dir = join(packed, `a${i % 10}/b${i % 100}/c${i % 200}`);
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(dir, `f${i}`), `${i}`);
    }
    execFileSync('tar', ['cf', join(w.base, 't.tar'), '-C', packed, '.']);
    await (await w.open(options)).start();
    execFileSync('tar', ['xf', join(w.base, 't.tar'), '-C', w.root]);
    await recorded('all that was unpacked');
    // Over what is there: tar removes and creates anew.
    execFileSync('tar', ['xf', join(w.base, 't.tar'), '-C', w.root]);
    renameSync(w.path('a0'), w.path('a-renamed'));
    await recorded('unpacked again');
  });

  const pip = spawnSync('python3', ['-m', 'pip', '--version'], { stdio: 'ignore' }).status === 0;
  (pip ? test : test.skip)('pip install into a watched tree, and uninstall', async () => {
    const wheel = join(w.base, 'bulk-1.0-py3-none-any.whl');
    execFileSync('python3', [
      '-c',
      `import sys, zipfile
path, n = sys.argv[1], int(sys.argv[2])
with zipfile.ZipFile(path, 'w') as z:
    names = []
    for i in range(n):
        name = f'bulk/s{i % 40}/m{i}.py'
        z.writestr(name, f'x = {i}\\n'); names.append(name)
    z.writestr('bulk-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: bulk\\nVersion: 1.0\\n')
    z.writestr('bulk-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    names += ['bulk-1.0.dist-info/METADATA', 'bulk-1.0.dist-info/WHEEL', 'bulk-1.0.dist-info/RECORD']
    z.writestr('bulk-1.0.dist-info/RECORD', ''.join(f'{n},,\\n' for n in names))`,
      wheel,
      String(500 * SCALE)
    ]);
    await (await w.open(options)).start();
    const install = ['-m', 'pip', 'install', '-q', '--no-index', '--no-deps', '--disable-pip-version-check'];
    execFileSync('python3', [...install, '--target', w.path('site'), wheel], { stdio: 'ignore' });
    const cache = (path: string): boolean => path.endsWith('__pycache__');
    await recorded('what was installed', cache);
    expect(w.recorder.tree.has('site/bulk/s0/m0.py')).toBe(true);
    execFileSync('python3', [...install, '--upgrade', '--target', w.path('site'), wheel], { stdio: 'ignore' });
    await recorded('what was installed over it', cache);
    rmSync(w.path('site'), { recursive: true });
    await recorded('its removal', cache);
  });
});

describe('time', () => {
  // After a suspend the wall clock is ahead of the steady one; set by hand or by NTP, it may be either way.
  test.each([
    ['ahead, as after a suspend', 3_600_000],
    ['back', -3_600_000]
  ])('the clock jumps %s: the folder is scanned', async (_, jump) => {
    await (await w.open({ ...options, hints: 'none' })).start();
    w.write('unseen', '1');
    const clock = jest.spyOn(Date, 'now');
    try {
      clock.mockImplementation(() => Math.floor(performance.timeOrigin + performance.now()) + jump);
      await until(() => w.recorder.tree.has('unseen'), 'found by the scan');
      // And what is recorded from then on is in order, whatever the clock says.
      w.write('unseen', '22');
      await w.recorder.flush();
      const [first, second] = w.changes.filter(({ path }) => path === 'unseen');
      expect(second?.hlc ?? 0).toBeGreaterThan(first?.hlc ?? 0);
    } finally {
      clock.mockRestore();
    }
  });

  test('the main thread stands still: the folder is scanned', async () => {
    await (await w.open({ ...options, hints: 'none' })).start();
    // The first look at the clock.
    await new Promise(resolve => setTimeout(resolve, 600));
    w.write('unseen', '1');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
    await until(() => w.recorder.tree.has('unseen'), 'found by the scan');
  });
});
