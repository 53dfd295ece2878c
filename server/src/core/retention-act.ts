/**
 * What is said about versions, apart from what happened to files: labels, pins, and that contents were dropped. Each is a record
 * of its own in the log (docs/format.md, "Acts"), so it is kept, signed and copied like everything else.
 */
import { compareChanges, parseVersionId, versionId, type Change, type ChangeDraft } from './change.ts';
import { SyftError } from './errors.ts';
import type { PolicyText } from './retention-policy.ts';

export type RetentionAct =
  | { readonly act: 'label' | 'unlabel'; readonly version: string; readonly name: string }
  | { readonly act: 'pin' | 'unpin'; readonly version: string }
  /** Contents lost by a policy; their hashes are the content of the record. */
  | { readonly act: 'prune'; readonly by?: string; readonly policy: PolicyText; readonly contents: number }
  /** Contents erased by hand, `hash` the one that was named; the hashes of all are the content of the record. */
  | { readonly act: 'erase'; readonly by?: string; readonly hash: string; readonly contents: number }
  /** Of a later version of the program. */
  | { readonly act: 'other' };

/** The path that records of acts carry: no file of a workspace can have it, so whoever knows no acts has nothing to do. */
export const ACT_PATH = '.syft-sync';
const HASH = /^[0-9a-f]{64}$/;
const MAX_LABEL = 200;

/** A change that is an act. */
export type ActChange = Change & { readonly retention: RetentionAct };

export function isAct(change: Change): change is ActChange {
  return change.retention !== undefined;
}

/** An act as the log takes it. `content`: the list of hashes, of `prune` and `erase`. */
export function actDraft(
  retention: RetentionAct,
  content?: Required<Pick<ChangeDraft, 'size' | 'hash' | 'content'>>
): ChangeDraft {
  return { kind: 'deleted', path: ACT_PATH, type: 'directory', flags: [], ...content, retention };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= 1000 && value.isWellFormed() ? value : undefined;
}

/** Reads the member `retention` of a record; what is not understood is `other`, and never an error. */
export function decodeAct(value: unknown): RetentionAct {
  if (typeof value !== 'object' || value === null) return { act: 'other' };
  const { act, version, name, by, policy, hash, contents } = value as Record<string, unknown>;
  const named = parseVersionId(String(version)) === undefined ? undefined : String(version);
  if ((act === 'label' || act === 'unlabel') && named !== undefined && isLabel(name)) {
    return { act, version: named, name };
  }
  if ((act === 'pin' || act === 'unpin') && named !== undefined) return { act, version: named };
  if (typeof contents !== 'number' || !Number.isSafeInteger(contents) || contents < 0) return { act: 'other' };
  const who = text(by);
  if (act === 'prune' && typeof policy === 'object' && policy !== null) {
    const rules = Object.entries(policy).filter(([, rule]) => text(rule) !== undefined) as [string, string][];
    return { act, ...(who !== undefined && { by: who }), policy: Object.fromEntries(rules.slice(0, 20)), contents };
  }
  if (act === 'erase' && typeof hash === 'string' && HASH.test(hash)) {
    return { act, ...(who !== undefined && { by: who }), hash, contents };
  }
  return { act: 'other' };
}

function isLabel(name: unknown): name is string {
  return (
    typeof name === 'string' && name.length <= MAX_LABEL && name.trim() === name && /^[^\p{Cc}\p{Cs}]+$/u.test(name)
  );
}

/** A label as somebody typed it. Throws BAD_REQUEST. */
export function checkLabel(name: string): string {
  const trimmed = name.normalize('NFC').trim();
  if (isLabel(trimmed)) return trimmed;
  throw new SyftError(
    'BAD_REQUEST',
    `A label is 1 to ${MAX_LABEL} characters on one line, not ${JSON.stringify(name.slice(0, 50))}.`
  );
}

/** What is said of one version. */
export interface VersionMarks {
  readonly labels: readonly string[];
  readonly pinned: boolean;
}

/** Labels and pins as they stand after some acts. */
export class Marks {
  readonly #marks = new Map<string, { labels: Set<string>; pinned: boolean }>();

  /** @param acts In any order; they count in that of {@link compareChanges}. */
  static of(acts: Iterable<ActChange>): Marks {
    const marks = new Marks();
    for (const { retention } of [...acts].sort(compareChanges)) marks.add(retention);
    return marks;
  }

  /** The next act in order. */
  add(act: RetentionAct): void {
    if (!('version' in act)) return;
    const mark = this.#marks.get(act.version) ?? { labels: new Set(), pinned: false };
    if (act.act === 'label') mark.labels.add(act.name);
    else if (act.act === 'unlabel') mark.labels.delete(act.name);
    else mark.pinned = act.act === 'pin';
    if (mark.labels.size === 0 && !mark.pinned) this.#marks.delete(act.version);
    else this.#marks.set(act.version, mark);
  }

  /** What is said of a version; `undefined` when nothing is. */
  of(version: string): VersionMarks | undefined {
    const mark = this.#marks.get(version);
    return mark === undefined ? undefined : { labels: [...mark.labels], pinned: mark.pinned };
  }

  /** Pinned or labelled. */
  holds(version: string): boolean {
    return this.#marks.has(version);
  }

  /** Every version that is pinned or labelled. */
  *versions(): Generator<[string, VersionMarks]> {
    for (const [version, { labels, pinned }] of this.#marks) yield [version, { labels: [...labels], pinned }];
  }
}

/** The act that dropped contents: when, by whom, and why. */
export type DropAct = Change & { readonly retention: Extract<RetentionAct, { readonly act: 'prune' | 'erase' }> };

export function isDrop(change: ActChange): change is DropAct {
  return change.retention.act === 'prune' || change.retention.act === 'erase';
}

/** Which contents acts have dropped. A version recorded after the act has its content again, or it is damaged. */
export class Drops {
  readonly #acts = new Map<string, DropAct>();

  /** Notes an act with the hashes it lists. */
  add(act: DropAct, hashes: Iterable<string>): void {
    for (const hash of hashes) {
      const before = this.#acts.get(hash);
      if (before === undefined || compareChanges(before, act) < 0) this.#acts.set(hash, act);
    }
  }

  /** The act by which a version has lost its content; `undefined` when none says so. */
  of(version: Pick<Change, 'hash' | 'device' | 'seq' | 'hlc'>): DropAct | undefined {
    const act = version.hash === undefined ? undefined : this.#acts.get(version.hash);
    return act !== undefined && compareChanges(version, act) < 0 ? act : undefined;
  }

  get size(): number {
    return this.#acts.size;
  }
}

/** Hashes one behind the other, in rising order: the list that a `prune` or `erase` carries. */
export function encodeHashes(hashes: Iterable<string>): Buffer {
  return Buffer.from([...new Set(hashes)].sort().join(''), 'hex');
}

/** Inverse of {@link encodeHashes}; `undefined` when it is none. */
export function decodeHashes(bytes: Buffer): string[] | undefined {
  if (bytes.length % 32 !== 0) return undefined;
  return Array.from({ length: bytes.length / 32 }, (_, i) => bytes.toString('hex', i * 32, i * 32 + 32));
}

/** A change with the labels and pins of its version. */
export function marksJson(marks: Marks, change: Change): { labels?: string[]; pinned?: true } {
  const mark = marks.of(versionId(change));
  return {
    ...(mark !== undefined && mark.labels.length > 0 && { labels: [...mark.labels] }),
    ...(mark?.pinned === true && { pinned: true as const })
  };
}
