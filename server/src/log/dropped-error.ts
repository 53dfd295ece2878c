/** Says of a version that its content was dropped on purpose: when, and why. */
import { isoMicros, versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath } from '../core/path-name.ts';
import type { DropAct } from '../core/retention-act.ts';
import { policyWords, type PolicyText } from '../core/retention-policy.ts';

/**
 * @param act By which it was dropped.
 * @returns SyftError VERSION_PRUNED or VERSION_ERASED.
 */
export function droppedError(change: Change, act: DropAct): SyftError {
  const path = displayPath(change.path);
  const when = isoMicros(act.at).slice(0, 19).replace('T', ' ');
  const { retention } = act;
  const what = `The content of version ${versionId(change)} of ${path}`;
  return retention.act === 'erase'
    ? new SyftError('VERSION_ERASED', `${what} was erased on ${when} UTC; only its record is left.`, { path })
    : new SyftError(
        'VERSION_PRUNED',
        `${what} was pruned on ${when} UTC by the policy ${policyWords(retention.policy)}; only its record is left.`,
        { path }
      );
}

/** How a version lost its content, as `history` shows it. */
export interface DroppedJson {
  act: 'prune' | 'erase';
  at: string;
  /** The record that says so. */
  versionId: string;
  by?: string;
  policy?: PolicyText;
}

/** The member `dropped` of a change that has lost its content. */
export function droppedJson(act: DropAct | undefined): { dropped?: DroppedJson } {
  if (act === undefined) return {};
  const { retention } = act;
  return {
    dropped: {
      act: retention.act,
      at: isoMicros(act.at),
      versionId: versionId(act),
      ...(retention.by !== undefined && { by: retention.by }),
      ...(retention.act === 'prune' && { policy: retention.policy })
    }
  };
}
