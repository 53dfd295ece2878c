/** The histories of all paths of one log, as reconciling needs them: short moments instead of whole changes. */
import { versionId, type Change } from '../core/change.ts';
import type { Moment } from '../core/lineage.ts';
import { parentOf, type PathName } from '../core/path-name.ts';
import { keyOf, type Node } from '../core/reconcile.ts';

/** One moment of a path, with the change that has its content. */
export interface LogMoment extends Moment {
  readonly change: Change;
}

/** The state a change leaves at its path. `other` when the log has no content to give. */
export function nodeOfChange(change: Change): Node | undefined {
  if (change.kind === 'deleted') {
    return undefined;
  }
  if (change.type === 'directory') {
    return { type: 'directory' };
  }
  if (change.hash === undefined) {
    return { type: 'other' };
  }
  return {
    type: change.type,
    hash: change.hash,
    ...(change.type === 'file' && change.mode !== undefined && { mode: change.mode & 0o777 })
  };
}

/** Whether the log holds what is needed to write this version. */
export function isWritable(change: Change): boolean {
  return (
    change.kind !== 'deleted' &&
    (change.type === 'directory' ||
      (change.hash !== undefined && change.content !== undefined && !change.flags.some(flag => flag !== 'torn')))
  );
}

export class Histories {
  readonly #workspace: string;
  readonly #paths = new Map<PathName, LogMoment[]>();
  /** Last sequence number seen, per device. */
  readonly streams = new Map<string, number>();
  /** directory → number of present paths below it, at any depth. */
  readonly #below = new Map<PathName, number>();
  /** Target → source of the last move to each path. */
  readonly moves = new Map<PathName, PathName>();

  constructor(workspace: string) {
    this.#workspace = workspace;
  }

  /** Oldest first. */
  of(path: PathName): readonly LogMoment[] {
    return this.#paths.get(path) ?? [];
  }

  last(path: PathName): LogMoment | undefined {
    return this.#paths.get(path)?.at(-1);
  }

  paths(): IterableIterator<PathName> {
    return this.#paths.keys();
  }

  /** True when something present lies below `dir`, so that the directory must stay. */
  implies(dir: PathName): boolean {
    return (this.#below.get(dir) ?? 0) > 0 || this.last(dir)?.key === 'd';
  }

  /** Adds a change; returns the paths whose history it extends. */
  add(change: Change): PathName[] {
    this.streams.set(change.device, Math.max(change.seq, this.streams.get(change.device) ?? 0));
    const touched = [change.path];
    if (change.kind === 'moved' && change.from !== undefined && change.from !== change.path) {
      // Two files that swapped names are two moves with one `at`: the second must not empty what the first has filled.
      const source = this.last(change.from);
      if (source !== undefined && (source.change.at !== change.at || source.device !== change.device)) {
        this.#insert(change.from, this.#moment(change, ''));
        touched.push(change.from);
      }
      this.moves.set(change.path, change.from);
    }
    this.#insert(change.path, this.#moment(change, keyOf(nodeOfChange(change))));
    return touched;
  }

  #moment(change: Change, key: string): LogMoment {
    const { device, seq, hlc, cause } = change;
    return {
      key,
      device,
      seq,
      hlc,
      workspace: this.#workspace,
      change,
      ...(cause?.kind === 'received' && { cause: { workspace: cause.workspace, version: cause.version } })
    };
  }

  #insert(path: PathName, moment: LogMoment): void {
    let list = this.#paths.get(path);
    if (list === undefined) {
      list = [];
      this.#paths.set(path, list);
    }
    const before = list.at(-1)?.key ?? '';
    // Almost always at the end; a stream that arrives late belongs further in.
    let at = list.length;
    for (let prior = list[at - 1]; prior !== undefined && comparePlaces(prior, moment) > 0; prior = list[at - 1]) {
      at -= 1;
    }
    list.splice(at, 0, moment);
    const after = list.at(-1)?.key ?? '';
    if ((before === '') !== (after === '')) {
      const step = after === '' ? -1 : 1;
      for (let dir = parentOf(path); dir !== ''; dir = parentOf(dir)) {
        this.#below.set(dir, (this.#below.get(dir) ?? 0) + step);
      }
    }
  }
}

export function comparePlaces(a: Moment, b: Moment): number {
  return a.hlc - b.hlc || (a.device < b.device ? -1 : a.device > b.device ? 1 : a.seq - b.seq);
}

/**
 * The history of a path over several logs. A moment that was received from another of these logs stands there already and
 * is left out: the copy is no news, and its clock is not that of the edit.
 */
export function mergeHistories(all: readonly Histories[], path: PathName): readonly LogMoment[] {
  const lists = all.map(histories => histories.of(path)).filter(list => list.length > 0);
  if (lists.length <= 1) {
    return lists[0] ?? [];
  }
  const named = new Map<string, LogMoment>();
  for (const moment of lists.flat()) {
    named.set(`${moment.workspace}/${versionId(moment)}`, moment);
  }
  return [...named.values()]
    .filter(({ cause }) => cause === undefined || !named.has(`${cause.workspace}/${cause.version}`))
    .sort(comparePlaces);
}
