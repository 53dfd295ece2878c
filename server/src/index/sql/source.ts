/** What SQL over a log needs beside the index: versions by path and time, their contents, labels and storage. */
import { SyftError } from '../../core/errors.ts';
import type { Change } from '../../core/change.ts';
import { parseVersionId, versionId } from '../../core/change.ts';
import { displayPath } from '../../core/path-name.ts';
import type { Marks } from '../../core/retention-act.ts';
import { parseMoment } from '../../core/time-text.ts';
import type { LogKeys } from '../../crypto/log-keys.ts';
import { Inventory } from '../../log/inventory.ts';
import type { LogReader } from '../../log/types.ts';
import { byPath, usageOf } from '../../log/usage.ts';
import type { HistoryIndex } from '../change-index.ts';
import { isVersionPrefix, resolvePath } from '../history-queries.ts';
import type { ContentRequest } from './protocol.ts';
import type { ExtraRows } from './session.ts';
import type { ExtraTable } from './tables.ts';

export interface SqlSource {
  readonly index: HistoryIndex;
  /** Throws where there is no log to read. */
  readonly log: () => Pick<LogReader, 'content' | 'workspaceId'>;
  readonly logDir: () => string;
  /** Of an encrypted log. */
  readonly keys: () => LogKeys | undefined;
  readonly marks: () => Promise<Marks>;
}

const PAGE = 500;

/** The version that is asked for. Throws VERSION_NOT_FOUND, VERSION_AMBIGUOUS, PATH_*. */
export async function findVersion(
  source: SqlSource,
  { path: text, when }: ContentRequest,
  signal: AbortSignal
): Promise<Change> {
  const { index } = source;
  const wanted = when?.trim();
  // A time is no version id, and no beginning of one: those have a letter first and no blank.
  const moment = wanted === undefined || wanted === 'latest' ? undefined : parseMoment(wanted, Date.now() * 1000);
  if (
    wanted !== undefined &&
    moment === undefined &&
    (parseVersionId(wanted) !== undefined || isVersionPrefix(wanted))
  ) {
    if (wanted !== 'latest') return (await index.version(wanted, { signal })).change;
  }
  const back = /^-(\d{1,6})$/.exec(wanted ?? '')?.[1];
  if (wanted !== undefined && wanted !== 'latest' && moment === undefined && back === undefined) {
    throw new SyftError(
      'SQL_INVALID',
      `"${wanted}" is neither a time nor a version. Write 2026-11-01 14:32, an ISO 8601 time, 2h, yesterday, latest, -1 or a version id.`
    );
  }
  const path = await resolvePath(index, text, { signal });
  let before: string | undefined;
  let left = Number(back ?? 0);
  do {
    const page = await index.history(path, { limit: PAGE, ...(before !== undefined && { before }) }, { signal });
    for (const { change } of page.records) {
      if (moment !== undefined && change.at > moment) continue;
      const has = change.kind !== 'deleted' && change.type !== 'directory';
      // What is gone at a moment was not there; "the one before" means versions, whatever became of the file.
      if (!has && back === undefined) throw notThere(text, when);
      if (!has) continue;
      if (left === 0) return change;
      left -= 1;
    }
    before = page.next;
  } while (before !== undefined);
  throw notThere(text, when);
}

function notThere(path: string, when: string | undefined): SyftError {
  return new SyftError(
    'VERSION_NOT_FOUND',
    when === undefined ? `There is no file ${path} in the log now.` : `There was no file ${path} at ${when}.`,
    { path }
  );
}

/** The content of a version can be read at all. Throws VERSION_HAS_NO_CONTENT. */
export function checkContent(change: Change): void {
  if (change.type === 'file' && change.content !== undefined) return;
  throw new SyftError('VERSION_HAS_NO_CONTENT', `Version ${versionId(change)} has no content that could be queried.`, {
    path: displayPath(change.path)
  });
}

/** Rows of the tables that the index does not have. */
export async function extraRows(
  source: SqlSource,
  tables: readonly ExtraTable[],
  signal: AbortSignal
): Promise<ExtraRows[]> {
  const out: ExtraRows[] = [];
  if (tables.includes('labels')) {
    const rows = [...(await source.marks()).versions()].flatMap(([version, { labels, pinned }]) =>
      (labels.length === 0 ? [null] : labels).map(label => [version, label, pinned])
    );
    out.push({ table: 'labels', rows });
  }
  if (tables.includes('chunks') || tables.includes('storage_rows')) {
    const inventory = await Inventory.read(source.logDir(), { signal, keys: source.keys() });
    try {
      if (tables.includes('chunks')) out.push({ table: 'chunks', rows: chunkRows(inventory) });
      if (tables.includes('storage_rows')) {
        const usage = usageOf(inventory, byPath(inventory));
        const rows = Array.from(usage.rows, row => [
          ...[row.key, row.versions, row.contentBytes, row.storedBytes, row.aloneBytes, row.sharedBytes]
        ]);
        out.push({ table: 'storage_rows', rows });
      }
    } finally {
      inventory.close();
    }
  }
  return out;
}

function chunkRows(inventory: Inventory): (string | number)[][] {
  const contents = new Uint32Array(inventory.chunks);
  for (let content = 0; content < inventory.contents; content += 1) {
    for (const chunk of new Set(inventory.chunksOf(content))) contents[chunk] = (contents[chunk] ?? 0) + 1;
  }
  const rows: (string | number)[][] = [];
  for (let chunk = 0; chunk < inventory.chunks; chunk += 1) {
    if (inventory.isChunkHeld(chunk)) {
      rows.push([inventory.chunkId(chunk), inventory.chunkBytes.at(chunk), contents[chunk] ?? 0]);
    }
  }
  return rows;
}
