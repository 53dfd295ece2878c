/**
 * The thread of the `fs-watch` adapter.
 *
 * Linux: one watch per directory. Invariant: a directory is listed after its watch is up, and hinted at after that, so
 * whatever comes to be in a new directory is either found by whoever follows the hint, or has an event of its own.
 * macOS and Windows watch a whole tree with one watch.
 */
import { lstatSync, readdirSync, watch, type FSWatcher, type Stats } from 'node:fs';
import { platform } from 'node:os';
import { errnoOf } from '../../core/errors.ts';
import { baseName, decodePath, joinPath, parentOf, type PathName } from '../../core/path-name.ts';
import { DirectoryWatches } from './directory-watches.ts';
import { Drain } from './drain.ts';
import { HintPort } from './thread-port.ts';

/** All watches are renewed after an overflow when it is quiet for this long, and after the longer time in any case. Milliseconds. */
const RENEW_QUIET_MS = 100;
const RENEW_LATEST_MS = 2_000;
/** Directories without a watch are tried again this often. Milliseconds. */
const RETRY_MS = 5_000;

const port = new HintPort();

function watchTree(): void {
  const drain = new Drain(mayHaveOverflowed => {
    if (mayHaveOverflowed) port.lost('so many events at once that some may have been dropped');
  });
  const open = (): FSWatcher =>
    watch(port.root, { recursive: true }, (_event, name) => {
      drain.event();
      if (name === null) port.lost('an event without a name');
      else port.hint(name.replaceAll('\\', '/'));
    }).on('error', error => {
      port.error(error);
    });
  try {
    open();
    port.coverage(1, 0, '');
  } catch (error) {
    port.error(error);
  }
  port.onReopen(() => {
    // What is excluded is left out by the one who follows the hints.
    port.ready();
  });
  port.ready();
}

function watchDirectories(): void {
  const dirty = new Map<PathName, Set<string>>();
  /** Directories of which the watch itself told something: they may be gone, or others by the same name. */
  const suspects = new Set<PathName>();
  let renewal: NodeJS.Timeout | undefined;
  let renewBy = 0;
  let retry: NodeJS.Timeout | undefined;
  let told = '';

  const watches = new DirectoryWatches((dir, event, name) => {
    drain.event();
    if (name === null || name === '') {
      port.hint(dir);
      return;
    }
    const path = joinPath(dir, name);
    port.hint(path);
    if (event !== 'rename' && !watches.isForbidden(path)) return;
    let names = dirty.get(dir);
    if (names === undefined) dirty.set(dir, (names = new Set()));
    names.add(name);
    // The event of a directory itself carries its own name; so does one of an entry that has the same name.
    if (name === baseName(dir)) suspects.add(dir);
  });

  const drain = new Drain(mayHaveOverflowed => {
    for (const [dir, names] of dirty) followAll(dir, names);
    dirty.clear();
    for (const dir of suspects) if (dir !== '') follow(parentOf(dir), baseName(dir), true);
    suspects.clear();
    report();
    if (mayHaveOverflowed) {
      // Scanned at once, because that is what somebody waits for, and once more when the watches are sure to be right.
      port.lost('so many events at once that some may have been dropped');
      renewBy = performance.now() + RENEW_LATEST_MS;
      renewal ??= setTimeout(renew, RENEW_QUIET_MS);
    } else if (renewal !== undefined && performance.now() < renewBy) {
      clearTimeout(renewal);
      renewal = setTimeout(renew, RENEW_QUIET_MS);
    }
  });

  /** Names in a directory appeared, vanished or were replaced: the watches follow. */
  function followAll(dir: PathName, names: ReadonlySet<string>): void {
    // In a burst nearly all are files: the directory tells it of all of them at once.
    const onlyFiles = names.size > 1 && watches.holdsNoDirectory(lstatOrMissing(dir));
    for (const name of names) {
      if (onlyFiles && !name.includes('\uFFFD')) watches.closeBelow(joinPath(dir, name));
      else follow(dir, name);
    }
  }

  /** A name in a directory appeared, vanished or was replaced: the watches follow. */
  function follow(dir: PathName, name: string, renewed = false): void {
    if (name.includes('\uFFFD')) {
      // Which of the names that are not UTF-8 it was, nobody knows.
      for (const found of namesNotUtf8(dir)) follow(dir, found, renewed);
      return;
    }
    const path = joinPath(dir, name);
    const stats = lstatOrMissing(path);
    if (stats?.isDirectory() !== true) {
      watches.closeBelow(path);
      return;
    }
    if (!renewed && watches.isSame(path, stats)) return;
    watches.closeBelow(path);
    if (watches.has(dir) && !port.excludes(path)) {
      openBelow(path);
      port.directory(path);
    }
  }

  /** Watches a directory and all below it. */
  function openBelow(start: PathName): void {
    const stack: PathName[] = [start];
    for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
      const absolute = port.absolute(dir);
      try {
        const found = watches.open(dir, absolute);
        if (found === undefined) continue;
        // Then there is no need to read the names.
        if (watches.holdsNoDirectory(found)) continue;
        for (const name of subdirectories(absolute)) {
          const path = joinPath(dir, name);
          if (!port.excludes(path)) stack.push(path);
        }
      } catch (error) {
        // Gone again, or not ours to read: the scan says so where it matters.
        if (errnoOf(error) === undefined) throw error;
      }
    }
  }

  /** Opens every watch anew: after an overflow nobody knows which of them still watch what they did. */
  function renew(): void {
    renewal = undefined;
    watches.renewing(() => {
      openBelow('');
    });
    report();
    port.lost('all watches were renewed');
  }

  function report(): void {
    const { watched, unwatched } = watches;
    const now = `${watched} ${unwatched}`;
    if (now !== told) port.coverage(watched, unwatched, watches.why);
    told = now;
    if (watches.refused !== undefined) retry ??= setTimeout(tryAgain, RETRY_MS);
  }

  /** There may be watches again: others gave theirs back, or the limit was raised. */
  function tryAgain(): void {
    retry = undefined;
    for (let dir = watches.refused; dir !== undefined; dir = watches.refused) {
      watches.closeBelow(dir);
      openBelow(dir);
      // What came to be before its watch did is found by looking at it.
      port.directory(dir);
      if (watches.isRefused(dir)) break;
    }
    report();
  }

  function begin(): void {
    watches.renewing(() => {
      openBelow('');
    });
    told = '';
    report();
    port.ready();
  }

  port.onReopen(() => {
    port.forgetRules();
    begin();
  });
  begin();

  function lstatOrMissing(path: PathName): Stats | undefined {
    try {
      return lstatSync(port.absolute(path), { throwIfNoEntry: false });
    } catch {
      return undefined;
    }
  }

  function namesNotUtf8(dir: PathName): string[] {
    try {
      return readdirSync(port.absolute(dir), { encoding: 'buffer' })
        .filter(name => name.toString('utf8').includes('\uFFFD'))
        .map(decodePath);
    } catch {
      return [];
    }
  }
}

function subdirectories(absolute: string | Buffer): string[] {
  const directories: string[] = [];
  for (const entry of readdirSync(absolute, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    if (entry.name.includes('\uFFFD')) {
      const exact = readdirSync(absolute, { withFileTypes: true, encoding: 'buffer' });
      return exact.filter(each => each.isDirectory()).map(each => decodePath(each.name));
    }
    directories.push(entry.name);
  }
  return directories;
}

if (platform() === 'darwin' || platform() === 'win32') watchTree();
else watchDirectories();
