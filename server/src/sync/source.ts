/** One log that a receiver follows: it may be away, come back, or turn out to be another one than it was. */
import { watch, type FSWatcher } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import { configurationDirectory } from '../crypto/device-key.ts';
import { openLogReader } from '../log/log.ts';
import { RewriteGuard, rewrittenError } from '../log/rewrite-guard.ts';
import type { Damage, LogReader } from '../log/types.ts';
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

/** Reads one log as it grows. */
export class FollowedLog {
  readonly logPath: string;
  readonly hints: LogHints;
  histories: Histories | undefined;
  readonly #onDamage: (damage: Damage) => void;
  readonly #guarded: boolean;
  #reader: LogReader | undefined;
  #guard: RewriteGuard | undefined;
  #read = false;

  /** @param options `guarded`: refuse a log that is not the one that was seen before. */
  constructor(logPath: string, options: { onHint: () => void; onDamage: (damage: Damage) => void; guarded?: boolean }) {
    this.logPath = logPath;
    this.#guarded = options.guarded ?? false;
    this.hints = new LogHints(logPath, options.onHint);
    this.#onDamage = options.onDamage;
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
   * @param options `force`: a log that was rewritten is taken for the true one from now on.
   * @throws SyftError LOG_REWRITTEN, LOG_MISSING and what else opening a log throws. The next call tries again.
   */
  async next(options: { force?: boolean } = {}): Promise<readonly Change[]> {
    try {
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
      this.#reader ??= await openLogReader({ dir: this.logPath, onDamage: this.#onDamage });
      this.#checkHistory(options.force === true);
      if (this.#guard?.takeReplaced() === true) {
        // A folder that is synchronised brings a grown segment as another file; the open ones would never grow.
        await this.#reader.close();
        this.#read = false;
        this.#reader = await openLogReader({ dir: this.logPath, onDamage: this.#onDamage });
      }
      await this.hints.refresh();
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

  #checkHistory(force: boolean): void {
    if (!this.#guarded) return;
    if (this.#guard === undefined) {
      this.#guard = new RewriteGuard(this.logPath, configurationDirectory());
      // Said once, for what is there now: what happens to the log later is refused again.
      if (force) this.#guard.accept();
    }
    const damages = this.#guard.check();
    if (damages.length > 0) throw rewrittenError(this.logPath, damages);
  }

  async #leave(): Promise<void> {
    this.#read = false;
    this.#guard?.close();
    this.#guard = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close().catch(() => undefined);
  }

  async close(): Promise<void> {
    this.hints.close();
    await this.#leave();
  }
}
