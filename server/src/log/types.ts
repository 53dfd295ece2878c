/** What the log offers to the rest of the house. The bytes are in docs/format.md. */
import type { Change, ChangeDraft, ContentRef } from '../core/change.ts';
import type { LogKeys } from '../crypto/log-keys.ts';
import type { ActChange, DropAct } from '../core/retention-act.ts';
import type { StreamMark } from './marks.ts';
import type { ReadyBlock } from './ready-blocks.ts';
import type { Relocation } from './relocation.ts';

/** Bytes on their way into the log: a chunk of some version's content. */
export interface ChunkInput {
  /** SHA-256 of `bytes`, hex. */
  readonly id: string;
  /** Must stay unchanged until the append that carries it has resolved. */
  readonly bytes: Uint8Array;
}

/** One change to append, with the chunks its content needs. Chunks the log already holds are dropped by the log. */
export interface Append {
  readonly draft: ChangeDraft;
  readonly chunks: readonly ChunkInput[];
  /** The content of the version before, where there is one: what is new is stored as what differs from it. */
  readonly former?: ContentRef;
}

/** A damage that fsck or a reader found. */
export interface Damage {
  /** Stable word: `missing`, `truncated`, `checksum`, `chain`, `sequence`, `content`, `config`, `unknown-file`, … */
  readonly kind: string;
  /** File relative to the log directory, and byte offset where there is one. */
  readonly where: string;
  /** Versions whose record or content is affected, as far as it can be told. */
  readonly versions: readonly string[];
  readonly message: string;
}

/** Read side, usable without the writer's lock and while another process writes. */
export interface LogReader extends AsyncDisposable {
  readonly dir: string;
  /** 32 hex digits; names the workspace for ever. */
  readonly workspaceId: string;
  /** Of an encrypted log. */
  readonly keys?: LogKeys | undefined;
  /** All changes of all streams in {@link compareChanges} order. Ends at the last complete frame. */
  changes(): AsyncIterable<Change>;
  /**
   * How far each stream was handed out by the last call of `changes`, `changesAfter` or `refresh`; for the writer's own
   * stream, how far it is durable. `undefined` where damage hides it.
   */
  marks(): StreamMark[] | undefined;
  /** As `changes`, without those up to `marks`. `undefined`: the log does not have these marks, and all has to be read. */
  changesAfter(marks: readonly StreamMark[]): AsyncIterable<Change> | undefined;
  /** Reads what was appended since the last call of `changes` or `refresh` (by this or another process). */
  refresh(): Promise<Change[]>;
  /**
   * The content of a version, in pieces, verified against its hash at the end.
   * Throws VERSION_HAS_NO_CONTENT, VERSION_PRUNED, VERSION_ERASED, LOG_DAMAGED.
   */
  content(change: Change): AsyncIterable<Uint8Array>;
  /** Whole content of a version, verified, for small files. Not to be written to: it may be the reader's own memory. Throws as {@link content}. */
  contentBytes(change: Change): Promise<Buffer>;
  hasChunk(id: string): boolean;
  /** Bytes the log takes on disk. */
  storedBytes(): Promise<number>;
  close(): Promise<void>;
}

/** Write side: one a log, guarded by the lock. */
export interface LogWriter extends LogReader {
  readonly device: string;
  /** Damage found so far, at opening above all. */
  readonly damages: readonly Damage[];
  /**
   * Appends changes in the order given. Resolves with the placed changes when they are durable (fsynced).
   * All of one call go into consecutive sequence numbers. Rejects DISK_FULL, DISK_READ_ONLY, DISK_ERROR, LOG_CLOSED; then
   * nothing of this call is in the log, and a later call may succeed.
   *
   * @param ready Blocks that hold chunks of these changes, beside the chunks that the changes bring themselves.
   */
  append(appends: readonly Append[], ready?: readonly ReadyBlock[]): Promise<Change[]>;
  /** Stores chunks ahead of the change that will name them (large files). Resolves when written; durable with the next append. */
  putChunks(chunks: readonly ChunkInput[]): Promise<void>;
  /** Makes a {@link ContentRef} from ids in order; a long list becomes a chunk of its own, returned to be appended too. */
  contentRef(ids: readonly string[]): { ref: ContentRef; chunks: ChunkInput[] };
  /** Raw bytes queued but not yet durable; callers hold back above ~64 MiB. */
  readonly pendingBytes: number;
  /** Resolves when everything queued so far is durable. */
  drain(): Promise<void>;
}

/** What is said in a log about its versions. */
export interface LogActs {
  /** Labels, pins, prunes and erasures, in the order of changes. Reads what it has not read before. */
  acts(): ActChange[];
  /** Reads ahead for {@link acts}, a few milliseconds at a time: on a long log it takes seconds. */
  searchActs(): Promise<void>;
  /** The act by which a version has lost its content; `undefined` when it has it, or should. */
  dropped(change: Change): DropAct | undefined;
}

/** A log that can give up contents (log/prune.ts). */
export interface LogDrops {
  /**
   * Has the log to itself: what was queued before is durable, and what comes meanwhile waits.
   *
   * @throws SyftError LOG_CLOSED, DISK_*, and whatever `work` throws.
   */
  exclusively<T>(work: (inside: HeldLog) => Promise<T>): Promise<T>;
  /** A segment was replaced by one that has the same frames: without some of its chunks, which were forgotten before, or with them stored anew. */
  relocated(device: string, segment: string, relocation: Relocation): void;
  /** Streams of earlier keys of this installation. */
  readonly earlierDevices: readonly string[];
  /**
   * Where the durable part of the segment ends that is being written. What stands behind it is of a write that failed, and will
   * be cut off. `undefined`: no segment is being written.
   */
  readonly durableEnd: DurableEnd | undefined;
}

export interface DurableEnd {
  readonly device: string;
  /** Name of the segment. */
  readonly segment: string;
  /** Bytes. */
  readonly length: number;
}

/** A log opened for reading. */
export type OpenReader = LogReader & LogActs;
/** A log opened for writing. */
export type OpenWriter = LogWriter & LogActs & LogDrops;

/** What may be done with a log that one has to oneself. */
export interface HeldLog {
  /** Chunks stored for changes that are still to come. */
  readonly ahead: ReadonlySet<string>;
  /** As {@link LogWriter.append}. */
  append(appends: readonly Append[]): Promise<Change[]>;
  /** Ends the segment: what is in it is not appended to again. */
  seal(): Promise<void>;
  /** Begins a segment, unless one is being written: what was sealed is then not the last of its stream. */
  begin(): Promise<void>;
  /** Brings tree and signed checkpoint to the end of the stream, and `head.json` behind it. */
  sign(): Promise<void>;
  /** These chunks count as not held from now on: a content that needs one brings it anew. */
  forget(ids: Iterable<string>): void;
}

export interface OpenLogOptions {
  /** Log directory. */
  readonly dir: string;
  /** Called for damage found while opening or reading; the log stays usable for what is sound. */
  readonly onDamage?: (damage: Damage) => void;
  /** Keys of an encrypted log, from {@link unlockLog}; a plain log has none. */
  readonly keys?: LogKeys | undefined;
}

export interface OpenWriterOptions extends OpenLogOptions {
  /** Create the log when the directory is missing or empty. Default true. */
  readonly create?: boolean;
  /** Where this installation keeps its device key. Default: `$SYFT_SYNC_HOME`, `$XDG_CONFIG_HOME/syft-sync`, `~/.config/syft-sync`. */
  readonly keyDir?: string;
  /** Shown to whoever meets the lock, e.g. the command and the control socket. */
  readonly holder?: { readonly command: string; readonly socket?: string; readonly secret?: string };
}
