/** `POST /api/changesets/apply`: change sets of SyftBox and `syft`. */
import { isAbsolute } from 'node:path';
import type { Express } from 'express';
import { SyftError } from '../core/errors.ts';
import type { Workspace } from '../library/workspace.ts';
import type { ChangeSetApplyRequest, ChangeSetApplyResult } from './contract.ts';
import type { WorkspaceService } from './service.ts';

/**
 * Applies a change set as a request asks for it.
 *
 * @throws SyftError BAD_REQUEST, and as applyChanges.
 */
export async function applyRequest(
  workspace: Workspace,
  request: ChangeSetApplyRequest,
  signal?: AbortSignal
): Promise<ChangeSetApplyResult> {
  const { archive, to, ...options } = request;
  if (!isAbsolute(archive)) throw new SyftError('BAD_REQUEST', 'archive: an absolute path is wanted.');
  // Most recorders never see a change set.
  const { applyChanges } = await import('../syftbox/apply-changes.ts');
  const { changes, written, deleted, unchanged, conflicts, permissions, ...rest } = await applyChanges(
    workspace,
    archive,
    { ...options, to: to === undefined || to === '' || to === '.' ? '' : workspace.insidePath(to), signal }
  );
  return {
    ...rest,
    changes: [...changes],
    written: [...written],
    deleted: [...deleted],
    unchanged: [...unchanged],
    conflicts: [...conflicts],
    permissions: [...permissions]
  };
}

export function addSyftBoxRoutes(
  app: Express,
  service: WorkspaceService,
  parse: (body: unknown) => ChangeSetApplyRequest
): void {
  app.post('/api/changesets/apply', async (req, res) => {
    const request = parse(req.body);
    if (service.recording === undefined) throw new SyftError('NOT_RUNNING', 'This process does not record this log.');
    res.json(await applyRequest(service.recording(), request));
  });
}
