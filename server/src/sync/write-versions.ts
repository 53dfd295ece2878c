/** Mode `all_versions`: writes the versions of a log that are still to be written, each as a file of its own. */
import { versionId, type Change } from '../core/change.ts';
import { SyftError } from '../core/errors.ts';
import { displayPath, type PathName } from '../core/path-name.ts';
import { sameContent, type Step } from '../core/reconcile.ts';
import { versionPath } from './all-versions.ts';
import { applyBatch, stageAll, type ApplyPlace } from './apply.ts';
import type { ReceiveState } from './cursor.ts';
import type { Source } from './followed-source.ts';
import { isWritable, nodeOfChange } from './history.ts';
import type { DiskView, Look } from './look.ts';
import { problemOf, type ProblemEvent } from './receiving.ts';

/** Versions made durable together. */
const BATCH = 64;

export interface VersionsPlace {
  /** Absolute path of the output, free of links. */
  readonly root: string;
  readonly disk: DiskView;
  readonly conflictsDir: string;
  /** Between two batches: what is left stays queued. */
  readonly stopping: () => boolean;
  readonly allowed: (change: Change) => boolean;
  /** Reported once for each `key`. */
  readonly onProblem: (key: string, problem: ProblemEvent) => void;
  readonly onWritten: (path: PathName, change: Change) => void;
  /** Takes the steps in place of carrying them out. */
  readonly planned?: Step[];
}

interface Planned {
  readonly steps: readonly Step[];
  readonly targets: ReadonlyMap<PathName, Change>;
  readonly looks: ReadonlyMap<PathName, Look>;
}

/** Writes what is queued of `source`. What cannot be written now is remembered as skipped, and tried at the next start. */
export async function writeVersions(source: Source, place: VersionsPlace): Promise<void> {
  const { state, staging } = source;
  const { reader } = source.log;
  if (state === undefined || reader === undefined) return;
  const { queue } = source;
  source.queue = [];
  for (let start = 0; start < queue.length; start += BATCH) {
    if (place.stopping()) {
      source.queue = [...queue.slice(start), ...source.queue];
      return;
    }
    const group = queue.slice(start, start + BATCH);
    const planned = await plan(group, source.log.workspaceId ?? '', state, place);
    if (place.planned !== undefined) {
      place.planned.push(...planned.steps);
      continue;
    }
    if (staging === undefined) return;
    await carryOut(planned, state, place, {
      root: place.root,
      disk: place.disk,
      staging,
      conflictsDir: place.conflictsDir,
      looks: planned.looks,
      implies: () => true,
      onKept: () => undefined,
      stage: path => {
        const change = planned.targets.get(path);
        return change === undefined
          ? Promise.reject(new SyftError('INTERNAL', 'No version to stage.'))
          : staging.stage(reader, change);
      }
    });
    const streams = new Map<string, number>();
    for (const change of group) {
      streams.set(change.device, Math.max(change.seq, streams.get(change.device) ?? 0));
    }
    await state.advance(streams);
  }
}

/** A free name for each version that is not written yet. */
async function plan(
  group: readonly Change[],
  workspace: string,
  state: ReceiveState,
  place: VersionsPlace
): Promise<Planned> {
  const targets = new Map<PathName, Change>();
  const looks = new Map<PathName, Look>();
  const steps: Step[] = [];
  place.disk.newPass();
  for (const change of group) {
    const node = nodeOfChange(change);
    if (node === undefined || !place.allowed(change)) continue;
    if (!isWritable(change)) {
      state.skipped.add(versionId(change));
      place.onProblem(`content ${versionId(change)}`, withoutContent(change));
      continue;
    }
    for (const path of [versionPath(change), versionPath(change, workspace)]) {
      const look = await place.disk.look(path);
      if (look.node === undefined && !targets.has(path)) {
        looks.set(path, look);
        targets.set(path, change);
        steps.push({ do: 'put', path, expect: undefined, node, keep: false });
        break;
      }
      if (sameContent(look.node, node)) {
        state.skipped.delete(versionId(change));
        break;
      }
    }
  }
  return { steps, targets, looks };
}

async function carryOut(
  { steps, targets }: Planned,
  state: ReceiveState,
  place: VersionsPlace,
  apply: ApplyPlace
): Promise<void> {
  const outcomes = await applyBatch(apply, steps, await stageAll(apply, steps));
  for (const [step, outcome] of outcomes) {
    const change = targets.get(step.path);
    if (change === undefined) continue;
    if (outcome.kind === 'done') {
      state.skipped.delete(versionId(change));
      place.onWritten(step.path, change);
      continue;
    }
    state.skipped.add(versionId(change));
    const path = displayPath(step.path);
    const problem =
      outcome.kind === 'failed'
        ? problemOf(outcome.error)
        : { code: 'PATH_INVALID', message: `${path} is in the way of a version; it was left alone.` };
    place.onProblem(`step ${step.path} ${problem.code}`, { ...problem, path });
  }
}

/** What is told of a version that cannot be received. */
export function withoutContent(change: Change): ProblemEvent {
  const path = displayPath(change.path);
  return {
    path,
    code: 'VERSION_HAS_NO_CONTENT',
    message: `Version ${versionId(change)} of ${path} has no content in the log and was skipped.`
  };
}
