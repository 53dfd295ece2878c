import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from 'node:fs';
import type { HintSink, HintSource } from '../../../server/src/capture/hints.ts';
import { SyftError } from '../../../server/src/core/errors.ts';
import { MemoryLog } from './memory-log.ts';
import { sleep, until, Workspace } from './workspace.ts';

let w: Workspace;
beforeEach(() => {
  w = new Workspace();
});
afterEach(async () => {
  await w.close();
});

const sha = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');
const live = { hints: 'fs-watch', scanIntervalMs: 3_600_000 } as const;

/** Waits until the recorder has nothing to do and nothing new came for a while. */
async function quiet(ms = 700): Promise<void> {
  let since = Date.now();
  let seen = -1;
  await until(() => {
    if (w.changes.length !== seen || w.recorder.status.pending > 0) {
      seen = w.changes.length;
      since = Date.now();
    }
    return Date.now() - since > ms;
  }, 'quiet');
}

describe('while recording, without a scan to help', () => {
  test('what happens to files is recorded as what it was', async () => {
    w.write('a', '1');
    w.write('dir/x', 'x');
    await (await w.open(live)).start();
    w.taken();
    const steps: [string, () => void, string[]][] = [
      ['write', () => w.write('new', '1'), ['created new']],
      ['write in place', () => w.write('new', '2'), ['modified new']],
      [
        'save by temporary and rename: the temporary never shows',
        () => {
          w.write('.new.tmp', '3');
          renameSync(w.path('.new.tmp'), w.path('new'));
        },
        ['modified new']
      ],
      ['rename', () => renameSync(w.path('new'), w.path('newer')), ['moved new -> newer']],
      ['directory renamed', () => renameSync(w.path('dir'), w.path('folder')), ['moved dir/x -> folder/x']],
      ['write in the renamed directory', () => w.write('folder/x', 'xx'), ['modified folder/x']],
      ['new directories with a file', () => w.write('p/q/r/s', '1'), ['created p/q/r/s']],
      ['write in a new directory', () => w.write('p/q/r/s', '2'), ['modified p/q/r/s']],
      ['new file in a new directory', () => w.write('p/q/t', '2'), ['created p/q/t']],
      ['touch', () => utimesSync(w.path('a'), 1, 1), []],
      ['mode', () => chmodSync(w.path('a'), 0o600), ['modified a']],
      ['removal', () => rmSync(w.path('p'), { recursive: true }), ['deleted p/q/r/s', 'deleted p/q/t']],
      [
        'swap',
        () => {
          renameSync(w.path('a'), w.path('t'));
          renameSync(w.path('newer'), w.path('a'));
          renameSync(w.path('t'), w.path('newer'));
        },
        ['moved a -> newer', 'moved newer -> a']
      ]
    ];
    for (const [name, act, expected] of steps) {
      act();
      if (expected.length > 0) await until(() => w.changes.length >= expected.length, name);
      await quiet(250);
      expect([name, ...w.taken().sort()]).toEqual([name, ...expected]);
    }
  }, 30_000);

  test('an empty directory is recorded when it stays empty, and makes no noise when it fills', async () => {
    await (await w.open(live)).start();
    mkdirSync(w.path('stays'));
    mkdirSync(w.path('fills'));
    await sleep(150);
    w.write('fills/f');
    await until(() => w.changes.length >= 2, 'both');
    await quiet();
    expect(w.taken().sort()).toEqual(['created fills/f', 'created stays (directory)']);
    rmSync(w.path('stays'), { recursive: true });
    await until(() => w.changes.length >= 1, 'removal');
    expect(w.taken()).toEqual(['deleted stays (directory)']);
  });

  test('names that are not UTF-8', async () => {
    await (await w.open(live)).start();
    mkdirSync(w.path('d'));
    writeFileSync(Buffer.concat([Buffer.from(w.path('d/')), Buffer.from([0xff])]), '1');
    await until(() => w.recorder.tree.has('d/\uDCFF'), 'recorded');
    writeFileSync(Buffer.concat([Buffer.from(w.path('d/')), Buffer.from([0xff])]), '2');
    await until(() => w.recorder.tree.get('d/\uDCFF')?.hash === sha('2'), 'its next version');
  });

  test('patterns take effect at once, both ways', async () => {
    w.write('data/x.csv', '1');
    w.write('.syftignore', 'data/\n');
    await (await w.open(live)).start();
    expect(w.taken()).toEqual(['created .syftignore']);
    w.write('.syftignore', '*.tmp\n');
    await until(() => w.recorder.tree.has('data/x.csv'), 'no longer excluded');
    w.write('data/x.csv', '2');
    await until(() => w.recorder.tree.get('data/x.csv')?.hash === sha('2'), 'watched as well');
    w.write('a.tmp', '1');
    w.write('data/.syftignore', '*.csv\n');
    await quiet();
    w.write('data/x.csv', '3');
    await quiet();
    expect(w.recorder.tree.get('data/x.csv')?.hash).toBe(sha('2'));
    expect(w.recorder.tree.has('a.tmp')).toBe(false);
  });

  test('a path rewritten without pause is versioned now and then, its last state always', async () => {
    await (await w.open(live)).start();
    const end = Date.now() + 3000;
    let n = 0;
    while (Date.now() < end) {
      w.write('busy', String(n++));
      await sleep(3);
    }
    await until(() => w.recorder.tree.get('busy')?.hash === sha(String(n - 1)), 'the last state');
    const versions = w.changes.filter(c => c.path === 'busy').length;
    expect(versions).toBeGreaterThanOrEqual(3);
    expect(versions).toBeLessThan(30);
  });

  test('flush: what stood on disk at the call is durable when it returns, hints or not', async () => {
    await (await w.open(live)).start();
    for (let i = 0; i < 30; i += 1) {
      w.write(`f${i % 3}`, String(i));
      await w.recorder.flush();
      expect(w.recorder.tree.get(`f${i % 3}`)?.hash).toBe(sha(String(i)));
    }
  });

  test('flush while a large file is being read: what has taken its place by then is recorded too', async () => {
    await (await w.open({ hints: 'none' })).start();
    for (let round = 0; round < 4; round += 1) {
      w.write('big', Buffer.alloc(24 * 1024 * 1024, round));
      const reading = w.recorder.flush();
      await until(() => w.recorder.status.pending > 0, 'being read');
      const next = Buffer.alloc(24 * 1024 * 1024, `round ${round}`);
      w.write('next', next);
      renameSync(w.path('next'), w.path('big'));
      await w.recorder.flush();
      expect(w.recorder.tree.get('big')?.hash).toBe(sha(next));
      await reading;
    }
  });

  test('a directory moved away with a link left in its place is not recorded twice, nor is what the link leads to', async () => {
    w.write('data/a', '1');
    w.write('data/deep/b', '1');
    mkdirSync(`${w.base}/outside`);
    await (await w.open(live)).start();
    w.taken();
    renameSync(w.path('data'), w.path('moved'));
    symlinkSync('moved', w.path('data'));
    await until(() => w.changes.length >= 3, 'moved');
    await quiet(250);
    expect(w.taken().sort()).toEqual([
      'created data (symlink)',
      'moved data/a -> moved/a',
      'moved data/deep/b -> moved/deep/b'
    ]);
    renameSync(w.path('moved'), `${w.base}/outside/moved`);
    rmSync(w.path('data'));
    symlinkSync(`${w.base}/outside/moved`, w.path('data'));
    await w.recorder.flush();
    writeFileSync(`${w.base}/outside/moved/a`, 'not ours');
    await w.recorder.flush();
    await w.recorder.captureNow(['data/a', 'data/deep']);
    expect([...w.recorder.tree.keys()]).toEqual(['data']);
  });

  test.each([
    ['small', 5000],
    ['large', 3 * 1024 * 1024]
  ])(
    'a %s file written through a memory map, which leaves no trace, is recorded as it is in the end',
    async (_, size) => {
      w.write('mapped', Buffer.alloc(size));
      await (await w.open({ ...live, hints: 'none' })).start();
      const child = spawn(
        'python3',
        [
          '-c',
          `import mmap, sys
f = open(sys.argv[1], 'r+b')
m = mmap.mmap(f.fileno(), 0)
f.close()
for line in sys.stdin:
    m[0:5] = line[0:5].encode()
    print('done', flush=True)`,
          w.path('mapped')
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] }
      );
      const put = async (text: string): Promise<void> => {
        child.stdin.write(`${text}\n`);
        await new Promise(resolve => child.stdout.once('data', resolve));
      };
      const clock = jest.spyOn(Date, 'now');
      try {
        await put('first');
        // Past the time in which a change could hide behind a coarse clock.
        await until(() => Date.now() - statSync(w.path('mapped')).ctimeMs > 50, 'a moment');
        await w.recorder.flush();
        const known = statSync(w.path('mapped'), { bigint: true });
        await put('later');
        await w.recorder.flush();
        const { mtimeNs, ctimeNs } = statSync(w.path('mapped'), { bigint: true });
        if (mtimeNs !== known.mtimeNs || ctimeNs !== known.ctimeNs) console.warn('this file system does leave a trace');
        clock.mockImplementation(() => Math.floor(performance.timeOrigin + performance.now()) + 60_000);
        await w.recorder.flush();
        expect(w.recorder.tree.get('mapped')?.hash).toBe(sha(readFileSync(w.path('mapped'))));
        const versions = w.changes.length;
        await w.recorder.flush();
        expect(w.changes.length).toBe(versions);
      } finally {
        clock.mockRestore();
        child.kill();
      }
    }
  );

  test.each([
    ['', 0],
    // As those of a file whose size has been set and whose times have not.
    [', though its times lie far back', 60_000]
  ])(
    'a file that is emptied in order to be written anew does not show as empty%s; one that stays empty does',
    async (_, ahead) => {
      w.write('a', 'before');
      await (await w.open(live)).start();
      w.taken();
      const now = Date.now.bind(Date);
      const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + ahead);
      try {
        w.write('a', '');
        await sleep(100);
        w.write('a', 'after');
        await until(() => w.recorder.tree.get('a')?.hash === sha(Buffer.from('after')), 'the new content');
        expect(w.taken()).toEqual(['modified a']);
        w.write('a', '');
        await until(() => w.recorder.tree.get('a')?.size === 0, 'the empty file');
      } finally {
        clock.mockRestore();
      }
      // Whoever asks for the state of now gets it.
      w.write('b', '');
      await w.recorder.flush();
      expect(w.recorder.tree.get('b')?.size).toBe(0);
    }
  );

  test('paused, nothing is recorded; resumed, all of it is', async () => {
    await (await w.open(live)).start();
    w.recorder.pause();
    expect(w.recorder.status.state).toBe('paused');
    w.write('a', '1');
    w.write('b', '1');
    await sleep(500);
    expect(w.taken()).toEqual([]);
    w.recorder.resume();
    await until(() => w.recorder.tree.size === 2, 'both');
    expect(w.recorder.status.state).toBe('recording');
  });

  test('stop records what is pending', async () => {
    await (await w.open(live)).start();
    w.write('last', 'words');
    await w.recorder.stop();
    expect(w.recorder.tree.get('last')?.hash).toBe(sha('words'));
    expect(w.recorder.status.state).toBe('stopped');
    await expect(w.recorder.capture()).rejects.toMatchObject({ code: 'NOT_RUNNING' });
  });

  test('changes are told in the order of the log, each once', async () => {
    await (await w.open(live)).start();
    for (let i = 0; i < 300; i += 1) {
      w.write(`f${i % 40}`, String(i));
      if (i % 50 === 0) await sleep(30);
    }
    await w.recorder.flush();
    expect(w.changes.map(c => c.seq)).toEqual(w.changes.map((_, i) => i + 1));
  });
});

describe('when something goes wrong', () => {
  test('the root vanishes: no deletion is recorded, and recording goes on when it is back', async () => {
    w.write('a', '1');
    w.write('d/b', '1');
    await (await w.open({ ...live, scanIntervalMs: 500 })).start();
    w.taken();
    renameSync(w.root, `${w.root}.away`);
    await until(() => w.recorder.status.state === 'error', 'the error');
    expect(w.recorder.status.error?.code).toBe('WATCH_PATH_MISSING');
    await expect(w.recorder.flush()).rejects.toMatchObject({ code: 'WATCH_PATH_MISSING' });
    mkdirSync(w.root);
    await sleep(1200);
    expect(w.recorder.status.state).toBe('error');
    rmSync(w.root, { recursive: true });
    renameSync(`${w.root}.away`, w.root);
    await until(() => w.recorder.status.state === 'recording', 'recovery');
    expect(w.taken()).toEqual([]);
    w.write('d/b', '2');
    await until(() => w.recorder.tree.get('d/b')?.hash === sha('2'), 'recording');
  });

  test('the log vanishes: nothing passes for recorded that is not, and recording goes on when it is back', async () => {
    w.write('a', '1');
    await (await w.open(live)).start();
    w.taken();
    renameSync(w.logDir, `${w.logDir}.away`);
    w.write('a', '2');
    await expect(w.recorder.flush()).rejects.toMatchObject({ code: 'LOG_MISSING' });
    expect(w.recorder.status).toMatchObject({ state: 'error', error: { code: 'LOG_MISSING' } });
    expect(w.taken()).toEqual([]);
    renameSync(`${w.logDir}.away`, w.logDir);
    await until(() => w.recorder.status.state === 'recording', 'recovery');
    expect(w.recorder.tree.get('a')?.hash).toBe(sha('2'));
  });

  test('rm -rf of the root with all in it is no mass deletion', async () => {
    for (let i = 0; i < 50; i += 1) w.write(`d${i % 5}/${i}`);
    await (await w.open(live)).start();
    w.taken();
    rmSync(w.root, { recursive: true });
    await until(() => w.recorder.status.state === 'error', 'the error');
    expect(w.taken()).toEqual([]);
    expect(w.recorder.tree.size).toBe(50);
  });

  test('emptied by its user, it is empty', async () => {
    for (let i = 0; i < 50; i += 1) w.write(`d${i % 5}/${i}`);
    await (await w.open(live)).start();
    for (let i = 0; i < 5; i += 1) rmSync(w.path(`d${i}`), { recursive: true });
    await until(() => w.recorder.tree.size === 0, 'all deleted');
  });

  test('the log refuses for a while: nothing is lost, and recording resumes by itself', async () => {
    const log = new MemoryLog();
    await (await w.open({ ...live, log })).start();
    log.refuse = new SyftError('DISK_FULL', 'The disk is full');
    for (let i = 0; i < 20; i += 1) w.write(`f${i}`, `${i}`);
    await until(() => w.recorder.status.state === 'error', 'the error');
    expect(w.recorder.status.error).toMatchObject({ code: 'DISK_FULL' });
    renameSync(w.path('f0'), w.path('g0'));
    await sleep(600);
    log.refuse = undefined;
    await until(() => w.recorder.status.state === 'recording' && w.recorder.tree.size === 20, 'all recorded');
    expect(w.recorder.tree.get('g0')?.hash).toBe(sha('0'));
  });

  test('a capture that waits for a file at rest is told when the log refuses, instead of waiting for ever', async () => {
    const log = new MemoryLog();
    await w.open({ log });
    w.write('half.ipynb', '{"cells": [');
    w.write('a', '1');
    const captured = w.recorder.capture();
    await until(() => w.recorder.tree.has('a'), 'the first pass');
    log.refuse = new SyftError('DISK_FULL', 'The disk is full');
    await expect(captured).rejects.toMatchObject({ code: 'DISK_FULL' });
    log.refuse = undefined;
    await w.recorder.capture();
    expect(w.recorder.tree.get('half.ipynb')?.flags).toEqual(['torn']);
    expect(w.recorder.status.pending).toBe(0);
  });

  test('a watcher that reports it cannot watch: scans do its work, and the status says so', async () => {
    let sink: HintSink | undefined;
    const broken: HintSource = {
      kind: 'broken',
      start: (_options, s) => {
        sink = s;
        s.health(false, 'no more watches');
        return Promise.resolve();
      },
      rulesChanged: () => Promise.resolve(),
      stop: () => Promise.resolve()
    };
    await (await w.open({ hints: broken })).start();
    expect(w.recorder.status.watcher).toEqual({ kind: 'broken', healthy: false, detail: 'no more watches' });
    w.write('a', '1');
    await until(() => w.recorder.tree.has('a'), 'found by a scan');
    w.write('a', '2');
    sink?.lost('queue overflow');
    await until(() => w.recorder.tree.get('a')?.hash === sha('2'), 'found by a scan');
  });

  test('a hint that names nothing, or the impossible, does no harm', async () => {
    let sink: HintSink | undefined;
    const source: HintSource = {
      kind: 'wild',
      start: (_options, s) => {
        sink = s;
        return Promise.resolve();
      },
      rulesChanged: () => Promise.resolve(),
      stop: () => Promise.resolve()
    };
    w.write('a/b/c', '1');
    await (await w.open({ hints: source })).start();
    w.taken();
    sink?.paths(['nothing', 'a/b/c/d', 'a/nothing/at/all', 'a', 'a/b', `${'x/'.repeat(3000)}y`]);
    sink?.directories(['', 'a', 'gone']);
    w.write('a/b/c', '2');
    sink?.paths(['a/b/c']);
    await until(() => w.recorder.tree.get('a/b/c')?.hash === sha('2'), 'the real one');
    expect(w.taken()).toEqual(['modified a/b/c']);
  });

  test('a renamed directory keeps its history when only its old name was told of', async () => {
    let sink: HintSink | undefined;
    const half: HintSource = {
      kind: 'half',
      start: (_options, s) => {
        sink = s;
        return Promise.resolve();
      },
      rulesChanged: () => Promise.resolve(),
      stop: () => Promise.resolve()
    };
    w.write('top/dir/x', 'x');
    w.write('top/stays', 's');
    await (await w.open({ hints: half, scanIntervalMs: 3_600_000 })).start();
    w.taken();
    renameSync(w.path('top/dir'), w.path('top/folder'));
    sink?.paths(['top/dir/x']);
    await until(() => w.recorder.tree.has('top/folder/x'), 'found beside');
    expect(w.taken()).toEqual(['moved top/dir/x -> top/folder/x']);
  });

  test('a file that vanishes while it is looked at', async () => {
    await (await w.open(live)).start();
    const child = spawn(
      process.execPath,
      [
        '-e',
        `const end=Date.now()+2000;let i=0;while(Date.now()<end){const p=process.argv[1]+'/v'+(i++%50);fs.writeFileSync(p,'x'.repeat(i%5000));fs.unlinkSync(p)}fs.writeFileSync(process.argv[1]+'/done','1')`,
        w.root
      ],
      { stdio: 'inherit' }
    );
    await new Promise(resolve => child.once('exit', resolve));
    await w.recorder.flush();
    expect([...w.recorder.tree.keys()]).toEqual(['done']);
    expect(w.recorder.status.state).toBe('recording');
  });
});

describe('bursts', () => {
  test('10,000 files in 2,000 new nested directories by another process are all there, without a flush', async () => {
    await (await w.open({ hints: 'fs-watch' })).start();
    execFileSync(
      process.execPath,
      [
        '-e',
        `const root=process.argv[1];let n=0;for(let i=0;i<2000;i++){const d=root+'/t'+(i%10)+'/u'+(i%100)+'/v'+i;fs.mkdirSync(d,{recursive:true});for(let k=0;k<5;k++)fs.writeFileSync(d+'/f'+k,'content '+(n++))}`,
        w.root
      ],
      { stdio: 'inherit' }
    );
    await until(() => w.recorder.tree.size === 10_000, 'all 10,000', 60_000);
    let n = 0;
    for (let i = 0; i < 2000; i += 1) {
      for (let k = 0; k < 5; k += 1) {
        const path = `t${i % 10}/u${i % 100}/v${i}/f${k}`;
        if (w.recorder.tree.get(path)?.hash !== sha(`content ${n}`)) throw new Error(`${path} is not what was written`);
        n += 1;
      }
    }
    // Started anew with nothing changed, with what is known of the files and without: not one version more.
    for (const forget of [false, true]) {
      await w.recorder.stop();
      w.taken();
      if (forget) rmSync(w.cacheDir, { recursive: true });
      await (await w.open({ hints: 'fs-watch' })).start();
      await w.recorder.flush();
      expect(w.taken()).toEqual([]);
      expect(w.recorder.tree.size).toBe(10_000);
    }
  }, 120_000);
});

describe('notebooks saved in place, as Jupyter does', () => {
  const SAVES = Number(process.env.SYFT_NOTEBOOK_SAVES ?? 10_000);

  test(`${SAVES} saves give no half-written version that is not flagged`, async () => {
    await (await w.open({ hints: 'fs-watch' })).start();
    const child = spawn(
      process.execPath,
      [
        '-e',
        `const [root,n]=process.argv.slice(1);
        const nb=i=>JSON.stringify({cells:Array.from({length:20},(_,k)=>({cell_type:'code',id:'c'+k,source:['x = '+i+'\\n'],outputs:[{text:('out '+i+' ').repeat(40)}]})),nbformat:4},null,1);
        const wait=ms=>Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,ms);
        for(let i=0;i<n;i++){
          const p=root+'/n'+(i%7)+'.ipynb', c=root+'/.~n'+(i%7)+'.ipynb', b=Buffer.from(nb(i));
          const copy=i%2===0&&fs.existsSync(p); if(copy) fs.copyFileSync(p,c);
          const fd=fs.openSync(p,'w'); const cut=1+(i*997)%(b.length-2);
          fs.writeSync(fd,b,0,cut); if(i%9===0) wait(i%180===0?35:1); fs.writeSync(fd,b,cut); if(i%8===0) fs.fsyncSync(fd); fs.closeSync(fd);
          if(copy) fs.unlinkSync(c); if(i%20===0) wait(5);
        }`,
        w.root,
        String(SAVES)
      ],
      { stdio: 'inherit' }
    );
    const status = await new Promise(resolve => child.once('exit', resolve));
    expect(status).toBe(0);
    await w.recorder.flush();
    const versions = w.changes.filter(change => change.kind !== 'deleted');
    expect(versions.length).toBeGreaterThan(20);
    let torn = 0;
    for (const change of versions) {
      expect(change.path).toMatch(/^n\d\.ipynb$/);
      try {
        JSON.parse((await w.content(change)).toString());
      } catch {
        if (!change.flags.includes('torn')) torn += 1;
      }
    }
    expect(torn).toBe(0);
    for (let k = 0; k < 7; k += 1) {
      const change = w.recorder.tree.get(`n${k}.ipynb`);
      expect(change).toMatchObject({ flags: [], hash: sha(readFileSync(w.path(`n${k}.ipynb`))) });
    }
  }, 600_000);
});
