/** The watchers that can be asked for by name, those that others register included. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SyftError } from '../../core/errors.ts';
import type { HintSource } from '../hints.ts';
import { chokidarHints } from './chokidar.ts';
import { fileSystemAt, remoteName } from './file-system.ts';
import { fsWatchHints } from './fs-watch.ts';
import { parcelHints } from './parcel.ts';
import { PollingHints } from './polling.ts';

/** Makes a source for one recorder. */
export type WatcherFactory = (root: string) => HintSource | Promise<HintSource>;

/**
 * Which watcher a recorder uses: a name (`auto`, `fs-watch`, `chokidar`, `parcel`, `polling`, `none`, or one that was
 * registered), the path of a module that exports `createWatcher`, or a source.
 */
export type WatcherChoice = string | HintSource;

const factories = new Map<string, WatcherFactory>([
  ['auto', automatic],
  ['fs-watch', fsWatchHints],
  ['chokidar', chokidarHints],
  ['parcel', parcelHints],
  ['polling', () => new PollingHints()]
]);

/** Names that can be asked for, `none` (scans only) among them. */
export function watcherNames(): string[] {
  return [...factories.keys(), 'none'];
}

/**
 * Adds a watcher type under a name, for every recorder that is opened from then on.
 *
 * @param name Lower-case letters, digits and hyphens; none of those that exist.
 * @param create Called once for each recorder, with the absolute path of its root.
 * @throws SyftError BAD_REQUEST when the name is taken or no name.
 */
export function registerWatcher(name: string, create: WatcherFactory): void {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(name)) {
    throw new SyftError('BAD_REQUEST', `"${name}" is no name for a watcher: lower-case letters, digits and hyphens.`);
  }
  if (watcherNames().includes(name)) throw new SyftError('BAD_REQUEST', `There is a watcher "${name}" already.`);
  factories.set(name, create);
}

/**
 * Makes the source that was asked for; `undefined` for `none`.
 *
 * @param root The directory to be watched, absolute.
 * @throws SyftError BAD_REQUEST for a name that nobody registered, a module without `createWatcher`, or a package that is missing.
 */
export async function createHintSource(choice: WatcherChoice, root: string): Promise<HintSource | undefined> {
  if (typeof choice !== 'string') return choice;
  if (choice === 'none') return undefined;
  const create = factories.get(choice) ?? (isModule(choice) ? await fromModule(choice) : undefined);
  if (create === undefined) {
    throw new SyftError(
      'BAD_REQUEST',
      `There is no watcher "${choice}"; there are ${watcherNames().join(', ')}, and modules by their path.`
    );
  }
  return create(root);
}

/** A file system that others change is polled; elsewhere the watcher that lost least and was up first (docs/rfcs/0001). */
function automatic(root: string): HintSource {
  const remote = remoteName(fileSystemAt(root));
  if (remote !== undefined) {
    const why = `the folder is on a file system of type ${remote}, which other machines may change`;
    return new PollingHints(why, fsWatchHints());
  }
  return fsWatchHints();
}

function isModule(choice: string): boolean {
  return isAbsolute(choice) || choice.startsWith('./') || choice.startsWith('../');
}

async function fromModule(choice: string): Promise<WatcherFactory> {
  let module: unknown;
  try {
    module = await import(pathToFileURL(resolve(choice)).href);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new SyftError('BAD_REQUEST', `The watcher ${choice} cannot be loaded: ${message}`, { cause: error });
  }
  if (typeof module === 'object' && module !== null && 'createWatcher' in module) {
    const { createWatcher } = module;
    if (typeof createWatcher === 'function') return createWatcher as WatcherFactory;
  }
  throw new SyftError('BAD_REQUEST', `The watcher ${choice} exports no function createWatcher.`);
}
