/** One change as a row of the index. */
import type { Change } from '../core/change.ts';
import type { RowColumns } from './columns.ts';
import type { PathState } from './previous-state.ts';
import type { CHANGE_COLUMNS } from './schema.ts';
import { CONTENT, KINDS, NO_HASH, TYPES } from './schema.ts';

/** What feeding keeps of the state of a path. */
export interface RowState extends PathState {
  readonly row: number;
  /** Number of its hash; {@link NO_HASH}: it has none. */
  readonly hash: number;
}

/** The numbers that stand for what a change names. */
export interface RowNumbers {
  readonly row: number;
  readonly device: number;
  readonly path: number;
  readonly from: number | null;
  /** {@link NO_HASH}: none, as for the next. */
  readonly hash: number;
  readonly previousHash: number;
  readonly previous: RowState | undefined;
}

const DAY_MICROS = 86_400_000_000;

const KIND_CODES = new Map(KINDS.map((kind, code) => [kind, code]));
const TYPE_CODES = new Map(TYPES.map((type, code) => [type, code]));

/** Puts a change at place `at`. What ended it is not known yet, unless it is a deletion. */
export function putChange(
  { of: column }: RowColumns<typeof CHANGE_COLUMNS>,
  at: number,
  change: Change,
  numbers: RowNumbers
): void {
  const { row, previous, previousHash } = numbers;
  column.id.set(at, row);
  column.device.set(at, numbers.device);
  column.seq.set(at, change.seq);
  column.kind.set(at, KIND_CODES.get(change.kind) as number);
  column.path.set(at, numbers.path);
  column.moment.set(at, change.at);
  column.day.set(at, Math.floor(change.at / DAY_MICROS));
  column.hlc.set(at, change.hlc);
  column.type.set(at, TYPE_CODES.get(change.type) as number);
  column.size.set(at, whole(change.size));
  column.hash.set(at, numbers.hash === NO_HASH ? null : numbers.hash);
  column.previous_hash.set(at, previousHash === previous?.hash ? null : previousHash);
  column.mode.set(at, change.mode ?? null);
  column.mtime.set(at, whole(change.mtime));
  column.flags.set(at, change.flags.length === 0 ? null : change.flags.join(','));
  column.from_path.set(at, numbers.from);
  putContent(column, at, change);
  column.cause.set(at, change.cause === undefined ? null : JSON.stringify(change.cause));
  column.previous.set(at, previous?.row ?? null);
  column.ended.set(at, change.kind === 'deleted' ? row : null);
}

function putContent(column: RowColumns<typeof CHANGE_COLUMNS>['of'], at: number, { content, hash }: Change): void {
  let kind: number | null = null;
  let bytes: Uint8Array | null = null;
  let count: number | null = null;
  if (content !== undefined) {
    if ('list' in content) {
      kind = CONTENT.list;
      bytes = Buffer.from(content.list, 'hex');
      count = content.count;
    } else if (content.chunks.length === 1 && content.chunks[0] === hash) kind = CONTENT.own;
    else {
      kind = CONTENT.chunks;
      bytes = Buffer.from(content.chunks.join(''), 'hex');
    }
  }
  column.content_kind.set(at, kind);
  column.content.set(at, bytes);
  column.content_count.set(at, count);
}

function whole(value: number | undefined): number | null {
  return value === undefined ? null : Math.trunc(value);
}
