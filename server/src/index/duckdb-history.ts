/**
 * History out of DuckDB: the questions, in SQL over the tables of an index (schema.ts). What feeds them is in feed.ts and
 * bulk-feed.ts.
 */
import type { DuckDBDataChunk, DuckDBValue } from '@duckdb/node-api';
import {
  parseVersionId,
  versionId,
  type Cause,
  type Change,
  type ChangeFlag,
  type ContentRef
} from '../core/change.ts';
import { decodePath, displayPath, encodePath, type PathName } from '../core/path-name.ts';
import { BulkFeed } from './bulk-feed.ts';
import { IndexDatabase, type Api, type DatabaseOptions, type Row } from './database.ts';
import { Feed, readProgress } from './feed.ts';
import {
  decodeCursor,
  encodeCursor,
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
import { Fingerprint } from './fingerprint.ts';
import {
  CONTENT,
  hashTextOf,
  keyOf,
  KINDS,
  LAST_ROW,
  nameOf,
  NO_HASH,
  SCHEMA,
  SCHEMA_VERSION,
  TYPES
} from './schema.ts';
import { treeAt } from './tree-at.ts';

export interface DuckdbHistoryOptions extends DatabaseOptions {
  readonly workspaceId: string;
}

/** The index is not one of this log, or not of this version: to be built anew. */
export class StaleIndexError extends Error {
  override readonly name = 'StaleIndexError';
}

/** Steps back across moves that are looked up one by one before all moves are read at once. */
const SINGLE_MOVES = 32;
/** Of a row of `paths p`: what is compared with a text that is searched for. */
const FOLDED = 'coalesce(p.folded, p.display)';

/** See the file's first lines. */
export class DuckdbHistory implements HistoryEngine {
  readonly #db: IndexDatabase;
  readonly #feed: Feed;

  private constructor(db: IndexDatabase) {
    this.#db = db;
    this.#feed = new Feed(db);
  }

  /**
   * Opens the database, creating it when there is none.
   *
   * @param api The loaded DuckDB module.
   * @throws StaleIndexError when it belongs to another workspace or version; DuckDB's own errors when it cannot be read.
   */
  static async open(api: Api, options: DuckdbHistoryOptions): Promise<DuckdbHistory> {
    const db = await IndexDatabase.open(api, options);
    try {
      const history = new DuckdbHistory(db);
      await history.#load(options.workspaceId);
      return history;
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  async #load(workspaceId: string): Promise<void> {
    const db = this.#db;
    const tables = await db.read(
      `SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta' AND database_name = current_database() AND NOT temporary`
    );
    if (num(tables[0]?.[0]) === 0) {
      await db.transaction(async () => {
        await db.run(SCHEMA);
        await db.run('INSERT INTO meta VALUES ($1, $2, 0, $3)', [SCHEMA_VERSION, workspaceId, new Fingerprint().text]);
      });
    }
    const [meta] = await db.read('SELECT schema, workspace, changes, fingerprint FROM meta');
    if (meta === undefined || num(meta[0]) !== SCHEMA_VERSION) {
      throw new StaleIndexError('The index has another schema version.');
    }
    if (meta[1] !== workspaceId) throw new StaleIndexError('The index belongs to another workspace.');
    const count = num(meta[2]);
    const [ends] = await db.read(
      'SELECT (SELECT coalesce(max(id), 0) FROM change_rows), (SELECT count(*) FROM change_rows)'
    );
    if (num(ends?.[0]) !== count || num(ends?.[1]) !== count) throw new StaleIndexError('The index has lost rows.');
    this.#feed.progress = await readProgress(db, count, String(meta[3]));
  }

  /** How many changes are applied: the first so many of the log. */
  get count(): number {
    return this.#feed.progress.count;
  }

  /** Over the changes applied; see {@link Fingerprint}. */
  get fingerprint(): string {
    return this.#feed.progress.fingerprint.text;
  }

  get last(): Place | undefined {
    return this.#feed.progress.last;
  }

  get positions(): ReadonlyMap<string, number> {
    return this.#feed.progress.positions;
  }

  get #devices(): ReadonlyMap<string, number> {
    return this.#feed.progress.devices;
  }

  apply(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return Promise.resolve();
    return this.#db.exclusive(() => this.#feed.apply(changes));
  }

  /** Begins to fill an index that is empty. Nothing else may be asked of it or applied before {@link filled} or an end of the feed. */
  fill(): Promise<BulkFeed> {
    if (this.count > 0) throw new TypeError('The index is not empty.');
    return BulkFeed.begin(this.#db);
  }

  /** Ends filling, and stands for all that was taken. */
  async filled(bulk: BulkFeed): Promise<void> {
    this.#feed.progress = await bulk.finish();
  }

  // ---- questions ----------------------------------------------------------------------------------------------------

  changes(filter: ChangesFilter, options: QueryOptions = {}): Promise<RecordPage> {
    return this.#db.exclusive(async () => {
      const where = new Conditions();
      if (filter.after !== undefined) {
        const after = await this.#rowOf(filter.after);
        if (after === undefined) throw versionNotFound(filter.after);
        where.add(`id > ${where.value(after)}`);
      }
      if (filter.path !== undefined) where.add(`path = ${(await this.#pathOf(filter.path))?.id ?? 0}`);
      if (filter.under !== undefined && filter.under !== '') {
        const folder = `(SELECT id FROM paths p WHERE ${this.#under(filter.under, where)})`;
        where.add(`(path IN ${folder} OR from_path IN ${folder})`);
      }
      if (filter.kind !== undefined) where.add(`kind = ${where.value(KINDS.indexOf(filter.kind))}`);
      if (filter.q !== undefined) {
        where.add(`path IN (SELECT id FROM paths p WHERE contains(${FOLDED}, ${where.value(foldText(filter.q))}))`);
      }
      if (filter.since !== undefined) where.add(`moment >= make_timestamptz(${micros(filter.since)})`);
      if (filter.until !== undefined) where.add(`moment <= make_timestamptz(${micros(filter.until)})`);
      return this.#page('change_rows', where, filter);
    }, options.signal);
  }

  history(path: PathName, page: { limit: number; before?: string }, options: QueryOptions = {}): Promise<HistoryPage> {
    return this.#db.exclusive(async () => {
      const found = await this.#pathOf(path);
      if (found === undefined) {
        if (page.before !== undefined) decodeCursor(page.before);
        return { records: [], total: 0, exists: false };
      }
      return { ...(await this.#lives(found.id, page)), exists: found.exists };
    }, options.signal);
  }

  /** A page of the lives of a file under its names. */
  async #lives(id: number, page: { limit: number; before?: string }): Promise<RecordPage> {
    const segments = await this.#segments(id);
    const before = page.before === undefined ? LAST_ROW : await this.#rowBefore(decodeCursor(page.before));
    // Its rows are few among many: one look at the paths of all, and then only at these rows.
    const newest = `count(*), max(id, ${page.limit + 1}) FILTER (WHERE id <= ${before})`;
    const [only] = segments;
    const values = segments.map(({ path, low, high }) => `(${path}, ${low}, ${high})`).join(', ');
    const [found] = await this.#db.read(
      segments.length === 1 && only !== undefined
        ? `SELECT ${newest} FROM change_rows WHERE path = ${only.path} AND id >= ${only.low}`
        : `SELECT ${newest} FROM change_rows c JOIN (VALUES ${values}) s(path, low, high)
             ON c.path = s.path AND c.id BETWEEN s.low AND s.high`
    );
    const rows = ((found?.[1] ?? []) as readonly unknown[]).map(num);
    const shown = rows.slice(0, page.limit);
    const records = shown.length === 0 ? new Map<number, ChangeRecord>() : await this.#byRow(shown);
    const last = records.get(shown.at(-1) ?? 0);
    return {
      records: shown.map(row => records.get(row) as ChangeRecord),
      ...(rows.length > shown.length && last !== undefined && { next: encodeCursor(last.change) }),
      total: num(found?.[0])
    };
  }

  /** Where these lives are: from the last row of a path back to the move that brought it there, and on from there. */
  async #segments(id: number): Promise<{ path: number; low: number; high: number }[]> {
    const out: { path: number; low: number; high: number }[] = [];
    let all: Map<number, { row: number; from: number }[]> | undefined;
    let path = id;
    let high = LAST_ROW;
    for (;;) {
      let move: { row: number; from: number } | undefined;
      if (all === undefined && out.length >= SINGLE_MOVES) {
        all = new Map();
        const moves = await this.#db.read('SELECT id, path, from_path FROM moved_rows WHERE id <= $1 ORDER BY id', [
          high
        ]);
        for (const [row, to, from] of moves) {
          const list = all.get(num(to)) ?? [];
          if (list.length === 0) all.set(num(to), list);
          list.push({ row: num(row), from: num(from) });
        }
      }
      if (all !== undefined) {
        // Rows only go down from here: what is above is not needed again.
        const list = all.get(path);
        while (list !== undefined && (list.at(-1)?.row ?? 0) > high) list.pop();
        move = list?.at(-1);
      } else {
        const [found] = await this.#db.read(
          'SELECT max(id), arg_max(from_path, id) FROM moved_rows WHERE path = $1 AND id <= $2',
          [path, high]
        );
        if (found !== undefined && found[0] !== null) move = { row: num(found[0]), from: num(found[1]) };
      }
      out.push({ path, low: move?.row ?? 0, high });
      if (move === undefined) return out;
      path = move.from;
      high = move.row - 1;
    }
  }

  tree(which: { at?: number; under?: PathName }, options: QueryOptions = {}): Promise<Change[]> {
    return this.#db.exclusive(async () => {
      const where = new Conditions();
      const { at, under } = which;
      const rows =
        at === undefined ? 'SELECT * FROM change_rows WHERE ended IS NULL' : treeAt(`make_timestamptz(${micros(at)})`);
      if (under !== undefined && under !== '') {
        where.add(`path IN (SELECT id FROM paths p WHERE ${this.#under(under, where)})`);
      }
      const records = await this.#records(`SELECT * FROM (${rows}) ${where}`, 'name', where.values);
      return records.map(record => record.change);
    }, options.signal);
  }

  deleted(
    which: { under?: PathName; q?: string; limit: number },
    options: QueryOptions = {}
  ): Promise<DeletedRecord[]> {
    return this.#db.exclusive(async () => {
      const where = new Conditions();
      const inside = new Conditions(where.values);
      if (which.under !== undefined && which.under !== '') inside.add(this.#under(which.under, where));
      if (which.q !== undefined) inside.add(`contains(${FOLDED}, ${where.value(foldText(which.q))})`);
      const gone = await this.#db.read(
        `WITH latest AS (
           SELECT path, max(id) AS id, arg_max(kind, id) AS kind,
             max(id) FILTER (content_kind IS NOT NULL AND type <> ${TYPES.indexOf('directory')}) AS content,
             max(id) FILTER (kind = ${KINDS.indexOf('moved')} AND from_path IS NOT NULL) AS moved
           FROM change_rows ${inside.empty ? '' : `WHERE path IN (SELECT id FROM paths p ${inside})`} GROUP BY path)
         SELECT path, id, content, moved FROM latest WHERE kind = ${KINDS.indexOf('deleted')} ORDER BY id DESC`,
        where.values
      );
      const pairs: { deleted: number; last: number }[] = [];
      for (const [path, id, content, moved] of gone) {
        if (pairs.length >= which.limit) break;
        let last = content === null ? 0 : num(content);
        // What was at this path before a file moved there is another file's history.
        if (moved !== null && last < num(moved)) last = await this.#lastContent(num(path));
        if (last > 0) pairs.push({ deleted: num(id), last });
      }
      if (pairs.length === 0) return [];
      const records = await this.#byRow(pairs.flatMap(pair => [pair.deleted, pair.last]));
      return pairs.map(pair => {
        const deleted = records.get(pair.deleted) as ChangeRecord;
        return { path: deleted.change.path, deleted, last: records.get(pair.last) as ChangeRecord };
      });
    }, options.signal);
  }

  async #lastContent(path: number): Promise<number> {
    for (const { path: at, low, high } of await this.#segments(path)) {
      const [found] = await this.#db.read(
        `SELECT coalesce(max(id), 0) FROM change_rows
         WHERE path = $1 AND id BETWEEN $2 AND $3 AND content_kind IS NOT NULL AND type <> ${TYPES.indexOf('directory')}`,
        [at, low, high]
      );
      if (num(found?.[0]) > 0) return num(found?.[0]);
    }
    return 0;
  }

  version(id: string, options: QueryOptions = {}): Promise<ChangeRecord> {
    return this.#db.exclusive(async () => {
      let row = await this.#rowOf(id);
      if (row === undefined) {
        if (parseVersionId(id) !== undefined || !isVersionPrefix(id)) throw versionNotFound(id);
        const [found] = await this.#db.read(
          `SELECT count(*), min(c.id) FROM change_rows c JOIN devices d ON d.id = c.device WHERE starts_with(d.name || '.' || c.seq, $1)`,
          [id]
        );
        if (num(found?.[0]) === 0) throw versionNotFound(id);
        if (num(found?.[0]) > 1) throw versionAmbiguous(id, num(found?.[0]));
        row = num(found?.[1]);
      }
      return (await this.#byRow([row])).get(row) as ChangeRecord;
    }, options.signal);
  }

  recordsOf(changes: readonly Change[], options: QueryOptions = {}): Promise<ChangeRecord[]> {
    return this.#db.exclusive(async () => {
      const byDevice = new Map<string, number[]>();
      for (const change of changes) {
        const seqs = byDevice.get(change.device) ?? [];
        if (seqs.length === 0) byDevice.set(change.device, seqs);
        seqs.push(change.seq);
      }
      const known = new Map<string, ChangeRecord>();
      for (const [device, seqs] of byDevice) {
        const id = this.#devices.get(device);
        if (id === undefined) continue;
        const rows = `SELECT * FROM change_rows WHERE device = ${id} AND seq IN (${seqs.map(Number).join(', ')})`;
        for (const record of await this.#records(rows, 'oldest')) known.set(versionId(record.change), record);
      }
      return changes.map(change => known.get(versionId(change)) ?? { change });
    }, options.signal);
  }

  counts(options: QueryOptions = {}): Promise<ChangeCounts> {
    return this.#db.exclusive(async () => {
      const kinds = await this.#db.read(
        `SELECT kind, count(*), coalesce(sum(size), 0)::BIGINT FROM change_rows WHERE type <> ${TYPES.indexOf('directory')} GROUP BY kind`
      );
      const [tracked] = await this.#db.read(
        `SELECT count(*) FROM change_rows WHERE ended IS NULL AND type <> ${TYPES.indexOf('directory')}`
      );
      const byKind = { created: 0, modified: 0, deleted: 0, moved: 0 };
      let contentBytes = 0;
      for (const [code, n, bytes] of kinds) {
        const kind = KINDS[num(code)];
        if (kind === undefined) continue;
        byKind[kind] = num(n);
        if (kind !== 'deleted') contentBytes += num(bytes);
      }
      return {
        byKind,
        changes: this.count,
        versions: byKind.created + byKind.modified + byKind.moved,
        devices: this.#devices.size,
        trackedFiles: num(tracked?.[0]),
        contentBytes
      };
    }, options.signal);
  }

  firstKnown(paths: readonly PathName[], options: QueryOptions = {}): Promise<PathName | undefined> {
    return this.#db.exclusive(async () => {
      for (const path of paths) if ((await this.#pathOf(path)) !== undefined) return path;
      return undefined;
    }, options.signal);
  }

  /** It is in memory only. */
  get inMemory(): boolean {
    return this.#db.options.dir === undefined;
  }

  /** Rows of the tables, as DuckDB holds them, of one moment: for a copy in another memory. Each is a SELECT of ours. */
  select(statements: readonly string[]): Promise<DuckDBDataChunk[][]> {
    return this.#db.exclusive(async () => {
      const out: DuckDBDataChunk[][] = [];
      for (const sql of statements) out.push(await this.#db.chunks(sql));
      return out;
    });
  }

  /** Copies the file, as it is with all that was applied, for somebody else to read. Only where there is a file. */
  copyTo(file: string): Promise<void> {
    return this.#db.copyTo(file);
  }

  close(): Promise<void> {
    return this.#db.close();
  }

  // ---- parts of questions -------------------------------------------------------------------------------------------

  async #pathOf(path: PathName): Promise<{ id: number; exists: boolean } | undefined> {
    const [key] = await this.#db.read(`SELECT ${keyOf('$1')}`, [displayPath(path)]);
    const found = await this.#db.read(`SELECT id, row, ${nameOf('p')} FROM paths p WHERE key = ${num(key?.[0])}`);
    const bytes = encodePath(path);
    const match = found.find(row => Buffer.compare(bytesOf(row[2]), bytes) === 0);
    return match === undefined ? undefined : { id: num(match[0]), exists: match[1] !== null };
  }

  /** The row of a whole version id. @param hlc Only with this clock. */
  async #rowOf(id: string, hlc?: number): Promise<number | undefined> {
    const wanted = parseVersionId(id);
    const device = wanted === undefined ? undefined : this.#devices.get(wanted.device);
    if (wanted === undefined || device === undefined) return undefined;
    const [found] = await this.#db.read(
      `SELECT id, hlc FROM change_rows WHERE device = ${device} AND seq = ${wanted.seq}`
    );
    if (found === undefined || (hlc !== undefined && num(found[1]) !== hlc)) return undefined;
    return num(found[0]);
  }

  /** Names that are a folder or below it: what lies between `folder/` and `folder0`, for `0` follows `/`. */
  #under(folder: PathName, where: Conditions): string {
    const bytes = encodePath(folder);
    const low = where.value(this.#db.blob(Buffer.concat([bytes, Buffer.from('/')])));
    const high = where.value(this.#db.blob(Buffer.concat([bytes, Buffer.from('0')])));
    const name = nameOf('p');
    return `(${name} = ${where.value(this.#db.blob(bytes))} OR (${name} >= ${low} AND ${name} < ${high}))`;
  }

  async #page(
    source: string,
    where: Conditions,
    page: { limit: number; before?: string; oldestFirst?: boolean }
  ): Promise<RecordPage> {
    const [counted] = await this.#db.read(`SELECT count(*) FROM ${source} ${where}`, where.values);
    const total = num(counted?.[0]);
    if (page.oldestFirst === true) {
      const rows = `SELECT * FROM ${source} ${where} ORDER BY id LIMIT ${page.limit}`;
      return { records: await this.#records(rows, 'oldest', where.values), total };
    }
    if (page.before !== undefined) where.add(`id <= ${where.value(await this.#rowBefore(decodeCursor(page.before)))}`);
    const rows = `SELECT * FROM ${source} ${where} ORDER BY id DESC LIMIT ${page.limit + 1}`;
    const records = await this.#records(rows, 'newest', where.values);
    const more = records.length > page.limit;
    if (more) records.pop();
    const last = records.at(-1);
    return { records, ...(more && last !== undefined && { next: encodeCursor(last.change) }), total };
  }

  /** The newest row older than a place. */
  async #rowBefore(place: Place): Promise<number> {
    // A place that an answer gave is that of a row.
    const own = await this.#rowOf(versionId(place), place.hlc);
    if (own !== undefined) return own - 1;
    const [found] = await this.#db.read(
      `SELECT coalesce(max(c.id), 0) FROM change_rows c JOIN devices d ON d.id = c.device
       WHERE c.hlc < $1 OR (c.hlc = $1 AND (d.name < $2 OR (d.name = $2 AND c.seq < $3)))`,
      [BigInt(place.hlc), place.device, BigInt(place.seq)]
    );
    return num(found?.[0]);
  }

  async #byRow(rows: readonly number[]): Promise<Map<number, ChangeRecord>> {
    const out = new Map<number, ChangeRecord>();
    const found = await this.#rawRecords(
      `SELECT * FROM change_rows WHERE id IN (${rows.map(Number).join(', ')})`,
      'oldest'
    );
    for (const row of found) out.set(num(row[0]), toRecord(row));
    return out;
  }

  async #records(rows: string, order: RowOrder, values: DuckDBValue[] = []): Promise<ChangeRecord[]> {
    return (await this.#rawRecords(rows, order, values)).map(toRecord);
  }

  /**
   * Rows with what they refer to. One small statement for each dictionary: a single one that joins them all needs tens of
   * megabytes even for one row.
   */
  async #rawRecords(rows: string, order: RowOrder, values: DuckDBValue[] = []): Promise<Row[]> {
    await this.#db.run(`CREATE OR REPLACE TEMP TABLE page AS ${rows}`, values);
    try {
      const found = await this.#db.read(
        `SELECT id, device, seq, kind, path, epoch_us(moment), hlc, type, size, hash, previous_hash, mode, mtime, flags,
           from_path, content_kind, content, content_count, cause, previous
         FROM page ${ORDER[order]}`
      );
      const names = await this.#byId(
        `SELECT id, ${nameOf('p')} FROM paths p WHERE id IN (SELECT path FROM page UNION ALL SELECT from_path FROM page)`
      );
      const befores = await this.#byId(
        'SELECT id, size, device, seq, hash FROM change_rows WHERE id IN (SELECT previous FROM page)'
      );
      const hashes = await this.#byId(
        `SELECT id, ${hashTextOf('h')} FROM hashes h WHERE id IN (SELECT hash FROM page UNION ALL SELECT previous_hash FROM page
           UNION ALL SELECT b.hash FROM change_rows b WHERE b.id IN (SELECT previous FROM page WHERE previous_hash IS NULL))`
      );
      const devices = new Map([...this.#devices].map(([name, id]) => [id, name]));
      const text = (of: ReadonlyMap<number, Row>, id: unknown): unknown =>
        id === null ? null : (of.get(num(id))?.[1] ?? null);
      const resolved = found.map(row => {
        const before = row[19] === null ? undefined : befores.get(num(row[19]));
        return [
          row[0],
          devices.get(num(row[1])),
          ...row.slice(2, 4),
          text(names, row[4]),
          ...row.slice(5, 9),
          text(hashes, row[9]),
          text(hashes, row[10] ?? before?.[4] ?? NO_HASH),
          ...row.slice(11, 14),
          text(names, row[14]),
          ...row.slice(15, 19),
          ...(before === undefined ? [null, null, null] : [before[1], devices.get(num(before[2])), before[3]])
        ];
      });
      if (order === 'name') {
        resolved.sort((a, b) => Buffer.compare(bytesOf(a[4]), bytesOf(b[4])));
      }
      return resolved;
    } finally {
      await this.#db.run('DROP TABLE IF EXISTS temp.page').catch(() => undefined);
    }
  }

  /** Rows by what their first column says. */
  async #byId(sql: string): Promise<Map<number, Row>> {
    return new Map((await this.#db.read(sql)).map(row => [num(row[0]), row]));
  }
}

/** By row, or by the bytes of the path, which are looked up behind the statement. */
type RowOrder = 'oldest' | 'newest' | 'name';
const ORDER: Record<RowOrder, string> = { oldest: 'ORDER BY id', newest: 'ORDER BY id DESC', name: '' };

function toRecord(row: Row): ChangeRecord {
  const [
    ,
    device,
    seq,
    kind,
    path,
    at,
    hlc,
    type,
    size,
    hash,
    previousHash,
    mode,
    mtime,
    flags,
    from,
    contentKind,
    content,
    count,
    cause
  ] = row;
  const [previousSize, previousDevice, previousSeq] = row.slice(19);
  const own = hash === null ? undefined : String(hash);
  const ref = contentOf(contentKind, content, count, own);
  const change: Change = {
    device: String(device),
    seq: num(seq),
    kind: KINDS[num(kind)] ?? 'modified',
    path: decodePath(bytesOf(path)),
    at: num(at),
    hlc: num(hlc),
    type: TYPES[num(type)] ?? 'file',
    ...(size !== null && { size: num(size) }),
    ...(own !== undefined && { hash: own }),
    ...(previousHash !== null && { previousHash: String(previousHash) }),
    ...(mode !== null && { mode: num(mode) }),
    ...(mtime !== null && { mtime: num(mtime) }),
    flags: flags === null ? [] : (String(flags).split(',') as ChangeFlag[]),
    ...(from !== null && { from: decodePath(bytesOf(from)) }),
    ...(ref !== undefined && { content: ref }),
    ...(cause !== null && { cause: JSON.parse(String(cause)) as Cause })
  };
  return {
    change,
    ...(previousSize !== null && { previousSize: num(previousSize) }),
    ...(previousDevice !== null && { previousVersionId: `${String(previousDevice)}.${num(previousSeq)}` })
  };
}

function contentOf(kind: unknown, content: unknown, count: unknown, hash: string | undefined): ContentRef | undefined {
  if (kind === null) return undefined;
  if (num(kind) === CONTENT.own) return { chunks: [hash as string] };
  const text = hex(content);
  if (num(kind) === CONTENT.list) return { list: text, count: num(count) };
  return { chunks: text.match(/.{64}/g) ?? [] };
}

function num(value: unknown): number {
  return Number(value);
}

function bytesOf(value: unknown): Uint8Array {
  return value as Uint8Array;
}

function hex(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString('hex');
}

/** A moment as DuckDB's integer; what lies beyond any date is as good as the end of days. */
function micros(value: number): bigint {
  return BigInt(Math.trunc(Math.min(Math.max(value, -9e15), 9e15)));
}

/** A WHERE clause with its values. */
class Conditions {
  readonly values: DuckDBValue[];
  readonly #conditions: string[] = [];

  constructor(values: DuckDBValue[] = []) {
    this.values = values;
  }

  /** The placeholder of a value. */
  value(value: DuckDBValue): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  add(condition: string): void {
    this.#conditions.push(condition);
  }

  get empty(): boolean {
    return this.#conditions.length === 0;
  }

  toString(): string {
    return this.empty ? '' : `WHERE ${this.#conditions.join(' AND ')}`;
  }
}
