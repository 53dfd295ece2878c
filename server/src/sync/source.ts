/** One log that a receiver follows: it may be away, come back, or turn out to be another one than it was. */
import { watch, type FSWatcher } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { epochsIn, KEY_FILE } from '../crypto/key-file.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import { openLogReader } from '../log/log.ts';
import { RewriteGuard, rewrittenError } from '../log/rewrite-guard.ts';
import type { Damage, LogReader } from '../log/types.ts';
import { contentOf } from '../storage/durable.ts';
import type { Storage } from '../storage/storage.ts';
import { FetchedLog } from './fetch.ts';
import { Histories } from './history.ts';

/** Wakes somebody when a log grows. Only a hint: whoever relies on it polls as well. */
export class LogHints {
  readonly #dir: string;
  readonly #onHint: () => void;
  readonly #watchers = new Map<string, FSWatcher>();

  constructor(logDir: string, onHint: () => void) {
    this.#dir = join(logDir, 'log');
    this.#onHint = onHint;
  }

  /** Watches the stream directories there are now. */
  async refresh(): Promise<void> {
    const entries = await readdir(this.#dir, { withFileTypes: true }).catch(() => []);
    const wanted = new Set([
      this.#dir,
      ...entries.filter(entry => entry.isDirectory()).map(entry => join(this.#dir, entry.name))
    ]);
    for (const [dir, watcher] of this.#watchers) {
      if (!wanted.has(dir)) {
        watcher.close();
        this.#watchers.delete(dir);
      }
    }
    if (entries.length === 0) {
      return;
    }
    for (const dir of wanted) {
      if (this.#watchers.has(dir)) {
        continue;
      }
      try {
        const watcher = watch(dir, { persistent: false }, this.#onHint);
        watcher.on('error', () => {
          watcher.close();
          this.#watchers.delete(dir);
        });
        this.#watchers.set(dir, watcher);
      } catch {
        // No watch to be had; polling finds it too.
      }
    }
  }

  close(): void {
    for (const watcher of this.#watchers.values()) {
      watcher.close();
    }
    this.#watchers.clear();
  }
}

/** A log in a storage, and how it comes here. */
export interface RemoteLog {
  readonly storage: Storage;
  /** Directory of this machine that it is fetched to. */
  readonly copy: string;
  /** Least time between two looks at the storage, milliseconds. */
  readonly intervalMs: number;
}

export interface NextOptions {
  /** A log that was rewritten is taken for the true one from now on. */
  readonly force?: boolean;
  /** Look at a storage at once, whenever it was looked at before. */
  readonly now?: boolean;
  /** Ends a fetch. */
  readonly signal?: AbortSignal;
}

/** Reads one log as it grows. */
export class FollowedLog {
  /** Where it is read: the log itself, or what was fetched of it. */
  readonly logPath: string;
  /** What to call it in messages. */
  readonly location: string;
  readonly #remote: { readonly log: FetchedLog; readonly intervalMs: number } | undefined;
  #looked = -Infinity;
  #unanswered: Error | undefined;
  #fetched = false;
  /** What force takes for the true one has been taken. */
  #accepted = false;
  readonly hints: LogHints;
  histories: Histories | undefined;
  readonly #onDamage: (damage: Damage) => void;
  readonly #guarded: boolean;
  readonly #keysOf: ((logDir: string) => Promise<LogKeys | undefined>) | undefined;
  #keys: LogKeys | undefined;
  #reader: LogReader | undefined;
  #guard: RewriteGuard | undefined;
  #read = false;

  /**
   * @param log Directory of the log, or one in a storage.
   * @param options `guarded`: refuse a log that is not the one that was seen before; `keysOf`: asked for the keys of the log in a
   *   directory, which for one in a storage is that of its copy.
   */
  constructor(
    log: string | RemoteLog,
    options: {
      onHint: () => void;
      onDamage: (damage: Damage) => void;
      guarded?: boolean;
      keysOf?: (logDir: string) => Promise<LogKeys | undefined>;
    }
  ) {
    if (typeof log === 'string') {
      this.logPath = log;
      this.location = log;
    } else {
      this.logPath = log.copy;
      this.location = log.storage.location;
      this.#remote = { log: new FetchedLog(log.storage, log.copy), intervalMs: log.intervalMs };
    }
    this.#guarded = options.guarded ?? false;
    this.hints = new LogHints(this.logPath, options.onHint);
    this.#onDamage = options.onDamage;
    this.#keysOf = options.keysOf;
  }

  /** Its keys, when it is encrypted and open. */
  get keys(): LogKeys | undefined {
    return this.#keys;
  }

  get reader(): LogReader | undefined {
    return this.#reader;
  }

  get workspaceId(): string | undefined {
    return this.#reader?.workspaceId;
  }

  /**
   * What is new since the last call; everything at the first, and after the log has been away.
   *
   * @throws SyftError LOG_REWRITTEN, LOG_MISSING, what else opening a log throws, and what the storage says. The next call tries again.
   */
  async next(options: NextOptions = {}): Promise<readonly Change[]> {
    try {
      await this.#fetch(options);
      const present = await readdir(join(this.logPath, 'log')).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
          throw new SyftError('LOG_MISSING', `There is no log at ${this.logPath}.`, {
            cause: error,
            path: this.logPath
          });
        }
        throw error;
      });
      if (present.length === 0 && (this.histories?.streams.size ?? 0) > 0) {
        throw new SyftError('LOG_MISSING', `The log at ${this.logPath} has been emptied.`, { path: this.logPath });
      }
      // What is written with a newer key would look like damage.
      if (await this.#isRotated()) await this.#shut();
      this.#reader ??= await this.#open();
      this.#checkHistory(options.force === true);
      if (this.#guard?.takeReplaced() === true) {
        // A folder that is synchronised brings a grown segment as another file; the open ones would never grow.
        await this.#reader.close();
        this.#read = false;
        this.#reader = await this.#open();
      }
      // What is fetched comes by ourselves.
      if (this.#remote === undefined) await this.hints.refresh();
      if (this.#read) {
        return await this.#reader.refresh();
      }
      const changes: Change[] = [];
      for await (const change of this.#reader.changes()) {
        changes.push(change);
      }
      this.histories = new Histories(this.#reader.workspaceId);
      this.#read = true;
      return changes;
    } catch (error) {
      await this.#leave();
      throw error;
    }
  }

  async #open(): Promise<LogReader> {
    this.#keys = await this.#keysOf?.(this.logPath);
    return openLogReader({ dir: this.logPath, onDamage: this.#onDamage, keys: this.#keys });
  }

  /** Whether the log has got a key since it was opened. Only the newest is used for what comes, and the recorder starts with it. */
  async #isRotated(): Promise<boolean> {
    if (this.#reader === undefined || this.#keys === undefined) return false;
    const file = await contentOf(join(this.logPath, KEY_FILE));
    return file !== undefined && epochsIn(file) > this.#keys.newest;
  }

  /** Brings what a storage has, unless that was tried a moment ago. */
  async #fetch({ force, now, signal }: NextOptions): Promise<void> {
    if (this.#remote === undefined) return;
    const { log, intervalMs } = this.#remote;
    if (now !== true && performance.now() - this.#looked < intervalMs) {
      if (this.#unanswered !== undefined) throw this.#unanswered;
      return;
    }
    try {
      // As with the guard: said once, for what is there now.
      await log.fetch({
        ...(signal !== undefined && { signal }),
        ...(force === true && !this.#fetched && { force })
      });
      this.#fetched = true;
      this.#unanswered = undefined;
    } catch (error) {
      this.#unanswered = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.#looked = performance.now();
    }
  }

  #checkHistory(force: boolean): void {
    if (!this.#guarded) return;
    if (this.#guard === undefined) {
      this.#guard = new RewriteGuard(this.logPath, configurationDirectory(), this.#keys);
      // Said once, for what is there now: what happens to the log later is refused again.
      if (force && !this.#accepted) this.#guard.accept();
      this.#accepted = true;
    }
    const damages = this.#guard.check();
    if (damages.length > 0) throw rewrittenError(this.logPath, damages);
  }

  /** What is open of it is opened anew the next time. */
  async #shut(): Promise<void> {
    this.#read = false;
    this.#guard?.close();
    this.#guard = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close().catch(() => undefined);
  }

  /** It may be another one when it is there again. */
  async #leave(): Promise<void> {
    this.#fetched = false;
    this.#accepted = false;
    await this.#shut();
  }

  async close(): Promise<void> {
    this.hints.close();
    await this.#leave();
    this.#remote?.log.close();
    this.#looked = -Infinity;
    this.#unanswered = undefined;
  }
}
