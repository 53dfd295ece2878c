/** What a check knows of a log, and collects in passing. */
import type { ChunkMap } from './chunk-map.ts';
import type { ContentList } from './content-list.ts';
import type { LeafList, SignedTree } from './tree.ts';
import type { Content } from './records.ts';
import type { Opener } from './sealed.ts';

export interface CheckedHead {
  readonly segment: string;
  readonly length: number;
  readonly seq: number;
  readonly chain: string;
  readonly closed: boolean;
  readonly tree: number | undefined;
  readonly others: number | undefined;
}

/** One stream, as far as it could be read. */
export interface CheckedStream {
  readonly device: string;
  /** The device key in device.json, when it is the one that the device id stands for. */
  readonly publicKey: Buffer | undefined;
  readonly head: CheckedHead | undefined;
  /** Names of what stands in its directory. */
  readonly names: readonly string[];
  readonly leaves: LeafList;
  /** Last sequence number that was read. */
  readonly size: number;
  /** Words of damage already told of the stream as a whole. */
  readonly told: Set<string>;
  /** The checkpoint in it, when its signature holds. */
  checkpoint: SignedTree | undefined;
  /** Its records are those of the checkpoint. */
  agrees: boolean;
}

export interface CheckedLog {
  readonly dir: string;
  readonly readData: boolean;
  workspace: string;
  format: Buffer;
  /** The log is encrypted. */
  sealed: boolean;
  /** Epochs that its key file has; 0 where it cannot be read. */
  epochs: number;
  /** Opens what is sealed; `undefined` without the keys. */
  opener: Opener | undefined;
  readonly chunks: ChunkMap;
  readonly contents: ContentList;
  /** Acts that say that contents are gone, as what they list. */
  readonly drops: Content[];
  readonly streams: Map<string, CheckedStream>;
  /** The content of a version is gone, and a signed act says so. */
  pruned(version: string): void;
  /** So many bytes are done. Throws CANCELLED. */
  tick(bytes: number): void;
}
