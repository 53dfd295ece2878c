/**
 * History by replay: all changes in memory, every question a walk over them. For the command line, for a log that
 * another process records, and for machines on which DuckDB cannot be loaded.
 */
import { parseVersionId, versionId, type Change } from '../core/change.ts';
import { historyOf } from '../core/history.ts';
import { encodePath, type PathName } from '../core/path-name.ts';
import { applyChange, type ReadonlyTree, type Tree } from '../core/tree.ts';
import {
  checkSignal,
  comparePlaces,
  decodeCursor,
  encodeCursor,
  foldPath,
  foldText,
  isVersionPrefix,
  versionAmbiguous,
  versionNotFound,
  type ChangeCounts,
  type ChangeRecord,
  type ChangesFilter,
  type DeletedRecord,
  type HistoryEngine,
  type HistoryPage,
  type Place,
  type QueryOptions,
  type RecordPage
} from './history-queries.ts';
import { PreviousState } from './previous-state.ts';

/** See the file's first lines. */
export class ReplayQueries implements HistoryEngine {
  readonly #changes: Change[] = [];
  readonly #previous = new Map<Change, Change>();
  readonly #tree = new Map<PathName, Change>();
  readonly #fold = new PreviousState<Change>();
  readonly #positions = new Map<string, number>();
  readonly #known = new Set<PathName>();

  /** An engine that holds these changes, given in order. */
  static async of(changes: Iterable<Change> | AsyncIterable<Change>): Promise<ReplayQueries> {
    const replay = new ReplayQueries();
    for await (const change of changes) replay.#add(change);
    return replay;
  }

  #add(change: Change): void {
    const before = this.#fold.apply(this.#tree, change, change);
    if (before !== undefined) this.#previous.set(change, before);
    this.#changes.push(change);
    this.#positions.set(change.device, change.seq);
    this.#known.add(change.path);
    if (change.from !== undefined) this.#known.add(change.from);
  }

  apply(changes: readonly Change[]): Promise<void> {
    for (const change of changes) this.#add(change);
    return Promise.resolve();
  }

  get last(): Place | undefined {
    return this.#changes.at(-1);
  }

  get positions(): ReadonlyMap<string, number> {
    return this.#positions;
  }

  #record(change: Change): ChangeRecord {
    const before = this.#previous.get(change);
    return {
      change,
      ...(before?.size !== undefined && { previousSize: before.size }),
      ...(before !== undefined && { previousVersionId: versionId(before) })
    };
  }

  #exact(id: string): Change | undefined {
    const wanted = parseVersionId(id);
    if (wanted === undefined) return undefined;
    return this.#changes.find(change => change.seq === wanted.seq && change.device === wanted.device);
  }

  #page(matching: readonly Change[], limit: number, before: string | undefined): RecordPage {
    const cursor = before === undefined ? undefined : decodeCursor(before);
    const from = cursor === undefined ? 0 : matching.findIndex(change => comparePlaces(change, cursor) < 0);
    const rest = from < 0 ? [] : matching.slice(from);
    const shown = rest.slice(0, limit);
    const last = shown.at(-1);
    return {
      records: shown.map(change => this.#record(change)),
      ...(rest.length > limit && last !== undefined && { next: encodeCursor(last) }),
      total: matching.length
    };
  }

  // Every question is a promise, so that a bad cursor rejects as it does in the other engine.
  async changes(filter: ChangesFilter, options: QueryOptions = {}): Promise<RecordPage> {
    checkSignal(options.signal);
    const after = filter.after === undefined ? undefined : this.#exact(filter.after);
    if (filter.after !== undefined && after === undefined) throw versionNotFound(filter.after);
    const q = filter.q === undefined ? undefined : foldText(filter.q);
    const { path, under, kind, since, until } = filter;
    const matches = (change: Change): boolean =>
      (after === undefined || comparePlaces(change, after) > 0) &&
      (path === undefined || change.path === path) &&
      (under === undefined ||
        isUnder(change.path, under) ||
        (change.from !== undefined && isUnder(change.from, under))) &&
      (kind === undefined || change.kind === kind) &&
      (q === undefined || foldPath(change.path).includes(q)) &&
      (since === undefined || change.at >= since) &&
      (until === undefined || change.at <= until);
    const matching = this.#changes.filter(matches);
    if (filter.oldestFirst === true) {
      return { records: matching.slice(0, filter.limit).map(change => this.#record(change)), total: matching.length };
    }
    return this.#page(matching.reverse(), filter.limit, filter.before);
  }

  async history(
    path: PathName,
    page: { limit: number; before?: string },
    options: QueryOptions = {}
  ): Promise<HistoryPage> {
    checkSignal(options.signal);
    return { ...this.#page(historyOf(this.#changes, path), page.limit, page.before), exists: this.#tree.has(path) };
  }

  async tree(which: { at?: number; under?: PathName }, options: QueryOptions = {}): Promise<Change[]> {
    checkSignal(options.signal);
    let tree: ReadonlyTree = this.#tree;
    const { at, under } = which;
    if (at !== undefined) {
      const then: Tree = new Map();
      for (const change of this.#changes) if (change.at <= at) applyChange(then, change);
      tree = then;
    }
    const entries = [...tree.values()].filter(change => under === undefined || isUnder(change.path, under));
    return entries
      .map(change => ({ change, bytes: encodePath(change.path) }))
      .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
      .map(entry => entry.change);
  }

  async deleted(
    which: { under?: PathName; q?: string; limit: number },
    options: QueryOptions = {}
  ): Promise<DeletedRecord[]> {
    checkSignal(options.signal);
    const { under, limit } = which;
    const q = which.q === undefined ? undefined : foldText(which.q);
    const seen = new Set<PathName>();
    const out: DeletedRecord[] = [];
    for (let i = this.#changes.length - 1; i >= 0 && out.length < limit; i--) {
      const change = this.#changes[i];
      if (change === undefined || seen.has(change.path)) continue;
      seen.add(change.path);
      if (change.kind !== 'deleted' || (under !== undefined && !isUnder(change.path, under))) continue;
      if (q !== undefined && !foldPath(change.path).includes(q)) continue;
      const last = historyOf(this.#changes, change.path).find(
        version => version.content !== undefined && version.type !== 'directory'
      );
      if (last !== undefined) out.push({ path: change.path, deleted: this.#record(change), last: this.#record(last) });
    }
    return out;
  }

  async version(id: string, options: QueryOptions = {}): Promise<ChangeRecord> {
    checkSignal(options.signal);
    const exact = this.#exact(id);
    if (exact !== undefined) return this.#record(exact);
    if (parseVersionId(id) !== undefined || !isVersionPrefix(id)) throw versionNotFound(id);
    const matches = this.#changes.filter(change => versionId(change).startsWith(id));
    const [first] = matches;
    if (first === undefined) throw versionNotFound(id);
    if (matches.length > 1) throw versionAmbiguous(id, matches.length);
    return this.#record(first);
  }

  async recordsOf(changes: readonly Change[], options: QueryOptions = {}): Promise<ChangeRecord[]> {
    checkSignal(options.signal);
    return changes.map(change =>
      this.#record(this.#previous.has(change) ? change : (this.#exact(versionId(change)) ?? change))
    );
  }

  async counts(options: QueryOptions = {}): Promise<ChangeCounts> {
    checkSignal(options.signal);
    const byKind = { created: 0, modified: 0, deleted: 0, moved: 0 };
    let versions = 0;
    let contentBytes = 0;
    for (const change of this.#changes) {
      if (change.type === 'directory') continue;
      byKind[change.kind] += 1;
      if (change.kind === 'deleted') continue;
      versions += 1;
      contentBytes += change.size ?? 0;
    }
    let trackedFiles = 0;
    for (const change of this.#tree.values()) if (change.type !== 'directory') trackedFiles += 1;
    return {
      byKind,
      changes: this.#changes.length,
      versions,
      devices: this.#positions.size,
      trackedFiles,
      contentBytes
    };
  }

  async firstKnown(paths: readonly PathName[], options: QueryOptions = {}): Promise<PathName | undefined> {
    checkSignal(options.signal);
    return paths.find(path => this.#known.has(path));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function isUnder(path: PathName, folder: PathName): boolean {
  return folder === '' || path === folder || path.startsWith(`${folder}/`);
}
