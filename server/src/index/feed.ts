/**
 * Feeding: changes go into the tables in batches. A batch and the position it leads to go in with one transaction, so that a
 * crash leaves the position that its rows have.
 *
 * Holds no list of paths or changes in memory; what a batch needs is looked up by joins. See bulk-feed.ts for a log that is
 * indexed for the first time.
 */
import type { Change } from '../core/change.ts';
import { displayPath, encodePath, type PathName } from '../core/path-name.ts';
import { putChange, type RowState } from './change-row.ts';
import { RowColumns } from './columns.ts';
import { HASH_WORDS, hashWords } from './content-numbers.ts';
import type { IndexDatabase } from './database.ts';
import { Fingerprint } from './fingerprint.ts';
import { foldPath } from './history-queries.ts';
import type { StateTree } from './previous-state.ts';
import { Progress } from './progress.ts';
import { CHANGE_COLUMNS, HASH_COLUMNS, hashTextOf, keyOf, nameOf, NO_HASH } from './schema.ts';

export const PATH_COLUMNS = {
  id: 'INTEGER',
  name: 'BLOB',
  display: 'VARCHAR',
  folded: 'VARCHAR',
  row: 'INTEGER'
} as const;
export const PAIR_COLUMNS = { id: 'INTEGER', value: 'INTEGER' } as const;
const BATCH_PATH_COLUMNS = { k: 'INTEGER', display: 'VARCHAR' } as const;
/** While there are no more, a batch looks among all hashes for its own; what is beyond may get a second number. */
const HASHES_SEARCHED = 1_000_000;

/** The paths of a batch, as they were before it. */
interface BatchPath {
  readonly name: PathName;
  id: number;
  /** What was there; `undefined`: nothing. */
  row: number | undefined;
  known: boolean;
}

/** See the file's first lines. All that is here runs within {@link IndexDatabase.exclusive}. */
export class Feed {
  readonly #db: IndexDatabase;
  #progress = new Progress();

  constructor(db: IndexDatabase) {
    this.#db = db;
  }

  get progress(): Progress {
    return this.#progress;
  }

  /** Takes the place of what was known: a bulk feed is done. */
  set progress(progress: Progress) {
    this.#progress = progress;
  }

  async apply(changes: readonly Change[]): Promise<void> {
    const progress = this.#progress.copy();
    await this.#db.transaction(() => this.#apply(changes, progress));
    this.#progress = progress;
  }

  async #apply(changes: readonly Change[], progress: Progress): Promise<void> {
    const db = this.#db;
    const first = progress.count + 1;
    const paths = await this.#pathsOf(changes, progress);
    const tree = new BatchTree(await this.#statesOf(paths, progress));
    const hashes = await this.#hashesOf(changes, tree, progress);
    const hashOf = (hash: string | undefined): number => (hash === undefined ? NO_HASH : (hashes.get(hash) as number));

    const rows = new RowColumns(db.api, CHANGE_COLUMNS, changes.length);
    const moves: [row: number, path: number, from: number][] = [];
    for (const [i, change] of changes.entries()) {
      const device = progress.add(change);
      const row = progress.count;
      const hash = hashOf(change.hash);
      tree.row = row;
      const previous = progress.fold.apply(tree, change, { at: change.at, device: change.device, row, hash });
      const path = (paths.get(change.path) as BatchPath).id;
      const from = change.from === undefined ? null : (paths.get(change.from) as BatchPath).id;
      putChange(rows, i, change, {
        row,
        device,
        path,
        from,
        hash,
        previousHash: hashOf(change.previousHash),
        previous
      });
      if (change.kind === 'moved' && from !== null) moves.push([row, path, from]);
    }
    const older: [row: number, by: number][] = [];
    for (const [row, by] of tree.ended) {
      if (row < first) older.push([row, by]);
      else rows.of.ended.set(row - first, by);
    }
    await db.stage('batch_rows', CHANGE_COLUMNS, rows, changes.length);
    await db.run('INSERT INTO change_rows SELECT * FROM batch_rows');
    await db.run('DROP TABLE temp.batch_rows');
    await this.#endRows(older);
    await this.#writePaths(paths, tree);
    await writeMoves(db, moves);
    await writeProgress(db, this.#progress, progress);
  }

  async #pathsOf(changes: readonly Change[], progress: Progress): Promise<Map<PathName, BatchPath>> {
    const db = this.#db;
    const paths = new Map<PathName, BatchPath>();
    const add = (name: PathName): void => {
      if (!paths.has(name)) paths.set(name, { name, id: 0, row: undefined, known: false });
    };
    for (const change of changes) {
      add(change.path);
      if (change.from !== undefined) add(change.from);
    }
    const list = [...paths.values()];
    const batch = new RowColumns(db.api, BATCH_PATH_COLUMNS, list.length);
    for (const [k, { name }] of list.entries()) {
      batch.of.k.set(k, k);
      batch.of.display.set(k, displayPath(name));
    }
    await db.stage('batch_paths', BATCH_PATH_COLUMNS, batch, list.length);
    // The keys first, by themselves: they are a fraction of the names.
    const found = await db.read(
      `WITH near AS MATERIALIZED (
         SELECT b.k, p.id FROM paths p JOIN (SELECT k, ${keyOf('display')} AS key FROM batch_paths) b ON b.key = p.key)
       SELECT near.k, p.id, p.row, ${nameOf('p')} FROM paths p JOIN near ON near.id = p.id`
    );
    for (const [k, id, row, name] of found) {
      const path = list[Number(k)] as BatchPath;
      if (Buffer.compare(encodePath(path.name), name as Uint8Array) !== 0) continue;
      path.id = Number(id);
      path.row = row === null ? undefined : Number(row);
      path.known = true;
    }
    for (const path of list) if (!path.known) path.id = progress.nextPath++;
    return paths;
  }

  async #statesOf(paths: ReadonlyMap<PathName, BatchPath>, progress: Progress): Promise<Map<PathName, RowState>> {
    const db = this.#db;
    const states = new Map<PathName, RowState>();
    const names = new Map<number, PathName>();
    for (const { name, row } of paths.values()) if (row !== undefined) names.set(row, name);
    if (names.size === 0) return states;
    await stagePairs(
      db,
      'batch_states',
      [...names.keys()].map(row => [row, 0])
    );
    const devices = new Map([...progress.devices].map(([name, id]) => [id, name]));
    const found = await db.read(
      `SELECT id, epoch_us(moment), device, hash FROM change_rows WHERE id IN (SELECT id FROM batch_states)`
    );
    for (const [row, at, device, hash] of found) {
      states.set(names.get(Number(row)) as PathName, {
        row: Number(row),
        at: Number(at),
        device: devices.get(Number(device)) as string,
        hash: hash === null ? NO_HASH : Number(hash)
      });
    }
    return states;
  }

  /** Numbers of the hashes of a batch; what is new is entered. */
  async #hashesOf(changes: readonly Change[], tree: BatchTree, progress: Progress): Promise<Map<string, number>> {
    const db = this.#db;
    const numbers = new Map<string, number>();
    for (const change of changes) {
      if (change.hash !== undefined) numbers.set(change.hash, NO_HASH);
      if (change.previousHash !== undefined) numbers.set(change.previousHash, NO_HASH);
    }
    if (numbers.size === 0) return numbers;
    const known = tree.hashes();
    if (known.length > 0) {
      await stagePairs(
        db,
        'batch_known',
        known.map(hash => [hash, 0])
      );
      const found = await db.read(
        `SELECT id, ${hashTextOf('h')} FROM hashes h WHERE id IN (SELECT id FROM batch_known)`
      );
      for (const [id, text] of found) if (numbers.has(String(text))) numbers.set(String(text), Number(id));
    }
    const missing = [...numbers].flatMap(([hash, number]) => (number === NO_HASH ? [hash] : []));
    if (missing.length === 0) return numbers;
    const rows = new RowColumns(db.api, HASH_COLUMNS, missing.length);
    const put = new HashPutter(rows);
    missing.forEach((hash, k) => put.set(k, k, hash));
    if (progress.nextHash <= HASHES_SEARCHED) {
      await db.stage('batch_hashes', HASH_COLUMNS, rows, missing.length);
      const found = await db.read(
        `WITH near AS MATERIALIZED (SELECT b.id AS k, h.id FROM hashes h JOIN batch_hashes b ON b.h0 = h.h0)
         SELECT near.k, h.id, ${hashTextOf('h')} FROM hashes h JOIN near ON near.id = h.id`
      );
      for (const [k, id, text] of found) if (missing[Number(k)] === text) numbers.set(String(text), Number(id));
    }
    let count = 0;
    for (const hash of missing) {
      if (numbers.get(hash) !== NO_HASH) continue;
      put.set(count++, progress.nextHash, hash);
      numbers.set(hash, progress.nextHash++);
    }
    await db.stage('batch_hashes', HASH_COLUMNS, rows, count);
    await db.run('INSERT INTO hashes SELECT * FROM batch_hashes');
    return numbers;
  }

  async #endRows(older: readonly [row: number, by: number][]): Promise<void> {
    if (older.length === 0) return;
    await stagePairs(this.#db, 'batch_ended', older);
    await this.#db.run('UPDATE change_rows SET ended = b.value FROM batch_ended b WHERE change_rows.id = b.id');
  }

  async #writePaths(paths: ReadonlyMap<PathName, BatchPath>, tree: BatchTree): Promise<void> {
    const db = this.#db;
    const added = [...paths.values()].filter(path => !path.known);
    if (added.length > 0) {
      const rows = new RowColumns(db.api, PATH_COLUMNS, added.length);
      for (const [i, { id, name }] of added.entries()) putPath(rows, i, id, name, tree.get(name)?.row);
      await writePaths(db, rows, added.length);
    }
    const moved: [id: number, row: number | null][] = [];
    for (const { name, id, row, known } of paths.values()) {
      const now = tree.get(name)?.row;
      if (known && now !== row) moved.push([id, now ?? null]);
    }
    if (moved.length === 0) return;
    await stagePairs(db, 'batch_tree', moved);
    await db.run('UPDATE paths SET row = b.value FROM batch_tree b WHERE paths.id = b.id');
  }
}

/** The tree at the paths of a batch, and what went out of it. */
class BatchTree implements StateTree<RowState> {
  readonly #states: Map<PathName, RowState>;
  /** What ended a row. */
  readonly ended = new Map<number, number>();
  /** The row that is being applied. */
  row = 0;

  constructor(states: Map<PathName, RowState>) {
    this.#states = states;
  }

  hashes(): number[] {
    return [...new Set([...this.#states.values()].map(state => state.hash))].filter(hash => hash !== NO_HASH);
  }

  get(path: PathName): RowState | undefined {
    return this.#states.get(path);
  }

  set(path: PathName, state: RowState): void {
    this.#end(path);
    this.#states.set(path, state);
  }

  delete(path: PathName): void {
    this.#end(path);
    this.#states.delete(path);
  }

  #end(path: PathName): void {
    const state = this.#states.get(path);
    if (state !== undefined) this.ended.set(state.row, this.row);
  }
}

/** Puts hashes into columns. */
export class HashPutter {
  readonly #words = new Uint32Array(HASH_WORDS);
  readonly #rows: RowColumns<typeof HASH_COLUMNS>;

  constructor(rows: RowColumns<typeof HASH_COLUMNS>) {
    this.#rows = rows;
  }

  /** @throws TypeError when it is no hash. */
  set(at: number, id: number, hash: string): void {
    hashWords(hash, this.#words);
    putHash(this.#rows, at, id, this.#words);
  }
}

export function putHash(
  { of: column }: RowColumns<typeof HASH_COLUMNS>,
  at: number,
  id: number,
  words: Uint32Array
): void {
  column.id.set(at, id);
  column.h0.halves(at, words[1] as number, words[0] as number);
  column.h1.halves(at, words[3] as number, words[2] as number);
  column.h2.halves(at, words[5] as number, words[4] as number);
  column.h3.halves(at, words[7] as number, words[6] as number);
}

/** Puts a path into columns. @param row What is there now. */
export function putPath(
  { of: column }: RowColumns<typeof PATH_COLUMNS>,
  at: number,
  id: number,
  name: PathName,
  row: number | undefined
): void {
  const display = displayPath(name);
  const folded = foldPath(name);
  column.id.set(at, id);
  column.name.set(at, display === name && name.isWellFormed() ? null : encodePath(name));
  column.display.set(at, display);
  column.folded.set(at, folded === display ? null : folded);
  column.row.set(at, row ?? null);
}

export async function writePaths(
  db: IndexDatabase,
  rows: RowColumns<typeof PATH_COLUMNS>,
  count: number
): Promise<void> {
  await db.stage('batch_paths', PATH_COLUMNS, rows, count);
  await db.run(`INSERT INTO paths SELECT id, ${keyOf('display')}, name, display, folded, row FROM batch_paths`);
  await db.run('DROP TABLE temp.batch_paths');
}

async function stagePairs(
  db: IndexDatabase,
  table: string,
  pairs: readonly (readonly [number, number | null])[]
): Promise<void> {
  const rows = new RowColumns(db.api, PAIR_COLUMNS, pairs.length);
  for (const [i, [id, value]] of pairs.entries()) {
    rows.of.id.set(i, id);
    rows.of.value.set(i, value);
  }
  await db.stage(table, PAIR_COLUMNS, rows, pairs.length);
}

const MOVE_COLUMNS = { id: 'INTEGER', path: 'INTEGER', from_path: 'INTEGER' } as const;

export async function writeMoves(
  db: IndexDatabase,
  moves: readonly (readonly [row: number, path: number, from: number])[]
): Promise<void> {
  if (moves.length === 0) return;
  const rows = new RowColumns(db.api, MOVE_COLUMNS, moves.length);
  for (const [i, [id, path, from]] of moves.entries()) {
    rows.of.id.set(i, id);
    rows.of.path.set(i, path);
    rows.of.from_path.set(i, from);
  }
  await db.stage('batch_moves', MOVE_COLUMNS, rows, moves.length);
  await db.run('INSERT INTO moved_rows SELECT * FROM batch_moves');
}

/** Writes how far the index is. */
export async function writeProgress(db: IndexDatabase, before: Progress, after: Progress): Promise<void> {
  for (const { low, high } of after.takeDisorder()) {
    await db.run('INSERT INTO disorder VALUES (make_timestamptz($1::BIGINT), make_timestamptz($2::BIGINT))', [
      BigInt(low),
      BigInt(high)
    ]);
  }
  for (const [name, id] of after.devices) {
    const seq = after.positions.get(name) ?? 0;
    if (!before.devices.has(name)) await db.run('INSERT INTO devices VALUES ($1, $2, $3)', [id, name, BigInt(seq)]);
    else if (seq !== before.positions.get(name)) {
      await db.run('UPDATE devices SET seq = $1 WHERE id = $2', [BigInt(seq), id]);
    }
  }
  await db.run('UPDATE meta SET changes = $1, fingerprint = $2', [BigInt(after.count), after.fingerprint.text]);
}

/** How far the index in the database is. */
export async function readProgress(db: IndexDatabase, count: number, fingerprint: string): Promise<Progress> {
  const progress = new Progress();
  progress.count = count;
  progress.fingerprint = Fingerprint.parse(fingerprint);
  for (const [id, name, seq] of await db.read('SELECT id, name, seq FROM devices')) {
    progress.devices.set(String(name), Number(id));
    progress.positions.set(String(name), Number(seq));
  }
  const [ends] =
    await db.read(`SELECT (SELECT coalesce(max(id), 0) FROM paths), (SELECT coalesce(max(id), 0) FROM hashes),
    (SELECT epoch_us(max(moment)) FROM change_rows)`);
  progress.nextPath = Number(ends?.[0]) + 1;
  progress.nextHash = Number(ends?.[1]) + 1;
  if (ends?.[2] !== null) progress.latest = Number(ends?.[2]);
  const [last] = await db.read(
    'SELECT c.hlc, d.name, c.seq FROM change_rows c JOIN devices d ON d.id = c.device WHERE c.id = $1',
    [count]
  );
  if (last !== undefined) progress.last = { hlc: Number(last[0]), device: String(last[1]), seq: Number(last[2]) };
  return progress;
}
