/**
 * Feeding an index that has nothing yet with all of a log. Paths, contents and the tree are held in memory while it goes on, so
 * that nothing is looked up, and everything is written once and in large pieces. One transaction: a crash leaves an empty index, for
 * which it is begun again.
 *
 * What is held is bounded; a log that needs more is taken up to there, and the rest goes the way of every other change (feed.ts).
 */
import type { Change } from '../core/change.ts';
import type { PathName } from '../core/path-name.ts';
import { putChange, type RowState } from './change-row.ts';
import { RowColumns } from './columns.ts';
import { ContentNumbers, HASH_WORDS, hashWords } from './content-numbers.ts';
import { ROW_GROUP, type IndexDatabase } from './database.ts';
import { PAIR_COLUMNS, PATH_COLUMNS, putHash, putPath, writeMoves, writePaths, writeProgress } from './feed.ts';
import type { StateTree } from './previous-state.ts';
import { Progress } from './progress.ts';
import { CHANGE_COLUMNS, HASH_COLUMNS, NO_HASH } from './schema.ts';

/** Rows written by one statement. Whole row groups are compressed once and go to the disk without the log beside it. */
const GROUP = ROW_GROUP * 4;
/** How many times as many rows have their ends written by one statement. */
const GROUPS_AT_ONCE = 8;
/** Paths written by one statement. */
const PATHS_AT_ONCE = 65_536;
/** What DuckDB gets of what may be had for one piece of work; the rest is for what is held here. */
const SHARE = 0.5;
/** Bytes held for a path and its state, beside one for each letter; estimated. */
const PATH_BYTES = 150;

/** See the file's first lines. */
export class BulkFeed {
  readonly #db: IndexDatabase;
  readonly #rows: RowColumns<typeof CHANGE_COLUMNS>;
  readonly #hashes: RowColumns<typeof HASH_COLUMNS>;
  readonly #progress = new Progress();
  readonly #tree = new BulkTree();
  readonly #contents = new ContentNumbers();
  readonly #words = new Uint32Array(HASH_WORDS);
  readonly #bound: number;
  /** Rows in the columns, of a group. */
  #filled = 0;
  #filledHashes = 0;
  #moves: [row: number, path: number, from: number][] = [];
  #writing: Promise<void> = Promise.resolve();

  private constructor(db: IndexDatabase) {
    this.#db = db;
    this.#rows = new RowColumns(db.api, CHANGE_COLUMNS, GROUP);
    // A change brings two at most.
    this.#hashes = new RowColumns(db.api, HASH_COLUMNS, GROUP * 2);
    this.#bound = db.options.memoryMost * (1 - SHARE) * 1e6;
  }

  /** Begins. The index is empty, and nobody else uses the database until {@link finish} or {@link abandon}. */
  static async begin(db: IndexDatabase): Promise<BulkFeed> {
    await db.limitMemory(Math.max(db.options.memory, db.options.memoryMost * SHARE));
    // The order of the numbers is what their columns are small by, and found by.
    await db.run('SET preserve_insertion_order = true');
    await db.run('BEGIN');
    return new BulkFeed(db);
  }

  /** Takes a change. @returns True: {@link write} has to be called before the next one. */
  add(change: Change): boolean {
    const progress = this.#progress;
    const tree = this.#tree;
    const at = this.#filled;
    const device = progress.add(change);
    const row = progress.count;
    const path = tree.idOf(change.path);
    const from = change.from === undefined ? null : tree.idOf(change.from);
    const hash = this.#hashOf(change.hash);
    const previousHash = this.#hashOf(change.previousHash);
    tree.begin(row);
    const previous = progress.fold.apply(tree, change, { at: change.at, device: change.device, row, hash });
    putChange(this.#rows, at, change, { row, device, path, from, hash, previousHash, previous });
    if (change.kind === 'deleted') tree.end(row, row);
    if (change.kind === 'moved' && from !== null) this.#moves.push([row, path, from]);
    this.#filled += 1;
    return this.#filled === GROUP;
  }

  #hashOf(hash: string | undefined): number {
    if (hash === undefined) return NO_HASH;
    hashWords(hash, this.#words);
    const number = this.#contents.numberOf(this.#words);
    if (number > this.#written + this.#filledHashes) {
      putHash(this.#hashes, this.#filledHashes++, number, this.#words);
    }
    return number;
  }

  #written = 0;

  /** How many changes were taken. */
  get count(): number {
    return this.#progress.count;
  }

  /** No more should be taken. */
  get full(): boolean {
    return this.#contents.bytes + this.#tree.bytes > this.#bound;
  }

  /** Writes the rows that are there. Comes back when more can be taken; DuckDB goes on for a while. */
  async write(): Promise<void> {
    const db = this.#db;
    await this.#writing;
    const count = this.#filled;
    const hashes = this.#filledHashes;
    if (count === 0) return;
    const first = this.#progress.count - count + 1;
    this.#tree.takeEnds(first, count, (i, by) => this.#rows.of.ended.set(i, by));
    await db.stage('bulk_rows', CHANGE_COLUMNS, this.#rows, count);
    if (hashes > 0) await db.stage('bulk_hashes', HASH_COLUMNS, this.#hashes, hashes);
    const moves = this.#moves;
    this.#moves = [];
    this.#filled = 0;
    this.#written += hashes;
    this.#filledHashes = 0;
    const writing = async (): Promise<void> => {
      await db.run('INSERT INTO change_rows SELECT * FROM bulk_rows');
      if (hashes > 0) await db.run('INSERT INTO hashes SELECT * FROM bulk_hashes');
      await writeMoves(db, moves);
    };
    this.#writing = writing();
    // Whoever waits for it next meets the error.
    this.#writing.catch(() => undefined);
  }

  /** Writes what is left, and makes all of it stand. @returns Where the index is. */
  async finish(): Promise<Progress> {
    const db = this.#db;
    await this.write();
    await this.#writing;
    for (const table of ['bulk_rows', 'bulk_hashes']) await db.run(`DROP TABLE IF EXISTS temp.${table}`);
    await this.#writeEnds();
    await this.#writePaths();
    this.#progress.nextPath = this.#tree.count + 1;
    this.#progress.nextHash = this.#contents.count + 1;
    await writeProgress(db, new Progress(), this.#progress);
    await db.run('COMMIT');
    await db.checkpoint();
    await this.#restore();
    return this.#progress;
  }

  /** Gives up: the index stays empty. */
  async abandon(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#db.run('ROLLBACK').catch(() => undefined);
    await this.#restore();
  }

  async #restore(): Promise<void> {
    await this.#db.run('SET preserve_insertion_order = false');
    // Refused while more is in use; the next piece of work that needs more comes back to it.
    await this.#db.limitMemory(this.#db.options.memory).catch(() => undefined);
  }

  /** What ended rows after they were written. */
  async #writeEnds(): Promise<void> {
    const db = this.#db;
    const size = GROUP * GROUPS_AT_ONCE;
    const pairs = new RowColumns(db.api, PAIR_COLUMNS, Math.min(size, this.count));
    for (let first = 1; first <= this.count; first += size) {
      let count = 0;
      this.#tree.lateEnds(first, Math.min(size, this.count - first + 1), (row, by) => {
        pairs.of.id.set(count, row);
        pairs.of.value.set(count, by);
        count += 1;
      });
      if (count === 0) continue;
      await db.stage('bulk_ends', PAIR_COLUMNS, pairs, count);
      await db.run('UPDATE change_rows SET ended = b.value FROM bulk_ends b WHERE change_rows.id = b.id');
    }
    await db.run('DROP TABLE IF EXISTS temp.bulk_ends');
  }

  async #writePaths(): Promise<void> {
    const rows = new RowColumns(this.#db.api, PATH_COLUMNS, Math.min(PATHS_AT_ONCE, this.#tree.count));
    let count = 0;
    for (const [id, name, row] of this.#tree.paths()) {
      putPath(rows, count++, id, name, row);
      if (count < PATHS_AT_ONCE) continue;
      await writePaths(this.#db, rows, count);
      count = 0;
    }
    if (count > 0) await writePaths(this.#db, rows, count);
  }
}

/** The tree while all of it is in memory, and what ended each row. */
class BulkTree implements StateTree<RowState> {
  readonly #ids = new Map<PathName, number>();
  readonly #states: (RowState | undefined)[] = [undefined];
  #letters = 0;
  /** By row, in pieces of {@link GROUP}: what ended it; 0: nothing, or it was told of already. */
  readonly #ends: Int32Array[] = [];
  #row = 0;
  #lastName: PathName | undefined;
  #lastId = 0;

  get count(): number {
    return this.#ids.size;
  }

  /** What it takes, bytes; estimated. */
  get bytes(): number {
    return this.#ids.size * PATH_BYTES + this.#letters + this.#ends.length * GROUP * 4;
  }

  /** Number of a path, from 1. */
  idOf(name: PathName): number {
    if (name === this.#lastName) return this.#lastId;
    let id = this.#ids.get(name);
    if (id === undefined) {
      id = this.#ids.size + 1;
      this.#ids.set(name, id);
      this.#states.push(undefined);
      this.#letters += name.length;
    }
    this.#lastName = name;
    this.#lastId = id;
    return id;
  }

  /** What follows is of this row. */
  begin(row: number): void {
    this.#row = row;
    if (row > this.#ends.length * GROUP) this.#ends.push(new Int32Array(GROUP));
  }

  get(path: PathName): RowState | undefined {
    return this.#states[this.idOf(path)];
  }

  set(path: PathName, state: RowState): void {
    const id = this.idOf(path);
    const before = this.#states[id];
    if (before !== undefined) this.end(before.row, this.#row);
    this.#states[id] = state;
  }

  delete(path: PathName): void {
    const id = this.idOf(path);
    const before = this.#states[id];
    if (before !== undefined) this.end(before.row, this.#row);
    this.#states[id] = undefined;
  }

  end(row: number, by: number): void {
    (this.#ends[Math.trunc((row - 1) / GROUP)] as Int32Array)[(row - 1) % GROUP] = by;
  }

  /** Tells, once, of the rows from `first` on that were ended. */
  takeEnds(first: number, count: number, tell: (i: number, by: number) => void): void {
    for (let i = 0; i < count; i++) {
      const piece = this.#ends[Math.trunc((first + i - 1) / GROUP)] as Int32Array;
      const place = (first + i - 1) % GROUP;
      const by = piece[place] as number;
      if (by === 0) continue;
      tell(i, by);
      piece[place] = 0;
    }
  }

  /** As {@link takeEnds}, with the row. */
  lateEnds(first: number, count: number, tell: (row: number, by: number) => void): void {
    this.takeEnds(first, count, (i, by) => tell(first + i, by));
  }

  *paths(): Iterable<[id: number, name: PathName, row: number | undefined]> {
    for (const [name, id] of this.#ids) yield [id, name, this.#states[id]?.row];
  }
}
