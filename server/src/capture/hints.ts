/**
 * Hints: word that something may have changed at a path. They may come late, twice, for nothing, or not at all; whoever
 * uses them scans as well. This file is the interface; the adapters are in `hints/`.
 */
import type { PathName } from '../core/path-name.ts';

/** What a source reports to. */
export interface HintSink {
  /** These paths may have changed: a file, a directory with all below it, or something gone. */
  paths(paths: readonly PathName[]): void;
  /** These directories changed in a way that names do not tell (a name that is not UTF-8). */
  directories(dirs: readonly PathName[]): void;
  /** Hints were lost, or may have been; only a full scan tells. */
  lost(reason: string): void;
  /** The source sees every directory, or does not (and why). Scans go on either way, much more often when it does not. */
  health(healthy: boolean, detail: string): void;
}

/** What is to be watched. */
export interface HintSourceOptions {
  /** Absolute. */
  readonly root: string;
  readonly excludePatterns: readonly string[];
  readonly include: readonly PathName[] | undefined;
  /** The log, relative to the root, when it lies inside; its own files must not be hinted at. */
  readonly logPath: PathName | undefined;
}

/** Something that gives hints. */
export interface HintSource {
  readonly kind: string;
  /** The source tells of no single path: whoever uses it scans as often as a scan is cheap. */
  readonly polls?: boolean;
  /** Resolves when changes from now on will be hinted at, as far as the source can. */
  start(options: HintSourceOptions, sink: HintSink): Promise<void>;
  /** The patterns of `.syftignore` files changed: what is watched must change with them. Resolves like `start`. */
  rulesChanged(): Promise<void>;
  stop(): Promise<void>;
}
