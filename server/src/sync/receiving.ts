/** What a receiver is told and what it tells: options, events, status. */
import type { Cause, Change } from '../core/change.ts';
import { errnoOf, SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import type { Step } from '../core/reconcile.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import type { Storage } from '../storage/storage.ts';

/** What a receiver asks of a recorder in the same process; the one of the output directory. */
export interface ReceivingRecorder {
  /** The next change of `path` with this content carries `cause`. */
  expect(path: PathName, hash: string | undefined, cause: Cause): void;
  /** Records the present state of paths at once. */
  captureNow?(paths: readonly PathName[]): Promise<unknown>;
}

export interface ReceiverOptions {
  /**
   * The log, or several: directories (relative ones to the current directory), or storages. What a storage has is fetched to this
   * machine, by what has changed, and applied from there.
   */
  readonly logPath: string | Storage | readonly (string | Storage)[];
  /** The directory that receives. Made when it is missing and was never received into. */
  readonly outputPath: string;
  /** `latest`: the output becomes the tree of the log. `all_versions`: every version is a file of its own. Default `latest`. */
  readonly syncMode?: 'latest' | 'all_versions';
  /** Gitignore syntax, relative to the output: what is not received. */
  readonly excludePatterns?: readonly string[];
  /** Says on stderr what it does. */
  readonly verbose?: boolean;
  /** Log of the recorder that watches the output. Default `<outputPath>/.syft-sync`; used when there is one. */
  readonly ownLog?: string;
  /** Milliseconds between looks at the logs when nothing hints at a change. Default 250. */
  readonly pollIntervalMs?: number;
  /** Milliseconds between looks at a storage. Default 2000. */
  readonly fetchIntervalMs?: number;
  /** Where logs from storages are fetched to, each to a directory of its own. Default {@link fetchDirectory}. */
  readonly fetchPath?: string;
  /** Ends a fetch, and lets none begin. {@link SyftLogReceiver.stop} does so too, and the rest. */
  readonly signal?: AbortSignal;
  /** Plan, and write nothing to the output. */
  readonly dryRun?: boolean;
  /** Halt when more than this share of at least 10 files would be deleted. Default 0.5. */
  readonly maxDeleteFraction?: number;
  /** Go on where a safety halt would stop. */
  readonly force?: boolean;
  /** The recorder of the output, when it runs in this process. */
  readonly recorder?: ReceivingRecorder;
  /**
   * Keys of an encrypted log, by its directory: asked for each log received from, and for that of the output, when it is
   * opened. `undefined` for one that is not encrypted.
   *
   * @throws SyftError PASSPHRASE_WRONG, KEY_*, LOG_ENCRYPTED.
   */
  readonly keysOf?: (logDir: string) => Promise<LogKeys | undefined>;
  /** How long a conflicting file may wait to be recorded before it counts as not recorded, milliseconds. Default 3000. */
  readonly recordWaitMs?: number;
}

/** One step that was carried out. */
export interface AppliedEvent {
  readonly do: Step['do'];
  readonly path: PathName;
  readonly from?: PathName;
  /** The change it carries out. */
  readonly change: Change;
  readonly workspace: string;
}

export interface ConflictEvent {
  readonly path: PathName;
  /** Whose state stands now. */
  readonly winner: 'disk' | 'log';
  /** Version of the other log. */
  readonly version?: string;
  /** Where the state that stood there is kept, relative to the conflicts directory. */
  readonly kept?: string;
  /** The name of that directory: `conflicts` in the log of the output, `.syft-sync-conflicts` in the output itself. */
  readonly keptIn?: string;
}

export type HaltReason =
  'output-missing' | 'output-replaced' | 'output-emptied' | 'log-rolled-back' | 'log-replaced' | 'too-many-deletes';

export interface HaltEvent {
  readonly reason: HaltReason;
  readonly message: string;
}

export interface ProblemEvent {
  readonly path?: string;
  readonly code: string;
  readonly message: string;
}

export interface ReceiverEvents {
  applied: [AppliedEvent];
  conflict: [ConflictEvent];
  halted: [HaltEvent];
  problem: [ProblemEvent];
  /** Every step that was planned in a dry run. */
  planned: [Step];
}

export interface SyncStatus {
  readonly state: 'stopped' | 'running' | 'halted';
  readonly outputPath: string;
  readonly syncMode: 'latest' | 'all_versions';
  /** Files agreed on (`latest`), or version files written (`all_versions`). */
  readonly filesTracked: number;
  readonly versionsProcessed: number;
  readonly pending: number;
  readonly conflicts: number;
  readonly problems: number;
  readonly halted?: HaltEvent;
  readonly sources: readonly {
    readonly logPath: string;
    readonly workspaceId?: string;
    readonly reachable: boolean;
    /** The log is not the one that was seen before; nothing is taken from it. */
    readonly refused: boolean;
    readonly error?: string;
  }[];
}

/** What one `runOnce` did. */
export interface ReceiveReport {
  readonly applied: number;
  readonly conflicts: number;
  readonly problems: number;
  readonly halted?: HaltEvent;
  /** Only in a dry run. */
  readonly plan?: readonly Step[];
}

/** An error as a receiver tells of it. */
export function problemOf(error: unknown): ProblemEvent {
  if (error instanceof SyftError) {
    return { code: error.code, message: error.message, ...(error.path !== undefined && { path: error.path }) };
  }
  const message = error instanceof Error ? error.message : String(error);
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return { code: 'DISK_FULL', message: `The disk is full: ${message}` };
    case 'EROFS':
      return { code: 'DISK_READ_ONLY', message: `The disk is read-only: ${message}` };
    case 'EACCES':
    case 'EPERM':
      return { code: 'UNREADABLE', message: `No permission: ${message}` };
    case undefined:
      return { code: 'INTERNAL', message };
    default:
      return { code: 'DISK_ERROR', message };
  }
}
