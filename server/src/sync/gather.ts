/**
 * What `reconcile` is asked: for each path that waits, what was last common, what stands on disk, and what the logs want.
 * Decides by the histories (core/lineage.ts) what the common state is; by the clock of nobody.
 */
import { versionId } from '../core/change.ts';
import { relate, type Moment } from '../core/lineage.ts';
import type { PathName } from '../core/path-name.ts';
import { above, nodeOf, sameContent, type Node } from '../core/reconcile.ts';
import type { Agreements } from './agreements.ts';
import { isWritable, mergeHistories, type Histories, type LogMoment } from './history.ts';
import type { DiskView, Look } from './look.ts';
import type { ProblemEvent } from './receiving.ts';
import type { FollowedLog } from './source.ts';
import type { Waiting } from './waiting.ts';
import { withoutContent } from './write-versions.ts';

export interface GatherPlace {
  readonly waiting: Waiting;
  readonly agreements: Agreements;
  readonly disk: DiskView;
  /** The log of the output, when there is one. */
  readonly own: FollowedLog | undefined;
  /** Also what failed and waits to be tried again. */
  readonly force: boolean;
  /** How long what changed on disk may wait to be recorded, milliseconds. */
  readonly recordWaitMs: number;
  readonly allowed: (path: PathName, isDirectory: boolean) => boolean;
  /** Reported once for each `key`. */
  readonly onProblem: (key: string, problem: ProblemEvent) => void;
}

export interface Gathered {
  readonly ancestor: ReadonlyMap<PathName, Node>;
  readonly disk: ReadonlyMap<PathName, Node>;
  readonly log: ReadonlyMap<PathName, Node>;
  /** What was seen on disk. */
  readonly looks: ReadonlyMap<PathName, Look>;
  /** Where what the logs want comes from. */
  readonly sources: ReadonlyMap<PathName, LogMoment>;
  /** Whose state is the later one, where both sides changed a path. */
  readonly newer: ReadonlyMap<PathName, 'disk' | 'log'>;
  /** Where files of the logs were moved from, when they can still be moved from there. */
  readonly moves: ReadonlyMap<PathName, PathName>;
  /** Waiting for the recorder: not to be touched now. */
  readonly held: ReadonlySet<PathName>;
}

/** Present, and equal to nothing: the ancestor of a path that both sides changed. */
const NO_COMMON: Node = { type: 'other' };
/** Moves that are followed back. */
const MOST_MOVES = 64;

/** Looks at all that waits. */
export async function gather(all: readonly Histories[], place: GatherPlace): Promise<Gathered> {
  const gathering = new Gathering(all, place);
  await gathering.waiting();
  gathering.around();
  return { ...gathering, moves: gathering.movesOf() };
}

class Gathering {
  readonly #all: readonly Histories[];
  readonly #place: GatherPlace;
  readonly #seen = new Set<PathName>();
  readonly #now = Date.now();
  readonly ancestor = new Map<PathName, Node>();
  readonly disk = new Map<PathName, Node>();
  readonly log = new Map<PathName, Node>();
  readonly looks = new Map<PathName, Look>();
  readonly sources = new Map<PathName, LogMoment>();
  readonly newer = new Map<PathName, 'disk' | 'log'>();
  readonly held = new Set<PathName>();

  constructor(all: readonly Histories[], place: GatherPlace) {
    this.#all = all;
    this.#place = place;
    place.disk.newPass();
  }

  /** Every path that waits, with what stands in its way. */
  async waiting(): Promise<void> {
    const { waiting, disk, force } = this.#place;
    for (const path of waiting.paths()) {
      if ((waiting.rests(path, this.#now) && !force) || this.#seen.has(path)) continue;
      await this.#consider(path, false);
      if (!this.log.has(path)) continue;
      // Whatever is not a directory above it, and all that is below it when a file is to stand there, belongs to the question.
      for (const dir of above(path)) {
        const standing = await disk.standing(dir);
        if (standing !== 'directory' && standing !== 'missing' && !this.#seen.has(standing)) {
          await this.#consider(standing, true);
        }
      }
      let waits = [...above(path)].some(dir => this.held.has(dir));
      if (this.log.get(path)?.type !== 'directory' && this.disk.get(path)?.type === 'directory') {
        for (const below of await disk.below(path)) {
          if (!this.#seen.has(below)) await this.#consider(below, true);
          waits ||= this.held.has(below);
        }
      }
      if (waits) {
        // What stands in its way is not judged yet, so neither can this be.
        this.held.add(path);
        waiting.hold(path, this.#now);
        for (const tree of [this.ancestor, this.disk, this.log]) tree.delete(path);
      }
    }
  }

  /** What the logs have above these paths decides whether they contradict themselves. */
  around(): void {
    for (const path of [...this.log.keys()]) {
      for (const dir of above(path)) {
        if (this.#seen.has(dir)) continue;
        const last = mergeHistories(this.#all, dir).at(-1);
        if (last === undefined || last.key === '' || last.key === 'd') continue;
        setNode(this.log, dir, nodeOf(last.key));
        setNode(this.ancestor, dir, nodeOf(last.key));
      }
    }
  }

  movesOf(): ReadonlyMap<PathName, PathName> {
    const moves = new Map<PathName, PathName>();
    for (const path of this.log.keys()) {
      let from = this.sources.get(path)?.change.kind === 'moved' ? lastMove(this.#all, path) : undefined;
      for (let i = 0; from !== undefined && i < MOST_MOVES && !this.#canLeave(from); i += 1) {
        from = lastMove(this.#all, from);
      }
      if (from !== undefined && from !== path) moves.set(path, from);
    }
    return moves;
  }

  #canLeave(path: PathName): boolean {
    return this.disk.has(path) && !this.log.has(path) && this.ancestor.has(path);
  }

  /** Puts one path into the three trees, or decides that it is not to be touched now. */
  async #consider(path: PathName, standsInTheWay: boolean): Promise<void> {
    this.#seen.add(path);
    const { waiting, agreements, disk } = this.#place;
    const history = mergeHistories(this.#all, path);
    const last = history.at(-1);
    if (last !== undefined && !this.#place.allowed(path, last.change.type === 'directory')) {
      waiting.ignore(path);
      return;
    }
    const recorded = this.#place.own?.histories?.of(path) ?? [];
    const { own, look: early } = await this.#ownHistory(path, recorded);
    if (!standsInTheWay && last !== undefined && agreements.isRefused(path, last, recorded.at(-1))) {
      waiting.done(path);
      return;
    }
    const lineage = own === undefined ? undefined : relate(own, history);
    const nothingNew = lineage !== undefined && (lineage.relation === 'behind' || lineage.relation === 'same');
    if (!standsInTheWay && (last === undefined || (nothingNew && lineage.relation === 'behind'))) {
      waiting.done(path);
      return;
    }
    const wanted = last === undefined ? undefined : nodeOf(last.key);
    if (last !== undefined && wanted !== undefined && !nothingNew && !isWritable(last.change)) {
      this.#place.onProblem(`content ${versionId(last.change)}`, withoutContent(last.change));
      waiting.done(path);
      return;
    }
    const look = early ?? (await disk.look(path));
    this.looks.set(path, look);
    const stands = look.node;
    let base: Node | undefined;
    if (lineage === undefined) {
      base = this.#withoutOwnLog(path, history, stands);
    } else if (nothingNew) {
      base = wanted;
    } else {
      base = lineage.relation === 'ahead' ? stands : NO_COMMON;
      this.newer.set(path, lineage.newer === 'own' ? 'disk' : 'log');
      if (this.#isUnseen(path, stands, wanted, own)) {
        // Changed on disk and not recorded yet: let the recorder see it before it is judged.
        if (this.#now - waiting.hold(path, this.#now) < this.#place.recordWaitMs) {
          this.held.add(path);
          return;
        }
        base = NO_COMMON;
        this.newer.set(path, 'log');
      }
    }
    setNode(this.ancestor, path, base);
    setNode(this.disk, path, stands);
    setNode(this.log, path, wanted);
    if (last !== undefined) this.sources.set(path, last);
  }

  /** Our history of a path, none when the output has no log of its own; and what stands there, when that had to be seen. */
  async #ownHistory(path: PathName, recorded: readonly Moment[]): Promise<{ own?: readonly Moment[]; look?: Look }> {
    const { own, agreements, waiting, disk } = this.#place;
    if (own === undefined) return {};
    const withPut = agreements.withPut(path, recorded, own.workspaceId ?? '');
    if (withPut.length === recorded.length || !waiting.isUnrecorded(path)) return { own: withPut };
    const look = await disk.look(path);
    const stands = look.node;
    // Written by us and gone again before the recorder saw it: no log will ever know, so it counts as never written.
    const gone =
      sameContent(stands, nodeOf(recorded.at(-1)?.key ?? '')) &&
      !sameContent(stands, nodeOf(withPut.at(-1)?.key ?? ''));
    return { own: gone ? recorded : withPut, look };
  }

  #withoutOwnLog(path: PathName, history: readonly LogMoment[], stands: Node | undefined): Node | undefined {
    const agreed = this.#place.agreements.on(path);
    const from = agreed === undefined ? -1 : history.findIndex(moment => versionId(moment) === agreed.version);
    // A run that was cut off may have put a later version than the one it remembers; that is nobody's edit.
    const put = history.some((moment, i) => i > from && sameContent(stands, nodeOf(moment.key)));
    return put ? stands : nodeOf(agreed?.key ?? '');
  }

  /** What stands is neither what the logs want nor what our recorder has seen. */
  #isUnseen(
    path: PathName,
    stands: Node | undefined,
    wanted: Node | undefined,
    own: readonly Moment[] | undefined
  ): boolean {
    const implied = stands?.type === 'directory' && this.#place.own?.histories?.implies(path) === true;
    return !sameContent(stands, wanted) && !sameContent(stands, nodeOf(own?.at(-1)?.key ?? '')) && !implied;
  }
}

function setNode(tree: Map<PathName, Node>, path: PathName, node: Node | undefined): void {
  if (node === undefined) tree.delete(path);
  else tree.set(path, node);
}

function lastMove(all: readonly Histories[], path: PathName): PathName | undefined {
  for (const histories of all) {
    const from = histories.moves.get(path);
    if (from !== undefined) return from;
  }
  return undefined;
}
