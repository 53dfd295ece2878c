/** Takes back what accepting a message did, file by file; what was changed since then is left as it is. */
import type { ChangeDto, ChangeRow } from '../../server/src/api/contract';
import type { SyftClient } from '../client/client';

export interface UndoResult {
  /** Paths that are as they were before. */
  undone: string[];
  /** Paths that somebody changed since. */
  kept: string[];
  /** Paths that could not be put back, and why. */
  failed: { path: string; error: unknown }[];
}

/** @param changes - what accepting recorded */
export async function undoAccept(changes: readonly ChangeDto[], client: SyftClient): Promise<UndoResult> {
  const result: UndoResult = { undone: [], kept: [], failed: [] };
  // The latest first, as every undo: a path may occur twice.
  for (const change of [...changes].reverse()) {
    try {
      const isUndone = await undoOne(change, client);
      (isUndone ? result.undone : result.kept).push(change.path);
    } catch (error) {
      result.failed.push({ path: change.path, error });
    }
  }
  return result;
}

/** @returns false when the path says something else by now */
async function undoOne(change: ChangeDto, client: SyftClient): Promise<boolean> {
  const row: ChangeRow = await client.version(change.versionId);
  const { changes } = await client.history(change.path, { limit: 1 });
  if (changes[0]?.versionId !== change.versionId) return false;
  if (change.kind === 'created') {
    await client.remove({ path: change.path, ifVersion: change.versionId });
    return true;
  }
  if (row.previousVersionId === undefined) return false;
  await client.restore({
    versionId: row.previousVersionId,
    to: change.path,
    ...(change.pathBase64 !== undefined && { toBase64: change.pathBase64 })
  });
  return true;
}
