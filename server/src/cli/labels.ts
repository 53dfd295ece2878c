/** `label`, `unlabel`, `pin`, `unpin`, `labels`. */
import { MarkResultSchema, type MarkRequest } from '../api/contract.ts';
import { changeToJson, versionId } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { Marks } from '../core/retention-act.ts';
import { LogView } from '../library/log-view.ts';
import type { CommandContext } from './context.ts';
import { changeLine } from './output.ts';

/** Says something of a version, or takes it back. */
export async function markCommand(context: CommandContext, act: MarkRequest['act']): Promise<number> {
  const { invocation, output, root, logDir, cwd } = context;
  const [named = '', name] = invocation.args;
  await using view = await LogView.open({ dir: logDir, keys: await context.keysOf(logDir) }, root);
  const request: MarkRequest = {
    act,
    versionId: versionId(view.version(named, cwd)),
    ...(name !== undefined && { name })
  };
  const result = await context.withRecorder(
    async control => {
      const answer = MarkResultSchema.safeParse(await control.call('POST', '/api/marks', request));
      if (!answer.success) throw new SyftError('INTERNAL', 'The recorder gave an unexpected answer.');
      return answer.data;
    },
    workspace => workspace.mark(request)
  );
  const words = [...(result.pinned ? ['pinned'] : []), ...result.labels.map(label => `"${label}"`)];
  await output.result(
    result,
    `${result.versionId}  ${words.length === 0 ? 'no labels, not pinned' : words.join('  ')}${result.changed ? '' : '  (as before)'}`
  );
  return 0;
}

/** Lists what is labelled or pinned, in the order of the log. */
export async function labelsCommand(context: CommandContext): Promise<number> {
  const { output, root, logDir } = context;
  await using view = await LogView.open({ dir: logDir, keys: await context.keysOf(logDir) }, root);
  const marks = Marks.of(view.reader.acts());
  for (const change of view.changes) {
    const mark = marks.of(versionId(change));
    if (mark === undefined) continue;
    const json = changeToJson(change);
    const words = [...(mark.pinned ? ['pinned'] : []), ...mark.labels.map(label => `"${label}"`)];
    await output.result(
      { ...json, labels: mark.labels, pinned: mark.pinned },
      `${changeLine(json)}  ${words.join('  ')}`
    );
    if (output.gone) break;
  }
  return 0;
}
