/** What every hint source must do, by name: with it and nothing else to help, each change is recorded soon. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  appendFileSync,
  chmodSync
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HintSink, HintSource } from '../../../../server/src/capture/hints.ts';
import { fileSystemAt, remoteName } from '../../../../server/src/capture/hints/file-system.ts';
import { createHintSource, registerWatcher } from '../../../../server/src/capture/hints/registry.ts';
import { untilRecorded } from '../disk.ts';
import { sleep, until, Workspace } from '../workspace.ts';

// Nobody needs @parcel/watcher; where it is not installed it cannot be tested.
const installed = (() => {
  try {
    createRequire(import.meta.url).resolve('@parcel/watcher');
    return ['parcel'];
  } catch {
    return [];
  }
})();

// What an integrator may write: it knows nothing but that something happened.
registerWatcher('alarm', () => {
  let timer: NodeJS.Timeout | undefined;
  const source: HintSource = {
    kind: 'alarm',
    start: (_options, sink) => {
      timer = setInterval(() => {
        sink.lost('time has passed');
      }, 30);
      return Promise.resolve();
    },
    rulesChanged: () => Promise.resolve(),
    stop: () => {
      clearInterval(timer);
      return Promise.resolve();
    }
  };
  return source;
});

describe.each(['fs-watch', 'chokidar', ...installed, 'polling', 'alarm'])('%s', name => {
  let w: Workspace;
  beforeEach(() => {
    w = new Workspace();
  });
  afterEach(async () => {
    await w.close();
  });

  /** One that polls is given a short time to do so; all others must do without scans. */
  const options = { hints: name, scanIntervalMs: name === 'polling' ? 150 : 3_600_000 };
  const recorded = (what: string): Promise<void> => untilRecorded(w.root, () => w.recorder.tree, what, 20_000);

  test('each thing that happens to files and directories', async () => {
    w.write('a', '1');
    w.write('dir/x', 'x');
    w.write('dir/sub/y', 'y');
    w.write('other/z', 'z');
    await (await w.open(options)).start();
    expect(w.recorder.status.watcher.healthy).toBe(true);
    const steps: [string, () => void][] = [
      ['create', () => w.write('new', '1')],
      ['write in place', () => w.write('new', '22')],
      ['append', () => appendFileSync(w.path('dir/sub/y'), 'more')],
      [
        'replace by rename',
        () => {
          w.write('.t', '3');
          renameSync(w.path('.t'), w.path('new'));
        }
      ],
      ['link', () => symlinkSync('new', w.path('dir/link'))],
      ['mode', () => chmodSync(w.path('a'), 0o600)],
      ['new directories', () => w.write('p/q/r/s/t/u', '1')],
      ['write in a new directory', () => w.write('p/q/r/s/t/u', '2')],
      ['create in a new directory', () => w.write('p/q/r/v', '2')],
      ['rename a directory', () => renameSync(w.path('dir'), w.path('folder'))],
      ['write below a renamed directory', () => w.write('folder/sub/y', 'after')],
      ['create below a renamed directory', () => w.write('folder/sub/deep/w', 'after')],
      ['move a directory into another', () => renameSync(w.path('folder/sub'), w.path('p/sub'))],
      ['write below a moved directory', () => w.write('p/sub/deep/w', 'moved')],
      [
        'a directory replaced by a new one of its name',
        () => {
          rmSync(w.path('other'), { recursive: true });
          w.write('other/z', 'anew');
        }
      ],
      ['write in the replacement', () => w.write('other/z', 'anew again')],
      [
        'a directory replaced by renaming another over it',
        () => {
          rmSync(w.path('other'), { recursive: true });
          renameSync(w.path('p'), w.path('other'));
        }
      ],
      ['write below it', () => w.write('other/sub/y', 'last')],
      [
        'a directory that holds an entry of its own name',
        () => {
          w.write('same/same/same', '1');
        }
      ],
      ['write that entry', () => w.write('same/same/same', '2')],
      ['names', () => w.write('with space/ünïcødé 文件/new\nline', '1')],
      ['write under such names', () => w.write('with space/ünïcødé 文件/new\nline', '2')],
      ['empty directory', () => mkdirSync(w.path('empty'))],
      ['removal', () => rmSync(w.path('other'), { recursive: true })]
    ];
    for (const [what, act] of steps) {
      act();
      await recorded(what);
    }
  }, 60_000);

  test('names that are not UTF-8, of files and directories', async () => {
    await (await w.open(options)).start();
    const bad = Buffer.concat([Buffer.from(w.path('d/')), Buffer.from([0xff, 0x61])]);
    mkdirSync(w.path('d'));
    mkdirSync(bad);
    const file = Buffer.concat([bad, Buffer.from('/'), Buffer.from([0xfe])]);
    writeFileSync(file, '1');
    await recorded('created');
    // chokidar and @parcel/watcher cannot watch a directory with such a name; a scan sees to what is below.
    if (name === 'chokidar' || name === 'parcel') return;
    writeFileSync(file, '22');
    await recorded('written');
    writeFileSync(Buffer.concat([bad, Buffer.from('/plain')]), '1');
    await recorded('created beside');
  });

  test('patterns that change', async () => {
    w.write('data/deep/x', '1');
    w.write('.syftignore', 'data/\n');
    await (await w.open(options)).start();
    w.write('.syftignore', '# nothing\n');
    await recorded('no longer excluded');
    w.write('data/deep/x', '2');
    await recorded('watched now');
    w.write('data/deep/more/y', '2');
    await recorded('and below');
  });

  test('a new tree of nested directories, while it grows', async () => {
    await (await w.open(options)).start();
    for (let i = 0; i < 200; i += 1) {
      w.write(`t${i % 3}/u${i % 20}/v${i}/w/f`, `${i}`);
      if (i % 20 === 0) await sleep(5);
    }
    await recorded('the tree');
    for (let i = 0; i < 200; i += 1) w.write(`t${i % 3}/u${i % 20}/v${i}/w/f`, `again ${i}`);
    await recorded('written again');
  });

  test('the root is replaced by another directory, and comes back', async () => {
    w.write('a/b', '1');
    await (await w.open({ ...options, scanIntervalMs: 300 })).start();
    renameSync(w.root, `${w.root}.away`);
    await until(() => w.recorder.status.state === 'error', 'the error');
    renameSync(`${w.root}.away`, w.root);
    await until(() => w.recorder.status.state === 'recording', 'recovery');
    w.write('a/b', '2');
    await recorded('after it came back');
  });
});

describe.each(['fs-watch', 'chokidar', ...installed, 'polling'])('%s by itself', name => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'syft-hints-'));
    mkdirSync(join(dir, 'root'));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  function listener(): { sink: HintSink; told: Set<string>; health: boolean[] } {
    const told = new Set<string>();
    const health: boolean[] = [];
    const add = (paths: readonly string[]): void => {
      for (const path of paths) told.add(path);
    };
    return {
      told,
      health,
      sink: { paths: add, directories: add, lost: () => told.add('lost'), health: ok => health.push(ok) }
    };
  }

  const options = { root: '', excludePatterns: [], include: undefined, logPath: undefined };

  test('says that it is up, and nothing after it was stopped', async () => {
    const root = join(dir, 'root');
    const source = await createHintSource(name, root);
    const { sink, told, health } = listener();
    await source?.start({ ...options, root }, sink);
    await until(() => health.length > 0, 'health');
    expect(health).toEqual([true]);
    if (source?.polls !== true) {
      writeFileSync(join(root, 'a'), '1');
      await until(() => told.has('a') || told.has('lost'), 'a hint');
    }
    await source?.rulesChanged();
    await source?.stop();
    told.clear();
    writeFileSync(join(root, 'b'), '1');
    await sleep(150);
    expect([...told]).toEqual([]);
    await source?.stop();
  });

  test('what is excluded is not watched: no hints from within', async () => {
    if (name === 'polling') return;
    const root = join(dir, 'root');
    mkdirSync(join(root, 'log'));
    mkdirSync(join(root, 'node_modules/deep'), { recursive: true });
    const source = await createHintSource(name, root);
    const { sink, told } = listener();
    await source?.start({ ...options, root, excludePatterns: ['node_modules/'], logPath: 'log' }, sink);
    await sleep(50);
    told.clear();
    writeFileSync(join(root, 'log/x'), '1');
    writeFileSync(join(root, 'node_modules/deep/x'), '1');
    writeFileSync(join(root, 'seen'), '1');
    await until(() => told.has('seen'), 'a hint');
    await source?.stop();
    expect([...told].filter(path => path.includes('/'))).toEqual([]);
  });

  test('a root that is not there: it says so or gives up, and stops when told', async () => {
    const source = await createHintSource(name, join(dir, 'gone'));
    const { sink } = listener();
    await source?.start({ ...options, root: join(dir, 'gone') }, sink).catch(() => undefined);
    await source?.stop();
  });
});

describe('the registry', () => {
  test('refuses names that are taken, are none, or that nobody knows', async () => {
    const create = (): HintSource => {
      throw new Error('never called');
    };
    expect(() => {
      registerWatcher('polling', create);
    }).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    expect(() => {
      registerWatcher('Bad Name', create);
    }).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    await expect(createHintSource('fswatch', '/')).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: expect.stringContaining('fs-watch')
    });
    expect(await createHintSource('none', '/')).toBeUndefined();
  });

  test('on a local file system the default is fs-watch; one that others write to is polled', async () => {
    expect((await createHintSource('auto', tmpdir()))?.kind).toBe('fs-watch');
    // /proc is no file system to record; it stands for a type that is not in the list.
    expect(remoteName(fileSystemAt('/proc'))).toBeUndefined();
    expect([0x6969, 0xff534d42, 0x01021997, 0x65735546].map(remoteName)).toEqual(['nfs', 'cifs', '9p', 'fuse']);
    expect(fileSystemAt('/no/such/place')).toBe(0);
  });

  test('a module of the user’s, by its path; what it throws costs nothing but its hints', async () => {
    const w = new Workspace();
    try {
      const module = join(w.base, 'mine.mjs');
      writeFileSync(
        module,
        `export const createWatcher = root => ({
          kind: 'mine',
          start: async (options, sink) => { if (root !== options.root) throw new Error('another root'); sink.health(true, 'here'); sink.paths(['a']); },
          rulesChanged: async () => { throw new Error('not today'); },
          stop: async () => undefined
        });`
      );
      w.write('a', '1');
      await (await w.open({ hints: module, scanIntervalMs: 200 })).start();
      expect(w.recorder.status.watcher).toEqual({ kind: 'mine', healthy: true, detail: 'here' });
      w.write('.syftignore', '*.tmp\n');
      await until(() => !w.recorder.status.watcher.healthy, 'its failure');
      expect(w.recorder.status.watcher.detail).toContain('not today');
      w.write('b', '1');
      await untilRecorded(w.root, () => w.recorder.tree, 'by scans');
      writeFileSync(join(w.base, 'empty.mjs'), '');
      await expect(createHintSource(join(w.base, 'empty.mjs'), '/')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      await expect(createHintSource(join(w.base, 'none.mjs'), '/')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    } finally {
      await w.close();
    }
  });
});
