/** What the HTTP API needs of a workspace: the sidecar, and every other process that records, offers this. */
import type {
  EraseRequest,
  EraseResult,
  ImportRequest,
  ImportResult,
  MarkRequest,
  MarkResult,
  CompactRequest,
  CompactResult,
  PruneRequest,
  PruneResult,
  RemoveRequest,
  RemoveResult,
  RestoreRequest,
  RestoreResult,
  Status
} from './contract.ts';
import type { Change } from '../core/change.ts';
import type { PathName } from '../core/path-name.ts';
import type { ReadonlyTree } from '../core/tree.ts';
import type { Said } from '../library/said.ts';
import type { Workspace } from '../library/workspace.ts';
import type { LogReader } from '../log/types.ts';

/** The contract's status without what the API itself adds. */
export type ServiceStatus = Omit<Status, 'index' | 'apiVersion'>;

/** Counts of one pass over the workspace. */
export interface CaptureCounts {
  readonly captured: number;
  readonly unchanged: number;
  readonly deleted: number;
  /** Content of the versions recorded. */
  readonly bytes: number;
  readonly flagged: number;
}

export interface WorkspaceService {
  /** Absolute path of the workspace. */
  readonly root: string;
  readonly logDir: string;
  /** Throws SETUP_NEEDED, NOT_RUNNING while there is no log to read. */
  readonly log: Pick<LogReader, 'content' | 'storedBytes'>;
  /** What records, for what is done with it above the library. Throws SETUP_NEEDED, NOT_RUNNING. Absent: this process cannot write the log. */
  recording?(): Workspace;
  /** The present state of every recorded path. */
  readonly tree: ReadonlyTree;
  /** What is said of versions now; nothing while there is no log to read. */
  said(): Promise<Said>;
  status(): ServiceStatus;
  flush(): Promise<void>;
  capture(): Promise<CaptureCounts>;
  pause(): void;
  resume(): void;
  /** Whole version ids only. */
  restore(request: RestoreRequest): Promise<RestoreResult>;
  /** Whole version ids only. */
  remove(request: RemoveRequest): Promise<RemoveResult>;
  /** Labels and pins. Whole version ids only. Absent: this process cannot write the log. */
  mark?(request: MarkRequest): Promise<MarkResult>;
  /** Absent: this process cannot write the log. */
  prune?(request: PruneRequest): Promise<PruneResult>;
  compact?(request: CompactRequest): Promise<CompactResult>;
  /** Absent: this process cannot write the log. */
  erase?(request: EraseRequest): Promise<EraseResult>;
  /** Absent: this process cannot write the log. */
  importMessage?(request: ImportRequest): Promise<ImportResult>;
  /** Chooses the folders to record. Absent: there is nothing to choose. */
  setup?(folders: string[]): Promise<void>;
  /** False when the path is excluded or outside the recorded folders. Absent: not known, taken as recorded. */
  isRecorded?(path: PathName): boolean;
  /**
   * `change`: one is durable. `status`: {@link status} may answer otherwise now. `said`: so may {@link said} of versions that were
   * told of before. `messages`: a box of messages changed.
   */
  on(event: 'change', listener: (change: Change) => void): unknown;
  on(event: 'status' | 'said' | 'messages', listener: () => void): unknown;
  off(event: 'change', listener: (change: Change) => void): unknown;
  off(event: 'status' | 'said' | 'messages', listener: () => void): unknown;
}
