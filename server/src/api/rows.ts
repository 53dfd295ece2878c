/** Records of the index → rows of the contract. */
import { changeToJson, versionId, type Change } from '../core/change.ts';
import { marksJson } from '../core/retention-act.ts';
import type { Said } from '../library/said.ts';
import { droppedJson } from '../log/dropped-error.ts';
import { pathBase64, displayPath } from '../core/path-name.ts';
import { isoMicros } from '../core/change.ts';
import type { ChangeRecord, RecordPage } from '../index/history-queries.ts';
import type { ChangeRow, ChangesPage, TreeEntry } from './contract.ts';

/** A change with the size and the id of what stood before it, and what was said of the version since. */
export function toRow(record: ChangeRecord, said: Said): ChangeRow {
  return {
    ...changeToJson(record.change),
    ...marksJson(said.marks, record.change),
    ...droppedJson(said.dropped(record.change)),
    ...(record.previousSize !== undefined && { previousSize: record.previousSize }),
    ...(record.previousVersionId !== undefined && { previousVersionId: record.previousVersionId })
  };
}

export function toPage(page: RecordPage, said: Said): ChangesPage {
  return {
    changes: page.records.map(record => toRow(record, said)),
    ...(page.next !== undefined && { next: page.next }),
    total: page.total
  };
}

/** A path of the tree, with the change that made it what it is. */
export function toTreeEntry(change: Change): TreeEntry {
  const exact = pathBase64(change.path);
  return {
    path: displayPath(change.path),
    ...(exact !== undefined && { pathBase64: exact }),
    versionId: versionId(change),
    type: change.type,
    ...(change.size !== undefined && { size: change.size }),
    ...(change.hash !== undefined && { hash: `sha256:${change.hash}` }),
    ...(change.mode !== undefined && { mode: change.mode }),
    ...(change.mtime !== undefined && { mtime: isoMicros(change.mtime) })
  };
}
