/**
 * Hints from @parcel/watcher. The package is optional: it brings native code, and others do without.
 *
 * Not in a thread of ours: it reads the kernel's queue in a native thread of its own, and its native part can be loaded by
 * one thread of a process only. It loses what happens in new nested directories while it adds their watches, and knows only
 * patterns of its own kind; whoever uses the hints looks at new directories more than once and leaves out what is excluded.
 */
import { readdirSync } from 'node:fs';
import type * as ParcelModule from '@parcel/watcher';
import { SyftError } from '../../core/errors.ts';
import { LOG_DIR_NAME } from '../../core/ignore-rules.ts';
import type { HintSink, HintSource, HintSourceOptions } from '../hints.ts';
import { queueLimit } from './drain.ts';
import { hintRules, relativeTo, wholePart } from './rules.ts';

type Parcel = (typeof ParcelModule)['default'];

class ParcelHints implements HintSource {
  readonly kind = 'parcel';
  readonly #parcel: Parcel;
  readonly #limit = queueLimit() / 4;
  #options: HintSourceOptions | undefined;
  #sink: HintSink | undefined;
  #subscription: ParcelModule.AsyncSubscription | undefined;

  constructor(parcel: Parcel) {
    this.#parcel = parcel;
  }

  async start(options: HintSourceOptions, sink: HintSink): Promise<void> {
    this.#options = options;
    this.#sink = sink;
    await this.#open(options, sink);
  }

  async rulesChanged(): Promise<void> {
    if (this.#options !== undefined && this.#sink !== undefined) await this.#open(this.#options, this.#sink);
  }

  async stop(): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    this.#sink = undefined;
    await end(subscription);
  }

  async #open(options: HintSourceOptions, sink: HintSink): Promise<void> {
    const old = this.#subscription;
    this.#subscription = undefined;
    // It remembers the tree of a root between subscriptions that overlap, also one that is gone: the old one ends first.
    await end(old);
    this.#subscription = await this.#parcel.subscribe(
      options.root,
      (error, events) => {
        if (this.#sink !== sink) return;
        if (error !== null) {
          sink.health(false, error.message);
          sink.lost(error.message);
          return;
        }
        if (events.length >= this.#limit) sink.lost('so many events at once that some may have been dropped');
        const paths = new Set<string>();
        const directories = new Set<string>();
        for (const { path } of events) {
          const relative = relativeTo(options.root, path);
          if (relative === undefined || relative === '') continue;
          const whole = wholePart(relative);
          if (whole === undefined) paths.add(relative);
          else directories.add(whole);
        }
        if (paths.size > 0) sink.paths([...paths]);
        if (directories.size > 0) sink.directories([...directories]);
      },
      { ignore: ignored(options) }
    );
    sink.health(true, 'the tree is watched');
    if (old !== undefined) sink.lost('the watch was opened anew');
  }
}

async function end(subscription: ParcelModule.AsyncSubscription | undefined): Promise<void> {
  try {
    await subscription?.unsubscribe();
  } catch {
    // It fails to end watches whose directories are gone. What it still tells is not listened to.
  }
}

/** What is excluded at the top, and logs: the most that can be told beforehand. */
function ignored(options: HintSourceOptions): string[] {
  const rules = hintRules(options);
  const out = [`**/${LOG_DIR_NAME}/**`, `**/${LOG_DIR_NAME}`];
  for (const entry of readdirSync(options.root, { withFileTypes: true })) {
    if (entry.isDirectory() && rules.excludes(entry.name, true)) out.push(`${options.root}/${entry.name}`);
  }
  return out;
}

/** @throws SyftError BAD_REQUEST when the package is not installed. */
export async function parcelHints(): Promise<HintSource> {
  try {
    return new ParcelHints((await import('@parcel/watcher')).default);
  } catch (error) {
    throw new SyftError(
      'BAD_REQUEST',
      'The watcher "parcel" needs the package @parcel/watcher, which is not installed; npm install @parcel/watcher, or take another watcher.',
      { cause: error }
    );
  }
}
