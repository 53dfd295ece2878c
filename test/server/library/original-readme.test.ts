/** Every usage example of the original's README, in its TypeScript form, runs as it stands there. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdir, mkdtemp, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import {
  AppendOnlyLogWatcher,
  BaseWatcher,
  EventHandler,
  LogExplorer,
  LogStorage,
  SyftAppendOnlyLogWatcher,
  SyftLogReceiver,
  type FileEvent
} from '../../../server/src/index.ts';

let dir: string;
let data: string;
const at = (...parts: string[]): string => join(dir, ...parts);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'syft-readme-'));
  process.env['SYFT_SYNC_HOME'] = join(dir, 'home');
  data = at('data');
  await mkdir(data);
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** Waits until `check` holds; the suite's own time-out is the limit. */
async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await check())) await new Promise(resolve => setTimeout(resolve, 20));
}

const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** A terminal made of two streams. */
function terminal(): { input: PassThrough; output: PassThrough; screen: () => string } {
  const input = new PassThrough();
  const output = new PassThrough();
  let shown = '';
  output.on('data', (piece: Buffer) => (shown += piece.toString()));
  return { input, output, screen: () => shown };
}

describe('the examples of the original README', () => {
  test('Quick Start: watch, change, stop, explore', async () => {
    const watcher = new AppendOnlyLogWatcher({
      watchPath: at('my_project'),
      logPath: at('my_project_log'),
      verbose: false
    });
    await mkdir(at('my_project'));
    await watcher.start();
    await writeFile(at('my_project', 'notes.txt'), 'first');
    await watcher.flush();
    await watcher.stop();

    const tty = terminal();
    const exploring = watcher.exploreLog(tty);
    await until(() => tty.screen().includes('notes.txt'));
    tty.input.write('q');
    await exploring;
    expect(tty.screen()).toContain('1 ver.');
  });

  test('Basic File Watching: a scope records, its history can be asked for afterwards', async () => {
    const watcher = new AppendOnlyLogWatcher(data, { verbose: false });
    {
      await using scope = watcher;
      await scope.start();
      await writeFile(at('data', 'important.txt'), 'one');
      await scope.flush();
      await writeFile(at('data', 'important.txt'), 'two, and longer');
    }
    const history = await watcher.getFileHistory(at('data', 'important.txt'));
    expect(history.map(version => [version.kind, version.size])).toEqual([
      ['modified', 15],
      ['created', 3]
    ]);
    for (const version of history) {
      expect(version.versionId).toMatch(/^[a-z2-7]{8}\.\d+$/);
      expect(Date.parse(version.at)).not.toBeNaN();
    }
  });

  test('Custom Event Handlers: called once for each change, in order, and a failing handler stops nothing', async () => {
    const seen: string[] = [];
    class MyEventHandler extends EventHandler {
      override onFileCreated(event: FileEvent): void {
        seen.push(`created ${event.srcPath}`);
      }
      override onFileModified(event: FileEvent): void {
        seen.push(`modified ${event.srcPath}`);
        throw new Error('a handler with a bug');
      }
      override onFileMoved(event: FileEvent): void {
        seen.push(`moved ${event.srcPath} ${event.destPath ?? ''}`);
      }
      override onFileDeleted(event: FileEvent): Promise<void> {
        seen.push(`deleted ${event.srcPath}`);
        return Promise.resolve();
      }
    }
    const problems: string[] = [];
    await using watcher = new AppendOnlyLogWatcher({ watchPath: data, eventHandler: new MyEventHandler() });
    expect(watcher).toBeInstanceOf(BaseWatcher);
    watcher.on('problem', problem => problems.push(problem.message));
    await watcher.start();
    await writeFile(at('data', 'a.txt'), '1');
    await watcher.flush();
    await writeFile(at('data', 'a.txt'), '12');
    await watcher.flush();
    await rename(at('data', 'a.txt'), at('data', 'b.txt'));
    await watcher.flush();
    await unlink(at('data', 'b.txt'));
    await watcher.flush();
    await watcher.stop();
    const root = watcher.watchPath;
    expect(seen).toEqual([
      `created ${root}/a.txt`,
      `modified ${root}/a.txt`,
      `moved ${root}/a.txt ${root}/b.txt`,
      `deleted ${root}/b.txt`
    ]);
    expect(problems.join()).toContain('a handler with a bug');
  });

  test('Restoring File Versions: an old version beside, and back in place', async () => {
    await using watcher = new AppendOnlyLogWatcher({ watchPath: data });
    await writeFile(at('data', 'config.json'), '{"v":1}');
    await watcher.start();
    await writeFile(at('data', 'config.json'), '{"v":2,"more":true}');
    await watcher.flush();
    const history = await watcher.getFileHistory(at('data', 'config.json'));
    const oldest = history.at(-1);
    await watcher.restoreVersion({
      filePath: at('data', 'config.json'),
      versionId: oldest?.versionId ?? '',
      restorePath: at('data', 'config.restored.json')
    });
    expect(await text(at('data', 'config.restored.json'))).toBe('{"v":1}');
    const result = await watcher.restoreVersion({
      filePath: at('data', 'config.json'),
      versionId: oldest?.versionId ?? ''
    });
    expect(await text(at('data', 'config.json'))).toBe('{"v":1}');
    await watcher.restoreVersion({ filePath: at('data', 'config.json'), versionId: result.replaced ?? '' });
    expect(await text(at('data', 'config.json'))).toBe('{"v":2,"more":true}');
  });

  test('Bidirectional Synchronization: what is written in the source appears at the destination', async () => {
    await mkdir(at('source_files', 'sub'), { recursive: true });
    await using watcher = new SyftAppendOnlyLogWatcher({ watchPath: at('source_files'), logPath: at('sync_log') });
    await using receiver = new SyftLogReceiver({
      logPath: at('sync_log'),
      outputPath: at('destination_files'),
      syncMode: 'latest'
    });
    await watcher.start();
    await receiver.start();
    await writeFile(at('source_files', 'sub', 'a.txt'), 'hello');
    await until(async () => (await text(at('destination_files', 'sub', 'a.txt'))) === 'hello');
    await writeFile(at('source_files', 'sub', 'a.txt'), 'hello again');
    await until(async () => (await text(at('destination_files', 'sub', 'a.txt'))) === 'hello again');
    await unlink(at('source_files', 'sub', 'a.txt'));
    await until(async () => (await text(at('destination_files', 'sub', 'a.txt'))) === '');
  });

  test('Interactive Log Explorer: standalone, over a log directory', async () => {
    {
      await using watcher = new AppendOnlyLogWatcher({ watchPath: data, logPath: at('my_project_log') });
      await writeFile(at('data', 'deep.txt'), 'line one\nline two\n');
      await watcher.start();
    }
    const storage = new LogStorage(at('my_project_log'));
    const tty = terminal();
    const explorer = new LogExplorer(storage, tty);
    const running = explorer.run();
    await until(() => tty.screen().includes('deep.txt'));
    tty.input.write('\r');
    await until(() => tty.screen().includes('created'));
    tty.input.write('\r');
    await until(() => tty.screen().includes('line two'));
    tty.input.write('h');
    tty.input.write('h');
    tty.input.write('s');
    await until(() => tty.screen().includes('Statistics'));
    tty.input.write('\u0003');
    await running;
    await storage.close();
  });

  test('Syft Integration: messages of a file, export, import, restore from one', async () => {
    await using watcher = new SyftAppendOnlyLogWatcher(data, { verbose: false });
    await writeFile(at('data', 'file.txt'), 'shared content');
    await watcher.start();
    const messages = await watcher.getAllSyftMessages(at('data', 'file.txt'));
    expect(messages.map(message => message.eventType)).toEqual(['file_created']);
    const versionId = messages[0]?.versionId ?? '';
    expect(await watcher.getSyftMessage(versionId)).toEqual(messages[0]);
    await watcher.exportSyftArchive(versionId, at('archive.syft'));

    await writeFile(at('data', 'file.txt'), 'changed since');
    await watcher.flush();
    const imported = await watcher.importSyftArchive(at('archive.syft'));
    expect(imported.map(change => change.path)).toEqual(['file.txt']);
    expect(await text(at('data', 'file.txt'))).toBe('shared content');
    expect((await watcher.getFileHistory(at('data', 'file.txt'))).map(change => change.kind)).toEqual([
      'modified',
      'modified',
      'created'
    ]);

    await watcher.restoreFromSyft(versionId, at('restored_file.txt'));
    expect(await text(at('restored_file.txt'))).toBe('shared content');
  });

  test('Duplicate Detection: writing the same again makes no version', async () => {
    await using watcher = new AppendOnlyLogWatcher({ watchPath: data });
    await watcher.start();
    for (const content of ['Hello', 'Hello', 'Hello World']) {
      await writeFile(at('data', 'file.txt'), content);
      await watcher.flush();
    }
    const history = await watcher.getFileHistory(at('data', 'file.txt'));
    expect(history.map(version => version.size)).toEqual([11, 5]);
  });

  test('Exclude Patterns: what is excluded is not recorded', async () => {
    await using watcher = new AppendOnlyLogWatcher({
      watchPath: data,
      excludePatterns: ['*.tmp', '*.log', '.git', 'node_modules']
    });
    await mkdir(at('data', 'node_modules'));
    await mkdir(at('data', '.git'));
    for (const name of ['a.tmp', 'b.log', 'node_modules/x.js', '.git/HEAD', 'keep.txt']) {
      await writeFile(at('data', name), name);
    }
    await watcher.start();
    const files = await watcher.storage.listFiles();
    expect(files.map(file => file.path)).toEqual(['keep.txt']);
  });

  test('Statistics: counts of what was recorded, and for how long', async () => {
    await using watcher = new AppendOnlyLogWatcher({ watchPath: data });
    await writeFile(at('data', 'a'), '1');
    await writeFile(at('data', 'b'), '1');
    await watcher.start();
    await writeFile(at('data', 'a'), '22');
    await watcher.flush();
    await unlink(at('data', 'b'));
    await watcher.flush();
    const stats = await watcher.getStats();
    expect(stats).toMatchObject({
      filesCreated: 2,
      filesModified: 1,
      filesDeleted: 1,
      filesMoved: 0,
      trackedFiles: 1,
      versions: 3
    });
    expect(stats.runtimeSeconds).toBeGreaterThan(0);
    expect(Date.parse(stats.startTime ?? '')).not.toBeNaN();
  });
});

describe('broadcasting to several logs', () => {
  test('each log of the list can be read on its own, and one that was away catches up', async () => {
    const logs = [at('log-a'), at('log-b'), at('log-c')];
    {
      await using watcher = new AppendOnlyLogWatcher({ watchPath: data, logPath: logs.slice(0, 2) });
      await watcher.start();
      await writeFile(at('data', 'x'), '1');
      await watcher.flush();
    }
    {
      await using watcher = new AppendOnlyLogWatcher({ watchPath: data, logPath: logs });
      await watcher.start();
      await writeFile(at('data', 'x'), '22');
      await watcher.flush();
    }
    for (const log of logs) {
      await using storage = new LogStorage(log, { watchPath: data });
      const history = await storage.getFileHistory(at('data', 'x'));
      expect(history.map(version => version.size)).toEqual([2, 1]);
      expect((await storage.readVersion(history[1]?.versionId ?? '')).toString()).toBe('1');
    }
  });
});
