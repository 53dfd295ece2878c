/** `changeset`: what became of a folder, as SyftBox and `syft` tell one another. */
import { resolve } from 'node:path';
import { ChangeSetApplyResultSchema, type ChangeSetApplyRequest, type ChangeSetApplyResult } from '../api/contract.ts';
import { applyRequest } from '../api/syftbox.ts';
import { versionId, type ChangeJson } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import type { PathName } from '../core/path-name.ts';
import { LogView, momentOf, workspacePath } from '../library/log-view.ts';
import { printable, readableSize } from '../library/terminal-text.ts';
import { isLogDirectory } from '../log/format-file.ts';
import type { Moment } from '../syftbox/change-set.ts';
import { exportChanges } from '../syftbox/export-changes.ts';
import { verifyMessage } from '../messages/inspect.ts';
import type { CommandContext } from './context.ts';
import { changeLine, jsonLine } from './output.ts';

function folderOf({ root, cwd }: CommandContext, named: string): PathName {
  return resolve(cwd, named) === root ? '' : workspacePath(root, named, cwd);
}

/** A time, or the id of a version: what had been made by then, that version included. Throws BAD_REQUEST. */
function boundary(view: LogView, text: string | undefined): Moment | undefined {
  if (text === undefined) return undefined;
  const at = view.changes.findIndex(change => versionId(change) === text);
  if (at >= 0) return (_, index) => index <= at;
  const moment = momentOf(text);
  return change => change.at <= moment;
}

async function exportCommand(context: CommandContext, named: string): Promise<number> {
  const { invocation, output, signal, cwd, root, logDir } = context;
  const out = invocation.values.get('output');
  if (out === undefined) throw new SyftError('BAD_REQUEST', 'Say where the change set goes: -o DIR');
  const started = Date.now();
  await using view = await LogView.open({ dir: logDir, keys: await context.keysOf(logDir) }, root);
  const result = await exportChanges(view, resolve(cwd, out), {
    folder: folderOf(context, named),
    since: boundary(view, invocation.values.get('since')),
    until: boundary(view, invocation.values.get('until')),
    owner: invocation.values.get('from'),
    reader: invocation.values.get('as'),
    signal,
    onProgress: progress => output.progress({ ...progress, bytes: progress.done }, started, 'bytes')
  });
  output.endProgress();
  if (output.json) await output.write(jsonLine(result));
  else if (result.messages.length === 0) await output.write('nothing changed\n');
  else {
    for (const { file, events } of result.messages) await output.write(`${printable(file)}: ${events} changes\n`);
    output.note(`${readableSize(result.bytes)}; the next one: --since ${result.upTo ?? ''}`);
  }
  for (const { path, why } of result.leftOut) output.note(`syft-sync: ${path} is not in it: ${why}`);
  return 0;
}

async function ask(context: CommandContext, request: ChangeSetApplyRequest): Promise<ChangeSetApplyResult> {
  return context.withRecorder(
    async control => {
      const answer = ChangeSetApplyResultSchema.safeParse(await control.call('POST', '/api/changesets/apply', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data;
    },
    workspace => applyRequest(workspace, request, context.signal)
  );
}

async function applyCommand(context: CommandContext, named: string): Promise<number> {
  const { invocation, output, cwd, signal } = context;
  const { values, flags } = invocation;
  const to = values.get('to');
  const user = values.get('as');
  const request: ChangeSetApplyRequest = {
    archive: resolve(cwd, named),
    trust: flags.has('trust'),
    skipConflicts: flags.has('skip-conflicts'),
    deleteMany: flags.has('delete-many'),
    dryRun: flags.has('dry-run'),
    ...(to !== undefined && { to: folderOf(context, to) }),
    ...(user !== undefined && { as: user })
  };
  // Where no log is yet, none is begun for a change set that is refused.
  if (!isLogDirectory(context.logDir)) {
    const { ok, failed } = await verifyMessage(request.archive, { signal });
    if (!ok) throw new SyftError('ARCHIVE_INVALID', `${named} is refused: ${failed ?? ''}. Nothing was written.`);
    if (request.trust !== true) {
      throw new SyftError(
        'SENDER_UNKNOWN',
        'A change set is not signed, and anybody can have made it. To take it all the same: --trust.'
      );
    }
  }
  const result = await ask(context, request);
  const { changes, written, deleted, unchanged, conflicts } = result;
  if (output.json) {
    for (const change of changes) await output.write(jsonLine(change));
    await output.write(jsonLine({ applied: { ...result, changes: changes.map(change => change.versionId) } }));
  } else if (request.dryRun === true) {
    for (const path of written) await output.write(`would write   ${printable(path)}\n`);
    for (const path of deleted) await output.write(`would delete  ${printable(path)}\n`);
  } else {
    for (const change of changes) await output.write(`${printable(changeLine(change as ChangeJson))}\n`);
  }
  if (!output.json) for (const path of unchanged) output.note(`${path} was so already`);
  for (const { path, why } of conflicts) output.note(`syft-sync: ${path} was left: ${why} [PRECONDITION_FAILED]`);
  return conflicts.length > 0 ? 1 : 0;
}

export async function changesetCommand(context: CommandContext): Promise<number> {
  const [what, named] = context.invocation.args;
  if (what === 'export' && named !== undefined) return exportCommand(context, named);
  if (what === 'apply' && named !== undefined) return applyCommand(context, named);
  throw new SyftError('BAD_REQUEST', 'Usage: syft-sync changeset export FOLDER -o DIR | apply FILE --trust');
}
