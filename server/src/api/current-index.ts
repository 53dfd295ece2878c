/** The index in use: none at first, replay while another process records, DuckDB when this one does. */
import type { Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import type { HistoryIndex, IndexStatus, IndexTables } from '../index/change-index.ts';
import type {
  ChangeCounts,
  ChangeRecord,
  ChangesFilter,
  DeletedRecord,
  HistoryPage,
  QueryOptions,
  RecordPage
} from '../index/history-queries.ts';

/** Questions wait while a log is being opened, and go to whatever index is in use then. */
export class CurrentIndex implements HistoryIndex {
  #current: HistoryIndex | undefined;
  #refusal: Error | undefined;
  #waiting: (() => void)[] = [];

  /** Questions go to this index from now on. */
  use(index: HistoryIndex): void {
    this.#current = index;
    this.#refusal = undefined;
    this.#wake();
  }

  /** There is no index, and questions fail with this. */
  refuse(error: Error): void {
    this.#current = undefined;
    this.#refusal = error;
    this.#wake();
  }

  /** There is no index yet: questions wait. */
  hold(): void {
    this.#current = undefined;
    this.#refusal = undefined;
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  get status(): IndexStatus {
    return this.#current?.status ?? { ready: false, detail: 'there is no log to read yet' };
  }

  async #queries(): Promise<HistoryIndex> {
    for (;;) {
      if (this.#current !== undefined) return this.#current;
      if (this.#refusal !== undefined) throw this.#refusal;
      await new Promise<void>(resolve => this.#waiting.push(resolve));
    }
  }

  async changes(filter: ChangesFilter, options?: QueryOptions): Promise<RecordPage> {
    return (await this.#queries()).changes(filter, options);
  }

  async history(
    path: PathName,
    page: { limit: number; before?: string },
    options?: QueryOptions
  ): Promise<HistoryPage> {
    return (await this.#queries()).history(path, page, options);
  }

  async tree(which: { at?: number; under?: PathName }, options?: QueryOptions): Promise<Change[]> {
    return (await this.#queries()).tree(which, options);
  }

  async deleted(
    which: { under?: PathName; q?: string; limit: number },
    options?: QueryOptions
  ): Promise<DeletedRecord[]> {
    return (await this.#queries()).deleted(which, options);
  }

  async version(id: string, options?: QueryOptions): Promise<ChangeRecord> {
    return (await this.#queries()).version(id, options);
  }

  async recordsOf(changes: readonly Change[], options?: QueryOptions): Promise<ChangeRecord[]> {
    return (await this.#queries()).recordsOf(changes, options);
  }

  async counts(options?: QueryOptions): Promise<ChangeCounts> {
    return (await this.#queries()).counts(options);
  }

  async firstKnown(paths: readonly PathName[], options?: QueryOptions): Promise<PathName | undefined> {
    return (await this.#queries()).firstKnown(paths, options);
  }

  async copyTo(file: string, known: string | undefined): Promise<string> {
    const index = await this.#queries();
    if (index.copyTo !== undefined) return index.copyTo(file, known);
    throw new SyftError('SQL_UNAVAILABLE', 'Another process records this folder: syft-sync sql asks it.');
  }

  async tables(): Promise<IndexTables | undefined> {
    return (await this.#queries()).tables?.();
  }
}
