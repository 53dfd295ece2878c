/**
 * Brings the tables of an index in memory into the memory of a process that runs queries: all of them at first, then what is new.
 * Nothing of them touches a disk.
 */
import type { IndexTables } from '../change-index.ts';
import { ENDS, type Carried, type IndexRoom, type ToWorker } from './protocol.ts';
import { rowsOf } from './table-rows.ts';

/** Tables that grow in the order of `id`. What ends a row of changes comes behind it; what is at a path now is not asked for. */
const GROWING = ['change_rows', 'paths', 'hashes'] as const;
/** Tables whose rows become others. They are small against the rest, and brought whole. */
const CHANGING = ['moved_rows', 'disorder', 'devices'] as const;
/** Rows that are read at once: the panel's questions wait meanwhile. */
const PIECE = 16_384;
/** So much larger than at first, and it is brought anew: the memory for queries was set apart from what it took then. */
const GROWTH = 1.25;
const GROWTH_ROWS = 20_000;

/** What a process holds of an index. */
export interface Held {
  readonly id: object;
  readonly memoryMb: number;
  readonly beganWith: number;
  readonly rows: Record<(typeof GROWING)[number], number>;
  /** Changes that it holds with all that belongs to them. */
  changes: number;
  /** No row that it holds was read before there were so many changes: what ended one later has not come with it. */
  endsUpTo: number;
}

/** Whom it is brought to. */
export interface Carrier {
  held: Held | undefined;
  /** Resolves when it is on its way, at the pace of the one who takes it. */
  send(message: ToWorker): Promise<void>;
}

/**
 * @param target What it holds is kept up to date, also when this is given up midway.
 * @throws SyftError CANCELLED by way of `signal`; what the index throws.
 */
export async function carryIndex(
  tables: IndexTables,
  target: Carrier,
  index: IndexRoom,
  signal: AbortSignal
): Promise<void> {
  const [ends] = await tables.select([
    `SELECT (SELECT changes FROM meta), ${GROWING.map(table => `(SELECT coalesce(max(id), 0) FROM ${table})`).join(', ')}`
  ]);
  const [changes = 0, ...highest] = (ends?.[0]?.getRows()[0] ?? []).map(Number);
  let { held } = target;
  const tooLarge = held !== undefined && changes > held.beganWith * GROWTH + GROWTH_ROWS;
  if (held?.id !== tables.id || held.memoryMb !== index.memoryMb || tooLarge) {
    held = {
      id: tables.id,
      memoryMb: index.memoryMb,
      beganWith: changes,
      rows: { change_rows: 0, paths: 0, hashes: 0 },
      changes: 0,
      endsUpTo: changes
    };
    target.held = held;
    await target.send({ kind: 'index', ...index });
  }
  if (held.changes === changes) return;
  const send = async (table: Carried, chunks: Awaited<ReturnType<IndexTables['select']>>[number]): Promise<void> => {
    for (const chunk of chunks) {
      if (chunk.rowCount === 0) continue;
      const rows = rowsOf(chunk);
      if (isGrowing(table)) held.rows[table] += rows.count;
      await target.send({ kind: 'rows', table, ...rows });
    }
  };
  for (const [i, table] of GROWING.entries()) {
    while ((highest[i] ?? 0) - held.rows[table] > PIECE) {
      signal.throwIfAborted();
      const after = held.rows[table];
      const [chunks = []] = await tables.select([
        `SELECT * FROM ${table} WHERE id > ${after} AND id <= ${after + PIECE}`
      ]);
      await send(table, chunks);
    }
  }
  signal.throwIfAborted();
  // The rest, and what becomes other, of one moment.
  const [count, ...rest] = await tables.select([
    'SELECT changes FROM meta',
    ...GROWING.map(table => `SELECT * FROM ${table} WHERE id > ${held.rows[table]}`),
    ...CHANGING.map(table => `SELECT * FROM ${table}`),
    `SELECT id, ended FROM change_rows WHERE id <= ${held.rows.change_rows} AND ended > ${held.endsUpTo}`
  ]);
  for (const table of CHANGING) await target.send({ kind: 'empty', table });
  for (const [i, table] of [...GROWING, ...CHANGING, ENDS].entries()) await send(table as Carried, rest[i] ?? []);
  held.changes = Number(count?.[0]?.getRows()[0]?.[0]);
  held.endsUpTo = held.changes;
}

function isGrowing(table: Carried): table is (typeof GROWING)[number] {
  return GROWING.some(each => each === table);
}
