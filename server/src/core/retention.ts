/**
 * Which versions keep their content under a policy (docs/rfcs/0004-retention.md). Pure: the present is handed in, so that the
 * same log, policy and moment give the same answer everywhere.
 *
 * Whatever the policy: the last content of each path stays, also of one that was deleted; what is pinned or labelled stays; and a
 * content stays as long as one version that keeps it has it.
 */
import { Calendar } from './calendar.ts';
import { SPAN_RULES, type RetentionPolicy } from './retention-policy.ts';

/** Why a version keeps its content, the strongest reason first. `none`: it does not. */
export const KEPT_WHY = ['none', 'last', 'held', 'keepAll', 'hourly', 'daily', 'weekly', 'no-rule', 'shared'] as const;
export type KeptWhy = (typeof KEPT_WHY)[number];

/** Versions that have a content in the log, in the order of the log: columns, for there may be millions. */
export interface VersionColumns {
  readonly length: number;
  /** Number of the path, from 0. */
  readonly path: ArrayLike<number>;
  readonly paths: number;
  /** When it was recorded, microseconds since the epoch. */
  readonly at: ArrayLike<number>;
  /** Number of the content, from 0. */
  readonly content: ArrayLike<number>;
  readonly contents: number;
  /** 1: pinned or labelled. */
  readonly held: ArrayLike<number>;
}

/** What contents cost: chunks, which they share. */
export interface ContentCosts {
  /** Numbers of the chunks of a content, from 0; one may come twice. */
  chunksOf(content: number): ArrayLike<number>;
  /** Bytes that each chunk takes in the log. */
  readonly chunkBytes: ArrayLike<number>;
  /** Bytes that stay whatever is dropped. */
  readonly fixedBytes: number;
}

export interface RetentionPlan {
  /** For each version the place of its reason in {@link KEPT_WHY}; 0: it loses its content. */
  readonly why: Uint8Array;
  /** For each content: 1 when no version keeps it. */
  readonly dropped: Uint8Array;
  /** What the budget comes to, where there is one. `met` is false when what must never go takes more. */
  readonly budget?: { readonly bytes: number; readonly limit: number; readonly met: boolean };
}

const reason = (why: KeptWhy): number => KEPT_WHY.indexOf(why);
const NONE = reason('none');
const LAST = reason('last');
const HELD = reason('held');
const SHARED = reason('shared');

/** Gives each version that is the newest of its path in its bucket, and young enough, the reason `why`. */
function keepNewest(
  versions: VersionColumns,
  oldest: number,
  bucketOf: (us: number) => number,
  why: Uint8Array,
  code: number
): void {
  // Per path the buckets whose newest has been met. Clocks may go back, so they are not in order.
  const met = new Map<number, Set<number>>();
  for (let i = versions.length - 1; i >= 0; i -= 1) {
    const at = versions.at[i] as number;
    const path = versions.path[i] as number;
    const bucket = bucketOf(at);
    let buckets = met.get(path);
    if (buckets === undefined) met.set(path, (buckets = new Set()));
    if (buckets.has(bucket)) continue;
    // The newest of its bucket is that whatever the rule's span: so a longer span keeps all that a shorter one does.
    buckets.add(bucket);
    if (at >= oldest && why[i] === NONE) why[i] = code;
  }
}

function keepByRules(versions: VersionColumns, policy: RetentionPolicy, now: number, why: Uint8Array): void {
  const rules = SPAN_RULES.filter(rule => policy[rule] !== undefined);
  if (rules.length === 0) {
    const code = reason('no-rule');
    for (let i = 0; i < versions.length; i += 1) if (why[i] === NONE) why[i] = code;
    return;
  }
  const calendar = new Calendar(policy.timeZone);
  for (const rule of rules) {
    const oldest = now - (policy[rule] as number);
    const code = reason(rule);
    if (rule === 'keepAll') {
      for (let i = 0; i < versions.length; i += 1) {
        if (why[i] === NONE && (versions.at[i] as number) >= oldest) why[i] = code;
      }
    } else {
      const bucketOf = { hourly: calendar.hour, daily: calendar.day, weekly: calendar.week }[rule].bind(calendar);
      keepNewest(versions, oldest, bucketOf, why, code);
    }
  }
}

/** How many versions keep each content. */
function keepersOf(versions: VersionColumns, why: Uint8Array): Int32Array {
  const keepers = new Int32Array(versions.contents);
  for (let i = 0; i < versions.length; i += 1) {
    if (why[i] !== NONE) {
      keepers[versions.content[i] as number] = (keepers[versions.content[i] as number] as number) + 1;
    }
  }
  return keepers;
}

/** Takes the oldest versions their content, until what is left fits. */
function fitBudget(
  versions: VersionColumns,
  limit: number,
  costs: ContentCosts,
  why: Uint8Array
): { bytes: number; limit: number; met: boolean } {
  const keepers = keepersOf(versions, why);
  const { chunkBytes } = costs;
  const uses = new Int32Array(chunkBytes.length);
  let bytes = costs.fixedBytes;
  for (let content = 0; content < versions.contents; content += 1) {
    if (keepers[content] === 0) continue;
    for (const chunk of Array.from(costs.chunksOf(content))) {
      if (uses[chunk] === 0) bytes += chunkBytes[chunk] as number;
      uses[chunk] = (uses[chunk] as number) + 1;
    }
  }
  if (bytes <= limit) return { bytes, limit, met: true };
  const order: number[] = [];
  for (let i = 0; i < versions.length; i += 1) if ((why[i] as number) > HELD) order.push(i);
  order.sort((a, b) => (versions.at[a] as number) - (versions.at[b] as number) || a - b);
  for (const i of order) {
    if (bytes <= limit) break;
    const content = versions.content[i] as number;
    why[i] = NONE;
    keepers[content] = (keepers[content] as number) - 1;
    if (keepers[content] !== 0) continue;
    for (const chunk of Array.from(costs.chunksOf(content))) {
      uses[chunk] = (uses[chunk] as number) - 1;
      if (uses[chunk] === 0) bytes -= chunkBytes[chunk] as number;
    }
  }
  return { bytes, limit, met: bytes <= limit };
}

/**
 * Plans what a policy drops.
 *
 * Laws, held by `test/server/core/retention.test.ts`: a plan carried out leaves nothing for the same plan to do; rules that reach
 * further, and a larger budget, keep all that lesser ones keep (a budget beside further rules may not: they compete for it).
 *
 * @param versions Only versions whose content is in the log now: what was dropped before neither counts nor stands for its hour.
 * @param now The present, microseconds since the epoch.
 */
export function planRetention(
  versions: VersionColumns,
  policy: RetentionPolicy,
  now: number,
  costs?: ContentCosts
): RetentionPlan {
  const why = new Uint8Array(versions.length);
  const last = new Uint8Array(versions.paths);
  for (let i = versions.length - 1; i >= 0; i -= 1) {
    const path = versions.path[i] as number;
    if (last[path] === 0) {
      last[path] = 1;
      why[i] = LAST;
    } else if (versions.held[i] === 1) {
      why[i] = HELD;
    }
  }
  keepByRules(versions, policy, now, why);
  const budget =
    policy.budget === undefined || costs === undefined ? undefined : fitBudget(versions, policy.budget, costs, why);
  const keepers = keepersOf(versions, why);
  const dropped = new Uint8Array(versions.contents).fill(1);
  for (let i = 0; i < versions.length; i += 1) {
    const content = versions.content[i] as number;
    if (keepers[content] === 0) continue;
    dropped[content] = 0;
    if (why[i] === NONE) why[i] = SHARED;
  }
  return { why, dropped, ...(budget !== undefined && { budget }) };
}
