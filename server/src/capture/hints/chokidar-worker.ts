/**
 * The thread of the chokidar adapter: chokidar over the directories of the root, its raw events passed on as workspace paths.
 *
 * chokidar is told to ignore files, so that it holds one object per directory and not one per file; the raw event of a
 * directory's watch names the file all the same.
 */
import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { FSWatcher } from 'chokidar';
import { Drain } from './drain.ts';
import { HintPort } from './thread-port.ts';

/**
 * chokidar that lists directories only. As it comes it makes a promise and a stat for every file there is, only to be told
 * to ignore it: with 100,000 files that is most of its time and all of its memory. Where a release of chokidar does not
 * know the method any more it is simply never called, and the files are ignored the slow way.
 */
class DirectoryWatcher extends FSWatcher {
  // The base class declares it for its own use; the shape is that of readdirp's stream.
  override createScanStream(
    ...[root, options]: Parameters<FSWatcher['createScanStream']>
  ): ReturnType<FSWatcher['createScanStream']> {
    if (this.closed) return undefined;
    const filter = options?.directoryFilter;
    const stream = Readable.from(
      subdirectories(root, entry => typeof filter !== 'function' || filter(entry)),
      { objectMode: true }
    );
    this.streams.add(stream as never);
    const done = (): void => {
      this.streams.delete(stream as never);
    };
    stream.once('close', done);
    return stream as unknown as ReturnType<FSWatcher['createScanStream']>;
  }
}

interface DirectoryEntry {
  readonly path: string;
  readonly fullPath: string;
  readonly basename: string;
  readonly stats: Stats;
}

function* subdirectories(root: string, accept: (entry: DirectoryEntry) => boolean): Generator<DirectoryEntry> {
  for (const dirent of readdirSync(root, { withFileTypes: true })) {
    if (!dirent.isDirectory()) continue;
    const fullPath = join(root, dirent.name);
    const stats = lstatSync(fullPath, { throwIfNoEntry: false });
    if (stats?.isDirectory() !== true) continue;
    const entry = { path: dirent.name, fullPath, basename: dirent.name, stats };
    if (accept(entry)) yield entry;
  }
}

const port = new HintPort();
const drain = new Drain(mayHaveOverflowed => {
  if (mayHaveOverflowed) port.lost('so many events at once that some may have been dropped');
});
let watcher: FSWatcher | undefined;
let watched = 0;

function isIgnored(absolute: string, stats?: Stats): boolean {
  if (stats !== undefined && !stats.isDirectory()) return true;
  const path = port.relative(absolute);
  if (path === undefined || path === '' || stats === undefined) return false;
  return port.excludes(path);
}

function openWatcher(): void {
  watched = 0;
  const opened = new DirectoryWatcher({
    persistent: true,
    ignoreInitial: false,
    followSymlinks: false,
    atomic: false,
    ignored: isIgnored
  });
  watcher = opened;
  opened.on('raw', (_event: string, name: string | null, details: unknown) => {
    drain.event();
    if (watcher !== opened) return;
    const at = watchedPathOf(details);
    const dir = at === undefined ? undefined : port.relative(at);
    if (dir === undefined) return;
    // An event of the directory itself carries its own name, or none.
    if (name === null || name === '') port.hint(dir);
    else port.hint(dir === '' ? name : `${dir}/${name}`);
  });
  let ready = false;
  opened.on('addDir', (path: string) => {
    watched += 1;
    if (!ready) return;
    const dir = port.relative(path);
    if (dir !== undefined && watcher === opened) port.hint(dir);
  });
  opened.on('unlinkDir', () => {
    watched -= 1;
  });
  opened.on('error', error => {
    port.error(error);
  });
  opened.on('ready', () => {
    ready = true;
    if (watcher !== opened) return;
    port.coverage(watched, 0, '');
    port.ready();
  });
  opened.add(port.root);
}

function watchedPathOf(details: unknown): string | undefined {
  if (typeof details !== 'object' || details === null || !('watchedPath' in details)) return undefined;
  return typeof details.watchedPath === 'string' ? details.watchedPath : undefined;
}

port.onReopen(() => {
  const old = watcher;
  port.forgetRules();
  openWatcher();
  void old?.close();
});

openWatcher();
