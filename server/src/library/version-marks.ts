/** Labels and pins: what people say of versions, which then keep their content whatever policy is set. */
import type { MarkRequest, MarkResult } from '../api/contract.ts';
import { versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import { actDraft, checkLabel, Marks, type RetentionAct } from '../core/retention-act.ts';
import { droppedError } from '../log/dropped-error.ts';
import type { OpenWriter } from '../log/types.ts';

/** The acts that bring a version from what is said of it to what is asked. */
function actsFor(request: MarkRequest, version: string, marks: Marks): RetentionAct[] {
  const mark = marks.of(version);
  switch (request.act) {
    case 'pin':
    case 'unpin':
      return (mark?.pinned === true) === (request.act === 'pin') ? [] : [{ act: request.act, version }];
    case 'label': {
      const name = checkLabel(request.name ?? '');
      return mark?.labels.includes(name) === true ? [] : [{ act: 'label', version, name }];
    }
    case 'unlabel': {
      const name = request.name === undefined ? undefined : checkLabel(request.name);
      const found = (mark?.labels ?? []).filter(label => name === undefined || label === name);
      if (found.length === 0) {
        const what = name === undefined ? 'no label' : `no label ${JSON.stringify(name)}`;
        throw new SyftError('NOT_FOUND', `Version ${version} has ${what}.`);
      }
      return found.map(label => ({ act: 'unlabel', version, name: label }));
    }
  }
}

/**
 * Labels or pins a version, or takes that back. Durable when it resolves.
 *
 * @param change The version.
 * @throws SyftError BAD_REQUEST for a name that is none; NOT_FOUND for a label that is not there; VERSION_PRUNED, VERSION_ERASED
 *   for a pin of what is gone; VERSION_HAS_NO_CONTENT for a pin of what never had a content; DISK_*.
 */
export async function markVersion(log: OpenWriter, change: Change, request: MarkRequest): Promise<MarkResult> {
  const version = versionId(change);
  if (request.act === 'pin') {
    const act = log.dropped(change);
    if (act !== undefined) throw droppedError(change, act);
    if (change.content === undefined) {
      const path = displayPath(change.path);
      throw new SyftError(
        'VERSION_HAS_NO_CONTENT',
        `Version ${version} of ${path} has no content that a pin could keep.`,
        {
          path
        }
      );
    }
  }
  const acts = actsFor(request, version, Marks.of(log.acts()));
  await log.append(acts.map(act => ({ draft: actDraft(act), chunks: [] })));
  const marks = Marks.of(log.acts()).of(version);
  return {
    versionId: version,
    labels: [...(marks?.labels ?? [])],
    pinned: marks?.pinned ?? false,
    changed: acts.length > 0
  };
}
