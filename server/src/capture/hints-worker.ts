/**
 * The watcher thread: chokidar over the directories of the root, its raw events passed on in batches as workspace paths.
 *
 * chokidar is told to ignore files, so that it holds one object per directory and not one per file; the raw event of a
 * directory's watch names the file all the same.
 */
import { lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import { FSWatcher } from 'chokidar';
import { errnoOf } from '../core/errors.ts';
import { IgnoreRules } from '../core/ignore-rules.ts';
import type { HintSourceOptions, WorkerMessage, WorkerRequest } from './hints.ts';

const BATCH_MS = 5;

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

const options = workerData as HintSourceOptions;
const port = parentPort;
if (port === null) throw new Error('hints-worker runs as a worker thread only');
const { root } = options;
const rootPrefix = root === '/' ? '/' : `${root}/`;

let rules = newRules();
let watcher: FSWatcher | undefined;
let paths = new Set<string>();
let directories = new Set<string>();
let timer: NodeJS.Timeout | undefined;
let watched = 0;

function newRules(): IgnoreRules {
  return new IgnoreRules({
    excludePatterns: options.excludePatterns,
    ...(options.include !== undefined && { include: options.include }),
    logPath: options.logPath,
    readIgnoreFile: dir => {
      try {
        return readFileSync(`${rootPrefix}${dir === '' ? '' : `${dir}/`}.syftignore`, 'utf8');
      } catch {
        return undefined;
      }
    }
  });
}

function post(message: WorkerMessage): void {
  port?.postMessage(message);
}

function send(): void {
  timer = undefined;
  if (paths.size === 0 && directories.size === 0) return;
  // A root entry is an empty name, so the list of directories starts each with a separator.
  const dirs = [...directories].map(dir => `\0${dir}`).join('');
  post({ kind: 'hints', paths: [...paths].join('\0'), directories: dirs });
  paths = new Set();
  directories = new Set();
}

function relative(absolute: string): string | undefined {
  if (absolute === root) return '';
  return absolute.startsWith(rootPrefix) ? absolute.slice(rootPrefix.length) : undefined;
}

function hint(path: string): void {
  if (path === '') return;
  if (path.includes('\uFFFD')) {
    // A name that is not UTF-8 arrives mangled. The nearest directory whose name is whole is looked at instead.
    const parts = path.split('/');
    const bad = parts.findIndex(part => part.includes('\uFFFD'));
    directories.add(parts.slice(0, bad).join('/'));
  } else {
    paths.add(path);
  }
  timer ??= setTimeout(send, BATCH_MS);
}

function isIgnored(absolute: string, stats?: Stats): boolean {
  if (stats !== undefined && !stats.isDirectory()) return true;
  const path = relative(absolute);
  if (path === undefined || path === '') return false;
  if (stats === undefined) return false;
  return rules.excludes(path, true);
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
    if (watcher !== opened) return;
    const at = watchedPathOf(details);
    const dir = at === undefined ? undefined : relative(at);
    if (dir === undefined) return;
    // An event of the directory itself carries its own name, or none.
    if (name === null || name === '') hint(dir);
    else hint(dir === '' ? name : `${dir}/${name}`);
  });
  let ready = false;
  opened.on('addDir', (path: string) => {
    watched += 1;
    if (!ready) return;
    const dir = relative(path);
    if (dir !== undefined && watcher === opened) hint(dir);
  });
  opened.on('unlinkDir', () => {
    watched -= 1;
  });
  opened.on('error', error => {
    post({
      kind: 'error',
      code: errnoOf(error) ?? '',
      message: error instanceof Error ? error.message : String(error)
    });
  });
  opened.on('ready', () => {
    ready = true;
    if (watcher === opened) post({ kind: 'ready', directories: watched });
  });
  opened.add(root);
}

function watchedPathOf(details: unknown): string | undefined {
  if (typeof details !== 'object' || details === null || !('watchedPath' in details)) return undefined;
  return typeof details.watchedPath === 'string' ? details.watchedPath : undefined;
}

port.on('message', (request: WorkerRequest) => {
  if (request.kind === 'stop') {
    void watcher?.close();
    post({ kind: 'stopped' });
    port.close();
    return;
  }
  const old = watcher;
  rules = newRules();
  openWatcher();
  void old?.close();
});

openWatcher();
